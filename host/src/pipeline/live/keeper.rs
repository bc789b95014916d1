//! What is kept of a lane of a live pipeline: where it goes on, its windows, and what it still has to
//! send.
//!
//! | key | value |
//! | --- | --- |
//! | `0x00` | how far the lane has come: JSON, see [`LaneMeta`] |
//! | `0x01`, `0x02` | records of windows, and what is due when: see [`crate::window::Codec`] |
//! | `0x03`, name, `0x00`, entry (8 bytes, big-endian) | what is to be sent to whom, see [`super::outbox`] |
//! | `0x04`, `0x05` | of no meaning but to [`crate::pipeline::residence`] |
//! | `0x06` | the epoch of who opened the lane last (8 bytes, big-endian) |
//!
//! All of it changes in one batch, together with the lane's features: a commit. There are two exceptions.
//! An entry of the outbox may be there before the commit that counts it, and the epoch is written when
//! the lane is opened. It outlives everything else, for what the lane has sent bears it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::outbox::Kept;
use crate::pipeline::commit::{Identity, KeptReport, Resume, ToCommit, decode_meta};
use crate::pipeline::kept::{self as kept_for_people, Come, Input};
use crate::pipeline::plan::Plan;
use crate::pipeline::residence as kept;
use crate::source::live::SplitCursor;
use crate::store::embedded::{LiveLane, StateBatch, StoreRequests};
use crate::store::{Items, StoreError};
use crate::window::{Codec, Edit, Progress, StateError};

const META: &[u8] = &[0];
const EPOCH: &[u8] = &[6];

/// What is forgotten where a lane begins anew.
const FORGOTTEN: [&[u8]; 6] = [META, &[1], &[2], &[3], &[4], &[5]];

/// The version of what is kept of a lane, other than by the windows.
const LAYOUT: u32 = 2;

/// Why a lane cannot go on, or cannot commit.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What windows keep cannot be kept, or used.
    #[error("the state of lane {lane} cannot be used: {error}")]
    State {
        /// The lane.
        lane: u32,
        /// What is wrong.
        error: StateError,
    },
    /// What is kept is of another layout, or damaged.
    #[error(
        "the state of lane {lane} cannot be used: {reason}; use the build that wrote it, or begin anew with `--fresh`"
    )]
    Meta {
        /// The lane.
        lane: u32,
        /// What is wrong.
        reason: String,
    },
    /// The pipeline is not the one that left the state.
    #[error(
        "lane {lane} has state of this pipeline in which {what} was another: put that back, give the pipeline another name, or begin anew with `--fresh`"
    )]
    Other {
        /// The lane.
        lane: u32,
        /// What is not as it was.
        what: String,
    },
    /// The stream is divided otherwise than when the state was made.
    #[error(
        "the stream had {before} partitions when lane {lane} began, and has {now}: its keys may be elsewhere now, so the state of each key would be in two halves; begin anew with `--fresh`, from recorded events or the start of the stream"
    )]
    Grown {
        /// The lane.
        lane: u32,
        /// How many partitions there were.
        before: u32,
        /// How many there are.
        now: u32,
    },
}

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
}

