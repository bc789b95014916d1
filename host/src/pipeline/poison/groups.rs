//! Groups at which `merge` or `finish` failed.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::executor::block_on;

use super::incident::Work;
use crate::source::record_lines;
use crate::transform::{CallError, Finished, Groups, Merged, Reject, Windowed};

/// Bytes of a state that is shown.
const STATE_BYTES: usize = 64 << 10;

/// What there is of groups.
struct Columns {
    keys: Vec<ArrayRef>,
    states: Vec<ArrayRef>,
    len: usize,
    /// Of the states, if anybody knows it.
    schema: Option<SchemaRef>,
}

impl Columns {
    fn of(groups: Groups<'_>, schema: Option<SchemaRef>) -> Self {
        Self {
            keys: groups.keys.to_vec(),
            states: groups.states.to_vec(),
            len: groups.len,
            schema,
        }
    }

    /// What fails, with the states that it fails on: they are nowhere else for long.
    fn shown(&self, poison: Reject, later: Option<&[ArrayRef]>) -> Result<Reject, ArrowError> {
        let at = poison.row as usize..poison.row as usize + 1;
        let mut states = Vec::new();
        for columns in [Some(self.states.as_slice()), later].into_iter().flatten() {
            let Some(schema) = &self.schema else { continue };
            let row = RecordBatch::try_new(Arc::clone(schema), slice(columns, &at))?;
            states.extend(record_lines(&row));
        }
        let detail = serde_json::to_string(&poison.detail).expect("a text is JSON");
        let bytes: usize = states.iter().map(String::len).sum();
        let states: Vec<&str> = states.iter().map(|state| state.trim_end()).collect();
        let states = match bytes <= STATE_BYTES {
            true => format!("[{}]", states.join(",")),
            false => format!("\"{bytes} bytes\""),
        };
        Ok(Reject {
            detail: format!("{{\"detail\":{detail},\"states\":{states}}}"),
            ..poison
        })
    }
}

fn slice(columns: &[ArrayRef], range: &Range<usize>) -> Vec<ArrayRef> {
    let columns = columns.iter();
    columns
        .map(|column| column.slice(range.start, range.len()))
        .collect()
}

/// Pairs of states, and what came of merging them so far.
pub(super) struct Merging {
    earlier: Columns,
    later: Vec<ArrayRef>,
    /// Of some pairs each, in order.
    merged: Vec<Vec<ArrayRef>>,
    failed: Vec<Reject>,
}

impl Merging {
    pub(super) fn new(earlier: Groups<'_>, later: &[ArrayRef], schema: Option<SchemaRef>) -> Self {
        Self {
            earlier: Columns::of(earlier, schema),
            later: later.to_vec(),
            merged: Vec::new(),
            failed: Vec::new(),
        }
    }
}

impl Work for Merging {
    type Part = Vec<ArrayRef>;
    type Output = Merged;

    const CALL: &'static str = "merge";
    // How often states are merged depends on where batches are cut. What counts are the windows that fail for it.
    const COUNTS: bool = false;

    fn len(&self) -> usize {
        self.earlier.len
    }

    fn call(
        &self,
        transform: &mut dyn Windowed,
        range: Range<usize>,
    ) -> Result<Result<Self::Part, CallError>, ArrowError> {
        let keys = slice(&self.earlier.keys, &range);
        let states = slice(&self.earlier.states, &range);
        let later = slice(&self.later, &range);
        let earlier = Groups {
            keys: &keys,
            states: &states,
            len: range.len(),
        };
        let merged = block_on(transform.merge(earlier, &later));
        Ok(merged.map(|merged| merged.states))
    }

    fn add(&mut self, _range: Range<usize>, part: Self::Part) -> Result<(), ArrowError> {
        self.merged.push(part);
        Ok(())
    }

    fn leave_out(&mut self, poison: Reject) -> Result<(), ArrowError> {
        let at = poison.row as usize..poison.row as usize + 1;
        self.merged.push(slice(&self.earlier.states, &at));
        let shown = self.earlier.shown(poison, Some(&self.later))?;
        self.failed.push(shown);
        Ok(())
    }

    fn left_out(&self) -> &[Reject] {
        &self.failed
    }

    fn done(self) -> Result<Merged, ArrowError> {
        let columns = 0..self.earlier.states.len();
        let states = columns.map(|column| {
            let parts = self.merged.iter().map(|part| part[column].as_ref());
            concat(&parts.collect::<Vec<_>>())
        });
        Ok(Merged {
            states: states.collect::<Result<_, _>>()?,
            failed: self.failed,
        })
    }
}

/// Windows that are over, and what came of finishing them so far.
pub(super) struct Finishing {
    groups: Columns,
    bounds: Vec<ArrayRef>,
    output: Vec<RecordBatch>,
    source_group: Vec<u32>,
    failed: Vec<Reject>,
}

impl Finishing {
    pub(super) fn new(groups: Groups<'_>, bounds: &[ArrayRef], schema: Option<SchemaRef>) -> Self {
        Self {
            groups: Columns::of(groups, schema),
            bounds: bounds.to_vec(),
            output: Vec::new(),
            source_group: Vec::new(),
            failed: Vec::new(),
        }
    }
}

impl Work for Finishing {
    type Part = Finished;
    type Output = Finished;

    const CALL: &'static str = "finish";

    fn len(&self) -> usize {
        self.groups.len
    }

    fn call(
        &self,
        transform: &mut dyn Windowed,
        range: Range<usize>,
    ) -> Result<Result<Finished, CallError>, ArrowError> {
        let keys = slice(&self.groups.keys, &range);
        let states = slice(&self.groups.states, &range);
        let bounds = slice(&self.bounds, &range);
        let groups = Groups {
            keys: &keys,
            states: &states,
            len: range.len(),
        };
        Ok(block_on(transform.finish(groups, &bounds)))
    }

    fn add(&mut self, range: Range<usize>, part: Finished) -> Result<(), ArrowError> {
        let first = range.start as u32;
        let source_group = part.source_group.iter().map(|group| group + first);
        self.source_group.extend(source_group);
        self.output.push(part.output);
        Ok(())
    }

    fn leave_out(&mut self, poison: Reject) -> Result<(), ArrowError> {
        let shown = self.groups.shown(poison, None)?;
        self.failed.push(shown);
        Ok(())
    }

    fn left_out(&self) -> &[Reject] {
        &self.failed
    }

    fn done(self) -> Result<Finished, ArrowError> {
        // Where no group could be finished nobody says what output looks like, and there is none.
        let schema = self.output.first().map(RecordBatch::schema);
        let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        Ok(Finished {
            output: concat_batches(&schema, &self.output)?,
            source_group: self.source_group,
            failed: self.failed,
        })
    }
}
