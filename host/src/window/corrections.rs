//! Corrections of windows that were emitted: by rows that come late, within the allowed lateness.
//!
//! Every such row brings a new revision of each window that it is in. It is as if rows came one by
//! one: of one key the next late row is applied only when the windows that the last one corrected
//! were emitted. Rows of different keys go together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::WindowError;
use super::aligned::Aligned;
use super::calls::Calls;
use super::emission::{Emit, Finishing, Moment};
use super::fold::{KeyPanes, OpenPanes, panes_of_key, prefixes, suffixes};
use super::rows::{Outcome, RowBatch};
use super::states::NONE;
use super::windows::Length;

/// Corrected windows that are put together at once, at most; a single row may bring more.
const WINDOWS_AT_ONCE: usize = 1 << 14;

/// A row whose pane had closed when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    /// Its place in its segment.
    pub(super) at: usize,
    /// Whether it is too late for some of its windows.
    pub(super) partly_late: bool,
    /// The watermark at it.
    pub(super) watermark: i64,
}

/// How often windows were emitted, beside once when they closed: by end, length and key.
pub(super) struct Revisions {
    counts: BTreeMap<i64, HashMap<(usize, u32), u32>>,
    wanted: bool,
}

impl Revisions {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            counts: BTreeMap::new(),
            wanted,
        }
    }

    /// The revision of a window that closes, if revisions are wanted.
    pub(super) fn at_close(&self, end: i64, length: usize, key: u32) -> Option<u32> {
        let counted = || {
            let counts = self.counts.get(&end)?;
            counts.get(&(length, key)).copied()
        };
        self.wanted.then(|| counted().unwrap_or(0))
    }

    /// Counts an emission, and gives how many were counted before.
    pub(super) fn count(&mut self, end: i64, length: usize, key: u32) -> u32 {
        let counts = self.counts.entry(end).or_default();
        let count = counts.entry((length, key)).or_default();
        *count += 1;
        *count - 1
    }

    /// Forgets the windows with such ends, of which the least come first.
    pub(super) fn forget(&mut self, gone: impl Fn(i64) -> bool) {
        while let Some(entry) = self.counts.first_entry()
            && gone(*entry.key())
        {
            entry.remove();
        }
    }
}

/// A window that a late row corrects.
struct Corrected {
    length: usize,
    start: i64,
    end: i64,
}

/// A late row, and the windows that it corrects.
struct Correction {
    row: u32,
    key: u32,
    pane: i64,
    watermark: i64,
    windows: Vec<Corrected>,
}

