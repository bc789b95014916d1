//! One order for what several producers give, each in order on its own.
//!
//! A producer's items carry marks that never fall (the end of a window, the sequence of a row), and from time to time
//! it says up to which mark it has given everything. Items up to the least such mark of all producers can be put in
//! their final order and let go; only what lies above it is held.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array,
};
use arrow::compute::{SortOptions, concat_batches, filter_record_batch, take_record_batch};
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

/// When a row was given, in an order that all producers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Up to which mark of [`FileSink::closed_up_to`](super::FileSink::closed_up_to) it belongs.
    pub at: i64,
    /// The order among rows of one mark.
    pub sequence: u64,
}

/// The order of a file's rows, whichever lanes they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// By window: its end, its start from the latest on, its place among the pipeline's lengths, then the key columns
    /// ascending, nulls first. Each lane gives its rows in that order, without marks.
    Windows,
    /// By mark, and then by window. Each lane gives its rows in any order.
    MarkedWindows,
    /// By mark alone, which no two rows share. Each lane gives its rows in that order.
    Marks,
}

impl RowOrder {
    /// Whether every row comes with a mark.
    pub fn is_marked(self) -> bool {
        self != Self::Windows
    }
}

/// Puts the rows of several lanes in one order. Rows that it does not tell apart stay in the order in which their lane
/// gave them.
#[derive(Debug)]
pub(super) struct OrderedRows {
    schema: SchemaRef,
    keys: usize,
    order: RowOrder,
    frontier: Frontier<i64>,
    held: Vec<VecDeque<Held>>,
    /// The greatest window end that each lane gave.
    last: Vec<Option<i64>>,
    released: Option<i64>,
}

#[derive(Debug)]
struct Held {
    rows: RecordBatch,
    /// Which of the pipeline's lengths the windows have.
    length: usize,
    /// Empty for rows without marks.
    marks: Vec<Mark>,
}

/// Rows that can go.
#[derive(Default)]
struct Ready {
    batches: Vec<RecordBatch>,
    /// Of each row the length of its window.
    lengths: Vec<u32>,
    marks: Vec<Mark>,
}

impl Ready {
    fn push(&mut self, rows: RecordBatch, length: usize) {
        let lengths = std::iter::repeat_n(length as u32, rows.num_rows());
        self.lengths.extend(lengths);
        self.batches.push(rows);
    }
}

impl Held {
    fn least(&self) -> i64 {
        let marks = self.marks.iter().map(|mark| mark.at);
        marks.min().unwrap_or(i64::MIN)
    }
}

impl OrderedRows {
    /// For batches of `schema` with `keys` leading key columns; if windows are part of the order, their start and end
    /// follow.
    pub(super) fn new(schema: SchemaRef, keys: usize, order: RowOrder, lanes: usize) -> Self {
        Self {
            schema,
            keys,
            order,
            frontier: Frontier::new(lanes),
            held: (0..lanes).map(|_| VecDeque::new()).collect(),
            last: vec![None; lanes],
            released: None,
        }
    }

