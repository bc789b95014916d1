//! Chains: panes of a key, folded one after the other, from the left or from the right.

use super::WindowError;
use super::calls::Calls;
use super::states::States;

/// A pane of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) pane: i64,
    /// The slot of the pane's state.
    pub(super) slot: u32,
    /// The slot of the fold up to here. That of the first pane may be the pane's own. All panes may
    /// have the same, if only the fold of the last one is wanted.
    pub(super) fold: u32,
}

/// Panes of one key in the order in which they are folded.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    /// How many links are folded.
    pub(super) folded: usize,
    /// How many are to be.
    pub(super) wanted: usize,
}

impl Chain {
    fn is_done(&self) -> bool {
        self.folded >= self.wanted
    }
}

/// From which end panes are folded. Of two states that are merged the one of earlier panes always
/// comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Links by rising panes.
    Left,
    /// Links by falling panes.
    Right,
}

/// Folds chains as far as is wanted of each: a link of every chain at a time, so that a call of the
/// transform merges what it can.
pub(super) async fn fold(
    chains: &mut [Chain],
    from: End,
    states: &mut States,
    calls: &mut Calls,
) -> Result<(), WindowError> {
    let mut todo: Vec<usize> = (0..chains.len()).collect();
    loop {
        todo.retain(|at| !chains[*at].is_done());
        if todo.is_empty() {
            return Ok(());
        }
        let (mut panes, mut copies) = (Vec::new(), Vec::new());
        let (mut earlier, mut later, mut into) = (Vec::new(), Vec::new(), Vec::new());
        for at in &todo {
            let chain = &mut chains[*at];
            let link = chain.links[chain.folded];
            match chain.folded.checked_sub(1) {
                None if link.fold == link.slot => {}
                None => {
                    panes.push(link.slot);
                    copies.push(link.fold);
                }
                Some(before) => {
                    let before = chain.links[before].fold;
                    let (first, second) = match from {
                        End::Left => (before, link.slot),
                        End::Right => (link.slot, before),
                    };
                    earlier.push(first);
                    later.push(second);
                    into.push(link.fold);
                }
            }
            chain.folded += 1;
        }
        calls.copy(states, &panes, &copies)?;
        calls.merge(states, &earlier, &later, &into).await?;
    }
}
