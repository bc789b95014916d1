//! What the thread that reads and those who use the source say to each other.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{KafkaEvent, KafkaFault, PartitionStatus};
use crate::source::flow::Bell;

/// How many events may wait before those that only tell of troubles are left out. Messages are
/// bounded by their windows, and all others by the answers that they wait for.
const WAITING: usize = 1024;

/// What the reading thread is asked to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// To read an assigned partition.
    Start { partition: u32, from: From },
    /// To give a revoked partition up.
    Release(u32),
    /// To read an assigned partition no more until it is started again.
    Rest(u32),
}

/// Where a partition is to be read from.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// An offset.
    Offset(i64),
    /// The first message that was recorded at a time or later, in microseconds.
    Time(i64),
    /// Where the settings say.
    Settings,
}

/// All that has been ordered since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) orders: Vec<Order>,
    /// The newest offset of each partition.
    pub(super) commits: BTreeMap<u32, i64>,
    pub(super) leave: bool,
}

/// Both sides hold one.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inbox: Mutex<Inbox>,
    /// Rings when an event has come, or the thread has ended.
    came: Condvar,
    orders: Mutex<Orders>,
    status: Mutex<Vec<PartitionStatus>>,
    /// Whether the group has ever given something to this member, if only nothing.
    pub(super) has_joined: AtomicBool,
    /// Whether the thread has something to do; librdkafka's threads ring too.
    rung: Mutex<bool>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<KafkaEvent>,
    failed: Option<KafkaFault>,
    ended: bool,
}

impl Mailbox {
    pub(super) fn next(&self, wait: Duration) -> Result<Option<KafkaEvent>, KafkaFault> {
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

    pub(super) fn order(&self, order: Order) {
        held(&self.orders).orders.push(order);
        self.ring();
    }

    pub(super) fn commit(&self, partition: u32, next: i64) {
        held(&self.orders).commits.insert(partition, next);
        self.ring();
    }

    /// Asks the thread to end, and gives whether it has.
    pub(super) fn leave(&self, patience: Duration) -> bool {
        held(&self.orders).leave = true;
        self.ring();
        let inbox = held(&self.inbox);
        let waited = self
            .came
            .wait_timeout_while(inbox, patience, |inbox| !inbox.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    pub(super) fn status(&self) -> Vec<PartitionStatus> {
        held(&self.status).clone()
    }

    /// Wakes the thread.
    pub(super) fn ring(&self) {
        *held(&self.rung) = true;
        self.bell.notify_one();
    }
}

impl Bell for Mailbox {
    fn ring(&self) {
        Self::ring(self);
    }
}

/// The thread's side.
impl Mailbox {
    pub(super) fn tell(&self, event: KafkaEvent) {
        let mut inbox = held(&self.inbox);
        let minor = matches!(
            event,
            KafkaEvent::Trouble(_) | KafkaEvent::Unreachable(_) | KafkaEvent::Reachable
        );
        if minor && inbox.events.len() >= WAITING {
            return;
        }
        inbox.events.push_back(event);
        drop(inbox);
        self.came.notify_all();
    }

    pub(super) fn fail(&self, fault: KafkaFault) {
        held(&self.inbox).failed.get_or_insert(fault);
        self.came.notify_all();
    }

    pub(super) fn end(&self) {
        held(&self.inbox).ended = true;
        self.came.notify_all();
    }

    pub(super) fn take_orders(&self) -> Orders {
        let mut orders = held(&self.orders);
        let leave = orders.leave;
        mem::replace(
            &mut *orders,
            Orders {
                leave,
                ..Orders::default()
            },
        )
    }

    pub(super) fn show(&self, status: Vec<PartitionStatus>) {
        *held(&self.status) = status;
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
