//! Rows as a file's decoder gives them, handed on plain and in pieces: dictionaries, runs and views become ordinary
//! arrays, which may be larger than what they were made of by any factor.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::expanded;

/// Bytes of a piece, at most, where making it plain makes it larger.
pub(in super::super) const PIECE_BYTES: u64 = 32 << 20;
/// Bytes of a single row, at most, once it is plain.
const ROW_BYTES: u64 = 1 << 30;

/// A batch as it was decoded, on its way out.
pub(in super::super) struct Pieces {
    /// What comes out.
    plain: SchemaRef,
    batch: RecordBatch,
    given: usize,
}

impl Pieces {
    /// Nothing yet. What comes out has the schema `plain`.
    pub(in super::super) fn new(plain: SchemaRef) -> Self {
        Self {
            plain,
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            given: 0,
        }
    }

    /// Takes a batch in, whose columns can be cast to the plain ones. The one before must have been given out.
    pub(in super::super) fn take_in(&mut self, batch: RecordBatch) {
        debug_assert!(self.is_given_out(), "rows would be lost");
        (self.batch, self.given) = (batch, 0);
    }

    /// Whether all rows were given out.
    pub(in super::super) fn is_given_out(&self) -> bool {
        self.given == self.batch.num_rows()
    }

    /// Gives nothing out any more.
    pub(in super::super) fn end(&mut self) {
        self.given = self.batch.num_rows();
    }

    /// The rows that were given out of the batch at hand, and all that it has.
    pub(in super::super) fn progress(&self) -> (usize, usize) {
        (self.given, self.batch.num_rows())
    }

    /// As many of the next rows as make a piece, `most` of them at most.
    pub(in super::super) fn next(&mut self, most: usize) -> Result<RecordBatch, ArrowError> {
        let left = self.batch.num_rows() - self.given;
        let mut rows = left.min(most);
        let expanded = |rows| {
            let columns = self.batch.columns().iter();
            columns
                .map(|column| expanded::bytes(column.slice(self.given, rows).as_ref()))
                .fold(0, u64::saturating_add)
        };
        while rows > 1 && expanded(rows) > PIECE_BYTES {
            rows /= 2;
        }
        if rows == 1 && expanded(1) > ROW_BYTES {
            return Err(ArrowError::MemoryError(format!(
                "its next row would take more than {ROW_BYTES} bytes once it is plain"
            )));
        }
        let whole = rows == self.batch.num_rows();
        let columns = self.batch.columns().iter().zip(self.plain.fields());
        let columns = columns.map(|(column, field)| {
            let slice = column.slice(self.given, rows);
            made_plain(
                if whole { slice } else { compact(slice) },
                field.data_type(),
            )
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let piece = RecordBatch::try_new_with_options(
            Arc::clone(&self.plain),
            columns.collect::<Result<_, _>>()?,
            &options,
        )?;
        self.given += rows;
        if self.is_given_out() {
            // What it was made of is not needed until the next one comes.
            self.batch = RecordBatch::new_empty(self.batch.schema());
            self.given = 0;
        }
        Ok(piece)
    }
}

/// Only the items of a slice's own rows. What follows would otherwise go through all of those of the record batch, for
/// each of its slices.
fn compact(slice: ArrayRef) -> ArrayRef {
    if !slice.data_type().is_nested() {
        return slice;
    }
    let rows = UInt32Array::from_iter_values(0..slice.len() as u32);
    take(slice.as_ref(), &rows, None).unwrap_or(slice)
}

fn made_plain(array: ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array);
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&array, to, &strict)
}
