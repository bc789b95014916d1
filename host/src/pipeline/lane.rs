//! A lane: the unit of order, state and failure. It is one task and owns all it works on.
//!
//! For each batch it judges row by row which rows are late, finds the group of every other row,
//! has the transform add the rows to the groups' states, and closes the windows that the watermark
//! has passed. What comes out depends on the order of the rows alone, never on where the batches
//! were cut: a row is late or not by the watermark at that very row, and a window that is still
//! open at a row gets that row, even if it closes inside the same batch.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter, filter_record_batch, take, take_record_batch};
use arrow::error::ArrowError;

use super::accounting::Accounting;
use super::delivery::ToDelivery;
use super::plan::Plan;
use super::queue::{Closed, Receiver, Sender};
use crate::source::{Origin, Origins, record_lines};
use crate::stage::Stage;
use crate::text::instant;
use crate::transform::{CallError, Figures, Finished, Groups, Reject, Rows, Windowed, bytes_of};
use crate::window::{ClosedPane, Pane, WindowState};

/// What a reader sends to a lane.
#[derive(Debug)]
pub(super) enum ToLane {
    /// Rows, and the progress after them.
    Batch(LaneBatch),
    /// The source was read to its end: all windows close.
    End,
}

/// The rows of a source's batch that belong to one lane, and how far the source has come.
#[derive(Debug)]
pub(super) struct LaneBatch {
    /// The rows, in the source's order.
    pub(super) rows: RecordBatch,
    /// Their event times.
    pub(super) event_times: ScalarBuffer<i64>,
    /// The watermark at each of them; none where no row is behind it.
    pub(super) watermarks: Option<ScalarBuffer<i64>>,
    /// Which rows of those that were divided they are; none for all.
    pub(super) picked: Option<Vec<u32>>,
    /// Which row of the source's batch each row that was divided came from; none if they are the
    /// source's own.
    pub(super) source_row: Option<Arc<[u32]>>,
    /// The sequence of the source's batch's first row, and the one after the last that was divided.
    pub(super) sequences: Range<u64>,
    /// Where the source's batch's rows came from.
    pub(super) origins: Arc<Origins>,
    /// The watermark after the last of the rows that were divided.
    pub(super) watermark: i64,
}

impl LaneBatch {
    /// Which of the rows that were divided row `row` is.
    fn part(&self, row: usize) -> u32 {
        self.picked
            .as_ref()
            .map_or(row as u32, |picked| picked[row])
    }

    /// Which row of the source's batch row `row` came from.
    fn source_row(&self, row: usize) -> u32 {
        let part = self.part(row);
        self.source_row
            .as_ref()
            .map_or(part, |source_row| source_row[part as usize])
    }
}

/// What a lane sends on.
#[derive(Debug)]
pub(super) enum FromLane {
    /// Output of closed windows, ordered by window and key.
    Emitted(RecordBatch),
    /// Rows that were refused or late, by rising sequence.
    Refused(Vec<Refused>),
    /// Everything before this event time is emitted, everything before this sequence was judged.
    Progress { closed_up_to: i64, sequence: u64 },
    /// The lane is done.
    Done(Box<LaneReport>),
}

/// A row that was refused or late.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) sequence: u64,
    /// Orders what was made of one row of the source; zero for what never reached a lane.
    pub(super) part: u32,
    pub(super) origin: Origin,
    pub(super) stage: Stage,
    pub(super) code: String,
    pub(super) detail: String,
    /// The row's columns as a JSON object.
    pub(super) record: String,
}

impl Refused {
    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        128 + self.code.len() + self.detail.len() + self.record.len()
    }
}

/// What a lane has to say at its end.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneReport {
    pub(super) accounting: Accounting,
    pub(super) windows: u64,
    /// The watermark at the end of the source, before everything closed.
    pub(super) watermark: i64,
    pub(super) figures: Figures,
}

/// Why a lane cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The transform failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Arrow cannot hold what the lane asks of it.
    #[error("cannot put columns together: {0}; a smaller `run.batch_rows` may help")]
    Arrow(#[from] ArrowError),
    /// The keys cannot be told apart.
    #[error("cannot encode the key: {0}")]
    Key(String),
    /// Another part of the pipeline has ended, and says why itself.
    #[error("another part of the pipeline has ended")]
    Closed,
}

