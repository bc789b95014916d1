//! The delivery of one lane of a live pipeline: a thread that takes what the lane emits, and commits.
//!
//! Features that are valid are part of the commit that covers them; everything else that leaves the
//! lane goes into its outbox, and from there after the commit. The lane works on while a commit
//! becomes durable, and waits when it is too far ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use tokio::time::timeout;

use super::committed::Committed;
use super::keeper::{Keeper, KeeperError};
use super::outbox::{Outbox, OutboxError, history};
use super::outputs::{INVALID, LATE, PARTIALS, REJECTS};
use super::partial::placed;
use super::rows::{Keys, RowMessages};
use super::split_names::SplitNames;
use crate::clock::Clock;
use crate::pipeline::commit::ToCommit;
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::features::Features;
use crate::pipeline::invalid::InvalidRows;
use crate::pipeline::lane::{FromLane, LaneReport, Output, Refused};
use crate::pipeline::queue::Receiver;
use crate::pipeline::staged::Relayed;
use crate::pipeline::telemetry::{DeliveryTelemetry, LaneTelemetry};
use crate::sink::kafka::{Outgoing, Published};
use crate::sink::{Position, Record, Reject, reject_line};
use crate::source::live::SplitCursor;
use crate::source::record_lines;
use crate::stage::Stage;
use crate::store::embedded::LiveLane;
use crate::store::item::entity::EntityError;
use crate::store::{StoreError, offline};

/// Bytes of a refused record, and of what is said of it, that a topic gets at most. Each may become six as
/// JSON, and a message of more than a megabyte is usually too large.
const RECORD: usize = 128 << 10;
const DETAIL: usize = 16 << 10;

/// How long what waits in the outbox is not looked at while the lane gives nothing.
const GLANCE: Duration = Duration::from_secs(1);

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
    /// A row cannot be keyed by its entity.
    #[error("cannot deliver rows: {0}")]
    Entity(#[from] EntityError),
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
            Self::Outbox(error) => error.is_fenced(),
            _ => false,
        }
    }

    /// Whether the pipeline was given something that cannot work.
    pub(super) fn is_bad_input(&self) -> bool {
        matches!(self, Self::Outbox(error) if error.is_bad_input())
    }
}

