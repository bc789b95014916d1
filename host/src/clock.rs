//! The one clock that a run may look at, handed in by whoever starts it.
//!
//! It decides when something happens, and never what: results depend on events alone.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Something that tells how time passes.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since some fixed moment. It never falls.
    fn now(&self) -> Duration;

    /// The time since 1970-01-01T00:00:00Z in microseconds, as the machine has it. It may jump, so it says how old
    /// something from elsewhere is, and nothing else goes by it. A clock that knows no such time begins then.
    fn unix(&self) -> i64 {
        i64::try_from(self.now().as_micros()).unwrap_or(i64::MAX)
    }

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

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is injected"
    )]
    fn unix(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
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
