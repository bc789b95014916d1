//! When lanes commit: every so often by the clock, one after the other. What they commit does not depend on that.
//!
//! All lanes at one moment would wait for each other's processors and disk, and for nothing in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;

/// Moments of a round at which lanes commit.
const PHASES: usize = 4;

/// Tells a lane when to commit.
#[derive(Debug)]
pub(in crate::pipeline) struct CommitDue(watch::Receiver<u64>);

impl CommitDue {
    /// Waits until it is time for another commit since this returned last. It may be given up at any time.
    pub(in crate::pipeline) async fn wait(&mut self) {
        if self.0.changed().await.is_err() {
            // The timer is gone, and with it whoever would wait for a commit.
            std::future::pending().await
        }
    }
}

/// Counts rounds as long as it is there.
pub(in crate::pipeline) struct CommitTimer {
    rounds: [watch::Receiver<u64>; PHASES],
    /// How many lanes there are.
    lanes: AtomicUsize,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CommitTimer {
    pub(in crate::pipeline) fn start(
        clock: Arc<dyn Clock>,
        every: Duration,
    ) -> std::io::Result<Self> {
        let counted = [(); PHASES].map(|()| watch::Sender::new(0));
        let rounds = counted.each_ref().map(watch::Sender::subscribe);
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let count = move || {
            for counted in counted.iter().cycle() {
                clock.wait(clock.now().saturating_add(every / PHASES as u32), &ended);
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                counted.send_modify(|round| *round += 1);
            }
        };
        let thread = std::thread::Builder::new().name("commits".into());
        Ok(Self {
            thread: Some(thread.spawn(count)?),
            rounds,
            lanes: AtomicUsize::new(0),
            over,
        })
    }

    /// For one lane.
    pub(in crate::pipeline) fn due(&self) -> CommitDue {
        let phase = self.lanes.fetch_add(1, Ordering::Relaxed) % PHASES;
        CommitDue(self.rounds[phase].clone())
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
