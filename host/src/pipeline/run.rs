//! Running pipelines over bounded input: the threads and tasks, and what is told at the end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use super::accounting::Accounting;
use super::delivery::{Delivered, Deliveries, Delivery, DeliveryError, Sinks, invalid_path};
use super::invalid::InvalidValues;
use super::lane::{Lane, LaneError, ToLane};
use super::queue::queue;
use super::reader::{ReadError, Reader};
use super::wiring::{Host, Opened};
use crate::sink::{FileSink, FileSummary, RejectSink, SinkError};
use crate::source::ReadProgress;
use crate::source::replay::Replay;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Declaration, FeatureStore, StoreError};
use crate::transform::Figures;

/// Bytes that may wait for one lane.
const LANE_QUEUE: usize = 32 << 20;
/// Bytes that may wait for delivery.
const DELIVERY_QUEUE: usize = 32 << 20;

/// How far a run has come, for a person who waits.
#[derive(Debug, Default)]
pub struct Progress {
    /// How far the source has been read.
    pub read: Arc<ReadProgress>,
    /// What has been delivered.
    pub delivered: Arc<Deliveries>,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The pipeline.
    pub pipeline: String,
    /// The digest of the transform that computed it.
    pub transform: String,
    /// Rows by where they ended.
    pub accounting: Accounting,
    /// Windows that closed, counted by lane.
    pub windows: u64,
    /// Rows that the transform made of them.
    pub rows: u64,
    /// Feature values written.
    pub values: u64,
    /// Feature values that broke their validation and were removed.
    pub invalid: u64,
    /// The watermark at the end of the input, before everything closed, in microseconds; none if
    /// nothing was read.
    pub watermark: Option<i64>,
    /// The files that were written.
    pub files: Vec<FileSummary>,
    /// The store that was written to.
    pub store: Option<PathBuf>,
    /// What the transform told.
    pub figures: Figures,
}

/// Why a run failed. What was written before stays.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source cannot be read on.
    #[error("pipeline {pipeline}: {error}")]
    Read {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: ReadError,
    },
    /// A lane cannot go on.
    #[error("pipeline {pipeline}, lane {lane}, transform {transform}: {error}")]
    Lane {
        /// The pipeline.
        pipeline: String,
        /// The lane's number.
        lane: usize,
        /// The digest of its transform.
        transform: String,
        /// Why.
        error: LaneError,
    },
    /// What was computed cannot be delivered.
    #[error("pipeline {pipeline}: {error}")]
    Delivery {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: DeliveryError,
    },
    /// The store cannot be opened or does not take the declarations.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A thread or task ended in a panic, which is a fault of Penstock.
    #[error(
        "pipeline {pipeline}: its {part} panicked, which is a fault of Penstock; please report it"
    )]
    Panicked {
        /// The pipeline.
        pipeline: String,
        /// The part.
        part: &'static str,
    },
}

impl RunError {
    /// Whether the run was stopped because somebody asked for it.
    pub fn is_stop(&self) -> bool {
        matches!(
            self,
            Self::Read {
                error: ReadError::Stopped,
                ..
            }
        )
    }

    /// Whether the run was given something that it cannot work on.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Read {
                error: ReadError::Source(_),
                ..
            } | Self::Store(StoreError::Redeclared { .. } | StoreError::NotAStore { .. })
        )
    }

    /// Whether this only follows from another part's failure.
    fn is_consequence(&self) -> bool {
        matches!(
            self,
            Self::Read {
                error: ReadError::Closed,
                ..
            } | Self::Lane {
                error: LaneError::Closed,
                ..
            } | Self::Delivery {
                error: DeliveryError::Incomplete,
                ..
            }
        )
    }
}

