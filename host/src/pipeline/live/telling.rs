//! What a live pipeline tells of itself while it works.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::run::Shared;
use super::source::LiveSource;
use super::working::Flags;
use crate::clock::Clock;
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::queue::Sender;
use crate::pipeline::telemetry::{
    DeliveryTelemetry, Generation, LaneTelemetry, PipelineState, PipelineTelemetry, ReaderTelemetry,
};

/// What runs in a pipeline.
pub(super) fn generation(shared: &Shared) -> Generation {
    let running = shared.expected.running.as_ref();
    Generation {
        number: running.map(|running| running.number),
        transform: shared.opened.digest.clone(),
        mapper: None,
    }
}

/// Lets whoever asks learn how far partitions were read, as long as the source is there.
pub(super) fn tell_splits(telemetry: &PipelineTelemetry, source: &Arc<LiveSource>) {
    let source = Arc::downgrade(source);
    telemetry.set_splits(move || {
        let status = source.upgrade().map(|source| source.status());
        status.unwrap_or_default()
    });
}

/// What a pipeline is about whose partitions at work have these flags. `is_member`: it belongs to its group, and no
/// partition of it is in dispute.
pub(super) fn state<'a>(
    is_member: bool,
    partitions: impl Iterator<Item = &'a Flags>,
) -> PipelineState {
    let (mut are_open, mut have_caught_up) = (is_member, true);
    let mut bootstrapping = false;
    for flags in partitions {
        are_open &= flags.is_open.load(Ordering::Relaxed);
        have_caught_up &= flags.has_caught_up.load(Ordering::Relaxed);
        bootstrapping |= flags.is_bootstrapping.load(Ordering::Relaxed);
    }
    match (are_open, have_caught_up) {
        (true, _) if bootstrapping => PipelineState::Bootstrapping,
        (false, _) => PipelineState::Starting,
        (true, false) => PipelineState::CatchingUp,
        (true, true) => PipelineState::Running,
    }
}

/// What a partition and its lanes tell.
#[derive(Clone)]
pub(super) struct PartitionTelling {
    pipeline: Arc<PipelineTelemetry>,
    clock: Arc<dyn Clock>,
    /// The name of its split; empty if it has several.
    split: Arc<str>,
    /// The numbers of its lanes.
    lanes: std::ops::Range<u32>,
    pub(super) reading: Arc<ReaderTelemetry>,
}

impl PartitionTelling {
    /// A partition has come.
    pub(super) fn new(shared: &Shared, partition: u32) -> Self {
        let (pipeline, clock) = (&shared.opened.telemetry, &shared.clock);
        let count = shared.opened.lanes_of_a_partition;
        let split: Arc<str> = match shared.source.has_group() {
            true => partition.to_string().into(),
            false => "".into(),
        };
        Self {
            reading: pipeline.reader(&split, clock),
            pipeline: Arc::clone(pipeline),
            clock: Arc::clone(clock),
            split,
            lanes: partition * count..(partition + 1) * count,
        }
    }

    /// One of its lanes was opened, which sends to this delivery.
    pub(super) fn lane(
        &self,
        number: u32,
        to_delivery: &Sender<ToDelivery>,
    ) -> (Arc<LaneTelemetry>, Arc<DeliveryTelemetry>) {
        let split = Some(&*self.split).filter(|split| !split.is_empty());
        let lane = self.pipeline.lane(number, split, &self.clock);
        lane.awaits_commits();
        let delivery = self.pipeline.delivery(&number.to_string(), &self.clock);
        // It is new, so it has no queue yet.
        let _ = delivery.queue.set(to_delivery.fill());
        (lane, delivery)
    }

    /// Messages before the position `until` are dealt out, which arrived at these times.
    pub(super) fn arrived(&self, until: i64, timestamps: &[i64]) {
        let known = timestamps.iter().copied().filter(|time| *time != i64::MIN);
        if let Some(oldest) = known.min() {
            self.reading.arrived(until, oldest, timestamps.len() as u64);
        }
    }

    /// Everything before a position is committed by all lanes.
    pub(super) fn readable(&self, position: i64) {
        self.reading.readable(position, self.clock.unix());
    }

    /// The partition has gone.
    pub(super) fn close(&self) {
        for lane in self.lanes.clone() {
            self.pipeline.close_lane(lane);
            self.pipeline.close_delivery(&lane.to_string());
        }
        self.pipeline.close_reader(&self.split);
    }
}
