//! How far a partition is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::source::LiveSource;
use super::telling::PartitionTelling;
use crate::pipeline::commit::ToCommit;
use crate::source::live::Position;

/// Tells the group how far a partition has been committed: as far as the last of its lanes.
pub(super) struct Committed {
    pub(super) source: Arc<LiveSource>,
    pub(super) partition: u32,
    /// The partition's own split, if it has but one: how far it is committed is a position in that.
    /// Otherwise it is a sequence over all of them.
    pub(super) split: Option<Arc<str>>,
    /// Which of the partition's lanes this is told by.
    pub(super) lane: usize,
    /// How far each of them has committed.
    pub(super) lanes: Arc<[AtomicI64]>,
    pub(super) telling: PartitionTelling,
}

impl Committed {
    pub(super) fn tell(&self, commit: &ToCommit) {
        let reached = match &self.split {
            None => Some(commit.cursor as i64),
            Some(split) => commit.splits.get(split).and_then(|it| it.position.offset()),
        };
        let Some(reached) = reached else {
            return;
        };
        self.lanes[self.lane].store(reached, Ordering::Relaxed);
        let lanes = self.lanes.iter();
        let least = lanes.map(|lane| lane.load(Ordering::Relaxed)).min();
        if let Some(next) = least.filter(|next| *next >= 0) {
            if self.split.is_some() {
                self.source.commit(self.partition, &Position::Offset(next));
            }
            self.telling.readable(next);
        }
    }
}
