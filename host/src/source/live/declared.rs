//! A live event, checked as far as that goes without its stream.
//!
//! In comes what `penstock.toml` says: names and texts. Out come settings that a client takes, the schemas
//! that messages are read by, and all columns of the event; or findings at the lines that are wrong. Of what
//! is elsewhere only a schema registry is asked, and that only where the columns are not declared.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::{
    ConfigError, Environment, EventSource, LiveFormat, LiveSource, Located, MessageColumns,
    OnMissing, RegistrySettings, Secret, Source, Span, Stream, StreamSettings, live,
};
use crate::source::decode::message::{
    ArrowSchema, AvroSchema, AvroSchemas, Inferred, MessageDecoder, MessageError, MessageFormat,
    ProtobufType, Registry, RegistryOptions,
};
use crate::source::kafka::{KafkaFault, KafkaSettings};
use crate::source::kinesis::{KinesisFault, KinesisSettings};

/// A live event that is ready to be read.
#[derive(Debug, Clone)]
pub struct DeclaredStream {
    /// The event's name.
    pub event: String,
    /// What a client of the stream is made with.
    pub stream: StreamOptions,
    /// How messages are written.
    pub format: MessageFormat,
    /// The columns of what messages say: what a decoder of them may be asked for.
    pub body: SchemaRef,
    /// All columns of the event: those of the messages, and behind them the message columns.
    pub schema: SchemaRef,
    /// Whether the columns are those of the format's own schema, for want of a declaration.
    pub inferred: bool,
    /// Fields of that schema that have no column, and why.
    pub left_out: Vec<(String, String)>,
    /// Which columns say what of the messages themselves.
    pub message_columns: MessageColumns,
    /// The column of the event time: a timestamp of `schema`.
    pub event_time: String,
    /// The column of the time at which the event came in; if none, it is when the stream recorded the message.
    pub arrival_time: Option<String>,
    /// What happens when the stream no longer holds what comes next.
    pub on_missing: OnMissing,
    /// Whether all messages of a pipeline's key are in one partition.
    pub partitioned_by_key: bool,
}

/// What a client of a stream is made with.
#[derive(Debug, Clone)]
pub enum StreamOptions {
    /// Apache Kafka.
    Kafka(KafkaSettings),
    /// Amazon Kinesis.
    Kinesis(KinesisSettings),
}

impl StreamOptions {
    /// What a client is made with that only looks at an event's stream; none if the event is recorded files. `group` is the
    /// consumer group if none is declared. Nothing is asked of anybody.
    ///
    /// # Errors
    ///
    /// A finding at its line: a setting that is unknown or wrong, or a variable that is not there.
    pub fn of(
        environment: &Environment,
        event: &EventSource,
        group: &str,
    ) -> Result<Option<Self>, DeclaredError> {
        let Source::Live(live) = &event.source else {
            return Ok(None);
        };
        // Which member of the group a process is has no meaning for others, and mostly stands in a variable of its own.
        let mut live = live.clone();
        if let Stream::Kafka(settings) = &mut live.stream {
            settings
                .entries
                .retain(|(name, _)| name.value != "instance");
        }
        let declaring = Declaring {
            environment,
            event,
            live: &live,
        };
        Ok(Some(declaring.stream(group)?.0))
    }
}

/// Why a live event cannot be read as it is declared.
#[derive(Debug, thiserror::Error)]
#[error("{finding}")]
pub struct DeclaredError {
    /// What is wrong, at its place in `penstock.toml`.
    pub finding: ConfigError,
    /// Whether the network or a registry failed, rather than what was asked of them.
    pub of_the_system: bool,
}

impl From<ConfigError> for DeclaredError {
    fn from(finding: ConfigError) -> Self {
        Self {
            finding,
            of_the_system: false,
        }
    }
}

