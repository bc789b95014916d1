//! What is kept of a lane of a live pipeline: where it goes on, its windows, and what it still has to
//! send.
//!
//! | key | value |
//! | --- | --- |
//! | `0x00` | how far the lane has come: JSON, see [`meta`] |
//! | `0x01`, `0x02` | records of windows, and what is due when: see [`crate::window::Codec`] |
//! | `0x03`, name, `0x00`, entry (8 bytes, big-endian) | what is to be sent to whom, see [`super::outbox`] |
//! | `0x04`, `0x05` | of no meaning but to [`crate::pipeline::residence`] |
//! | `0x06` | the epoch of who opened the lane last (8 bytes, big-endian) |
//! | `0x07` | what was begun with the lane and no commit says yet: JSON, see [`begun`] |
//! | `0x08` | windows that could not be finished: see [`crate::window::Codec`] |
//! | `0x09`, the last epoch before and the last one of them (8 bytes each, big-endian) | writes that were taken back and of which the history has not heard yet; when that was (8 bytes, microseconds, big-endian) |
//!
//! All of it changes in one batch, together with the lane's features: a commit. There are exceptions. An entry of the outbox
//! may be there before the commit that counts it, and the epoch is written when the lane is opened. To go over to another
//! generation, or to forget everything, may take several batches, and what is served from elsewhere is there before a commit:
//! where `0x07` is left that is undone, or done to the end. The epoch outlives everything else, for what the lane has sent
//! bears it, and so does what the history has to hear.

mod begun;
mod coming;
mod error;
mod meta;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::sync::watch;

pub use self::error::KeeperError;
pub(in crate::pipeline) use self::meta::come;
pub(super) use self::meta::host_name;
pub(super) use self::meta::states_of;
use self::meta::{LAYOUT, LaneMeta};
use super::generations::{StateShape, Undo};
use super::migrating::Migration;
use super::opening::OpenedLive;
use super::outbox::Kept;
use super::shadowing::Cloned;
use super::steps;
use crate::clock::Clock;
use crate::pipeline::commit::{Identity, KeptReport, Resume, ToCommit};
use crate::pipeline::kept::LaneWork;
use crate::pipeline::plan::Plan;
use crate::pipeline::residence as kept;
use crate::pipeline::swap::Running;
use crate::pipeline::telemetry::LaneTelemetry;
use crate::store::embedded::{EmbeddedStore, LaneState, LiveLane, StateBatch, StoreRequests};
use crate::store::{FeatureStore, Items, StoreError};
use crate::window::{Codec, Edit, Progress};

/// Where a lane says how far it has come.
pub(super) const META: &[u8] = &[0];
const EPOCH: &[u8] = &[6];
const BEGUN: &[u8] = &[7];
pub(super) const UNTOLD: &[u8] = &[9];

const OUTBOX: &[u8] = &[3];

/// What a lane remembers of events, and forgets where it begins anew.
const REMEMBERED: [&[u8]; 5] = [&[1], &[2], &[4], &[5], Codec::FIRST_UNFINISHED];

/// What stays the same for a pipeline as long as its lanes' state is of use.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// The digest of the transform.
    pub(super) transform: String,
    pub(super) identity: Identity,
    /// Partitions of the stream.
    pub(super) partitions: u32,
    /// Whether it matters how many there are.
    pub(super) is_keyed: bool,
    /// The generation of the transform; none where generations have no numbers.
    pub(super) running: Option<Arc<Running>>,
    /// What its states are, if it has any.
    pub(super) state: Option<StateShape>,
    /// What takes over states of other versions.
    migration: Option<Migration>,
    /// Whether what is written goes to a history as well.
    has_history: bool,
}

impl Expected {
    /// What an opened pipeline has, in this generation, over so many partitions.
    pub(super) fn new(opened: &OpenedLive, partitions: u32, running: Option<Arc<Running>>) -> Self {
        let windows = opened.plan.windows().filter(|_| running.is_some());
        Self {
            transform: opened.digest.clone(),
            identity: opened.identity(),
            partitions,
            is_keyed: opened.plan.windows().or(opened.plan.partials()).is_some(),
            state: windows.map(|windows| StateShape::of(&windows.spec)),
            migration: windows.and_then(|_| Migration::of(opened)),
            has_history: opened.outputs.offline().is_some(),
            running,
        }
    }
}

