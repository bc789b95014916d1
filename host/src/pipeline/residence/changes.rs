//! What a lane's commit has of its windows, as edits of its database.

use crate::window::{Changes, Codec, Edit, Schedule, StateError, UnfinishedChange};

/// What a lane's commit has of its windows.
#[derive(Debug)]
pub(in crate::pipeline) struct KeptChanges {
    /// What changed in them.
    pub(in crate::pipeline) changes: Changes,
    /// When something of keys is due from now on, after that.
    pub(in crate::pipeline) schedules: Vec<Schedule>,
    /// The number up to which entries of the journal count with this commit.
    pub(in crate::pipeline) journal: u64,
    /// What changed of windows that cannot be finished.
    pub(in crate::pipeline) unfinished: Vec<UnfinishedChange>,
}

impl KeptChanges {
    /// What is to be removed and put, in this order.
    pub(in crate::pipeline) fn encode(
        &self,
        codec: &Codec,
        mut each: impl FnMut(Edit<'_>),
    ) -> Result<(), StateError> {
        codec.encode(&self.changes, &mut each)?;
        for schedule in &self.schedules {
            codec.encode_schedule(schedule, &mut each)?;
        }
        for (key, value) in &self.unfinished {
            each(match value {
                Some(value) => Edit::Put(key, value),
                None => Edit::Remove(key),
            });
        }
        Ok(())
    }

    /// About what they take in memory.
    pub(in crate::pipeline) fn bytes(&self) -> usize {
        let schedules = self.schedules.iter();
        let schedules = schedules.map(|schedule| 48 * schedule.from.len());
        let unfinished = self.unfinished.iter();
        let unfinished =
            unfinished.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        self.changes.bytes() + schedules.sum::<usize>() + unfinished.sum::<usize>()
    }
}
