//! Putting the laws to a transform: parts of calls are added, merged and finished, and compared.

use arrow::array::{ArrayRef, RecordBatch};

use super::{Counts, Ended, Violation};
use crate::testing::compare::cell_text;
use crate::testing::joined::{join, neighbours};
use crate::testing::lab::{Lab, applied, broadcast, groups_with_applied_rows, pick};
use crate::testing::outputs::{Outputs, first_difference};
use crate::testing::probe::{Names, entity, window_of};
use crate::testing::recorder::{Accumulated, Call, Recording};
use crate::testing::windows::Windows;
use crate::testing::{TestError, Tolerances, table};
use crate::transform::Reject;

/// Calls that are checked, each of which may be several of the run.
const MOST_CALLS: usize = 64;
/// Rows of calls that are checked.
const MOST_ROWS: usize = 1 << 18;
/// Groups on which a merge that failed is tried one by one.
const MOST_ALONE: usize = 32;

/// The transform under check, and what was found until now.
pub(super) struct Laws<'a> {
    pub(super) lab: Lab<'a>,
    pub(super) names: Names,
    pub(super) initial: RecordBatch,
    pub(super) windows: Windows,
    pub(super) tolerances: &'a Tolerances,
    pub(super) counts: Counts,
    pub(super) merged_before: bool,
}

/// The groups of a call, as they are checked.
struct Groups<'a> {
    call: &'a Accumulated,
    /// The states after the call.
    full: Vec<ArrayRef>,
    initial: Vec<ArrayRef>,
    bounds: Vec<ArrayRef>,
    rows_of: Vec<Vec<u32>>,
    applied: Vec<bool>,
}

