//! What pipelines tell of themselves while they work, for anybody who asks: metrics, health, a person.
//!
//! In come stores to atomics from the parts at work, a few for each batch; out go snapshots. Nothing here knows how
//! it is shown, a lane never waits for whoever reads, and no result depends on it. A lock is taken only when parts
//! come and go, when a row was rejected, and by readers.

mod accounts;
mod gauge;
mod heartbeat;
mod histogram;
mod lane;
mod parts;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use self::accounts::Accounts;
pub use self::gauge::Gauge;
pub use self::heartbeat::{Doing, Heartbeat};
pub use self::histogram::{DURATIONS, FRESHNESS, Histogram, HistogramSnapshot};
pub use self::lane::{HeavyKey, LaneTelemetry};
pub use self::parts::{DeliveryTelemetry, ReaderTelemetry, SplitStatus};
pub use self::state::{Generation, PipelineState};
use super::accounting::Accounting;
pub use super::queue::QueueFill;
use crate::clock::Clock;
use crate::source::ReadProgress;
pub use crate::store::embedded::RequestCounts;
pub use crate::store::figures::{CacheFigures, HistoryFigures, StoreFigures};

/// The pipelines of a process.
#[derive(Debug)]
pub struct Telemetry {
    clock: Arc<dyn Clock>,
    pipelines: Mutex<BTreeMap<String, Arc<PipelineTelemetry>>>,
    /// Of the cache that readers are answered from.
    cache: OnceLock<Arc<CacheFigures>>,
    /// Of the table that values go to which are put here.
    puts: OnceLock<Arc<StoreFigures>>,
}

/// Asks a live stream how far its splits were read.
struct AskSplits(Box<dyn Fn() -> Vec<SplitStatus> + Send>);

impl fmt::Debug for AskSplits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskSplits").finish_non_exhaustive()
    }
}

/// What a pipeline tells.
#[derive(Debug, Default)]
pub struct PipelineTelemetry {
    state: Mutex<PipelineState>,
    generation: Mutex<Generation>,
    /// How far recorded input was read.
    read: Mutex<Option<Arc<ReadProgress>>>,
    lanes: Mutex<BTreeMap<u32, Arc<LaneTelemetry>>>,
    readers: Mutex<BTreeMap<String, Arc<ReaderTelemetry>>>,
    deliveries: Mutex<BTreeMap<String, Arc<DeliveryTelemetry>>>,
    splits: Mutex<Option<AskSplits>>,
    /// Of the table that its features go to.
    store: OnceLock<Arc<StoreFigures>>,
    /// Of the history of its features.
    history: OnceLock<Arc<HistoryFigures>>,
    /// Rows and rejects of recorded history that came before the stream.
    bootstrapped: AtomicU64,
    gone: Gone,
}

/// What was counted by parts that have left, so that sums over a pipeline never fall.
#[derive(Debug, Default)]
struct Gone {
    accounting: Mutex<Accounting>,
    windows: AtomicU64,
    output_rows: AtomicU64,
    values: AtomicU64,
    invalid: AtomicU64,
}

/// How far recorded input was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes that there are.
    pub bytes: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Records that were read.
    pub records_read: u64,
}

/// Sums over a pipeline since its process began, with the parts that have left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows by where they ended.
    pub accounting: Accounting,
    /// Windows that closed, one for each key.
    pub windows: u64,
    /// Rows that were delivered.
    pub output_rows: u64,
    /// Feature values written.
    pub values: u64,
    /// Feature values that broke their validation and were removed.
    pub invalid: u64,
}

