//! A member of a group as tests have it: it answers what it is asked, and notes all that it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::Array;
use penstock::clock::Clock;
use penstock::source::kafka::{
    Batch, KafkaEvent, KafkaFault, KafkaSettings, KafkaSource, PartitionState, PartitionStatus,
};

use crate::support::servers::kafka::LIMIT;

/// The real clock.
#[derive(Debug)]
pub(super) struct Watch(Instant);

impl Watch {
    pub(super) fn start() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Watch {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait(&self, _until: Duration, _stop: &AtomicBool) {
        unreachable!("a source waits for brokers, not for a time")
    }
}

/// Where each partition is to be read on, whoever reads it: what lanes keep in their state.
pub(super) type Cursors = Arc<Mutex<BTreeMap<u32, i64>>>;

/// Settings of a member; later entries override earlier ones.
pub(super) fn settings(bootstrap: &str, topic: &str, more: &[(&str, &str)]) -> KafkaSettings {
    let usual = [
        ("bootstrap", bootstrap),
        ("topic", topic),
        ("group", topic),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "200"),
        ("fetch.wait.max.ms", "50"),
        ("topic.metadata.refresh.interval.ms", "500"),
        ("reconnect.backoff.max.ms", "500"),
    ];
    let entries = usual.iter().chain(more);
    let entries = entries.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    KafkaSettings::parse(entries).unwrap()
}

/// A member, and what it has seen.
pub(super) struct Member {
    pub(super) source: KafkaSource,
    cursors: Cursors,
    pub(super) owned: BTreeSet<u32>,
    /// Messages of every partition in the order in which they came: offset and value.
    pub(super) seen: BTreeMap<u32, Vec<(i64, String)>>,
    /// Partitions of which all has been read.
    pub(super) ended: BTreeSet<u32>,
    /// All other events, in words.
    pub(super) told: Vec<String>,
    /// Where partitions were started.
    pub(super) started: BTreeMap<u32, i64>,
    /// Batches that this member sits on, if it does.
    pub(super) kept: Option<Vec<Batch>>,
    pub(super) failed: Option<KafkaFault>,
    /// Whether it keeps what it is asked to give up.
    pub(super) stubborn: bool,
}

impl Member {
    #[track_caller]
    pub(super) fn join(settings: &KafkaSettings, cursors: &Cursors) -> Self {
        let source = KafkaSource::connect(settings, Watch::start(), &AtomicBool::new(false));
        Self {
            source: source.unwrap_or_else(|fault| panic!("{fault}")),
            cursors: Arc::clone(cursors),
            owned: BTreeSet::new(),
            seen: BTreeMap::new(),
            ended: BTreeSet::new(),
            told: Vec::new(),
            started: BTreeMap::new(),
            kept: None,
            failed: None,
            stubborn: false,
        }
    }

    /// Takes what there is, or waits a moment.
    pub(super) fn step(&mut self) {
        match self.source.next(Duration::from_millis(20)) {
            Ok(Some(event)) => self.take(event),
            Ok(None) => {}
            Err(fault) => self.failed = Some(fault),
        }
    }

    fn take(&mut self, event: KafkaEvent) {
        match event {
            KafkaEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.owned.insert(partition);
                    let cursor = self.cursors.lock().unwrap().get(&partition).copied();
                    self.source.start(partition, cursor);
                }
            }
            KafkaEvent::Started { partition, offset } => {
                self.started.insert(partition, offset);
            }
            KafkaEvent::Messages(batch) => self.note(*batch),
            KafkaEvent::AtEnd { partition, .. } => {
                self.ended.insert(partition);
            }
            KafkaEvent::Revoked(partitions) if self.stubborn => {
                self.told.push(format!("revoked {partitions:?}"));
            }
            KafkaEvent::Revoked(partitions) => {
                for partition in partitions {
                    self.owned.remove(&partition);
                    self.commit(partition);
                    self.source.release(partition);
                }
            }
            KafkaEvent::Lost(partitions) => {
                self.told.push(format!("lost {partitions:?}"));
                for partition in partitions {
                    self.owned.remove(&partition);
                }
            }
            other => self.told.push(format!("{other:?}")),
        }
    }

    fn note(&mut self, batch: Batch) {
        let messages = &batch.messages;
        assert!(self.owned.contains(&messages.split), "not ours: {batch:?}");
        self.ended.remove(&messages.split);
        let seen = self.seen.entry(messages.split).or_default();
        for (row, offset) in messages.offsets.iter().enumerate() {
            let value = messages
                .values
                .is_valid(row)
                .then(|| messages.values.value(row));
            let value = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            seen.push((*offset, value));
        }
        if let Some(kept) = &mut self.kept {
            kept.push(batch);
        }
    }

    /// What a lane does now and then: it keeps its cursor, and tells Kafka.
    pub(super) fn commit(&self, partition: u32) {
        if let Some((last, _)) = self.seen.get(&partition).and_then(|seen| seen.last()) {
            self.cursors.lock().unwrap().insert(partition, last + 1);
            self.source.commit(partition, last + 1);
        }
    }

    /// How many messages it has seen.
    pub(super) fn count(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }

    pub(super) fn status(&self, partition: u32) -> Option<PartitionStatus> {
        let status = self.source.status().into_iter();
        status.into_iter().find(|it| it.partition == partition)
    }

    pub(super) fn is(&self, partition: u32, state: PartitionState) -> bool {
        self.status(partition).is_some_and(|it| it.state == state)
    }

    pub(super) fn was_told(&self, part: &str) -> bool {
        self.told.iter().any(|told| told.contains(part))
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        all_until(&mut [self], what, |members| done(members[0]));
    }

    /// Leaves as one does that works in order.
    pub(super) fn leave(self) {
        for partition in &self.owned {
            self.commit(*partition);
        }
        assert!(self.source.leave(LIMIT), "it does not leave");
    }
}

/// Has members work until all of them are where they should be.
#[track_caller]
pub(super) fn all_until(
    members: &mut [&mut Member],
    what: &str,
    done: impl Fn(&[&mut Member]) -> bool,
) {
    let start = Instant::now();
    while !done(members) {
        for member in &mut *members {
            member.step();
        }
        if start.elapsed() > LIMIT {
            let state = |it: &&mut Member| {
                format!(
                    "owned {:?} started {:?} seen {} ended {:?} told {:#?} failed {:?} {:#?}",
                    it.owned,
                    it.started,
                    it.count(),
                    it.ended,
                    it.told,
                    it.failed,
                    it.source.status()
                )
            };
            let states: Vec<String> = members.iter().map(state).collect();
            panic!("not within {LIMIT:?}: {what}\n{}", states.join("\n"));
        }
    }
}

/// `0..count` as values.
pub(super) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}
