//! Replay: recorded files as a source.
//!
//! Several files are merged by (event time, file, position): of the files' next rows the earliest
//! goes first. Each file is a split with its own progress; because the merge has looked at every
//! file's next row, that row counts as seen.
//!
//! Decoding runs ahead of the merge, on threads of its own (`ahead`), each batch prepared there
//! (`source::prepared`): rows outside the asked-for time left out, rows without a usable event time and rows
//! that claim to be of the future turned away. The merge sees the same batches in the same order
//! however many threads there are. `pace` lets rows go by the clock, if asked for.

mod ahead;
mod merge;
mod opening;
mod pace;
mod pieces;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::decode::{DecodeError, Format};
use super::event_time::EventTimeFault;
use super::prepared::{Preparation, PrepareError, TimeRange};
use super::recording::Recording;
use crate::clock::Clock;

pub use merge::Replay;

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct ReplaySpec {
    /// The files, in the order of their split numbers.
    pub recordings: Vec<Arc<dyn Recording>>,
    /// Their format.
    pub format: Format,
    /// The wanted columns.
    pub columns: SchemaRef,
    /// Which of them is the event time.
    pub event_time: usize,
    /// Which of them is the time at which the row came in, if it is to be looked at.
    pub arrival_time: Option<usize>,
    /// How far a row's event time may be after its arrival, in microseconds; any if none.
    pub max_future: Option<i64>,
    /// The event times that are wanted. Other rows are as if they were not there.
    pub range: TimeRange,
    /// How fast rows go; as fast as they can if none.
    pub pace: Option<Pace>,
    /// The allowed disorder, in microseconds.
    pub disorder: i64,
    /// Rows of a batch, at most.
    pub batch_rows: usize,
    /// Whether the watermark at each row is wanted, also where no row is behind it.
    pub every_watermark: bool,
    /// Whether the first record that does not become a row ends the run.
    pub stop_on_reject: bool,
}

/// Rows go when their event time has come, counted from the first row.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How many times faster than it was; more than zero.
    pub factor: f64,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
}

/// What there is to say of a replay besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Rows outside of the asked-for time.
    pub skipped: u64,
    /// The split that the last watermark followed from; none if there is one split, or no row.
    pub watermark_split: Option<WatermarkSplit>,
}

/// The split that a watermark follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkSplit {
    /// Its name.
    pub name: String,
    /// How far it is behind the split that is furthest, in microseconds. Zero at the end of a merge:
    /// the split that is read last is the furthest.
    pub behind: i64,
}

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read or decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The event time, or the time of arrival, is of a type that no time can be made of.
    #[error(transparent)]
    EventTime(EventTimeFault),
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
    /// Somebody asked for a stop.
    #[error("stopped before the end of the input")]
    Stopped,
    /// The system gives no thread to decode on.
    #[error("cannot start a thread: {0}; run fewer pipelines at once")]
    Thread(#[source] std::io::Error),
    /// A decoder panicked, which is a fault of Penstock.
    #[error("the decoder of {file} panicked, which is a fault of Penstock; please report it")]
    Panicked {
        /// The file.
        file: String,
    },
}

impl From<PrepareError> for ReplayError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::EventTime(fault) => Self::EventTime(fault),
            PrepareError::Arrow(error) => Self::Arrow(error),
        }
    }
}

impl ReplayError {
    /// Whether the system failed, rather than what it was given to read.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Decode(error) => error.is_of_the_system(),
            Self::Arrow(_) | Self::Thread(_) | Self::Panicked { .. } => true,
            Self::EventTime(_) | Self::Reject { .. } | Self::Stopped => false,
        }
    }
}

impl ReplaySpec {
    fn preparation(&self) -> Preparation {
        Preparation {
            event_time: self.event_time,
            arrival: self.arrival_time.zip(self.max_future),
            range: self.range,
        }
    }

    /// The names of the splits.
    pub fn split_names(&self) -> super::SplitNames {
        Arc::from_iter(self.recordings.iter().map(|recording| recording.name()))
    }

    /// The bytes of all files, as far as they can be told.
    pub fn bytes(&self) -> u64 {
        let sizes = self.recordings.iter();
        sizes.map(|recording| recording.size().unwrap_or(0)).sum()
    }
}
