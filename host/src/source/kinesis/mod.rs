//! A Kinesis stream, as the messages of its shards.
//!
//! In come settings and a stream that may be resharded at any time. Out come [`KinesisEvent`]s in one
//! order: shards that have appeared, their messages, and that they are read. Whoever reads them says
//! of each shard where to start ([`KinesisSource::start`]); a shard with parents starts when all of
//! theirs was handed out, so that the records of a key come in their order over any resharding.
//!
//! A thread of this room asks the service, one request for each shard at a time, and never waits for
//! those who read: what is under way is bounded by a window for each shard. Time is told by the clock
//! that is handed in alone.
//!
//! What it must never do: skip records that nobody asked it to skip, hold more of a shard than its
//! window and one answer, start a child before its parents are read, or show a secret.

mod aggregated;
mod batch;
mod connect;
mod fault;
mod hearing;
mod mailbox;
mod place;
mod reader;
mod service;
mod settings;
mod shard;
mod status;
mod waits;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;

use self::connect::Connecting;
pub use self::fault::{FaultKind, KinesisFault};
use self::mailbox::Mailbox;
pub use self::place::{Place, Places, ShardCursor, UnknownCursor};
use self::reader::Reader;
pub use self::settings::{Keys, KinesisSettings, Misplaced, Start};
pub use self::status::{ShardState, ShardStatus};
pub use super::flow::Held;
use super::messages::Messages;
use crate::clock::Clock;

/// What happens to the shards of a stream.
#[derive(Debug)]
pub enum KinesisEvent {
    /// These have appeared, parents before their children. Nothing is read of one before
    /// [`KinesisSource::start`].
    Shards(Vec<ShardInfo>),
    /// One is read: it was ordered, and its parents are read.
    Started {
        /// The shard.
        shard: u32,
        /// From where: for one without a cursor, one that says the same in later runs too. Those who
        /// keep cursors keep it, or `latest` would be later each time. None if the service does not
        /// say what time it is.
        from: Option<ShardCursor>,
        /// The offset that its next message will have.
        offset: i64,
    },
    /// Messages of one shard.
    Messages(Box<Batch>),
    /// Everything of a shard was read, as the service says. Told again after more has come.
    AtEnd {
        /// The shard.
        shard: u32,
    },
    /// All of a shard was handed out, and nothing more will come of it: it was split or merged. Its
    /// children may start when their other parents have ended too. They have been told before, or are
    /// with the next list of shards, which is asked for at once.
    Closed {
        /// The shard.
        shard: u32,
    },
    /// The stream does not hold what was to be read next: it was trimmed, or the stream was made
    /// anew. Nothing is read before another [`KinesisSource::start`].
    Missing {
        /// The shard.
        shard: u32,
        /// The number of the record after which to go on; none for one that was to be read by time.
        wanted: Option<String>,
        /// The number of the first record that there is after it, as far as that is known.
        first: Option<String>,
        /// What the service says.
        reason: String,
    },
    /// The service asks to be asked less often, and is; in its words. Told once until it was quiet
    /// about it for a minute.
    Throttled(String),
    /// The service does not answer; for what reason. It is asked again and again.
    Unreachable(String),
    /// The service answers again.
    Reachable,
    /// Something fails that is tried again, in words.
    Trouble(String),
}

/// A shard that has appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its number in this run: the first shard has 0, and parents have smaller ones than children.
    pub shard: u32,
    /// Its name in the stream, which stays.
    pub id: String,
    /// Those that it was split or merged from, as far as the stream still has them.
    pub parents: Vec<u32>,
    /// The hash keys of its records.
    pub hash_keys: RangeInclusive<u128>,
    /// Whether no records are added to it any more.
    pub closed: bool,
}

/// Messages, where they lie, and the room that they take in their shard's window.
#[derive(Debug)]
pub struct Batch {
    /// The messages; at least one. Offsets count the messages of the shard that were read, from 0
    /// or from the cursor on, and rise by one.
    pub messages: Messages,
    /// Where they lie in the shard. These, not offsets, are what cursors are compared with.
    pub places: Places,
    /// To be kept for as long as the messages are: when it is dropped, more may be read.
    pub held: Held,
}

