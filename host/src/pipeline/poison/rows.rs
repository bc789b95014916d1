//! Rows at which `accumulate` failed.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{interleave, take};
use arrow::error::ArrowError;
use futures::executor::block_on;

use super::incident::Work;
use crate::transform::{CallError, Groups, Reject, Rows, Updated, Windowed};

/// What a call was handed.
struct Batch {
    columns: Vec<ArrayRef>,
    group_of_row: ScalarBuffer<u32>,
    keys: Vec<ArrayRef>,
    states: Vec<ArrayRef>,
    groups: usize,
}

impl Batch {
    fn of(rows: Rows<'_>, groups: Groups<'_>) -> Self {
        Self {
            columns: rows.columns.to_vec(),
            group_of_row: rows.group_of_row.clone(),
            keys: groups.keys.to_vec(),
            states: groups.states.to_vec(),
            groups: groups.len,
        }
    }
}

/// Rows, added one after the other, and what has come of them so far.
pub(super) struct Folding {
    batch: Batch,
    /// Of all groups.
    states: Vec<ArrayRef>,
    changed: Vec<bool>,
    rejects: Vec<Reject>,
}

/// Some rows, and the groups that they are in.
pub(super) struct Part {
    columns: Vec<ArrayRef>,
    group_of_row: ScalarBuffer<u32>,
    /// Which groups of the batch its groups are.
    groups: Vec<u32>,
    keys: Vec<ArrayRef>,
    states: Vec<ArrayRef>,
    /// Once it was called: what became of its groups, and the rows that were refused.
    changed: Vec<u32>,
    rejects: Vec<Reject>,
}

impl Part {
    /// The same with what a call gave: new states, and which groups they are of.
    fn updated(self, updated: Updated) -> Self {
        let changed = updated
            .changed
            .unwrap_or_else(|| (0..self.groups.len() as u32).collect());
        Self {
            states: updated.states,
            changed,
            rejects: updated.rejects,
            ..self
        }
    }
}

impl Folding {
    pub(super) fn new(rows: Rows<'_>, groups: Groups<'_>) -> Self {
        let batch = Batch::of(rows, groups);
        Self {
            states: batch.states.clone(),
            changed: vec![false; batch.groups],
            batch,
            rejects: Vec::new(),
        }
    }

    fn part(&self, range: Range<usize>) -> Result<Part, ArrowError> {
        const NONE: u32 = u32::MAX;
        let mut number = vec![NONE; self.batch.groups];
        let mut groups = Vec::new();
        let rows = self.batch.group_of_row[range.clone()].iter();
        let group_of_row = rows.map(|group| {
            let number = &mut number[*group as usize];
            if *number == NONE {
                *number = groups.len() as u32;
                groups.push(*group);
            }
            *number
        });
        let group_of_row = group_of_row.collect();
        let picked = UInt32Array::from(groups.clone());
        let pick = |columns: &[ArrayRef]| -> Result<Vec<ArrayRef>, ArrowError> {
            let columns = columns.iter();
            columns.map(|column| take(column, &picked, None)).collect()
        };
        let columns = self.batch.columns.iter();
        Ok(Part {
            columns: columns
                .map(|column| column.slice(range.start, range.len()))
                .collect(),
            group_of_row,
            keys: pick(&self.batch.keys)?,
            states: pick(&self.states)?,
            groups,
            changed: Vec::new(),
            rejects: Vec::new(),
        })
    }
}

impl Work for Folding {
    type Part = Part;
    type Output = Updated;

    const CALL: &'static str = "accumulate";

    fn len(&self) -> usize {
        self.batch.group_of_row.len()
    }

    fn call(
        &self,
        transform: &mut dyn Windowed,
        range: Range<usize>,
    ) -> Result<Result<Part, CallError>, ArrowError> {
        let part = self.part(range)?;
        let rows = Rows {
            columns: &part.columns,
            group_of_row: &part.group_of_row,
        };
        let groups = Groups {
            keys: &part.keys,
            states: &part.states,
            len: part.groups.len(),
        };
        let updated = block_on(transform.accumulate(rows, groups));
        Ok(updated.map(|updated| part.updated(updated)))
    }

    fn add(&mut self, range: Range<usize>, part: Part) -> Result<(), ArrowError> {
        // A group whose rows were all refused is as it was.
        let mut applied = vec![false; part.groups.len()];
        let mut refused = part.rejects.iter().map(|reject| reject.row).peekable();
        for (row, group) in (0..).zip(part.group_of_row.iter()) {
            if refused.next_if_eq(&row).is_none() {
                applied[*group as usize] = true;
            }
        }
        let mut sources: Vec<(usize, usize)> = (0..self.batch.groups).map(|at| (0, at)).collect();
        for (row, number) in part.changed.iter().enumerate() {
            if applied[*number as usize] {
                let group = part.groups[*number as usize] as usize;
                sources[group] = (1, row);
                self.changed[group] = true;
            }
        }
        if part.states.first().is_some_and(|column| !column.is_empty()) {
            let pairs = self.states.iter().zip(&part.states);
            let states = pairs.map(|(all, new)| interleave(&[all, new], &sources));
            self.states = states.collect::<Result<_, _>>()?;
        }
        self.rejects
            .extend(part.rejects.into_iter().map(|reject| Reject {
                row: reject.row + range.start as u32,
                ..reject
            }));
        Ok(())
    }

    fn leave_out(&mut self, poison: Reject) -> Result<(), ArrowError> {
        self.rejects.push(poison);
        Ok(())
    }

    fn left_out(&self) -> &[Reject] {
        &self.rejects
    }

    fn done(self) -> Result<Updated, ArrowError> {
        let groups = (0..).zip(&self.changed).filter(|(_, changed)| **changed);
        let changed: Vec<u32> = groups.map(|(group, _)| group).collect();
        let picked = UInt32Array::from(changed.clone());
        let states = self.states.iter().map(|all| take(all, &picked, None));
        Ok(Updated {
            states: states.collect::<Result<_, _>>()?,
            changed: Some(changed),
            rejects: self.rejects,
        })
    }
}
