//! Pipelines in two stages: two members that are started and stopped together, and tell as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::datatypes::Schema;
use tracing::Instrument as _;

use super::error::PartitionError;
use super::opening::OpenedLive;
use super::partial::{PartialLane, Repartition, Upstream, upstream_name};
use super::run::{Ended, LiveError, Shared, start};
use super::whole::{Assembly, source_columns};
use crate::pipeline::commit::LaneCommits;
use crate::pipeline::features::Features;
use crate::pipeline::lane::{Lane, LaneError, Outlet, ToLane};
use crate::pipeline::opener::Opener;
use crate::pipeline::passing::Passing;
use crate::pipeline::plan::{Plan, Work};
use crate::pipeline::poison::Recovering;
use crate::pipeline::queue::Receiver;
use crate::pipeline::spans;
use crate::pipeline::wiring::Host;
use crate::source::decode::message::MessageFormat;
use crate::source::live::{LiveSpec, MessageColumn, StreamOptions};
use crate::store::embedded::EmbeddedStore;
use crate::transform::CallError;

/// How long it may take until one stage notices that the other one has ended.
const GLANCE: Duration = Duration::from_millis(50);

/// Which stage of its pipeline a member is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// It has but one.
    Only,
    /// It gives partial states.
    Partial(Arc<Repartition>),
    /// It has the windows.
    Whole(Arc<Repartition>),
}

impl Stage {
    /// The topic between the stages.
    pub(super) fn repartition(&self) -> Option<&Arc<Repartition>> {
        match self {
            Self::Only => None,
            Self::Partial(repartition) | Self::Whole(repartition) => Some(repartition),
        }
    }
}

/// Divides a pipeline that was put together as one. What is given is its second stage, with the first
/// one in it.
pub(super) fn divide(whole: OpenedLive, repartition: Repartition) -> OpenedLive {
    let repartition = Arc::new(repartition);
    let StreamOptions::Kafka(kafka) = &whole.stream else {
        unreachable!("only topics of Kafka are repartitioned");
    };
    let window = &whole.declaration.window.value;
    let name = upstream_name(&whole.plan.pipeline);
    let windows = whole.plan.windows().expect("only windows are divided");
    let plan = Arc::new(whole.plan.working(&name, Work::Partials(windows.clone())));
    let upstream = OpenedLive {
        environment: whole.environment.clone(),
        declaration: whole.declaration.clone(),
        digest: whole.digest.clone(),
        fresh: whole.fresh,
        telemetry: Arc::default(),
        stream: whole.stream.clone(),
        spec: Arc::clone(&whole.spec),
        on_missing: whole.on_missing,
        features: Arc::new(Features::new(Arc::clone(&plan), Vec::new())),
        serves: false,
        table: None,
        lineage: whole.lineage.clone(),
        opener: whole.opener.clone(),
        map: whole.map.clone(),
        lanes_of_a_partition: whole.lanes_of_a_partition,
        store: whole.store.clone(),
        commit_every: whole.commit_every,
        // It holds what came since the last commit.
        state_memory: whole.state_memory / 4,
        // The second stage must not wait for it then.
        idle_after: Some(Duration::from_micros(window.idle_after.unsigned_abs())),
        advances: whole.advances,
        outputs: whole.outputs.of_upstream(&repartition.sink),
        identity: whole.identity.clone(),
        dealt: Arc::clone(&plan),
        plan,
        stage: Stage::Partial(Arc::clone(&repartition)),
        upstream: None,
        bootstrap: None,
        met_keys: None,
    };
    let columns = source_columns();
    let messages = Work::Rows {
        event_time: columns.field(0).name().clone(),
        output: Arc::clone(&columns),
    };
    let dealt = Plan {
        source: Arc::clone(&columns),
        input: Vec::new(),
        key: Vec::new(),
        key_schema: Arc::new(Schema::empty()),
        ..whole.plan.working(&whole.plan.pipeline, messages)
    };
    let spec = LiveSpec {
        format: MessageFormat::Bytes,
        message_columns: vec![(0, MessageColumn::Timestamp)],
        columns,
        event_time: 0,
        arrival_time: None,
        max_future: None,
        disorder: 0,
        every_watermark: false,
        stop_on_reject: false,
    };
    OpenedLive {
        stream: StreamOptions::Kafka(repartition.source(kafka)),
        spec: Arc::new(spec),
        // Rows that were forwarded are nowhere else any more.
        on_missing: super::opening::OnMissing::Stop,
        map: None,
        lanes_of_a_partition: 1,
        state_memory: whole.state_memory - whole.state_memory / 4,
        idle_after: None,
        dealt: Arc::new(dealt),
        stage: Stage::Whole(repartition),
        upstream: Some(Box::new(upstream)),
        ..whole
    }
}

