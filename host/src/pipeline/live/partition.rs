//! One partition at work: its thread, its lanes, and their deliveries.
//!
//! The thread opens the lanes, asks for the partition from the least of their cursors on, and deals out
//! what comes until it is told to leave, or that the partition is lost. To leave is to commit
//! everything that was dealt, and to give the partition up; lost means that nothing more may be
//! committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use tracing::Instrument as _;

use super::committed::Committed;
use super::delivery::{LaneDelivery, LaneEnd};
use super::error::PartitionError;
use super::keeper::{Keeper, Taken};
use super::opening::OnMissing;
use super::outbox::{Outbox, Waiting};
use super::partial::PartialLane;
use super::rows::RowMessages;
use super::run::Shared;
use super::stages::Stage;
use super::telling::PartitionTelling;
use super::whole::Assembly;
use super::working::{Flags, Intake, PartitionEnd};
use crate::pipeline::commit::LaneCommits;
use crate::pipeline::dealer::Dealer;
use crate::pipeline::invalid::InvalidRows;
use crate::pipeline::lane::{Lane, LaneError, Outlet, Place, ToLane};
use crate::pipeline::passing::Passing;
use crate::pipeline::queue::{Sender, queue};
use crate::pipeline::reader::ReadError;
use crate::pipeline::residence::Kept;
use crate::pipeline::spans;
use crate::pipeline::telemetry::LaneTelemetry;
use crate::source::live::{LiveSplit, SplitCursor};
use crate::source::messages::Messages;
use crate::source::{Origins, SourceBatch};

/// Bytes that may wait for one lane, and for its delivery. There may be many partitions.
const QUEUE: usize = 8 << 20;

/// How long it may go unnoticed that a lane has ended while there is nothing to give it.
const GLANCE: Duration = Duration::from_millis(100);

/// How long to wait before a schema registry is asked again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A partition at work.
pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u32,
    pub(super) incoming: mpsc::Receiver<Intake>,
    pub(super) flags: Flags,
    pub(super) telling: PartitionTelling,
}

/// The lanes of a partition at work.
struct Lanes {
    dealer: Dealer,
    tasks: Vec<(u32, tokio::task::JoinHandle<Result<(), LaneError>>)>,
    deliveries: Vec<(u32, JoinHandle<LaneEnd>)>,
    /// Where lanes had committed, by rising position.
    cuts: Vec<i64>,
    split: LiveSplit,
    /// Whether any lane goes on where it had committed.
    goes_on: bool,
    /// When the last message came, by the clock, or the lanes were opened.
    heard: Duration,
    /// Whether messages came since time went on by itself.
    may_advance: bool,
    /// Whether the lanes were told that nothing comes any more.
    is_idle: bool,
}

impl Lanes {
    fn are_at_work(&self) -> bool {
        let mut deliveries = self.deliveries.iter();
        let mut tasks = self.tasks.iter();
        !deliveries.any(|(_, thread)| thread.is_finished())
            && !tasks.any(|(_, task)| task.is_finished())
    }
}

impl Partition {
    pub(super) fn run(self) -> Result<PartitionEnd, PartitionError> {
        let mut lanes = match self.open() {
            Ok(lanes) => lanes,
            Err(error) => {
                // Whatever was opened is of no use without the others.
                self.flags.lose();
                self.telling.close();
                return Err(error);
            }
        };
        self.flags.is_open.store(true, Ordering::Relaxed);
        let read = self.read(&mut lanes);
        if read.is_err() {
            self.flags.lose();
        }
        let ended = self.end(lanes, read.err());
        self.telling.close();
        if ended.as_ref().is_ok_and(|ended| !ended.is_lost) {
            self.shared.source.release(self.number);
        }
        ended
    }

