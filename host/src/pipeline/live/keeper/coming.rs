//! How a lane comes to another generation: forward, with a snapshot of what it was, or back to that. What is to be done is
//! decided in `generations`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::begun::forget_events;
use super::meta::{LAYOUT, LaneMeta};
use super::{BEGUN, EPOCH, Keeper, KeeperError, META, UNTOLD};
use crate::pipeline::commit::KeptReport;
use crate::pipeline::kept::LaneWork;
use crate::pipeline::lane::LaneReport;
use crate::pipeline::live::generations::{Left, StateShape, Step, Undo, noted, step};
use crate::pipeline::live::steps;
use crate::pipeline::swap::Running;
use crate::source::live::SplitCursor;
use crate::store::embedded::{Restored, WayBack};
use crate::window::Codec;

impl Keeper {
    /// Has the lane come to the generation that is wanted, and gives what its last commit says then.
    pub(super) fn come_here(&mut self) -> Result<Option<LaneMeta>, KeeperError> {
        self.end_what_was_begun()?;
        let mut is_back = false;
        loop {
            let Some(mut meta) = self.meta()? else {
                return Ok(None);
            };
            let Some(running) = self.expected.running.clone() else {
                self.check(&meta, &[])?;
                return Ok(Some(meta));
            };
            let left = Left {
                lane: self.number,
                generation: meta.generation,
                undo: meta.undo.as_ref(),
                state: meta.state.as_ref(),
            };
            let migration = self.expected.migration.clone();
            let takes = |before: &StateShape| migration.as_ref().is_some_and(|it| it.takes(before));
            let step = step(&left, &running, self.expected.state.as_ref(), &takes)?;
            // Another generation is another transform, and may want other columns. Which of its columns are features makes
            // no difference to its state.
            const CHANGES: [&str; 4] = ["transform", "mapper", "columns", "features"];
            match step {
                Step::Stay => {
                    self.check(&meta, &["features"])?;
                    self.undo.clone_from(&meta.undo);
                    if is_back {
                        // It has the generation from now on, and not since it had it before.
                        meta.work = None;
                    }
                    return Ok(Some(meta));
                }
                Step::Forward(from) => {
                    self.check(&meta, &CHANGES)?;
                    self.snapshot(from, running.number, meta.splits.clone(), false)?;
                    return Ok(Some(meta));
                }
                Step::Migrate(from) => {
                    self.check(&meta, &CHANGES)?;
                    self.snapshot(from, running.number, meta.splits.clone(), true)?;
                    return self.migrate(meta, &running).map(Some);
                }
                Step::Anew(from) => {
                    self.snapshot(from, running.number, meta.splits.clone(), true)?;
                    return self.begin_anew(meta, &running).map(Some);
                }
                Step::Back(undo) => {
                    let restored = self.restore(&undo.snapshot, Some(meta.generation))?;
                    steps::done("restored");
                    let noted = noted(self.number, &undo, restored);
                    self.told.push((meta.generation, noted));
                    is_back = true;
                }
            }
        }
    }

    /// Puts the lane back to a snapshot, from a generation if that is taken back.
    pub(super) fn restore(
        &self,
        snapshot: &str,
        generation: Option<u64>,
    ) -> Result<Restored, KeeperError> {
        let then = self
            .io
            .block_on(self.store.in_snapshot(&self.lane, snapshot, META))?;
        let then = then.map(|bytes| self.decoded(&bytes)).transpose()?;
        // Everything that was written since bears a greater epoch.
        let epoch = then.map_or(0, |meta| meta.epoch);
        if generation.is_some() && self.expected.has_history {
            let until = self.opened()?.unwrap_or(epoch);
            let mut batch = self.changes();
            let (after, until) = (epoch.to_be_bytes(), until.to_be_bytes());
            batch.put(
                &[UNTOLD, &after, &until].concat(),
                &self.clock.unix().to_be_bytes(),
            );
            self.apply_durably(batch)?;
        }
        let way = WayBack {
            snapshot,
            last: META,
            but: &[EPOCH, UNTOLD, BEGUN],
            generation,
            apart: (self.apart.as_ref()).map(|(store, _)| (store.as_ref(), epoch)),
        };
        Ok(self.io.block_on(self.store.restore(&self.lane, &way))?)
    }

