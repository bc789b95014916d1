//! Partial states: what rows of a key in a pane come to, begun from the initial state, to be merged
//! into the windows of somebody else.
//!
//! Rows are judged as windows judge them, by the same panes and the same lateness, and nothing is
//! ever closed or emitted: whoever has these takes all of them every so often, and then there are
//! none. What comes of a group's rows in several takes is several partial states.

use std::collections::{BTreeMap, HashSet};

use arrow::array::ArrayRef;

use super::WindowError;
use super::calls::Calls;
use super::lateness::{Judge, instant};
use super::open::{OpenPanes, PaneGroups};
use super::panes::{Pane, Panes};
use super::rows::{Late, Outcome, Partials, RowBatch};
use super::states::{BySlot, NONE, States};
use super::windows::{Kind, Length, Shape};
use crate::transform::{Reject, WindowedSpec};

/// What is known of a group beside its state.
#[derive(Debug, Clone, Copy)]
struct Part {
    rows: u64,
    least: i64,
    greatest: i64,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            rows: 0,
            least: i64::MAX,
            greatest: i64::MIN,
        }
    }
}

/// The partial states of a lane.
pub struct PartialStates {
    panes: Panes,
    lengths: Vec<Length>,
    judge: Judge,
    states: States,
    open: OpenPanes,
    of_slot: BySlot<Part>,
    /// The pane that each key's latest row was in, and the slot there, by the key's number.
    latest: Vec<(i64, u32)>,
}

/// The latest row of a key that had none.
const NOWHERE: (i64, u32) = (i64::MIN, NONE);

/// All partial states of a lane, a row each: by rising pane, and of one pane in no order.
#[derive(Debug, Clone)]
pub struct TakenPartials {
    /// The key's columns.
    pub keys: Vec<ArrayRef>,
    /// The number of each one's pane.
    pub panes: Vec<i64>,
    /// The states, and how many rows are in each.
    pub partials: Partials,
    /// The least event time of those rows.
    pub least: Vec<i64>,
    /// The greatest.
    pub greatest: Vec<i64>,
}

impl PartialStates {
    /// None yet. Nothing if windows of this shape cannot be made of partial states: see
    /// [`Shape::takes_partials`].
    ///
    /// # Errors
    ///
    /// A key column has a type that cannot be compared.
    pub fn new(
        shape: &Shape,
        key: &arrow::datatypes::Schema,
        spec: &WindowedSpec,
    ) -> Result<Option<Self>, WindowError> {
        let (Kind::Aligned { panes, lengths }, true) = (&shape.kind, shape.takes_partials()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            judge: Judge::new(panes, shape.lateness),
            panes: panes.clone(),
            lengths: lengths.clone(),
            states: States::new(key, &spec.initial)?,
            open: BTreeMap::new(),
            of_slot: BySlot::new(),
            latest: Vec::new(),
        }))
    }

    /// Has the transform add a batch of rows, each by its own watermark. Nothing closes.
    ///
    /// # Errors
    ///
    /// See [`WindowError`]; these are not to be used after that.
    pub async fn batch(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
    ) -> Result<Outcome, WindowError> {
        let keys = self.states.keys.assign(&batch.keys)?;
        self.latest.resize(self.states.keys.bound(), NOWHERE);
        let mut outcome = Outcome::default();
        let (mut rows, mut slots, mut made) = (Vec::new(), Vec::new(), Vec::new());
        let mut pane = Pane::NONE;
        for (row, time) in batch.event_times.iter().enumerate() {
            if !pane.contains(*time) {
                pane = (self.panes.of(*time)).expect("sources refuse times without a pane");
            }
            let watermark = batch.watermark_at(row);
            if pane.end <= watermark
                && let Err(last) =
                    self.judge
                        .judge(self.lengths.iter().copied(), pane.number, watermark)
            {
                outcome.late.push(Late {
                    row: row as u32,
                    window_end: instant(&self.panes, last),
                    watermark,
                });
                continue;
            }
            rows.push(row as u32);
            slots.push(self.slot(keys[row], pane.number, &mut made));
        }
        if !rows.is_empty() {
            let (input, key_columns) = batch.columns(&rows)?;
            let states = &mut self.states;
            let rejects = calls.accumulate(states, &input, &key_columns, &slots);
            let rejects = rejects.await?;
            self.note(batch, &rows, &slots, &rejects);
            outcome.took(&rows, rejects);
            self.drop_void(made);
        }
        self.states.keys.sweep();
        Ok(outcome)
    }

    /// Takes all of them; nothing if there are none.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn take(&mut self) -> Result<Option<TakenPartials>, WindowError> {
        let open = std::mem::take(&mut self.open);
        let mut slots = Vec::with_capacity(self.states.len());
        let mut panes = Vec::with_capacity(self.states.len());
        for (pane, groups) in open {
            panes.resize(panes.len() + groups.slots.len(), pane);
            slots.extend(groups.slots);
        }
        if slots.is_empty() {
            return Ok(None);
        }
        let keys: Vec<u32> = slots.iter().map(|slot| self.states.key(*slot)).collect();
        let part = |slot: &u32| *self.of_slot.get(*slot);
        let parts: Vec<Part> = slots.iter().map(part).collect();
        let taken = TakenPartials {
            keys: self.states.keys.gather(&keys)?,
            panes,
            partials: Partials {
                states: self.states.gather(&slots)?,
                rows: parts.iter().map(|part| part.rows).collect(),
            },
            least: parts.iter().map(|part| part.least).collect(),
            greatest: parts.iter().map(|part| part.greatest).collect(),
        };
        slots.into_iter().for_each(|slot| self.release(slot));
        self.latest.clear();
        self.states.keys.sweep();
        Ok(Some(taken))
    }

    /// About what they take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let groups: usize = self.open.values().map(PaneGroups::bytes).sum();
        let known = self.states.len() * size_of::<Part>();
        self.states.bytes() + groups + known + self.latest.len() * size_of::<(i64, u32)>()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.states.len() == 0
    }

    fn slot(&mut self, key: u32, pane: i64, made: &mut Vec<(u32, u32, i64)>) -> u32 {
        let latest = self.latest[key as usize];
        if latest.0 == pane {
            return latest.1;
        }
        let groups = self.open.entry(pane).or_default();
        let slot = groups.get(key).unwrap_or_else(|| {
            let slot = self.states.add(key);
            groups.insert(key, slot);
            self.of_slot.set(slot, Part::default());
            made.push((slot, key, pane));
            slot
        });
        self.latest[key as usize] = (pane, slot);
        slot
    }

    /// Counts the rows that were applied.
    fn note(&mut self, batch: &RowBatch, rows: &[u32], slots: &[u32], rejects: &[Reject]) {
        let refused: HashSet<u32> = rejects.iter().map(|reject| reject.row).collect();
        for (at, (row, slot)) in (0_u32..).zip(rows.iter().zip(slots)) {
            if refused.is_empty() || !refused.contains(&at) {
                let time = batch.event_times[*row as usize];
                let part = self.of_slot.get_mut(*slot);
                part.rows += 1;
                part.least = part.least.min(time);
                part.greatest = part.greatest.max(time);
            }
        }
    }

    /// A group begins with its first applied row: one that has none leaves nothing behind.
    fn drop_void(&mut self, made: Vec<(u32, u32, i64)>) {
        for (slot, key, pane) in made {
            if !self.states.is_initial(slot) {
                continue;
            }
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

    fn release(&mut self, slot: u32) {
        self.of_slot.set(slot, Part::default());
        self.states.release(slot);
    }
}
