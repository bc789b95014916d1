//! A reader as tests have it: it starts shards at its cursors, and notes all that it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arrow::array::Array;
use penstock::clock::SystemClock;
use penstock::source::kinesis::{
    Batch, KinesisEvent, KinesisFault, KinesisSettings, KinesisSource, ShardCursor, ShardInfo,
    ShardState, ShardStatus,
};

use super::stream::SHARED;
use crate::support::HOST;

/// Longer than anything takes, on a machine that does a lot besides.
const LIMIT: Duration = Duration::from_secs(120);

/// How far each shard was read, by its name: what lanes keep in their state.
pub(super) type Cursors = BTreeMap<String, ShardCursor>;

/// Settings of a reader of the shared service; later entries override earlier ones.
pub(super) fn settings(stream: &str, more: &[(&str, &str)]) -> KinesisSettings {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let usual = [
        ("stream", stream),
        ("endpoint", &endpoint),
        ("region", "us-east-1"),
        ("aws_access_key_id", "AKIAEXAMPLE"),
        ("aws_secret_access_key", "not-to-be-shown"),
        ("poll_every", "10ms"),
        ("timeout", "60s"),
    ];
    let entries = usual.iter().chain(more);
    let entries = entries.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    KinesisSettings::parse(entries).unwrap()
}

pub(super) fn connect(settings: &KinesisSettings) -> Result<KinesisSource, KinesisFault> {
    let clock = Arc::new(SystemClock::start());
    let io = HOST.io.handle().clone();
    KinesisSource::connect(settings, io, clock, &AtomicBool::new(false))
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) shard: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) number: String,
    pub(super) part: u64,
    pub(super) offset: i64,
    /// When the service had it.
    pub(super) micros: i64,
}

/// A reader, and what it has seen.
pub(super) struct Follower {
    pub(super) source: KinesisSource,
    pub(super) shards: Vec<ShardInfo>,
    pub(super) cursors: Cursors,
    /// Shards in the order in which they were started.
    pub(super) started: Vec<String>,
    /// All messages in the order in which they came.
    pub(super) seen: Vec<Seen>,
    pub(super) ended: BTreeSet<String>,
    pub(super) closed: Vec<String>,
    /// All other events, in words.
    pub(super) told: Vec<String>,
    pub(super) failed: Option<KinesisFault>,
    /// Batches that this reader sits on, if it does.
    pub(super) kept: Option<Vec<Batch>>,
    /// Whether shards are started when they are told of.
    pub(super) eager: bool,
}

