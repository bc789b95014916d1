//! A stream, pipelines over it, and the program at work on them.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use penstock::clock::{Clock, SystemClock};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::servers::kafka::{Consumed, LIMIT, Writer, consume, create};
use crate::support::{Folder, transform};

/// Partitions of the stream.
pub(super) const PARTITIONS: i32 = 2;
/// Rows of each.
const ROWS: usize = 4_000;
/// What the key of the last row of each partition begins with, which is so late that it closes every other window.
const LAST: &str = "99999";

pub(super) const TUMBLING: &str =
    "kind = \"tumbling\"\nsize = [\"1m\", \"5m\"]\nallowed_lateness = \"2m\"";
pub(super) const SESSIONS: &str = "kind = \"session\"\ngap = \"15s\"\nallowed_lateness = \"30s\"";

/// A stream, and a pipeline over it: as recorded files, one of each partition, and live.
pub(super) struct Stream {
    pub(super) folder: Folder,
    bootstrap: String,
    name: String,
    lines: Vec<Vec<String>>,
}

impl Stream {
    /// `name` is that of everything on the broker at `bootstrap`, where the events are. `topics` are those of
    /// `penstock.toml`, and `outputs` the keys of the pipeline's outputs.
    pub(super) fn new(
        bootstrap: &str,
        name: &str,
        window: &str,
        topics: &str,
        outputs: &str,
    ) -> Self {
        let folder = Folder::new();
        let mut random = Pcg64::seed_from_u64(name.len() as u64);
        let lines: Vec<Vec<String>> = (0..PARTITIONS).map(|it| lines(&mut random, it)).collect();
        let mut environments = String::new();
        for (partition, lines) in lines.iter().enumerate() {
            folder.write(&format!("events/{partition}.ndjson"), lines.join("\n"));
            environments.push_str(&format!(
                "[environments.p{partition}]\noutput = \"recorded{partition}\"\nstore = \"recorded-store\"\n[environments.p{partition}.events.entry]\nfiles = \"events/{partition}.ndjson\"\n{EVENT}"
            ));
        }
        environments.push_str(&format!(
            "[environments.live]\noutput = \"out\"\nstore = \"store\"\n[environments.live.events.entry]\nkafka = {{ brokers = \"{bootstrap}\", topic = \"{name}\", group = \"{name}\", instance = \"one\", batch_messages = 100, {QUICK} }}\n{EVENT}{topics}"
        ));
        folder.write("penstock.toml", environments);
        let stream = Self {
            folder,
            bootstrap: bootstrap.to_owned(),
            name: name.to_owned(),
            lines,
        };
        stream.pipeline("totals", "rows", window, outputs);
        create(bootstrap, name, PARTITIONS);
        stream
    }

    /// Writes a pipeline over the stream.
    pub(super) fn pipeline(&self, name: &str, prefix: &str, window: &str, outputs: &str) {
        let text = format!(
            r#"
event = "entry"
transform = {:?}
key = ["key"]
group = "key"
[window]
{window}
disorder = "5s"
[[feature]]
name = "{prefix}_{{window}}"
column = "rows"
type = "uint64"
[[feature]]
name = "{prefix}_sum_{{window}}"
column = "sum"
type = "float64"
validation = {{ max = 900.0 }}
[outputs]
features = "{name}.ndjson"
{outputs}
[run]
commit_every = "5ms"
"#,
            transform("ledger")
        );
        self.folder.write(&format!("{name}.toml"), text);
    }

    /// Sends what stands in these parts of each partition, of so many.
    pub(super) fn write(&self, parts: std::ops::Range<usize>, of: usize) {
        let writer = Writer::new(&self.bootstrap, &self.name);
        for (partition, lines) in self.lines.iter().enumerate() {
            let at = |part| lines.len() * part / of;
            writer.write(partition as i32, &lines[at(parts.start)..at(parts.end)]);
        }
    }

