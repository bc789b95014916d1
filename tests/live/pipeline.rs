//! A pipeline over a topic, in processes that can be killed, frozen and stopped.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use penstock::clock::{Clock, SystemClock};
use penstock::config::Environment;
use penstock::store::{FeatureName, open_reader};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::topic::Topic;
use crate::crash::stream::KEYS;
use crate::support::servers::kafka::LIMIT;
use crate::support::{Folder, HOST, transform};

/// Where all processes of these tests keep compiled components.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/live-cache");

/// A pipeline over a topic, with a store and files of its own.
pub(crate) struct Pipeline {
    pub(crate) folder: Folder,
    pub(crate) group: String,
}

/// What a pipeline leaves: its dead letters, its accounts lane by lane, and what the store says.
#[derive(Debug, PartialEq)]
pub(crate) struct Left {
    files: Vec<(String, String)>,
    lanes: Value,
    store: Vec<String>,
}

impl Left {
    /// How many messages were read in all.
    pub(crate) fn read(&self) -> u64 {
        let lanes = self.lanes.as_object().into_iter().flatten();
        let read = lanes.map(|(_, lane)| lane["events"]["read"].as_u64().unwrap());
        read.sum()
    }

    /// Without the order of lines in files, where several splits feed a lane.
    pub(crate) fn unordered(mut self) -> Self {
        for (_, file) in &mut self.files {
            let mut lines: Vec<&str> = file.lines().collect();
            lines.sort_unstable();
            *file = lines.join("\n");
        }
        self
    }

    /// Without what the store says of a feature.
    pub(crate) fn without(mut self, feature: &str) -> Self {
        let is_it = |line: &String| line.split(' ').nth(1) == Some(feature);
        self.store.retain(|line| !is_it(line));
        self
    }

    /// Fails with what is different.
    #[track_caller]
    pub(crate) fn is(&self, expected: &Self, what: &str) {
        let names = |left: &Self| -> Vec<String> {
            left.files.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(self), names(expected), "files of {what}");
        for ((name, file), (_, expected)) in self.files.iter().zip(&expected.files) {
            same(file.lines(), expected.lines(), &format!("{name} of {what}"));
        }
        let lanes = |left: &Self| serde_json::to_string_pretty(&left.lanes).unwrap();
        let (found, wanted) = (lanes(self), lanes(expected));
        same(
            found.lines(),
            wanted.lines(),
            &format!("the accounts of {what}"),
        );
        let store = |left: &Self| left.store.join("\n");
        let (found, wanted) = (store(self), store(expected));
        same(
            found.lines(),
            wanted.lines(),
            &format!("the store of {what}"),
        );
    }
}

/// Fails with the first line that is different.
#[track_caller]
fn same<'a>(
    found: impl Iterator<Item = &'a str>,
    expected: impl Iterator<Item = &'a str>,
    what: &str,
) {
    let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
    let lines = found.iter().zip(&expected);
    let first = lines.take_while(|(one, other)| one == other).count();
    assert_eq!(
        (found.get(first), found.len()),
        (expected.get(first), expected.len()),
        "line {first} of {what}"
    );
}

impl Pipeline {
    pub(crate) fn over(topic: &Topic, group: &str, window: &str, run: &str) -> Self {
        Self::with_store(topic, group, window, run, ("store", ""))
    }

    /// With a store at some place, and more lines of `penstock.toml`.
    pub(crate) fn with_store(
        topic: &Topic,
        group: &str,
        window: &str,
        run: &str,
        (store, more): (&str, &str),
    ) -> Self {
        let event = format!(
            r#"
[environments.local.events.entry.kafka]
brokers = "{}"
topic = "{}"
group = "{group}"
instance = "${{INSTANCE}}"
"auto.commit.interval.ms" = 50
"session.timeout.ms" = 3000
"heartbeat.interval.ms" = 300
{more}"#,
            topic.bootstrap, topic.name
        );
        Self::reading_into(store, &event, group, window, run)
    }

