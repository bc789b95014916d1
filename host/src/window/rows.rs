//! Rows on their way into windows, and what became of them.

use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;

use super::WindowError;
use crate::transform::Reject;

/// A batch of rows of one lane.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// The columns that the transform wants.
    pub input: Vec<ArrayRef>,
    /// The key's columns, without nulls.
    pub keys: Vec<ArrayRef>,
    /// The rows' event times, each of which has a pane.
    pub event_times: ScalarBuffer<i64>,
    /// The watermark at each row, itself counted; none where no row is behind it.
    pub watermarks: Option<ScalarBuffer<i64>>,
    /// The sequence of each row in the source; rising.
    pub sequences: Sequences,
    /// The watermark after the batch, and the sequence that it goes up to.
    pub watermark: i64,
    /// The sequence of the source's next row.
    pub next_sequence: u64,
    /// What the rows are if they are no rows: each is then as a row whose event time is in its pane, and
    /// `input` is empty.
    pub partials: Option<Partials>,
}

/// States in the place of rows: each is what somebody else has made of rows of one key in one pane,
/// begun from the initial state.
#[derive(Debug, Clone)]
pub struct Partials {
    /// The columns of the states, a row each.
    pub states: Vec<ArrayRef>,
    /// How many rows were applied to each; above zero.
    pub rows: ScalarBuffer<u64>,
}

/// The sequences of rows.
#[derive(Debug, Clone)]
pub enum Sequences {
    /// One after the other from here on.
    From(u64),
    /// The first, and how far each row is behind it.
    Picked(u64, Vec<u32>),
}

impl Sequences {
    /// That of a row.
    pub fn of(&self, row: usize) -> u64 {
        match self {
            Self::From(first) => first + row as u64,
            Self::Picked(first, picked) => first + u64::from(picked[row]),
        }
    }
}

impl RowBatch {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.event_times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.event_times.is_empty()
    }

    /// How many rows a row stands for: one, but for partial states.
    pub fn weight(&self, row: usize) -> u64 {
        self.partials.as_ref().map_or(1, |all| all.rows[row])
    }

    /// The watermark at a row; `i64::MIN` where no row is behind it.
    pub(super) fn watermark_at(&self, row: usize) -> i64 {
        self.watermarks.as_ref().map_or(i64::MIN, |all| all[row])
    }

    /// Some rows' columns: those for the transform, and the key's. Rows rise.
    pub(super) fn columns(
        &self,
        rows: &[u32],
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), WindowError> {
        let consecutive = |rows: &[u32]| -> Option<Range<usize>> {
            let (first, last) = (*rows.first()? as usize, *rows.last()? as usize);
            // Rows rise, so as many as from the first to the last are all of those.
            (last - first + 1 == rows.len()).then_some(first..last + 1)
        };
        let pick = |columns: &[ArrayRef]| -> Result<Vec<ArrayRef>, WindowError> {
            if let Some(range) = consecutive(rows) {
                let columns = columns.iter();
                return Ok(columns
                    .map(|column| column.slice(range.start, range.len()))
                    .collect());
            }
            let indices = UInt32Array::from(rows.to_vec());
            let columns = columns.iter().map(|column| take(column, &indices, None));
            Ok(columns.collect::<Result<_, _>>()?)
        };
        Ok((pick(&self.input)?, pick(&self.keys)?))
    }
}

/// A row that came too late for every window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// The row.
    pub row: u32,
    /// Where its last window ended.
    pub window_end: i64,
    /// The watermark at the row.
    pub watermark: i64,
}

/// What became of the rows of a batch.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Rows that were applied. A partial state counts as the rows in it.
    pub applied: u64,
    /// How many of them were too late for some of their windows.
    pub partly_late: u64,
    /// Rows that came too late, or partial states.
    pub late: Vec<Late>,
    /// Rows that the transform refused, in no order.
    pub rejects: Vec<Reject>,
    /// Windows that closed, counted for each key.
    pub closed: u64,
}

impl Outcome {
    /// Counts rows that a transform took, but for those that it refused. Rejects come with places
    /// in `rows`, and are kept with the rows there.
    pub(super) fn took(&mut self, rows: &[u32], rejects: Vec<Reject>) {
        self.applied += (rows.len() - rejects.len()) as u64;
        let rejects = rejects.into_iter().map(|reject| Reject {
            row: rows[reject.row as usize],
            ..reject
        });
        self.rejects.extend(rejects);
    }
}
