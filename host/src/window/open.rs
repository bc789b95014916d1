//! The panes that are kept, and the groups in each: a slot for each key.

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashTable;

use super::states::{NONE, States};

/// The panes that are kept, by their numbers.
pub(super) type OpenPanes = BTreeMap<i64, PaneGroups>;

/// The panes of a key, by rising number, each with its slot.
pub(super) type KeyPanes = (u32, Vec<(i64, u32)>);

/// The groups of a pane: a slot for each key.
#[derive(Default)]
pub(super) struct PaneGroups {
    /// In no order.
    pub(super) slots: Vec<u32>,
    /// The key of each slot.
    keys: Vec<u32>,
    /// Keys, and where their slots are in the list.
    by_key: HashTable<(u32, u32)>,
}

impl PaneGroups {
    /// About what the groups take in memory, apart from their states.
    pub(super) fn bytes(&self) -> usize {
        // An entry of the table is two numbers and a byte, and a quarter of it is free or more.
        self.slots.len() * (2 * size_of::<u32>() + 2 * (2 * size_of::<u32>() + 1))
    }

    /// The slot of a key.
    pub(super) fn get(&self, key: u32) -> Option<u32> {
        let found = self.by_key.find(hash(key), |(other, _)| *other == key);
        found.map(|(_, at)| self.slots[*at as usize])
    }

    /// Puts in the slot of a key that has none.
    pub(super) fn insert(&mut self, key: u32, slot: u32) {
        let at = self.slots.len() as u32;
        self.slots.push(slot);
        self.keys.push(key);
        self.by_key
            .insert_unique(hash(key), (key, at), |(key, _)| hash(*key));
    }

    /// Takes out the slot of a key, at the same cost wherever it is.
    pub(super) fn remove(&mut self, key: u32) {
        let found = self
            .by_key
            .find_entry(hash(key), |(other, _)| *other == key);
        let Ok(entry) = found else { return };
        let ((_, at), _) = entry.remove();
        self.slots.swap_remove(at as usize);
        self.keys.swap_remove(at as usize);
        // The last one has come into its place.
        if let Some(moved) = self.keys.get(at as usize)
            && let Some(entry) = self
                .by_key
                .find_mut(hash(*moved), |(other, _)| other == moved)
        {
            entry.1 = at;
        }
    }
}

/// Numbers of keys are dense, so any mixing of their bits will do (Knuth's multiplicative hash).
fn hash(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The panes from `panes` of all keys that have some there.
pub(super) fn panes_of_all(open: &OpenPanes, panes: Range<i64>, states: &States) -> Vec<KeyPanes> {
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
pub(super) fn panes_of_key(open: &OpenPanes, panes: Range<i64>, key: u32) -> KeyPanes {
    let groups = open.range(panes);
    let slots = groups.filter_map(|(pane, groups)| Some((*pane, groups.get(key)?)));
    (key, slots.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::PaneGroups;

    proptest! {
        #[test]
        fn groups_are_what_a_plain_map_says(steps in prop::collection::vec((0..20_u32, any::<bool>()), 0..200)) {
            let (mut groups, mut model) = (PaneGroups::default(), BTreeMap::new());
            for (slot, (key, puts)) in steps.into_iter().enumerate() {
                if !puts {
                    groups.remove(key);
                    model.remove(&key);
                } else if groups.get(key).is_none() {
                    groups.insert(key, slot as u32);
                    model.insert(key, slot as u32);
                }
                for key in 0..20 {
                    prop_assert_eq!(groups.get(key), model.get(&key).copied());
                }
                let mut slots = groups.slots.clone();
                slots.sort_unstable();
                let mut expected: Vec<u32> = model.values().copied().collect();
                expected.sort_unstable();
                prop_assert_eq!(slots, expected);
            }
        }
    }
}
