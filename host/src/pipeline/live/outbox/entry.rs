//! Entries of an outbox: messages as they are sent, one after the other. What was committed is sent
//! verbatim, whatever the pipeline's file says after a restart.
//!
//! ```text
//! entry   = 0x01 (layout version)  message*
//! message = u8 flags (1 = no value, 2 = no timestamp, 4 = a partition)
//!           varint length, key
//!           varint length, value             unless flag 1
//!           i64 timestamp in µs              unless flag 2
//!           varint partition                 if flag 4
//!           varint epoch, varint sequence, varint generation
//! ```
//!
//! Integers are little-endian, a `varint` is LEB128.

use crate::sink::kafka::{Outgoing, Published};
use crate::store::item::bytes::{Cursor, put_varint};

const LAYOUT: u8 = 1;
const NO_VALUE: u8 = 1;
const NO_TIMESTAMP: u8 = 2;
const PARTITION: u8 = 4;

/// Appends a message.
pub(super) fn put(message: &Outgoing<'_>, entry: &mut Vec<u8>) {
    if entry.is_empty() {
        entry.push(LAYOUT);
    }
    let mut flags = 0;
    if message.value.is_none() {
        flags |= NO_VALUE;
    }
    if message.timestamp.is_none() {
        flags |= NO_TIMESTAMP;
    }
    if message.partition.is_some() {
        flags |= PARTITION;
    }
    entry.push(flags);
    let mut block = |bytes: &[u8]| {
        put_varint(bytes.len() as u64, entry);
        entry.extend_from_slice(bytes);
    };
    block(message.key);
    message.value.into_iter().for_each(&mut block);
    if let Some(timestamp) = message.timestamp {
        entry.extend_from_slice(&timestamp.to_le_bytes());
    }
    if let Some(partition) = message.partition {
        put_varint(u64::from(partition), entry);
    }
    put_varint(message.at.epoch, entry);
    put_varint(message.at.sequence, entry);
    put_varint(message.generation, entry);
}

/// The messages of an entry; none if it is damaged, or of another layout.
pub(super) fn messages(entry: &[u8]) -> Option<Vec<Outgoing<'_>>> {
    let mut left = Cursor::new(entry);
    if left.u8()? != LAYOUT {
        return None;
    }
    let mut messages = Vec::new();
    while !left.is_empty() {
        let flags = left.u8()?;
        if flags & !(NO_VALUE | NO_TIMESTAMP | PARTITION) != 0 {
            return None;
        }
        let key = left.block()?;
        let value = match flags & NO_VALUE {
            0 => Some(left.block()?),
            _ => None,
        };
        let timestamp = match flags & NO_TIMESTAMP {
            0 => Some(left.i64()?),
            _ => None,
        };
        let partition = match flags & PARTITION {
            0 => None,
            _ => Some(u32::try_from(left.varint()?).ok()?),
        };
        messages.push(Outgoing {
            key,
            value,
            timestamp,
            partition,
            at: Published {
                epoch: left.varint()?,
                sequence: left.varint()?,
            },
            generation: left.varint()?,
        });
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (
        Vec<u8>,
        Option<Vec<u8>>,
        Option<i64>,
        Option<u32>,
        u64,
        u64,
        u64,
    );

    fn message(parts: &Parts) -> Outgoing<'_> {
        let (key, value, timestamp, partition, epoch, sequence, generation) = parts;
        Outgoing {
            key,
            value: value.as_deref(),
            timestamp: *timestamp,
            partition: *partition,
            at: Published {
                epoch: *epoch,
                sequence: *sequence,
            },
            generation: *generation,
        }
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(
            all in prop::collection::vec(any::<Parts>(), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut entry = Vec::new();
            let mut ends = vec![1];
            for parts in &all {
                put(&message(parts), &mut entry);
                ends.push(entry.len());
            }
            let expected: Vec<_> = all.iter().map(message).collect();
            prop_assert_eq!(messages(&entry).unwrap(), expected);
            // What was cut off is noticed, unless it ends between two messages.
            let cut = cut.index(entry.len());
            prop_assert_eq!(messages(&entry[..cut]).is_some(), ends.contains(&cut));
        }

        #[test]
        fn what_is_no_entry_is_none(bytes in any::<Vec<u8>>()) {
            let _ = messages(&bytes);
        }
    }

    #[test]
    fn fuzz_outbox_entry() {
        let all = [
            (vec![1], Some(vec![2; 9]), Some(3), Some(4), 5, 6, 7),
            (vec![], None, None, None, u64::MAX, 0, 1),
        ];
        let mut seed = Vec::new();
        all.iter().for_each(|parts| put(&message(parts), &mut seed));
        crate::fuzz::run("outbox_entry", vec![seed], |input| {
            // What is read is what was written.
            for message in messages(input).iter().flatten() {
                let mut again = Vec::new();
                put(message, &mut again);
                assert_eq!(messages(&again).unwrap(), std::slice::from_ref(message));
            }
        });
    }

    #[test]
    fn another_layout_is_refused() {
        assert!(messages(&[2]).is_none());
        assert!(messages(&[LAYOUT, 8, 0, 0, 0, 0, 0]).is_none());
    }
}
