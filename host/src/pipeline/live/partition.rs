//! One partition at work: its thread, its lanes, and their deliveries. All shards of a stream are at work
//! as one partition is, which has several splits.
//!
//! The thread opens the lanes, asks for each split from the least of their cursors on, and deals out what
//! comes until it is told to leave, or that the partition is lost. To leave is to commit
//! everything that was dealt, and to give the partition up; lost means that nothing more may be
//! committed. How it ends is in `ending`.

mod ending;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::committed::Committed;
use super::compacting::Compacting;
use super::delivery::{LaneDelivery, LaneEnd};
use super::error::{PartitionError, PartitionFailure};
use super::keeper::{Keeper, Taken};
use super::outbox::{Outbox, Waiting};
use super::rows::RowMessages;
use super::run::Shared;
use super::shadowing::BesideLanes;
use super::split_names::SplitNames;
use super::splits::Splits;
use super::stages::Stage;
use super::switching::hand_over;
use super::telling::PartitionTelling;
use super::withdrawing::Withdrawing;
use super::working::{Appeared, Flags, Incoming, Intake, PartitionEnd};
use crate::pipeline::commit::LaneCommits;
use crate::pipeline::dealer::Dealer;
use crate::pipeline::invalid::InvalidRows;
use crate::pipeline::key_sample::KeySample;
use crate::pipeline::lane::{LaneError, Outlet, Place, Start, ToLane};
use crate::pipeline::queue::{Sender, queue};
use crate::pipeline::reader::ReadError;
use crate::pipeline::residence::Kept;
use crate::pipeline::spans;
use crate::pipeline::telemetry::LaneTelemetry;
use crate::source::kinesis::ShardCursor;
use crate::source::live::{Placed, Position, SplitCursor};
use crate::source::{Origins, SourceBatch};
use crate::store::FeatureStore;
use arrow::array::RecordBatch;

/// Bytes that may wait for one lane, and for its delivery. There may be many partitions.
const QUEUE: usize = 4 << 20;

/// How long it may go unnoticed that a lane has ended while there is nothing to give it.
const GLANCE: Duration = Duration::from_millis(100);

/// A partition at work.
pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u32,
    pub(super) incoming: mpsc::Receiver<Intake>,
    pub(super) flags: Flags,
    pub(super) telling: PartitionTelling,
}

/// The lanes of a partition at work.
pub(super) struct Lanes {
    pub(super) dealer: Dealer,
    pub(super) tasks: Vec<LaneAtWork>,
    /// The generation that was handed to them last.
    pub(super) handed: u64,
    deliveries: Vec<(u32, JoinHandle<LaneEnd>)>,
    pub(super) splits: Splits,
    /// Those of a version that is tried.
    pub(super) beside: BesideLanes,
    /// Where the stream is to go on, if history may come before it.
    begins: Option<Option<Position>>,
    /// Where recorded history ended, if that was read before the stream.
    pub(super) recorded_until: Option<i64>,
    names: Arc<SplitNames>,
    /// Whether the source has said which splits there are.
    are_listed: bool,
    /// When it was last asked which splits are idle.
    asked: Duration,
    /// Whether the lanes of a first stage were told that nothing comes any more.
    are_told_idle: bool,
    /// Compaction of the pipeline's history, if this process does it: whoever has the first lane.
    compacting: Option<Compacting>,
    /// What tells the history what was taken back; it ends with this.
    _withdrawing: Vec<Withdrawing>,
}

/// A lane at work.
pub(super) struct LaneAtWork {
    pub(super) number: u32,
    /// The number of the generation that it has.
    pub(super) has: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<(), LaneError>>,
}

impl Lanes {
    fn are_at_work(&self) -> bool {
        let mut deliveries = self.deliveries.iter();
        let mut tasks = self.tasks.iter();
        !deliveries.any(|(_, thread)| thread.is_finished())
            && !tasks.any(|lane| lane.task.is_finished())
    }
}

impl Partition {
    pub(super) fn run(self) -> Result<PartitionEnd, PartitionFailure> {
        let mut lanes = match self.open() {
            Ok(lanes) => lanes,
            Err(error) => {
                // Whatever was opened is of no use without the others.
                self.flags.lose();
                self.telling.close();
                return Err(self.failed(error));
            }
        };
        self.flags.is_open.store(true, Ordering::Relaxed);
        let read = self.read(&mut lanes);
        if read.is_err() {
            self.flags.lose();
        }
        let ended = self.end(lanes, read.err());
        self.telling.close();
        // One that is begun again here is rested by its member.
        let stays = self.flags.stays.load(Ordering::Relaxed);
        if !stays && ended.as_ref().is_ok_and(|ended| !ended.is_lost) {
            self.shared.source.release(self.number);
        }
        ended
    }

