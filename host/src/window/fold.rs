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

use super::WindowError;
use super::calls::Calls;
use super::chains::{Chain, End, Link, fold};
use super::open::{KeyPanes, OpenPanes, panes_of_all, panes_of_key};
use super::states::{BySlot, NONE, States};
use super::windows::Length;

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

/// A suffix: the pane that it begins with, and the slot of the key's next one.
#[derive(Debug, Clone, Copy)]
struct Suffix {
    pane: i64,
    next: u32,
}

impl Default for Suffix {
    fn default() -> Self {
        Self {
            pane: i64::MIN,
            next: NONE,
        }
    }
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
    /// The slots of suffixes, by the pane that they begin with.
    suffixes: BTreeMap<i64, Vec<u32>>,
    suffix_of_slot: BySlot<Suffix>,
    /// The first pane that a suffix may still begin with.
    start: i64,
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
            suffix_of_slot: BySlot::new(),
            start: i64::MIN,
        }
    }

    /// Whether any key has a part.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.added.is_empty()
    }

    /// About what is known of the keys takes in memory, apart from the states.
    pub(super) fn bytes(&self) -> usize {
        let members = self.members.len() + self.added.len();
        let suffixes: usize = self.suffixes.values().map(Vec::len).sum();
        members * (size_of::<Part>() + 2 * size_of::<u32>())
            + suffixes * (size_of::<Suffix>() + size_of::<u32>())
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
        self.start = self.panes_of_chunk(chunk - 1).start;
        // No window reaches over a whole chunk, and windows that do not overlap reach over none.
        if before.checked_add(1) == Some(chunk) && self.overlaps() {
            let panes = panes_of_all(open, self.panes_of_chunk(before), states);
            let panes = panes.into_iter().map(|panes| (panes, i64::MAX));
            self.take_suffixes(panes.collect(), states, calls).await?;
        }
        Ok(())
    }

    fn overlaps(&self) -> bool {
        !self.length.growing && self.length.step < self.length.panes
    }

    /// Folds the suffixes of some keys, with each key's panes from `start` on, and the last of them
    /// that has changed. Suffixes that are there already stay where they are, and those that begin
    /// after the change stay as they are.
    async fn take_suffixes(
        &mut self,
        panes: Vec<(KeyPanes, i64)>,
        states: &mut States,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let mut chains = Vec::with_capacity(panes.len());
        for ((key, panes), changed) in panes {
            let first = self.part(key, states).suffix;
            let mut known = self.suffixes_of(first);
            let mut chain = Chain {
                wanted: panes.len(),
                ..Chain::default()
            };
            let mut next = NONE;
            for (pane, slot) in panes.into_iter().rev() {
                let is_known = |known: &mut (i64, u32)| known.0 == pane;
                let fold = known.pop_if(is_known).map(|(_, fold)| fold);
                let fold = fold.unwrap_or_else(|| {
                    let fold = states.add(key);
                    self.suffixes.entry(pane).or_default().push(fold);
                    fold
                });
                self.suffix_of_slot.set(fold, Suffix { pane, next });
                next = fold;
                chain.folded += usize::from(pane > changed);
                chain.links.push(Link { pane, slot, fold });
            }
            // What is left of the known ones are panes that no window to come has in it.
            self.part(key, states).suffix = next;
            chains.push(chain);
        }
        fold(&mut chains, End::Right, states, calls).await
    }

    /// The suffixes of a key from one on, by rising panes: where each begins, and its slot.
    fn suffixes_of(&self, first: u32) -> Vec<(i64, u32)> {
        let mut suffixes = Vec::new();
        let mut slot = first;
        while slot != NONE {
            let suffix = self.suffix_of_slot.get(slot);
            suffixes.push((suffix.pane, slot));
            slot = suffix.next;
        }
        suffixes
    }

    /// Lets go of the suffixes that begin before a pane.
    fn drop_suffixes(&mut self, before: i64, states: &mut States) {
        self.start = self.start.max(before);
        while let Some(entry) = self.suffixes.first_entry()
            && *entry.key() < before
        {
            for slot in entry.remove() {
                let part = &mut self.parts[states.key(slot) as usize];
                if part.suffix == slot {
                    part.suffix = self.suffix_of_slot.get(slot).next;
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

    /// Folds the panes of some keys anew, because rows came late for panes below `closed`. That
    /// costs at most a merge for each pane of these keys in a chunk and the one before it, whatever
    /// the number of rows and of other keys.
    pub(super) async fn refold(
        &mut self,
        rows: &[(u32, i64)],
        closed: i64,
        open: &OpenPanes,
        states: &mut States,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let chunk = self.panes_of_chunk(self.chunk);
        let of_prefix = chunk.start..chunk.end.min(closed);
        let mut chains = Vec::new();
        for (key, _) in changed_keys(rows, &of_prefix) {
            let (_, panes) = panes_of_key(open, of_prefix.clone(), key);
            if panes.is_empty() {
                continue;
            }
            if self.part(key, states).prefix == NONE {
                self.parts[key as usize].prefix = states.add(key);
                self.with_prefix.push(key);
            }
            // Of all these folds only the last is wanted, so they take each other's place.
            let fold = self.parts[key as usize].prefix;
            let link = |(pane, slot)| Link { pane, slot, fold };
            chains.push(Chain {
                wanted: panes.len(),
                links: panes.into_iter().map(link).collect(),
                folded: 0,
            });
        }
        fold(&mut chains, End::Left, states, calls).await?;
        if !self.overlaps() {
            return Ok(());
        }
        let of_suffixes = self.start..chunk.start;
        let changed = changed_keys(rows, &of_suffixes).into_iter();
        let panes = changed
            .map(|(key, changed)| (panes_of_key(open, of_suffixes.clone(), key), changed))
            .filter(|((_, panes), _)| !panes.is_empty());
        self.take_suffixes(panes.collect(), states, calls).await
    }

    /// Lets go of the parts of some keys.
    pub(super) fn put_away(&mut self, is_away: impl Fn(u32) -> bool, states: &mut States) {
        self.with_prefix.retain(|key| {
            let is_away = is_away(*key);
            if is_away {
                states.release(self.parts[*key as usize].prefix);
            }
            !is_away
        });
        self.suffixes.retain(|_, slots| {
            slots.retain(|slot| {
                let is_away = is_away(states.key(*slot));
                if is_away {
                    states.release(*slot);
                }
                !is_away
            });
            !slots.is_empty()
        });
        for members in [&mut self.members, &mut self.added] {
            members.retain(|key| {
                let is_away = is_away(*key);
                if is_away {
                    self.parts[*key as usize] = Part::NONE;
                    states.keys.release(*key);
                }
                !is_away
            });
        }
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

/// The keys with a row in some panes, in the order of their numbers, and the last of its panes
/// there.
fn changed_keys(rows: &[(u32, i64)], panes: &std::ops::Range<i64>) -> Vec<(u32, i64)> {
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    for (key, pane) in rows.iter().filter(|(_, pane)| panes.contains(pane)) {
        let last = last.entry(*key).or_insert(*pane);
        *last = (*last).max(*pane);
    }
    last.into_iter().collect()
}
