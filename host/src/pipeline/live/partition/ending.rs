//! How a partition ends: its lanes and their deliveries are waited for, and the cause of a failure is found among what
//! follows from it, with the generation of the lane that has failed.

use std::sync::atomic::Ordering;

use super::{LaneAtWork, Lanes, Partition};
use crate::pipeline::live::error::{PartitionError, PartitionFailure};
use crate::pipeline::live::working::PartitionEnd;

impl Partition {
    /// A failure in the generation with which the partition was begun.
    pub(super) fn failed(&self, error: PartitionError) -> PartitionFailure {
        PartitionFailure {
            generation: self.shared.generation(),
            error,
        }
    }

    /// Waits for the lanes and their deliveries, and closes what they had open.
    pub(super) fn end(
        &self,
        lanes: Lanes,
        failed: Option<PartitionError>,
    ) -> Result<PartitionEnd, PartitionFailure> {
        let shared = &self.shared;
        let handed = lanes.handed;
        let failed = failed.map(|error| match error {
            // What is opened while lanes work is what is handed to them.
            PartitionError::Open(_) => PartitionFailure {
                generation: handed,
                error,
            },
            error => self.failed(error),
        });
        let mut failures: Vec<PartitionFailure> = failed.into_iter().collect();
        // Lanes that were not told to stop end when there is nobody left to give them anything.
        drop(lanes.dealer);
        for LaneAtWork { number, has, task } in lanes.tasks {
            let error = match shared.lanes.block_on(task) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => PartitionError::Lane {
                    lane: number,
                    error,
                },
                Err(_) => PartitionError::Panicked("lane"),
            };
            failures.push(PartitionFailure {
                generation: has.load(Ordering::Relaxed),
                error,
            });
        }
        lanes.beside.join();
        let mut end = PartitionEnd {
            is_lost: self.flags.lost.load(Ordering::Relaxed),
            ..PartitionEnd::default()
        };
        for (lane, delivery) in lanes.deliveries {
            let Ok(ended) = delivery.join() else {
                failures.push(self.failed(PartitionError::Panicked("delivery")));
                continue;
            };
            let closed = shared.io.block_on(shared.store.close_lane(ended.lane));
            match ended.done {
                Ok(report) => {
                    end.lanes.insert(lane, report);
                    let closed = closed.map_err(|error| self.failed(error.into()));
                    failures.extend(closed.err());
                }
                // That the database of a lane that is lost does not close is no surprise.
                Err(error) => failures.push(self.failed(PartitionError::Delivery {
                    lane,
                    error: Box::new(error),
                })),
            }
        }
        let mut errors = failures.iter().map(|failure| &failure.error);
        let cause = errors.position(|error| !error.is_consequence());
        match cause {
            Some(cause) => Err(failures.swap_remove(cause)),
            None => Ok(end),
        }
    }
}
