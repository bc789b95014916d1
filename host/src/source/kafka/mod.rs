//! A Kafka topic, as the messages of the partitions that this process owns.
//!
//! In come settings and a group that may have other members. Out come [`KafkaEvent`]s in one order:
//! partitions that are ours, their messages, and that they are ours no longer. Whoever reads them
//! answers an assignment with each partition's cursor ([`KafkaSource::start`]) and a revocation when
//! its lanes have committed ([`KafkaSource::release`]).
//!
//! A thread of this room talks to the client and to nobody else, so that a reader that is slow, or
//! waits for a lane, never makes the group believe that this process is dead.
//!
//! What it must never do: skip messages that nobody asked it to skip, hold more of a partition than
//! its window, or take the offsets that it commits to Kafka for the truth. They are for tools that
//! show lag; cursors are the lanes' own.

mod batch;
mod mailbox;
mod member;
mod observing;
mod partition;
mod reader;
mod sampling;
mod settings;
mod starting;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use self::mailbox::{From, Mailbox, Order};
use self::member::Member;
use self::reader::Reader;
pub use self::sampling::{newest, oldest};
pub use self::settings::{KafkaSettings, Start};
pub use self::status::{PartitionState, PartitionStatus};
use super::messages::Messages;
use crate::clock::Clock;
pub use crate::kafka::{ClientSettings, FaultKind, KafkaFault};
use crate::kafka::{Reach, blame};

pub use super::flow::Held;

/// What happens to the partitions that are read.
#[derive(Debug)]
pub enum KafkaEvent {
    /// These are ours now. Nothing is read of one before [`KafkaSource::start`].
    Assigned(Vec<u32>),
    /// One is read, from this offset on.
    Started {
        /// The partition.
        partition: u32,
        /// The first offset that may come.
        offset: i64,
    },
    /// Messages of one partition.
    Messages(Box<Batch>),
    /// Everything of a partition was read, as the broker says, up to but without this offset.
    AtEnd {
        /// The partition.
        partition: u32,
        /// The offset that the next message will have, or a greater one.
        next: i64,
    },
    /// The topic does not hold what was to be read next: it was deleted, by age or with the topic.
    /// Nothing is read before another [`KafkaSource::start`].
    Missing {
        /// The partition.
        partition: u32,
        /// What was to be read.
        wanted: i64,
        /// The first offset that there is.
        low: i64,
        /// The offset after the last one that there is.
        high: i64,
    },
    /// These are to go to another member, and no more of them will come. Others wait until all are
    /// given up by [`KafkaSource::release`]; after three quarters of `max.poll.interval.ms` they are
    /// lost.
    Revoked(Vec<u32>),
    /// These were taken: this process was silent for too long, or another one took its place.
    /// Somebody else may be reading them already, so nothing of them may be committed any more.
    Lost(Vec<u32>),
    /// The topic has more partitions than before. They are assigned like others.
    Grown {
        /// How many there were.
        before: u32,
        /// How many there are.
        after: u32,
    },
    /// No broker answers; for what reason. The client keeps trying.
    Unreachable(String),
    /// A partition is read no more, as it was asked: nothing of it comes until it is started again.
    Rested(u32),
    /// A broker answers again.
    Reachable,
    /// Something fails that the client keeps trying, in words.
    Trouble(String),
}

/// Messages, and the room that they take in their partition's window.
#[derive(Debug)]
pub struct Batch {
    /// The messages; at least one.
    pub messages: Messages,
    /// To be kept for as long as the messages are: when it is dropped, more may be read.
    pub held: Held,
}

/// A member of a group that reads a topic.
#[derive(Debug)]
pub struct KafkaSource {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    partitions: u32,
}

