//! The accounts of a run: every record that was read ends in exactly one place.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use crate::stage::Stage;

/// Where and why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reason {
    /// The stage.
    pub stage: Stage,
    /// The short name of the reason.
    pub code: String,
}

/// Rows by where they ended. `read` is the sum of all others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Records read from the source, blank lines not counted.
    pub read: u64,
    /// Added to a window's state.
    pub applied: u64,
    /// Left out by a mapper.
    pub filtered: u64,
    /// Refused, by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// Of the applied rows, those that were too late for some of their windows.
    pub partly_late: u64,
    /// Too late for every window.
    pub late: u64,
    /// Too far in the future.
    pub quarantined: u64,
    /// A transform failed on them.
    pub poisoned: u64,
}

impl Accounting {
    /// Rows refused for whatever reason.
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Counts one refused row: as quarantined if it was turned away for that, and else as rejected.
    pub fn reject(&mut self, stage: Stage, code: &str) {
        if stage == Stage::Quarantine {
            self.quarantined += 1;
            return;
        }
        let reason = Reason {
            stage,
            code: code.into(),
        };
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// Whether every row that was read ended somewhere.
    pub fn balances(&self) -> bool {
        let ended = [
            self.applied,
            self.filtered,
            self.rejected_in_all(),
            self.late,
            self.quarantined,
            self.poisoned,
        ];
        self.read == ended.iter().sum::<u64>()
    }
}

impl AddAssign<&Self> for Accounting {
    fn add_assign(&mut self, other: &Self) {
        self.read += other.read;
        self.applied += other.applied;
        self.filtered += other.filtered;
        self.partly_late += other.partly_late;
        self.late += other.late;
        self.quarantined += other.quarantined;
        self.poisoned += other.poisoned;
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_future_is_quarantined_and_not_rejected() {
        let mut accounting = Accounting {
            read: 2,
            ..Accounting::default()
        };
        accounting.reject(Stage::Quarantine, "too_far_in_future");
        accounting.reject(Stage::EventTime, "null_event_time");
        assert_eq!(
            (accounting.quarantined, accounting.rejected_in_all()),
            (1, 1)
        );
        assert!(accounting.balances());
    }
}
