//! Rows by the clock: when each is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Pace;

/// Rows that are due within this time go together, or every row would be a batch of its own.
const GRAIN: Duration = Duration::from_millis(5);

/// When rows are due. The first row is due at once; each further one when event time, sped up, has
/// come to it. Rows that are out of order are due with those before them.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    stop: Arc<AtomicBool>,
    /// The first row's event time, and when it went.
    start: Option<(i64, Duration)>,
}

impl Pacer {
    pub(super) fn new(pace: Pace, stop: Arc<AtomicBool>) -> Self {
        Self {
            pace,
            stop,
            start: None,
        }
    }

    /// The greatest event time that is due by now. `first` is that of the next row.
    pub(super) fn horizon(&mut self, first: i64) -> i64 {
        let now = self.pace.clock.now();
        let (event_time, began) = *self.start.get_or_insert((first, now));
        let passed = now.saturating_sub(began).as_micros() as f64 * self.pace.factor;
        // A cast of floats saturates.
        event_time.saturating_add(passed as i64)
    }

    /// Waits until a row of this event time is due; `false` if a stop came first.
    pub(super) fn wait(&self, event_time: i64) -> bool {
        let Some((start, began)) = self.start else {
            return true;
        };
        let ahead = event_time.saturating_sub(start).max(0) as f64 / self.pace.factor;
        // A microsecond more, so that rounding does not wake anybody too early.
        let due = began.saturating_add(Duration::from_micros((ahead as u64).saturating_add(1)));
        let grain = self.pace.clock.now().saturating_add(GRAIN);
        self.pace.clock.wait(due.max(grain), &self.stop);
        !self.stop.load(Ordering::Relaxed)
    }
}
