//! Checking a pipeline without running it: also one over a live stream, whose broker is not asked.

use std::sync::Arc;

use super::event_schema::EventSchema;
use super::outputs::OutputPaths;
use super::recordings;
use super::topics::OutputTopics;
use super::wiring::{Host, Opened, Read, WiringError, open, put_together};
use crate::config::{Environment, Pipeline, Source};
use crate::source::decode::Format;
use crate::source::live::{DeclaredStream, StreamOptions};

/// Checks a pipeline as [`open`] does, and one over a live stream as well: what there is to see without
/// its broker. Of a live stream nothing can be read by what this gives.
///
/// # Errors
///
/// See [`WiringError`]. Nothing has been written.
pub fn check(
    host: &Host,
    pipeline: Pipeline,
    environment: &Environment,
) -> Result<(Opened, Option<DeclaredStream>), WiringError> {
    let event = environment.event(&pipeline)?;
    if matches!(event.source, Source::Files(_)) {
        return Ok((open(host, pipeline, environment)?, None));
    }
    recordings::check_options(environment)?;
    let stream = DeclaredStream::of(
        environment,
        event,
        &pipeline.name.value,
        host.io.handle(),
        &host.clock,
    )?;
    let outputs = OutputPaths::of(&pipeline, environment);
    outputs.check(&pipeline, environment, event, std::iter::empty())?;
    let source = match &stream.stream {
        StreamOptions::Kafka(settings) => Some(settings),
        StreamOptions::Kinesis { .. } => None,
    };
    let topics = OutputTopics::of(&pipeline, environment, source)?;
    let read = Read {
        recordings: Vec::new(),
        format: Format::Ndjson,
        found: EventSchema {
            schema: Arc::clone(&stream.schema),
            inferred: stream.inferred,
            unseen: Vec::new(),
        },
        outputs,
    };
    let mut opened = put_together(host, pipeline, environment, event, read)?;
    opened.topics = topics;
    super::live::check_repartition(host, &opened, environment, &stream)?;
    Ok((opened, Some(stream)))
}
