//! Running live pipelines: what their parts share, and what is told at the end.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::error::PartitionError;
use super::following::{Follower, begin};
use super::keeper::Expected;
use super::member::{Member, Outcome};
use super::opening::OpenedLive;
use super::outbox::is_bad_input;
use super::source::{LiveSource, StreamFault};
use super::stages::start_all;
use super::switching::Desk;
use super::telling;
use crate::clock::Clock;
use crate::pipeline::accounting::Accounting;
use crate::pipeline::commit::CommitTimer;
use crate::pipeline::run::{declarations, state_memory};
use crate::pipeline::spans;
use crate::pipeline::swap::Running;
use crate::pipeline::telemetry::{PipelineState, PipelineTelemetry};
use crate::pipeline::wiring::Host;
use crate::source::kafka::KafkaFault;
use crate::store::declarations::FeatureDeclaration;
use crate::store::dynamodb::DynamoDbStore;
use crate::store::embedded::EmbeddedStore;
use crate::store::{FeatureStore, StoreError, refuse_dropped};
use crate::window::UnfinishedCounts;

/// What a live pipeline did until it was stopped.
#[derive(Debug, Clone)]
pub struct LiveReport {
    /// The pipeline.
    pub pipeline: String,
    /// The digest of the transform that computed it.
    pub transform: String,
    /// The lanes that this process had at the end, with their accounts since they began, in whichever
    /// process.
    pub lanes: BTreeMap<u32, LaneAccount>,
    /// The same of its first stage, where it has two: what those lanes forwarded, the others received.
    pub upstream: BTreeMap<u32, LaneAccount>,
    /// The store that was written to.
    pub store: String,
    /// The topics that were written to.
    pub topics: Vec<String>,
    /// Records of history that came before the stream, in this process.
    pub bootstrapped: u64,
    /// Whether history and stream met by event time alone.
    pub is_approximate: bool,
}

/// What a lane has to say for itself.
#[derive(Debug, Clone)]
pub struct LaneAccount {
    /// Rows by where they ended.
    pub accounting: Accounting,
    /// Windows that closed, counted for each key.
    pub windows: u64,
    /// Windows that could not be finished, and what became of them.
    pub unfinished: UnfinishedCounts,
    /// The watermark, in microseconds; none before there is one.
    pub watermark: Option<i64>,
}

impl LiveReport {
    /// The accounts of all lanes together.
    pub fn accounting(&self) -> Accounting {
        let mut sum = Accounting::default();
        let lanes = self.lanes.values().chain(self.upstream.values());
        lanes.for_each(|lane| sum += &lane.accounting);
        sum
    }
}

