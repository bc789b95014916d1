//! Groups: a key in a pane each, found by hashing, numbered densely for each call.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::keys::{BatchKeys, KeptKeys, KeyEncoder, KeySource};
use super::panes::{Pane, Panes};
use super::runs::{Place, Runs};

/// The groups of some rows of a batch, numbered from 0 in the order in which the rows touch them.
#[derive(Debug)]
pub struct Touched {
    /// For each row its group's number.
    pub group_of_row: ScalarBuffer<u32>,
    /// The key's columns, a row a group.
    pub keys: Vec<ArrayRef>,
    /// The state's columns, a row a group.
    pub states: Vec<ArrayRef>,
    slots: Vec<u32>,
}

impl Touched {
    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// A pane that closed: its groups in the order of their keys, to be gathered piece by piece.
#[derive(Debug)]
pub struct ClosedPane {
    /// Its bounds.
    pub pane: Pane,
    slots: Vec<u32>,
}

impl ClosedPane {
    /// How many groups it has.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// What a slot knows of its group beside its key.
struct Slot {
    hash: u64,
    pane_start: i64,
    /// The call that touched it last, and its number in that call.
    stamp: u32,
    number: u32,
}

/// The groups of a lane and their states.
pub struct WindowState {
    panes: Panes,
    open: BTreeMap<i64, HashTable<u32>>,
    encoder: KeyEncoder,
    hasher: RandomState,
    kept: KeptKeys,
    slots: Vec<Slot>,
    places: Vec<Place>,
    free: Vec<u32>,
    runs: Runs,
    stamp: u32,
    initial: Vec<ArrayRef>,
    key_columns: usize,
    empty_keys: Vec<ArrayRef>,
}

impl WindowState {
    /// No groups yet. `key` is the schema of the key; `initial` is one row of state.
    ///
    /// # Errors
    ///
    /// A key column has a type that cannot be compared.
    pub fn new(panes: Panes, key: &Schema, initial: &RecordBatch) -> Result<Self, String> {
        let encoder = KeyEncoder::new(key)?;
        let null_row =
            |field: &arrow::datatypes::FieldRef| arrow::array::new_null_array(field.data_type(), 1);
        Ok(Self {
            panes,
            open: BTreeMap::new(),
            kept: KeptKeys::new(&encoder),
            encoder,
            hasher: RandomState::default(),
            slots: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            runs: Runs::default(),
            stamp: 0,
            initial: initial.columns().to_vec(),
            key_columns: key.fields().len(),
            empty_keys: key.fields().iter().map(null_row).collect(),
        })
    }

    /// How many groups have a state.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds or makes the group of each row, and gives their slots for [`WindowState::touch`].
    ///
    /// `keys` are the key's columns, without nulls; every event time has a pane.
    ///
    /// # Errors
    ///
    /// The keys cannot be encoded.
    pub fn assign(&mut self, event_times: &[i64], keys: &[ArrayRef]) -> Result<Vec<u32>, String> {
        let batch = self.encoder.encode(keys)?;
        let mut groups = Assignment {
            panes: self.panes,
            open: &mut self.open,
            hasher: &self.hasher,
            slots: &mut self.slots,
            places: &mut self.places,
            free: &mut self.free,
        };
        Ok(match (&batch, &mut self.kept) {
            (BatchKeys::Bits(bits), KeptKeys::Bits { bits: kept, .. }) => {
                groups.of(event_times, bits, kept)
            }
            (BatchKeys::Rows(rows), KeptKeys::Rows(kept)) => groups.of(event_times, rows, kept),
            _ => unreachable!("the encoder decides both"),
        })
    }

    /// Numbers the groups of some rows and gathers their keys and states. `slots` are those of
    /// the rows, `keys` the rows' key columns.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the gathered columns, because their bytes overflow its offsets.
    pub fn touch(&mut self, slots: &[u32], keys: &[ArrayRef]) -> Result<Touched, ArrowError> {
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
        let key_columns = self.key_columns;
        let all_columns = key_columns + self.initial.len();
        let gathered_keys =
            self.runs
                .gather(&self.places, &touched, keys, 0..key_columns, |group| {
                    first_rows[group] as usize
                })?;
        let states = self.runs.gather(
            &self.places,
            &touched,
            &self.initial,
            key_columns..all_columns,
            |_| 0,
        )?;
        Ok(Touched {
            group_of_row: group_of_row.into(),
            keys: gathered_keys,
            states,
            slots: touched,
        })
    }

    /// Takes back what [`WindowState::assign`] made for rows that will be assigned anew, in other cuts.
    pub fn unassign(&mut self, slots: &[u32]) {
        let mut new: Vec<u32> = slots
            .iter()
            .copied()
            .filter(|slot| self.places[*slot as usize] == Place::NONE)
            .collect();
        new.sort_unstable();
        new.dedup();
        for slot in new {
            self.release(slot, true);
        }
    }

