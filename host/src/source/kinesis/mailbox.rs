//! What the thread that reads, the requests under way, and those who use the source say to each
//! other.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::place::ShardCursor;
use super::service::Answer;
use super::{KinesisEvent, KinesisFault, ShardStatus};
use crate::source::flow::Bell;

/// How many events may wait before those that only tell of troubles are left out. Messages are
/// bounded by their windows, and all others by the number of shards.
const WAITING: usize = 1024;

/// A shard that is to be read.
#[derive(Debug, Clone)]
pub(super) struct ToStart {
    pub(super) shard: u32,
    pub(super) cursor: Option<ShardCursor>,
}

/// Who has asked the service for something: a shard, or the reader itself for the list of them.
pub(super) type Asker = Option<u32>;

/// An answer, to the request of this number.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) asker: Asker,
    pub(super) request: u64,
    pub(super) answer: Answer,
}

/// All that came since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) orders: Vec<ToStart>,
    /// One at most of each asker.
    pub(super) answers: Vec<Answered>,
    pub(super) leave: bool,
}

/// All sides hold one.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Events that wait for the status that goes with them.
    told: Mutex<VecDeque<KinesisEvent>>,
    inbox: Mutex<Inbox>,
    /// Rings when an event has come, or the thread has ended.
    came: Condvar,
    outbox: Mutex<Came>,
    status: Mutex<Vec<ShardStatus>>,
    /// Whether the thread has something to do.
    rung: Mutex<bool>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<KinesisEvent>,
    failed: Option<KinesisFault>,
    ended: bool,
}

impl Mailbox {
    pub(super) fn next(&self, wait: Duration) -> Result<Option<KinesisEvent>, KinesisFault> {
        let inbox = held(&self.inbox);
        let waited = self.came.wait_timeout_while(inbox, wait, |inbox| {
            inbox.events.is_empty() && inbox.failed.is_none() && !inbox.ended
        });
        let (mut inbox, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (inbox.events.pop_front(), &inbox.failed) {
            (None, Some(fault)) => Err(fault.clone()),
            (event, _) => Ok(event),
        }
    }

    pub(super) fn start(&self, shard: u32, cursor: Option<ShardCursor>) {
        held(&self.outbox).orders.push(ToStart { shard, cursor });
        self.ring();
    }

    /// Asks the thread to end, and gives whether it has.
    pub(super) fn leave(&self, patience: Duration) -> bool {
        held(&self.outbox).leave = true;
        self.ring();
        let inbox = held(&self.inbox);
        let waited = self
            .came
            .wait_timeout_while(inbox, patience, |inbox| !inbox.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    pub(super) fn status(&self) -> Vec<ShardStatus> {
        held(&self.status).clone()
    }

    pub(super) fn answer(&self, answered: Answered) {
        held(&self.outbox).answers.push(answered);
        self.ring();
    }
}

impl Bell for Mailbox {
    fn ring(&self) {
        *held(&self.rung) = true;
        self.bell.notify_one();
    }
}

/// The thread's side.
impl Mailbox {
    /// Tells of something when the status that goes with it is shown.
    pub(super) fn tell(&self, event: KinesisEvent) {
        held(&self.told).push_back(event);
    }

    /// Shows how far shards are, and then what happened: nobody sees an event and a status before it.
    pub(super) fn show(&self, status: Vec<ShardStatus>) {
        *held(&self.status) = status;
        self.hand_over();
    }

    fn hand_over(&self) {
        let told = mem::take(&mut *held(&self.told));
        if told.is_empty() {
            return;
        }
        let mut inbox = held(&self.inbox);
        for event in told {
            let minor = matches!(
                event,
                KinesisEvent::Trouble(_)
                    | KinesisEvent::Throttled(_)
                    | KinesisEvent::Unreachable(_)
                    | KinesisEvent::Reachable
            );
            if !minor || inbox.events.len() < WAITING {
                inbox.events.push_back(event);
            }
        }
        drop(inbox);
        self.came.notify_all();
    }

    pub(super) fn fail(&self, fault: KinesisFault) {
        self.hand_over();
        held(&self.inbox).failed.get_or_insert(fault);
        self.came.notify_all();
    }

    pub(super) fn end(&self) {
        held(&self.inbox).ended = true;
        self.came.notify_all();
    }

    pub(super) fn take(&self) -> Came {
        let mut outbox = held(&self.outbox);
        let leave = outbox.leave;
        mem::replace(
            &mut *outbox,
            Came {
                leave,
                ..Came::default()
            },
        )
    }

    /// Waits until somebody rings, for `patience` at most.
    pub(super) fn wait(&self, patience: Duration) {
        let rung = held(&self.rung);
        let waited = self.bell.wait_timeout_while(rung, patience, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// Each lock guards values that are whole between any two statements, so a panic spoils none.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
