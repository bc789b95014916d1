//! The splits that feed the same lanes: where each goes on, and how far all of them have come together.
//!
//! Rows are counted by one sequence over all splits. Each split has a watermark of its own; what lanes
//! hear at each row is the least of those of all splits that may still give something, and it never
//! falls. A split that is finished no longer counts once its successors are known, which begin with what
//! it had reached; one that is idle does not count until it gives something again.
//!
//! Lanes commit by themselves, so after a crash one may be further than another in some splits and not
//! in others. A split is read again from the least of their cursors, cut where any of them had
//! committed; each lane leaves out what it had judged.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::working::Appeared;
use crate::pipeline::commit::SplitCursors;
use crate::source::kinesis::ShardCursor;
use crate::source::live::{
    Bounds, LiveBatch, LiveError, LiveSpec, LiveSplit, Placed, Position, SplitCursor,
};
use crate::source::messages::Messages;

/// The splits of a unit.
pub(super) struct Splits {
    spec: Arc<LiveSpec>,
    /// What each lane had committed when it was opened.
    kept: Vec<SplitCursors>,
    /// By their numbers in this run.
    all: BTreeMap<u32, Split>,
    /// Of the next row.
    sequence: u64,
    /// What all of them have reached.
    watermark: i64,
}

struct Split {
    name: Arc<str>,
    live: LiveSplit,
    /// Where lanes had committed, as far as that was not read again yet.
    cuts: Vec<Position>,
    parents: Vec<u32>,
    has_children: bool,
    stage: Stage,
    knows: Knows,
    is_idle: bool,
    has_caught_up: bool,
    /// When the last message came, by the clock, or the split appeared.
    heard: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Reading,
    Finished,
}

/// How many lanes know where the split begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    None,
    Some,
    All,
}

impl Splits {
    /// Of lanes that had committed this. Rows are counted from `sequence` on at least.
    pub(super) fn new(spec: &Arc<LiveSpec>, kept: Vec<SplitCursors>, sequence: u64) -> Self {
        Self {
            spec: Arc::clone(spec),
            kept,
            all: BTreeMap::new(),
            sequence,
            watermark: i64::MIN,
        }
    }

    /// Adds a split, and gives where it is to be read from; none if nobody has read of it. If nothing was
    /// read, it stands at `unread`.
    pub(super) fn appear(
        &mut self,
        appeared: &Appeared,
        unread: Position,
        now: Duration,
    ) -> Result<Option<Position>, LiveError> {
        let kept = self.kept.iter().map(|lane| lane.get(&appeared.name));
        let kept: Vec<Option<&SplitCursor>> = kept.collect();
        let mut known = kept.iter().flatten().peekable();
        let knows = match (known.peek(), kept.contains(&None)) {
            (None, _) => Knows::None,
            (Some(_), true) => Knows::Some,
            (Some(_), false) => Knows::All,
        };
        let cuts = known.clone().map(|cursor| cursor.position.clone());
        let cuts = cuts.collect();
        // A lane without a cursor begins where reading had begun, as far as anybody can say that.
        let began = known.find_map(|cursor| cursor.began.clone());
        let cursors = kept.iter().map(|cursor| match cursor {
            Some(cursor) => Some((*cursor).clone()),
            None => began.clone().map(SplitCursor::beginning),
        });
        let cursors = cursors.collect::<Option<Vec<_>>>().unwrap_or_default();
        let least = cursors
            .into_iter()
            .min_by(|one, other| one.position.cmp(&other.position));
        let start = least.as_ref().map(|cursor| cursor.position.clone());
        let cursor = least.unwrap_or_else(|| SplitCursor::start(unread));
        self.sequence = self.sequence.max(cursor.sequence);
        for parent in &appeared.parents {
            if let Some(parent) = self.all.get_mut(parent) {
                parent.has_children = true;
            }
        }
        let split = Split {
            live: LiveSplit::new(&self.spec, cursor)?.named(&appeared.name),
            name: Arc::clone(&appeared.name),
            cuts,
            parents: appeared.parents.clone(),
            has_children: false,
            stage: Stage::Waiting,
            knows,
            is_idle: false,
            has_caught_up: false,
            heard: now,
        };
        self.all.insert(appeared.number, split);
        Ok(start)
    }

    /// The names of splits that lanes have cursors of, and that have not appeared.
    pub(super) fn gone(&self) -> Vec<Arc<str>> {
        let is_there = |name: &Arc<str>| self.all.values().any(|split| split.name == *name);
        let kept = self.kept.iter().flat_map(SplitCursors::keys);
        let mut gone: Vec<Arc<str>> = kept.filter(|name| !is_there(name)).cloned().collect();
        gone.sort_unstable();
        gone.dedup();
        gone
    }