    /// What runs over the recorded events write to one of a pipeline's files, line by line and sorted: what comes of
    /// everything but the last row.
    pub(super) fn recorded(&self, pipeline: &str) -> Recorded {
        let mut recorded = Recorded::default();
        for partition in 0..PARTITIONS {
            let arguments = [
                "run",
                &format!("{pipeline}.toml"),
                "-q",
                "--env",
                &format!("p{partition}"),
            ];
            let told = self.folder.penstock(&arguments);
            assert_eq!(told.code(), Some(0), "{}", told.stderr());
            recorded.told = told.stderr();
            let lines = |name: &str| {
                let path = self
                    .folder
                    .path(&format!("recorded{partition}/{pipeline}.{name}"));
                let text = std::fs::read_to_string(path).unwrap_or_default();
                text.lines()
                    .filter(|line| !is_last(line))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            recorded.rows.extend(lines("ndjson"));
            recorded.invalid.extend(lines("invalid.ndjson"));
            let refused = |lines: Vec<String>| {
                let at = |line: &String| refusal(partition, &serde_json::from_str(line).unwrap());
                lines.iter().map(at).collect::<Vec<_>>()
            };
            recorded.rejects.extend(refused(lines("rejects.ndjson")));
            recorded.late.extend(refused(lines("late.ndjson")));
        }
        recorded.rows.sort();
        recorded.invalid.sort();
        recorded.rejects.sort();
        recorded.late.sort();
        recorded
    }

    /// Starts the program over the live stream.
    pub(super) fn start(&self, pipelines: &[&str]) -> Running {
        let files = pipelines.iter().map(|name| format!("{name}.toml"));
        self.start_with(&files.collect::<Vec<_>>())
    }

    /// Starts it with these arguments.
    pub(super) fn start_with(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Running {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path("log"))
            .unwrap();
        let said_before = self.folder.text("log").len();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .arg("run")
            .args(arguments)
            .args(["--env", "live"])
            .current_dir(self.folder.path(""))
            .env("PENSTOCK_CACHE", self.folder.path("cache"))
            .env_remove("PENSTOCK_LOG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Running {
            child,
            log: self.folder.path("log"),
            said_before,
        }
    }

    /// What is in a topic once so many messages are there.
    #[track_caller]
    pub(super) fn consumed(
        &self,
        running: &mut Running,
        bootstrap: &str,
        topic: &str,
        count: usize,
    ) -> Vec<Consumed> {
        let clock = SystemClock::start();
        loop {
            let seen = consume(bootstrap, topic);
            if seen.len() >= count {
                return seen;
            }
            let is_waited_for = clock.now() < LIMIT && running.child.try_wait().unwrap().is_none();
            assert!(
                is_waited_for,
                "{} of {count} messages in {topic}:\n{}",
                seen.len(),
                running.log()
            );
        }
    }
}

const EVENT: &str = "event_time = \"at\"\nschema = { at = \"timestamp[ms, UTC]\", key = \"int64\", amount = \"float64\", note = \"utf8\" }\n";
const QUICK: &str = "session.timeout.ms = 6000, heartbeat.interval.ms = 200, fetch.wait.max.ms = 50, reconnect.backoff.max.ms = 500";

/// What runs over recorded events leave.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) rows: Vec<String>,
    pub(super) invalid: Vec<String>,
    pub(super) rejects: Vec<(i64, i64, String)>,
    pub(super) late: Vec<(i64, i64, String)>,
    /// What the last of them said.
    pub(super) told: String,
}

/// The program at work.
pub(super) struct Running {
    pub(super) child: Child,
    log: PathBuf,
    /// Bytes of the log of processes before it.
    said_before: usize,
}

const GLANCE: Duration = Duration::from_millis(50);

impl Running {
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until this process has said something.
    #[track_caller]
    pub(super) fn until_logged(&mut self, text: &str) {
        let clock = SystemClock::start();
        while !self.log()[self.said_before..].contains(text) {
            let is_waited_for = clock.now() < LIMIT && self.child.try_wait().unwrap().is_none();
            assert!(is_waited_for, "it never said {text:?}:\n{}", self.log());
            clock.wait(clock.now() + GLANCE, &AtomicBool::new(false));
        }
    }

    /// Ends it as an operator would.
    #[track_caller]
    pub(super) fn stop(mut self) {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_last(line: &str) -> bool {
    line.contains(&format!("\"key\":{LAST}"))
}

/// Lines of a partition, whose keys are its own.
fn lines(random: &mut Pcg64, partition: i32) -> Vec<String> {
    let mut now = 0.0_f64;
    let mut lines: Vec<String> = (0..ROWS)
        .map(|_| {
            now += random.random_range(0.0..0.4);
            let behind = match random.random_range(0..100) {
                0..80 => 0.0,
                80..97 => random.random_range(0.0..40.0),
                _ => random.random_range(90.0..600.0),
            };
            let at = ((now - behind).max(0.0) * 1000.0) as i64 + 1_700_000_000_000;
            let key = 2 * random.random_range(0..20) + partition;
            match random.random_range(0..100) {
                0 => format!("{{\"at\": broken {at}"),
                1 => format!("{{\"at\":{at},\"key\":null}}"),
                2 => format!("{{\"at\":{at},\"key\":{key},\"amount\":-1.5}}"),
                _ => {
                    let amount = random.random_range(0.0..100.0_f64);
                    format!("{{\"at\":{at},\"key\":{key},\"amount\":{amount},\"note\":\"n{at}\"}}")
                }
            }
        })
        .collect();
    lines.push(format!(
        "{{\"at\":1800000000000,\"key\":{LAST}{partition},\"amount\":1}}"
    ));
    lines
}

/// Where a refused row stood, and why it was refused.
pub(super) fn refusal(partition: i32, line: &Value) -> (i64, i64, String) {
    let text = |name: &str| line[name].as_str().unwrap();
    let (partition, offset) = match line["line"].as_i64() {
        Some(line) => (i64::from(partition), line - 1),
        None => {
            let (_, partition) = text("file").rsplit_once('/').unwrap();
            (partition.parse().unwrap(), line["offset"].as_i64().unwrap())
        }
    };
    (
        partition,
        offset,
        format!("{}: {}", text("stage"), text("code")),
    )
}

/// A table of `penstock.toml` for a topic.
pub(super) fn topic(name: &str, bootstrap: &str, topic: &str, more: &str) -> String {
    format!(
        "[environments.live.topics.{name}]\nkafka = {{ brokers = \"{bootstrap}\", topic = \"{topic}\", reconnect.backoff.max.ms = 500 }}\n{more}\n"
    )
}

pub(super) fn texts(messages: &[Consumed]) -> Vec<String> {
    let mut texts: Vec<String> = messages
        .iter()
        .map(|message| message.text().to_owned())
        .collect();
    texts.sort();
    texts
}

pub(super) fn refusals<'a>(
    messages: impl Iterator<Item = &'a Consumed>,
) -> Vec<(i64, i64, String)> {
    let mut refusals: Vec<_> = messages
        .map(|message| refusal(0, &serde_json::from_str(message.text()).unwrap()))
        .collect();
    refusals.sort();
    refusals
}