    /// Has the new generation take over the states, and commits that. Of the lane a snapshot was taken.
    fn migrate(&mut self, meta: LaneMeta, running: &Running) -> Result<LaneMeta, KeeperError> {
        let lane = self.number;
        let (Some(before), Some(migration)) = (&meta.state, &self.expected.migration) else {
            return Ok(meta);
        };
        steps::done("migrating");
        let began = self.clock.now();
        let passed = migration.pass(&self.lane.state, before, meta.journal, &self.io);
        let states = passed.map_err(|error| KeeperError::Migration {
            lane,
            before: before.version,
            error,
        })?;
        let took = self.clock.now().saturating_sub(began);
        let noted = format!(
            "lane {lane}: {states} states of version {} were taken over in {:.1} ms",
            before.version,
            took.as_secs_f64() * 1e3
        );
        self.told.push((running.number, noted));
        steps::done("migrated");
        let meta = LaneMeta {
            transform: self.expected.transform.clone(),
            identity: self.expected.identity.clone(),
            generation: running.number,
            undo: self.undo.clone(),
            state: self.expected.state.clone(),
            work: meta.work.map(|work| LaneWork {
                since: self.clock.unix(),
                ..work
            }),
            ..meta
        };
        self.commit_over(&meta)?;
        steps::done("migration committed");
        Ok(meta)
    }

    /// Has the new generation begin without states and anywhere in the stream, and commits that. What was committed and is
    /// still to be sent stays. Of the lane a snapshot was taken.
    fn begin_anew(&mut self, meta: LaneMeta, running: &Running) -> Result<LaneMeta, KeeperError> {
        self.io.block_on(forget_events(&self.lane.state))?;
        let report = LaneReport {
            watermark: i64::MIN,
            ..LaneReport::default()
        };
        let meta = LaneMeta {
            layout: LAYOUT,
            windows_layout: Codec::LAYOUT,
            epoch: meta.epoch,
            transform: self.expected.transform.clone(),
            identity: self.expected.identity.clone(),
            partitions: self.expected.partitions,
            rows: meta.rows,
            sequence: 0,
            splits: BTreeMap::new(),
            progress: Vec::new(),
            journal: 0,
            report: KeptReport::of(&report),
            outbox: meta.outbox,
            own: serde_json::Value::Null,
            generation: running.number,
            undo: self.undo.clone(),
            state: self.expected.state.clone(),
            work: meta.work.map(|work| LaneWork {
                since: self.clock.unix(),
                ..work
            }),
        };
        self.commit_over(&meta)?;
        steps::done("begun anew");
        Ok(meta)
    }

    /// Commits, durably, that the lane is of another generation.
    fn commit_over(&mut self, meta: &LaneMeta) -> Result<(), KeeperError> {
        let mut batch = self.changes();
        batch.remove(BEGUN);
        batch.put(META, &meta.encode());
        self.apply_durably(batch)?;
        self.is_begun = false;
        Ok(())
    }

    /// Notes what the lane is, before it goes over from a generation to another one; it has judged splits so far. Where
    /// something is written before a commit names the other one, that is begun: if records are `replaced`, and wherever
    /// features are served from elsewhere.
    fn snapshot(
        &mut self,
        from: u64,
        to: u64,
        splits: BTreeMap<String, SplitCursor>,
        replaced: bool,
    ) -> Result<(), KeeperError> {
        let is_begun = self.is_begun;
        let undo = match self.undo.take_if(|_| is_begun) {
            // Nothing was committed since. Another one would take the place of this one, which is named.
            Some(undo) => Undo { from, ..undo },
            None => Undo {
                from,
                snapshot: self.io.block_on(self.store.take_snapshot(&self.lane))?,
                splits,
            },
        };
        self.undo = Some(undo.clone());
        steps::done("snapshot");
        if replaced || self.apart.is_some() {
            self.begin_over(to, undo)?;
        }
        Ok(())
    }

    /// Goes over to another generation after what was committed. Its epoch is higher, and the next commit names it.
    pub(in crate::pipeline::live) fn switch(
        &mut self,
        running: &Arc<Running>,
    ) -> Result<(), KeeperError> {
        let from = self.expected.running.as_ref().map_or(0, |it| it.number);
        let last = self.last.as_ref();
        let splits = last.map_or_else(BTreeMap::new, |last| last.splits.clone());
        self.snapshot(from, running.number, splits, false)?;
        self.epoch += 1;
        if self.is_begun {
            // What is served before the next commit bears it.
            self.claim()?;
        } else {
            self.batch.put(EPOCH, &self.epoch.to_be_bytes());
        }
        self.raise_epoch()?;
        self.expected.transform.clone_from(&running.digest);
        self.expected.identity = running.identity.clone();
        self.expected.running = Some(Arc::clone(running));
        steps::done("switched");
        Ok(())
    }
}
