//! What the lanes of a pipeline must know of it, worked out once when it is opened.

use arrow::datatypes::SchemaRef;

use crate::transform::WindowedSpec;
use crate::window::Shape;

/// The shape of a pipeline: which columns go where, and how event time is cut.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The columns that the source gives, in its order.
    pub source: SchemaRef,
    /// Which of them the transform wants, in the order in which it wants them.
    pub input: Vec<usize>,
    /// Which of them are the key, in the pipeline's order.
    pub key: Vec<usize>,
    /// The key's columns, none ever null.
    pub key_schema: SchemaRef,
    /// What the transform said of itself.
    pub spec: WindowedSpec,
    /// The windows, and when they are emitted.
    pub shape: Shape,
    /// The windows' lengths in microseconds, as features name them, in the shape's order.
    pub lengths: Vec<i64>,
    /// Bytes of rows and states that one call hands over, at most; more is cut into several calls.
    pub call_bytes: usize,
    /// Groups that one call of `finish` hands over, at most.
    pub call_groups: usize,
}

impl Plan {
    /// The schema of what lanes emit: the key, the window's bounds, the transform's output.
    pub fn emitted_schema(&self) -> SchemaRef {
        self.shape.emitted_schema(&self.key_schema, &self.spec)
    }
}