    /// Takes rows of one lane, of windows of one length. With a single lane, rows without marks are in order already, and come straight back.
    ///
    /// # Errors
    ///
    /// A text that says what came out of order: a window's end below one that the lane gave before, or one that the
    /// lane had called complete.
    pub(super) fn push(
        &mut self,
        lane: usize,
        rows: RecordBatch,
        length: usize,
        marks: Vec<Mark>,
    ) -> Result<Option<RecordBatch>, String> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        if self.order.is_marked() != (marks.len() == rows.num_rows()) {
            return Err(format!("lane {lane} gave {} marks", marks.len()));
        }
        let least = marks.iter().map(|mark| mark.at).min();
        let first = least.unwrap_or_else(|| self.ends(&rows)[0]);
        if let Some(closed) = self.frontier.of(lane).filter(|closed| first <= *closed) {
            return Err(format!(
                "lane {lane} gave a window at {first} µs after it had closed everything up to {closed} µs"
            ));
        }
        if !self.order.is_marked() {
            let ends = self.ends(&rows);
            let before = self.last[lane].unwrap_or(i64::MIN);
            if ends[0] < before || !ends.is_sorted() {
                return Err(format!(
                    "lane {lane} gave windows whose ends are not in ascending order"
                ));
            }
            self.last[lane] = ends.last().copied();
            if self.held.len() == 1 {
                return Ok(Some(rows));
            }
        }
        self.held[lane].push_back(Held {
            rows,
            length,
            marks,
        });
        Ok(None)
    }

    /// Notes that a lane has given everything up to `mark`, and gives the rows that can go.
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
            .column(self.keys + 1)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
    }

    fn release(&mut self, mark: i64) -> Result<Option<RecordBatch>, ArrowError> {
        let mut ready = Ready::default();
        let mut lanes = 0;
        for lane in 0..self.held.len() {
            let before = ready.batches.len();
            let held = std::mem::take(&mut self.held[lane]);
            for held in held {
                let left = match self.order.is_marked() {
                    true => take_marked(held, mark, &mut ready)?,
                    false => self.take_sorted(held, mark, &mut ready),
                };
                self.held[lane].extend(left);
            }
            lanes += usize::from(ready.batches.len() > before);
        }
        if ready.batches.is_empty() {
            return Ok(None);
        }
        let rows = concat_batches(&self.schema, &ready.batches)?;
        let is_sorted = match self.order {
            // A lane's own order is that of all.
            RowOrder::Windows => lanes == 1,
            RowOrder::MarkedWindows => false,
            RowOrder::Marks => ready.marks.is_sorted(),
        };
        if is_sorted {
            return Ok(Some(rows));
        }
        self.sort(&rows, &ready.lengths, &ready.marks).map(Some)
    }

    /// Takes the rows up to a mark of a batch that is in order, and gives the others back.
    fn take_sorted(&self, held: Held, mark: i64, ready: &mut Ready) -> Option<Held> {
        let rows = held.rows;
        let taken = self.ends(&rows).partition_point(|end| *end <= mark);
        if taken > 0 {
            ready.push(rows.slice(0, taken), held.length);
        }
        (taken < rows.num_rows()).then(|| Held {
            rows: rows.slice(taken, rows.num_rows() - taken),
            length: held.length,
            marks: Vec::new(),
        })
    }

    /// The columns that the order goes by, after marks.
    fn columns(&self, batch: &RecordBatch, lengths: &[u32]) -> Vec<(ArrayRef, SortOptions)> {
        if self.order == RowOrder::Marks {
            return Vec::new();
        }
        let descending = SortOptions {
            descending: true,
            nulls_first: true,
        };
        let ascending = SortOptions::default();
        let lengths: ArrayRef = Arc::new(UInt32Array::from(lengths.to_vec()));
        let bounds = [(self.keys + 1, ascending), (self.keys, descending)];
        let bounds = bounds.map(|(column, options)| (Arc::clone(batch.column(column)), options));
        let keys = batch.columns()[..self.keys].iter();
        (bounds.into_iter())
            .chain([(lengths, ascending)])
            .chain(keys.map(|key| (Arc::clone(key), ascending)))
            .collect()
    }

    fn sort(
        &self,
        batch: &RecordBatch,
        lengths: &[u32],
        marks: &[Mark],
    ) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut fields = Vec::new();
        if self.order.is_marked() {
            let at = marks.iter().map(|mark| mark.at);
            columns.push(Arc::new(Int64Array::from_iter_values(at)));
            let sequences = marks.iter().map(|mark| mark.sequence);
            columns.push(Arc::new(UInt64Array::from_iter_values(sequences)));
            fields.extend(
                columns
                    .iter()
                    .map(|c| SortField::new(c.data_type().clone())),
            );
        }
        for (column, options) in self.columns(batch, lengths) {
            fields.push(SortField::new_with_options(
                column.data_type().clone(),
                options,
            ));
            columns.push(column);
        }
        let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut indices: Vec<u32> = (0..batch.num_rows() as u32).collect();
        // Stable, so that rows of one key and window stay in the order in which their lane gave them.
        indices.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
        take_record_batch(batch, &UInt32Array::from(indices))
    }
}

/// Takes the rows up to a mark, and gives the others back.
fn take_marked(held: Held, mark: i64, ready: &mut Ready) -> Result<Option<Held>, ArrowError> {
    if held.least() > mark {
        return Ok(Some(held));
    }
    let is_ready = |wanted: bool| -> BooleanArray {
        let ready = held.marks.iter();
        ready
            .map(|other| Some((other.at <= mark) == wanted))
            .collect()
    };
    ready.push(
        filter_record_batch(&held.rows, &is_ready(true))?,
        held.length,
    );
    ready
        .marks
        .extend(held.marks.iter().filter(|other| other.at <= mark));
    let left: Vec<Mark> = held
        .marks
        .iter()
        .copied()
        .filter(|other| other.at > mark)
        .collect();
    if left.is_empty() {
        return Ok(None);
    }
    Ok(Some(Held {
        rows: filter_record_batch(&held.rows, &is_ready(false))?,
        length: held.length,
        marks: left,
    }))
}
