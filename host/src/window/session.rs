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
    /// The newest session of each key, by its number; each session knows the next older one.
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
        let mut outcome = Outcome::default();
        let mut segment = Segment::default();
        let mut period = self.period(self.watermark);
        for (row, time) in batch.event_times.iter().enumerate() {
            let watermark = batch.watermark_at(row);
            if self.every.is_some() && self.period(watermark) > period {
                // What is due up to here goes out as the rows before this one left it.
                self.apply(batch, &mut segment, &mut outcome, calls).await?;
                outcome.closed += self.close(watermark, calls, out).await?;
                period = self.period(watermark);
            }
            let (key, time, row) = (keys[row], *time, row as u32);
            let mut place = self.place(key, time, watermark);
            if !matches!(place, Place::Into(_) | Place::New | Place::Late(_)) {
                self.apply(batch, &mut segment, &mut outcome, calls).await?;
                place = self.place(key, time, watermark);
            }
            match place {
                Place::Into(slot) => self.join(&mut segment, row, slot, time),
                Place::New => {
                    let slot = self.open(key);
                    self.join(&mut segment, row, slot, time);
                }
                Place::Late(window_end) => outcome.late.push(Late {
                    row,
                    window_end,
                    watermark,
                }),
                Place::Closed(_) | Place::Between(..) => {
                    // What the row changes must have been emitted without it.
                    if self.reaches_closing(key, watermark) {
                        outcome.closed += self.close(watermark, calls, out).await?;
                    }
                    let slot = match place {
                        Place::Between(earlier, later) => {
                            let slot = self.open(key);
                            calls
                                .merge(&mut self.states, &[earlier], &[later], &[slot])
                                .await?;
                            slot
                        }
                        Place::Closed(Some(slot)) => slot,
                        _ => self.open(key),
                    };
                    self.join(&mut segment, row, slot, time);
                    let between = match place {
                        Place::Between(earlier, later) => Some([earlier, later]),
                        _ => None,
                    };
                    self.apply_one(batch, segment, between, watermark, &mut outcome, calls, out)
                        .await?;
                    segment = Segment::default();
                }
                Place::Unsure => unreachable!("nothing is unsure when all rows are applied"),
            }
        }
        self.apply(batch, &mut segment, &mut outcome, calls).await?;
        if self.per_batch {
            self.emit_running(batch, calls, out).await?;
        }
        outcome.closed += self.close(batch.watermark, calls, out).await?;
        self.states.keys.sweep();
        Ok(outcome)
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
        self.of_key(key).any(|slot| {
            let session = self.sessions.get(slot);
            !session.closed && self.end_of(session) <= watermark
        })
    }

    /// The sessions of a key, the newest first.
    fn of_key(&self, key: u32) -> impl Iterator<Item = u32> {
        let some = |slot: u32| (slot != NONE).then_some(slot);
        let newest = some(self.of_key[key as usize]);
        std::iter::successors(newest, move |slot| some(self.sessions.get(*slot).older))
    }

    fn open(&mut self, key: u32) -> u32 {
        let slot = self.states.add(key);
        let older = std::mem::replace(&mut self.of_key[key as usize], slot);
        let session = Session {
            older,
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
        let newer = self
            .of_key(key)
            .find(|other| self.sessions.get(*other).older == slot);
        let older = self.sessions.get(slot).older;
        match newer {
            Some(newer) => self.sessions.get_mut(newer).older = older,
            None => self.of_key[key as usize] = older,
        }
        self.sessions.set(slot, Session::default());
        self.states.release(slot);
    }

    fn schedule(&mut self, slot: u32, instant: i64) {
        self.sessions.get_mut(slot).due = instant;
        self.agenda.push(instant, slot);
    }

    /// Has the transform take the rows of a segment; those that it takes make their sessions.
    async fn apply(
        &mut self,
        batch: &RowBatch,
        segment: &mut Segment,
        outcome: &mut Outcome,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let Segment { rows, slots } = std::mem::take(segment);
        if rows.is_empty() {
            return Ok(());
        }
        let (input, key_columns) = batch.columns(&rows)?;
        let rejects = calls
            .accumulate(&mut self.states, &input, &key_columns, &slots)
            .await?;
        outcome.applied += (rows.len() - rejects.len()) as u64;
        let mut rejected = rejects.iter().map(|reject| reject.row as usize).peekable();
        for (at, (row, slot)) in rows.iter().zip(&slots).enumerate() {
            let session = self.sessions.get_mut(*slot);
            session.unsure = Span::EMPTY;
            if rejected.next_if_eq(&at).is_some() {
                continue;
            }
            let row = *row as usize;
            let is_new = session.applied.is_empty();
            session.applied = session.applied.with(batch.event_times[row]);
            if session.changed.is_none() {
                session.changed = Some(batch.watermark_at(row));
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
        outcome
            .rejects
            .extend(rejects.into_iter().map(|mut reject| {
                reject.row = rows[reject.row as usize];
                reject
            }));
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
    #[expect(
        clippy::too_many_arguments,
        reason = "all of it belongs to the row at hand"
    )]
    async fn apply_one(
        &mut self,
        batch: &RowBatch,
        mut segment: Segment,
        between: Option<[u32; 2]>,
        watermark: i64,
        outcome: &mut Outcome,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let (row, slot) = (segment.rows[0], segment.slots[0]);
        let rejected = outcome.rejects.len();
        // A session that came of two has a state before its row is applied, but no rows.
        self.apply(batch, &mut segment, outcome, calls).await?;
        if outcome.rejects.len() > rejected {
            return Ok(());
        }
        let moment = Moment {
            watermark,
            sequence: batch.sequences.of(row as usize),
        };
        let mut withdrawing = Withdrawing::default();
        for absorbed in between.into_iter().flatten() {
            let old = self.sessions.get(absorbed).clone();
            let old_emitted = self.emitted.get(absorbed).clone();
            if let Some(bounds) = old_emitted.bounds {
                let revision = standing(old_emitted.revision, moment);
                withdrawing.push(self.states.key(absorbed), bounds, revision);
            }
            let session = self.sessions.get_mut(slot);
            session.applied = session.applied.and(old.applied);
            session.counted |= old.counted;
            let emitted = self.emitted.get_mut(slot);
            emitted.revision = emitted.revision.max(old_emitted.revision);
        }
        self.emitter
            .withdraw(0, &withdrawing, &self.states, out)
            .await?;
        for absorbed in between.into_iter().flatten() {
            self.drop_session(absorbed);
        }
        let end = self.end_of(self.sessions.get(slot));
        let was_closed = self.sessions.get(slot).closed;
        if end <= watermark {
            outcome.closed += self.emit(vec![(slot, moment)], true, calls, out).await?;
        } else if was_closed {
            // It is open again: what was emitted holds no longer.
            self.sessions.get_mut(slot).closed = false;
            let emitted = self.emitted.get_mut(slot);
            let mut withdrawing = Withdrawing::default();
            if let Some(bounds) = emitted.bounds.take() {
                let revision = standing(emitted.revision, moment);
                withdrawing.push(self.states.key(slot), bounds, revision);
            }
            self.emitter
                .withdraw(0, &withdrawing, &self.states, out)
                .await?;
        }
        let due = match end <= watermark {
            true => end.saturating_add(self.lateness),
            false => end,
        };
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

    /// Emits sessions that changed since they were emitted last, and withdraws what was emitted
    /// with other bounds. Says how many closed for the first time.
    async fn emit(
        &mut self,
        windows: Vec<(u32, Moment)>,
        closing: bool,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let with_bounds = windows
            .into_iter()
            .map(|(slot, moment)| (self.bounds(slot), slot, moment));
        let mut windows: Vec<_> = with_bounds.collect();
        windows.sort_unstable_by(|((a_start, a_end), a, a_at), ((b_start, b_end), b, b_at)| {
            let by_bounds = (a_end, Reverse(a_start)).cmp(&(b_end, Reverse(b_start)));
            let key = |slot: &u32| self.states.key(*slot);
            let by_key = by_bounds.then_with(|| self.states.keys.compare(key(a), key(b)));
            by_key.then(a_at.cmp(b_at))
        });
        // A session may be listed more than once when its slot was used again.
        windows.dedup_by_key(|(_, slot, _)| *slot);
        let mut finishing = Finishing::default();
        let mut withdrawing = Withdrawing::default();
        let mut slots = Vec::new();
        let mut closed = 0;
        for (bounds, slot, moment) in windows {
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
