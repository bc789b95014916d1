//! Records of the service into Arrow.

use std::ops::RangeInclusive;

use arrow::array::BinaryBuilder;
use arrow::buffer::ScalarBuffer;
use aws_sdk_kinesis::types::Record;

use super::Misplaced;
use super::aggregated::{Part, parts};
use super::place::{Place, Places, PlacesBuilder};
use crate::source::messages::Messages;

/// What a message takes beside its bytes: offset, time, part, and where its bytes begin.
const OVERHEAD: usize = 32;

/// How records of a shard become messages.
#[derive(Debug, Clone)]
pub(super) struct Taking {
    /// The hash keys of the shard.
    pub(super) hash_keys: RangeInclusive<u128>,
    /// What becomes of parts that another shard should have.
    pub(super) misplaced: Misplaced,
}

/// A batch that is being built.
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    places: PlacesBuilder,
    bytes: usize,
}

/// What came of a record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// The last of its parts, whether it was left out or not.
    pub(super) last_part: u64,
    /// How many messages were added.
    pub(super) messages: u64,
    /// How many parts belong to other shards.
    pub(super) misplaced: u64,
}

impl BatchBuilder {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the messages of a record that lie behind `after`, the first of which gets `offset`.
    pub(super) fn push(
        &mut self,
        record: &Record,
        after: Option<&Place>,
        offset: i64,
        taking: &Taking,
    ) -> Taken {
        let number = record.sequence_number();
        let seen = after
            .filter(|place| place.sequence_number() == number)
            .map(Place::sub_sequence);
        let micros = arrival(record);
        let data = record.data().as_ref();
        self.places.record(number);
        self.bytes += number.len();
        let mut taken = Taken::default();
        let Some(parts) = parts(data) else {
            if seen.is_none() {
                let key = record.partition_key().map(str::as_bytes);
                self.add(offset, micros, 0, key, data);
                taken.messages = 1;
            }
            return taken;
        };
        for (part, it) in (0_u64..).zip(&parts) {
            taken.last_part = part;
            let misplaced = !taking.hash_keys.contains(&it.hash_key());
            taken.misplaced += u64::from(misplaced);
            let left_out = misplaced && taking.misplaced == Misplaced::Drop;
            if seen.is_none_or(|seen| part > seen) && !left_out {
                let Part { key, data, .. } = *it;
                self.add(
                    offset + taken.messages as i64,
                    micros,
                    part,
                    Some(key),
                    data,
                );
                taken.messages += 1;
            }
        }
        taken
    }

    fn add(&mut self, offset: i64, micros: i64, part: u64, key: Option<&[u8]>, data: &[u8]) {
        self.offsets.push(offset);
        self.timestamps.push(micros);
        self.keys.append_option(key);
        self.values.append_value(data);
        self.places.part(part);
        self.bytes += OVERHEAD + key.map_or(0, <[u8]>::len) + data.len();
    }

    pub(super) fn finish(mut self, split: u32) -> (Messages, Places) {
        let messages = Messages {
            split,
            offsets: ScalarBuffer::from(self.offsets),
            timestamps: ScalarBuffer::from(self.timestamps),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: None,
        };
        (messages, self.places.finish())
    }
}

/// When the service had a record, in microseconds. It sends seconds with a fraction, which the client
/// reads as a float: 0.149 comes as 148999999 nanoseconds.
fn arrival(record: &Record) -> i64 {
    let time = record.approximate_arrival_timestamp();
    time.map_or(i64::MIN, |time| {
        let micros = time.secs().saturating_mul(1_000_000);
        micros.saturating_add(i64::from((time.subsec_nanos() + 500) / 1000))
    })
}