/// Delivery at work.
pub(super) struct LaneDelivery {
    pub(super) features: Arc<Features>,
    pub(super) invalid: InvalidRows,
    pub(super) keeper: Keeper,
    pub(super) outbox: Outbox,
    /// The addressee that the history of features is, and the clock that it is dated by.
    pub(super) history: Option<(usize, Arc<dyn Clock>)>,
    /// The lane's number.
    pub(super) number: u32,
    pub(super) messages: RowMessages,
    /// Of the transform, as messages say it.
    pub(super) generation: u64,
    /// The names of the splits that refused rows came from.
    pub(super) splits: Arc<SplitNames>,
    /// Hears of the generation's first commit; none where generations have no numbers.
    pub(super) is_at_work: Option<Arc<AtomicBool>>,
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
        self.telemetry.heartbeat.wait();
        self.outbox.open(&self.keeper)?;
        // What the last owner committed and may not have sent.
        self.send()?;
        loop {
            if self.lost.load(Ordering::Relaxed) {
                return Err(LiveDeliveryError::Incomplete);
            }
            self.telemetry.heartbeat.rest();
            let message = match self.outbox.is_waiting() {
                false => input.receive_blocking(),
                true => {
                    let next = async { timeout(GLANCE, input.receive()).await };
                    let Ok(message) = self.keeper.block_on(next) else {
                        self.send()?;
                        continue;
                    };
                    message
                }
            };
            self.telemetry.heartbeat.work();
            let Some(ToDelivery::Lane(_, message)) = message else {
                return Err(LiveDeliveryError::Incomplete);
            };
            match message {
                FromLane::Emitted(output) => self.emitted(&output)?,
                FromLane::Refused(refused) => self.refused(&refused)?,
                FromLane::Relayed(relayed) => self.relayed(&relayed)?,
                FromLane::Progress { .. } => {}
                FromLane::Switched(switch) => {
                    self.telemetry.heartbeat.wait();
                    self.keeper.switch(&switch.running)?;
                    self.generation = switch.running.number;
                    self.is_at_work = Some(Arc::clone(&switch.running.is_committed));
                }
                FromLane::SetAside(wanted) => {
                    self.telemetry.heartbeat.wait();
                    wanted.answer(&self.keeper);
                }
                FromLane::Commit(commit) => self.commit(&commit)?,
                FromLane::Done(report) => {
                    self.telemetry.heartbeat.wait();
                    self.outbox.send_all(&self.keeper)?;
                    self.settle()?;
                    return Ok(*report);
                }
            }
        }
    }

    fn emitted(&mut self, output: &Output) -> Result<(), LiveDeliveryError> {
        let (rows, failures) = self.features.validated(output)?;
        let shown = self.invalid.rows(output, self.features.all(), &failures)?;
        let mut removed = 0;
        if let Some((shown, of_rows)) = shown {
            removed = of_rows.len() as u64;
            let keys = Keys::of(&shown, self.invalid.keys())?;
            for (row, line) in record_lines(&shown).iter().enumerate() {
                self.put(INVALID, keys.get(row), line)?;
            }
        }
        let (epoch, first) = (self.keeper.epoch, self.rows);
        self.rows += rows.num_rows() as u64;
        let (features, keeper) = (&self.features, &mut self.keeper);
        features.items(&rows, output.length, epoch, first, |items| {
            keeper.write(&items)
        })?;
        self.remember(&rows, output.length, first)?;
        let values = self.features.values(&rows, output.length);
        let emitted = rows.num_rows() as u64;
        self.lane_telemetry.delivered(emitted, values, removed);
        let first = Published {
            epoch,
            sequence: first,
        };
        let (outbox, keeper) = (&mut self.outbox, &self.keeper);
        self.messages
            .put(&rows, first, self.generation, outbox, keeper)
    }

    /// Puts rows into the history of features, if there is one.
    fn remember(
        &mut self,
        rows: &RecordBatch,
        length: usize,
        first: u64,
    ) -> Result<(), LiveDeliveryError> {
        let Some((to, clock)) = &self.history else {
            return Ok(());
        };
        let (to, written, epoch) = (*to, clock.unix(), self.keeper.epoch);
        let mut messages = Vec::new();
        let features = &self.features;
        features.batches(rows, length, epoch, first, |batch| {
            let rows = offline::rows::rows(batch, features.key_names(), self.number, written)?;
            let body = history(&rows).map_err(|error| StoreError::Shape(error.to_string()))?;
            messages.push((batch.group.to_owned(), body));
            Ok(())
        })?;
        for (group, body) in messages {
            let message = Outgoing {
                key: group.as_bytes(),
                value: Some(&body),
                timestamp: None,
                partition: None,
                at: Published {
                    epoch,
                    sequence: self.outbox.number(to),
                },
                generation: self.generation,
            };
            self.outbox.put(to, &message, &self.keeper)?;
        }
        Ok(())
    }

    /// Puts a line for an addressee whose messages are numbered by themselves. It is dated when it is
    /// sent: of what was refused, nobody knows a better time.
    fn put(&mut self, to: usize, key: &[u8], line: &str) -> Result<(), LiveDeliveryError> {
        let message = Outgoing {
            key,
            value: Some(line.trim_end().as_bytes()),
            timestamp: None,
            partition: None,
            at: Published {
                epoch: self.keeper.epoch,
                sequence: self.outbox.number(to),
            },
            generation: self.generation,
        };
        Ok(self.outbox.put(to, &message, &self.keeper)?)
    }

    /// Puts what is for the second stage. It is dated when it is sent, so that topics keep it for as long
    /// as anything that is new.
    fn relayed(&mut self, relayed: &Relayed) -> Result<(), LiveDeliveryError> {
        for partition in relayed.partitions.clone() {
            let at = Published {
                epoch: self.keeper.epoch,
                sequence: self.outbox.number(PARTIALS),
            };
            let value = placed(at, &relayed.body);
            let message = Outgoing {
                key: &[],
                value: Some(&value),
                timestamp: None,
                partition: Some(partition),
                at,
                generation: self.generation,
            };
            self.outbox.put(PARTIALS, &message, &self.keeper)?;
        }
        Ok(())
    }

    fn refused(&mut self, refused: &[Refused]) -> Result<(), LiveDeliveryError> {
        let mut of_last = None;
        for refused in refused {
            let number = refused.origin.split;
            let split = match of_last.take_if(|(last, _)| *last == number) {
                Some((_, split)) => split,
                None => self.splits.of(number),
            };
            let to = match refused.stage {
                Stage::Late => LATE,
                _ => REJECTS,
            };
            let mut reject = Reject {
                sequence: refused.sequence,
                part: refused.part,
                stage: refused.stage,
                code: refused.code.clone(),
                detail: refused.detail.clone(),
                file: Some(split.to_string()),
                position: Some(match SplitCursor::row_of_history(refused.origin.position) {
                    Some(row) => Position::Row(row),
                    None => Position::Offset(refused.origin.position),
                }),
                generation: (refused.stage == Stage::Poison).then_some(self.generation),
                record: match refused.stage {
                    Stage::Decode => Record::Text(refused.record.clone()),
                    _ => Record::Json(refused.record.clone()),
                },
            };
            if self.outbox.is_topic(to) {
                shorten(&mut reject);
            }
            let line = reject_line(&reject);
            // All of a split are in one partition, in order.
            self.put(to, split.as_bytes(), &line)?;
            of_last = Some((number, split));
        }
        Ok(())
    }

    fn commit(&mut self, commit: &ToCommit) -> Result<(), LiveDeliveryError> {
        let outbox = self.outbox.commit(self.keeper.batch());
        // Durability is up to a disk or a service.
        self.telemetry.heartbeat.wait();
        let begun = self.telemetry.heartbeat.now();
        let told = &self.lane_telemetry;
        self.keeper.commit(commit, self.rows, outbox, told)?;
        if let Some(is_at_work) = &self.is_at_work {
            is_at_work.store(true, Ordering::Relaxed);
        }
        self.lane_telemetry.committed(begun);
        self.send()?;
        self.committed.tell(commit);
        Ok(())
    }

    /// Sends what is committed, and tells how much that is for as long as it takes.
    fn send(&mut self) -> Result<(), LiveDeliveryError> {
        let owed = &self.lane_telemetry.outbox_entries;
        owed.set_count(self.outbox.owed());
        self.outbox.send(&self.keeper)?;
        owed.set_count(self.outbox.owed());
        Ok(())
    }

    /// Notes what was sent, so that the lane's next owner need not ask the topics.
    fn settle(&mut self) -> Result<(), LiveDeliveryError> {
        let mut batch = self.keeper.changes();
        if let Some(outbox) = self.outbox.settle(&mut batch) {
            self.keeper.settle(batch, outbox)?;
        }
        Ok(())
    }
}

