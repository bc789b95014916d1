//! What is told of a lane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::accounts::Accounts;
use super::gauge::Gauge;
use super::heartbeat::Heartbeat;
use super::histogram::{BETWEEN_BATCHES, DURATIONS, Histogram};
use crate::clock::Clock;
use crate::pipeline::accounting::Accounting;
use crate::pipeline::queue::QueueFill;
use crate::store::embedded::{RequestCounts, StoreRequests};
use crate::window::UnfinishedCounts;

/// A key that many of a lane's rows have.
#[derive(Debug, Clone, PartialEq)]
pub struct HeavyKey {
    /// The key's columns as a JSON object.
    pub key: String,
    /// The part of the lane's rows that have it, of late, from 0 to 1.
    pub share: f64,
}

/// What a lane, and those who deliver for it, tell while they work. All counts are since the lane was opened in
/// this process.
#[derive(Debug)]
pub struct LaneTelemetry {
    /// The split that it belongs to, if it belongs to one.
    pub split: Option<String>,
    /// What the lane's task is doing.
    pub heartbeat: Heartbeat,
    /// Where its rows ended.
    pub accounts: Accounts,
    /// Up to which event time its input is complete, in microseconds.
    pub watermark: Gauge,
    /// Windows that closed, one for each key, with those of an earlier process.
    windows: AtomicU64,
    windows_before: AtomicU64,
    /// Rows that the transform gave and that were delivered.
    pub output_rows: AtomicU64,
    /// Feature values written.
    pub values: AtomicU64,
    /// Feature values that broke their validation and were removed.
    pub invalid: AtomicU64,
    /// How long the lane took for each batch, with the time that it waited for delivery.
    pub batches: Histogram,
    /// How long each commit took until it was durable.
    pub commits: Histogram,
    /// How long it stood still whenever it went over to another generation as it was.
    pub switches: Histogram,
    /// The longest of them, in microseconds.
    pub longest_switch: AtomicU64,
    /// When the last commit was durable, or since when one is awaited: milliseconds of the heartbeat's clock.
    committed_at: Gauge,
    /// Bytes of its windows' state in memory.
    pub state_bytes: Gauge,
    /// Keys whose state is in memory.
    pub resident_keys: Gauge,
    /// Entries of its outbox, of many messages each, that are committed and that a sink has yet to take.
    pub outbox_entries: Gauge,
    /// What its database asks of the disk or of object storage.
    pub store: OnceLock<Arc<StoreRequests>>,
    /// When it was opened, of the heartbeat's clock.
    opened_at: Duration,
    /// Calls of the transform that trapped or broke a limit.
    pub traps: AtomicU64,
    /// Windows that could not be finished and are kept.
    pub unfinished: Gauge,
    /// Windows that could not be finished and were not kept, as there was no room.
    pub unfinished_dropped: AtomicU64,
    /// Windows that another version could not finish and that were tried again.
    pub unfinished_tried: AtomicU64,
    /// Those of them that were finished.
    pub unfinished_finished: AtomicU64,
    /// The queue before it.
    pub queue: OnceLock<QueueFill>,
    heavy_keys: Mutex<Vec<HeavyKey>>,
}

