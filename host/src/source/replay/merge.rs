//! The merge of several files into one order, and the watermark that goes with it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::split::Split;
use super::{ReplayError, ReplaySpec};
use crate::source::decode::{self, Format};
use crate::source::{Origins, ReadProgress, SourceBatch, SourceReject, SplitNames};
use crate::window::Watermark;

/// Rows of all splits together that are decoded ahead of the merge, at most; more splits get smaller batches each.
const ROWS_AHEAD: usize = 1 << 20;
/// A split's batches have this many rows at least, but never more than the pipeline asked for.
const LEAST_ROWS: usize = 1024;
/// Rejects that are kept waiting for a row to go with.
const MOST_REJECTS: usize = 4096;

/// Recorded files, read from their start to their end.
pub struct Replay {
    splits: Vec<Split>,
    /// Of each split with a row at hand: its next event time and its number, earliest first.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    /// Splits that have no row at hand and have not been read to their end.
    starved: Vec<usize>,
    watermark: Watermark,
    last_watermark: i64,
    next_sequence: u64,
    rejects: Vec<SourceReject>,
    spec: ReplaySpec,
    names: SplitNames,
    progress: Arc<ReadProgress>,
    batch: Pieces,
}

/// The batch in the making: stretches of rows of several splits.
#[derive(Default)]
struct Pieces {
    /// The decoded batches that take part.
    sources: Vec<RecordBatch>,
    /// For each split with a row in the batch, its source.
    source_of_split: HashMap<usize, usize>,
    pieces: Vec<Piece>,
    origins: Origins,
    rows: usize,
}

/// Neighbouring rows of one split.
struct Piece {
    source: usize,
    first: usize,
    event_times: ScalarBuffer<i64>,
    /// The split's progress before the first of the rows.
    progress: i64,
    /// The least progress of the other live splits, which stays the same over all of the rows.
    others: i64,
}

impl Replay {
    /// Opens all files. They are read when batches are asked for.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or has not the wanted columns.
    pub fn open(spec: ReplaySpec, progress: Arc<ReadProgress>) -> Result<Self, ReplayError> {
        let fair = (ROWS_AHEAD / spec.paths.len().max(1)).max(LEAST_ROWS);
        let rows = spec.batch_rows.min(fair);
        let mut splits = Vec::with_capacity(spec.paths.len());
        for (number, path) in spec.paths.iter().enumerate() {
            let reader = decode::open(path, spec.format, &spec.columns, rows)?;
            splits.push(Split::new(
                number as u32,
                reader,
                &spec.columns,
                spec.event_time,
            ));
        }
        Ok(Self {
            heads: BinaryHeap::new(),
            starved: (0..splits.len()).rev().collect(),
            watermark: Watermark::new(splits.len(), spec.disorder),
            last_watermark: i64::MIN,
            next_sequence: 0,
            rejects: Vec::new(),
            names: spec.split_names(),
            splits,
            spec,
            progress,
            batch: Pieces::default(),
        })
    }

    /// The next rows; `None` at the end of all files.
    ///
    /// # Errors
    ///
    /// A file cannot be read on, or a record was refused and the pipeline asked to stop at such.
    pub fn next_batch(&mut self) -> Result<Option<SourceBatch>, ReplayError> {
        let most = self.spec.batch_rows;
        loop {
            if !self.feed()? {
                return self.emit().map(Some);
            }
            let Some(Reverse((_, number))) = self.heads.pop() else {
                let nothing = self.batch.rows == 0 && self.rejects.is_empty();
                return if nothing {
                    Ok(None)
                } else {
                    self.emit().map(Some)
                };
            };
            self.take_from(number, most - self.batch.rows);
            // A batch that is half full at the end of a decoded one goes on as it is: filling it up
            // would cost a copy, and where batches are cut makes no difference to anybody.
            let starved = !self.starved.is_empty();
            if self.batch.rows == most || (starved && self.batch.rows * 2 >= most) {
                return self.emit().map(Some);
            }
        }
    }

