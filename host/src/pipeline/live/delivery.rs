//! The delivery of one lane of a live pipeline: a thread that takes what the lane emits, and commits.
//!
//! Features that are valid are part of the commit that covers them; everything else that leaves the
//! lane goes into its outbox, and from there after the commit. The lane works on while a commit
//! becomes durable, and waits when it is too far ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::error::ArrowError;

use super::keeper::{Keeper, KeeperError};
use super::outbox::{Destination, Outbox, OutboxError};
use super::partition::Committed;
use crate::pipeline::commit::ToCommit;
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::features::Features;
use crate::pipeline::invalid::InvalidRows;
use crate::pipeline::lane::{FromLane, LaneReport, Output, Refused};
use crate::pipeline::queue::Receiver;
use crate::pipeline::telemetry::{DeliveryTelemetry, LaneTelemetry};
use crate::sink::{Position, Record, Reject, reject_line};
use crate::source::record_lines;
use crate::stage::Stage;
use crate::store::StoreError;
use crate::store::embedded::LiveLane;

/// Why delivery ended early.
#[derive(Debug, thiserror::Error)]
pub enum LiveDeliveryError {
    /// Nothing can be committed.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// Something that is committed cannot be sent.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Features cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Arrow cannot hold the columns.
    #[error("cannot deliver features: {0}")]
    Arrow(#[from] ArrowError),
    /// The lane was lost, or another part ended early and says why itself.
    #[error("a part of the pipeline ended early")]
    Incomplete,
}

impl LiveDeliveryError {
    /// Whether somebody else has the lane by now.
    pub(super) fn is_fenced(&self) -> bool {
        match self {
            Self::Keeper(KeeperError::Store(error)) | Self::Store(error) => error.is_fenced(),
            _ => false,
        }
    }
}

/// Delivery at work.
pub(super) struct LaneDelivery {
    pub(super) features: Arc<Features>,
    pub(super) invalid: InvalidRows,
    pub(super) keeper: Keeper,
    pub(super) outbox: Outbox,
    /// The name of the split that refused rows came from.
    pub(super) split: String,
    /// Rows that the lane has emitted.
    pub(super) rows: u64,
    /// Hears what was committed.
    pub(super) committed: Committed,
    /// Set when the lane is ours no longer.
    pub(super) lost: Arc<AtomicBool>,
    pub(super) telemetry: Arc<DeliveryTelemetry>,
    pub(super) lane_telemetry: Arc<LaneTelemetry>,
}

/// How a lane ended.
pub(super) struct LaneEnd {
    /// Its accounts if it was done.
    pub(super) done: Result<LaneReport, LiveDeliveryError>,
    /// To be closed.
    pub(super) lane: LiveLane,
}

impl LaneDelivery {
    /// Works until the lane is done.
    pub(super) fn run(mut self, mut input: Receiver<ToDelivery>) -> LaneEnd {
        LaneEnd {
            done: self.deliver(&mut input),
            lane: self.keeper.into_lane(),
        }
    }

    fn deliver(
        &mut self,
        input: &mut Receiver<ToDelivery>,
    ) -> Result<LaneReport, LiveDeliveryError> {
        // What the last owner committed and may not have sent.
        self.telemetry.heartbeat.wait();
        self.outbox.send()?;
        loop {
            if self.lost.load(Ordering::Relaxed) {
                return Err(LiveDeliveryError::Incomplete);
            }
            self.telemetry.heartbeat.rest();
            let message = input.receive_blocking();
            self.telemetry.heartbeat.work();
            let Some(ToDelivery::Lane(_, message)) = message else {
                return Err(LiveDeliveryError::Incomplete);
            };
            match message {
                FromLane::Emitted(output) => self.emitted(&output)?,
                FromLane::Refused(refused) => self.refused(&refused),
                FromLane::Progress { .. } => {}
                FromLane::Commit(commit) => self.commit(&commit)?,
                FromLane::Done(report) => return Ok(*report),
            }
        }
    }

    fn emitted(&mut self, output: &Output) -> Result<(), LiveDeliveryError> {
        let (rows, failures) = self.features.validated(output)?;
        if !failures.is_empty() {
            let shown = self.invalid.rows(output, self.features.all(), &failures)?;
            for line in record_lines(&shown) {
                self.outbox.put(Destination::Invalid, line + "\n");
            }
        }
        let (epoch, first) = (self.keeper.epoch, self.rows);
        self.rows += rows.num_rows() as u64;
        let (features, keeper) = (&self.features, &mut self.keeper);
        features.items(&rows, output.length, epoch, first, |items| {
            keeper.write(&items)
        })?;
        let values = self.features.values(&rows, output.length);
        let (rows, removed) = (rows.num_rows() as u64, failures.len() as u64);
        self.lane_telemetry.delivered(rows, values, removed);
        Ok(())
    }

    fn refused(&mut self, refused: &[Refused]) {
        for refused in refused {
            let destination = match refused.stage {
                Stage::Late => Destination::Late,
                _ => Destination::Rejects,
            };
            let line = reject_line(&Reject {
                sequence: refused.sequence,
                part: refused.part,
                stage: refused.stage,
                code: refused.code.clone(),
                detail: refused.detail.clone(),
                file: Some(self.split.clone()),
                position: Some(Position::Offset(refused.origin.position)),
                record: match refused.stage {
                    Stage::Decode => Record::Text(refused.record.clone()),
                    _ => Record::Json(refused.record.clone()),
                },
            });
            self.outbox.put(destination, line);
        }
    }

    fn commit(&mut self, commit: &ToCommit) -> Result<(), LiveDeliveryError> {
        let outbox = self.outbox.commit(&mut self.keeper);
        // Durability is up to a disk or a service.
        self.telemetry.heartbeat.wait();
        let begun = self.telemetry.heartbeat.now();
        self.keeper.commit(commit, self.rows, outbox)?;
        self.lane_telemetry.committed(begun);
        self.outbox.send()?;
        self.committed.tell(&commit.splits);
        Ok(())
    }
}
