//! Running pipelines over bounded input: the threads and tasks, and what is told at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tracing::{Instrument as _, Span};

use super::accounting::Accounting;
use super::commit::{CommitError, CommitTimer, Commits, LaneCommits, Resume};
use super::dealer::Dealer;
use super::delivery::{Delivered, Deliveries, Delivery, DeliveryError, History, Sinks};
use super::features::{DeliveredFeature, Features};
use super::invalid::InvalidValues;
use super::lane::{Lane, LaneError, Outlet, ToLane};
use super::passing::Passing;
use super::plan::Plan;
use super::queue::{Receiver, queue};
use super::reader::{ReadError, Reader, ReaderReport};
use super::residence::Kept;
use super::run_error::RunError;
use super::spans;
use super::telemetry::{Generation, PipelineState, PipelineTelemetry};
use super::wiring::{Host, Opened};
use crate::config::StorePlace;
use crate::sink::{FileSink, FileSummary, RejectSink, SinkError};
use crate::source::ReadProgress;
use crate::source::replay::{Replay, WatermarkSplit};
use crate::store::declarations::{FeatureDeclaration, Lineage};
use crate::store::dynamodb::DynamoDbStore;
use crate::store::embedded::{EmbeddedStore, PipelineLanes};
use crate::store::offline::{OfflineStore, OfflineWriter};
use crate::store::{Declaration, FeatureStore, StoreError, refuse_dropped};
use crate::transform::{Figures, Windowed};

/// A lane at work.
pub(super) type LaneTask = tokio::task::JoinHandle<Result<(), LaneError>>;

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
    /// What its parts tell while they work.
    pub telemetry: Arc<PipelineTelemetry>,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The pipeline.
    pub pipeline: String,
    /// The digest of the transform that computed it.
    pub transform: String,
    /// The digest of the mapper before it, if there is one; maybe the same component.
    pub mapper: Option<String>,
    /// Rows by where they ended.
    pub accounting: Accounting,
    /// Windows that closed, counted for each key; none if the pipeline has no windows.
    pub windows: Option<u64>,
    /// Rows that the transform made of them.
    pub rows: u64,
    /// Feature values written.
    pub values: u64,
    /// Feature values that broke their validation and were removed.
    pub invalid: u64,
    /// The watermark at the end of the input, before everything closed, in microseconds; none if
    /// nothing was read.
    pub watermark: Option<i64>,
    /// The split that it followed from; none if there is only one.
    pub watermark_split: Option<WatermarkSplit>,
    /// Rows outside of the asked-for event times, which nothing else counts.
    pub skipped: u64,
    /// The files that were written.
    pub files: Vec<FileSummary>,
    /// The store that was written to.
    pub store: Option<String>,
    /// If it went on where an interrupted run stopped: rows and records that every lane had done.
    pub resumed: Option<u64>,
    /// What the transform told.
    pub figures: Figures,
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
            let place = opened.place().map(ToString::to_string);
            let store = place.map(|place| Arc::clone(&stores[&place].0));
            let telemetry = Arc::clone(&progress.telemetry);
            (start(host, opened, store, &progress, stop), telemetry)
        })
        .collect();
    let mut reports: Vec<_> = running
        .into_iter()
        .map(|(running, telemetry)| {
            let report = running.and_then(|running| running.wait(host));
            telemetry.set_state(match &report {
                Ok(_) => PipelineState::Finished,
                Err(error) => PipelineState::Failed(error.to_string()),
            });
            report
        })
        .collect();
    // All are closed, whatever becomes of one; a pipeline whose lanes do not close has not ended well.
    for (store, lanes) in stores.into_values() {
        for of in lanes {
            let closed = host.io.block_on(store.close_lanes(&of.pipeline));
            let is_of = |report: &&mut Result<RunReport, RunError>| {
                (report.as_ref()).is_ok_and(|report| report.pipeline == of.pipeline)
            };
            if let (Err(error), Some(report)) = (closed, reports.iter_mut().find(is_of)) {
                *report = Err(error.into());
            }
        }
    }
    Ok(reports)
}

