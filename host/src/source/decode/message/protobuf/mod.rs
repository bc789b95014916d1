//! Protobuf: one message of one type each, behind Confluent's framing or without.
//!
//! In: messages, and the set of descriptors that `protoc` wrote. Out: the wanted columns. How a message becomes a row is
//! worked out once (`plan`); `read` then goes through the bytes and fills the columns, and makes no message in memory.

mod infer;
mod plan;
mod read;
mod wire;

use std::panic::catch_unwind;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use prost_reflect::{DescriptorPool, MessageDescriptor};

use self::plan::{MessagePlan, Unfit};
use self::wire::{Cursor, Malformed};
use super::super::batch::Refusal;
use super::outcome::Outcome;
use super::values::Values;
use super::{Inferred, MessageError, columns_of, framing};
use crate::source::messages::Messages;

/// The type of Protobuf messages.
#[derive(Debug, Clone)]
pub struct ProtobufType {
    message: MessageDescriptor,
}

impl ProtobufType {
    /// Reads the type with the full name `name` from a set of descriptors: what
    /// `protoc --include_imports --descriptor_set_out=FILE` writes.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no set of descriptors or lacks imports, or has no such type.
    pub fn read(path: &Path, name: &str) -> Result<Self, MessageError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| MessageError::Open {
            file: file.clone(),
            source,
        })?;
        Self::parse(&file, &bytes, name)
    }

    /// As [`ProtobufType::read`], from the content of `file`.
    ///
    /// # Errors
    ///
    /// It is no set of descriptors or lacks imports, or has no such type.
    pub fn parse(file: &str, descriptors: &[u8], name: &str) -> Result<Self, MessageError> {
        let refuse = |reason: String| MessageError::BadSchemaFile {
            file: file.to_owned(),
            format: "Protobuf descriptor set",
            reason: format!("{reason}; write it with `protoc --include_imports`"),
        };
        // It panics at some sets that name nothing, and keeps nothing of them.
        let pool = catch_unwind(|| DescriptorPool::decode(descriptors))
            .map_err(|_| refuse("a name in it is missing".to_owned()))?
            .map_err(|error| refuse(error.to_string()))?;
        let message = pool.get_message_by_name(name.trim_start_matches('.'));
        let message = message.ok_or_else(|| MessageError::UnknownMessage {
            file: file.to_owned(),
            name: name.to_owned(),
            known: names(&pool),
        })?;
        Ok(Self { message })
    }

    /// The columns of the message's fields.
    pub fn infer(&self) -> Inferred {
        infer::columns(&self.message)
    }

    /// Where the type stands in its file: its number, behind those of the types around it.
    fn place(&self) -> Vec<i32> {
        // Between the numbers stand those of the fields of the descriptors that they are in.
        self.message
            .path()
            .iter()
            .copied()
            .skip(1)
            .step_by(2)
            .collect()
    }
}

/// The messages that one might have meant.
fn names(pool: &DescriptorPool) -> String {
    const SHOWN: usize = 20;
    let names: Vec<String> = pool
        .all_messages()
        .filter(|message| !message.is_map_entry() && message.package_name() != "google.protobuf")
        .map(|message| message.full_name().to_owned())
        .collect();
    match names.len() {
        0 => "no messages".to_owned(),
        1..=SHOWN => names.join(", "),
        more => format!("{} and {} others", names[..SHOWN].join(", "), more - SHOWN),
    }
}

/// Decodes Protobuf messages.
pub(super) struct ProtobufMessages {
    plan: MessagePlan,
    columns: Values,
    /// Where the type stands in its file, if messages say so.
    place: Option<Vec<i32>>,
}

impl ProtobufMessages {
    pub(super) fn new(
        of: &ProtobufType,
        framed: bool,
        wanted: &SchemaRef,
    ) -> Result<Self, MessageError> {
        let name = of.message.full_name();
        let plan = MessagePlan::new(&of.message, wanted.fields()).map_err(|unfit| {
            let reason = match unfit {
                Unfit::Missing(column, names) => {
                    format!("{name} has no field `{column}`; it has {names}")
                }
                Unfit::Unlike(column, what) => format!("column `{column}`: {what}"),
            };
            MessageError::Unfit {
                format: "the Protobuf type",
                reason,
            }
        })?;
        Ok(Self {
            plan,
            columns: columns_of("Protobuf", wanted.fields())?,
            place: framed.then(|| of.place()),
        })
    }

    /// The columns that are filled.
    pub(super) fn columns(&mut self) -> &mut Values {
        &mut self.columns
    }

    pub(super) fn decode(&mut self, messages: &Messages, first: usize, outcome: &mut Outcome) {
        for (number, value) in messages.values.iter().enumerate().skip(first) {
            let Some(value) = outcome.value(number, value) else {
                continue;
            };
            match self.read(value) {
                Ok(()) => outcome.push(number, 1),
                Err(refusal) => {
                    self.columns.truncate(outcome.rows());
                    outcome.refuse_bytes(number, refusal, value);
                }
            }
        }
    }

    /// Appends a row.
    fn read(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let cursor = match &self.place {
            Some(place) => unframed(value, place)?,
            None => Cursor::new(value, 0),
        };
        read::read_message(&mut self.plan, cursor, &mut self.columns).map_err(read::Fault::refusal)
    }
}

/// What stands behind the framing, which must name the type at `place`.
fn unframed<'a>(value: &'a [u8], place: &[i32]) -> Result<Cursor<'a>, Refusal> {
    let (_, rest) = framing::confluent(value)?;
    let mut cursor = Cursor::new(rest, value.len() - rest.len());
    let found = read_place(&mut cursor).map_err(|malformed| {
        framing::bad_framing(format!(
            "byte {}: expected the place of the message's type in its file",
            malformed.at + 1
        ))
    })?;
    if found != place {
        return Err(framing::bad_framing(format!(
            "the message is of type {found:?} of its file, and not of {place:?}, which is the one that is read"
        )));
    }
    Ok(Cursor::new(cursor.rest(), cursor.position()))
}

fn read_place(cursor: &mut Cursor<'_>) -> Result<Vec<i32>, Malformed> {
    let mut number = || -> Result<i64, Malformed> {
        let before = *cursor;
        let number = cursor.varint()?;
        let number = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        match number {
            0..=0x7fff_ffff => Ok(number),
            _ => Err(before.malformed("a number")),
        }
    };
    match number()? {
        // The first type of a file, in short.
        0 => Ok(vec![0]),
        count => (0..count).map(|_| Ok(number()? as i32)).collect(),
    }
}

#[cfg(test)]
mod tests;
