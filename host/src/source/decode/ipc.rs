//! Arrow IPC: the file format (also called Feather version 2) and the stream format, told apart by how they begin.
//!
//! In: a file. Out: its wanted columns, made plain (dictionaries, runs and views become ordinary arrays) and made to fit
//! the wanted types where that loses nothing (`columnar`). Buffers may be compressed with lz4 or zstd. `messages` finds
//! the messages and bounds what they ask memory for; the `arrow-ipc` crate decodes and validates them.
//!
//! One record batch is in memory at a time, whole, because that is what a writer chose; what comes out is cut to the
//! wanted number of rows, and to fewer where dictionaries or views would grow beyond measure.

mod expanded;
mod messages;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, take};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};

use self::messages::{Header, Message, Messages};
use super::columnar::{Fitting, Watched, guarded, plain};
use super::{DecodeError, Decoded, SplitReader};
use crate::source::recording::Recording;

/// Bytes of a batch, at most, where making it plain makes it larger.
const BATCH_BYTES: u64 = 32 << 20;
/// Bytes of a single row, at most, once it is plain.
const ROW_BYTES: u64 = 1 << 30;

/// Reads one Arrow IPC file.
pub(super) struct IpcReader {
    fitting: Fitting,
    /// `None` after the end, and after an error.
    messages: Option<Messages>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// The schema of the file as it was written.
    written: SchemaRef,
    /// The columns that are read, by their places in the file.
    read: Vec<usize>,
    /// Of those columns, the schema with plain types.
    plain: SchemaRef,
    /// The record batch at hand, and how many of its rows were given out.
    batch: RecordBatch,
    given: usize,
    batch_rows: usize,
    rows: u64,
    file: Arc<Watched>,
}

impl IpcReader {
    /// `schema` is what is wanted of `recording`.
    pub(super) fn open(
        recording: &Arc<dyn Recording>,
        schema: &SchemaRef,
        batch_rows: usize,
    ) -> Result<Self, DecodeError> {
        let (messages, written) = Messages::open(recording)?;
        let present = plain::schema(&written);
        let (fitting, read) = Fitting::new(recording.name(), &present, schema)?;
        for root in &read {
            let (found, made) = (written.field(*root), present.field(*root));
            if found.data_type() != made.data_type()
                && !can_cast_types(found.data_type(), made.data_type())
            {
                return Err(DecodeError::IncompatibleColumn {
                    file: recording.name(),
                    column: found.name().clone(),
                    expected: made.data_type().clone(),
                    found: found.data_type().clone(),
                });
            }
        }
        let plain = present
            .project(&read)
            .expect("the places are those of columns");
        Ok(Self {
            fitting,
            file: Arc::clone(messages.file()),
            messages: Some(messages),
            dictionaries: HashMap::new(),
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            written: Arc::new(written),
            read,
            plain: Arc::new(plain),
            given: 0,
            batch_rows: batch_rows.clamp(1, 1 << 30),
            rows: 0,
        })
    }

    /// The next rows, plain; `None` at the end.
    fn next_rows(&mut self) -> Result<Option<RecordBatch>, String> {
        while self.given == self.batch.num_rows() {
            let Some(messages) = &mut self.messages else {
                return Ok(None);
            };
            let Some(message) = messages.next()? else {
                self.messages = None;
                return Ok(None);
            };
            guarded(|| self.take(&message))?;
        }
        guarded(|| self.plain_rows()).map(Some)
    }

    /// Takes in a message: a dictionary, or the rows that come next.
    fn take(&mut self, message: &Message) -> Result<(), ArrowError> {
        let (header, version) = message.header()?;
        match header {
            Header::Dictionary(batch) => read_dictionary(
                message.body(),
                batch,
                &self.written,
                &mut self.dictionaries,
                &version,
            ),
            Header::Rows(batch) => {
                self.batch = RecordBatchDecoder::try_new(
                    message.body(),
                    batch,
                    Arc::clone(&self.written),
                    &self.dictionaries,
                    &version,
                )?
                .with_projection(Some(&self.read))
                .read_record_batch()?;
                self.given = 0;
                Ok(())
            }
            Header::Nothing => Ok(()),
        }
    }

    /// As many rows of the record batch at hand as make a batch.
    fn plain_rows(&mut self) -> Result<RecordBatch, ArrowError> {
        let left = self.batch.num_rows() - self.given;
        let mut rows = left.min(self.batch_rows);
        let expanded = |rows| {
            let columns = self.batch.columns().iter();
            columns
                .map(|column| expanded::bytes(column.slice(self.given, rows).as_ref()))
                .sum::<u64>()
        };
        while rows > 1 && expanded(rows) > BATCH_BYTES {
            rows /= 2;
        }
        if rows == 1 && expanded(1) > ROW_BYTES {
            return Err(ArrowError::MemoryError(format!(
                "its next row would take more than {ROW_BYTES} bytes"
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
        let batch = RecordBatch::try_new_with_options(
            Arc::clone(&self.plain),
            columns.collect::<Result<_, _>>()?,
            &options,
        )?;
        self.given += rows;
        Ok(batch)
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

impl SplitReader for IpcReader {
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        let decoded = match self.next_rows() {
            Ok(None) => return Ok(None),
            Ok(Some(batch)) => {
                let decoded = self.fitting.fit(&batch, self.rows);
                self.rows += batch.num_rows() as u64;
                decoded
            }
            Err(reason) => Err(self.file.failure_or(DecodeError::Corrupt {
                file: self.fitting.file().to_owned(),
                row: self.rows,
                reason,
            })),
        };
        if decoded.is_err() {
            self.messages = None;
            self.given = self.batch.num_rows();
        }
        decoded.map(Some)
    }

    fn bytes_read(&self) -> u64 {
        let Some(messages) = &self.messages else {
            return self.file.size();
        };
        let (before, last) = messages.bytes_read();
        let share = u128::from(last) * self.given as u128 / self.batch.num_rows().max(1) as u128;
        (before + share as u64).min(self.file.size())
    }
}

/// The columns of a file, with plain types.
pub(super) fn schema(recording: &Arc<dyn Recording>) -> Result<Schema, DecodeError> {
    written_schema(recording).map(|written| plain::schema(&written))
}

/// The columns of a file as they were written.
pub(super) fn written_schema(recording: &Arc<dyn Recording>) -> Result<Schema, DecodeError> {
    Messages::open(recording).map(|(_, written)| written)
}

/// Columns with plain types.
pub(super) fn plain_schema(written: &Schema) -> Schema {
    plain::schema(written)
}

/// How long the schema is that bytes begin with; none if they begin with a record batch or a dictionary, 0 if with
/// something else, which may be a file.
pub(super) fn leading_schema(bytes: &[u8]) -> Result<Option<usize>, String> {
    guarded(|| messages::leading_schema(bytes))
}

#[cfg(test)]
mod tests;
