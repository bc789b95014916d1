//! What can go wrong with a file sink.

use std::path::PathBuf;

/// Why a sink could not be written. What was written so far stays in the partial file where the message names one.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file name does not say which format it is to have.
    #[error("cannot tell the format of {} by its name: let it end in .parquet, .csv or .ndjson", path.display())]
    Format {
        /// The path that was given.
        path: PathBuf,
    },
    /// The columns are not those of an emission.
    #[error("cannot write {}: {reason}", path.display())]
    Schema {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the columns.
        reason: String,
    },
    /// A producer broke its promise about order; a fault of the program.
    #[error("cannot write {} in order: {reason}. This is a fault of the program; please report it", path.display())]
    OutOfOrder {
        /// The path of the file.
        path: PathBuf,
        /// What came out of order.
        reason: String,
    },
    /// Another process has the file locked.
    #[error("{}: another run is writing there; wait for its end, or let `output` of the environment be another folder", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}{}", path.display(), left(partial.as_ref()))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The partial file that can still be read, if there is one.
        partial: Option<PathBuf>,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Rows could not be put into the file's format.
    #[error("cannot write rows to {}: {source}{}", path.display(), left(partial.as_ref()))]
    Encode {
        /// The path of the file.
        path: PathBuf,
        /// The partial file that can still be read, if there is one.
        partial: Option<PathBuf>,
        /// The encoder's reason.
        source: arrow::error::ArrowError,
    },
}

fn left(partial: Option<&PathBuf>) -> String {
    partial.map_or_else(String::new, |p| {
        format!(". What was written before is in {}", p.display())
    })
}