/// Cuts off what a topic would not take, and says so.
fn shorten(reject: &mut Reject) {
    let cut = |text: &mut String, most: usize| {
        text.truncate(text.floor_char_boundary(most));
    };
    cut(&mut reject.detail, DETAIL);
    let (Record::Text(record) | Record::Json(record)) = &mut reject.record;
    if record.len() > RECORD {
        let mut start = std::mem::take(record);
        let whole = start.len();
        cut(&mut start, RECORD);
        let detail = &mut reject.detail;
        *detail = format!("{detail} (the record has {whole} bytes, and its end is left out)");
        reject.record = Record::Text(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_for_a_topic_is_cut_off_and_said() {
        let reject = |record: Record| Reject {
            sequence: 0,
            part: 0,
            stage: Stage::Decode,
            code: "malformed_json".to_owned(),
            detail: "byte 3".to_owned(),
            file: None,
            position: None,
            generation: None,
            record,
        };
        let mut small = reject(Record::Json("{}".to_owned()));
        shorten(&mut small);
        assert_eq!(small, reject(Record::Json("{}".to_owned())));
        // The worst that JSON can make of it.
        let mut large = reject(Record::Json("\u{1}".repeat(2 << 20)));
        large.detail = "\u{1}".repeat(1 << 20);
        shorten(&mut large);
        assert!(
            large
                .detail
                .ends_with("(the record has 2097152 bytes, and its end is left out)")
        );
        assert!(reject_line(&large).len() < 1_000_000);
        let mut cut = reject(Record::Text("é".repeat(RECORD)));
        shorten(&mut cut);
        assert_eq!(cut.record, Record::Text("é".repeat(RECORD / 2)));
    }
}
