//! A lane: the unit of order, state and failure. It is one task and owns all it works on.
//!
//! For each batch it has the windows find out what becomes of the rows: which are added to which
//! state, which windows they close or correct, which come too late. What comes out depends on the
//! order of the rows alone, never on where the batches were cut.

mod batch;
mod beside;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub(super) use self::beside::{Beside, Trial};
use super::accounting::Accounting;
use super::commit::{LaneCommits, ToCommit};
use super::delivery::ToDelivery;
use super::heavy::HeavyKeys;
use super::judged::refuse;
use super::live::{self, Wanted};
pub(super) use super::output::Output;
pub(super) use super::place::{Place, Start};
use super::plan::{Plan, WindowPlan};
use super::queue::{Closed, Receiver, Sender};
use super::residence::Residence;
use super::staged::{Assemble, Relayed, received};
use super::state_room::StateShare;
use super::swap::Switch;
use super::telemetry::LaneTelemetry;
use crate::sink::Mark;
use crate::source::{Origin, Origins};
use crate::stage::Stage;
use crate::transform::{Figures, Windowed};
use crate::window::{Calls, Emission, Emit, UnfinishedCounts, WindowError, Windows};

/// What a reader sends to a lane.
#[derive(Debug)]
pub(super) enum ToLane {
    /// Rows, and the progress after them.
    Batch(Box<LaneBatch>),
    /// The source was read to its end: all windows close.
    End,
    /// Its split has been at its end for so long that it is idle. Only lanes of a first stage are told.
    Idle,
    /// The lane is to go over to another generation of its transform, where a commit may end. Only lanes with windows
    /// are told.
    Switch(Box<Switch>),
    /// Another version is to work beside the lane, from where a commit may end. Only lanes with windows are told.
    Beside(Box<Beside>),
    /// The lane is to end and go on later, here or elsewhere: what it did is committed, and everything
    /// that is open stays open.
    Stop,
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
    /// Where in a live stream they stand; none for recorded events.
    pub(super) place: Option<Place>,
    /// What never reached a lane, before the last of the rows that were divided. The first lane of a
    /// live stream accounts for it.
    pub(super) unreached: Option<Box<Unreached>>,
}

/// Rows and records that never reached a lane.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) accounting: Accounting,
    pub(super) refused: Vec<Refused>,
}

/// What a lane sends on.
#[derive(Debug)]
pub(super) enum FromLane {
    /// Output.
    Emitted(Output),
    /// Rows that were refused or late, by rising sequence.
    Refused(Vec<Refused>),
    /// Everything up to this window's end, or mark, is emitted; everything before this sequence was
    /// judged.
    Progress {
        closed_up_to: i64,
        sequence: u64,
        watermark: i64,
    },
    /// Something for the second stage of the pipeline.
    Relayed(Relayed),
    /// What it has done so far is to be committed, with everything that it sent before.
    Commit(Box<ToCommit>),
    /// What comes from now on is of this generation. What came before was committed. The transform is the one before: to let go
    /// of its memory takes a while, for which no lane is to stand still.
    Switched(Box<Switch>),
    /// What was committed last is to be set aside for somebody.
    SetAside(Wanted),
    /// The lane is done.
    Done(Box<LaneReport>),
}

/// A row that was refused or late.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Windows that could not be finished, and what became of them.
    pub(super) unfinished: UnfinishedCounts,
}

/// Why a lane cannot go on.
pub type LaneError = WindowError;

