//! What partial states are: their columns on the way, and a digest of all that both stages must agree on.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};

use crate::pipeline::plan::{Plan, WindowPlan};
use crate::window::{Kind, Panes, Partials, TakenPartials};

/// Columns between the key's and the state's: pane, rows, least and greatest event time.
const BETWEEN: usize = 4;

/// The layout of a pipeline's partial states.
#[derive(Debug)]
pub(in crate::pipeline) struct Layout {
    pipeline: String,
    /// The columns of a message: `k0` and so on for the key, `pane` (its number), `rows` (how many were
    /// applied), `least` and `greatest` (event times in microseconds), `s0` and so on for the state.
    pub(in crate::pipeline::live) wire: SchemaRef,
    digest: [u8; 32],
    keys: usize,
    panes: Panes,
}

impl Layout {
    /// Of the windows of a pipeline; none if they cannot be made of partial states. `cut` says how windows
    /// are declared, so that panes of another cut are others.
    pub(in crate::pipeline::live) fn of(
        plan: &Plan,
        windows: &WindowPlan,
        cut: &str,
    ) -> Option<Self> {
        let Kind::Aligned { panes, .. } = &windows.shape.kind else {
            return None;
        };
        let (key, state) = (&plan.key_schema, &windows.spec.state);
        let renamed = |letter: &str, at: usize, field: &Field| {
            let name = format!("{letter}{at}");
            Field::new(name, field.data_type().clone(), field.is_nullable())
        };
        let keys = key.fields().iter().enumerate();
        let mut fields: Vec<Field> = keys.map(|(at, field)| renamed("k", at, field)).collect();
        fields.push(Field::new("pane", DataType::Int64, false));
        fields.push(Field::new("rows", DataType::UInt64, false));
        fields.push(Field::new("least", DataType::Int64, false));
        fields.push(Field::new("greatest", DataType::Int64, false));
        let states = state.fields().iter().enumerate();
        fields.extend(states.map(|(at, field)| renamed("s", at, field)));
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        for schema in [key, state] {
            part(&schema.fields().len().to_string());
            for field in schema.fields() {
                part(field.name());
                part(&field.data_type().to_string());
                part(&field.is_nullable().to_string());
            }
        }
        part(&windows.spec.state_version.to_string());
        part(cut);
        Some(Self {
            pipeline: plan.pipeline.clone(),
            wire: Arc::new(Schema::new(fields)),
            digest: digest.finalize().into(),
            keys: key.fields().len(),
            panes: panes.clone(),
        })
    }

    /// The pipeline's name.
    pub(in crate::pipeline::live) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Of the state's schema and version, the key's schema and the panes.
    pub(in crate::pipeline::live) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// How many columns are the key's.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// Partial states as the columns of messages.
    pub(super) fn rows(&self, taken: &TakenPartials) -> Result<RecordBatch, ArrowError> {
        let times = |times: &[i64]| Arc::new(Int64Array::from(times.to_vec())) as ArrayRef;
        let mut columns = taken.keys.clone();
        columns.push(times(&taken.panes));
        columns.push(Arc::new(UInt64Array::new(
            taken.partials.rows.clone(),
            None,
        )));
        columns.push(times(&taken.least));
        columns.push(times(&taken.greatest));
        columns.extend(taken.partials.states.iter().cloned());
        RecordBatch::try_new(Arc::clone(&self.wire), columns)
    }

    /// The partial states that such columns are.
    ///
    /// # Errors
    ///
    /// What is wrong with the first that is none.
    pub(in crate::pipeline::live) fn partials(
        &self,
        rows: &RecordBatch,
    ) -> Result<TakenPartials, String> {
        use arrow::array::AsArray;
        use arrow::datatypes::{Int64Type, UInt64Type};
        let column = |at: usize| rows.column(self.keys + at);
        let times = |at: usize| column(at).as_primitive::<Int64Type>().values().to_vec();
        let taken = TakenPartials {
            keys: rows.columns()[..self.keys].to_vec(),
            panes: times(0),
            partials: Partials {
                rows: column(1).as_primitive::<UInt64Type>().values().clone(),
                states: rows.columns()[self.keys + BETWEEN..].to_vec(),
            },
            least: times(2),
            greatest: times(3),
        };
        for row in 0..rows.num_rows() {
            if taken.partials.rows[row] == 0 {
                return Err("a partial state has no rows".to_owned());
            }
            let pane = taken.panes[row];
            let is_inside = |time: i64| self.panes.of(time).is_some_and(|it| it.number == pane);
            if !is_inside(taken.least[row]) || !is_inside(taken.greatest[row]) {
                return Err(format!(
                    "rows of a partial state are not in its pane {pane}"
                ));
            }
        }
        // Of all lanes together no sum may overflow; nobody has read as many rows as this.
        let rows = taken.partials.rows.iter();
        match rows.fold(0_u64, |sum, rows| sum.saturating_add(*rows)) {
            0..=0xffff_ffff_ffff => Ok(taken),
            _ => Err("partial states have more rows than there can be".to_owned()),
        }
    }
}
