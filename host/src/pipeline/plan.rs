//! What the lanes of a pipeline must know of it, worked out once when it is opened.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::state_room::StateRoom;
use crate::sink::RowOrder;
use crate::transform::{WindowedSpec, event_time_type};
use crate::window::Shape;

/// The shape of a pipeline: which columns go where, and how event time is cut.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The columns that the source gives, in its order.
    pub source: SchemaRef,
    /// Which columns lanes work on, of the rows that they get (which are the source's or what a
    /// mapper made of them): what the transform wants, in the order in which it wants them, or what
    /// is handed on.
    pub input: Vec<usize>,
    /// Which of those rows' columns are the key, in the pipeline's order.
    pub key: Vec<usize>,
    /// The key's columns, none ever null.
    pub key_schema: SchemaRef,
    /// What lanes do with rows.
    pub work: Work,
    /// Bytes of rows and states that one call hands over, at most; more is cut into several calls.
    pub call_bytes: usize,
    /// Groups that one call of `finish` hands over, at most.
    pub call_groups: usize,
    /// How much state all lanes together may have in memory.
    pub(super) room: Arc<StateRoom>,
}

/// What lanes do with rows.
#[derive(Debug, Clone)]
pub enum Work {
    /// They aggregate them over windows.
    Windows(WindowPlan),
    /// They aggregate them into partial states, for the windows of a second stage.
    Partials(WindowPlan),
    /// They hand on what the mapper made of them.
    Rows {
        /// What the column of their event time is called.
        event_time: String,
        /// What else the mapper gave, less the key.
        output: SchemaRef,
    },
}

/// How rows are aggregated.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    /// What the transform said of itself.
    pub spec: WindowedSpec,
    /// The windows, and when they are emitted.
    pub shape: Shape,
    /// The windows' lengths in microseconds, as features name them, in the shape's order.
    pub lengths: Vec<i64>,
}

impl Plan {
    /// The windows, if there are any.
    pub fn windows(&self) -> Option<&WindowPlan> {
        match &self.work {
            Work::Windows(windows) => Some(windows),
            Work::Partials(_) | Work::Rows { .. } => None,
        }
    }

    /// The windows that its partial states are for, if it gives such.
    pub fn partials(&self) -> Option<&WindowPlan> {
        match &self.work {
            Work::Partials(windows) => Some(windows),
            Work::Windows(_) | Work::Rows { .. } => None,
        }
    }

    /// The same pipeline under another name, whose lanes do something else.
    #[must_use]
    pub fn working(&self, pipeline: &str, work: Work) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            work,
            ..self.clone()
        }
    }

    /// What the transform gives, or a mapper that is alone.
    pub fn output(&self) -> &SchemaRef {
        match &self.work {
            Work::Windows(windows) | Work::Partials(windows) => &windows.spec.output,
            Work::Rows { output, .. } => output,
        }
    }

    /// The schema of what lanes emit: the key, the window's bounds or the event time, the output.
    pub fn emitted_schema(&self) -> SchemaRef {
        match &self.work {
            Work::Windows(windows) | Work::Partials(windows) => {
                (windows.shape).emitted_schema(&self.key_schema, &windows.spec)
            }
            Work::Rows { event_time, output } => {
                let event_time = Field::new(event_time, event_time_type(), false);
                let mut fields = self.key_schema.fields().to_vec();
                fields.push(Arc::new(event_time));
                fields.extend(output.fields().iter().cloned());
                Arc::new(Schema::new(fields))
            }
        }
    }

    /// Where the emitted event time is: the end of the window, or that of the row.
    pub(super) fn event_time_column(&self) -> usize {
        match &self.work {
            Work::Windows(_) | Work::Partials(_) => self.key.len() + 1,
            Work::Rows { .. } => self.key.len(),
        }
    }

    /// Where emitted rows say that they withdraw earlier ones, if they ever do.
    pub(super) fn withdrawn_column(&self) -> Option<usize> {
        let revises = |windows: &&WindowPlan| windows.shape.revises();
        self.windows()
            .filter(revises)
            .map(|_| self.event_time_column() + 2)
    }

    /// The order in which emitted rows stand in files.
    pub(super) fn row_order(&self) -> RowOrder {
        match &self.work {
            Work::Windows(windows) if windows.shape.revises() => RowOrder::MarkedWindows,
            Work::Windows(_) | Work::Partials(_) => RowOrder::Windows,
            Work::Rows { .. } => RowOrder::Marks,
        }
    }
}
