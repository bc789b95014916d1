//! Instances that wait for their next call, of all transforms of a host.
//!
//! They make room for others: the one that has waited longest goes first. One whose transform rests for a minute goes in
//! any case, so a pipeline to which nothing comes holds none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::ceiling::GuestMemory;
use super::engine::MAX_INSTANCES;
use super::instance::Instance;
use super::meter::monotonic_ns;
use crate::transform::Figures;

/// How many may wait; the other half of the pool is for those that are called.
const MOST: usize = MAX_INSTANCES / 2;
/// Who has waited for less is likely to be called again soon, and goes only when there is no room at all.
const SOON: Duration = Duration::from_secs(1);
/// Who has waited for longer goes.
const LONG: Duration = Duration::from_secs(60);

/// All that wait.
#[derive(Debug)]
pub(super) struct Idle {
    waiting: Mutex<Waiting>,
    memory: Arc<GuestMemory>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By turn: since when, and where.
    places: BTreeMap<u64, (u64, Weak<Place>)>,
}

/// Where a transform's instance waits.
#[derive(Debug, Default)]
pub(super) struct Place(Mutex<Held>);

#[derive(Default)]
struct Held {
    instance: Option<Instance>,
    /// The turn of the instance.
    turn: u64,
    /// What instances have told that went from here.
    told: Figures,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("is_there", &self.instance.is_some())
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

impl Place {
    // Nobody panics between two changes that belong together.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the instances that were here have told, the one that is here included.
    pub(super) fn figures(&self, names: usize) -> Figures {
        let held = self.held();
        let mut figures = held.told.clone();
        if let Some(instance) = &held.instance {
            figures.take_in(&instance.told(), names);
        }
        figures
    }

    /// Takes over what an instance has told that is gone.
    pub(super) fn take_over(&self, instance: &Instance) {
        let names = instance.metric_names();
        self.held().told.take_in(&instance.told(), names);
    }
}

impl Idle {
    pub(super) fn new(memory: &Arc<GuestMemory>) -> Self {
        Self {
            waiting: Mutex::default(),
            memory: Arc::clone(memory),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance that waits in a place, if it is still there.
    pub(super) fn take(&self, place: &Place) -> Option<Instance> {
        let (instance, turn) = {
            let mut held = place.held();
            (held.instance.take()?, held.turn)
        };
        self.waiting().places.remove(&turn);
        Some(instance)
    }

    /// Has an instance wait in its place.
    pub(super) fn put(&self, place: &Arc<Place>, instance: Instance) {
        let waiting = {
            // Whoever lets it go looks into the place second, and finds either nothing or this very turn.
            let mut held = place.held();
            let mut waiting = self.waiting();
            let turn = waiting.next;
            waiting.next += 1;
            let entry = (monotonic_ns(), Arc::downgrade(place));
            waiting.places.insert(turn, entry);
            held.turn = turn;
            held.instance = Some(instance);
            waiting.places.len()
        };
        let (most, used, _) = self.memory.figures();
        if waiting > MOST || used > most / 2 {
            self.let_go(SOON);
        }
    }

    /// Lets the one go that has waited longest, if it has waited for so long.
    pub(super) fn let_go(&self, for_long: Duration) -> bool {
        loop {
            let (turn, place) = {
                let mut waiting = self.waiting();
                let Some(first) = waiting.places.first_entry() else {
                    return false;
                };
                let since = Duration::from_nanos(monotonic_ns().saturating_sub(first.get().0));
                if since < for_long {
                    return false;
                }
                let turn = *first.key();
                (turn, first.remove().1)
            };
            let Some(place) = place.upgrade() else {
                continue;
            };
            let mut held = place.held();
            if held.turn != turn {
                continue;
            }
            let Some(instance) = held.instance.take() else {
                continue;
            };
            held.told.take_in(&instance.told(), instance.metric_names());
            // It is dropped without the lock: that gives its memory back to the system.
            drop(held);
            return true;
        }
    }

    /// Lets all go; says how many there were.
    pub(super) fn let_all_go(&self) -> usize {
        std::iter::from_fn(|| self.let_go(Duration::ZERO).then_some(())).count()
    }

    /// Lets all go that have waited for a minute, and has those look again that wait for room.
    pub(super) fn sweep(&self) {
        while self.let_go(LONG) {}
        self.memory.tell_room();
    }
}
