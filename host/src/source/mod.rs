//! Sources: where events come from.
//!
//! Out come [`SourceBatch`]es: rows in one fixed order, with their event times, their places in the
//! source and the watermark that holds at them. A source knows nothing of keys, windows or lanes.

pub mod decode;
pub mod event_time;
mod flow;
#[cfg(test)]
mod fuzz;
pub mod kafka;
pub mod kinesis;
pub mod live;
pub mod messages;
pub mod prepared;
pub mod recording;
pub mod replay;
pub mod storage;

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::stage::Stage;
use crate::text;

/// Rows of a source, in the order in which every run over the same input gives them.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// The wanted columns.
    pub rows: RecordBatch,
    /// The event time of each row, in microseconds.
    pub event_times: ScalarBuffer<i64>,
    /// The number of the first row, counted over all splits. Each further row has the next one.
    pub first_sequence: u64,
    /// Where the rows came from.
    pub origins: Origins,
    /// The watermark at each row, or none where no row is behind the watermark and nobody asked for
    /// each.
    pub watermarks: Option<ScalarBuffer<i64>>,
    /// The watermark after the last row.
    pub watermark: i64,
    /// Records that did not become rows, by rising sequence.
    pub rejects: Vec<SourceReject>,
}

/// A record that did not become a row.
#[derive(Debug, Clone)]
pub struct SourceReject {
    /// The number that the row after the one before it in its split has or would have.
    pub sequence: u64,
    /// Where it stood.
    pub origin: Origin,
    /// At which stage it was refused: decoding, or reading its event time.
    pub stage: Stage,
    /// The short name of the reason.
    pub code: String,
    /// The reason.
    pub detail: String,
    /// The record, as text as far as it is that.
    pub record: String,
}

/// A place in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The split's number.
    pub split: u32,
    /// The position in the split: a line, counted from 1, or in formats without lines a row, from 0.
    pub position: u64,
}

/// The places of the rows of a batch, run by run.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    runs: Vec<(u32, Origin)>,
}

impl Origins {
    /// Notes that the rows from `row` on came from `origin` and the positions after it.
    pub fn push(&mut self, row: u32, origin: Origin) {
        if let Some((at, last)) = self.runs.last()
            && last.split == origin.split
            && last.position + u64::from(row - at) == origin.position
        {
            return;
        }
        self.runs.push((row, origin));
    }

    /// The place of a row.
    pub fn of(&self, row: u32) -> Origin {
        let after = self.runs.partition_point(|(at, _)| *at <= row);
        let (at, first) = self.runs[after - 1];
        Origin {
            split: first.split,
            position: first.position + u64::from(row - at),
        }
    }
}

impl Origins {
    /// Appends the places of `length` rows from `first` on, as those of the rows from `at` on of `to`.
    fn copy(&self, first: usize, length: usize, at: usize, to: &mut Self) {
        let (first, last) = (first as u32, (first + length) as u32);
        let mut from = self.runs.partition_point(|(row, _)| *row <= first) - 1;
        while let Some((row, _)) = self.runs.get(from)
            && *row < last
        {
            let start = (*row).max(first);
            to.push(start - first + at as u32, self.of(start));
            from += 1;
        }
    }
}

/// Rows as JSON objects. Rows that JSON cannot show become a JSON text that says why.
pub fn record_lines(rows: &RecordBatch) -> Vec<String> {
    if let Ok(lines) = text::record_lines(rows) {
        return lines;
    }
    // One row that has no text must not take the others' records away.
    (0..rows.num_rows() as u32)
        .map(|row| record_text(rows, row))
        .collect()
}

/// One row of a batch as a JSON object, or a JSON text that says why it is none. A time that no calendar
/// has is shown as its number.
pub fn record_text(rows: &RecordBatch, row: u32) -> String {
    let one = arrow::compute::take_record_batch(rows, &UInt32Array::from(vec![row]));
    let shown = one
        .and_then(|row| text::record_lines(&row).or_else(|_| text::record_lines(&numbered(&row)?)));
    match shown {
        Ok(mut lines) => lines.pop().unwrap_or_default(),
        Err(error) => {
            serde_json::Value::String(format!("not to be shown as JSON: {error}")).to_string()
        }
    }
}

/// The rows with numbers in place of columns of times that have no text.
fn numbered(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let columns = columns.map(|(field, column)| {
        let alone = Schema::new(vec![Arc::clone(field)]);
        let alone = RecordBatch::try_new(Arc::new(alone), vec![Arc::clone(column)])?;
        let column = match text::record_lines(&alone) {
            Err(_) if field.data_type().is_temporal() => cast(column, &DataType::Int64)?,
            _ => Arc::clone(column),
        };
        Ok((field.name().clone(), column))
    });
    RecordBatch::try_from_iter(columns.collect::<Result<Vec<_>, ArrowError>>()?)
}

/// How far a source has been read, for a person who waits. Counted by the reader, read by anybody.
#[derive(Debug, Default)]
pub struct ReadProgress {
    /// Bytes in all.
    pub bytes_total: std::sync::atomic::AtomicU64,
    /// Bytes read.
    pub bytes_read: std::sync::atomic::AtomicU64,
    /// Rows and rejects read.
    pub records: std::sync::atomic::AtomicU64,
}

/// The places of a source, in words.
pub type SplitNames = Arc<[String]>;

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn a_time_that_no_calendar_has_is_shown_as_its_number() {
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1, i64::MAX / 2]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let rows = RecordBatch::try_from_iter([("t", times), ("name", names)]).unwrap();
        assert_eq!(
            record_lines(&rows),
            [
                "{\"t\":\"1970-01-01T00:00:01\",\"name\":\"a\"}",
                "{\"t\":4611686018427387903,\"name\":\"b\"}",
            ]
        );
    }
}