impl From<Closed> for LaneError {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// A lane at work.
pub(super) struct Lane {
    plan: Arc<Plan>,
    calls: Calls,
    windows: Windows,
    /// Which keys the windows have in memory; none if all.
    residence: Option<Residence>,
    /// Which keys have much of the rows.
    heavy: HeavyKeys,
    /// Whether a window may be emitted more than once.
    revises: bool,
    watermark: i64,
    report: LaneReport,
    commits: LaneCommits,
    /// What it has of the state that the pipeline may have.
    share: StateShare,
    /// What makes partial states of the source's rows, in a second stage.
    assembly: Option<Box<dyn Assemble>>,
    /// What it is to go over to.
    switch: Option<Box<Switch>>,
    /// What it is to have beside it.
    beside: Option<Box<Beside>>,
    out: Outlet,
}

/// A lane's way to delivery.
pub(super) struct Outlet {
    pub(super) lane: usize,
    pub(super) delivery: Sender<ToDelivery>,
    pub(super) stop: Arc<AtomicBool>,
    /// What the lane tells while it works.
    pub(super) telemetry: Arc<LaneTelemetry>,
    /// What works beside the lane, and hears what it sends.
    pub(super) beside: Option<Beside>,
}

impl Outlet {
    /// Waits for room, and sends. The lanes hear of a stop here: closing all windows at the end may
    /// take longer than reading did.
    pub(super) async fn send(&self, message: FromLane, bytes: usize) -> Result<(), Closed> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Closed);
        }
        if let Some(beside) = &self.beside {
            beside.hear(&message, bytes);
        }
        self.telemetry.heartbeat.wait();
        let sent = self
            .delivery
            .send(ToDelivery::Lane(self.lane, message), bytes);
        let sent = sent.await;
        self.telemetry.heartbeat.work();
        sent
    }

    pub(super) async fn send_refused(&self, refused: Vec<Refused>) -> Result<(), Closed> {
        if refused.is_empty() {
            return Ok(());
        }
        let bytes = refused.iter().map(Refused::bytes).sum();
        self.send(FromLane::Refused(refused), bytes).await
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.telemetry.heartbeat.end();
    }
}

impl Emit for Outlet {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        Box::pin(async move {
            let bytes = emission.rows.get_array_memory_size();
            let moments = emission.moments.iter().flatten();
            let marks = moments.map(|moment| Mark {
                at: moment.watermark,
                sequence: moment.sequence,
            });
            let message = FromLane::Emitted(Output {
                length: emission.length,
                marks: marks.collect(),
                rows: emission.rows,
                failed: emission.failed,
            });
            Ok(self.send(message, bytes).await?)
        })
    }
}

impl Lane {
    pub(super) fn new(
        plan: Arc<Plan>,
        windows: &WindowPlan,
        transform: Box<dyn Windowed>,
        mut commits: LaneCommits,
        out: Outlet,
    ) -> Result<Self, LaneError> {
        let kept = commits.kept.take();
        let mut calls = Calls::new(transform, plan.call_bytes, plan.call_groups);
        let residence =
            kept.map(|kept| Residence::new(windows, &plan.key_schema, kept, &mut calls));
        Ok(Self {
            residence: residence.transpose()?,
            calls,
            windows: Windows::new(&windows.shape, &plan.key_schema, &windows.spec)?,
            heavy: HeavyKeys::new(&plan.key_schema)?,
            revises: windows.shape.revises(),
            out,
            share: plan.room.share(),
            plan,
            watermark: i64::MIN,
            report: LaneReport::default(),
            commits,
            assembly: None,
            switch: None,
            beside: None,
        })
    }

    /// The same lane, over partial states.
    pub(super) fn over(self, assembly: Box<dyn Assemble>) -> Self {
        Self {
            assembly: Some(assembly),
            ..self
        }
    }

    /// Works until the source ends, or the lane is stopped.
    pub(super) async fn run(mut self, mut input: Receiver<ToLane>) -> Result<(), LaneError> {
        self.resume().await?;
        self.try_again().await?;
        loop {
            self.out.telemetry.heartbeat.rest();
            let Some(message) = self.commits.unless_due(input.receive()).await else {
                self.commit().await?;
                self.switch_if_whole().await?;
                continue;
            };
            match message {
                Some(ToLane::Batch(batch)) => {
                    let began = self.out.telemetry.batch_begins();
                    if let Some(mut batch) = self.commits.left(*batch, self.watermark) {
                        let (end, place) = (batch.sequences.end, batch.place.take());
                        let may_commit = place.as_ref().is_none_or(Place::is_whole);
                        self.show(&batch, place.as_ref());
                        self.batch(batch, may_commit).await?;
                        self.commits.judged(end, place);
                        self.commit_if_it_must().await?;
                    }
                    self.tell(began);
                    self.switch_if_whole().await?;
                    self.begin_beside_if_whole().await?;
                }
                Some(ToLane::Beside(beside)) => {
                    self.beside = Some(beside);
                    self.begin_beside_if_whole().await?;
                }
                Some(ToLane::Switch(switch)) => {
                    self.switch = Some(switch);
                    self.switch_if_whole().await?;
                }
                Some(ToLane::End) => {
                    self.report.watermark = self.watermark;
                    self.report.windows += self.end().await?;
                    self.progress(i64::MAX, u64::MAX).await?;
                    break;
                }
                Some(ToLane::Idle) => {}
                Some(ToLane::Stop) => {
                    if self.commits.has_some() {
                        self.commit().await?;
                    }
                    break;
                }
                // Without an end the reader has failed, and what is open must stay open.
                None => return Err(LaneError::Closed),
            }
        }
        let report = Box::new(self.report());
        self.out
            .telemetry
            .publish(&report.accounting, report.windows, self.watermark);
        self.out.send(FromLane::Done(report), 0).await?;
        Ok(())
    }

