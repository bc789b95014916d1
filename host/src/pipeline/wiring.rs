//! Wiring: from a declaration to a pipeline that is ready to run, or to what is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::delivery::DeliveredFeature;
use super::opener::Opener;
use super::plan::Plan;
use crate::config::{
    ConfigError, Environment, EventSource, FileFormat, Limits, OnMalformed, Pipeline,
};
use crate::sandbox::{self, Component, ComponentError, Interface, Sandbox};
use crate::source::decode::{self, DecodeError, Format};
use crate::source::replay::ReplaySpec;
use crate::store::validation::Checker;
use crate::transform::{CallError, Opening, Windowed, WindowedSpec, event_time_type};
use crate::window::Panes;

/// Bytes of rows and states that one call of a transform hands over, at most.
const CALL_BYTES: usize = 32 << 20;
/// Lanes of a pipeline that does not say how many, at most: there may be many pipelines.
const MOST_DEFAULT_LANES: usize = 16;
/// Groups that one call of `finish` hands over, at most.
const CALL_GROUPS: usize = 1 << 16;

/// What pipelines share in a process.
pub struct Host {
    /// The Wasm engine.
    pub sandbox: Sandbox,
    /// The threads that run lanes, and nothing else.
    pub lanes: tokio::runtime::Runtime,
    /// The threads that talk to stores; no transform runs on them.
    pub io: tokio::runtime::Runtime,
}

/// Why a pipeline cannot be put together: bad input, unless [`WiringError::is_of_the_system`].
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// A declaration does not fit what was found.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The component cannot be used.
    #[error("{}: {error}", path.display())]
    Component {
        /// The component's file.
        path: PathBuf,
        /// What is wrong with it.
        error: ComponentError,
    },
    /// The transform does not open.
    #[error("{}: {error}", path.display())]
    Open {
        /// The component's file.
        path: PathBuf,
        /// What is wrong.
        error: CallError,
    },
    /// The recorded files cannot be read.
    #[error(transparent)]
    Source(#[from] DecodeError),
}

impl WiringError {
    /// Whether the machine failed or has no room, rather than what it was given.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Config(_) => false,
            Self::Component { error, .. } => matches!(error, ComponentError::Compile(_)),
            Self::Open { error, .. } => matches!(error, CallError::Exhausted { .. }),
            Self::Source(error) => error.is_of_the_system(),
        }
    }
}

/// A transform for each lane.
pub type Transforms = Vec<Box<dyn Windowed>>;

/// A pipeline that is ready to run.
pub struct Opened {
    /// Its declaration.
    pub declaration: Pipeline,
    /// Its shape.
    pub plan: Arc<Plan>,
    /// What it reads.
    pub replay: ReplaySpec,
    /// All columns of the event, and whether they were inferred from the data.
    pub event_schema: SchemaRef,
    /// Whether the schema was inferred.
    pub inferred: bool,
    /// The digest of its transform.
    pub digest: String,
    pub(super) features: Vec<DeliveredFeature>,
    pub(super) transforms: Transforms,
    pub(super) opener: Opener,
    pub(super) store: Option<PathBuf>,
    pub(super) outputs: OutputPaths,
}

/// The files that a run writes.
#[derive(Debug, Clone)]
pub(super) struct OutputPaths {
    pub(super) features: Option<PathBuf>,
    pub(super) rejects: PathBuf,
    pub(super) late: PathBuf,
    pub(super) invalid: PathBuf,
}

impl Opened {
    /// Puts something else in the place of each lane's transform, or around it. It must say of
    /// itself what the component says. For comparing the sandbox with native code.
    #[must_use]
    pub fn map_transforms(
        mut self,
        map: impl FnMut(Box<dyn Windowed>) -> Box<dyn Windowed>,
    ) -> Self {
        self.transforms = self.transforms.into_iter().map(map).collect();
        self
    }

    /// What opens further instances of its transform, as its lanes have them. For tests of what a
    /// transform promises.
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// How many lanes it has.
    pub fn lanes(&self) -> usize {
        self.transforms.len()
    }
}

