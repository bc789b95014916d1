//! Which keys of a lane are in memory, and which lie in its database alone.
//!
//! In come a lane's batches, on their way to its windows; out goes what the windows give for them,
//! as if all keys were always there. Before a batch the keys of its rows are loaded that are absent,
//! and those of which something is due by the batch's watermark, if they are few. If they are many,
//! windows of their own are made for a few of them at a time after the batch, and what comes out is
//! brought into order (`order`). When a lane commits, the keys that were not in use for longest are
//! put away, as many as take more memory than there is.
//!
//! What is put away is read again only from the database. So before it is read, the commits that
//! were handed over must have been applied there ([`Kept::applied`]); that they are durable is not
//! needed, because a lane that lost them would begin before them. What windows of their own change
//! may be more than there is memory for, and must count with the commit or not at all: it is written
//! to a journal (`journal`), which the commit declares valid and which is carried out after it.
//!
//! This room must never decide by a clock or by the order of a hash map what comes out: only when
//! something is read depends on memory.

mod again;
mod changes;
mod journal;
mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Bound;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(super) use self::again::Retrying;
pub(super) use self::changes::KeptChanges;
use self::journal::Journal;
use self::order::InOrder;
use super::plan::WindowPlan;
use crate::store::StoreError;
use crate::store::embedded::LaneState;
use crate::transform::WindowedSpec;
use crate::window::{
    Calls, Codec, Edit, Emit, Outcome, Progress, RowBatch, Shape, Unfinished, WindowError, Windows,
};

/// Groups that are loaded at once.
const LOADED: usize = 1 << 14;
/// What a record that changed takes on its way into the database, with when it is due: some
/// hundred bytes in each of the copies that the engine makes of a batch.
const CHANGED: usize = 1 << 13;

/// Where a lane's state is kept, and how far that has come.
pub(super) struct Kept {
    /// The lane's part of the database.
    pub(super) state: LaneState,
    /// How many of the lane's commits can be read in it.
    pub(super) applied: watch::Receiver<u64>,
    /// What reads it: no transform runs there.
    pub(super) io: Handle,
    /// Bytes that the lane's windows may take in memory, about.
    pub(super) memory: usize,
    /// By whom windows fail, and how much may be kept of those, if the next version is to try them again.
    pub(super) unfinished: Option<Retrying>,
}

/// Has the records of a lane that nobody works on be as its last commit says, which declared entries of the journal
/// valid up to this number.
pub(super) async fn settle(state: &LaneState, journal: u64) -> Result<(), StoreError> {
    journal::carry_out(state, journal).await
}

/// Keys that come and go.
pub(super) struct Residence {
    kept: Kept,
    codec: Codec,
    shape: Shape,
    spec: WindowedSpec,
    key: SchemaRef,
    emitted: SchemaRef,
    sizes: Sizes,
    /// Commits that were handed over.
    commits: u64,
    /// Whether there may be keys that are not here.
    some_absent: bool,
    /// No absent key has an instant up to here.
    scanned: i64,
    /// Before this instant nothing is due of an absent key.
    next_due: i64,
    journal: Journal,
}

/// How much of everything is at work at once.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Absent keys of which something is due that are loaded with a batch.
    few: usize,
    /// Bytes of windows that are made for absent keys.
    aside: usize,
    /// Bytes of emissions that are put in order in memory.
    sorted: usize,
    /// Rows of a piece of them, when they do not fit in memory.
    sorted_piece: usize,
    /// Bytes of an entry of the journal.
    entry: usize,
    /// Instants that are looked at together.
    page: usize,
    /// Groups that are loaded at once for windows of their own.
    step: usize,
    /// Bytes of a piece of states.
    piece: usize,
    /// Records that may differ from what is kept before a lane commits.
    changed: usize,
}

impl Sizes {
    fn of(memory: usize) -> Self {
        Self {
            few: (memory >> 14).clamp(1, 1 << 12),
            aside: memory / 8,
            sorted: (memory / 8).clamp(1 << 12, 16 << 20),
            sorted_piece: (memory >> 10).clamp(2, 1 << 12),
            entry: (memory >> 6).clamp(1 << 8, 1 << 20),
            page: (memory >> 13).clamp(2, 1 << 13),
            step: (memory >> 16).clamp(1, 1 << 9),
            piece: (memory / 16).clamp(1 << 16, 64 << 20),
            changed: (memory / CHANGED).max(1),
        }
    }
}

/// What is due of absent keys by a watermark.
enum Due {
    /// All of them, by their groups.
    Few(Vec<Vec<u8>>),
    /// More than are loaded at once.
    Many,
}

/// How windows of their own go on.
#[derive(Debug, Clone, Copy)]
enum Upto {
    Watermark(i64),
    End,
}

