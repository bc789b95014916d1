//! Recording: a live stream as Parquet files, which pipelines can be run and tested over.
//!
//! In come a declared stream, a choice of columns and rows, and a place to write to. Out come, for each
//! partition, files that follow each other without a gap or an overlap (`p=3/00000000000000012345.parquet`,
//! by the first offset that they cover), rejects beside them, and a sum in which every message is counted once.
//!
//! A file is written whole or not at all, and says up to which offset it goes. That is the only truth: a
//! recording that was interrupted in any way goes on behind its newest whole file. Offsets that are committed to
//! Kafka are for tools that show lag.
//!
//! What it must never do: write over a file that is there, pass over messages silently, or show what it was
//! asked to hash or to leave out.

mod columns;
mod cut;
mod error;
mod hashing;
mod outcome;
mod place;
mod recorder;
mod resume;
mod segment;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::source::kafka::Start;
use crate::source::live::DeclaredStream;

pub use self::columns::{Choice, Layout};
pub use self::error::RecordError;
pub use self::hashing::{HashKey, Sample};
pub use self::outcome::{Counts, PartitionRecorded, Progress, Recorded};
pub use self::place::Place;
pub use self::recorder::record;

/// What is to be recorded, how, and for how long.
#[derive(Debug, Clone)]
pub struct RecordSpec {
    /// The stream.
    pub stream: DeclaredStream,
    /// The consumer group: one for all processes that record the event to the same place, and of nobody else.
    pub group: String,
    /// Which columns and rows of it.
    pub layout: Arc<Layout>,
    /// Where files are written.
    pub place: Arc<Place>,
    /// Where partitions of which nothing is recorded yet begin.
    pub from: Start,
    /// When it ends.
    pub until: Until,
    /// Rows after which a file ends, at least one. The batch that reaches them is still written to it.
    pub rows_per_file: u64,
    /// How long a file may go on after it was begun.
    pub roll_every: Duration,
    /// Tells how time passes.
    pub clock: Arc<dyn Clock>,
}

/// When a recording ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Stopped,
    /// When of each partition everything has been read that there was when it was begun.
    End,
    /// Before the first message of each partition that was recorded at a time or later.
    Time {
        /// The time, in microseconds since 1970-01-01T00:00:00Z.
        time: i64,
        /// When that is, by the recording's clock: before it a partition may get more messages.
        reached: Duration,
    },
}
