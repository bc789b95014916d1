//! Session windows: each lasts from its first event to its last one and the gap after that.
//!
//! Which session a row belongs to depends on the rows before it, and a row that the transform
//! refuses belongs to none. So rows are applied in segments: a segment ends before a row whose
//! session would depend on whether the transform takes the segment's own rows.

mod place;

use std::cmp::Reverse;

use self::place::{Emitted, Place, Session};
use super::WindowError;
use super::agenda::Agenda;
use super::calls::Calls;
use super::emission::{Emit, Emitter, Finishing, Moment, Revision, Withdrawing};
use super::rows::{Late, Outcome, RowBatch};
use super::span::Span;
use super::states::{BySlot, NONE, States};
use super::windows::Shape;
use super::work::Work;

/// Session windows.
pub struct Sessions {
    gap: i64,
    every: Option<i64>,
    lateness: i64,
    per_batch: bool,
    revises: bool,
    states: States,
    sessions: BySlot<Session>,
    emitted: BySlot<Emitted>,
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
        self.states.release(slot);
    }

    fn schedule(&mut self, slot: u32, instant: i64) {
        self.sessions.get_mut(slot).due = instant;
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
            let session = self.sessions.get_mut(*slot);
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
            let session = self.sessions.get_mut(into);
            session.applied = session.applied.and(old.applied);
            session.counted |= old.counted;
            let emitted = self.emitted.get_mut(into);
            emitted.revision = emitted.revision.max(old_emitted.revision);
        }
        self.emitter
            .withdraw(0, &withdrawing, &self.states, work.out)
            .await?;
        for absorbed in sessions {
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
            self.sessions.get_mut(slot).closed = false;
            let emitted = self.emitted.get_mut(slot);
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

    /// Emits the sessions that end up to `watermark`, and says how many.
    async fn close(
        &mut self,
        watermark: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        if watermark <= self.watermark {
            return Ok(0);
        }
        self.watermark = watermark;
        self.emit_early(watermark, calls, out).await?;
        let mut closing = Vec::new();
        while let Some((instant, slot)) = self.agenda.pop(watermark) {
            let session = self.sessions.get(slot);
            if session.due != instant {
                continue;
            }
            let end = self.end_of(session);
            if session.closed {
                self.drop_session(slot);
            } else if end > watermark {
                self.schedule(slot, end);
            } else {
                let moment = Moment {
                    watermark: end,
                    sequence: 0,
                };
                // A slot that was used again may have the entry of its session before, of the same
                // instant.
                self.sessions.get_mut(slot).due = i64::MIN;
                closing.push((slot, moment));
            }
        }
        let windows = self.emit(closing.clone(), true, calls, out).await?;
        for (slot, _) in closing {
            let end = self
                .end_of(self.sessions.get(slot))
                .saturating_add(self.lateness);
            match end <= watermark {
                true => self.drop_session(slot),
                false => self.schedule(slot, end),
            }
        }
        Ok(windows)
    }

    /// Emits the open sessions whose turn came, every so often, up to `watermark`.
    async fn emit_early(
        &mut self,
        watermark: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let Some(every) = self.every else {
            return Ok(());
        };
        let mut early = Vec::new();
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|slot| {
            let session = self.sessions.get(*slot);
            let Some(since) = session.changed.filter(|_| self.states.key(*slot) != NONE) else {
                return false;
            };
            let due = (since.div_euclid(every) + 1).saturating_mul(every);
            if due <= watermark && due < self.end_of(session) && watermark < i64::MAX {
                let moment = Moment {
                    watermark: due,
                    sequence: 0,
                };
                early.push((*slot, moment));
                return false;
            }
            true
        });
        self.changed = changed;
        self.emit(early, false, calls, out).await?;
        Ok(())
    }

    /// Emits the open sessions that changed, as they stand after a batch.
    async fn emit_running(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let moment = Moment {
            watermark: batch.watermark,
            sequence: batch.next_sequence,
        };
        let changed = std::mem::take(&mut self.changed).into_iter();
        let running = changed.filter(|slot| {
            let session = self.sessions.get(*slot);
            let alive = self.states.key(*slot) != NONE && session.changed.is_some();
            alive && self.end_of(session) > batch.watermark
        });
        let running = running.map(|slot| (slot, moment)).collect();
        self.emit(running, false, calls, out).await?;
        Ok(())
    }

    /// Sessions with their bounds, in the order in which they are emitted.
    fn in_order(&self, sessions: Vec<(u32, Moment)>) -> Vec<((i64, i64), u32, Moment)> {
        let with_bounds = sessions
            .into_iter()
            .map(|(slot, moment)| (self.bounds(slot), slot, moment));
        let mut sessions: Vec<_> = with_bounds.collect();
        sessions.sort_unstable_by(|((a_start, a_end), a, a_at), ((b_start, b_end), b, b_at)| {
            let by_bounds = (a_end, Reverse(a_start)).cmp(&(b_end, Reverse(b_start)));
            let key = |slot: &u32| self.states.key(*slot);
            let by_key = by_bounds.then_with(|| self.states.keys.compare(key(a), key(b)));
            by_key.then(a_at.cmp(b_at))
        });
        // A session may be listed more than once when its slot was used again.
        sessions.dedup_by_key(|(_, slot, _)| *slot);
        sessions
    }

    /// Emits sessions that changed since they were emitted last, and withdraws what was emitted
    /// with other bounds. Says how many closed for the first time.
    async fn emit(
        &mut self,
        windows: Vec<(u32, Moment)>,
        closing: bool,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let mut finishing = Finishing::default();
        let mut withdrawing = Withdrawing::default();
        let mut slots = Vec::new();
        let mut closed = 0;
        for (bounds, slot, moment) in self.in_order(windows) {
            let key = self.states.key(slot);
            let session = self.sessions.get_mut(slot);
            if closing {
                session.closed = true;
                closed += u64::from(!session.counted);
                session.counted = true;
            }
            if session.changed.take().is_none() {
                continue;
            }
            let emitted = self.emitted.get_mut(slot);
            if let Some(old) = emitted.bounds.filter(|old| *old != bounds) {
                withdrawing.push(key, old, standing(emitted.revision, moment));
            }
            let revision = self.revises.then_some(Revision {
                number: emitted.revision,
                stands: emitted.bounds == Some(bounds),
                moment,
            });
            emitted.bounds = Some(bounds);
            emitted.revision += 1;
            finishing.push(key, (slot, NONE), bounds, revision);
            slots.push(slot);
        }
        self.emitter
            .withdraw(0, &withdrawing, &self.states, out)
            .await?;
        let silent = self
            .emitter
            .finish(0, &finishing, &self.states, calls, out)
            .await?;
        for at in silent {
            self.emitted.get_mut(slots[at]).bounds = None;
        }
        Ok(closed)
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