/// Stores by where they are, with the lanes that are open in them.
type Stores = HashMap<String, (Arc<EmbeddedStore>, Vec<PipelineLanes>)>;

/// Opens each store once, however many pipelines write to it.
fn open_stores<'a>(
    host: &Host,
    pipelines: impl Iterator<Item = &'a Opened>,
) -> Result<Stores, StoreError> {
    let mut lanes: HashMap<String, (&StorePlace, Vec<PipelineLanes>)> = HashMap::new();
    for opened in pipelines {
        if let Some(place) = opened.place() {
            let (_, lanes) = lanes
                .entry(place.to_string())
                .or_insert_with(|| (place, Vec::new()));
            lanes.push(PipelineLanes {
                pipeline: opened.plan.pipeline.clone(),
                lanes: opened.lanes() as u32,
            });
        }
    }
    let open = lanes.into_iter().map(|(name, (place, lanes))| {
        let store = host.io.block_on(host.stores.make_embedded(place))?;
        host.io.block_on(store.open_lanes(&lanes))?;
        Ok((name, (store, lanes)))
    });
    open.collect()
}

/// The threads and tasks of a pipeline at work.
struct Running {
    pipeline: String,
    transform: String,
    mapper: Option<String>,
    has_windows: bool,
    store: Option<String>,
    resumed: Option<u64>,
    /// Lanes commit as long as it is there.
    timer: Option<CommitTimer>,
    reader: JoinHandle<Result<ReaderReport, ReadError>>,
    lanes: Vec<LaneTask>,
    delivery: JoinHandle<Result<Delivered, DeliveryError>>,
    stop: Arc<AtomicBool>,
}

