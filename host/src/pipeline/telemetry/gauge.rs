//! A number that goes up and down, or is not known.

use std::sync::atomic::{AtomicI64, Ordering};

const UNKNOWN: i64 = i64::MIN;

/// A number that one part sets and anybody reads.
#[derive(Debug)]
pub struct Gauge(AtomicI64);

impl Default for Gauge {
    /// Not known yet.
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl Gauge {
    /// Sets it. The least number there is stands for one that is not known.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets it to a count.
    pub fn set_count(&self, count: u64) {
        self.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Forgets it.
    pub fn forget(&self) {
        self.set(UNKNOWN);
    }

    /// What it is, if that is known.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|value| *value != UNKNOWN)
    }
}
