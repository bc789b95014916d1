//! Keys that many of a lane's rows have.
//!
//! In come the keys of each batch; out comes which of them are heavy, and how heavy, for people to see. A key with
//! a third of all rows holds its lane back however many lanes there are, and nothing else tells so.
//!
//! Every [`STRIDE`]th row is looked at, so that it costs nothing that could be measured. Of their keys the commonest are
//! counted in a fixed number of places by *Space-Saving* (Metwally, Agrawal, El Abbadi: Efficient Computation
//! of Frequent and Top-k Elements in Data Streams, 2005): a key that has more than one in [`PLACES`] of the rows is
//! always among them. Counts are halved every [`HALF_LIFE`] rows, so that what is told is about now.
//!
//! What it must never do: change what comes out of a run.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

use super::telemetry::HeavyKey;
use crate::text::record_lines;

/// One row in so many is looked at.
const STRIDE: usize = 61;

/// Keys that are counted at once.
const PLACES: usize = 64;

/// Rows that were looked at after which counts are halved.
const HALF_LIFE: u64 = 1 << 13;

/// How often what is known is told, in rows that were looked at.
const TELL: u64 = 1 << 8;

/// A key with at least this share of the rows is heavy.
const HEAVY: f64 = 0.02;

/// So many are told.
const TOLD: usize = 5;

/// Finds the heavy keys of a lane.
pub(super) struct HeavyKeys {
    schema: SchemaRef,
    converter: RowConverter,
    /// Rows before the next one that is looked at.
    skip: usize,
    counts: HashMap<Box<[u8]>, Count>,
    /// Rows that were looked at, halved as the counts are.
    rows: u64,
    /// Rows that were looked at since they were told.
    untold: u64,
    halved: u64,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    /// At most so many rows had the key.
    most: u64,
    /// So many of them may have had others.
    error: u64,
}

