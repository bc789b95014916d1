//! `penstock.toml`: what the events are in each environment, and where an environment keeps things.
//!
//! ```toml
//! [environments.local]                     # the default; `--env NAME` chooses another
//! store = "data/store"                     # the embedded store: a folder, or s3://BUCKET/PREFIX; default ".penstock/store"
//! cache = { bytes = "64MiB", max_age = "1s" }   # what readers keep in memory, and how old it may be
//! output = "data/out"                      # where output files go; default "penstock-out"
//! output_elsewhere = true                  # whether pipelines may name files outside of that; default false
//! listen = "127.0.0.1:9464"                # where a run answers /health and /metrics; nowhere by default
//! registry = "s3://bucket/transforms"      # versions of transforms, see `registry`; default ".penstock/registry"
//! offline = "s3://bucket/features"         # where the history of features is kept, or a folder; nowhere by default
//! serving = { grpc = "127.0.0.1:8471" }    # how models are answered, see `serving`
//!
//! [environments.local.object_store]        # what object stores are opened with, beside AWS_… and the like
//! aws_region = "eu-central-1"
//!
//! [environments.local.events.ride_offer]
//! files = "data/rides/*.ndjson"            # a file, a glob, a folder, or a list of these; URLs as well
//! format = "ndjson"                        # or "csv", "parquet", "arrow"; default: by extension
//! event_time = "occurred_at"               # the column
//! arrival_time = "received_at"             # the column that says when it came in; none by default
//! schema = { occurred_at = "timestamp[us, UTC]", driver_id = "int64!" }   # inferred by default
//!
//! [environments.production.events.ride_offer]
//! kafka = { brokers = "broker:9092", topic = "ride-offers", "sasl.password" = "${KAFKA_PASSWORD}" }
//! # or kinesis = { stream = "ride-offers", region = "eu-central-1" }
//! format = "json"                          # or "avro", "protobuf", "arrow"; default: "json"
//! event_time = "occurred_at"
//! arrival_time = "received_at"             # default: when the stream recorded the message
//! schema = { occurred_at = "timestamp[us, UTC]", driver_id = "int64!", message_key = "utf8" }
//! message_columns = { key = "message_key", headers = "h", partition = "p", offset = "o", timestamp = "t" }
//! on_missing = "stop"                      # or "earliest": when the stream no longer has what comes next
//! partitioned_by_key = true                # whether the key of pipelines is what the topic is divided by
//! repartition = { partitions = 8, topic = "{pipeline}-partials", replication = 3 }   # windows go through this topic
//! bootstrap = "s3://bucket/recordings"     # history that comes first, or a table, see `bootstrap`
//!
//! # with format = "avro" one of these, with format = "protobuf" the third, with "arrow" perhaps the last
//! avro = { registry = "http://localhost:8081", user = "u", password = "${P}", timeout = "10s", tries = 4 }
//! avro = { file = "ride_offer.avsc", framed = false }
//! protobuf = { descriptor_set = "rides.desc", message = "rides.v1.RideOffer", framed = false }
//! arrow = { file = "one.arrow" }
//! ```
//!
//! A live event of Avro, Protobuf or Arrow may do without `schema`: its columns are then those of the
//! format's own schema. A value of `kafka`, `kinesis` or `avro` that is `"${NAME}"` as a whole is taken
//! from the process's environment when the event is opened.
//!
//! ```toml
//! [environments.production.topics.driver_features]      # what pipelines may write to, see `topics`
//! kafka = { brokers = "broker:9092", topic = "driver-features-v1", "compression.type" = "lz4" }
//! format = "json"                          # or "arrow"; default: "json"
//! ```
//!
//! Features can be kept in a table of DynamoDB: see `table_place`, which lists the keys.
//!
//! Relative paths start from the folder of `penstock.toml`, which is beside the pipeline file or in
//! the nearest folder above it. A folder stands for the files directly in it, without those whose
//! names begin with `.` or `_`. Files are read in the order of the list, those of a glob or folder by
//! their paths, each once. What has a `://` in it is a URL: `s3://bucket/rides/*.ndjson`. It is kept as
//! it is written, and looked for when the event is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::diagnostic::{ConfigError, ConfigFile, Diagnostic, Located, Place, Span};
use super::file_format::FileFormat;
use super::live::LiveSource;
use super::operators::OperatorToken;
use super::pipeline::{OutputFile, Pipeline};
use super::recorded::RecordedFiles;
use super::registry::TransformRegistry;
use super::remote::StoreOptions;
use super::serving::Serving;
use super::store_place::StorePlace;
use super::table_place::{CacheSettings, FeaturePlace, TablePlace};
use super::topics::Topic;
use super::{environment_file, patterns, recorded, suggest, types};

/// The name of the file that environments stand in.
pub const ENVIRONMENTS_FILE: &str = "penstock.toml";

/// The environment that is used unless another is asked for.
pub const DEFAULT_ENVIRONMENT: &str = "local";

