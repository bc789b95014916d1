//! Settings of a Kafka source.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::kafka::{ClientSettings, KafkaFault, Table, wrong};

/// librdkafka's own `max.poll.interval.ms`.
const MAX_POLL_INTERVAL: u64 = 300_000;

/// What a source is made with. The table of docs/kafka.md explains each.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Where partitions without a cursor are read from.
    pub start: Start,
    /// The name under which this member keeps its partitions over a restart.
    pub instance: Option<String>,
    /// Whether headers are wanted.
    pub headers: bool,
    /// The most messages of a batch.
    pub batch_messages: usize,
    /// The bytes after which a batch ends.
    pub batch_bytes: usize,
    /// The bytes of one partition that may be under way; one batch may reach beyond.
    pub window_bytes: usize,
    /// What goes to librdkafka.
    pub client: ClientSettings,
}

/// Where a partition without a cursor is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first message that there is.
    Earliest,
    /// The next message that comes. Partitions that are made later are read whole.
    Latest,
    /// The first message that was recorded at this time or later, in microseconds.
    Timestamp(i64),
}

impl KafkaSettings {
    /// Reads settings: names and values.
    ///
    /// # Errors
    ///
    /// One is missing, unknown, not the user's to set, or wrong.
    pub fn parse(entries: impl IntoIterator<Item = (String, String)>) -> Result<Self, KafkaFault> {
        let mut table = Table::new(entries);
        let start = table.take("start");
        Ok(Self {
            topic: table.need("topic", "the topic to read")?,
            group: table.need(
                "group",
                "a name for all processes that read the topic together",
            )?,
            start: start.map_or(Ok(Start::Earliest), |text| Start::parse(&text))?,
            instance: table.take("instance").filter(|name| !name.is_empty()),
            headers: match table.take("headers").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(other) => return Err(wrong("headers", other, "`true` or `false`")),
            },
            batch_messages: table.number("batch_messages", 8192)?,
            // Arrow counts the bytes of a column in 31 bits.
            batch_bytes: table.number("batch_bytes", 4 << 20)?.min(512 << 20),
            window_bytes: table.number("window_bytes", 4 << 20)?,
            client: table.client()?,
        })
    }

    /// How long lanes may take to give a partition up: less than the group waits for an answer.
    pub(super) fn patience(&self) -> Duration {
        let interval = self.client.value("max.poll.interval.ms");
        let interval = interval.and_then(|text| text.parse().ok());
        Duration::from_millis(interval.unwrap_or(MAX_POLL_INTERVAL)) * 3 / 4
    }

    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.client.config();
        config
            .set("group.id", &self.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "true")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // Offsets are looked up before a partition starts; what is gone later is told.
            .set("auto.offset.reset", "error")
            .set("statistics.interval.ms", "1000");
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        // librdkafka reads ahead 64 MiB of each partition, which is much beside a window of 4; and 100,000 messages, each
        // of which takes some 400 bytes beside its own.
        let bytes = (self.window_bytes >> 10).clamp(64, 2_097_151).to_string();
        let messages = self.batch_messages.clamp(1_000, 1_000_000).to_string();
        for (name, usual) in [
            ("queued.max.messages.kbytes", bytes.as_str()),
            ("queued.min.messages", messages.as_str()),
            ("topic.metadata.refresh.interval.ms", "60000"),
            ("client.id", "penstock"),
        ] {
            if !self.client.has(name) {
                config.set(name, usual);
            }
        }
        config
    }
}

impl Start {
    fn parse(text: &str) -> Result<Self, KafkaFault> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            time => time
                .parse::<jiff::Timestamp>()
                .map(|time| Self::Timestamp(time.as_microsecond()))
                .map_err(|_| {
                    let expected = "`earliest`, `latest` or a time such as `2026-01-31T12:00:00Z`";
                    wrong("start", text, expected)
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[(&str, &str)]) -> Result<KafkaSettings, String> {
        let usual = [("bootstrap", "a:1"), ("topic", "rides"), ("group", "g")];
        let entries = usual.iter().chain(more);
        let entries = entries.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        KafkaSettings::parse(entries).map_err(|fault| fault.to_string())
    }

    #[test]
    fn settings_are_read() {
        let usual = parse(&[]).expect("all are there");
        assert_eq!((usual.start, usual.headers), (Start::Earliest, false));
        let settings = parse(&[
            ("start", "1970-01-01T00:00:01+00:00"),
            ("instance", "host-1"),
            ("headers", "true"),
            ("window_bytes", "1_000_000"),
            ("fetch.wait.max.ms", "50"),
        ])
        .expect("they are right");
        assert_eq!(settings.start, Start::Timestamp(1_000_000));
        assert_eq!(settings.window_bytes, 1_000_000);
        assert_eq!(settings.patience(), Duration::from_secs(225));
        let native = ClientConfig::new().create_native_config();
        let interval = native.and_then(|native| native.get("max.poll.interval.ms"));
        assert_eq!(interval.ok(), Some(MAX_POLL_INTERVAL.to_string()));
        let config = settings.consumer();
        assert_eq!(config.get("group.instance.id"), Some("host-1"));
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("976"));
        assert_eq!(config.get("fetch.wait.max.ms"), Some("50"));
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (name, value, told) in [
            (
                "start",
                "yesterday",
                "set it to `earliest`, `latest` or a time",
            ),
            ("headers", "yes", "set it to `true` or `false`"),
            ("batch_messages", "0", "set it to a whole number from 1 on"),
            ("windowbytes", "1", "did you mean `window_bytes`?"),
            ("topic", "", "`topic` is missing"),
            ("auto.offset.reset", "latest", "use `start`"),
        ] {
            let error = parse(&[(name, value)]).expect_err(value);
            assert!(error.contains(told), "{error}");
        }
    }
}
