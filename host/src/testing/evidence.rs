//! The input rows behind differences: those of the entity whose time lies in the window.
//!
//! In: what a run has read, and the rows that differ. Out: the first few event rows of each, with
//! their file and line. The events are read once more, whatever the number of differences, and mapped
//! once more where a mapper stands before the windows: an event is behind a window if a row that was
//! made of it is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow_row::{OwnedRow, RowConverter, SortField};

use super::TestError;
use super::compare::{Comparison, RowId};
use super::trial::Outcome;
use crate::pipeline::{MappedRows, ReadError, Remapper};
use crate::source::replay::Replay;
use crate::source::{ReadProgress, SourceBatch, SplitNames, record_text};

/// Input rows that are shown of one entity and window.
const MOST_ROWS: usize = 5;

/// Input rows by what they are the input of.
#[derive(Default)]
pub(super) struct Evidence {
    rows: HashMap<RowId, Behind>,
    /// Why no more rows could be found.
    obstacle: Option<String>,
}

#[derive(Default)]
struct Behind {
    lines: Vec<String>,
    more: usize,
    /// The event of the last line: several rows that were made of one are shown as one.
    last: Option<u64>,
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
        if comparison.differences.is_empty() || most == 0 {
            return Ok(evidence);
        }
        let mapper = outcome.map_again.as_ref();
        let mapper = mapper.map(|again| again.start("check")).transpose();
        let mapper = match mapper {
            Ok(mapper) => mapper,
            Err(error) => {
                evidence.obstacle = Some(error.to_string());
                return Ok(evidence);
            }
        };
        let mut search = Search::new(outcome, mapper)?;
        for difference in comparison.differences.iter().take(most) {
            let id = comparison.id_of(difference);
            if evidence
                .rows
                .insert(id.clone(), Behind::default())
                .is_none()
            {
                search.want(&id, &comparison.key_of(difference))?;
            }
        }
        let mut replay = outcome.replay.clone();
        // Whether a row came after its window had closed follows from the watermark at it.
        replay.every_watermark = true;
        let mut events = Replay::open(replay, Arc::new(ReadProgress::default()))?;
        while let Some(batch) = events.next_batch()? {
            if let Some(obstacle) = search.look_through(&batch, &mut evidence.rows)? {
                evidence.obstacle = Some(obstacle);
                break;
            }
        }
        Ok(evidence)
    }

    /// The input rows behind a row, a line each.
    pub(super) fn lines_of(&self, id: &RowId) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(behind) = self.rows.get(id) {
            lines.clone_from(&behind.lines);
            if behind.more > 0 {
                lines.push(format!("… and {} more input rows", behind.more));
            }
        }
        match &self.obstacle {
            Some(why) => lines.push(format!("input rows cannot be found: {why}")),
            None if lines.is_empty() && self.rows.contains_key(id) => {
                lines.push("no input row of this entity lies in this window".to_owned());
            }
            None => {}
        }
        lines
    }
}

/// What is looked for, and in what.
struct Search {
    mapper: Option<Remapper>,
    /// Where the key's columns are in the rows that windows see.
    keys: Vec<usize>,
    types: Vec<DataType>,
    converter: RowConverter,
    wanted: HashMap<OwnedRow, Vec<Wanted>>,
    /// The rows that were refused, by file and position, and why.
    refused: HashMap<(String, u64), String>,
    names: SplitNames,
    /// How long after their end windows are corrected, in microseconds.
    lateness: i64,
}

impl Search {
    fn new(outcome: &Outcome, mapper: Option<Remapper>) -> Result<Self, TestError> {
        let seen: &SchemaRef = match &mapper {
            Some(mapper) => mapper.schema(),
            None => &outcome.replay.columns,
        };
        let keys = outcome.layout.keys.iter().map(|key| seen.index_of(key));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let types = keys.iter().map(|key| seen.field(*key).data_type().clone());
        let types: Vec<DataType> = types.collect();
        let fields = types.iter().cloned().map(SortField::new);
        Ok(Self {
            converter: RowConverter::new(fields.collect())?,
            wanted: HashMap::new(),
            refused: refused_places(outcome),
            names: outcome.replay.split_names(),
            lateness: outcome.lateness,
            mapper,
            keys,
            types,
        })
    }

    /// Notes a row to look for, and its key.
    fn want(&mut self, id: &RowId, key: &[ArrayRef]) -> Result<(), TestError> {
        let key = key.iter().zip(&self.types);
        let key = key.map(|(key, data_type)| cast(key, data_type));
        let key = key.collect::<Result<Vec<_>, _>>()?;
        let key = self.converter.convert_columns(&key)?;
        let one = Wanted {
            start: id.window.0.unwrap_or(i64::MIN),
            end: id.window.1.unwrap_or(i64::MAX),
            id: id.clone(),
        };
        let of_key = self.wanted.entry(key.row(0).owned()).or_default();
        of_key.push(one);
        Ok(())
    }

    /// Notes the rows of a batch that are behind what is wanted; says why if that cannot be found out.
    fn look_through(
        &mut self,
        batch: &SourceBatch,
        found: &mut HashMap<RowId, Behind>,
    ) -> Result<Option<String>, TestError> {
        let parts = match &mut self.mapper {
            None => {
                let columns = self.keys.iter();
                let columns = columns.map(|at| ArrayRef::clone(batch.rows.column(*at)));
                vec![MappedRows {
                    columns: columns.collect(),
                    event_times: ScalarBuffer::clone(&batch.event_times),
                    source_row: (0..batch.rows.num_rows() as u32).collect(),
                }]
            }
            Some(mapper) => match mapper.map(batch, &self.keys) {
                Ok(parts) => parts,
                Err(ReadError::Arrow(error)) => return Err(error.into()),
                Err(error) => return Ok(Some(error.to_string())),
            },
        };
        for part in parts {
            let keys = self.converter.convert_columns(&part.columns)?;
            for (row, time) in part.event_times.iter().enumerate() {
                let Some(windows) = self.wanted.get(&keys.row(row).owned()) else {
                    continue;
                };
                for window in windows.iter().filter(|w| (w.start..w.end).contains(time)) {
                    let behind = found.get_mut(&window.id).expect("it was put there before");
                    self.note(batch, part.source_row[row], window, behind);
                }
            }
        }
        Ok(None)
    }

    fn note(&self, batch: &SourceBatch, row: u32, window: &Wanted, behind: &mut Behind) {
        let sequence = batch.first_sequence + u64::from(row);
        if behind.last.replace(sequence) == Some(sequence) {
            return;
        }
        if behind.lines.len() == MOST_ROWS {
            behind.more += 1;
            return;
        }
        let origin = batch.origins.of(row);
        let name = self.names.get(origin.split as usize);
        let name = name.map_or("", String::as_str);
        let refused = self.refused.get(&(name.to_owned(), origin.position));
        let watermarks = batch.watermarks.as_ref();
        let watermark = watermarks.map_or(i64::MIN, |watermarks| watermarks[row as usize]);
        let why = match refused {
            Some(why) => format!(" ({why})"),
            // Other windows that it belongs to were still open.
            None if window.end.saturating_add(self.lateness) <= watermark => {
                " (after it closed)".to_owned()
            }
            None => String::new(),
        };
        behind.lines.push(format!(
            "{}:{}{why}  {}",
            shown_path(name),
            origin.position,
            record_text(&batch.rows, row)
        ));
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
