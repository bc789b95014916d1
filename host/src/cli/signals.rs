//! Ctrl-C and SIGTERM: the first asks for an end, the second is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::pipeline::Host;

/// What the signals set.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    at_work: Arc<AtomicBool>,
}

impl Signals {
    /// Catches them from now on. Until there is work, which has something to keep, the first one ends
    /// the program at once.
    pub(super) fn catch(host: &Host) -> Result<Self, Failure> {
        Self::catch_on(host.io.handle())
    }

    /// As [`Signals::catch`], by a task of `io`.
    pub(super) fn catch_on(io: &Handle) -> Result<Self, Failure> {
        let _entered = io.enter();
        let caught = |kind| {
            signal(kind).map_err(|error| Failure::work(format!("cannot catch signals: {error}")))
        };
        let mut interrupt = caught(SignalKind::interrupt())?;
        let mut terminate = caught(SignalKind::terminate())?;
        let signals = Self {
            stop: Arc::default(),
            at_work: Arc::default(),
        };
        let (stop, at_work) = (Arc::clone(&signals.stop), Arc::clone(&signals.at_work));
        io.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if !at_work.load(Ordering::Relaxed) {
                    eprintln!("error: stopped before anything was read");
                    std::process::exit(130);
                }
                if stop.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                eprintln!("stopping after the batches at hand; once more to stop at once");
            }
        });
        Ok(signals)
    }

    /// The flag that the first signal sets, now that there is work.
    pub(super) fn stop_work(&self) -> Arc<AtomicBool> {
        self.at_work.store(true, Ordering::Relaxed);
        Arc::clone(&self.stop)
    }
}
