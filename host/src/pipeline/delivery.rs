//! Delivery: the thread that takes what lanes emit, validates it, and hands it to the sinks.
//!
//! A value that breaks its feature's validation is removed: it is null in the file, and in the
//! store it takes the place of any older value. The store is written to as emissions come; files
//! are complete only at the end of a run that succeeded, and until then keep another name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::accounting::Accounting;
use super::commit::{CommitError, Commits};
use super::features::Features;
use super::invalid::InvalidValues;
use super::lane::{FromLane, Output, Refused};
use super::queue::Receiver;
use super::telemetry::{DeliveryTelemetry, LaneTelemetry};
use crate::clock::Clock;
use crate::sink::{FileSink, FileSummary, Position, Record, Reject, RejectSink, SinkError};
use crate::source::SplitNames;
use crate::source::decode::Format;
use crate::stage::Stage;
use crate::store::offline::OfflineWriter;
use crate::store::offline::rows::rows as rows_of;
use crate::store::{FeatureStore, StoreError};
use crate::transform::Figures;

/// What the parts of a pipeline send to its delivery.
#[derive(Debug)]
pub(super) enum ToDelivery {
    /// Rows that never reached a lane, by rising sequence; everything before `sequence` was read.
    Reader {
        refused: Vec<Refused>,
        sequence: u64,
    },
    /// From the lane of this number.
    Lane(usize, FromLane),
}

/// Where a pipeline's output goes.
pub(super) struct Sinks {
    pub(super) features: Option<FileSink>,
    pub(super) invalid: InvalidValues,
    pub(super) rejects: RejectSink,
    pub(super) late: RejectSink,
    pub(super) store: Option<Arc<dyn FeatureStore>>,
    /// Whether that is elsewhere than what lanes keep, so that a commit does not cover it by itself.
    pub(super) is_apart: bool,
    pub(super) history: Option<History>,
}

/// Where the history of features goes.
pub(super) struct History {
    pub(super) writer: OfflineWriter,
    /// What rows are dated by.
    pub(super) clock: Arc<dyn Clock>,
}

/// Why delivery ended early.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A file cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Arrow cannot hold the columns.
    #[error("cannot deliver features: {0}")]
    Arrow(#[from] ArrowError),
    /// A part of the pipeline ended early, and says why itself.
    #[error("a part of the pipeline ended early")]
    Incomplete,
}

/// What a run delivered.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivered {
    pub(super) accounting: Accounting,
    pub(super) figures: Figures,
    pub(super) windows: u64,
    pub(super) rows: u64,
    pub(super) values: u64,
    pub(super) invalid: u64,
    pub(super) watermark: Option<i64>,
    pub(super) files: Vec<FileSummary>,
}

/// How far delivery has come, for a person who waits.
#[derive(Debug)]
pub struct Deliveries {
    /// Feature values written.
    pub values: AtomicU64,
    /// The least watermark of the lanes, in microseconds; `i64::MIN` before there is one.
    pub watermark: AtomicI64,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            values: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
        }
    }
}

/// Delivery at work.
pub(super) struct Delivery {
    pub(super) features: Features,
    pub(super) sinks: Sinks,
    pub(super) splits: SplitNames,
    pub(super) format: Format,
    pub(super) io: tokio::runtime::Handle,
    pub(super) lanes: usize,
    pub(super) epoch: u64,
    pub(super) progress: Arc<Deliveries>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) next_sequence: Vec<u64>,
    pub(super) watermarks: Vec<i64>,
    /// None if nothing is kept.
    pub(super) commits: Option<Commits>,
    pub(super) done: Delivered,
    pub(super) telemetry: Arc<DeliveryTelemetry>,
    /// Of each lane.
    pub(super) lane_telemetry: Vec<Arc<LaneTelemetry>>,
}

impl Delivery {
    /// Works until every part of the pipeline is done.
    pub(super) fn run(self, input: Receiver<ToDelivery>) -> Result<Delivered, DeliveryError> {
        let telemetry = Arc::clone(&self.telemetry);
        let delivered = self.work(input);
        telemetry.heartbeat.end();
        delivered
    }

