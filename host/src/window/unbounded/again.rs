//! Values without end that could not be finished, and are tried again.

use super::Unbounded;
use super::life::Life;
use crate::window::emission::{Emitter, Revision};
use crate::window::state::UnfinishedWindow;
use crate::window::states::States;
use crate::window::unfinished::{TriedAgain, next_revision};

impl TriedAgain for Unbounded {
    fn at_work(&mut self) -> (&Emitter, &mut States) {
        (&self.emitter, &mut self.states)
    }

    fn emits_again(&mut self, key: u32, window: &UnfinishedWindow) -> Option<Revision> {
        // At the ends of periods each value comes out once.
        if self.every.is_some() {
            return None;
        }
        let mut revision = next_revision(window, self.watermark);
        if let Some(life) = self.life_of(key, window) {
            revision.number = life.revision;
            revision.stands = life.stands;
            life.revision += 1;
            life.stands = true;
            self.marks.mark(key);
        }
        Some(revision)
    }

    fn was_emitted(&mut self, key: u32, window: &UnfinishedWindow, _: Revision, silent: bool) {
        if let Some(life) = self.life_of(key, window) {
            life.stands &= !silent;
        }
    }
}

impl Unbounded {
    /// The life of a key that a value is of, if it is not over.
    fn life_of(&mut self, key: u32, window: &UnfinishedWindow) -> Option<&mut Life> {
        self.lives.resize(self.states.keys.bound(), Life::NONE);
        let life = &mut self.lives[key as usize];
        let is_of = !life.events.is_empty() && life.events.first == window.bounds.0;
        is_of.then_some(life)
    }
}
