//! Windows of many panes, made of few merges.
//!
//! Event time is cut into *chunks* of one window's length. Of the chunk at hand each key has a
//! *prefix*: its panes so far, folded from the left. Of the chunk before it has *suffixes*: its
//! panes from each one to the chunk's end, folded from the right. A window that begins inside a
//! chunk is one suffix merged with one prefix, and a window that is a chunk is a prefix, so an
//! emitted row costs about three merges whatever its window's length and slide (van Herk 1992;
//! Gil and Werman 1993). The order of the merges follows from positions alone, which keeps sums of
//! floats the same from run to run.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::WindowError;
use super::calls::Calls;
use super::states::{BySlot, NONE, States};
use super::windows::Length;

/// The groups of a pane: a slot for each key.
#[derive(Default)]
pub(super) struct PaneGroups {
    pub(super) slots: Vec<u32>,
    by_key: HashTable<(u32, u32)>,
}

impl PaneGroups {
    /// The slot of a key.
    pub(super) fn get(&self, key: u32) -> Option<u32> {
        let found = self.by_key.find(hash(key), |(other, _)| *other == key);
        found.map(|(_, slot)| *slot)
    }

    pub(super) fn insert(&mut self, key: u32, slot: u32) {
        self.slots.push(slot);
        self.by_key
            .insert_unique(hash(key), (key, slot), |(key, _)| hash(*key));
    }

    /// Takes out a slot that was put in lately.
    pub(super) fn remove(&mut self, key: u32, slot: u32) {
        if let Some(at) = self.slots.iter().rposition(|other| *other == slot) {
            self.slots.remove(at);
        }
        if let Ok(entry) = self
            .by_key
            .find_entry(hash(key), |(other, _)| *other == key)
        {
            entry.remove();
        }
    }
}

