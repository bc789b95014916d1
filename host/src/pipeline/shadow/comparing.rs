//! The two lanes are listened to in turn, the one that is behind first, until both have ended.

use std::sync::{Mutex, PoisonError};

use arrow::error::ArrowError;

use super::matching::{Matching, Reached, Side};
use super::report::Report;
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::lane::FromLane;
use crate::pipeline::queue::Receiver;

/// Why two versions cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// What they emit is about other things.
    #[error(
        "the two versions have other keys, so that nothing of one belongs to something of the other"
    )]
    Shape,
    /// What one of them emits has no counterpart for too long.
    #[error(
        "the two versions emit so differently that more than {0} bytes wait for their counterparts"
    )]
    Apart(usize),
    /// Arrow cannot compare the values.
    #[error("the values cannot be compared: {0}")]
    Arrow(#[from] ArrowError),
}

/// A comparison that is about to begin.
pub(in crate::pipeline) struct Comparing {
    pub(in crate::pipeline) matching: Matching,
    /// What the lane of the version at work emits.
    pub(in crate::pipeline) old: Receiver<ToDelivery>,
}

impl Comparing {
    /// Compares what two lanes emit until both are done, and adds it to a report. Gives which of them has ended before it
    /// was done, if one has: it says why itself.
    ///
    /// # Errors
    ///
    /// See [`CompareError`].
    pub(in crate::pipeline) async fn run(
        self,
        mut new: Receiver<ToDelivery>,
        report: &Mutex<Report>,
    ) -> Result<Option<Side>, CompareError> {
        let Self {
            mut matching,
            mut old,
        } = self;
        let mut is_done = [false; 2];
        while is_done != [true; 2] {
            let behind = matching.behind();
            let side = match is_done[behind as usize] {
                true => behind.other(),
                false => behind,
            };
            let lane = match side {
                Side::Old => &mut old,
                Side::New => &mut new,
            };
            let Some(message) = lane.receive().await else {
                return Ok(Some(side));
            };
            let ToDelivery::Lane(_, message) = message else {
                continue;
            };
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            is_done[side as usize] = take(&mut matching, side, &message, &mut report)?;
        }
        Ok(None)
    }
}

/// Takes a message of a lane. Gives whether the lane is done.
fn take(
    matching: &mut Matching,
    side: Side,
    message: &FromLane,
    report: &mut Report,
) -> Result<bool, CompareError> {
    match message {
        FromLane::Emitted(output) => matching.emit(side, output, report)?,
        FromLane::Progress {
            sequence,
            watermark,
            ..
        } => {
            let reached = Reached {
                sequence: *sequence,
                watermark: *watermark,
            };
            matching.reach(side, reached, report)?;
        }
        FromLane::Done(done) => {
            if side == Side::Old {
                report.rows += done.accounting.read;
            }
            matching.end(side, report)?;
        }
        // What was refused shows in the values.
        FromLane::Refused(_)
        | FromLane::Relayed(_)
        | FromLane::Commit(_)
        | FromLane::SetAside(_)
        | FromLane::Switched(_) => {}
    }
    Ok(matches!(message, FromLane::Done(_)))
}