impl From<Closed> for LaneError {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// A lane at work.
pub(super) struct Lane {
    plan: Arc<Plan>,
    transform: Box<dyn Windowed>,
    state: WindowState,
    watermark: i64,
    /// Rows of the next call: halved when a call would be too large, then doubled again.
    call_rows: usize,
    report: LaneReport,
    out: Outlet,
}

/// A lane's way to delivery.
struct Outlet {
    lane: usize,
    delivery: Sender<ToDelivery>,
}

impl Outlet {
    async fn send(&self, message: FromLane, bytes: usize) -> Result<(), Closed> {
        self.delivery
            .send(ToDelivery::Lane(self.lane, message), bytes)
            .await
    }
}

impl Lane {
    pub(super) fn new(
        number: usize,
        plan: Arc<Plan>,
        transform: Box<dyn Windowed>,
        delivery: Sender<ToDelivery>,
    ) -> Result<Self, LaneError> {
        let state = WindowState::new(plan.panes, &plan.key_schema, &plan.spec.initial)
            .map_err(LaneError::Key)?;
        Ok(Self {
            out: Outlet {
                lane: number,
                delivery,
            },
            plan,
            transform,
            state,
            watermark: i64::MIN,
            call_rows: usize::MAX,
            report: LaneReport::default(),
        })
    }

    /// Works until the source ends.
    pub(super) async fn run(mut self, mut input: Receiver<ToLane>) -> Result<(), LaneError> {
        loop {
            match input.receive().await {
                Some(ToLane::Batch(batch)) => self.batch(batch).await?,
                Some(ToLane::End) => break,
                // Without an end the reader has failed, and what is open must stay open.
                None => return Err(LaneError::Closed),
            }
        }
        self.report.watermark = self.watermark;
        self.close(i64::MAX, u64::MAX).await?;
        self.report.figures = self.transform.figures();
        let report = Box::new(std::mem::take(&mut self.report));
        self.out.send(FromLane::Done(report), 0).await?;
        Ok(())
    }

    async fn batch(&mut self, batch: LaneBatch) -> Result<(), LaneError> {
        let mut refused = Vec::new();
        let on_time = self.judge(&batch, &mut refused)?;
        if on_time.rows.num_rows() > 0 {
            self.accumulate(&batch, &on_time, &mut refused).await?;
        }
        if !refused.is_empty() {
            refused.sort_by_key(|refused| (refused.sequence, refused.part));
            let bytes = refused.iter().map(Refused::bytes).sum();
            self.out.send(FromLane::Refused(refused), bytes).await?;
        }
        self.close(batch.watermark, batch.sequences.end).await
    }

    /// Separates the rows whose window is still open at them from those that are late.
    fn judge(&mut self, batch: &LaneBatch, late: &mut Vec<Refused>) -> Result<OnTime, LaneError> {
        let all = OnTime {
            rows: batch.rows.clone(),
            event_times: batch.event_times.clone(),
            picked: None,
        };
        let Some(watermarks) = &batch.watermarks else {
            return Ok(all);
        };
        let mut pane = Pane { start: 0, end: 0 };
        let is_late = |(time, watermark): (&i64, &i64)| {
            if !pane.contains(*time) {
                pane = self
                    .plan
                    .panes
                    .of(*time)
                    .expect("sources refuse times without a pane");
            }
            pane.end <= *watermark
        };
        let is_late: Vec<bool> = batch
            .event_times
            .iter()
            .zip(watermarks)
            .map(is_late)
            .collect();
        let late_rows: Vec<u32> = (0..)
            .zip(&is_late)
            .filter(|(_, late)| **late)
            .map(|(row, _)| row)
            .collect();
        if late_rows.is_empty() {
            return Ok(all);
        }
        self.report.accounting.late += late_rows.len() as u64;
        let details = late_rows.iter().map(|row| {
            let row = *row as usize;
            let pane = self
                .plan
                .panes
                .of(batch.event_times[row])
                .expect("checked above");
            Reject {
                row: row as u32,
                code: "late".into(),
                detail: format!(
                    "its window ended at {}, and the watermark was {}",
                    instant(pane.end),
                    instant(watermarks[row])
                ),
            }
        });
        self.describe(
            batch,
            &batch.rows,
            None,
            details.collect(),
            Stage::Late,
            late,
        )?;
        let on_time: BooleanArray = is_late.iter().map(|late| Some(!late)).collect();
        let times = Int64Array::new(batch.event_times.clone(), None);
        let times = filter(&times, &on_time)?;
        let picked = (0..)
            .zip(&is_late)
            .filter(|(_, late)| !**late)
            .map(|(row, _)| row);
        Ok(OnTime {
            rows: filter_record_batch(&batch.rows, &on_time)?,
            event_times: arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&times)
                .values()
                .clone(),
            picked: Some(picked.collect()),
        })
    }

