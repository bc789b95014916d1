//! Ctrl-C (SIGINT) and SIGTERM: the first asks for an end, and a Ctrl-C after it is one.
//!
//! Both stop gracefully. They are caught also by the first process of a container, for which the system has no
//! default of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, logs};
use crate::pipeline::Host;

/// Which signal there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A person, with Ctrl-C.
    Interrupt,
    /// A supervisor, with SIGTERM.
    Terminate,
}

/// Ends when somebody asks for an end. To be called in a runtime, for which nothing else catches them.
pub(super) fn asked() -> Result<impl Future<Output = ()>, Failure> {
    let (mut interrupt, mut terminate) = both()?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Both signals, caught from now on.
fn both() -> Result<(Signal, Signal), Failure> {
    let caught = |kind| {
        signal(kind).map_err(|error| Failure::work(format!("cannot catch signals: {error}")))
    };
    Ok((
        caught(SignalKind::interrupt())?,
        caught(SignalKind::terminate())?,
    ))
}

/// What the signals set.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    at_work: Arc<AtomicBool>,
}

/// The exit code of a program that somebody stopped.
const STOPPED: i32 = 130;

impl Signals {
    /// Catches them from now on. Until there is work, which has something to keep, the first one ends
    /// the program at once.
    pub(super) fn catch(host: &Host) -> Result<Self, Failure> {
        Self::catch_on(host.io.handle())
    }

    /// As [`Signals::catch`], by a task of `io`.
    pub(super) fn catch_on(io: &Handle) -> Result<Self, Failure> {
        let _entered = io.enter();
        let (mut interrupt, mut terminate) = both()?;
        let signals = Self {
            stop: Arc::default(),
            at_work: Arc::default(),
        };
        let (stop, at_work) = (Arc::clone(&signals.stop), Arc::clone(&signals.at_work));
        io.spawn(async move {
            loop {
                let asked = tokio::select! {
                    _ = interrupt.recv() => Asked::Interrupt,
                    _ = terminate.recv() => Asked::Terminate,
                };
                if !at_work.load(Ordering::Relaxed) {
                    logs::error("stopped before anything was read");
                    std::process::exit(STOPPED);
                }
                let is_first = !stop.swap(true, Ordering::Relaxed);
                match asked {
                    _ if is_first => {
                        logs::note(
                            "stopping after the batches at hand; Ctrl-C once more to stop at once",
                        );
                    }
                    Asked::Interrupt => std::process::exit(STOPPED),
                    // A supervisor that repeats itself must not cut short what it waits for; it has SIGKILL for that.
                    Asked::Terminate => logs::note("still stopping"),
                }
            }
        });
        Ok(signals)
    }

    /// The flag that the first signal sets, now that there is work.
    pub(super) fn stop_work(&self) -> Arc<AtomicBool> {
        self.at_work.store(true, Ordering::Relaxed);
        self.stopping()
    }

    /// The flag that the first signal sets.
    pub(super) fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }
}