/// One environment of a `penstock.toml`.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The file, for findings that come up later.
    pub source: Arc<ConfigFile>,
    /// Its name.
    pub name: String,
    /// Where the embedded store is; it need not exist yet. What lanes keep is there, and features are unless there is
    /// a table for them: see [`Environment::features`].
    pub store: StorePlace,
    /// The table that features go to instead, as it is declared.
    pub(super) table: Option<TablePlace>,
    /// What is kept in memory for readers.
    pub cache: CacheSettings,
    /// Folder of output files; it need not exist yet.
    pub output: PathBuf,
    /// Whether pipelines may name output files outside of that folder.
    pub output_elsewhere: bool,
    /// The events it has, by name.
    pub events: BTreeMap<String, EventSource>,
    /// The topics that pipelines may write to, by name.
    pub topics: BTreeMap<String, Topic>,
    /// What object stores are opened with.
    pub store_options: StoreOptions,
    /// Where versions of transforms are, and which of them are trusted.
    pub registry: TransformRegistry,
    /// `host:port` on which a run answers whether it is well; none unless it is asked to.
    pub listen: Option<String>,
    /// Who may swap transforms over HTTP.
    pub operators: Vec<OperatorToken>,
    /// How features are served to models; none unless the environment says it.
    pub serving: Option<Serving>,
    /// Where the history of features is kept for training; nowhere unless the environment says it.
    pub offline: Option<StorePlace>,
    /// For each event, the environments of the file that have it recorded.
    pub(super) recorded_in: Arc<BTreeMap<String, Vec<String>>>,
}

/// What an event is in an environment.
#[derive(Debug, Clone)]
pub struct EventSource {
    /// The event's name, by which pipelines ask for it.
    pub name: Located<String>,
    /// Where it comes from.
    pub source: Source,
    /// The column with the time of the event; if there is a schema, one of its timestamps.
    pub event_time: Located<String>,
    /// The column with the time at which the event came in, if it is recorded; a timestamp too.
    pub arrival_time: Option<Located<String>>,
    /// The columns, in the order of the file, and behind those of a live stream its message columns. If
    /// none, the data say them: recorded files, or the schema that a live stream's format has itself.
    pub schema: Option<Located<SchemaRef>>,
}

/// Where an event comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Recorded files.
    Files(FilesSource),
    /// A live stream.
    Live(Box<LiveSource>),
}

/// Recorded files, not yet looked for: [`Environment::recorded`] does that.
#[derive(Debug, Clone)]
pub struct FilesSource {
    /// Files, globs and folders, as written.
    pub patterns: Vec<Located<String>>,
    /// Their format, if the file says it.
    pub format: Option<Located<FileFormat>>,
}

/// An event whose local files have been found.
#[derive(Debug, Clone)]
pub struct RecordedEvent<'a> {
    /// Its declaration.
    pub event: &'a EventSource,
    /// The files and URLs, at least one.
    pub files: RecordedFiles,
}

impl Environment {
    /// Finds `penstock.toml` beside `near` (a file, or a folder in which it may be) or in the nearest
    /// folder above, checks the whole of it, and gives the environment `name`.
    pub fn find_and_load(near: &Path, name: &str) -> Result<Self, ConfigError> {
        let path = find(near)?;
        environment_file::read(&ConfigFile::read(&path)?, name)
    }

    /// Where features are kept.
    ///
    /// # Errors
    ///
    /// The file takes credentials from an environment variable that is not there.
    pub fn features(&self) -> Result<FeaturePlace, ConfigError> {
        match &self.table {
            None => Ok(FeaturePlace::Embedded(self.store.clone())),
            Some(table) => Ok(FeaturePlace::Table(Box::new(table.resolved(&self.source)?))),
        }
    }

    /// The same environment with the store, the outputs and the history of features in a folder, as if it were a
    /// machine of its own.
    #[must_use]
    pub fn moved_to(self, folder: &Path) -> Self {
        Self {
            store: StorePlace::Folder(folder.join("store")),
            table: None,
            output: folder.join("output"),
            offline: Some(StorePlace::Folder(folder.join("history"))),
            ..self
        }
    }

    /// A finding about a value of `penstock.toml`. `hint` says the fix; empty for none.
    pub fn diagnostic(
        &self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        self.source.diagnostic(span, message, hint)
    }

    /// Where an output file of a pipeline is in this environment.
    pub fn output_path(&self, file: &OutputFile) -> PathBuf {
        self.output.join(&file.path)
    }