impl Residence {
    /// For the windows of a plan. None of their keys are here if they go on where others stopped.
    pub(super) fn new(
        windows: &WindowPlan,
        key: &SchemaRef,
        kept: Kept,
        calls: &mut Calls,
    ) -> Result<Self, WindowError> {
        let WindowPlan { shape, spec, .. } = windows;
        if let Some(Retrying { transform, most }) = &kept.unfinished {
            let codec = Codec::new(key, &spec.state)?;
            calls.keep_unfinished(Unfinished::new(codec, transform, *most));
        }
        let sizes = Sizes::of(kept.memory);
        Ok(Self {
            codec: Codec::new(key, &spec.state)?,
            shape: shape.clone(),
            spec: spec.clone(),
            key: SchemaRef::clone(key),
            emitted: shape.emitted_schema(key, spec),
            sizes,
            commits: 0,
            some_absent: false,
            scanned: i64::MIN,
            next_due: i64::MAX,
            journal: Journal::new(sizes.entry, &kept.state),
            kept,
        })
    }

    /// Prepares windows that nothing has come to yet. With the progress of others, and the number up
    /// to which entries of their journal count, they go on where those stopped.
    pub(super) async fn start(
        &mut self,
        windows: &mut Windows,
        progress: Option<Progress>,
        journal: u64,
    ) -> Result<(), WindowError> {
        windows.keep();
        windows.limit(self.sizes.piece);
        let Some(progress) = progress else {
            return Ok(());
        };
        windows.resume(progress);
        self.journal.resume(journal);
        let state = self.kept.state.clone();
        self.on_io(async move {
            journal::carry_out(&state, journal).await?;
            order::clear(&state).await
        })
        .await?;
        self.some_absent = true;
        self.scanned = progress.watermark;
        self.peek().await
    }

    /// Has windows take a batch, as [`Windows::batch`] does with all keys. If a commit may follow, it
    /// does where [`Residence::must_commit`] says so.
    pub(super) async fn batch(
        &mut self,
        windows: &mut Windows,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
        may_commit: bool,
    ) -> Result<Outcome, WindowError> {
        if !self.some_absent {
            return windows.batch(batch, calls, out).await;
        }
        self.load_rows(windows, &batch.keys, calls).await?;
        if batch.watermark < self.next_due {
            return windows.batch(batch, calls, out).await;
        }
        let watermark = batch.watermark;
        let outcome = match self.due(windows, watermark, may_commit).await? {
            Due::Few(groups) => {
                self.load(windows, groups, calls).await?;
                windows.batch(batch, calls, out).await?
            }
            Due::Many => {
                let mut work = Aside {
                    before: windows.progress(),
                    upto: Upto::Watermark(watermark),
                    calls,
                };
                if self.shape.revises() {
                    let mut outcome = windows.batch(batch, work.calls, out).await?;
                    outcome.closed += self.aside(windows, &mut work, out).await?;
                    outcome
                } else {
                    let mut ordered = self.in_order();
                    let mut outcome = windows.batch(batch, work.calls, &mut ordered).await?;
                    outcome.closed += self.aside(windows, &mut work, &mut ordered).await?;
                    ordered.finish(out).await?;
                    outcome
                }
            }
        };
        self.scanned = self.scanned.max(watermark);
        self.peek().await?;
        Ok(outcome)
    }

    /// The input is over: has windows emit all that is open, as [`Windows::end`] does. Nothing can
    /// be committed after that.
    pub(super) async fn end(
        &mut self,
        windows: &mut Windows,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        if !self.some_absent || self.next_due == i64::MAX {
            return windows.end(calls, out).await;
        }
        if let Due::Few(groups) = self.due(windows, i64::MAX, true).await? {
            self.load(windows, groups, calls).await?;
            return windows.end(calls, out).await;
        }
        let mut work = Aside {
            before: windows.progress(),
            upto: Upto::End,
            calls,
        };
        if self.shape.revises() {
            let closed = windows.end(work.calls, out).await?;
            return Ok(closed + self.aside(windows, &mut work, out).await?);
        }
        let mut ordered = self.in_order();
        let closed = windows.end(work.calls, &mut ordered).await?;
        let closed = closed + self.aside(windows, &mut work, &mut ordered).await?;
        ordered.finish(out).await?;
        Ok(closed)
    }

    /// Whether a commit must not wait any longer.
    pub(super) fn must_commit(&self, windows: &Windows) -> bool {
        self.journal.is_open()
            || windows.changed() > self.sizes.changed
            || (windows.bytes() > self.kept.memory && windows.keys() > 0)
    }

