//! From a declared topic of partial states to one that both stages can use, or to why a pipeline cannot go
//! through it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, make_array, new_null_array};
use arrow::datatypes::Schema;

use super::layout::Layout;
use crate::config::{ConfigError, Environment, Source, Span};
use crate::pipeline::wiring::{Host, Opened, WiringError};
use crate::sink::kafka::{KafkaFault, KafkaSinkSettings, Making};
use crate::source::kafka::{KafkaSettings, Start};
use crate::source::live::{DeclaredStream, StreamOptions};
use crate::transform::{CallError, Groups, Windowed};
use crate::window::Kind;

/// Bytes of a message, at most: a partial state that is larger cannot be sent.
const MESSAGE_BYTES: usize = 8 << 20;

/// Settings that are for consumers alone, or begin so.
const OF_CONSUMERS: [&str; 8] = [
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "auto.commit.interval.ms",
    "max.poll.interval.ms",
    "isolation.level",
    "check.crcs",
    "fetch.",
    "queued.",
];

/// What the first stage of a pipeline is called: no pipeline can have this name.
pub(in crate::pipeline::live) fn upstream_name(pipeline: &str) -> String {
    format!("{pipeline}.upstream")
}

/// The topic of partial states of a pipeline.
#[derive(Debug)]
pub(in crate::pipeline::live) struct Repartition {
    pub(in crate::pipeline::live) sink: KafkaSinkSettings,
    pub(in crate::pipeline::live) layout: Arc<Layout>,
    making: Making,
    /// Whether it was seen to.
    is_ready: Mutex<bool>,
}

impl Repartition {
    pub(in crate::pipeline::live) fn partitions(&self) -> u32 {
        self.making.partitions
    }

    /// Sees to it, once, that the topic is there, and with `fresh` that it is empty. Both stages wait for
    /// that: what is sent after it stays.
    pub(in crate::pipeline::live) fn ready(
        &self,
        fresh: bool,
        stop: &AtomicBool,
    ) -> Result<(), KafkaFault> {
        let mut is_ready = self.is_ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_ready {
            self.sink.make(&self.making, fresh, stop)?;
            *is_ready = true;
        }
        Ok(())
    }

    /// How the second stage reads it, where the first one reads with `settings`.
    pub(in crate::pipeline::live) fn source(&self, settings: &KafkaSettings) -> KafkaSettings {
        KafkaSettings {
            topic: self.sink.topic.clone(),
            group: format!("{}.partials", settings.group),
            start: Start::Earliest,
            headers: false,
            // What is not committed may be taken back.
            client: settings.client.without(|name| name == "isolation.level"),
            ..settings.clone()
        }
    }
}

/// The topic of partial states that a pipeline goes through; none if it needs none.
///
/// # Errors
///
/// The pipeline needs one and has none, or cannot go through it.
pub(in crate::pipeline::live) fn repartition(
    opened: &Opened,
    environment: &Environment,
    stream: &DeclaredStream,
) -> Result<Option<Repartition>, WiringError> {
    let event = environment.event(&opened.declaration)?;
    let (Source::Live(live), StreamOptions::Kafka(kafka)) = (&event.source, &stream.stream) else {
        return Ok(None);
    };
    let Some(windows) = opened.plan.windows() else {
        return Ok(None);
    };
    let refuse = |span: Span, message: String, hint: &str| {
        let finding = environment.diagnostic(span, message, hint);
        WiringError::Config(ConfigError::from(finding))
    };
    let Some(declared) = &live.repartition else {
        if stream.partitioned_by_key {
            return Ok(None);
        }
        let message = format!(
            "event `{}` is not partitioned by the key, so each key's windows would be in several pieces",
            stream.event
        );
        let hint = "add `repartition = { partitions = 8 }`, and the pieces are put together by way of another topic; or have producers partition the topic by the pipeline's key, and leave `partitioned_by_key` out";
        return Err(refuse(event.name.span, message, hint));
    };
    if live.bootstrap.is_some() {
        let message = format!(
            "event `{}` has both `bootstrap` and `repartition`, and this version cannot begin a pipeline in two stages with recorded history",
            stream.event
        );
        let hint = "leave one of the two out";
        return Err(refuse(declared.span, message, hint));
    }
    if let Some(problem) = problem(windows) {
        let message = format!(
            "pipeline `{}` cannot go through a topic of partial states: {problem}",
            opened.plan.pipeline
        );
        let hint = match stream.partitioned_by_key {
            true => "declare the topic as another event, without `repartition`, for this pipeline",
            false => {
                "have producers partition the topic by the pipeline's key; then this is not needed"
            }
        };
        return Err(refuse(declared.span, message, hint));
    }
    let topic = declared.topic_of(&opened.plan.pipeline);
    if topic == kafka.topic {
        let message = format!("topic `{topic}` is the one that the event itself is in");
        let hint = "name another one: Penstock makes it if it is not there";
        return Err(refuse(declared.span, message, hint));
    }
    let is_of_consumers = |name: &str| {
        OF_CONSUMERS
            .iter()
            .any(|of| name == *of || (of.ends_with('.') && name.starts_with(of)))
    };
    let client = kafka.client.without(is_of_consumers);
    let cut = &opened.declaration.window.value;
    let layout = Layout::of(
        &opened.plan,
        windows,
        &format!("{} {:?}", cut.kind, cut.emit),
    );
    Ok(Some(Repartition {
        sink: KafkaSinkSettings {
            topic,
            window_bytes: 16 << 20,
            timeout: std::time::Duration::from_secs(60),
            client: client.or("message.max.bytes", &MESSAGE_BYTES.to_string()),
        },
        layout: Arc::new(layout.expect("their kind was looked at")),
        making: Making {
            partitions: declared.partitions,
            replication: declared.replication,
            message_bytes: MESSAGE_BYTES,
        },
        is_ready: Mutex::new(false),
    }))
}