    /// Opens the lanes, and asks for what comes after them as far as the splits are known.
    fn open(&self) -> Result<Lanes, PartitionError> {
        let shared = &self.shared;
        let count = shared.opened.lanes_of_a_partition;
        let first = self.number * count;
        let mut taken = Vec::new();
        for number in first..first + count {
            taken.push(self.take(number)?);
        }
        let known = shared.source.splits_of(self.number);
        let only = known.first().map(|split| Arc::clone(&split.name));
        let lanes = taken.iter().map(|(_, taken)| &taken.resume);
        let kept = lanes.clone().map(|resume| resume.splits.clone()).collect();
        // Where there is one split, its cursor says what it has counted; where there are several, only
        // that no lane has counted further is sure.
        let sequence = lanes.clone().map(|resume| resume.cursor).max();
        let sequence = sequence.filter(|_| only.is_none()).unwrap_or(0);
        let splits = Splits::new(&shared.opened.spec, kept, sequence);
        let names = Arc::new(SplitNames::new(shared.opened.stream()));
        let reached = Committed::before(lanes, only.as_deref());

        let (mut tasks, mut deliveries, mut to_lanes) = (Vec::new(), Vec::new(), Vec::new());
        let mut withdrawing = Vec::new();
        for (index, (keeper, taken)) in taken.into_iter().enumerate() {
            let number = first + index as u32;
            let (to_delivery, from_lane) = queue(QUEUE);
            let (telemetry, delivering) = self.telling.lane(number, &to_delivery);
            let _ = telemetry.store.set(keeper.requests());
            let committed = Committed {
                source: Arc::clone(&shared.source),
                partition: self.number,
                split: only.clone(),
                lane: index,
                lanes: Arc::clone(&reached),
                telling: self.telling.clone(),
            };
            let undelivered = |error| PartitionError::Delivery {
                lane: number,
                error: Box::new(error),
            };
            let has_windows = shared.opened.plan.windows().is_some();
            let unfinished = shared.opened.declaration.limits.unfinished_bytes;
            let kept = has_windows.then(|| keeper.kept(shared.memory_of_a_lane(), unfinished));
            let waiting = Waiting {
                clock: Arc::clone(&shared.clock),
                stop: Arc::clone(&self.flags.leave),
                io: shared.io.clone(),
            };
            let outputs = &shared.opened.outputs;
            withdrawing.extend(outputs.offline().map(|place| {
                let of = (shared.name(), number);
                Withdrawing::begin(of, keeper.state(), place, &shared.io)
            }));
            let addressees = outputs.addressees(shared.name(), number, &shared.opened.telemetry);
            let outbox = Outbox::new(number, addressees, &taken.outbox, &waiting);
            let outbox = outbox.map_err(|error| undelivered(error.into()))?;
            let messages = RowMessages::new(&shared.opened.plan, outputs.forms());
            let messages = messages.map_err(|error| undelivered(error.into()))?;
            let delivery = LaneDelivery {
                features: Arc::clone(&shared.opened.features),
                invalid: InvalidRows::new(&shared.opened.plan),
                keeper,
                outbox,
                history: outputs.history().map(|to| (to, Arc::clone(&shared.clock))),
                number,
                messages,
                generation: shared.generation(),
                is_at_work: (shared.expected.running.as_ref())
                    .map(|running| Arc::clone(&running.is_committed)),
                splits: Arc::clone(&names),
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
            tasks.push(LaneAtWork {
                number,
                has: Arc::new(AtomicU64::new(shared.generation())),
                task,
            });
        }
        let mapping = shared
            .opened
            .mapping(&format!("{}/{}", shared.name(), self.number))?;
        let plan = Arc::clone(&shared.opened.dealt);
        let stop = Arc::clone(&self.flags.lost);
        let reading = Arc::clone(&self.telling.reading);
        let dealer = Dealer::new(plan, mapping, to_lanes, None, stop, reading);
        let mut dealer = dealer.map_err(ReadError::from)?;
        if let Some(met) = &shared.opened.met_keys {
            let keys = KeySample::new(self.number, &shared.opened.plan.key_schema, met);
            dealer.look_at_keys(keys.map_err(ReadError::from)?);
        }
        let mut lanes = Lanes {
            dealer,
            tasks,
            handed: shared.generation(),
            deliveries,
            splits,
            beside: BesideLanes::default(),
            begins: None,
            recorded_until: None,
            names,
            are_listed: only.is_some(),
            asked: shared.clock.now(),
            are_told_idle: false,
            compacting: (first == 0).then(|| self.compacting()).flatten(),
            _withdrawing: withdrawing,
        };
        self.add(&mut lanes, &known)?;
        Ok(lanes)
    }

    fn compacting(&self) -> Option<Compacting> {
        let shared = &self.shared;
        Some(Compacting::new(
            shared.opened.outputs.offline()?.clone(),
            &shared.opened.features,
            shared.opened.telemetry.begin_history(),
            Arc::clone(&shared.clock),
            shared.io.clone(),
        ))
    }

    /// Adds splits, and has each read from where it goes on.
    fn add(&self, lanes: &mut Lanes, appeared: &[Appeared]) -> Result<(), PartitionError> {
        let (source, now) = (&self.shared.source, self.shared.clock.now());
        for split in appeared {
            lanes.names.add(split.number, &split.name);
            let position = lanes.splits.appear(split, source.unread(), now);
            let position = position.map_err(ReadError::from)?;
            if position == Some(Position::Shard(ShardCursor::Finished)) && !split.is_closed {
                return Err(PartitionError::Reopened(split.name.to_string()));
            }
            let is_in_history = lanes.splits.at(split.number).1.is_in_history();
            match self.shared.opened.bootstrap {
                None if !is_in_history => source.start(split.number, position),
                _ => {
                    self.flags.is_bootstrapping.store(true, Ordering::Relaxed);
                    lanes.begins = Some(position);
                }
            }
        }
        Ok(())
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
        let plan = &shared.opened.plan;
        let (store, clock) = (Arc::clone(&shared.store), Arc::clone(&shared.clock));
        let from = (store, shared.io.clone(), clock);
        let mut expected = shared.expected.clone();
        shared.refresh(&mut expected);
        let apart = shared.table.as_ref().map(|table| {
            let table = Arc::clone(table) as Arc<dyn FeatureStore>;
            (table, shared.name().to_owned())
        });
        let taken = Keeper::take(number, lane, plan, expected, shared.epoch, from, apart);
        let (mut keeper, taken) = taken?;
        for (generation, text) in keeper.told.drain(..) {
            shared.note(generation, text);
        }
        Ok((keeper, taken))
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
        let own = taken.resume.own.clone();
        let commits = LaneCommits::new(Some(shared.timer.due()), taken.resume, kept);
        let out = Outlet {
            lane: number as usize,
            delivery,
            stop: Arc::clone(&self.flags.lost),
            telemetry,
            beside: None,
        };
        let (to_lane, from_reader) = queue::<ToLane>(QUEUE);
        let _ = out.telemetry.queue.set(to_lane.fill());
        let task = shared.work_on(number, own, commits, out, from_reader)?;
        Ok((to_lane, task))
    }

    /// Deals out what comes, until it is time to go.
    fn read(&self, lanes: &mut Lanes) -> Result<(), PartitionError> {
        if let Some(from) = lanes.begins.take() {
            self.begin(lanes, from)?;
        }
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
            if let Some(compacting) = &mut lanes.compacting {
                compacting.look();
            }
            self.look_beside(lanes);
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
                Intake::Switch(next) => {
                    lanes.handed = next.generation();
                    hand_over(lanes, &next)?;
                }
                Intake::Appeared(appeared) => {
                    self.add(lanes, &appeared)?;
                    if !std::mem::replace(&mut lanes.are_listed, true) {
                        self.forget_gone(lanes)?;
                    }
                }
                Intake::Started {
                    split,
                    from: Some(from),
                } if lanes.splits.at(split).1.is_in_history() => self.join(lanes, from)?,
                Intake::Started { split, from } => {
                    let position = from.clone();
                    match (lanes.splits.started(split, from), position) {
                        // Where it began is to be known after a crash, too, even if nothing came.
                        (Some(cursor), _) => self.note(lanes, split, cursor)?,
                        // The group may not know of it, or no longer.
                        (None, Some(position)) => self.shared.source.commit(split, &position),
                        (None, None) => {}
                    }
                }
                Intake::Messages(incoming) => {
                    self.messages(lanes, &incoming)?;
                    // Others may be idle while this one is not.
                    if self.shared.clock.now().saturating_sub(lanes.asked) >= GLANCE {
                        self.idle(lanes)?;
                    }
                }
                Intake::AtEnd { split, next } => {
                    // The ends of transactions have positions, and no messages.
                    if let Some(cursor) = lanes.splits.ended(split, next) {
                        self.note(lanes, split, cursor)?;
                    }
                    self.tell_caught_up(lanes);
                }
                Intake::Finished(split) => {
                    let cursor = lanes.splits.finished(split);
                    self.note(lanes, split, cursor)?;
                    self.tell_caught_up(lanes);
                }
                Intake::Missing(gap) => self.missing(lanes, gap)?,
            }
        }
    }

    fn tell_caught_up(&self, lanes: &Lanes) {
        if lanes.splits.have_caught_up() {
            self.flags.has_caught_up.store(true, Ordering::Relaxed);
        }
    }

    /// Lets lanes forget splits that the stream has dropped, or their cursors would be kept for ever.
    fn forget_gone(&self, lanes: &mut Lanes) -> Result<(), PartitionError> {
        for split in lanes.splits.gone() {
            let place = Place {
                split,
                start: Start::Gone,
                after: None,
                greatest: i64::MIN,
                placed: None,
            };
            let nothing = self.nothing(lanes);
            lanes.dealer.deal(nothing, Some(place))?;
        }
        Ok(())
    }

    /// Lets time go on without splits of which there has been nothing more for long enough, as the source
    /// says; and where the pipeline says so, if that is all of them.
    fn idle(&self, lanes: &mut Lanes) -> Result<(), PartitionError> {
        let shared = &self.shared;
        let Some(after) = shared.opened.idle_after else {
            return Ok(());
        };
        lanes.asked = shared.clock.now();
        let ends = shared.source.ends();
        if lanes.splits.idle(&ends, after, shared.opened.advances)
            && let Some(split) = lanes.splits.any()
        {
            let cursor = lanes.splits.at(split).1.clone();
            self.note(lanes, split, cursor)?;
        }
        // Of the second stage nobody hears how long nothing came here, unless its lanes say so.
        let tells = matches!(shared.opened.stage, Stage::Partial(_));
        if tells && !lanes.are_told_idle && lanes.splits.are_idle() {
            lanes.are_told_idle = true;
            let told = lanes.dealer.tell_all(|| ToLane::Idle);
            told.map_err(ReadError::from)?;
        }
        Ok(())
    }

    /// Deals out messages, cut where lanes had committed: each has judged all of a batch, or nothing.
    fn messages(&self, lanes: &mut Lanes, incoming: &Incoming) -> Result<(), PartitionError> {
        let (messages, placed) = (&incoming.messages, incoming.placed.as_ref());
        let split = messages.split;
        let now = self.shared.clock.now();
        lanes.are_told_idle = false;
        for piece in lanes.splits.pieces(messages, placed, now) {
            let piece = messages.slice(piece.start, piece.len());
            let mut next = 0;
            while next < piece.len() {
                if self.is_told_to_go() {
                    return Ok(());
                }
                let (name, cursor) = lanes.splits.at(split);
                let (name, greatest) = (Arc::clone(name), cursor.greatest);
                let read = |splits: &mut Splits| splits.read(&piece, next, placed);
                let Some(read) = self.decode(lanes, read)? else {
                    return Ok(());
                };
                let timestamps = &piece.timestamps[next..read.next];
                let reached = read.cursor.position.offset();
                let reached = reached.unwrap_or(read.cursor.sequence as i64);
                self.telling.arrived(reached, timestamps);
                let place = Place {
                    split: name,
                    start: Start::At(Placed::spot(placed, piece.offsets[next])),
                    after: Some(read.cursor),
                    greatest,
                    placed: placed.cloned(),
                };
                next = read.next;
                lanes.dealer.deal(read.batch, Some(place))?;
            }
        }
        Ok(())
    }

    pub(super) fn is_told_to_go(&self) -> bool {
        let Flags { leave, lost, .. } = &self.flags;
        leave.load(Ordering::Relaxed) || lost.load(Ordering::Relaxed)
    }

    /// Lets the lanes know that everything before a cursor was judged, though there are no rows.
    pub(super) fn note(
        &self,
        lanes: &mut Lanes,
        split: u32,
        cursor: SplitCursor,
    ) -> Result<(), PartitionError> {
        let place = Place {
            split: Arc::clone(lanes.splits.at(split).0),
            start: Start::Nothing,
            greatest: cursor.greatest,
            after: Some(cursor),
            placed: None,
        };
        let nothing = self.nothing(lanes);
        Ok(lanes.dealer.deal(nothing, Some(place))?)
    }

    /// No rows, and how far all splits have come.
    fn nothing(&self, lanes: &Lanes) -> SourceBatch {
        SourceBatch {
            rows: RecordBatch::new_empty(Arc::clone(&self.shared.opened.spec.columns)),
            event_times: Vec::new().into(),
            first_sequence: lanes.splits.sequence(),
            origins: Origins::default(),
            watermarks: None,
            watermark: lanes.splits.watermark(),
            rejects: Vec::new(),
        }
    }
}
