//! From messages of live streams to columns.
//!
//! In: [`Messages`] of one split as they lie in the stream, their format, and the columns that are wanted. Out:
//! [`DecodedMessages`], in the order of the messages, in which every message is accounted for: it became rows, or a
//! [`MessageReject`] with a reason, or, in Arrow IPC, neither, if it has no rows.
//!
//! Decoding keeps nothing of a batch when it is done, reads no clock and changes no value silently. A message that
//! cannot be read never stops the stream. What stops it is a schema registry that cannot be asked: then no message of the
//! batch has been used, and the caller may come back with the same batch ([`MessageError::is_temporary`]).

mod arrow_ipc;
mod avro;
mod error;
mod framing;
mod json;
mod outcome;
mod protobuf;
mod registry;
mod values;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Fields, Schema, SchemaRef};

use self::arrow_ipc::ArrowMessages;
pub use self::arrow_ipc::ArrowSchema;
use self::avro::AvroMessages;
pub use self::avro::{AvroSchema, AvroSchemas};
pub use self::error::MessageError;
use self::json::JsonMessages;
pub use self::outcome::MessageReject;
use self::outcome::Outcome;
use self::protobuf::ProtobufMessages;
pub use self::protobuf::ProtobufType;
pub use self::registry::{Registry, RegistryError, RegistryFault, RegistryOptions};
use self::values::Values;
use super::infer::Sample;
use crate::source::messages::Messages;

/// How the messages of a stream are written.
#[derive(Debug, Clone)]
pub enum MessageFormat {
    /// One JSON object a message.
    Json,
    /// One Avro record a message.
    Avro(AvroSchemas),
    /// One Protobuf message a message.
    Protobuf {
        /// Its type.
        message: ProtobufType,
        /// Whether it stands behind a zero byte, the id of a schema and the place of its type, as Confluent's
        /// serialisers write it.
        framed: bool,
    },
    /// An Arrow IPC stream a message; or a record batch, whose schema is declared here or came in an earlier message of
    /// its split.
    ArrowIpc(Option<ArrowSchema>),
    /// Anything: a message is a row, and what it says is the one column that may be wanted, of bytes.
    Bytes,
}

/// Messages as rows.
#[derive(Debug, Clone)]
pub struct DecodedMessages {
    /// The rows, with exactly the wanted schema. Arrays are plain: no dictionaries, no views.
    pub rows: RecordBatch,
    /// The message of each row, by its number in the batch, from 0; it never falls.
    pub message_of_row: ScalarBuffer<u32>,
    /// The number of the first message that was not decoded: that of all, unless the rows became so large (of Arrow IPC)
    /// that it is better to go on from here with another call.
    pub next: usize,
    /// What did not become rows, in the order of the messages.
    pub rejects: Vec<MessageReject>,
}

/// Columns for want of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The columns.
    pub schema: Schema,
    /// The fields that have no column, and why.
    pub left_out: Vec<(String, String)>,
}

/// Decodes the messages of splits. What it learns of schemas stays with it, so it should live as long as its splits.
pub struct MessageDecoder {
    wanted: SchemaRef,
    formats: Decoder,
}

enum Decoder {
    Json(JsonMessages),
    Avro(AvroMessages),
    Protobuf(Box<ProtobufMessages>),
    Arrow(ArrowMessages),
    Bytes,
}

impl MessageDecoder {
    /// A decoder of messages of a format. `wanted` names the columns with their types, in the order in which they are to
    /// come; whatever else is in the messages is passed over.
    ///
    /// # Errors
    ///
    /// Two columns have one name, a type has no form in the format, or (Protobuf, Avro from a file) the messages cannot
    /// give a wanted column.
    pub fn new(format: &MessageFormat, wanted: &SchemaRef) -> Result<Self, MessageError> {
        let mut names = HashSet::new();
        if let Some(twice) = wanted.fields().iter().find(|f| !names.insert(f.name())) {
            return Err(MessageError::DuplicateColumn {
                column: twice.name().clone(),
            });
        }
        let formats = match format {
            MessageFormat::Json => {
                Decoder::Json(JsonMessages::new(wanted).map_err(MessageError::of_json)?)
            }
            MessageFormat::Avro(schemas) => Decoder::Avro(AvroMessages::new(schemas, wanted)?),
            MessageFormat::Protobuf { message, framed } => {
                let protobuf = ProtobufMessages::new(message, *framed, wanted)?;
                Decoder::Protobuf(Box::new(protobuf))
            }
            MessageFormat::ArrowIpc(schema) => {
                Decoder::Arrow(ArrowMessages::new(schema.clone(), wanted))
            }
            MessageFormat::Bytes => Decoder::Bytes,
        };
        Ok(Self {
            wanted: Arc::clone(wanted),
            formats,
        })
    }

