//! Corrections of windows that were emitted: by rows that come late, within the allowed lateness.
//!
//! Every such row brings a new revision of each window that it is in. It is as if rows came one by
//! one: of one key the next late row is applied only when the windows that the last one corrected
//! were emitted. Rows of different keys go together, in rounds.
//!
//! A late row costs its share of three calls of the transform, a row of output for each window
//! that it corrects, and the merges that its pane has changed: those of its key's panes between it
//! and the ends of these windows. Neither other keys nor the rows that wait add to that.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::WindowError;
use super::aligned::{Aligned, Group, Segment};
use super::calls::Calls;
use super::chains::{Chain, End, Link, fold};
use super::emission::{Finishing, Moment};
use super::open::{OpenPanes, panes_of_key};
use super::skipped::emitted_at;
use super::state::RecordId;
use super::states::{BySlot, NONE, States};
use super::work::Work;

/// Corrected windows that are put together at once, at most; a single row may bring more.
const WINDOWS_AT_ONCE: usize = 1 << 14;
/// Folds that are kept from one round to the next, at most.
const KEPT_FOLDS: usize = 1 << 16;

/// A row whose pane had closed when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    /// Its place in its segment.
    pub(super) at: usize,
    /// Whether it is too late for some of its windows.
    pub(super) partly_late: bool,
    /// The watermark at it.
    pub(super) watermark: i64,
    /// The greatest boundary at which windows end that it is too late for.
    pub(super) gone: i64,
}

/// A late row.
#[derive(Debug, Clone, Copy)]
struct Correction {
    row: u32,
    key: u32,
    pane: i64,
    watermark: i64,
    /// It corrects windows that end after this boundary.
    gone: i64,
    /// The slot of its state, when it is applied.
    slot: u32,
}

/// Rows that wait for their turn: into a round goes the next row of each of some keys. Keys that have
/// begun go on, so that others begin when there is room for their folds.
struct Rounds {
    /// Of each row the next one of the same key; the number of rows if there is none.
    next: Vec<usize>,
    ready: VecDeque<usize>,
    /// How many keys there is room for.
    keys: usize,
}

impl Rounds {
    fn new(rows: &[Correction]) -> Self {
        let mut next = vec![rows.len(); rows.len()];
        let mut first_of_key = HashMap::new();
        for (at, row) in rows.iter().enumerate().rev() {
            if let Some(later) = first_of_key.insert(row.key, at) {
                next[at] = later;
            }
        }
        let mut is_first = vec![true; rows.len()];
        for later in next.iter().filter(|later| **later < rows.len()) {
            is_first[*later] = false;
        }
        let ready = (0..rows.len()).filter(|at| is_first[*at]).collect();
        Self {
            next,
            ready,
            keys: usize::MAX,
        }
    }

    /// The rows of the next round, by rising number; none if that was all.
    fn round(&mut self, windows: impl Fn(usize) -> usize) -> Vec<usize> {
        let (mut round, mut taken) = (Vec::new(), 0);
        while taken < WINDOWS_AT_ONCE
            && round.len() < self.keys
            && let Some(row) = self.ready.pop_front()
        {
            taken += windows(row);
            round.push(row);
        }
        for row in round.iter().rev() {
            let next = self.next[*row];
            if next < self.next.len() {
                self.ready.push_front(next);
            }
        }
        round.sort_unstable();
        round
    }

    /// Notes how many folds a round of so many keys took that began with none.
    fn took(&mut self, keys: usize, folds: usize) {
        self.keys = (KEPT_FOLDS * keys / folds.max(1)).max(1);
    }
}

