//! Arrow IPC: a message is a stream of its own (schema and record batches), or a single record batch whose schema came
//! before.
//!
//! In: messages of any number of rows. Out: the wanted columns, made to fit as those of files are (`ipc`, `columnar`). A
//! column that a message does not have is null. Each message is whole or not at all, but for rows that lack a value which
//! they must have: these are refused one by one.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;

use super::super::batch::Refusal;
use super::super::ipc::{self, IpcReader};
use super::super::origin::code;
use super::super::{DecodeError, Decoded, SplitReader};
use super::MessageError;
use super::outcome::Outcome;
use crate::source::messages::Messages;
use crate::source::recording::{LocalFile, Recording};

/// Rows of a message that are decoded at once.
const ROWS: usize = 65_536;

/// Bytes of the rows of a message, at most. A small message may stand for many, with a dictionary or compressed.
const MESSAGE_BYTES: usize = 256 << 20;
/// Bytes of rows after which no further message is taken in.
const BATCH_BYTES: usize = 64 << 20;

/// The schema of messages that have none themselves.
#[derive(Debug, Clone)]
pub struct ArrowSchema {
    /// A stream's beginning: the schema, as a message.
    prefix: Bytes,
    schema: SchemaRef,
}

impl ArrowSchema {
    /// Reads the schema of an Arrow file or stream, whatever else is in it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, MessageError> {
        let recording: Arc<dyn Recording> = Arc::new(LocalFile::new(path));
        let written = ipc::written_schema(&recording).map_err(MessageError::SchemaFile)?;
        Ok(Self::new(&written))
    }

    /// The schema as it is.
    pub fn new(schema: &Schema) -> Self {
        let options = arrow_ipc::writer::IpcWriteOptions::default();
        let mut prefix = Vec::new();
        arrow_ipc::writer::StreamWriter::try_new_with_options(&mut prefix, schema, options)
            .expect("a schema is written to memory without rows");
        Self {
            prefix: prefix.into(),
            schema: Arc::new(schema.clone()),
        }
    }

    /// The columns with plain types: dictionaries and views as what they hold.
    pub fn infer(&self) -> Schema {
        ipc::plain_schema(&self.schema)
    }
}

/// Decodes Arrow messages.
pub(super) struct ArrowMessages {
    wanted: SchemaRef,
    declared: Option<ArrowSchema>,
    /// Of each split, the schema that came last.
    seen: HashMap<u32, Bytes>,
    batches: Vec<RecordBatch>,
}

impl ArrowMessages {
    pub(super) fn new(declared: Option<ArrowSchema>, wanted: &SchemaRef) -> Self {
        Self {
            wanted: Arc::clone(wanted),
            declared,
            seen: HashMap::new(),
            batches: Vec::new(),
        }
    }

    /// Decodes messages from number `first` on, and gives the number of the first that it did not come to.
    pub(super) fn decode(
        &mut self,
        messages: &Messages,
        first: usize,
        outcome: &mut Outcome,
    ) -> usize {
        let mut bytes = 0;
        for (number, value) in messages.values.iter().enumerate().skip(first) {
            if bytes > BATCH_BYTES {
                return number;
            }
            let Some(value) = outcome.value(number, value) else {
                continue;
            };
            let batches = match self.read(value, messages.split) {
                Ok(batches) => batches,
                Err(refusal) => {
                    outcome.refuse_bytes(number, refusal, value);
                    continue;
                }
            };
            for decoded in batches {
                let before = outcome.rows();
                outcome.push(number, decoded.rows.num_rows());
                for reject in decoded.rejects {
                    let refusal = Refusal {
                        code: reject.code,
                        reason: format!("row {}: {}", reject.position, reject.reason),
                    };
                    let record = String::from_utf8_lossy(&reject.record).into_owned();
                    outcome.refuse_at(number, before + reject.before_row as usize, refusal, record);
                }
                bytes += decoded.rows.get_array_memory_size();
                self.batches.push(decoded.rows);
            }
        }
        messages.len()
    }

    /// The rows of all messages since the last time.
    pub(super) fn finish(&mut self) -> RecordBatch {
        let batches = std::mem::take(&mut self.batches);
        match &batches[..] {
            [only] => only.clone(),
            batches => concat_batches(&self.wanted, batches)
                .expect("all batches have the wanted columns, which together fit into memory"),
        }
    }

