//! How far partitions have been read, for metrics and for the question whether a split is idle.

use std::time::Duration;

/// What is done with a partition that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionState {
    /// It waits for its cursor.
    Waiting,
    /// It is read.
    Reading,
    /// Its window is full: nothing is taken, while librdkafka keeps what it has read ahead.
    Full,
    /// Its window has been full for long, and what was read ahead was given up.
    Paused,
    /// It is to go, and waits for its lanes.
    Revoked,
}

/// How far a partition has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which.
    pub partition: u32,
    /// What is done with it.
    pub state: PartitionState,
    /// The offset of the next message to read; none before it is started.
    pub next: Option<i64>,
    /// The first offset that there is, as last heard.
    pub low: i64,
    /// The offset after the last that there is, as last heard. Nothing is heard of a partition that
    /// is not read on.
    pub high: i64,
    /// The bytes of it that are under way.
    pub held_bytes: usize,
    /// How often it was paused.
    pub pauses: u64,
    /// The latest time, by the clock that was handed in, at which the broker is known to have had
    /// nothing more; none unless everything has been read. A split is idle for as long as this
    /// rises and no message comes: a broker that does not answer makes nobody idle.
    pub at_end: Option<Duration>,
}

impl PartitionStatus {
    /// How many offsets are left to read. Some may have no message: those that transactions end
    /// with, and those that were compacted away.
    pub fn lag(&self) -> Option<u64> {
        self.next
            .map(|next| u64::try_from(self.high.saturating_sub(next)).unwrap_or(0))
    }
}