    /// Gives every split a row at hand, or finds its end. `false` when rejects have piled up that
    /// must go first.
    fn feed(&mut self) -> Result<bool, ReplayError> {
        while let Some(number) = self.starved.last().copied() {
            let split = &mut self.splits[number];
            let read_before = split.bytes_read();
            let more = split.refill(self.next_sequence, &mut self.rejects)?;
            let read = split.bytes_read().saturating_sub(read_before);
            self.progress.bytes_read.fetch_add(read, Ordering::Relaxed);
            match (more, split.head()) {
                (_, Some(head)) => {
                    self.watermark.see(number, head);
                    self.heads.push(Reverse((head, number)));
                    self.starved.pop();
                }
                (true, None) => {}
                (false, None) => {
                    self.watermark.end(number);
                    self.starved.pop();
                }
            }
            self.check_rejects()?;
            if self.rejects.len() >= MOST_REJECTS {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes rows from a split as long as they come before every other split's next one.
    fn take_from(&mut self, number: usize, most: usize) {
        let split = &mut self.splits[number];
        let times = &split.event_times[split.next..];
        let times = &times[..times.len().min(most)];
        let length = match self.heads.peek() {
            None => times.len(),
            Some(Reverse(other)) => times
                .iter()
                .position(|time| (*time, number) > *other)
                .unwrap_or(times.len()),
        };
        let event_times = split.event_times.slice(split.next, length);
        split.describe(length, self.batch.rows, &mut self.batch.origins);
        let greatest = event_times.iter().copied().fold(i64::MIN, i64::max);
        let piece = Piece {
            source: self.batch.source(number, &split.rows),
            first: split.next,
            event_times,
            progress: self.watermark.greatest(number),
            others: self.watermark.others(number),
        };
        self.watermark.see(number, greatest);
        self.last_watermark = (self.watermark)
            .of(piece.others.min(self.watermark.greatest(number)))
            .max(self.last_watermark);
        self.batch.pieces.push(piece);
        self.batch.rows += length;
        split.advance(length, self.next_sequence, &mut self.rejects);
        self.next_sequence += length as u64;
        match split.head() {
            Some(head) => {
                self.watermark.see(number, head);
                self.heads.push(Reverse((head, number)));
            }
            None => {
                self.batch.source_of_split.remove(&number);
                self.starved.push(number);
            }
        }
    }

    fn check_rejects(&self) -> Result<(), ReplayError> {
        match self.rejects.first() {
            Some(reject) if self.spec.stop_on_reject => Err(ReplayError::Reject {
                file: self.names[reject.origin.split as usize].clone(),
                place: place_name(self.spec.format),
                position: reject.origin.position,
                code: reject.code.clone(),
                detail: reject.detail.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn emit(&mut self) -> Result<SourceBatch, ReplayError> {
        self.check_rejects()?;
        let rejects = std::mem::take(&mut self.rejects);
        let pieces = std::mem::take(&mut self.batch);
        let records = (pieces.rows + rejects.len()) as u64;
        self.progress.records.fetch_add(records, Ordering::Relaxed);
        Ok(SourceBatch {
            watermarks: pieces.watermarks(
                &self.watermark,
                self.last_watermark,
                self.spec.all_watermarks,
            ),
            event_times: pieces.event_times(),
            rows: pieces.join(&self.spec.columns)?,
            first_sequence: self.next_sequence - pieces.rows as u64,
            origins: pieces.origins,
            watermark: self.last_watermark,
            rejects,
        })
    }
}

/// What a position in a file of this format is called.
pub(crate) fn place_name(format: Format) -> &'static str {
    match format {
        Format::Ndjson => "line",
        Format::Parquet => "row",
    }
}

impl Pieces {
    fn source(&mut self, split: usize, rows: &RecordBatch) -> usize {
        *self.source_of_split.entry(split).or_insert_with(|| {
            self.sources.push(rows.clone());
            self.sources.len() - 1
        })
    }

    /// The watermark at each row; none if every row is at or after the last of them, unless they are
    /// wanted anyway.
    fn watermarks(
        &self,
        watermark: &Watermark,
        last: i64,
        wanted: bool,
    ) -> Option<ScalarBuffer<i64>> {
        let times = self
            .pieces
            .iter()
            .flat_map(|piece| piece.event_times.iter());
        if !wanted && times.copied().fold(i64::MAX, i64::min) >= last {
            return None;
        }
        let mut watermarks = Vec::with_capacity(self.rows);
        for piece in &self.pieces {
            let mut progress = piece.progress;
            watermarks.extend(piece.event_times.iter().map(|time| {
                progress = progress.max(*time);
                watermark.of(progress.min(piece.others))
            }));
        }
        Some(watermarks.into())
    }

    fn event_times(&self) -> ScalarBuffer<i64> {
        match self.pieces.as_slice() {
            [only] => only.event_times.clone(),
            many => {
                let times = many.iter().flat_map(|piece| piece.event_times.iter());
                times.copied().collect()
            }
        }
    }

    fn join(&self, columns: &SchemaRef) -> Result<RecordBatch, ReplayError> {
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
