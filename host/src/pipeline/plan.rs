//! What the lanes of a pipeline must know of it, worked out once when it is opened.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::transform::{WindowedSpec, bounds_schema};
use crate::window::Panes;

/// The shape of a pipeline: which columns go where, and how event time is cut.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The columns that the source gives, in its order.
    pub source: SchemaRef,
    /// Which columns the transform wants, in the order in which it wants them: of the rows that lanes
    /// get, which are the source's or what a mapper made of them.
    pub input: Vec<usize>,
    /// Which of those rows' columns are the key, in the pipeline's order.
    pub key: Vec<usize>,
    /// The key's columns, none ever null.
    pub key_schema: SchemaRef,
    /// What the transform said of itself.
    pub spec: WindowedSpec,
    /// How event time is cut.
    pub panes: Panes,
    /// Bytes of rows and states that one call hands over, at most; more is cut into several calls.
    pub call_bytes: usize,
    /// Groups that one call of `finish` hands over, at most.
    pub call_groups: usize,
}

impl Plan {
    /// The schema of what lanes emit: the key, the window's bounds, the transform's output. The
    /// output's columns may be null, because validation removes values.
    pub fn emitted_schema(&self) -> SchemaRef {
        let key = self.key_schema.fields().iter().cloned();
        let bounds = bounds_schema();
        let bounds = bounds.fields().iter().cloned();
        let output = self.spec.output.fields().iter();
        let output = output.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        Arc::new(Schema::new(
            key.chain(bounds).chain(output).collect::<Vec<Arc<Field>>>(),
        ))
    }
}
