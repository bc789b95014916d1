//! How far a partition is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::telling::PartitionTelling;
use crate::source::kafka::KafkaSource;
use crate::source::live::SplitCursor;

/// Tells the group how far a partition has been committed: as far as the last of its lanes.
pub(super) struct Committed {
    pub(super) source: Arc<KafkaSource>,
    pub(super) partition: u32,
    /// Which of the partition's lanes this is told by.
    pub(super) lane: usize,
    /// How far each of them has committed.
    pub(super) lanes: Arc<[AtomicI64]>,
    pub(super) telling: PartitionTelling,
}

impl Committed {
    pub(super) fn tell(&self, splits: &BTreeMap<u32, SplitCursor>) {
        let Some(cursor) = splits.get(&self.partition) else {
            return;
        };
        self.lanes[self.lane].store(cursor.position, Ordering::Relaxed);
        let lanes = self.lanes.iter();
        let least = lanes.map(|lane| lane.load(Ordering::Relaxed)).min();
        if let Some(next) = least.filter(|next| *next >= 0) {
            self.source.commit(self.partition, next);
            self.telling.readable(next);
        }
    }
}
