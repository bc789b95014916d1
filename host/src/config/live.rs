//! Live streams as `penstock.toml` declares them: topics of Apache Kafka, streams of Amazon Kinesis.
//!
//! What a client of either may be told is known to `source` alone. Here settings are names and texts
//! ([`StreamSettings`]), each with its place, so that whoever knows them can report what is wrong at the
//! line that says it. Their values may be secrets, and are shown to nobody.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::bootstrap::Bootstrap;
use super::diagnostic::{ConfigError, ConfigFile, Located, Span};
use super::remote::Secret;

/// A live stream, and what its messages are.
#[derive(Debug, Clone)]
pub struct LiveSource {
    /// Where the messages are.
    pub stream: Stream,
    /// How they are written.
    pub format: LiveFormat,
    /// The columns of what messages say, without the message columns; if none, the format's own schema
    /// says them. JSON has them always.
    pub body: Option<Located<SchemaRef>>,
    /// What the event has of the messages themselves.
    pub message_columns: MessageColumns,
    /// What happens when the stream no longer holds what comes next.
    pub on_missing: OnMissing,
    /// Whether all messages of a key are in one partition, by the key of the pipelines that read them.
    pub partitioned_by_key: bool,
    /// The topic of partial states that windows over it go through, if they do.
    pub repartition: Option<Repartition>,
    /// Recorded history that its pipelines begin with.
    pub bootstrap: Option<Bootstrap>,
}

/// A topic of partial states.
#[derive(Debug, Clone)]
pub struct Repartition {
    /// Its name, in which `{pipeline}` stands for that of the pipeline.
    pub topic: String,
    /// How many partitions it has; above zero.
    pub partitions: u32,
    /// How many brokers keep each partition if Penstock makes the topic; as the cluster has it if none.
    pub replication: Option<u32>,
    /// The whole table.
    pub span: Span,
}

impl Repartition {
    /// What the topic is called if nothing is said.
    pub(super) const TOPIC: &'static str = "{pipeline}-partials";

    /// The topic of a pipeline.
    pub fn topic_of(&self, pipeline: &str) -> String {
        self.topic.replace("{pipeline}", pipeline)
    }
}

/// Where live messages are.
#[derive(Debug, Clone)]
pub enum Stream {
    /// A topic of Apache Kafka.
    Kafka(StreamSettings),
    /// A stream of Amazon Kinesis.
    Kinesis(StreamSettings),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Kafka(settings) => write!(f, "Kafka topic `{}`", settings.name.value),
            Stream::Kinesis(settings) => write!(f, "Kinesis stream `{}`", settings.name.value),
        }
    }
}

/// The entries of `kafka = { … }` or `kinesis = { … }`. That the brokers, the topic and the stream are
/// among them was checked, and nothing else.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// The topic's or the stream's name, as written.
    pub name: Located<String>,
    /// The whole table.
    pub span: Span,
    /// Names and values, in the order of the file.
    pub entries: Vec<(Located<String>, Located<Secret>)>,
}

impl StreamSettings {
    /// The entries, with what the environment of this process has in the place of `${NAME}`.
    ///
    /// # Errors
    ///
    /// There is no such variable.
    pub fn resolved(
        &self,
        source: &ConfigFile,
    ) -> Result<Vec<(Located<String>, Secret)>, ConfigError> {
        let entries = self.entries.iter();
        entries
            .map(|(name, value)| Ok((name.clone(), resolve(source, value)?)))
            .collect()
    }

    /// Where an entry stands; the whole table if it has none of that name.
    pub fn place(&self, name: &str) -> Span {
        let mut names = self.entries.iter().map(|(entry, _)| entry);
        names
            .find(|entry| entry.value == name)
            .map_or(self.span, |entry| entry.span)
    }
}

/// The value of a setting: the text itself, or if it is `${NAME}` as a whole, what the environment of
/// this process has under that name.
///
/// # Errors
///
/// There is no such variable, or it is not UTF-8.
pub fn resolve(source: &ConfigFile, value: &Located<Secret>) -> Result<Secret, ConfigError> {
    let Some(name) = variable(value.expose()) else {
        return Ok(value.value.clone());
    };
    std::env::var(name).map(Secret::new).map_err(|error| {
        let (message, hint) = match error {
            std::env::VarError::NotPresent => (
                format!(
                    "there is no environment variable `{name}`, from which this value is taken"
                ),
                format!("set it before Penstock is started: `export {name}=…`"),
            ),
            std::env::VarError::NotUnicode(_) => (
                format!("the environment variable `{name}` is not UTF-8 text"),
                "set it to text".to_owned(),
            ),
        };
        source.diagnostic(value.span, message, hint).into()
    })
}

