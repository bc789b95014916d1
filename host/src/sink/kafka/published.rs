//! How far a lane has published, as the topic itself says.
//!
//! The rows of a lane rise in (epoch, sequence), and a lane has one producer at a time. So in each
//! partition the lane's last message is its greatest, and of the partitions the greatest counts.
//! It is looked for backwards, in stretches that grow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{LaneTopic, headers};
use crate::kafka::{ClientSettings, FaultKind, KafkaFault, Reach, Troubles, blame};

/// How many offsets the first look goes back, and how much further each other one.
const STRETCH: i64 = 1000;
const GROWTH: i64 = 4;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a glance at the client takes.
const GLANCE: Duration = Duration::from_millis(100);

/// A place in a lane's output. The greater one was published later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The lane's epoch.
    pub epoch: u64,
    /// The number of the row.
    pub sequence: u64,
}

impl LaneTopic {
    /// The last row of this lane that was published; none if the topic holds none. What the outbox
    /// has up to it is not to be sent again.
    ///
    /// Open the lane first ([`super::LaneProducer::open`]): that ends what its last owner left open.
    /// Transactions of other lanes are waited for, as long as the sink's timeout.
    ///
    /// `since` says, in microseconds, that no row of the lane is dated earlier; what lies before the
    /// first message of that time is not looked at. Without it, a topic in which the lane has
    /// published nothing is read whole.
    ///
    /// # Errors
    ///
    /// No broker answers, transactions of others stay open for too long, or `stop` is set.
    pub fn published(
        &self,
        since: Option<i64>,
        stop: &AtomicBool,
    ) -> Result<Option<Published>, KafkaFault> {
        let committed = self.reader("read_committed")?;
        let all = self.reader("read_uncommitted")?;
        let topic = Reach {
            client: committed.client(),
            serve: &|| (0..64).for_each(|_| drop(committed.poll(Duration::ZERO))),
            troubles: committed.context(),
            settings: &self.settings.client,
            topic: &self.settings.topic,
            stop,
        }
        .topic()?;
        let mut greatest = None;
        for partition in 0..topic.partitions as i32 {
            let tail = Tail {
                to: self,
                committed: &committed,
                all: &all,
                partition,
                stop,
            };
            greatest = greatest.max(tail.last(since)?);
        }
        Ok(greatest)
    }

    fn reader(&self, isolation: &str) -> Result<BaseConsumer<Troubles>, KafkaFault> {
        let mut config = self.settings.reader();
        config.set("isolation.level", isolation);
        let reader = config.create_with_context(Troubles::default());
        reader.map_err(|error| ClientSettings::refuse(&error))
    }
}

/// The end of a partition.
struct Tail<'a> {
    to: &'a LaneTopic,
    committed: &'a BaseConsumer<Troubles>,
    all: &'a BaseConsumer<Troubles>,
    partition: i32,
    stop: &'a AtomicBool,
}

impl Tail<'_> {
    fn last(&self, since: Option<i64>) -> Result<Option<Published>, KafkaFault> {
        let (low, end) = self.settled()?;
        let floor = match since {
            Some(time) => self.offset_at(time).map_err(|error| self.blame(&error))?,
            None => Some(low),
        };
        // With nothing as late as that, there is nothing to look at.
        let floor = floor.map_or(end, |floor| floor.max(low));
        let (mut to, mut stretch) = (end, STRETCH);
        while to > floor {
            let from = (to - stretch).max(floor);
            let found = self.scan(from, to)?;
            if found.is_some() {
                return Ok(found);
            }
            (to, stretch) = (from, stretch * GROWTH);
        }
        Ok(None)
    }

    /// Where the partition begins, and ends: the end of everything, once all that was there when
    /// this was called is committed or aborted. What is behind an open transaction is not readable.
    fn settled(&self) -> Result<(i64, i64), KafkaFault> {
        let topic = &self.to.settings.topic;
        let ends = |reader: &BaseConsumer<Troubles>| {
            let ends = reader.fetch_watermarks(topic, self.partition, PATIENCE);
            ends.map_err(|error| self.blame(&error))
        };
        let (_, end) = ends(self.all)?;
        let mut left = self.to.settings.timeout;
        loop {
            let (low, stable) = ends(self.committed)?;
            if stable >= end {
                return Ok((low, end));
            }
            if left.is_zero() || self.stop.load(Ordering::Relaxed) {
                return Err(KafkaFault::new(
                    FaultKind::Unreachable,
                    format!(
                        "cannot see the end of partition {} of `{topic}`: a transaction of another producer stays open",
                        self.partition
                    ),
                    "wait until it times out (`transaction.timeout.ms`), or raise `timeout_seconds`",
                ));
            }
            // Nothing tells when it ends.
            let _ = self.committed.poll(GLANCE);
            left = left.saturating_sub(GLANCE);
        }
    }

    fn offset_at(&self, time: i64) -> KafkaResult<Option<i64>> {
        let mut times = TopicPartitionList::new();
        let millis = Offset::Offset(time.div_euclid(1000).max(0));
        times.add_partition_offset(&self.to.settings.topic, self.partition, millis)?;
        let found = self.all.offsets_for_times(times, PATIENCE)?;
        for found in found.elements() {
            found.error()?;
            if let Offset::Offset(offset) = found.offset() {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// The lane's last message between two offsets.
    fn scan(&self, from: i64, to: i64) -> Result<Option<Published>, KafkaFault> {
        let mut assigned = TopicPartitionList::new();
        let topic = &self.to.settings.topic;
        let assign = assigned
            .add_partition_offset(topic, self.partition, Offset::Offset(from))
            .and_then(|()| self.committed.assign(&assigned));
        assign.map_err(|error| self.blame(&error))?;
        let mut last = None;
        let mut silence = Duration::ZERO;
        loop {
            match self.committed.poll(GLANCE) {
                Some(Ok(message)) if message.offset() >= to => break,
                Some(Ok(message)) => {
                    let lane = self.to.lane.name();
                    let at = message.headers().and_then(|it| headers::read(it, lane));
                    last = last.max(at);
                    silence = Duration::ZERO;
                }
                // All up to `to` is stable, so the end is behind it.
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                // The client goes on by itself, or falls silent.
                Some(Err(_)) => {}
                None if silence >= self.to.settings.timeout
                    || self.stop.load(Ordering::Relaxed) =>
                {
                    return Err(self.blame(&KafkaError::Global(Code::OperationTimedOut)));
                }
                None => silence += GLANCE,
            }
        }
        self.committed
            .unassign()
            .map_err(|error| self.blame(&error))?;
        Ok(last)
    }

    fn blame(&self, error: &KafkaError) -> KafkaFault {
        let doing = format!(
            "find what lane {} has published to partition {} of `{}`",
            self.to.lane, self.partition, self.to.settings.topic
        );
        blame(&doing, error)
    }
}
