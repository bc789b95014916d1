//! Undoing what a rejected row did to its group's state, at no cost as long as none is rejected.
//!
//! No copy of a state is made before a row. When a row is rejected, its group starts again from
//! the state that the host sent and the group's earlier rows of this call are applied once more,
//! which by the contract gives the same state. A copy of the result stays behind, from which the
//! group's next reject starts, so that no row is ever applied more than twice.

use super::Groups;
use crate::contract::Failure;
use crate::quiet::quietly;

/// There is none.
const NONE: u32 = u32::MAX;

/// What has been undone so far in a call. Both indexes are made at the first reject.
pub(crate) struct Undo<S> {
    /// For each row the last one before it in the same group.
    previous: Vec<u32>,
    /// For each group its place in `restored`.
    places: Vec<u32>,
    /// The last rejected row of a group, and the state before that.
    restored: Vec<(u32, S)>,
}

impl<S: Clone + Default> Undo<S> {
    pub(crate) fn new() -> Self {
        Self {
            previous: Vec::new(),
            places: Vec::new(),
            restored: Vec::new(),
        }
    }

    /// The state of the group of `row` just before it. `sent` gives the state that the host sent;
    /// `apply` applies a row which was applied before, or skips it if it has a null.
    #[cold]
    #[inline(never)]
    pub(crate) fn state_before(
        &mut self,
        row: usize,
        groups: Groups<'_>,
        group_count: usize,
        sent: impl FnOnce() -> Result<S, Failure>,
        mut apply: impl FnMut(usize, &mut S) -> Result<(), Failure>,
    ) -> Result<S, Failure> {
        if self.previous.is_empty() {
            self.previous = previous_in_group(groups, group_count);
            self.places = vec![NONE; group_count];
        }
        let place = &mut self.places[groups.get(row) as usize];
        let (since, mut state) = match self.restored.get_mut(*place as usize) {
            Some((rejected, state)) => (Some(*rejected), std::mem::take(state)),
            None => (None, sent()?),
        };
        let mut again = Vec::new();
        let mut earlier = self.previous[row];
        while earlier != NONE && since.is_none_or(|rejected| earlier > rejected) {
            again.push(earlier);
            earlier = self.previous[earlier as usize];
        }
        quietly(|| {
            let mut earlier = again.into_iter().rev();
            earlier.try_for_each(|earlier| apply(earlier as usize, &mut state))
        })?;
        let restored = (row as u32, state.clone());
        if since.is_some() {
            self.restored[*place as usize] = restored;
        } else {
            *place = self.restored.len() as u32;
            self.restored.push(restored);
        }
        Ok(state)
    }
}

fn previous_in_group(groups: Groups<'_>, group_count: usize) -> Vec<u32> {
    let mut last = vec![NONE; group_count];
    (0u32..)
        .zip(groups.iter())
        .map(|(row, group)| {
            last.get_mut(group as usize)
                .map_or(NONE, |last| std::mem::replace(last, row))
        })
        .collect()
}
