//! Why a recorded topic cannot be read.

use arrow::error::ArrowError;

use crate::source::decode::DecodeError;

/// Why a recording cannot be read. Nothing of it was passed over.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// A file cannot be read or decoded, or lacks a column.
    #[error("bootstrap: {0}")]
    Decode(#[from] DecodeError),
    /// A file of rejects cannot be read.
    #[error("bootstrap: reading {file}: {source}")]
    Rejects {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is none that `penstock record` has written, or a newer version has.
    #[error(
        "bootstrap: {file} cannot be used as recorded history: {reason}; name a folder that `penstock record` of this version has written"
    )]
    Foreign {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was recorded is not what the pipeline reads.
    #[error(
        "bootstrap: {file} does not have what the pipeline reads: {reason}; record the event anew with it, or leave `bootstrap` out"
    )]
    Unfit {
        /// The file.
        file: String,
        /// What it does not have.
        reason: String,
    },
    /// Arrow cannot put rows together.
    #[error("bootstrap: {file}: cannot put its rows together: {error}")]
    Arrow {
        /// The file.
        file: String,
        /// Why.
        error: ArrowError,
    },
}

impl RecordedError {
    /// Whether the system failed, rather than what it was given to read.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Decode(error) => error.is_of_the_system(),
            Self::Rejects { .. } | Self::Arrow { .. } => true,
            Self::Foreign { .. } | Self::Unfit { .. } => false,
        }
    }
}
