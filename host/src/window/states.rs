//! States: a row of the transform's state each, in a slot that belongs to a key.
//!
//! What a slot's state is about (a pane, a part of a window, a session) is the business of the
//! windows that asked for it.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::WindowError;
use super::runs::{Place, Runs};
use super::state::{Marks, RecordId, Schedule};
use super::table::Keys;
use crate::transform::{Reject, bytes_of};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// The groups of some rows, numbered from 0 in the order in which the rows touch them.
#[derive(Debug)]
pub(super) struct Touched {
    /// For each row its group's number.
    pub(super) group_of_row: ScalarBuffer<u32>,
    /// The key's columns, a row a group.
    pub(super) keys: Vec<ArrayRef>,
    /// The state's columns, a row a group.
    pub(super) states: Vec<ArrayRef>,
    slots: Vec<u32>,
}

impl Touched {
    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

struct Slot {
    key: u32,
    /// The call that touched it last, and its number in that call.
    stamp: u32,
    number: u32,
}

/// The states of a lane.
pub(super) struct States {
    pub(super) keys: Keys,
    slots: Vec<Slot>,
    places: Vec<Place>,
    free: Vec<u32>,
    runs: Runs,
    stamp: u32,
    initial: Vec<ArrayRef>,
    initial_bytes: usize,
    /// Slots whose states differ from what is kept of them.
    pub(super) marks: Marks,
    /// Records that are kept and no longer wanted. Their keys are held.
    gone: Vec<(u32, RecordId)>,
    /// Slots whose states would have come of a merge that failed, with what there is to say of it. What comes of them is
    /// spoiled, too, until they are given another state. No slot of which a record is kept is among them for long.
    spoiled: BTreeMap<u32, Reject>,
}

impl States {
    /// No states yet. `key` is the schema of the key; `initial` is one row of state.
    pub(super) fn new(key: &Schema, initial: &RecordBatch) -> Result<Self, WindowError> {
        Ok(Self {
            keys: Keys::new(key)?,
            slots: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            runs: Runs::default(),
            stamp: 0,
            initial: initial.columns().to_vec(),
            initial_bytes: bytes_of(initial.columns()),
            marks: Marks::default(),
            gone: Vec::new(),
            spoiled: BTreeMap::new(),
        })
    }

    /// About what keys and states take in memory, beside what the windows know of each.
    pub(super) fn bytes(&self) -> usize {
        // A number in the list of slots that are free, or of those that changed, and a mark.
        let of_slot = size_of::<Slot>() + size_of::<Place>() + size_of::<u32>() + 1;
        self.len() * of_slot + self.runs.bytes() + self.keys.bytes()
    }

    /// How many records differ from what is kept, about.
    pub(super) fn changes(&self) -> usize {
        self.marks.changes() + self.gone.len()
    }

    /// From now on it is noted which keys are in use, and states lie in runs of about so many bytes.
    pub(super) fn limit(&mut self, run_bytes: usize) {
        self.runs.limit(run_bytes);
        self.keys.limit(run_bytes);
    }

    /// Gathers anew what lies scattered after many keys were let go of.
    pub(super) fn tidy(&mut self) -> Result<(), ArrowError> {
        self.runs.tidy(&mut self.places)?;
        self.keys.tidy()
    }

