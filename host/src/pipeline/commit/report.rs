//! What a lane has to say so far, in a form that JSON has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pipeline::accounting::{Accounting, Mapped, Reason};
use crate::pipeline::lane::LaneReport;
use crate::transform::{Figures, Observations};
use crate::window::UnfinishedCounts;

/// The accounts of a lane, and what its transform told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::pipeline) struct KeptReport {
    /// In microseconds; `i64::MIN` before there is one.
    pub(in crate::pipeline) watermark: i64,
    windows: u64,
    read: u64,
    applied: u64,
    filtered: u64,
    partly_late: u64,
    late: u64,
    quarantined: u64,
    poisoned: u64,
    #[serde(default)]
    forwarded: u64,
    #[serde(default)]
    received: u64,
    #[serde(default)]
    partials: u64,
    mapped: Option<Mapped>,
    rejected: Vec<(Reason, u64)>,
    figures: Told,
    /// Of windows that could not be finished: how many are kept, were not kept, were tried again, and finished then.
    #[serde(default)]
    unfinished: [u64; 4],
}

impl KeptReport {
    pub(in crate::pipeline) fn of(report: &LaneReport) -> Self {
        let accounting = &report.accounting;
        let rejected = accounting.rejected.iter();
        Self {
            watermark: report.watermark,
            windows: report.windows,
            read: accounting.read,
            applied: accounting.applied,
            filtered: accounting.filtered,
            partly_late: accounting.partly_late,
            late: accounting.late,
            quarantined: accounting.quarantined,
            poisoned: accounting.poisoned,
            forwarded: accounting.forwarded,
            received: accounting.received,
            partials: accounting.partials,
            mapped: accounting.mapped,
            rejected: rejected
                .map(|(reason, count)| (reason.clone(), *count))
                .collect(),
            figures: Told::of(&report.figures),
            unfinished: {
                let counts = &report.unfinished;
                [counts.kept, counts.dropped, counts.tried, counts.finished]
            },
        }
    }

    pub(in crate::pipeline) fn report(&self) -> LaneReport {
        LaneReport {
            accounting: Accounting {
                read: self.read,
                applied: self.applied,
                filtered: self.filtered,
                partly_late: self.partly_late,
                late: self.late,
                quarantined: self.quarantined,
                poisoned: self.poisoned,
                forwarded: self.forwarded,
                received: self.received,
                partials: self.partials,
                mapped: self.mapped,
                rejected: self.rejected.iter().cloned().collect(),
            },
            windows: self.windows,
            watermark: self.watermark,
            figures: self.figures.figures(),
            unfinished: {
                let [kept, dropped, tried, finished] = self.unfinished;
                UnfinishedCounts {
                    kept,
                    dropped,
                    tried,
                    finished,
                }
            },
        }
    }
}

/// What a transform told. Floats are kept as their bits: not all have a form in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    counts: BTreeMap<String, u64>,
    /// Of each its count, and the bits of its sum, least and greatest.
    observations: BTreeMap<String, [u64; 4]>,
    dropped: u64,
    clock_reads: u64,
    random_reads: u64,
}

impl Told {
    fn of(figures: &Figures) -> Self {
        let observations = figures.observations.iter().map(|(name, all)| {
            let floats = [all.sum, all.least, all.greatest].map(f64::to_bits);
            (name.clone(), [all.count, floats[0], floats[1], floats[2]])
        });
        Self {
            counts: figures.counts.clone(),
            observations: observations.collect(),
            dropped: figures.dropped,
            clock_reads: figures.clock_reads,
            random_reads: figures.random_reads,
        }
    }

    fn figures(&self) -> Figures {
        let observations = self.observations.iter().map(|(name, all)| {
            let [count, sum, least, greatest] = *all;
            let observations = Observations {
                count,
                sum: f64::from_bits(sum),
                least: f64::from_bits(least),
                greatest: f64::from_bits(greatest),
            };
            (name.clone(), observations)
        });
        Figures {
            counts: self.counts.clone(),
            observations: observations.collect(),
            dropped: self.dropped,
            clock_reads: self.clock_reads,
            random_reads: self.random_reads,
        }
    }
}