    /// Decodes a batch of messages, from number `first` on. Blocks while a schema registry is asked, and so must not be called from a task of
    /// the I/O runtime then.
    ///
    /// # Errors
    ///
    /// A registry cannot be asked. If [`MessageError::is_temporary`] says so, the same batch may be decoded later.
    pub fn decode(
        &mut self,
        messages: &Messages,
        first: usize,
    ) -> Result<DecodedMessages, MessageError> {
        let mut outcome = Outcome::with_capacity(messages.len().saturating_sub(first));
        let mut next = messages.len();
        let rows = match &mut self.formats {
            Decoder::Json(json) => {
                json.decode(messages, first, &mut outcome);
                json.columns().finish(outcome.rows())
            }
            Decoder::Avro(avro) => {
                avro.decode(messages, first, &mut outcome)?;
                finish(&self.wanted, avro.columns())
            }
            Decoder::Protobuf(protobuf) => {
                protobuf.decode(messages, first, &mut outcome);
                finish(&self.wanted, protobuf.columns())
            }
            Decoder::Arrow(arrow) => {
                next = arrow.decode(messages, first, &mut outcome);
                arrow.finish()
            }
            Decoder::Bytes => whole(&self.wanted, messages, first, &mut outcome),
        };
        Ok(DecodedMessages {
            rows,
            message_of_row: outcome.message_of_row.into(),
            next,
            rejects: outcome.rejects,
        })
    }
}

/// What messages say, as they say it; of one that says nothing, no bytes.
fn whole(
    wanted: &SchemaRef,
    messages: &Messages,
    first: usize,
    outcome: &mut Outcome,
) -> RecordBatch {
    let values = messages.values.iter().skip(first);
    let values = BinaryArray::from_iter_values(values.map(Option::unwrap_or_default));
    (first..messages.len()).for_each(|number| outcome.push(number, 1));
    let options = RecordBatchOptions::new().with_row_count(Some(messages.len() - first));
    let columns = wanted.fields().iter();
    let columns = columns
        .map(|_| Arc::new(values.clone()) as ArrayRef)
        .collect();
    RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options)
        .expect("whoever takes messages for bytes wants columns of bytes")
}

impl Inferred {
    /// The columns of JSON messages, as far as the first of them show: see the inference of NDJSON. Texts of the columns
    /// `times` are points in time. None that is an object gives no columns.
    pub fn of_json<'a>(values: impl IntoIterator<Item = &'a [u8]>, times: &[&str]) -> Self {
        let mut sample = Sample::default();
        for value in values.into_iter().take(super::infer::SAMPLE_RECORDS) {
            sample.add_message(value);
        }
        Self {
            schema: sample.inferred(times).schema,
            left_out: Vec::new(),
        }
    }
}

/// Empty columns for what is wanted; `format` is for messages.
fn columns_of(format: &'static str, wanted: &Fields) -> Result<Values, MessageError> {
    Values::record(wanted).map_err(|unsupported| MessageError::UnsupportedType {
        format,
        column: unsupported.path,
        data_type: unsupported.data_type,
    })
}

/// The rows of a record's columns, which are empty afterwards.
fn finish(wanted: &SchemaRef, columns: &mut Values) -> RecordBatch {
    let array = columns.finish();
    let record = array
        .as_any()
        .downcast_ref::<StructArray>()
        .expect("a record's columns make a struct");
    let options = RecordBatchOptions::new().with_row_count(Some(array.len()));
    let columns = record.columns().to_vec();
    RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options)
        .expect("the columns were built from the schema, and nulls were checked against it")
}

#[cfg(test)]
mod testing;