fn start(
    host: &Host,
    opened: Opened,
    lanes_at: Option<Arc<EmbeddedStore>>,
    progress: &Progress,
    stop: &Arc<AtomicBool>,
) -> Result<Running, RunError> {
    let pipeline = opened.plan.pipeline.clone();
    let lanes = opened.lanes();
    let shown_store = opened.feature_store();
    let read = |error: ReadError| RunError::Read {
        pipeline: pipeline.clone(),
        error,
    };
    let source = Replay::open_until(opened.replay.clone(), Arc::clone(&progress.read), stop)
        .map_err(|error| read(error.into()))?;
    let table = opened.table.as_ref();
    let table = table.map(|place| host.io.block_on(host.stores.table(place)));
    let table = table.transpose()?;
    let store: Option<Arc<dyn FeatureStore>> = match (&table, &lanes_at) {
        (Some(table), _) => Some(Arc::clone(table) as Arc<dyn FeatureStore>),
        (None, Some(lanes_at)) if opened.store.is_some() => {
            Some(Arc::clone(lanes_at) as Arc<dyn FeatureStore>)
        }
        _ => None,
    };
    if let Some(store) = &store {
        let declarations = declarations(&opened.features, &opened.lineage());
        let retired = &opened.declaration.retired;
        host.io.block_on(async {
            refuse_dropped(store.as_ref(), &pipeline, &declarations, retired).await?;
            store.declare(&declarations).await
        })?;
    }
    let epoch = begin_epoch(host, &pipeline, lanes_at.as_ref(), table.as_ref())?;
    let undelivered = |error: DeliveryError| RunError::Delivery {
        pipeline: pipeline.clone(),
        error,
    };
    let mut sinks =
        sinks(&opened, store, table.is_some()).map_err(|error| undelivered(error.into()))?;
    let history = history(host, &opened, epoch);
    sinks.history = history.map_err(|error| undelivered(error.into()))?;
    let commits = commits(host, &opened, lanes_at.as_ref(), epoch);
    let (commits, resumes) = commits.map_err(|error| undelivered(error.into()))?;
    let resumed = resumes.as_ref().map(|resumes| least_cursor(resumes));
    let mut kept: Vec<Option<Kept>> = (0..lanes).map(|_| None).collect();
    if let (Some(commits), Some(keeping)) = (&commits, &opened.keeping) {
        let memory = state_memory(keeping.state_memory / lanes as u64);
        kept = (0..lanes)
            .map(|lane| Some(commits.kept(lane, memory)))
            .collect();
    }
    let mut resumes = resumes.into_iter().flatten();
    let timer = opened.keeping.as_ref().map(|keeping| {
        let clock = Arc::clone(&host.clock);
        CommitTimer::start(clock, keeping.every).map_err(|error| RunError::Thread {
            pipeline: pipeline.clone(),
            error,
        })
    });
    let timer = timer.transpose()?;

    let telemetry = &progress.telemetry;
    telemetry.set_recorded(Arc::clone(&progress.read));
    telemetry.set_generation(Generation::of(&opened));
    if let Some(table) = &table {
        telemetry.set_store(Arc::clone(table.figures()));
    }
    let lane_telemetry: Vec<_> = (0..lanes as u32)
        .map(|number| telemetry.lane(number, None, &host.clock))
        .collect();
    if let Some(lanes_at) = &lanes_at {
        for (number, lane) in (0..).zip(&lane_telemetry) {
            let state = lanes_at.state(&pipeline, number)?;
            let _ = lane.store.set(Arc::clone(state.requests()));
        }
    }
    let (to_delivery, from_all) = queue(waiting(&opened, DELIVERY_QUEUE, 1));
    let delivery_telemetry = telemetry.delivery("", &host.clock);
    let _ = delivery_telemetry.queue.set(to_delivery.fill());
    let lane_queue = waiting(&opened, LANE_QUEUE, lanes);
    let delivery = Delivery {
        features: Features::new(Arc::clone(&opened.plan), opened.features),
        sinks,
        splits: opened.replay.split_names(),
        format: opened.replay.format,
        io: host.io.handle().clone(),
        lanes,
        epoch,
        progress: Arc::clone(&progress.delivered),
        stop: Arc::clone(stop),
        next_sequence: vec![0; lanes],
        watermarks: vec![i64::MIN; lanes],
        commits,
        done: Delivered::default(),
        telemetry: delivery_telemetry,
        lane_telemetry: lane_telemetry.clone(),
    };
    let mut to_lanes = Vec::with_capacity(lanes);
    let mut tasks = Vec::with_capacity(lanes);
    let mut transforms = opened.transforms.into_iter();
    for (number, lane_telemetry) in lane_telemetry.into_iter().enumerate() {
        let (to_lane, from_reader) = queue::<ToLane>(lane_queue);
        let _ = lane_telemetry.queue.set(to_lane.fill());
        to_lanes.push(to_lane);
        let out = Outlet {
            lane: number,
            delivery: to_delivery.clone(),
            stop: Arc::clone(stop),
            telemetry: lane_telemetry,
            beside: None,
        };
        if timer.is_some() {
            out.telemetry.awaits_commits();
        }
        let due = timer.as_ref().map(CommitTimer::due);
        let resume = resumes.next().unwrap_or_default();
        let commits = LaneCommits::new(due, resume, kept[number].take());
        let transform = transforms.next();
        let task = start_lane(
            host,
            (&opened.plan, &opened.digest),
            transform,
            commits,
            out,
            from_reader,
        )?;
        tasks.push(task);
    }
    let mapper = opened.mapping.as_ref();
    let mapper = mapper.map(|mapping| mapping.digest().to_owned());
    let has_windows = opened.plan.windows().is_some();
    let stop_dealing = Arc::clone(stop);
    let (plan, mapping) = (opened.plan, opened.mapping);
    let reading = telemetry.reader("", &host.clock);
    let dealer = Dealer::new(
        plan,
        mapping,
        to_lanes,
        Some(to_delivery),
        stop_dealing,
        reading,
    );
    let dealer = dealer.map_err(|error| read(error.into()))?;
    let reader = Reader { source, dealer };
    // Delivery first: should the second thread not start, the first ends when its queue does.
    let span = |part| spans::part(&pipeline, part, &opened.digest);
    let threads = thread("delivery", span, move || delivery.run(from_all))
        .and_then(|delivery| Ok((delivery, thread("reader", span, move || reader.run())?)));
    let (delivery, reader) = threads.map_err(|error| RunError::Thread {
        pipeline: pipeline.clone(),
        error,
    })?;
    telemetry.set_state(PipelineState::Running);
    Ok(Running {
        reader,
        delivery,
        lanes: tasks,
        pipeline,
        transform: opened.digest,
        mapper,
        has_windows,
        store: shown_store,
        resumed,
        timer,
        stop: Arc::clone(stop),
    })
}

