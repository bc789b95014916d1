//! Events that are spread over the partitions of a topic in several ways, and what is looked at beside them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use penstock::store::embedded::EmbeddedStore;
use penstock::store::{FeatureName, FeatureReader};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rdkafka::producer::BaseRecord;

use super::super::topic::{Topic, has_committed};
use crate::crash::stream::KEYS;
use crate::support::HOST;
use crate::support::servers::kafka::{Writer, consume};

/// How events are spread, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// All of a key are in one partition.
    ByKey,
    /// They are anywhere.
    Anyhow,
    /// The same, and some come late.
    Late,
    /// The same, and half of them are of one key.
    Hot,
    /// Anywhere but in the last partition.
    NotTheLast,
}

/// A topic with such events.
pub(super) struct Scattered {
    pub(super) topic: Topic,
    spread: Spread,
    random: Pcg64,
    /// What says where events go: of its own, so that events are the same however they are spread.
    anywhere: Pcg64,
    now: f64,
    writer: Writer,
    /// Key, time and amount of the events that will be applied, by their lines.
    events: Vec<(u32, i64, f64, String)>,
}

impl Scattered {
    pub(super) fn new(name: &str, partitions: u32, seed: u64, spread: Spread) -> Self {
        let topic = Topic::new(name, partitions, seed);
        Self {
            writer: writer(&topic.bootstrap, name),
            topic,
            spread,
            random: Pcg64::seed_from_u64(seed),
            anywhere: Pcg64::seed_from_u64(seed ^ 0x5eed),
            now: 0.0,
            events: Vec::new(),
        }
    }

    /// Writes the next events, none of which comes late unless that is asked for: they are less behind than
    /// the pipelines' disorder.
    pub(super) fn write(&mut self, count: u32) {
        for _ in 0..count {
            self.now += self.random.random_range(0.0..0.2);
            let behind = self.random.random_range(0.0..4.0_f64);
            let far = self.random.random_range(0..20) == 0;
            let behind = match self.spread {
                Spread::Late if far => behind + 120.0,
                _ => behind,
            };
            let at = ((self.now - behind).max(0.0) * 1000.0) as i64;
            let is_hot = self.random.random_range(0..2) == 0;
            let key = match self.spread {
                Spread::Hot if is_hot => 0,
                _ => self.random.random_range(0..KEYS),
            };
            let amount = self.random.random_range(0.0..100.0_f64);
            let line = match self.random.random_range(0..40) {
                0 => "{\"at\": broken".to_owned(),
                1 => format!("{{\"at\":{at},\"key\":null,\"amount\":1}}"),
                2 => format!("{{\"at\":{at},\"key\":{key},\"amount\":-1.5,\"note\":null}}"),
                _ => {
                    let line = format!(
                        "{{\"at\":{at},\"key\":{key},\"amount\":{amount},\"note\":\"n{}\"}}",
                        self.events.len()
                    );
                    self.events.push((key, at, amount, line.clone()));
                    line
                }
            };
            let partitions = self.topic.partitions;
            let anywhere = self.anywhere.random_range(0..partitions);
            let partition = match self.spread {
                Spread::ByKey => key % partitions,
                Spread::NotTheLast => anywhere % (partitions - 1),
                _ => anywhere,
            };
            self.send(partition, &line);
        }
        self.writer.flush();
    }

    /// Lets all windows of what was written close: an event of a far day in each partition, of keys that
    /// nobody looks at.
    pub(super) fn close(&mut self) {
        let partitions = self.topic.partitions;
        for partition in 0..partitions {
            let key = 1_000 * partitions + partition;
            let at = 10_000_000_000_i64;
            let line = format!("{{\"at\":{at},\"key\":{key},\"amount\":1,\"note\":null}}");
            self.send(partition, &line);
        }
        self.writer.flush();
    }

