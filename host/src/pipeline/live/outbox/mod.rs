//! The outbox of a lane: what is sent once it is committed, and again after a restart, as often as it
//! takes for it to be there once.
//!
//! A commit holds, for each addressee (a file or a topic), the entries that are to be sent after it; the
//! next one takes away what was sent. A lane that is opened sends what its last owner left. Addressees
//! tell what they have: a file by its length, a topic by its last message of the lane.
//!
//! An entry that is full is written to the lane's database at once, and counts when a commit says so. So
//! memory holds an entry of each addressee at most, whatever a lane gives between two commits.

mod entry;
mod file;
mod offline;
mod topic;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use self::file::AppendFile;
use self::offline::HistorySender;
pub(super) use self::offline::body as history;
use self::topic::Publisher;
use super::keeper::Keeper;
use crate::clock::Clock;
use crate::config::StorePlace;
use crate::pipeline::telemetry::HistoryFigures;
use crate::sink::kafka::{FaultKind, KafkaFault, LaneTopic, Outgoing, Published};
use crate::store::StoreError;
use crate::store::embedded::StateBatch;

const OUTBOX: u8 = 3;

/// Bytes of messages that are an entry, about: what of them is in memory at most.
const ENTRY_BYTES: usize = 256 << 10;

/// Whom a lane sends to.
pub(super) struct Addressee {
    /// What it is called in the lane's database: texts without a zero byte.
    pub(super) name: String,
    pub(super) to: To,
}

/// Where that is.
pub(super) enum To {
    /// A file, to which each message is a line.
    File(PathBuf),
    Topic(LaneTopic),
    /// The history of features, and what is told of it.
    Offline(StorePlace, Arc<HistoryFigures>),
}

/// What waiting for a broker goes by.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) clock: Arc<dyn Clock>,
    /// Set when nobody waits any longer: what was not sent stays committed, for whoever has the lane next.
    pub(super) stop: Arc<AtomicBool>,
    /// The threads for what is not waited for.
    pub(super) io: Handle,
}

/// What a commit says of an addressee.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The first entry that is to be sent after the commit.
    first: u64,
    /// The one after the last.
    next: u64,
    /// The length of the file before the first of them.
    length: u64,
    /// How many messages there have been, where they are numbered by themselves.
    numbered: u64,
}

impl Kept {
    /// Entries that were not sent when the commit was made.
    pub(super) fn owed(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

/// Why something cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The lane's database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was to be sent is not there, or not what it was.
    #[error(
        "entry {entry} of what lane {lane} is to send to `{to}` is missing or damaged; restore the store's folder, or begin anew with `--fresh`"
    )]
    Damaged {
        /// The lane.
        lane: u32,
        /// Whom it is for.
        to: String,
        /// The entry.
        entry: u64,
    },
    /// There is something for somebody whom the pipeline does not send to any more.
    #[error(
        "lane {lane} was interrupted before it had sent everything to `{to}`, which is not in `[outputs]` any more; put it back until the pipeline was stopped once, or begin anew with `--fresh`"
    )]
    Gone {
        /// The lane.
        lane: u32,
        /// Whom it is for.
        to: String,
    },
    /// A topic takes nothing.
    #[error(transparent)]
    Topic(#[from] KafkaFault),
    /// A file cannot be written.
    #[error("cannot {doing} {}: {source}; check that the disk has room and can be written to", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl OutboxError {
    /// Whether somebody else has the lane by now.
    pub(super) fn is_fenced(&self) -> bool {
        match self {
            Self::Store(error) => error.is_fenced(),
            Self::Topic(fault) => fault.kind == FaultKind::Fenced,
            _ => false,
        }
    }

    /// Whether the pipeline was given something that cannot work.
    pub(super) fn is_bad_input(&self) -> bool {
        match self {
            Self::Topic(fault) => is_bad_input(fault),
            Self::Gone { .. } => true,
            _ => false,
        }
    }
}

/// Whether a fault of a topic is one of what was declared, and not of the moment.
pub(super) fn is_bad_input(fault: &KafkaFault) -> bool {
    matches!(
        fault.kind,
        FaultKind::Setting | FaultKind::Denied | FaultKind::Missing
    )
}

/// What a lane has to send.
pub(super) struct Outbox {
    lane: u32,
    queues: Vec<Queue>,
}

