//! `penstock run` in a process of its own, over the pipelines of a folder.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::broker::Broker;
use crate::transform;

/// How often somebody looks who waits for something.
const GLANCE: Duration = Duration::from_millis(20);

/// What an operator shows.
const TOKEN: &str = "the token of the operator of a benchmark";

/// Nothing takes longer than this.
const LIMIT: Duration = Duration::from_secs(1200);

/// A folder with an environment and pipelines.
pub(super) struct Folder {
    folder: TempDir,
    topic: String,
}

impl Folder {
    /// An environment whose event is in a topic, and has these columns.
    pub(super) fn new(broker: &Broker, topic: &str, columns: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let environment = format!(
            r#"[environments.local]
store = "store"
output = "out"
[environments.local.events.ride_offer]
event_time = "occurred_at"
schema = {{ {columns} }}
[environments.local.events.ride_offer.kafka]
brokers = "{}"
topic = "{topic}"
instance = "one"
"auto.commit.interval.ms" = 50
"#,
            broker.bootstrap()
        );
        fs::write(folder.path().join("penstock.toml"), environment)?;
        fs::create_dir(folder.path().join("pipelines"))?;
        Ok(Self {
            folder,
            topic: topic.to_owned(),
        })
    }

    /// Adds a pipeline: the drivers' rides in ten minutes, or what `window` says.
    pub(super) fn pipeline(&self, name: &str, window: &str) -> Result<()> {
        let component = fs::canonicalize(transform()?)?;
        let window = match window {
            "" => "[window]\nkind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"30s\"",
            window => window,
        };
        let text = format!(
            r#"event = "ride_offer"
name = "{name}"
transform = {component:?}
key = "driver_id"
group = "driver"
[[feature]]
name = "driver_accept_proportion_10m"
type = "float64"
validation = {{ min = 0.0, max = 1.0 }}
[[feature]]
name = "driver_offers_10m"
type = "uint64"
{window}
"#
        );
        // A feature of a group belongs to one pipeline.
        let text = text.replace("group = \"driver\"", &format!("group = {name:?}"));
        let file = format!("pipelines/{name}.toml");
        Ok(fs::write(self.folder.path().join(file), text)?)
    }

    /// Has processes say what they do, on an address that they choose, serve features there, and take the requests of
    /// who has the bench's token.
    pub(super) fn listens(&self) -> Result<()> {
        let path = self.path("penstock.toml");
        let text = fs::read_to_string(&path)?;
        let listens = "[environments.local]\nlisten = \"127.0.0.1:0\"\nregistry = \"registry\"\n";
        let text = text.replacen("[environments.local]\n", listens, 1);
        let tokens = "[environments.local.operators.bench]\nfile = \"token\"\n\
                      [environments.local.serving.tokens.bench]\nfile = \"token\"\nread = [\"*\"]\n";
        self.write("token", TOKEN.into())?;
        Ok(fs::write(path, text + tokens)?)
    }

    /// Changes the text of a pipeline.
    pub(super) fn replace(&self, name: &str, change: impl FnOnce(&str) -> String) -> Result<()> {
        let path = self.path(&format!("pipelines/{name}.toml"));
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, change(&text))?)
    }

    pub(super) fn write(&self, name: &str, bytes: Vec<u8>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Runs a command, and gives the JSON that it prints.
    pub(super) fn penstock(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(std::env::current_exe()?.with_file_name("penstock"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {stderr}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The bytes of the store.
    pub(super) fn store_bytes(&self) -> f64 {
        crate::state::bytes(&self.store())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A process that runs all pipelines of a folder.
pub(super) struct Penstock {
    child: Child,
    began: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Penstock {
    pub(super) fn start(folder: &Folder) -> Result<Self> {
        let program = std::env::current_exe()?;
        let program = program.with_file_name("penstock");
        let began = Instant::now();
        let (stdout, stderr) = (folder.path("stdout"), folder.path("stderr"));
        let mut pipelines = fs::read_dir(folder.path("pipelines"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        pipelines.sort();
        let child = Command::new(&program)
            .args(["run", "--json"])
            .args(&pipelines)
            .current_dir(folder.folder.path())
            .env("PENSTOCK_CACHE", cache()?)
            .stdout(Stdio::from(File::create(&stdout)?))
            .stderr(Stdio::from(File::create(&stderr)?))
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self {
            child,
            began,
            stdout,
            stderr,
        })
    }

    /// Waits until something holds.
    pub(super) fn wait_until(&self, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        while !holds()? {
            ensure!(self.began.elapsed() < LIMIT, "it takes too long");
            let stat = self.stat("stat")?;
            if stat.contains(") Z ") {
                bail!("it ended: {}", fs::read_to_string(&self.stderr)?);
            }
            std::thread::park_timeout(GLANCE);
        }
        Ok(())
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Result<String> {
        let stderr = fs::read_to_string(&self.stderr)?;
        let mut lines = stderr.lines();
        let told = lines.find_map(|line| line.strip_prefix("listening on http://"));
        let address = told.and_then(|line| Some(line.split_once(": ")?.0.to_owned()));
        address.context("it says where it listens")
    }

    /// Asks it over HTTP as who has the bench's token, and gives the JSON of a good answer.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let address = self.address()?;
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer of HTTP")?;
        ensure!(head.contains(" 200 "), "{path} says {head} {body}");
        Ok(serde_json::from_str(body)?)
    }

    /// Seconds since it was started.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn stat(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }

    /// The seconds of processors that it has taken.
    pub(super) fn cpu_s(&self) -> Result<f64> {
        let stat = self.stat("stat")?;
        let (_, fields) = stat.rsplit_once(") ").context("a line of /proc/PID/stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // Fields 14 and 15 of the line, in ticks of a hundredth (`USER_HZ`, see proc(5)).
        let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / 100.0)
    }

    /// The most memory that it has had, in MiB.
    pub(super) fn peak_mib(&self) -> Result<f64> {
        let status = self.stat("status")?;
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = peak
            .context("the kernel tells the peak of memory")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?;
        Ok(kib / 1024.0)
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it end, and gives its summary.
    pub(super) fn stop(mut self) -> Result<Value> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let code = self.child.wait()?;
        let stderr = fs::read_to_string(&self.stderr)?;
        ensure!(code.success(), "{code}: {stderr}");
        Ok(serde_json::from_str(&fs::read_to_string(&self.stdout)?)?)
    }
}

impl Drop for Penstock {
    fn drop(&mut self) {
        // One that has ended is no matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where compiled components are kept over all runs.
fn cache() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(folder.join("bench-cache"))
}
