//! A member of the group that reads a stream: it has partitions come and go. A stream without groups is
//! one that is always there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::{PartitionError, PartitionFailure};
use super::run::{LaneAccount, LiveError, LiveReport, Shared};
use super::source::{LiveEvent, LiveSource, StreamFault};
use super::switching::Change;
use super::telling;
use super::working::{Intake, PartitionEnd, Working};
use crate::pipeline::lane::LaneReport;
use crate::pipeline::telemetry::PipelineState;

/// How long to wait for the source's next word, each time.
const GLANCE: Duration = Duration::from_millis(50);

/// How long leaving the group may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after another process took a lane the group may take to say so. Its session must have
/// ended by then, and the group's members have met.
const FENCED: Duration = Duration::from_secs(120);

/// How long a partition waits at most until it is looked whether it can be begun.
const AGAIN: Duration = Duration::from_millis(100);

/// How long to wait after a store did not answer.
const LATER: Duration = Duration::from_secs(1);

/// How a member ended.
pub(super) enum Outcome {
    /// It was stopped.
    Stopped(LiveReport),
    /// Its pipeline is to go on with another generation, for which way was made, in this epoch, and to connect to its
    /// stream anew.
    Again(Arc<Shared>, Box<Change>, u64),
}

/// A member at work.
pub(super) struct Member {
    shared: Arc<Shared>,
    working: BTreeMap<u32, Working>,
    /// Partitions that are ours again, as soon as their work of before has ended.
    again: BTreeSet<u32>,
    /// Partitions that stay ours, and are begun again when nothing of before comes any more, and not before this time.
    resting: BTreeMap<u32, Duration>,
    /// Partitions that are to be begun with another generation than there is, and when that is tried at the latest.
    waiting: BTreeMap<u32, Duration>,
    /// Whether the generation at work was said to be.
    runs: bool,
    /// What the pipeline is to go on with where it is connected to anew for that, and the epoch for it.
    next: Option<(Box<Change>, u64)>,
    /// Before that no store is asked again that did not answer.
    later: Duration,
    /// Partitions whose lanes another process has taken while the group says that they are ours, and
    /// since when.
    fenced: BTreeMap<u32, Duration>,
    lanes: BTreeMap<u32, LaneAccount>,
    failed: Option<LiveError>,
    /// What was told last.
    told: PipelineState,
}

