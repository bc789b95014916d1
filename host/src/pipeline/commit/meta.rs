//! How far a lane has come, as JSON: it is small, and a person may want to read it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ToCommit;
use super::report::KeptReport;
use crate::pipeline::kept::{Come, Input, owed};
use crate::pipeline::lane::LaneReport;
use crate::window::Codec;

/// The version of what is kept of a lane, other than by the windows.
const LAYOUT: u32 = 2;

/// What must be the same for an interrupted run to go on, by what a person calls it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Identity(BTreeMap<String, String>);

impl Identity {
    /// Of parts by their names; only whether they are the same is kept.
    pub(in crate::pipeline) fn of(parts: Vec<(&str, String)>) -> Self {
        let parts = parts.into_iter();
        let kept = parts.map(|(name, text)| (name.to_owned(), kept(&text)));
        Self(kept.collect())
    }

    /// Whether a part is this.
    pub(in crate::pipeline) fn has(&self, part: &str, text: &str) -> bool {
        self.0.get(part).is_some_and(|digest| *digest == kept(text))
    }

    /// The same without some parts.
    pub(in crate::pipeline) fn without(&self, parts: &[&str]) -> Self {
        let all = self.0.iter();
        let left = all.filter(|(name, _)| !parts.contains(&name.as_str()));
        Self(
            left.map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
        )
    }

    /// What is not the same in another one.
    pub(in crate::pipeline) fn difference(&self, other: &Self) -> Option<String> {
        let names = self.0.keys().chain(other.0.keys());
        let mut differ: Vec<&str> = names
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .map(String::as_str)
            .collect();
        differ.sort_unstable();
        differ.dedup();
        (!differ.is_empty()).then(|| differ.join(" and "))
    }
}

/// What is kept of a text.
fn kept(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A run that is not over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// What lanes have kept counts if it is of this generation.
    pub(super) generation: u64,
    pub(super) identity: Identity,
}

/// How far a lane has come.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaneMeta {
    layout: u32,
    windows_layout: u32,
    pub(super) generation: u64,
    /// The sequence before which all rows were judged.
    pub(super) cursor: u64,
    /// Entries of the log that count.
    pub(super) entries: u64,
    /// The number up to which entries of the journal count.
    pub(super) journal: u64,
    /// The windows' progress, as its bytes.
    pub(super) progress: Vec<u8>,
    report: KeptReport,
}

impl LaneMeta {
    pub(super) fn new(generation: u64, commit: &ToCommit, entries: u64, progress: Vec<u8>) -> Self {
        Self {
            layout: LAYOUT,
            windows_layout: Codec::LAYOUT,
            generation,
            cursor: commit.cursor,
            entries,
            journal: commit.kept.as_ref().map_or(0, |kept| kept.journal),
            progress,
            report: KeptReport::of(&commit.report),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a lane's progress has only texts, numbers and lists")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        decode(bytes, LAYOUT)
    }

    pub(super) fn report(&self) -> LaneReport {
        self.report.report()
    }
}

/// How far a lane has come, for a person, from the bytes that are kept of it.
pub(in crate::pipeline) fn come(bytes: &[u8]) -> Result<Come, String> {
    let meta = LaneMeta::decode(bytes)?;
    let report = meta.report();
    Ok(Come {
        identity: None,
        back: None,
        input: Input::Run,
        epoch: meta.generation,
        generation: None,
        work: None,
        transform: None,
        cursors: vec![("all".to_owned(), meta.cursor.to_string())],
        watermark: Some(report.watermark).filter(|watermark| *watermark != i64::MIN),
        windows: report.windows,
        unfinished: None,
        rows: None,
        outbox: owed([("files", meta.entries)].into_iter()),
        accounting: report.accounting,
    })
}

/// The generation of what is said of a run.
pub(in crate::pipeline) fn generation(run: &str) -> Option<u64> {
    let run: Run = serde_json::from_str(run).ok()?;
    Some(run.generation)
}

/// Reads what is kept of a lane as JSON, if it is of this layout and its windows of the one that this build reads.
pub(in crate::pipeline) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    layout: u32,
) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Layouts {
        layout: u32,
        windows_layout: u32,
    }
    let layouts: Layouts = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if (layouts.layout, layouts.windows_layout) != (layout, Codec::LAYOUT) {
        return Err(format!(
            "it has layout {}.{}, and this build reads {layout}.{}",
            layouts.layout,
            layouts.windows_layout,
            Codec::LAYOUT
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
