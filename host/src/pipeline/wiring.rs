//! Wiring: from a declaration to a pipeline that is ready to run, or to what is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::commit::Identity;
use super::event_schema::{EventSchema, leave_out_empty, refuse_empty};
use super::features::DeliveredFeature;
use super::limits;
use super::loading::load;
use super::map::{self, MapAgain, Mapping, OpenedMapper};
use super::opener::Opener;
use super::outputs::{OutputPaths, served_from};
use super::plan::Plan;
use super::recordings;
use super::selection::Selection;
use super::state_room::StateRoom;
use super::topics::OutputTopics;
use super::working::{Working, check_interfaces};
use crate::clock::Clock;
use crate::config::{
    ConfigError, DeclaredFeature, Environment, EventSource, OnMalformed, Pipeline, Source,
    StorePlace, TablePlace, WindowKind,
};
use crate::registry::RegistryError;
use crate::sandbox::{ComponentError, Sandbox};
use crate::source::decode::{DecodeError, Format};
use crate::source::live::DeclaredError;
use crate::source::prepared::TimeRange;
use crate::source::recording::Recording;
use crate::source::replay::ReplaySpec;
use crate::store::OpenStores;
use crate::store::validation::Checker;
use crate::transform::{CallError, HOST_COLUMNS, Mapper, MapperSpec, Windowed};

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
    /// The clock by which lanes commit.
    pub clock: Arc<dyn Clock>,
    /// The stores that are open, shared with who serves them.
    pub stores: Arc<OpenStores>,
}

/// Why a pipeline cannot be put together: bad input, unless [`WiringError::is_of_the_system`].
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// A declaration does not fit what was found.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Features have no column of what the transform gives.
    #[error("{error}")]
    Uncomputed {
        /// What is wrong, at its places in the pipeline's file.
        error: ConfigError,
        /// The features, each as `group/name@version`.
        features: Vec<String>,
    },
    /// The component cannot be used.
    #[error("{component}: {error}")]
    Component {
        /// The component's file, or its name and version.
        component: String,
        /// What is wrong with it.
        error: ComponentError,
    },
    /// The transform does not open.
    #[error("{component}: {error}")]
    Open {
        /// The component's file, or its name and version.
        component: String,
        /// What is wrong.
        error: CallError,
    },
    /// The registry does not have the transform, or it is not to be trusted.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Recorded files on object storage cannot be found.
    #[error("{error}")]
    Storage {
        /// What is wrong, at its place in `penstock.toml`.
        error: ConfigError,
        /// Whether the network or the store failed, rather than what was asked of them.
        of_the_system: bool,
    },
    /// A live event cannot be read as it is declared.
    #[error(transparent)]
    Live(#[from] DeclaredError),
    /// The recorded files cannot be read.
    #[error(transparent)]
    Source(#[from] DecodeError),
    /// It does not fit, and of some columns nobody knows the type.
    #[error(
        "{error}\nno value of {columns} was seen in the sample, and so it was taken for a text; declare the event's columns in its `schema`"
    )]
    Unseen {
        /// The columns.
        columns: String,
        /// What does not fit.
        error: Box<WiringError>,
    },
}

