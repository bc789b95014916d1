//! Messages that a stream has deleted before they were read.

use super::error::PartitionError;
use super::opening::OnMissing;
use super::partition::{Lanes, Partition};
use super::working::Gap;
use crate::source::kinesis::ShardCursor;
use crate::source::live::Position;

impl Partition {
    /// Decides what is done when messages were deleted before they were read.
    pub(super) fn missing(&self, lanes: &Lanes, gap: Gap) -> Result<(), PartitionError> {
        let (split, low, error) = match gap {
            Gap::Offsets {
                partition,
                wanted,
                low,
                high,
            } => {
                let error = PartitionError::Missing {
                    partition,
                    wanted,
                    low,
                    high,
                    is_behind_recording: lanes.recorded_until == Some(wanted),
                };
                (partition, Position::Offset(low), error)
            }
            Gap::Records {
                split,
                wanted,
                first,
                reason,
            } => {
                let error = PartitionError::MissingRecords {
                    shard: lanes.splits.at(split).0.to_string(),
                    wanted,
                    first,
                    reason,
                };
                (split, Position::Shard(ShardCursor::Beginning), error)
            }
        };
        if self.shared.opened.on_missing == OnMissing::Stop {
            return Err(error);
        }
        tracing::error!(
            pipeline = self.shared.name(),
            %error,
            "messages were deleted before they were read; going on with what there is"
        );
        self.shared.source.start(split, Some(low));
        Ok(())
    }
}
