//! Rows on their way from a lane to delivery.

use arrow::array::RecordBatch;

use crate::sink::Mark;
use crate::window::FailedWindows;

/// Rows that a lane emits.
#[derive(Debug)]
pub(super) struct Output {
    /// Which of the pipeline's lengths they are about.
    pub(super) length: usize,
    /// The rows, in the plan's emitted schema.
    pub(super) rows: RecordBatch,
    /// A mark for each of them where files go by marks.
    pub(super) marks: Vec<Mark>,
    /// Which of them are no output, as the transform failed on their windows; none if all are.
    pub(super) failed: Option<Box<FailedWindows>>,
}

impl Output {
    /// Whether a row is no output.
    pub(super) fn is_failed(&self, row: usize) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(|failed| failed.is_failed(row))
    }
}