impl KafkaSource {
    /// Joins the group, after the brokers were asked whether they know us and the topic.
    ///
    /// Blocks for up to half a minute while no broker answers, or until `stop` is set.
    ///
    /// # Errors
    ///
    /// Settings do not go together, no broker answers, credentials are refused, or there is no such
    /// topic.
    pub fn connect(
        settings: &KafkaSettings,
        clock: Arc<dyn Clock>,
        stop: &AtomicBool,
    ) -> Result<Self, KafkaFault> {
        let mailbox = Arc::new(Mailbox::default());
        let config = settings.consumer();
        let consumer: Result<BaseConsumer<Member>, _> =
            config.create_with_context(Member::default());
        let mut consumer = consumer.map_err(|error| ClientSettings::refuse(&error))?;
        let topic = Reach {
            client: consumer.client(),
            // Each of its errors is an event of its own.
            serve: &|| (0..64).for_each(|_| drop(consumer.poll(Duration::ZERO))),
            troubles: consumer.context().troubles(),
            settings: &settings.client,
            topic: &settings.topic,
            stop,
        }
        .topic()?;
        let bell = Arc::clone(&mailbox);
        consumer.set_nonempty_callback(move || bell.ring());
        consumer
            .subscribe(&[&settings.topic])
            .map_err(|error| blame(&format!("subscribe to `{}`", settings.topic), &error))?;
        let ending = Ending(Arc::clone(&mailbox), settings.topic.clone());
        let reader = Reader::new(consumer, settings, Arc::clone(&mailbox), clock, topic);
        let thread = std::thread::Builder::new()
            .name(format!("kafka-{}", settings.topic))
            .spawn(move || {
                // It goes last: the client is closed with the reader.
                let _ending = ending;
                reader.run();
            })
            .map_err(|error| {
                KafkaFault::new(
                    FaultKind::Refused,
                    format!(
                        "cannot start the thread that reads `{}`: {error}",
                        settings.topic
                    ),
                    "let this process have more threads",
                )
            })?;
        Ok(Self {
            mailbox,
            thread: Some(thread),
            partitions: topic.partitions,
        })
    }

    /// How many partitions the topic had when it was connected to.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The next event, for which this waits up to `wait`; none if there is none by then.
    ///
    /// # Errors
    ///
    /// Nothing more will come: this member was fenced, or the client has failed for good.
    pub fn next(&self, wait: Duration) -> Result<Option<KafkaEvent>, KafkaFault> {
        self.mailbox.next(wait)
    }

    /// Reads an assigned partition from `cursor` on, the offset of the next message to read, or
    /// where the settings say if there is none.
    pub fn start(&self, partition: u32, cursor: Option<i64>) {
        let from = cursor.map_or(From::Settings, From::Offset);
        self.mailbox.order(Order::Start { partition, from });
    }

    /// Reads an assigned partition no more, without giving it up. [`KafkaEvent::Rested`] says that this is done;
    /// it may be started again then. One that is being revoked is released instead.
    pub fn rest(&self, partition: u32) {
        self.mailbox.order(Order::Rest(partition));
    }

    /// Reads an assigned partition from the first message on that was recorded at a time or later, in microseconds.
    pub fn start_since(&self, partition: u32, time: i64) {
        let from = From::Time(time);
        self.mailbox.order(Order::Start { partition, from });
    }

    /// Gives up a revoked partition: its lanes have committed.
    pub fn release(&self, partition: u32) {
        self.mailbox.order(Order::Release(partition));
    }

    /// Tells the group how far a partition has been read, for tools that show lag: `next` is the
    /// offset of the next message to read. It is sent some time later. A failure changes nothing.
    pub fn commit(&self, partition: u32, next: i64) {
        self.mailbox.commit(partition, next);
    }

    /// Whether the group has told this member what is its share, which may be nothing.
    pub fn has_joined(&self) -> bool {
        self.mailbox.has_joined.load(Ordering::Relaxed)
    }

    /// How far each partition that is ours has been read, by rising number.
    pub fn status(&self) -> Vec<PartitionStatus> {
        self.mailbox.status()
    }

    /// Leaves the group, for which this waits up to `patience`. What was committed is sent first; a
    /// member with an `instance` keeps its place for when it comes back.
    ///
    /// Gives whether all of that was done in time.
    pub fn leave(&self, patience: Duration) -> bool {
        self.mailbox.leave(patience)
    }
}

impl Drop for KafkaSource {
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
            self.0.fail(KafkaFault::new(
                FaultKind::Refused,
                format!("reading `{}` has failed inside Penstock", self.1),
                "please report it, with what was printed before",
            ));
        }
        self.0.end();
    }
}
