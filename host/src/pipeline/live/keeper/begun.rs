//! What was begun with a lane and no commit says yet. It is in the lane's database before anything of it is done. Who finds it
//! there when the lane is opened undoes it, or does it to the end.

use serde::{Deserialize, Serialize};

use super::{BEGUN, Keeper, KeeperError, META, OUTBOX, REMEMBERED};
use crate::pipeline::commit;
use crate::pipeline::live::generations::{Undo, noted};
use crate::pipeline::live::steps;
use crate::store::StoreError;
use crate::store::embedded::{LaneState, LiveLane};

/// What was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Begun {
    /// The lane goes over to a generation. It is put back first: its records may be half those of one generation and half
    /// those of the other, and so may be what it serves.
    Over {
        /// The generation.
        generation: u64,
        /// What the lane was before.
        undo: Undo,
    },
    /// All that is kept of the lane is forgotten.
    Forgetting,
}

impl Begun {
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let begun = serde_json::from_slice(bytes);
        begun.map_err(|error| format!("what was begun with it cannot be read: {error}"))
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has only texts and numbers")
    }
}

/// Forgets everything that is kept of a lane but its epoch, and what the history has to hear.
pub(super) async fn forget(lane: &LiveLane) -> Result<(), StoreError> {
    let state = &lane.state;
    let mut batch = state.batch();
    batch.put(BEGUN, &Begun::Forgetting.encode());
    state.apply(batch).await?;
    state.flush().await?;
    forget_events(state).await?;
    for prefix in [OUTBOX, META] {
        commit::clear(state, prefix).await?;
    }
    let mut batch = state.batch();
    batch.remove(BEGUN);
    state.apply(batch).await?;
    state.flush().await
}

/// Forgets what a lane remembers of events, in several steps. What was begun has to say so.
pub(super) async fn forget_events(state: &LaneState) -> Result<(), StoreError> {
    for prefix in REMEMBERED {
        commit::clear(state, prefix).await?;
        steps::done("forgetting");
    }
    steps::done("forgotten");
    Ok(())
}

impl Keeper {
    /// Brings to an end what was begun with the lane, if there is something.
    pub(super) fn end_what_was_begun(&mut self) -> Result<(), KeeperError> {
        let Some(bytes) = self.get(BEGUN)? else {
            return Ok(());
        };
        let begun = Begun::decode(&bytes).map_err(|reason| KeeperError::Meta {
            lane: self.number,
            reason,
        })?;
        let (generation, undo) = match begun {
            Begun::Forgetting => return Ok(self.io.block_on(forget(&self.lane))?),
            Begun::Over { generation, undo } => (generation, undo),
        };
        let running = self.expected.running.as_ref();
        let is_undone = running.is_some_and(|running| running.undone.contains(&generation));
        // Where it is wanted all the same, what it has served is only served once more.
        let restored = self.restore(&undo.snapshot, is_undone.then_some(generation))?;
        if is_undone {
            steps::done("restored");
            let noted = noted(self.number, &undo, restored);
            self.told.push((generation, noted));
        }
        let mut batch = self.changes();
        batch.remove(BEGUN);
        Ok(self.apply_durably(batch)?)
    }

    /// Says, durably, that the lane goes over to a generation, until a commit says that.
    pub(super) fn begin_over(&mut self, generation: u64, undo: Undo) -> Result<(), StoreError> {
        let mut batch = self.changes();
        batch.put(BEGUN, &Begun::Over { generation, undo }.encode());
        self.apply_durably(batch)?;
        self.is_begun = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_was_begun_is_read_as_it_was_written_and_nothing_else_is() {
        let undo = Undo {
            from: 2,
            snapshot: "then".to_owned(),
            splits: BTreeMap::new(),
        };
        let generation = 3;
        for begun in [Begun::Over { generation, undo }, Begun::Forgetting] {
            assert_eq!(Begun::decode(&begun.encode()), Ok(begun));
        }
        assert!(Begun::decode(b"then").is_err());
        assert!(Begun::decode(b"{\"over\":{\"generation\":3}}").is_err());
    }
}
