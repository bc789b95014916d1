//! Mapping events once more, outside of any run: for tests of what a mapper promises, and to find the
//! events behind what came out.

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;
use futures::executor::block_on;

use super::{MapPlan, Mapping};
use crate::pipeline::accounting::Accounting;
use crate::pipeline::opener::Opener;
use crate::pipeline::reader::ReadError;
use crate::source::SourceBatch;
use crate::transform::CallError;

/// Maps as a run's reader did.
#[derive(Debug, Clone)]
pub struct MapAgain {
    pub(in crate::pipeline) opener: Opener,
    pub(super) plan: MapPlan,
}

/// Rows that a mapper made of some of a batch, as lanes see them.
#[derive(Debug)]
pub struct MappedRows {
    /// The columns that were asked for.
    pub columns: Vec<ArrayRef>,
    /// The event time of each, in microseconds.
    pub event_times: ScalarBuffer<i64>,
    /// Which row of the batch each came from.
    pub source_row: Vec<u32>,
}

impl MapAgain {
    /// What opens instances of the mapper.
    pub fn opener(&self) -> &Opener {
        &self.opener
    }

    /// A mapper at work that nobody has asked anything.
    ///
    /// # Errors
    ///
    /// As [`Opener::open_mapper`].
    pub fn start(&self, label: &str) -> Result<Remapper, CallError> {
        self.mapping(label).map(Remapper)
    }

    pub(in crate::pipeline) fn mapping(&self, label: &str) -> Result<Mapping, CallError> {
        let mapper = block_on(self.opener.open_mapper(label))?;
        let (opener, plan) = (self.opener.clone(), self.plan.clone());
        Ok(Mapping::new(
            Box::new(mapper),
            opener,
            label.to_owned(),
            plan,
        ))
    }
}

/// A mapper at work outside of a run.
pub struct Remapper(Mapping);

impl Remapper {
    /// The columns that lanes see.
    pub fn schema(&self) -> &SchemaRef {
        &self.0.plan.schema
    }

    /// Maps a whole batch, in parts of the size that a run's calls have.
    ///
    /// # Errors
    ///
    /// The mapper fails.
    pub fn map(
        &mut self,
        batch: &SourceBatch,
        columns: &[usize],
    ) -> Result<Vec<MappedRows>, ReadError> {
        let (mut parts, mut first) = (Vec::new(), 0);
        while first < batch.rows.num_rows() {
            let mut nobodys = Accounting::default();
            let part = self.0.part(batch, &batch.origins, first, &mut nobodys)?;
            first = part.end;
            let columns = columns.iter();
            parts.push(MappedRows {
                columns: columns
                    .map(|at| ArrayRef::clone(part.rows.column(*at)))
                    .collect(),
                event_times: part.event_times,
                source_row: part.source_row.map_or_else(Vec::new, |rows| rows.to_vec()),
            });
        }
        Ok(parts)
    }
}
