//! Unbounded windows: one for each key, over all of its events, until the key has had none for so
//! long that its state is forgotten (TTL).
//!
//! Emitted every so often, a value at an instant is that of the events before it, so events of a
//! period that is not over are kept apart and merged in when it is. A row that comes when its
//! period is over is added to the value itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::WindowError;
use super::calls::Calls;
use super::emission::{Emit, Emitter, Finishing, Moment, Revision};
use super::open::{OpenPanes, PaneGroups};
use super::panes::{Pane, Panes};
use super::rows::{Late, Outcome, RowBatch};
use super::states::{BySlot, NONE, States};

/// The life of a key: from its first event to when its state is forgotten.
#[derive(Debug, Clone)]
struct Life {
    /// The slot of its value; [`NONE`] as long as all events are in periods that are not over.
    value: u32,
    /// Periods that are not over and have events of it.
    pending: u32,
    /// Whether its value has changed since it was emitted, other than by a period's end.
    changed: bool,
    /// The greatest time of an applied event, if there was one.
    last: Option<i64>,
    /// The least and the greatest time of the rows that are not applied yet.
    unsure: Option<(i64, i64)>,
    /// How often it was emitted.
    revision: u32,
    /// Whether it gave a row the last time.
    stands: bool,
    /// When it will be looked at; entries of the agenda with another instant are void.
    due: i64,
}

impl Life {
    const NONE: Self = Self {
        value: NONE,
        pending: 0,
        changed: false,
        last: None,
        unsure: None,
        revision: 0,
        stands: false,
        due: i64::MIN,
    };
}

/// A life that is over unless the next row of its key is refused.
struct LaidAside {
    life: Life,
    /// Its slots in periods that are not over.
    pending: Vec<(i64, u32)>,
}

/// The times of the events in a slot's state.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: i64,
    last: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self {
            first: i64::MAX,
            last: i64::MIN,
        }
    }
}

/// Unbounded windows.
pub struct Unbounded {
    ttl: i64,
    /// The periods; none if running values are emitted after each batch.
    every: Option<Panes>,
    states: States,
    spans: BySlot<Span>,
    /// By the key's number.
    lives: Vec<Life>,
    pending: OpenPanes,
    /// Keys whose value has changed, other than by a period's end, if their lives still say so.
    changed: Vec<u32>,
    agenda: BinaryHeap<Reverse<(i64, u32)>>,
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
}