impl Aligned {
    /// Applies rows behind the watermark, and emits the windows that they correct.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of it belongs to the segment at hand"
    )]
    pub(super) async fn correct(
        &mut self,
        batch: &RowBatch,
        keys: &[u32],
        rows: &[u32],
        panes: &[i64],
        behind: &[Behind],
        outcome: &mut Outcome,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let mut waiting: Vec<Correction> = Vec::new();
        let (mut round, mut windows) = (Vec::new(), 0);
        let mut in_round = HashSet::new();
        let corrections = behind.iter().map(|behind| Correction {
            row: rows[behind.at],
            key: keys[rows[behind.at] as usize],
            pane: panes[behind.at],
            watermark: behind.watermark,
            windows: self.corrected(panes[behind.at], behind.watermark),
        });
        // Rows go into rounds: into each the next row of every key.
        let mut all: Vec<Correction> = corrections.collect();
        while !all.is_empty() {
            for correction in all.drain(..) {
                let fits = round.is_empty() || windows < WINDOWS_AT_ONCE;
                // Once a row of a key waits, those after it must, too.
                if !in_round.insert(correction.key) || !fits {
                    waiting.push(correction);
                    continue;
                }
                windows += correction.windows.len();
                round.push(correction);
            }
            self.correct_round(batch, keys, &round, outcome, calls, out)
                .await?;
            (round, windows) = (Vec::new(), 0);
            in_round.clear();
            std::mem::swap(&mut all, &mut waiting);
        }
        Ok(())
    }

    /// The windows with a pane in them that were emitted up to a watermark and may be corrected.
    fn corrected(&self, pane: i64, watermark: i64) -> Vec<Corrected> {
        let mut windows = Vec::new();
        for (at, fold) in self.folds.iter().enumerate() {
            let length: Length = fold.length;
            let mut end = length.next_emission(pane);
            while end <= length.last_end(pane) && self.instant(end) <= watermark {
                if self.instant(end).saturating_add(self.lateness) > watermark {
                    windows.push(Corrected {
                        length: at,
                        start: length.emitted_at(end).expect("one is emitted there"),
                        end,
                    });
                }
                end = length.next_emission(end);
            }
        }
        windows
    }

    /// Applies one late row of each of some keys.
    async fn correct_round(
        &mut self,
        batch: &RowBatch,
        keys: &[u32],
        round: &[Correction],
        outcome: &mut Outcome,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let rows: Vec<u32> = round.iter().map(|correction| correction.row).collect();
        let panes: Vec<i64> = round.iter().map(|correction| correction.pane).collect();
        let rejected_before = outcome.rejects.len();
        self.add_rows(batch, keys, &rows, &panes, outcome, calls)
            .await?;
        let rejects = &outcome.rejects[rejected_before..];
        let rejected: Vec<u32> = rejects.iter().map(|reject| reject.row).collect();
        let applied = round
            .iter()
            .filter(|correction| !rejected.contains(&correction.row));
        let applied: Vec<&Correction> = applied.collect();
        let late: Vec<(u32, i64)> = applied.iter().map(|row| (row.key, row.pane)).collect();
        self.refold(&late, calls).await?;
        for length in 0..self.folds.len() {
            self.emit_corrected(length, batch, &applied, calls, out)
                .await?;
        }
        Ok(())
    }

    async fn emit_corrected(
        &mut self,
        length: usize,
        batch: &RowBatch,
        corrections: &[&Correction],
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let panes = self.folds[length].length.panes;
        // What is folded from the left: up to each end, from its chunk's start. And from the
        // right: from each start to its chunk's end. The windows of a key share both.
        let (mut left, mut right) = (Chains::default(), Chains::default());
        let mut pieces = Vec::new();
        for correction in corrections {
            let of_length = correction.windows.iter();
            for window in of_length.filter(|window| window.length == length) {
                let chunk = (window.end - 1).div_euclid(panes);
                let later = left.piece(correction.key, chunk, chunk * panes..window.end);
                let range = window.start..chunk * panes;
                let earlier =
                    (!range.is_empty()).then(|| right.piece(correction.key, chunk - 1, range));
                pieces.push((correction, window, earlier, later));
            }
        }
        let (left, right) = (left.panes(&self.open), right.panes(&self.open));
        let left_slots = prefixes(&left, &mut self.states, calls).await?;
        let right_slots = suffixes(&right, &mut self.states, calls).await?;
        let mut finishing = Finishing::default();
        for (correction, window, earlier, later) in pieces {
            let upto = left[later]
                .1
                .partition_point(|(pane, _)| *pane < window.end);
            let later = upto.checked_sub(1).map(|at| left_slots[later][at]);
            let earlier = earlier.and_then(|chain| {
                let from = right[chain]
                    .1
                    .partition_point(|(pane, _)| *pane < window.start);
                right_slots[chain].get(from).copied()
            });
            let slots = match (earlier, later) {
                (Some(earlier), later) => (earlier, later.unwrap_or(NONE)),
                (None, Some(later)) => (later, NONE),
                (None, None) => unreachable!("the late row itself is in the window"),
            };
            let range = window.start..window.end;
            let (_, panes) = panes_of_key(&self.open, range, correction.key);
            let born = panes.iter().map(|(_, slot)| self.of_slot.get(*slot).born);
            let at_close = born.min().is_some_and(|born| born < window.end);
            let revision = self.revisions.count(window.end, length, correction.key);
            let moment = Moment {
                watermark: correction.watermark,
                sequence: batch.sequences.of(correction.row as usize),
            };
            let bounds = (self.instant(window.start), self.instant(window.end));
            let revision = (revision + u32::from(at_close), moment);
            finishing.push(correction.key, slots, bounds, Some(revision));
        }
        self.emitter
            .finish(length, &finishing, &self.states, calls, out)
            .await?;
        for slot in left_slots.into_iter().chain(right_slots).flatten() {
            self.states.release(slot);
        }
        Ok(())
    }
}

/// Stretches of panes of single keys that are to be folded, one at most for each key and chunk.
#[derive(Default)]
struct Chains {
    at: HashMap<(u32, i64), usize>,
    ranges: Vec<(u32, Range<i64>)>,
}

impl Chains {
    /// The stretch of a key in a chunk, which is to have `range` in it.
    fn piece(&mut self, key: u32, chunk: i64, range: Range<i64>) -> usize {
        let next = self.ranges.len();
        let at = *self.at.entry((key, chunk)).or_insert(next);
        match self.ranges.get_mut(at) {
            None => self.ranges.push((key, range)),
            Some((_, all)) => {
                *all = all.start.min(range.start)..all.end.max(range.end);
            }
        }
        at
    }

    fn panes(&self, open: &OpenPanes) -> Vec<KeyPanes> {
        let ranges = self.ranges.iter();
        ranges
            .map(|(key, range)| panes_of_key(open, range.clone(), *key))
            .collect()
    }
}
