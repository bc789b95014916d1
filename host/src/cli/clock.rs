//! The real clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// How long a stop may go unnoticed.
const GLANCE: Duration = Duration::from_millis(20);

/// The time since the program began to run pipelines.
#[derive(Debug)]
pub(super) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub(super) fn start() -> Self {
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