/// A lane's database, and what goes into its next commit.
pub(super) struct Keeper {
    number: u32,
    lane: LiveLane,
    codec: Option<Codec>,
    expected: Expected,
    /// Of this owner of the lane.
    pub(super) epoch: u64,
    batch: StateBatch,
    /// How many of the lane's commits can be read. The lane hears that there will be no more when this
    /// is gone.
    applied: watch::Sender<u64>,
    /// What the last commit says.
    last: Option<LaneMeta>,
    /// The way back from this generation.
    undo: Option<Undo>,
    /// Whether the lane's database says that it goes over to this generation, and no commit does yet.
    is_begun: bool,
    /// What is to be told of the way here, and of which generations.
    pub(super) told: Vec<(u64, String)>,
    store: Arc<EmbeddedStore>,
    apart: Option<Apart>,
    io: Handle,
    /// How long states take that are taken over, is told by it.
    clock: Arc<dyn Clock>,
}

/// Where features go, if not into the lane's database alone, and the pipeline's name there.
pub(super) type Apart = (Arc<dyn FeatureStore>, String);

/// Where a lane goes on.
pub(super) struct Taken {
    pub(super) resume: Resume,
    /// Rows that it has emitted.
    pub(super) rows: u64,
    /// What it still has to send.
    pub(super) outbox: BTreeMap<String, Kept>,
}

impl Keeper {
    /// Takes over a lane that was opened. Its epoch will be higher than that of every owner before it,
    /// and at least `epoch`.
    pub(super) fn take(
        number: u32,
        lane: LiveLane,
        plan: &Plan,
        expected: Expected,
        epoch: u64,
        (store, io, clock): (Arc<EmbeddedStore>, Handle, Arc<dyn Clock>),
        apart: Option<Apart>,
    ) -> Result<(Self, Taken), KeeperError> {
        let state_error = |error| KeeperError::State {
            lane: number,
            error,
        };
        let windows = plan.windows();
        let codec = windows.map(|windows| Codec::new(&plan.key_schema, &windows.spec.state));
        let mut keeper = Self {
            number,
            batch: lane.state.batch(),
            lane,
            codec: codec.transpose().map_err(state_error)?,
            expected,
            epoch,
            applied: watch::Sender::new(0),
            last: None,
            undo: None,
            is_begun: false,
            told: Vec::new(),
            store,
            apart,
            io,
            clock,
        };
        let meta = keeper.come_here()?;
        let before = meta.as_ref().map(|meta| meta.epoch).max(keeper.opened()?);
        keeper.epoch = epoch.max(before.map_or(0, |before| before + 1));
        keeper.claim()?;
        keeper.raise_epoch()?;
        keeper.last.clone_from(&meta);
        let Some(meta) = meta else {
            let taken = Taken {
                resume: Resume::default(),
                rows: 0,
                outbox: BTreeMap::new(),
            };
            return Ok((keeper, taken));
        };
        let has_begun = meta.has_begun();
        let mut resume = Resume {
            cursor: meta.sequence,
            splits: (meta.splits.into_iter())
                .map(|(name, cursor)| (name.into(), cursor))
                .collect(),
            report: meta.report.report(),
            own: meta.own,
            ..Resume::default()
        };
        if keeper.codec.is_some() && has_begun {
            resume.progress = Some(Progress::decode(&meta.progress).map_err(state_error)?);
            resume.journal = meta.journal;
        }
        let taken = Taken {
            resume,
            rows: meta.rows,
            outbox: meta.outbox,
        };
        Ok((keeper, taken))
    }

    /// The lane's state, for what is not part of its commits.
    pub(super) fn state(&self) -> LaneState {
        self.lane.state.clone()
    }

    /// Sets aside what was committed last.
    pub(super) fn set_aside(&self) -> Result<Cloned, KeeperError> {
        let has_begun = |meta: &&LaneMeta| self.codec.is_some() && meta.has_begun();
        let last = self.last.as_ref().filter(has_begun);
        let come = last.map(|meta| {
            let progress = Progress::decode(&meta.progress)?;
            Ok((progress, meta.report.report().watermark))
        });
        let come = come.transpose();
        Ok(Cloned {
            come: come.map_err(|error| KeeperError::State {
                lane: self.number,
                error,
            })?,
            state: last.and_then(|meta| meta.state.clone()),
            aside: self.io.block_on(self.store.set_aside(&self.lane))?,
        })
    }

