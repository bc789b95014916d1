//! Sessions as records: one each.

use super::Sessions;
use super::place::{Emitted, Session};
use crate::window::WindowError;
use crate::window::span::Span;
use crate::window::state::{
    Changes, Gathering, Progress, Reading, RecordId, Records, StateError, damaged, put,
};
use crate::window::states::NONE;

const HAS_CHANGED: i64 = 1;
const CLOSED: i64 = 2;
const COUNTED: i64 = 4;
const EMITTED: i64 = 8;

impl Sessions {
    /// From now on changes are noted.
    pub(in crate::window) fn keep(&mut self) {
        self.states.marks.want();
    }

    /// Goes on where sessions stopped that had come so far.
    pub(in crate::window) fn resume(&mut self, progress: Progress) {
        self.watermark = progress.watermark;
        self.next_number = progress.next_session;
    }

    pub(in crate::window) fn changes(&mut self) -> Result<Changes, WindowError> {
        let mut gathering = Gathering::default();
        for slot in self.states.marks.take() {
            let key = self.states.key(slot);
            if key == NONE {
                continue;
            }
            let (session, emitted) = (self.sessions.get(slot), self.emitted.get(slot));
            let id = RecordId::Session(*self.numbers.get(slot));
            let due = self.due(session);
            gathering.push(key, id, Some(slot), due, |out| {
                put_session(session, emitted, out);
            });
            self.states.marks.keep(slot);
        }
        let progress = self.progress();
        Ok(gathering.changes(&mut self.states, progress)?)
    }

    /// Takes in all records of some keys, of which none are here.
    pub(in crate::window) fn load(&mut self, records: &Records) -> Result<(), WindowError> {
        let keys = self.states.keys.assign(&records.keys)?;
        self.of_key.resize(self.states.keys.bound(), NONE);
        let (mut slots, mut loaded) = (Vec::new(), Vec::new());
        for (record, key) in keys.iter().enumerate() {
            let facts = records.facts.get(record);
            match records.ids[record] {
                RecordId::Session(number) if records.has_state[record] => {
                    let (session, emitted) = session(facts)?;
                    let slot = self.states.add(*key);
                    self.emitted.set(slot, emitted);
                    self.numbers.set(slot, number);
                    slots.push(slot);
                    loaded.push((session, *key, slot));
                }
                RecordId::Due => {
                    self.states
                        .keys
                        .set_due(*key, Some(Reading(facts).number()?));
                }
                id => return Err(damaged(&format!("{id:?} is in sessions")).into()),
            }
        }
        self.states.load(slots, records.states.clone())?;
        loaded.sort_unstable_by_key(|(session, ..)| session.applied.first);
        for (mut session, key, slot) in loaded {
            session.before = std::mem::replace(&mut self.of_key[key as usize], slot);
            if session.due != i64::MIN {
                self.agenda.push(session.due, slot);
            }
            if session.changed.is_some() && (self.every.is_some() || self.per_batch) {
                self.changed.push(slot);
            }
            self.sessions.set(slot, session);
        }
        Ok(())
    }

    /// When something of each key is due, by its number; `i64::MAX` where nothing is.
    pub(in crate::window) fn dues(&self) -> Vec<i64> {
        let due = |key: u32| {
            let sessions = self
                .of_key(key)
                .map(|slot| self.due(self.sessions.get(slot)));
            sessions.min().unwrap_or(i64::MAX)
        };
        (0..self.of_key.len() as u32).map(due).collect()
    }

    fn due(&self, session: &Session) -> i64 {
        let early = session.changed.zip(self.every).map(|(since, every)| {
            let period = since.div_euclid(every);
            (period + 1).saturating_mul(every)
        });
        early.map_or(session.due, |early| early.min(session.due))
    }

    /// Lets go of some keys, given by whether each number is one of them. Nothing of them may have
    /// changed since changes were taken.
    pub(in crate::window) fn put_away(&mut self, away: &[bool]) {
        for (key, is_away) in away.iter().enumerate() {
            if !is_away {
                continue;
            }
            let mut slot = std::mem::replace(&mut self.of_key[key], NONE);
            while slot != NONE {
                debug_assert!(!self.states.marks.is_changed(slot), "changes were taken");
                let before = self.sessions.get(slot).before;
                self.sessions.set(slot, Session::default());
                self.states.release(slot);
                slot = before;
            }
        }
        let states = &self.states;
        self.changed.retain(|slot| states.key(*slot) != NONE);
        self.agenda.retain(|instant, slot| {
            states.key(slot) != NONE && self.sessions.get(slot).due == instant
        });
        self.states.keys.sweep();
    }

    /// How far they have come.
    pub(in crate::window) fn progress(&self) -> Progress {
        Progress {
            watermark: self.watermark,
            next_session: self.next_number,
            ..Progress::START
        }
    }

    /// About what is known of the keys and sessions takes in memory.
    pub(in crate::window) fn bytes(&self) -> usize {
        let of_slot = size_of::<Session>() + size_of::<Emitted>() + 4 * size_of::<i64>();
        self.states.bytes() + self.states.len() * of_slot + self.states.keys.len() * 4
    }
}

fn put_session(session: &Session, emitted: &Emitted, out: &mut Vec<u8>) {
    let flag = |is: bool, flag: i64| if is { flag } else { 0 };
    let flags = flag(session.changed.is_some(), HAS_CHANGED)
        | flag(session.closed, CLOSED)
        | flag(session.counted, COUNTED)
        | flag(emitted.bounds.is_some(), EMITTED);
    let (first, last) = (session.applied.first, session.applied.last);
    let (start, end) = emitted.bounds.unwrap_or_default();
    let since = session.changed.unwrap_or_default();
    let revision = i64::from(emitted.revision);
    put(
        out,
        [flags, first, last, since, session.due, start, end, revision],
    );
}

fn session(facts: &[u8]) -> Result<(Session, Emitted), StateError> {
    let mut facts = Reading(facts);
    let flags = facts.number()?;
    let applied: Span = facts.span()?;
    let since = facts.number()?;
    let due = facts.number()?;
    let bounds = (facts.number()?, facts.number()?);
    let revision = facts.number()? as u32;
    let session = Session {
        applied,
        changed: (flags & HAS_CHANGED != 0).then_some(since),
        closed: flags & CLOSED != 0,
        counted: flags & COUNTED != 0,
        due,
        ..Session::default()
    };
    let bounds = (flags & EMITTED != 0).then_some(bounds);
    Ok((session, Emitted { bounds, revision }))
}
