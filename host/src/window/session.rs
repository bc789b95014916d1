//! Session windows: each lasts from its first event to its last one and the gap after that.
//!
//! Which session a row belongs to depends on the rows before it, and a row that the transform
//! refuses belongs to none. So rows are applied in segments: a segment ends before a row whose
//! session would depend on whether the transform takes the segment's own rows.

mod again;
mod emitting;
mod kept;
mod place;

use self::place::{Emitted, Place, Session};
use super::WindowError;
use super::agenda::Agenda;
use super::calls::Calls;
use super::emission::{Emit, Emitter, Moment, Revision, Withdrawing};
use super::rows::{Late, Outcome, RowBatch};
use super::span::Span;
use super::states::{BySlot, NONE, States};
use super::windows::Shape;
use super::work::Work;
use crate::transform::Reject;

/// Session windows.
pub struct Sessions {
    gap: i64,
    every: Option<i64>,
    lateness: i64,
    per_batch: bool,
    revises: bool,
    pub(super) states: States,
    sessions: BySlot<Session>,
    emitted: BySlot<Emitted>,
    /// The number of each session, and that of the next one: they rise as sessions are opened.
    numbers: BySlot<i64>,
    next_number: i64,
    /// The last session of each key, by the key's number; each session knows the one before it.
    of_key: Vec<u32>,
    agenda: Agenda,
    /// Sessions that changed since they were emitted, if those are emitted before they close.
    changed: Vec<u32>,
    watermark: i64,
    emitter: Emitter,
}

/// Rows that are applied together, and their slots.
#[derive(Default)]
struct Segment {
    rows: Vec<u32>,
    slots: Vec<u32>,
}

impl Sessions {
    pub(super) fn new(
        gap: i64,
        every: Option<i64>,
        shape: &Shape,
        states: States,
        emitter: Emitter,
    ) -> Self {
        Self {
            gap,
            every,
            lateness: shape.lateness,
            per_batch: shape.per_batch,
            revises: shape.revises(),
            states,
            sessions: BySlot::new(),
            emitted: BySlot::new(),
            numbers: BySlot::new(),
            next_number: 0,
            of_key: Vec::new(),
            agenda: Agenda::new(gap),
            changed: Vec::new(),
            watermark: i64::MIN,
            emitter,
        }
    }

    pub(super) fn states(&self) -> usize {
        self.states.len()
    }

