//! Settings of a Kafka sink, and what a lane is called there.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::kafka::{ClientSettings, KafkaFault, Reach, Table, Troubles};

/// What a sink is made with. The table of docs/kafka.md explains each.
#[derive(Debug, Clone)]
pub struct KafkaSinkSettings {
    /// The topic.
    pub topic: String,
    /// The bytes of a lane that may be on their way to the broker.
    pub window_bytes: usize,
    /// How long a send, a commit or an abort may take in all.
    pub timeout: Duration,
    /// What goes to librdkafka.
    pub client: ClientSettings,
}

/// A lane of a pipeline, by the name that its messages bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane(String);

impl Lane {
    /// Lane `number` of `pipeline`.
    pub fn new(pipeline: &str, number: u32) -> Self {
        Self(format!("{pipeline}/{number}"))
    }

    /// What it gives beside its rows, numbered by itself: `rides/3/late`.
    #[must_use]
    pub fn beside(self, what: &str) -> Self {
        Self(format!("{self}/{what}"))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The topic, as one lane publishes to it.
#[derive(Debug, Clone)]
pub struct LaneTopic {
    pub(super) settings: KafkaSinkSettings,
    pub(super) lane: Lane,
}

impl LaneTopic {
    /// The topic of `settings` for one lane.
    pub fn new(settings: &KafkaSinkSettings, lane: Lane) -> Self {
        Self {
            settings: settings.clone(),
            lane,
        }
    }

    /// The lane.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.settings.topic
    }
}

impl KafkaSinkSettings {
    /// Reads settings: names and values.
    ///
    /// # Errors
    ///
    /// One is missing, unknown, not the user's to set, or wrong.
    pub fn parse(entries: impl IntoIterator<Item = (String, String)>) -> Result<Self, KafkaFault> {
        let mut table = Table::new(entries);
        let seconds = table.number("timeout_seconds", 60)?;
        Ok(Self {
            topic: table.need("topic", "the topic to write")?,
            window_bytes: table.number("window_bytes", 16 << 20)?,
            timeout: Duration::from_secs(seconds as u64),
            client: table.client()?,
        })
    }

    /// Asks the brokers whether they know us and have the topic.
    ///
    /// # Errors
    ///
    /// Settings do not go together, no broker answers, credentials are refused, or there is no such topic.
    pub fn reach(&self, stop: &AtomicBool) -> Result<(), KafkaFault> {
        let reader: Result<BaseConsumer<Troubles>, _> =
            self.reader().create_with_context(Troubles::default());
        let reader = reader.map_err(|error| ClientSettings::refuse(&error))?;
        let reach = Reach {
            client: reader.client(),
            serve: &|| (0..64).for_each(|_| drop(reader.poll(Duration::ZERO))),
            troubles: reader.context(),
            settings: &self.client,
            topic: &self.topic,
            stop,
        };
        reach.topic().map(drop)
    }

    pub(super) fn producer(&self, lane: &Lane) -> ClientConfig {
        let mut config = self.client.config();
        config
            // The same pipeline may run in several environments of one Kafka, to different topics.
            .set("transactional.id", format!("{lane}/{}", self.topic))
            .set("enable.idempotence", "true");
        let window = (self.window_bytes >> 10).clamp(1, 2_097_151).to_string();
        for (name, usual) in [
            ("queue.buffering.max.kbytes", window.as_str()),
            // Java's default, so that a key lands where other producers would put it.
            ("partitioner", "murmur2_random"),
            // A transaction waits for nobody: what is sent is sent.
            ("linger.ms", "5"),
            ("compression.type", "zstd"),
            ("client.id", "penstock"),
        ] {
            if !self.client.has(name) {
                config.set(name, usual);
            }
        }
        config
    }

    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.client.config();
        // Assigning by hand needs a group's name, and never asks anybody about that group.
        config
            .set("group.id", "penstock")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest");
        config
    }
}
