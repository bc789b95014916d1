//! Tumbling and hopping windows, of one or several lengths over one set of panes.
//!
//! Each row is added to the state of its key in its pane. When the watermark passes a boundary, the
//! windows that end there are put together from their panes and emitted. A row that comes when its
//! pane has closed meets every window as it stood at that row: what closed before is emitted
//! before the row is applied.

mod again;
mod kept;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use super::WindowError;
use super::calls::Calls;
use super::corrections::Behind;
use super::emission::{Emit, Emitter, Finishing, Moment};
use super::fold::Fold;
use super::lateness::{Judge, instant};
use super::open::{OpenPanes, PaneGroups};
use super::panes::{Pane, Panes};
use super::revisions::Revisions;
use super::rows::{Late, Outcome, RowBatch};
use super::skipped::emitted_at;
use super::state::RecordId;
use super::states::{BySlot, NONE, States};
use super::windows::{Length, Shape};
use super::work::Work;
use crate::transform::Reject;

/// What a slot holds the state of.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) pane: i64,
    /// The boundary that the watermark had passed when the group came to be: the windows up to
    /// there were emitted without it. So a window was emitted when it closed if any of its groups
    /// was born before its end. All of them can be asked as long as the window may be corrected:
    /// a pane is forgotten only when the last window with it in it may not, and none of those
    /// ends before that window does.
    pub(super) born: i64,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            pane: i64::MIN,
            born: i64::MIN,
        }
    }
}

/// Tumbling and hopping windows.
pub struct Aligned {
    pub(super) panes: Panes,
    pub(super) lateness: i64,
    per_batch: bool,
    pub(super) states: States,
    pub(super) open: OpenPanes,
    pub(super) of_slot: BySlot<Group>,
    /// The pane that each key's latest row was in, and the slot there, by the key's number. Of a
    /// pane that no row can reach any more the slot may have gone to another group.
    latest: Vec<(i64, u32)>,
    pub(super) folds: Vec<Fold>,
    /// The greatest boundary that the watermark has passed, and the instant of the next one.
    pub(super) closed: i64,
    next_instant: i64,
    watermark: i64,
    judge: Judge,
    /// The slots that the batch at hand has touched, if running values are emitted after it.
    touched: Vec<u32>,
    pub(super) revisions: Revisions,
    pub(super) emitter: Emitter,
}

/// Rows that are applied together.
#[derive(Default)]
pub(super) struct Segment {
    pub(super) rows: Vec<u32>,
    /// The pane of each.
    pub(super) panes: Vec<i64>,
    /// Those of them whose pane has closed.
    pub(super) behind: Vec<Behind>,
}

impl Segment {
    /// How many of the rows that were too late for some windows were applied to others: all but
    /// the rejects. `weight` says for how many rows each stands.
    fn partly_late(&self, rejects: &[Reject], weight: impl Fn(usize) -> u64) -> u64 {
        let partly = self.behind.iter().filter(|row| row.partly_late);
        let partly = partly.map(|row| self.rows[row.at]);
        if rejects.is_empty() {
            return partly.map(|row| weight(row as usize)).sum();
        }
        let mut rejected = None;
        let mut is_rejected = |row: &u32| {
            // Most segments have no such row, and then need no set.
            let rejected = rejected.get_or_insert_with(|| {
                let rows = rejects.iter().map(|reject| reject.row);
                rows.collect::<HashSet<u32>>()
            });
            rejected.contains(row)
        };
        let partly = partly.filter(|row| !is_rejected(row));
        partly.map(|row| weight(row as usize)).sum()
    }
}

/// The latest row of a key that had none.
const NOWHERE: (i64, u32) = (i64::MIN, NONE);

/// A slot that was made for a row, and its key and pane.
type Made = (u32, u32, i64);

impl Aligned {
    pub(super) fn new(
        panes: &Panes,
        lengths: &[Length],
        shape: &Shape,
        states: States,
        emitter: Emitter,
    ) -> Self {
        Self {
            panes: panes.clone(),
            lateness: shape.lateness,
            per_batch: shape.per_batch,
            states,
            open: BTreeMap::new(),
            of_slot: BySlot::new(),
            latest: Vec::new(),
            folds: lengths.iter().copied().map(Fold::new).collect(),
            closed: i64::MIN,
            next_instant: i64::MIN,
            watermark: i64::MIN,
            judge: Judge::new(panes, shape.lateness),
            touched: Vec::new(),
            revisions: Revisions::new(shape.revises()),
            emitter,
        }
    }

