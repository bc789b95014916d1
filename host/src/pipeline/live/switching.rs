//! Who is to change when another generation is wanted, and how: the member's side of a swap.
//!
//! A generation whose transform says of itself what the one before it said is handed to the lanes at work: each goes over
//! between two commits, with an instance that was opened before. For any other change, and for every way back, a
//! partition's lanes are closed at a commit and opened again (`keeper` takes them to the generation); the partition
//! itself stays with this process.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::PartitionError;
use super::generations::are_alike;
use super::keeper::Expected;
use super::opening::OpenedLive;
use super::partition::Lanes;
use super::run::Shared;
use super::shadowing::Shadowing;
use crate::pipeline::lane::ToLane;
use crate::pipeline::poison::Recovering;
use crate::pipeline::reader::ReadError;
use crate::pipeline::run::declarations;
use crate::pipeline::swap::{Fate, Note, Running, SwapError, Swaps, Switch};
use crate::store::FeatureStore as _;

/// What a pipeline's member and who looks after its generations have in common.
pub(super) struct Desk {
    pub(super) swaps: Swaps,
    /// What is to be changed to, until the member takes it.
    change: Mutex<Option<Box<Change>>>,
    /// Whether to look at once.
    hurry: AtomicBool,
    /// The generations that were taken back, as far as is known.
    undone: Mutex<BTreeSet<u64>>,
    /// What is to be tried beside the lanes.
    shadowing: Mutex<Option<Arc<Shadowing>>>,
}

/// A generation that is prepared.
pub(super) struct Change {
    pub(super) opened: OpenedLive,
    pub(super) running: Running,
}

impl Desk {
    pub(super) fn new(swaps: Swaps) -> Self {
        Self {
            swaps,
            change: Mutex::default(),
            hurry: AtomicBool::new(false),
            undone: Mutex::default(),
            shadowing: Mutex::default(),
        }
    }

    /// Has a version be tried beside the lanes, or none any longer.
    pub(super) fn set_shadowing(&self, shadowing: Option<Arc<Shadowing>>) {
        *self
            .shadowing
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = shadowing;
    }

    /// What is to be tried beside the lanes.
    pub(super) fn shadowing(&self) -> Option<Arc<Shadowing>> {
        let here = self
            .shadowing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        here.clone()
    }

    /// Puts a generation there for the member, in place of one that it has not taken.
    pub(super) fn hand(&self, change: Change) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(change));
    }

    /// What the member is to change to.
    pub(super) fn take(&self) -> Option<Box<Change>> {
        let mut change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        change.take()
    }

    /// Notes which generations were taken back.
    pub(super) fn set_undone(&self, undone: BTreeSet<u64>) {
        *self.undone.lock().unwrap_or_else(PoisonError::into_inner) = undone;
    }

    fn undone(&self) -> BTreeSet<u64> {
        let undone = self.undone.lock().unwrap_or_else(PoisonError::into_inner);
        undone.clone()
    }

    /// Has it looked at once which generation is wanted.
    pub(super) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_hurried(&self) -> bool {
        self.hurry.swap(false, Ordering::Relaxed)
    }
}

/// Hands each lane of a partition an instance of another generation, opened here, so that lanes need not wait for that.
pub(super) fn hand_over(lanes: &Lanes, next: &Shared) -> Result<(), PartitionError> {
    let (Some(opener), Some(running)) = (&next.opened.opener, &next.expected.running) else {
        return Ok(());
    };
    let mut switches = Vec::with_capacity(lanes.tasks.len());
    for (number, _) in &lanes.tasks {
        let label = format!("{}/{number}", next.name());
        let instance = next.lanes.block_on(opener.open(&label))?;
        switches.push(ToLane::Switch(Box::new(Switch {
            transform: Box::new(Recovering::new(Box::new(instance), opener, &label)),
            running: Arc::clone(running),
        })));
    }
    let told = lanes.dealer.tell_each(switches.into_iter());
    Ok(told.map_err(ReadError::from)?)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in generation {}", self.name(), self.generation())
    }
}

impl Shared {
    /// The number of the generation, as messages say it; that of the start where generations have none.
    pub(super) fn generation(&self) -> u64 {
        let running = self.expected.running.as_ref();
        running.map_or(self.epoch, |running| running.number)
    }

    /// Whether its generation was taken back, so that no lane may be opened with it.
    pub(super) fn is_taken_back(&self) -> bool {
        let (Some(running), Some(desk)) = (&self.expected.running, &self.desk) else {
            return false;
        };
        desk.undone().contains(&running.number)
    }

    /// Brings up to date what a lane that is opened has to know of generations.
    pub(super) fn refresh(&self, expected: &mut Expected) {
        if let (Some(running), Some(desk)) = (&mut expected.running, &self.desk) {
            Arc::make_mut(running).undone.extend(desk.undone());
        }
    }

