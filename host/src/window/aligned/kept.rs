//! Tumbling and hopping windows as records: a record for each pane of a key, and one for each window
//! that was emitted otherwise than once at its close.

use super::{Aligned, Group, NOWHERE};
use crate::window::WindowError;
use crate::window::calls::Calls;
use crate::window::fold::Fold;
use crate::window::open::PaneGroups;
use crate::window::state::{
    Changes, Gathering, Progress, Reading, RecordId, Records, damaged, put,
};
use crate::window::states::NONE;

impl Aligned {
    /// From now on changes are noted.
    pub(in crate::window) fn keep(&mut self) {
        self.states.marks.want();
        self.revisions.keep();
    }

    /// Goes on where windows stopped that had come so far.
    pub(in crate::window) fn resume(&mut self, progress: Progress) {
        self.watermark = progress.watermark;
        self.closed = progress.closed;
        self.next_instant = self.instant_after(progress.closed);
    }

    pub(in crate::window) fn changes(&mut self) -> Result<Changes, WindowError> {
        let mut gathering = Gathering::default();
        for slot in self.states.marks.take() {
            let key = self.states.key(slot);
            // Folds follow from the panes.
            let Some(group) = self
                .of_slot
                .find(slot)
                .filter(|group| group.pane != i64::MIN)
            else {
                continue;
            };
            if key == NONE {
                continue;
            }
            let id = RecordId::Pane(group.pane);
            let due = self.due(group.pane);
            gathering.push(key, id, Some(slot), due, |out| put(out, [group.born]));
            self.states.marks.keep(slot);
        }
        for (end, (length, key), times, silent) in self.revisions.changes() {
            let id = RecordId::Revision(end, length as u32);
            // Its panes are due before it is forgotten.
            gathering.push(key, id, None, i64::MAX, |out| {
                put(out, [i64::from(times), i64::from(silent)]);
            });
        }
        let progress = self.progress();
        Ok(gathering.changes(&mut self.states, progress)?)
    }

    /// How far they have come.
    pub(in crate::window) fn progress(&self) -> Progress {
        Progress {
            watermark: self.watermark,
            closed: self.closed,
            ..Progress::START
        }
    }

    /// About what is known of the keys and panes takes in memory.
    pub(in crate::window) fn bytes(&self) -> usize {
        let keys = self.states.keys.len();
        let open: usize = self.open.values().map(PaneGroups::bytes).sum();
        let folds: usize = self.folds.iter().map(Fold::bytes).sum();
        let of_slot = size_of::<Group>();
        let of_key = size_of_val(&NOWHERE);
        self.states.bytes()
            + self.states.len() * of_slot
            + keys * of_key
            + open
            + folds
            + self.revisions.bytes()
    }

    /// Takes in all records of some keys, of which none are here.
    pub(in crate::window) async fn load(
        &mut self,
        records: &Records,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let keys = self.states.keys.assign(&records.keys)?;
        self.latest.resize(self.states.keys.bound(), NOWHERE);
        let (mut slots, mut panes) = (Vec::new(), Vec::new());
        for (record, key) in keys.iter().enumerate() {
            let mut facts = Reading(records.facts.get(record));
            match records.ids[record] {
                RecordId::Pane(pane) if records.has_state[record] => {
                    let born = facts.number()?;
                    let slot = self.states.add(*key);
                    self.open.entry(pane).or_default().insert(*key, slot);
                    self.of_slot.set(slot, Group { pane, born });
                    slots.push(slot);
                    panes.push((*key, pane));
                }
                RecordId::Revision(end, length) if (length as usize) < self.folds.len() => {
                    let times = facts.number()?;
                    let silent = facts.flag()?;
                    let of_window = (length as usize, *key);
                    self.revisions.load(end, of_window, times as u32, silent);
                }
                RecordId::Due => {
                    self.states.keys.set_due(*key, Some(facts.number()?));
                }
                id => return Err(damaged(&format!("{id:?} is in aligned windows")).into()),
            }
        }
        self.states.load(slots, records.states.clone())?;
        // Before anything has closed there are no folds.
        if self.closed != i64::MIN {
            self.refold(&panes, calls).await?;
        }
        Ok(())
    }

    /// When something of each key is due, by its number; `i64::MAX` where nothing is.
    pub(in crate::window) fn dues(&self) -> Vec<i64> {
        let mut dues = vec![i64::MAX; self.states.keys.bound()];
        for (pane, groups) in &self.open {
            let of_pane = self.due(*pane);
            for slot in &groups.slots {
                let due = &mut dues[self.states.key(*slot) as usize];
                *due = of_pane.min(*due);
            }
        }
        dues
    }

    /// When a pane is due: when the next window with it in it closes, or else when it is forgotten,
    /// which happens at a boundary.
    fn due(&self, pane: i64) -> i64 {
        let lengths = || self.folds.iter().map(|fold| fold.length);
        let next = lengths().filter_map(|length| {
            let mut emissions = length.emissions(pane, self.closed, i64::MAX);
            emissions.next()
        });
        if let Some(boundary) = next.min() {
            return self.instant(boundary);
        }
        let last = lengths().map(|length| length.last_end(pane)).max();
        let gone = self
            .instant(last.unwrap_or(pane))
            .saturating_add(self.lateness);
        match self.panes.of(gone) {
            Some(pane) if pane.start < gone => pane.end,
            _ => gone,
        }
    }

    /// Lets go of some keys, given by whether each number is one of them. Nothing of them may have
    /// changed since changes were taken.
    pub(in crate::window) fn put_away(&mut self, away: &[bool]) {
        let is_away = |key: u32| away.get(key as usize).copied().unwrap_or(false);
        for fold in &mut self.folds {
            fold.put_away(is_away, &mut self.states);
        }
        let (states, of_slot) = (&mut self.states, &mut self.of_slot);
        self.open.retain(|_, groups| {
            let leaving = groups
                .slots
                .iter()
                .filter(|slot| is_away(states.key(**slot)));
            for slot in leaving.copied().collect::<Vec<u32>>() {
                debug_assert!(!states.marks.is_changed(slot), "changes were taken");
                groups.remove(states.key(slot));
                of_slot.set(slot, Group::default());
                states.release(slot);
            }
            !groups.slots.is_empty()
        });
        for (key, latest) in self.latest.iter_mut().enumerate() {
            if is_away(key as u32) {
                *latest = NOWHERE;
            }
        }
        self.revisions.put_away(is_away);
        self.states.keys.sweep();
    }
}