impl DeclaredStream {
    /// Checks the live event `event` of an environment. `group` is the consumer group if none is declared.
    /// A schema registry is asked on the runtime of `io`, so this must not be called from one of its tasks.
    ///
    /// # Errors
    ///
    /// A finding at its line: a setting that is unknown or wrong, a variable or a file that is not there, a
    /// schema that does not have what is wanted of it, or a registry that does not say.
    pub fn of(
        environment: &Environment,
        event: &EventSource,
        group: &str,
        io: &Handle,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, DeclaredError> {
        let Source::Live(live) = &event.source else {
            let message = format!(
                "event `{}` is recorded files in environment `{}`, and no live stream",
                event.name.value, environment.name
            );
            let hint = "declare it with `kafka = { … }`, or choose another environment with --env";
            let finding = environment.diagnostic(event.name.span, message, hint);
            return Err(ConfigError::from(finding).into());
        };
        let declaring = Declaring {
            environment,
            event,
            live,
        };
        let (stream, topic) = declaring.stream(group)?;
        let format = declaring.format(io, clock)?;
        let (body, left_out) = match &live.body {
            Some(body) => (Arc::clone(&body.value), Vec::new()),
            None => declaring.columns(&format, topic.as_deref())?,
        };
        declaring.check_decoded(&format, &body)?;
        let schema = live.message_columns.beside(&body);
        environment.check_event_time(event, &schema)?;
        Ok(Self {
            event: event.name.value.clone(),
            stream,
            format,
            body,
            schema,
            inferred: live.body.is_none(),
            left_out,
            message_columns: live.message_columns.clone(),
            event_time: event.event_time.value.clone(),
            arrival_time: event.arrival_time.as_ref().map(|name| name.value.clone()),
            on_missing: live.on_missing,
            partitioned_by_key: live.partitioned_by_key,
        })
    }
}

/// What is being checked.
struct Declaring<'a> {
    environment: &'a Environment,
    event: &'a EventSource,
    live: &'a LiveSource,
}

