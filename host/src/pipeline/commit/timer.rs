//! When lanes commit: every so often by the clock. What they commit does not depend on that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;

/// Tells a lane when to commit.
#[derive(Debug)]
pub(in crate::pipeline) struct CommitDue {
    round: Arc<AtomicU64>,
    seen: u64,
}

impl CommitDue {
    /// Whether it is time for another commit since this was asked last.
    pub(in crate::pipeline) fn take(&mut self) -> bool {
        let round = self.round.load(Ordering::Relaxed);
        std::mem::replace(&mut self.seen, round) != round
    }
}

/// Counts rounds as long as it is there.
pub(in crate::pipeline) struct CommitTimer {
    round: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CommitTimer {
    pub(in crate::pipeline) fn start(
        clock: Arc<dyn Clock>,
        every: Duration,
    ) -> std::io::Result<Self> {
        let (round, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, ended) = (Arc::clone(&round), Arc::clone(&over));
        let count = move || {
            while !ended.load(Ordering::Relaxed) {
                clock.wait(clock.now().saturating_add(every), &ended);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("commits".into());
        Ok(Self {
            thread: Some(thread.spawn(count)?),
            round,
            over,
        })
    }

    /// For one lane.
    pub(in crate::pipeline) fn due(&self) -> CommitDue {
        CommitDue {
            round: Arc::clone(&self.round),
            seen: 0,
        }
    }
}

impl Drop for CommitTimer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in it was reported by itself, and nothing depends on it any more.
            let _ = thread.join();
        }
    }
}