/// Numbers of keys are dense, so any mixing of their bits will do (Knuth's multiplicative hash).
fn hash(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The panes that are kept, by their numbers.
pub(super) type OpenPanes = BTreeMap<i64, PaneGroups>;

/// The panes of a key, by rising number, each with its slot.
pub(super) type KeyPanes = (u32, Vec<(i64, u32)>);

/// The panes from `panes` of all keys that have some there.
pub(super) fn panes_of_all(
    open: &OpenPanes,
    panes: std::ops::Range<i64>,
    states: &States,
) -> Vec<KeyPanes> {
    let mut at_of_key = vec![NONE; states.keys.bound()];
    let mut found: Vec<KeyPanes> = Vec::new();
    for (pane, groups) in open.range(panes) {
        for slot in &groups.slots {
            let key = states.key(*slot);
            let at = &mut at_of_key[key as usize];
            if *at == NONE {
                *at = found.len() as u32;
                found.push((key, Vec::new()));
            }
            found[*at as usize].1.push((*pane, *slot));
        }
    }
    found
}

/// The panes from `panes` of one key.
pub(super) fn panes_of_key(open: &OpenPanes, panes: std::ops::Range<i64>, key: u32) -> KeyPanes {
    let groups = open.range(panes);
    let slots = groups.filter_map(|(pane, groups)| Some((*pane, groups.get(key)?)));
    (key, slots.collect())
}

/// Folds each key's panes from the left, and gives a new slot for each pane: the fold up to it.
pub(super) async fn prefixes(
    panes: &[KeyPanes],
    states: &mut States,
    calls: &mut Calls,
) -> Result<Vec<Vec<u32>>, WindowError> {
    chains(panes, false, states, calls).await
}

/// Folds each key's panes from the right, and gives a new slot for each pane: the fold from it on.
pub(super) async fn suffixes(
    panes: &[KeyPanes],
    states: &mut States,
    calls: &mut Calls,
) -> Result<Vec<Vec<u32>>, WindowError> {
    chains(panes, true, states, calls).await
}

async fn chains(
    panes: &[KeyPanes],
    from_right: bool,
    states: &mut States,
    calls: &mut Calls,
) -> Result<Vec<Vec<u32>>, WindowError> {
    let place = |of: &KeyPanes, step: usize| match from_right {
        true => of.1.len() - 1 - step,
        false => step,
    };
    let mut folded: Vec<Vec<u32>> = Vec::with_capacity(panes.len());
    for (key, panes) in panes {
        folded.push(panes.iter().map(|_| states.add(*key)).collect());
    }
    // Keys with the most panes first: those that are still at it are always the first ones.
    let mut order: Vec<usize> = (0..panes.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(panes[*at].1.len()));
    for step in 0.. {
        order.truncate(order.partition_point(|at| panes[*at].1.len() > step));
        if order.is_empty() {
            break;
        }
        let slot = |at: &usize, step: usize| panes[*at].1[place(&panes[*at], step)].1;
        let fold = |at: &usize, step: usize| folded[*at][place(&panes[*at], step)];
        let panes: Vec<u32> = order.iter().map(|at| slot(at, step)).collect();
        let into: Vec<u32> = order.iter().map(|at| fold(at, step)).collect();
        if step == 0 {
            calls.copy(states, &panes, &into)?;
            continue;
        }
        let before: Vec<u32> = order.iter().map(|at| fold(at, step - 1)).collect();
        let (earlier, later) = match from_right {
            true => (&panes, &before),
            false => (&before, &panes),
        };
        calls.merge(states, earlier, later, &into).await?;
    }
    Ok(folded)
}

/// What a fold has of a key.
#[derive(Debug, Clone, Copy)]
struct Part {
    prefix: u32,
    /// The suffix that begins with the key's first pane at or after the current start.
    suffix: u32,
    is_member: bool,
}

impl Part {
    const NONE: Self = Self {
        prefix: NONE,
        suffix: NONE,
        is_member: false,
    };
}

/// The prefixes and suffixes of all keys, for windows of one length.
pub(super) struct Fold {
    pub(super) length: Length,
    /// The chunk of the prefixes; the suffixes are of the one before.
    chunk: i64,
    parts: Vec<Part>,
    /// The keys that have a part, or had one lately; in order up to the first of `added`.
    members: Vec<u32>,
    added: Vec<u32>,
    with_prefix: Vec<u32>,
    /// The suffixes by the pane that they begin with, and of each the key's next one.
    suffixes: BTreeMap<i64, Vec<u32>>,
    next: BySlot<u32>,
}

impl Fold {
    pub(super) fn new(length: Length) -> Self {
        Self {
            length,
            chunk: i64::MIN,
            parts: Vec::new(),
            members: Vec::new(),
            added: Vec::new(),
            with_prefix: Vec::new(),
            suffixes: BTreeMap::new(),
            next: BySlot::new(),
        }
    }

    /// Whether any key has a part.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.added.is_empty()
    }

    fn chunk_of(&self, pane: i64) -> i64 {
        pane.div_euclid(self.length.panes)
    }

    fn panes_of_chunk(&self, chunk: i64) -> std::ops::Range<i64> {
        chunk * self.length.panes..(chunk + 1) * self.length.panes
    }

    /// The part of a key, which takes part from now on.
    fn part(&mut self, key: u32, states: &mut States) -> &mut Part {
        if self.parts.len() <= key as usize {
            self.parts.resize(states.keys.bound(), Part::NONE);
        }
        let part = &mut self.parts[key as usize];
        if !part.is_member {
            part.is_member = true;
            // Its number must not go to another key as long as it is in the list.
            states.keys.hold(key);
            self.added.push(key);
        }
        part
    }

    /// Goes on to a boundary: into another chunk, if its last pane is in one.
    pub(super) async fn move_to(
        &mut self,
        boundary: i64,
        open: &OpenPanes,
        states: &mut States,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let chunk = self.chunk_of(boundary - 1);
        if chunk == self.chunk {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.chunk, chunk);
        self.drop_suffixes(i64::MAX, states);
        for key in std::mem::take(&mut self.with_prefix) {
            let prefix = std::mem::replace(&mut self.parts[key as usize].prefix, NONE);
            states.release(prefix);
        }
        // No window reaches over a whole chunk, and windows that do not overlap reach over none.
        if before.checked_add(1) == Some(chunk) && self.overlaps() {
            let panes = panes_of_all(open, self.panes_of_chunk(before), states);
            self.take_suffixes(&panes, states, calls).await?;
        }
        Ok(())
    }

    fn overlaps(&self) -> bool {
        !self.length.growing && self.length.step < self.length.panes
    }

    async fn take_suffixes(
        &mut self,
        panes: &[KeyPanes],
        states: &mut States,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let folded = suffixes(panes, states, calls).await?;
        for ((key, panes), slots) in panes.iter().zip(folded) {
            let mut next = NONE;
            for ((pane, _), slot) in panes.iter().zip(slots).rev() {
                self.next.set(slot, next);
                self.suffixes.entry(*pane).or_default().push(slot);
                next = slot;
            }
            self.part(*key, states).suffix = next;
        }
        Ok(())
    }

    /// Lets go of the suffixes that begin before a pane.
    fn drop_suffixes(&mut self, before: i64, states: &mut States) {
        while let Some(entry) = self.suffixes.first_entry()
            && *entry.key() < before
        {
            for slot in entry.remove() {
                let part = &mut self.parts[states.key(slot) as usize];
                if part.suffix == slot {
                    part.suffix = *self.next.get(slot);
                }
                states.release(slot);
            }
        }
    }

    /// Adds the groups of the pane that has just closed to the prefixes.
    pub(super) async fn add_pane(
        &mut self,
        slots: &[u32],
        states: &mut States,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let (mut old, mut new) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for slot in slots {
            let key = states.key(*slot);
            let prefix = self.part(key, states).prefix;
            if prefix != NONE {
                old.0.push(prefix);
                old.1.push(*slot);
                continue;
            }
            let prefix = states.add(key);
            self.parts[key as usize].prefix = prefix;
            self.with_prefix.push(key);
            new.0.push(*slot);
            new.1.push(prefix);
        }
        calls.copy(states, &new.0, &new.1)?;
        calls.merge(states, &old.0, &old.1, &old.0).await
    }

    /// Folds the panes of some keys anew, because rows came late for panes below `closed`.
    pub(super) async fn refold(
        &mut self,
        rows: &[(u32, i64)],
        closed: i64,
        open: &OpenPanes,
        states: &mut States,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let with_prefix = self.keys_of_chunk(rows, self.chunk);
        let with_suffix = self.keys_of_chunk(rows, self.chunk - 1);
        let mut range = self.panes_of_chunk(self.chunk);
        range.end = range.end.min(closed);
        let panes = with_prefix.iter();
        let panes: Vec<KeyPanes> = panes
            .map(|key| panes_of_key(open, range.clone(), *key))
            .filter(|(_, panes)| !panes.is_empty())
            .collect();
        let folded = prefixes(&panes, states, calls).await?;
        for ((key, _), mut slots) in panes.iter().zip(folded) {
            let prefix = slots.pop().expect("it has panes");
            slots.into_iter().for_each(|slot| states.release(slot));
            let before = std::mem::replace(&mut self.part(*key, states).prefix, prefix);
            match before {
                NONE => self.with_prefix.push(*key),
                before => states.release(before),
            }
        }
        if with_suffix.is_empty() || !self.overlaps() {
            return Ok(());
        }
        for slots in self.suffixes.values_mut() {
            slots.retain(|slot| {
                let dirty = with_suffix.binary_search(&states.key(*slot)).is_ok();
                if dirty {
                    states.release(*slot);
                }
                !dirty
            });
        }
        let range = self.panes_of_chunk(self.chunk - 1);
        let panes = with_suffix.iter();
        let panes: Vec<KeyPanes> = panes
            .map(|key| panes_of_key(open, range.clone(), *key))
            .collect();
        for (key, _) in &panes {
            self.part(*key, states).suffix = NONE;
        }
        self.take_suffixes(&panes, states, calls).await
    }

    /// The keys with a row in a pane of a chunk, in the order of their numbers.
    fn keys_of_chunk(&self, rows: &[(u32, i64)], chunk: i64) -> Vec<u32> {
        let rows = rows
            .iter()
            .filter(|(_, pane)| self.chunk_of(*pane) == chunk);
        let mut keys: Vec<u32> = rows.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The windows that begin at boundary `start` and end at the boundary that the fold is at: for
    /// each key in order, the slots of its earlier and its later part.
    pub(super) fn windows(&mut self, start: i64, states: &mut States) -> Vec<(u32, (u32, u32))> {
        self.drop_suffixes(start, states);
        let parts = &mut self.parts;
        self.members.append(&mut self.added);
        self.members.retain(|key| {
            let part = &mut parts[*key as usize];
            part.is_member = part.prefix != NONE || part.suffix != NONE;
            if !part.is_member {
                states.keys.release(*key);
            }
            part.is_member
        });
        states.keys.sort(&mut self.members, |key| *key);
        let windows = self.members.iter().map(|key| {
            let part = parts[*key as usize];
            let slots = match (part.suffix, part.prefix) {
                (NONE, prefix) => (prefix, NONE),
                both => both,
            };
            (*key, slots)
        });
        windows.collect()
    }
}