    fn send(&self, partition: u32, line: &str) {
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic.name).partition(partition as i32);
        self.writer.send(record.payload(line.as_bytes()));
    }

    /// Of each key the last window with an event that is not among the late ones: its end in milliseconds,
    /// and the sum of their amounts.
    pub(super) fn sums(&self, size: i64, late: &[String]) -> BTreeMap<u32, (i64, f64)> {
        let late: HashSet<&str> = late.iter().map(|line| note(line)).collect();
        let mut windows: BTreeMap<(u32, i64), f64> = BTreeMap::new();
        for (key, at, amount, line) in &self.events {
            if !late.contains(note(line)) {
                let end = (at.div_euclid(size) + 1) * size;
                *windows.entry((*key, end)).or_default() += amount;
            }
        }
        let windows = windows.into_iter();
        windows.map(|((key, end), sum)| (key, (end, sum))).collect()
    }
}

/// What tells events apart: `n17`, in a line as it was written or as it is shown in another one.
fn note(line: &str) -> &str {
    let starts = line.match_indices("\"n").map(|(at, _)| &line[at + 1..]);
    let mut numbered = starts.filter_map(|rest| {
        let end = rest[1..].find(|c: char| !c.is_ascii_digit())?;
        (end > 0).then(|| &rest[..end + 1])
    });
    numbered.next().unwrap_or(line)
}

/// The topic of partial states of a test's pipeline.
pub(super) fn between(group: &str) -> String {
    format!("{group}-partials")
}

pub(super) fn writer(bootstrap: &str, topic: &str) -> Writer {
    Writer::new(bootstrap, topic)
}

/// Whether a group has committed all messages of a topic; what ends transactions is none.
pub(super) fn is_done(bootstrap: &str, topic: &str, partitions: u32, group: &str) -> bool {
    let mut ends = vec![0; partitions as usize];
    for message in consume(bootstrap, topic) {
        ends[message.partition as usize] = message.offset + 1;
    }
    has_committed(bootstrap, topic, group, &ends)
}

/// The partitions that a process was given, as it says, of a pipeline or a stage.
pub(super) fn given(stderr: &str, pipeline: &str) -> BTreeSet<u32> {
    let given = stderr
        .lines()
        .filter(|line| line.contains("partitions are ours"))
        .filter(|line| {
            let quoted = line.contains(&format!("pipeline=\"{pipeline}\""));
            quoted || line.contains(&format!("pipeline={pipeline} "))
        });
    let numbers = given.filter_map(|line| line.split_once("partitions=[")?.1.split_once(']'));
    let numbers = numbers.flat_map(|(numbers, _)| numbers.split(", "));
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Every numeric feature of every key, with its event time.
pub(super) fn numbers(store: &Path) -> BTreeMap<(u32, String), (i64, Option<f64>)> {
    HOST.io.block_on(async {
        let mut all = BTreeMap::new();
        // Whoever writes it makes it.
        let Ok(reader) = EmbeddedStore::open_reader(store).await else {
            return all;
        };
        let declared = reader.declarations(None).await.unwrap();
        let names = declared.iter().map(|declaration| FeatureName {
            name: declaration.feature.clone(),
            version: None,
        });
        let names: Vec<FeatureName> = names.collect();
        for key in 0..KEYS {
            let values = reader.get("key", &key.to_string(), &names).await.unwrap();
            for (name, value) in names.iter().zip(values) {
                let Some(value) = value else { continue };
                let number = value.value.map(|it| it.to_json().unwrap().parse().unwrap());
                let of = (key, name.name.clone());
                all.insert(of, (value.order.event_time, number));
            }
        }
        reader.close().await;
        all
    })
}

/// The lines of all files in a folder.
pub(super) fn lines_in(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.collect()
}

/// Equal but for the order in which parts were added.
pub(super) fn is_close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

/// Whether a message of the topic of partial states has such; else it is a marker.
pub(super) fn has_states(value: &[u8]) -> bool {
    value[kind(value)] == 1
}

/// Where its digest begins.
pub(super) fn digest_of(value: &[u8]) -> usize {
    let name = kind(value) + 1;
    name + 1 + value[name] as usize
}

/// Where its kind stands: behind the layout, the epoch and the sequence.
fn kind(value: &[u8]) -> usize {
    let mut at = 1;
    for _ in 0..2 {
        while value[at] & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    at
}
