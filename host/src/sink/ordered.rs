//! One order for what several producers give, each in order on its own.
//!
//! A producer's items carry marks that never fall (the end of a window, the sequence of a row), and from time to time
//! it says up to which mark it has given everything. Items up to the least such mark of all producers can be put in
//! their final order and let go; only what lies above it is held.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

/// How far each of several producers has come.
#[derive(Debug)]
pub(super) struct Frontier<M> {
    complete: Vec<Option<M>>,
}

impl<M: Copy + Ord> Frontier<M> {
    pub(super) fn new(producers: usize) -> Self {
        Self {
            complete: vec![None; producers],
        }
    }

    /// Notes that `producer` has given everything up to `mark`. Going back changes nothing.
    pub(super) fn advance(&mut self, producer: usize, mark: M) {
        let complete = &mut self.complete[producer];
        *complete = (*complete).max(Some(mark));
    }

    /// Up to where `producer` has given everything.
    pub(super) fn of(&self, producer: usize) -> Option<M> {
        self.complete[producer]
    }

    /// Up to where all of them have; `None` while one has not said anything.
    pub(super) fn least(&self) -> Option<M> {
        self.complete.iter().copied().min().flatten()
    }
}

/// Puts the rows of several lanes in the order of (window end, key columns ascending with nulls first, order within
/// the lane), when each lane gives its own rows in that order.
#[derive(Debug)]
pub(super) struct OrderedRows {
    schema: SchemaRef,
    /// The columns to sort by: the window's end, then the key.
    order: Vec<usize>,
    frontier: Frontier<i64>,
    held: Vec<VecDeque<RecordBatch>>,
    /// The greatest window end that each lane gave.
    last: Vec<Option<i64>>,
    released: Option<i64>,
}

impl OrderedRows {
    /// For batches of `schema` with `keys` leading key columns and the window's end in column `keys + 1`.
    pub(super) fn new(schema: SchemaRef, keys: usize, lanes: usize) -> Self {
        Self {
            schema,
            order: std::iter::once(keys + 1).chain(0..keys).collect(),
            frontier: Frontier::new(lanes),
            held: vec![VecDeque::new(); lanes],
            last: vec![None; lanes],
            released: None,
        }
    }

    /// Takes rows of one lane. With a single lane they are in order already, and come straight back.
    ///
    /// # Errors
    ///
    /// A text that says what came out of order: a window's end below one that the lane gave before, or one that the
    /// lane had called complete.
    pub(super) fn push(
        &mut self,
        lane: usize,
        batch: RecordBatch,
    ) -> Result<Option<RecordBatch>, String> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let ends = self.ends(&batch);
        let complete = self.frontier.of(lane);
        if let Some(closed) = complete.filter(|closed| ends[0] <= *closed) {
            return Err(format!(
                "lane {lane} gave a window that ends at {} µs after it had closed everything up to {closed} µs",
                ends[0]
            ));
        }
        let before = self.last[lane].unwrap_or(i64::MIN);
        if ends[0] < before || !ends.is_sorted() {
            return Err(format!(
                "lane {lane} gave windows whose ends are not in ascending order"
            ));
        }
        self.last[lane] = ends.last().copied();
        if self.held.len() == 1 {
            return Ok(Some(batch));
        }
        self.held[lane].push_back(batch);
        Ok(None)
    }

    /// Notes that a lane has given every window that ends at or before `mark`, and gives the rows that can go.
    ///
    /// # Errors
    ///
    /// When Arrow cannot sort the key columns' types.
    pub(super) fn closed_up_to(
        &mut self,
        lane: usize,
        mark: i64,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        self.frontier.advance(lane, mark);
        let least = self.frontier.least();
        if least <= self.released {
            return Ok(None);
        }
        self.released = least;
        self.release(least.unwrap_or(i64::MIN))
    }

    /// Gives all that is still held: no lane will give anything more.
    ///
    /// # Errors
    ///
    /// As [`OrderedRows::closed_up_to`].
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        self.release(i64::MAX)
    }

    fn ends<'a>(&self, batch: &'a RecordBatch) -> &'a [i64] {
        batch
            .column(self.order[0])
            .as_primitive::<TimestampMicrosecondType>()
            .values()
    }

    fn release(&mut self, mark: i64) -> Result<Option<RecordBatch>, ArrowError> {
        let mut ready: Vec<RecordBatch> = Vec::new();
        let mut lanes = 0;
        for lane in 0..self.held.len() {
            let before = ready.len();
            while let Some(batch) = self.held[lane].pop_front() {
                let rows = self.ends(&batch).partition_point(|end| *end <= mark);
                if rows > 0 {
                    ready.push(batch.slice(0, rows));
                }
                if rows < batch.num_rows() {
                    self.held[lane].push_front(batch.slice(rows, batch.num_rows() - rows));
                    break;
                }
            }
            lanes += usize::from(ready.len() > before);
        }
        if ready.is_empty() {
            return Ok(None);
        }
        let rows = concat_batches(&self.schema, &ready)?;
        if lanes == 1 {
            return Ok(Some(rows));
        }
        self.sort(&rows).map(Some)
    }

    fn sort(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<_> = self
            .order
            .iter()
            .map(|c| Arc::clone(batch.column(*c)))
            .collect();
        let fields = columns
            .iter()
            .map(|c| SortField::new(c.data_type().clone()))
            .collect();
        let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut indices: Vec<u32> = (0..batch.num_rows() as u32).collect();
        // Stable, so that rows of one key and window stay in the order in which their lane gave them.
        indices.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
        take_record_batch(batch, &UInt32Array::from(indices))
    }
}