    /// Opens the lanes, and asks for what comes after them.
    fn open(&self) -> Result<Lanes, PartitionError> {
        let shared = &self.shared;
        let count = shared.opened.lanes_of_a_partition;
        let first = self.number * count;
        let mut taken = Vec::new();
        for number in first..first + count {
            taken.push(self.take(number)?);
        }
        let cursor_of = |taken: &Taken| taken.resume.splits.get(&self.number).copied();
        let cursors: Vec<_> = taken.iter().map(|(_, taken)| cursor_of(taken)).collect();
        let all = cursors.iter().copied().collect::<Option<Vec<_>>>();
        let least = all.and_then(|all| all.into_iter().min_by_key(|cursor| cursor.position));
        let mut cuts: Vec<i64> = cursors.iter().flatten().map(|it| it.position).collect();
        cuts.sort_unstable();
        let split = least.unwrap_or_else(|| SplitCursor::start(0));
        let split = LiveSplit::new(&shared.opened.spec, split).map_err(ReadError::from)?;
        let positions: Arc<[AtomicI64]> =
            cursors.iter().map(|_| AtomicI64::new(i64::MIN)).collect();

        let (mut tasks, mut deliveries, mut to_lanes) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (keeper, taken)) in taken.into_iter().enumerate() {
            let number = first + index as u32;
            let (to_delivery, from_lane) = queue(QUEUE);
            let (telemetry, delivering) = self.telling.lane(number, &to_delivery);
            let committed = Committed {
                source: Arc::clone(&shared.source),
                partition: self.number,
                lane: index,
                lanes: Arc::clone(&positions),
                telling: self.telling.clone(),
            };
            let undelivered = |error| PartitionError::Delivery {
                lane: number,
                error: Box::new(error),
            };
            let has_windows = shared.opened.plan.windows().is_some();
            let kept = has_windows.then(|| keeper.kept(shared.memory_of_a_lane()));
            let waiting = Waiting {
                clock: Arc::clone(&shared.clock),
                stop: Arc::clone(&self.flags.leave),
            };
            let outputs = &shared.opened.outputs;
            let addressees = outputs.addressees(shared.name(), number);
            let outbox = Outbox::new(number, addressees, &taken.outbox, &waiting);
            let outbox = outbox.map_err(|error| undelivered(error.into()))?;
            let messages = RowMessages::new(&shared.opened.plan, outputs.forms());
            let messages = messages.map_err(|error| undelivered(error.into()))?;
            let delivery = LaneDelivery {
                features: Arc::clone(&shared.opened.features),
                invalid: InvalidRows::new(&shared.opened.plan),
                keeper,
                outbox,
                messages,
                generation: shared.epoch,
                split: format!("{}/{}", shared.opened.topic(), self.number),
                rows: taken.rows,
                committed,
                lost: Arc::clone(&self.flags.lost),
                telemetry: delivering,
                lane_telemetry: Arc::clone(&telemetry),
            };
            let span = spans::delivery(shared.name(), number, &shared.opened.digest);
            let thread = std::thread::Builder::new().name(format!("delivery-{number}"));
            let thread = thread.spawn(move || span.in_scope(|| delivery.run(from_lane)));
            deliveries.push((number, thread.map_err(PartitionError::Thread)?));
            let (to_lane, task) = self.lane(number, taken, kept, to_delivery, telemetry)?;
            to_lanes.push(to_lane);
            tasks.push((number, task));
        }
        let mapping = shared
            .opened
            .mapping(&format!("{}/{}", shared.name(), self.number))?;
        let plan = Arc::clone(&shared.opened.dealt);
        let stop = Arc::clone(&self.flags.lost);
        let reading = Arc::clone(&self.telling.reading);
        let dealer = Dealer::new(plan, mapping, to_lanes, None, stop, reading);
        let dealer = dealer.map_err(ReadError::from)?;
        let position = least.map(|cursor| cursor.position);
        shared.source.start(self.number, position);
        Ok(Lanes {
            dealer,
            tasks,
            deliveries,
            cuts,
            split,
            goes_on: least.is_some(),
            heard: shared.clock.now(),
            may_advance: true,
            is_idle: false,
        })
    }

    /// Takes a lane over from whoever had it before.
    fn take(&self, number: u32) -> Result<(Keeper, Taken), PartitionError> {
        let shared = &self.shared;
        let lane = shared
            .io
            .block_on(shared.store.open_lane(shared.name(), number))?;
        if shared.is_to_forget(number) {
            shared.io.block_on(Keeper::forget(&lane))?;
        }
        let (plan, io) = (&shared.opened.plan, shared.io.clone());
        let expected = shared.expected.clone();
        Ok(Keeper::take(
            number,
            lane,
            plan,
            expected,
            shared.epoch,
            io,
        )?)
    }

    #[expect(clippy::type_complexity, reason = "the two ends of a task")]
    fn lane(
        &self,
        number: u32,
        taken: Taken,
        kept: Option<Kept>,
        delivery: Sender<crate::pipeline::delivery::ToDelivery>,
        telemetry: Arc<LaneTelemetry>,
    ) -> Result<
        (
            Sender<ToLane>,
            tokio::task::JoinHandle<Result<(), LaneError>>,
        ),
        PartitionError,
    > {
        let shared = &self.shared;
        let plan = Arc::clone(&shared.opened.plan);
        let own = taken.resume.own.clone();
        let commits = LaneCommits::new(Some(shared.timer.due()), taken.resume, kept);
        let out = Outlet {
            lane: number as usize,
            delivery,
            stop: Arc::clone(&self.flags.lost),
            telemetry,
        };
        let (to_lane, from_reader) = queue::<ToLane>(QUEUE);
        let _ = out.telemetry.queue.set(to_lane.fill());
        let span = spans::lane(shared.name(), number as usize, &shared.opened.digest);
        let task = match (shared.opened.plan.windows(), &shared.opened.opener) {
            (Some(windows), Some(opener)) => {
                let label = format!("{}/{number}", shared.name());
                let transform = shared.lanes.block_on(opener.open(&label))?;
                let lane = Lane::new(plan, windows, Box::new(transform), commits, out);
                let failed = |error| PartitionError::Lane {
                    lane: number,
                    error,
                };
                let mut lane = lane.map_err(failed)?;
                if let Stage::Whole(repartition) = &shared.opened.stage {
                    let layout = Arc::clone(&repartition.layout);
                    let assembly = Assembly::new(layout, shared.opened.advances(), own);
                    lane = lane.over(Box::new(assembly.map_err(failed)?));
                }
                shared.lanes.spawn(lane.run(from_reader).instrument(span))
            }
            (None, Some(opener))
                if let Stage::Partial(repartition) = &shared.opened.stage
                    && let Some(windows) = plan.partials() =>
            {
                let label = format!("{}/{number}", shared.name());
                let transform = shared.lanes.block_on(opener.open(&label))?;
                let upstream = shared.upstream(repartition, number);
                let memory = shared.memory_of_a_lane();
                let windows = windows.clone();
                let transform = Box::new(transform);
                let lane =
                    PartialLane::new(plan, &windows, transform, commits, out, upstream, memory);
                let failed = |error| PartitionError::Lane {
                    lane: number,
                    error,
                };
                let lane = lane.map_err(failed)?.run(from_reader);
                shared.lanes.spawn(lane.instrument(span))
            }
            _ => {
                let passing = Passing::new(plan, commits, out).run(from_reader);
                shared.lanes.spawn(passing.instrument(span))
            }
        };
        Ok((to_lane, task))
    }

    /// Deals out what comes, until it is time to go.
    fn read(&self, lanes: &mut Lanes) -> Result<(), PartitionError> {
        loop {
            if self.flags.lost.load(Ordering::Relaxed) {
                return Err(ReadError::Stopped.into());
            }
            if self.flags.leave.load(Ordering::Relaxed) {
                lanes
                    .dealer
                    .tell_all(|| ToLane::Stop)
                    .map_err(ReadError::from)?;
                return Ok(());
            }
            self.telling.reading.heartbeat.rest();
            let intake = match self.incoming.recv_timeout(GLANCE) {
                Ok(intake) => intake,
                Err(RecvTimeoutError::Timeout) if lanes.are_at_work() => {
                    self.idle(lanes)?;
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => return Err(ReadError::Closed.into()),
                Err(RecvTimeoutError::Disconnected) => return Err(ReadError::Stopped.into()),
            };
            match intake {
                Intake::Look => {}
                Intake::Started(offset) => {
                    if !lanes.goes_on {
                        // Where it began is to be known after a crash, too, even if nothing came.
                        let cursor = SplitCursor::start(offset);
                        let split = LiveSplit::new(&self.shared.opened.spec, cursor);
                        lanes.split = split.map_err(ReadError::from)?;
                        self.note(lanes, cursor)?;
                        lanes.goes_on = true;
                    } else {
                        // The group may not know of it, or no longer.
                        self.shared.source.commit(self.number, offset);
                    }
                }
                Intake::Messages(batch) => self.messages(lanes, &batch.messages)?,
                Intake::AtEnd(next) => {
                    self.flags.has_caught_up.store(true, Ordering::Relaxed);
                    let cursor = lanes.split.cursor();
                    // The ends of transactions have positions, and no messages.
                    if next > cursor.position {
                        lanes.split.skip_to(next);
                        self.note(lanes, lanes.split.cursor())?;
                    }
                }
                Intake::Missing { wanted, low, high } => self.missing(wanted, low, high)?,
            }
        }
    }

    /// Lets time go on where the pipeline says so, if there has been nothing more for long enough, as
    /// the broker says.
    fn idle(&self, lanes: &mut Lanes) -> Result<(), PartitionError> {
        let shared = &self.shared;
        let advances = shared.opened.idle_after.filter(|_| lanes.may_advance);
        let tells = shared.opened.tells_idle().filter(|_| !lanes.is_idle);
        let Some(after) = advances.or(tells) else {
            return Ok(());
        };
        let status = shared.source.status();
        let status = status.iter().find(|status| status.partition == self.number);
        let at_end = status.and_then(|status| status.at_end);
        if at_end.is_some_and(|at_end| at_end.saturating_sub(lanes.heard) >= after) {
            lanes.may_advance = false;
            if advances.is_some() && lanes.split.advance() {
                self.note(lanes, lanes.split.cursor())?;
            }
            if tells.is_some() {
                lanes.is_idle = true;
                let told = lanes.dealer.tell_all(|| ToLane::Idle);
                told.map_err(ReadError::from)?;
            }
        }
        Ok(())
    }

    /// Decides what is done when messages were deleted before they were read.
    fn missing(&self, wanted: i64, low: i64, high: i64) -> Result<(), PartitionError> {
        let partition = self.number;
        if self.shared.opened.on_missing == OnMissing::Stop {
            return Err(PartitionError::Missing {
                partition,
                wanted,
                low,
                high,
            });
        }
        tracing::error!(
            pipeline = self.shared.name(),
            partition,
            wanted,
            low,
            "messages were deleted before they were read; going on with what there is"
        );
        self.shared.source.start(partition, Some(low));
        Ok(())
    }

    /// Deals out messages, cut where lanes had committed: each has judged all of a batch, or nothing.
    fn messages(&self, lanes: &mut Lanes, messages: &Messages) -> Result<(), PartitionError> {
        (lanes.heard, lanes.may_advance) = (self.shared.clock.now(), true);
        lanes.is_idle = false;
        let mut rest = messages.clone();
        while !rest.is_empty() {
            let first = rest.offsets[0];
            let cut = lanes.cuts.iter().copied().find(|cut| *cut > first);
            let length = match cut {
                Some(cut) => rest.offsets.partition_point(|offset| *offset < cut),
                None => rest.len(),
            };
            let piece = rest.slice(0, length);
            rest = rest.slice(length, rest.len() - length);
            let mut next = 0;
            while next < piece.len() {
                if self.is_told_to_go() {
                    return Ok(());
                }
                let greatest = lanes.split.cursor().greatest;
                let Some(read) = self.decode(lanes, &piece, next)? else {
                    return Ok(());
                };
                let place = Place {
                    split: self.number,
                    start: piece.offsets[next],
                    after: Some(read.cursor),
                    greatest,
                };
                let timestamps = &piece.timestamps[next..read.next];
                self.telling.arrived(read.cursor.position, timestamps);
                next = read.next;
                lanes.dealer.deal(read.batch, Some(place))?;
            }
        }
        Ok(())
    }

    fn is_told_to_go(&self) -> bool {
        let Flags { leave, lost, .. } = &self.flags;
        leave.load(Ordering::Relaxed) || lost.load(Ordering::Relaxed)
    }

    /// Decodes messages, for as long as it takes a schema registry to answer. None when it is time to
    /// go before that: the messages will be read again.
    fn decode(
        &self,
        lanes: &mut Lanes,
        messages: &Messages,
        first: usize,
    ) -> Result<Option<crate::source::live::LiveBatch>, PartitionError> {
        let clock = &self.shared.clock;
        let mut pause = FIRST_PAUSE;
        loop {
            self.telling.reading.heartbeat.work();
            match lanes.split.read(messages, first) {
                Ok(read) => return Ok(Some(read)),
                Err(error) if error.is_temporary() => {
                    if pause == FIRST_PAUSE {
                        tracing::warn!(
                            pipeline = self.shared.name(),
                            partition = self.number,
                            %error,
                            "waiting for the schema registry"
                        );
                    }
                    self.telling.reading.heartbeat.wait();
                    clock.wait(clock.now().saturating_add(pause), &self.flags.leave);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    if self.is_told_to_go() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(ReadError::from(error).into()),
            }
        }
    }

    /// Lets the lanes know that everything before a cursor was judged, though there are no rows.
    fn note(&self, lanes: &mut Lanes, cursor: SplitCursor) -> Result<(), PartitionError> {
        let nothing = SourceBatch {
            rows: RecordBatch::new_empty(Arc::clone(&self.shared.opened.spec.columns)),
            event_times: Vec::new().into(),
            first_sequence: cursor.sequence,
            origins: Origins::default(),
            watermarks: None,
            watermark: lanes.split.watermark(),
            rejects: Vec::new(),
        };
        let place = Place {
            split: self.number,
            start: cursor.position,
            after: Some(cursor),
            greatest: cursor.greatest,
        };
        Ok(lanes.dealer.deal(nothing, Some(place))?)
    }

    /// Waits for the lanes and their deliveries, and closes what they had open.
    fn end(
        &self,
        lanes: Lanes,
        failed: Option<PartitionError>,
    ) -> Result<PartitionEnd, PartitionError> {
        let shared = &self.shared;
        let mut failures: Vec<PartitionError> = failed.into_iter().collect();
        // Lanes that were not told to stop end when there is nobody left to give them anything.
        drop(lanes.dealer);
        for (lane, task) in lanes.tasks {
            let ended = shared.lanes.block_on(task);
            let ended = ended.unwrap_or_else(|_| {
                failures.push(PartitionError::Panicked("lane"));
                Ok(())
            });
            if let Err(error) = ended {
                failures.push(PartitionError::Lane { lane, error });
            }
        }
        let mut end = PartitionEnd {
            is_lost: self.flags.lost.load(Ordering::Relaxed),
            ..PartitionEnd::default()
        };
        for (lane, delivery) in lanes.deliveries {
            let Ok(ended) = delivery.join() else {
                failures.push(PartitionError::Panicked("delivery"));
                continue;
            };
            let closed = shared.io.block_on(shared.store.close_lane(ended.lane));
            match ended.done {
                Ok(report) => {
                    end.lanes.insert(lane, report);
                    failures.extend(closed.err().map(PartitionError::from));
                }
                // That the database of a lane that is lost does not close is no surprise.
                Err(error) => failures.push(PartitionError::Delivery {
                    lane,
                    error: Box::new(error),
                }),
            }
        }
        let cause = failures.iter().position(|error| !error.is_consequence());
        match cause {
            Some(cause) => Err(failures.swap_remove(cause)),
            None => Ok(end),
        }
    }
}