impl Follower {
    #[track_caller]
    pub(super) fn start(settings: &KinesisSettings, cursors: Cursors) -> Self {
        let source = connect(settings).unwrap_or_else(|fault| panic!("{fault}"));
        Self {
            source,
            shards: Vec::new(),
            cursors,
            started: Vec::new(),
            seen: Vec::new(),
            ended: BTreeSet::new(),
            closed: Vec::new(),
            told: Vec::new(),
            failed: None,
            kept: None,
            eager: true,
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

    fn take(&mut self, event: KinesisEvent) {
        match event {
            KinesisEvent::Shards(shards) => {
                for info in shards {
                    assert_eq!(info.shard as usize, self.shards.len());
                    assert!(info.parents.iter().all(|parent| *parent < info.shard));
                    let cursor = self.cursors.get(&info.id).cloned();
                    if self.eager {
                        self.source.start(info.shard, cursor);
                    }
                    self.shards.push(info);
                }
            }
            KinesisEvent::Started { shard, from, .. } => {
                // Whatever was started late, its parents were handed out before.
                for parent in &self.shards[shard as usize].parents {
                    assert!(self.closed.contains(&self.id(*parent)), "{shard}");
                }
                let id = self.id(shard);
                if let Some(from) = from {
                    // One that says the same as what it was started with.
                    let kept = self.cursors.insert(id.clone(), from.clone());
                    assert!(kept.is_none_or(|kept| kept == from), "{from}");
                }
                self.started.push(id);
            }
            KinesisEvent::Messages(batch) => self.note(*batch),
            KinesisEvent::AtEnd { shard } => {
                self.ended.insert(self.id(shard));
            }
            KinesisEvent::Closed { shard } => {
                let id = self.id(shard);
                self.cursors.insert(id.clone(), ShardCursor::Finished);
                self.closed.push(id);
            }
            other => self.told.push(format!("{other:?}")),
        }
    }

    fn note(&mut self, batch: Batch) {
        let messages = &batch.messages;
        let shard = self.id(messages.split);
        assert!(!self.closed.contains(&shard), "{shard} is closed");
        self.ended.remove(&shard);
        // No message is at or before what was read.
        if let Some(cursor) = self.cursors.get(&shard) {
            assert_eq!(
                batch.places.covered(cursor),
                0,
                "{cursor} {:?}",
                batch.first()
            );
        }
        assert!(batch.first() <= batch.last() && batch.held.bytes() > 0);
        for row in 0..messages.len() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let place = batch.places.of(row);
            assert!(messages.keys.is_valid(row) && messages.timestamps[row] > 0);
            self.seen.push(Seen {
                shard: shard.clone(),
                key: text(messages.keys.value(row)),
                value: text(messages.values.value(row)),
                number: place.sequence_number().to_owned(),
                part: place.sub_sequence(),
                offset: messages.offsets[row],
                micros: messages.timestamps[row],
            });
        }
        self.cursors.insert(shard, batch.cursor(messages.len() - 1));
        if let Some(kept) = &mut self.kept {
            kept.push(batch);
        }
    }

    pub(super) fn id(&self, shard: u32) -> String {
        self.shards[shard as usize].id.clone()
    }

    /// What came of one shard.
    pub(super) fn of(&self, shard: &str) -> Vec<&Seen> {
        self.seen.iter().filter(|it| it.shard == shard).collect()
    }

    pub(super) fn status(&self, shard: &str) -> Option<ShardStatus> {
        self.source.status().into_iter().find(|it| it.id == shard)
    }

    pub(super) fn is(&self, shard: &str, state: ShardState) -> bool {
        self.status(shard).is_some_and(|it| it.state == state)
    }

    pub(super) fn was_told(&self, part: &str) -> bool {
        self.told.iter().any(|told| told.contains(part))
    }

    /// Whether all shards that are open are read to their ends.
    pub(super) fn at_rest(&self) -> bool {
        let rests = |it: &ShardInfo| self.ended.contains(&it.id) || self.closed.contains(&it.id);
        !self.shards.is_empty() && self.shards.iter().all(rests)
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            self.step();
            if start.elapsed() > LIMIT {
                panic!(
                    "not within {LIMIT:?}: {what}\nstarted {:?} seen {} ended {:?} closed {:?} told {:#?} failed {:?} {:#?}",
                    self.started,
                    self.seen.len(),
                    self.ended,
                    self.closed,
                    self.told,
                    self.failed,
                    self.source.status()
                );
            }
        }
    }

    /// Asserts that the values of each key are all there, once and in their order.
    #[track_caller]
    pub(super) fn assert_whole(&self, keys: usize, count: usize) {
        let mut next: BTreeMap<&str, usize> = BTreeMap::new();
        for seen in &self.seen {
            let at = next.entry(&seen.key).or_default();
            let key = seen.key.trim_start_matches("key-");
            assert_eq!(
                seen.value,
                format!("{key}:{at}"),
                "{seen:?} {:?}",
                self.closed
            );
            *at += 1;
        }
        assert_eq!((next.len(), self.seen.len()), (keys, count));
    }

    pub(super) fn leave(self) -> Cursors {
        assert!(self.source.leave(LIMIT), "it does not leave");
        self.cursors
    }
}
