//! How far a lane has come, as JSON: it is small, and a person may want to read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ToCommit;
use crate::pipeline::accounting::{Accounting, Reason};
use crate::pipeline::lane::LaneReport;
use crate::transform::{Figures, Observations};
use crate::window::Codec;

/// The version of what is kept of a lane, other than by the windows.
const LAYOUT: u32 = 2;

/// What must be the same for an interrupted run to go on, by what a person calls it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Identity(pub(in crate::pipeline) BTreeMap<String, String>);

impl Identity {
    /// What is not the same in another one.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let names = self.0.keys().chain(other.0.keys());
        let mut differ: Vec<&str> = names
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .map(String::as_str)
            .collect();
        differ.sort_unstable();
        differ.dedup();
        (!differ.is_empty()).then(|| differ.join(" and "))
    }
}

/// A run that is not over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// What lanes have kept counts if it is of this generation.
    pub(super) generation: u64,
    pub(super) identity: Identity,
}

/// How far a lane has come.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaneMeta {
    layout: u32,
    windows_layout: u32,
    pub(super) generation: u64,
    /// The sequence before which all rows were judged.
    pub(super) cursor: u64,
    /// Entries of the log that count.
    pub(super) entries: u64,
    /// The number up to which entries of the journal count.
    pub(super) journal: u64,
    /// The windows' progress, as its bytes.
    pub(super) progress: Vec<u8>,
    watermark: i64,
    windows: u64,
    applied: u64,
    partly_late: u64,
    late: u64,
    poisoned: u64,
    rejected: Vec<(Reason, u64)>,
    figures: Told,
}

impl LaneMeta {
    pub(super) fn new(generation: u64, commit: &ToCommit, entries: u64, progress: Vec<u8>) -> Self {
        let report = &commit.report;
        let accounting = &report.accounting;
        let rejected = accounting.rejected.iter();
        Self {
            layout: LAYOUT,
            windows_layout: Codec::LAYOUT,
            generation,
            cursor: commit.cursor,
            entries,
            journal: commit.kept.as_ref().map_or(0, |kept| kept.journal),
            progress,
            watermark: report.watermark,
            windows: report.windows,
            applied: accounting.applied,
            partly_late: accounting.partly_late,
            late: accounting.late,
            poisoned: accounting.poisoned,
            rejected: rejected
                .map(|(reason, count)| (reason.clone(), *count))
                .collect(),
            figures: Told::of(&report.figures),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a lane's progress has only texts, numbers and lists")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Layouts {
            layout: u32,
            windows_layout: u32,
        }
        let layouts: Layouts = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if (layouts.layout, layouts.windows_layout) != (LAYOUT, Codec::LAYOUT) {
            return Err(format!(
                "it has layout {}.{}, and this build reads {LAYOUT}.{}",
                layouts.layout,
                layouts.windows_layout,
                Codec::LAYOUT
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    pub(super) fn report(&self) -> LaneReport {
        LaneReport {
            accounting: Accounting {
                applied: self.applied,
                partly_late: self.partly_late,
                late: self.late,
                poisoned: self.poisoned,
                rejected: self.rejected.iter().cloned().collect(),
                ..Accounting::default()
            },
            windows: self.windows,
            watermark: self.watermark,
            figures: self.figures.figures(),
        }
    }
}

/// What a transform told. Floats are kept as their bits: not all have a form in JSON.
#[derive(Debug, Serialize, Deserialize)]
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
