//! The columns of an event: as they are declared, or as its files show them.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::wiring::WiringError;
use crate::config::{ConfigError, Environment, EventSource};
use crate::source::decode::{self, Format};
use crate::source::recording::Recording;

/// All columns of an event.
pub(super) struct EventSchema {
    pub(super) schema: SchemaRef,
    /// Whether it comes from the files.
    pub(super) inferred: bool,
    /// Columns of which no value was seen.
    pub(super) unseen: Vec<String>,
}

impl EventSchema {
    /// The declared schema, or the one that the files show.
    pub(super) fn of(
        environment: &Environment,
        event: &EventSource,
        recordings: &[Arc<dyn Recording>],
        format: Format,
    ) -> Result<Self, WiringError> {
        if let Some(declared) = &event.schema {
            return Ok(Self {
                schema: Arc::clone(&declared.value),
                inferred: false,
                unseen: Vec::new(),
            });
        }
        // A text format has no timestamps: what is a text and called a time is read as one.
        let times = [Some(&event.event_time), event.arrival_time.as_ref()];
        let times: Vec<_> = times.into_iter().flatten().collect();
        let names: Vec<&str> = times.iter().map(|time| time.value.as_str()).collect();
        let found = decode::infer_events(recordings, format, &names)?;
        let is_text = |name: &str| {
            let field = found.schema.field_with_name(name);
            field.is_ok_and(|field| {
                matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8)
            })
        };
        if let Some(time) = times.iter().find(|time| is_text(&time.value)) {
            let message = format!(
                "column `{}` of the files is text, which only NDJSON and CSV have in place of timestamps",
                time.value
            );
            let hint = "write the column as a timestamp, or name another one";
            return Err(ConfigError::from(environment.diagnostic(time.span, message, hint)).into());
        }
        Ok(Self {
            schema: Arc::new(found.schema),
            inferred: true,
            unseen: found.unseen,
        })
    }
}

fn is_empty(recording: &Arc<dyn Recording>) -> bool {
    recording.size().is_ok_and(|size| size == 0)
}

/// Input without a single byte is a mistake more often than a quiet day.
pub(super) fn refuse_empty(
    environment: &Environment,
    event: &EventSource,
    recordings: &[Arc<dyn Recording>],
) -> Result<(), ConfigError> {
    if !recordings.iter().all(is_empty) {
        for recording in recordings.iter().filter(|recording| is_empty(recording)) {
            tracing::warn!(file = %recording.name(), "this file of event `{}` is empty, and left out", event.name.value);
        }
        return Ok(());
    }
    let message = match recordings {
        [only] => format!("{} is empty", only.name()),
        many => format!(
            "all {} files of event `{}` are empty",
            many.len(),
            event.name.value
        ),
    };
    let hint = "record some events, or name other files";
    Err(environment
        .diagnostic(event.name.span, message, hint)
        .into())
}

/// Leaves files of no bytes out: some formats cannot even be told by them.
pub(super) fn leave_out_empty(recordings: &mut Vec<Arc<dyn Recording>>) {
    recordings.retain(|recording| !is_empty(recording));
}
