//! Calls of a lane's transform, cut to a byte budget each.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use super::WindowError;
use super::states::{NONE, States};
use super::unfinished::Unfinished;
use crate::transform::{Figures, Finished, Groups, Merged, Reject, Rows, Windowed, bytes_of};

/// What groups are gathered for. Those of one purpose take about as much, call after call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Merge,
    Copy,
    Finish,
}

/// A transform, and how much one call of it hands over.
pub struct Calls {
    transform: Box<dyn Windowed>,
    /// Bytes of rows and states, at most; a single row or group may be more.
    bytes: usize,
    /// Groups, at most.
    groups: usize,
    /// Rows of the next call: halved when a call would be too large, then doubled again.
    rows: usize,
    /// Bytes of a group in the last call of each purpose.
    group_bytes: [usize; 3],
    /// Windows that could not be finished, if they are kept.
    pub(super) unfinished: Option<Box<Unfinished>>,
}

impl Calls {
    /// Calls of `transform` that hand over `bytes` bytes and `groups` groups at most.
    pub fn new(transform: Box<dyn Windowed>, bytes: usize, groups: usize) -> Self {
        Self {
            transform,
            bytes,
            groups: groups.max(1),
            rows: usize::MAX,
            group_bytes: [0; 3],
            unfinished: None,
        }
    }

    /// Puts another transform in the place of this one, which says of itself what this one did. Gives this one.
    pub fn replace(&mut self, transform: Box<dyn Windowed>) -> Box<dyn Windowed> {
        std::mem::replace(&mut self.transform, transform)
    }

    /// What the transform has told the operator so far.
    pub fn figures(&self) -> Figures {
        self.transform.figures()
    }

    /// Calls that failed so far and were made up for.
    pub fn failed_calls(&self) -> u64 {
        self.transform.failed_calls()
    }

    /// Has the transform add rows to the states in their slots. `input` are the columns that it
    /// wants, `keys` those of the key. Gives the rejects, whose rows are as in `slots`.
    pub(super) async fn accumulate(
        &mut self,
        states: &mut States,
        input: &[ArrayRef],
        keys: &[ArrayRef],
        slots: &[u32],
    ) -> Result<Vec<Reject>, WindowError> {
        let mut rejects = Vec::new();
        let mut first = 0;
        while first < slots.len() {
            let length = self.rows.min(slots.len() - first);
            let slice = |columns: &[ArrayRef]| -> Vec<ArrayRef> {
                let columns = columns.iter();
                columns.map(|column| column.slice(first, length)).collect()
            };
            let (input, keys) = (slice(input), slice(keys));
            let touched = match states.touch(&slots[first..first + length], &keys, self.bytes) {
                Err(error) if length > 1 && is_overflow(&error) => {
                    self.rows = length.div_ceil(2);
                    continue;
                }
                touched => touched?,
            };
            let bytes = bytes_of(&input) + bytes_of(&touched.keys) + bytes_of(&touched.states);
            if bytes > self.bytes && length > 1 {
                self.rows = length.div_ceil(2);
                continue;
            }
            self.rows = self.rows.saturating_mul(2);
            let rows = Rows {
                columns: &input,
                group_of_row: &touched.group_of_row,
            };
            let groups = Groups {
                keys: &touched.keys,
                states: &touched.states,
                len: touched.len(),
            };
            let updated = self.transform.accumulate(rows, groups).await?;
            let applied = applied_groups(&touched.group_of_row, touched.len(), &updated.rejects);
            let (changed, applied) = (updated.changed.as_deref(), applied.as_deref());
            states.update(touched, updated.states, changed, applied)?;
            rejects.extend(updated.rejects.into_iter().map(|reject| Reject {
                row: reject.row + first as u32,
                ..reject
            }));
            first += length;
        }
        Ok(rejects)
    }

    /// Whether nothing that fails from now on is held against the transform.
    pub(super) fn forgive(&mut self, is_forgiven: bool) {
        self.transform.forgive(is_forgiven);
    }

    /// Hears of a window that cannot be finished for a merge that failed.
    pub(super) fn lose(&mut self, last: &Reject) -> Result<(), WindowError> {
        Ok(self.transform.lose(last)?)
    }

    /// Merges, pair by pair, the state of an earlier slot with that of a later one of the same
    /// key, and puts what comes out into a third, which may be one of the two. Where the transform fails on a pair, or one
    /// of the two is spoiled, the third is.
    pub(super) async fn merge(
        &mut self,
        states: &mut States,
        earlier: &[u32],
        later: &[u32],
        into: &[u32],
    ) -> Result<(), WindowError> {
        let failure = |at: usize| states.failure([earlier[at], later[at]]);
        if (0..earlier.len()).any(|at| failure(at).is_some()) {
            let (bad, good): (Vec<usize>, Vec<usize>) =
                (0..earlier.len()).partition(|at| failure(*at).is_some());
            let bad = bad
                .into_iter()
                .filter_map(|at| Some((into[at], failure(at)?.clone())));
            let bad: Vec<(u32, Reject)> = bad.collect();
            let pick = |slots: &[u32]| -> Vec<u32> { good.iter().map(|at| slots[*at]).collect() };
            let (earlier, later, into) = (pick(earlier), pick(later), pick(into));
            bad.into_iter()
                .for_each(|(slot, failure)| states.spoil(slot, failure));
            return self.merge_sound(states, &earlier, &later, &into).await;
        }
        self.merge_sound(states, earlier, later, into).await
    }