/// Why a live pipeline ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Its stream cannot be read.
    #[error("pipeline {pipeline}: {fault}")]
    Stream {
        /// The pipeline.
        pipeline: String,
        /// Why.
        fault: StreamFault,
    },
    /// A topic cannot be written to.
    #[error("pipeline {pipeline}, topic `{topic}` of its outputs: {fault}")]
    Topic {
        /// The pipeline.
        pipeline: String,
        /// The topic, by its name in the environment.
        topic: String,
        /// Why.
        fault: KafkaFault,
    },
    /// A partition cannot be worked on.
    #[error("pipeline {pipeline}, partition {partition}: {error}")]
    Partition {
        /// The pipeline.
        pipeline: String,
        /// The partition.
        partition: u32,
        /// Why.
        error: Box<PartitionError>,
    },
    /// A stream that is read as one cannot be worked on.
    #[error("pipeline {pipeline}: {error}")]
    Work {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: Box<PartitionError>,
    },
    /// Its lanes are opened by somebody else again and again.
    #[error(
        "pipeline {pipeline}: another process works on partition {partition} too, and the group knows nothing of it: two pipelines of one name have one store and two groups, or read two topics; give one of them another name or store"
    )]
    Twice {
        /// The pipeline.
        pipeline: String,
        /// The partition.
        partition: u32,
    },
    /// Somebody else works on the stream.
    #[error(
        "pipeline {pipeline}: another process works on it by now, and has its lanes: one process at a time reads a stream of Kinesis for a pipeline; if this was not meant, give one of the two another name or store"
    )]
    Replaced {
        /// The pipeline.
        pipeline: String,
    },
    /// The stream was divided anew.
    #[error(
        "pipeline {pipeline}: the stream had {before} partitions and has {after} now; keys may go to other partitions than before, and their state does not go with them. Begin anew with `--fresh`, from recorded events or the start of the stream"
    )]
    Grown {
        /// The pipeline.
        pipeline: String,
        /// How many there were.
        before: u32,
        /// How many there are.
        after: u32,
    },
    /// The store cannot be opened or does not take the declarations.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Which generation it is to run cannot be said, or it cannot run that.
    #[error("pipeline {pipeline}: {error}")]
    Generation {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: String,
        /// Whether that is the same another time.
        is_bad_input: bool,
    },
    /// There is no thread to be had.
    #[error("pipeline {pipeline}: cannot start a thread: {error}; run fewer pipelines at once")]
    Thread {
        /// The pipeline.
        pipeline: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A thread ended in a panic.
    #[error(
        "pipeline {pipeline}: its member panicked, which is a fault of Penstock; please report it"
    )]
    Panicked {
        /// The pipeline.
        pipeline: String,
    },
}

impl LiveError {
    /// Whether the pipeline was given something that it cannot work on.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Stream { fault, .. } => fault.is_bad_input(),
            Self::Topic { fault, .. } => is_bad_input(fault),
            Self::Partition { error, .. } | Self::Work { error, .. } => error.is_bad_input(),
            Self::Twice { .. } | Self::Replaced { .. } | Self::Grown { .. } => true,
            Self::Generation { is_bad_input, .. } => *is_bad_input,
            Self::Store(error) => error.is_bad_input(),
            Self::Thread { .. } | Self::Panicked { .. } => false,
        }
    }
}

/// What the parts of a live pipeline share.
pub(super) struct Shared {
    pub(super) opened: OpenedLive,
    pub(super) source: Arc<LiveSource>,
    pub(super) store: Arc<EmbeddedStore>,
    /// Where features go, if not there.
    pub(super) table: Option<Arc<DynamoDbStore>>,
    pub(super) expected: Expected,
    /// Lanes' epochs are at least this.
    pub(super) epoch: u64,
    pub(super) timer: Arc<CommitTimer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lanes: Handle,
    pub(super) io: Handle,
    /// Where other generations come from; none where there are none.
    pub(super) desk: Option<Arc<Desk>>,
    /// The lanes whose state was forgotten, where all begin anew.
    pub(super) forgotten: Mutex<BTreeSet<u32>>,
}

impl Shared {
    pub(super) fn name(&self) -> &str {
        &self.opened.plan.pipeline
    }

    /// Bytes that the windows of a lane may take in memory: its share, if this process has all of them.
    pub(super) fn memory_of_a_lane(&self) -> usize {
        let lanes = self.expected.partitions * self.opened.lanes_of_a_partition;
        state_memory(self.opened.state_memory / u64::from(lanes.max(1)))
    }

    /// Whether what is kept of a lane is to be forgotten: once in this process, if at all.
    pub(super) fn is_to_forget(&self, lane: u32) -> bool {
        let mut forgotten = self
            .forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.opened.fresh && forgotten.insert(lane)
    }
}