    /// Where the lane's windows find what is kept of them; they may take so many bytes in memory, and those that cannot be
    /// finished so many bytes here.
    pub(super) fn kept(&self, memory: usize, unfinished: u64) -> kept::Kept {
        // Without generations there is no other transform that would try them again.
        let running = self.expected.running.as_ref();
        kept::Kept {
            unfinished: running.map(|_| kept::Retrying {
                transform: self.expected.transform.clone(),
                most: unfinished,
            }),
            state: self.lane.state.clone(),
            applied: self.applied.subscribe(),
            io: self.io.clone(),
            memory,
        }
    }

    /// What the lane's database asks for, as it is counted.
    pub(super) fn requests(&self) -> Arc<StoreRequests> {
        Arc::clone(self.lane.state.requests())
    }

    /// Forgets what is kept of a lane. Where that breaks off, it is forgotten when the lane is opened next.
    pub(super) async fn forget(lane: &LiveLane) -> Result<(), StoreError> {
        begun::forget(lane).await
    }

    /// Says, durably, that the lane is ours.
    ///
    /// # Errors
    ///
    /// It cannot be said, or the lane is somebody else's by now.
    pub(super) fn claim(&self) -> Result<(), StoreError> {
        let mut batch = self.changes();
        batch.put(EPOCH, &self.epoch.to_be_bytes());
        self.apply_durably(batch)
    }

    /// The epoch of who opened the lane last.
    fn opened(&self) -> Result<Option<u64>, KeeperError> {
        let Some(bytes) = self.get(EPOCH)? else {
            return Ok(None);
        };
        let bytes: [u8; 8] = bytes[..].try_into().map_err(|_| KeeperError::Meta {
            lane: self.number,
            reason: "its epoch has not 8 bytes".to_owned(),
        })?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    fn meta(&self) -> Result<Option<LaneMeta>, KeeperError> {
        let Some(bytes) = self.io.block_on(self.lane.state.get(META))? else {
            return Ok(None);
        };
        Ok(Some(self.decoded(&bytes)?))
    }

    fn decoded(&self, bytes: &[u8]) -> Result<LaneMeta, KeeperError> {
        LaneMeta::decode(bytes).map_err(|reason| KeeperError::Meta {
            lane: self.number,
            reason,
        })
    }

    /// Whether the lane's state is of use, but for parts that `may_change`.
    fn check(&self, meta: &LaneMeta, may_change: &[&str]) -> Result<(), KeeperError> {
        let lane = self.number;
        let identity = self.expected.identity.without(may_change);
        if let Some(what) = identity.difference(&meta.identity.without(may_change)) {
            return Err(KeeperError::Other { lane, what });
        }
        let (before, now) = (meta.partitions, self.expected.partitions);
        if self.expected.is_keyed && before != now {
            return Err(KeeperError::Grown { lane, before, now });
        }
        Ok(())
    }

    /// Where features are served from elsewhere, what is written there bears the lane's epoch: no other may have it
    /// again, also if the lane's database is lost.
    fn raise_epoch(&self) -> Result<(), StoreError> {
        match &self.apart {
            Some((store, pipeline)) => self.io.block_on(store.raise_epoch(pipeline, self.epoch)),
            None => Ok(()),
        }
    }

    /// Features that the next commit covers: they are part of it, or are acknowledged before it.
    ///
    /// Also what is served from elsewhere is kept in the lane, for somebody may want to go back to it. Where there is a way
    /// back already it is kept, durably, before anybody sees it: what was served and not committed is taken back, too. As
    /// long as no commit names the way back, [`begun`] does.
    pub(super) fn write(&mut self, items: &Items) -> Result<(), StoreError> {
        let Some((store, _)) = &self.apart else {
            return self.batch.write(items);
        };
        if self.undo.is_some() {
            let mut ahead = self.changes();
            ahead.write(items)?;
            self.apply_durably(ahead)?;
        } else if self.expected.running.is_some() {
            self.batch.write(items)?;
        }
        self.io.block_on(store.write(self.number, items.clone()))
    }

    /// Changes of the outbox that are to be part of the next commit.
    pub(super) fn batch(&mut self) -> &mut StateBatch {
        &mut self.batch
    }

    /// Changes that are no part of the next commit, none yet.
    pub(super) fn changes(&self) -> StateBatch {
        self.lane.state.batch()
    }

    /// Makes such changes. They are durable with the next commit.
    pub(super) fn apply(&self, batch: StateBatch) -> Result<(), StoreError> {
        self.io.block_on(self.lane.state.apply(batch))
    }

    fn apply_durably(&self, batch: StateBatch) -> Result<(), StoreError> {
        self.io.block_on(async {
            self.lane.state.apply(batch).await?;
            self.lane.state.flush().await
        })
    }

    /// Says that of what the last commit holds, this is still to be sent. What was to be part of the next
    /// commit is not part of it.
    pub(super) fn settle(
        &mut self,
        mut batch: StateBatch,
        outbox: BTreeMap<String, Kept>,
    ) -> Result<(), KeeperError> {
        let Some(meta) = &mut self.last else {
            return Ok(());
        };
        meta.outbox = outbox;
        batch.put(META, &meta.encode());
        Ok(self.apply_durably(batch)?)
    }

    /// What is at a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.io.block_on(self.lane.state.get(key))
    }

