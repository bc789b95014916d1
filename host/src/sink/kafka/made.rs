//! A topic that Penstock makes for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaSinkSettings;
use crate::kafka::{ClientSettings, FaultKind, KafkaFault, blame};

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before a broker is asked again, and how often it is.
const GLANCE: Duration = Duration::from_millis(100);
const TRIES: u32 = 100;

/// What a topic is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Making {
    /// How many partitions it is to have.
    pub partitions: u32,
    /// How many brokers keep each; as the cluster has it if none.
    pub replication: Option<u32>,
    /// Bytes of a message, at most.
    pub message_bytes: usize,
}

impl KafkaSinkSettings {
    /// Makes the topic if there is none, and waits until each of its partitions is led. With `empty`,
    /// messages that are in it are deleted.
    ///
    /// # Errors
    ///
    /// It cannot be made, has another number of partitions, or its messages cannot be deleted.
    pub fn make(&self, making: &Making, empty: bool, stop: &AtomicBool) -> Result<(), KafkaFault> {
        let topic = &self.topic;
        let admin: AdminClient<DefaultClientContext> =
            (self.client.config().create()).map_err(|error| ClientSettings::refuse(&error))?;
        let mut found = self.partitions(&admin, stop)?;
        let is_new = found == 0;
        if is_new {
            self.create(&admin, making)?;
        }
        // That it is made is said before everybody knows of it.
        for _ in 0..TRIES {
            if found > 0 || stop.load(Ordering::Relaxed) {
                break;
            }
            std::thread::park_timeout(GLANCE);
            found = self.partitions(&admin, stop)?;
        }
        if found == 0 {
            return Err(self.unled());
        }
        if found != making.partitions {
            return Err(KafkaFault::new(
                FaultKind::Setting,
                format!(
                    "topic `{topic}` has {found} partitions, and is to have {}",
                    making.partitions
                ),
                format!("write `partitions = {found}`, or name a topic that is not there yet"),
            ));
        }
        if empty && !is_new {
            self.delete(&admin, found)?;
        }
        Ok(())
    }

    /// How many partitions of the topic are led; none if there is no topic.
    fn partitions(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        stop: &AtomicBool,
    ) -> Result<u32, KafkaFault> {
        let mut left = TRIES;
        loop {
            let metadata = admin
                .inner()
                .fetch_metadata(Some(&self.topic), Duration::from_secs(1));
            left -= 1;
            match metadata {
                Ok(metadata) => {
                    let partitions = metadata.topics().iter().flat_map(|it| it.partitions());
                    let (mut all, mut led) = (0, 0);
                    for partition in partitions {
                        all += 1;
                        led += u32::from(partition.leader() >= 0);
                    }
                    if all == led {
                        return Ok(all);
                    }
                    if left == 0 || stop.load(Ordering::Relaxed) {
                        return Err(self.unled());
                    }
                }
                Err(error) if left == 0 || stop.load(Ordering::Relaxed) => {
                    return Err(blame(&format!("look for topic `{}`", self.topic), &error));
                }
                Err(_) => {}
            }
            std::thread::park_timeout(GLANCE);
        }
    }

    fn create(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        making: &Making,
    ) -> Result<(), KafkaFault> {
        let replication = making.replication.map_or(-1, |copies| copies as i32);
        let replication = TopicReplication::Fixed(replication);
        let bytes = making.message_bytes.to_string();
        let new = NewTopic::new(&self.topic, making.partitions as i32, replication)
            .set("cleanup.policy", "delete")
            .set("max.message.bytes", &bytes);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = block_on(admin.create_topics([&new], &options));
        let made = made.map_err(|error| self.cannot("make", making, &error))?;
        match made.into_iter().next() {
            // Another process was quicker.
            None | Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => {
                tracing::info!(
                    topic = self.topic,
                    partitions = making.partitions,
                    "made the topic"
                );
                Ok(())
            }
            Some(Err((_, code))) => {
                let error = rdkafka::error::KafkaError::AdminOp(code);
                Err(self.cannot("make", making, &error))
            }
        }
    }

    fn cannot(
        &self,
        doing: &str,
        making: &Making,
        error: &rdkafka::error::KafkaError,
    ) -> KafkaFault {
        let mut fault = blame(&format!("{doing} topic `{}`", self.topic), error);
        fault.hint = format!(
            "let this user make it, or make it yourself: kafka-topics.sh --create --topic {} --partitions {} --config cleanup.policy=delete --config max.message.bytes={}",
            self.topic, making.partitions, making.message_bytes
        );
        fault
    }

    /// Deletes all messages that are there.
    fn delete(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        partitions: u32,
    ) -> Result<(), KafkaFault> {
        let blamed = |error| {
            let doing = format!("delete the messages of topic `{}`", self.topic);
            let mut fault = blame(&doing, &error);
            fault.hint = "let this user delete records, or delete the topic yourself".to_owned();
            fault
        };
        let delete = || -> KafkaResult<()> {
            let mut offsets = TopicPartitionList::new();
            for partition in 0..partitions as i32 {
                offsets.add_partition_offset(&self.topic, partition, Offset::End)?;
            }
            let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
            let deleted = block_on(admin.delete_records(&offsets, &options))?;
            deleted.elements().iter().try_for_each(|it| it.error())
        };
        delete().map_err(blamed)
    }

    fn unled(&self) -> KafkaFault {
        KafkaFault::new(
            FaultKind::Unreachable,
            format!("some partitions of topic `{}` have no leader", self.topic),
            "wait until their brokers are back",
        )
    }
}