    /// Over a stream that is declared so.
    pub(crate) fn reading(event: &str, group: &str, window: &str, run: &str) -> Self {
        Self::reading_into("store", event, group, window, run)
    }

    fn reading_into(store: &str, event: &str, group: &str, window: &str, run: &str) -> Self {
        let folder = Folder::new();
        folder.write(
            "penstock.toml",
            format!(
                r#"
[environments.local]
output = "out"
store = "{store}"
[environments.local.events.entry]
event_time = "at"
schema = {{ at = "timestamp[ms, UTC]", key = "int64", amount = "float64", note = "utf8" }}
{event}"#
            ),
        );
        folder.write(
            "pipeline.toml",
            format!(
                r#"
name = "totals"
event = "entry"
transform = {:?}
key = ["key"]
group = "key"
[window]
{window}
disorder = "5s"
[[feature]]
name = "rows_{{window}}"
column = "rows"
type = "uint64"
[[feature]]
name = "sum_{{window}}"
column = "sum"
type = "float64"
validation = {{ max = 3000.0 }}
[run]
{run}
"#,
                transform("ledger")
            ),
        );
        Self {
            folder,
            group: group.to_owned(),
        }
    }

    /// As [`Self::start`], and waits until the process has all lanes.
    pub(crate) fn start_with_all(&self, topic: &Topic, name: &str) -> Process {
        let mut process = self.start(name);
        wait(
            || {
                process.is_alive();
                (0..topic.partitions).all(|partition| process.was_given(partition))
            },
            || format!("all partitions are those of {name}"),
        );
        process
    }

    /// Starts a process. Its name is that of a static member of the group: started again, it has its
    /// partitions at once. An empty one is a member that comes and goes.
    pub(crate) fn start(&self, name: &str) -> Process {
        self.start_with(name, |_| {})
    }

