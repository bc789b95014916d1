//! What is kept of a pipeline's lanes, read from the store for a person, whoever writes it meanwhile.
//!
//! In comes a store that is open for reading; out go how far each lane has come, and what it keeps of one key. All
//! of it is as of a commit; two looks may see two commits. Nothing here writes, and nothing depends on a clock.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::accounting::Accounting;
use super::commit::Identity;
use super::plan::Plan;
use super::{commit, live};
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedReader, Keyspace, LaneSize};
use crate::text::record_lines;
pub use crate::window::Fact;
pub use crate::window::UnfinishedCounts;
use crate::window::{Codec, StateError};

/// Where lanes of both kinds say how far they have come.
const META: &[u8] = &[0];

/// Why what is kept cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a lane says is of another layout, or damaged.
    #[error("what lane {lane} keeps cannot be read: {reason}; use the build that wrote it")]
    Meta {
        /// The lane.
        lane: u32,
        /// What is wrong.
        reason: String,
    },
    /// Records cannot be read.
    #[error("what lane {lane} keeps of the key cannot be read: {error}")]
    State {
        /// The lane.
        lane: u32,
        /// What is wrong.
        error: StateError,
    },
    /// The pipeline keeps nothing of keys.
    #[error("pipeline {0} has no windows, so nothing is kept of its keys")]
    NoWindows(String),
}

/// How far a lane has come.
#[derive(Debug, Clone)]
pub struct Come {
    /// What it reads.
    pub input: Input,
    /// The epoch of whoever has it, or had it last; of recorded events that of the run's first start.
    pub epoch: u64,
    /// The generation of the transform, where generations have numbers.
    pub generation: Option<u64>,
    /// What whoever committed it says of their work; none where that is not kept.
    pub work: Option<LaneWork>,
    /// The digest of the transform that worked on it, where that is kept.
    pub transform: Option<String>,
    /// What stays the same as long as its state is of use, where that is kept.
    pub(super) identity: Option<Identity>,
    /// The way back from its generation, if there is one.
    pub back: Option<Back>,
    /// The position after the last one that was judged, by split. Recorded events have one cursor for all of their
    /// splits, which is the row.
    pub cursors: Vec<(String, String)>,
    /// Up to which event time its input is complete, in microseconds; none before there is one.
    pub watermark: Option<i64>,
    /// Windows that closed.
    pub windows: u64,
    /// Windows that could not be finished, and what became of them; none where they are not kept.
    pub unfinished: Option<UnfinishedCounts>,
    /// Rows that it has emitted, where that is kept.
    pub rows: Option<u64>,
    /// What is committed and still to be sent, in entries of many messages each, by addressee; over recorded events
    /// the entries of the log that files get at the end.
    pub outbox: Vec<(String, u64)>,
    /// Rows by where they ended.
    pub accounting: Accounting,
}

/// Where a lane is led by the way back from its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    /// The generation.
    pub generation: u64,
    /// The offset that it reads next then, by partition; nothing of streams that have no offsets.
    pub offsets: Vec<(u32, i64)>,
}

/// A lane at work, as its host told with its last commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneWork {
    /// The host: its name, and the number of the process.
    pub host: String,
    /// Since when the lane is of its generation, in microseconds since 1970-01-01T00:00:00Z.
    pub since: i64,
    /// Calls of the transform that failed, since the lane was opened there.
    pub traps: u64,
    /// Seconds that a batch took, since then: the mean, and a bound that 99 of 100 are not above; none without batches, or
    /// above all bounds.
    pub batch_mean_s: Option<f64>,
    /// The bound.
    pub batch_p99_at_most_s: Option<f64>,
}

/// What a lane reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A live stream.
    Live,
    /// Recorded events, of a run that is not over.
    Run,
}

impl Input {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Run => "recorded",
        }
    }

    fn keyspace(self) -> Keyspace {
        match self {
            Self::Live => Keyspace::Live,
            Self::Run => Keyspace::Run,
        }
    }
}

/// What there is of a lane.
#[derive(Debug, Clone)]
pub struct KeptLane {
    /// Its number.
    pub number: u32,
    /// How far it has come, over each kind of input; none if only features are there.
    pub come: Vec<Come>,
    /// What its database takes.
    pub size: LaneSize,
}

