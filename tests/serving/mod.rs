//! What a running program tells of itself: over HTTP, and in its log.

mod endpoints;
mod features;
mod logs;
mod program;
mod put;
mod put_history;
mod put_large;
mod refused;
mod told;
mod training;
mod training_days;
mod training_stopped;
mod wire;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ended, Folder, transform};

/// Two windows with rejected and late rows; the second row comes 1,000 s of event time after the first.
const EVENTS: &str = "\
{\"at\":\"2026-01-01T00:00:00Z\",\"origin\":\"SFO\",\"delay_minutes\":1}
{\"at\":\"2026-01-01T00:16:40Z\",\"origin\":\"LAX\",\"delay_minutes\":2}
{\"at\":\"2026-01-01T02:00:00Z\",\"origin\":null,\"delay_minutes\":2}
{\"at\":\"2026-01-01T02:00:00Z\",\"origin\":\"LAX\",\"delay_minutes\":9000000}
{\"at\":\"2026-01-02T02:00:00Z\",\"origin\":\"LAX\",\"delay_minutes\":5}
{\"at\":\"2026-01-01T03:00:00Z\",\"origin\":\"SFO\",\"delay_minutes\":6}
not json
";

/// A folder with a pipeline over recorded flights; `environment` is added to `[environments.local]`.
pub(crate) fn flights(environment: &str) -> Folder {
    let folder = Folder::new();
    folder.write("data/a.ndjson", EVENTS);
    folder.write(
        "penstock.toml",
        format!(
            "[environments.local]\n{environment}\n[environments.local.events.flight]\nfiles = \"data/a.ndjson\"\nevent_time = \"at\"\nschema = {{ at = \"timestamp[us, UTC]\", origin = \"utf8\", delay_minutes = \"int64\" }}\n"
        ),
    );
    let component = transform("flights_daily");
    folder.write(
        "pipeline.toml",
        format!(
            "event = \"flight\"\ntransform = {component:?}\nkey = \"origin\"\ngroup = \"airport\"\n[window]\nkind = \"tumbling\"\nsize = \"1d\"\n[[feature]]\nname = \"flights_1d\"\ncolumn = \"flights\"\ntype = \"uint64\"\n"
        ),
    );
    folder
}

/// The program at work.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// Where it listens.
    address: String,
}

/// Starts the folder's pipeline, and waits until it says where it listens.
fn start(folder: &Folder, arguments: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--quiet", "pipeline.toml"])
        .args(arguments)
        .current_dir(folder.path("."))
        .env("PENSTOCK_CACHE", folder.path("cache"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line
        .strip_prefix("listening on http://")
        .and_then(|rest| rest.split_once(": "))
        .unwrap_or_else(|| panic!("it said {line:?}"));
    Running {
        address: address.0.to_owned(),
        child,
        stderr,
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The next thing that it says.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    fn wait(mut self) -> Ended {
        let mut stderr = Vec::new();
        std::io::Read::read_to_end(&mut self.stderr, &mut stderr).unwrap();
        let mut output = self.child.wait_with_output().unwrap();
        output.stderr = stderr;
        Ended::of(output)
    }
}