/// How far a lane has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaneMeta {
    layout: u32,
    windows_layout: u32,
    /// Rises whenever the lane is opened.
    pub(crate) epoch: u64,
    /// The digest of the transform that worked on it.
    pub(crate) transform: String,
    identity: Identity,
    partitions: u32,
    /// How many rows it has emitted.
    pub(crate) rows: u64,
    /// How many of the source's rows were judged.
    pub(crate) sequence: u64,
    /// How far each split was judged: by a partition's number, or a shard's name.
    pub(crate) splits: BTreeMap<String, SplitCursor>,
    /// The windows' progress, as its bytes.
    progress: Vec<u8>,
    /// Entries of the journal that are to be carried out.
    journal: u64,
    pub(super) report: KeptReport,
    pub(super) outbox: BTreeMap<String, Kept>,
    /// What the lane keeps beside its windows, in pipelines of two stages.
    #[serde(default)]
    own: serde_json::Value,
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
    io: Handle,
}

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
        io: Handle,
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
            io,
        };
        let meta = keeper.meta()?;
        if let Some(meta) = &meta {
            keeper.check(meta)?;
        }
        let before = meta.as_ref().map(|meta| meta.epoch).max(keeper.opened()?);
        keeper.epoch = epoch.max(before.map_or(0, |before| before + 1));
        keeper.claim()?;
        keeper.last.clone_from(&meta);
        let Some(meta) = meta else {
            let taken = Taken {
                resume: Resume::default(),
                rows: 0,
                outbox: BTreeMap::new(),
            };
            return Ok((keeper, taken));
        };
        let mut resume = Resume {
            cursor: meta.sequence,
            splits: (meta.splits.into_iter())
                .map(|(name, cursor)| (name.into(), cursor))
                .collect(),
            report: meta.report.report(),
            own: meta.own,
            ..Resume::default()
        };
        if keeper.codec.is_some() {
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

    /// Where the lane's windows find what is kept of them; they may take so many bytes in memory.
    pub(super) fn kept(&self, memory: usize) -> kept::Kept {
        kept::Kept {
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

    /// Forgets what is kept of a lane.
    pub(super) async fn forget(lane: &LiveLane) -> Result<(), StoreError> {
        for prefix in FORGOTTEN {
            crate::pipeline::commit::clear(&lane.state, prefix).await?;
        }
        Ok(())
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
        let meta = decode_meta(&bytes, LAYOUT).map_err(|reason| KeeperError::Meta {
            lane: self.number,
            reason,
        })?;
        Ok(Some(meta))
    }

    fn check(&self, meta: &LaneMeta) -> Result<(), KeeperError> {
        let lane = self.number;
        if let Some(what) = self.expected.identity.difference(&meta.identity) {
            return Err(KeeperError::Other { lane, what });
        }
        let (before, now) = (meta.partitions, self.expected.partitions);
        if self.expected.is_keyed && before != now {
            return Err(KeeperError::Grown { lane, before, now });
        }
        Ok(())
    }

    /// Features that are to be part of the next commit.
    pub(super) fn write(&mut self, items: &Items) -> Result<(), StoreError> {
        self.batch.write(items)
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
        batch.put(META, &encode(meta));
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
    ) -> Result<(), KeeperError> {
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
        };
        batch.put(META, &encode(&meta));
        self.last = Some(meta);
        self.io.block_on(async {
            self.lane.state.apply(batch).await?;
            self.applied.send_modify(|commits| *commits += 1);
            self.lane.state.flush().await
        })?;
        Ok(())
    }

    /// The lane, to be closed.
    pub(super) fn into_lane(self) -> LiveLane {
        self.lane
    }
}

/// How far a lane has come, for a person, from the bytes that are kept of it.
pub(in crate::pipeline) fn come(bytes: &[u8]) -> Result<Come, String> {
    let meta: LaneMeta = decode_meta(bytes, LAYOUT)?;
    let splits = meta.splits.iter();
    let cursors = splits.map(|(split, cursor)| (split.to_string(), cursor.position.to_string()));
    let owed = meta.outbox.iter();
    let report = meta.report.report();
    Ok(Come {
        input: Input::Live,
        epoch: meta.epoch,
        transform: Some(meta.transform),
        cursors: cursors.collect(),
        watermark: Some(report.watermark).filter(|watermark| *watermark != i64::MIN),
        windows: report.windows,
        rows: Some(meta.rows),
        outbox: kept_for_people::owed(owed.map(|(name, kept)| (name.as_str(), kept.owed()))),
        accounting: report.accounting,
    })
}

fn encode(meta: &LaneMeta) -> Vec<u8> {
    serde_json::to_vec(meta).expect("it has only texts, numbers and lists")
}