/// Puts a pipeline together for an environment.
///
/// # Errors
///
/// See [`WiringError`]. Nothing has been written.
pub fn open(
    host: &Host,
    pipeline: Pipeline,
    environment: &Environment,
) -> Result<Opened, WiringError> {
    let recorded = environment.recorded(&pipeline)?;
    let format = match recorded.files.format {
        FileFormat::Ndjson => Format::Ndjson,
        FileFormat::Parquet => Format::Parquet,
    };
    let paths = recorded.files.paths;
    refuse_empty(&pipeline, environment, recorded.event, &paths)?;
    let (event_schema, inferred) = event_schema(recorded.event, &paths, format)?;
    environment.check_event_time(recorded.event, &event_schema)?;
    pipeline.check_key(&event_schema)?;
    let key_schema = key_schema(&pipeline, &event_schema)?;

    let component = load(host, &pipeline)?;
    if !component.interfaces().contains(&Interface::Windowed) {
        let message = "this component is a mapper, and this version runs windowed transforms";
        let hint =
            "name a component that exports `windowed`; `penstock inspect` shows what one exports";
        return Err(
            ConfigError::from(pipeline.diagnostic(pipeline.transform.span, message, hint)).into(),
        );
    }
    let lanes = lanes_of(&pipeline);
    let opening = Opening {
        config: pipeline.config.value.clone(),
        event: pipeline.event.value.clone(),
        event_schema: Arc::clone(&event_schema),
        key: Arc::clone(&key_schema),
    };
    let digest = component.digest().to_owned();
    let opener = Opener::new(component, opening, limits(&pipeline.limits));
    let (transforms, spec) = open_transforms(host, &opener, &pipeline, lanes)?;
    pipeline.check_output(&spec.output)?;

    let columns = Columns::choose(&event_schema, &spec, &pipeline, &recorded.event.event_time);
    let window = &pipeline.window.value;
    let panes = Panes::new(window.size, window.offset).ok_or_else(|| {
        let message = "the window is too short or too long";
        ConfigError::from(pipeline.diagnostic(
            pipeline.window.span,
            message,
            "choose a `size` above zero and below 10,000 years",
        ))
    })?;
    let plan = Arc::new(Plan {
        pipeline: pipeline.name.value.clone(),
        source: Arc::clone(&columns.source),
        input: columns.input,
        key: columns.key,
        key_schema,
        spec,
        panes,
        // A transform needs room for what it makes of the rows, too.
        call_bytes: CALL_BYTES.min(pipeline.limits.memory as usize / 8),
        call_groups: CALL_GROUPS,
    });
    Ok(Opened {
        features: features(&pipeline, &plan),
        replay: ReplaySpec {
            paths,
            format,
            columns: columns.source,
            event_time: columns.event_time,
            disorder: window.disorder,
            batch_rows: pipeline.run.batch_rows,
            stop_on_reject: pipeline.run.on_malformed == OnMalformed::Stop,
        },
        outputs: OutputPaths {
            features: (pipeline.outputs.features.as_ref())
                .map(|file| environment.output_path(&file.value)),
            rejects: environment.output_path(&pipeline.outputs.rejects.value),
            late: environment.output_path(&pipeline.outputs.late.value),
            invalid: environment
                .output_path(&pipeline.outputs.invalid_values(&pipeline.name.value)),
        },
        store: pipeline.outputs.store.then(|| environment.store.clone()),
        digest,
        transforms,
        opener,
        plan,
        event_schema,
        inferred,
        declaration: pipeline,
    })
}

/// How many lanes a pipeline will have: what it says, or as many as the machine has processors,
/// sixteen at most.
pub fn lanes_of(pipeline: &Pipeline) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = pipeline.run.lanes.map(|lanes| lanes as usize);
    lanes.unwrap_or_else(|| processors().min(MOST_DEFAULT_LANES))
}

/// Input without a single byte is a mistake more often than a quiet day.
fn refuse_empty(
    pipeline: &Pipeline,
    environment: &Environment,
    event: &EventSource,
    paths: &[PathBuf],
) -> Result<(), ConfigError> {
    let empty = |path: &Path| std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    if !paths.iter().all(|path| empty(path)) {
        for path in paths.iter().filter(|path| empty(path)) {
            tracing::warn!(file = %path.display(), "this file of event `{}` is empty", event.name.value);
        }
        return Ok(());
    }
    let message = match paths {
        [only] => format!("{} is empty", only.display()),
        many => format!(
            "all {} files of event `{}` are empty",
            many.len(),
            pipeline.event.value
        ),
    };
    let hint = "record some events, or name other files";
    Err(environment
        .diagnostic(event.name.span, message, hint)
        .into())
}

/// The declared schema, or the one that the files show.
fn event_schema(
    event: &EventSource,
    paths: &[PathBuf],
    format: Format,
) -> Result<(SchemaRef, bool), DecodeError> {
    if let Some(declared) = &event.schema {
        return Ok((Arc::clone(&declared.value), false));
    }
    let found = decode::infer(paths, format)?;
    // JSON has no timestamps: what is a text and called the event time is read as one.
    let fields = found.fields().iter().map(|field| {
        let text = format == Format::Ndjson && *field.data_type() == DataType::Utf8;
        if text && *field.name() == event.event_time.value {
            return Arc::new(Field::new(field.name(), event_time_type(), true));
        }
        Arc::clone(field)
    });
    Ok((Arc::new(Schema::new(fields.collect::<Vec<_>>())), true))
}