impl Batch {
    /// The cursor of one who has read up to and with the message of this row.
    pub fn cursor(&self, row: usize) -> ShardCursor {
        ShardCursor::After {
            place: self.places.of(row),
            offset: self.messages.offsets[row],
        }
    }

    /// The place of the first message.
    pub fn first(&self) -> Place {
        self.places.of(0)
    }

    /// The place of the last message.
    pub fn last(&self) -> Place {
        self.places.of(self.places.len() - 1)
    }
}

/// One who reads a stream.
#[derive(Debug)]
pub struct KinesisSource {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl KinesisSource {
    /// Looks for credentials, asks whether the stream is there, registers its consumer if the
    /// settings name one, and begins to read. Requests run on `io`, which must have timers; `clock`
    /// says when the next ones are due.
    ///
    /// Blocks for up to half a minute while the service does not answer, or until `stop` is set; two
    /// while a consumer is registered. Not to be called on a thread of `io`.
    ///
    /// # Errors
    ///
    /// There are no credentials, they are refused, there is no such stream, or nothing answers.
    pub fn connect(
        settings: &KinesisSettings,
        io: Handle,
        clock: Arc<dyn Clock>,
        stop: &AtomicBool,
    ) -> Result<Self, KinesisFault> {
        let connecting = Connecting {
            settings,
            io: &io,
            clock: &clock,
            stop,
        };
        let connected = connecting.connect()?;
        let mailbox = Arc::new(Mailbox::default());
        let ending = Ending(Arc::clone(&mailbox), settings.stream.clone());
        let reader = Reader::new(connected, settings, Arc::clone(&mailbox), clock, io);
        let thread = std::thread::Builder::new()
            .name(format!("kinesis-{}", settings.name()))
            .spawn(move || {
                // It goes last: requests are given up with the reader.
                let _ending = ending;
                reader.run();
            })
            .map_err(|error| {
                KinesisFault::new(
                    FaultKind::Refused,
                    format!(
                        "cannot start the thread that reads `{}`: {error}",
                        settings.stream
                    ),
                    "let this process have more threads",
                )
            })?;
        Ok(Self {
            mailbox,
            thread: Some(thread),
        })
    }

    /// The next event, for which this waits up to `wait`; none if there is none by then.
    ///
    /// # Errors
    ///
    /// Nothing more will come: the stream was deleted, or the service does not accept us any more.
    pub fn next(&self, wait: Duration) -> Result<Option<KinesisEvent>, KinesisFault> {
        self.mailbox.next(wait)
    }

    /// Reads a shard behind `cursor`, or without one where the settings say; a shard whose parents
    /// were read is then read whole. It may be ordered before its parents are read, and waits for
    /// them. To be said also of shards that were finished before, or their children wait for ever.
    pub fn start(&self, shard: u32, cursor: Option<ShardCursor>) {
        self.mailbox.start(shard, cursor);
    }

    /// How far each shard has been read, by rising number.
    pub fn status(&self) -> Vec<ShardStatus> {
        self.mailbox.status()
    }

    /// Ends reading, for which this waits up to `patience`. Gives whether it has ended in time.
    pub fn leave(&self, patience: Duration) -> bool {
        self.mailbox.leave(patience)
    }
}

impl Drop for KinesisSource {
    fn drop(&mut self) {
        let left = self.mailbox.leave(Duration::ZERO);
        if left && let Some(thread) = self.thread.take() {
            // A panic in there has been printed, and there is nothing left to do.
            let _ = thread.join();
        }
    }
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Mailbox>, String);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(KinesisFault::new(
                FaultKind::Refused,
                format!("reading `{}` has failed inside Penstock", self.1),
                "please report it, with what was printed before",
            ));
        }
        self.0.end();
    }
}
