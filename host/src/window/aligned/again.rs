//! What of tumbling and hopping windows is kept that could not be finished, and how they are tried again.

use super::Aligned;
use crate::window::WindowError;
use crate::window::calls::Calls;
use crate::window::emission::{Emitter, Revision};
use crate::window::open::panes_of_key;
use crate::window::state::{RecordId, UnfinishedWindow};
use crate::window::states::States;
use crate::window::unfinished::{Parts, TriedAgain, next_revision};

impl Aligned {
    /// The states of a key's panes in the window that ends at a boundary, and how many of them are in the chunk before
    /// the window's last one.
    pub(super) fn parts(&self, length: usize, key: u32, end: i64) -> Parts {
        let length = self.folds[length].length;
        let start = length.emitted_at(end).unwrap_or(end - 1);
        let chunk = (end - 1).div_euclid(length.panes) * length.panes;
        let (_, panes) = panes_of_key(&self.open, start..end, key);
        let earlier = panes.partition_point(|(pane, _)| *pane < chunk);
        let slots: Vec<u32> = panes.into_iter().map(|(_, slot)| slot).collect();
        Parts::Slots(slots, earlier)
    }

    /// Folds anew what a merge that failed has spoiled: there is another transform now.
    pub(in crate::window) async fn mend(&mut self, calls: &mut Calls) -> Result<(), WindowError> {
        let keys = self.states.spoiled_keys();
        let panes = self.open.iter().flat_map(|(pane, groups)| {
            let there = keys.iter().filter(|key| groups.get(**key).is_some());
            there.map(|key| (*key, *pane))
        });
        let panes: Vec<(u32, i64)> = panes.collect();
        self.refold(&panes, calls).await
    }

    /// Whether a row may still come for a window.
    fn may_correct(&self, window: &UnfinishedWindow) -> bool {
        window.bounds.1.saturating_add(self.lateness) > self.watermark
    }
}

impl TriedAgain for Aligned {
    fn at_work(&mut self) -> (&Emitter, &mut States) {
        (&self.emitter, &mut self.states)
    }

    fn emits_again(&mut self, key: u32, window: &UnfinishedWindow) -> Option<Revision> {
        if !self.revisions.are_wanted() {
            return None;
        }
        if let (RecordId::Revision(end, length), true) = (window.id, self.may_correct(window)) {
            self.revisions.count_again(end, (length as usize, key));
        }
        Some(next_revision(window, self.watermark))
    }

    fn was_emitted(
        &mut self,
        key: u32,
        window: &UnfinishedWindow,
        revision: Revision,
        silent: bool,
    ) {
        if let (RecordId::Revision(end, length), true) = (window.id, self.may_correct(window)) {
            let of_window = (length as usize, key);
            self.revisions.note(end, of_window, revision, silent);
        }
    }
}
