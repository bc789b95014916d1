//! From a declaration to a live pipeline that is ready to run.

use std::sync::Arc;
use std::time::Duration;

pub(super) use crate::config::OnMissing;

use super::bootstrap::{self, Bootstrap};
use super::outputs::LiveOutputs;
use super::partial::repartition;
use super::stages::{Stage, divide};
use crate::config::{
    Environment, MessageColumns, OnIdle, OnMalformed, Pipeline, Source, StorePlace, TablePlace,
    WindowSpec,
};
use crate::pipeline::checked::check;
use crate::pipeline::commit::Identity;
use crate::pipeline::features::Features;
use crate::pipeline::key_sample::MetKeys;
use crate::pipeline::map::{MapAgain, Mapping};
use crate::pipeline::opener::Opener;
use crate::pipeline::plan::Plan;
use crate::pipeline::swap::Probation;
use crate::pipeline::telemetry::PipelineTelemetry;
use crate::pipeline::wiring::{Host, Opened, WiringError};
use crate::source::live::{LiveSpec, MessageColumn, StreamOptions};
use crate::store::declarations::Lineage;
use crate::transform::CallError;

/// How often lanes commit unless the pipeline says: on a disk nobody notices, and what is computed can
/// be read that soon.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// The same where features go to a table: what an entity gets in between is one write.
const COMMIT_TO_TABLE_EVERY: Duration = Duration::from_millis(500);
/// The same on object storage, where each commit is a request that somebody pays for.
const COMMIT_REMOTE_EVERY: Duration = Duration::from_secs(5);

/// A live pipeline that is ready to run.
pub struct OpenedLive {
    /// Its declaration.
    pub declaration: Pipeline,
    /// What it was opened for.
    pub(super) environment: Environment,
    /// Its shape.
    pub plan: Arc<Plan>,
    /// The digest of its transform.
    pub digest: String,
    /// Whether what is kept of its lanes is forgotten.
    pub fresh: bool,
    /// What its parts tell while they work.
    pub telemetry: Arc<PipelineTelemetry>,
    pub(super) stream: StreamOptions,
    pub(super) spec: Arc<LiveSpec>,
    pub(super) on_missing: OnMissing,
    /// Recorded history that comes before the stream.
    pub(super) bootstrap: Option<Bootstrap>,
    /// Keys that its partitions have shown, where none may be in two of them.
    pub(super) met_keys: Option<Arc<MetKeys>>,
    pub(super) features: Arc<Features>,
    /// Whether features are served.
    pub(super) serves: bool,
    /// The table that they go to, if it is not the store.
    pub(super) table: Option<TablePlace>,
    /// What they are computed from and by.
    pub(super) lineage: Lineage,
    pub(super) opener: Option<Opener>,
    pub(super) map: Option<MapAgain>,
    pub(super) lanes_of_a_partition: u32,
    pub(super) store: StorePlace,
    pub(super) commit_every: Duration,
    pub(super) state_memory: u64,
    /// How long a split must have been at its end to be idle; none if that makes no difference.
    pub(super) idle_after: Option<Duration>,
    /// Whether time goes on to the latest event when all splits are idle.
    pub(super) advances: bool,
    pub(super) outputs: LiveOutputs,
    pub(super) identity: Identity,
    /// Its shape as whoever deals rows out to lanes sees it: another one in a second stage, where lanes make
    /// rows of messages.
    pub(super) dealt: Arc<Plan>,
    pub(super) stage: Stage,
    /// Its first stage, if this is its second.
    pub upstream: Option<Box<OpenedLive>>,
}

impl OpenedLive {
    /// The topic or stream that it reads.
    pub fn stream(&self) -> &str {
        match &self.stream {
            StreamOptions::Kafka(kafka) => &kafka.topic,
            StreamOptions::Kinesis(kinesis) => kinesis.name(),
        }
    }