    /// Notes that a split is read, from there on if it is known. Gives the cursor that lanes are to
    /// hear of, if any of them has none.
    pub(super) fn started(&mut self, number: u32, from: Option<Position>) -> Option<SplitCursor> {
        let inherited = self.inherited(number);
        let split = self.of(number);
        split.stage = Stage::Reading;
        let knows = std::mem::replace(&mut split.knows, Knows::All);
        let mut cursor = split.live.cursor().clone();
        let is_known = match (knows, from) {
            (Knows::None, Some(from)) => {
                cursor = SplitCursor::beginning(from);
                true
            }
            (Knows::None, None) => false,
            _ => true,
        };
        if let Some((greatest, floor)) = inherited
            && (cursor.greatest, cursor.floor) == (i64::MIN, i64::MIN)
        {
            (cursor.greatest, cursor.floor) = (greatest, floor);
        }
        split.live.go_to(cursor.clone());
        self.refresh();
        (knows != Knows::All && is_known).then_some(cursor)
    }

    /// What the parents of a split had reached, which it goes on from.
    fn inherited(&self, number: u32) -> Option<(i64, i64)> {
        let parents = self.all[&number].parents.iter();
        let cursors = parents.filter_map(|parent| Some(self.all.get(parent)?.live.cursor()));
        cursors
            .map(|cursor| (cursor.greatest, cursor.floor))
            .reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)))
    }

    /// Notes that nothing more will come of a split, and gives its last cursor.
    pub(super) fn finished(&mut self, number: u32) -> SplitCursor {
        let split = self.of(number);
        split.stage = Stage::Finished;
        split.live.skip_to(Position::Shard(ShardCursor::Finished));
        let cursor = split.live.cursor().clone();
        self.refresh();
        cursor
    }

    /// Notes that a split was read to its end, and that it has no messages before `next`; gives its cursor
    /// if that is news.
    pub(super) fn ended(&mut self, number: u32, next: Option<Position>) -> Option<SplitCursor> {
        self.of(number).has_caught_up = true;
        self.skip_to(number, next?)
    }

    /// Notes that a split has no messages before `next`; gives its cursor if that is news.
    pub(super) fn skip_to(&mut self, number: u32, next: Position) -> Option<SplitCursor> {
        let split = self.of(number);
        if next <= split.live.cursor().position {
            return None;
        }
        split.live.skip_to(next);
        Some(split.live.cursor().clone())
    }

    /// Notes that a split's history has ended: see [`LiveSplit::end_history`].
    pub(super) fn end_history(&mut self, number: u32, event_time: i64) {
        self.of(number).live.end_history(event_time);
    }

    /// Notes that something came of a split.
    pub(super) fn hear(&mut self, number: u32, now: Duration) {
        let split = self.of(number);
        (split.is_idle, split.heard) = (false, now);
    }

    /// Where lanes had committed in a split, by rising offset.
    pub(super) fn cuts(&self, number: u32) -> Vec<i64> {
        let cuts = self.all[&number].cuts.iter();
        let mut cuts: Vec<i64> = cuts.filter_map(Position::offset).collect();
        cuts.sort_unstable();
        cuts
    }

    /// Whether all that there was has been read.
    pub(super) fn have_caught_up(&self) -> bool {
        let has_caught_up = |split: &Split| match split.stage {
            Stage::Waiting => false,
            Stage::Reading => split.has_caught_up,
            Stage::Finished => split.has_children,
        };
        !self.all.is_empty() && self.all.values().all(has_caught_up)
    }

    /// The pieces of what came in, cut where lanes had committed: each has judged all of a piece, or
    /// nothing. Records that were read already are in none: a shard whose records are gone is read from its
    /// oldest one, whichever that is. Notes that something came.
    pub(super) fn pieces(
        &mut self,
        messages: &Messages,
        placed: Option<&Placed>,
        now: Duration,
    ) -> Vec<Range<usize>> {
        let split = self.of(messages.split);
        (split.is_idle, split.heard) = (false, now);
        let mut start = match (&split.live.cursor().position, placed) {
            (Position::Shard(cursor), Some(placed)) => placed.places.covered(cursor),
            _ => 0,
        };
        let mut ends = vec![messages.len()];
        split.cuts.retain(|cut| {
            let covered = match (cut, placed) {
                (Position::Shard(cursor), Some(placed)) => placed.places.covered(cursor),
                (Position::Offset(next), None) => {
                    messages.offsets.partition_point(|offset| offset < next)
                }
                _ => 0,
            };
            ends.push(covered);
            covered == messages.len()
        });
        ends.sort_unstable();
        ends.dedup();
        let mut pieces = Vec::new();
        for end in ends.into_iter().filter(|end| *end > 0) {
            if end > start {
                pieces.push(start..end);
                start = end;
            }
        }
        pieces
    }

    /// Reads messages from number `first` on: see [`LiveSplit::read`].
    pub(super) fn read(
        &mut self,
        messages: &Messages,
        first: usize,
        placed: Option<&Placed>,
    ) -> Result<LiveBatch, LiveError> {
        self.read_with(messages.split, |live| live.read(messages, first, placed))
    }

    /// Has a split read by something of its own.
    pub(super) fn read_with(
        &mut self,
        number: u32,
        read: impl FnOnce(&mut LiveSplit) -> Result<LiveBatch, LiveError>,
    ) -> Result<LiveBatch, LiveError> {
        let bounds = Bounds {
            least: self.watermark,
            most: self.least(Some(number)).unwrap_or(i64::MAX),
        };
        let sequence = self.sequence;
        let live = &mut self.of(number).live;
        live.among(bounds, sequence);
        let read = read(live)?;
        self.sequence = read.cursor.sequence;
        self.watermark = read.batch.watermark;
        Ok(read)
    }

    /// Notes which splits are idle, by since when they are known to be at their ends. Where all are and
    /// `advances` says so, time goes on to the latest event. Gives whether the watermark rose.
    pub(super) fn idle(
        &mut self,
        ends: &[(u32, Duration)],
        after: Duration,
        advances: bool,
    ) -> bool {
        let mut idle: Vec<(Duration, u32)> = Vec::new();
        for (number, end) in ends {
            if let Some(split) = self.all.get(number)
                && split.stage == Stage::Reading
                && !split.is_idle
                && end.saturating_sub(split.heard) >= after
            {
                idle.push((split.heard, *number));
            }
        }
        let before = self.watermark;
        // One after the other, as they came to be idle: the last of them holds time where it is, however
        // many are seen to be idle at once.
        idle.sort_unstable();
        for (_, number) in &idle {
            self.of(*number).is_idle = true;
            self.refresh();
        }
        if !idle.is_empty() && advances && self.least(None).is_none() {
            let all = self.all.values();
            let latest = all.map(|split| split.live.cursor().greatest).max();
            let latest = latest.unwrap_or(i64::MIN);
            let all = self.all.values_mut();
            for split in all.filter(|split| split.stage != Stage::Finished) {
                split.live.advance(latest);
            }
            self.watermark = before.max(latest);
        }
        self.watermark > before
    }

    /// Whether all of them are idle that may still give something.
    pub(super) fn are_idle(&self) -> bool {
        let mut all = self.all.values();
        all.all(|split| split.is_idle || split.stage == Stage::Finished)
    }

    /// What all of them have reached.
    pub(super) fn watermark(&self) -> i64 {
        self.watermark
    }

    /// The sequence of the next row.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The name of a split, and how far it was read.
    pub(super) fn at(&self, number: u32) -> (&Arc<str>, &SplitCursor) {
        let split = &self.all[&number];
        (&split.name, split.live.cursor())
    }

    /// One of the splits, to tell of progress by that is not about any.
    pub(super) fn any(&self) -> Option<u32> {
        let mut open = self.all.iter();
        let open = open.find(|(_, split)| split.stage == Stage::Reading);
        open.map(|(number, _)| *number)
    }

    fn of(&mut self, number: u32) -> &mut Split {
        let split = self.all.get_mut(&number);
        split.expect("a source tells of a split before it tells anything else of it")
    }

    /// The least watermark of the splits that may still give something, but for one.
    fn least(&self, but: Option<u32>) -> Option<i64> {
        let others = self.all.iter().filter(|(number, _)| Some(**number) != but);
        let held = others.filter(|(_, split)| self.holds(split));
        held.map(|(_, split)| split.live.watermark()).min()
    }

    /// Whether time may not go beyond the split's own.
    fn holds(&self, split: &Split) -> bool {
        match split.stage {
            Stage::Reading => !split.is_idle,
            // Until its parents are finished they stand for it.
            Stage::Waiting => {
                let mut parents = split.parents.iter();
                parents.all(|parent| {
                    let parent = self.all.get(parent);
                    parent.is_none_or(|parent| parent.stage == Stage::Finished)
                })
            }
            // Its children are not known yet, and what comes next comes in them.
            Stage::Finished => !split.has_children,
        }
    }

    fn refresh(&mut self) {
        if let Some(least) = self.least(None) {
            self.watermark = self.watermark.max(least);
        }
    }
}

#[cfg(test)]
#[path = "splits_tests.rs"]
mod tests;