    /// All rows of a message.
    fn read(&mut self, value: &[u8], split: u32) -> Result<Vec<Decoded>, Refusal> {
        let mut whole = Bytes::copy_from_slice(value);
        match ipc::leading_schema(value).map_err(|reason| malformed(&reason))? {
            // Files have theirs at their ends, and no batch comes behind them.
            Some(0) => {}
            Some(schema) if self.declared.is_none() => {
                let schema = Bytes::copy_from_slice(&value[..schema.min(value.len())]);
                self.seen.insert(split, schema);
            }
            Some(_) => {}
            None => {
                let declared = self.declared.as_ref().map(|declared| &declared.prefix);
                let Some(prefix) = declared.or_else(|| self.seen.get(&split)) else {
                    return Err(malformed(
                        "it has no schema, and none came before it; declare one in a file",
                    ));
                };
                whole = [&prefix[..], value].concat().into();
            }
        }
        let message: Arc<dyn Recording> = Arc::new(InMessage(whole));
        self.read_stream(&message).map_err(|error| match error {
            Failure::Refused(refusal) => refusal,
            Failure::Decode(error) => refusal_of(&error),
        })
    }

    fn read_stream(&self, message: &Arc<dyn Recording>) -> Result<Vec<Decoded>, Failure> {
        let present = ipc::schema(message)?;
        let (mut there, mut absent) = (Vec::new(), Vec::new());
        for field in self.wanted.fields() {
            if present.index_of(field.name()).is_ok() {
                there.push(Arc::clone(field));
            } else if field.is_nullable() {
                absent.push(field.name());
            } else {
                return Err(Failure::Refused(missing(field)));
            }
        }
        let there = Arc::new(Schema::new(there));
        let mut reader = IpcReader::open(message, &there, ROWS)?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(mut decoded) = reader.next_batch()? {
            bytes += decoded.rows.get_array_memory_size();
            if bytes > MESSAGE_BYTES {
                let reason = format!("its rows take more than {MESSAGE_BYTES} bytes");
                return Err(Failure::Refused(malformed(&reason)));
            }
            if !absent.is_empty() {
                decoded.rows = self.widened(&decoded.rows);
            }
            batches.push(decoded);
        }
        Ok(batches)
    }

    /// With nulls in the columns that are not there.
    fn widened(&self, rows: &RecordBatch) -> RecordBatch {
        let columns = self.wanted.fields().iter().map(|field| -> ArrayRef {
            match rows.column_by_name(field.name()) {
                Some(column) => Arc::clone(column),
                None => new_null_array(field.data_type(), rows.num_rows()),
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let columns = columns.collect();
        RecordBatch::try_new_with_options(Arc::clone(&self.wanted), columns, &options)
            .expect("what is not there may be null, and the rest was made to fit")
    }
}

enum Failure {
    Refused(Refusal),
    Decode(DecodeError),
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

#[cold]
fn malformed(reason: &str) -> Refusal {
    Refusal {
        code: code::MALFORMED_ARROW,
        reason: reason.to_owned(),
    }
}

#[cold]
fn missing(field: &Field) -> Refusal {
    Refusal {
        code: code::MISSING_VALUE,
        reason: format!(
            "column `{}` is missing, but declared as not nullable",
            field.name()
        ),
    }
}

/// Why a message that is no file cannot be read.
#[cold]
fn refusal_of(error: &DecodeError) -> Refusal {
    match error {
        DecodeError::IncompatibleColumn {
            column,
            expected,
            found,
            ..
        } => Refusal {
            code: code::WRONG_TYPE,
            reason: format!("column `{column}`: expected {expected}, found {found}"),
        },
        DecodeError::Inexact {
            column,
            value,
            expected,
            found,
            ..
        } => Refusal {
            code: code::OUT_OF_RANGE,
            reason: format!("column `{column}`: {value} ({found}) has no exact form as {expected}"),
        },
        DecodeError::Unreadable { reason, .. } | DecodeError::Corrupt { reason, .. } => {
            malformed(reason)
        }
        DecodeError::Empty { .. } => malformed("it is empty"),
        other => malformed(&other.to_string()),
    }
}

/// A message as a recording.
#[derive(Debug)]
struct InMessage(Bytes);

impl Recording for InMessage {
    fn name(&self) -> String {
        "a message".to_owned()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        match start.checked_add(length) {
            Some(end) if end <= self.0.len() => Ok(self.0.slice(start..end)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests;