impl Laws<'_> {
    /// Checks the calls of a recording, with at most so many rows as one.
    pub(super) fn check_all(
        &mut self,
        recording: &Recording<Call>,
        rows_at_once: usize,
    ) -> Result<Option<Ended>, TestError> {
        let mut rows = 0;
        let calls = recording.calls.iter().filter_map(|call| match call {
            Call::Accumulate(call) => Some(call),
            _ => None,
        });
        for run in neighbours(calls, rows_at_once).iter().take(MOST_CALLS) {
            rows += run
                .iter()
                .map(|call| call.group_of_row.len())
                .sum::<usize>();
            if rows > MOST_ROWS && self.counts.groups > 0 {
                break;
            }
            if let Some(ended) = self.check_run(run)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Checks neighbouring calls, as one if that can be made.
    fn check_run(&mut self, run: &[&Accumulated]) -> Result<Option<Ended>, TestError> {
        if let Some(mut joined) = join(run)?
            && let Ok(updated) = self.lab.accumulate(&joined)?
        {
            joined.updated = updated;
            return self.check_call(&joined);
        }
        for call in run {
            if let Some(ended) = self.check_call(call)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    fn check_call(&mut self, call: &Accumulated) -> Result<Option<Ended>, TestError> {
        let full = applied(&call.states, &call.group_of_row, call.len, &call.updated)?;
        let mut rows_of = vec![Vec::new(); call.len];
        for (row, group) in (0..).zip(call.group_of_row.iter()) {
            rows_of[*group as usize].push(row);
        }
        let groups = Groups {
            initial: broadcast(&self.initial, call.len)?,
            bounds: self.windows.bounds(&call.keys, &full, call.len)?,
            applied: groups_with_applied_rows(&call.group_of_row, call.len, &call.updated.rejects),
            rows_of,
            full,
            call,
        };
        self.counts.groups += groups.applied.iter().filter(|applied| **applied).count();
        for quarters in 1..4 {
            if let Some(ended) = self.splitting(&groups, quarters)? {
                return Ok(Some(ended));
            }
        }
        match self.associativity(&groups)? {
            None => self.neutrality(&groups),
            ended => Ok(ended),
        }
    }

    /// Adds each group's rows from one fraction to another, in twelfths, to states.
    fn part(
        &mut self,
        groups: &Groups<'_>,
        twelfths: std::ops::Range<usize>,
        states: &[ArrayRef],
        rejects: &mut Vec<Reject>,
    ) -> Result<Option<Vec<ArrayRef>>, TestError> {
        let mut rows = Vec::new();
        for of_group in &groups.rows_of {
            let at = |twelfths: usize| of_group.len() * twelfths / 12;
            rows.extend(&of_group[at(twelfths.start)..at(twelfths.end)]);
        }
        rows.sort_unstable();
        // A row that cannot be added where a part begins is the business of `accumulate`.
        let Ok((states, more)) = self.lab.add(groups.call, rows, states)? else {
            return Ok(None);
        };
        rejects.extend(more);
        Ok(Some(states))
    }

    /// The groups of which parts rejected the same rows as the whole.
    fn comparable(&mut self, groups: &Groups<'_>, mut rejects: Vec<Reject>) -> Vec<bool> {
        let mut comparable = groups.applied.clone();
        rejects.sort_by_key(|reject| reject.row);
        let whole = &groups.call.updated.rejects;
        let odd = |one: &[Reject], other: &[Reject]| -> Vec<u32> {
            let rows: std::collections::HashSet<u32> = other.iter().map(|r| r.row).collect();
            one.iter()
                .map(|r| r.row)
                .filter(|row| !rows.contains(row))
                .collect()
        };
        for row in [odd(whole, &rejects), odd(&rejects, whole)].concat() {
            let group = groups.call.group_of_row[row as usize] as usize;
            self.counts.left_out += usize::from(comparable[group]);
            comparable[group] = false;
        }
        comparable
    }

    fn splitting(
        &mut self,
        groups: &Groups<'_>,
        quarters: usize,
    ) -> Result<Option<Ended>, TestError> {
        let (mut rejects, at) = (Vec::new(), 3 * quarters);
        let first = self.part(groups, 0..at, &groups.call.states, &mut rejects)?;
        let second = self.part(groups, at..12, &groups.initial, &mut rejects)?;
        let (Some(first), Some(second)) = (first, second) else {
            return Ok(None);
        };
        let merged = match self.merge(groups, &first, &second)? {
            Ok(merged) => merged,
            Err(ended) => return Ok(Some(ended)),
        };
        let comparable = self.comparable(groups, rejects);
        if quarters == 2 {
            let sizes = groups.rows_of.iter().zip(&comparable);
            let divided = sizes.filter(|(rows, comparable)| **comparable && rows.len() > 1);
            self.counts.divided += divided.count();
        }
        let names = ["of all rows at once", "of two parts merged"];
        self.compare(
            "splitting",
            groups,
            &comparable,
            (&groups.full, &merged),
            names,
        )
    }

    fn associativity(&mut self, groups: &Groups<'_>) -> Result<Option<Ended>, TestError> {
        let mut rejects = Vec::new();
        let a = self.part(groups, 0..4, &groups.call.states, &mut rejects)?;
        let b = self.part(groups, 4..8, &groups.initial, &mut rejects)?;
        let c = self.part(groups, 8..12, &groups.initial, &mut rejects)?;
        let (Some(a), Some(b), Some(c)) = (a, b, c) else {
            return Ok(None);
        };
        let mut merge = |one: &[ArrayRef], other: &[ArrayRef]| self.merge(groups, one, other);
        let left = match merge(&a, &b)? {
            Ok(ab) => merge(&ab, &c)?,
            failed => failed,
        };
        let right = match merge(&b, &c)? {
            Ok(bc) => merge(&a, &bc)?,
            failed => failed,
        };
        let (left, right) = match (left, right) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(ended), _) | (_, Err(ended)) => return Ok(Some(ended)),
        };
        let names = ["of (a, b) and c", "of a and (b, c)"];
        let applied = groups.applied.clone();
        self.compare("associativity", groups, &applied, (&left, &right), names)
    }

    fn neutrality(&mut self, groups: &Groups<'_>) -> Result<Option<Ended>, TestError> {
        let applied = groups.applied.clone();
        for (first, second, name) in [
            (
                &groups.initial,
                &groups.full,
                "merged after the initial state",
            ),
            (
                &groups.full,
                &groups.initial,
                "merged before the initial state",
            ),
        ] {
            let merged = match self.merge(groups, first, second)? {
                Ok(merged) => merged,
                Err(ended) => return Ok(Some(ended)),
            };
            let (states, names) = ((&*groups.full, &*merged), ["of the state alone", name]);
            if let Some(ended) = self.compare("neutrality", groups, &applied, states, names)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Merges; the error is how checking ends.
    fn merge(
        &mut self,
        groups: &Groups<'_>,
        earlier: &[ArrayRef],
        later: &[ArrayRef],
    ) -> Result<Result<Vec<ArrayRef>, Ended>, TestError> {
        let call = groups.call;
        let error = match self.lab.merge(&call.keys, earlier, later, call.len)? {
            Ok(merged) => {
                self.merged_before = true;
                return Ok(Ok(merged));
            }
            Err(error) => error,
        };
        let mut culprit = None;
        for group in 0..call.len.min(MOST_ALONE) {
            let one = [group as u32];
            let (keys, earlier) = (pick(&call.keys, &one)?, pick(earlier, &one)?);
            match self.lab.merge(&keys, &earlier, &pick(later, &one)?, 1)? {
                Ok(_) => self.merged_before = true,
                Err(error) => _ = culprit.get_or_insert((group, error)),
            }
        }
        Ok(Err(match culprit {
            _ if !self.merged_before => Ended::Unsupported(error),
            Some((group, error)) => Ended::Violated(self.violation(
                "never failing",
                groups,
                group,
                format!("merge works for other states, and fails for this: {error}"),
            )),
            None => Ended::Violated(self.violation(
                "never failing",
                groups,
                0,
                format!("merge fails for {} groups at once: {error}", call.len),
            )),
        }))
    }

    /// Compares what `finish` makes of two lists of states.
    fn compare(
        &mut self,
        law: &'static str,
        groups: &Groups<'_>,
        comparable: &[bool],
        (one, other): (&[ArrayRef], &[ArrayRef]),
        names: [&str; 2],
    ) -> Result<Option<Ended>, TestError> {
        let (keys, bounds, len) = (&groups.call.keys, &groups.bounds, groups.call.len);
        let mut finished = Vec::with_capacity(2);
        for states in [one, other] {
            match self.lab.finish(keys, states, bounds, len)? {
                Ok(output) => finished.push(Outputs::of(output)),
                Err(error) => {
                    let shows = format!("finish fails on states that were merged: {error}");
                    return Ok(Some(Ended::Violated(self.violation(law, groups, 0, shows))));
                }
            }
        }
        let found = first_difference(&finished[0], &finished[1], comparable, self.tolerances)?;
        let Some(found) = found else { return Ok(None) };
        let shows = match &found.column {
            Some((name, one, other)) => format!(
                "feature `{name}` is {} {}, and {} {}{}",
                cell_text(one),
                names[0],
                cell_text(other),
                names[1],
                self.if_rounded(&finished, comparable, one)?
            ),
            None => format!(
                "finish gives {} rows {}, and {} {}",
                found.rows.0, names[0], found.rows.1, names[1]
            ),
        };
        Ok(Some(Ended::Violated(self.violation(
            law,
            groups,
            found.group,
            shows,
        ))))
    }

    /// What to do about a difference in `column` if rounding is all there is to it.
    fn if_rounded(
        &self,
        finished: &[Outputs],
        comparable: &[bool],
        column: &ArrayRef,
    ) -> Result<&'static str, TestError> {
        let rounding = [("*".to_owned(), 1e-9)];
        let rounding = Tolerances::of(rounding).expect("it is above zero");
        let within = rounding.overridden_by(self.tolerances);
        let found = first_difference(&finished[0], &finished[1], comparable, &within)?;
        Ok(match found {
            None if column.data_type().is_floating() => {
                "\n  they differ by rounding; allow it with --tolerance '*=1e-9'"
            }
            _ => "",
        })
    }

    fn violation(
        &self,
        law: &'static str,
        groups: &Groups<'_>,
        group: usize,
        shows: String,
    ) -> Violation {
        Violation {
            law,
            entity: entity(&groups.call.keys, group, &self.names),
            window: table::window(window_of(&groups.bounds, group)),
            shows,
        }
    }
}