    /// Emits all that is open.
    async fn end(&mut self) -> Result<u64, LaneError> {
        let (windows, calls, out) = (&mut self.windows, &mut self.calls, &mut self.out);
        match &mut self.residence {
            Some(residence) => residence.end(windows, calls, out).await,
            None => windows.end(calls, out).await,
        }
    }

    /// What there is to say so far.
    fn report(&self) -> LaneReport {
        let mut report = self.report.clone();
        report.watermark = self.watermark;
        report.figures += &self.calls.figures();
        report.unfinished.add(&self.calls.unfinished_counts());
        report
    }

    /// Tells what came of a batch that was begun then.
    fn tell(&self, began: Duration) {
        let telemetry = &self.out.telemetry;
        let (accounting, windows) = (&self.report.accounting, self.report.windows);
        telemetry.batch_ends(began, accounting, windows, self.watermark);
        telemetry
            .traps
            .store(self.calls.failed_calls(), Ordering::Relaxed);
        telemetry.state_bytes.set_count(self.windows.bytes() as u64);
        telemetry
            .resident_keys
            .set_count(self.windows.keys() as u64);
        telemetry.tell_unfinished(&self.calls.unfinished_counts());
    }

    /// Goes on where an earlier run stopped.
    async fn resume(&mut self) -> Result<(), LaneError> {
        let Some(residence) = &mut self.residence else {
            return Ok(());
        };
        let resume = &mut self.commits.resume;
        let (progress, journal) = (resume.progress, resume.journal);
        residence
            .start(&mut self.windows, progress, journal)
            .await?;
        if progress.is_some() {
            self.report = std::mem::take(&mut resume.report);
            self.watermark = self.report.watermark;
            let (accounting, windows) = (&self.report.accounting, self.report.windows);
            let telemetry = &self.out.telemetry;
            telemetry.resume(accounting, windows, self.watermark);
        }
        Ok(())
    }

    /// Has the transform try windows again that another version could not finish, before it is given anything else. What
    /// comes of them is committed at once, together with what is kept of them no longer: so it comes out once.
    async fn try_again(&mut self) -> Result<(), LaneError> {
        let Some(residence) = &mut self.residence else {
            return Ok(());
        };
        // What works beside the lane has none of them.
        let beside = self.out.beside.take();
        let (windows, calls, out) = (&mut self.windows, &mut self.calls, &mut self.out);
        let tried = residence.try_again(windows, calls, out).await?;
        self.out.beside = beside;
        let counts = self.calls.unfinished_counts();
        self.out.telemetry.tell_unfinished(&counts);
        if tried == 0 {
            return Ok(());
        }
        tracing::info!(
            tried,
            kept = counts.kept,
            "windows that another version could not finish were tried again"
        );
        live::step("tried again");
        self.commits.open();
        self.commit().await
    }

    /// Commits if memory does not let it wait.
    async fn commit_if_it_must(&mut self) -> Result<(), LaneError> {
        let must = self.residence.as_ref();
        let must = must.is_some_and(|residence| residence.must_commit(&self.windows));
        match must && self.commits.has_some() {
            true => self.commit().await,
            false => Ok(()),
        }
    }

    /// Hands over what is to be committed.
    async fn commit(&mut self) -> Result<(), LaneError> {
        let Some(residence) = &mut self.residence else {
            return Ok(());
        };
        let kept = residence.changes(&mut self.windows, &mut self.calls)?;
        let bytes = kept.bytes();
        let report = self.report();
        let mut commit = self.commits.take(Some(kept), report);
        if let Some(assembly) = &self.assembly {
            commit.own = assembly.kept();
        }
        let message = FromLane::Commit(Box::new(commit));
        self.out.send(message, bytes).await?;
        match &mut self.residence {
            Some(residence) => residence.committed().await,
            None => Ok(()),
        }
    }

