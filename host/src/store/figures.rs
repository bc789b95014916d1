//! What a store and the cache in front of it tell while they work: numbers that anybody may look at, at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a store elsewhere was asked for, and what came of it.
#[derive(Debug, Default)]
pub struct StoreFigures {
    /// Items that were sent and are newer than what was there, at least in part.
    pub written: Count,
    /// Items of which nothing was newer.
    pub superseded: Count,
    /// Requests that the service refused because there were too many.
    pub throttled: Count,
    /// Requests that failed or were not answered, and were made again.
    pub retried: Count,
    /// Items that were asked for.
    pub read: Count,
    /// Requests for items.
    pub reads: Count,
    /// Keys that an answer left out, and that were asked for again.
    pub unprocessed: Count,
    /// Values that were removed because the service does not take items so large.
    pub oversized: Count,
    /// Since when each lane has items that are not acknowledged, by pipeline and lane.
    waiting: Mutex<BTreeMap<(String, u32), Waiting>>,
}

/// Items on their way.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    items: u64,
}

/// What is told of the history of a pipeline's features.
#[derive(Debug, Default)]
pub struct HistoryFigures {
    /// Rows that were written.
    pub rows: Count,
    /// Times that rows could not be written; they are written later.
    pub failed: Count,
    /// Files that compaction took away, and those that it made of them.
    pub compacted: Count,
    /// See there.
    pub made: Count,
    /// Compactions that failed; they are tried again.
    pub uncompacted: Count,
    /// Since when each lane has rows that are not written.
    waiting: Mutex<BTreeMap<u32, Instant>>,
}

impl HistoryFigures {
    /// A lane has rows that are not written yet.
    pub fn waits(&self, lane: u32) {
        self.waiting().entry(lane).or_insert_with(Instant::now);
    }

    /// A lane has none any more, or is somebody else's.
    pub fn waits_no_more(&self, lane: u32) {
        self.waiting().remove(&lane);
    }

    /// For how long the oldest row has waited to be written.
    pub fn lag(&self) -> Duration {
        let waiting = self.waiting();
        let oldest = waiting.values().min();
        oldest.map_or(Duration::ZERO, Instant::elapsed)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u32, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreFigures {
    /// A lane has items that are not acknowledged yet.
    pub(super) fn waits(&self, pipeline: &str, lane: u32, items: usize) {
        let mut waiting = self.waiting();
        let lane = waiting.entry((pipeline.to_owned(), lane));
        let since = Instant::now();
        lane.or_insert(Waiting { since, items: 0 }).items = items as u64;
    }

    /// A lane has none any more.
    pub(super) fn waits_no_more(&self, pipeline: &str, lane: u32) {
        self.waiting().remove(&(pipeline.to_owned(), lane));
    }

    /// For how long the oldest item has waited to be acknowledged: how far what is served is behind what was computed.
    pub fn lag(&self) -> Duration {
        let waiting = self.waiting();
        let oldest = waiting.values().map(|waiting| waiting.since).min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Items that are not acknowledged.
    pub fn pending(&self) -> u64 {
        self.waiting().values().map(|waiting| waiting.items).sum()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(String, u32), Waiting>> {
        // Every change is whole before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a cache did.
#[derive(Debug, Default)]
pub struct CacheFigures {
    /// Items that were answered from it.
    pub hits: Count,
    /// Of those, items of which it was known that there is nothing.
    pub absent_hits: Count,
    /// Items that were loaded.
    pub misses: Count,
    /// Items that somebody else was loading already.
    pub joined: Count,
    /// Of the misses, items that were held and too old.
    pub expired: Count,
    /// Loads that failed.
    pub failed: Count,
    /// How old answers were together, in microseconds.
    pub age: Count,
    oldest: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl CacheFigures {
    /// So much is held now.
    pub(super) fn holds(&self, entries: u64, bytes: u64) {
        self.entries.store(entries, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Items that were held after the last load, and their bytes, about.
    pub fn held(&self) -> (u64, u64) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (load(&self.entries), load(&self.bytes))
    }

    /// An item was answered with that was loaded or confirmed so long ago.
    pub(super) fn answered(&self, age: Duration) {
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.hits.one();
        self.age.add(micros);
        self.oldest.fetch_max(micros, Ordering::Relaxed);
    }

    /// How old the oldest answer was.
    pub fn oldest(&self) -> Duration {
        Duration::from_micros(self.oldest.load(Ordering::Relaxed))
    }

    /// How many of the items that were asked for were there, from 0 to 1; none before anything was asked for.
    pub fn hit_rate(&self) -> Option<f64> {
        let hits = self.hits.get();
        let all = hits + self.misses.get() + self.joined.get();
        (all > 0).then(|| hits as f64 / all as f64)
    }
}