impl Unbounded {
    pub(super) fn new(ttl: i64, every: Option<Panes>, states: States, emitter: Emitter) -> Self {
        Self {
            ttl,
            every,
            states,
            spans: BySlot::new(),
            lives: Vec::new(),
            pending: BTreeMap::new(),
            changed: Vec::new(),
            agenda: BinaryHeap::new(),
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
        let mut outcome = Outcome::default();
        let mut segment = Segment::default();
        let mut pane = Pane::NONE;
        for (row, time) in batch.event_times.iter().enumerate() {
            let watermark = batch.watermarks.as_ref().map_or(i64::MIN, |all| all[row]);
            let (key, time, row) = (keys[row], *time, row as u32);
            let forgotten = time.saturating_add(self.ttl);
            if forgotten <= watermark {
                outcome.late.push(Late {
                    row,
                    window_end: forgotten,
                    watermark,
                });
                continue;
            }
            if self.every.is_some() && watermark >= self.next_instant && watermark > i64::MIN {
                self.apply(batch, &keys, &mut segment, &mut outcome, calls)
                    .await?;
                outcome.closed += self.close(watermark, calls, out).await?;
            }
            let mut over = None;
            if self.may_be_over(key, watermark) {
                self.apply(batch, &keys, &mut segment, &mut outcome, calls)
                    .await?;
                over = self.is_over(key, watermark).then(|| self.lay_aside(key));
            }
            let number = match &self.every {
                None => i64::MIN,
                Some(panes) => {
                    if !pane.contains(time) {
                        pane = panes.of(time).expect("sources refuse times without a pane");
                    }
                    match pane.end <= watermark {
                        true => i64::MIN,
                        false => pane.number,
                    }
                }
            };
            let slot = self.slot(key, number);
            let life = &mut self.lives[key as usize];
            let (least, greatest) = life.unsure.unwrap_or((time, time));
            life.unsure = Some((least.min(time), greatest.max(time)));
            segment.rows.push(row);
            segment.slots.push(slot);
            segment.panes.push(number);
            if let Some(over) = over {
                self.apply(batch, &keys, &mut segment, &mut outcome, calls)
                    .await?;
                // A refused row begins nothing, so what is not emitted yet still will be.
                match self.lives[key as usize].last {
                    Some(_) => self.discard(over),
                    None => self.restore(key, over),
                }
            }
        }
        self.apply(batch, &keys, &mut segment, &mut outcome, calls)
            .await?;
        if self.every.is_none() {
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

    /// Whether a key's state would be forgotten by now, if some rows turned out to be refused.
    fn may_be_over(&self, key: u32, watermark: i64) -> bool {
        let life = &self.lives[key as usize];
        let least = life.last.or(life.unsure.map(|(least, _)| least));
        least.is_some_and(|last| last.saturating_add(self.ttl) <= watermark)
    }

    /// Whether it is, when all rows are applied.
    fn is_over(&self, key: u32, watermark: i64) -> bool {
        let last = self.lives[key as usize].last;
        last.is_some_and(|last| last.saturating_add(self.ttl) <= watermark)
    }

    fn slot(&mut self, key: u32, pane: i64) -> u32 {
        let life = &mut self.lives[key as usize];
        if pane == i64::MIN {
            if life.value == NONE {
                life.value = self.states.add(key);
                self.spans.set(life.value, Span::default());
            }
            return life.value;
        }
        let groups = self.pending.entry(pane).or_default();
        groups.get(key).unwrap_or_else(|| {
            let slot = self.states.add(key);
            self.spans.set(slot, Span::default());
            groups.insert(key, slot);
            life.pending += 1;
            slot
        })
    }

    /// Has the transform add the rows of a segment.
    async fn apply(
        &mut self,
        batch: &RowBatch,
        keys: &[u32],
        segment: &mut Segment,
        outcome: &mut Outcome,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let Segment { rows, slots, panes } = std::mem::take(segment);
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
            let (key, time) = (keys[*row as usize], batch.event_times[*row as usize]);
            let life = &mut self.lives[key as usize];
            life.unsure = None;
            if rejected.next_if_eq(&at).is_some() {
                continue;
            }
            let is_new = life.last.is_none();
            life.last = life.last.max(Some(time));
            if panes[at] == i64::MIN && !life.changed {
                life.changed = true;
                self.changed.push(key);
            }
            let span = self.spans.get_mut(*slot);
            span.first = span.first.min(time);
            span.last = span.last.max(time);
            if is_new {
                life.due = time.saturating_add(self.ttl);
                self.agenda.push(Reverse((life.due, key)));
            }
        }
        for (at, slot) in slots.iter().enumerate() {
            let key = self.states.key(*slot);
            if key == NONE || !self.states.is_initial(*slot) {
                continue;
            }
            match panes[at] {
                i64::MIN => self.lives[key as usize].value = NONE,
                pane => self.forget_pending(key, pane),
            }
            self.states.release(*slot);
        }
        outcome
            .rejects
            .extend(rejects.into_iter().map(|mut reject| {
                reject.row = rows[reject.row as usize];
                reject
            }));
        Ok(())
    }

    fn forget_pending(&mut self, key: u32, pane: i64) {
        self.lives[key as usize].pending -= 1;
        self.take_pending(key, pane);
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
        LaidAside { life, pending }
    }

    /// Puts back the life of a key that has begun no other.
    fn restore(&mut self, key: u32, LaidAside { life, pending }: LaidAside) {
        self.lives[key as usize] = life;
        for (pane, slot) in pending {
            self.pending.entry(pane).or_default().insert(key, slot);
        }
    }

    /// Ends a life that was laid aside: what is not emitted yet never will be.
    fn discard(&mut self, LaidAside { life, pending }: LaidAside) {
        if life.value != NONE {
            self.states.release(life.value);
        }
        for (_, slot) in pending {
            self.states.release(slot);
        }
    }

    fn forget(&mut self, key: u32) {
        let life = self.lay_aside(key);
        self.discard(life);
    }

    /// Emits what is due up to `watermark`, says how many values that were, and forgets keys whose
    /// time is over.
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
            self.next_instant = upto
                .checked_add(1)
                .and_then(|next| panes.start_of(next))
                .unwrap_or(i64::MAX);
        }
        self.forget_old();
        Ok(emitted)
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
                continue;
            }
            let period = *self.spans.get(slot);
            let span = self.spans.get_mut(life.value);
            span.first = span.first.min(period.first);
            span.last = span.last.max(period.last);
            values.push(life.value);
            periods.push(slot);
        }
        calls
            .merge(&mut self.states, &values, &periods, &values)
            .await?;
        periods
            .into_iter()
            .for_each(|slot| self.states.release(slot));
        if self.watermark == i64::MAX {
            // At the input's end a value comes out once, with all of its key's events.
            changed.retain(|key| self.lives[*key as usize].pending == 0);
        }
        // Of a key's period and its value both may have changed.
        changed.sort_unstable();
        changed.dedup();
        let first = |key: u32| self.spans.get(self.lives[key as usize].value).first;
        changed.sort_by(|a, b| {
            let by_start = Reverse(first(*a)).cmp(&Reverse(first(*b)));
            by_start.then_with(|| self.states.keys.compare(*a, *b))
        });
        let mut finishing = Finishing::default();
        for key in &changed {
            let value = self.lives[*key as usize].value;
            finishing.push(*key, (value, NONE), (first(*key), instant), None);
        }
        self.emitter
            .finish(0, &finishing, &self.states, calls, out)
            .await?;
        Ok(changed.len() as u64)
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
            let span = *self.spans.get(life.value);
            finishing.push(
                key,
                (life.value, NONE),
                (span.first, span.last + 1),
                revision,
            );
        }
        let silent = self
            .emitter
            .finish(0, &finishing, &self.states, calls, out)
            .await?;
        for at in silent {
            self.lives[finishing.keys[at] as usize].stands = false;
        }
        Ok(())
    }

    /// Forgets the keys whose time is over and of which nothing is left to be emitted.
    fn forget_old(&mut self) {
        while let Some(Reverse((instant, key))) = self.agenda.peek().copied()
            && instant <= self.watermark
        {
            self.agenda.pop();
            let life = &mut self.lives[key as usize];
            let Some(last) = life.last.filter(|_| life.due == instant) else {
                continue;
            };
            let over = last.saturating_add(self.ttl);
            if over <= self.watermark && life.pending == 0 && !life.changed {
                self.forget(key);
                continue;
            }
            // With events that are not emitted yet, it is looked at again after the next ones.
            life.due = over.max(self.next_instant.min(i64::MAX - 1));
            if life.due > self.watermark {
                self.agenda.push(Reverse((life.due, key)));
            }
        }
    }
}
