//! What can go wrong with a partition.

use super::delivery::LiveDeliveryError;
use super::keeper::KeeperError;
use crate::pipeline::lane::LaneError;
use crate::pipeline::reader::ReadError;
use crate::source::kafka::KafkaFault;
use crate::source::live::recorded::RecordedError;
use crate::store::StoreError;
use crate::transform::CallError;

/// Why a partition ended, and which generation has failed it: lanes go over one by one, and fail in the one that they have.
#[derive(Debug)]
pub(super) struct PartitionFailure {
    /// The generation's number.
    pub(super) generation: u64,
    /// What has failed.
    pub(super) error: PartitionError,
}

/// Why a partition cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// It cannot be read on.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A lane cannot go on.
    #[error("lane {lane}: {error}")]
    Lane {
        /// The lane.
        lane: u32,
        /// Why.
        error: LaneError,
    },
    /// What a lane computed cannot be delivered.
    #[error("lane {lane}: {error}")]
    Delivery {
        /// The lane.
        lane: u32,
        /// Why.
        error: Box<LiveDeliveryError>,
    },
    /// A lane cannot be opened.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// A lane cannot be opened or closed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transform does not open.
    #[error("the transform does not open: {0}")]
    Open(#[from] CallError),
    /// What was to be read next is gone.
    #[error(
        "the stream holds offsets {low} to {high} of partition {partition}, and {wanted} comes next: {} Let `on_missing = \"earliest\"` of the event go on with what there is, or begin anew with `--fresh`",
        gone(*wanted, *low, *is_behind_recording)
    )]
    Missing {
        /// The partition.
        partition: u32,
        /// The offset that comes next.
        wanted: i64,
        /// The first that there is.
        low: i64,
        /// The one after the last that there is.
        high: i64,
        /// Whether recorded history ends there.
        is_behind_recording: bool,
    },
    /// Recorded history cannot be read.
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    /// Recorded history lacks messages.
    #[error(
        "bootstrap: the recording of partition {partition} has no offsets from {from} on and before {to}: {} messages were deleted before they were recorded. Let `on_missing = \"earliest\"` of the event go on with what there is, or leave `bootstrap` out",
        to.saturating_sub(*from)
    )]
    RecordedGap {
        /// The partition.
        partition: u32,
        /// The first offset that is missing.
        from: i64,
        /// The first that is there.
        to: i64,
    },
    /// Producers divide the topic otherwise than was declared.
    #[error(
        "bootstrap: by `partitioner = \"{name}\"` of column `{column}`, {wrong} of {looked} messages at the end of partition {partition} belong to other partitions (the key {key} to {other}), so history would come to other partitions than the stream; correct `partitioner` and `key` of `bootstrap`. Nothing was read"
    )]
    Partitioner {
        /// The partition.
        partition: u32,
        /// The name of the partitioner.
        name: &'static str,
        /// The column that it goes by.
        column: String,
        /// How many messages were looked at.
        looked: usize,
        /// How many of them should be elsewhere.
        wrong: usize,
        /// The key of one.
        key: String,
        /// Where it should be.
        other: u32,
    },
    /// The topic could not be looked at.
    #[error(transparent)]
    Look(#[from] KafkaFault),
    /// History that lanes have begun with is not declared any more.
    #[error(
        "partition {partition} has read a part of the history that `bootstrap` of the event named, and it names none now: put it back, or begin anew with `--fresh`"
    )]
    HistoryGone {
        /// The partition.
        partition: u32,
    },
    /// What was to be read next of a shard is gone.
    #[error(
        "shard {shard} does not hold what comes next{}: {reason}. Let `on_missing = \"earliest\"` of the event go on with what there is, or begin anew with `--fresh`",
        between(wanted.as_deref(), first.as_deref())
    )]
    MissingRecords {
        /// The shard.
        shard: String,
        /// The number of the record after which to go on.
        wanted: Option<String>,
        /// The number of the first record that there is after it.
        first: Option<String>,
        /// What the service says.
        reason: String,
    },
    /// A shard that was read to its end takes records again.
    #[error(
        "shard {0} was read to its end and takes records again: the stream was made anew; begin anew with `--fresh`"
    )]
    Reopened(String),
    /// There is no thread to be had.
    #[error("cannot start a thread: {0}; let this process have more, or run more processes")]
    Thread(std::io::Error),
    /// A thread or task ended in a panic.
    #[error("its {0} panicked, which is a fault of Penstock; please report it")]
    Panicked(&'static str),
}

