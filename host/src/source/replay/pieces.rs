//! The batch in the making: stretches of rows of several splits.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::ReplayError;
use crate::source::Origins;
use crate::window::Watermark;

/// What a batch will be made of.
#[derive(Default)]
pub(super) struct Pieces {
    /// The decoded batches that take part.
    sources: Vec<RecordBatch>,
    /// For each split with a row in the batch, its source.
    source_of_split: HashMap<usize, usize>,
    pieces: Vec<Piece>,
    pub(super) origins: Origins,
    pub(super) rows: usize,
    /// About what they take in memory.
    pub(super) bytes: usize,
}

/// Neighbouring rows of one split.
pub(super) struct Piece {
    pub(super) source: usize,
    pub(super) first: usize,
    pub(super) event_times: ScalarBuffer<i64>,
    /// The split's progress before the first of the rows.
    pub(super) progress: i64,
    /// The least progress of the other live splits, which stays the same over all of the rows.
    pub(super) others: i64,
}

impl Pieces {
    /// The number of a split's decoded batch among those that take part.
    pub(super) fn source(&mut self, split: usize, rows: &RecordBatch) -> usize {
        *self.source_of_split.entry(split).or_insert_with(|| {
            self.sources.push(rows.clone());
            self.sources.len() - 1
        })
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.rows += piece.event_times.len();
        self.pieces.push(piece);
    }

    /// The split's next rows are of another decoded batch.
    pub(super) fn forget(&mut self, split: usize) {
        self.source_of_split.remove(&split);
    }

    /// The watermark at each row; none if every row is at or after the last of them.
    pub(super) fn watermarks_of_late(
        &self,
        watermark: &Watermark,
        last: i64,
    ) -> Option<ScalarBuffer<i64>> {
        let times = self
            .pieces
            .iter()
            .flat_map(|piece| piece.event_times.iter());
        let is_behind = times.copied().fold(i64::MAX, i64::min) < last;
        is_behind.then(|| self.watermarks(watermark))
    }

    /// The watermark at each row.
    pub(super) fn watermarks(&self, watermark: &Watermark) -> ScalarBuffer<i64> {
        let mut watermarks = Vec::with_capacity(self.rows);
        for piece in &self.pieces {
            let mut progress = piece.progress;
            watermarks.extend(piece.event_times.iter().map(|time| {
                progress = progress.max(*time);
                watermark.of(progress.min(piece.others))
            }));
        }
        watermarks.into()
    }

    pub(super) fn event_times(&self) -> ScalarBuffer<i64> {
        match self.pieces.as_slice() {
            [only] => only.event_times.clone(),
            many => {
                let times = many.iter().flat_map(|piece| piece.event_times.iter());
                times.copied().collect()
            }
        }
    }

    pub(super) fn join(&self, columns: &SchemaRef) -> Result<RecordBatch, ReplayError> {
        match self.pieces.as_slice() {
            [] => Ok(RecordBatch::new_empty(Arc::clone(columns))),
            [only] => Ok(self.sources[only.source].slice(only.first, only.event_times.len())),
            many => {
                let indices: Vec<(usize, usize)> = many
                    .iter()
                    .flat_map(|piece| {
                        let rows = piece.first..piece.first + piece.event_times.len();
                        rows.map(|row| (piece.source, row))
                    })
                    .collect();
                let sources: Vec<&RecordBatch> = self.sources.iter().collect();
                Ok(interleave_record_batch(&sources, &indices)?)
            }
        }
    }
}
