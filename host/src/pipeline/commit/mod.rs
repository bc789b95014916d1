//! Commits: what of a lane outlives the process, all of it together or none.
//!
//! A commit holds what changed in the lane's windows, its cursor (everything before it was judged),
//! its accounts and what it has sent on. What it sent on is logged until the run is over, because
//! files are complete only then: a run that goes on gives the log to the files once more, and then
//! what is new. Features need no log. They are written to the same database before the commit that
//! covers them, and writing them again changes nothing.
//!
//! | key | value |
//! | --- | --- |
//! | `0x00` | how far the lane has come: JSON, see [`meta`] |
//! | `0x01`, `0x02` | records of windows, and what is due when: see [`crate::window::Codec`] |
//! | `0x03`, entry (8 bytes, big-endian) | what the lane sent on, see [`log`] |
//! | `0x04`, entry | edits that the last commit declared valid and are not carried out yet: see [`super::residence`] |
//! | `0x05`, … | emissions that are being put in order, of no meaning after the process |
//!
//! Entries are written as they come, and count only up to the number that the last commit says.

mod lane;
mod log;
mod meta;
mod replaying;
mod report;
mod timer;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(super) use self::lane::LaneCommits;
use self::log::Entry;
pub(super) use self::meta::{Identity, come, decode as decode_meta, generation};
use self::meta::{LaneMeta, Run};
pub(super) use self::replaying::Replaying;
pub(super) use self::report::KeptReport;
pub(super) use self::timer::{CommitDue, CommitTimer};
use super::lane::{FromLane, LaneReport};
use super::plan::Plan;
use super::residence::{Kept, KeptChanges};
use crate::source::live::SplitCursor;
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedStore, LaneState, StateBatch};
use crate::window::{Codec, Edit, Progress, StateError};

const META: &[u8] = &[0];
const LOG: u8 = 3;

/// Bytes that are held of a lane's log before they are written.
const LOG_BYTES: usize = 4 << 20;

/// How far each split of a live stream was judged, by its name.
pub(super) type SplitCursors = BTreeMap<Arc<str>, SplitCursor>;

/// What a lane commits.
#[derive(Debug)]
pub(super) struct ToCommit {
    /// What changed in its windows; none if it has none.
    pub(super) kept: Option<KeptChanges>,
    /// The sequence before which all rows were judged.
    pub(super) cursor: u64,
    /// How far each split of a live stream was judged.
    pub(super) splits: SplitCursors,
    /// What it has to say so far.
    pub(super) report: LaneReport,
    /// What else the lane has to keep; nothing but in pipelines of two stages.
    pub(super) own: serde_json::Value,
}

/// Where a lane goes on.
#[derive(Debug, Default)]
pub(super) struct Resume {
    /// The sequence before which all rows were judged.
    pub(super) cursor: u64,
    /// How far each split of a live stream was judged.
    pub(super) splits: SplitCursors,
    pub(super) report: LaneReport,
    pub(super) progress: Option<Progress>,
    /// The number up to which entries of the journal count.
    pub(super) journal: u64,
    /// What else the lane kept.
    pub(super) own: serde_json::Value,
}

impl Resume {
    /// Whether anything was judged before.
    pub(super) fn goes_on(&self) -> bool {
        self.cursor > 0 || !self.splits.is_empty()
    }
}

/// Why nothing can be committed, or an interrupted run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What windows keep cannot be kept, or used.
    #[error("{error}{}", advice(error))]
    State {
        /// What is wrong.
        #[from]
        error: StateError,
    },
    /// What is said of the interrupted run is no JSON.
    #[error(
        "what is kept of an interrupted run cannot be used: {reason}; `--fresh` forgets it and begins anew"
    )]
    Run {
        /// What is wrong.
        reason: String,
    },
    /// What is kept is of another layout, or no JSON.
    #[error(
        "the state of lane {lane} cannot be used: {reason}; `--fresh` forgets it and begins anew"
    )]
    Meta {
        /// The lane.
        lane: usize,
        /// What is wrong.
        reason: String,
    },
    /// The interrupted run was another one.
    #[error(
        "an interrupted run is to go on, and {what} changed since; put that back, or begin anew with `--fresh`"
    )]
    Other {
        /// What is not as it was.
        what: String,
    },
    /// Rows cannot be logged.
    #[error("cannot keep what was sent on: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

