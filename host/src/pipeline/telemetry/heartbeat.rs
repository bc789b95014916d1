//! What a part of a pipeline is doing, and since when: so that one that is stuck can be named.
//!
//! A part that waits, for input or for others, is never stuck: whoever it waits for may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// What a part is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It has nothing to do until input comes.
    Resting,
    /// It works on something of its own, which ends soon.
    Working,
    /// It waits for another part, or for a service elsewhere.
    Waiting,
    /// It has ended.
    Ended,
}

impl Doing {
    const ALL: [Self; 4] = [Self::Resting, Self::Working, Self::Waiting, Self::Ended];

    /// Its name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
        }
    }
}

/// Bits of the number that say what is done; the others are milliseconds.
const BITS: u32 = 2;

/// What one part says of itself: two stores for each thing it takes up.
#[derive(Debug)]
pub struct Heartbeat {
    clock: Arc<dyn Clock>,
    /// When it last said something, in milliseconds, and what.
    said: AtomicU64,
}

impl Heartbeat {
    /// Of a part that has yet to begin.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let heartbeat = Self {
            clock,
            said: AtomicU64::new(0),
        };
        heartbeat.rest();
        heartbeat
    }

    /// It waits for input.
    pub fn rest(&self) {
        self.say(Doing::Resting);
    }

    /// It took something up, or came on with it.
    pub fn work(&self) {
        self.say(Doing::Working);
    }

    /// It waits for another part, or for a service elsewhere.
    pub fn wait(&self) {
        self.say(Doing::Waiting);
    }

    /// It has ended, well or not.
    pub fn end(&self) {
        self.say(Doing::Ended);
    }

    /// The time since some fixed moment, by the clock that heartbeats go by.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// What it is doing, and for how long nothing else was said.
    pub fn doing(&self) -> (Doing, Duration) {
        let said = self.said.load(Ordering::Relaxed);
        let since = Duration::from_millis(said >> BITS);
        let what = Doing::ALL[(said & ((1 << BITS) - 1)) as usize];
        (what, self.clock.now().saturating_sub(since))
    }

    fn say(&self, what: Doing) {
        let now = self.clock.now().as_millis() as u64;
        self.said
            .store(now << BITS | what as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::telemetry::by_hand::ByHand;

    #[test]
    fn it_says_what_is_done_and_for_how_long() {
        let clock = Arc::new(ByHand::default());
        let heartbeat = Heartbeat::new(Arc::clone(&clock) as Arc<dyn Clock>);
        clock.pass(Duration::from_secs(3));
        assert_eq!(heartbeat.doing(), (Doing::Resting, Duration::from_secs(3)));
        type Say = fn(&Heartbeat);
        let says: [(Say, Doing); 4] = [
            (Heartbeat::work, Doing::Working),
            (Heartbeat::wait, Doing::Waiting),
            (Heartbeat::rest, Doing::Resting),
            (Heartbeat::end, Doing::Ended),
        ];
        for (say, doing) in says {
            say(&heartbeat);
            assert_eq!(heartbeat.doing(), (doing, Duration::ZERO));
            clock.pass(Duration::from_millis(1_500));
            assert_eq!(heartbeat.doing(), (doing, Duration::from_millis(1_500)));
        }
    }
}