    /// Goes over to another generation, if it is to and a commit may end here. What was done before is committed
    /// first, so that a commit is of one generation: with the next commit that is due, if that is soon.
    async fn switch_if_whole(&mut self) -> Result<(), LaneError> {
        let commits = &self.commits;
        let is_ready = |switch: &mut Box<Switch>| {
            commits.is_whole() && !(switch.with_next_commit && commits.has_some())
        };
        let Some(mut switch) = self.switch.take_if(is_ready) else {
            return Ok(());
        };
        let began = self.out.telemetry.batch_begins();
        if self.commits.has_some() {
            self.commit().await?;
        }
        self.report.figures += &self.calls.figures();
        switch.transform = self.calls.replace(switch.transform);
        switch.done();
        if let Some(unfinished) = self.calls.unfinished() {
            unfinished.set_transform(&switch.running.digest);
        }
        // That it is at work is committed soon, also where nothing comes.
        self.commits.open();
        self.out.send(FromLane::Switched(switch), 0).await?;
        self.windows.mend(&mut self.calls).await?;
        // What is kept is known since the lane was opened. To look for it in the store waits for the commit before.
        if self.calls.unfinished_counts().kept > 0 {
            self.try_again().await?;
        }
        self.out.telemetry.switched(began);
        Ok(())
    }

    async fn batch(&mut self, mut batch: LaneBatch, may_commit: bool) -> Result<(), LaneError> {
        batch.not_before(self.watermark);
        let mut refused = Vec::new();
        if let Some(unreached) = batch.unreached.take() {
            refused = unreached.refused;
            match &self.assembly {
                None => self.report.accounting += &unreached.accounting,
                // Messages between stages are no rows that were read. One that does not even say when it
                // was sent must not be lost silently.
                Some(_) => {
                    if let Some(refused) = refused.first() {
                        return Err(LaneError::Received(refused.detail.clone().into()));
                    }
                }
            }
        }
        let assembled = match &mut self.assembly {
            None => None,
            Some(assembly) => Some(assembly.assemble(&batch)?),
        };
        let rows = match &assembled {
            None => batch.rows_of(&self.plan),
            Some(assembled) => assembled.rows.clone(),
        };
        // Of partial states it is the first stage that sees how many rows a key has.
        if assembled.is_none()
            && let Some(heavy) = self.heavy.batch(&rows.keys, rows.len())?
        {
            self.out.telemetry.set_heavy_keys(heavy);
        }
        let (windows, calls, out) = (&mut self.windows, &mut self.calls, &mut self.out);
        let outcome = match &mut self.residence {
            Some(residence) => {
                residence
                    .batch(windows, &rows, calls, out, may_commit)
                    .await?
            }
            None => windows.batch(&rows, calls, out).await?,
        };
        self.report.windows += outcome.closed;
        let accounting = &mut self.report.accounting;
        match &assembled {
            None => {
                accounting.applied += outcome.applied;
                accounting.partly_late += outcome.partly_late;
                refuse(&batch, outcome, accounting, &mut refused)?;
            }
            Some(assembled) => {
                let names = &self.plan.key_schema;
                refused.extend(received(&batch, assembled, &outcome, names, accounting)?);
            }
        }
        self.out.send_refused(refused).await?;
        let (bytes, keys) = (self.windows.bytes() as u64, self.windows.keys() as u64);
        self.share.set(bytes, keys)?;
        self.watermark = self.watermark.max(rows.watermark);
        // A window that is emitted more than once may be so at this very watermark again.
        let closed_up_to = match self.revises {
            true => self.watermark.saturating_sub(1),
            false => self.watermark,
        };
        self.progress(closed_up_to, batch.sequences.end).await
    }

    async fn progress(&mut self, closed_up_to: i64, sequence: u64) -> Result<(), LaneError> {
        let progress = FromLane::Progress {
            closed_up_to,
            sequence,
            watermark: self.watermark,
        };
        Ok(self.out.send(progress, 0).await?)
    }
}
