//! A pipeline file and everything that can stand in it.
//!
//! ```toml
//! event = "ride_offer"                    # what it is stands in penstock.toml, per environment
//! transform = "transforms/driver.wasm"    # from this file's folder; or NAME@VERSION in the environment's registry
//! key = ["driver_id"]                     # or a string; the key of the entity
//! name = "driver_accept_proportion_10m"   # default: the file's name without `.toml`
//! group = "driver"                        # of all features below; a feature may say its own
//! owner = "marketplace@example.com"       # likewise
//! retired = ["driver/last_tier@1"]        # features that it computed before, and may stop computing
//! config = { minimum = 3 }                # handed to the transform as JSON
//!
//! [map]                                   # optional: another component maps rows first
//! transform = "transforms/geohash.wasm"   # see `map`
//! config = { precision = 6 }
//!
//! [window]                                # durations: w d h m s ms us; combinations: "1h30m"
//! kind = "tumbling"                       # or "hopping", "session", "unbounded"
//! size = "10m"                            # tumbling, hopping; several over one state: ["10m", "1h"]
//! slide = "1m"                            # hopping only: from one start to the next; at most `size`
//! offset = "0s"                           # windows start at multiples of size or slide, plus this
//! time_zone = "Europe/Zurich"             # windows are local days: sizes and slide in whole days
//! gap = "30m"                             # session only: it ends this long after its last event
//! ttl = "30d"                             # unbounded only: after this long without events, anew
//! disorder = "30s"                        # how far behind the latest event one may be; default 0s
//! allowed_lateness = "1h"                 # closed windows are corrected for this long; default 0s
//! emit = "close"                          # or { every = "1m" }, or "batch"
//! on_idle = "wait"                        # live streams: or "advance", to the latest event
//! idle_after = "1m"                       # live streams: at its end for this long, a split is idle
//! max_future = "1h"                       # quarantine what is further ahead of its arrival; no default
//!
//! [[feature]]
//! name = "driver_accept_proportion_10m"   # {window}, here or in column or description: the length
//! version = 1                             # the default
//! window = "10m"                          # one of several lengths; or {window} in the name: all
//! column = "accept_proportion"            # of the transform's output; default: the name, less {window}
//! type = "float64"                        # see `types`
//! description = "Share of ride offers that the driver accepted."
//! tags = ["marketplace"]
//! validation = { min = 0.0, max = 1.0, nulls = false }   # also allowed = […], max_length = 64
//!
//! [outputs]                               # file names start from the environment's `output` folder
//! store = true                            # write to the feature store: the default
//! features = "driver.parquet"             # write a file too: .parquet .csv .ndjson
//! topics = ["driver_features"]            # live streams: topics as well, by their names in penstock.toml
//! rejects = "driver.rejects.ndjson"       # default: the pipeline's name and `.rejects.ndjson`
//! late = "driver.late.ndjson"             # likewise, `.late.ndjson`
//! invalid = { topic = "dead_letters" }    # any of the three: live streams write to a topic instead
//!
//! [run]
//! lanes = 4                               # default: the host chooses
//! batch_rows = 65_536                     # 1 to 1,048,576
//! on_malformed = "keep"                   # or "stop": at the first event that cannot be decoded
//! commit_every = "10s"                    # keep what is done, so that an interrupted run goes on; no default
//! state_memory = "256MiB"                 # with commit_every: of what is kept, so much is in memory, too
//!
//! [limits]                                # what the transform may use; these are the defaults
//! memory = "256MiB"
//! cpu_per_call = "10s"
//! output_rows = 4_194_304
//! output_bytes = "64MiB"
//! state_per_group = "1MiB"
//! log_lines_per_call = 100
//! metric_names = 64
//!
//! [swap]                                  # see `swap`; these are the defaults
//! look_every = "1s"
//! probation = "10m"
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;

use super::component::ComponentPlace;
use super::diagnostic::{ConfigError, ConfigFile, Diagnostic, Located, Span};
use super::feature::DeclaredFeature;
use super::limits::Limits;
use super::map::MapSpec;
use super::swap::SwapSpec;
use super::window::WindowSpec;
use super::{load, pipeline_file, suggest};
use crate::store::declarations::{FeatureDeclaration, FeatureRef, OutputMismatch};

/// A pipeline as its file declares it, checked as far as the file alone allows.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file, for findings that come up later.
    pub source: Arc<ConfigFile>,
    /// Unique among the pipelines of a host; `[a-z][a-z0-9_]*`.
    pub name: Located<String>,
    /// The event that it reads, by the name that environments give it.
    pub event: Located<String>,
    /// The component's file, which existed when the pipeline was loaded. Relative to the current
    /// folder if the pipeline's own path was.
    pub transform: Located<ComponentPlace>,
    /// The columns that identify an entity: at least one, none twice. They are the event's, or those
    /// of what it is mapped to.
    pub key: Vec<Located<String>>,
    /// What the transform is opened with: JSON text of an object; `{}` by default.
    pub config: Located<String>,
    /// What maps rows before the transform sees them; a transform may bring a mapper of its own.
    pub map: Option<MapSpec>,
    /// How event time is cut.
    pub window: Located<WindowSpec>,
    /// What it computes: at least one feature, none twice. One that is declared for each of several
    /// lengths of windows stands here once for each.
    pub features: Vec<DeclaredFeature>,
    /// What it computed once and may stop computing although a store serves it, each with its version.
    pub retired: Vec<FeatureRef>,
    /// Where values and rows go.
    pub outputs: Outputs,
    /// How it is run, without influence on what comes out.
    pub run: RunOptions,
    /// What the transform may use.
    pub limits: Limits,
    /// How it comes from one version of its transform to another.
    pub swap: SwapSpec,
}