    /// Has the transform add rows to the states of their groups, in as many calls as the byte
    /// budget of a call asks for.
    async fn accumulate(
        &mut self,
        batch: &LaneBatch,
        on_time: &OnTime,
        refused: &mut Vec<Refused>,
    ) -> Result<(), LaneError> {
        let mut first = 0;
        while first < on_time.rows.num_rows() {
            let length = self.call_rows.min(on_time.rows.num_rows() - first);
            let rows = on_time.rows.slice(first, length);
            let event_times = &on_time.event_times[first..first + length];
            let columns = |indices: &[usize]| -> Vec<ArrayRef> {
                indices
                    .iter()
                    .map(|at| Arc::clone(rows.column(*at)))
                    .collect()
            };
            let (input, keys) = (columns(&self.plan.input), columns(&self.plan.key));
            let slots = self
                .state
                .assign(event_times, &keys)
                .map_err(LaneError::Key)?;
            let touched = match self.state.touch(&slots, &keys) {
                Ok(touched) => touched,
                Err(error) if length > 1 && is_overflow(&error) => {
                    self.state.unassign(&slots);
                    self.call_rows = length.div_ceil(2);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let bytes = bytes_of(&input) + bytes_of(&touched.keys) + bytes_of(&touched.states);
            if bytes > self.plan.call_bytes && length > 1 {
                self.state.unassign(&slots);
                self.call_rows = length.div_ceil(2);
                continue;
            }
            self.call_rows = self.call_rows.saturating_mul(2);
            let updated = self
                .transform
                .accumulate(
                    Rows {
                        columns: &input,
                        group_of_row: &touched.group_of_row,
                    },
                    Groups {
                        keys: &touched.keys,
                        states: &touched.states,
                        len: touched.len(),
                    },
                )
                .await?;
            self.report.accounting.applied += (length - updated.rejects.len()) as u64;
            let applied = applied_groups(&touched.group_of_row, touched.len(), &updated.rejects);
            self.state.update(
                touched,
                updated.states,
                updated.changed.as_deref(),
                |group| applied.as_ref().is_none_or(|applied| applied[group]),
            )?;
            for reject in &updated.rejects {
                self.report
                    .accounting
                    .reject(Stage::Transform, &reject.code);
            }
            let picked = |row: u32| on_time.source_row(first as u32 + row);
            self.describe(
                batch,
                &rows,
                Some(&picked),
                updated.rejects,
                Stage::Transform,
                refused,
            )?;
            first += length;
        }
        Ok(())
    }

    /// Closes the windows that end at or before `watermark`, and says how far the lane has come.
    async fn close(&mut self, watermark: i64, sequence: u64) -> Result<(), LaneError> {
        self.watermark = self.watermark.max(watermark);
        while let Some(closed) = self.state.close_next(self.watermark) {
            self.report.windows += closed.len() as u64;
            self.finish(&closed).await?;
            self.state.drop_closed(closed);
        }
        let progress = FromLane::Progress {
            closed_up_to: self.watermark,
            sequence,
        };
        self.out.send(progress, 0).await?;
        Ok(())
    }

    async fn finish(&mut self, closed: &ClosedPane) -> Result<(), LaneError> {
        let mut first = 0;
        let mut length = self.plan.call_groups;
        while first < closed.len() {
            length = length.min(closed.len() - first);
            let gathered = match self.state.gather(closed, first..first + length) {
                Err(error) if length > 1 && is_overflow(&error) => None,
                gathered => Some(gathered?),
            };
            let fits = |(keys, states): &(Vec<ArrayRef>, Vec<ArrayRef>)| {
                length == 1 || bytes_of(keys) + bytes_of(states) <= self.plan.call_bytes
            };
            let Some((keys, states)) = gathered.filter(fits) else {
                length = length.div_ceil(2);
                continue;
            };
            let groups = Groups {
                keys: &keys,
                states: &states,
                len: length,
            };
            let bounds = bounds(closed.pane, length);
            let finished = self.transform.finish(groups, &bounds).await?;
            if finished.output.num_rows() > 0 {
                let emitted = self.emitted(closed.pane, &keys, finished)?;
                let bytes = emitted.get_array_memory_size();
                self.out.send(FromLane::Emitted(emitted), bytes).await?;
            }
            first += length;
        }
        Ok(())
    }

    /// Puts the key and the window's bounds before the transform's output.
    fn emitted(
        &self,
        pane: Pane,
        keys: &[ArrayRef],
        finished: Finished,
    ) -> Result<RecordBatch, ArrowError> {
        let source = UInt32Array::from(finished.source_group);
        let keys = keys.iter().map(|key| take(key, &source, None));
        let mut columns = keys.collect::<Result<Vec<_>, _>>()?;
        columns.extend(bounds(pane, source.len()));
        columns.extend(finished.output.columns().iter().cloned());
        RecordBatch::try_new(self.plan.emitted_schema(), columns)
    }

    /// Describes refused rows of `rows`; `picked` tells which row of the lane's batch each is.
    fn describe(
        &self,
        batch: &LaneBatch,
        rows: &RecordBatch,
        picked: Option<&dyn Fn(u32) -> u32>,
        rejects: Vec<Reject>,
        stage: Stage,
        refused: &mut Vec<Refused>,
    ) -> Result<(), ArrowError> {
        if rejects.is_empty() {
            return Ok(());
        }
        let indices = UInt32Array::from_iter_values(rejects.iter().map(|reject| reject.row));
        let records = record_lines(&take_record_batch(rows, &indices)?);
        for (reject, record) in rejects.into_iter().zip(records) {
            let row = picked.map_or(reject.row, |picked| picked(reject.row));
            let source_row = batch.source_row(row as usize);
            refused.push(Refused {
                sequence: batch.sequences.start + u64::from(source_row),
                part: batch.part(row as usize),
                origin: batch.origins.of(source_row),
                stage,
                code: reject.code,
                detail: reject.detail,
                record,
            });
        }
        Ok(())
    }
}

/// The rows of a batch whose windows are still open.
struct OnTime {
    rows: RecordBatch,
    event_times: ScalarBuffer<i64>,
    /// Which rows of the lane's batch they are; none for all.
    picked: Option<Vec<u32>>,
}

impl OnTime {
    fn source_row(&self, row: u32) -> u32 {
        self.picked
            .as_ref()
            .map_or(row, |picked| picked[row as usize])
    }
}

/// Which groups have a row that was applied; none if all have.
fn applied_groups(group_of_row: &[u32], groups: usize, rejects: &[Reject]) -> Option<Vec<bool>> {
    if rejects.is_empty() {
        return None;
    }
    let mut applied = vec![false; groups];
    let mut rejects = rejects.iter().map(|reject| reject.row as usize).peekable();
    for (row, group) in group_of_row.iter().enumerate() {
        if rejects.next_if_eq(&row).is_none() {
            applied[*group as usize] = true;
        }
    }
    Some(applied)
}

/// Whether columns were too large to be put together, and fewer rows may do.
fn is_overflow(error: &ArrowError) -> bool {
    matches!(error, ArrowError::OffsetOverflowError(_))
}

/// A window's bounds, as often as there are rows.
fn bounds(pane: Pane, rows: usize) -> Vec<ArrayRef> {
    [pane.start, pane.end]
        .map(|bound| {
            let column = TimestampMicrosecondArray::from_value(bound, rows).with_timezone("UTC");
            Arc::new(column) as ArrayRef
        })
        .to_vec()
}
