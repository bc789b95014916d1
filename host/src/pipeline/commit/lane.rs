//! When a lane commits, and what it need not do again.

use super::{CommitDue, Resume, SplitCursors, ToCommit};
use crate::pipeline::lane::{LaneBatch, LaneReport, Place, Start};
use crate::pipeline::residence::{Kept, KeptChanges};
use crate::source::live::SplitCursor;

/// A lane's own view of its commits.
#[derive(Default)]
pub(in crate::pipeline) struct LaneCommits {
    /// None if nothing is kept.
    due: Option<CommitDue>,
    /// What an earlier owner of the lane left.
    pub(in crate::pipeline) resume: Resume,
    /// Where the state is kept, if there is any.
    pub(in crate::pipeline) kept: Option<Kept>,
    /// Everything before this sequence was judged.
    sequence: u64,
    /// How far each split of a live stream was judged.
    splits: SplitCursors,
    /// Whether anything was done since the last commit.
    is_open: bool,
    /// Whether what was done ends where a reader can go on.
    is_whole: bool,
}

impl LaneCommits {
    pub(in crate::pipeline) fn new(
        due: Option<CommitDue>,
        resume: Resume,
        kept: Option<Kept>,
    ) -> Self {
        Self {
            due,
            sequence: resume.cursor,
            splits: resume.splits.clone(),
            is_whole: true,
            resume,
            kept,
            ..Self::default()
        }
    }

    /// The rows of a batch that were not judged before, or its progress alone; none if there is nothing
    /// new in it for a lane whose watermark is this.
    pub(in crate::pipeline) fn left(&self, batch: LaneBatch, watermark: i64) -> Option<LaneBatch> {
        if let Some(place) = &batch.place {
            // Readers cut where lanes had committed, so that all of a batch was judged or nothing of it.
            let is_new = match self.resume.splits.get(&place.split) {
                None => true,
                Some(cursor) => is_behind(place, cursor),
            };
            if is_new {
                return Some(batch);
            }
            // Of several splits that are read together, another one may be further than when this lane
            // judged these rows.
            return (batch.watermark > watermark).then(|| batch.progress());
        }
        let cursor = self.resume.cursor;
        (batch.sequences.end > cursor).then(|| batch.from(cursor))
    }

    /// Notes what was judged: everything before `sequence`.
    pub(in crate::pipeline) fn judged(&mut self, sequence: u64, place: Option<Place>) {
        self.sequence = sequence;
        self.is_open = true;
        self.is_whole = place.as_ref().is_none_or(Place::is_whole);
        let Some(place) = place else {
            return;
        };
        match (place.start, place.after) {
            (Start::Gone, _) => drop(self.splits.remove(&place.split)),
            (_, Some(cursor)) => drop(self.splits.insert(place.split, cursor)),
            (_, None) => {}
        }
    }

    /// Notes that there is something to commit, though nothing was judged.
    pub(in crate::pipeline) fn open(&mut self) {
        self.is_open = true;
    }

    /// Waits until there is something to commit, and it is time for it. It may be given up at any time.
    async fn wait(&mut self) {
        match &mut self.due {
            Some(due) if self.is_open && self.is_whole => due.wait().await,
            _ => std::future::pending().await,
        }
    }

    /// What comes of `other`; none if the lane is to commit before that.
    pub(in crate::pipeline) async fn unless_due<T>(
        &mut self,
        other: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            other = other => Some(other),
        }
    }

    /// Whether a commit may end where the lane is.
    pub(in crate::pipeline) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether there is something that could be committed now.
    pub(in crate::pipeline) fn has_some(&self) -> bool {
        self.due.is_some() && self.is_open && self.is_whole
    }

    /// What is to be committed, with what changed in the lane's windows, if it has any.
    pub(in crate::pipeline) fn take(
        &mut self,
        kept: Option<KeptChanges>,
        report: LaneReport,
    ) -> ToCommit {
        self.is_open = false;
        ToCommit {
            kept,
            cursor: self.sequence,
            splits: self.splits.clone(),
            report,
            own: serde_json::Value::Null,
        }
    }
}

/// Whether a batch comes behind a cursor of its split.
fn is_behind(place: &Place, cursor: &SplitCursor) -> bool {
    match (&place.start, &place.after) {
        (Start::At(spot), _) => !cursor.position.covers(spot),
        (Start::Nothing, Some(after)) => after.position >= cursor.position,
        (Start::Nothing, None) | (Start::Gone, _) => true,
    }
}
