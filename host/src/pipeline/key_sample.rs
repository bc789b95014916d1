//! Whether a topic is partitioned by the key of its pipeline, as was declared: a look at some of its keys.
//!
//! Of the first rows of each partition those keys are remembered whose hashes are the least. They are the same keys in
//! every partition that has them, so a topic that is not partitioned by the key is soon found out. Nothing is locked
//! on the way of rows but for a moment when such a key is new, which it is some thousand times at most.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

use super::reader::ReadError;
use crate::source::record_text;

/// Keys of a partition that are remembered at once.
const KEYS: usize = 1000;
/// Rows of a partition that are looked at.
const ROWS: u64 = 200_000;

/// The keys that partitions of this process have shown, and in which of them each was met.
#[derive(Debug, Default)]
pub(super) struct MetKeys {
    partitions: Mutex<HashMap<Box<[u8]>, u32>>,
}

impl MetKeys {
    /// Notes that a key was met in a partition; gives another one in which it was met before.
    fn meet(&self, key: &[u8], partition: u32) -> Option<u32> {
        let mut partitions = self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match partitions.entry(key.into()) {
            Entry::Occupied(met) => Some(*met.get()).filter(|other| *other != partition),
            Entry::Vacant(new) => {
                new.insert(partition);
                None
            }
        }
    }
}

/// The look at one partition.
pub(super) struct KeySample {
    partition: u32,
    met: Arc<MetKeys>,
    schema: SchemaRef,
    converter: RowConverter,
    hasher: foldhash::quality::FixedState,
    /// The least hashes so far.
    least: BTreeSet<u64>,
    rows_left: u64,
}

impl KeySample {
    /// Of keys with these columns.
    pub(super) fn new(
        partition: u32,
        schema: &SchemaRef,
        met: &Arc<MetKeys>,
    ) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            partition,
            met: Arc::clone(met),
            schema: Arc::clone(schema),
            converter: RowConverter::new(fields.collect())?,
            hasher: foldhash::quality::FixedState::with_seed(1),
            least: BTreeSet::new(),
            rows_left: ROWS,
        })
    }

    /// Whether it has seen as much as it looks at.
    pub(super) fn is_done(&self) -> bool {
        self.rows_left == 0
    }

    /// Looks at the keys of some rows, in their columns, but for the rows without one.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotByKey`] if one of them was met in another partition.
    pub(super) fn look(&mut self, columns: &[ArrayRef], keyless: &[u32]) -> Result<(), ReadError> {
        let keys = self.converter.convert_columns(columns)?;
        let mut keyless = keyless.iter().copied().peekable();
        for (row, key) in (0_u32..).zip(&keys) {
            if keyless.next_if_eq(&row).is_some() {
                continue;
            }
            let hash = self.hasher.hash_one(key.data());
            let is_full = self.least.len() >= KEYS;
            if (is_full && self.least.last() < Some(&hash)) || !self.least.insert(hash) {
                continue;
            }
            if is_full {
                self.least.pop_last();
            }
            if let Some(other) = self.met.meet(key.data(), self.partition) {
                let columns = self.converter.convert_rows([key])?;
                let alone = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
                return Err(ReadError::NotByKey {
                    key: record_text(&alone, 0),
                    one: other,
                    other: self.partition,
                });
            }
        }
        self.rows_left = self.rows_left.saturating_sub(keys.num_rows() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn sample(partition: u32, met: &Arc<MetKeys>) -> KeySample {
        let schema = Schema::new(vec![Field::new("driver_id", DataType::Int64, false)]);
        KeySample::new(partition, &Arc::new(schema), met).unwrap()
    }

    fn keys(keys: impl Iterator<Item = i64>) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from_iter_values(keys))]
    }

    #[test]
    fn keys_of_two_partitions_are_found_also_among_many() {
        let met = Arc::default();
        let (mut one, mut other) = (sample(3, &met), sample(4, &met));
        // Whoever has one of a million keys in two places has it in both by chance only, among thousands.
        one.look(&keys(0..60_000), &[]).unwrap();
        one.look(&keys(0..60_000), &[]).unwrap();
        other.look(&keys(60_000..90_000), &[]).unwrap();
        let error = other.look(&keys(0..60_000), &[]).unwrap_err();
        let ReadError::NotByKey { key, one, other } = &error else {
            panic!("{error}");
        };
        assert_eq!((*one, *other), (3, 4));
        assert!(key.starts_with("{\"driver_id\":"), "{key}");
        assert!(error.to_string().contains("partitioned_by_key = false"));
    }

    #[test]
    fn rows_without_a_key_are_passed_over_and_the_look_ends() {
        let met = Arc::default();
        let (mut one, mut other) = (sample(0, &met), sample(1, &met));
        one.look(&keys([7, 8].into_iter()), &[1]).unwrap();
        other.look(&keys([8, 7].into_iter()), &[1]).unwrap();
        other.look(&keys([9].into_iter()), &[]).unwrap();
        assert!(!other.is_done());
        other.look(&keys(0..0), &[]).unwrap();
        other
            .look(&keys(100_000..100_000 + ROWS as i64), &[])
            .unwrap();
        assert!(other.is_done());
    }
}
