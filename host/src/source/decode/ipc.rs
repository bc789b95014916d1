//! Arrow IPC: the file format (also called Feather version 2) and the stream format, told apart by how they begin.
//!
//! In: a file. Out: its wanted columns, made plain (dictionaries, runs and views become ordinary arrays) and made to fit
//! the wanted types where that loses nothing (`columnar`). Buffers may be compressed with lz4 or zstd. `messages` finds
//! the messages and bounds what they ask memory for; the `arrow-ipc` crate decodes and validates them.
//!
//! One record batch is in memory at a time, whole, because that is what a writer chose; what comes out is cut to the
//! wanted number of rows, and to fewer where dictionaries or views would grow beyond measure. Dictionaries of other
//! columns are not decoded.

mod lz4;
mod messages;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::compute::can_cast_types;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};

use self::messages::{Header, MOST_BYTES, Message, Messages};
use super::columnar::{Fault, Fitting, Pieces, Watched, guarded, plain};
use super::{DecodeError, Decoded, SplitReader};
use crate::source::recording::Recording;

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
    /// Of those columns, the schema as it was written.
    wanted: Schema,
    /// The record batch at hand.
    pieces: Pieces,
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
        let project = |schema: &Schema| {
            let projected = schema.project(&read);
            projected.expect("the places are those of columns")
        };
        let (plain, wanted) = (project(&present), project(&written));
        Ok(Self {
            fitting,
            file: Arc::clone(messages.file()),
            messages: Some(messages),
            dictionaries: HashMap::new(),
            wanted,
            pieces: Pieces::new(Arc::new(plain)),
            written: Arc::new(written),
            read,
            batch_rows: batch_rows.clamp(1, 1 << 30),
            rows: 0,
        })
    }

    /// The next rows, plain; `None` at the end.
    fn next_rows(&mut self) -> Result<Option<RecordBatch>, Fault> {
        while self.pieces.is_given_out() {
            let Some(messages) = &mut self.messages else {
                return Ok(None);
            };
            let Some(message) = messages.next()? else {
                self.messages = None;
                return Ok(None);
            };
            guarded(|| Ok::<_, String>(self.take(&message)))??;
        }
        let rows = guarded(|| Ok::<_, String>(self.pieces.next(self.batch_rows)))??;
        Ok(Some(rows))
    }

    /// Takes in a message: a dictionary, or the rows that come next.
    fn take(&mut self, message: &Message) -> Result<(), ArrowError> {
        let (header, version) = message.header()?;
        match header {
            Header::Dictionary(batch) if !self.wants(batch.id()) => Ok(()),
            Header::Dictionary(batch) => {
                message.check_dictionary(&batch)?;
                read_dictionary(
                    message.body(),
                    batch,
                    &self.written,
                    &mut self.dictionaries,
                    &version,
                )?;
                self.check_dictionaries()
            }
            Header::Rows(batch) => {
                message.check(&batch)?;
                let rows: RecordBatch = RecordBatchDecoder::try_new(
                    message.body(),
                    batch,
                    Arc::clone(&self.written),
                    &self.dictionaries,
                    &version,
                )?
                .with_projection(Some(&self.read))
                .read_record_batch()?;
                self.pieces.take_in(rows);
                Ok(())
            }
            Header::Nothing => Ok(()),
        }
    }
}

impl IpcReader {
    /// Whether a column that is read has the dictionary of this number. The others may be of any size.
    fn wants(&self, dictionary: i64) -> bool {
        #[expect(deprecated, reason = "nothing else says whose dictionary it is")]
        let fields = self.wanted.fields_with_dict_id(dictionary);
        !fields.is_empty()
    }

    /// A file may have any number of dictionaries, which all stay.
    fn check_dictionaries(&self) -> Result<(), ArrowError> {
        let all = self.dictionaries.values();
        let bytes: u64 = all
            .map(|values| values.get_array_memory_size() as u64)
            .sum();
        match bytes > MOST_BYTES {
            true => Err(ArrowError::MemoryError(format!(
                "its dictionaries take {bytes} bytes, of which {MOST_BYTES} are possible; write it with smaller ones, or with none"
            ))),
            false => Ok(()),
        }
    }
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
            Err(fault) => Err(self
                .file
                .failure_or(fault.after(self.fitting.file(), self.rows))),
        };
        if decoded.is_err() {
            self.messages = None;
            self.pieces.end();
        }
        decoded.map(Some)
    }

    fn bytes_read(&self) -> u64 {
        let Some(messages) = &self.messages else {
            return self.file.size();
        };
        let (before, last) = messages.bytes_read();
        let (given, rows) = match self.pieces.progress() {
            (_, 0) => (1, 1),
            progress => progress,
        };
        let share = u128::from(last) * given as u128 / rows as u128;
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
