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
    /// Up to this event time there was history before the stream: what the stream has of that time is passed over.
    /// `i64::MIN` if there was none, or it ended at an offset.
    #[serde(default = "none")]
    pub history: i64,
}

/// Positions in history that has no offsets begin here, before all of those in a stream.
const HISTORY: i64 = -(1 << 62);

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
            history: i64::MIN,
        }
    }

    /// The position of a row of history that has no offsets, by its number.
    pub fn in_history(row: u64) -> i64 {
        HISTORY.saturating_add_unsigned(row)
    }

    /// Whether the next row is one of history that has no offsets.
    pub fn is_in_history(&self) -> bool {
        self.position < 0
    }

    /// The number of that row; 0 if it is none.
    pub fn row_in_history(&self) -> u64 {
        self.position
            .checked_sub(HISTORY)
            .map_or(0, |row| row.max(0).unsigned_abs())
    }

    /// The number of a row of such history, by the position of its origin; none if that is one of a stream.
    pub fn row_of_history(position: u64) -> Option<u64> {
        let position = position as i64;
        (position < 0).then(|| position.abs_diff(HISTORY))
    }
}