/// Where values and rows go. Turn an [`OutputFile`] into a path with
/// [`Environment::output_path`](super::Environment::output_path).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    /// Whether features are written to the feature store.
    pub store: bool,
    /// The file that the transform's output is written to as well, if any.
    pub features: Option<Located<OutputFile>>,
    /// The topics that the transform's output is written to as well, none twice; live streams alone.
    pub topics: Vec<Located<String>>,
    /// Rejected rows.
    pub rejects: SideOutput,
    /// Rows that came too late.
    pub late: SideOutput,
    /// Values that broke their feature's validation.
    pub invalid: SideOutput,
}

impl Outputs {
    /// What is written beside the features, by the keys that say where.
    pub fn side(&self) -> [(&'static str, &SideOutput); 3] {
        [
            ("rejects", &self.rejects),
            ("late", &self.late),
            ("invalid", &self.invalid),
        ]
    }

    /// The names of all topics, with where they are asked for.
    pub fn all_topics(&self) -> impl Iterator<Item = &Located<String>> {
        let side = [&self.rejects, &self.late, &self.invalid].into_iter();
        self.topics
            .iter()
            .chain(side.filter_map(|output| output.topic.as_ref()))
    }
}

/// Where what is written beside the features goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideOutput {
    /// The file. If there is a topic, runs over recorded events write to it all the same.
    pub file: Located<OutputFile>,
    /// The topic that a pipeline over a live stream writes to instead, by its name in the environment.
    pub topic: Option<Located<String>>,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// As written: absolute, or from the environment's output folder.
    pub path: PathBuf,
    /// By the path's extension.
    pub format: OutputFormat,
}

/// The formats of files that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// `.parquet`
    Parquet,
    /// `.csv`
    Csv,
    /// `.ndjson`: one JSON object a line.
    Ndjson,
}

/// How a pipeline is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    /// Number of lanes, 1 to 1,024; the host chooses if none is given.
    pub lanes: Option<u32>,
    /// Rows of a batch at most, 1 to 1,048,576.
    pub batch_rows: usize,
    /// What an event does that cannot be decoded.
    pub on_malformed: OnMalformed,
    /// How often lanes keep what they have done, if they do: at least 1 ms.
    pub commit_every: Option<Duration>,
    /// If lanes keep what they have done: bytes that their states and the buffers of the store's
    /// databases take in memory, about, in all lanes together. What is more lies on the disk alone.
    pub state_memory: u64,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            lanes: None,
            batch_rows: 65_536,
            on_malformed: OnMalformed::Keep,
            commit_every: None,
            state_memory: 256 << 20,
        }
    }
}

/// What happens when an event cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMalformed {
    /// It is counted and kept in the rejects output, and the run goes on.
    Keep,
    /// The run stops with an error.
    Stop,
}

impl Pipeline {
    /// Reads and checks a pipeline file. The error holds everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let pipeline = pipeline_file::read(&ConfigFile::read(path)?)?;
        match load::conflicts(std::slice::from_ref(&pipeline)) {
            diagnostics if diagnostics.is_empty() => Ok(pipeline),
            diagnostics => Err(ConfigError { diagnostics }),
        }
    }

    /// A finding about a value of this pipeline's file. `hint` says the fix; empty for none.
    pub fn diagnostic(
        &self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        self.source.diagnostic(span, message, hint)
    }

    /// The declarations of its features, in the order of the file.
    pub fn declarations(&self) -> impl Iterator<Item = &FeatureDeclaration> {
        self.features.iter().map(|feature| &feature.declaration)
    }

    /// Checks every feature against the output of the opened transform.
    pub fn check_output(&self, output: &Schema) -> Result<(), ConfigError> {
        let columns = || output.fields().iter().map(|field| field.name().as_str());
        let mut diagnostics = Vec::new();
        let mut reported = Vec::new();
        for feature in &self.features {
            // What a template says of a column, it says for every length; that is one mistake.
            let said = (feature.spans.column, &feature.declaration.column);
            if reported.contains(&said) {
                continue;
            }
            let Err(mismatch) = feature.declaration.check_against_output(output) else {
                continue;
            };
            reported.push(said);
            let (span, hint) = match &mismatch {
                OutputMismatch::NoColumn { column, .. } => (
                    feature.spans.column,
                    suggest::did_you_mean(column, "its columns are", columns()),
                ),
                OutputMismatch::OtherType { found, .. } => (
                    feature.spans.feature_type,
                    format!("declare it as \"{found}\", or change the transform"),
                ),
            };
            let message = match &mismatch {
                OutputMismatch::NoColumn { column, .. } => {
                    format!("the transform's output has no column `{column}`")
                }
                OutputMismatch::OtherType { .. } => mismatch.to_string(),
            };
            diagnostics.push(self.diagnostic(span, message, hint));
        }
        if diagnostics.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { diagnostics })
        }
    }

    /// Checks that rows have all columns of the key, once their schema is known. `whose` says in
    /// findings whose columns they are: "event `ride_offer`".
    pub fn check_key(&self, rows: &Schema, whose: &str) -> Result<(), ConfigError> {
        let columns = || rows.fields().iter().map(|field| field.name().as_str());
        let missing = self
            .key
            .iter()
            .filter(|column| rows.field_with_name(column).is_err());
        let diagnostics: Vec<Diagnostic> = missing
            .map(|column| {
                let message = format!("{whose} has no column `{}`", column.value);
                self.diagnostic(
                    column.span,
                    message,
                    suggest::did_you_mean(column, "its columns are", columns()),
                )
            })
            .collect();
        if diagnostics.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { diagnostics })
        }
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