/// What a lane keeps of a key in one record.
#[derive(Debug, Clone)]
pub struct KeptRecord {
    /// The lane.
    pub lane: u32,
    /// What the lane reads.
    pub input: Input,
    /// What kind of record it is: `pane`, `session`, `value`, …
    pub kind: &'static str,
    /// What it says beside the state, by name.
    pub facts: Vec<(&'static str, Fact)>,
    /// The columns of the state as a JSON object, if it has a state.
    pub state: Option<String>,
}

/// All lanes of a pipeline, in ascending order; none if the store knows no such pipeline.
///
/// # Errors
///
/// See [`KeptError`].
pub async fn lanes(reader: &EmbeddedReader, pipeline: &str) -> Result<Vec<KeptLane>, KeptError> {
    let run = reader.run(pipeline).await?;
    // What earlier runs left of recorded events counts no longer.
    let run = run.and_then(|run| commit::generation(&run));
    let mut lanes = Vec::new();
    for number in reader.lanes(pipeline).await? {
        let mut come = Vec::new();
        let meta = async |keyspace| reader.kept(pipeline, number, keyspace, META).await;
        let unreadable = |reason| KeptError::Meta {
            lane: number,
            reason,
        };
        if let Some(meta) = meta(Keyspace::Live).await? {
            come.push(live::come(&meta).map_err(unreadable)?);
        }
        if let (Some(run), Some(meta)) = (run, meta(Keyspace::Run).await?) {
            let kept = commit::come(&meta).map_err(unreadable)?;
            come.extend(Some(kept).filter(|kept| kept.epoch == run));
        }
        let size = reader.size(pipeline, number).await?;
        lanes.push(KeptLane { number, come, size });
    }
    Ok(lanes)
}

/// What lanes keep of one key, which is given by its columns of one row each.
///
/// # Errors
///
/// See [`KeptError`].
pub async fn records(
    reader: &EmbeddedReader,
    plan: &Plan,
    lanes: &[KeptLane],
    key: &[ArrayRef],
) -> Result<Vec<KeptRecord>, KeptError> {
    let Some(windows) = plan.windows() else {
        return Err(KeptError::NoWindows(plan.pipeline.clone()));
    };
    let mut found = Vec::new();
    for lane in lanes {
        let state = |error| KeptError::State {
            lane: lane.number,
            error,
        };
        let arrow = |error| state(StateError::Arrow(error));
        let codec = Codec::new(&plan.key_schema, &windows.spec.state).map_err(state)?;
        let group = codec.prefixes(key).map_err(state)?.swap_remove(0);
        for come in &lane.come {
            let keyspace = come.input.keyspace();
            let pairs = reader.kept_group(&plan.pipeline, lane.number, keyspace, &group);
            let pairs = pairs.await?;
            let encoded = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
            let records = codec.decode(encoded).map_err(state)?;
            let rows = records.has_state.iter().filter(|has| **has).count();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let schema = SchemaRef::clone(&windows.spec.state);
            let states =
                RecordBatch::try_new_with_options(schema, records.states.clone(), &options);
            let lines = record_lines(&states.map_err(arrow)?).map_err(arrow)?;
            let mut lines = lines.into_iter();
            for (record, has_state) in records.has_state.iter().enumerate() {
                let described = windows.shape.describe(&records, record).map_err(state)?;
                found.push(KeptRecord {
                    lane: lane.number,
                    input: come.input,
                    kind: described.kind,
                    facts: described.facts,
                    state: has_state.then(|| lines.next()).flatten(),
                });
            }
        }
    }
    Ok(found)
}

/// Sums of what is owed, by addressee.
pub(super) fn owed<'a>(all: impl Iterator<Item = (&'a str, u64)>) -> Vec<(String, u64)> {
    let mut owed: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, entries) in all.filter(|(_, entries)| *entries > 0) {
        *owed.entry(name).or_default() += entries;
    }
    let owed = owed.into_iter();
    owed.map(|(name, entries)| (name.to_owned(), entries))
        .collect()
}
