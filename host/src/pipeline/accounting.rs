//! The accounts of a run: every record that was read ends in exactly one place.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// Where and why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The stage.
    pub stage: Stage,
    /// The short name of the reason.
    pub code: String,
}

/// Different reasons that a lane counts, each by itself; further ones are counted together, by stage.
const MOST_REASONS: usize = 1_024;
const OTHER_REASONS: &str = "other";

/// What a mapper made of rows. It stands between two sums: what was read, and what lanes get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// Rows that it was handed.
    pub rows_in: u64,
    /// Those of them that became one row or several. The others were filtered or rejected.
    pub mapped: u64,
    /// The rows that they became.
    pub rows_out: u64,
    /// Those of `rows_out` that were given an event time that is none.
    pub untimed: u64,
    /// Rows on which it failed.
    #[serde(default)]
    pub poisoned: u64,
}

/// Rows by where they ended. Without a mapper `read` is the sum of all others.
///
/// A pipeline in two stages has rows on their way from one to the other: for its first stage they end
/// in `forwarded`, and for its second `received` is what it works on. In the sum of both the two are
/// equal when nothing is on its way.
///
/// With one there are two sums: `read` is what was rejected before it and by it, quarantined,
/// filtered and mapped; [`Mapped::rows_out`] is what was applied, late, poisoned and rejected after
/// it.
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
    /// Handed to the second stage of a pipeline, in partial states.
    pub forwarded: u64,
    /// Come from the first stage.
    pub received: u64,
    /// The partial states in which they came.
    pub partials: u64,
    /// What the mapper did, if there is one.
    pub mapped: Option<Mapped>,
}

impl Accounting {
    /// Rows refused for whatever reason.
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Counts one refused row: as quarantined or poisoned if it was turned away for that, and else as rejected.
    pub fn reject(&mut self, stage: Stage, code: &str) {
        match stage {
            Stage::Quarantine => return self.quarantined += 1,
            Stage::Poison => return self.poisoned += 1,
            _ => {}
        }
        let mut reason = Reason {
            stage,
            code: code.into(),
        };
        // Each commit has all of them, and a transform may think of new ones for as long as it runs.
        if self.rejected.len() >= MOST_REASONS && !self.rejected.contains_key(&reason) {
            reason.code = OTHER_REASONS.into();
        }
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// Rows that a mapper made and that were refused afterwards; without a mapper all that were
    /// refused once they were rows.
    pub fn rejected_after_map(&self) -> u64 {
        let after = |stage| matches!(stage, Stage::Key | Stage::Transform);
        let rejected = self.rejected.iter();
        let rejected: u64 = rejected
            .filter(|(reason, _)| after(reason.stage))
            .map(|(_, count)| count)
            .sum();
        rejected + self.mapped.map_or(0, |mapped| mapped.untimed)
    }

    /// Rows that the mapper refused.
    pub fn rejected_by_map(&self) -> u64 {
        let rejected = self.rejected.iter();
        rejected
            .filter(|(reason, _)| reason.stage == Stage::Map)
            .map(|(_, count)| count)
            .sum()
    }

    /// Counts a row on which the mapper failed.
    pub fn poison_in_map(&mut self) {
        self.poisoned += 1;
        self.mapped.get_or_insert_default().poisoned += 1;
    }

    /// Rows that one stage has handed to the next, which has not got them yet.
    pub fn under_way(&self) -> u64 {
        self.forwarded.saturating_sub(self.received)
    }

    /// Whether every row that was read, and every row that a mapper made of one, ended somewhere.
    pub fn balances(&self) -> bool {
        let by_map = self.mapped.map_or(0, |mapped| mapped.poisoned);
        let after = self.applied + self.late + (self.poisoned - by_map) + self.rejected_after_map();
        let after = after + self.forwarded;
        let before = self.quarantined + self.rejected_in_all() - self.rejected_after_map();
        let Some(mapped) = &self.mapped else {
            return self.filtered == 0 && self.read + self.received == before + after;
        };
        let not_rejected = self.filtered + mapped.mapped + by_map;
        self.read == before + not_rejected
            && mapped.rows_in == self.rejected_by_map() + not_rejected
            && mapped.rows_out + self.received == after
    }
}

impl AddAssign for Mapped {
    fn add_assign(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.mapped += other.mapped;
        self.rows_out += other.rows_out;
        self.untimed += other.untimed;
        self.poisoned += other.poisoned;
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
        self.forwarded += other.forwarded;
        self.received += other.received;
        self.partials += other.partials;
        if let Some(mapped) = other.mapped {
            *self.mapped.get_or_insert_default() += mapped;
        }
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sums_must_be_right() {
        let mut accounting = Accounting {
            read: 10,
            filtered: 3,
            applied: 4,
            late: 1,
            mapped: Some(Mapped {
                rows_in: 9,
                mapped: 5,
                rows_out: 8,
                untimed: 1,
                poisoned: 0,
            }),
            ..Accounting::default()
        };
        for stage in [
            Stage::Decode,
            Stage::Map,
            Stage::EventTime,
            Stage::Key,
            Stage::Transform,
        ] {
            accounting.reject(stage, "c");
        }
        assert!(accounting.balances());
        accounting.poison_in_map();
        accounting.read += 1;
        accounting.mapped.as_mut().unwrap().rows_in += 1;
        assert!(accounting.balances(), "{accounting:?}");
        let unbalanced = |change: fn(&mut Accounting)| {
            let mut accounting = accounting.clone();
            change(&mut accounting);
            assert!(!accounting.balances(), "{accounting:?}");
        };
        unbalanced(|accounting| accounting.read += 1);
        unbalanced(|accounting| accounting.late += 1);
        unbalanced(|accounting| accounting.reject(Stage::Map, "c"));
        unbalanced(|accounting| accounting.reject(Stage::Key, "c"));
        unbalanced(|accounting| accounting.mapped = None);
    }

    #[test]
    fn two_stages_balance_each_and_together() {
        let first = Accounting {
            read: 10,
            forwarded: 7,
            late: 3,
            ..Accounting::default()
        };
        let mut second = Accounting {
            received: 5,
            applied: 5,
            ..Accounting::default()
        };
        assert!(first.balances() && second.balances());
        let mut sum = first.clone();
        sum += &second;
        assert!(sum.balances());
        assert_eq!(sum.under_way(), 2);
        second.applied -= 1;
        assert!(!second.balances());
    }

    #[test]
    fn reasons_without_end_are_counted_together() {
        let mut accounting = Accounting::default();
        for row in 0..3 * MOST_REASONS {
            accounting.reject(Stage::Transform, &format!("code-{row}"));
        }
        accounting.reject(Stage::Transform, "code-7");
        assert_eq!(accounting.rejected_in_all(), 3 * MOST_REASONS as u64 + 1);
        assert_eq!(accounting.rejected.len(), MOST_REASONS + 1);
        let count = |code: &str| {
            let code = code.to_owned();
            accounting.rejected[&Reason {
                stage: Stage::Transform,
                code,
            }]
        };
        assert_eq!(count("code-7"), 2);
        assert_eq!(count(OTHER_REASONS), 2 * MOST_REASONS as u64);
    }

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