    /// The topics that it writes to, and where they are.
    pub fn written(&self) -> impl Iterator<Item = String> {
        self.outputs.topics().map(ToString::to_string)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Has the transform be on probation, if there is one: that of windows, or the mapper where there are none.
    pub(super) fn put_on_probation(&mut self, probation: Option<Arc<Probation>>) {
        let mapper = self.map.as_mut().map(|map| &mut map.opener);
        if let Some(opener) = self.opener.as_mut().or(mapper) {
            opener.put_on_probation(probation);
        }
    }

    /// A mapper for one partition, if there is one.
    pub(super) fn mapping(&self, label: &str) -> Result<Option<Mapping>, CallError> {
        let map = self.map.as_ref();
        map.map(|map| map.mapping(label)).transpose()
    }
}

/// Puts a pipeline over a live stream together.
///
/// # Errors
///
/// See [`WiringError`]. Nothing has been written, and no broker was asked.
pub fn open(
    host: &Host,
    pipeline: Pipeline,
    environment: &Environment,
) -> Result<OpenedLive, WiringError> {
    let (opened, stream) = check(host, pipeline, environment)?;
    let stream = stream.expect("whoever calls this has seen that the event is live");
    let is_kinesis = matches!(stream.stream, StreamOptions::Kinesis(_));
    let repartition = repartition(&opened, environment, &stream)?;
    let identity = opened.live_identity(match &stream.stream {
        StreamOptions::Kafka(_) => None,
        StreamOptions::Kinesis(kinesis) => Some(kinesis.name()),
    });
    // All shards of a stream are one unit, so there is no other that could have its keys.
    // By way of a topic of partial states it does not matter where keys are.
    let is_keyed = stream.partitioned_by_key
        && !is_kinesis
        && repartition.is_none()
        && opened.plan.windows().is_some();
    let outputs = LiveOutputs::of(&opened);
    let lineage = opened.lineage();
    let map = opened.map_again();
    let Opened {
        declaration,
        plan,
        replay,
        digest,
        features,
        opener,
        store,
        table,
        ..
    } = opened;
    let spec = LiveSpec {
        format: stream.format,
        message_columns: message_columns(&stream.message_columns, &replay.columns),
        columns: replay.columns,
        event_time: replay.event_time,
        arrival_time: replay.arrival_time,
        max_future: replay.max_future,
        disorder: replay.disorder,
        every_watermark: replay.every_watermark,
        stop_on_reject: declaration.run.on_malformed == OnMalformed::Stop,
    };
    let spec = Arc::new(spec);
    let event = environment.event(&declaration)?;
    let bootstrap = match &event.source {
        Source::Live(live) => live.bootstrap.as_ref(),
        Source::Files(_) => None,
    };
    let find = |declared| {
        bootstrap::find(
            host.io.handle(),
            environment,
            event,
            declared,
            (&spec, &declaration.key),
        )
    };
    let opened = OpenedLive {
        environment: environment.clone(),
        bootstrap: bootstrap.map(find).transpose()?,
        met_keys: is_keyed.then(Arc::default),
        features: Arc::new(Features::new(Arc::clone(&plan), features)),
        dealt: Arc::clone(&plan),
        stage: Stage::Only,
        upstream: None,
        plan,
        digest,
        fresh: false,
        telemetry: Arc::default(),
        stream: stream.stream,
        spec,
        on_missing: stream.on_missing,
        serves: store.is_some() || table.is_some(),
        lineage,
        opener,
        map,
        lanes_of_a_partition: declaration.run.lanes.unwrap_or(1),
        store: environment.store.clone(),
        commit_every: commit_every(&declaration, &environment.store, table.is_some()),
        table,
        state_memory: declaration.run.state_memory,
        idle_after: idle_after(&declaration.window.value, is_kinesis),
        advances: declaration.window.value.on_idle == OnIdle::Advance,
        outputs,
        identity,
        declaration,
    };
    Ok(match repartition {
        None => opened,
        Some(repartition) => divide(opened, repartition),
    })
}

fn commit_every(pipeline: &Pipeline, store: &StorePlace, to_table: bool) -> Duration {
    let usual = match store {
        StorePlace::Folder(_) if to_table => COMMIT_TO_TABLE_EVERY,
        StorePlace::Folder(_) => COMMIT_EVERY,
        StorePlace::Objects { .. } => COMMIT_REMOTE_EVERY,
    };
    pipeline.run.commit_every.unwrap_or(usual)
}

/// A split that is alone has nobody to hold up.
fn idle_after(window: &WindowSpec, has_several_splits: bool) -> Option<Duration> {
    let after = Duration::from_micros(window.idle_after.unsigned_abs());
    (has_several_splits || window.on_idle == OnIdle::Advance).then_some(after)
}

/// Which of the wanted columns come from the message itself.
fn message_columns(
    declared: &MessageColumns,
    wanted: &arrow::datatypes::Schema,
) -> Vec<(usize, MessageColumn)> {
    let columns = [
        (&declared.key, MessageColumn::Key),
        (&declared.headers, MessageColumn::Headers),
        (&declared.partition, MessageColumn::Partition),
        (&declared.offset, MessageColumn::Offset),
        (&declared.timestamp, MessageColumn::Timestamp),
    ];
    let wanted = |name: &str| wanted.column_with_name(name).map(|(at, _)| at);
    columns
        .into_iter()
        .filter_map(|(name, column)| Some((wanted(name.as_ref()?)?, column)))
        .collect()
}
