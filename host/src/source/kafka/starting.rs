//! How a partition is started: at its cursor, or where the settings say.
//!
//! An assignment is accepted at once, and without any partition, so that the group is not held up by
//! lanes that open. A partition is added (`incremental_assign`, at its offset) when its cursor is
//! known, and its queue is split off before that. librdkafka 2.12 keeps a queue that a program has
//! split off, also over an assignment, so no message of it gets into the common queue. Nothing is
//! ever sought: a seek fails while a partition is only just starting.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::mailbox::From;
use super::member::Member;
use super::partition::Stage;
use super::reader::{Reader, add};
use super::{KafkaEvent, Start};
use crate::kafka::blame;

/// How long a broker may take to say where a partition begins and ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after it failed a start is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A partition that is to be started.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToStart {
    pub(super) partition: u32,
    from: From,
    /// Not before this time.
    due: Duration,
    /// Whether anybody was told that it fails.
    told: bool,
}

impl ToStart {
    pub(super) fn at_once(partition: u32, from: From) -> Self {
        Self {
            partition,
            from,
            due: Duration::ZERO,
            told: false,
        }
    }

    fn later(self, now: Duration) -> Self {
        Self {
            due: now + AGAIN,
            ..self
        }
    }
}

impl Reader {
    /// Starts what is to be started. What fails is tried again after a while, and everything else
    /// with it: a broker that does not answer costs some seconds each time.
    pub(super) fn start_all(&mut self) {
        let now = self.clock.now();
        let (due, later) = std::mem::take(&mut self.to_start)
            .into_iter()
            .partition::<Vec<_>, _>(|order| order.due <= now);
        self.to_start = later;
        let mut failed = false;
        for order in due {
            if failed {
                self.to_start.push(order.later(now));
            } else if let Err(error) = self.start(order.partition, order.from) {
                failed = true;
                if !order.told {
                    let doing = format!(
                        "find where to start partition {} of `{}`",
                        order.partition, self.settings.topic
                    );
                    self.trouble(blame(&doing, &error).to_string());
                }
                self.to_start.push(ToStart {
                    told: true,
                    ..order.later(now)
                });
            }
        }
    }

    fn start(&mut self, number: u32, from: From) -> KafkaResult<()> {
        let topic = self.settings.topic.as_str();
        let Some(partition) = self.partitions.get_mut(&number) else {
            return Ok(());
        };
        if !matches!(partition.stage, Stage::Waiting) {
            return Ok(());
        }
        let (low, high) = self
            .consumer
            .fetch_watermarks(topic, number as i32, PATIENCE)?;
        (partition.low, partition.high) = (low, high);
        let offset = match from {
            From::Offset(cursor) if (low..=high).contains(&cursor) => cursor,
            From::Offset(wanted) => {
                self.mailbox.tell(KafkaEvent::Missing {
                    partition: number,
                    wanted,
                    low,
                    high,
                });
                return Ok(());
            }
            // Nothing where all are older.
            From::Time(time) => since(&self.consumer, topic, number, time)?.unwrap_or(high),
            From::Settings => match self.settings.start {
                Start::Earliest => low,
                Start::Latest if number < self.at_first => high,
                Start::Latest => low,
                Start::Timestamp(time) => {
                    since(&self.consumer, topic, number, time)?.unwrap_or(high)
                }
            },
        };
        let Some(mut queue) = self.consumer.split_partition_queue(topic, number as i32) else {
            return Err(KafkaError::MetadataFetch(Code::UnknownPartition));
        };
        let bell = Arc::clone(&self.mailbox);
        queue.set_nonempty_callback(move || bell.ring());
        let mut assigned = TopicPartitionList::new();
        add(&mut assigned, topic, number, offset);
        // One that was paused when it went is paused still when it comes back.
        self.consumer.resume(&assigned)?;
        self.consumer.incremental_assign(&assigned)?;
        partition.start(queue, offset);
        self.mailbox.tell(KafkaEvent::Started {
            partition: number,
            offset,
        });
        Ok(())
    }
}

/// The offset of the first message that was recorded at `time` (microseconds) or later.
fn since(
    consumer: &BaseConsumer<Member>,
    topic: &str,
    partition: u32,
    time: i64,
) -> KafkaResult<Option<i64>> {
    // Kafka counts milliseconds, and nothing from before `time` is wanted.
    let millis = time.div_euclid(1000) + i64::from(time.rem_euclid(1000) > 0);
    let mut times = TopicPartitionList::new();
    add(&mut times, topic, partition, millis.max(0));
    let found = consumer.offsets_for_times(times, PATIENCE)?;
    for found in found.elements() {
        found.error()?;
        if let Offset::Offset(offset) = found.offset() {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}
