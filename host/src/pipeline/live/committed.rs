//! How far a partition is committed.

use std::sync::{Arc, Mutex, PoisonError};

use super::source::LiveSource;
use super::telling::PartitionTelling;
use crate::pipeline::commit::{Resume, SplitCursors, ToCommit};
use crate::source::live::Position;

/// How far each lane of a partition has committed; nothing of those that have not.
pub(super) type Reached = Arc<Mutex<Vec<Option<i64>>>>;

/// Tells the group how far a partition has been committed: as far as the last of its lanes.
pub(super) struct Committed {
    pub(super) source: Arc<LiveSource>,
    pub(super) partition: u32,
    /// The partition's own split, if it has but one: how far it is committed is a position in that.
    /// Otherwise it is a sequence over all of them.
    pub(super) split: Option<Arc<str>>,
    /// Which of the partition's lanes this is told by.
    pub(super) lane: usize,
    pub(super) lanes: Reached,
    pub(super) telling: PartitionTelling,
}

impl Committed {
    /// How far lanes had committed that go on here.
    pub(super) fn before<'a>(
        lanes: impl Iterator<Item = &'a Resume>,
        split: Option<&str>,
    ) -> Reached {
        let reached = |lane: &Resume| {
            let found = reached(split, lane.cursor, &lane.splits);
            found.filter(|_| lane.goes_on())
        };
        Arc::new(Mutex::new(lanes.map(reached).collect()))
    }

    pub(super) fn tell(&self, commit: &ToCommit) {
        let Some(reached) = reached(self.split.as_deref(), commit.cursor, &commit.splits) else {
            return;
        };
        // Held until it is told: what another lane tells later must not be further back.
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes[self.lane] = Some(reached);
        // None is less than any, and a place in history is none in the stream.
        let least = lanes.iter().copied().min().flatten();
        if let Some(next) = least.filter(|next| *next >= 0) {
            if self.split.is_some() {
                self.source.commit(self.partition, &Position::Offset(next));
            }
            self.telling.readable(next);
        }
    }
}

fn reached(split: Option<&str>, cursor: u64, splits: &SplitCursors) -> Option<i64> {
    match split {
        None => Some(cursor as i64),
        Some(split) => splits.get(split).and_then(|it| it.position.offset()),
    }
}