    fn work(mut self, mut input: Receiver<ToDelivery>) -> Result<Delivered, DeliveryError> {
        let delivered = self.replay().and_then(|()| self.deliver(&mut input));
        // Also after a failure: what was written must be durable.
        let flushed = match &self.sinks.store {
            Some(store) => self.io.block_on(store.flush()),
            None => Ok(()),
        };
        let remembered = match &mut self.sinks.history {
            Some(history) => self.io.block_on(history.writer.flush()),
            None => Ok(()),
        };
        delivered?;
        flushed?;
        remembered?;
        // From here on files of earlier runs are replaced.
        self.go_on()?;
        self.finish()
    }

    /// Delivers what an interrupted run had delivered: its files were never complete. To the store
    /// it changes nothing, unless another run has written there since.
    fn replay(&mut self) -> Result<(), DeliveryError> {
        let Some(mut replaying) = self.commits.as_ref().map(Commits::replaying) else {
            return Ok(());
        };
        while let Some((lane, message)) = replaying.next()? {
            self.go_on()?;
            self.take(lane, message)?;
        }
        Ok(())
    }

    /// Refuses to go on after a stop.
    fn go_on(&self) -> Result<(), DeliveryError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(DeliveryError::Incomplete),
            false => Ok(()),
        }
    }

    fn deliver(&mut self, input: &mut Receiver<ToDelivery>) -> Result<(), DeliveryError> {
        let mut working = self.lanes;
        while working > 0 {
            self.go_on()?;
            self.telemetry.heartbeat.rest();
            let message = input.receive_blocking().ok_or(DeliveryError::Incomplete)?;
            self.telemetry.heartbeat.work();
            match message {
                ToDelivery::Reader { refused, sequence } => {
                    self.refuse(0, &refused)?;
                    if let Some(last) = sequence.checked_sub(1) {
                        self.sinks.rejects.advance(0, last)?;
                        self.sinks.late.advance(0, last)?;
                    }
                }
                ToDelivery::Lane(lane, message) => {
                    working -= usize::from(matches!(message, FromLane::Done(_)));
                    if let Some(commits) = &mut self.commits {
                        commits.log(lane, &message)?;
                    }
                    self.take(lane, message)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a message of a lane.
    fn take(&mut self, lane: usize, message: FromLane) -> Result<(), DeliveryError> {
        match message {
            FromLane::Emitted(output) => self.emitted(lane, output)?,
            // Only live pipelines have two stages, or several generations.
            FromLane::Relayed(_) | FromLane::Switched(_) | FromLane::SetAside(_) => {}
            FromLane::Refused(refused) => self.refuse(1 + lane, &refused)?,
            FromLane::Progress {
                closed_up_to,
                sequence,
                watermark,
            } => {
                self.progressed(lane, closed_up_to, sequence)?;
                self.show(lane, watermark);
            }
            FromLane::Commit(commit) => {
                if let Some(commits) = &mut self.commits {
                    // Durability is up to a disk or a service.
                    self.telemetry.heartbeat.wait();
                    let begun = self.telemetry.heartbeat.now();
                    if self.sinks.is_apart
                        && let Some(store) = &self.sinks.store
                    {
                        // What is committed is not computed again: by then it must be acknowledged.
                        let pipeline = self.features.pipeline();
                        self.io.block_on(store.flush_lane(pipeline, lane as u32))?;
                    }
                    commits.commit(lane, &commit)?;
                    self.lane_telemetry[lane].committed(begun);
                    self.telemetry.heartbeat.work();
                }
            }
            FromLane::Done(report) => {
                self.done.accounting += &report.accounting;
                self.done.figures += &report.figures;
                self.done.windows += report.windows;
                let least = self.done.watermark.get_or_insert(i64::MAX);
                *least = (*least).min(report.watermark);
            }
        }
        Ok(())
    }

    fn progressed(
        &mut self,
        lane: usize,
        closed_up_to: i64,
        sequence: u64,
    ) -> Result<(), SinkError> {
        if let Some(last) = sequence.checked_sub(1) {
            self.sinks.rejects.advance(1 + lane, last)?;
            self.sinks.late.advance(1 + lane, last)?;
        }
        self.sinks.invalid.closed_up_to(lane, closed_up_to)?;
        if let Some(file) = &mut self.sinks.features {
            file.closed_up_to(lane, closed_up_to)?;
        }
        Ok(())
    }

    /// Shows how far the lanes have come.
    fn show(&mut self, lane: usize, watermark: i64) {
        self.watermarks[lane] = watermark;
        let least = self.watermarks.iter().copied().min().unwrap_or(i64::MIN);
        self.progress.watermark.store(least, Ordering::Relaxed);
    }

    fn refuse(&mut self, producer: usize, refused: &[Refused]) -> Result<(), SinkError> {
        for refused in refused {
            let reject = Reject {
                sequence: refused.sequence,
                part: refused.part,
                stage: refused.stage,
                code: refused.code.clone(),
                detail: refused.detail.clone(),
                file: Some(self.splits[refused.origin.split as usize].clone()),
                position: Some(match self.format.is_text() {
                    true => Position::Line(refused.origin.position),
                    false => Position::Row(refused.origin.position),
                }),
                generation: None,
                record: match refused.stage {
                    Stage::Decode => Record::Text(refused.record.clone()),
                    _ => Record::Json(refused.record.clone()),
                },
            };
            match refused.stage {
                Stage::Late => self.sinks.late.write(producer, &reject)?,
                _ => self.sinks.rejects.write(producer, &reject)?,
            }
        }
        Ok(())
    }

    fn emitted(&mut self, lane: usize, output: Output) -> Result<(), DeliveryError> {
        let (rows, failures) = self.features.validated(&output)?;
        let features = self.features.all();
        let removed = (self.sinks.invalid).write(lane, &output, features, &failures)?;
        self.done.invalid += removed;
        let length = output.length;
        let marks = output.marks.iter().enumerate();
        let marks = marks.filter(|(row, _)| !output.is_failed(*row));
        let marks = marks.map(|(_, mark)| *mark).collect();
        self.done.rows += rows.num_rows() as u64;
        if let Some(file) = &mut self.sinks.features {
            file.write(lane, &rows, length, marks)?;
        }
        let first_sequence = self.next_sequence[lane];
        self.next_sequence[lane] += rows.num_rows() as u64;
        if let Some(store) = &self.sinks.store {
            // What a row withdraws it takes the place of in the store, too: it has no values.
            let features = &self.features;
            self.telemetry.heartbeat.wait();
            features.items(&rows, length, self.epoch, first_sequence, |items| {
                self.io.block_on(store.write(lane as u32, items))
            })?;
            self.telemetry.heartbeat.work();
        }
        self.remember(lane, &rows, length, first_sequence)?;
        let values = self.features.values(&rows, length);
        self.done.values += values;
        self.progress.values.fetch_add(values, Ordering::Relaxed);
        self.lane_telemetry[lane].delivered(rows.num_rows() as u64, values, removed);
        Ok(())
    }

    /// Puts rows into the history of features, if there is one.
    fn remember(
        &mut self,
        lane: usize,
        rows: &RecordBatch,
        length: usize,
        first_sequence: u64,
    ) -> Result<(), StoreError> {
        let Some(History { writer, clock }) = &mut self.sinks.history else {
            return Ok(());
        };
        let (features, io, epoch) = (&self.features, &self.io, self.epoch);
        let written = clock.unix();
        self.telemetry.heartbeat.wait();
        features.batches(rows, length, epoch, first_sequence, |batch| {
            let rows = rows_of(batch, features.key_names(), lane as u32, written)?;
            let of = [batch.pipeline, batch.window];
            io.block_on(writer.add(batch.group, of, &rows))
        })?;
        self.telemetry.heartbeat.work();
        Ok(())
    }

    fn finish(mut self) -> Result<Delivered, DeliveryError> {
        if self.done.invalid > 0 {
            let values = self.done.invalid;
            tracing::warn!(
                values,
                "feature values broke their validation and were removed, or the transform failed on their windows"
            );
        }
        // All are whole before the first comes into its place: a run leaves all of its files or none.
        let features = self.sinks.features.map(FileSink::complete).transpose()?;
        let others = [
            self.sinks.invalid.complete()?,
            self.sinks.rejects.complete()?,
            self.sinks.late.complete()?,
        ];
        for whole in features.into_iter().chain(others) {
            self.done.files.extend(whole.place()?);
        }
        if let Some(commits) = &mut self.commits {
            commits.clear()?;
        }
        Ok(self.done)
    }
}
