//! Two versions over the same recorded events, in this process: each reads them by itself, and has one lane, from which
//! nothing goes anywhere but into the comparison.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::comparing::{CompareError, Comparing};
use super::matching::{Matching, Side};
use super::report::Report;
use crate::pipeline::commit::{LaneCommits, Resume};
use crate::pipeline::dealer::Dealer;
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::features::Features;
use crate::pipeline::lane::{Outlet, ToLane};
use crate::pipeline::plan::Plan;
use crate::pipeline::queue::{Receiver, Sender, queue};
use crate::pipeline::reader::{ReadError, Reader, ReaderReport};
use crate::pipeline::run::{LaneTask, start_lane};
use crate::pipeline::run_error::RunError;
use crate::pipeline::spans;
use crate::pipeline::telemetry::PipelineTelemetry;
use crate::pipeline::wiring::{Host, Opened};
use crate::source::ReadProgress;
use crate::source::replay::Replay;

/// Bytes that may wait for a lane, and for the comparison.
const QUEUE: usize = 16 << 20;

/// Why recorded events say nothing of the two versions.
#[derive(Debug, thiserror::Error)]
pub enum ReplayedError {
    /// One of them does not come to their end.
    #[error("{} fails on these events: {error}", side.name())]
    Run {
        /// Which.
        side: Side,
        /// Why.
        error: RunError,
    },
    /// They cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl ReplayedError {
    /// Whether it was stopped.
    pub fn is_stop(&self) -> bool {
        matches!(
            self,
            Self::Run {
                error: RunError::Read {
                    error: ReadError::Stopped,
                    ..
                },
                ..
            }
        )
    }

    /// Whether the new version is to blame.
    pub fn is_of_the_new(&self) -> bool {
        matches!(
            self,
            Self::Run {
                side: Side::New,
                error: RunError::Lane { .. },
            } | Self::Compare(CompareError::Apart(_) | CompareError::Shape)
        )
    }
}

/// Runs two versions of a pipeline over the recorded events that they were opened with, and says what differs. Each was
/// opened with one lane.
///
/// # Errors
///
/// See [`ReplayedError`].
pub fn replay(
    host: &Host,
    old: Opened,
    new: Opened,
    stop: &Arc<AtomicBool>,
) -> Result<Report, ReplayedError> {
    let features = |opened: &mut Opened| {
        let features = std::mem::take(&mut opened.features);
        Arc::new(Features::new(Arc::clone(&opened.plan), features))
    };
    let (mut old, mut new) = (old, new);
    let (old_features, new_features) = (features(&mut old), features(&mut new));
    let (old_plan, new_plan): (Arc<Plan>, Arc<Plan>) =
        (Arc::clone(&old.plan), Arc::clone(&new.plan));
    let matching = Matching::new((&old_plan, old_features), (&new_plan, new_features))?;
    let report = Mutex::new(matching.report());
    let failed = |side| move |error| ReplayedError::Run { side, error };
    let (old, of_old) = Running::start(host, old, stop).map_err(failed(Side::Old))?;
    let (new, of_new) = match Running::start(host, new, stop) {
        Ok(started) => started,
        Err(error) => {
            // Without a listener it ends.
            drop(of_old);
            let _ = old.join(host);
            return Err(failed(Side::New)(error));
        }
    };
    let comparing = Comparing {
        matching,
        old: of_old,
    };
    let compared = host.io.block_on(comparing.run(of_new, &report));
    let (old, new) = (old.join(host), new.join(host));
    let mut ended = [(Side::Old, old), (Side::New, new)];
    // One that fails has the other end without a listener; the one that did not follow from another is told.
    ended.sort_by_key(|(_, ended)| ended.as_ref().err().is_some_and(RunError::is_consequence));
    for (side, ended) in ended {
        if let Err(error) = ended
            && (stop.load(Ordering::Relaxed) || !error.is_consequence())
        {
            return Err(failed(side)(stopped(error, stop)));
        }
    }
    compared?;
    Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What ends when it hears of a stop says so.
fn stopped(error: RunError, stop: &AtomicBool) -> RunError {
    match (error, stop.load(Ordering::Relaxed)) {
        (RunError::Read { pipeline, .. } | RunError::Lane { pipeline, .. }, true) => {
            let error = ReadError::Stopped;
            RunError::Read { pipeline, error }
        }
        (error, _) => error,
    }
}

/// A version at work.
struct Running {
    pipeline: String,
    transform: String,
    reader: JoinHandle<Result<ReaderReport, ReadError>>,
    lane: LaneTask,
}

impl Running {
    fn start(
        host: &Host,
        opened: Opened,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Self, Receiver<ToDelivery>), RunError> {
        let pipeline = opened.plan.pipeline.clone();
        let read = |error: ReadError| RunError::Read {
            pipeline: pipeline.clone(),
            error,
        };
        let progress = Arc::new(ReadProgress::default());
        let source = Replay::open_until(opened.replay.clone(), progress, stop);
        let source = source.map_err(|error| read(error.into()))?;
        let telemetry = PipelineTelemetry::default();
        let (to_comparison, from_lane): (Sender<ToDelivery>, _) = queue(QUEUE);
        let (to_lane, from_reader) = queue::<ToLane>(QUEUE);
        let out = Outlet {
            lane: 0,
            delivery: to_comparison,
            stop: Arc::clone(stop),
            telemetry: telemetry.lane(0, None, &host.clock),
            beside: None,
        };
        let commits = LaneCommits::new(None, Resume::default(), None);
        let transform = opened.transforms.into_iter().next();
        let lane = start_lane(
            host,
            (&opened.plan, &opened.digest),
            transform,
            commits,
            out,
            from_reader,
        )?;
        let reading = telemetry.reader("", &host.clock);
        let (plan, mapping) = (opened.plan, opened.mapping);
        let stop = Arc::clone(stop);
        let dealer = Dealer::new(plan, mapping, vec![to_lane], None, stop, reading);
        let dealer = dealer.map_err(|error| read(error.into()))?;
        let reader = Reader { source, dealer };
        let span = spans::part(&pipeline, "reader", &opened.digest);
        let thread = std::thread::Builder::new().name("reader".to_owned());
        let reader = thread.spawn(move || span.in_scope(|| reader.run()));
        let reader = reader.map_err(|error| RunError::Thread {
            pipeline: pipeline.clone(),
            error,
        })?;
        let running = Self {
            pipeline,
            transform: opened.digest,
            reader,
            lane,
        };
        Ok((running, from_lane))
    }

    /// Waits for its end.
    fn join(self, host: &Host) -> Result<(), RunError> {
        let pipeline = self.pipeline;
        let panicked = |part| RunError::Panicked {
            pipeline: pipeline.clone(),
            part,
        };
        let read = self.reader.join().map_err(|_| panicked("reader"))?;
        let lane = host.lanes.block_on(self.lane);
        let lane = lane.map_err(|_| panicked("lane"))?;
        let lane = lane.map_err(|error| RunError::Lane {
            pipeline: pipeline.clone(),
            lane: 0,
            transform: self.transform,
            error,
        });
        let read = read.map_err(|error| RunError::Read { pipeline, error });
        match (lane, read) {
            // A lane ends when its reader does.
            (Err(error), Err(cause)) if error.is_consequence() => Err(cause),
            (lane, read) => lane.and(read.map(drop)),
        }
    }
}
