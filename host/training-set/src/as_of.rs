//! What each row of the spine gets: one look at rows of spine and history, sorted by key, time and row.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave, nullif, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::history::{History, value_fields};

/// Event time, epoch and sequence: the greatest wins.
type Order = (i64, u64, u64);

/// Where values lie: in row 0 of what was carried over from earlier batches, or in this row of this one.
const CARRIED: usize = 0;
const HERE: usize = 1;

/// How far the look has come.
///
/// By event time the newest write is always the last one that was met. By write time it may not be: a correction of an old
/// window that came late must not hide a newer window. So the greatest is remembered; and, where writes were taken back, the
/// greatest of those that count for longer than it does, and so on.
#[derive(Debug)]
pub(crate) struct AsOf {
    history: Arc<History>,
    keys: RowConverter,
    /// The key of the last row, and its newest writes so far.
    key: Option<OwnedRow>,
    newest: Vec<Known>,
    /// The event times and the values of these writes; none if there are none.
    carried: Option<Vec<ArrayRef>>,
    /// `row`, `f0` …
    pub(crate) schema: SchemaRef,
}

impl AsOf {
    pub(crate) fn new(history: Arc<History>) -> Result<Self, ArrowError> {
        let keys = history.keys.iter();
        let keys = keys.map(|(_, data_type)| SortField::new(data_type.clone()));
        let mut fields = vec![Field::new("row", DataType::Int64, false)];
        fields.extend(value_fields(&history.features));
        Ok(Self {
            keys: RowConverter::new(keys.collect())?,
            history,
            key: None,
            newest: Vec::new(),
            carried: None,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// What those of the next rows get that are of the spine.
    pub(crate) fn next(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let seen = self.look(rows)?;
        let carried = self.carried.take();
        let mut found = Vec::new();
        for (at, here) in self.values(rows).enumerate() {
            let carried = carried.as_ref().map_or(here, |carried| &carried[at]);
            found.push(interleave(&[carried.as_ref(), here.as_ref()], &seen.picks)?);
        }
        let values = found.split_off(1);
        let events = found[0].as_primitive::<Int64Type>();
        let time = self.history.time();
        let times = take(rows.column(time), &seen.asking, None)?;
        let mut columns = vec![take(rows.column(time + 1), &seen.asking, None)?];
        for (feature, values) in self.history.features.iter().zip(values) {
            columns.push(match feature.ttl {
                None => values,
                Some(ttl) => nullif(&values, &past(times.as_primitive(), events, ttl))?,
            });
        }
        let places: Vec<_> = seen.newest.iter().map(|known| known.place).collect();
        // Copies, so that the batch need not stay.
        let copied = self.values(rows).enumerate().map(|(at, here)| {
            let carried = carried.as_ref().map_or(here, |carried| &carried[at]);
            interleave(&[carried.as_ref(), here.as_ref()], &places)
        });
        self.carried = match places.is_empty() {
            true => None,
            false => Some(copied.collect::<Result<_, _>>()?),
        };
        self.newest = seen.newest;
        for (at, known) in self.newest.iter_mut().enumerate() {
            known.place = (CARRIED, at);
        }
        self.key = seen.key;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }

    /// The event time and the values of rows.
    fn values<'a>(&self, rows: &'a RecordBatch) -> impl Iterator<Item = &'a ArrayRef> + use<'a> {
        let time = self.history.time();
        std::iter::once(rows.column(time + 2)).chain(&rows.columns()[time + 6..])
    }

    fn look(&mut self, rows: &RecordBatch) -> Result<Seen, ArrowError> {
        let time = self.history.time();
        let times = rows.column(time).as_primitive::<Int64Type>();
        let keys = self.keys.convert_columns(&rows.columns()[..time])?;
        let numbers = rows.column(time + 1);
        let events = rows.column(time + 2).as_primitive::<Int64Type>();
        let [epochs, sequences] =
            [3, 4].map(|at| rows.column(time + at).as_primitive::<UInt64Type>());
        let untils = rows.column(time + 5).as_primitive::<Int64Type>();
        let mut last = self.key.as_ref().map(OwnedRow::row);
        let mut newest = std::mem::take(&mut self.newest);
        let (mut picks, mut asking) = (Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let key = keys.row(row);
            if last != Some(key) {
                newest.clear();
            }
            last = Some(key);
            if numbers.is_valid(row) {
                let at = times.value(row);
                let counts = newest.iter().find(|known| known.until > at);
                picks.push(counts.map_or((HERE, row), |known| known.place));
                asking.push(row as u32);
                continue;
            }
            let until = match untils.is_valid(row) {
                true => untils.value(row),
                false => i64::MAX,
            };
            take_in(
                &mut newest,
                Known {
                    order: (events.value(row), epochs.value(row), sequences.value(row)),
                    until,
                    place: (HERE, row),
                },
            );
        }
        Ok(Seen {
            picks,
            asking: UInt32Array::from(asking),
            newest,
            key: last.map(|key| key.owned()),
        })
    }
}

/// What a look at a batch says.
struct Seen {
    /// Where the values of the rows of the spine are. One without values has its own, which are nulls.
    picks: Vec<(usize, usize)>,
    /// Which rows these are.
    asking: UInt32Array,
    /// The newest writes of the last key.
    newest: Vec<Known>,
    key: Option<OwnedRow>,
}

/// A write that was met.
#[derive(Debug)]
struct Known {
    order: Order,
    /// From when on it does not count any more; never, if that is the end of time.
    until: i64,
    place: (usize, usize),
}

/// Adds a write to those that may be the newest at some time: by falling orders, each counts for longer than those before
/// it.
fn take_in(newest: &mut Vec<Known>, write: Known) {
    if newest
        .iter()
        .any(|known| known.order > write.order && known.until >= write.until)
    {
        return;
    }
    newest.retain(|known| known.order > write.order || known.until > write.until);
    let at = newest.partition_point(|known| known.order > write.order);
    newest.insert(at, write);
}

/// Which values are past their TTL at a row's time.
fn past(times: &Int64Array, events: &Int64Array, ttl: i64) -> BooleanArray {
    let ages = times.iter().zip(events);
    let past =
        |(time, event): (Option<i64>, Option<i64>)| Some(time?.saturating_sub(event?) >= ttl);
    ages.map(past).collect()
}
