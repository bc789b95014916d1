//! The merge of several files into one order, and the watermark that goes with it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ahead::Ahead;
use super::opening::open_all;
use super::pace::Pacer;
use super::pieces::{Piece, Pieces};
use super::split::Split;
use super::{ReplayError, ReplaySpec, ReplaySummary, WatermarkSplit};
use crate::source::decode::Format;
use crate::source::{ReadProgress, SourceBatch, SourceReject, SplitNames};
use crate::stage::Stage;
use crate::window::Watermark;

/// Bytes of a batch, more or less: rows may be long.
const BATCH_BYTES: usize = 64 << 20;
/// Rejects that are kept waiting for a row to go with.
const MOST_REJECTS: usize = 4096;

/// Recorded files, read from their start to their end.
pub struct Replay {
    splits: Vec<Split>,
    /// What is decoded ahead of them.
    ahead: Ahead,
    /// Of each split with a row at hand: its next event time and its number, earliest first.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    /// Splits that have no row at hand and have not been read to their end.
    starved: Vec<usize>,
    watermark: Watermark,
    last_watermark: i64,
    /// The split that the last watermark follows from, and its progress then.
    holder: Option<(usize, i64)>,
    next_sequence: u64,
    rejects: Vec<SourceReject>,
    skipped: u64,
    spec: ReplaySpec,
    names: SplitNames,
    progress: Arc<ReadProgress>,
    batch: Pieces,
    pacer: Option<Pacer>,
    stop: Arc<AtomicBool>,
}

impl Replay {
    /// Opens all files, and begins to decode them.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or has not the wanted columns; or there is no thread to be had.
    pub fn open(spec: ReplaySpec, progress: Arc<ReadProgress>) -> Result<Self, ReplayError> {
        Self::open_until(spec, progress, &Arc::default())
    }