impl Member {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            working: BTreeMap::new(),
            again: BTreeSet::new(),
            resting: BTreeMap::new(),
            waiting: BTreeMap::new(),
            runs: false,
            next: None,
            later: Duration::ZERO,
            fenced: BTreeMap::new(),
            lanes: BTreeMap::new(),
            failed: None,
            told: PipelineState::default(),
        }
    }

    /// Works until `stop` is set, or a partition fails.
    pub(super) fn run(mut self, stop: &AtomicBool) -> Result<Outcome, LiveError> {
        let source = Arc::clone(&self.shared.source);
        while !stop.load(Ordering::Relaxed) && self.failed.is_none() && self.next.is_none() {
            match source.next(GLANCE) {
                Ok(Some(event)) => self.take(event),
                Ok(None) => {}
                Err(fault) => self.fail_stream(fault),
            }
            self.reap();
            self.shared.pass_time();
            self.change();
            self.leave_taken_back();
            self.begin_waiting();
            self.check_fenced();
            self.tell_state();
        }
        self.stop(&source);
        let Self {
            shared,
            lanes,
            failed,
            next,
            ..
        } = self;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some((next, epoch)) = next.filter(|_| !stop.load(Ordering::Relaxed)) {
            return Ok(Outcome::Again(shared, next, epoch));
        }
        Ok(Outcome::Stopped(LiveReport {
            pipeline: shared.name().to_owned(),
            transform: shared.opened.digest.clone(),
            lanes,
            upstream: BTreeMap::new(),
            store: shared.opened.store.to_string(),
            topics: shared.opened.written().collect(),
            bootstrapped: shared.opened.telemetry.bootstrap_rows(),
            is_approximate: (shared.opened.bootstrap.as_ref())
                .is_some_and(|bootstrap| bootstrap.is_approximate()),
        }))
    }

    /// Tells what the pipeline is about, if that is something else than before.
    fn tell_state(&mut self) {
        let is_whole = self.fenced.is_empty()
            && self.again.is_empty()
            && self.resting.is_empty()
            && self.waiting.is_empty();
        let working = self.working.values().map(Working::flags);
        let state = telling::state(is_whole && self.shared.source.has_joined(), working);
        if self.told != state {
            self.shared.opened.telemetry.set_state(state.clone());
            self.told = state;
        }
        let now = self.shared.clock.now();
        if !self.runs && now >= self.later && self.has_it_at_work() {
            self.runs = self.shared.says_that_it_runs();
            if !self.runs {
                self.later = now.saturating_add(LATER);
            }
        }
    }

    /// Whether the lanes of this host work in the generation: all are open, and were opened with it, or one has committed
    /// in it. Lanes that it is handed to have it when they come to it.
    fn has_it_at_work(&self) -> bool {
        let (mut lanes, shared) = (self.working.values(), &self.shared);
        let has_it = |lane: &Working| lane.generation() == shared.generation();
        let is_open = !matches!(self.told, PipelineState::Starting) && lanes.len() > 0;
        is_open && (shared.is_committed() || lanes.all(has_it))
    }

    /// Goes over to another generation, if there is one.
    fn change(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (pipeline, now) = (shared.name(), shared.clock.now());
        let Some(desk) = shared.desk.as_ref().filter(|_| now >= self.later) else {
            return;
        };
        // One that was taken back before anybody had it is not gone over to.
        let Some(change) = (desk.take()).filter(|it| !desk.is_undone(it.running.number)) else {
            return;
        };
        let generation = change.running.number;
        let epoch = match shared.make_way(&change) {
            Ok(epoch) => epoch,
            Err(error) if error.is_bad_input() => {
                return self.fail(LiveError::Generation {
                    pipeline: pipeline.to_owned(),
                    is_bad_input: true,
                    error: error.to_string(),
                });
            }
            // What runs goes on.
            Err(error) => {
                tracing::warn!(pipeline, generation, %error, "cannot go over yet; it is tried again");
                desk.put_back(change);
                self.later = now.saturating_add(LATER);
                return;
            }
        };
        let hands_over = shared.hands_over_to(&change);
        // Which splits there are is said at the start alone where there is no group.
        if !hands_over && !shared.source.has_group() {
            self.next = Some((change, epoch));
            return;
        }
        let next = Arc::new(shared.with(*change, epoch));
        self.shared = Arc::clone(&next);
        self.runs = false;
        next.opened
            .telemetry
            .set_generation(telling::generation(&next));
        for working in self.working.values() {
            match hands_over {
                true => working.tell(Intake::Switch(Arc::clone(&next))),
                false => working.rest(),
            }
        }
        let waiting = self.waiting.values_mut();
        waiting.for_each(|due| *due = Duration::ZERO);
    }

    /// Has lanes stop as soon as it is known that their generation was taken back: what they did in it is undone anyway,
    /// and the one before it may not be had at once.
    fn leave_taken_back(&self) {
        if !self.shared.is_taken_back() {
            return;
        }
        self.working.values().for_each(Working::rest);
    }

    /// Begins partitions that waited for another generation.
    fn begin_waiting(&mut self) {
        if self.waiting.is_empty() || self.shared.is_taken_back() {
            return;
        }
        let now = self.shared.clock.now();
        let due = self.waiting.extract_if(.., |_, due| *due <= now);
        let due: Vec<u32> = due.map(|(partition, _)| partition).collect();
        for partition in due {
            self.begin(partition);
        }
    }

    /// Has a partition wait until nothing of before comes any more, to be begun again.
    fn rest(&mut self, partition: u32, until: Duration) {
        self.resting.insert(partition, until);
        self.shared.source.rest(partition);
        if !self.shared.source.has_group() {
            self.rested(partition);
        }
    }

    fn rested(&mut self, partition: u32) {
        if let Some(due) = self.resting.remove(&partition) {
            self.waiting.insert(partition, due);
        }
    }

    /// Lets every partition commit, and leaves the group.
    fn stop(&mut self, source: &Arc<LiveSource>) {
        let telemetry = &self.shared.opened.telemetry;
        telemetry.set_state(PipelineState::Stopping);
        self.again.clear();
        self.waiting.clear();
        self.working.values().for_each(Working::give_up);
        while !self.working.is_empty() {
            // Others may hear meanwhile that they are lost.
            match source.next(GLANCE) {
                Ok(Some(event)) => self.take_while_stopping(event),
                Ok(None) => {}
                Err(fault) => self.fail_stream(fault),
            }
            self.reap();
        }
        if !source.leave(PATIENCE) {
            tracing::warn!(
                pipeline = self.shared.name(),
                "could not leave the group in time; it will notice by itself"
            );
        }
    }

    fn take_while_stopping(&mut self, event: LiveEvent) {
        match event {
            LiveEvent::Heard(..) | LiveEvent::Assigned(_) | LiveEvent::Rested(_) => {}
            event => self.take(event),
        }
    }

    fn take(&mut self, event: LiveEvent) {
        let pipeline = self.shared.name().to_owned();
        match event {
            LiveEvent::Assigned(partitions) => {
                if self.shared.source.has_group() {
                    tracing::info!(pipeline, ?partitions, "partitions are ours");
                }
                for partition in partitions {
                    self.begin(partition);
                }
            }
            LiveEvent::Heard(partition, intake) => {
                if let Some(working) = self.working.get(&partition) {
                    working.tell(intake);
                }
            }
            LiveEvent::Revoked(partitions) => {
                tracing::info!(pipeline, ?partitions, "partitions are to go");
                for partition in partitions {
                    self.again.remove(&partition);
                    self.resting.remove(&partition);
                    self.waiting.remove(&partition);
                    self.fenced.remove(&partition);
                    match self.working.get(&partition) {
                        Some(working) if !working.has_ended() => working.give_up(),
                        _ => self.shared.source.release(partition),
                    }
                }
            }
            LiveEvent::Rested(partition) => self.rested(partition),
            LiveEvent::Lost(partitions) => {
                tracing::warn!(pipeline, ?partitions, "partitions were taken from us");
                self.lose(&partitions);
            }
            LiveEvent::Grown { before, after } => {
                if self.shared.expected.is_keyed {
                    self.fail(LiveError::Grown {
                        pipeline,
                        before,
                        after,
                    });
                } else {
                    tracing::info!(pipeline, before, after, "the topic has grown");
                }
            }
            LiveEvent::Unreachable(reason) => {
                tracing::warn!(pipeline, reason, "no broker answers; trying on");
            }
            LiveEvent::Reachable => tracing::info!(pipeline, "a broker answers again"),
            LiveEvent::Trouble(reason) => tracing::warn!(pipeline, reason, "trying on"),
        }
    }

    fn begin(&mut self, partition: u32) {
        self.fenced.remove(&partition);
        self.resting.remove(&partition);
        self.waiting.remove(&partition);
        if self.working.contains_key(&partition) {
            self.again.insert(partition);
            return;
        }
        if self.shared.is_taken_back() {
            self.waiting.insert(partition, Duration::ZERO);
            return;
        }
        match Working::start(&self.shared, partition) {
            Ok(working) => {
                self.working.insert(partition, working);
            }
            Err(error) => self.fail_partition(partition, error),
        }
    }

    fn lose(&mut self, partitions: &[u32]) {
        for partition in partitions {
            self.again.remove(partition);
            self.resting.remove(partition);
            self.waiting.remove(partition);
            self.fenced.remove(partition);
            if let Some(working) = self.working.get(partition) {
                working.lose();
            }
        }
    }

    /// Looks after partitions that have ended.
    fn reap(&mut self) {
        let ended: Vec<u32> = self
            .working
            .iter()
            .filter(|(_, working)| working.has_ended())
            .map(|(partition, _)| *partition)
            .collect();
        for partition in ended {
            let working = self.working.remove(&partition).expect("it was just seen");
            let stays = working.stays();
            match working.join() {
                Ok(end) if stays && !end.is_lost => self.rest(partition, Duration::ZERO),
                Ok(end) => self.ended(end),
                Err(failure) => self.judge(partition, stays, failure),
            }
            if self.again.remove(&partition) {
                self.begin(partition);
            }
        }
    }

    /// What becomes of a partition that has ended because of a failure. `stays`: it was to be begun again anyway.
    fn judge(&mut self, partition: u32, stays: bool, failure: PartitionFailure) {
        let PartitionFailure { generation, error } = failure;
        let shared = Arc::clone(&self.shared);
        let pipeline = shared.name();
        // One that was to go over, or back, has failed once more in the generation that it was to leave, which says nothing
        // of the one that it is to have.
        let is_of_another = stays || generation != shared.generation();
        if error.is_behind() {
            // It waits until this host has looked again.
            tracing::info!(pipeline, partition, %error, "not yet");
            if let Some(desk) = &shared.desk {
                desk.hurry();
            }
            self.rest(partition, shared.clock.now() + AGAIN);
        } else if is_of_another && shared.blames(&error) {
            tracing::info!(pipeline, partition, generation, %error, "failed while it was to change");
            self.rest(partition, Duration::ZERO);
        } else if shared.takes_back(&error) {
            self.rest(partition, Duration::ZERO);
        } else if error.is_fenced() && !shared.source.has_group() {
            let pipeline = pipeline.to_owned();
            self.fail(LiveError::Replaced { pipeline });
        } else if error.is_fenced() {
            tracing::warn!(
                pipeline,
                partition,
                "another process has the lane; it is ours no longer"
            );
            self.fenced.insert(partition, shared.clock.now());
        } else {
            self.fail_partition(partition, error);
        }
    }

    fn ended(&mut self, end: PartitionEnd) {
        if end.is_lost {
            return;
        }
        let accounts = end.lanes.into_iter();
        self.lanes
            .extend(accounts.map(|(lane, report)| (lane, LaneAccount::of(report))));
    }

    /// The group says in time that a partition is somebody else's, or two pipelines have one name.
    fn check_fenced(&mut self) {
        let now = self.shared.clock.now();
        let mut fenced = self.fenced.iter();
        let late = fenced.find(|(_, since)| now.saturating_sub(**since) > FENCED);
        if let Some((partition, _)) = late {
            let (pipeline, partition) = (self.shared.name().to_owned(), *partition);
            self.fail(LiveError::Twice {
                pipeline,
                partition,
            });
        }
    }

    fn fail_partition(&mut self, partition: u32, error: PartitionError) {
        let pipeline = self.shared.name().to_owned();
        let error = Box::new(error);
        self.fail(match self.shared.source.has_group() {
            true => LiveError::Partition {
                pipeline,
                partition,
                error,
            },
            false => LiveError::Work { pipeline, error },
        });
    }

    fn fail_stream(&mut self, fault: StreamFault) {
        let pipeline = self.shared.name().to_owned();
        // Whoever took our place reads on; nothing of ours may be committed any more.
        self.working.values().for_each(Working::lose);
        self.fail(LiveError::Stream { pipeline, fault });
    }

    /// The first failure is the one that is told.
    fn fail(&mut self, error: LiveError) {
        match &self.failed {
            None => self.failed = Some(error),
            Some(_) => tracing::error!(%error, "another failure"),
        }
    }
}

impl LaneAccount {
    fn of(report: LaneReport) -> Self {
        Self {
            accounting: report.accounting,
            windows: report.windows,
            unfinished: report.unfinished,
            watermark: Some(report.watermark).filter(|watermark| *watermark != i64::MIN),
        }
    }
}