/// Starts a lane: windows, or what passes rows on where there are none.
pub(super) fn start_lane(
    host: &Host,
    (plan, digest): (&Arc<Plan>, &str),
    transform: Option<Box<dyn Windowed>>,
    commits: LaneCommits,
    out: Outlet,
    input: Receiver<ToLane>,
) -> Result<LaneTask, RunError> {
    let (pipeline, lane) = (&plan.pipeline, out.lane);
    let span = spans::lane(pipeline, lane, digest);
    let (Some(windows), Some(transform)) = (plan.windows(), transform) else {
        let passing = Passing::new(Arc::clone(plan), commits, out).run(input);
        return Ok(host.lanes.spawn(passing.instrument(span)));
    };
    let opened = Lane::new(Arc::clone(plan), windows, transform, commits, out);
    let opened = opened.map_err(|error| RunError::Lane {
        pipeline: pipeline.clone(),
        lane,
        transform: digest.to_owned(),
        error,
    })?;
    Ok(host.lanes.spawn(opened.run(input).instrument(span)))
}

/// The epoch of this run: greater than that of every run before, wherever it is noted.
fn begin_epoch(
    host: &Host,
    pipeline: &str,
    lanes_at: Option<&Arc<EmbeddedStore>>,
    table: Option<&Arc<DynamoDbStore>>,
) -> Result<u64, StoreError> {
    host.io.block_on(async {
        let mut epoch = 0;
        if let Some(lanes_at) = lanes_at {
            epoch = lanes_at.begin_epoch(pipeline).await?;
        }
        if let Some(table) = table {
            epoch = epoch.max(table.begin_epoch(pipeline).await?);
            table.raise_epoch(pipeline, epoch).await?;
        }
        Ok(epoch)
    })
}

/// What is kept of the pipeline's lanes, and where each goes on. A run that keeps nothing begins anew,
/// and ends one that was interrupted.
fn commits(
    host: &Host,
    opened: &Opened,
    store: Option<&Arc<EmbeddedStore>>,
    epoch: u64,
) -> Result<(Option<Commits>, Option<Vec<Resume>>), CommitError> {
    let Some(store) = store else {
        return Ok((None, None));
    };
    if opened.keeping.is_none() {
        host.io
            .block_on(store.set_run(&opened.plan.pipeline, None))?;
        return Ok((None, None));
    }
    let (identity, io) = (opened.identity(), host.io.handle().clone());
    let (lanes, fresh) = (opened.lanes(), opened.fresh);
    let (commits, resumes) = Commits::open(store, &opened.plan, identity, lanes, fresh, epoch, io)?;
    Ok((Some(commits), resumes))
}

/// Bytes that may wait in one of `queues` queues: at most `most`, and together no more than a part of
/// what states may take, if they are bounded.
fn waiting(opened: &Opened, most: usize, queues: usize) -> usize {
    let keeping = opened.keeping.as_ref();
    let part = keeping.map(|keeping| usize::try_from(keeping.state_memory / 32 / queues as u64));
    part.and_then(Result::ok)
        .map_or(most, |part| part.clamp(1 << 16, most))
}

/// Bytes of windows in memory, of those that a lane's state may take in all.
pub(super) fn state_memory(bytes: u64) -> usize {
    usize::try_from(bytes / 4).unwrap_or(usize::MAX)
}

fn least_cursor(resumes: &[Resume]) -> u64 {
    let cursors = resumes.iter().map(|resume| resume.cursor);
    cursors.min().unwrap_or(0)
}

fn thread<T: Send + 'static>(
    name: &'static str,
    span: impl Fn(&'static str) -> Span,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    let span = span(name);
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(move || span.in_scope(work))
}