fn advice(error: &StateError) -> &'static str {
    match error {
        StateError::Type { .. } => ", or leave `run.commit_every` out",
        _ => "; `--fresh` forgets it and begins anew",
    }
}

/// The commits of a pipeline's lanes.
pub(super) struct Commits {
    pipeline: String,
    store: Arc<EmbeddedStore>,
    lanes: Vec<Keeper>,
    generation: u64,
    io: Handle,
}

struct Keeper {
    state: LaneState,
    codec: Option<Codec>,
    /// Entries that are not written yet.
    unwritten: StateBatch,
    next_entry: u64,
    /// The lane's progress, if it is not logged yet.
    progress: Option<Entry>,
    /// How many of the lane's commits can be read. The lane hears that there will be no more when
    /// this is gone.
    applied: watch::Sender<u64>,
}

impl Commits {
    /// Opens what is kept of a pipeline's lanes, and says where each goes on; nothing if all begin
    /// anew, which they do with `fresh`, too. A run that begins is of this `generation`, which no
    /// run before it had.
    pub(super) fn open(
        store: &Arc<EmbeddedStore>,
        plan: &Plan,
        identity: Identity,
        lanes: usize,
        fresh: bool,
        generation: u64,
        io: Handle,
    ) -> Result<(Self, Option<Vec<Resume>>), CommitError> {
        let pipeline = plan.pipeline.clone();
        let mut keepers = Vec::with_capacity(lanes);
        for lane in 0..lanes {
            let windows = plan.windows();
            let codec = windows.map(|windows| Codec::new(&plan.key_schema, &windows.spec.state));
            let state = store.state(&pipeline, lane as u32)?;
            keepers.push(Keeper {
                codec: codec.transpose()?,
                unwritten: state.batch(),
                state,
                next_entry: 0,
                progress: None,
                applied: watch::Sender::new(0),
            });
        }
        let mut commits = Self {
            pipeline,
            store: Arc::clone(store),
            lanes: keepers,
            generation,
            io,
        };
        let goes_on = !fresh && commits.takes_up(&identity)?;
        if !goes_on {
            commits.begin(identity)?;
        }
        let mut resumes = Vec::with_capacity(lanes);
        let mut any = false;
        for lane in 0..lanes {
            // A lane that did not commit in this run begins at the first row.
            resumes.push(
                match goes_on.then(|| commits.meta(lane)).transpose()?.flatten() {
                    Some(meta) => {
                        any = true;
                        commits.resume(lane, meta)?
                    }
                    None => {
                        commits
                            .io
                            .block_on(clear(&commits.lanes[lane].state, &[]))?;
                        Resume::default()
                    }
                },
            );
        }
        Ok((commits, any.then_some(resumes)))
    }

    /// Whether there is an interrupted run, which then goes on.
    fn takes_up(&mut self, identity: &Identity) -> Result<bool, CommitError> {
        let Some(run) = self.io.block_on(self.store.run(&self.pipeline))? else {
            return Ok(false);
        };
        let run: Run = serde_json::from_str(&run).map_err(|error| CommitError::Run {
            reason: error.to_string(),
        })?;
        if let Some(what) = identity.difference(&run.identity) {
            return Err(CommitError::Other { what });
        }
        self.generation = run.generation;
        Ok(true)
    }

    fn begin(&self, identity: Identity) -> Result<(), CommitError> {
        let run = Run {
            generation: self.generation,
            identity,
        };
        let run = serde_json::to_string(&run).expect("an identity has only texts");
        Ok(self
            .io
            .block_on(self.store.set_run(&self.pipeline, Some(run)))?)
    }

    /// How far a lane had come, if it committed in this run.
    fn meta(&self, lane: usize) -> Result<Option<LaneMeta>, CommitError> {
        let Some(bytes) = self.io.block_on(self.lanes[lane].state.get(META))? else {
            return Ok(None);
        };
        let meta = LaneMeta::decode(&bytes).map_err(|reason| CommitError::Meta { lane, reason })?;
        Ok((meta.generation == self.generation).then_some(meta))
    }

