//! Training sets: features as of the time of each row.
//!
//! What comes in: rows with entities and times (the *spine*), and which features are wanted, with the files of their
//! history. What goes out: a file with the spine's rows, in their order, and a column for each feature, with the value that
//! was the newest at the row's time.
//!
//! What *newest* means is what the online store means: of the values whose event time is not after the row's, the one with
//! the greatest (event time, epoch, sequence). With [`Request::by_write_time`] only of those that were written by then,
//! too: what a model would have been answered at that moment. Writes that were taken back count until then by write time,
//! and not at all by event time.
//!
//! Rows of spine and history are sorted together, by key and time (`join`, `sorting`), and one look at them in that order
//! says what each row gets (`as_of`). DataFusion sorts, and spills what does not fit into memory.
//!
//! What it must never do: give a row a value of later than its time, or hold all of the history in memory.

mod as_of;
mod history;
mod join;
mod sorting;
mod spine;

use std::path::{Path, PathBuf};

use datafusion_common::DataFusionError;
use serde::{Deserialize, Serialize};

/// What training set is wanted. As JSON it is what the program reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A Parquet file with the columns of the keys and a time.
    pub spine: PathBuf,
    /// The column with the time as of which a row is joined: a timestamp; without a zone it is in UTC.
    pub time: String,
    /// The file to write, in Parquet.
    pub out: PathBuf,
    /// A folder for what does not fit into memory and for the result while it is made, where `out` is a name away. The
    /// program holds a lock of its file `lock`, if there is one.
    pub scratch: PathBuf,
    /// Bytes that sorting may take, about.
    pub memory: u64,
    /// Whether a value counts only once it was written.
    pub by_write_time: bool,
    /// Where the features are.
    pub histories: Vec<Place>,
    /// What is wanted, in the order of the columns.
    pub features: Vec<Wanted>,
}

/// Files of the history in which features lie together.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The columns of the key, called alike in spine and history.
    pub keys: Vec<String>,
    /// The files. One that has not a feature's column has none of its values.
    pub files: Vec<PathBuf>,
    /// Whether the history has the text of keys, whatever they are: `42` for the number.
    #[serde(default)]
    pub keys_are_texts: bool,
    /// The writes in them that do not count any more.
    #[serde(default)]
    pub taken_back: Vec<TakenBack>,
}

/// Writes that were taken back: of a lane, with epochs above `after` up to `until`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenBack {
    /// The pipeline.
    pub pipeline: String,
    /// Its lane.
    pub lane: u32,
    /// The last epoch before them.
    pub after: u64,
    /// Their last epoch.
    pub until: u64,
    /// When they were taken back, in microseconds since 1970-01-01T00:00:00Z.
    pub at: i64,
}

/// A feature that is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What its column is called in the training set.
    pub column: String,
    /// What it is called in the history: `name@version`.
    pub attribute: String,
    /// For how long after its event time a value is of use, in microseconds; for ever if none.
    pub ttl: Option<i64>,
    /// Which of the request's histories has it.
    pub history: usize,
}

/// A question for the times of a spine, before its history is looked for. As JSON it is what the program reads when it is
/// started with `times`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spine {
    /// A Parquet file.
    pub spine: PathBuf,
    /// Its column with the time.
    pub time: String,
}

/// From when to when the rows of a spine are, in microseconds since 1970; nothing of those that have no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The earliest.
    pub first: Option<i64>,
    /// The latest.
    pub last: Option<i64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Rows of the training set: as many as the spine has.
    pub rows: u64,
    /// For each feature, in how many of them it has a value.
    pub found: Vec<u64>,
}

/// Why there is no training set.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {reason}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The spine cannot be read, lacks a column, or has one of another type.
    #[error("the rows in {} {reason}", path.display())]
    Spine {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// No file has the feature.
    #[error(
        "feature {attribute} has no history: nothing of it was written since `offline` was set, or it has another version"
    )]
    NoHistory {
        /// The feature.
        attribute: String,
    },
    /// The request contradicts itself.
    #[error("the request cannot be met: {0}; use `penstock training-set`")]
    Request(String),
    /// The work itself failed, for want of memory or disk say.
    #[error("cannot join: {0}; give it more with --memory, or room where the result is written")]
    Join(DataFusionError),
    /// Columns do not fit together.
    #[error("cannot join: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl TrainingError {
    /// Whether what was asked for is at fault, rather than the machine.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Spine { .. } | Self::NoHistory { .. } | Self::Request(_)
        )
    }
}

impl From<DataFusionError> for TrainingError {
    /// What was handed through DataFusion comes out as it went in.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => Self::Join(DataFusionError::External(inner)),
            },
            other => Self::Join(other),
        }
    }
}

impl From<TrainingError> for DataFusionError {
    fn from(error: TrainingError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Makes a training set.
///
/// # Errors
///
/// See [`TrainingError`]. A file that is there already stays as it was.
pub async fn make(request: &Request) -> Result<Made, TrainingError> {
    let work = work_folder(&request.scratch);
    let failed = |error: std::io::Error| TrainingError::File {
        doing: "make",
        path: work.clone(),
        reason: error.to_string(),
    };
    std::fs::create_dir(&work).map_err(failed)?;
    let made = join::make(request, &work).await;
    // What came of it matters more than what is left of how.
    let _ = std::fs::remove_dir_all(&work);
    made
}

/// Where this process puts what it makes in a scratch folder, and what is to be removed if it is stopped.
#[must_use]
pub fn work_folder(scratch: &Path) -> PathBuf {
    scratch.join(format!("work-{}", std::process::id()))
}

/// Looks at the times of a spine alone.
///
/// # Errors
///
/// [`TrainingError::Spine`] when it cannot be read or has no such times.
pub fn times(spine: &Spine) -> Result<Times, TrainingError> {
    spine::times(&spine.spine, &spine.time)
}

#[cfg(test)]
mod tests;
