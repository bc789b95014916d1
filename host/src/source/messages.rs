//! Messages of a live stream, as they lie in it: bytes that are not decoded yet.

use arrow::array::{BinaryArray, ListArray};
use arrow::buffer::ScalarBuffer;

/// Messages of one split in the order of their offsets, which rise. A row of everything for each.
#[derive(Debug, Clone)]
pub struct Messages {
    /// The split: a Kafka partition or a Kinesis shard, by its number in this run.
    pub split: u32,
    /// Positions in the split.
    pub offsets: ScalarBuffer<i64>,
    /// When the source recorded them, in microseconds since 1970-01-01T00:00:00Z; `i64::MIN` where
    /// it does not say.
    pub timestamps: ScalarBuffer<i64>,
    /// Their keys; null where there is none.
    pub keys: BinaryArray,
    /// What they say; null where there is nothing (Kafka calls that a tombstone).
    pub values: BinaryArray,
    /// Their headers, as lists of `{name: utf8, value: binary}`; none if nobody asked for them.
    pub headers: Option<ListArray>,
}

impl Messages {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Those from number `first` on, as many as `length`.
    #[must_use]
    pub fn slice(&self, first: usize, length: usize) -> Self {
        Self {
            split: self.split,
            offsets: self.offsets.slice(first, length),
            timestamps: self.timestamps.slice(first, length),
            keys: self.keys.slice(first, length),
            values: self.values.slice(first, length),
            headers: (self.headers.as_ref()).map(|headers| headers.slice(first, length)),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}
