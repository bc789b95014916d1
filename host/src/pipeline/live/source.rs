//! What a live pipeline reads from, whatever it is.
//!
//! A source gives this process *units* of work, and each unit has *splits*. Of a topic of Kafka a unit is
//! a partition, which has one split, itself; units come and go as the group says. A stream of Kinesis is
//! one unit, which is there from the start, and its splits are the shards: they are read together, so
//! that a key's state stays where it is whatever becomes of its shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::working::{Appeared, Gap, Incoming, Intake};
use crate::clock::Clock;
use crate::pipeline::telemetry::SplitStatus;
use crate::source::kafka::{KafkaEvent, KafkaFault, KafkaSource, PartitionState};
use crate::source::kinesis::{
    FaultKind, KinesisEvent, KinesisFault, KinesisSource, ShardCursor, ShardInfo, ShardState,
};
use crate::source::live::{Placed, Position, StreamOptions};

/// The number of the one unit of a stream of Kinesis.
const STREAM: u32 = 0;

/// A stream that is read.
pub(super) enum LiveSource {
    Kafka(KafkaSource),
    Kinesis {
        source: KinesisSource,
        /// Whether the member was told of its unit.
        is_assigned: AtomicBool,
    },
}

/// What happens to a source.
#[derive(Debug)]
pub(super) enum LiveEvent {
    /// These units are ours now.
    Assigned(Vec<u32>),
    /// A unit is to hear this.
    Heard(u32, Intake),
    /// These units are to go to another process, once they have committed.
    Revoked(Vec<u32>),
    /// These units were taken: nothing of them may be committed any more.
    Lost(Vec<u32>),
    /// The topic has more partitions than before.
    Grown { before: u32, after: u32 },
    /// A unit is read no more, as it was asked.
    Rested(u32),
    /// Nobody answers, for what reason.
    Unreachable(String),
    /// Somebody answers again.
    Reachable,
    /// Something fails that is tried again.
    Trouble(String),
}

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamFault {
    /// A topic of Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaFault),
    /// A stream of Kinesis.
    #[error(transparent)]
    Kinesis(#[from] KinesisFault),
}

impl StreamFault {
    /// Whether what was declared is wrong, and not the moment.
    pub(super) fn is_bad_input(&self) -> bool {
        match self {
            Self::Kafka(fault) => super::outbox::is_bad_input(fault),
            Self::Kinesis(fault) => matches!(
                fault.kind,
                FaultKind::Setting | FaultKind::Denied | FaultKind::Missing
            ),
        }
    }
}

impl LiveSource {
    /// Connects, and begins to hear.
    pub(super) fn connect(
        options: &StreamOptions,
        io: Handle,
        clock: Arc<dyn Clock>,
        stop: &AtomicBool,
    ) -> Result<Self, StreamFault> {
        Ok(match options {
            StreamOptions::Kafka(settings) => {
                Self::Kafka(KafkaSource::connect(settings, clock, stop)?)
            }
            StreamOptions::Kinesis(settings) => Self::Kinesis {
                source: KinesisSource::connect(settings, io, clock, stop)?,
                is_assigned: AtomicBool::new(false),
            },
        })
    }

    /// How many units there are in all processes.
    pub(super) fn units(&self) -> u32 {
        match self {
            Self::Kafka(source) => source.partitions(),
            Self::Kinesis { .. } => 1,
        }
    }

    /// Whether somebody says which process has which unit. Where nobody does, whoever opens its lanes
    /// last has it.
    pub(super) fn has_group(&self) -> bool {
        matches!(self, Self::Kafka(_))
    }

    /// Whether it was said what of the stream is ours, which may be nothing.
    pub(super) fn has_joined(&self) -> bool {
        match self {
            Self::Kafka(source) => source.has_joined(),
            Self::Kinesis { .. } => true,
        }
    }

    /// The next event, for which this waits up to `wait`; none if there is none by then.
    pub(super) fn next(&self, wait: Duration) -> Result<Option<LiveEvent>, StreamFault> {
        match self {
            Self::Kafka(source) => Ok(source.next(wait)?.map(of_kafka)),
            Self::Kinesis {
                source,
                is_assigned,
            } => {
                if !is_assigned.swap(true, Ordering::Relaxed) {
                    return Ok(Some(LiveEvent::Assigned(vec![STREAM])));
                }
                let intake = source.next(wait)?.and_then(of_kinesis);
                Ok(intake.map(|intake| LiveEvent::Heard(STREAM, intake)))
            }
        }
    }

    /// The splits of a unit that are known from the start. Others are told of.
    pub(super) fn splits_of(&self, unit: u32) -> Vec<Appeared> {
        match self {
            Self::Kafka(_) => vec![Appeared {
                number: unit,
                name: unit.to_string().into(),
                parents: Vec::new(),
                is_closed: false,
            }],
            Self::Kinesis { .. } => Vec::new(),
        }
    }

    /// Where a split stands of which nothing was read.
    pub(super) fn unread(&self) -> Position {
        match self {
            Self::Kafka(_) => Position::Offset(0),
            Self::Kinesis { .. } => Position::Shard(ShardCursor::Beginning),
        }
    }

    /// Reads a split from a position on, or where the settings say if there is none.
    pub(super) fn start(&self, split: u32, position: Option<Position>) {
        match (self, position) {
            (Self::Kafka(source), position) => {
                source.start(split, position.and_then(|position| position.offset()));
            }
            (Self::Kinesis { source, .. }, Some(Position::Shard(cursor))) => {
                source.start(split, Some(cursor));
            }
            (Self::Kinesis { source, .. }, _) => source.start(split, None),
        }
    }

    /// Reads a partition from the first message on that was recorded at a time or later, in microseconds.
    pub(super) fn start_since(&self, partition: u32, time: i64) {
        if let Self::Kafka(source) = self {
            source.start_since(partition, time);
        }
    }

    /// The first offset that a partition has, as last heard.
    pub(super) fn first_of(&self, partition: u32) -> Option<i64> {
        match self {
            Self::Kafka(source) => {
                let mut all = source.status().into_iter();
                all.find(|it| it.partition == partition).map(|it| it.low)
            }
            Self::Kinesis { .. } => None,
        }
    }

    /// Tells those who look after the stream how far a split is committed, where somebody does.
    pub(super) fn commit(&self, split: u32, position: &Position) {
        if let (Self::Kafka(source), Position::Offset(next)) = (self, position) {
            source.commit(split, *next);
        }
    }

    /// Gives up a unit that has committed.
    pub(super) fn release(&self, unit: u32) {
        if let Self::Kafka(source) = self {
            source.release(unit);
        }
    }

    /// Reads a unit no more, and keeps it: [`LiveEvent::Rested`] says when it may be begun again. A stream of Kinesis is
    /// connected to anew instead.
    pub(super) fn rest(&self, unit: u32) {
        if let Self::Kafka(source) = self {
            source.rest(unit);
        }
    }

    /// Since when splits are known to have been read to their ends, by number; of those that are not,
    /// nothing.
    pub(super) fn ends(&self) -> Vec<(u32, Duration)> {
        match self {
            Self::Kafka(source) => {
                let all = source.status().into_iter();
                all.filter_map(|it| Some((it.partition, it.at_end?)))
                    .collect()
            }
            Self::Kinesis { source, .. } => {
                let all = source.status().into_iter();
                all.filter_map(|it| Some((it.shard, it.at_end?))).collect()
            }
        }
    }

    /// How far splits were read, for whoever asks.
    pub(super) fn status(&self) -> Vec<SplitStatus> {
        match self {
            Self::Kafka(source) => {
                let all = source.status().into_iter();
                all.map(|status| SplitStatus {
                    split: status.partition.to_string(),
                    position: status.next,
                    end: Some(status.high).filter(|high| *high >= 0),
                    lag: status.lag(),
                    behind: None,
                    paused: matches!(status.state, PartitionState::Full | PartitionState::Paused),
                    held_bytes: status.held_bytes as u64,
                    pauses: status.pauses,
                    throttled: None,
                })
                .collect()
            }
            Self::Kinesis { source, .. } => {
                let all = source.status().into_iter();
                // Of those that are closed there is nothing to be told any more.
                let open = all.filter(|status| status.state != ShardState::Closed);
                open.map(|status| SplitStatus {
                    split: status.id,
                    position: Some(status.next_offset),
                    end: None,
                    lag: None,
                    behind: (status.behind_ms)
                        .map(|behind| Duration::from_millis(behind.max(0) as u64)),
                    paused: matches!(status.state, ShardState::Full | ShardState::Paused),
                    held_bytes: status.held_bytes as u64,
                    pauses: status.pauses,
                    throttled: Some(status.throttled),
                })
                .collect()
            }
        }
    }

    /// Ends reading, for which this waits up to `patience`. Gives whether it has ended in time.
    pub(super) fn leave(&self, patience: Duration) -> bool {
        match self {
            Self::Kafka(source) => source.leave(patience),
            Self::Kinesis { source, .. } => source.leave(patience),
        }
    }
}

fn of_kafka(event: KafkaEvent) -> LiveEvent {
    let heard = |partition, intake| LiveEvent::Heard(partition, intake);
    match event {
        KafkaEvent::Assigned(partitions) => LiveEvent::Assigned(partitions),
        KafkaEvent::Started { partition, offset } => heard(
            partition,
            Intake::Started {
                split: partition,
                from: Some(Position::Offset(offset)),
            },
        ),
        KafkaEvent::Messages(batch) => heard(
            batch.messages.split,
            Intake::Messages(Box::new(Incoming {
                messages: batch.messages,
                placed: None,
                held: batch.held,
            })),
        ),
        KafkaEvent::AtEnd { partition, next } => heard(
            partition,
            Intake::AtEnd {
                split: partition,
                next: Some(Position::Offset(next)),
            },
        ),
        KafkaEvent::Missing {
            partition,
            wanted,
            low,
            high,
        } => heard(
            partition,
            Intake::Missing(Gap::Offsets {
                partition,
                wanted,
                low,
                high,
            }),
        ),
        KafkaEvent::Rested(partition) => LiveEvent::Rested(partition),
        KafkaEvent::Revoked(partitions) => LiveEvent::Revoked(partitions),
        KafkaEvent::Lost(partitions) => LiveEvent::Lost(partitions),
        KafkaEvent::Grown { before, after } => LiveEvent::Grown { before, after },
        KafkaEvent::Unreachable(reason) => LiveEvent::Unreachable(reason),
        KafkaEvent::Reachable => LiveEvent::Reachable,
        KafkaEvent::Trouble(reason) => LiveEvent::Trouble(reason),
    }
}

/// What the unit is to hear. Of troubles the source has written into the log itself.
fn of_kinesis(event: KinesisEvent) -> Option<Intake> {
    Some(match event {
        KinesisEvent::Shards(shards) => {
            let appeared = |shard: ShardInfo| Appeared {
                number: shard.shard,
                name: shard.id.into(),
                parents: shard.parents,
                is_closed: shard.closed,
            };
            Intake::Appeared(shards.into_iter().map(appeared).collect())
        }
        KinesisEvent::Started { shard, from, .. } => Intake::Started {
            split: shard,
            from: from.map(Position::Shard),
        },
        KinesisEvent::Messages(batch) => Intake::Messages(Box::new(Incoming {
            placed: Some(Placed {
                first: batch.messages.offsets[0],
                places: batch.places,
            }),
            messages: batch.messages,
            held: batch.held,
        })),
        KinesisEvent::AtEnd { shard } => Intake::AtEnd {
            split: shard,
            next: None,
        },
        KinesisEvent::Closed { shard } => Intake::Finished(shard),
        KinesisEvent::Missing {
            shard,
            wanted,
            first,
            reason,
        } => Intake::Missing(Gap::Records {
            split: shard,
            wanted,
            first,
            reason,
        }),
        KinesisEvent::Throttled(_)
        | KinesisEvent::Unreachable(_)
        | KinesisEvent::Reachable
        | KinesisEvent::Trouble(_) => return None,
    })
}
