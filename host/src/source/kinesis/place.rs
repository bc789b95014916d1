//! Where a record lies in its shard, and how far a shard was read.
//!
//! The service numbers records by decimal numbers that have 56 digits today and may have 129: no
//! integer of a machine holds them, and nothing says what is in them. They rise within a shard, and
//! that is all that is used of them. Records that a producer has put together into one have the same
//! number; there the place in it decides.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use arrow::array::{Array, StringArray, StringBuilder};
use arrow::buffer::ScalarBuffer;

/// The most digits that the service says it will ever use.
const MOST_DIGITS: usize = 129;

/// Where a record lies in its shard. Later records have greater places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    sequence_number: String,
    sub_sequence: u64,
}

impl Place {
    /// The place of part `sub_sequence` of the record `sequence_number`; 0 for one that was not put
    /// together. None if that is no number as the service writes them: decimal digits, of which the
    /// first is not 0.
    pub fn new(sequence_number: &str, sub_sequence: u64) -> Option<Self> {
        let digits = sequence_number.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = !sequence_number.starts_with('0') || sequence_number == "0";
        (digits && canonical && (1..=MOST_DIGITS).contains(&sequence_number.len())).then(|| Self {
            sequence_number: sequence_number.to_owned(),
            sub_sequence,
        })
    }

    /// The number that the service gave the record.
    pub fn sequence_number(&self) -> &str {
        &self.sequence_number
    }

    /// Which part of the record it is, from 0 on.
    pub fn sub_sequence(&self) -> u64 {
        self.sub_sequence
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.sequence_number, &other.sequence_number)
            .then(self.sub_sequence.cmp(&other.sub_sequence))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence_number, self.sub_sequence)
    }
}

/// Compares two numbers without leading zeros.
pub(super) fn order(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// How far a shard was read. Cursors of one shard are ordered: of several lanes', a reader goes on at
/// the least.
///
/// Kept as text, `FORM:WHAT`, where the form is 1: `1:beginning`, `1:since:MICROSECONDS`,
/// `1:after:NUMBER:PART:OFFSET`, `1:finished`. A form that is not known is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShardCursor {
    /// Nothing of it was read, and it is to be read from the oldest record that it has.
    Beginning,
    /// Nothing of it was read, and it is to be read from the first record that came at this time or
    /// later, in microseconds.
    Since(i64),
    /// This record was the last that was read.
    After {
        /// Where it lies.
        place: Place,
        /// Its offset in the batches that it came in. Those who go on behind it count on from here,
        /// so that offsets are the same in every run that goes on at cursors.
        offset: i64,
    },
    /// All of it was read, and nothing more will come.
    Finished,
}

impl fmt::Display for ShardCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("1:beginning"),
            Self::Since(micros) => write!(f, "1:since:{micros}"),
            Self::After { place, offset } => write!(f, "1:after:{place}:{offset}"),
            Self::Finished => f.write_str("1:finished"),
        }
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no cursor of a Kinesis shard that this version can read; use the version that has written it, or let the pipeline begin anew"
)]
pub struct UnknownCursor(String);

impl FromStr for ShardCursor {
    type Err = UnknownCursor;

    fn from_str(text: &str) -> Result<Self, UnknownCursor> {
        let parts: Vec<&str> = text.split(':').collect();
        let cursor = match parts.as_slice() {
            ["1", "beginning"] => Some(Self::Beginning),
            ["1", "since", micros] => micros.parse().ok().map(Self::Since),
            ["1", "finished"] => Some(Self::Finished),
            ["1", "after", number, part, offset] => part
                .parse()
                .ok()
                .and_then(|part| Place::new(number, part))
                .zip(offset.parse().ok())
                .map(|(place, offset)| Self::After { place, offset }),
            _ => None,
        };
        cursor.ok_or_else(|| UnknownCursor(text.to_owned()))
    }
}

/// The places of the messages of a batch, which rise.
#[derive(Debug, Clone)]
pub struct Places {
    /// The number of each record.
    numbers: StringArray,
    /// The first message of each record.
    starts: ScalarBuffer<u32>,
    /// Which part of its record each message is.
    parts: ScalarBuffer<u64>,
}

impl Places {
    /// The place of a message.
    pub fn of(&self, row: usize) -> Place {
        let after = self.starts.partition_point(|start| *start as usize <= row);
        Place {
            sequence_number: self.numbers.value(after - 1).to_owned(),
            sub_sequence: self.parts[row],
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many of the messages, from the first on, a cursor has behind it.
    pub fn covered(&self, cursor: &ShardCursor) -> usize {
        let place = match cursor {
            ShardCursor::Beginning | ShardCursor::Since(_) => return 0,
            ShardCursor::Finished => return self.len(),
            ShardCursor::After { place, .. } => place,
        };
        let (mut low, mut high) = (0, self.numbers.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if order(self.numbers.value(middle), &place.sequence_number).is_lt() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // Record `low` is the first that is not wholly before the cursor's.
        let end = |record: usize| {
            let start = self.starts.get(record);
            start.map_or(self.len(), |start| *start as usize)
        };
        let first = end(low);
        if low == self.numbers.len() || self.numbers.value(low) != place.sequence_number {
            return first;
        }
        let parts = &self.parts[first..end(low + 1)];
        first + parts.partition_point(|part| *part <= place.sub_sequence)
    }
}

/// Places that are being collected.
#[derive(Debug, Default)]
pub(super) struct PlacesBuilder {
    numbers: StringBuilder,
    starts: Vec<u32>,
    parts: Vec<u64>,
}

impl PlacesBuilder {
    /// Adds a record; its messages come next.
    pub(super) fn record(&mut self, number: &str) {
        self.numbers.append_value(number);
        self.starts.push(self.parts.len() as u32);
    }

    /// Adds a message of the last record.
    pub(super) fn part(&mut self, part: u64) {
        self.parts.push(part);
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn finish(mut self) -> Places {
        Places {
            numbers: self.numbers.finish(),
            starts: ScalarBuffer::from(self.starts),
            parts: ScalarBuffer::from(self.parts),
        }
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