    /// What a commit has of windows, and of those that could not be finished. Puts keys away if windows take more memory
    /// than there is.
    pub(super) fn changes(
        &mut self,
        windows: &mut Windows,
        calls: &mut Calls,
    ) -> Result<KeptChanges, WindowError> {
        let changes = windows.changes()?;
        let mut schedules = vec![windows.reschedule_passed()?];
        let (bytes, memory) = (windows.bytes(), self.kept.memory);
        if bytes > memory {
            // Looking for them costs as much however many they are, so they are many.
            let stay = memory as u128 * 3 / 4;
            let leave = windows.keys() as u128 * (bytes as u128 - stay) / bytes as u128;
            let (schedule, due) = windows.put_away_least_recent(leave as usize + 1)?;
            schedules.push(schedule);
            self.next_due = self.next_due.min(due);
            self.some_absent = true;
        }
        schedules.retain(|schedule| !schedule.from.is_empty());
        let dues = schedules.iter().flat_map(|schedule| &schedule.to);
        debug_assert!(
            dues.flatten().all(|due| *due > changes.progress.watermark),
            "what is due by now was done"
        );
        self.commits += 1;
        Ok(KeptChanges {
            changes,
            schedules,
            journal: self.journal.next(),
            unfinished: calls.unfinished().map_or(Vec::new(), Unfinished::changes),
        })
    }

    /// Carries out what the commit that was handed over declared valid.
    pub(super) async fn committed(&mut self) -> Result<(), WindowError> {
        if !self.journal.is_open() {
            return Ok(());
        }
        self.journal.commit();
        self.applied().await?;
        let (state, end) = (self.kept.state.clone(), self.journal.next());
        self.on_io(async move { journal::carry_out(&state, end).await })
            .await?;
        self.peek().await
    }

    /// Loads the keys of some rows that are absent.
    async fn load_rows(
        &mut self,
        windows: &mut Windows,
        keys: &[ArrayRef],
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        let groups = self.absent(windows, keys)?;
        self.load(windows, groups, calls).await
    }

    /// The groups of those keys that are absent, in order, none twice.
    fn absent(
        &self,
        windows: &mut Windows,
        keys: &[ArrayRef],
    ) -> Result<Vec<Vec<u8>>, WindowError> {
        let here = windows.are_here(keys)?;
        let rows = (0..).zip(here).filter(|(_, here)| !here);
        let rows: UInt32Array = rows.map(|(row, _)| row).collect::<Vec<u32>>().into();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.iter().map(|column| take(column, &rows, None));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_, ArrowError>>()?;
        let groups: BTreeSet<Vec<u8>> = self.codec.prefixes(&keys)?.into_iter().collect();
        Ok(groups.into_iter().collect())
    }

    /// Loads groups into windows that have none of their keys.
    async fn load(
        &mut self,
        windows: &mut Windows,
        groups: Vec<Vec<u8>>,
        calls: &mut Calls,
    ) -> Result<(), WindowError> {
        if groups.is_empty() {
            return Ok(());
        }
        self.applied().await?;
        for groups in groups.chunks(LOADED) {
            let (state, groups) = (self.kept.state.clone(), groups.to_vec());
            let pairs = self.on_io(async move { state.groups(&groups).await });
            let pairs = pairs.await?;
            if pairs.is_empty() {
                continue;
            }
            let pairs = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
            let records = self.codec.decode(pairs)?;
            windows.load(&records, calls).await?;
        }
        Ok(())
    }

    /// What is due of absent keys up to a watermark. Where no commit may follow there is no journal, and
    /// so they count as few.
    async fn due(
        &mut self,
        windows: &mut Windows,
        watermark: i64,
        may_commit: bool,
    ) -> Result<Due, WindowError> {
        let mut groups = Vec::new();
        let mut page = self.first_page(watermark);
        while let Some(instants) = self.next_page(&mut page).await? {
            groups.extend(self.absent_groups(windows, &instants)?);
            if groups.len() > self.sizes.few && may_commit {
                return Ok(Due::Many);
            }
        }
        Ok(Due::Few(groups))
    }

    fn absent_groups(
        &self,
        windows: &mut Windows,
        instants: &[Bytes],
    ) -> Result<Vec<Vec<u8>>, WindowError> {
        let instants = instants.iter().map(|instant| &instant[..]);
        let (keys, groups) = self.codec.decode_instants(instants)?;
        let here = windows.are_here(&keys)?;
        let absent = groups.into_iter().zip(here).filter(|(_, here)| !here);
        Ok(absent.map(|(group, _)| group).collect())
    }