impl HeavyKeys {
    /// Among keys of these columns.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            schema: SchemaRef::clone(schema),
            converter: RowConverter::new(fields.collect())?,
            skip: 0,
            counts: HashMap::with_capacity(PLACES),
            rows: 0,
            untold: 0,
            halved: 0,
        })
    }

    /// Takes in the keys of a batch's rows, and gives what is to be told, from the heaviest key on; none if it is
    /// not time to.
    pub(super) fn batch(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
    ) -> Result<Option<Vec<HeavyKey>>, ArrowError> {
        if self.skip >= rows {
            self.skip -= rows;
            return Ok(None);
        }
        let looked_at: Vec<u32> = (self.skip as u32..rows as u32).step_by(STRIDE).collect();
        self.skip = self.skip + STRIDE * looked_at.len() - rows;
        let looked_at = UInt32Array::from(looked_at);
        let keys = keys.iter().map(|column| take(column, &looked_at, None));
        let keys = self
            .converter
            .convert_columns(&keys.collect::<Result<Vec<_>, _>>()?)?;
        for key in &keys {
            self.count(key.as_ref());
            if self.halved == HALF_LIFE {
                self.halve();
            }
        }
        self.untold += looked_at.len() as u64;
        match self.untold >= TELL {
            true => {
                self.untold %= TELL;
                self.heaviest().map(Some)
            }
            false => Ok(None),
        }
    }

    fn count(&mut self, key: &[u8]) {
        self.rows += 1;
        self.halved += 1;
        if let Some(count) = self.counts.get_mut(key) {
            count.most += 1;
            return;
        }
        let mut error = 0;
        if self.counts.len() == PLACES {
            // Of equal ones always the same goes, whatever the order of the map.
            let least = self
                .counts
                .iter()
                .min_by_key(|(key, count)| (count.most, *key));
            let (least, count) = least.expect("all places are taken");
            error = count.most;
            let least = least.clone();
            self.counts.remove(&least);
        }
        let most = error + 1;
        self.counts.insert(key.into(), Count { most, error });
    }

    fn halve(&mut self) {
        self.halved = 0;
        self.rows /= 2;
        self.counts.retain(|_, count| {
            count.most /= 2;
            count.error /= 2;
            count.most > 0
        });
    }

    fn heaviest(&self) -> Result<Vec<HeavyKey>, ArrowError> {
        let share = |count: u64| count as f64 / self.rows as f64;
        let heavy = self.counts.iter();
        let mut heavy: Vec<(&[u8], f64)> = heavy
            .map(|(key, count)| (&**key, share(count.most - count.error)))
            .filter(|(_, share)| *share >= HEAVY)
            .collect();
        heavy.sort_by(|(one, more), (other, less)| less.total_cmp(more).then(one.cmp(other)));
        heavy.truncate(TOLD);
        let parser = self.converter.parser();
        let rows = heavy.iter().map(|(key, _)| parser.parse(key));
        let columns = self.converter.convert_rows(rows)?;
        let texts = match heavy.is_empty() {
            true => Vec::new(),
            false => record_lines(&RecordBatch::try_new(
                SchemaRef::clone(&self.schema),
                columns,
            )?)?,
        };
        let told = texts.into_iter().zip(&heavy);
        Ok(told
            .map(|(key, (_, share))| HeavyKey { key, share: *share })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    fn heavy() -> HeavyKeys {
        let driver = Field::new("driver_id", DataType::Int64, false);
        HeavyKeys::new(&Arc::new(Schema::new(vec![driver]))).unwrap()
    }

    /// What is told last of rows in which each key of `shares` has its share and a million others the rest.
    fn told(
        heavy: &mut HeavyKeys,
        shares: &[(i64, f64)],
        rows: usize,
        cut: usize,
    ) -> Vec<HeavyKey> {
        let mut random = Pcg64::seed_from_u64(7);
        let mut key = || {
            let mut at: f64 = random.random();
            for (key, share) in shares {
                at -= share;
                if at < 0.0 {
                    return *key;
                }
            }
            random.random_range(1_000..1_001_000)
        };
        let keys: Vec<i64> = (0..rows).map(|_| key()).collect();
        let mut told = Vec::new();
        for keys in keys.chunks(cut) {
            let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
            told = heavy.batch(&[column], keys.len()).unwrap().unwrap_or(told);
        }
        told
    }

    #[test]
    fn heavy_keys_are_told_with_their_shares_and_others_are_not() {
        let shares = [(1, 0.5), (2, 0.1)];
        let told = told(&mut heavy(), &shares, 1_000_000, 8_192);
        let keys: Vec<&str> = told.iter().map(|heavy| heavy.key.as_str()).collect();
        assert_eq!(keys, [r#"{"driver_id":1}"#, r#"{"driver_id":2}"#]);
        for (heavy, (_, share)) in told.iter().zip(shares) {
            assert!((heavy.share - share).abs() < 0.03, "{told:?}");
        }
    }

    #[test]
    fn how_rows_are_cut_is_of_no_consequence() {
        let shares = [(5, 0.3)];
        // A multiple of what is looked at before something is told, so that all end after the same rows.
        let rows = STRIDE * TELL as usize * 40;
        let whole = told(&mut heavy(), &shares, rows, rows);
        for cut in [1, 60, 61, 1_000] {
            assert_eq!(told(&mut heavy(), &shares, rows, cut), whole, "{cut}");
        }
    }

    #[test]
    fn what_was_heavy_once_is_forgotten() {
        let mut heavy = heavy();
        let rows = 20 * STRIDE * HALF_LIFE as usize / 4;
        assert_eq!(told(&mut heavy, &[(1, 0.9)], rows, 8_192).len(), 1);
        assert_eq!(told(&mut heavy, &[], 2 * rows, 8_192), []);
    }

    #[test]
    fn evenly_spread_keys_are_not_told() {
        assert_eq!(told(&mut heavy(), &[], 500_000, 4_096), []);
    }
}
