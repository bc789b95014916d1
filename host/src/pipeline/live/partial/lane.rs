//! A lane of the first stage: it makes partial states of rows, and hands them over when it commits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::divide;
use super::layout::Layout;
use super::message::{Body, What};
use crate::pipeline::commit::LaneCommits;
use crate::pipeline::heavy::HeavyKeys;
use crate::pipeline::judged::refuse;
use crate::pipeline::lane::{FromLane, LaneBatch, LaneError, LaneReport, Outlet, ToLane};
use crate::pipeline::plan::{Plan, WindowPlan};
use crate::pipeline::queue::Receiver;
use crate::pipeline::staged::Relayed;
use crate::transform::Windowed;
use crate::window::{Calls, PartialStates, WindowError};

/// Who a lane is to the second stage.
#[derive(Debug)]
pub(in crate::pipeline::live) struct Upstream {
    pub(in crate::pipeline::live) layout: Arc<Layout>,
    /// Partitions of the topic of partial states.
    pub(in crate::pipeline::live) partitions: u32,
    pub(in crate::pipeline::live) lane: u32,
    /// How many upstream lanes there are.
    pub(in crate::pipeline::live) lanes: u32,
    pub(in crate::pipeline::live) generation: u64,
    /// The time by the clock, for a lane that begins now.
    pub(in crate::pipeline::live) now: i64,
}

impl Upstream {
    fn body(&self, begun: i64, what: What<'_>) -> Vec<u8> {
        let body = Body {
            pipeline: self.layout.pipeline(),
            digest: *self.layout.digest(),
            lane: self.lane,
            lanes: self.lanes,
            begun,
            generation: self.generation,
            what,
        };
        body.encode()
    }
}

/// What is kept of such a lane, beside its cursor and accounts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Own {
    /// When it began.
    begun: i64,
}

/// A lane at work.
pub(in crate::pipeline::live) struct PartialLane {
    plan: Arc<Plan>,
    upstream: Upstream,
    own: Own,
    states: PartialStates,
    calls: Calls,
    heavy: HeavyKeys,
    /// Bytes that partial states may take before they are handed over ahead of a commit.
    memory: usize,
    watermark: i64,
    is_idle: bool,
    /// Whether partial states were handed over since the last marker.
    has_sent: bool,
    /// What the last marker said.
    told: Option<(i64, bool)>,
    report: LaneReport,
    commits: LaneCommits,
    out: Outlet,
}

impl PartialLane {
    pub(in crate::pipeline::live) fn new(
        plan: Arc<Plan>,
        windows: &WindowPlan,
        transform: Box<dyn Windowed>,
        mut commits: LaneCommits,
        out: Outlet,
        upstream: Upstream,
        memory: usize,
    ) -> Result<Self, LaneError> {
        let states = PartialStates::new(&windows.shape, &plan.key_schema, &windows.spec)?;
        let resume = &mut commits.resume;
        let mut own = Own {
            begun: upstream.now,
        };
        let mut report = LaneReport {
            watermark: i64::MIN,
            ..LaneReport::default()
        };
        let goes_on = resume.goes_on();
        if goes_on {
            let kept = serde_json::from_value(std::mem::take(&mut resume.own));
            own = kept.map_err(|error| WindowError::Kept(Box::new(error)))?;
            report = std::mem::take(&mut resume.report);
            // What the last owner said of being idle holds no longer.
            commits.open();
        }
        let (accounting, watermark) = (&report.accounting, report.watermark);
        out.telemetry.resume(accounting, 0, watermark);
        Ok(Self {
            calls: Calls::new(transform, plan.call_bytes, plan.call_groups),
            heavy: HeavyKeys::new(&plan.key_schema)?,
            states: states.expect("whoever opened the pipeline has seen to it"),
            plan,
            upstream,
            own,
            memory,
            watermark,
            is_idle: false,
            has_sent: false,
            told: None,
            report,
            commits,
            out,
        })
    }

