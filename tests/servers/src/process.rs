//! Processes of servers: waiting for them, signals to them, and whether they live.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

/// The log's name in a server's folder.
pub(crate) const LOG: &str = "log";

/// Long, for machines that do a lot besides: a server that breaks ends by itself and is noticed at once.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_secs(180);

const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// Whether a server lives in this folder, whoever started it.
pub fn is_running(folder: &Path) -> bool {
    File::open(folder.join(LOG)).is_ok_and(|log| log.try_lock().is_err())
}

/// Ends the server that runs in this folder as process `id`: asked first, and killed if it does not listen. One that
/// has ended already is as well.
///
/// # Errors
///
/// If this user may not end it.
pub fn stop_what_runs(folder: &Path, id: u32) -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        // Only what holds the lock is ours: the number may be another's by now.
        if !is_running(folder) {
            return Ok(());
        }
        send(id, signal)?;
        // One that was stopped hears of nothing else.
        send(id, Signal::CONT)?;
        poll(STOPS_WITHIN, || (!is_running(folder)).then_some(()));
    }
    if is_running(folder) {
        bail!(
            "process {id} does not end; its folder is {}",
            folder.display()
        );
    }
    Ok(())
}

/// Sends a signal to the process group that `id` leads. A group that has ended is no error.
pub(crate) fn send(id: u32, signal: Signal) -> Result<()> {
    let group = i32::try_from(id).ok().and_then(Pid::from_raw);
    let group = group.with_context(|| format!("{id} is no process number"))?;
    match kill_process_group(group, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => bail!("cannot send a signal to process {id}: {error}"),
    }
}

/// Asks again and again until there is an answer or the time is over.
pub(crate) fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || start.elapsed() > limit {
            return answer;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another program tells nobody when it starts to answer: one can only ask again"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
