//! A topic with a stream in which every loss shows.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::crash::stream::event;
use crate::support::servers::kafka::{LIMIT, SHARED, Writer, create};

/// A topic, divided by key.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) bootstrap: String,
    pub(crate) partitions: u32,
    random: Pcg64,
    now: f64,
    writer: Writer,
}

impl Topic {
    /// On the broker that all tests share. The seed says what will be in it.
    pub(crate) fn new(name: &str, partitions: u32, seed: u64) -> Self {
        Self::on(&SHARED.bootstrap(), name, partitions, seed)
    }

    pub(crate) fn on(bootstrap: &str, name: &str, partitions: u32, seed: u64) -> Self {
        create(bootstrap, name, partitions as i32);
        Self::there(bootstrap, name, partitions, seed)
    }

    /// One that is there already, and empty.
    pub(crate) fn there(bootstrap: &str, name: &str, partitions: u32, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            bootstrap: bootstrap.to_owned(),
            partitions,
            random: Pcg64::seed_from_u64(seed),
            now: 0.0,
            writer: Writer::new(bootstrap, name),
        }
    }

    /// Writes the next `count` events, and waits until the broker has them.
    pub(crate) fn write(&mut self, count: u32) {
        self.write_every(0.4, count);
    }

    /// The same, over about so many seconds of event time.
    pub(crate) fn write_over(&mut self, seconds: f64, count: u32) {
        self.write_every(2.0 * seconds / f64::from(count), count);
    }

    /// At most so many seconds of event time apart.
    fn write_every(&mut self, between: f64, count: u32) {
        for _ in 0..count {
            self.now += self.random.random_range(0.0..between);
            let (key, line) = event(&mut self.random, self.now);
            self.send(key, &line);
        }
        self.writer.flush();
    }

    /// Writes one event of a key, and waits until the broker has it.
    pub(crate) fn write_one(&mut self, key: u32) {
        let at = (self.now * 1_000.0) as i64;
        let line = format!("{{\"at\":{at},\"key\":{key},\"amount\":1,\"note\":null}}");
        self.send(key, &line);
        self.writer.flush();
    }

    fn send(&self, key: u32, line: &str) {
        let record = BaseRecord::<[u8], [u8]>::to(&self.name);
        let partition = (key % self.partitions) as i32;
        let text = key.to_string();
        let record = record.partition(partition).key(text.as_bytes());
        self.writer.send(record.payload(line.trim_end().as_bytes()));
    }

    /// Writes so many events each hour, for some hours.
    pub(crate) fn pass_hourly(&mut self, hours: u32, count: u32) {
        for _ in 0..hours {
            let began = self.now;
            self.write(count);
            self.now = began + 3_600.0;
        }
    }

    /// Whether a group has committed everything that is in it.
    pub(crate) fn is_done_by(&self, group: &str) -> bool {
        has_committed(&self.bootstrap, &self.name, group, &self.ends())
    }

    /// The offset behind the last message of each partition.
    pub(crate) fn ends(&self) -> Vec<i64> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        let consumer: BaseConsumer = config.create().unwrap();
        let ends = (0..self.partitions as i32).map(|partition| {
            let ends = consumer.fetch_watermarks(&self.name, partition, LIMIT);
            ends.unwrap().1
        });
        ends.collect()
    }
}

/// Whether a group has committed what is before some offsets, partition by partition.
pub(crate) fn has_committed(bootstrap: &str, topic: &str, group: &str, ends: &[i64]) -> bool {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_range(topic, 0, ends.len() as i32 - 1);
    // The group's coordinator may be just moving.
    let Ok(committed) = consumer.committed_offsets(all, LIMIT) else {
        return false;
    };
    (0..).zip(ends).all(|(partition, end)| {
        let found = committed.find_partition(topic, partition).unwrap();
        *end == 0 || matches!(found.offset(), Offset::Offset(offset) if offset >= *end)
    })
}