impl Telemetry {
    /// Of no pipelines yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            pipelines: Mutex::default(),
            cache: OnceLock::new(),
            puts: OnceLock::new(),
        }
    }

    /// Notes what the cache tells that readers are answered from.
    pub fn set_cache(&self, figures: Arc<CacheFigures>) {
        // There is one in a process.
        let _ = self.cache.set(figures);
    }

    /// What the cache tells that readers are answered from, if there is one.
    pub fn cache(&self) -> Option<&Arc<CacheFigures>> {
        self.cache.get()
    }

    /// Notes what the table tells that values go to which are put here.
    pub fn set_puts(&self, figures: Arc<StoreFigures>) {
        // There is one in a process.
        let _ = self.puts.set(figures);
    }

    /// What the table tells that values go to which are put here, if there is one.
    pub fn puts(&self) -> Option<&Arc<StoreFigures>> {
        self.puts.get()
    }

    /// The clock that the parts go by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Adds a pipeline, or gives the one that has this name.
    pub fn pipeline(&self, name: &str) -> Arc<PipelineTelemetry> {
        let mut pipelines = locked(&self.pipelines);
        Arc::clone(pipelines.entry(name.into()).or_default())
    }

    /// All pipelines by name.
    pub fn pipelines(&self) -> Vec<(String, Arc<PipelineTelemetry>)> {
        listed(&self.pipelines)
    }
}

impl PipelineTelemetry {
    /// Notes what the pipeline is about now.
    pub fn set_state(&self, state: PipelineState) {
        *locked(&self.state) = state;
    }

    /// What the pipeline is about.
    pub fn state(&self) -> PipelineState {
        locked(&self.state).clone()
    }

    /// Notes what runs in it now.
    pub fn set_generation(&self, generation: Generation) {
        *locked(&self.generation) = generation;
    }

    /// What runs in it.
    pub fn generation(&self) -> Generation {
        locked(&self.generation).clone()
    }

    /// Notes what the store tells that its features go to, if that is elsewhere.
    pub fn set_store(&self, figures: Arc<StoreFigures>) {
        // It was opened once.
        let _ = self.store.set(figures);
    }

    /// What the store tells that its features go to, if that is elsewhere.
    pub fn store(&self) -> Option<&Arc<StoreFigures>> {
        self.store.get()
    }

    /// What is told of the history of its features, to be told by whoever writes it.
    pub fn begin_history(&self) -> Arc<HistoryFigures> {
        Arc::clone(self.history.get_or_init(Arc::default))
    }

    /// What is told of the history of its features, if there is one.
    pub fn history(&self) -> Option<&Arc<HistoryFigures>> {
        self.history.get()
    }

    /// Notes that its input is recorded, and where it says how far it was read.
    pub fn set_recorded(&self, read: Arc<ReadProgress>) {
        *locked(&self.read) = Some(read);
    }

    /// How far its input was read, if that is recorded.
    pub fn recorded(&self) -> Option<Recorded> {
        let read = locked(&self.read);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        read.as_ref().map(|read| Recorded {
            bytes: load(&read.bytes_total),
            bytes_read: load(&read.bytes_read),
            records_read: load(&read.records),
        })
    }

    /// A lane has come, of a split if it belongs to one. One that was here before begins anew.
    pub fn lane(
        &self,
        number: u32,
        split: Option<&str>,
        clock: &Arc<dyn Clock>,
    ) -> Arc<LaneTelemetry> {
        self.close_lane(number);
        let lane = LaneTelemetry::new(split.map(str::to_owned), Arc::clone(clock));
        let lane = Arc::new(lane);
        locked(&self.lanes).insert(number, Arc::clone(&lane));
        lane
    }

    /// A lane has left. Its counts stay in the [`Totals`].
    pub fn close_lane(&self, number: u32) {
        // Both are held: a sum must find the lane here or there, and not twice or never.
        let mut accounting = locked(&self.gone.accounting);
        let Some(lane) = locked(&self.lanes).remove(&number) else {
            return;
        };
        *accounting += &lane.accounts.here();
        let add = |to: &AtomicU64, count| to.fetch_add(count, Ordering::Relaxed);
        add(&self.gone.windows, lane.windows());
        add(
            &self.gone.output_rows,
            lane.output_rows.load(Ordering::Relaxed),
        );
        add(&self.gone.values, lane.values.load(Ordering::Relaxed));
        add(&self.gone.invalid, lane.invalid.load(Ordering::Relaxed));
    }

