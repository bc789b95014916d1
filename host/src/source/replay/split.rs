//! One file of a replay on its way through the merge: the rows at hand, and what did not become rows.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;

use crate::source::prepared::Prepared;
use crate::source::{Origins, SourceReject};

/// A split in the merge.
pub(super) struct Split {
    /// The rows at hand; all have a valid event time.
    pub(super) rows: RecordBatch,
    pub(super) event_times: ScalarBuffer<i64>,
    origins: Origins,
    /// The next row.
    pub(super) next: usize,
    /// What did not become rows, with the row of `rows` that it stood before.
    rejects: VecDeque<(usize, SourceReject)>,
    /// How far its file was read for the rows at hand.
    bytes_read: u64,
    /// About what each of them takes in memory.
    pub(super) row_bytes: usize,
}

impl Split {
    pub(super) fn new(columns: &SchemaRef) -> Self {
        Self {
            rows: RecordBatch::new_empty(SchemaRef::clone(columns)),
            event_times: ScalarBuffer::from(Vec::new()),
            origins: Origins::default(),
            next: 0,
            rejects: VecDeque::new(),
            bytes_read: 0,
            row_bytes: 0,
        }
    }

    /// The event time of the next row, if one is at hand.
    pub(super) fn head(&self) -> Option<i64> {
        self.event_times.get(self.next).copied()
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

    /// Goes on with the next batch, and gives the bytes of the file that were read for it. Records
    /// that stand before its first row are handed over with `sequence`, the number of the row that
    /// comes next.
    pub(super) fn refill(
        &mut self,
        prepared: Prepared,
        sequence: u64,
        rejects: &mut Vec<SourceReject>,
    ) -> u64 {
        debug_assert!(self.head().is_none() && self.rejects.is_empty());
        self.next = 0;
        self.row_bytes = prepared.bytes() / prepared.event_times.len().max(1);
        self.origins = prepared.origins;
        self.rejects = prepared.rejects;
        self.event_times = prepared.event_times;
        if let Some(rows) = prepared.rows {
            self.rows = rows;
        }
        let read = prepared.bytes_read.saturating_sub(self.bytes_read);
        self.bytes_read = prepared.bytes_read;
        self.advance(0, sequence, rejects);
        read
    }
}
