//! What can keep messages from being decoded. Single bad messages do not: they are
//! [`MessageReject`](super::MessageReject)s.

use arrow::datatypes::DataType;
use thiserror::Error;

use super::super::DecodeError;
use super::registry::RegistryError;

/// Why messages cannot be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Two of the wanted columns have the same name.
    #[error("column `{column}` is wanted twice; name it once")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// A wanted type has no form in the format.
    #[error(
        "column `{column}` is declared as {data_type}, which cannot be read from {format}; declare another type"
    )]
    UnsupportedType {
        /// `JSON`, `Avro` or `Protobuf`.
        format: &'static str,
        /// The column, with the path to the part of it that is meant.
        column: String,
        /// The declared type.
        data_type: DataType,
    },
    /// The schema of the messages does not have what is wanted.
    #[error("{format} does not fit what is wanted of it: {reason}")]
    Unfit {
        /// Which schema.
        format: &'static str,
        /// What it lacks.
        reason: String,
    },
    /// A file with a schema could not be read.
    #[error("opening {file}: {source}")]
    Open {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file with a schema is none.
    #[error("{file}: is no {format}: {reason}")]
    BadSchemaFile {
        /// The file.
        file: String,
        /// What it should be.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An Arrow file with a schema cannot be read.
    #[error(transparent)]
    SchemaFile(DecodeError),
    /// There is no such Protobuf type.
    #[error("{file}: has no message `{name}`; it has {known}")]
    UnknownMessage {
        /// The file.
        file: String,
        /// The full name that was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The schema registry did not say what it was asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl MessageError {
    /// Whether the same messages may be decoded later: a registry is down.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Registry(error) if error.fault.is_temporary())
    }

    /// What is wrong with the columns that are wanted of JSON.
    pub(super) fn of_json(error: DecodeError) -> Self {
        match error {
            DecodeError::UnsupportedType {
                format,
                column,
                data_type,
                ..
            } => Self::UnsupportedType {
                format,
                column,
                data_type,
            },
            other => Self::SchemaFile(other),
        }
    }
}
