//! What is to be looked at when the watermark reaches an instant.
//!
//! Lanes with many keys have as many entries, most of them far ahead and near to each other. A heap
//! of them all is a cache miss a level; so entries far ahead lie unsorted in stretches of time,
//! and only those of the stretch at hand are in a heap.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Items by the instants at which they are due, in microseconds.
pub(super) struct Agenda {
    stretch: i64,
    near: BinaryHeap<Reverse<(i64, u32)>>,
    /// By the stretch's number; all are after `reached`.
    far: BTreeMap<i64, Vec<(i64, u32)>>,
    /// The stretch whose entries, as those of all before it, are near.
    reached: i64,
}

impl Agenda {
    /// An agenda whose entries lie up to about `horizon` microseconds ahead.
    pub(super) fn new(horizon: i64) -> Self {
        Self {
            stretch: (horizon / 64).max(1),
            near: BinaryHeap::new(),
            far: BTreeMap::new(),
            reached: i64::MIN,
        }
    }

    /// An item is to be looked at.
    pub(super) fn push(&mut self, instant: i64, item: u32) {
        let stretch = instant.div_euclid(self.stretch);
        if stretch <= self.reached {
            self.near.push(Reverse((instant, item)));
        } else {
            self.far.entry(stretch).or_default().push((instant, item));
        }
    }

    /// Drops the entries that are void: nothing else does before their time.
    pub(super) fn retain(&mut self, is_meant: impl Fn(i64, u32) -> bool) {
        self.near
            .retain(|Reverse((instant, item))| is_meant(*instant, *item));
        self.far.retain(|_, entries| {
            entries.retain(|(instant, item)| is_meant(*instant, *item));
            entries.shrink_to_fit();
            !entries.is_empty()
        });
    }

    /// The next entry up to `watermark`, in the order of instants and then of items.
    pub(super) fn pop(&mut self, watermark: i64) -> Option<(i64, u32)> {
        while self.near.is_empty()
            && let Some(first) = self.far.first_entry()
            && *first.key() <= watermark.div_euclid(self.stretch)
        {
            self.reached = *first.key();
            self.near = first.remove().into_iter().map(Reverse).collect();
        }
        let Reverse((instant, _)) = self.near.peek()?;
        if *instant > watermark {
            return None;
        }
        self.near.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(i64, u32),
        Pop(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let instant = prop_oneof![9 => -300..300_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
        prop_oneof![
            (instant.clone(), 0..4_u32).prop_map(|(instant, item)| Step::Push(instant, item)),
            instant.prop_map(Step::Pop),
        ]
    }

    proptest! {
        /// It gives what a single heap would.
        #[test]
        fn entries_come_in_order(
            horizon in 0..2_000_i64, steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut agenda = Agenda::new(horizon);
            let mut all = BinaryHeap::new();
            for step in steps {
                match step {
                    Step::Push(instant, item) => {
                        agenda.push(instant, item);
                        all.push(Reverse((instant, item)));
                    }
                    Step::Pop(watermark) => {
                        let due = all.peek().is_some_and(|Reverse(entry)| entry.0 <= watermark);
                        let expected = if due { all.pop().map(|Reverse(entry)| entry) } else { None };
                        prop_assert_eq!(agenda.pop(watermark), expected);
                    }
                }
            }
        }
    }
}