/// Runs live pipelines next to each other until `stop` is set, and then lets each commit and leave its
/// group. One that fails does not stop the others.
///
/// # Errors
///
/// A store cannot be opened: then nothing has run. Failures of single pipelines are in the list.
pub fn run(
    host: &Host,
    pipelines: Vec<OpenedLive>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Result<LiveReport, LiveError>>, LiveError> {
    let mut stores: HashMap<String, Arc<EmbeddedStore>> = HashMap::new();
    for opened in &pipelines {
        if let Entry::Vacant(entry) = stores.entry(opened.store.to_string()) {
            entry.insert(host.io.block_on(host.stores.make_embedded(&opened.store))?);
        }
    }
    let over = AtomicBool::new(false);
    let mut used = Vec::new();
    let mut reports: Vec<_> = std::thread::scope(|scope| {
        let mut running = Vec::new();
        for opened in pipelines {
            let store = Arc::clone(&stores[&opened.store.to_string()]);
            let name = opened.plan.pipeline.clone();
            used.push((Arc::clone(&store), name.clone()));
            let telemetry = Arc::clone(&opened.telemetry);
            if let Err(error) = refuse_less(host, &opened, &store) {
                let error = LiveError::from(error);
                tell_failure(&telemetry, &name, &error);
                running.push((name, Err(error)));
                continue;
            }
            // Pipelines of two stages have one generation.
            if opened.upstream.is_some() {
                running.push((name, start_all(host, opened, store, stop)));
                continue;
            }
            let begun = begin(host, opened, &store).and_then(|(opened, generation, desk)| {
                let follower = Follower::of(&opened, &generation, &desk);
                let thread = start(host, opened, store, Some((generation, desk)), stop)?;
                let (name, over) = (format!("{name}/swap"), &over);
                let following = std::thread::Builder::new().name(name.clone());
                let following = following.spawn_scoped(scope, move || follower.follow(host, over));
                following.map_err(|error| LiveError::Thread {
                    pipeline: name,
                    error,
                })?;
                Ok(thread)
            });
            if let Err(error) = &begun {
                tell_failure(&telemetry, &name, error);
            }
            running.push((name, begun));
        }
        let reports = running.into_iter().map(|(pipeline, thread)| {
            let ended = thread?.join();
            ended.unwrap_or(Err(LiveError::Panicked { pipeline }))
        });
        let reports = reports.collect();
        over.store(true, Ordering::Relaxed);
        reports
    });
    // Who had a lane has closed it; what somebody who failed left open is not to be written to any more.
    for (store, name) in used {
        if let Err(error) = host.io.block_on(store.close_lanes(&name)) {
            let is_of = |report: &&mut Result<LiveReport, LiveError>| {
                report.as_ref().is_ok_and(|report| report.pipeline == name)
            };
            if let Some(report) = reports.iter_mut().find(is_of) {
                *report = Err(error.into());
            }
        }
    }
    Ok(reports)
}

/// Says at once why a pipeline has ended: others in this process may work on for weeks.
fn tell_failure(telemetry: &PipelineTelemetry, pipeline: &str, error: &LiveError) {
    tracing::error!(pipeline, %error, "the pipeline has ended");
    telemetry.set_state(PipelineState::Failed(error.to_string()));
}

/// Refuses a pipeline whose file declares less than what is served of it, before anything of it is written anywhere.
fn refuse_less(
    host: &Host,
    opened: &OpenedLive,
    store: &Arc<EmbeddedStore>,
) -> Result<(), StoreError> {
    if !opened.serves {
        return Ok(());
    }
    let (pipeline, retired) = (&opened.plan.pipeline, &opened.declaration.retired);
    let now: Vec<_> = (opened.declaration.declarations())
        .map(FeatureDeclaration::stored)
        .collect();
    host.io.block_on(async {
        match &opened.table {
            Some(place) => {
                let table = host.stores.table(place).await?;
                refuse_dropped(table.as_ref(), pipeline, &now, retired).await
            }
            None => refuse_dropped(store.as_ref(), pipeline, &now, retired).await,
        }
    })
}

/// Connects to the stream of a pipeline.
fn connect(
    opened: &OpenedLive,
    io: &Handle,
    clock: &Arc<dyn Clock>,
    stop: &AtomicBool,
) -> Result<Arc<LiveSource>, LiveError> {
    let source = LiveSource::connect(&opened.stream, io.clone(), Arc::clone(clock), stop);
    let source = source.map_err(|fault| LiveError::Stream {
        pipeline: opened.plan.pipeline.clone(),
        fault,
    })?;
    let source = Arc::new(source);
    telling::tell_splits(&opened.telemetry, &source);
    Ok(source)
}

/// What became of a pipeline.
pub(super) type Ended = Result<LiveReport, LiveError>;

/// Starts one stage of a pipeline.
pub(super) fn start(
    host: &Host,
    opened: OpenedLive,
    store: Arc<EmbeddedStore>,
    generation: Option<(Running, Arc<Desk>)>,
    stop: &Arc<AtomicBool>,
) -> Result<std::thread::JoinHandle<Ended>, LiveError> {
    let pipeline = opened.plan.pipeline.clone();
    let (clock, stop) = (Arc::clone(&host.clock), Arc::clone(stop));
    let stores = Arc::clone(&host.stores);
    let (lanes, io) = (host.lanes.handle().clone(), host.io.handle().clone());
    let thread = std::thread::Builder::new().name(pipeline.clone());
    let telemetry = Arc::clone(&opened.telemetry);
    let span = spans::part(&pipeline, "member", &opened.digest);
    let work = move || {
        let pipeline = opened.plan.pipeline.clone();
        let table = opened.table.as_ref();
        let table = table.map(|place| io.block_on(stores.table(place)));
        let table = table.transpose()?;
        if opened.serves {
            let declarations = declarations(opened.features.all(), &opened.lineage);
            io.block_on(match &table {
                Some(table) => table.declare(&declarations),
                None => store.declare(&declarations),
            })?;
        }
        let mut epoch = io.block_on(store.begin_epoch(&pipeline))?;
        if let Some(table) = &table {
            epoch = epoch.max(io.block_on(table.begin_epoch(&pipeline))?);
            opened.telemetry.set_store(Arc::clone(table.figures()));
        }
        if let Some(repartition) = opened.stage.repartition() {
            let ready = repartition.ready(opened.fresh, &stop);
            ready.map_err(|fault| LiveError::Topic {
                pipeline: pipeline.clone(),
                topic: repartition.sink.topic.clone(),
                fault,
            })?;
        }
        let source = connect(&opened, &io, &clock, &stop)?;
        let reached = opened.outputs.reach(&stop);
        reached.map_err(|(topic, fault)| LiveError::Topic {
            pipeline: pipeline.clone(),
            topic,
            fault,
        })?;
        let timer = CommitTimer::start(Arc::clone(&clock), opened.commit_every);
        let timer = timer.map_err(|error| LiveError::Thread { pipeline, error })?;
        let (running, desk) = generation.unzip();
        let mut shared = Shared {
            expected: Expected::new(&opened, source.units(), running.map(Arc::new)),
            source,
            opened,
            store,
            table,
            epoch,
            timer: Arc::new(timer),
            clock,
            lanes,
            io,
            desk,
            forgotten: Mutex::default(),
        };
        loop {
            shared
                .opened
                .telemetry
                .set_generation(telling::generation(&shared));
            let (before, change, epoch) = match Member::new(Arc::new(shared)).run(&stop)? {
                Outcome::Stopped(report) => return Ok(report),
                Outcome::Again(before, change, epoch) => (before, change, epoch),
            };
            shared = before.with(*change, epoch);
            shared.source = connect(&shared.opened, &shared.io, &shared.clock, &stop)?;
        }
    };
    let name = pipeline.clone();
    let work = move || {
        let ended: Ended = span.in_scope(work);
        match &ended {
            Ok(_) => telemetry.set_state(PipelineState::Finished),
            Err(error) => tell_failure(&telemetry, &name, error),
        }
        ended
    };
    thread
        .spawn(work)
        .map_err(|error| LiveError::Thread { pipeline, error })
}
