//! Rows that lanes emit, as messages: keyed by entity, dated by their event time up to now.
//!
//! The key is the entity's text, so all rows of an entity are in one partition, in the order in which
//! its lane gave them. A value is a JSON object, as in a features file, or an Arrow IPC stream of one row.
//! A revision is another message with the same bounds and a greater `revision`. A row that withdraws an
//! earlier one says so in its column `withdrawn`, and has nulls for the transform's columns: a tombstone
//! in its place would take away whatever a compacted topic holds of the entity, which may be a later
//! window, and could not say which one it means. Where an entity has one value and not several windows
//! (unbounded windows), it is a tombstone.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;

use super::delivery::LiveDeliveryError;
use super::keeper::Keeper;
use super::outbox::Outbox;
use super::outputs::ROWS;
use crate::pipeline::plan::Plan;
use crate::sink::kafka::{Dating, Outgoing, Published};
use crate::source::record_lines;
use crate::store::item::entity::{EntityEncoder, EntityError};
use crate::window::Kind;

/// What ends an Arrow IPC stream.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON, also of a row that withdraws another one.
    Lines,
    /// JSON.
    Json,
    /// An Arrow IPC stream a row.
    Arrow,
}

impl Form {
    /// Whether a row has no value because it withdraws all that there is of its entity.
    fn is_tombstone(self, is_withdrawn: bool, is_one_an_entity: bool) -> bool {
        self != Self::Lines && is_withdrawn && is_one_an_entity
    }
}

/// Turns rows into messages.
pub(super) struct RowMessages {
    plan: Arc<Plan>,
    forms: Vec<Form>,
    arrow: Option<ArrowRows>,
    /// Whether a withdrawal takes away all that there is of an entity.
    is_one_an_entity: bool,
}

impl RowMessages {
    /// For addressees that want rows in these forms.
    pub(super) fn new(plan: &Arc<Plan>, forms: Vec<Form>) -> Result<Self, ArrowError> {
        let shape = plan.windows().map(|windows| &windows.shape);
        let arrow = forms.contains(&Form::Arrow);
        let arrow = arrow.then(|| ArrowRows::new(plan.emitted_schema()));
        Ok(Self {
            arrow: arrow.transpose()?,
            forms,
            is_one_an_entity: shape.is_some_and(|it| matches!(it.kind, Kind::Unbounded { .. })),
            plan: Arc::clone(plan),
        })
    }

    /// Puts rows into the outbox. `first` is the place of the first in the lane's output.
    pub(super) fn put(
        &mut self,
        rows: &RecordBatch,
        first: Published,
        generation: u64,
        outbox: &mut Outbox,
        keeper: &Keeper,
    ) -> Result<(), LiveDeliveryError> {
        if self.forms.is_empty() {
            return Ok(());
        }
        let keys = Keys::of(rows, self.plan.key.len())?;
        let times = rows.column(self.plan.event_time_column());
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let withdrawn = self.plan.withdrawn_column();
        let withdrawn = withdrawn.map(|column| rows.column(column).as_boolean().clone());
        let is_json = |form: &Form| *form != Form::Arrow;
        let lines = self.forms.iter().any(is_json).then(|| record_lines(rows));
        let lines = lines.unwrap_or_default();
        let line = |row: usize| Some(lines[row].as_bytes());
        let dating = Dating::now();
        let mut arrow = Vec::new();
        for (number, form) in self.forms.iter().enumerate() {
            for row in 0..rows.num_rows() {
                let is_withdrawn = withdrawn.as_ref().is_some_and(|all| all.value(row));
                let value = match (form, &mut self.arrow) {
                    _ if form.is_tombstone(is_withdrawn, self.is_one_an_entity) => None,
                    (Form::Arrow, Some(encoder)) => {
                        encoder.encode(&rows.slice(row, 1), &mut arrow)?;
                        Some(arrow.as_slice())
                    }
                    _ => line(row),
                };
                let message = Outgoing {
                    key: keys.get(row),
                    value,
                    timestamp: dating.of(times.value(row)),
                    partition: None,
                    at: Published {
                        sequence: first.sequence + row as u64,
                        ..first
                    },
                    generation,
                };
                outbox.put(ROWS + number, &message, keeper)?;
            }
        }
        Ok(())
    }
}

/// The entities of rows, as texts.
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// Of rows whose first columns, so many of them, are the key.
    pub(super) fn of(rows: &RecordBatch, columns: usize) -> Result<Self, EntityError> {
        let entities = EntityEncoder::new(&rows.columns()[..columns])?;
        let mut keys = Self {
            bytes: Vec::new(),
            ends: Vec::with_capacity(rows.num_rows()),
        };
        for row in 0..rows.num_rows() {
            entities.encode(row, &mut keys.bytes);
            keys.ends.push(keys.bytes.len());
        }
        Ok(keys)
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[row]]
    }
}

/// Writes rows as Arrow IPC, each with the schema in front: whoever begins to read anywhere can read it.
struct ArrowRows {
    /// Has written the schema, and gives what comes behind it.
    writer: StreamWriter<Vec<u8>>,
    schema: Vec<u8>,
}

impl ArrowRows {
    fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        let schema = std::mem::take(writer.get_mut());
        Ok(Self { writer, schema })
    }

    fn encode(&mut self, row: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        out.clear();
        out.extend_from_slice(&self.schema);
        self.writer.write(row)?;
        let batch = self.writer.get_mut();
        out.append(batch);
        out.extend_from_slice(&END_OF_STREAM);
        Ok(())
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