    /// The same pipeline with another generation.
    pub(super) fn with(&self, change: Change) -> Result<Self, SwapError> {
        let mut epoch = self.io.block_on(self.store.begin_epoch(self.name()))?;
        if let Some(table) = &self.table {
            epoch = epoch.max(self.io.block_on(table.begin_epoch(self.name()))?);
        }
        let Change {
            mut opened,
            running,
        } = change;
        opened.fresh = self.opened.fresh;
        if opened.serves {
            // Their versions and types stay: what is said of them is by what they are computed now.
            let declarations = declarations(opened.features.all(), &opened.lineage);
            self.io.block_on(match &self.table {
                Some(table) => table.declare(&declarations),
                None => self.store.declare(&declarations),
            })?;
        }
        let partitions = self.expected.partitions;
        let expected = Expected::new(&opened, partitions, Some(Arc::new(running)));
        Ok(Self {
            opened,
            source: Arc::clone(&self.source),
            store: Arc::clone(&self.store),
            table: self.table.clone(),
            expected,
            epoch,
            timer: Arc::clone(&self.timer),
            clock: Arc::clone(&self.clock),
            lanes: self.lanes.clone(),
            io: self.io.clone(),
            desk: self.desk.clone(),
            forgotten: Mutex::new(
                self.forgotten
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
            ),
        })
    }

    /// Whether lanes at work can go over to a generation as they are.
    pub(super) fn hands_over_to(&self, change: &Change) -> bool {
        let Some(ours) = &self.expected.running else {
            return false;
        };
        let (opened, theirs) = (&change.opened, &change.running);
        let windows = (self.opened.plan.windows(), opened.plan.windows());
        let (Some(before), Some(after)) = windows else {
            return false;
        };
        ours.number < theirs.number
            && !theirs.undone.contains(&ours.number)
            && !theirs.fresh
            && self.opened.map.is_none()
            && opened.map.is_none()
            && self.opened.plan.source == opened.plan.source
            && are_alike(&before.spec, &after.spec)
    }

    /// Says that the generation is at work here.
    pub(super) fn says_that_it_runs(&self) {
        let (Some(running), Some(desk)) = (&self.expected.running, &self.desk) else {
            return;
        };
        if let Err(error) = self.io.block_on(desk.swaps.runs(running.number)) {
            tracing::warn!(pipeline = self.name(), %error, "cannot say that the generation is at work");
        }
    }

    /// Notes what time it is for a generation on probation.
    pub(super) fn pass_time(&self) {
        let running = self.expected.running.as_ref();
        if let Some(probation) = running.and_then(|running| running.probation.as_ref()) {
            probation.pass(self.clock.unix());
        }
    }

    /// Whether it is the generation that has failed: its transform, or the mapper where there are no windows.
    pub(super) fn blames(&self, error: &PartitionError) -> bool {
        let is_mapper = self.opened.plan.windows().is_none();
        error.is_of_the_transform() || (is_mapper && error.is_of_the_mapper())
    }

    /// Has the generation taken back because of a failure, if it is its own, it is on probation, and there is a way back.
    /// Gives whether that is so.
    pub(super) fn takes_back(&self, error: &PartitionError) -> bool {
        let (Some(running), Some(desk)) = (&self.expected.running, &self.desk) else {
            return false;
        };
        let probation = running.probation.as_ref();
        let leads_back = probation.is_some_and(|it| it.leads_back(self.clock.unix()));
        if !self.blames(error) || !leads_back {
            return false;
        }
        let fate = Fate::Revoked(error.to_string());
        let taken = desk.swaps.take_back(Some(running.number), fate);
        let is_taken = match self.io.block_on(taken) {
            Ok((wanted, _)) => {
                tracing::error!(
                    pipeline = self.name(),
                    generation = running.number,
                    wanted,
                    %error,
                    "the new generation has failed and is taken back"
                );
                true
            }
            // Somebody else was faster.
            Err(error) if error.is_overtaken() => true,
            Err(other) => {
                tracing::error!(pipeline = self.name(), error = %other, "the generation cannot be taken back");
                false
            }
        };
        if is_taken {
            let mut undone = desk.undone();
            undone.insert(running.number);
            desk.set_undone(undone);
            desk.hurry();
        }
        is_taken
    }

    /// Notes something about a generation for whoever reads the history.
    pub(super) fn note(&self, number: u64, text: String) {
        let Some(desk) = &self.desk else {
            return;
        };
        tracing::info!(pipeline = self.name(), generation = number, "{text}");
        let at = self.clock.unix();
        let noted = desk.swaps.note(number, Note { at, text });
        if let Err(error) = self.io.block_on(noted) {
            tracing::warn!(pipeline = self.name(), %error, "the history of generations lacks a note");
        }
    }
}
