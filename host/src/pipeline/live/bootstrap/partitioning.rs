//! Which partition the producers of a topic put a key into.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use flate2::Crc;

use crate::config::Partitioner;

/// How the rows of history are divided among partitions.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    pub(super) partitioner: Partitioner,
    /// The column that is the messages' key when it is written as text.
    pub(super) column: usize,
    /// Its name.
    pub(super) name: String,
}

impl Partitioning {
    /// Whether keys of a type have one text that producers can be taken to write: whole numbers as their digits, texts
    /// and bytes as they are.
    pub(super) fn can_be_key(data_type: &DataType) -> bool {
        data_type.is_integer()
            || matches!(
                data_type,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
            )
    }

    /// The partition of each row, of so many, by its key; the first one where it has none.
    pub(super) fn partitions(
        &self,
        keys: &ArrayRef,
        partitions: u32,
    ) -> Result<Vec<u32>, ArrowError> {
        let bytes = match keys.data_type() {
            DataType::Binary => cast(keys, &DataType::LargeBinary)?,
            DataType::LargeBinary => Arc::clone(keys),
            DataType::Utf8 | DataType::LargeUtf8 => cast(keys, &DataType::LargeBinary)?,
            _ => cast(&cast(keys, &DataType::LargeUtf8)?, &DataType::LargeBinary)?,
        };
        let bytes = bytes.as_binary::<i64>();
        let partition = |row: usize| match bytes.is_null(row) {
            true => 0,
            false => self.partition(bytes.value(row), partitions),
        };
        Ok((0..bytes.len()).map(partition).collect())
    }

    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        let partitions = partitions.max(1);
        match self.partitioner {
            Partitioner::Murmur2 => (murmur2(key) & 0x7fff_ffff) % partitions,
            Partitioner::Consistent => {
                let mut crc = Crc::new();
                crc.update(key);
                crc.sum() % partitions
            }
        }
    }
}

/// As `org.apache.kafka.common.utils.Utils.murmur2` of Kafka's clients.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let words = data.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let word = u32::from_le_bytes(word.try_into().expect("chunks of four bytes"));
        let word = word.wrapping_mul(M);
        let word = (word ^ (word >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn hashes_are_those_of_kafka() {
        // From UtilsTest of Kafka's own clients.
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn keys_are_hashed_as_texts() {
        let by = |partitioner| Partitioning {
            partitioner,
            column: 0,
            name: "driver_id".to_owned(),
        };
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(21), None, Some(-7)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("21"), None, Some("-7")]));
        for partitioner in [Partitioner::Murmur2, Partitioner::Consistent] {
            let by = by(partitioner);
            let found = by.partitions(&numbers, 1000).unwrap();
            assert_eq!(found, by.partitions(&texts, 1000).unwrap());
            assert_eq!(found[1], 0);
        }
        // CRC-32 of "123456789" is its check value.
        let check = by(Partitioner::Consistent).partition(b"123456789", u32::MAX);
        assert_eq!(check, 0xcbf4_3926);
    }
}
