//! Windows: which state a row is added to, which windows are over, and what then comes out.
//!
//! In come batches of rows with their event times, keys and the watermark at each; out go
//! emissions, and for each row whether it was applied, rejected or late. The transform is called
//! from here, through [`Calls`]. What comes out depends on the order of rows alone, never on where
//! the batches were cut: a row meets the windows as the rows before it left them. This room knows
//! no source or sink and reads no clock.
//!
//! [`Windows`] is one of three: `aligned` windows (tumbling and hopping, of one or several
//! lengths), `session` windows, and `unbounded` ones. What of them outlives the process is in
//! `state`.

mod agenda;
mod aligned;
mod calls;
mod chains;
mod corrections;
mod emission;
mod fold;
#[cfg(test)]
mod fuzz;
mod keys;
mod lateness;
mod open;
mod panes;
mod partial;
mod revisions;
mod rows;
mod runs;
mod session;
mod skipped;
mod span;
mod state;
mod states;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod unbounded;
mod unfinished;
mod watermark;
mod windows;
mod work;

pub use calls::Calls;
pub use emission::{Emission, Emit, FailedWindows, Moment, emitted_schema};
pub use panes::{Pane, Panes};
pub use partial::{PartialStates, TakenPartials};
pub use rows::{Late, Outcome, Partials, RowBatch, Sequences};
pub use state::{
    Changes, Codec, Described, Edit, Fact, Progress, RecordId, Records, Schedule, StateError,
    UnfinishedWindow, UnfinishedWindows,
};
pub use unfinished::{Unfinished, UnfinishedChange, UnfinishedCounts};
pub use watermark::Watermark;
pub use windows::{Kind, Length, Shape, Windows};

use arrow::error::ArrowError;

use crate::transform::CallError;

/// Why windows cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The transform failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Arrow cannot hold what is asked of it.
    #[error("cannot put columns together: {0}; a smaller `run.batch_rows` may help")]
    Arrow(#[from] ArrowError),
    /// What was kept cannot be used.
    #[error("{0}")]
    State(#[from] StateError),
    /// The keys cannot be told apart.
    #[error("cannot encode the key: {0}")]
    Key(String),
    /// What is kept of keys cannot be read or written.
    #[error("cannot put away or load the state of keys: {0}")]
    Kept(Box<dyn std::error::Error + Send + Sync>),
    /// What came from another stage of the pipeline cannot be worked on.
    #[error("{0}")]
    Received(Box<dyn std::error::Error + Send + Sync>),
    /// Nobody takes emissions any more; who would have says why.
    #[error("another part of the pipeline has ended")]
    Closed,
}