/// Why windows cannot be made of partial states.
fn problem(windows: &crate::pipeline::plan::WindowPlan) -> Option<&'static str> {
    if windows.shape.takes_partials() {
        return None;
    }
    Some(match windows.shape.kind {
        Kind::Session { .. } => {
            "which session a row belongs to depends on all rows of its key before it, and so can be said only where they all are"
        }
        Kind::Unbounded { .. } => {
            "whether a key has been quiet for its `ttl` depends on all rows of the key before it, and so can be said only where they all are"
        }
        Kind::Aligned { .. } => {
            "with `emit = \"batch\"` values come out after each batch of rows, and rows do not come in their batches any more"
        }
    })
}

/// Checks whether a pipeline can go through the topic of partial states that is declared for it, if any is,
/// as far as that can be seen without its broker: among others, that its transform merges states.
///
/// # Errors
///
/// As [`repartition`]; or the transform does not open.
pub(in crate::pipeline) fn check(
    host: &Host,
    opened: &Opened,
    environment: &Environment,
    stream: &DeclaredStream,
) -> Result<(), WiringError> {
    if repartition(opened, environment, stream)?.is_none() {
        return Ok(());
    }
    let (Some(windows), Some(opener)) = (opened.plan.windows(), opened.opener()) else {
        return Ok(());
    };
    let keys = zeros(&opened.plan.key_schema);
    let initial = windows.spec.initial.columns();
    let merged: Result<_, CallError> = host.lanes.block_on(async {
        let mut transform = opener.open(&opened.plan.pipeline).await?;
        let earlier = Groups {
            keys: &keys,
            states: initial,
            len: 1,
        };
        transform.merge(earlier, initial).await
    });
    let Err(error) = merged else {
        return Ok(());
    };
    let event = environment.event(&opened.declaration)?;
    let message = format!(
        "pipeline `{}` cannot go through a topic of partial states: its transform does not even merge two states that no row was added to: {error}",
        opened.plan.pipeline
    );
    let hint = "implement `merge` in the transform, and test it with `penstock test --laws`";
    let finding = environment.diagnostic(event.name.span, message, hint);
    Err(ConfigError::from(finding).into())
}

/// A row of zeros, and of empty texts.
fn zeros(schema: &Schema) -> Vec<ArrayRef> {
    let zero = |field: &arrow::datatypes::FieldRef| {
        let null = new_null_array(field.data_type(), 1).to_data();
        let zero = null.into_builder().nulls(None).build();
        make_array(zero.expect("an array of the type, whose bytes are zeros"))
    };
    schema.fields().iter().map(zero).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, TimeUnit};

    use super::*;

    #[test]
    fn a_row_of_zeros_has_no_nulls() {
        let types = [
            DataType::Int64,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Boolean,
            DataType::Binary,
            DataType::Date32,
            DataType::Decimal128(10, 2),
            DataType::FixedSizeBinary(3),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ];
        let fields = types.map(|data_type| Field::new(data_type.to_string(), data_type, false));
        let row = zeros(&Schema::new(fields.to_vec()));
        assert!(row.iter().all(|it| it.len() == 1 && it.null_count() == 0));
        assert_eq!(row[1].as_string::<i32>().value(0), "");
    }
}