impl LaneTelemetry {
    /// Of a lane that was opened just now.
    pub(super) fn new(split: Option<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            split,
            accounts: Accounts::default(),
            watermark: Gauge::default(),
            windows: AtomicU64::new(0),
            windows_before: AtomicU64::new(0),
            output_rows: AtomicU64::new(0),
            values: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            batches: Histogram::new(&DURATIONS),
            commits: Histogram::new(&DURATIONS),
            switches: Histogram::new(&BETWEEN_BATCHES),
            longest_switch: AtomicU64::new(0),
            committed_at: Gauge::default(),
            state_bytes: Gauge::default(),
            resident_keys: Gauge::default(),
            outbox_entries: Gauge::default(),
            store: OnceLock::new(),
            opened_at: clock.now(),
            traps: AtomicU64::new(0),
            unfinished: Gauge::default(),
            unfinished_dropped: AtomicU64::new(0),
            unfinished_tried: AtomicU64::new(0),
            unfinished_finished: AtomicU64::new(0),
            queue: OnceLock::new(),
            heavy_keys: Mutex::default(),
            heartbeat: Heartbeat::new(clock),
        }
    }

    /// What its database has asked for since the lane was opened; none if it has no database.
    pub fn store_requests(&self) -> Option<RequestCounts> {
        self.store.get().map(|requests| requests.counts())
    }

    /// For how long it has been open.
    pub fn open_for(&self) -> Duration {
        self.since(self.opened_at)
    }

    /// The lane goes on where an earlier process had come to.
    pub fn resume(&self, accounting: &Accounting, windows: u64, watermark: i64) {
        self.accounts.resume(accounting);
        self.windows_before.store(windows, Ordering::Relaxed);
        self.windows.store(windows, Ordering::Relaxed);
        self.watermark.set(watermark);
    }

    /// The lane takes up a batch. Returns when, for [`LaneTelemetry::batch_ends`].
    pub fn batch_begins(&self) -> Duration {
        self.heartbeat.work();
        self.heartbeat.now()
    }

    /// The lane is done with a batch that it `began`, and has counted this much in all.
    pub fn batch_ends(
        &self,
        began: Duration,
        accounting: &Accounting,
        windows: u64,
        watermark: i64,
    ) {
        self.publish(accounting, windows, watermark);
        self.batches.observe(self.since(began));
    }

    /// Publishes what the lane has counted in all.
    pub fn publish(&self, accounting: &Accounting, windows: u64, watermark: i64) {
        self.accounts.publish(accounting);
        self.windows.store(windows, Ordering::Relaxed);
        self.watermark.set(watermark);
    }

    /// Output of the lane was delivered: `values` in force, and `invalid` that were removed.
    pub fn delivered(&self, rows: u64, values: u64, invalid: u64) {
        self.output_rows.fetch_add(rows, Ordering::Relaxed);
        self.values.fetch_add(values, Ordering::Relaxed);
        self.invalid.fetch_add(invalid, Ordering::Relaxed);
    }

    /// What became of windows that could not be finished, since the lane was opened.
    pub fn tell_unfinished(&self, counts: &UnfinishedCounts) {
        self.unfinished.set_count(counts.kept);
        let counts = [
            (&self.unfinished_dropped, counts.dropped),
            (&self.unfinished_tried, counts.tried),
            (&self.unfinished_finished, counts.finished),
        ];
        for (told, count) in counts {
            told.store(count, Ordering::Relaxed);
        }
    }

    /// The lane commits from now on, so that it can be told how long it has not.
    pub fn awaits_commits(&self) {
        let now = self.heartbeat.now().as_millis();
        self.committed_at.set_count(now as u64);
    }

    /// A commit that was `begun` then has become durable.
    pub fn committed(&self, begun: Duration) {
        let now = self.heartbeat.now();
        self.commits.observe(now.saturating_sub(begun));
        self.committed_at.set_count(now.as_millis() as u64);
    }

    /// The lane has gone over to another generation, which it `began` then.
    pub fn switched(&self, began: Duration) {
        let took = self.since(began);
        self.switches.observe(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_switch.fetch_max(micros, Ordering::Relaxed);
    }

    /// Windows that closed since the lane was opened here.
    pub fn windows(&self) -> u64 {
        let all = self.windows.load(Ordering::Relaxed);
        all.saturating_sub(self.windows_before.load(Ordering::Relaxed))
    }

    /// How long ago the last commit was durable, or since when one is awaited; none of a lane that does not commit.
    pub fn since_commit(&self) -> Option<Duration> {
        let at = self.committed_at.get()?;
        Some(self.since(Duration::from_millis(at as u64)))
    }

    /// The keys that most of the lane's rows have, from the heaviest on. Told every many batches.
    pub fn set_heavy_keys(&self, heavy: Vec<HeavyKey>) {
        let told = self.heavy_keys.lock();
        *told.unwrap_or_else(PoisonError::into_inner) = heavy;
    }

    /// The keys that most of the lane's rows have, from the heaviest on.
    pub fn heavy_keys(&self) -> Vec<HeavyKey> {
        let told = self.heavy_keys.lock();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn since(&self, began: Duration) -> Duration {
        self.heartbeat.now().saturating_sub(began)
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::ByHand;
    use super::*;

    #[test]
    fn a_batch_and_a_commit_are_timed_and_counted() {
        let clock = Arc::new(ByHand::default());
        let lane = LaneTelemetry::new(None, Arc::clone(&clock) as Arc<dyn Clock>);
        let before = Accounting {
            applied: 10,
            ..Accounting::default()
        };
        lane.resume(&before, 4, 1_000);
        assert_eq!(lane.since_commit(), None);
        lane.awaits_commits();
        clock.pass(Duration::from_secs(5));
        assert_eq!(lane.since_commit(), Some(Duration::from_secs(5)));
        let began = lane.batch_begins();
        clock.pass(Duration::from_millis(20));
        let after = Accounting {
            applied: 13,
            ..Accounting::default()
        };
        lane.batch_ends(began, &after, 6, 2_000);
        assert_eq!(lane.accounts.here().applied, 3);
        assert_eq!((lane.windows(), lane.watermark.get()), (2, Some(2_000)));
        assert_eq!(lane.batches.snapshot().at_most_s(1.0), Some(0.025));
        let begun = lane.heartbeat.now();
        clock.pass(Duration::from_millis(3));
        lane.committed(begun);
        assert_eq!(lane.commits.snapshot().at_most_s(1.0), Some(0.005));
        assert_eq!(lane.since_commit(), Some(Duration::ZERO));
    }
}