    /// How many slots are in use.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A slot for a key, with the initial state.
    pub(super) fn add(&mut self, key: u32) -> u32 {
        self.keys.hold(key);
        let slot = Slot {
            key,
            stamp: 0,
            number: 0,
        };
        match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.places.push(Place::NONE);
                (self.slots.len() - 1) as u32
            }
        }
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, slot: u32) {
        let at = slot as usize;
        self.runs.forget(&mut self.places[at]);
        self.keys.release(self.slots[at].key);
        self.slots[at].key = NONE;
        self.free.push(slot);
        self.marks.forget(slot);
        self.spoiled.remove(&slot);
    }

    /// There is no state for a slot, since a merge failed.
    pub(super) fn spoil(&mut self, slot: u32, failure: Reject) {
        self.spoiled.insert(slot, failure);
    }

    /// A slot's state is as good as any other again.
    pub(super) fn mend(&mut self, slot: u32) -> Option<Reject> {
        self.spoiled.remove(&slot)
    }

    /// The keys of slots for which there is no state, since a merge failed.
    pub(super) fn spoiled_keys(&self) -> BTreeSet<u32> {
        self.spoiled.keys().map(|slot| self.key(*slot)).collect()
    }

    /// Why there is no state for what comes of these slots, if it is so. [`NONE`] may be among them.
    pub(super) fn failure(&self, slots: [u32; 2]) -> Option<&Reject> {
        if self.spoiled.is_empty() {
            return None;
        }
        slots.iter().find_map(|slot| self.spoiled.get(slot))
    }

    /// Gives a slot back, of whose state a record may be kept.
    pub(super) fn release_record(&mut self, slot: u32, id: RecordId) {
        self.note_record_gone(slot, id);
        self.release(slot);
    }

    /// The record of a slot's state is no longer wanted, if one is kept.
    pub(super) fn note_record_gone(&mut self, slot: u32, id: RecordId) {
        if self.marks.is_kept(slot) {
            self.note_gone(self.key(slot), id);
        }
    }

    /// A record is kept and no longer wanted.
    pub(super) fn note_gone(&mut self, key: u32, id: RecordId) {
        self.keys.hold(key);
        self.gone.push((key, id));
    }

    /// The records that are no longer wanted. Their keys are to be released.
    pub(super) fn take_gone(&mut self) -> Vec<(u32, RecordId)> {
        std::mem::take(&mut self.gone)
    }

    /// The key of a slot; [`NONE`] if it was given back.
    pub(super) fn key(&self, slot: u32) -> u32 {
        self.slots[slot as usize].key
    }

    /// Whether no row was ever applied to a slot's state.
    pub(super) fn is_initial(&self, slot: u32) -> bool {
        self.places[slot as usize] == Place::NONE
    }

    /// Of some keys something is due at an instant, beside what is due already.
    pub(super) fn schedule(&mut self, due: Vec<(u32, i64)>) -> Result<Schedule, ArrowError> {
        let mut before: BTreeMap<u32, Option<i64>> = BTreeMap::new();
        for (key, due) in due {
            let kept = self.keys.due(key);
            if due < i64::MAX && kept.is_none_or(|kept| due < kept) {
                before.entry(key).or_insert(kept);
                self.keys.set_due(key, Some(due));
            }
        }
        let moves = before.into_iter();
        let moves = moves.map(|(key, from)| (key, from, self.keys.due(key)));
        self.moved(moves.collect())
    }

    /// Of some keys this is due, or nothing. What is kept of that may be forgotten after it.
    pub(super) fn reschedule(
        &mut self,
        due: Vec<(u32, Option<i64>)>,
        forget: bool,
    ) -> Result<Schedule, ArrowError> {
        let moves = due
            .iter()
            .map(|(key, due)| (*key, self.keys.due(*key), *due));
        let moves = moves.filter(|(_, from, to)| from != to).collect();
        let schedule = self.moved(moves)?;
        for (key, due) in due {
            self.keys.set_due(key, due.filter(|_| !forget));
        }
        Ok(schedule)
    }

    fn moved(&self, moves: Vec<(u32, Option<i64>, Option<i64>)>) -> Result<Schedule, ArrowError> {
        let keys: Vec<u32> = moves.iter().map(|(key, ..)| *key).collect();
        Ok(Schedule {
            keys: self.keys.gather(&keys)?,
            from: moves.iter().map(|(_, from, _)| *from).collect(),
            to: moves.iter().map(|(.., to)| *to).collect(),
        })
    }

    /// Numbers the groups of some rows, by their slots, and gathers their keys and states. `keys`
    /// are the rows' key columns.
    ///
    /// # Errors
    ///
    /// As [`Self::gather_within`].
    pub(super) fn touch(
        &mut self,
        slots: &[u32],
        keys: &[ArrayRef],
        bytes: usize,
    ) -> Result<Touched, ArrowError> {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.slots.iter_mut().for_each(|slot| slot.stamp = 0);
            self.stamp = 1;
        }
        let mut touched: Vec<u32> = Vec::new();
        let mut first_rows: Vec<u32> = Vec::new();
        let mut group_of_row = Vec::with_capacity(slots.len());
        for (row, at) in slots.iter().enumerate() {
            let slot = &mut self.slots[*at as usize];
            if slot.stamp != self.stamp {
                slot.stamp = self.stamp;
                slot.number = touched.len() as u32;
                touched.push(*at);
                first_rows.push(row as u32);
            }
            group_of_row.push(slot.number);
        }
        let first_rows = UInt32Array::from(first_rows);
        let keys = keys.iter().map(|keys| take(keys, &first_rows, None));
        Ok(Touched {
            group_of_row: group_of_row.into(),
            keys: keys.collect::<Result<_, _>>()?,
            states: self.gather_within(&touched, bytes)?,
            slots: touched,
        })
    }

    /// Takes the states that a transform returned for touched groups.
    ///
    /// `changed` names the groups of `states`, or is none for all. `applied` tells for each group
    /// whether any of its rows was applied, or is none if all were: a state begins with its first
    /// applied row, so a slot that had none stays initial.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub(super) fn update(
        &mut self,
        touched: Touched,
        states: Vec<ArrayRef>,
        changed: Option<&[u32]>,
        applied: Option<&[bool]>,
    ) -> Result<(), ArrowError> {
        if changed.is_none() && applied.is_none() {
            return self.put(touched.slots, states);
        }
        let groups = touched.slots.len();
        let mut returned = vec![usize::MAX; if changed.is_some() { groups } else { 0 }];
        for (row, group) in changed.into_iter().flatten().enumerate() {
            returned[*group as usize] = row;
        }
        let mut keep = Vec::with_capacity(groups);
        let mut sources = Vec::with_capacity(groups);
        for group in 0..groups {
            let new = self.is_initial(touched.slots[group]);
            if new && applied.is_some_and(|applied| !applied[group]) {
                continue;
            }
            match returned.get(group) {
                None => sources.push((0, group)),
                Some(row) if *row != usize::MAX => sources.push((0, *row)),
                // A new group that the transform left as it was starts from the initial state.
                Some(_) if new => sources.push((1, group)),
                Some(_) => continue,
            }
            keep.push(group as u32);
        }
        let whole = changed.is_none() && keep.len() == groups;
        if whole {
            return self.put(touched.slots, states);
        }
        let states = states.iter().zip(&touched.states);
        let states = states.map(|(new, old)| interleave(&[new, old], &sources));
        let states = states.collect::<Result<Vec<_>, _>>()?;
        let slots = keep.iter().map(|group| touched.slots[*group as usize]);
        self.put(slots.collect(), states)
    }

    /// Gives slots new states, a row each.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub(super) fn put(&mut self, slots: Vec<u32>, states: Vec<ArrayRef>) -> Result<(), ArrowError> {
        self.marks.mark_all(&slots);
        if !self.spoiled.is_empty() {
            slots
                .iter()
                .for_each(|slot| drop(self.spoiled.remove(slot)));
        }
        self.runs.put(&mut self.places, slots, states)
    }

    /// Gives slots the states that are kept of them, a row each.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub(super) fn load(
        &mut self,
        slots: Vec<u32>,
        states: Vec<ArrayRef>,
    ) -> Result<(), ArrowError> {
        slots.iter().for_each(|slot| self.marks.keep(*slot));
        self.runs.put(&mut self.places, slots, states)
    }

    /// The states of some slots, a row each.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub(super) fn gather(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.runs.gather(&self.places, slots, &self.initial)
    }

    /// The same, where fewer slots would do as well.
    ///
    /// # Errors
    ///
    /// There are several, and Arrow cannot hold the columns, or copies of the initial state alone would take more than
    /// `bytes`: a state that has begun takes the memory that it has anyway, but of one that has not a lane has none yet.
    pub(super) fn gather_within(
        &self,
        slots: &[u32],
        bytes: usize,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let of = |slots: usize| slots.saturating_mul(self.initial_bytes);
        // Most states are so small that nobody need count.
        if slots.len() > 1 && of(slots.len()) > bytes {
            let fresh = slots.iter().filter(|slot| self.is_initial(**slot)).count();
            if of(fresh) > bytes {
                return Err(ArrowError::OffsetOverflowError(of(fresh)));
            }
        }
        self.gather(slots)
    }
}

/// What windows know of each slot, beside its state: a value of `T` by the slot's number.
pub(super) struct BySlot<T>(Vec<T>);

impl<T: Clone + Default> BySlot<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes something of a slot.
    pub(super) fn set(&mut self, slot: u32, value: T) {
        let at = slot as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, T::default());
        }
        self.0[at] = value;
    }

    /// What is known of a slot, if something was noted.
    pub(super) fn find(&self, slot: u32) -> Option<&T> {
        self.0.get(slot as usize)
    }

    /// What is known of a slot of which something was noted.
    pub(super) fn get(&self, slot: u32) -> &T {
        &self.0[slot as usize]
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut T {
        &mut self.0[slot as usize]
    }
}