impl WiringError {
    /// Whether the machine failed or has no room, rather than what it was given.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Config(_) | Self::Uncomputed { .. } => false,
            Self::Registry(error) => error.is_of_the_system(),
            Self::Storage { of_the_system, .. } => *of_the_system,
            Self::Live(error) => error.of_the_system,
            Self::Component { error, .. } => matches!(error, ComponentError::Compile(_)),
            Self::Open { error, .. } => error.is_pressure(),
            Self::Source(error) => error.is_of_the_system(),
            Self::Unseen { error, .. } => error.is_of_the_system(),
        }
    }

    /// The features that it says have no column of what the transform gives, each as `group/name@version`.
    pub(super) fn uncomputed(&self) -> &[String] {
        match self {
            Self::Uncomputed { features, .. } => features,
            Self::Unseen { error, .. } => error.uncomputed(),
            _ => &[],
        }
    }

    /// Refuses features that have no column of what a transform gives, or one of another type.
    pub(super) fn if_uncomputed(pipeline: &Pipeline, output: &Schema) -> Result<(), Self> {
        pipeline.check_output(output).map_err(|error| {
            let features = pipeline.declarations();
            let uncomputed = features.filter(|it| it.check_against_output(output).is_err());
            Self::Uncomputed {
                error,
                features: uncomputed.map(ToString::to_string).collect(),
            }
        })
    }

    /// With a word on the columns of which the sample had no value, where their type may be the cause.
    fn beside_unseen(self, unseen: Vec<String>) -> Self {
        let is_of_columns = matches!(
            self,
            Self::Open { .. } | Self::Config(_) | Self::Uncomputed { .. }
        );
        if unseen.is_empty() || !is_of_columns {
            return self;
        }
        let columns: Vec<String> = unseen.iter().map(|name| format!("`{name}`")).collect();
        Self::Unseen {
            columns: columns.join(", "),
            error: Box::new(self),
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
    /// What the mapper before it says of itself, if there is one.
    pub mapper: Option<MapperSpec>,
    pub(super) mapping: Option<Mapping>,
    pub(super) features: Vec<DeliveredFeature>,
    pub(super) transforms: Transforms,
    pub(super) lanes: usize,
    pub(super) opener: Option<Opener>,
    /// The embedded store, if features go there.
    pub(super) store: Option<StorePlace>,
    /// Where the history of features goes.
    pub(super) offline: Option<StorePlace>,
    /// The table that they go to instead.
    pub(super) table: Option<TablePlace>,
    /// Where lanes keep what they have done, and how often; none if they do not.
    pub(super) keeping: Option<Keeping>,
    /// Whether what an interrupted run left is forgotten.
    pub fresh: bool,
    pub(super) outputs: OutputPaths,
    /// The topics that it writes to; none over recorded events.
    pub topics: OutputTopics,
}

/// Where lanes keep what they have done.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    /// The store.
    pub(super) place: StorePlace,
    pub(super) every: Duration,
    /// Bytes that states take in memory, about, in all lanes together.
    pub(super) state_memory: u64,
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

    /// The same for its mapper, if it has one.
    #[must_use]
    pub fn map_mapper(mut self, map: impl FnOnce(Box<dyn Mapper>) -> Box<dyn Mapper>) -> Self {
        self.mapping = self.mapping.map(|mapping| mapping.wrapped(map));
        self
    }

    /// The digest of the component that its mapper is in, if it has one.
    pub fn mapper_digest(&self) -> Option<&str> {
        self.mapping.as_ref().map(Mapping::digest)
    }

    /// What maps the same events again, if it has a mapper.
    pub fn map_again(&self) -> Option<MapAgain> {
        self.mapping.as_ref().map(Mapping::again)
    }

    /// What opens further instances of its windowed transform, as its lanes have them. For tests of
    /// what a transform promises.
    pub fn opener(&self) -> Option<Opener> {
        self.opener.clone()
    }

    /// The store that its lanes need, for features or for what they keep.
    pub(super) fn place(&self) -> Option<&StorePlace> {
        let kept = self.keeping.as_ref().map(|keeping| &keeping.place);
        self.store.as_ref().or(kept)
    }

    /// What must be the same for another run to go on where this one is interrupted.
    pub(super) fn identity(&self) -> Identity {
        let replay = &self.replay;
        // What one row is mapped to is numbered within what was divided at once.
        let rows = self.mapping.as_ref().map_or(0, |_| replay.batch_rows);
        let sizes = replay.recordings.iter().map(|recording| {
            let bytes = recording.size().ok();
            format!("{} ({bytes:?})", recording.name())
        });
        let mut parts = self.shape();
        parts.extend([
            ("number of rows in a batch", rows.to_string()),
            ("number of lanes", self.lanes.to_string()),
            ("recorded files", sizes.collect::<Vec<_>>().join(", ")),
            ("range of event times", format!("{:?}", replay.range)),
        ]);
        Identity::of(parts)
    }

    /// What must be the same for the state of a live pipeline to be of use.
    pub(super) fn live_identity(&self, shards_of: Option<&str>) -> Identity {
        let mut parts = self.shape();
        // A transform that maps, too, is one component.
        if self.declaration.map.is_none() {
            let mut parts = parts.iter_mut();
            if let Some((_, mapper)) = parts.find(|(name, _)| *name == "mapper") {
                mapper.clear();
            }
        }
        let lanes = self.declaration.run.lanes.unwrap_or(1);
        parts.push(("number of lanes", lanes.to_string()));
        // Shards have the same names in every stream.
        parts.extend(shards_of.map(|stream| ("stream", stream.to_owned())));
        Identity::of(parts)
    }

    /// What its results depend on, apart from the events.
    fn shape(&self) -> Vec<(&'static str, String)> {
        let (declaration, replay) = (&self.declaration, &self.replay);
        let mapper = self.mapping.as_ref().map(|mapping| mapping.digest());
        let map_config = declaration.map.as_ref().map(|map| &map.config.value);
        let key = self.plan.key_schema.fields().iter();
        let columns = replay
            .columns
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()));
        vec![
            ("transform", self.digest.clone()),
            ("mapper", mapper.unwrap_or_default().to_owned()),
            ("mapper's configuration", format!("{map_config:?}")),
            ("configuration", declaration.config.value.clone()),
            ("window", format!("{:?}", declaration.window.value)),
            (
                "key",
                format!("{:?}", key.map(|field| field.name()).collect::<Vec<_>>()),
            ),
            ("event", declaration.event.value.clone()),
            (
                "columns of times",
                format!("{:?} {:?}", replay.event_time, replay.arrival_time),
            ),
            ("columns", columns.collect::<Vec<_>>().join(", ")),
            (
                "features",
                format!("{:?}", declaration.declarations().collect::<Vec<_>>()),
            ),
        ]
    }

    /// How many lanes it has.
    pub fn lanes(&self) -> usize {
        self.lanes
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
    let (mut recordings, format) = recordings::find(host.io.handle(), environment, &recorded)?;
    let outputs = OutputPaths::of(&pipeline, environment);
    let read = recordings.iter().map(AsRef::as_ref);
    outputs.check(&pipeline, environment, recorded.event, read)?;
    refuse_empty(environment, recorded.event, &recordings)?;
    leave_out_empty(&mut recordings);
    let found = EventSchema::of(environment, recorded.event, &recordings, format)?;
    let unseen = found.unseen.clone();
    let read = Read {
        recordings,
        format,
        found,
        outputs,
    };
    put_together(host, pipeline, environment, recorded.event, read)
        .map_err(|error| error.beside_unseen(unseen))
}