impl Aligned {
    /// Applies the rows of a segment that are behind the watermark, and emits the windows that
    /// they correct.
    pub(super) async fn correct(
        &mut self,
        segment: &Segment,
        work: &mut Work<'_>,
    ) -> Result<(), WindowError> {
        let correction = |behind: &Behind| Correction {
            row: segment.rows[behind.at],
            key: work.keys[segment.rows[behind.at] as usize],
            pane: segment.panes[behind.at],
            watermark: behind.watermark,
            gone: behind.gone,
            slot: NONE,
        };
        let rows: Vec<Correction> = segment.behind.iter().map(correction).collect();
        let mut rounds = Rounds::new(&rows);
        let mut stretches: Vec<Stretches> = Vec::new();
        stretches.resize_with(self.folds.len(), Stretches::default);
        let mut applied = Vec::new();
        let mut kept = 0;
        loop {
            let round = rounds.round(|at| self.windows_of(&rows[at]));
            if round.is_empty() {
                break;
            }
            let (keys, began_with) = (round.len(), kept);
            let round: Vec<Correction> = round.into_iter().map(|at| rows[at]).collect();
            let round = self.correct_round(round, &mut stretches, work).await?;
            applied.extend(round.iter().map(|row| (row.key, row.pane)));
            kept = stretches.iter().map(Stretches::kept).sum();
            if began_with == 0 {
                rounds.took(keys, kept);
            }
            if kept > KEPT_FOLDS {
                stretches
                    .iter_mut()
                    .for_each(|all| all.release(&mut self.states));
                kept = 0;
            }
        }
        stretches
            .iter_mut()
            .for_each(|all| all.release(&mut self.states));
        self.refold(&applied, work.calls).await
    }

    /// How many windows a late row corrects.
    fn windows_of(&self, row: &Correction) -> usize {
        let lengths = self.folds.iter().map(|fold| fold.length);
        lengths
            .map(|length| length.emissions(row.pane, row.gone, self.closed).count())
            .sum()
    }

    /// Applies one late row of each of some keys, and gives those that were not refused.
    async fn correct_round(
        &mut self,
        mut round: Vec<Correction>,
        stretches: &mut [Stretches],
        work: &mut Work<'_>,
    ) -> Result<Vec<Correction>, WindowError> {
        let rows: Vec<u32> = round.iter().map(|correction| correction.row).collect();
        let panes: Vec<i64> = round.iter().map(|correction| correction.pane).collect();
        let before = work.outcome.rejects.len();
        let slots = self.add_rows(&rows, &panes, work).await?;
        for (correction, slot) in round.iter_mut().zip(slots) {
            correction.slot = slot;
        }
        // Rows rise in a round, and so do its rejects.
        let rejects = &work.outcome.rejects[before..];
        round.retain(|correction| {
            let of_row = rejects.binary_search_by_key(&correction.row, |reject| reject.row);
            of_row.is_err()
        });
        for (length, stretches) in stretches.iter_mut().enumerate() {
            work.outcome.closed += self.emit_corrected(length, &round, stretches, work).await?;
        }
        Ok(round)
    }

    /// Emits the windows of one length that rows correct. Says how many begin with these rows, and
    /// so are closed from the first.
    async fn emit_corrected(
        &mut self,
        length: usize,
        rows: &[Correction],
        stretches: &mut Stretches,
        work: &mut Work<'_>,
    ) -> Result<u64, WindowError> {
        let pieces = self.pieces(length, rows, stretches);
        stretches.fold(&mut self.states, work.calls).await?;
        let mut finishing = Finishing::default();
        let mut ends = Vec::with_capacity(pieces.len());
        let mut begun = 0;
        for piece in &pieces {
            let row = &rows[piece.row];
            let (slots, born) = stretches.window(piece);
            let moment = Moment {
                watermark: row.watermark,
                sequence: work.batch.sequences.of(row.row as usize),
            };
            let of_window = (length, row.key);
            let at_close = born < piece.end;
            let revision = self.revisions.count(piece.end, of_window, at_close, moment);
            begun += u64::from(revision.number == 0);
            let bounds = (self.instant(piece.start), self.instant(piece.end));
            finishing.push(row.key, slots, bounds, Some(revision));
            let id = RecordId::Revision(piece.end, length as u32);
            finishing.ids.push(id);
            ends.push(piece.end);
        }
        self.finish(length, &finishing, |at| ends[at], work.calls, work.out)
            .await?;
        Ok(begun)
    }

