//! What is told of the parts of a pipeline beside its lanes: readers, splits, delivery.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::accounts::Accounts;
use super::gauge::Gauge;
use super::heartbeat::Heartbeat;
use crate::clock::Clock;
use crate::pipeline::queue::QueueFill;

/// What a reader tells: of all splits of a recorded run, or of one split of a live one.
#[derive(Debug)]
pub struct ReaderTelemetry {
    /// What its thread is doing.
    pub heartbeat: Heartbeat,
    /// What it read, and where that ended which never reached a lane.
    pub accounts: Accounts,
}

/// What a delivery tells: of all lanes of a recorded run, or of those of one split of a live one.
#[derive(Debug)]
pub struct DeliveryTelemetry {
    /// What its thread is doing.
    pub heartbeat: Heartbeat,
    /// The queue before it.
    pub queue: OnceLock<QueueFill>,
}

/// What is told of a part of a live stream: a partition, a shard.
#[derive(Debug, Default)]
pub struct SplitTelemetry {
    /// The position of the next record to be read.
    pub position: Gauge,
    /// The position after the last record that there is.
    pub end: Gauge,
    /// Records that are there and were not read. If it is not set, it follows from the positions.
    pub lag: Gauge,
    /// Whether reading rests because the lane has enough to do.
    pub paused: AtomicBool,
    /// Whether it was read to its end for long enough to hold no watermark back.
    pub idle: AtomicBool,
    /// How often it failed and was tried again.
    pub troubles: AtomicU64,
}

impl SplitTelemetry {
    /// Records that are there and were not read, as far as that is known.
    pub fn lag(&self) -> Option<u64> {
        let left = || Some(self.end.get()?.saturating_sub(self.position.get()?));
        let lag = self.lag.get().or_else(left)?;
        Some(lag.max(0) as u64)
    }

    /// Notes whether reading rests.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl ReaderTelemetry {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            heartbeat: Heartbeat::new(clock),
            accounts: Accounts::default(),
        }
    }
}

impl DeliveryTelemetry {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            heartbeat: Heartbeat::new(clock),
            queue: OnceLock::new(),
        }
    }
}