/// What is to be sent to one addressee.
struct Queue {
    name: String,
    way: Way,
    kept: Kept,
    /// Entries before this one were sent.
    sent: u64,
    /// Entries that are in the database, behind those of the last commit.
    written: u64,
    /// The entry that is being filled.
    open: Vec<u8>,
    /// The last entry of the last commit, which is still in memory.
    last: Option<(u64, Bytes)>,
    numbered: u64,
}

enum Way {
    File(AppendFile),
    Topic(Box<Publisher>),
    Offline(Box<HistorySender>),
}

impl Outbox {
    /// For one lane, of which the last commit says what it still has to send. Nobody is asked yet.
    pub(super) fn new(
        lane: u32,
        addressees: Vec<Addressee>,
        kept: &BTreeMap<String, Kept>,
        waiting: &Waiting,
    ) -> Result<Self, OutboxError> {
        let is_there = |name: &String| addressees.iter().any(|other| other.name == *name);
        let mut gone = kept.iter().filter(|(name, _)| !is_there(name));
        if let Some((to, _)) = gone.find(|(_, kept)| kept.first < kept.next) {
            let to = to.clone();
            return Err(OutboxError::Gone { lane, to });
        }
        let queue = |Addressee { name, to }| {
            let kept = kept.get(&name).copied().unwrap_or_default();
            Queue {
                way: match to {
                    To::File(path) => Way::File(AppendFile::new(path, kept.length)),
                    To::Topic(to) => Way::Topic(Box::new(Publisher::new(to, waiting.clone()))),
                    To::Offline(place, figures) => {
                        let sender = HistorySender::new(place, lane, figures, waiting);
                        Way::Offline(Box::new(sender))
                    }
                },
                name,
                sent: kept.first,
                written: 0,
                open: Vec::new(),
                last: None,
                numbered: kept.numbered,
                kept,
            }
        };
        Ok(Self {
            lane,
            queues: addressees.into_iter().map(queue).collect(),
        })
    }

    /// Opens the topics: whoever had the lane before can send nothing more to them.
    pub(super) fn open(&mut self, keeper: &Keeper) -> Result<(), OutboxError> {
        for queue in &mut self.queues {
            let is_owed = queue.sent < queue.kept.next;
            if let Way::Topic(publisher) = &mut queue.way {
                publisher.open(is_owed, keeper)?;
            }
        }
        Ok(())
    }

    /// Takes a message that is to be sent to addressee number `to` after the next commit.
    pub(super) fn put(
        &mut self,
        to: usize,
        message: &Outgoing<'_>,
        keeper: &Keeper,
    ) -> Result<(), OutboxError> {
        let queue = &mut self.queues[to];
        entry::put(message, &mut queue.open);
        if queue.open.len() >= ENTRY_BYTES {
            let number = queue.kept.next + queue.written;
            let mut batch = keeper.changes();
            batch.put(&key(&queue.name, number), &queue.open);
            keeper.apply(batch)?;
            queue.written += 1;
            queue.open.clear();
        }
        Ok(())
    }

    /// Whether addressee number `to` is a topic, which takes no message that is too large.
    pub(super) fn is_topic(&self, to: usize) -> bool {
        matches!(self.queues[to].way, Way::Topic(_))
    }

    /// The number of the next message for an addressee whose messages are numbered by themselves.
    pub(super) fn number(&mut self, to: usize) -> u64 {
        let queue = &mut self.queues[to];
        queue.numbered += 1;
        queue.numbered - 1
    }

    /// Makes what waits a part of the next commit, and takes what was sent out of it.
    pub(super) fn commit(&mut self, batch: &mut StateBatch) -> BTreeMap<String, Kept> {
        for queue in &mut self.queues {
            queue.forget_sent(batch);
            let mut next = queue.kept.next + queue.written;
            if !queue.open.is_empty() {
                let entry = Bytes::from(std::mem::take(&mut queue.open));
                batch.put(&key(&queue.name, next), &entry);
                queue.last = Some((next, entry));
                next += 1;
            }
            queue.written = 0;
            queue.kept.next = next;
            queue.kept.numbered = queue.numbered;
        }
        self.kept()
    }

    /// Sends what the last commit holds. What was sent of it before is not sent twice. Where no broker
    /// answers and nobody waits any longer, the rest stays.
    pub(super) fn send(&mut self, keeper: &Keeper) -> Result<(), OutboxError> {
        self.send_as(keeper, false)
    }

    /// As [`Outbox::send`], with what would wait for more otherwise.
    pub(super) fn send_all(&mut self, keeper: &Keeper) -> Result<(), OutboxError> {
        self.send_as(keeper, true)
    }

