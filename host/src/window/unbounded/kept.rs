//! Unbounded windows as records: the life of a key with its value, and each period of it that is not
//! over.

use super::Unbounded;
use super::life::Life;
use crate::window::WindowError;
use crate::window::open::PaneGroups;
use crate::window::state::{
    Changes, Gathering, Progress, Reading, RecordId, Records, StateError, damaged, put,
};
use crate::window::states::NONE;

const CHANGED: i64 = 1;
const STANDS: i64 = 2;

impl Unbounded {
    /// From now on changes are noted.
    pub(in crate::window) fn keep(&mut self) {
        self.marks.want();
        self.states.marks.want();
    }

    /// Goes on where windows stopped that had come so far.
    pub(in crate::window) fn resume(&mut self, progress: Progress) {
        self.watermark = progress.watermark;
        self.closed = progress.closed;
        self.next_instant = self.instant_after(progress.closed);
    }

    pub(in crate::window) fn changes(&mut self) -> Result<Changes, WindowError> {
        let mut gathering = Gathering::default();
        for key in self.marks.take() {
            let life = &self.lives[key as usize];
            if life.events.is_empty() {
                continue;
            }
            let value = (life.value != NONE).then_some(life.value);
            let due = self.due(life);
            gathering.push(key, RecordId::Life, value, due, |out| put_life(life, out));
            self.marks.keep(key);
            if life.pending == 0 {
                continue;
            }
            for (period, groups) in &self.pending {
                let slot = groups.get(key);
                if let Some(slot) = slot.filter(|slot| self.states.marks.is_changed(*slot)) {
                    let due = self.instant_after(*period);
                    gathering.push(key, RecordId::Period(*period), Some(slot), due, |_| {});
                    self.states.marks.keep(slot);
                }
            }
        }
        self.states.marks.take();
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

    /// About what is known of the keys takes in memory.
    pub(in crate::window) fn bytes(&self) -> usize {
        // An entry of the agenda, and a mark.
        let of_key = size_of::<Life>() + 2 * size_of::<i64>() + 1;
        let pending: usize = self.pending.values().map(PaneGroups::bytes).sum();
        self.states.bytes() + self.states.keys.len() * of_key + pending
    }

    /// Takes in all records of some keys, of which none are here.
    pub(in crate::window) fn load(&mut self, records: &Records) -> Result<(), WindowError> {
        let keys = self.states.keys.assign(&records.keys)?;
        self.lives.resize(self.states.keys.bound(), Life::NONE);
        let mut slots = Vec::new();
        for (record, key) in keys.iter().enumerate() {
            let slot = records.has_state[record].then(|| self.states.add(*key));
            slots.extend(slot);
            match (records.ids[record], slot) {
                (RecordId::Life, value) => {
                    let facts = records.facts.get(record);
                    let kept = life(facts)?;
                    if kept.changed {
                        self.changed.push(*key);
                    }
                    if kept.due > i64::MIN {
                        self.agenda.push(kept.due, *key);
                    }
                    let pending = self.lives[*key as usize].pending;
                    self.lives[*key as usize] = Life {
                        value: value.unwrap_or(NONE),
                        pending,
                        ..kept
                    };
                    self.marks.keep(*key);
                }
                (RecordId::Period(period), Some(slot)) => {
                    self.pending.entry(period).or_default().insert(*key, slot);
                    self.lives[*key as usize].pending += 1;
                }
                (RecordId::Due, None) => {
                    let due = Reading(records.facts.get(record)).number()?;
                    self.states.keys.set_due(*key, Some(due));
                }
                (id, _) => return Err(damaged(&format!("{id:?} is in unbounded windows")).into()),
            }
        }
        self.states.load(slots, records.states.clone())?;
        Ok(())
    }

    /// When something of each key is due, by its number; `i64::MAX` where nothing is.
    pub(in crate::window) fn dues(&self) -> Vec<i64> {
        let mut dues: Vec<i64> = self.lives.iter().map(|life| self.due(life)).collect();
        for (period, groups) in &self.pending {
            let of_period = self.instant_after(*period);
            for slot in &groups.slots {
                let due = &mut dues[self.states.key(*slot) as usize];
                *due = of_period.min(*due);
            }
        }
        dues
    }

    fn due(&self, life: &Life) -> i64 {
        match (life.events.is_empty(), life.changed) {
            (true, _) => i64::MAX,
            (false, true) => self.next_instant.min(life.due),
            (false, false) => life.due,
        }
    }

    /// Lets go of some keys, given by whether each number is one of them. Nothing of them may have
    /// changed since changes were taken.
    pub(in crate::window) fn put_away(&mut self, away: &[bool]) {
        for (key, is_away) in away.iter().enumerate() {
            let key = key as u32;
            if !is_away || self.lives[key as usize].events.is_empty() {
                continue;
            }
            debug_assert!(!self.marks.is_changed(key), "changes were taken");
            let laid_aside = self.lay_aside(key);
            self.marks.forget(key);
            self.let_go(laid_aside);
        }
        let lives = &self.lives;
        self.changed.retain(|key| lives[*key as usize].changed);
        self.agenda.retain(|instant, key| {
            let life = &lives[key as usize];
            !life.events.is_empty() && life.due == instant
        });
        self.states.keys.sweep();
    }
}

fn put_life(life: &Life, out: &mut Vec<u8>) {
    let flag = |is: bool, flag: i64| if is { flag } else { 0 };
    let flags = flag(life.changed, CHANGED) | flag(life.stands, STANDS);
    let (first, last) = (life.events.first, life.events.last);
    put(
        out,
        [flags, first, last, i64::from(life.revision), life.due],
    );
}

fn life(facts: &[u8]) -> Result<Life, StateError> {
    let mut facts = Reading(facts);
    let flags = facts.number()?;
    Ok(Life {
        changed: flags & CHANGED != 0,
        stands: flags & STANDS != 0,
        events: facts.span()?,
        revision: facts.number()? as u32,
        due: facts.number()?,
        ..Life::NONE
    })
}
