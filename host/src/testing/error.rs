//! Why a test could not be made, which is another thing than a test that fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::error::ArrowError;

use crate::config::ConfigError;
use crate::pipeline::{RunError, WiringError};
use crate::source::replay::ReplayError;
use crate::store::StoreError;
use crate::transform::CallError;

/// Why a test could not be made: bad input, unless [`TestError::is_of_the_system`].
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The environment does not fit the pipeline.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pipeline cannot be put together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The run over the events failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A case is not as a case must be.
    #[error(transparent)]
    Case(Arc<TestError>),
    /// What was asked for makes no sense, or names what is not there.
    #[error("{0}")]
    Asked(String),
    /// A file of the test cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The event rows behind a difference cannot be read again.
    #[error("cannot read the events again: {0}")]
    Events(#[from] ReplayError),
    /// A fresh instance for a check does not open.
    #[error("cannot open a fresh instance for a check: {0}")]
    Open(#[source] CallError),
    /// A store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Arrow cannot compare or show these columns.
    #[error("cannot compare the columns: {0}")]
    Arrow(#[from] ArrowError),
}

impl TestError {
    pub(super) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io {
            doing,
            path: path.to_owned(),
            error,
        }
    }

    /// Whether something failed on the way, rather than what was given being unusable.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Config(_) | Self::Asked(_) | Self::File { .. } => false,
            Self::Case(error) => error.is_of_the_system(),
            Self::Wiring(error) => error.is_of_the_system(),
            Self::Run(error) => !error.is_bad_input(),
            Self::Io { .. } | Self::Open(_) | Self::Arrow(_) => true,
            Self::Events(error) => error.is_of_the_system(),
            Self::Store(StoreError::UnknownGroup { .. } | StoreError::UnknownFeature { .. }) => {
                false
            }
            Self::Store(error) => !error.is_bad_input(),
        }
    }

    /// Whether somebody asked for the stop.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Run(error) if error.is_stop())
    }
}
