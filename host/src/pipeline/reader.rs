//! The reader of a run over recorded events: a thread that takes batches from the source and deals them
//! out to the lanes.

use arrow::error::ArrowError;

use super::accounting::Accounting;
use super::dealer::Dealer;
use super::lane::ToLane;
use super::queue::Closed;
use crate::source::live::LiveError;
use crate::source::replay::{Replay, ReplayError, ReplaySummary};
use crate::transform::{CallError, Figures};

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source cannot be read on.
    #[error(transparent)]
    Source(ReplayError),
    /// The live stream cannot be read on.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The mapper failed.
    #[error("mapper {mapper}: {error}")]
    Map {
        /// The digest of its component.
        mapper: String,
        /// Why.
        error: CallError,
    },
    /// Arrow cannot divide the rows.
    #[error("cannot divide rows among lanes: {0}")]
    Arrow(#[from] ArrowError),
    /// The rows of a key are in several partitions, though it was declared that they are not.
    #[error(
        "the key {key} is in partition {one} and in partition {other}: the topic is not partitioned by the pipeline's key, so each key's windows would be in several pieces. Say so by `partitioned_by_key = false` of the event and add `repartition = {{ partitions = 8 }}`, or have producers partition the topic by the key; then begin anew with `--fresh`"
    )]
    NotByKey {
        /// The key, as JSON.
        key: String,
        /// A partition that has it.
        one: u32,
        /// Another.
        other: u32,
    },
    /// Somebody asked the run to stop.
    #[error("stopped before the end")]
    Stopped,
    /// Another part of the pipeline has ended, and says why itself.
    #[error("another part of the pipeline has ended")]
    Closed,
}

impl From<ReplayError> for ReadError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Stopped => Self::Stopped,
            error => Self::Source(error),
        }
    }
}

impl From<Closed> for ReadError {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// What the reader has to say at its end, of what never reached a lane.
#[derive(Debug, Clone, Default)]
pub(super) struct ReaderReport {
    pub(super) accounting: Accounting,
    /// What the mapper told.
    pub(super) figures: Figures,
    /// What the source says of itself.
    pub(super) source: ReplaySummary,
}

/// A reader at work.
pub(super) struct Reader {
    pub(super) source: Replay,
    pub(super) dealer: Dealer,
}

impl Reader {
    /// Reads to the end of the source, and gives the accounts of what never reached a lane.
    pub(super) fn run(mut self) -> Result<ReaderReport, ReadError> {
        while let Some(batch) = self.source.next_batch()? {
            self.dealer.deal(batch, None)?;
        }
        self.dealer.tell_all(|| ToLane::End)?;
        let (accounting, figures) = self.dealer.finish();
        Ok(ReaderReport {
            accounting,
            figures,
            source: self.source.summary(),
        })
    }
}
