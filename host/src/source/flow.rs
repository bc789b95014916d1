//! How much of a split of a live stream may be under way, and what is done when that much is.
//!
//! In come the bytes of batches that are handed out, and the time. Out comes whether more may be read.
//! It must never wait: whoever reads goes on with other splits meanwhile.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a window is full before its split is paused.
///
/// A pause gives up what a client has read ahead, which is then fetched again. A lane that works
/// through a backlog fills its window all the time; pausing at once would fetch everything several
/// times. A lane that stands still for as long as this is worth the memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody who sleeps until there is something to do.
pub(super) trait Bell: fmt::Debug + Send + Sync {
    /// Wakes them.
    fn ring(&self);
}

/// Bytes of a split that are under way. Dropping it makes room for more.
#[derive(Debug)]
pub struct Held {
    bytes: usize,
    window: Arc<AtomicUsize>,
    bell: Arc<dyn Bell>,
}

impl Held {
    /// How many bytes: of all that messages have, and what their source counts for each beside that.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.window.fetch_sub(self.bytes, Ordering::AcqRel);
        self.bell.ring();
    }
}

/// What the window of a split says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Messages are taken.
    Open,
    /// None are, since this time.
    Full(Duration),
    /// None are, and none are read ahead.
    Paused,
}

/// What has to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Pause,
    Resume,
}

/// The window of a split.
#[derive(Debug)]
pub(super) struct Window {
    held: Arc<AtomicUsize>,
    limit: usize,
    flow: Flow,
}

impl Window {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            held: Arc::default(),
            limit,
            flow: Flow::Open,
        }
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    pub(super) fn hold(&self, bytes: usize, bell: Arc<dyn Bell>) -> Held {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Held {
            bytes,
            window: Arc::clone(&self.held),
            bell,
        }
    }

    /// Looks at the window. Once full, it stays closed until half of it is free: else every batch
    /// that is worked off would let in one small batch.
    pub(super) fn look(&mut self, now: Duration) -> Step {
        let held = self.held();
        match self.flow {
            Flow::Open if held >= self.limit => self.flow = Flow::Full(now),
            Flow::Full(_) if held <= self.limit / 2 => self.flow = Flow::Open,
            Flow::Full(since) if now.saturating_sub(since) >= PATIENCE => {
                self.flow = Flow::Paused;
                return Step::Pause;
            }
            Flow::Paused if held <= self.limit / 2 => {
                self.flow = Flow::Open;
                return Step::Resume;
            }
            _ => {}
        }
        Step::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Bell for Nobody {
        fn ring(&self) {}
    }

    #[test]
    fn a_window_closes_when_full_and_opens_when_half_empty() {
        let mut window = Window::new(100);
        let at = Duration::from_millis;
        let first = window.hold(60, Arc::new(Nobody));
        assert_eq!(
            (window.look(at(0)), window.flow()),
            (Step::Nothing, Flow::Open)
        );
        let second = window.hold(60, Arc::new(Nobody));
        assert_eq!(
            (window.look(at(1)), window.flow()),
            (Step::Nothing, Flow::Full(at(1)))
        );
        drop(first);
        assert_eq!((window.look(at(2)), window.held()), (Step::Nothing, 60));
        assert_eq!(window.flow(), Flow::Full(at(1)));
        assert_eq!(window.look(at(2000)), Step::Nothing);
        assert_eq!(
            (window.look(at(2001)), window.flow()),
            (Step::Pause, Flow::Paused)
        );
        assert_eq!(window.look(at(9000)), Step::Nothing);
        drop(second);
        assert_eq!(
            (window.look(at(9001)), window.flow()),
            (Step::Resume, Flow::Open)
        );
    }
}
