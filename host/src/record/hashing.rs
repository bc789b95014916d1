//! Values under a keyed hash, and which entities are in a sample.
//!
//! A value is hashed as its text: that of a whole number is its digits, so a rider is the same whether an event
//! has the id as a number or as a text. Columns of bytes are hashed as they are.
//!
//! A hash without a key hides no id: whoever knows how ids look hashes all of them and compares. With a key
//! that only those have who may know, it cannot be undone, and rows of one entity still belong together.

use std::fmt;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::RecordError;

/// The shortest key, in bytes.
const SHORTEST: usize = 16;

/// A key of HMAC-SHA-256 (RFC 2104). It is not shown.
#[derive(Clone)]
pub struct HashKey(Vec<u8>);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(hidden)")
    }
}

impl HashKey {
    /// Reads a key: what stands in a file, without the line breaks at its end.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds fewer than 16 bytes.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let key = std::fs::read(path).map_err(|source| RecordError::File {
            doing: "read the key in",
            path: path.display().to_string(),
            source,
        })?;
        Self::new(&key).ok_or_else(|| {
            RecordError::asked(
                format!(
                    "the key in {} has fewer than {SHORTEST} bytes",
                    path.display()
                ),
                "make one that cannot be guessed: `openssl rand -hex 32`",
            )
        })
    }

    /// A key of at least 16 bytes, line breaks at its end not counted.
    pub fn new(key: &[u8]) -> Option<Self> {
        let end = key.iter().rposition(|byte| !b"\r\n".contains(byte))? + 1;
        (end >= SHORTEST).then(|| Self(key[..end].to_vec()))
    }

    /// The same for the same key, and of no use to whoever looks for it.
    pub(super) fn fingerprint(&self) -> String {
        hex(&self.hash(b"penstock record")[..8])
    }

    fn hash(&self, value: &[u8]) -> [u8; 32] {
        let mut hash =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        hash.update(value);
        hash.finalize().into_bytes().into()
    }

    /// The hashes of a column's values, as hexadecimal text; null where there is none. The column's type is
    /// one of [`can_be_hashed`].
    pub(super) fn column(&self, values: &ArrayRef) -> ArrayRef {
        let mut hashes = StringBuilder::with_capacity(values.len(), values.len() * 64);
        each(values, |value| match value {
            Some(value) => hashes.append_value(hex(&self.hash(value))),
            None => hashes.append_null(),
        });
        std::sync::Arc::new(hashes.finish())
    }
}

/// A share of all entities.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// How many of them, more than 0 and at most 1.
    pub share: f64,
    /// The column that says which entity a row is about.
    pub by: String,
}

impl Sample {
    /// Which rows belong to entities of the sample. Equal values are in it or not in every recording; those
    /// of a larger share hold those of a smaller one. Rows without a value count as one entity.
    pub(super) fn of(&self, entities: &ArrayRef) -> Vec<bool> {
        let mut chosen = Vec::with_capacity(entities.len());
        each(entities, |value| {
            let digest = match value {
                Some(value) => Sha256::new()
                    .chain_update([1])
                    .chain_update(value)
                    .finalize(),
                None => Sha256::digest([0]),
            };
            let start: [u8; 8] = digest[..8].try_into().expect("a digest has 32 bytes");
            // As many bits as a float holds exactly, so that all are below 1.
            let place = (u64::from_be_bytes(start) >> 11) as f64 / (1_u64 << 53) as f64;
            chosen.push(place < self.share);
        });
        chosen
    }
}

/// Whether values of a type have one text, by which they can be hashed.
pub(super) fn can_be_hashed(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::FixedSizeBinary(_)
        )
}

/// Shows `see` the bytes of every value.
fn each(values: &ArrayRef, mut see: impl FnMut(Option<&[u8]>)) {
    match values.data_type() {
        DataType::Utf8 => values
            .as_string::<i32>()
            .iter()
            .for_each(|value| see(value.map(str::as_bytes))),
        DataType::LargeUtf8 => values
            .as_string::<i64>()
            .iter()
            .for_each(|value| see(value.map(str::as_bytes))),
        DataType::Binary => values.as_binary::<i32>().iter().for_each(see),
        DataType::LargeBinary => values.as_binary::<i64>().iter().for_each(see),
        DataType::FixedSizeBinary(_) => values.as_fixed_size_binary().iter().for_each(see),
        _ => {
            let text = cast(values, &DataType::Utf8).expect("whole numbers have texts");
            text.as_string::<i32>()
                .iter()
                .for_each(|value| see(value.map(str::as_bytes)));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int64Array, StringArray, UInt8Array};

    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard_and_of_texts() {
        // RFC 4231, test case 2, has a key that is too short for us; the value was made with `openssl dgst`.
        let key = HashKey::new(b"0123456789abcdef0123456789abcdef\n").unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("42"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), None]));
        let small: ArrayRef = Arc::new(UInt8Array::from(vec![Some(42), None]));
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"42"[..]), None]));
        let hashed = key.column(&texts);
        assert_eq!(
            hashed.as_string::<i32>().value(0),
            "3b12d0412db185c98ff58825ed4c81cfbc7bdabcf33ac48bdaaae5f39fc65445"
        );
        assert!(hashed.is_null(1));
        for other in [&numbers, &small, &bytes] {
            assert_eq!(key.column(other).as_ref(), hashed.as_ref());
        }
        assert!(HashKey::new(b"short\n\n\n\n\n\n\n\n\n\n\n\n\n").is_none());
        assert!(!format!("{key:?}").contains("0123"));
    }

    #[test]
    fn samples_hold_smaller_ones_and_about_their_share() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter(
            (0..10_000).map(|id| (id > 0).then_some(id)),
        ));
        let of = |share| {
            Sample {
                share,
                by: "id".to_owned(),
            }
            .of(&ids)
        };
        let (small, large) = (of(0.01), of(0.1));
        assert!(
            small
                .iter()
                .zip(&large)
                .all(|(small, large)| !small || *large)
        );
        let count = |chosen: &[bool]| chosen.iter().filter(|chosen| **chosen).count();
        assert!((60..140).contains(&count(&small)), "{}", count(&small));
        assert!((850..1150).contains(&count(&large)), "{}", count(&large));
        assert_eq!(count(&of(1.0)), 10_000);
    }
}