    /// The windows of one length that rows correct, and what they are put together from.
    fn pieces(&self, length: usize, rows: &[Correction], stretches: &mut Stretches) -> Vec<Piece> {
        let length = self.folds[length].length;
        let panes = length.panes;
        let kept = (&self.open, &self.of_slot);
        let mut pieces = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            stretches.change(row, row.pane.div_euclid(panes));
            for end in length.emissions(row.pane, row.gone, self.closed) {
                let Some(start) = emitted_at(&self.panes, length, end) else {
                    continue;
                };
                let chunk = (end - 1).div_euclid(panes);
                let first = chunk * panes;
                let later = stretches.part(row.key, chunk, End::Left, first..end, kept);
                let earlier = (start < first)
                    .then(|| stretches.part(row.key, chunk - 1, End::Right, start..first, kept));
                pieces.push(Piece {
                    row: at,
                    start,
                    end,
                    earlier,
                    later,
                });
            }
        }
        pieces
    }
}

/// A window that a row corrects, and the parts that it is put together from.
struct Piece {
    row: usize,
    start: i64,
    end: i64,
    /// In the chunk before.
    earlier: Option<Part>,
    later: Part,
}

/// So many of the first panes of a stretch.
#[derive(Clone, Copy)]
struct Part {
    stretch: usize,
    panes: usize,
}

/// A key's panes in one chunk, folded from the chunk's start or from its end, as far as windows
/// needed them.
struct Stretch {
    chain: Chain,
    from: End,
    /// Up to where its panes are listed: the first after them, or the first of them.
    listed: i64,
    /// Of each link the least `born` of the groups up to there, as far as that is known.
    born: Vec<i64>,
}

impl Stretch {
    fn new(chunk: Range<i64>, from: End) -> Self {
        Self {
            chain: Chain::default(),
            from,
            listed: match from {
                End::Left => chunk.start,
                End::Right => chunk.end,
            },
            born: Vec::new(),
        }
    }

    /// How many links come before a pane, and whether the next one is it.
    fn find(&self, pane: i64) -> (usize, bool) {
        let links = &self.chain.links;
        let at = links.partition_point(|link| match self.from {
            End::Left => link.pane < pane,
            End::Right => link.pane > pane,
        });
        (at, links.get(at).is_some_and(|link| link.pane == pane))
    }

    /// A pane has changed, or has come to be: it is to be folded anew from there on.
    fn change(&mut self, pane: i64, slot: u32) {
        let is_listed = match self.from {
            End::Left => pane < self.listed,
            End::Right => pane >= self.listed,
        };
        if !is_listed {
            return;
        }
        let (at, found) = self.find(pane);
        if !found {
            self.chain.links.insert(at, link(pane, slot));
        }
        self.chain.folded = self.chain.folded.min(at);
        self.born.truncate(at);
    }

    /// Lists the key's panes up to the far end of `panes`, says how many are in it, and that their
    /// fold is wanted.
    fn reach(
        &mut self,
        key: u32,
        panes: Range<i64>,
        (open, of_slot): (&OpenPanes, &BySlot<Group>),
    ) -> usize {
        let links = &mut self.chain.links;
        match self.from {
            End::Left if panes.end > self.listed => {
                let (_, more) = panes_of_key(open, self.listed..panes.end, key);
                links.extend(more.into_iter().map(|(pane, slot)| link(pane, slot)));
                self.listed = panes.end;
            }
            End::Right if panes.start < self.listed => {
                let (_, more) = panes_of_key(open, panes.start..self.listed, key);
                links.extend(more.into_iter().rev().map(|(pane, slot)| link(pane, slot)));
                self.listed = panes.start;
            }
            _ => {}
        }
        for link in &self.chain.links[self.born.len()..] {
            let before = self.born.last().copied().unwrap_or(i64::MAX);
            self.born.push(before.min(of_slot.get(link.slot).born));
        }
        let count = match self.from {
            End::Left => self.find(panes.end).0,
            // One after another is wanted that begins at its pane.
            End::Right => self.find(panes.start - 1).0,
        };
        if self.chain.folded < count {
            self.chain.wanted = self.chain.wanted.max(count);
        }
        count
    }
}

fn link(pane: i64, slot: u32) -> Link {
    let fold = NONE;
    Link { pane, slot, fold }
}