impl Shared {
    /// Has a lane work: with windows, handing rows on, or as its stage does. `own` is what it kept beside its
    /// windows.
    pub(super) fn work_on(
        &self,
        number: u32,
        own: serde_json::Value,
        commits: LaneCommits,
        out: Outlet,
        input: Receiver<ToLane>,
    ) -> Result<tokio::task::JoinHandle<Result<(), LaneError>>, PartitionError> {
        let plan = Arc::clone(&self.opened.plan);
        let span = spans::lane(self.name(), number as usize, &self.opened.digest);
        let failed = |error| PartitionError::Lane {
            lane: number,
            error,
        };
        let label = format!("{}/{number}", self.name());
        let opener = self.opened.opener.as_ref();
        let open = |opener: &Opener| -> Result<_, CallError> {
            let instance = self.lanes.block_on(opener.open(&label))?;
            Ok(Box::new(Recovering::new(
                Box::new(instance),
                opener,
                &label,
            )))
        };
        let transform = opener.map(open).transpose()?;
        let windows = plan.windows().or(plan.partials()).cloned();
        let (Some(windows), Some(transform)) = (windows, transform) else {
            let passing = Passing::new(plan, commits, out).run(input);
            return Ok(self.lanes.spawn(passing.instrument(span)));
        };
        if let Stage::Partial(repartition) = &self.opened.stage {
            let (upstream, memory) = (self.upstream(repartition, number), self.memory_of_a_lane());
            let lane = PartialLane::new(plan, &windows, transform, commits, out, upstream, memory);
            let lane = lane.map_err(failed)?.run(input);
            return Ok(self.lanes.spawn(lane.instrument(span)));
        }
        let mut lane = Lane::new(plan, &windows, transform, commits, out).map_err(failed)?;
        if let Stage::Whole(repartition) = &self.opened.stage {
            let layout = Arc::clone(&repartition.layout);
            let assembly = Assembly::new(layout, self.opened.advances, own);
            lane = lane.over(Box::new(assembly.map_err(failed)?));
        }
        Ok(self.lanes.spawn(lane.run(input).instrument(span)))
    }

    /// Who a lane of a first stage is.
    pub(super) fn upstream(&self, repartition: &Repartition, lane: u32) -> Upstream {
        Upstream {
            layout: Arc::clone(&repartition.layout),
            partitions: repartition.partitions(),
            lane,
            lanes: self.expected.partitions * self.opened.lanes_of_a_partition,
            generation: self.epoch,
            now: self.clock.unix(),
        }
    }
}

/// Starts all stages of a pipeline. When one ends, so does the other.
pub(super) fn start_all(
    host: &Host,
    mut opened: OpenedLive,
    store: Arc<EmbeddedStore>,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<Ended>, LiveError> {
    let Some(mut upstream) = opened.upstream.take() else {
        return start(host, opened, store, None, stop);
    };
    upstream.fresh = opened.fresh;
    let pipeline = opened.plan.pipeline.clone();
    let over = Arc::new(AtomicBool::new(false));
    let first = start(host, *upstream, Arc::clone(&store), None, &over)?;
    let second = match start(host, opened, store, None, &over) {
        Ok(second) => second,
        Err(error) => {
            over.store(true, Ordering::Relaxed);
            // Why it ended is clear.
            let _ = first.join();
            return Err(error);
        }
    };
    let (clock, stop) = (Arc::clone(&host.clock), Arc::clone(stop));
    let name = pipeline.clone();
    let watch = move || {
        while !first.is_finished() && !second.is_finished() && !stop.load(Ordering::Relaxed) {
            clock.wait(clock.now().saturating_add(GLANCE), &stop);
        }
        over.store(true, Ordering::Relaxed);
        let panicked = |name: &str| LiveError::Panicked {
            pipeline: name.to_owned(),
        };
        let first = first.join().unwrap_or_else(|_| Err(panicked(&name)));
        let second = second.join().unwrap_or_else(|_| Err(panicked(&name)));
        let (first, mut second) = match (first, second) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(error), Err(other)) => {
                tracing::error!(error = %other, "another failure");
                return Err(error);
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        second.upstream = first.lanes;
        Ok(second)
    };
    let thread = std::thread::Builder::new().name(format!("{pipeline}/stages"));
    thread
        .spawn(watch)
        .map_err(|error| LiveError::Thread { pipeline, error })
}
