//! How far a split of a live stream has been read.

use serde::{Deserialize, Serialize};

/// A position in a split, and what has to be known of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCursor {
    /// The position of the next message: for Kafka its offset.
    pub position: i64,
    /// The sequence of the next row, counted over all rows of the split.
    pub sequence: u64,
    /// The greatest event time so far, in microseconds; `i64::MIN` if there was none.
    pub greatest: i64,
    /// The watermark is at least this, because the split was idle; `i64::MIN` if it never was.
    #[serde(default = "none")]
    pub floor: i64,
}

fn none() -> i64 {
    i64::MIN
}

impl SplitCursor {
    /// The cursor of a split of which nothing is known before `position`.
    pub fn start(position: i64) -> Self {
        Self {
            position,
            sequence: 0,
            greatest: i64::MIN,
            floor: i64::MIN,
        }
    }
}
