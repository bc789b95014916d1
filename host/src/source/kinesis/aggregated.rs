//! Records that a producer has put together into one, taken apart.
//!
//! The format is that of the Kinesis Producer Library ("KPL Aggregated Record Format"): four bytes
//! that say so, a Protobuf message, and the MD5 of that message. A record that only begins like one
//! is a plain record, and so is one whose message is broken: somebody wrote these bytes, and whoever
//! decodes them says what is wrong.

use md5::{Digest, Md5};
use prost_reflect::prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, skip_field,
};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

const DIGEST: usize = 16;

/// One of the records that were put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Its partition key.
    pub(super) key: &'a [u8],
    /// The hash key that its producer gave it, in decimal digits, if it did.
    explicit_hash_key: Option<&'a [u8]>,
    /// What it says.
    pub(super) data: &'a [u8],
}

impl Part<'_> {
    /// The hash key that says which shard it belongs to.
    pub(super) fn hash_key(&self) -> u128 {
        let explicit = self.explicit_hash_key.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.parse().ok()
        });
        explicit.unwrap_or_else(|| u128::from_be_bytes(md5(self.key)))
    }
}

/// The records in a record, or none if it is a plain one.
pub(super) fn parts(data: &[u8]) -> Option<Vec<Part<'_>>> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST)?)?;
    if md5(message) != digest {
        return None;
    }
    read(message)
}

fn md5(bytes: &[u8]) -> [u8; DIGEST] {
    Md5::digest(bytes).into()
}

/// A record as it is written: keys are places in tables, which may stand behind it.
#[derive(Default)]
struct Written<'a> {
    key: Option<u64>,
    explicit_hash_key: Option<u64>,
    data: Option<&'a [u8]>,
}

/// `AggregatedRecord`: tables of keys (1) and explicit hash keys (2), records (3).
fn read(mut message: &[u8]) -> Option<Vec<Part<'_>>> {
    let (mut keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    while !message.is_empty() {
        match decode_key(&mut message).ok()? {
            (1, WireType::LengthDelimited) => keys.push(bytes(&mut message)?),
            (2, WireType::LengthDelimited) => hash_keys.push(bytes(&mut message)?),
            (3, WireType::LengthDelimited) => records.push(record(bytes(&mut message)?)?),
            (field, kind) => skip(&mut message, field, kind)?,
        }
    }
    let at = |table: &[&'_ [u8]], index: u64| {
        usize::try_from(index)
            .ok()
            .filter(|index| *index < table.len())
    };
    let parts = records.into_iter().map(|record: Written<'_>| {
        let explicit_hash_key = match record.explicit_hash_key {
            Some(index) => Some(hash_keys[at(&hash_keys, index)?]),
            None => None,
        };
        Some(Part {
            key: keys[at(&keys, record.key?)?],
            explicit_hash_key,
            data: record.data?,
        })
    });
    parts.collect()
}

/// `Record`: the places of its key (1) and explicit hash key (2), its data (3).
fn record(mut message: &[u8]) -> Option<Written<'_>> {
    let mut record = Written::default();
    while !message.is_empty() {
        match decode_key(&mut message).ok()? {
            (1, WireType::Varint) => record.key = Some(decode_varint(&mut message).ok()?),
            (2, WireType::Varint) => {
                record.explicit_hash_key = Some(decode_varint(&mut message).ok()?);
            }
            (3, WireType::LengthDelimited) => record.data = Some(bytes(&mut message)?),
            (field, kind) => skip(&mut message, field, kind)?,
        }
    }
    Some(record)
}

fn bytes<'a>(message: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(message).ok()?).ok()?;
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes)
}

fn skip(message: &mut &[u8], field: u32, kind: WireType) -> Option<()> {
    skip_field(kind, field, message, DecodeContext::default()).ok()
}

#[cfg(test)]
#[path = "aggregated_tests.rs"]
mod tests;