    /// The same, with more said of the process.
    pub(crate) fn start_with(&self, name: &str, more: impl FnOnce(&mut Command)) -> Process {
        let path = |what: &str| self.folder.path(&format!("{name}.{what}"));
        let file = |what: &str| File::create(path(what)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command
            .args(["run", "pipeline.toml", "--json"])
            .current_dir(self.folder.path(""))
            .env("PENSTOCK_CACHE", CACHE)
            .env("PENSTOCK_LOG", "info,slatedb=error")
            .env("INSTANCE", name)
            .stdout(Stdio::from(file("stdout")))
            .stderr(Stdio::from(file("stderr")));
        more(&mut command);
        Process {
            child: command.spawn().unwrap(),
            stdout: path("stdout"),
            stderr: path("stderr"),
        }
    }

    /// Waits until everything in the topic is committed.
    pub(crate) fn catch_up(&self, topic: &Topic, processes: &mut [&mut Process]) {
        wait(
            || {
                for process in &mut *processes {
                    process.is_alive();
                }
                topic.is_done_by(&self.group)
            },
            || "all of the topic is committed".to_owned(),
        );
    }

    /// Works until everything in the topic is committed, in one process, and gives what is left.
    pub(crate) fn finish(&self, topic: &Topic, name: &str) -> Left {
        // Where those before it had committed everything, nothing would be left to wait for, and it
        // could be stopped before it has any lane to tell of.
        let mut process = self.start_with_all(topic, name);
        self.catch_up(topic, &mut [&mut process]);
        self.left(&process.stop())
    }

    /// What there is, as the last process told, which had all lanes.
    pub(crate) fn left(&self, summary: &Value) -> Left {
        let mut files = Vec::new();
        for folder in ["totals.rejects", "totals.late", "totals.invalid"] {
            let path = self.folder.path(&format!("out/{folder}"));
            for file in fs::read_dir(path).into_iter().flatten() {
                let path = file.unwrap().path();
                let name = format!("{folder}/{}", path.file_name().unwrap().display());
                files.push((name, fs::read_to_string(path).unwrap()));
            }
        }
        files.sort();
        Left {
            files,
            lanes: summary[0]["lanes"].clone(),
            store: self.store(),
        }
    }

    /// Every feature of every key, with its event time.
    pub(crate) fn store(&self) -> Vec<String> {
        self.store_of(0..KEYS)
    }

    /// The same of other keys.
    pub(crate) fn store_of(&self, keys: Range<u32>) -> Vec<String> {
        let environment = Environment::find_and_load(&self.folder.path("pipeline.toml"), "local");
        let place = environment.and_then(|environment| environment.features());
        HOST.io.block_on(async {
            let reader = open_reader(&place.unwrap()).await.unwrap();
            let declared = reader.declarations(None).await.unwrap();
            let names = declared.iter().map(|declaration| FeatureName {
                name: declaration.feature.clone(),
                version: None,
            });
            let mut names: Vec<FeatureName> = names.collect();
            names.sort_by(|one, other| one.name.cmp(&other.name));
            let mut all = Vec::new();
            for key in keys {
                let values = reader.get("key", &key.to_string(), &names).await.unwrap();
                for (name, value) in names.iter().zip(values) {
                    let value = value.map(|value| (value.order.event_time, value.value));
                    all.push(format!("{key} {} {value:?}", name.name));
                }
            }
            all
        })
    }
}

/// A process at work.
pub(crate) struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Sees to it that it has not ended.
    #[track_caller]
    pub(crate) fn is_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it has ended: {}", self.stderr());
    }

    /// Where it listens.
    pub(crate) fn address(&mut self) -> String {
        let mut address = None;
        wait(
            || {
                self.is_alive();
                let stderr = self.stderr();
                let lines = stderr.lines();
                let mut told = lines.filter_map(|line| line.strip_prefix("listening on http://"));
                address = told
                    .next()
                    .and_then(|line| Some(line.split_once(": ")?.0.to_owned()));
                address.is_some()
            },
            || "it says where it listens".to_owned(),
        );
        address.unwrap()
    }

    /// Whether it said that a partition became its own.
    pub(crate) fn was_given(&self, partition: u32) -> bool {
        let stderr = self.stderr();
        let given = stderr
            .lines()
            .filter(|line| line.contains("partitions are ours"));
        let mut given = given.filter_map(|line| line.split_once("partitions=[")?.1.split_once(']'));
        given.any(|(numbers, _)| numbers.split(", ").any(|it| it == partition.to_string()))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it was killed, not by this test.
    #[track_caller]
    pub(crate) fn dies(mut self) {
        let mut ended = None;
        wait(
            || {
                ended = self.child.try_wait().unwrap();
                ended.is_some()
            },
            || "it dies".to_owned(),
        );
        let signal = ended.and_then(|ended| ended.signal());
        assert_eq!(signal, Some(Signal::KILL.as_raw()), "{}", self.stderr());
    }

    /// Lets it commit and leave, and gives its summary.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Value {
        self.signal(Signal::TERM);
        let code = self.child.wait().unwrap();
        assert!(code.success(), "{code}: {}", self.stderr());
        serde_json::from_str(&fs::read_to_string(&self.stdout).unwrap()).unwrap()
    }

    /// Waits for its end, which is no good one.
    #[track_caller]
    pub(crate) fn fails(mut self, code: i32, expected: &[&str]) {
        let ended = self.child.wait().unwrap();
        let stderr = self.stderr();
        assert_eq!(ended.code(), Some(code), "{stderr}");
        for part in expected {
            assert!(stderr.contains(part), "`{part}` is not in:\n{stderr}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was frozen dies as well; one that has ended is no matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn wait(mut until: impl FnMut() -> bool, what: impl FnOnce() -> String) {
    let clock = SystemClock::start();
    while !until() {
        assert!(clock.now() < LIMIT, "it never came to be that {}", what());
        pause(Duration::from_millis(20));
    }
}

/// Lets time go by.
pub(crate) fn pause(time: Duration) {
    let clock = SystemClock::start();
    clock.wait(time, &AtomicBool::new(false));
}

/// Runs something in the background, whose end is waited for.
pub(crate) fn beside<T: Send>(work: impl FnOnce() -> T + Send, main: impl FnOnce()) -> T {
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        main();
        work.join().unwrap()
    })
}
