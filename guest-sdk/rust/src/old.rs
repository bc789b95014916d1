//! The states that an older version of a transform left behind, as a migration gets them.

use crate::buffers::Batch;
use crate::contract::{Failure, Field};
use crate::glue::states;
use crate::schema::Layout;
use crate::value::Record;

/// States of an older version, on their way through [`crate::Migrate::migrate`].
#[derive(Clone, Copy, Debug)]
pub struct OldStates<'a> {
    pub(crate) version: u32,
    pub(crate) schema: &'a [Field],
    pub(crate) states: Batch<'a>,
}

impl OldStates<'_> {
    /// The version they are of.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Their schema.
    pub fn schema(&self) -> &[Field] {
        self.schema
    }

    /// Reads each as an `Old`, a struct with the fields that the state had then, and turns it into
    /// a state of now. Columns are found by name, so `Old` needs only those it uses.
    pub fn map<Old: for<'a> Record<'a>, State>(
        &self,
        into: impl FnMut(Old) -> State,
    ) -> Result<Vec<State>, Failure> {
        let expected = crate::schema::schema_of::<Old>();
        let layout = Layout::select(
            &expected,
            self.schema,
            &format!("the state of version {}", self.version),
        )?;
        Ok(states::read::<Old>(&layout, self.states)?
            .into_iter()
            .map(into)
            .collect())
    }
}
