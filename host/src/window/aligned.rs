//! Tumbling and hopping windows, of one or several lengths over one set of panes.
//!
//! Each row is added to the state of its key in its pane. When the watermark passes a boundary, the
//! windows that end there are put together from their panes and emitted. A row that comes when its
//! pane has closed meets every window as it stood at that row: what closed before is emitted
//! before the row is applied.

use std::collections::BTreeMap;

use super::WindowError;
use super::calls::Calls;
use super::corrections::{Behind, Revisions};
use super::emission::{Emit, Emitter, Finishing, Moment};
use super::fold::{Fold, OpenPanes, PaneGroups};
use super::panes::{Pane, Panes};
use super::rows::{Late, Outcome, RowBatch};
use super::states::{BySlot, NONE, States};
use super::windows::{Length, Shape};

/// What a slot holds the state of.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) pane: i64,
    /// The boundary that the watermark had passed when the group came to be: the windows up to
    /// there were emitted without it.
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
    pub(super) revisions: Revisions,
    pub(super) emitter: Emitter,
}

/// Rows that are applied together.
#[derive(Default)]
struct Segment {
    rows: Vec<u32>,
    /// The pane of each.
    panes: Vec<i64>,
    /// Those of them whose pane has closed.
    behind: Vec<Behind>,
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
            revisions: Revisions::new(shape.revises()),
            emitter,
        }
    }

    pub(super) fn states(&self) -> usize {
        self.states.len()
    }

    /// The instant of a boundary; the end of time for those that have none.
    pub(super) fn instant(&self, boundary: i64) -> i64 {
        let beyond = if boundary < 0 { i64::MIN } else { i64::MAX };
        self.panes.start_of(boundary).unwrap_or(beyond)
    }

    pub(super) async fn batch(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<Outcome, WindowError> {
        let keys = self.states.keys.assign(&batch.keys)?;
        self.latest.resize(self.states.keys.bound(), NOWHERE);
        let mut outcome = Outcome::default();
        let mut segment = Segment::default();
        let mut touched = Vec::new();
        let mut pane = Pane::NONE;
        for (row, time) in batch.event_times.iter().enumerate() {
            if !pane.contains(*time) {
                pane = (self.panes.of(*time)).expect("sources refuse times without a pane");
            }
            let watermark = batch.watermark_at(row);
            if pane.end <= watermark {
                if watermark >= self.next_instant {
                    let segment = std::mem::take(&mut segment);
                    self.apply(
                        batch,
                        &keys,
                        segment,
                        &mut touched,
                        &mut outcome,
                        calls,
                        out,
                    )
                    .await?;
                    outcome.closed += self.close(watermark, calls, out).await?;
                }
                match self.judge(pane.number, watermark) {
                    Err(window_end) => {
                        outcome.late.push(Late {
                            row: row as u32,
                            window_end,
                            watermark,
                        });
                        continue;
                    }
                    Ok(partly_late) => segment.behind.push(Behind {
                        at: segment.rows.len(),
                        partly_late,
                        watermark,
                    }),
                }
            }
            segment.rows.push(row as u32);
            segment.panes.push(pane.number);
        }
        self.apply(
            batch,
            &keys,
            segment,
            &mut touched,
            &mut outcome,
            calls,
            out,
        )
        .await?;
        if self.per_batch {
            self.emit_running(touched, batch, calls, out).await?;
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

    /// What a row is whose pane has closed: too late for every window, the last of which ended
    /// at the instant given; or in time for some, and then whether it is too late for others.
    fn judge(&self, pane: i64, watermark: i64) -> Result<bool, i64> {
        let gone = |end: i64| end.saturating_add(self.lateness) <= watermark;
        let lengths = self.folds.iter().map(|fold| fold.length);
        let last = lengths.clone().map(|length| length.last_end(pane)).max();
        let last = self.instant(last.unwrap_or(pane + 1));
        if gone(last) {
            return Err(last);
        }
        let first = lengths.map(|length| length.next_emission(pane)).min();
        Ok(gone(self.instant(first.unwrap_or(pane + 1))))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it belongs to the batch at hand"
    )]
    async fn apply(
        &mut self,
        batch: &RowBatch,
        keys: &[u32],
        segment: Segment,
        touched: &mut Vec<u32>,
        outcome: &mut Outcome,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        if segment.behind.is_empty() || self.lateness == 0 {
            let slots = self
                .add_rows(batch, keys, &segment.rows, &segment.panes, outcome, calls)
                .await?;
            if self.per_batch {
                touched.extend(slots);
            }
            let late: Vec<(u32, i64)> = segment
                .behind
                .iter()
                .map(|row| (keys[segment.rows[row.at] as usize], segment.panes[row.at]))
                .collect();
            outcome.partly_late += self.partly_late(&segment.rows, &segment.behind, outcome);
            return self.refold(&late, calls).await;
        }
        // Rows that correct windows are applied one after the other, key by key; the others are in
        // panes that are open, so that it makes no difference which of both come first.
        let mut is_behind = vec![false; segment.rows.len()];
        segment
            .behind
            .iter()
            .for_each(|row| is_behind[row.at] = true);
        let on_time = (0..segment.rows.len()).filter(|at| !is_behind[*at]);
        let (rows, panes): (Vec<u32>, Vec<i64>) = on_time
            .map(|at| (segment.rows[at], segment.panes[at]))
            .unzip();
        let slots = self
            .add_rows(batch, keys, &rows, &panes, outcome, calls)
            .await?;
        if self.per_batch {
            touched.extend(slots);
        }
        self.correct(
            batch,
            keys,
            &segment.rows,
            &segment.panes,
            &segment.behind,
            outcome,
            calls,
            out,
        )
        .await?;
        outcome.partly_late += self.partly_late(&segment.rows, &segment.behind, outcome);
        Ok(())
    }

    /// How many of the rows that were too late for some windows were applied to others.
    fn partly_late(&self, rows: &[u32], behind: &[Behind], outcome: &Outcome) -> u64 {
        let partly = behind.iter().filter(|row| row.partly_late);
        let rows = partly.map(|row| rows[row.at]);
        if outcome.rejects.is_empty() {
            return rows.count() as u64;
        }
        let rejected: std::collections::HashSet<u32> =
            outcome.rejects.iter().map(|reject| reject.row).collect();
        rows.filter(|row| !rejected.contains(row)).count() as u64
    }

    /// Has the transform add rows to the states of their groups, which are made where there are
    /// none. Gives the rows' slots; those of new groups without an applied row are void.
    pub(super) async fn add_rows(
        &mut self,
        batch: &RowBatch,
        keys: &[u32],
        rows: &[u32],
        panes: &[i64],
        outcome: &mut Outcome,
        calls: &mut Calls,
    ) -> Result<Vec<u32>, WindowError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut made: Vec<Made> = Vec::new();
        let slots: Vec<u32> = rows
            .iter()
            .zip(panes)
            .map(|(row, pane)| self.slot(keys[*row as usize], *pane, &mut made))
            .collect();
        let (input, key_columns) = batch.columns(rows)?;
        let rejects = calls
            .accumulate(&mut self.states, &input, &key_columns, &slots)
            .await?;
        outcome.applied += (rows.len() - rejects.len()) as u64;
        outcome
            .rejects
            .extend(rejects.into_iter().map(|mut reject| {
                reject.row = rows[reject.row as usize];
                reject
            }));
        for (slot, key, pane) in made {
            if self.states.is_initial(slot) {
                if let Some(groups) = self.open.get_mut(&pane) {
                    groups.remove(key, slot);
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
        self.of_slot.set(slot, Group::default());
        self.states.release(slot);
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
        if watermark < self.next_instant {
            return Ok(0);
        }
        let upto = match self.panes.of(watermark) {
            Some(pane) => pane.number,
            None if watermark < 0 => return Ok(0),
            None => i64::MAX,
        };
        let mut windows = 0;
        while let Some(boundary) = self.next_boundary().filter(|next| *next <= upto) {
            windows += self.boundary(boundary, calls, out).await?;
            self.closed = boundary;
        }
        self.closed = upto;
        self.next_instant = match upto {
            i64::MAX => i64::MAX,
            upto => self.instant(upto + 1),
        };
        self.forget();
        Ok(windows)
    }

    /// The next boundary at which something is to be done.
    fn next_boundary(&self) -> Option<i64> {
        let mut open = self.open.range(self.closed..);
        let closing = open.next().map(|(pane, _)| pane + 1);
        let folds = self.folds.iter().filter(|fold| !fold.is_empty());
        folds
            .map(|fold| fold.length.next_emission(self.closed))
            .chain(closing)
            .min()
    }

    async fn boundary(
        &mut self,
        boundary: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let closing = self.open.get(&(boundary - 1));
        let closing: Vec<u32> = closing.map_or(Vec::new(), |groups| groups.slots.clone());
        let mut emitted = 0;
        for at in 0..self.folds.len() {
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
                match length.emitted_at(boundary) {
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
            let revision = self.revisions.at_close(end, length, key);
            finishing.push(
                key,
                slots,
                bounds,
                revision.map(|revision| (revision, moment)),
            );
        }
        self.emitter
            .finish(length, &finishing, &self.states, calls, out)
            .await
    }

    /// Emits the windows that a batch has touched, as they stand.
    async fn emit_running(
        &mut self,
        mut touched: Vec<u32>,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        touched.sort_unstable();
        touched.dedup();
        let moment = Moment {
            watermark: batch.watermark,
            sequence: batch.next_sequence,
        };
        let mut finishing = Finishing::default();
        for slot in touched {
            let (key, pane) = (self.states.key(slot), self.of_slot.get(slot).pane);
            let end = self.instant(pane + 1);
            // A void group has no pane; a window that closes is emitted when it does.
            if pane == i64::MIN || key == NONE || end <= batch.watermark {
                continue;
            }
            let revision = self.revisions.count(pane + 1, 0, key);
            let bounds = (self.instant(pane), end);
            finishing.push(key, (slot, NONE), bounds, Some((revision, moment)));
        }
        self.emitter
            .finish(0, &finishing, &self.states, calls, out)
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
        self.revisions.forget(|boundary| gone(end(boundary)));
    }
}
