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
    ///
    /// # Errors
    ///
    /// [`Failure::BadInput`] with the column's name: there is none of that name, one of another type, or
    /// one with a null where `Old` takes none.
    pub fn map<Old: for<'a> Record<'a>, State>(
        &self,
        into: impl FnMut(Old) -> State,
    ) -> Result<Vec<State>, Failure> {
        let expected = crate::schema::schema_of::<Old>();
        let whose = format!("the state of version {}", self.version);
        let layout = Layout::select(&expected, self.schema, &whose)?;
        let old = states::read_or::<Old>(&layout, self.states, |reader, row| {
            unexpected_null::<Old>(&whose, reader, row)
        })?;
        Ok(old.into_iter().map(into).collect())
    }
}

/// What an older version wrote may have nulls where this one takes none.
#[cold]
fn unexpected_null<'a, Old: Record<'a>>(whose: &str, reader: &Old::Reader, row: usize) -> Failure {
    let path = Old::null_path(reader, row).unwrap_or_default();
    Failure::BadInput(format!(
        "{whose} has a null in column `{}`, in row {row}, where the transform takes none: declare the field as an `Option`",
        path.trim_start_matches('.')
    ))
}
