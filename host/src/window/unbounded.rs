//! Unbounded windows: one for each key, over all of its events, until the key has had none for so
//! long that its state is forgotten (TTL).
//!
//! Emitted every so often, a value at an instant is that of the events before it, so events of a
//! period that is not over are kept apart and merged in when it is. A row that comes when its
//! period is over is added to the value itself.

mod again;
mod kept;
mod life;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use self::life::Life;
use super::WindowError;
use super::agenda::Agenda;
use super::calls::Calls;
use super::emission::{Emit, Emitter, Finishing, Moment, Revision};
use super::open::{OpenPanes, PaneGroups};
use super::panes::{Pane, Panes};
use super::rows::{Late, Outcome, RowBatch};
use super::state::{Marks, RecordId};
use super::states::{NONE, States};
use super::unfinished::Parts;
use super::work::Work;

/// Rows that are looked at together: so few that their lives stay in the processor's cache.
const STRETCH: usize = 512;

/// A life that is over unless its key's rows in the segment at hand are refused.
struct LaidAside {
    key: u32,
    life: Life,
    /// Its slots in periods that are not over.
    pending: Vec<(i64, u32)>,
}

/// Unbounded windows.
pub struct Unbounded {
    ttl: i64,
    /// The periods; none if running values are emitted after each batch.
    every: Option<Panes>,
    pub(super) states: States,
    /// By the key's number.
    lives: Vec<Life>,
    /// Keys whose lives differ from what is kept of them.
    marks: Marks,
    pending: OpenPanes,
    /// The period of the row before.
    period: Pane,
    /// Keys whose value has changed, other than by a period's end, if their lives still say so.
    changed: Vec<u32>,
    agenda: Agenda,
    closed: i64,
    next_instant: i64,
    watermark: i64,
    emitter: Emitter,
}

/// Rows that are applied together.
#[derive(Default)]
struct Segment {
    rows: Vec<u32>,
    slots: Vec<u32>,
    /// The period of each; `i64::MIN` for those that go to the value.
    panes: Vec<i64>,
    /// The former lives of keys whose rows here begin another.
    over: Vec<LaidAside>,
}

impl Segment {
    fn clear(&mut self) {
        self.rows.clear();
        self.slots.clear();
        self.panes.clear();
        self.over.clear();
    }
}