    /// Works until the lane is stopped.
    pub(in crate::pipeline::live) async fn run(
        mut self,
        mut input: Receiver<ToLane>,
    ) -> Result<(), LaneError> {
        loop {
            self.out.telemetry.heartbeat.rest();
            let Some(message) = self.commits.unless_due(input.receive()).await else {
                self.commit().await?;
                continue;
            };
            match message {
                Some(ToLane::Batch(batch)) => {
                    let began = self.out.telemetry.batch_begins();
                    if let Some(mut batch) = self.commits.left(*batch, self.watermark) {
                        let (end, place) = (batch.sequences.end, batch.place.take());
                        self.batch(batch).await?;
                        self.commits.judged(end, place);
                    }
                    let accounting = &self.report.accounting;
                    let telemetry = &self.out.telemetry;
                    telemetry.batch_ends(began, accounting, 0, self.watermark);
                    telemetry.state_bytes.set_count(self.states.bytes() as u64);
                }
                Some(ToLane::Idle) => {
                    self.is_idle = true;
                    self.commits.open();
                }
                Some(ToLane::Switch(_) | ToLane::Beside(_)) => {}
                Some(ToLane::Stop) => {
                    if self.commits.has_some() {
                        self.commit().await?;
                    }
                    break;
                }
                Some(ToLane::End) | None => return Err(LaneError::Closed),
            }
        }
        let report = Box::new(self.report());
        self.out.send(FromLane::Done(report), 0).await?;
        Ok(())
    }

    fn report(&self) -> LaneReport {
        let mut report = self.report.clone();
        report.watermark = self.watermark;
        report.figures += &self.calls.figures();
        report
    }

    async fn batch(&mut self, mut batch: LaneBatch) -> Result<(), LaneError> {
        batch.not_before(self.watermark);
        let mut refused = Vec::new();
        if let Some(unreached) = batch.unreached.take() {
            self.report.accounting += &unreached.accounting;
            refused = unreached.refused;
        }
        let rows = batch.rows_of(&self.plan);
        if let Some(heavy) = self.heavy.batch(&rows.keys, rows.len())? {
            self.out.telemetry.set_heavy_keys(heavy);
        }
        let outcome = self.states.batch(&rows, &mut self.calls).await?;
        let accounting = &mut self.report.accounting;
        accounting.forwarded += outcome.applied;
        refuse(&batch, outcome, accounting, &mut refused)?;
        self.out.send_refused(refused).await?;
        self.watermark = self.watermark.max(batch.watermark);
        // Progress without a row is no sign of life: it may be what an idle split is told.
        self.is_idle &= rows.is_empty();
        if self.states.bytes() > self.memory {
            self.hand_over().await?;
        }
        let progress = FromLane::Progress {
            closed_up_to: i64::MIN,
            sequence: batch.sequences.end,
            watermark: self.watermark,
        };
        Ok(self.out.send(progress, 0).await?)
    }

    /// Hands over all partial states. They count with the next commit.
    async fn hand_over(&mut self) -> Result<(), LaneError> {
        let Some(taken) = self.states.take()? else {
            return Ok(());
        };
        self.has_sent = true;
        let (layout, partitions) = (&self.upstream.layout, self.upstream.partitions);
        for (partition, stream) in divide::streams(&taken, layout, partitions)? {
            let what = What::Partials(&stream);
            let body = self.upstream.body(self.own.begun, what);
            let bytes = body.len();
            let relayed = FromLane::Relayed(Relayed {
                partitions: partition..partition + 1,
                body,
            });
            self.out.send(relayed, bytes).await?;
        }
        Ok(())
    }

    /// Hands over everything, and what there is to say of the progress, and commits that.
    async fn commit(&mut self) -> Result<(), LaneError> {
        self.hand_over().await?;
        let now = (self.watermark, self.is_idle);
        // Whoever gets partial states is to know that they are all of a commit.
        if std::mem::take(&mut self.has_sent) || self.told != Some(now) {
            let (watermark, is_idle) = now;
            let what = What::Marker { watermark, is_idle };
            let relayed = FromLane::Relayed(Relayed {
                partitions: 0..self.upstream.partitions,
                body: self.upstream.body(self.own.begun, what),
            });
            self.out.send(relayed, 0).await?;
            self.told = Some(now);
        }
        let mut commit = self.commits.take(None, self.report());
        commit.own = serde_json::to_value(self.own).expect("it is a number");
        let message = FromLane::Commit(Box::new(commit));
        Ok(self.out.send(message, 0).await?)
    }
}