    /// The pattern of an event's files by which a later run would read the file at `path`, which is
    /// canonical and need not exist.
    pub fn pattern_reading<'a>(
        &self,
        event: &'a EventSource,
        path: &Path,
    ) -> Option<&'a Located<String>> {
        match &event.source {
            Source::Files(source) => patterns::reading(&self.source, source, path),
            Source::Live(_) => None,
        }
    }

    /// The event that a pipeline reads.
    pub fn event(&self, pipeline: &Pipeline) -> Result<&EventSource, ConfigError> {
        let asked = &pipeline.event;
        self.events.get(&asked.value).ok_or_else(|| {
            let path = self.source.path().display();
            let known = self.events.keys().map(String::as_str);
            let elsewhere = self
                .recorded_in
                .get(&asked.value)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let hint = match suggest::closest(asked, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if !elsewhere.is_empty() => format!(
                    "environments that have it: {}; choose one with --env",
                    suggest::listed(elsewhere.iter().map(String::as_str))
                ),
                None => format!(
                    "add a table `[environments.{}.events.{}]` to {path}",
                    self.name, asked.value
                ),
            };
            let message = format!(
                "environment `{}` of {path} has no event `{}`",
                self.name, asked.value
            );
            pipeline.diagnostic(asked.span, message, hint).into()
        })
    }

    /// The event that a pipeline reads, with its recorded files; URLs are left to be looked for. An
    /// error if it is not recorded here.
    pub fn recorded(&self, pipeline: &Pipeline) -> Result<RecordedEvent<'_>, ConfigError> {
        let event = self.event(pipeline)?;
        match &event.source {
            Source::Files(source) => Ok(RecordedEvent {
                event,
                files: recorded::find_files(&self.source, source)?,
            }),
            Source::Live(live) => {
                let message = format!(
                    "event `{}` is {} in environment `{}`, and recorded events are wanted here",
                    event.name.value, live.stream, self.name
                );
                let recorded = self
                    .recorded_in
                    .get(&event.name.value)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let hint = match recorded {
                    [] => format!(
                        "declare it with `files` in another environment, such as `[environments.local.events.{}]`",
                        event.name.value
                    ),
                    names => format!(
                        "environments that have it in files: {}; choose one with --env",
                        suggest::listed(names.iter().map(String::as_str))
                    ),
                };
                Err(self.diagnostic(event.name.span, message, hint).into())
            }
        }
    }

    /// Checks that an event's data, once opened, have the event-time column and the arrival-time
    /// column if there is one, and that they are timestamps.
    pub fn check_event_time(&self, event: &EventSource, found: &Schema) -> Result<(), ConfigError> {
        check_times(
            &self.source,
            &event.event_time,
            event.arrival_time.as_ref(),
            found,
        )
    }

    /// A finding about an option of object stores that no store knows. `known` are some that are.
    pub fn unknown_option<'a>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Diagnostic {
        let message = format!(
            "there is no option `{name}` in `environments.{}.object_store`",
            self.name
        );
        let hint = suggest::did_you_mean(name, "options are, among others", known);
        self.diagnostic(self.store_options.place(name), message, hint)
    }
}

pub(super) fn check_times(
    source: &ConfigFile,
    event_time: &Located<String>,
    arrival_time: Option<&Located<String>>,
    found: &Schema,
) -> Result<(), ConfigError> {
    check_time(source, "event time", event_time, found)?;
    arrival_time.map_or(Ok(()), |column| {
        check_time(source, "arrival time", column, found)
    })
}

fn check_time(
    source: &ConfigFile,
    what: &str,
    event_time: &Located<String>,
    found: &Schema,
) -> Result<(), ConfigError> {
    let refuse = |message: String, hint: String| {
        Err(ConfigError::from(source.diagnostic(
            event_time.span,
            message,
            hint,
        )))
    };
    match found.field_with_name(event_time) {
        Err(_) => {
            let columns = found.fields().iter().map(|field| field.name().as_str());
            let hint = suggest::did_you_mean(event_time, "its columns are", columns);
            refuse(
                format!("the event has no column `{}`", event_time.value),
                hint,
            )
        }
        Ok(field) if !matches!(field.data_type(), DataType::Timestamp(..)) => {
            let (column, name) = (&event_time.value, types::type_name(field.data_type()));
            let hint = "name another column, or give it the type \"timestamp[us, UTC]\" in the event's `schema`";
            refuse(
                format!("{what} must be a timestamp, but column `{column}` is {name}"),
                hint.to_owned(),
            )
        }
        Ok(_) => Ok(()),
    }
}

fn find(near: &Path) -> Result<PathBuf, ConfigError> {
    let refuse = |message: String, hint: &str| {
        ConfigError::from(Diagnostic::new(
            message,
            Place {
                path: near.to_path_buf(),
                excerpt: None,
            },
            hint,
        ))
    };
    let start = match near.parent() {
        _ if near.is_dir() => near,
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Only a path without `..` has the folders above it as its ancestors.
    let start = start.canonicalize().map_err(|error| {
        refuse(
            format!("this path cannot be opened: {error}"),
            "check that it exists",
        )
    })?;
    let found = start
        .ancestors()
        .map(|folder| folder.join(ENVIRONMENTS_FILE))
        .find(|path| path.is_file());
    let found = found.ok_or_else(|| {
        refuse(
            format!("there is no {ENVIRONMENTS_FILE} beside this path, nor in a folder above it"),
            "write one that says what the events are:\n[environments.local.events.ride_offer]\nfiles = \"data/rides.ndjson\"\nevent_time = \"occurred_at\"",
        )
    })?;
    let shorter = std::env::current_dir()
        .and_then(|here| here.canonicalize())
        .ok();
    let shorter = shorter.and_then(|here| found.strip_prefix(here).ok().map(Path::to_path_buf));
    Ok(shorter.unwrap_or(found))
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
