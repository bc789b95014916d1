//! Sessions that could not be finished, and are tried again.

use super::Sessions;
use crate::window::emission::{Emitter, Revision};
use crate::window::state::{RecordId, UnfinishedWindow};
use crate::window::states::{NONE, States};
use crate::window::unfinished::{TriedAgain, next_revision};

impl TriedAgain for Sessions {
    fn at_work(&mut self) -> (&Emitter, &mut States) {
        (&self.emitter, &mut self.states)
    }

    fn emits_again(&mut self, key: u32, window: &UnfinishedWindow) -> Option<Revision> {
        if !self.revises {
            return None;
        }
        let mut revision = next_revision(window, self.watermark);
        if let Some(slot) = self.find(key, window) {
            let emitted = self.emitted_mut(slot);
            revision.number = emitted.revision;
            revision.stands = emitted.bounds == Some(window.bounds);
            emitted.bounds = Some(window.bounds);
            emitted.revision += 1;
        }
        Some(revision)
    }

    fn was_emitted(&mut self, key: u32, window: &UnfinishedWindow, _: Revision, silent: bool) {
        if let Some(slot) = self.find(key, window).filter(|_| silent) {
            self.emitted_mut(slot).bounds = None;
        }
    }
}

impl Sessions {
    /// What a session is known by.
    pub(super) fn id(&self, slot: u32) -> RecordId {
        RecordId::Session(*self.numbers.get(slot))
    }

    /// The session that a window is of, if a row may still come for it.
    fn find(&mut self, key: u32, window: &UnfinishedWindow) -> Option<u32> {
        self.of_key.resize(self.states.keys.bound(), NONE);
        self.of_key(key).find(|slot| self.id(*slot) == window.id)
    }
}
