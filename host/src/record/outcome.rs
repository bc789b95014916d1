//! What came of a recording: where every message ended, and which files there are.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::AtomicU64;

use serde::Serialize;

/// Where messages ended. What was read is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages that were read, of files that are whole.
    pub read: u64,
    /// Messages of which rows were written.
    pub written: u64,
    /// Messages that could not be decoded, and are among the rejects.
    pub rejected: u64,
    /// Messages whose entities are not in the sample.
    pub sampled_out: u64,
    /// Messages without rows: in Arrow IPC there may be such.
    pub empty: u64,
    /// Rows that were written. A message of Arrow IPC may hold many.
    pub rows: u64,
    /// Rejects that were written. Of a message of Arrow IPC single rows may be refused.
    pub rejects: u64,
}

impl Counts {
    /// Whether every message that was read ended in exactly one count.
    pub fn balances(&self) -> bool {
        self.read == self.written + self.rejected + self.sampled_out + self.empty
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.read += more.read;
        self.written += more.written;
        self.rejected += more.rejected;
        self.sampled_out += more.sampled_out;
        self.empty += more.empty;
        self.rows += more.rows;
        self.rejects += more.rejects;
    }
}

/// A recording that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Where messages ended.
    pub counts: Counts,
    /// Why messages were rejected, and how many records.
    pub rejected_by_code: BTreeMap<&'static str, u64>,
    /// What was recorded of each partition.
    pub partitions: BTreeMap<u32, PartitionRecorded>,
    /// Files of rows.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether somebody stopped it.
    pub stopped: bool,
}

/// What was recorded of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PartitionRecorded {
    /// Where the recording began.
    pub from: i64,
    /// Up to which offset it goes: the next one is not in its files.
    pub to: i64,
    /// Files of rows.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Offsets that the topic no longer held, and that were passed over.
    pub passed_over: u64,
}

/// How far a recording has come, for a person who waits. Counted as messages are worked on, whether or not
/// their files are whole.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages that were read.
    pub read: AtomicU64,
    /// Rows that were written.
    pub rows: AtomicU64,
    /// Records that were rejected.
    pub rejects: AtomicU64,
    /// Files that are whole.
    pub files: AtomicU64,
    /// Offsets that are left to read.
    pub lag: AtomicU64,
}