    /// As [`Replay::open`], but whoever waits in it, here or for a batch, hears `stop` within a
    /// moment. What then hangs in a read is left behind, and ends when the read does.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Stopped`] as well.
    pub fn open_until(
        spec: ReplaySpec,
        progress: Arc<ReadProgress>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, ReplayError> {
        let readers = open_all(&spec, stop)?;
        let names = spec.split_names();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(readers.len()).max(1);
        let preparation = spec.preparation();
        let splits: Vec<Split> = readers.iter().map(|_| Split::new(&spec.columns)).collect();
        let pace = spec.pace.clone();
        Ok(Self {
            heads: BinaryHeap::new(),
            starved: (0..splits.len()).rev().collect(),
            watermark: Watermark::new(splits.len(), spec.disorder),
            last_watermark: i64::MIN,
            holder: None,
            next_sequence: 0,
            rejects: Vec::new(),
            skipped: 0,
            ahead: Ahead::start(readers, preparation, Arc::clone(&names), threads, stop)?,
            names,
            splits,
            spec,
            progress,
            batch: Pieces::default(),
            pacer: pace.map(|pace| Pacer::new(pace, Arc::clone(stop))),
            stop: Arc::clone(stop),
        })
    }

    /// The next rows; `None` at the end of all files. A stop ends the wait for the clock with a
    /// batch that may be empty, and any other wait with an error.
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
            let Some(Reverse((event_time, number))) = self.heads.peek().copied() else {
                let nothing = self.batch.rows == 0 && self.rejects.is_empty();
                return if nothing {
                    Ok(None)
                } else {
                    self.emit().map(Some)
                };
            };
            let horizon = match &mut self.pacer {
                Some(pacer) => pacer.horizon(event_time),
                None => i64::MAX,
            };
            if let Some(pacer) = &self.pacer
                && event_time > horizon
            {
                // What is due goes before anything is waited for.
                let waiting = self.batch.rows == 0 && self.rejects.is_empty();
                if !waiting || !pacer.wait(event_time) {
                    return self.emit().map(Some);
                }
                continue;
            }
            self.heads.pop();
            self.take_from(number, most - self.batch.rows, horizon);
            // A batch that is half full at the end of a decoded one goes on as it is: filling it up
            // would cost a copy, and where batches are cut makes no difference to anybody.
            let starved = !self.starved.is_empty();
            let is_large = self.batch.bytes >= BATCH_BYTES;
            if self.batch.rows == most || is_large || (starved && self.batch.rows * 2 >= most) {
                return self.emit().map(Some);
            }
        }
    }

    /// What there is to say so far; whole after the last batch.
    pub fn summary(&self) -> ReplaySummary {
        let several = self.splits.len() > 1;
        let holder = self.holder.filter(|_| several);
        let watermark_split = holder.map(|(split, progress)| WatermarkSplit {
            name: self.names[split].clone(),
            behind: self.watermark.furthest().saturating_sub(progress),
        });
        ReplaySummary {
            skipped: self.skipped,
            watermark_split,
        }
    }

    /// Gives every split a row at hand, or finds its end. `false` when rejects have piled up that
    /// must go first.
    fn feed(&mut self) -> Result<bool, ReplayError> {
        while let Some(number) = self.starved.last().copied() {
            // All of a long recording may be outside of the wanted time, and give no batch.
            if self.stop.load(Ordering::Relaxed) {
                return Err(ReplayError::Stopped);
            }
            let more = match self.ahead.next(number)? {
                Some(prepared) => {
                    self.skipped += prepared.skipped;
                    let split = &mut self.splits[number];
                    let read = split.refill(prepared, self.next_sequence, &mut self.rejects);
                    self.progress.bytes_read.fetch_add(read, Ordering::Relaxed);
                    true
                }
                None => false,
            };
            match (more, self.splits[number].head()) {
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

    /// Takes rows from a split as long as they come before every other split's next one, and are not
    /// after `horizon`. The split's next row is not.
    fn take_from(&mut self, number: usize, most: usize, horizon: i64) {
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
        let times = &times[..length];
        let length = match horizon {
            i64::MAX => length,
            _ => (times.iter().position(|time| *time > horizon)).unwrap_or(length),
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
        if let Some((holder, progress)) = self.watermark.least() {
            let watermark = self.watermark.of(progress);
            if watermark >= self.last_watermark {
                (self.last_watermark, self.holder) = (watermark, Some((holder, progress)));
            }
        }
        self.batch.push(piece);
        self.batch.bytes =
            (self.batch.bytes).saturating_add(split.row_bytes.saturating_mul(length));
        split.advance(length, self.next_sequence, &mut self.rejects);
        self.next_sequence += length as u64;
        match split.head() {
            Some(head) => {
                self.watermark.see(number, head);
                self.heads.push(Reverse((head, number)));
            }
            None => {
                self.batch.forget(number);
                self.starved.push(number);
            }
        }
    }

    /// A row of the future is set aside whatever the pipeline says of malformed records.
    fn check_rejects(&self) -> Result<(), ReplayError> {
        if !self.spec.stop_on_reject {
            return Ok(());
        }
        let mut rejects = self.rejects.iter();
        match rejects.find(|reject| reject.stage != Stage::Quarantine) {
            Some(reject) => Err(ReplayError::Reject {
                file: self.names[reject.origin.split as usize].clone(),
                place: place_name(self.spec.format),
                position: reject.origin.position,
                code: reject.code.clone(),
                detail: reject.detail.clone(),
            }),
            None => Ok(()),
        }
    }

    fn emit(&mut self) -> Result<SourceBatch, ReplayError> {
        self.check_rejects()?;
        let rejects = std::mem::take(&mut self.rejects);
        let pieces = std::mem::take(&mut self.batch);
        let records = (pieces.rows + rejects.len()) as u64;
        self.progress.records.fetch_add(records, Ordering::Relaxed);
        Ok(SourceBatch {
            watermarks: match self.spec.every_watermark {
                true => Some(pieces.watermarks(&self.watermark)),
                false => pieces.watermarks_of_late(&self.watermark, self.last_watermark),
            },
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
    format.position_name()
}
