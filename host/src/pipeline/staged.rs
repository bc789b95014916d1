//! What passes between the two stages of a live pipeline, as lanes see it.
//!
//! A lane of the first stage has partial states for the second; a lane of the second makes partial states of
//! messages, and has its windows take them in the place of rows. What the messages are is not said here.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::accounting::Accounting;
use super::judged::late_reject;
use super::lane::{LaneBatch, LaneError, Refused};
use crate::source::record_lines;
use crate::stage::Stage;
use crate::transform::Reject;
use crate::window::{Outcome, RowBatch};

/// What a lane of a first stage has for the second one.
#[derive(Debug)]
pub(super) struct Relayed {
    /// The partitions that it goes to.
    pub(super) partitions: Range<u32>,
    /// A message without its place in the lane's output.
    pub(super) body: Vec<u8>,
}

/// Makes what windows work on of the source's batches, where rows of those are not that themselves.
pub(super) trait Assemble: Send {
    /// What there is in a batch.
    ///
    /// # Errors
    ///
    /// [`LaneError::Received`] where it is nothing that can be worked on.
    fn assemble(&mut self, batch: &LaneBatch) -> Result<Assembled, LaneError>;

    /// What of it is to be kept with the lane.
    fn kept(&self) -> serde_json::Value;
}

/// What windows work on.
pub(super) struct Assembled {
    /// Partial states in the place of rows.
    pub(super) rows: RowBatch,
    /// Which of the source's rows each came from.
    pub(super) source_row: Vec<u32>,
}

/// Counts what became of partial states, by the rows in them, and describes those that were late or on which the transform
/// failed: by their key and how many rows they are, for the rows themselves are with the first stage.
pub(super) fn received(
    batch: &LaneBatch,
    assembled: &Assembled,
    outcome: &Outcome,
    key: &SchemaRef,
    accounting: &mut Accounting,
) -> Result<Vec<Refused>, LaneError> {
    let rows = &assembled.rows;
    let late = outcome
        .late
        .iter()
        .map(|late| (late_reject(late), Stage::Late));
    let failed = outcome.rejects.iter().cloned();
    let failed = failed.map(|failed| (failed, Stage::Poison));
    let lost: Vec<(Reject, Stage)> = late.chain(failed).collect();
    let weight = |lost: &Reject| rows.weight(lost.row as usize);
    let weight_of = |stage: Stage| -> u64 {
        let lost = lost.iter().filter(|(_, of)| *of == stage);
        lost.map(|(lost, _)| weight(lost)).sum()
    };
    let (late, poisoned) = (weight_of(Stage::Late), weight_of(Stage::Poison));
    accounting.received += outcome.applied + late + poisoned;
    accounting.partials += rows.len() as u64;
    accounting.applied += outcome.applied;
    accounting.partly_late += outcome.partly_late;
    accounting.late += late;
    accounting.poisoned += poisoned;
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let indices = UInt32Array::from_iter_values(lost.iter().map(|(lost, _)| lost.row));
    let columns = rows.keys.iter().map(|column| take(column, &indices, None));
    let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    let weights = lost.iter().map(|(lost, _)| weight(lost));
    columns.push(Arc::new(UInt64Array::from_iter_values(weights)));
    let mut fields = key.fields().to_vec();
    fields.push(Arc::new(Field::new("rows", DataType::UInt64, false)));
    let shown = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let records = record_lines(&shown);
    let refused = lost
        .into_iter()
        .zip(records)
        .map(|((lost, stage), record)| {
            let source_row = assembled.source_row[lost.row as usize];
            Refused {
                sequence: batch.sequences.start + u64::from(source_row),
                part: lost.row,
                origin: batch.origins.of(source_row),
                stage,
                code: lost.code,
                detail: lost.detail,
                record,
            }
        });
    Ok(refused.collect())
}
