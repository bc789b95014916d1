//! Kafka: one broker that all tests of this process share, and what they do with its tools.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use futures::executor::block_on;
use penstock::clock::{Clock, SystemClock};
use penstock_servers::{Kafka, Server};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Headers};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};

/// Longer than anything takes, on a machine that does a lot besides.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The broker for tests that leave it alone, each with topics and groups of its own names. It starts at the first use.
/// Whoever stops or freezes a broker starts an own one.
pub(crate) static SHARED: LazyLock<Server<Kafka>> = LazyLock::new(|| super::start(Kafka));

/// Runs a tool of Kafka's with these lines as its input.
pub(crate) fn tool(kafka: &Server<Kafka>, class: &str, arguments: &[&str], lines: &str) -> Output {
    let mut tool = kafka
        .tool(&format!("org.apache.kafka.tools.{class}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a Java, for Kafka runs");
    let mut input = tool.stdin.take().expect("it was piped just above");
    // A tool that ends without reading says why on its own.
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    tool.wait_with_output().expect("its output is readable")
}

/// As [`tool`], on the listener without credentials, and it must succeed. Gives what it printed.
#[track_caller]
pub(crate) fn done(kafka: &Server<Kafka>, class: &str, arguments: &[&str], lines: &str) -> String {
    let bootstrap = kafka.bootstrap();
    let arguments = [&["--bootstrap-server", &bootstrap], arguments].concat();
    let output = tool(kafka, class, &arguments, lines);
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{class}: {printed}{errors}");
    printed
}

/// Makes a topic.
#[track_caller]
pub(crate) fn make_topic(kafka: &Server<Kafka>, topic: &str, partitions: u32) {
    let partitions = partitions.to_string();
    let arguments = ["--create", "--topic", topic, "--partitions", &partitions];
    done(kafka, "TopicCommand", &arguments, "");
}

/// Makes a topic by a client, which is quicker than the tools, and waits until the broker leads it.
#[track_caller]
pub(crate) fn create(bootstrap: &str, topic: &str, partitions: i32) {
    let admin = admin(bootstrap);
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = block_on(admin.create_topics([&new], &AdminOptions::new()));
    made.unwrap().remove(0).unwrap();
    led(&admin, topic, partitions as usize);
}

/// Waits until the broker leads this many partitions of a topic: it says that they are made before.
fn led(admin: &AdminClient<DefaultClientContext>, topic: &str, partitions: usize) {
    let led = || {
        let metadata = admin.inner().fetch_metadata(Some(topic), LIMIT).unwrap();
        let partitions = metadata.topics()[0].partitions();
        partitions.iter().filter(|it| it.leader() >= 0).count()
    };
    while led() < partitions {}
}

/// Gives a topic more partitions.
#[track_caller]
pub(crate) fn grow(bootstrap: &str, topic: &str, partitions: usize) {
    let new = NewPartitions::new(topic, partitions);
    let admin = admin(bootstrap);
    let grown = block_on(admin.create_partitions([&new], &AdminOptions::new()));
    grown.unwrap().remove(0).unwrap();
    led(&admin, topic, partitions);
}

/// Deletes the messages of a partition before an offset.
#[track_caller]
pub(crate) fn delete_before(bootstrap: &str, topic: &str, partition: i32, offset: i64) {
    let mut offsets = TopicPartitionList::new();
    let offset = Offset::Offset(offset);
    offsets
        .add_partition_offset(topic, partition, offset)
        .unwrap();
    let deleted = block_on(admin(bootstrap).delete_records(&offsets, &AdminOptions::new()));
    deleted.unwrap().elements()[0].error().unwrap();
}

/// A message that somebody who reads committed messages sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consumed {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// In milliseconds; none if it has no time of its own.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Consumed {
    /// A header's value.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        &found
            .unwrap_or_else(|| panic!("no header {name}: {self:?}"))
            .1
    }

    /// The lane that published it, and its place there: epoch and sequence.
    #[track_caller]
    pub(crate) fn lane(&self) -> (&str, (u64, u64)) {
        let number = |name| self.header(name).parse().unwrap();
        let at = (number("penstock-epoch"), number("penstock-sequence"));
        (self.header("penstock-lane"), at)
    }

    /// Its value as a text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().expect("no tombstone")).unwrap()
    }
}

/// Reads a topic with `isolation.level=read_committed` to its end: of each partition, what is there now and is not
/// behind an open transaction, in order; the partitions one after the other.
#[track_caller]
pub(crate) fn consume(bootstrap: &str, topic: &str) -> Vec<Consumed> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "a-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("reconnect.backoff.max.ms", "500");
    let reader: BaseConsumer = config.create().unwrap();
    let metadata = reader.fetch_metadata(Some(topic), LIMIT).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        let added = all.add_partition_offset(topic, partition, Offset::Beginning);
        added.unwrap();
    }
    reader.assign(&all).unwrap();
    let mut seen = Vec::new();
    let mut ended = 0;
    let clock = SystemClock::start();
    while ended < partitions {
        // The client gives nothing, too early, when something else than a message came.
        let Some(polled) = reader.poll(LIMIT) else {
            assert!(clock.now() < LIMIT, "it comes within the limit");
            continue;
        };
        match polled {
            Ok(message) => seen.push(consumed(&message)),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            // The client connects again by itself.
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )) => {}
            Err(error) => panic!("{error}"),
        }
    }
    seen.sort_by_key(|message| (message.partition, message.offset));
    seen
}

fn consumed(message: &impl Message) -> Consumed {
    let headers = message.headers().into_iter().flat_map(|it| it.iter());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Consumed {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| {
                (
                    header.key.to_owned(),
                    text(header.value.unwrap_or_default()),
                )
            })
            .collect(),
    }
}

/// Asserts that what each lane published rises strictly in (epoch, sequence) in each partition, and that no place
/// comes twice.
#[track_caller]
pub(crate) fn assert_in_order(messages: &[Consumed]) {
    let mut last = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for message in messages {
        let (lane, at) = message.lane();
        let before = last.insert((lane, message.partition), at);
        assert!(before < Some(at), "{before:?} comes before {message:?}");
        assert!(seen.insert((lane, at.1)), "there twice: {message:?}");
    }
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.create().unwrap()
}

/// A producer without transactions, for what tests read.
pub(crate) struct Writer {
    producer: BaseProducer<Delivered>,
    topic: String,
}

/// Sees to it that no message is lost without a word.
struct Delivered;

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, _)) = delivery {
            panic!("a message was not delivered: {error}");
        }
    }
}

impl Writer {
    pub(crate) fn new(bootstrap: &str, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            // Else a batch that is sent again comes behind the ones after it.
            .set("enable.idempotence", "true");
        Self {
            producer: config.create_with_context(Delivered).unwrap(),
            topic: topic.to_owned(),
        }
    }

    /// Writes to a partition, and waits until the broker has it.
    #[track_caller]
    pub(crate) fn write(&self, partition: i32, values: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        for value in values {
            let record = BaseRecord::<[u8], [u8]>::to(&self.topic);
            self.send(record.partition(partition).payload(value.as_ref()));
        }
        self.producer.flush(LIMIT).unwrap();
    }

    /// Sends one message, whose topic is to be this writer's.
    #[track_caller]
    pub(crate) fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) {
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(LIMIT).unwrap();
    }
}
