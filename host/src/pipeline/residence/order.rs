//! Emissions in the order in which all keys at once would have given them.
//!
//! In come emissions in any order; out they go by window: its end, its start from the latest on, its
//! place among the pipeline's lengths, then the key. What is more than there is memory for is put in
//! order in pieces, *runs*, which lie in the lane's database until all are there, and are merged then.
//! Nothing of that outlives the process in any sense: what was not committed is done again.
//!
//! The key of a piece of a run is `0x05`, the run's number and the piece's (4 bytes each, big-endian);
//! its value is an Arrow IPC stream of one batch: the emitted columns, what there is to say of windows that failed (two
//! texts), then which length.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use arrow_row::{RowConverter, Rows, SortField};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::on_io;
use crate::pipeline::kept_rows;
use crate::store::StoreError;
use crate::store::embedded::LaneState;
use crate::window::{Emission, Emit, FailedWindows, StateError, WindowError};

/// What the keys of pieces begin with.
const RUNS: u8 = 5;

/// Puts emissions in order. They must have no moments.
pub(super) struct InOrder {
    /// What is emitted, what there is to say of it, and then which length.
    schema: SchemaRef,
    keys: usize,
    /// Bytes that are put in order at once.
    most: usize,
    /// Rows of a piece, and of what is emitted at once.
    piece: usize,
    held: Vec<RecordBatch>,
    bytes: usize,
    /// Of each run how many pieces it has.
    runs: Vec<u32>,
    state: LaneState,
    io: Handle,
}

impl InOrder {
    /// For emissions of `schema`, of which `keys` columns are the key, and then come the bounds. So
    /// many bytes are put in order in memory, and so many rows handed on at once.
    pub(super) fn new(
        schema: &SchemaRef,
        keys: usize,
        (most, piece): (usize, usize),
        state: LaneState,
        io: Handle,
    ) -> Self {
        let mut fields = schema.fields().to_vec();
        for (name, data_type) in [("code", DataType::Utf8), ("detail", DataType::Utf8)] {
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        fields.push(Arc::new(Field::new("", DataType::UInt32, false)));
        Self {
            schema: Arc::new(Schema::new(fields)),
            keys,
            most,
            piece,
            held: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
            state,
            io,
        }
    }

    /// Hands on everything, in order.
    pub(super) async fn finish(mut self, out: &mut dyn Emit) -> Result<(), WindowError> {
        let rest = self.take_sorted()?;
        if self.runs.is_empty() {
            return match rest {
                Some(rows) => self.hand_on(&rows, out).await,
                None => Ok(()),
            };
        }
        if let Some(rows) = rest {
            self.write_run(rows).await?;
        }
        self.merge(out).await?;
        let state = self.state.clone();
        on_io(&self.io, async move { clear(&state).await }).await
    }

    async fn take(&mut self, emission: Emission) -> Result<(), WindowError> {
        debug_assert!(emission.moments.is_none(), "files order what has moments");
        let rows = emission.rows;
        let length = UInt32Array::from(vec![emission.length as u32; rows.num_rows()]);
        let mut columns = rows.columns().to_vec();
        match emission.failed {
            Some(failed) => {
                columns.extend([Arc::new(failed.codes) as ArrayRef, Arc::new(failed.details)])
            }
            None => {
                columns.extend([(); 2].map(|()| new_null_array(&DataType::Utf8, rows.num_rows())))
            }
        }
        columns.push(Arc::new(length));
        self.bytes += rows.get_array_memory_size();
        let schema = SchemaRef::clone(&self.schema);
        self.held.push(RecordBatch::try_new(schema, columns)?);
        if self.bytes > self.most
            && let Some(rows) = self.take_sorted()?
        {
            self.write_run(rows).await?;
        }
        Ok(())
    }

    fn take_sorted(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        self.bytes = 0;
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(None);
        }
        self.sorted(&held).map(Some)
    }

    /// Some rows in order; those that it does not tell apart stay as they are.
    fn sorted(&self, held: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        let rows = concat_batches(&self.schema, held)?;
        let order = self.order(&rows)?;
        let mut indices: Vec<u32> = (0..rows.num_rows() as u32).collect();
        indices.sort_by(|a, b| order.row(*a as usize).cmp(&order.row(*b as usize)));
        take_record_batch(&rows, &UInt32Array::from(indices))
    }

    /// Something for each row that compares as the rows do.
    fn order(&self, rows: &RecordBatch) -> Result<Rows, ArrowError> {
        let descending = SortOptions {
            descending: true,
            nulls_first: true,
        };
        let ascending = SortOptions::default();
        let length = rows.num_columns() - 1;
        let front = [
            (self.keys + 1, ascending),
            (self.keys, descending),
            (length, ascending),
        ];
        let keys = (0..self.keys).map(|key| (key, ascending));
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        for (column, options) in front.into_iter().chain(keys) {
            let column = rows.column(column);
            let data_type = column.data_type().clone();
            fields.push(SortField::new_with_options(data_type, options));
            columns.push(Arc::clone(column));
        }
        RowConverter::new(fields)?.convert_columns(&columns)
    }