impl Declaring<'_> {
    fn refuse(
        &self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> DeclaredError {
        let finding = self.environment.diagnostic(span, message, hint);
        ConfigError::from(finding).into()
    }

    /// Settings of the client, and the topic, which names the subject of its schemas.
    fn stream(&self, group: &str) -> Result<(StreamOptions, Option<String>), DeclaredError> {
        match &self.live.stream {
            Stream::Kafka(settings) => {
                let mut kafka = self.kafka(settings, group)?;
                kafka.headers = self.live.message_columns.headers.is_some();
                let topic = kafka.topic.clone();
                Ok((StreamOptions::Kafka(kafka), Some(topic)))
            }
            Stream::Kinesis(settings) => {
                Ok((StreamOptions::Kinesis(self.kinesis(settings)?), None))
            }
        }
    }

    fn kafka(
        &self,
        settings: &StreamSettings,
        group: &str,
    ) -> Result<KafkaSettings, DeclaredError> {
        let entries = self.entries(settings)?;
        // What is written comes later, and counts.
        let entries = std::iter::once(("group".to_owned(), group.to_owned())).chain(entries);
        KafkaSettings::parse(entries).map_err(|fault| {
            let KafkaFault {
                setting,
                message,
                hint,
                ..
            } = fault;
            self.refuse_setting(settings, setting, message, hint)
        })
    }

    fn kinesis(&self, settings: &StreamSettings) -> Result<KinesisSettings, DeclaredError> {
        KinesisSettings::parse(self.entries(settings)?).map_err(|fault| {
            let KinesisFault {
                setting,
                message,
                hint,
                ..
            } = fault;
            self.refuse_setting(settings, setting, message, hint)
        })
    }

    fn entries(&self, settings: &StreamSettings) -> Result<Vec<(String, String)>, DeclaredError> {
        let entries = settings.resolved(&self.environment.source)?.into_iter();
        let entries = entries.map(|(name, value)| (name.value, value.expose().to_owned()));
        Ok(entries.collect())
    }

    fn refuse_setting(
        &self,
        settings: &StreamSettings,
        setting: Option<String>,
        message: String,
        hint: String,
    ) -> DeclaredError {
        let span = setting.map_or(settings.span, |name| settings.place(&name));
        self.refuse(span, message, hint)
    }

    fn format(&self, io: &Handle, clock: &Arc<dyn Clock>) -> Result<MessageFormat, DeclaredError> {
        Ok(match &self.live.format {
            LiveFormat::Json => MessageFormat::Json,
            LiveFormat::AvroRegistry(settings) => {
                let registry = self.registry(settings, io, clock)?;
                MessageFormat::Avro(AvroSchemas::Registry(Arc::new(registry)))
            }
            LiveFormat::AvroFile { file, framed } => {
                let schema = AvroSchema::read(&file.value);
                let schema = schema.map_err(|error| self.refuse_file(file.span, &error))?;
                MessageFormat::Avro(AvroSchemas::File {
                    schema: Arc::new(schema),
                    framed: *framed,
                })
            }
            LiveFormat::Protobuf {
                descriptor_set,
                message,
                framed,
            } => {
                let read = ProtobufType::read(&descriptor_set.value, &message.value);
                let message = read.map_err(|error| match &error {
                    MessageError::UnknownMessage { .. } => self.refuse_file(message.span, &error),
                    _ => self.refuse_file(descriptor_set.span, &error),
                })?;
                MessageFormat::Protobuf {
                    message,
                    framed: *framed,
                }
            }
            LiveFormat::Arrow { file: None } => MessageFormat::ArrowIpc(None),
            LiveFormat::Arrow { file: Some(file) } => {
                let schema = ArrowSchema::read(&file.value);
                let schema = schema.map_err(|error| self.refuse_file(file.span, &error))?;
                MessageFormat::ArrowIpc(Some(schema))
            }
        })
    }

    fn refuse_file(&self, span: Span, error: &MessageError) -> DeclaredError {
        let hint = match error {
            MessageError::UnknownMessage { .. } => "write the full name of one of them",
            MessageError::Open { .. } | MessageError::SchemaFile(_) => {
                "relative paths start from the folder of this file"
            }
            _ => "check that this is the file that you meant",
        };
        self.refuse(span, error.to_string(), hint)
    }

    fn registry(
        &self,
        settings: &RegistrySettings,
        io: &Handle,
        clock: &Arc<dyn Clock>,
    ) -> Result<Registry, DeclaredError> {
        let source = &self.environment.source;
        let text = |value: &Located<Secret>| live::resolve(source, value);
        let mut options = RegistryOptions::new(text(&settings.url)?.expose());
        if let Some((user, password)) = &settings.credentials {
            let (user, password) = (text(user)?, text(password)?);
            options.credentials = Some((user.expose().to_owned(), password.expose().to_owned()));
        }
        if let Some(timeout) = settings.timeout {
            options.timeout = Duration::from_micros(timeout.unsigned_abs());
        }
        options.tries = settings.tries.unwrap_or(options.tries);
        Registry::new(options, io, Arc::clone(clock)).map_err(|error| {
            let message = format!("the URL of the schema registry is none: {}", error.fault);
            self.refuse(settings.url.span, message, "")
        })
    }

    /// The columns of the format's own schema, and the fields that have none.
    fn columns(
        &self,
        format: &MessageFormat,
        topic: Option<&str>,
    ) -> Result<(SchemaRef, Vec<(String, String)>), DeclaredError> {
        let inferred = match (format, &self.live.format) {
            (
                MessageFormat::Avro(AvroSchemas::File { schema, .. }),
                LiveFormat::AvroFile { file, .. },
            ) => schema.infer().map_err(|reason| {
                let message = format!("{}: its schema {reason}", file.value.display());
                self.refuse(file.span, message, "name the schema of a record")
            })?,
            (
                MessageFormat::Avro(AvroSchemas::Registry(registry)),
                LiveFormat::AvroRegistry(settings),
            ) => self.latest(registry, settings, topic)?,
            (MessageFormat::Protobuf { message, .. }, _) => message.infer(),
            (MessageFormat::ArrowIpc(Some(schema)), _) => Inferred {
                schema: schema.infer(),
                left_out: Vec::new(),
            },
            _ => {
                let message = format!("event `{}` needs a `schema`", self.event.name.value);
                let hint = "list the columns that are read";
                return Err(self.refuse(self.event.name.span, message, hint));
            }
        };
        self.check_names(&inferred.schema)?;
        Ok((Arc::new(inferred.schema), inferred.left_out))
    }

    /// The columns of the newest schema of the topic's values.
    fn latest(
        &self,
        registry: &Registry,
        settings: &RegistrySettings,
        topic: Option<&str>,
    ) -> Result<Inferred, DeclaredError> {
        let subject = format!("{}-value", topic.unwrap_or_default());
        let span = settings.url.span;
        let hint = "without a `schema`, the event has the columns of the newest schema; or list the columns: `schema = { … }`";
        let found = registry.latest(&subject);
        let (id, schema) = found.map_err(|error| DeclaredError {
            of_the_system: error.fault.is_temporary(),
            ..self.refuse(span, error.to_string(), hint)
        })?;
        schema.infer().map_err(|reason| {
            let message = format!("schema {id} of `{subject}`, the newest at {registry}, {reason}");
            self.refuse(span, message, "Avro messages are records")
        })
    }

    /// Message columns must not be called like what messages say; where that is declared, it was checked.
    fn check_names(&self, body: &Schema) -> Result<(), DeclaredError> {
        let mut names = self.live.message_columns.names();
        match names.find(|name| body.field_with_name(&name.value).is_ok()) {
            None => Ok(()),
            Some(name) => {
                let message = format!("messages have a field `{}` themselves", name.value);
                Err(self.refuse(name.span, message, "choose another name for this column"))
            }
        }
    }

    /// A decoder must be able to give all of the columns.
    fn check_decoded(&self, format: &MessageFormat, body: &SchemaRef) -> Result<(), DeclaredError> {
        let decoder = MessageDecoder::new(format, body);
        decoder.map(drop).map_err(|error| {
            let declared = self.live.body.as_ref().map(|body| body.span);
            let span = declared.unwrap_or(self.event.name.span);
            self.refuse(
                span,
                error.to_string(),
                "correct `schema`, or what the messages are",
            )
        })
    }
}

#[cfg(test)]
#[path = "declared_tests.rs"]
mod tests;