/// What a pipeline reads, and where it writes.
pub(super) struct Read {
    pub(super) recordings: Vec<Arc<dyn Recording>>,
    pub(super) format: Format,
    pub(super) found: EventSchema,
    pub(super) outputs: OutputPaths,
}

pub(super) fn put_together(
    host: &Host,
    pipeline: Pipeline,
    environment: &Environment,
    event: &EventSource,
    read: Read,
) -> Result<Opened, WiringError> {
    let Read {
        recordings,
        format,
        found,
        outputs,
    } = read;
    let (event_schema, inferred) = (found.schema, found.inferred);
    environment.check_event_time(event, &event_schema)?;

    let limits = limits::of(&pipeline.limits);
    let component = Arc::new(load(host, &pipeline, environment)?);
    check_interfaces(&pipeline, &component)?;
    let event_time = event.event_time.value.as_str();
    let mapper = map::open(
        host,
        &pipeline,
        environment,
        &component,
        &event_schema,
        event_time,
        &limits,
    )?;
    // What key and windows see is what the event has, or what it is mapped to.
    let (seen, whose) = match &mapper {
        None => (&event_schema, format!("event `{}`", pipeline.event.value)),
        Some(mapper) => (&mapper.offered, "the mapper's output".to_owned()),
    };
    let seen = Arc::clone(seen);
    pipeline.check_key(&seen, &whose)?;
    let key_schema = key_schema(&pipeline, &seen)?;
    let digest = component.digest().to_owned();
    let working = match pipeline.window.value.kind {
        WindowKind::None => Working::on_rows(&pipeline, &seen, event_time)?,
        _ => Working::on_windows(host, &pipeline, component, &seen, &key_schema, &limits)?,
    };

    // A transform needs room for what it makes of the rows, too.
    let call_bytes = CALL_BYTES.min(pipeline.limits.memory as usize / 8);
    let mut read = Selection::of(&event_schema);
    let event_time_column = read.at(event_time);
    let mut shown = Selection::of(&seen);
    let gives_times = mapper.as_ref().map(OpenedMapper::gives_times);
    // Rows that are late or refused show their event time, unless they have it only from elsewhere.
    if gives_times != Some(false) {
        shown.at(event_time);
    }
    let key = pipeline.key.iter().map(|column| shown.at(column)).collect();
    let input = shown.all(&working.columns);
    let mapper_spec = mapper.as_ref().map(|mapper| mapper.spec.clone());
    let window = &pipeline.window.value;
    // Without a bound on how far ahead rows may be, nobody asks when they came in.
    let arrival_time = event.arrival_time.as_ref();
    let is_recorded = matches!(event.source, Source::Files(_));
    if window.max_future.is_some() && arrival_time.is_none() && is_recorded {
        tracing::warn!(
            pipeline = pipeline.name.value,
            "`max_future` does nothing: event `{}` has no `arrival_time` in penstock.toml",
            event.name.value
        );
    }
    let arrival_time = arrival_time.filter(|_| window.max_future.is_some());
    let (source, arrival_time, mapping) = match mapper {
        None => {
            let arrival_time = arrival_time.map(|column| shown.at(column));
            (shown.schema(), arrival_time, None)
        }
        Some(mapper) => {
            let arrival_time = arrival_time.map(|column| read.at(column));
            let input = read.all(&mapper.spec.columns);
            let mapping = mapper.work(input, shown.schema(), call_bytes, &limits);
            (read.schema(), arrival_time, Some(mapping))
        }
    };
    let plan = Arc::new(Plan {
        pipeline: pipeline.name.value.clone(),
        source: Arc::clone(&source),
        input,
        key,
        key_schema,
        work: working.work,
        call_bytes,
        call_groups: CALL_GROUPS,
        room: Arc::new(StateRoom::new(&pipeline.limits)),
    });
    let (store, table) = served_from(&pipeline, environment)?;
    let every_watermark = plan
        .windows()
        .is_some_and(|windows| windows.shape.needs_watermarks() || gives_times == Some(true));
    Ok(Opened {
        features: features(&pipeline, &plan),
        replay: ReplaySpec {
            recordings,
            format,
            columns: source,
            event_time: event_time_column,
            arrival_time,
            max_future: window.max_future,
            range: TimeRange::ALL,
            pace: None,
            disorder: window.disorder,
            every_watermark,
            batch_rows: batch_rows(&pipeline),
            stop_on_reject: pipeline.run.on_malformed == OnMalformed::Stop,
        },
        outputs,
        topics: OutputTopics::default(),
        store,
        table,
        offline: (environment.offline.clone()).filter(|_| pipeline.outputs.store),
        keeping: (pipeline.run.commit_every).map(|every| Keeping {
            place: environment.store.clone(),
            every,
            state_memory: pipeline.run.state_memory,
        }),
        fresh: false,
        mapper: mapper_spec,
        mapping,
        digest,
        lanes: lanes_of(&pipeline),
        transforms: working.transforms,
        opener: working.opener,
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

/// Rows of a batch, at most. Lanes that commit do so between two batches, and what may change in one
/// must not be more than they have memory for.
fn batch_rows(pipeline: &Pipeline) -> usize {
    const STATE_BYTES: u64 = 1 << 14;
    let rows = pipeline.run.batch_rows;
    match pipeline.run.commit_every {
        None => rows,
        Some(_) => rows.min((pipeline.run.state_memory / STATE_BYTES).max(256) as usize),
    }
}

/// The key's columns. Rows in which one is null are refused, so that none is null after that.
fn key_schema(pipeline: &Pipeline, event: &Schema) -> Result<SchemaRef, ConfigError> {
    let mut fields = Vec::with_capacity(pipeline.key.len());
    for column in &pipeline.key {
        let field = event.field_with_name(column).expect("check_key found it");
        let has_windows = pipeline.window.kind != WindowKind::None;
        if has_windows && HOST_COLUMNS.contains(&column.value.as_str()) {
            let message = format!(
                "the output of windows has a column `{}` of its own",
                column.value
            );
            let hint = "give the key's column another name, in the files or by a mapper";
            return Err(pipeline.diagnostic(column.span, message, hint).into());
        }
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

/// The features, those of a group and a length next to each other.
fn features(pipeline: &Pipeline, plan: &Plan) -> Vec<DeliveredFeature> {
    let emitted = plan.emitted_schema();
    let mut features: Vec<DeliveredFeature> = pipeline
        .features
        .iter()
        .map(
            |DeclaredFeature {
                 declaration,
                 window,
                 ..
             }| DeliveredFeature {
                checker: Checker::new(&declaration.validation, &declaration.feature_type)
                    .expect("the pipeline's file was checked for senseless rules"),
                length: (pipeline.window.value.kind.lengths().iter())
                    .position(|length| length == window)
                    .expect("a feature is about one of its pipeline's lengths"),
                column: emitted
                    .index_of(&declaration.column)
                    .expect("check_output found it"),
                declaration: declaration.clone(),
            },
        )
        .collect();
    features.sort_by(|a, b| {
        let group = |feature: &DeliveredFeature| feature.declaration.group.clone();
        (group(a), a.length).cmp(&(group(b), b.length))
    });
    features
}
