//! Why a run over recorded events failed.

use super::commit::CommitError;
use super::delivery::DeliveryError;
use super::lane::LaneError;
use super::reader::ReadError;
use crate::store::StoreError;

/// Why a run failed. What was written before stays.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source cannot be read on.
    #[error("pipeline {pipeline}: {error}")]
    Read {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: ReadError,
    },
    /// A lane cannot go on.
    #[error("pipeline {pipeline}, lane {lane}, transform {transform}: {error}")]
    Lane {
        /// The pipeline.
        pipeline: String,
        /// The lane's number.
        lane: usize,
        /// The digest of its transform.
        transform: String,
        /// Why.
        error: LaneError,
    },
    /// What was computed cannot be delivered.
    #[error("pipeline {pipeline}: {error}")]
    Delivery {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: DeliveryError,
    },
    /// The store cannot be opened or does not take the declarations.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system gives no more threads.
    #[error("pipeline {pipeline}: cannot start a thread: {error}; run fewer pipelines at once")]
    Thread {
        /// The pipeline.
        pipeline: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A thread or task ended in a panic, which is a fault of Penstock.
    #[error(
        "pipeline {pipeline}: its {part} panicked, which is a fault of Penstock; please report it"
    )]
    Panicked {
        /// The pipeline.
        pipeline: String,
        /// The part.
        part: &'static str,
    },
}

impl RunError {
    /// Whether the run was stopped because somebody asked for it.
    pub fn is_stop(&self) -> bool {
        matches!(
            self,
            Self::Read {
                error: ReadError::Stopped,
                ..
            }
        )
    }

    /// Whether the run was given something that it cannot work on.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Read {
                error: ReadError::Source(error),
                ..
            } if !error.is_of_the_system()
        ) || matches!(self, Self::Store(error) if error.is_bad_input())
            || matches!(
                self,
                Self::Delivery {
                    error: DeliveryError::Commit(CommitError::Other { .. }),
                    ..
                }
            )
    }

    /// Whether this only follows from another part's failure.
    pub(super) fn is_consequence(&self) -> bool {
        matches!(
            self,
            Self::Read {
                error: ReadError::Closed,
                ..
            } | Self::Lane {
                error: LaneError::Closed,
                ..
            } | Self::Delivery {
                error: DeliveryError::Incomplete,
                ..
            }
        )
    }
}