    /// The lanes that are here, by number.
    pub fn lanes(&self) -> Vec<(u32, Arc<LaneTelemetry>)> {
        listed(&self.lanes)
    }

    /// A reader has come, of this split; an empty name stands for all of them.
    pub fn reader(&self, split: &str, clock: &Arc<dyn Clock>) -> Arc<ReaderTelemetry> {
        self.close_reader(split);
        let reader = Arc::new(ReaderTelemetry::new(Arc::clone(clock)));
        locked(&self.readers).insert(split.into(), Arc::clone(&reader));
        reader
    }

    /// A reader has left. Its counts stay in the [`Totals`].
    pub fn close_reader(&self, split: &str) {
        let mut accounting = locked(&self.gone.accounting);
        if let Some(reader) = locked(&self.readers).remove(split) {
            *accounting += &reader.accounts.here();
        }
    }

    /// The readers that are here, by split.
    pub fn readers(&self) -> Vec<(String, Arc<ReaderTelemetry>)> {
        listed(&self.readers)
    }

    /// A delivery has come, for the lane of this number; an empty name stands for all of them.
    pub fn delivery(&self, lane: &str, clock: &Arc<dyn Clock>) -> Arc<DeliveryTelemetry> {
        let delivery = Arc::new(DeliveryTelemetry::new(Arc::clone(clock)));
        locked(&self.deliveries).insert(lane.into(), Arc::clone(&delivery));
        delivery
    }

    /// A delivery has left.
    pub fn close_delivery(&self, lane: &str) {
        locked(&self.deliveries).remove(lane);
    }

    /// The deliveries that are here, by lane.
    pub fn deliveries(&self) -> Vec<(String, Arc<DeliveryTelemetry>)> {
        listed(&self.deliveries)
    }

    /// Notes whom to ask how far the splits of its live stream were read. It must answer at once.
    pub fn set_splits(&self, ask: impl Fn() -> Vec<SplitStatus> + Send + 'static) {
        *locked(&self.splits) = Some(AskSplits(Box::new(ask)));
    }

    /// How far the splits of its live stream were read that are here; none if its input is recorded.
    pub fn splits(&self) -> Vec<SplitStatus> {
        let ask = locked(&self.splits);
        ask.as_ref().map(|AskSplits(ask)| ask()).unwrap_or_default()
    }

    /// Counts records of recorded history that came before its stream.
    pub(super) fn bootstrapped(&self, records: u64) {
        self.bootstrapped.fetch_add(records, Ordering::Relaxed);
    }

    /// Records of recorded history that came before its stream, in this process. They are in the accounts as well.
    pub fn bootstrap_rows(&self) -> u64 {
        self.bootstrapped.load(Ordering::Relaxed)
    }

    /// The least watermark of the lanes, in microseconds; none before every lane has one.
    pub fn watermark(&self) -> Option<i64> {
        let lanes = self.lanes();
        let all: Option<Vec<i64>> = lanes.iter().map(|(_, lane)| lane.watermark.get()).collect();
        all?.into_iter().min()
    }

    /// What each part is doing, by name.
    pub fn parts(&self) -> Vec<(String, Doing, std::time::Duration)> {
        let named = |what: &str, of: &str| match of {
            "" => what.to_owned(),
            of => format!("{what} {of}"),
        };
        let mut parts = Vec::new();
        let mut add = |name, heartbeat: &Heartbeat| {
            let (doing, since) = heartbeat.doing();
            parts.push((name, doing, since));
        };
        for (split, reader) in self.readers() {
            add(named("reader", &split), &reader.heartbeat);
        }
        for (number, lane) in self.lanes() {
            add(named("lane", &number.to_string()), &lane.heartbeat);
        }
        for (lane, delivery) in self.deliveries() {
            add(named("delivery", &lane), &delivery.heartbeat);
        }
        parts
    }

