//! Probation: for how long, and how much, a transform that took another's place may fail before it is taken back.
//!
//! All lanes of a host share one. Whether it is over is a matter of the clock, which the pipeline's member looks at; lanes
//! look at nothing but what it noted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The probation of a generation on one host.
#[derive(Debug)]
pub(in crate::pipeline) struct Probation {
    /// When it is over, in microseconds since 1970-01-01T00:00:00Z.
    until: i64,
    /// Failures that are forgiven.
    most: u64,
    failures: AtomicU64,
    is_over: AtomicBool,
    is_broken: AtomicBool,
}

impl Probation {
    /// Until then, with so many failures forgiven.
    pub(in crate::pipeline) fn new(until: i64, most: u64) -> Self {
        Self {
            until,
            most,
            failures: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        }
    }

    /// The transform has failed on a row, or in a call that nobody can explain. Gives whether that is once too often.
    pub(in crate::pipeline) fn fails(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) {
            return false;
        }
        let is_broken = self.failures.fetch_add(1, Ordering::Relaxed) >= self.most;
        self.is_broken.fetch_or(is_broken, Ordering::Relaxed);
        is_broken
    }

    /// Whether nothing is forgiven, so that it need not be found out which rows it fails on.
    pub(in crate::pipeline) fn forgives_nothing(&self) -> bool {
        self.most == 0 && !self.is_over.load(Ordering::Relaxed)
    }

    /// Notes what time it is.
    pub(in crate::pipeline) fn pass(&self, now: i64) {
        if now >= self.until {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a failure that is heard of now leads back: one that ended a lane while it lasted may be heard of later.
    pub(in crate::pipeline) fn leads_back(&self, now: i64) -> bool {
        now < self.until || self.is_broken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_broken_by_one_failure_too_many_and_never_when_it_is_over() {
        let probation = Probation::new(10, 2);
        assert!(!probation.forgives_nothing());
        assert_eq!([0; 3].map(|_| probation.fails()), [false, false, true]);
        assert!(probation.leads_back(9) && probation.leads_back(11));

        let probation = Probation::new(10, 0);
        probation.pass(9);
        assert!(probation.forgives_nothing());
        probation.pass(10);
        assert!(!probation.forgives_nothing() && !probation.fails());
        assert!(!probation.leads_back(10));
    }
}
