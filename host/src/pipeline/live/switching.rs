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
use std::time::Duration;

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

/// A lane goes over to another generation with a commit that is due as soon as this: a commit of its own would hold it up, at
/// the same moment as all others.
const SOON: Duration = Duration::from_secs(5);

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
    /// Digests of components that this process has reason to trust: what the pipeline's own file names, and those whose
    /// signature it has seen.
    vouched: Mutex<BTreeSet<String>>,
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
            vouched: Mutex::default(),
        }
    }

    /// Notes that a component is to be trusted, for as long as the process lasts.
    pub(super) fn vouch(&self, digest: &str) {
        let mut vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        vouched.insert(digest.to_owned());
    }

    pub(super) fn is_vouched(&self, digest: &str) -> bool {
        let vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        vouched.contains(digest)
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

    /// Puts a generation back that could not be changed to yet, unless there is another one by now.
    pub(super) fn put_back(&self, unchanged: Box<Change>) {
        let mut change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        change.get_or_insert(unchanged);
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

    /// Whether a generation was taken back, as far as is known.
    pub(super) fn is_undone(&self, generation: u64) -> bool {
        let undone = self.undone.lock().unwrap_or_else(PoisonError::into_inner);
        undone.contains(&generation)
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
    for lane in &lanes.tasks {
        let label = format!("{}/{}", next.name(), lane.number);
        let instance = next.lanes.block_on(opener.open(&label))?;
        switches.push(ToLane::Switch(Box::new(Switch {
            transform: Box::new(Recovering::new(Box::new(instance), opener, &label)),
            running: Arc::clone(running),
            has: Arc::clone(&lane.has),
            with_next_commit: next.opened.commit_every <= SOON,
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

    /// Whether its generation was taken back, so that no lane may be opened with it, or work on in it.
    pub(super) fn is_taken_back(&self) -> bool {
        let (Some(running), Some(desk)) = (&self.expected.running, &self.desk) else {
            return false;
        };
        desk.is_undone(running.number)
    }

    /// Brings up to date what a lane that is opened has to know of generations.
    pub(super) fn refresh(&self, expected: &mut Expected) {
        if let (Some(running), Some(desk)) = (&mut expected.running, &self.desk) {
            Arc::make_mut(running).undone.extend(desk.undone());
        }
    }

    /// Does what is to be done in stores before lanes go over to another generation, and changes nothing of what runs.
    /// Gives the epoch that is theirs from then on.
    ///
    /// # Errors
    ///
    /// A store does not answer, or refuses what is said of features.
    pub(super) fn make_way(&self, change: &Change) -> Result<u64, SwapError> {
        let mut epoch = self.io.block_on(self.store.begin_epoch(self.name()))?;
        if let Some(table) = &self.table {
            epoch = epoch.max(self.io.block_on(table.begin_epoch(self.name()))?);
        }
        let opened = &change.opened;
        if opened.serves {
            // Their versions and types stay: what is said of them is by what they are computed now.
            let declarations = declarations(opened.features.all(), &opened.lineage);
            self.io.block_on(match &self.table {
                Some(table) => table.declare(&declarations),
                None => self.store.declare(&declarations),
            })?;
        }
        Ok(epoch)
    }

    /// The same pipeline with another generation, for which way was made.
    pub(super) fn with(&self, change: Change, epoch: u64) -> Self {
        let Change {
            mut opened,
            running,
        } = change;
        opened.fresh = self.opened.fresh;
        let partitions = self.expected.partitions;
        let expected = Expected::new(&opened, partitions, Some(Arc::new(running)));
        Self {
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
        }
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

    /// Whether a lane of this host has committed in the generation.
    pub(super) fn is_committed(&self) -> bool {
        let running = self.expected.running.as_ref();
        running.is_some_and(|running| running.is_committed.load(Ordering::Relaxed))
    }

    /// Says that the generation is at work here. Gives whether that is said.
    pub(super) fn says_that_it_runs(&self) -> bool {
        let (Some(running), Some(desk)) = (&self.expected.running, &self.desk) else {
            return true;
        };
        let said = self.io.block_on(desk.swaps.runs(running.number));
        if let Err(error) = &said {
            tracing::warn!(pipeline = self.name(), %error, "cannot say yet that the generation is at work");
        }
        said.is_ok()
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

    /// Has the generation taken back because of a failure, if it is its own, there is a way back, and it is on probation or
    /// cannot take over the states of the one before, which it never may do without. Gives whether that is so.
    pub(super) fn takes_back(&self, error: &PartitionError) -> bool {
        let (Some(running), Some(desk)) = (&self.expected.running, &self.desk) else {
            return false;
        };
        let Some(probation) = &running.probation else {
            return false;
        };
        let leads_back = error.is_of_a_migration() || probation.leads_back(self.clock.unix());
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
