//! The one clock that a run may look at, handed in by whoever starts it.
//!
//! It decides when something happens, and never what: results depend on events alone.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Something that tells how time passes.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since some fixed moment. It never falls.
    fn now(&self) -> Duration;

    /// Waits until [`Clock::now`] has reached `until`, or `stop` is set, whichever comes first.
    fn wait(&self, until: Duration, stop: &AtomicBool);
}

/// How long a stop may go unnoticed.
const GLANCE: Duration = Duration::from_millis(20);

/// The real clock: the time since it was started.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait(&self, until: Duration, stop: &AtomicBool) {
        while let Some(left) = until.checked_sub(self.now()).filter(|left| !left.is_zero()) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::park_timeout(left.min(GLANCE));
        }
    }
}
