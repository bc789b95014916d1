//! How far a lane has come, as it is kept of it: JSON.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::pipeline::commit::{Identity, KeptReport, decode_meta};
use crate::pipeline::kept::{self as kept_for_people, Back, Come, Input, LaneWork};
use crate::pipeline::live::generations::{StateShape, Undo};
use crate::pipeline::live::outbox::Kept;
use crate::source::live::SplitCursor;

/// The version of what is kept of a lane, other than by the windows.
pub(super) const LAYOUT: u32 = 2;

/// How far a lane has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LaneMeta {
    pub(super) layout: u32,
    pub(super) windows_layout: u32,
    /// Rises whenever the lane is opened.
    pub(super) epoch: u64,
    /// The digest of the transform that worked on it.
    pub(super) transform: String,
    pub(super) identity: Identity,
    pub(super) partitions: u32,
    /// How many rows it has emitted.
    pub(super) rows: u64,
    /// How many of the source's rows were judged.
    pub(super) sequence: u64,
    /// How far each split was judged: by a partition's number, or a shard's name.
    pub(super) splits: BTreeMap<String, SplitCursor>,
    /// The windows' progress, as its bytes; none where there are no windows, and before the first commit of a lane that
    /// begins anew.
    pub(super) progress: Vec<u8>,
    /// Entries of the journal that are to be carried out.
    pub(super) journal: u64,
    pub(super) report: KeptReport,
    pub(super) outbox: BTreeMap<String, Kept>,
    /// What the lane keeps beside its windows, in pipelines of two stages.
    #[serde(default)]
    pub(super) own: serde_json::Value,
    /// The generation of the transform; zero where they had no numbers.
    #[serde(default)]
    pub(super) generation: u64,
    /// The way back from it.
    #[serde(default)]
    pub(super) undo: Option<Undo>,
    /// What the states are.
    #[serde(default)]
    pub(super) state: Option<StateShape>,
    /// What its host says of its work.
    #[serde(default)]
    pub(super) work: Option<LaneWork>,
}

/// What the states of a lane are, from the bytes that are kept of it; none if it has none.
pub(in crate::pipeline::live) fn states_of(bytes: &[u8]) -> Result<Option<StateShape>, String> {
    let meta = LaneMeta::decode(bytes)?;
    Ok(meta.state)
}

/// How far a lane has come, for a person, from the bytes that are kept of it.
pub(in crate::pipeline) fn come(bytes: &[u8]) -> Result<Come, String> {
    let meta = LaneMeta::decode(bytes)?;
    let splits = meta.splits.iter();
    let cursors = splits.map(|(split, cursor)| (split.to_string(), cursor.position.to_string()));
    let owed = meta.outbox.iter();
    let back = meta.undo.map(|undo| {
        let splits = undo.splits.into_iter();
        let offset = |(split, cursor): (String, SplitCursor)| {
            Some((split.parse().ok()?, cursor.position.offset()?))
        };
        Back {
            generation: undo.from,
            offsets: splits.filter_map(offset).collect(),
        }
    });
    let report = meta.report.report();
    Ok(Come {
        input: Input::Live,
        epoch: meta.epoch,
        generation: Some(meta.generation).filter(|number| *number > 0),
        work: meta.work,
        transform: Some(meta.transform),
        identity: Some(meta.identity),
        back,
        cursors: cursors.collect(),
        watermark: Some(report.watermark).filter(|watermark| *watermark != i64::MIN),
        windows: report.windows,
        unfinished: Some(report.unfinished),
        rows: Some(meta.rows),
        outbox: kept_for_people::owed(owed.map(|(name, kept)| (name.as_str(), kept.owed()))),
        accounting: report.accounting,
    })
}

/// This process, as people who look after several hosts know it.
pub(in crate::pipeline::live) fn host_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        // As the kernel has it: proc(5).
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = match name.trim() {
            "" => "host",
            name => name,
        };
        format!("{name}/{}", std::process::id())
    });
    &NAME
}

impl LaneMeta {
    /// Reads what is kept.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        decode_meta(bytes, LAYOUT)
    }

    /// Whether the lane's windows had judged anything.
    pub(super) fn has_begun(&self) -> bool {
        !self.progress.is_empty()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has only texts, numbers and lists")
    }
}