    /// Does what is due for absent keys in windows of their own, a few keys at a time. Says how many
    /// of their windows closed.
    async fn aside(
        &mut self,
        windows: &mut Windows,
        work: &mut Aside<'_>,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let watermark = match work.upto {
            Upto::Watermark(watermark) => watermark,
            Upto::End => i64::MAX,
        };
        let mut closed = 0;
        let mut page = self.first_page(watermark);
        let mut waiting = Vec::new();
        loop {
            let instants = self.next_page(&mut page).await?;
            let is_last = instants.is_none();
            if let Some(instants) = instants {
                waiting.extend(self.absent_groups(windows, &instants)?);
            }
            while waiting.len() >= self.sizes.page || (is_last && !waiting.is_empty()) {
                closed += self.some_aside(&mut waiting, work, out).await?;
            }
            if is_last {
                return Ok(closed);
            }
        }
    }

    /// Takes as many groups as there is memory for through windows of their own.
    async fn some_aside(
        &mut self,
        waiting: &mut Vec<Vec<u8>>,
        work: &mut Aside<'_>,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let mut windows = Windows::new(&self.shape, &self.key, &self.spec)?;
        windows.keep();
        windows.limit(self.sizes.piece);
        windows.resume(work.before);
        while !waiting.is_empty() && windows.bytes() <= self.sizes.aside {
            let groups = waiting.drain(..waiting.len().min(self.sizes.step));
            let groups = groups.collect();
            self.load(&mut windows, groups, work.calls).await?;
        }
        let watermark = match work.upto {
            Upto::End => return windows.end(work.calls, out).await,
            Upto::Watermark(watermark) => watermark,
        };
        let closed = windows.advance(watermark, work.calls, out).await?;
        let changes = windows.changes()?;
        let (schedule, _) = windows.put_away_least_recent(usize::MAX)?;
        let (codec, journal) = (&self.codec, &mut self.journal);
        let mut push = |edit: Edit<'_>| journal.push(edit);
        codec.encode(&changes, &mut push)?;
        if !schedule.from.is_empty() {
            codec.encode_schedule(&schedule, &mut push)?;
        }
        if let Some(entries) = self.journal.full() {
            let state = self.kept.state.clone();
            self.on_io(async move { state.apply(entries).await })
                .await?;
        }
        Ok(closed)
    }

    fn in_order(&self) -> InOrder {
        let keys = self.key.fields().len();
        let most = (self.sizes.sorted, self.sizes.sorted_piece);
        let (state, io) = (self.kept.state.clone(), self.kept.io.clone());
        InOrder::new(&self.emitted, keys, most, state, io)
    }

    /// Finds out before which instant nothing is due of an absent key.
    async fn peek(&mut self) -> Result<(), WindowError> {
        if self.journal.is_open() {
            // What is due changes when it is carried out, which comes before the next batch.
            return Ok(());
        }
        let mut page = self.first_page(i64::MAX);
        page.most = 1;
        let first = self.next_page(&mut page).await?;
        let first = first.and_then(|instants| Codec::instant(&instants[0]));
        self.next_due = first.unwrap_or(i64::MAX);
        Ok(())
    }

    /// The instants after those that were looked at, up to a watermark.
    fn first_page(&self, watermark: i64) -> Page {
        let from = match self.scanned {
            i64::MIN => Codec::FIRST_INSTANT.to_vec(),
            scanned => Codec::instants_up_to(scanned),
        };
        Page {
            from: Bound::Included(from),
            to: Codec::instants_up_to(watermark),
            most: self.sizes.page,
        }
    }

    async fn next_page(&mut self, page: &mut Page) -> Result<Option<Vec<Bytes>>, WindowError> {
        self.applied().await?;
        let (state, asked) = (self.kept.state.clone(), page.clone());
        let range = async move {
            let from = asked.from.as_ref().map(|from| &from[..]);
            state.range(from, &asked.to, asked.most).await
        };
        let pairs = self.on_io(range).await?;
        let Some((last, _)) = pairs.last() else {
            return Ok(None);
        };
        page.from = Bound::Excluded(last.to_vec());
        Ok(Some(pairs.into_iter().map(|(key, _)| key).collect()))
    }

    /// Waits until all commits that were handed over can be read.
    async fn applied(&mut self) -> Result<(), WindowError> {
        let commits = self.commits;
        let applied = self.kept.applied.wait_for(|applied| *applied >= commits);
        // Who applies them has ended, and says why itself.
        applied.await.map(drop).map_err(|_| WindowError::Closed)
    }

    async fn on_io<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, WindowError> {
        on_io(&self.kept.io, work).await
    }
}

/// Where windows of their own go on from, how far, and by what.
struct Aside<'a> {
    before: Progress,
    upto: Upto,
    calls: &'a mut Calls,
}

/// Instants that are looked at next.
#[derive(Clone)]
struct Page {
    from: Bound<Vec<u8>>,
    to: Vec<u8>,
    most: usize,
}

/// Has the threads that talk to stores do some work.
async fn on_io<T: Send + 'static>(
    io: &Handle,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, WindowError> {
    match io.spawn(work).await {
        Ok(done) => done.map_err(|error| WindowError::Kept(Box::new(error))),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The threads have been shut down.
        Err(_) => Err(WindowError::Closed),
    }
}
