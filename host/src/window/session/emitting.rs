//! Sessions that are over, or whose turn came, and what is emitted of them.

use std::cmp::Reverse;

use super::{Sessions, standing};
use crate::window::WindowError;
use crate::window::calls::Calls;
use crate::window::emission::{Emit, Finishing, Moment, Revision, Withdrawing};
use crate::window::rows::RowBatch;
use crate::window::states::NONE;
use crate::window::unfinished::Parts;

impl Sessions {
    /// Emits the sessions that end up to `watermark`, and says how many.
    pub(in crate::window) async fn close(
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
                self.session_mut(slot).due = i64::MIN;
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
    pub(super) async fn emit_running(
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
    pub(super) async fn emit(
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
            let session = self.session_mut(slot);
            if closing {
                session.closed = true;
                closed += u64::from(!session.counted);
                session.counted = true;
            }
            if session.changed.take().is_none() {
                continue;
            }
            let revises = self.revises;
            let emitted = self.emitted_mut(slot);
            if let Some(old) = emitted.bounds.filter(|old| *old != bounds) {
                withdrawing.push(key, old, standing(emitted.revision, moment));
            }
            let revision = revises.then_some(Revision {
                number: emitted.revision,
                stands: emitted.bounds == Some(bounds),
                moment,
            });
            emitted.bounds = Some(bounds);
            emitted.revision += 1;
            finishing.push(key, (slot, NONE), bounds, revision);
            if closing {
                finishing.ids.push(self.id(slot));
            }
            slots.push(slot);
        }
        self.emitter
            .withdraw(0, &withdrawing, &self.states, out)
            .await?;
        let ended = self
            .emitter
            .finish(0, &finishing, &self.states, calls, out)
            .await?;
        let parts = |at: usize| Parts::Slots(vec![slots[at]], 0);
        calls.ended(&finishing, &ended.failed, &self.states, parts)?;
        for at in ended.silent {
            self.emitted_mut(slots[at]).bounds = None;
        }
        Ok(closed)
    }
}