    /// Sums over all parts that are or were here.
    pub fn totals(&self) -> Totals {
        let gone = locked(&self.gone.accounting);
        let counted = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut totals = Totals {
            accounting: gone.clone(),
            windows: counted(&self.gone.windows),
            output_rows: counted(&self.gone.output_rows),
            values: counted(&self.gone.values),
            invalid: counted(&self.gone.invalid),
        };
        for (_, reader) in self.readers() {
            totals.accounting += &reader.accounts.here();
        }
        for (_, lane) in self.lanes() {
            totals.accounting += &lane.accounts.here();
            totals.windows += lane.windows();
            totals.output_rows += counted(&lane.output_rows);
            totals.values += counted(&lane.values);
            totals.invalid += counted(&lane.invalid);
        }
        totals
    }
}

/// A panic of another holder has been reported by itself, and these are only numbers.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listed<K: Clone + Ord, V>(map: &Mutex<BTreeMap<K, Arc<V>>>) -> Vec<(K, Arc<V>)> {
    let map = locked(map);
    let all = map.iter();
    all.map(|(key, value)| (key.clone(), Arc::clone(value)))
        .collect()
}

/// A clock for tests, which goes only when it is told to.
#[cfg(test)]
pub(crate) mod by_hand {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use crate::clock::Clock;

    #[derive(Debug, Default)]
    pub(crate) struct ByHand(Mutex<Duration>);

    impl ByHand {
        pub(crate) fn pass(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }

    impl Clock for ByHand {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn wait(&self, _: Duration, _: &AtomicBool) {}
    }
}

#[cfg(test)]
mod tests {
    use super::by_hand::ByHand;
    use super::*;
    use crate::stage::Stage;

    #[test]
    fn sums_never_fall_when_parts_leave_and_come_back() {
        let clock: Arc<dyn Clock> = Arc::new(ByHand::default());
        let pipeline = PipelineTelemetry::default();
        let mut accounting = Accounting {
            applied: 5,
            ..Accounting::default()
        };
        accounting.reject(Stage::Transform, "c");
        let read = Accounting {
            read: 7,
            ..Accounting::default()
        };
        let work = |number| {
            let lane = pipeline.lane(number, Some("topic/0"), &clock);
            lane.publish(&accounting, 2, 10 - i64::from(number));
            lane.delivered(3, 4, 1);
            pipeline.reader("topic/0", &clock).accounts.publish(&read);
        };
        work(0);
        work(1);
        assert_eq!(pipeline.watermark(), Some(9));
        pipeline.close_lane(0);
        pipeline.close_lane(0);
        pipeline.close_reader("topic/0");
        assert_eq!(pipeline.lanes().len(), 1);
        // A lane that comes back counts from nothing, and one that comes twice was closed before.
        work(0);
        work(0);
        let totals = pipeline.totals();
        assert_eq!(totals.accounting.applied, 4 * 5);
        assert_eq!(totals.accounting.rejected_in_all(), 4);
        assert_eq!(totals.accounting.read, 4 * 7);
        assert_eq!(
            (
                totals.windows,
                totals.output_rows,
                totals.values,
                totals.invalid
            ),
            (8, 12, 16, 4)
        );
    }

    #[test]
    fn parts_are_named() {
        let clock: Arc<dyn Clock> = Arc::new(ByHand::default());
        let pipeline = PipelineTelemetry::default();
        pipeline.reader("", &clock).heartbeat.wait();
        pipeline.lane(3, None, &clock).heartbeat.work();
        pipeline.delivery("3", &clock).heartbeat.end();
        let parts = pipeline.parts();
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, doing, _)| (name.as_str(), *doing))
            .collect();
        assert_eq!(
            parts,
            [
                ("reader", Doing::Waiting),
                ("lane 3", Doing::Working),
                ("delivery 3", Doing::Ended),
            ]
        );
    }
}
