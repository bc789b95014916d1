//! How often something took how long: counts in fixed buckets, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds for work in this process and on its disks, in seconds.
pub const DURATIONS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Bounds for what a lane does between two batches, in seconds.
pub(super) const BETWEEN_BATCHES: [f64; 16] = [
    0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.000_75, 0.001, 0.002, 0.005, 0.01,
    0.025, 0.05, 0.1, 1.0, 10.0,
];

/// Bounds for the way of an event, from its arrival at the source to where it can be read, in seconds.
pub const FRESHNESS: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0,
    3_600.0,
];

/// Counts of durations by how long they were.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: the last is for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Nothing counted yet. `bounds` are in seconds, rise, and belong to the bucket below them.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_micros: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.observe_many(duration, 1);
    }

    /// Counts a duration `times` times, as for events that came and went together.
    pub fn observe_many(&self, duration: Duration, times: u64) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(times, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros
            .fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        HistogramSnapshot {
            buckets: bounds.zip(counts).collect(),
            sum_s: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

/// What a histogram had counted at some moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds in seconds, the last one infinite, and how many were above the bound before it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all durations, in seconds.
    pub sum_s: f64,
}

impl HistogramSnapshot {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The mean in seconds, if there is one.
    pub fn mean_s(&self) -> Option<f64> {
        match self.count() {
            0 => None,
            count => Some(self.sum_s / count as f64),
        }
    }

    /// A bound in seconds that at least the share `quantile` (0 to 1) is not above; none if nothing was
    /// counted, infinite if it is above all bounds.
    pub fn at_most_s(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = ((count as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.buckets.iter().find(|(_, count)| {
            below += count;
            below >= wanted
        });
        bucket.map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_are_what_sorting_says(micros in prop::collection::vec(0..100_000_000_u64, 0..200)) {
            let histogram = Histogram::new(&DURATIONS);
            micros.iter().for_each(|micros| histogram.observe(Duration::from_micros(*micros)));
            let snapshot = histogram.snapshot();
            prop_assert_eq!(snapshot.count(), micros.len() as u64);
            let mut below = 0;
            for (bound, count) in &snapshot.buckets {
                below += count;
                let expected = micros.iter().filter(|micros| **micros as f64 / 1e6 <= *bound);
                prop_assert_eq!(below, expected.count() as u64, "{}", bound);
            }
            let sum: u64 = micros.iter().sum();
            prop_assert!((snapshot.sum_s - sum as f64 / 1e6).abs() < 1e-6);
            for quantile in [0.0, 0.5, 0.99, 1.0] {
                let mut sorted = micros.clone();
                sorted.sort_unstable();
                let rank = ((sorted.len() as f64 * quantile).ceil() as usize).max(1);
                let Some(value) = sorted.get(rank - 1) else {
                    prop_assert_eq!(snapshot.at_most_s(quantile), None);
                    continue;
                };
                prop_assert!(snapshot.at_most_s(quantile).unwrap() >= *value as f64 / 1e6);
            }
        }
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        histogram.observe(Duration::from_secs(1));
        histogram.observe_many(Duration::from_secs(2), 3);
        histogram.observe(Duration::from_secs(3));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [(1.0, 1), (2.0, 3), (f64::INFINITY, 1)]);
        assert_eq!((snapshot.sum_s, snapshot.mean_s()), (10.0, Some(2.0)));
        assert_eq!(snapshot.at_most_s(0.8), Some(2.0));
        assert_eq!(snapshot.at_most_s(1.0), Some(f64::INFINITY));
    }
}