/// What a store must know of a pipeline's features.
pub(super) fn declarations(features: &[DeliveredFeature], lineage: &Lineage) -> Vec<Declaration> {
    let features = features.iter();
    features
        .map(|feature| {
            let declaration = FeatureDeclaration {
                lineage: Some(lineage.clone()),
                ..feature.declaration.clone()
            };
            declaration.stored()
        })
        .collect()
}

fn sinks(
    opened: &Opened,
    store: Option<Arc<dyn FeatureStore>>,
    is_apart: bool,
) -> Result<Sinks, SinkError> {
    let lanes = opened.lanes();
    let emitted = opened.plan.emitted_schema();
    let keys = opened.plan.key.len();
    let order = opened.plan.row_order();
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
    Ok(Sinks {
        invalid: InvalidValues::new(paths.invalid.clone(), lanes, &opened.plan),
        // The reader is the first producer, also of late rows, which come from lanes alone: the first
        // has a place of its own in the order, and that must not be a lane's.
        rejects: RejectSink::new(&paths.rejects, 1 + lanes),
        late: RejectSink::new(&paths.late, 1 + lanes),
        features: match &paths.features {
            Some(path) => Some(FileSink::create(path, lanes, emitted, keys, order)?),
            None => None,
        },
        store,
        history: None,
        is_apart,
    })
}

/// The history of features, of which each run writes files of its own.
fn history(host: &Host, opened: &Opened, epoch: u64) -> Result<Option<History>, StoreError> {
    let Some(place) = &opened.offline else {
        return Ok(None);
    };
    let store = Arc::new(OfflineStore::open(place)?);
    Ok(Some(History {
        writer: OfflineWriter::new(store, format!("r{epoch}")),
        clock: Arc::clone(&host.clock),
    }))
}

impl Running {
    fn wait(self, host: &Host) -> Result<RunReport, RunError> {
        let pipeline = self.pipeline;
        let panicked = |part| RunError::Panicked {
            pipeline: pipeline.clone(),
            part,
        };
        // Everything is joined before anything is said: no part works on behind the caller's back.
        let reader = self.reader.join();
        let lanes: Vec<_> = self
            .lanes
            .into_iter()
            .map(|task| host.lanes.block_on(task))
            .collect();
        let delivery = self.delivery.join();
        drop(self.timer);
        let mut failures = Vec::new();
        let read = reader.map_err(|_| panicked("reader"))?;
        let read = read.map_err(|error| {
            failures.push(RunError::Read {
                pipeline: pipeline.clone(),
                error,
            });
        });
        for (lane, ended) in lanes.into_iter().enumerate() {
            if let Err(error) = ended.map_err(|_| panicked("lane"))? {
                failures.push(RunError::Lane {
                    pipeline: pipeline.clone(),
                    lane,
                    transform: self.transform.clone(),
                    error,
                });
            }
        }
        let delivered = delivery.map_err(|_| panicked("delivery"))?;
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
            let stopped = cause.is_none() && self.stop.load(Ordering::Relaxed);
            return Err(match stopped {
                // Lanes and delivery end without a word when they hear of it.
                true => RunError::Read {
                    pipeline,
                    error: ReadError::Stopped,
                },
                false => failures.swap_remove(cause.unwrap_or(0)),
            });
        }
        let (Ok(read), Ok(delivered)) = (read, delivered) else {
            unreachable!("whatever is not there left a failure");
        };
        let mut accounting = delivered.accounting;
        accounting += &read.accounting;
        let mut figures = delivered.figures;
        figures += &read.figures;
        Ok(RunReport {
            pipeline,
            transform: self.transform,
            mapper: self.mapper,
            accounting,
            windows: self.has_windows.then_some(delivered.windows),
            rows: delivered.rows,
            values: delivered.values,
            invalid: delivered.invalid,
            watermark: delivered
                .watermark
                .filter(|watermark| *watermark != i64::MIN),
            watermark_split: read.source.watermark_split,
            skipped: read.source.skipped,
            files: delivered.files,
            store: self.store,
            resumed: self.resumed,
            figures,
        })
    }
}
