//! What of a batch a lane works on, and which rows of the source those are.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::LaneBatch;
use crate::pipeline::plan::Plan;
use crate::window::{RowBatch, Sequences};

impl LaneBatch {
    /// The progress of it alone, without rows and without a place.
    pub(in crate::pipeline) fn progress(self) -> Self {
        Self {
            rows: self.rows.slice(0, 0),
            event_times: self.event_times.slice(0, 0),
            watermarks: None,
            picked: Some(Vec::new()),
            place: None,
            unreached: None,
            ..self
        }
    }

    /// The same for a lane whose watermark is here already: it may have been so far when others that
    /// are read together with it were not.
    pub(in crate::pipeline) fn not_before(&mut self, watermark: i64) {
        let is_before = match &self.watermarks {
            Some(each) => each.first().is_some_and(|first| *first < watermark),
            None => self.watermark < watermark && !self.event_times.is_empty(),
        };
        if is_before {
            self.watermarks = Some(match &self.watermarks {
                Some(each) => each.iter().map(|at| watermark.max(*at)).collect(),
                None => vec![watermark; self.event_times.len()].into(),
            });
        }
        self.watermark = self.watermark.max(watermark);
    }

    /// Which of the rows that were divided row `row` is.
    pub(in crate::pipeline) fn part(&self, row: usize) -> u32 {
        self.picked
            .as_ref()
            .map_or(row as u32, |picked| picked[row])
    }

    /// Whatever of the rows comes from `sequence` on.
    pub(in crate::pipeline) fn from(self, sequence: u64) -> Self {
        let before = |row: usize| self.sequences.start + u64::from(self.source_row(row)) < sequence;
        let rows = self.rows.num_rows();
        // Sequences rise with the rows.
        let first = (0..rows).position(|row| !before(row)).unwrap_or(rows);
        if first == 0 {
            return self;
        }
        let left = rows - first;
        let parts = (first..rows).map(|row| self.part(row)).collect();
        Self {
            rows: self.rows.slice(first, left),
            event_times: self.event_times.slice(first, left),
            watermarks: self.watermarks.map(|all| all.slice(first, left)),
            picked: Some(parts),
            ..self
        }
    }

    /// The rows as windows take them.
    pub(in crate::pipeline) fn rows_of(&self, plan: &Plan) -> RowBatch {
        let columns = |indices: &[usize]| -> Vec<ArrayRef> {
            let columns = indices.iter();
            columns
                .map(|at| Arc::clone(self.rows.column(*at)))
                .collect()
        };
        let first = self.sequences.start;
        RowBatch {
            input: columns(&plan.input),
            keys: columns(&plan.key),
            event_times: self.event_times.clone(),
            watermarks: self.watermarks.clone(),
            sequences: match (&self.picked, &self.source_row) {
                (None, None) => Sequences::From(first),
                (Some(picked), None) => Sequences::Picked(first, picked.clone()),
                (_, Some(_)) => {
                    let rows = 0..self.rows.num_rows();
                    Sequences::Picked(first, rows.map(|row| self.source_row(row)).collect())
                }
            },
            watermark: self.watermark,
            next_sequence: self.sequences.end,
            partials: None,
        }
    }

    /// Which row of the source's batch row `row` came from.
    pub(in crate::pipeline) fn source_row(&self, row: usize) -> u32 {
        let part = self.part(row);
        self.source_row
            .as_ref()
            .map_or(part, |source_row| source_row[part as usize])
    }
}
