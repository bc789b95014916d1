//! A batch at work.

use super::WindowError;
use super::calls::Calls;
use super::emission::Emit;
use super::rows::{Outcome, RowBatch};
use super::states::States;

/// A batch, what it is worked on with, and what has become of it so far.
pub(super) struct Work<'a> {
    pub(super) batch: &'a RowBatch,
    /// The number of each row's key.
    pub(super) keys: &'a [u32],
    pub(super) outcome: Outcome,
    pub(super) calls: &'a mut Calls,
    pub(super) out: &'a mut dyn Emit,
}

impl Work<'_> {
    /// Has the transform add rows of the batch, by rising number, to the states in their slots. The
    /// rejects go to the outcome; gives how many there were before.
    pub(super) async fn accumulate(
        &mut self,
        states: &mut States,
        rows: &[u32],
        slots: &[u32],
    ) -> Result<usize, WindowError> {
        let before = self.outcome.rejects.len();
        let (input, key_columns) = self.batch.columns(rows)?;
        let calls = &mut self.calls;
        let rejects = calls
            .accumulate(states, &input, &key_columns, slots)
            .await?;
        self.outcome.took(rows, rejects);
        Ok(before)
    }
}
