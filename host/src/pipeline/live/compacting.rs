//! Compaction of a pipeline's history while it runs, by whoever has its first lane.
//!
//! Nothing waits for it: it is begun from time to time, and looked at when something else is done. Two processes may do it
//! at once, after a rebalance say, and it may end at any moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::StorePlace;
use crate::pipeline::features::Features;
use crate::pipeline::telemetry::HistoryFigures;
use crate::store::StoreError;
use crate::store::offline::compact::{self, EVERY};
use crate::store::offline::{Compacted, Compaction, OfflineFile, OfflineStore};

/// Compaction of one pipeline's files.
pub(super) struct Compacting {
    place: StorePlace,
    pipeline: String,
    groups: Vec<String>,
    figures: Arc<HistoryFigures>,
    clock: Arc<dyn Clock>,
    io: Handle,
    /// When the next round is begun.
    next: Duration,
    /// What earlier rounds have seen, between rounds.
    seen: Option<Compaction>,
    round: Option<JoinHandle<Result<Compaction, StoreError>>>,
}

impl Compacting {
    pub(super) fn new(
        place: StorePlace,
        features: &Features,
        figures: Arc<HistoryFigures>,
        clock: Arc<dyn Clock>,
        io: Handle,
    ) -> Self {
        let groups = features.all().iter();
        let mut groups: Vec<String> = groups.map(|it| it.declaration.group.clone()).collect();
        groups.sort();
        groups.dedup();
        Self {
            place,
            pipeline: features.pipeline().to_owned(),
            groups,
            figures,
            next: clock.now().saturating_add(EVERY),
            clock,
            io,
            seen: None,
            round: None,
        }
    }

    /// Begins a round if it is time, and takes note of one that has ended.
    pub(super) fn look(&mut self) {
        match self.round.take() {
            Some(round) if round.is_finished() => {
                match self.io.block_on(round) {
                    Ok(Ok(seen)) => self.seen = Some(seen),
                    Ok(Err(error)) => self.failed(&error),
                    Err(panic) => self.failed(&panic),
                }
                self.next = self.clock.now().saturating_add(EVERY);
            }
            Some(round) => self.round = Some(round),
            None if self.clock.now() >= self.next => self.round = Some(self.begin()),
            None => {}
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        self.figures.uncompacted.one();
        let pipeline = &self.pipeline;
        tracing::warn!(pipeline, %error, "the history of features is not compacted; it is tried again, and nothing is lost");
    }

    fn begin(&mut self) -> JoinHandle<Result<Compaction, StoreError>> {
        let (place, seen) = (self.place.clone(), self.seen.take());
        let (pipeline, groups) = (self.pipeline.clone(), self.groups.clone());
        let (figures, now) = (Arc::clone(&self.figures), self.clock.unix());
        self.io.spawn(async move {
            let mut compaction = match seen {
                Some(seen) => seen,
                None => Compaction::new(Arc::new(OfflineStore::open(&place)?)),
            };
            let is_due = |files: &[OfflineFile]| compact::is_due(files, &pipeline, now);
            for group in &groups {
                let Compacted { before, after, .. } = compaction.compact(group, is_due).await?;
                figures.compacted.add(before);
                figures.made.add(after);
            }
            Ok(compaction)
        })
    }
}

impl Drop for Compacting {
    fn drop(&mut self) {
        if let Some(round) = &self.round {
            round.abort();
        }
    }
}