    fn resume(&mut self, lane: usize, meta: LaneMeta) -> Result<Resume, CommitError> {
        let commits = &mut self.lanes[lane];
        commits.next_entry = meta.entries;
        let progress = commits.codec.is_some();
        let progress = progress.then(|| Progress::decode(&meta.progress));
        Ok(Resume {
            cursor: meta.cursor,
            splits: SplitCursors::new(),
            report: meta.report(),
            progress: progress.transpose()?,
            journal: meta.journal,
            own: serde_json::Value::Null,
        })
    }

    /// Where a lane's state is kept; its windows may take so many bytes in memory.
    pub(super) fn kept(&self, lane: usize, memory: usize) -> Kept {
        let commits = &self.lanes[lane];
        Kept {
            // A run over recorded events has one version, and closes everything once.
            unfinished: None,
            state: commits.state.clone(),
            applied: commits.applied.subscribe(),
            io: self.io.clone(),
            memory,
        }
    }

    /// What the lanes had sent on when they committed, to be given to the files once more.
    pub(super) fn replaying(&self) -> Replaying {
        let lanes = self.lanes.iter();
        let lanes = lanes.map(|lane| (lane.state.clone(), lane.next_entry));
        Replaying::new(lanes.collect(), self.io.clone())
    }

    /// Logs what a lane sends on.
    pub(super) fn log(&mut self, lane: usize, message: &FromLane) -> Result<(), CommitError> {
        let lane = &mut self.lanes[lane];
        match Entry::of(message)? {
            None => return Ok(()),
            // Most lanes hear of much progress without a row, of which the last is enough.
            Some(entry @ Entry::Progress { .. }) => lane.progress = Some(entry),
            Some(entry) => {
                lane.log_progress();
                lane.push(entry);
            }
        }
        if lane.unwritten.bytes() >= LOG_BYTES {
            let batch = std::mem::replace(&mut lane.unwritten, lane.state.batch());
            self.io.block_on(lane.state.apply(batch))?;
        }
        Ok(())
    }

    /// Commits, durably, what a lane has done so far.
    pub(super) fn commit(&mut self, lane: usize, commit: &ToCommit) -> Result<(), CommitError> {
        let lane = &mut self.lanes[lane];
        lane.log_progress();
        let mut batch = std::mem::replace(&mut lane.unwritten, lane.state.batch());
        let mut progress = Vec::new();
        if let (Some(kept), Some(codec)) = (&commit.kept, &lane.codec) {
            kept.encode(codec, |edit| match edit {
                Edit::Put(key, value) => batch.put(key, value),
                Edit::Remove(key) => batch.remove(key),
            })?;
            progress = kept.changes.progress.encode();
        }
        let meta = LaneMeta::new(self.generation, commit, lane.next_entry, progress);
        batch.put(META, &meta.encode());
        self.io.block_on(async {
            lane.state.apply(batch).await?;
            lane.applied.send_modify(|commits| *commits += 1);
            lane.state.flush().await
        })?;
        Ok(())
    }

    /// Forgets everything that is kept: the run is over.
    pub(super) fn clear(&mut self) -> Result<(), CommitError> {
        // Without this nothing else counts, should this be interrupted.
        self.io.block_on(self.store.set_run(&self.pipeline, None))?;
        for lane in &self.lanes {
            self.io.block_on(clear(&lane.state, &[]))?;
        }
        Ok(())
    }
}

impl Keeper {
    fn log_progress(&mut self) {
        if let Some(progress) = self.progress.take() {
            self.push(progress);
        }
    }

    fn push(&mut self, entry: Entry) {
        self.unwritten
            .put(&entry_key(self.next_entry), &entry.encode());
        self.next_entry += 1;
    }
}

fn entry_key(entry: u64) -> Vec<u8> {
    [&[LOG][..], &entry.to_be_bytes()].concat()
}

/// Forgets everything that is kept of a lane under keys that begin with `prefix`.
pub(super) async fn clear(state: &LaneState, prefix: &[u8]) -> Result<(), StoreError> {
    let mut after: Option<Bytes> = None;
    loop {
        let pairs = state.pairs(prefix, after.as_deref()).await?;
        let Some((last, _)) = pairs.last() else {
            break;
        };
        after = Some(last.clone());
        let mut batch = state.batch();
        pairs.iter().for_each(|(key, _)| batch.remove(key));
        state.apply(batch).await?;
    }
    match after {
        Some(_) => state.flush().await,
        None => Ok(()),
    }
}
