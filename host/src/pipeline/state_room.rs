//! How much state the lanes of a pipeline may have in memory, all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Limits;
use crate::transform::CallError;

/// What all lanes of a pipeline may have, and have.
#[derive(Debug)]
pub(super) struct StateRoom {
    most_bytes: u64,
    most_keys: u64,
    bytes: AtomicU64,
    keys: AtomicU64,
}

/// What one lane has of it, given back when it is dropped.
#[derive(Debug)]
pub(super) struct StateShare {
    room: Arc<StateRoom>,
    bytes: u64,
    keys: u64,
}

impl StateRoom {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most_bytes: limits.state_bytes,
            most_keys: limits.keys,
            bytes: AtomicU64::new(0),
            keys: AtomicU64::new(0),
        }
    }

    /// Of a lane that has nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> StateShare {
        StateShare {
            room: Arc::clone(self),
            bytes: 0,
            keys: 0,
        }
    }
}

impl StateShare {
    /// Takes note of what the lane has now.
    ///
    /// # Errors
    ///
    /// All lanes together have more than they may: the limit `state_bytes` or `keys`.
    pub(super) fn set(&mut self, bytes: u64, keys: u64) -> Result<(), CallError> {
        let room = &self.room;
        // Wrapping, so that what a lane has less of is taken away.
        let change = |all: &AtomicU64, before: u64, now: u64| {
            let grown = now.wrapping_sub(before);
            all.fetch_add(grown, Ordering::Relaxed).wrapping_add(grown)
        };
        let all_bytes = change(&room.bytes, self.bytes, bytes);
        let all_keys = change(&room.keys, self.keys, keys);
        let grown_bytes = bytes.saturating_sub(self.bytes);
        let grown_keys = keys.saturating_sub(self.keys);
        (self.bytes, self.keys) = (bytes, keys);
        let beyond = |name, most: u64, all: u64, grown: u64, unit: &str| {
            Err(CallError::Limit {
                call: "state",
                name,
                limit: format!("{most}{unit}"),
                current: format!("{}{unit}", all.saturating_sub(grown)),
                requested: format!("{grown}{unit}"),
            })
        };
        if all_bytes > room.most_bytes {
            return beyond(
                "state_bytes",
                room.most_bytes,
                all_bytes,
                grown_bytes,
                " bytes",
            );
        }
        if all_keys > room.most_keys {
            return beyond("keys", room.most_keys, all_keys, grown_keys, "");
        }
        Ok(())
    }
}

impl Drop for StateShare {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.room.keys.fetch_sub(self.keys, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_what_a_pipeline_may_have() {
        let room = Arc::new(StateRoom::new(&Limits {
            state_bytes: 100,
            keys: 10,
            ..Limits::default()
        }));
        let (mut one, mut other) = (room.share(), room.share());
        one.set(60, 6).unwrap();
        other.set(40, 4).unwrap();
        let error = other.set(41, 4).unwrap_err().to_string();
        let expected = "`state_bytes`: 100 bytes allowed, 100 bytes used, 1 bytes more";
        assert!(error.contains(expected), "{error}");
        one.set(10, 6).unwrap();
        let error = other.set(41, 5).unwrap_err().to_string();
        assert!(
            error.contains("`keys`: 10 allowed, 10 used, 1 more"),
            "{error}"
        );
        drop(other);
        one.set(100, 10).unwrap();
    }
}
