//! Replay: recorded files as a source.
//!
//! Several files are merged by (event time, file, position): of the files' next rows the earliest
//! goes first. Each file is a split with its own progress; because the merge has looked at every
//! file's next row, that row counts as seen.

mod event_time;
mod merge;
mod split;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::decode::{DecodeError, Format};

pub use event_time::{
    EventTimeFault, EventTimes, is_event_time, read as read_event_times, why_invalid,
};
pub use merge::Replay;

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct ReplaySpec {
    /// The files, in the order of their split numbers.
    pub paths: Vec<PathBuf>,
    /// Their format.
    pub format: Format,
    /// The wanted columns.
    pub columns: SchemaRef,
    /// Which of them is the event time.
    pub event_time: usize,
    /// The allowed disorder, in microseconds.
    pub disorder: i64,
    /// Rows of a batch, at most.
    pub batch_rows: usize,
    /// Whether the watermark at each row is wanted, also where no row is behind it.
    pub every_watermark: bool,
    /// Whether the first record that does not become a row ends the run.
    pub stop_on_reject: bool,
}

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read or decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The event time is of a type that no time can be made of.
    #[error(transparent)]
    EventTime(#[from] EventTimeFault),
    /// A record did not become a row, and the pipeline asked to stop at such.
    #[error(
        "{file}, {place} {position}: {detail} ({code}); `run.on_malformed = \"stop\"` ends the run here"
    )]
    Reject {
        /// The file.
        file: String,
        /// `line` or `row`.
        place: &'static str,
        /// Its number.
        position: u64,
        /// The short name of the reason.
        code: String,
        /// The reason.
        detail: String,
    },
    /// Arrow cannot put the rows of several files together.
    #[error("cannot merge the rows of several files: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl ReplayError {
    /// Whether the system failed, rather than what it was given to read.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Decode(error) => error.is_of_the_system(),
            Self::Arrow(_) => true,
            Self::EventTime(_) | Self::Reject { .. } => false,
        }
    }
}

impl ReplaySpec {
    /// The names of the splits.
    pub fn split_names(&self) -> super::SplitNames {
        Arc::from_iter(self.paths.iter().map(|path| path.display().to_string()))
    }
}
