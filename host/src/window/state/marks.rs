//! Which things differ from what is kept of them, by their numbers.

/// It differs from what is kept, or nothing is.
const CHANGED: u8 = 1;
/// Something is kept.
const KEPT: u8 = 2;

/// Marks on numbered things. Unless they are wanted nothing is noted, and nothing costs anything.
#[derive(Default)]
pub(in crate::window) struct Marks {
    wanted: bool,
    flags: Vec<u8>,
    /// All that are changed, and some that were.
    changed: Vec<u32>,
}

impl Marks {
    /// From now on changes are noted.
    pub(in crate::window) fn want(&mut self) {
        self.wanted = true;
    }

    /// A thing has changed.
    pub(in crate::window) fn mark(&mut self, number: u32) {
        if self.wanted {
            let flags = self.flags_of(number);
            if *flags & CHANGED == 0 {
                *flags |= CHANGED;
                self.changed.push(number);
            }
        }
    }

    /// Some things have changed.
    pub(in crate::window) fn mark_all(&mut self, numbers: &[u32]) {
        if self.wanted {
            numbers.iter().for_each(|number| self.mark(*number));
        }
    }

    /// How many things have changed, and maybe some that are no more.
    pub(in crate::window) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// The things that have changed, which they have no longer.
    pub(in crate::window) fn take(&mut self) -> Vec<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|number| {
            let flags = &mut self.flags[*number as usize];
            let has_changed = *flags & CHANGED != 0;
            *flags &= !CHANGED;
            has_changed
        });
        changed
    }

    /// Something is kept of a thing, and it is as that says.
    pub(in crate::window) fn keep(&mut self, number: u32) {
        if self.wanted {
            *self.flags_of(number) |= KEPT;
        }
    }

    /// Whether something is kept of a thing.
    pub(in crate::window) fn is_kept(&self, number: u32) -> bool {
        let flags = self.flags.get(number as usize);
        flags.is_some_and(|flags| flags & KEPT != 0)
    }

    /// Whether a thing has changed since changes were taken.
    pub(in crate::window) fn is_changed(&self, number: u32) -> bool {
        let flags = self.flags.get(number as usize);
        flags.is_some_and(|flags| flags & CHANGED != 0)
    }

    /// A thing is no more; its number may go to another. Says whether something is kept of it.
    pub(in crate::window) fn forget(&mut self, number: u32) -> bool {
        let was_kept = self.is_kept(number);
        if let Some(flags) = self.flags.get_mut(number as usize) {
            *flags = 0;
        }
        was_kept
    }

    fn flags_of(&mut self, number: u32) -> &mut u8 {
        let at = number as usize;
        if self.flags.len() <= at {
            self.flags.resize(at + 1, 0);
        }
        &mut self.flags[at]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::Marks;

    proptest! {
        #[test]
        fn marks_are_what_a_plain_map_says(
            steps in prop::collection::vec((0..8_u32, 0..4_u8), 0..200),
        ) {
            let mut marks = Marks::default();
            marks.want();
            // By number: whether it is changed, and whether kept.
            let mut model: BTreeMap<u32, (bool, bool)> = BTreeMap::new();
            for (number, step) in steps {
                let is = model.entry(number).or_default();
                match step {
                    0 => {
                        marks.mark(number);
                        is.0 = true;
                    }
                    1 => {
                        marks.keep(number);
                        is.1 = true;
                    }
                    2 => {
                        prop_assert_eq!(marks.forget(number), is.1);
                        *is = (false, false);
                    }
                    _ => {
                        let mut taken = marks.take();
                        taken.sort_unstable();
                        let changed = model.iter().filter(|(_, is)| is.0);
                        let changed: BTreeSet<u32> = changed.map(|(number, _)| *number).collect();
                        prop_assert_eq!(taken, Vec::from_iter(changed));
                        model.values_mut().for_each(|is| is.0 = false);
                    }
                }
            }
        }
    }
}