    async fn merge_sound(
        &mut self,
        states: &mut States,
        earlier: &[u32],
        later: &[u32],
        into: &[u32],
    ) -> Result<(), WindowError> {
        let mut first = 0;
        while first < earlier.len() {
            let (range, merged) = self.merged(states, earlier, later, first).await?;
            let into = &into[range.clone()];
            states.put(into.to_vec(), merged.states)?;
            for failure in merged.failed {
                states.spoil(into[failure.row as usize], failure);
            }
            first = range.end;
        }
        Ok(())
    }

    /// Merges the state in each slot, none of which is there twice, with a later one that comes from
    /// elsewhere, a row of `later` each. Gives those on which the transform failed, whose slots stay as they were.
    pub(super) async fn merge_in(
        &mut self,
        states: &mut States,
        slots: &[u32],
        later: &[ArrayRef],
    ) -> Result<Vec<Reject>, WindowError> {
        let mut first = 0;
        let mut failed = Vec::new();
        let later = |range: Range<usize>| {
            let later = later.iter();
            Ok(later
                .map(|column| column.slice(range.start, range.len()))
                .collect())
        };
        while first < slots.len() {
            let (range, merged) = self.merged_with(states, slots, first, later).await?;
            states.put(slots[range.clone()].to_vec(), merged.states)?;
            failed.extend(merged.failed.into_iter().map(|failure| Reject {
                row: failure.row + range.start as u32,
                ..failure
            }));
            first = range.end;
        }
        Ok(failed)
    }

    /// Merges as many pairs from `first` on as one call takes; says which, and what came out.
    pub(super) async fn merged(
        &mut self,
        states: &States,
        earlier: &[u32],
        later: &[u32],
        first: usize,
    ) -> Result<(Range<usize>, Merged), WindowError> {
        let bytes = self.bytes;
        let later = |range: Range<usize>| states.gather_within(&later[range], bytes);
        self.merged_with(states, earlier, first, later).await
    }

    /// As [`Self::merged`], with later states that `later` gives for a range of the pairs.
    async fn merged_with(
        &mut self,
        states: &States,
        earlier: &[u32],
        first: usize,
        later: impl Fn(Range<usize>) -> Result<Vec<ArrayRef>, ArrowError>,
    ) -> Result<(Range<usize>, Merged), WindowError> {
        let within = self.bytes;
        let (range, (keys, earlier, later)) =
            self.fitting(Purpose::Merge, first..earlier.len(), |range| {
                let keys = earlier[range.clone()].iter().map(|slot| states.key(*slot));
                let keys = states.keys.gather(&keys.collect::<Vec<u32>>())?;
                let earlier = states.gather_within(&earlier[range.clone()], within)?;
                let later = later(range)?;
                let bytes = bytes_of(&keys) + bytes_of(&earlier) + bytes_of(&later);
                Ok((bytes, (keys, earlier, later)))
            })?;
        let earlier = Groups {
            keys: &keys,
            states: &earlier,
            len: range.len(),
        };
        let merged = self.transform.merge(earlier, &later).await?;
        Ok((range, merged))
    }

    /// Copies states from slots into others.
    pub(super) fn copy(
        &mut self,
        states: &mut States,
        from: &[u32],
        into: &[u32],
    ) -> Result<(), WindowError> {
        let (mut first, within) = (0, self.bytes);
        while first < from.len() {
            let (range, columns) = self.fitting(Purpose::Copy, first..from.len(), |range| {
                let columns = states.gather_within(&from[range], within)?;
                Ok((bytes_of(&columns), columns))
            })?;
            states.put(into[range.clone()].to_vec(), columns)?;
            for at in range.clone() {
                if let Some(failure) = states.failure([from[at], NONE]).cloned() {
                    states.spoil(into[at], failure);
                }
            }
            first = range.end;
        }
        Ok(())
    }

    /// Has the transform turn states into output; see [`Windowed::finish`].
    pub(super) async fn finish(
        &mut self,
        groups: Groups<'_>,
        bounds: &[ArrayRef],
    ) -> Result<Finished, WindowError> {
        Ok(self.transform.finish(groups, bounds).await?)
    }

    /// Bytes of rows and states of one call, at most.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes of `range` as much as one call takes. `gather` gives columns and their bytes.
    pub(super) fn fitting<T>(
        &mut self,
        purpose: Purpose,
        range: Range<usize>,
        gather: impl Fn(Range<usize>) -> Result<(usize, T), ArrowError>,
    ) -> Result<(Range<usize>, T), WindowError> {
        let of_group = &mut self.group_bytes[purpose as usize];
        // A little room, so that states which grow since the last call need not be gathered twice.
        let expected = self.bytes / (*of_group + *of_group / 8).max(1);
        let mut length = range.len().min(self.groups).min(expected.max(1));
        loop {
            let taken = range.start..range.start + length;
            match gather(taken.clone()) {
                Err(error) if length > 1 && is_overflow(&error) => {}
                Ok((bytes, _)) if length > 1 && bytes > self.bytes => {}
                gathered => {
                    let (bytes, columns) = gathered?;
                    *of_group = bytes / length.max(1);
                    return Ok((taken, columns));
                }
            }
            length = length.div_ceil(2);
        }
    }
}

/// Which groups have a row that was applied; none if all have.
fn applied_groups(group_of_row: &[u32], groups: usize, rejects: &[Reject]) -> Option<Vec<bool>> {
    if rejects.is_empty() {
        return None;
    }
    let mut applied = vec![false; groups];
    let mut rejects = rejects.iter().map(|reject| reject.row as usize).peekable();
    for (row, group) in group_of_row.iter().enumerate() {
        if rejects.next_if_eq(&row).is_none() {
            applied[*group as usize] = true;
        }
    }
    Some(applied)
}

/// Whether columns were too large to be put together, and fewer rows may do.
fn is_overflow(error: &ArrowError) -> bool {
    matches!(error, ArrowError::OffsetOverflowError(_))
}