    pub(super) async fn batch(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<Outcome, WindowError> {
        let keys = self.states.keys.assign(&batch.keys)?;
        self.of_key.resize(self.states.keys.bound(), NONE);
        let mut work = Work {
            batch,
            keys: &keys,
            outcome: Outcome::default(),
            calls,
            out,
        };
        let mut segment = Segment::default();
        let mut period = self.period(self.watermark);
        for row in 0..batch.len() as u32 {
            let watermark = batch.watermark_at(row as usize);
            if self.every.is_some() && self.period(watermark) > period {
                // What is due up to here goes out as the rows before this one left it.
                self.apply(&mut segment, &mut work).await?;
                work.outcome.closed += self.close(watermark, work.calls, work.out).await?;
                period = self.period(watermark);
            }
            if self.put(row, &mut segment, &mut work).is_none() {
                continue;
            }
            self.apply(&mut segment, &mut work).await?;
            if let Some(place) = self.put(row, &mut segment, &mut work) {
                self.put_alone(row, place, &mut work).await?;
            }
        }
        self.apply(&mut segment, &mut work).await?;
        if self.per_batch {
            self.emit_running(batch, work.calls, work.out).await?;
        }
        work.outcome.closed += self.close(batch.watermark, work.calls, work.out).await?;
        self.states.keys.sweep();
        Ok(work.outcome)
    }

    pub(super) async fn end(
        &mut self,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        self.close(i64::MAX, calls, out).await
    }

    /// Which period of early emissions a watermark is in.
    fn period(&self, watermark: i64) -> i64 {
        self.every.map_or(0, |every| watermark.div_euclid(every))
    }

    fn end_of(&self, session: &Session) -> i64 {
        debug_assert!(!session.applied.is_empty(), "a session has applied rows");
        session.applied.last + self.gap
    }

    fn bounds(&self, slot: u32) -> (i64, i64) {
        let session = self.sessions.get(slot);
        (session.applied.first, self.end_of(session))
    }

    /// Whether a session of a key is about to close at a watermark.
    fn reaches_closing(&self, key: u32, watermark: i64) -> bool {
        let sessions = self.of_key(key).map(|slot| self.sessions.get(slot));
        // Those before a closed one have closed with it, at the latest.
        let mut open = sessions.take_while(|session| !session.closed);
        open.any(|session| self.end_of(session) <= watermark)
    }

    /// The sessions of a key, from the last to the first: no row is in two of them.
    fn of_key(&self, key: u32) -> impl Iterator<Item = u32> {
        let some = |slot: u32| (slot != NONE).then_some(slot);
        let last = some(self.of_key[key as usize]);
        std::iter::successors(last, move |slot| some(self.sessions.get(*slot).before))
    }

    /// A new session of a key, for a row that is in none of its others.
    fn open(&mut self, key: u32, time: i64) -> u32 {
        let slot = self.states.add(key);
        let is_after = |slot: &u32| self.sessions.get(*slot).reach().first > time;
        let next = self.of_key(key).take_while(is_after).last();
        let link = match next {
            Some(next) => &mut self.sessions.get_mut(next).before,
            None => &mut self.of_key[key as usize],
        };
        let before = std::mem::replace(link, slot);
        let session = Session {
            before,
            ..Session::default()
        };
        self.sessions.set(slot, session);
        self.emitted.set(slot, Emitted::default());
        self.numbers.set(slot, self.next_number);
        self.next_number += 1;
        slot
    }

    fn join(&mut self, segment: &mut Segment, row: u32, slot: u32, time: i64) {
        let session = self.sessions.get_mut(slot);
        session.unsure = session.unsure.with(time);
        segment.rows.push(row);
        segment.slots.push(slot);
    }

    fn drop_session(&mut self, slot: u32) {
        let key = self.states.key(slot);
        let next = self
            .of_key(key)
            .find(|other| self.sessions.get(*other).before == slot);
        let before = self.sessions.get(slot).before;
        match next {
            Some(next) => self.sessions.get_mut(next).before = before,
            None => self.of_key[key as usize] = before,
        }
        self.sessions.set(slot, Session::default());
        let id = self.id(slot);
        self.states.release_record(slot, id);
    }

    /// A session, to change what is kept of it.
    fn session_mut(&mut self, slot: u32) -> &mut Session {
        self.states.marks.mark(slot);
        self.sessions.get_mut(slot)
    }

    /// What was emitted of a session, to change it.
    fn emitted_mut(&mut self, slot: u32) -> &mut Emitted {
        self.states.marks.mark(slot);
        self.emitted.get_mut(slot)
    }

    fn schedule(&mut self, slot: u32, instant: i64) {
        self.session_mut(slot).due = instant;
        self.agenda.push(instant, slot);
    }

    /// Puts a row into a segment, or among the late ones, if that is where it goes; gives its place
    /// if it is another.
    fn put(&mut self, row: u32, segment: &mut Segment, work: &mut Work<'_>) -> Option<Place> {
        let (batch, key) = (work.batch, work.keys[row as usize]);
        let time = batch.event_times[row as usize];
        let watermark = batch.watermark_at(row as usize);
        match self.place(key, time, watermark) {
            Place::Into(slot) => self.join(segment, row, slot, time),
            Place::New => {
                let slot = self.open(key, time);
                self.join(segment, row, slot, time);
            }
            Place::Late(window_end) => work.outcome.late.push(Late {
                row,
                window_end,
                watermark,
            }),
            place => return Some(place),
        }
        None
    }

    /// Has the transform take the rows of a segment; those that it takes make their sessions.
    async fn apply(
        &mut self,
        segment: &mut Segment,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        let Segment { rows, slots } = std::mem::take(segment);
        if rows.is_empty() {
            return Ok(());
        }
        let before = work.accumulate(&mut self.states, &rows, &slots).await?;
        let rejects = &work.outcome.rejects[before..];
        let mut rejected = rejects.iter().map(|reject| reject.row).peekable();
        for (row, slot) in rows.iter().zip(&slots) {
            let session = self.session_mut(*slot);
            session.unsure = Span::EMPTY;
            if rejected.next_if_eq(row).is_some() {
                continue;
            }
            let row = *row as usize;
            let is_new = session.applied.is_empty();
            session.applied = session.applied.with(work.batch.event_times[row]);
            if session.changed.is_none() {
                session.changed = Some(work.batch.watermark_at(row));
                if self.every.is_some() || self.per_batch {
                    self.changed.push(*slot);
                }
            }
            if is_new {
                let end = self.end_of(self.sessions.get(*slot));
                self.schedule(*slot, end);
            }
        }
        if !rejects.is_empty() {
            self.drop_void(slots);
        }
        Ok(())
    }

    /// Drops the sessions among `slots` that have no applied row.
    fn drop_void(&mut self, slots: Vec<u32>) {
        for slot in slots {
            let is_void =
                self.states.key(slot) != NONE && self.sessions.get(slot).applied.is_empty();
            if is_void {
                self.drop_session(slot);
            }
        }
    }

    /// Applies a single row that changes sessions which were emitted, or makes two of them one, and
    /// emits what follows from that at once.
    async fn put_alone(
        &mut self,
        row: u32,
        place: Place,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        let (batch, key) = (work.batch, work.keys[row as usize]);
        let time = batch.event_times[row as usize];
        let watermark = batch.watermark_at(row as usize);
        // What the row changes must have been emitted without it.
        if self.reaches_closing(key, watermark) {
            work.outcome.closed += self.close(watermark, work.calls, work.out).await?;
        }
        let slot = match place {
            Place::Closed(Some(slot)) => slot,
            Place::Closed(None) => self.open(key, time),
            Place::Between(earlier, later) => {
                // It has a state before its row is applied, but no rows.
                let (slot, states) = (self.open(key, time), &mut self.states);
                (work.calls)
                    .merge(states, &[earlier], &[later], &[slot])
                    .await?;
                // The two stay what they are, as if there were no such row.
                if let Some(failure) = self.states.mend(slot) {
                    work.calls.lose(&failure)?;
                    work.outcome.rejects.push(Reject { row, ..failure });
                    self.drop_void(vec![slot]);
                    return Ok(());
                }
                slot
            }
            _ => unreachable!("nothing is unsure when all rows are applied"),
        };
        let (mut alone, rejected) = (Segment::default(), work.outcome.rejects.len());
        self.join(&mut alone, row, slot, time);
        self.apply(&mut alone, work).await?;
        if work.outcome.rejects.len() > rejected {
            return Ok(());
        }
        let moment = Moment {
            watermark,
            sequence: batch.sequences.of(row as usize),
        };
        if let Place::Between(earlier, later) = place {
            self.absorb([earlier, later], slot, moment, work).await?;
        }
        self.correct(slot, moment, work).await
    }

    /// Ends sessions whose states were merged into another one's.
    async fn absorb(
        &mut self,
        sessions: [u32; 2],
        into: u32,
        moment: Moment,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        let mut withdrawing = Withdrawing::default();
        for absorbed in sessions {
            let old = self.sessions.get(absorbed).clone();
            let old_emitted = self.emitted.get(absorbed).clone();
            if let Some(bounds) = old_emitted.bounds {
                let revision = standing(old_emitted.revision, moment);
                withdrawing.push(self.states.key(absorbed), bounds, revision);
            }
            let session = self.session_mut(into);
            session.applied = session.applied.and(old.applied);
            session.counted |= old.counted;
            let emitted = self.emitted_mut(into);
            emitted.revision = emitted.revision.max(old_emitted.revision);
        }
        self.emitter
            .withdraw(0, &withdrawing, &self.states, work.out)
            .await?;
        for absorbed in sessions {
            let (key, id) = (self.states.key(absorbed), self.id(absorbed));
            work.calls.forget_unfinished(key, id, &self.states)?;
            self.drop_session(absorbed);
        }
        Ok(())
    }

    /// Emits a session anew that a row has changed, if the watermark at the row has passed its end;
    /// else takes back what was emitted of it for that, because it is open again.
    async fn correct(
        &mut self,
        slot: u32,
        moment: Moment,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        let end = self.end_of(self.sessions.get(slot));
        let was_closed = self.sessions.get(slot).closed;
        let mut due = end;
        if end <= moment.watermark {
            let windows = vec![(slot, moment)];
            work.outcome.closed += self.emit(windows, true, work.calls, work.out).await?;
            due = end.saturating_add(self.lateness);
        } else if was_closed {
            let (key, id) = (self.states.key(slot), self.id(slot));
            work.calls.forget_unfinished(key, id, &self.states)?;
            self.session_mut(slot).closed = false;
            let emitted = self.emitted_mut(slot);
            let mut withdrawing = Withdrawing::default();
            if let Some(bounds) = emitted.bounds.take() {
                let revision = standing(emitted.revision, moment);
                withdrawing.push(self.states.key(slot), bounds, revision);
            }
            self.emitter
                .withdraw(0, &withdrawing, &self.states, work.out)
                .await?;
        }
        // What is due already has its entry.
        if self.sessions.get(slot).due != due {
            self.schedule(slot, due);
        }
        Ok(())
    }
}

/// The revision with which a row that was emitted and stands is withdrawn.
fn standing(number: u32, moment: Moment) -> Revision {
    Revision {
        number,
        stands: true,
        moment,
    }
}
