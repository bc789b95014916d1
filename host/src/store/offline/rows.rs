//! Rows of the history: what is served, with which write it was.

use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::store::item::attribute_name;
use crate::store::{FeatureBatch, StoreError};

/// What the values are of.
pub const EVENT_TIME: &str = "_event_time";
/// When they were written.
pub const WRITE_TIME: &str = "_write_time";
/// Who wrote them.
pub const PIPELINE: &str = "_pipeline";
/// About which length of window.
pub const WINDOW: &str = "_window";
/// The lane that wrote them.
pub const LANE: &str = "_lane";
/// The lane's epoch.
pub const EPOCH: &str = "_epoch";
/// The position in the lane's output.
pub const SEQUENCE: &str = "_sequence";

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;

/// The type of both times.
#[must_use]
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A batch as rows of the history. `key_names` name the key's columns, `write_time` is in microseconds since 1970.
///
/// # Errors
///
/// [`StoreError::Shape`] when columns differ in length, or two have the same name.
pub fn rows(
    batch: &FeatureBatch<'_>,
    key_names: &[String],
    lane: u32,
    write_time: i64,
) -> Result<RecordBatch, StoreError> {
    let count = batch.event_time.len();
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let keys = key_names.iter().zip(batch.keys);
    columns.extend(keys.map(|(name, column)| (name.clone(), Arc::clone(column))));
    let own = |name: &str, column: ArrayRef| (name.to_owned(), column);
    let utc = |times: TimestampMicrosecondArray| times.with_timezone("UTC");
    let text = |text: &str| StringArray::from_iter_values(repeat_n(text, count));
    let first = batch.first_sequence;
    let times = TimestampMicrosecondArray::from_value(write_time, count);
    columns.extend([
        own(EVENT_TIME, Arc::new(utc(batch.event_time.clone()))),
        own(WRITE_TIME, Arc::new(utc(times))),
        own(PIPELINE, Arc::new(text(batch.pipeline))),
        own(WINDOW, Arc::new(text(batch.window))),
        own(LANE, Arc::new(UInt32Array::from_value(lane, count))),
        own(EPOCH, Arc::new(UInt64Array::from_value(batch.epoch, count))),
        own(
            SEQUENCE,
            Arc::new(UInt64Array::from_iter_values(first..first + count as u64)),
        ),
    ]);
    let features = batch.features.iter().map(|feature| {
        let name = attribute_name(feature.name, feature.version);
        (name, Arc::clone(feature.values))
    });
    columns.extend(features);
    let mut names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!(
            "the history of group {:?} would have two columns `{}`: give the key's column another name",
            batch.group, twice[0]
        );
        return Err(StoreError::Shape(message));
    }
    let fields = columns.iter().map(|(name, column)| {
        // What a write leaves out is a null, so every feature may have one.
        Field::new(name, column.data_type().clone(), name.contains('@'))
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(schema, columns).map_err(|error| StoreError::Shape(error.to_string()))
}

/// Rows of the history by their day, as `2026-01-31`.
///
/// # Errors
///
/// [`StoreError::Shape`] when there is no event time, or it lies outside the years that days have names in.
pub fn by_day(rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, StoreError> {
    let shape = |reason: String| StoreError::Shape(reason);
    let times = rows
        .column_by_name(EVENT_TIME)
        .and_then(|column| column.as_any().downcast_ref::<TimestampMicrosecondArray>())
        .ok_or_else(|| shape(format!("rows of the history have no `{EVENT_TIME}`")))?;
    let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (row, time) in times.values().iter().enumerate() {
        days.entry(time.div_euclid(DAY))
            .or_default()
            .push(row as u32);
    }
    let named = |day: i64| -> Result<String, StoreError> {
        let start = jiff::Timestamp::from_microsecond(day.saturating_mul(DAY));
        let start = start.map_err(|error| shape(format!("a day has no name: {error}")))?;
        Ok(start.strftime("%Y-%m-%d").to_string())
    };
    if let [(day, _)] = days.iter().collect::<Vec<_>>()[..] {
        return Ok(vec![(named(*day)?, rows.clone())]);
    }
    let taken = days.into_iter().map(|(day, these)| {
        let taken = take_record_batch(rows, &UInt32Array::from(these));
        Ok((
            named(day)?,
            taken.map_err(|error| shape(error.to_string()))?,
        ))
    });
    taken.collect()
}
