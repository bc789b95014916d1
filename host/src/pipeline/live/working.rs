//! A partition at work, as its member sees it: what it is told, and how it ends. All shards of a stream
//! are at work as one partition is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::error::{PartitionError, PartitionFailure};
use super::partition::Partition;
use super::run::Shared;
use super::telling::PartitionTelling;
use crate::pipeline::lane::LaneReport;
use crate::pipeline::spans;
use crate::source::kinesis::Held;
use crate::source::live::{Placed, Position};
use crate::source::messages::Messages;

/// What a partition hears of its source.
#[derive(Debug)]
pub(super) enum Intake {
    /// There are splits that it did not know.
    Appeared(Vec<Appeared>),
    /// A split is read, from this position on if the source says which.
    Started {
        split: u32,
        from: Option<Position>,
    },
    Messages(Box<Incoming>),
    /// Everything of a split was read, and it has nothing before `next`.
    AtEnd {
        split: u32,
        next: Option<Position>,
    },
    /// Everything of a split was read, and nothing more will come of it.
    Finished(u32),
    /// What was to be read next is gone.
    Missing(Gap),
    /// Something was set: see [`Flags`].
    Look,
    /// The lanes are to go over to another generation.
    Switch(Arc<Shared>),
}

/// A split that has appeared.
#[derive(Debug, Clone)]
pub(super) struct Appeared {
    /// Its number in this run.
    pub(super) number: u32,
    /// Its name, which stays.
    pub(super) name: Arc<str>,
    /// The splits that come before it.
    pub(super) parents: Vec<u32>,
    /// Whether nothing is added to it any more.
    pub(super) is_closed: bool,
}

/// Messages of a split, and the room that they take.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) messages: Messages,
    /// Where they lie, if that is not what their offsets say.
    pub(super) placed: Option<Placed>,
    /// To be kept for as long as the messages are: when it is dropped, more may be read.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(super) held: Held,
}

/// What is gone of a split.
#[derive(Debug)]
pub(super) enum Gap {
    /// Offsets of a partition.
    Offsets {
        partition: u32,
        wanted: i64,
        low: i64,
        high: i64,
    },
    /// Records of a shard, after one and before another one, as far as they are known.
    Records {
        split: u32,
        wanted: Option<String>,
        first: Option<String>,
        reason: String,
    },
}

/// What a partition is told besides messages, and how it is with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    /// It is to commit, and to give the partition up. It is not to wait for anybody who does not answer.
    pub(super) leave: Arc<AtomicBool>,
    /// Whoever ends it will open it again: the partition is not given up.
    pub(super) stays: Arc<AtomicBool>,
    /// Nothing may be committed any more.
    pub(super) lost: Arc<AtomicBool>,
    /// Its lanes are open.
    pub(super) is_open: Arc<AtomicBool>,
    /// It reads recorded history, before its stream.
    pub(super) is_bootstrapping: Arc<AtomicBool>,
    /// It was read to its end since they are.
    pub(super) has_caught_up: Arc<AtomicBool>,
}

impl Flags {
    /// Lets everything of the partition stop, wherever it waits.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.leave.store(true, Ordering::Relaxed);
    }
}

/// A partition at work, as its member sees it.
pub(super) struct Working {
    intake: mpsc::Sender<Intake>,
    flags: Flags,
    /// The generation that it was begun with.
    generation: u64,
    thread: JoinHandle<Result<PartitionEnd, PartitionFailure>>,
}

/// How a partition ended.
#[derive(Debug, Default)]
pub(super) struct PartitionEnd {
    /// Of each lane, by its number.
    pub(super) lanes: BTreeMap<u32, LaneReport>,
    /// Whether it was lost: what its lanes say was not committed.
    pub(super) is_lost: bool,
}

impl Working {
    /// Begins to work on a partition that was assigned.
    pub(super) fn start(shared: &Arc<Shared>, partition: u32) -> Result<Self, PartitionError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the source bounds in bytes what of a partition is under way, and its member must never wait"
        )]
        let (intake, incoming) = mpsc::channel();
        let flags = Flags::default();
        let work = Partition {
            telling: PartitionTelling::new(shared, partition),
            shared: Arc::clone(shared),
            number: partition,
            incoming,
            flags: flags.clone(),
        };
        let span = spans::partition(shared.name(), partition, &shared.opened.digest);
        let name = format!("{}/{partition}", shared.name());
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(move || span.in_scope(|| work.run()));
        Ok(Self {
            intake,
            flags,
            generation: shared.generation(),
            thread: thread.map_err(PartitionError::Thread)?,
        })
    }

    /// Whether it is to be begun again here when it has ended.
    pub(super) fn stays(&self) -> bool {
        self.flags.stays.load(Ordering::Relaxed)
    }

    /// The generation that it was begun with.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn flags(&self) -> &Flags {
        &self.flags
    }

    pub(super) fn tell(&self, intake: Intake) {
        // One that has ended says why when it is joined.
        let _ = self.intake.send(intake);
    }

    /// Lets it commit, and give the partition up.
    pub(super) fn leave(&self) {
        self.flags.leave.store(true, Ordering::Relaxed);
        self.tell(Intake::Look);
    }

    /// Lets it commit, and give the partition up, also if it was to be begun again here.
    pub(super) fn give_up(&self) {
        self.flags.stays.store(false, Ordering::Relaxed);
        self.leave();
    }

    /// Lets it commit and end, to be begun again here, unless it is to end already.
    pub(super) fn rest(&self) {
        if self.flags.leave.load(Ordering::Relaxed) {
            return;
        }
        self.flags.stays.store(true, Ordering::Relaxed);
        self.leave();
    }

    /// Lets it stop without another commit.
    pub(super) fn lose(&self) {
        self.flags.lose();
        self.tell(Intake::Look);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub(super) fn join(self) -> Result<PartitionEnd, PartitionFailure> {
        let panicked = PartitionFailure {
            generation: self.generation,
            error: PartitionError::Panicked("reader"),
        };
        self.thread.join().unwrap_or(Err(panicked))
    }
}