    /// Commits, durably, what a lane has done, and everything that was to be part of it.
    pub(super) fn commit(
        &mut self,
        commit: &ToCommit,
        rows: u64,
        outbox: BTreeMap<String, Kept>,
        told: &LaneTelemetry,
    ) -> Result<(), KeeperError> {
        if let Some((store, pipeline)) = &self.apart {
            // What is committed is not computed again: by then it must be acknowledged.
            self.io.block_on(store.flush_lane(pipeline, self.number))?;
            if self.is_begun && self.last.as_ref().is_none_or(|last| last.rows < rows) {
                steps::done("served");
            }
        }
        let mut batch = std::mem::replace(&mut self.batch, self.lane.state.batch());
        let (mut progress, mut journal) = (Vec::new(), 0);
        if let (Some(kept), Some(codec)) = (&commit.kept, &self.codec) {
            let encoded = kept.encode(codec, |edit| match edit {
                Edit::Put(key, value) => batch.put(key, value),
                Edit::Remove(key) => batch.remove(key),
            });
            encoded.map_err(|error| KeeperError::State {
                lane: self.number,
                error,
            })?;
            progress = kept.changes.progress.encode();
            journal = kept.journal;
        }
        let meta = LaneMeta {
            layout: LAYOUT,
            windows_layout: Codec::LAYOUT,
            epoch: self.epoch,
            transform: self.expected.transform.clone(),
            identity: self.expected.identity.clone(),
            partitions: self.expected.partitions,
            rows,
            sequence: commit.cursor,
            splits: (commit.splits.iter())
                .map(|(name, cursor)| (name.to_string(), cursor.clone()))
                .collect(),
            progress,
            journal,
            report: KeptReport::of(&commit.report),
            outbox,
            own: commit.own.clone(),
            generation: self.expected.running.as_ref().map_or(0, |it| it.number),
            undo: self.undo.clone(),
            state: self.expected.state.clone(),
            work: Some(self.work(told)),
        };
        batch.put(META, &meta.encode());
        if std::mem::take(&mut self.is_begun) {
            batch.remove(BEGUN);
        }
        self.last = Some(meta);
        self.io.block_on(async {
            self.lane.state.apply(batch).await?;
            self.applied.send_modify(|commits| *commits += 1);
            self.lane.state.flush().await
        })?;
        Ok(())
    }

    /// What there is to say of the lane's work with its next commit.
    fn work(&self, told: &LaneTelemetry) -> LaneWork {
        let generation = self.expected.running.as_ref().map_or(0, |it| it.number);
        let last = self.last.as_ref();
        let last = last.filter(|last| last.generation == generation);
        let since = last.and_then(|last| last.work.as_ref()).map(|it| it.since);
        let batches = told.batches.snapshot();
        LaneWork {
            host: host_name().to_owned(),
            since: since.unwrap_or_else(|| self.clock.unix()),
            traps: told.traps.load(Ordering::Relaxed),
            batch_mean_s: batches.mean_s(),
            batch_p99_at_most_s: batches.at_most_s(0.99).filter(|bound| bound.is_finite()),
        }
    }

    /// Waits for something that the host's threads for stores do.
    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.io.block_on(work)
    }

    /// The lane, to be closed.
    pub(super) fn into_lane(self) -> LiveLane {
        self.lane
    }
}
