//! Rows that a lane judged and did not apply: counted, and described for whoever looks after them.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;

use super::accounting::Accounting;
use super::lane::{LaneBatch, LaneError, Refused};
use crate::source::record_lines;
use crate::stage::Stage;
use crate::text::instant;
use crate::transform::Reject;
use crate::window::{Late, Outcome};

/// Counts the rows of a batch that were late or that a transform refused, and describes them behind those
/// that were refused before they reached the lane.
pub(super) fn refuse(
    batch: &LaneBatch,
    outcome: Outcome,
    accounting: &mut Accounting,
    refused: &mut Vec<Refused>,
) -> Result<(), LaneError> {
    accounting.late += outcome.late.len() as u64;
    for reject in &outcome.rejects {
        accounting.reject(stage_of(reject), &reject.code);
    }
    let late = outcome.late.iter().map(late_reject).collect();
    describe(batch, late, Stage::Late, refused)?;
    let (poison, rejects) = outcome.rejects.into_iter().partition(Reject::is_poison);
    describe(batch, rejects, Stage::Transform, refused)?;
    describe(batch, poison, Stage::Poison, refused)?;
    refused.sort_by_key(|refused| (refused.sequence, refused.part));
    Ok(())
}

/// Whether the transform refused a row or failed on it.
fn stage_of(reject: &Reject) -> Stage {
    match reject.is_poison() {
        true => Stage::Poison,
        false => Stage::Transform,
    }
}

/// A row that came too late, as one that was refused.
pub(super) fn late_reject(late: &Late) -> Reject {
    Reject {
        row: late.row,
        code: "late".into(),
        detail: format!(
            "its window ended at {}, and the watermark was {}",
            instant(late.window_end),
            instant(late.watermark)
        ),
    }
}

/// Describes rows of a batch that were refused.
fn describe(
    batch: &LaneBatch,
    rejects: Vec<Reject>,
    stage: Stage,
    refused: &mut Vec<Refused>,
) -> Result<(), ArrowError> {
    if rejects.is_empty() {
        return Ok(());
    }
    let indices = UInt32Array::from_iter_values(rejects.iter().map(|reject| reject.row));
    let records = record_lines(&take_record_batch(&batch.rows, &indices)?);
    for (reject, record) in rejects.into_iter().zip(records) {
        let source_row = batch.source_row(reject.row as usize);
        refused.push(Refused {
            sequence: batch.sequences.start + u64::from(source_row),
            part: batch.part(reject.row as usize),
            origin: batch.origins.of(source_row),
            stage,
            code: reject.code,
            detail: reject.detail,
            record,
        });
    }
    Ok(())
}