/// What is folded of single keys to put corrected windows together, kept from one row of a key to
/// the next: a late row changes the folds beyond its pane, and those before it stay.
#[derive(Default)]
struct Stretches {
    /// By key and chunk: where the one from the left is, and the one from the right.
    at: HashMap<(u32, i64), [Option<usize>; 2]>,
    all: Vec<Stretch>,
    /// Those of which folds are wanted.
    wanted: Vec<usize>,
    /// How many slots the folds have.
    folds: usize,
}

impl Stretches {
    /// A late row has changed a pane, which is in `chunk`.
    fn change(&mut self, row: &Correction, chunk: i64) {
        let stretches = self.at.get(&(row.key, chunk)).into_iter().flatten();
        for at in stretches.flatten() {
            self.all[*at].change(row.pane, row.slot);
        }
    }

    /// The part of a key's panes that are in `panes`, which begins or ends where its chunk does.
    fn part(
        &mut self,
        key: u32,
        chunk: i64,
        from: End,
        panes: Range<i64>,
        kept: (&OpenPanes, &BySlot<Group>),
    ) -> Part {
        let at = self.at.entry((key, chunk)).or_default();
        let all = &mut self.all;
        let stretch = *at[from as usize].get_or_insert_with(|| {
            all.push(Stretch::new(panes.clone(), from));
            all.len() - 1
        });
        let of_key = &mut all[stretch];
        let panes = of_key.reach(key, panes, kept);
        if of_key.chain.folded < panes && self.wanted.last() != Some(&stretch) {
            self.wanted.push(stretch);
        }
        Part { stretch, panes }
    }

    /// Folds what is wanted.
    async fn fold(&mut self, states: &mut States, calls: &mut Calls) -> Result<(), WindowError> {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.sort_unstable();
        wanted.dedup();
        for from in [End::Left, End::Right] {
            let these = wanted.iter().copied();
            let these = these.filter(|at| self.all[*at].from == from);
            let these: Vec<usize> = these.collect();
            let mut chains = Vec::with_capacity(these.len());
            for at in &these {
                let mut chain = std::mem::take(&mut self.all[*at].chain);
                self.folds += with_slots(&mut chain, states);
                chains.push(chain);
            }
            fold(&mut chains, from, states, calls).await?;
            for (at, mut chain) in these.into_iter().zip(chains) {
                chain.wanted = 0;
                self.all[at].chain = chain;
            }
        }
        Ok(())
    }

    /// The slots of a window's earlier and its later part, and the least `born` of its groups.
    fn window(&self, piece: &Piece) -> ((u32, u32), i64) {
        let part = |part: Part| {
            let last = part.panes.checked_sub(1)?;
            let stretch = &self.all[part.stretch];
            Some((stretch.chain.links[last].fold, stretch.born[last]))
        };
        match (piece.earlier.and_then(part), part(piece.later)) {
            (Some(earlier), Some(later)) => ((earlier.0, later.0), earlier.1.min(later.1)),
            (Some((slot, born)), None) | (None, Some((slot, born))) => ((slot, NONE), born),
            (None, None) => unreachable!("the late row itself is in the window"),
        }
    }

    /// How much is kept: the folds, or the stretches if most have none of their own.
    fn kept(&self) -> usize {
        self.folds.max(self.all.len())
    }

    /// Gives the slots of all folds back.
    fn release(&mut self, states: &mut States) {
        for stretch in std::mem::take(self).all {
            let links = stretch.chain.links.iter();
            let folds = links.filter(|link| link.fold != NONE && link.fold != link.slot);
            folds.for_each(|link| states.release(link.fold));
        }
    }
}

/// Gives slots to the folds that a chain wants; the fold of its first pane is that pane's own
/// state. Says how many slots that took.
fn with_slots(chain: &mut Chain, states: &mut States) -> usize {
    let mut taken = 0;
    for at in chain.folded..chain.wanted {
        let link = &mut chain.links[at];
        if at == 0 && link.fold == NONE {
            link.fold = link.slot;
        } else if at > 0 && (link.fold == NONE || link.fold == link.slot) {
            link.fold = states.add(states.key(link.slot));
            taken += 1;
        }
    }
    taken
}
