//! One file of a replay: its decoded rows, one after the other, and what did not become rows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::{ReplayError, event_time};
use crate::source::decode::{Decoded, SplitReader};
use crate::source::{Origin, Origins, SourceReject, record_text};
use crate::stage::Stage;

/// A split on its way through the merge.
pub(super) struct Split {
    number: u32,
    reader: Box<dyn SplitReader>,
    event_time: usize,
    /// The rows at hand; all have a valid event time.
    pub(super) rows: RecordBatch,
    pub(super) event_times: ScalarBuffer<i64>,
    origins: Origins,
    /// The next row.
    pub(super) next: usize,
    /// What did not become rows, with the row of `rows` that it stood before.
    rejects: VecDeque<(usize, SourceReject)>,
}

impl Split {
    pub(super) fn new(
        number: u32,
        reader: Box<dyn SplitReader>,
        columns: &SchemaRef,
        event_time: usize,
    ) -> Self {
        Self {
            number,
            reader,
            event_time,
            rows: RecordBatch::new_empty(Arc::clone(columns)),
            event_times: ScalarBuffer::from(Vec::new()),
            origins: Origins::default(),
            next: 0,
            rejects: VecDeque::new(),
        }
    }

    /// The event time of the next row, if one is at hand.
    pub(super) fn head(&self) -> Option<i64> {
        self.event_times.get(self.next).copied()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// Notes in `origins`, from row `at` of another batch on, where `length` rows from the next on came from.
    pub(super) fn describe(&self, length: usize, at: usize, origins: &mut Origins) {
        self.origins.copy(self.next, length, at, origins);
    }

    /// Goes `length` rows on; `sequence` is the number of the first of them. Hands over the
    /// records that stood behind each of them.
    pub(super) fn advance(
        &mut self,
        length: usize,
        sequence: u64,
        rejects: &mut Vec<SourceReject>,
    ) {
        let first = self.next;
        self.next += length;
        while let Some((before, _)) = self.rejects.front()
            && *before <= self.next
        {
            let (before, mut reject) = self.rejects.pop_front().expect("there is a front");
            reject.sequence = sequence + (before - first) as u64;
            rejects.push(reject);
        }
    }

    /// Decodes the next batch; `false` at the end of the file. Records that stand before its first
    /// row are handed over with `sequence`, the number of the row that comes next.
    pub(super) fn refill(
        &mut self,
        sequence: u64,
        rejects: &mut Vec<SourceReject>,
    ) -> Result<bool, ReplayError> {
        debug_assert!(self.head().is_none() && self.rejects.is_empty());
        let Some(decoded) = self.reader.next_batch()? else {
            return Ok(false);
        };
        self.take(decoded)?;
        self.advance(0, sequence, rejects);
        Ok(true)
    }

    /// Keeps the rows that have an event time, and notes the records that are not among them.
    fn take(&mut self, decoded: Decoded) -> Result<(), ReplayError> {
        let schema = decoded.rows.schema();
        let name = schema.field(self.event_time).name();
        let times = event_time::read(name, decoded.rows.column(self.event_time))?;
        let place = |position| Origin {
            split: self.number,
            position,
        };
        let malformed = decoded.rejects.into_iter().map(|malformed| {
            let reject = SourceReject {
                sequence: 0,
                origin: place(malformed.position),
                stage: Stage::Decode,
                code: malformed.code.into(),
                detail: malformed.reason,
                record: String::from_utf8_lossy(&malformed.record).into_owned(),
            };
            (malformed.before_row as usize, reject)
        });
        self.next = 0;
        self.origins = Origins::default();
        let Some(valid) = times.valid else {
            for run in decoded.lines.runs() {
                self.origins.push(run.at, place(run.position));
            }
            self.rejects = malformed.collect();
            (self.rows, self.event_times) = (decoded.rows, times.micros);
            return Ok(());
        };

        let mut malformed = malformed.peekable();
        let mut kept = 0;
        for row in 0..=decoded.rows.num_rows() {
            while let Some((_, reject)) = malformed.next_if(|(before, _)| *before <= row) {
                self.rejects.push_back((kept, reject));
            }
            if row == decoded.rows.num_rows() {
                break;
            }
            let position = decoded.lines.position(row as u32).unwrap_or_default();
            if valid.is_valid(row) {
                self.origins.push(kept as u32, place(position));
                kept += 1;
                continue;
            }
            let column = decoded.rows.column(self.event_time);
            let (code, detail) = event_time::why_invalid(name, column, row);
            let reject = SourceReject {
                sequence: 0,
                origin: place(position),
                stage: Stage::EventTime,
                code: code.into(),
                detail,
                record: record_text(&decoded.rows, row as u32),
            };
            self.rejects.push_back((kept, reject));
        }
        let valid = BooleanArray::new(valid.into_inner(), None);
        let times = filter(&Int64Array::new(times.micros, None), &valid)?;
        self.event_times = times.as_primitive::<Int64Type>().values().clone();
        self.rows = filter_record_batch(&decoded.rows, &valid)?;
        Ok(())
    }
}
