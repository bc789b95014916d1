//! The program that joins: starting it, asking it, and ending it when nobody wants its answer any more.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::super::Failure;

/// What it is called.
const PROGRAM: &str = "penstock-training-set";

/// The exit codes with which it ends.
const BAD_INPUT: i32 = 2;
const NO_HISTORY: i32 = 3;
const STOPPED: i32 = 130;

/// The program beside this one.
pub(super) fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::work(format!("cannot find this program's own file: {error}")))?;
    let program = own.with_file_name(PROGRAM);
    match program.is_file() {
        true => Ok(program),
        false => Err(Failure::Input(format!(
            "{} is not there, and it makes training sets; build it with `cargo build -p {PROGRAM}`, or install it beside this program",
            program.display()
        ))),
    }
}

/// What the program said.
pub(super) enum Answer {
    /// What it was asked for.
    Done(Value),
    /// None of the files has a feature.
    NoHistory(String),
}

impl Answer {
    pub(super) fn done(self) -> Result<Value, Failure> {
        match self {
            Self::Done(value) => Ok(value),
            Self::NoHistory(said) => Err(Failure::Input(said)),
        }
    }
}

/// How a person hears that they stopped it.
pub(super) fn stopped() -> Failure {
    Failure::Stopped("stopped: no training set was made".to_owned())
}

/// A process that is there no longer than this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended, neither is of any effect.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the program do something. It is killed when this is dropped. To be called in a runtime.
pub(super) async fn ask(
    program: &Path,
    what: Option<&str>,
    request: &Value,
) -> Result<Answer, Failure> {
    let failed =
        |error: io::Error| Failure::work(format!("cannot run {}: {error}", program.display()));
    let child = Command::new(program)
        .args(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut running = Running(child);
    let pipes = (
        running.0.stdin.take(),
        running.0.stdout.take(),
        running.0.stderr.take(),
    );
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = pipes else {
        return Err(failed(io::ErrorKind::BrokenPipe.into()));
    };
    let request = request.to_string();
    let talk = tokio::task::spawn_blocking(move || {
        // A program that ends before it has read everything says why.
        let _ = stdin.write_all(request.as_bytes());
        drop(stdin);
        let (mut answer, mut said) = (Vec::new(), Vec::new());
        // Both are short, and fit into their pipes.
        stderr.read_to_end(&mut said)?;
        stdout.read_to_end(&mut answer)?;
        Ok((answer, said))
    });
    let (answer, said) = talk
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(failed)?;
    let status = running.0.wait().map_err(failed)?;
    let said = String::from_utf8_lossy(&said).trim_end().to_owned();
    match status.code() {
        Some(0) => serde_json::from_slice(&answer)
            .map(Answer::Done)
            .map_err(|error| {
                let program = program.display();
                Failure::work(format!("{program} said what is no answer: {error}"))
            }),
        Some(BAD_INPUT) => Err(Failure::Input(said)),
        Some(NO_HISTORY) => Ok(Answer::NoHistory(said)),
        Some(STOPPED) => Err(stopped()),
        Some(_) => Err(Failure::Work(format!("no training set was made: {said}"))),
        None => Err(Failure::Work(format!(
            "no training set was made: {} was killed ({status}) {said}",
            program.display()
        ))),
    }
}
