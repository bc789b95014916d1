//! The lane of a pipeline without windows: it hands on what the mapper made of the rows.
//!
//! Rows go to files in the order in which the source had them, and those that one row was mapped to
//! in the mapper's order: a row's mark is its sequence, and then its place among them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::commit::LaneCommits;
use super::lane::{FromLane, LaneBatch, LaneError, LaneReport, Outlet, Output, ToLane};
use super::plan::Plan;
use super::queue::Receiver;
use crate::sink::Mark;

/// A lane that hands rows on.
pub(super) struct Passing {
    plan: Arc<Plan>,
    emitted: SchemaRef,
    report: LaneReport,
    commits: LaneCommits,
    out: Outlet,
}

impl Passing {
    pub(super) fn new(plan: Arc<Plan>, mut commits: LaneCommits, out: Outlet) -> Self {
        let resume = &mut commits.resume;
        let report = match resume.goes_on() {
            false => LaneReport {
                watermark: i64::MIN,
                ..LaneReport::default()
            },
            true => std::mem::take(&mut resume.report),
        };
        out.telemetry
            .resume(&report.accounting, 0, report.watermark);
        Self {
            emitted: plan.emitted_schema(),
            plan,
            report,
            commits,
            out,
        }
    }

    /// Works until the source ends, or the lane is stopped.
    pub(super) async fn run(mut self, mut input: Receiver<ToLane>) -> Result<(), LaneError> {
        loop {
            self.out.telemetry.heartbeat.rest();
            let Some(message) = self.commits.unless_due(input.receive()).await else {
                self.commit().await?;
                continue;
            };
            match message {
                Some(ToLane::Batch(batch)) => {
                    let began = self.out.telemetry.batch_begins();
                    let watermark = self.report.watermark;
                    if let Some(mut batch) = self.commits.left(*batch, watermark) {
                        let (end, place) = (batch.sequences.end, batch.place.take());
                        self.batch(batch).await?;
                        self.commits.judged(end, place);
                    }
                    let (accounting, watermark) = (&self.report.accounting, self.report.watermark);
                    self.out
                        .telemetry
                        .batch_ends(began, accounting, 0, watermark);
                }
                Some(ToLane::End) => {
                    self.progress(u64::MAX).await?;
                    break;
                }
                Some(ToLane::Idle | ToLane::Switch(_) | ToLane::Beside(_)) => {}
                Some(ToLane::Stop) => {
                    if self.commits.has_some() {
                        self.commit().await?;
                    }
                    break;
                }
                None => return Err(LaneError::Closed),
            }
        }
        let report = Box::new(self.report);
        self.out.send(FromLane::Done(report), 0).await?;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), LaneError> {
        let commit = self.commits.take(None, self.report.clone());
        let message = FromLane::Commit(Box::new(commit));
        Ok(self.out.send(message, 0).await?)
    }

    async fn batch(&mut self, mut batch: LaneBatch) -> Result<(), LaneError> {
        if let Some(unreached) = batch.unreached.take() {
            self.report.accounting += &unreached.accounting;
            self.out.send_refused(unreached.refused).await?;
        }
        self.report.accounting.applied += batch.rows.num_rows() as u64;
        self.report.watermark = self.report.watermark.max(batch.watermark);
        if batch.rows.num_rows() > 0 {
            let rows = self.emitted(&batch)?;
            let bytes = rows.get_array_memory_size();
            let message = FromLane::Emitted(Output {
                length: 0,
                marks: marks(&batch),
                rows,
                failed: None,
            });
            self.out.send(message, bytes).await?;
        }
        self.progress(batch.sequences.end).await
    }

    /// The key, the event time, and what the mapper gave beside them.
    fn emitted(&self, batch: &LaneBatch) -> Result<RecordBatch, ArrowError> {
        let column = |at: &usize| Arc::clone(batch.rows.column(*at));
        let mut columns: Vec<ArrayRef> = self.plan.key.iter().map(column).collect();
        let event_times = TimestampMicrosecondArray::new(batch.event_times.clone(), None);
        columns.push(Arc::new(event_times.with_timezone("UTC")));
        columns.extend(self.plan.input.iter().map(column));
        RecordBatch::try_new(Arc::clone(&self.emitted), columns)
    }

    /// Everything before `sequence` is emitted.
    async fn progress(&self, sequence: u64) -> Result<(), LaneError> {
        let progress = FromLane::Progress {
            closed_up_to: i64::try_from(sequence)
                .unwrap_or(i64::MAX)
                .saturating_sub(1),
            sequence,
            watermark: self.report.watermark,
        };
        Ok(self.out.send(progress, 0).await?)
    }
}

fn marks(batch: &LaneBatch) -> Vec<Mark> {
    let rows = 0..batch.rows.num_rows();
    let mark = |row| Mark {
        at: (batch.sequences.start + u64::from(batch.source_row(row))) as i64,
        sequence: u64::from(batch.part(row)),
    };
    rows.map(mark).collect()
}