    pub(super) fn states(&self) -> usize {
        self.states.len()
    }

    /// The instant of a boundary; the end of time for those that have none.
    pub(super) fn instant(&self, boundary: i64) -> i64 {
        instant(&self.panes, boundary)
    }

    /// The instant of the next boundary; the beginning of time if none was passed.
    fn instant_after(&self, boundary: i64) -> i64 {
        match boundary {
            i64::MIN | i64::MAX => boundary,
            boundary => self.instant(boundary + 1),
        }
    }

    pub(super) async fn batch(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<Outcome, WindowError> {
        let keys = self.states.keys.assign(&batch.keys)?;
        self.latest.resize(self.states.keys.bound(), NOWHERE);
        let mut work = Work {
            batch,
            keys: &keys,
            outcome: Outcome::default(),
            calls,
            out,
        };
        let mut segment = Segment::default();
        let mut pane = Pane::NONE;
        for (row, time) in batch.event_times.iter().enumerate() {
            if !pane.contains(*time) {
                pane = (self.panes.of(*time)).expect("sources refuse times without a pane");
            }
            let watermark = batch.watermark_at(row);
            if pane.end <= watermark {
                match self.judge(pane.number, watermark) {
                    Err(window_end) => {
                        work.outcome.late.push(Late {
                            row: row as u32,
                            window_end,
                            watermark,
                        });
                        continue;
                    }
                    Ok(behind) => {
                        self.catch_up(watermark, &mut segment, &mut work).await?;
                        let at = segment.rows.len();
                        segment.behind.push(Behind { at, ..behind });
                    }
                }
            }
            segment.rows.push(row as u32);
            segment.panes.push(pane.number);
        }
        self.apply(segment, &mut work).await?;
        if self.per_batch {
            self.emit_running(&mut work).await?;
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
        // No more is to come, so windows that grow come out whole, and not at every step on the
        // way there.
        for fold in &mut self.folds {
            fold.length = fold.length.whole();
        }
        self.close(i64::MAX, calls, out).await
    }

    /// What a row is whose pane has closed: too late for every window, the last of which ended
    /// at the instant given; or in time for some. A window that grows is one window, however often
    /// it was emitted.
    fn judge(&mut self, pane: i64, watermark: i64) -> Result<Behind, i64> {
        let lengths = self.folds.iter().map(|fold| fold.length);
        let judged = self.judge.judge(lengths, pane, watermark);
        judged.map_err(|last| instant(&self.panes, last))
    }

    /// Emits what has closed up to a row, without the row but with those before it.
    async fn catch_up(
        &mut self,
        watermark: i64,
        segment: &mut Segment,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        if watermark >= self.next_instant {
            self.apply(std::mem::take(segment), work).await?;
            work.outcome.closed += self.close(watermark, work.calls, work.out).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, segment: Segment, work: &mut Work<'_>) -> Result<(), WindowError> {
        let before = work.outcome.rejects.len();
        if segment.behind.is_empty() || self.lateness == 0 {
            self.apply_on_time(&segment.rows, &segment.panes, work)
                .await?;
            let late = segment.behind.iter();
            let key = |row: &Behind| work.keys[segment.rows[row.at] as usize];
            let late: Vec<(u32, i64)> = late.map(|row| (key(row), segment.panes[row.at])).collect();
            self.refold(&late, work.calls).await?;
        } else {
            // Rows that correct windows are applied one after the other, key by key; the others
            // are in panes that are open, so that it makes no difference which of both come first.
            let mut is_behind = vec![false; segment.rows.len()];
            (segment.behind.iter()).for_each(|row| is_behind[row.at] = true);
            let on_time = (0..segment.rows.len()).filter(|at| !is_behind[*at]);
            let (rows, panes): (Vec<u32>, Vec<i64>) = on_time
                .map(|at| (segment.rows[at], segment.panes[at]))
                .unzip();
            self.apply_on_time(&rows, &panes, work).await?;
            self.correct(&segment, work).await?;
        }
        let weight = |row| work.batch.weight(row);
        work.outcome.partly_late += segment.partly_late(&work.outcome.rejects[before..], weight);
        Ok(())
    }

    async fn apply_on_time(
        &mut self,
        rows: &[u32],
        panes: &[i64],
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        let slots = self.add_rows(rows, panes, work).await?;
        if self.per_batch {
            self.touched.extend(slots);
        }
        Ok(())
    }

    /// Has the transform add rows to the states of their groups, which are made where there are
    /// none. Gives the rows' slots; those of new groups without an applied row are void.
    pub(super) async fn add_rows(
        &mut self,
        rows: &[u32],
        panes: &[i64],
        work: &mut Work<'_>,
    ) -> Result<Vec<u32>, WindowError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut made: Vec<Made> = Vec::new();
        let slots: Vec<u32> = rows
            .iter()
            .zip(panes)
            .map(|(row, pane)| self.slot(work.keys[*row as usize], *pane, &mut made))
            .collect();
        let before = work.accumulate(&mut self.states, rows, &slots).await?;
        if work.outcome.rejects.len() == before {
            return Ok(slots);
        }
        for (slot, key, pane) in made {
            if self.states.is_initial(slot) {
                if let Some(groups) = self.open.get_mut(&pane) {
                    groups.remove(key);
                    if groups.slots.is_empty() {
                        self.open.remove(&pane);
                    }
                }
                self.latest[key as usize] = NOWHERE;
                self.release(slot);
            }
        }
        Ok(slots)
    }

    fn slot(&mut self, key: u32, pane: i64, made: &mut Vec<Made>) -> u32 {
        let latest = self.latest[key as usize];
        if latest.0 == pane {
            return latest.1;
        }
        let groups = self.open.entry(pane).or_default();
        let slot = groups.get(key).unwrap_or_else(|| {
            let slot = self.states.add(key);
            groups.insert(key, slot);
            let born = self.closed;
            self.of_slot.set(slot, Group { pane, born });
            made.push((slot, key, pane));
            slot
        });
        self.latest[key as usize] = (pane, slot);
        slot
    }

    fn release(&mut self, slot: u32) {
        let pane = self.of_slot.get(slot).pane;
        self.of_slot.set(slot, Group::default());
        self.states.release_record(slot, RecordId::Pane(pane));
    }

    /// Folds anew what late rows have changed, given by their keys and panes.
    pub(super) async fn refold(
        &mut self,
        late: &[(u32, i64)],
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        if late.is_empty() {
            return Ok(());
        }
        for fold in &mut self.folds {
            if fold.length.panes > 1 {
                let (open, states) = (&self.open, &mut self.states);
                fold.move_to(self.closed, open, states, calls).await?;
                fold.refold(late, self.closed, open, states, calls).await?;
            }
        }
        Ok(())
    }

    /// Emits the windows that end up to `watermark`, and says how many.
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
        if watermark < self.next_instant {
            return Ok(0);
        }
        let upto = self.panes.last_boundary(watermark);
        if upto == i64::MIN {
            return Ok(0);
        }
        let mut windows = 0;
        while let Some(boundary) = self.next_boundary().filter(|next| *next <= upto) {
            windows += match self.instant(boundary) < self.instant(boundary.saturating_add(1)) {
                true => self.boundary(boundary, calls, out).await?,
                false => self.boundaries_at_once(boundary, calls, out).await?,
            };
            self.closed = self.closed.max(boundary);
        }
        self.closed = upto;
        self.next_instant = self.instant_after(upto);
        self.forget();
        Ok(windows)
    }

    /// The next boundary at which something is to be done.
    pub(super) fn next_boundary(&self) -> Option<i64> {
        let mut open = self.open.range(self.closed..);
        let closing = open.next().map(|(pane, _)| pane + 1);
        let folds = self.folds.iter().filter(|fold| !fold.is_empty());
        folds
            .map(|fold| fold.length.next_emission(self.closed))
            .chain(closing)
            .min()
    }

    /// Passes a boundary: emits the windows that end there.
    pub(super) async fn boundary(
        &mut self,
        boundary: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let closing = self.open.get(&(boundary - 1));
        let closing: Vec<u32> = closing.map_or(Vec::new(), |groups| groups.slots.clone());
        let mut emitted = 0;
        for at in self.by_start(boundary) {
            let (fold, open, states) = (&mut self.folds[at], &self.open, &mut self.states);
            let length = fold.length;
            let windows = if length.panes == 1 {
                let of_key = |slot: &u32| (states.key(*slot), (*slot, NONE));
                let mut windows: Vec<_> = closing.iter().map(of_key).collect();
                states.keys.sort(&mut windows, |(key, _)| *key);
                windows
            } else {
                fold.move_to(boundary, open, states, calls).await?;
                fold.add_pane(&closing, states, calls).await?;
                match emitted_at(&self.panes, length, boundary) {
                    Some(start) => fold.windows(start, states),
                    None => continue,
                }
            };
            let Some(start) = length.emitted_at(boundary).filter(|_| !windows.is_empty()) else {
                continue;
            };
            emitted += windows.len() as u64;
            self.emit(at, start, boundary, windows, calls, out).await?;
        }
        Ok(emitted)
    }

    /// The lengths, by where their windows start that are emitted at a boundary: from the latest
    /// on, and of one start the shortest first. A longer one that grows may have begun later.
    fn by_start(&self, boundary: i64) -> Vec<usize> {
        let mut lengths: Vec<usize> = (0..self.folds.len()).collect();
        lengths.sort_by_cached_key(|at| {
            let start = self.folds[*at].length.emitted_at(boundary);
            Reverse(start.map(|start| self.instant(start)))
        });
        lengths
    }

    /// Emits windows that close: of each key, the slots of its earlier and its later part.
    async fn emit(
        &mut self,
        length: usize,
        start: i64,
        end: i64,
        windows: Vec<(u32, (u32, u32))>,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let bounds = (self.instant(start), self.instant(end));
        let moment = Moment {
            watermark: bounds.1,
            sequence: 0,
        };
        let mut finishing = Finishing::default();
        for (key, slots) in windows {
            let revision = self.revisions.at_close(end, (length, key), moment);
            finishing.push(key, slots, bounds, revision);
            finishing.ids.push(RecordId::Revision(end, length as u32));
        }
        self.finish(length, &finishing, |_| end, calls, out).await
    }

    /// Finishes windows, and notes which of them gave no row. `end` tells where each ends.
    pub(super) async fn finish(
        &mut self,
        length: usize,
        finishing: &Finishing,
        end: impl Fn(usize) -> i64 + Send,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let states = &self.states;
        let ended = self
            .emitter
            .finish(length, finishing, states, calls, out)
            .await?;
        let parts = |at: usize| self.parts(length, finishing.keys[at], end(at));
        calls.ended(finishing, &ended.failed, states, parts)?;
        let mut silent = ended.silent.into_iter().peekable();
        for (at, revision) in finishing.revisions.iter().enumerate() {
            let of_window = (length, finishing.keys[at]);
            let is_silent = silent.next_if_eq(&at).is_some();
            self.revisions
                .note(end(at), of_window, *revision, is_silent);
        }
        Ok(())
    }

    /// Emits the windows that a batch has touched, as they stand. Each is a single pane.
    async fn emit_running(&mut self, work: &mut Work<'_>) -> Result<(), WindowError> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let moment = Moment {
            watermark: work.batch.watermark,
            sequence: work.batch.next_sequence,
        };
        let mut finishing = Finishing::default();
        let mut ends = Vec::new();
        for slot in touched {
            let (key, pane) = (self.states.key(slot), self.of_slot.get(slot).pane);
            let end = self.instant(pane.saturating_add(1));
            // A void group has no pane; a window that closes is emitted when it does.
            if pane == i64::MIN || key == NONE || end <= work.batch.watermark {
                continue;
            }
            let revision = self.revisions.count(pane + 1, (0, key), false, moment);
            let bounds = (self.instant(pane), end);
            finishing.push(key, (slot, NONE), bounds, Some(revision));
            ends.push(pane + 1);
        }
        self.finish(0, &finishing, |at| ends[at], work.calls, work.out)
            .await
    }

    /// Forgets the panes and revisions that no row can reach any more.
    fn forget(&mut self) {
        let (lateness, watermark) = (self.lateness, self.watermark);
        let gone = |end: i64| end.saturating_add(lateness) <= watermark;
        while let Some((pane, _)) = self.open.first_key_value() {
            let lengths = self.folds.iter().map(|fold| fold.length.last_end(*pane));
            if !gone(self.instant(lengths.max().unwrap_or(*pane))) {
                break;
            }
            let (_, PaneGroups { slots, .. }) = self.open.pop_first().expect("seen above");
            for slot in slots {
                self.release(slot);
            }
        }
        let panes = &self.panes;
        let end = |boundary: i64| panes.start_of(boundary).unwrap_or(i64::MAX);
        for (end, (length, key)) in self.revisions.forget(|boundary| gone(end(boundary))) {
            let id = RecordId::Revision(end, length as u32);
            self.states.note_gone(key, id);
        }
    }
}
