//! One partition that is ours: its own queue of the client's, its window, and what is known of it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::batch::BatchBuilder;
use super::mailbox::Mailbox;
use super::member::Member;
use super::status::{PartitionState, PartitionStatus};
use super::{Batch, KafkaEvent, KafkaSettings};
use crate::source::flow::{Bell, Flow, Window};

/// Where a partition is on its way from assigned to given up.
pub(super) enum Stage {
    /// Nobody has said where to start.
    Waiting,
    /// Messages come out of a queue of its own.
    Reading(PartitionQueue<Member>),
    /// It is to go, once its lanes have committed.
    Revoked {
        /// Whether the client knows it as assigned.
        started: bool,
        /// Whether they have.
        released: bool,
    },
}

/// What stopped the reading of a partition's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There may be more.
    More,
    /// There is nothing at the moment.
    Nothing,
    /// What is to be read next has been deleted.
    Deleted,
}

/// One partition that is ours.
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) stage: Stage,
    pub(super) window: Window,
    /// The offset of the next message.
    pub(super) next: i64,
    pub(super) low: i64,
    pub(super) high: i64,
    pauses: u64,
    /// Whether the last that was heard of it was its end.
    ended: bool,
    /// When the broker last said so.
    at_end: Option<Duration>,
    /// Whether it was ever started, so that `next` means something.
    pub(super) known: bool,
}

impl Partition {
    pub(super) fn new(number: u32, window_bytes: usize) -> Self {
        Self {
            number,
            stage: Stage::Waiting,
            window: Window::new(window_bytes),
            next: 0,
            low: 0,
            high: 0,
            pauses: 0,
            ended: false,
            at_end: None,
            known: false,
        }
    }

    /// Starts or restarts it at an offset that there is.
    pub(super) fn start(&mut self, queue: PartitionQueue<Member>, offset: i64) {
        self.stage = Stage::Reading(queue);
        self.next = offset;
        self.known = true;
        self.ended = false;
        self.at_end = None;
    }

    pub(super) fn is_started(&self) -> bool {
        match self.stage {
            Stage::Waiting => false,
            Stage::Reading(_) => true,
            Stage::Revoked { started, .. } => started,
        }
    }

    pub(super) fn count_pause(&mut self) {
        self.pauses += 1;
    }

    /// Reads up to one batch from its queue, unless its window is closed.
    pub(super) fn read(
        &mut self,
        settings: &KafkaSettings,
        mailbox: &Arc<Mailbox>,
        now: Duration,
    ) -> Found {
        let Stage::Reading(queue) = &self.stage else {
            return Found::Nothing;
        };
        if self.window.flow() != Flow::Open {
            return Found::Nothing;
        }
        let mut batch = BatchBuilder::new(settings.headers);
        let mut found = Found::More;
        let mut ended = false;
        let mut next = self.next;
        while batch.len() < settings.batch_messages && batch.bytes() < settings.batch_bytes {
            match queue.poll(Duration::ZERO) {
                None => {
                    found = Found::Nothing;
                    break;
                }
                Some(Ok(message)) => {
                    ended = false;
                    take(&message, &mut batch, &mut next);
                }
                // A batch ends here, so that the end is told behind the messages before it.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    ended = true;
                    break;
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    found = Found::Deleted;
                    break;
                }
                // The client has told it as a trouble too, and goes on.
                Some(Err(_)) => {}
            }
        }
        self.next = next;
        self.emit(batch, mailbox);
        if ended {
            self.ended = true;
            self.at_end = Some(now);
            self.high = self.high.max(self.next);
            mailbox.tell(KafkaEvent::AtEnd {
                partition: self.number,
                next: self.next,
            });
        }
        found
    }

    /// Takes a message that came by the common queue: one that was there before this partition had
    /// its own.
    pub(super) fn take_stray(
        &mut self,
        message: &BorrowedMessage<'_>,
        settings: &KafkaSettings,
        mailbox: &Arc<Mailbox>,
    ) {
        if matches!(self.stage, Stage::Reading(_)) {
            let mut batch = BatchBuilder::new(settings.headers);
            take(message, &mut batch, &mut self.next);
            self.emit(batch, mailbox);
        }
    }

    fn emit(&mut self, batch: BatchBuilder, mailbox: &Arc<Mailbox>) {
        if batch.len() == 0 {
            return;
        }
        self.ended = false;
        self.at_end = None;
        self.high = self.high.max(self.next);
        let bell: Arc<dyn Bell> = Arc::clone(mailbox) as _;
        let held = self.window.hold(batch.bytes(), bell);
        mailbox.tell(KafkaEvent::Messages(Box::new(Batch {
            messages: batch.finish(self.number),
            held,
        })));
    }

    /// Notes that the broker has answered lately, and so would have given what there is.
    pub(super) fn confirm(&mut self, now: Duration) {
        if self.ended {
            self.at_end = Some(now);
        }
    }

    pub(super) fn status(&self) -> PartitionStatus {
        let state = match (&self.stage, self.window.flow()) {
            (Stage::Waiting, _) => PartitionState::Waiting,
            (Stage::Revoked { .. }, _) => PartitionState::Revoked,
            (Stage::Reading(_), Flow::Open) => PartitionState::Reading,
            (Stage::Reading(_), Flow::Full(_)) => PartitionState::Full,
            (Stage::Reading(_), Flow::Paused) => PartitionState::Paused,
        };
        PartitionStatus {
            partition: self.number,
            state,
            next: self.known.then_some(self.next),
            low: self.low,
            high: self.high,
            held_bytes: self.window.held(),
            pauses: self.pauses,
            at_end: self.at_end.filter(|_| state == PartitionState::Reading),
        }
    }
}

/// Adds a message, unless it was there before: what was read ahead is fetched again after a pause.
fn take(message: &BorrowedMessage<'_>, batch: &mut BatchBuilder, next: &mut i64) {
    if message.offset() >= *next {
        batch.push(message);
        *next = message.offset() + 1;
    }
}
