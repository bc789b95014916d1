//! How far shards have been read, for metrics and for the question whether a split is idle.

use std::time::Duration;

/// What is done with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardState {
    /// Nobody has said where to start.
    Waiting,
    /// It is to be read when its parents are.
    Behind,
    /// It is read.
    Reading,
    /// Its window is full: nothing is asked for.
    Full,
    /// Its window has been full for long, and its subscription was given up.
    Paused,
    /// The stream does not hold what was to be read next, and nobody has decided where to go on.
    Missing,
    /// All of it was read, and nothing more will come.
    Closed,
}

/// How far a shard has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// Its number in this run.
    pub shard: u32,
    /// Its name in the stream.
    pub id: String,
    /// What is done with it.
    pub state: ShardState,
    /// How long before the newest record the last answer was, in milliseconds, as the service says;
    /// none before it has said so.
    pub behind_ms: Option<i64>,
    /// The number of the last record that was handed out, or that the cursor has.
    pub last_sequence_number: Option<String>,
    /// The offset of the next message.
    pub next_offset: i64,
    /// Messages that were handed out.
    pub messages: u64,
    /// Parts of aggregated records that another shard should have had.
    pub misplaced: u64,
    /// The bytes of it that are under way.
    pub held_bytes: usize,
    /// How often it was paused.
    pub pauses: u64,
    /// How often the service has asked to be asked less often.
    pub throttled: u64,
    /// The latest time, by the clock that was handed in, at which the service said that there is
    /// nothing more; none unless everything has been read. A split is idle for as long as this rises
    /// and no message comes: a service that does not answer makes nobody idle.
    pub at_end: Option<Duration>,
}
