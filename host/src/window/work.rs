//! A batch at work.

use std::collections::HashMap;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;

use super::WindowError;
use super::calls::Calls;
use super::emission::Emit;
use super::rows::{Outcome, Partials, RowBatch};
use super::states::States;
use crate::transform::Reject;

/// A batch, what it is worked on with, and what has become of it so far.
pub(super) struct Work<'a> {
    pub(super) batch: &'a RowBatch,
    /// The number of each row's key.
    pub(super) keys: &'a [u32],
    pub(super) outcome: Outcome,
    pub(super) calls: &'a mut Calls,
    pub(super) out: &'a mut dyn Emit,
}

impl Work<'_> {
    /// Has the transform add rows of the batch, by rising number, to the states in their slots; partial
    /// states are merged into them, one after the other, as the later ones. The rejects go to the outcome; gives how many there were before.
    pub(super) async fn accumulate(
        &mut self,
        states: &mut States,
        rows: &[u32],
        slots: &[u32],
    ) -> Result<usize, WindowError> {
        let before = self.outcome.rejects.len();
        if let Some(partials) = &self.batch.partials {
            let failed = merge(states, partials, rows, slots, self.calls).await?;
            for failure in &failed {
                self.calls.lose(failure)?;
            }
            let weight = |row: u32| partials.rows[row as usize];
            let weights: u64 = rows.iter().map(|row| weight(*row)).sum();
            let lost: u64 = failed.iter().map(|failure| weight(failure.row)).sum();
            self.outcome.applied += weights - lost;
            self.outcome.rejects.extend(failed);
            return Ok(before);
        }
        let (input, key_columns) = self.batch.columns(rows)?;
        let calls = &mut self.calls;
        let rejects = calls
            .accumulate(states, &input, &key_columns, slots)
            .await?;
        self.outcome.took(rows, rejects);
        Ok(before)
    }
}

/// Merges partial states into those in their slots. The first of a slot that has no state is its state. Gives those on
/// which the transform failed, by rising row.
async fn merge(
    states: &mut States,
    partials: &Partials,
    rows: &[u32],
    slots: &[u32],
    calls: &mut Calls,
) -> Result<Vec<Reject>, WindowError> {
    let mut failed = Vec::new();
    for (rows, slots) in rounds(rows, slots) {
        let places = (0..rows.len()).filter(|at| states.is_initial(slots[*at]));
        let is_first: Vec<usize> = places.collect();
        let places = (0..rows.len()).filter(|at| !states.is_initial(slots[*at]));
        let is_later: Vec<usize> = places.collect();
        let pick = |places: &[usize]| -> Result<(Vec<u32>, Vec<ArrayRef>), ArrowError> {
            let rows = UInt32Array::from_iter_values(places.iter().map(|at| rows[*at]));
            let columns = partials.states.iter().map(|all| take(all, &rows, None));
            let slots = places.iter().map(|at| slots[*at]).collect();
            Ok((slots, columns.collect::<Result<_, _>>()?))
        };
        if !is_first.is_empty() {
            let (slots, columns) = pick(&is_first)?;
            states.put(slots, columns)?;
        }
        if !is_later.is_empty() {
            let (slots, later) = pick(&is_later)?;
            let failures = calls.merge_in(states, &slots, &later).await?;
            failed.extend(failures.into_iter().map(|failure| Reject {
                row: rows[is_later[failure.row as usize]],
                ..failure
            }));
        }
    }
    failed.sort_by_key(|failure| failure.row);
    Ok(failed)
}

/// Partial states and their slots, none twice in a round: of one slot the first is in the first round, the
/// second in the next one.
fn rounds(rows: &[u32], slots: &[u32]) -> Vec<(Vec<u32>, Vec<u32>)> {
    let mut seen: HashMap<u32, usize> = HashMap::with_capacity(slots.len());
    let mut rounds: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
    for (row, slot) in rows.iter().zip(slots) {
        let round = seen.entry(*slot).or_default();
        if rounds.len() == *round {
            rounds.push((Vec::new(), Vec::new()));
        }
        rounds[*round].0.push(*row);
        rounds[*round].1.push(*slot);
        *round += 1;
    }
    rounds
}