/// Runs pipelines next to each other until each has read its input to the end, or failed, or
/// `stop` was set. One that fails does not stop the others.
///
/// # Errors
///
/// A store cannot be opened: then nothing has run. Failures of single pipelines are in the list.
pub fn run(
    host: &Host,
    pipelines: Vec<(Opened, Arc<Progress>)>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Result<RunReport, RunError>>, RunError> {
    let stores = open_stores(host, pipelines.iter().map(|(opened, _)| opened))?;
    let running: Vec<_> = pipelines
        .into_iter()
        .map(|(opened, progress)| {
            let store = opened
                .store
                .as_ref()
                .map(|folder| Arc::clone(&stores[folder]));
            start(host, opened, store, &progress, stop)
        })
        .collect();
    let reports = running
        .into_iter()
        .map(|running| running.and_then(|running| running.wait(host)))
        .collect();
    for store in stores.into_values() {
        host.io.block_on(store.close())?;
    }
    Ok(reports)
}

type Stores = HashMap<PathBuf, Arc<dyn FeatureStore>>;

/// Opens each store once, however many pipelines write to it.
fn open_stores<'a>(
    host: &Host,
    pipelines: impl Iterator<Item = &'a Opened>,
) -> Result<Stores, StoreError> {
    let mut lanes: HashMap<&PathBuf, usize> = HashMap::new();
    for pipeline in pipelines {
        if let Some(folder) = &pipeline.store {
            let most = lanes.entry(folder).or_default();
            *most = (*most).max(pipeline.lanes());
        }
    }
    let open = lanes.into_iter().map(|(folder, lanes)| {
        let store = host
            .io
            .block_on(EmbeddedStore::open(folder, lanes as u32))?;
        Ok((folder.clone(), Arc::new(store) as Arc<dyn FeatureStore>))
    });
    open.collect()
}

/// The threads and tasks of a pipeline at work.
struct Running {
    pipeline: String,
    transform: String,
    store: Option<PathBuf>,
    reader: JoinHandle<Result<Accounting, ReadError>>,
    lanes: Vec<tokio::task::JoinHandle<Result<(), LaneError>>>,
    delivery: JoinHandle<Result<Delivered, DeliveryError>>,
}

fn start(
    host: &Host,
    opened: Opened,
    store: Option<Arc<dyn FeatureStore>>,
    progress: &Progress,
    stop: &Arc<AtomicBool>,
) -> Result<Running, RunError> {
    let pipeline = opened.plan.pipeline.clone();
    let lanes = opened.lanes();
    let read = |error: ReadError| RunError::Read {
        pipeline: pipeline.clone(),
        error,
    };
    let source = Replay::open(opened.replay.clone(), Arc::clone(&progress.read))
        .map_err(|error| read(error.into()))?;
    let epoch = match &store {
        Some(store) => {
            host.io.block_on(store.declare(&declarations(&opened)))?;
            host.io.block_on(store.begin_epoch(&pipeline))?
        }
        None => 0,
    };
    let sinks = sinks(&opened, store).map_err(|error| RunError::Delivery {
        pipeline: pipeline.clone(),
        error: error.into(),
    })?;

    let (to_delivery, from_all) = queue(DELIVERY_QUEUE);
    let delivery = Delivery {
        plan: Arc::clone(&opened.plan),
        features: opened.features,
        sinks,
        splits: opened.replay.split_names(),
        format: opened.replay.format,
        io: host.io.handle().clone(),
        lanes,
        epoch,
        progress: Arc::clone(&progress.delivered),
        next_sequence: vec![0; lanes],
        watermarks: vec![i64::MIN; lanes],
        done: Delivered::default(),
    };
    let mut to_lanes = Vec::with_capacity(lanes);
    let mut tasks = Vec::with_capacity(lanes);
    for (number, transform) in opened.transforms.into_iter().enumerate() {
        let (to_lane, from_reader) = queue::<ToLane>(LANE_QUEUE);
        to_lanes.push(to_lane);
        let lane = Lane::new(
            number,
            Arc::clone(&opened.plan),
            transform,
            to_delivery.clone(),
        )
        .map_err(|error| RunError::Lane {
            pipeline: pipeline.clone(),
            lane: number,
            transform: opened.digest.clone(),
            error,
        })?;
        tasks.push(host.lanes.spawn(lane.run(from_reader)));
    }
    let reader = Reader {
        plan: opened.plan,
        source,
        lanes: to_lanes,
        delivery: to_delivery,
        stop: Arc::clone(stop),
    };
    Ok(Running {
        reader: thread(format!("read-{pipeline}"), move || reader.run()),
        delivery: thread(format!("deliver-{pipeline}"), move || {
            delivery.run(from_all)
        }),
        lanes: tasks,
        pipeline,
        transform: opened.digest,
        store: opened.store,
    })
}

