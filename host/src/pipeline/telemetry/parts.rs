//! What is told of the parts of a pipeline beside its lanes: readers, splits, delivery.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::accounts::Accounts;
use super::heartbeat::Heartbeat;
use super::histogram::{FRESHNESS, Histogram};
use crate::clock::Clock;
use crate::pipeline::queue::QueueFill;

/// What a reader tells: of all splits of a recorded run, or of one split of a live one.
#[derive(Debug)]
pub struct ReaderTelemetry {
    /// What its thread is doing.
    pub heartbeat: Heartbeat,
    /// What it read, and where that ended which never reached a lane. Of a live split all of it is in the accounts of
    /// its lanes.
    pub accounts: Accounts,
    /// From an event's arrival at the source to where what it led to is durable and can be read.
    pub freshness: Histogram,
    /// What was dealt out and is not durable yet, by rising position.
    arrivals: Mutex<VecDeque<Arrivals>>,
}

/// Batches whose arrivals are remembered; more of them count as one, as old as the oldest.
const MOST_ARRIVALS: usize = 1024;

/// Events that came together.
#[derive(Debug)]
struct Arrivals {
    /// The position after the last of them.
    until: i64,
    /// When the first of them arrived, in microseconds since 1970.
    oldest: i64,
    events: u64,
}

/// What a delivery tells: of all lanes of a recorded run, or of one lane of a live one.
#[derive(Debug)]
pub struct DeliveryTelemetry {
    /// What its thread is doing.
    pub heartbeat: Heartbeat,
    /// The queue before it.
    pub queue: OnceLock<QueueFill>,
}

/// How far a part of a live stream was read: a partition, a shard. Positions are a topic's own; of a shard
/// they count messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitStatus {
    /// Its name: a partition's number, or a shard's name.
    pub split: String,
    /// The position of the next record to be read, once reading has begun.
    pub position: Option<i64>,
    /// The position after the last record that there is, as last heard.
    pub end: Option<i64>,
    /// Records that are there and were not read, as far as that is known.
    pub lag: Option<u64>,
    /// How far reading is behind the newest record, as far as the stream says that.
    pub behind: Option<Duration>,
    /// Whether reading rests because the lane has enough to do.
    pub paused: bool,
    /// Bytes of it that are under way.
    pub held_bytes: u64,
    /// How often reading rested.
    pub pauses: u64,
    /// How often the stream asked to be asked less often, if it does such a thing.
    pub throttled: Option<u64>,
}

impl ReaderTelemetry {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            heartbeat: Heartbeat::new(clock),
            accounts: Accounts::default(),
            freshness: Histogram::new(&FRESHNESS),
            arrivals: Mutex::default(),
        }
    }

    /// Events up to the position `until` were dealt out. The first of them arrived at `oldest`, in microseconds since
    /// 1970. One lock for a batch, which only a commit contends.
    pub fn arrived(&self, until: i64, oldest: i64, events: u64) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = arrivals.len() >= MOST_ARRIVALS;
        if let Some(last) = arrivals.back_mut().filter(|_| is_full) {
            last.until = until;
            last.oldest = last.oldest.min(oldest);
            last.events += events;
            return;
        }
        arrivals.push_back(Arrivals {
            until,
            oldest,
            events,
        });
    }

    /// Everything before a position is durable and can be read, and it is `now`. An event of the future counts as
    /// fresh, and all of a batch are as old as the oldest.
    pub fn readable(&self, position: i64, now: i64) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = arrivals.front().filter(|first| first.until <= position) {
            let age = now.saturating_sub(first.oldest).max(0) as u64;
            let age = Duration::from_micros(age);
            self.freshness.observe_many(age, first.events);
            arrivals.pop_front();
        }
    }
}

impl DeliveryTelemetry {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            heartbeat: Heartbeat::new(clock),
            queue: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::ByHand;
    use super::*;

    #[test]
    fn events_are_fresh_or_not_once_they_can_be_read() {
        let reader = ReaderTelemetry::new(Arc::new(ByHand::default()));
        reader.arrived(10, 1_000_000, 10);
        reader.arrived(15, 2_000_000, 5);
        reader.readable(9, 9_000_000);
        assert_eq!(reader.freshness.snapshot().count(), 0);
        reader.readable(10, 1_400_000);
        assert_eq!(reader.freshness.snapshot().at_most_s(1.0), Some(0.5));
        // The clocks of two machines differ.
        reader.readable(100, 1_900_000);
        let freshness = reader.freshness.snapshot();
        assert_eq!((freshness.count(), freshness.buckets[0].1), (15, 5));
    }

    #[test]
    fn what_waits_for_long_is_bounded_and_all_of_it_counted() {
        let reader = ReaderTelemetry::new(Arc::new(ByHand::default()));
        let many = 3 * MOST_ARRIVALS as i64;
        (0..many).for_each(|at| reader.arrived(at + 1, at, 2));
        assert_eq!(reader.arrivals.lock().unwrap().len(), MOST_ARRIVALS);
        reader.readable(many - 1, many);
        reader.readable(many, many);
        assert_eq!(reader.freshness.snapshot().count(), 2 * many as u64);
    }
}
