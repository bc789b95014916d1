//! The broker, its topics, and how far groups are with them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::executor::block_on;
use penstock_servers::{Installed, Kafka, Server};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PARTITIONS;

/// One who produces.
pub(super) type Producer = ThreadedProducer<DefaultProducerContext>;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A broker, as long as this is.
pub(super) struct Broker {
    server: Server<Kafka>,
}

/// A message to be produced: its key, by which it is put into a partition, and its value.
pub(super) struct Message {
    pub(super) key: u64,
    pub(super) value: String,
}

impl Broker {
    pub(super) fn start() -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2);
        let target = target.context("the program lies in <target>/release")?;
        let server = Server::start(Kafka, &Installed::below(target))?;
        Ok(Self { server })
    }

    pub(super) fn bootstrap(&self) -> String {
        self.server.bootstrap()
    }

    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    pub(super) fn create(&self, topic: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config().create()?;
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = block_on(admin.create_topics([&new], &AdminOptions::new()))?;
        for made in made {
            if let Err((topic, code)) = made {
                bail!("cannot make topic {topic}: {code}");
            }
        }
        let led = || -> Result<bool> {
            let metadata = admin.inner().fetch_metadata(Some(topic), LIMIT)?;
            let partitions = metadata.topics()[0].partitions();
            Ok(!partitions.is_empty() && partitions.iter().all(|it| it.leader() >= 0))
        };
        while !led()? {}
        Ok(())
    }

    /// One who produces, with what most clients do by default, and the partition of each key given.
    pub(super) fn producer(&self) -> Result<Producer> {
        let mut config = self.config();
        config
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "1000000");
        Ok(config.create()?)
    }

    /// Produces all messages, and waits until the broker has them.
    pub(super) fn produce(
        &self,
        topic: &str,
        messages: impl Iterator<Item = Result<Message>>,
    ) -> Result<()> {
        let producer = self.producer()?;
        for message in messages {
            send(&producer, topic, &message?)?;
        }
        flush(&producer)
    }

    /// One who asks how far a group is with a topic.
    pub(super) fn watch(&self, group: &str, topic: &str) -> Result<Watch> {
        let mut config = self.config();
        let consumer = config.set("group.id", group).create()?;
        Ok(Watch {
            consumer,
            topic: topic.to_owned(),
        })
    }
}

/// Asks how far a group is with a topic.
pub(super) struct Watch {
    consumer: BaseConsumer,
    topic: String,
}

impl Watch {
    /// The offsets after the last messages of the topic's partitions, summed.
    pub(super) fn end(&self) -> Result<i64> {
        let ends = (0..PARTITIONS).map(|partition| {
            let found = self
                .consumer
                .fetch_watermarks(&self.topic, partition, LIMIT);
            Ok(found?.1)
        });
        ends.sum()
    }

    /// The offsets that the group has committed, summed.
    pub(super) fn committed(&self) -> Result<i64> {
        let mut all = TopicPartitionList::new();
        all.add_partition_range(&self.topic, 0, PARTITIONS - 1);
        let committed = match self.consumer.committed_offsets(all, LIMIT) {
            Ok(committed) => committed,
            // The group's coordinator may be just coming.
            Err(_) => return Ok(0),
        };
        let offsets = committed.elements();
        let offsets = offsets.iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        });
        Ok(offsets.sum())
    }

    /// How many messages the group has not committed yet.
    pub(super) fn lag(&self) -> Result<i64> {
        Ok(self.end()? - self.committed()?)
    }
}

/// Sends one message, for which this waits while there is no room.
pub(super) fn send(producer: &Producer, topic: &str, message: &Message) -> Result<()> {
    let partition = (message.key % PARTITIONS as u64) as i32;
    let key = message.key.to_string();
    let mut record = BaseRecord::to(topic)
        .partition(partition)
        .key(&key)
        .payload(&message.value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Waits until the broker has everything that was sent. A producer that goes before takes along what it has.
pub(super) fn flush(producer: &Producer) -> Result<()> {
    Ok(producer.flush(LIMIT)?)
}

/// The lines of all files of a folder, keyed by driver.
pub(super) fn lines(folder: &Path) -> Result<impl Iterator<Item = Result<Message>> + use<>> {
    let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = files.collect::<Result<Vec<_>>>()?;
    files.sort();
    let lines = files.into_iter().flat_map(|path| {
        let file = File::open(&path).expect("it was just listed");
        BufReader::with_capacity(1 << 20, file).lines()
    });
    Ok(lines.map(|line| {
        let line = line?;
        let key = driver(&line).context("each ride has a driver")?;
        Ok(Message { key, value: line })
    }))
}

/// The driver of a ride.
fn driver(line: &str) -> Option<u64> {
    let digits = line.split_once("\"driver_id\":")?.1;
    let end = digits.find(|it: char| !it.is_ascii_digit())?;
    digits[..end].parse().ok()
}
