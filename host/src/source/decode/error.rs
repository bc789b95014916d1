//! What can stop a split from being read. Single bad records do not: they are [`Malformed`](super::Malformed).

use std::path::PathBuf;

use arrow::datatypes::DataType;
use thiserror::Error;

/// Why a file cannot be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The extension of the file names no format.
    #[error("{}: its extension names no format; use .ndjson, .jsonl or .json (one JSON object a line) or .parquet", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be opened.
    #[error("opening {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Reading failed in the middle.
    #[error("reading {} at byte {at}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// How many bytes had been read.
        at: u64,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A wanted type has no form in the file's format.
    #[error("{}: column `{column}` is declared as {data_type}, which cannot be read from JSON; declare another type", path.display())]
    UnsupportedType {
        /// The file.
        path: PathBuf,
        /// The column, with the path to the part of it that is meant.
        column: String,
        /// The declared type.
        data_type: DataType,
    },
    /// Two of the wanted columns have the same name.
    #[error("{}: column `{column}` is wanted twice; name it once", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// No line of the sample was a JSON object.
    #[error("{}: none of its first {lines} lines is a JSON object; the file must hold one object a line. The first line: {reason}", path.display())]
    NoObjects {
        /// The file.
        path: PathBuf,
        /// How many lines were tried.
        lines: usize,
        /// Why the first was refused.
        reason: String,
    },
    /// A Parquet file of 0 bytes.
    #[error("{}: is empty (0 bytes), and so no Parquet file; write it again, or leave it out", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A Parquet file without a readable footer.
    #[error("{}: is truncated, or no Parquet file ({reason}); write it again, or leave it out", path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// Damage inside a Parquet file.
    #[error("{}: is damaged after row {row} ({reason}); write it again, or leave it out", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The number of rows that could be read before.
        row: u64,
        /// What was wrong with it.
        reason: String,
    },
    /// The file has no such column.
    #[error("{}: has no column `{column}`; it has {available}", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The wanted column, or the part of it that is missing.
        column: String,
        /// The columns that there are.
        available: String,
    },
    /// The file has the column with another type.
    #[error("{}: column `{column}`: expected {expected}, found {found}; declare the type that the file has", path.display())]
    IncompatibleColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The wanted type.
        expected: DataType,
        /// The type in the file.
        found: DataType,
    },
    /// A value does not fit the wanted type.
    #[error("{}: column `{column}`: {value} ({found}), between rows {row} and {last}, has no exact form as {expected}; declare the column as {found}", path.display())]
    Inexact {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The first row of the batch in which the value stands.
        row: u64,
        /// The last row of that batch.
        last: u64,
        /// The value as an integer in the file's unit.
        value: i64,
        /// The wanted type.
        expected: DataType,
        /// The type in the file.
        found: DataType,
    },
    /// Files of one source disagree about a column.
    #[error("column `{column}`: {found} in {}, and {expected} in the files before it; read them as separate sources", path.display())]
    Disagreement {
        /// The later file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the earlier files.
        expected: DataType,
        /// Its type in this one.
        found: DataType,
    },
}

impl DecodeError {
    /// Whether the system failed, rather than the file: a disk that cannot be read, no more open files.
    pub fn is_of_the_system(&self) -> bool {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        match self {
            Self::Open { source, .. } | Self::Read { source, .. } => {
                !matches!(source.kind(), NotFound | PermissionDenied | IsADirectory)
            }
            _ => false,
        }
    }
}