fn gone(wanted: i64, low: i64, is_behind_recording: bool) -> String {
    match low.checked_sub(wanted) {
        Some(lost @ 1..) if is_behind_recording => format!(
            "the recording ends at {wanted} and the topic begins at {low}, so {lost} messages are in neither."
        ),
        Some(lost @ 1..) => format!("{lost} messages were deleted before they were read."),
        _ => "the topic was made anew.".to_owned(),
    }
}

fn between(wanted: Option<&str>, first: Option<&str>) -> String {
    let after = wanted.map(|wanted| format!(" after record {wanted}"));
    let until = first.map(|first| format!(", and goes on at {first}"));
    after.unwrap_or_default() + &until.unwrap_or_default()
}

impl PartitionError {
    /// Whether somebody else has a lane by now.
    pub(super) fn is_fenced(&self) -> bool {
        match self {
            Self::Delivery { error, .. } => error.is_fenced(),
            Self::Store(error) | Self::Keeper(KeeperError::Store(error)) => error.is_fenced(),
            _ => false,
        }
    }

    /// Whether a lane has gone on to a generation that this host does not know of yet.
    pub(super) fn is_behind(&self) -> bool {
        matches!(self, Self::Keeper(KeeperError::Newer { .. }))
    }

    /// Whether it is the transform that has failed, and not what is around it.
    pub(super) fn is_of_the_transform(&self) -> bool {
        let call = match self {
            Self::Lane {
                error: LaneError::Call(error),
                ..
            } => error,
            Self::Open(error) => error,
            Self::Keeper(KeeperError::Migration { error, .. }) => {
                return error.is_of_the_transform();
            }
            _ => return false,
        };
        !call.is_pressure()
    }

    /// Whether states cannot be taken over, for a reason that is the same another time.
    pub(super) fn is_of_a_migration(&self) -> bool {
        let lasts = |error: &KeeperError| match error {
            KeeperError::Migration { error, .. } => error.is_of_the_transform(),
            _ => false,
        };
        matches!(self, Self::Keeper(error) if lasts(error))
    }

    /// Whether it is the mapper that has failed, and not what is around it.
    pub(super) fn is_of_the_mapper(&self) -> bool {
        matches!(self, Self::Read(ReadError::Map { error, .. }) if !error.is_pressure())
    }

    /// Whether the pipeline was given something that it cannot work on.
    pub(super) fn is_bad_input(&self) -> bool {
        match self {
            Self::Keeper(
                KeeperError::Other { .. }
                | KeeperError::Grown { .. }
                | KeeperError::NoWayBack { .. }
                | KeeperError::OtherState { .. }
                | KeeperError::Meta { .. },
            )
            | Self::Missing { .. }
            | Self::MissingRecords { .. }
            | Self::Reopened(_)
            | Self::RecordedGap { .. }
            | Self::Partitioner { .. }
            | Self::HistoryGone { .. }
            | Self::Read(ReadError::NotByKey { .. }) => true,
            Self::Keeper(KeeperError::Migration { error, .. }) => error.is_of_the_transform(),
            Self::Read(ReadError::Source(error)) => !error.is_of_the_system(),
            Self::Recorded(error) => !error.is_of_the_system(),
            // Whoever started it again would find the same rows, and give it up again.
            Self::Lane {
                error: LaneError::Call(error),
                ..
            } => error.is_given_up(),
            Self::Lane { error, .. } => matches!(error, LaneError::Received(_)),
            Self::Delivery { error, .. } => error.is_bad_input(),
            _ => false,
        }
    }

    /// Whether this only follows from another part's failure.
    pub(super) fn is_consequence(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, ReadError::Closed | ReadError::Stopped),
            Self::Lane { error, .. } => matches!(error, LaneError::Closed),
            Self::Delivery { error, .. } => matches!(**error, LiveDeliveryError::Incomplete),
            _ => false,
        }
    }
}