    /// Takes the states that a transform returned for touched groups.
    ///
    /// `changed` names the groups of `states`, or is none for all. `applied` tells for each group
    /// whether any of its rows was applied: a group begins with its first applied row, so one that
    /// was new and had none is forgotten.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn update(
        &mut self,
        touched: Touched,
        states: Vec<ArrayRef>,
        changed: Option<&[u32]>,
        applied: impl Fn(usize) -> bool,
    ) -> Result<(), ArrowError> {
        let groups = touched.slots.len();
        let mut returned = vec![usize::MAX; if changed.is_some() { groups } else { 0 }];
        for (row, group) in changed.into_iter().flatten().enumerate() {
            returned[*group as usize] = row;
        }
        let is_new =
            |state: &Self, group: usize| state.places[touched.slots[group] as usize] == Place::NONE;
        let mut keep = Vec::with_capacity(groups);
        let mut sources = Vec::with_capacity(groups);
        let mut void = Vec::new();
        for group in 0..groups {
            let new = is_new(self, group);
            if new && !applied(group) {
                void.push(touched.slots[group]);
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
        let columns = if whole {
            touched.keys.iter().cloned().chain(states).collect()
        } else {
            let keep = UInt32Array::from(keep.clone());
            let keys = touched.keys.iter().map(|keys| take(keys, &keep, None));
            let states = states
                .iter()
                .zip(&touched.states)
                .map(|(new, old)| interleave(&[new, old], &sources));
            keys.chain(states).collect::<Result<Vec<_>, _>>()?
        };
        let slots = keep
            .iter()
            .map(|group| touched.slots[*group as usize])
            .collect();
        self.runs.put(&mut self.places, slots, columns)?;
        for slot in void {
            self.release(slot, true);
        }
        Ok(())
    }

    /// Takes the earliest pane that ends at or before `watermark` out of the open ones.
    pub fn close_next(&mut self, watermark: i64) -> Option<ClosedPane> {
        let entry = self.open.first_entry()?;
        let start = *entry.key();
        let pane = self.panes.of(start).expect("an open pane has bounds");
        if pane.end > watermark {
            return None;
        }
        let mut slots: Vec<u32> = entry.remove().into_iter().collect();
        self.kept.sort(&mut slots);
        Some(ClosedPane { pane, slots })
    }

    /// The keys and states of some groups of a closed pane.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn gather(
        &self,
        closed: &ClosedPane,
        groups: std::ops::Range<usize>,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), ArrowError> {
        let slots = &closed.slots[groups];
        let keys = self.key_columns;
        let all = keys + self.initial.len();
        Ok((
            self.runs
                .gather(&self.places, slots, &self.empty_keys, 0..keys, |_| 0)?,
            self.runs
                .gather(&self.places, slots, &self.initial, keys..all, |_| 0)?,
        ))
    }

    /// Forgets the groups of a closed pane.
    pub fn drop_closed(&mut self, closed: ClosedPane) {
        for slot in closed.slots {
            self.release(slot, false);
        }
    }

    fn release(&mut self, slot: u32, in_open_pane: bool) {
        let at = slot as usize;
        self.runs.forget(&mut self.places[at]);
        if in_open_pane {
            let Slot {
                pane_start, hash, ..
            } = self.slots[at];
            if let Some(pane) = self.open.get_mut(&pane_start) {
                if let Ok(entry) = pane.find_entry(hash, |other| *other == slot) {
                    entry.remove();
                }
                if pane.is_empty() {
                    self.open.remove(&pane_start);
                }
            }
        }
        self.free.push(slot);
    }
}

/// The parts of a [`WindowState`] that finding groups needs, apart from the kept keys.
struct Assignment<'a> {
    panes: Panes,
    open: &'a mut BTreeMap<i64, HashTable<u32>>,
    hasher: &'a RandomState,
    slots: &'a mut Vec<Slot>,
    places: &'a mut Vec<Place>,
    free: &'a mut Vec<u32>,
}

impl Assignment<'_> {
    fn of<K: KeySource>(
        &mut self,
        event_times: &[i64],
        keys: &K,
        kept: &mut Vec<K::Kept>,
    ) -> Vec<u32> {
        let mut slots_of_rows = Vec::with_capacity(event_times.len());
        let mut row = 0;
        while let Some(first) = event_times.get(row) {
            // Rows mostly come in stretches of one pane, which is then looked up once.
            let pane = self
                .panes
                .of(*first)
                .expect("the caller refuses times without a pane");
            let table = self.open.entry(pane.start).or_default();
            while let Some(event_time) = event_times.get(row)
                && pane.contains(*event_time)
            {
                let hash = keys.hash(self.hasher, row);
                let slots = &*self.slots;
                let entry = table.entry(
                    hash,
                    |slot| keys.matches(row, &kept[*slot as usize]),
                    |slot| slots[*slot as usize].hash,
                );
                let slot = match entry {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        let slot = Slot {
                            hash,
                            pane_start: pane.start,
                            stamp: 0,
                            number: 0,
                        };
                        let at = match self.free.pop() {
                            Some(at) => {
                                self.slots[at as usize] = slot;
                                kept[at as usize] = keys.keep(row);
                                at
                            }
                            None => {
                                self.slots.push(slot);
                                self.places.push(Place::NONE);
                                kept.push(keys.keep(row));
                                (self.slots.len() - 1) as u32
                            }
                        };
                        entry.insert(at);
                        at
                    }
                };
                slots_of_rows.push(slot);
                row += 1;
            }
        }
        slots_of_rows
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