/// The name in `${NAME}`.
fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let first = name.chars().next()?;
    let is_name = (first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

/// How live messages are written, and where their schema is. Paths start from the folder of
/// `penstock.toml`.
#[derive(Debug, Clone)]
pub enum LiveFormat {
    /// One JSON object a message.
    Json,
    /// One Avro record a message, with the id of its schema in a registry.
    AvroRegistry(RegistrySettings),
    /// One Avro record a message, all of one schema.
    AvroFile {
        /// The schema: an `.avsc` file.
        file: Located<PathBuf>,
        /// Whether messages begin with a zero byte and an id.
        framed: bool,
    },
    /// One Protobuf message a message.
    Protobuf {
        /// What `protoc --include_imports --descriptor_set_out` wrote.
        descriptor_set: Located<PathBuf>,
        /// The full name of the type.
        message: Located<String>,
        /// Whether messages begin with a zero byte, an id and the place of the type.
        framed: bool,
    },
    /// Arrow IPC, with the file whose schema single record batches have.
    Arrow {
        /// Any Arrow file or stream.
        file: Option<Located<PathBuf>>,
    },
}

/// How a schema registry is reached.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Where its API begins.
    pub url: Located<Secret>,
    /// The user, and the password.
    pub credentials: Option<(Located<Secret>, Located<Secret>)>,
    /// How long an answer may take, in microseconds.
    pub timeout: Option<i64>,
    /// How often it is asked before it counts as unreachable.
    pub tries: Option<u32>,
}

/// What happens when a stream no longer holds the messages that come next: they were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// The pipeline stops, with what is missing.
    Stop,
    /// It goes on with the earliest message that there is, and says what it has passed over.
    Earliest,
}

impl OnMissing {
    pub(super) const ALL: [(&'static str, OnMissing); 2] =
        [("stop", OnMissing::Stop), ("earliest", OnMissing::Earliest)];
}

/// The columns that an event has of its messages, beside what the messages say: each of them if it has
/// a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageColumns {
    /// The key: `binary`, or `utf8` if the event's schema says so.
    pub key: Option<Located<String>>,
    /// The type of the key's column.
    pub key_type: DataType,
    /// The headers: see [`headers_type`].
    pub headers: Option<Located<String>>,
    /// The number of the partition: `int32`.
    pub partition: Option<Located<String>>,
    /// The position in the partition: `int64`.
    pub offset: Option<Located<String>>,
    /// When the stream recorded the message: `timestamp[us, UTC]`.
    pub timestamp: Option<Located<String>>,
}

impl Default for MessageColumns {
    fn default() -> Self {
        Self {
            key: None,
            key_type: DataType::Binary,
            headers: None,
            partition: None,
            offset: None,
            timestamp: None,
        }
    }
}

impl MessageColumns {
    /// The names that were given, in the order of [`MessageColumns::fields`].
    pub fn names(&self) -> impl Iterator<Item = &Located<String>> {
        [
            &self.key,
            &self.headers,
            &self.partition,
            &self.offset,
            &self.timestamp,
        ]
        .into_iter()
        .flatten()
    }

    /// The columns: key, headers, partition, offset, timestamp, those of them that have names. Key and
    /// timestamp may be null, since a message need not have them.
    pub fn fields(&self) -> Vec<Field> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        [
            (&self.key, self.key_type.clone(), true),
            (&self.headers, headers_type(), false),
            (&self.partition, DataType::Int32, false),
            (&self.offset, DataType::Int64, false),
            (&self.timestamp, utc, true),
        ]
        .into_iter()
        .filter_map(|(name, data_type, nullable)| {
            let name = name.as_ref()?;
            Some(Field::new(&name.value, data_type, nullable))
        })
        .collect()
    }

    /// All columns of an event whose messages say `body`: those, and the message columns behind them.
    pub fn beside(&self, body: &Schema) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = body.fields().to_vec();
        fields.extend(self.fields().into_iter().map(Arc::new));
        Arc::new(Schema::new(fields))
    }
}

/// The type of a column of headers: `list[struct{name: utf8!, value: binary}!]`.
pub fn headers_type() -> DataType {
    let fields = Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    DataType::List(Arc::new(Field::new_list_field(
        DataType::Struct(fields),
        false,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_value_may_be_a_variable() {
        let file = ConfigFile::from_text("penstock.toml", "x = \"${PENSTOCK_IS_NOT_SET}\"\n");
        let text = |text: &str| Located::new(Secret::new(text), (4..28).into());
        let resolved =
            |value: &str| resolve(&file, &text(value)).map(|value| value.expose().to_owned());
        // Cargo sets this one for tests.
        assert_eq!(resolved("${CARGO_PKG_NAME}").unwrap(), "penstock");
        for plain in [
            "a${CARGO_PKG_NAME}",
            "${}",
            "${a b}",
            "$HOME",
            "${1}",
            "{x}",
        ] {
            assert_eq!(resolved(plain).unwrap(), plain);
        }
        assert_eq!(
            resolved("${PENSTOCK_IS_NOT_SET}").unwrap_err().to_string(),
            "\
error: there is no environment variable `PENSTOCK_IS_NOT_SET`, from which this value is taken
  --> penstock.toml:1:5
   |
 1 | x = \"${PENSTOCK_IS_NOT_SET}\"
   |     ^^^^^^^^^^^^^^^^^^^^^^^^
   = help: set it before Penstock is started: `export PENSTOCK_IS_NOT_SET=…`"
        );
    }
}
