//! The logs of a pipeline's lanes, given out once more.
//!
//! Lanes take turns by how far they had come, as they did when they were at work, so that files
//! that bring them into one order hold no more than they did then.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{CommitError, LOG, entry_key, log};
use crate::pipeline::lane::FromLane;
use crate::store::embedded::LaneState;

/// Gives out what lanes had sent on.
pub(in crate::pipeline) struct Replaying {
    lanes: Vec<LaneLog>,
    io: Handle,
}

struct LaneLog {
    state: LaneState,
    next: u64,
    end: u64,
    read: VecDeque<Bytes>,
    closed_up_to: i64,
}

impl Replaying {
    /// Of each lane its state, and how many entries of its log count.
    pub(super) fn new(lanes: Vec<(LaneState, u64)>, io: Handle) -> Self {
        let lanes = lanes.into_iter().map(|(state, end)| LaneLog {
            state,
            next: 0,
            end,
            read: VecDeque::new(),
            closed_up_to: i64::MIN,
        });
        Self {
            lanes: lanes.collect(),
            io,
        }
    }

    /// The next message, and the lane that sent it.
    pub(in crate::pipeline) fn next(&mut self) -> Result<Option<(usize, FromLane)>, CommitError> {
        let left = self.lanes.iter_mut().enumerate();
        let left = left.filter(|(_, lane)| lane.next < lane.end);
        let Some((number, lane)) = left.min_by_key(|(_, lane)| lane.closed_up_to) else {
            return Ok(None);
        };
        if lane.read.is_empty() {
            let after = lane.next.checked_sub(1).map(entry_key);
            let pairs = self
                .io
                .block_on(lane.state.pairs(&[LOG], after.as_deref()))?;
            lane.read = pairs.into_iter().map(|(_, entry)| entry).collect();
        }
        let entry = lane.read.pop_front();
        let damaged = |reason: String| CommitError::Meta {
            lane: number,
            reason,
        };
        let entry =
            entry.ok_or_else(|| damaged(format!("entry {} of its log is missing", lane.next)))?;
        lane.next += 1;
        let message = log::decode(&entry).map_err(damaged)?;
        if let FromLane::Progress { closed_up_to, .. } = &message {
            lane.closed_up_to = *closed_up_to;
        }
        Ok(Some((number, message)))
    }
}
