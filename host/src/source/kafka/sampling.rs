//! A look at the newest messages of a partition, or for the oldest ones, by a client of its own that belongs to no group.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::BatchBuilder;
use super::{KafkaFault, KafkaSettings};
use crate::kafka::{ClientSettings, blame};
use crate::source::messages::Messages;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The newest messages of a partition, at most `most` and perhaps fewer: none where it is empty. Nothing is committed,
/// and the group of the settings hears nothing of it.
///
/// # Errors
///
/// No broker answers in time, or it refuses.
pub fn newest(settings: &KafkaSettings, partition: u32, most: u16) -> Result<Messages, KafkaFault> {
    let topic = settings.topic.as_str();
    let failed = |error: &KafkaError| {
        let doing = format!("look at the newest messages of partition {partition} of `{topic}`");
        blame(&doing, error)
    };
    let consumer = onlooker(settings)?;
    let number = partition as i32;
    let watermarks = consumer.fetch_watermarks(topic, number, PATIENCE);
    let (low, high) = watermarks.map_err(|error| failed(&error))?;
    let mut batch = BatchBuilder::new(settings.headers);
    if high > low {
        let mut assigned = TopicPartitionList::new();
        let from = low.max(high - i64::from(most));
        let added = assigned.add_partition_offset(topic, number, Offset::Offset(from));
        let assigned = added.and_then(|()| consumer.assign(&assigned));
        assigned.map_err(|error| failed(&error))?;
        while batch.len() < usize::from(most) {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => batch.push(&message),
                Some(Err(KafkaError::PartitionEOF(_))) | None => break,
                Some(Err(error)) => return Err(failed(&error)),
            }
        }
    }
    Ok(batch.finish(partition))
}

/// The offsets of the oldest messages that partitions hold, or of the next one where they hold none.
///
/// # Errors
///
/// No broker answers in time, or it refuses.
pub fn oldest(
    settings: &KafkaSettings,
    partitions: impl IntoIterator<Item = u32>,
) -> Result<Vec<(u32, i64)>, KafkaFault> {
    let topic = settings.topic.as_str();
    let consumer = onlooker(settings)?;
    let low = |partition: u32| {
        let watermarks = consumer.fetch_watermarks(topic, partition as i32, PATIENCE);
        let (low, _) = watermarks.map_err(|error| {
            let doing = format!("ask what partition {partition} of `{topic}` holds");
            blame(&doing, &error)
        })?;
        Ok((partition, low))
    };
    partitions.into_iter().map(low).collect()
}

/// A client that belongs to no group.
fn onlooker(settings: &KafkaSettings) -> Result<BaseConsumer, KafkaFault> {
    let mut config = settings.consumer();
    config.remove("group.instance.id");
    config
        .set("enable.auto.commit", "false")
        .set("statistics.interval.ms", "0");
    let created = config.create();
    created.map_err(|error| ClientSettings::refuse(&error))
}