    fn send_as(&mut self, keeper: &Keeper, all: bool) -> Result<(), OutboxError> {
        let lane = self.lane;
        for queue in &mut self.queues {
            let entries = queue.sent..queue.kept.next;
            if entries.is_empty() {
                continue;
            }
            let (name, last) = (&queue.name, &queue.last);
            let load = |number: u64| match last {
                Some((at, entry)) if *at == number => Ok(entry.clone()),
                _ => keeper
                    .get(&key(name, number))?
                    .ok_or_else(|| OutboxError::Damaged {
                        lane,
                        to: name.clone(),
                        entry: number,
                    }),
            };
            let entries = Entries {
                lane,
                to: name,
                numbers: entries,
                load: &load,
            };
            queue.sent = match &mut queue.way {
                Way::File(file) => file.append(queue.kept.length, &entries)?,
                Way::Topic(publisher) => publisher.send(&entries, keeper)?,
                Way::Offline(history) => history.send(&entries, all)?,
            };
            if queue.sent < queue.kept.next && !queue.waits() {
                let to = &queue.name;
                tracing::warn!(
                    lane,
                    to,
                    "not everything was sent; the lane's next owner does that"
                );
            }
        }
        Ok(())
    }

    /// Whether something waits that is sent when its time has come, also if nothing is committed any more.
    pub(super) fn is_waiting(&self) -> bool {
        let mut queues = self.queues.iter().filter(|queue| queue.waits());
        queues.any(|queue| queue.sent < queue.kept.next)
    }

    /// How many entries of the last commit are to be sent.
    pub(super) fn owed(&self) -> u64 {
        // What waits for more of its kind is not late.
        let queues = self.queues.iter().filter(|queue| !queue.waits());
        queues.map(|queue| queue.kept.next - queue.sent).sum()
    }

    /// Takes what was sent out of the last commit, if there is anything; what is new since then is not
    /// part of it.
    pub(super) fn settle(&mut self, batch: &mut StateBatch) -> Option<BTreeMap<String, Kept>> {
        let owed = |queue: &Queue| queue.kept.first < queue.sent;
        if !self.queues.iter().any(owed) {
            return None;
        }
        self.queues
            .iter_mut()
            .for_each(|queue| queue.forget_sent(batch));
        Some(self.kept())
    }

    fn kept(&self) -> BTreeMap<String, Kept> {
        let queues = self.queues.iter();
        queues
            .map(|queue| (queue.name.clone(), queue.kept))
            .collect()
    }
}

impl Queue {
    /// Whether entries wait until there are many.
    fn waits(&self) -> bool {
        matches!(self.way, Way::Offline(_))
    }

    fn forget_sent(&mut self, batch: &mut StateBatch) {
        for entry in self.kept.first..self.sent {
            batch.remove(&key(&self.name, entry));
        }
        self.kept.first = self.sent;
        if let Way::File(file) = &self.way {
            self.kept.length = file.length();
        }
    }
}

/// Entries that are to be sent to somebody, in order.
struct Entries<'a> {
    lane: u32,
    to: &'a str,
    numbers: Range<u64>,
    load: &'a dyn Fn(u64) -> Result<Bytes, OutboxError>,
}

impl Entries<'_> {
    fn load(&self, number: u64) -> Result<Bytes, OutboxError> {
        (self.load)(number)
    }

    fn messages<'b>(&self, number: u64, entry: &'b [u8]) -> Result<Vec<Outgoing<'b>>, OutboxError> {
        entry::messages(entry).ok_or_else(|| OutboxError::Damaged {
            lane: self.lane,
            to: self.to.to_owned(),
            entry: number,
        })
    }

    /// The earliest time that a message is dated; none if one is dated when it is sent.
    fn earliest(&self) -> Result<Option<i64>, OutboxError> {
        let mut earliest = i64::MAX;
        for number in self.numbers.clone() {
            let entry = self.load(number)?;
            for message in self.messages(number, &entry)? {
                let Some(timestamp) = message.timestamp else {
                    return Ok(None);
                };
                earliest = earliest.min(timestamp);
            }
        }
        Ok(Some(earliest))
    }
}

/// `0x03`, the addressee's name, a zero byte, the entry (8 bytes, big-endian).
fn key(to: &str, entry: u64) -> Vec<u8> {
    [&[OUTBOX], to.as_bytes(), &[0], &entry.to_be_bytes()].concat()
}