impl Unbounded {
    pub(super) fn new(ttl: i64, every: Option<Panes>, states: States, emitter: Emitter) -> Self {
        Self {
            ttl,
            every,
            states,
            lives: Vec::new(),
            marks: Marks::default(),
            pending: BTreeMap::new(),
            period: Pane::NONE,
            changed: Vec::new(),
            agenda: Agenda::new(ttl),
            closed: i64::MIN,
            next_instant: i64::MIN,
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
        self.lives.resize(self.states.keys.bound(), Life::NONE);
        let mut work = Work {
            batch,
            keys: &keys,
            outcome: Outcome::default(),
            calls,
            out,
        };
        let mut segment = Segment::default();
        let mut next = 0;
        while let Some(row) = self.place_rows(next, &mut segment, &mut work) {
            let (key, watermark) = (keys[row], batch.watermark_at(row));
            // Rows of other keys may wait on: whether this key's state is over depends on its own.
            if self.is_due(watermark) || self.lives[key as usize].has_unsure() {
                self.apply(&mut segment, &mut work).await?;
            }
            if self.is_due(watermark) {
                work.outcome.closed += self.close(watermark, work.calls, work.out).await?;
            }
            if self.is_over(key, watermark) {
                let over = self.lay_aside(key);
                segment.over.push(over);
            }
            self.place(row, &mut segment, &work);
            next = row + 1;
        }
        self.apply(&mut segment, &mut work).await?;
        if self.every.is_none() {
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

    /// Puts rows from `next` on into a segment, up to the first before which the segment must be
    /// applied, and gives that one.
    fn place_rows(
        &mut self,
        next: usize,
        segment: &mut Segment,
        work: &mut Work<'_>,
    ) -> Option<usize> {
        let batch = work.batch;
        let mut next = next;
        while next < batch.len() {
            let stretch = next..(next + STRETCH).min(batch.len());
            next = stretch.end;
            if self.is_calm(stretch.clone(), work) {
                stretch.for_each(|row| self.place(row, segment, work));
                continue;
            }
            for row in stretch {
                let watermark = batch.watermark_at(row);
                let forgotten = batch.event_times[row].saturating_add(self.ttl);
                if forgotten <= watermark {
                    work.outcome.late.push(Late {
                        row: row as u32,
                        window_end: forgotten,
                        watermark,
                    });
                    continue;
                }
                if self.is_due(watermark) || self.may_be_over(work.keys[row], watermark) {
                    return Some(row);
                }
                self.place(row, segment, work);
            }
        }
        None
    }

    /// Whether rows can all go into one segment, and none is late. Their lives lie scattered: to
    /// look at many of them first, and do nothing else, waits for them together rather than for
    /// one after the other.
    fn is_calm(&self, rows: Range<usize>, work: &Work<'_>) -> bool {
        let Work { batch, keys, .. } = work;
        // Watermarks rise.
        let watermark = batch.watermark_at(rows.end - 1);
        let is_over = |time: i64| time.saturating_add(self.ttl) <= watermark;
        let mut rows = batch.event_times[rows.clone()].iter().zip(&keys[rows]);
        !self.is_due(watermark)
            && rows.all(|(time, key)| !is_over(*time) && !self.may_be_over(*key, watermark))
    }

    /// Puts a row into a segment.
    fn place(&mut self, row: usize, segment: &mut Segment, work: &Work<'_>) {
        let batch = work.batch;
        let (key, time) = (work.keys[row], batch.event_times[row]);
        let mut number = i64::MIN;
        if let Some(panes) = &self.every {
            if !self.period.contains(time) {
                self.period = panes.of(time).expect("sources refuse times without a pane");
            }
            if self.period.end > batch.watermark_at(row) {
                number = self.period.number;
            }
        }
        segment.rows.push(row as u32);
        segment.slots.push(self.slot(key, number));
        segment.panes.push(number);
        let life = &mut self.lives[key as usize];
        life.unsure = life.unsure.min(time);
    }

    /// Whether something is to be emitted at a watermark.
    fn is_due(&self, watermark: i64) -> bool {
        self.every.is_some() && watermark >= self.next_instant && watermark > i64::MIN
    }

    /// Whether a key's state would be forgotten by now, if some rows turned out to be refused.
    fn may_be_over(&self, key: u32, watermark: i64) -> bool {
        let life = &self.lives[key as usize];
        let least = match life.events.is_empty() {
            true => life.unsure,
            false => life.events.last,
        };
        least.saturating_add(self.ttl) <= watermark
    }

    /// Whether it is, when all rows are applied.
    fn is_over(&self, key: u32, watermark: i64) -> bool {
        let events = self.lives[key as usize].events;
        !events.is_empty() && events.last.saturating_add(self.ttl) <= watermark
    }

    fn slot(&mut self, key: u32, pane: i64) -> u32 {
        let life = &mut self.lives[key as usize];
        if pane == i64::MIN {
            if life.value == NONE {
                life.value = self.states.add(key);
            }
            return life.value;
        }
        if life.latest.0 == pane {
            return life.latest.1;
        }
        let groups = self.pending.entry(pane).or_default();
        let slot = groups.get(key).unwrap_or_else(|| {
            let slot = self.states.add(key);
            groups.insert(key, slot);
            life.pending += 1;
            slot
        });
        life.latest = (pane, slot);
        slot
    }

    /// Has the transform add the rows of a segment, which is empty after that.
    async fn apply(
        &mut self,
        segment: &mut Segment,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        if segment.rows.is_empty() {
            return Ok(());
        }
        let before = work
            .accumulate(&mut self.states, &segment.rows, &segment.slots)
            .await?;
        self.applied(segment, work, before);
        if work.outcome.rejects.len() > before {
            self.drop_void(segment);
        }
        for over in std::mem::take(&mut segment.over) {
            // Refused rows begin nothing, so what is not emitted yet still will be.
            match self.lives[over.key as usize].events.is_empty() {
                false => self.discard(over),
                true => self.restore(over),
            }
        }
        segment.clear();
        Ok(())
    }

    /// Notes the rows of a segment that were applied: all but the rejects from `before` on.
    fn applied(&mut self, segment: &Segment, work: &Work<'_>, before: usize) {
        let rejects = &work.outcome.rejects[before..];
        let mut rejected = rejects.iter().map(|reject| reject.row).peekable();
        for (row, pane) in segment.rows.iter().zip(&segment.panes) {
            let key = work.keys[*row as usize];
            let life = &mut self.lives[key as usize];
            life.unsure = i64::MAX;
            if rejected.next_if_eq(row).is_some() {
                continue;
            }
            if *pane == i64::MIN && !life.changed {
                life.changed = true;
                self.changed.push(key);
            }
            let time = work.batch.event_times[*row as usize];
            if life.events.is_empty() {
                life.due = time.saturating_add(self.ttl);
                self.agenda.push(life.due, key);
            }
            life.events = life.events.with(time);
            self.marks.mark(key);
        }
    }

    /// Gives back the slots of a segment that have no applied row.
    fn drop_void(&mut self, segment: &Segment) {
        for (slot, pane) in segment.slots.iter().zip(&segment.panes) {
            let key = self.states.key(*slot);
            if key == NONE || !self.states.is_initial(*slot) {
                continue;
            }
            match *pane {
                i64::MIN => self.lives[key as usize].value = NONE,
                pane => {
                    let life = &mut self.lives[key as usize];
                    life.pending -= 1;
                    life.latest = Life::NONE.latest;
                    self.take_pending(key, pane);
                }
            }
            self.states.release(*slot);
        }
    }

    fn take_pending(&mut self, key: u32, pane: i64) {
        if let Some(groups) = self.pending.get_mut(&pane) {
            groups.remove(key);
            if groups.slots.is_empty() {
                self.pending.remove(&pane);
            }
        }
    }

    /// Takes the life of a key out of everything, so that the key can begin another.
    fn lay_aside(&mut self, key: u32) -> LaidAside {
        let life = std::mem::replace(&mut self.lives[key as usize], Life::NONE);
        let mut pending = Vec::new();
        if life.pending > 0 {
            let of_key =
                |(pane, groups): (&i64, &PaneGroups)| groups.get(key).map(|slot| (*pane, slot));
            pending = self.pending.iter().filter_map(of_key).collect();
            for (pane, _) in &pending {
                self.take_pending(key, *pane);
            }
        }
        LaidAside { key, life, pending }
    }

    /// Puts back the life of a key that has begun no other.
    fn restore(&mut self, LaidAside { key, life, pending }: LaidAside) {
        self.lives[key as usize] = life;
        for (pane, slot) in pending {
            self.pending.entry(pane).or_default().insert(key, slot);
        }
    }

    /// Ends a life that was laid aside: what is not emitted yet never will be.
    fn discard(&mut self, over: LaidAside) {
        for (period, slot) in &over.pending {
            let id = RecordId::Period(*period);
            self.states.note_record_gone(*slot, id);
        }
        self.let_go(over);
    }

    /// Lets go of a life that was laid aside, of which the records stay.
    fn let_go(&mut self, LaidAside { life, pending, .. }: LaidAside) {
        if life.value != NONE {
            self.states.release(life.value);
        }
        for (_, slot) in pending {
            self.states.release(slot);
        }
    }

    fn forget(&mut self, key: u32) {
        if self.marks.forget(key) {
            self.states.note_gone(key, RecordId::Life);
        }
        let life = self.lay_aside(key);
        self.discard(life);
    }

    /// Emits what is due up to `watermark`, says how many values that were, and forgets keys whose
    /// time is over.
    pub(super) async fn close(
        &mut self,
        watermark: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        if watermark <= self.watermark {
            return Ok(0);
        }
        self.watermark = watermark;
        let mut emitted = 0;
        if let Some(panes) = self
            .every
            .clone()
            .filter(|_| watermark >= self.next_instant)
        {
            let upto = match panes.of(watermark) {
                Some(pane) => pane.number,
                None if watermark < 0 => return Ok(0),
                None => i64::MAX,
            };
            while let Some(boundary) = self.next_boundary().filter(|next| *next <= upto) {
                let instant = panes.start_of(boundary).unwrap_or(i64::MAX);
                emitted += self.boundary(boundary, instant, calls, out).await?;
                self.closed = boundary;
            }
            self.closed = upto;
            self.next_instant = self.instant_after(upto);
        }
        self.forget_old();
        Ok(emitted)
    }

    /// The instant of the next boundary; the beginning of time if none was passed.
    fn instant_after(&self, boundary: i64) -> i64 {
        match (&self.every, boundary) {
            (_, i64::MIN) | (None, _) => i64::MIN,
            (Some(panes), boundary) => {
                let next = boundary.checked_add(1);
                let next = next.and_then(|next| panes.start_of(next));
                next.unwrap_or(i64::MAX)
            }
        }
    }

    fn next_boundary(&self) -> Option<i64> {
        let closing = self.pending.first_key_value().map(|(pane, _)| pane + 1);
        let changed = (!self.changed.is_empty()).then(|| self.closed.saturating_add(1));
        closing.into_iter().chain(changed).min()
    }

    /// A period is over: its events join the values, and what has changed is emitted.
    async fn boundary(
        &mut self,
        boundary: i64,
        instant: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let mut changed = std::mem::take(&mut self.changed);
        // Some may have been forgotten since.
        changed.retain(|key| std::mem::take(&mut self.lives[*key as usize].changed));
        let closing = self.pending.remove(&(boundary - 1)).unwrap_or_default();
        let (mut values, mut periods) = (Vec::new(), Vec::new());
        for slot in closing.slots {
            let key = self.states.key(slot);
            changed.push(key);
            let life = &mut self.lives[key as usize];
            life.pending -= 1;
            if life.value == NONE {
                life.value = slot;
                // From now on it is kept with the life.
                if self.states.marks.forget(slot) {
                    self.states.note_gone(key, RecordId::Period(boundary - 1));
                }
                continue;
            }
            values.push(life.value);
            periods.push(slot);
        }
        calls
            .merge(&mut self.states, &values, &periods, &values)
            .await?;
        self.marks.mark_all(&changed);
        if self.watermark == i64::MAX {
            // At the input's end a value comes out once, with all of its key's events.
            changed.retain(|key| self.lives[*key as usize].pending == 0);
        }
        let finishing = self.finishing(changed, instant);
        let ended = self
            .emitter
            .finish(0, &finishing, &self.states, calls, out)
            .await?;
        let parts = |at: usize| {
            // Where the period could not be added to the value, that is what it was before.
            let value = finishing.earlier[at];
            let failure = self.states.failure([value, NONE]);
            let is_value = |(_, other): &(usize, &u32)| **other == value;
            let period = failure.and_then(|_| values.iter().enumerate().find(is_value));
            let mut slots = vec![value];
            slots.extend(period.map(|(at, _)| periods[at]));
            Parts::Slots(slots, 0)
        };
        calls.ended(&finishing, &ended.failed, &self.states, parts)?;
        for slot in periods {
            let id = RecordId::Period(boundary - 1);
            self.states.release_record(slot, id);
        }
        // What could not be merged has been told of; the values stay what they were before.
        for slot in &finishing.earlier {
            self.states.mend(*slot);
        }
        Ok(finishing.len() as u64)
    }

    /// The values of keys at an instant, in the order in which they are emitted. Keys may be listed
    /// twice: of a key's period and its value both may have changed.
    fn finishing(&self, keys: Vec<u32>, instant: i64) -> Finishing {
        let first = |key: u32| Reverse(self.lives[key as usize].events.first);
        let mut order: Vec<_> = keys.into_iter().map(|key| (first(key), key)).collect();
        order.sort_unstable_by(|(a_first, a), (b_first, b)| {
            let by_first = a_first.cmp(b_first);
            by_first.then_with(|| self.states.keys.compare(*a, *b))
        });
        order.dedup();
        let mut finishing = Finishing::default();
        for (Reverse(first), key) in order {
            let value = self.lives[key as usize].value;
            finishing.push(key, (value, NONE), (first, instant), None);
            finishing.ids.push(RecordId::Life);
        }
        finishing
    }

    /// Emits the values that a batch has changed.
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
        let mut finishing = Finishing::default();
        for key in std::mem::take(&mut self.changed) {
            let life = &mut self.lives[key as usize];
            if !std::mem::take(&mut life.changed) {
                // It was forgotten since, or is listed twice.
                continue;
            }
            let revision = Some(Revision {
                number: life.revision,
                stands: life.stands,
                moment,
            });
            life.revision += 1;
            life.stands = true;
            self.marks.mark(key);
            let bounds = (life.events.first, life.events.last + 1);
            finishing.push(key, (life.value, NONE), bounds, revision);
            finishing.ids.push(RecordId::Life);
        }
        let ended = self
            .emitter
            .finish(0, &finishing, &self.states, calls, out)
            .await?;
        let parts = |at: usize| Parts::Slots(vec![finishing.earlier[at]], 0);
        calls.ended(&finishing, &ended.failed, &self.states, parts)?;
        for at in ended.silent {
            self.lives[finishing.keys[at] as usize].stands = false;
        }
        Ok(())
    }

    /// Forgets the keys whose time is over and of which nothing is left to be emitted.
    fn forget_old(&mut self) {
        while let Some((instant, key)) = self.agenda.pop(self.watermark) {
            let life = &mut self.lives[key as usize];
            if life.events.is_empty() || life.due != instant {
                continue;
            }
            let over = life.events.last.saturating_add(self.ttl);
            if over <= self.watermark && life.pending == 0 && !life.changed {
                self.forget(key);
                continue;
            }
            // With events that are not emitted yet, it is looked at again after the next ones.
            life.due = over.max(self.next_instant.min(i64::MAX - 1));
            self.marks.mark(key);
            if life.due > self.watermark {
                self.agenda.push(life.due, key);
            }
        }
    }
}