fn thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::Builder::new()
        .name(name)
        .spawn(work)
        .expect("the system has room for three threads a pipeline")
}

/// What a store must know of a pipeline's features.
fn declarations(opened: &Opened) -> Vec<Declaration> {
    let features = opened.features.iter();
    features
        .map(|feature| {
            let declaration = &feature.declaration;
            Declaration {
                group: declaration.group.clone(),
                feature: declaration.name.clone(),
                version: declaration.version,
                pipeline: declaration.pipeline.clone(),
                window: declaration.window.clone(),
                data_type: declaration.feature_type.clone(),
                document: serde_json::to_string(declaration)
                    .expect("a declaration has only texts, numbers and lists"),
            }
        })
        .collect()
}

fn sinks(opened: &Opened, store: Option<Arc<dyn FeatureStore>>) -> Result<Sinks, SinkError> {
    let lanes = opened.lanes();
    let emitted = opened.plan.emitted_schema();
    let keys = opened.plan.key.len();
    let paths = &opened.outputs;
    for path in [
        Some(&paths.rejects),
        Some(&paths.late),
        paths.features.as_ref(),
    ] {
        if let Some(folder) = path.and_then(|path| path.parent()) {
            std::fs::create_dir_all(folder).map_err(|source| SinkError::Io {
                doing: "make the folder",
                path: folder.to_owned(),
                partial: None,
                source,
            })?;
        }
    }
    let invalid = invalid_path(&paths.rejects, &opened.plan.pipeline);
    Ok(Sinks {
        invalid: InvalidValues::new(invalid, lanes, &emitted, keys),
        // The reader is the first producer of rejects; late rows come from lanes alone.
        rejects: RejectSink::new(&paths.rejects, 1 + lanes),
        late: RejectSink::new(&paths.late, lanes),
        features: match &paths.features {
            Some(path) => Some(FileSink::create(path, lanes, emitted, keys)?),
            None => None,
        },
        store,
    })
}

impl Running {
    fn wait(self, host: &Host) -> Result<RunReport, RunError> {
        let pipeline = self.pipeline;
        let panicked = |part| RunError::Panicked {
            pipeline: pipeline.clone(),
            part,
        };
        let mut failures = Vec::new();
        let mut read = Accounting::default();
        match self.reader.join().map_err(|_| panicked("reader"))? {
            Ok(accounting) => read = accounting,
            Err(error) => failures.push(RunError::Read {
                pipeline: pipeline.clone(),
                error,
            }),
        }
        for (lane, task) in self.lanes.into_iter().enumerate() {
            if let Err(error) = host.lanes.block_on(task).map_err(|_| panicked("lane"))? {
                failures.push(RunError::Lane {
                    pipeline: pipeline.clone(),
                    lane,
                    transform: self.transform.clone(),
                    error,
                });
            }
        }
        let delivered = self.delivery.join().map_err(|_| panicked("delivery"))?;
        let delivered = delivered.map_err(|error| {
            failures.push(RunError::Delivery {
                pipeline: pipeline.clone(),
                error,
            });
        });
        // A failure of one part ends the others; the one that did not follow from another is told.
        let cause = failures
            .iter()
            .position(|failure| !failure.is_consequence());
        if !failures.is_empty() {
            return Err(failures.swap_remove(cause.unwrap_or(0)));
        }
        let delivered = delivered.expect("no failure, so there is a result");
        let mut accounting = delivered.accounting;
        accounting += &read;
        Ok(RunReport {
            pipeline,
            transform: self.transform,
            accounting,
            windows: delivered.windows,
            rows: delivered.rows,
            values: delivered.values,
            invalid: delivered.invalid,
            watermark: delivered
                .watermark
                .filter(|watermark| *watermark != i64::MIN),
            files: delivered.files,
            store: self.store,
            figures: delivered.figures,
        })
    }
}