    async fn write_run(&mut self, rows: RecordBatch) -> Result<(), WindowError> {
        let run = self.runs.len() as u32;
        let mut pieces = 0;
        for first in (0..rows.num_rows()).step_by(self.piece) {
            let piece = rows.slice(first, self.piece.min(rows.num_rows() - first));
            let mut bytes = Vec::new();
            kept_rows::write(&piece, &mut bytes)?;
            let mut batch = self.state.batch();
            batch.put(&piece_key(run, pieces), &bytes);
            pieces += 1;
            let state = self.state.clone();
            on_io(&self.io, async move { state.apply(batch).await }).await?;
        }
        self.runs.push(pieces);
        Ok(())
    }

    /// Merges the runs: in each round all rows up to the least of the last rows that were read.
    async fn merge(&mut self, out: &mut dyn Emit) -> Result<(), WindowError> {
        let mut reading = Vec::with_capacity(self.runs.len());
        for (run, pieces) in self.runs.iter().enumerate() {
            let mut run = Run {
                run: run as u32,
                next: 0,
                pieces: *pieces,
                rows: RecordBatch::new_empty(SchemaRef::clone(&self.schema)),
                order: None,
                at: 0,
            };
            run.read(self).await?;
            reading.push(run);
        }
        loop {
            // What follows the last row of a run's piece is not known, unless the run has no more.
            let ends = reading.iter().filter(|run| run.next < run.pieces);
            let least = ends.filter_map(Run::last).min();
            let taken: Vec<usize> = reading.iter().map(|run| run.upto(least)).collect();
            let parts = reading.iter().zip(&taken);
            let parts: Vec<RecordBatch> = parts
                .filter(|(run, end)| **end > run.at)
                .map(|(run, end)| run.rows.slice(run.at, end - run.at))
                .collect();
            if parts.is_empty() {
                return Ok(());
            }
            let rows = self.sorted(&parts)?;
            self.hand_on(&rows, out).await?;
            for (run, end) in reading.iter_mut().zip(taken) {
                run.at = end;
                if run.at == run.rows.num_rows() && run.next < run.pieces {
                    run.read(self).await?;
                }
            }
        }
    }

    /// Hands on rows that are in order.
    async fn hand_on(&self, rows: &RecordBatch, out: &mut dyn Emit) -> Result<(), WindowError> {
        let length = rows.num_columns() - 1;
        let lengths = rows.column(length).as_primitive::<UInt32Type>().values();
        let emitted: Vec<usize> = (0..length - 2).collect();
        let mut first = 0;
        for alike in lengths.chunk_by(|a, b| a == b) {
            for part in alike.chunks(self.piece) {
                let rows = rows.slice(first, part.len());
                first += part.len();
                let text = |column: usize| rows.column(column).as_string().clone();
                let failed = FailedWindows {
                    codes: text(length - 2),
                    details: text(length - 1),
                };
                out.emit(Emission {
                    length: part[0] as usize,
                    rows: rows.project(&emitted)?,
                    moments: None,
                    failed: (failed.codes.null_count() < part.len()).then(|| Box::new(failed)),
                })
                .await?;
            }
        }
        Ok(())
    }
}

impl Emit for InOrder {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.take(emission).boxed()
    }
}

/// A run that is read, a piece at a time.
struct Run {
    run: u32,
    next: u32,
    pieces: u32,
    rows: RecordBatch,
    order: Option<Rows>,
    /// The first row that was not handed on.
    at: usize,
}

impl Run {
    fn last(&self) -> Option<arrow_row::Row<'_>> {
        let order = self.order.as_ref()?;
        Some(order.row(order.num_rows().checked_sub(1)?))
    }

    /// How many rows are not greater than one.
    fn upto(&self, least: Option<arrow_row::Row<'_>>) -> usize {
        let (Some(order), Some(least)) = (&self.order, least) else {
            return self.rows.num_rows();
        };
        let (mut low, mut high) = (self.at, self.rows.num_rows());
        while low < high {
            let middle = low.midpoint(high);
            match order.row(middle) <= least {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    async fn read(&mut self, all: &InOrder) -> Result<(), WindowError> {
        let (state, key) = (all.state.clone(), piece_key(self.run, self.next));
        let piece = on_io(&all.io, async move { state.get(&key).await }).await?;
        let missing = || StateError::Damaged("a piece of what was emitted is missing".into());
        let piece = piece.ok_or_else(missing)?;
        self.rows = kept_rows::read(piece)?;
        self.order = Some(all.order(&self.rows)?);
        self.at = 0;
        self.next += 1;
        Ok(())
    }
}

/// Removes what was left of runs.
pub(super) async fn clear(state: &LaneState) -> Result<(), StoreError> {
    loop {
        let found = state.pairs(&[RUNS], None).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut batch = state.batch();
        found.iter().for_each(|(key, _)| batch.remove(key));
        state.apply(batch).await?;
    }
}

fn piece_key(run: u32, piece: u32) -> Vec<u8> {
    [&[RUNS][..], &run.to_be_bytes(), &piece.to_be_bytes()].concat()
}
