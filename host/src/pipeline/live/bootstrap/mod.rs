//! Bootstrap: a live pipeline begins with recorded history, and goes on with the stream.
//!
//! In comes where the history is, as `penstock.toml` says it (`found`). A partition whose lanes have nothing yet, or
//! have not come to its end, reads it before the stream:
//!
//! - of what `penstock record` wrote, exactly those messages that its lanes have not seen, from one offset to another
//!   (`exact`). The stream is read from the offset behind them;
//! - of any other files, the rows whose keys are its own (`partitioning`), by event time (`approximate`). The stream is
//!   read from about that time on, less what it has up to the greatest event time of the files.
//!
//! Lanes commit meanwhile as they always do, so a crash goes on wherever it was: cursors are offsets, or positions
//! before all offsets.
//!
//! What it must never do: pass over messages between a recording and the stream silently, give a lane a message that
//! it has judged, or let a join by time pass for an exact one.

mod approximate;
mod exact;
mod found;
mod partitioning;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) use self::found::find;
use self::partitioning::Partitioning;
use super::error::PartitionError;
use super::partition::{Lanes, Partition};
use crate::source::live::Position;
use crate::source::live::recorded::RecordedPartition;
use crate::source::replay::ReplaySpec;

/// Recorded history of a topic.
#[derive(Debug, Clone)]
pub(super) struct Bootstrap {
    /// Where it is, for people.
    pub(super) place: Arc<str>,
    history: History,
}

#[derive(Debug, Clone)]
enum History {
    /// What `penstock record` wrote of each partition.
    Recorded(BTreeMap<u32, RecordedPartition>),
    /// Any files of the event.
    Files {
        files: Box<ReplaySpec>,
        partitioning: Partitioning,
    },
}

impl Bootstrap {
    /// Whether history and stream meet by time alone.
    pub(super) fn is_approximate(&self) -> bool {
        matches!(self.history, History::Files { .. })
    }
}

impl Partition {
    /// Reads history that is new to the lanes, if there is any, and asks for the stream behind it. If it is time to go
    /// before that, nothing is asked for. `from`: where the lanes go on; none if they have nothing.
    pub(super) fn begin(
        &self,
        lanes: &mut Lanes,
        from: Option<Position>,
    ) -> Result<(), PartitionError> {
        let cursor = lanes.splits.at(self.number).1;
        let is_in_history = from.is_some() && cursor.is_in_history();
        let bootstrap = self.shared.opened.bootstrap.as_ref();
        match bootstrap.map(|bootstrap| &bootstrap.history) {
            Some(History::Files {
                files,
                partitioning,
            }) if is_in_history || from.is_none() => {
                self.begin_with_files(lanes, files, partitioning, is_in_history)?;
            }
            _ if is_in_history => {
                return Err(PartitionError::HistoryGone {
                    partition: self.number,
                });
            }
            Some(History::Recorded(partitions)) if partitions.contains_key(&self.number) => {
                let from = from.and_then(|from| from.offset());
                self.begin_with(lanes, &partitions[&self.number], from)?;
            }
            _ => self.shared.source.start(self.number, from),
        }
        if !self.is_told_to_go() {
            self.flags.is_bootstrapping.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}
