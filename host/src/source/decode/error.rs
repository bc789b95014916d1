//! What can stop a split from being read. Single bad records do not: they are [`Malformed`](super::Malformed).

use arrow::datatypes::DataType;
use thiserror::Error;

use crate::config::types::type_name;

/// Why a file cannot be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file could not be opened.
    #[error("opening {file}: {}", reason(file, source))]
    Open {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Reading failed in the middle.
    #[error("reading {file} at byte {at}: {}", reason(file, source))]
    Read {
        /// The file.
        file: String,
        /// How many bytes had been read.
        at: u64,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file whose name says that it is compressed, and which is not.
    #[error(
        "{file}: is named as a {compression} file, but does not begin like one; rename it, or write it again"
    )]
    NotCompressed {
        /// The file.
        file: String,
        /// `gzip` or `zstd`.
        compression: &'static str,
    },
    /// A compressed file that cannot be decompressed to its end.
    #[error(
        "{file}: its {compression} data is damaged or cut off after {at} of {size} bytes ({reason}); the records before that were read; write it again, or leave it out"
    )]
    Damaged {
        /// The file.
        file: String,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// How many bytes of the file the decompressor took in before it noticed.
        at: u64,
        /// The length of the file.
        size: u64,
        /// What it met.
        reason: String,
    },
    /// A CSV file whose first record does not name its columns as they are wanted.
    #[error("{file}: its first record, which names its columns, cannot be used: {reason}")]
    BadHeader {
        /// The file.
        file: String,
        /// What was wrong with it.
        reason: String,
    },
    /// A wanted type has no form in the file's format.
    #[error(
        "{file}: column `{column}` is declared as {data_type}, which cannot be read from {format}; declare another type",
        data_type = type_name(data_type)
    )]
    UnsupportedType {
        /// The file.
        file: String,
        /// `JSON` or `CSV`.
        format: &'static str,
        /// The column, with the path to the part of it that is meant.
        column: String,
        /// The declared type.
        data_type: DataType,
    },
    /// Two of the wanted columns have the same name.
    #[error("{file}: column `{column}` is wanted twice; name it once")]
    DuplicateColumn {
        /// The file.
        file: String,
        /// The name.
        column: String,
    },
    /// No line of the sample was a JSON object.
    #[error(
        "{file}: none of its first {lines} lines is a JSON object; the file must hold one object a line. The first line: {reason}"
    )]
    NoObjects {
        /// The file.
        file: String,
        /// How many lines were tried.
        lines: usize,
        /// Why the first was refused.
        reason: String,
    },
    /// A Parquet or Arrow file of 0 bytes.
    #[error("{file}: is empty (0 bytes), and so no {format} file; write it again, or leave it out")]
    Empty {
        /// The file.
        file: String,
        /// `Parquet` or `Arrow`.
        format: &'static str,
    },
    /// A Parquet file without a readable footer, or an Arrow file without a readable schema.
    #[error(
        "{file}: is truncated, or no {format} file ({reason}); write it again, or leave it out"
    )]
    Unreadable {
        /// The file.
        file: String,
        /// `Parquet` or `Arrow`.
        format: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// A Parquet file that is compressed in a way that this program cannot undo.
    #[error(
        "{file}: column `{column}` is compressed with {codec}, which cannot be read; write the file with zstd, snappy, gzip or lz4"
    )]
    Codec {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// The name of the compression.
        codec: &'static str,
    },
    /// Damage inside a Parquet or Arrow file.
    #[error("{file}: is damaged after row {row} ({reason}); write it again, or leave it out")]
    Corrupt {
        /// The file.
        file: String,
        /// The number of rows that could be read before.
        row: u64,
        /// What was wrong with it.
        reason: String,
    },
    /// What comes next in a Parquet or Arrow file would take too much memory.
    #[error("{file}: after row {row} it cannot be read within bounds of memory: {reason}")]
    TooLarge {
        /// The file.
        file: String,
        /// The number of rows that could be read before.
        row: u64,
        /// What is too large.
        reason: String,
    },
    /// The file has no such column.
    #[error("{file}: has no column `{column}`; it has {available}")]
    MissingColumn {
        /// The file.
        file: String,
        /// The wanted column, or the part of it that is missing.
        column: String,
        /// The columns that there are.
        available: String,
    },
    /// The file has the column with another type.
    #[error(
        "{file}: column `{column}`: expected {expected}, found {found}; {}",
        way_out(expected, found), expected = type_name(expected), found = type_name(found)
    )]
    IncompatibleColumn {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// The wanted type.
        expected: DataType,
        /// The type in the file.
        found: DataType,
    },
    /// A value does not fit the wanted type.
    #[error(
        "{file}: column `{column}`: {value} ({found}), between rows {row} and {last}, has no exact form as {expected}; declare the column as {found}",
        expected = type_name(expected), found = type_name(found)
    )]
    Inexact {
        /// The file.
        file: String,
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
    #[error(
        "column `{column}`: {found} in {file}, and {expected} in the files before it; declare the event's columns in its `schema`, or leave files out",
        expected = type_name(expected), found = type_name(found)
    )]
    Disagreement {
        /// The later file.
        file: String,
        /// The column.
        column: String,
        /// Its type in the earlier files.
        expected: DataType,
        /// Its type in this one.
        found: DataType,
    },
}

/// What the system said. A store names the file itself.
fn reason(file: &str, source: &std::io::Error) -> String {
    let said = source.to_string();
    let bare = said
        .strip_prefix(file)
        .and_then(|rest| rest.strip_prefix(": "));
    bare.map_or_else(|| said.clone(), str::to_owned)
}

/// What to do about a column of another type.
fn way_out(expected: &DataType, found: &DataType) -> &'static str {
    match (expected, found) {
        (DataType::Timestamp(..), DataType::Utf8 | DataType::LargeUtf8) => {
            "texts of this format are not read as times: write the column as a timestamp"
        }
        _ => "declare the type that the file has",
    }
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
