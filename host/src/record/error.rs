//! What can end a recording.

use crate::source::decode::DecodeError;
use crate::source::decode::message::MessageError;
use crate::source::kafka::{FaultKind, KafkaFault};
use crate::source::storage::StorageError;

/// Why a recording ended, or did not begin. The files that are there are whole, and a next recording goes on
/// behind them.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// What was asked for makes no sense.
    #[error("{message}; {hint}")]
    Asked {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The topic cannot be read.
    #[error(transparent)]
    Kafka(#[from] KafkaFault),
    /// Messages cannot be decoded.
    #[error(transparent)]
    Messages(#[from] MessageError),
    /// The object store that files are written to fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file cannot be written or read.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is there cannot be read, so nobody knows where to go on.
    #[error(
        "cannot find out where to go on: {0}; repair or remove the file, and what comes after it is recorded again"
    )]
    Newest(DecodeError),
    /// A file that is there was not written by a recording.
    #[error(
        "{path} lies where recordings are written and is none: {reason}; name a folder of its own with --to"
    )]
    Foreign {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is there was recorded otherwise.
    #[error(
        "{path} was recorded with {before}, and this recording has {now}; name another folder with --to, or ask for the same"
    )]
    Different {
        /// A file of the earlier recording.
        path: String,
        /// What it had.
        before: String,
        /// What is asked for now.
        now: String,
    },
    /// Another process has written a file that this one was about to write.
    #[error(
        "{path} is there already, and another recorder must have written it; let one recorder at a time write to a folder, or all of them with the same event"
    )]
    Taken {
        /// The file.
        path: String,
    },
    /// The topic no longer holds what comes next.
    #[error(
        "partition {partition}: offset {wanted} is to be recorded next, and the topic holds {low} to {high} only; `on_missing = \"earliest\"` of the event goes on with what there is, and says what it passes over"
    )]
    Missing {
        /// The partition.
        partition: u32,
        /// What was to be read.
        wanted: i64,
        /// The first offset that there is.
        low: i64,
        /// The offset after the last that there is.
        high: i64,
    },
    /// Rows cannot be put into Parquet.
    #[error("cannot write rows to {path}: {reason}")]
    Encode {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A fault of the program.
    #[error("{0}. This is a fault of Penstock; please report it")]
    Broken(String),
}

impl RecordError {
    /// Whether what it was given is wrong, rather than the machine, the network or the stream.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Newest(error) => !error.is_of_the_system(),
            Self::Asked { .. } | Self::Foreign { .. } | Self::Different { .. } => true,
            Self::Kafka(fault) => matches!(
                fault.kind,
                FaultKind::Setting | FaultKind::Denied | FaultKind::Missing
            ),
            Self::Messages(error) => !error.is_temporary(),
            Self::Storage(error) => !error.is_of_the_system(),
            Self::File { .. }
            | Self::Taken { .. }
            | Self::Missing { .. }
            | Self::Encode { .. }
            | Self::Broken(_) => false,
        }
    }

    pub(super) fn asked(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Asked {
            message: message.into(),
            hint: hint.into(),
        }
    }
}