/// The key's columns. Rows in which one is null are refused, so that none is null after that.
fn key_schema(pipeline: &Pipeline, event: &Schema) -> Result<SchemaRef, ConfigError> {
    let mut fields = Vec::with_capacity(pipeline.key.len());
    for column in &pipeline.key {
        let field = event.field_with_name(column).expect("check_key found it");
        if !can_be_key(field.data_type()) {
            let message = format!(
                "column `{}` has type {}, which cannot be a key",
                column.value,
                crate::config::types::type_name(field.data_type())
            );
            let hint = "choose an integer, a text, a bool, a date or a timestamp";
            return Err(pipeline.diagnostic(column.span, message, hint).into());
        }
        fields.push(field.clone().with_nullable(false));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether every value of a column of this type names an entity, and equal values the same one.
/// Floats do not: of one number there are several zeros and many NaNs.
fn can_be_key(data_type: &DataType) -> bool {
    !data_type.is_floating() && crate::store::item::entity::can_name(data_type)
}

/// Loads the component of a pipeline.
///
/// # Errors
///
/// As [`Sandbox::load_file`], with the path.
pub fn load(host: &Host, pipeline: &Pipeline) -> Result<Component, WiringError> {
    let path = &pipeline.transform.value;
    host.sandbox
        .load_file(path)
        .map_err(|error| WiringError::Component {
            path: path.clone(),
            error,
        })
}

fn open_transforms(
    host: &Host,
    opener: &Opener,
    pipeline: &Pipeline,
    lanes: usize,
) -> Result<(Transforms, WindowedSpec), WiringError> {
    let failed = |error| WiringError::Open {
        path: pipeline.transform.value.clone(),
        error,
    };
    let mut transforms: Transforms = Vec::with_capacity(lanes);
    let mut spec = None;
    for lane in 0..lanes {
        let label = format!("{}/{lane}", pipeline.name.value);
        let instance = host.lanes.block_on(opener.open(&label)).map_err(failed)?;
        spec.get_or_insert_with(|| instance.spec().clone());
        transforms.push(Box::new(instance));
    }
    let spec = spec.ok_or_else(|| {
        failed(CallError::Failure {
            call: "open",
            kind: "bad configuration",
            message: "a pipeline has one lane at least".into(),
        })
    })?;
    Ok((transforms, spec))
}

/// The sandbox's limits as a pipeline declares them.
fn limits(declared: &Limits) -> sandbox::Limits {
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    sandbox::Limits {
        memory: bytes(declared.memory).min(sandbox::MAX_MEMORY),
        cpu_per_call: std::time::Duration::from_micros(declared.cpu_per_call.unsigned_abs()),
        output_rows: bytes(declared.output_rows),
        output_bytes: bytes(declared.output_bytes),
        state_per_group: bytes(declared.state_per_group),
        log_lines_per_call: declared.log_lines_per_call as usize,
        metric_names: declared.metric_names as usize,
        ..sandbox::Limits::default()
    }
}

/// Which columns of the event the source must give, and which of those are what.
struct Columns {
    source: SchemaRef,
    input: Vec<usize>,
    key: Vec<usize>,
    event_time: usize,
}

impl Columns {
    /// No column is decoded that nobody asked for.
    fn choose(event: &Schema, spec: &WindowedSpec, pipeline: &Pipeline, event_time: &str) -> Self {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let mut at = |name: &str| {
            fields
                .iter()
                .position(|field| field.name() == name)
                .unwrap_or_else(|| {
                    let (index, _) = event.column_with_name(name).expect("checked before");
                    fields.push(Arc::clone(&event.fields()[index]));
                    fields.len() - 1
                })
        };
        let event_time = at(event_time);
        let key = pipeline.key.iter().map(|column| at(column)).collect();
        let input = spec.columns.iter().map(|column| at(column)).collect();
        Self {
            source: Arc::new(Schema::new(fields)),
            input,
            key,
            event_time,
        }
    }
}

/// The features, those of a group next to each other.
fn features(pipeline: &Pipeline, plan: &Plan) -> Vec<DeliveredFeature> {
    let emitted = plan.emitted_schema();
    let mut features: Vec<DeliveredFeature> = pipeline
        .declarations()
        .map(|declaration| DeliveredFeature {
            checker: Checker::new(&declaration.validation, &declaration.feature_type)
                .expect("the pipeline's file was checked for senseless rules"),
            column: emitted
                .index_of(&declaration.column)
                .expect("check_output found it"),
            declaration: declaration.clone(),
        })
        .collect();
    features.sort_by(|a, b| a.declaration.group.cmp(&b.declaration.group));
    features
}
