//! The input rows behind differences: those of the entity whose time lies in the window.
//!
//! In: what a run has read, and the rows that differ. Out: the first few event rows of each, with
//! their file and line. The events are read once more, whatever the number of differences.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{cast, take_record_batch};
use arrow_row::{OwnedRow, RowConverter, SortField};

use super::TestError;
use super::compare::{Comparison, RowId};
use super::trial::Outcome;
use crate::source::replay::Replay;
use crate::source::{ReadProgress, SourceBatch, record_lines};

/// Input rows that are shown of one entity and window.
const MOST_ROWS: usize = 5;
/// Entities and windows that input rows are looked for.
const MOST_WINDOWS: usize = 25;

/// Input rows by what they are the input of.
#[derive(Default)]
pub(super) struct Evidence {
    rows: HashMap<RowId, Behind>,
    /// Whether there was anything to look through.
    looked: bool,
}

#[derive(Default)]
struct Behind {
    lines: Vec<String>,
    more: usize,
}

/// A window of an entity, to look for.
struct Wanted {
    id: RowId,
    start: i64,
    end: i64,
}

impl Evidence {
    /// No input rows at all.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Looks for the rows behind the first differences, at most `most`.
    ///
    /// # Errors
    ///
    /// The events cannot be read again.
    pub(super) fn find(
        comparison: &Comparison,
        outcome: &Outcome,
        most: usize,
    ) -> Result<Self, TestError> {
        let mut evidence = Self::default();
        // A key that something on the way makes of other columns cannot be looked for.
        let source = &outcome.replay.columns;
        let keys = outcome.layout.keys.iter();
        let keys: Option<Vec<usize>> = keys.map(|key| source.index_of(key).ok()).collect();
        let Some(keys) = keys.filter(|_| !comparison.differences.is_empty()) else {
            return Ok(evidence);
        };
        let fields = keys
            .iter()
            .map(|key| source.field(*key).data_type().clone());
        let converter = RowConverter::new(fields.map(SortField::new).collect())?;
        let mut wanted: HashMap<OwnedRow, Vec<Wanted>> = HashMap::new();
        for difference in comparison.differences.iter().take(most) {
            let id = comparison.id_of(difference);
            if evidence.rows.contains_key(&id) || evidence.rows.len() == MOST_WINDOWS {
                continue;
            }
            let key = comparison.key_of(difference).into_iter().zip(&keys);
            let key = key.map(|(key, at)| cast(&key, source.field(*at).data_type()));
            let key = converter.convert_columns(&key.collect::<Result<Vec<_>, _>>()?)?;
            let one = Wanted {
                start: id.window.0.unwrap_or(i64::MIN),
                end: id.window.1.unwrap_or(i64::MAX),
                id: id.clone(),
            };
            evidence.rows.insert(id, Behind::default());
            wanted.entry(key.row(0).owned()).or_default().push(one);
        }
        evidence.looked = true;
        let refused = refused_places(outcome);
        let names = outcome.replay.split_names();
        let mut events = Replay::open(outcome.replay.clone(), Arc::new(ReadProgress::default()))?;
        while let Some(batch) = events.next_batch()? {
            evidence.search(&batch, &keys, &converter, &wanted, &|file, position| {
                let name = names.get(file as usize).map_or("", String::as_str);
                let why = refused.get(&(name.to_owned(), position));
                let why = why.map_or_else(String::new, |why| format!(" ({why})"));
                format!("{}:{position}{why}", shown_path(name))
            })?;
        }
        Ok(evidence)
    }

    fn search(
        &mut self,
        batch: &SourceBatch,
        keys: &[usize],
        converter: &RowConverter,
        wanted: &HashMap<OwnedRow, Vec<Wanted>>,
        place: &dyn Fn(u32, u64) -> String,
    ) -> Result<(), TestError> {
        let columns = keys
            .iter()
            .map(|key| ArrayRef::clone(batch.rows.column(*key)));
        let rows = converter.convert_columns(&columns.collect::<Vec<_>>())?;
        for (row, time) in batch.event_times.iter().enumerate() {
            let Some(windows) = wanted.get(&rows.row(row).owned()) else {
                continue;
            };
            for window in windows.iter().filter(|w| (w.start..w.end).contains(time)) {
                let behind = self
                    .rows
                    .get_mut(&window.id)
                    .expect("it was put there before");
                if behind.lines.len() == MOST_ROWS {
                    behind.more += 1;
                    continue;
                }
                let index = arrow::array::UInt32Array::from(vec![row as u32]);
                let record = record_lines(&take_record_batch(&batch.rows, &index)?);
                let origin = batch.origins.of(row as u32);
                let place = place(origin.split, origin.position);
                behind.lines.push(format!("{place}  {}", record.join("")));
            }
        }
        Ok(())
    }

    /// The input rows behind a row, a line each.
    pub(super) fn lines_of(&self, id: &RowId) -> Vec<String> {
        let Some(behind) = self.rows.get(id) else {
            return Vec::new();
        };
        let mut lines = behind.lines.clone();
        if behind.more > 0 {
            lines.push(format!("… and {} more input rows", behind.more));
        }
        if lines.is_empty() && self.looked {
            lines.push("no input row of this entity lies in this window".to_owned());
        }
        lines
    }
}

/// The rows that were refused, by file and position, and why.
fn refused_places(outcome: &Outcome) -> HashMap<(String, u64), String> {
    let lines = outcome.refused();
    let places = lines.filter_map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).ok()?;
        let file = row["file"].as_str()?.to_owned();
        let position = row["line"].as_u64().or_else(|| row["row"].as_u64())?;
        let (stage, code) = (row["stage"].as_str()?, row["code"].as_str()?);
        let why = match stage == code {
            true => stage.to_owned(),
            false => format!("{stage}: {code}"),
        };
        Some(((file, position), why))
    });
    places.collect()
}

/// A path without the folder that the program was started in.
fn shown_path(path: &str) -> String {
    let here = std::env::current_dir().ok();
    let path = std::path::Path::new(path);
    let shorter = here.and_then(|here| path.strip_prefix(here).ok());
    shorter.unwrap_or(path).display().to_string()
}
