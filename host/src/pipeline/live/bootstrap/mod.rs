//! Bootstrap: a live pipeline begins with recorded history, and goes on with the stream.
//!
//! In comes where the history is, as `penstock.toml` says it (`found`). A partition whose lanes have nothing yet, or
//! have not come to its end, reads it before the stream (`exact`): of what `penstock record` wrote, exactly those
//! messages that its lanes have not seen, from one offset to another. Then the stream is read from the offset behind
//! them. Lanes commit meanwhile as they always do, with offsets as cursors, so a crash goes on wherever it was.
//!
//! What it must never do: pass over messages between the recording and the stream silently, or give a lane a message
//! that it has judged.

mod exact;
mod found;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use self::found::find;
use crate::source::live::recorded::RecordedPartition;

/// Recorded history of a topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Bootstrap {
    /// Where it is, for people.
    pub(super) place: Arc<str>,
    /// Its partitions.
    partitions: BTreeMap<u32, RecordedPartition>,
}

impl Bootstrap {
    /// What is recorded of a partition, if that is anything.
    pub(super) fn of(&self, partition: u32) -> Option<&RecordedPartition> {
        let found = self.partitions.get(&partition);
        found.filter(|recorded| recorded.first().is_some())
    }
}
