//! What is put, on its way into the history of features: many puts a file.
//!
//! Whoever puts waits until its rows are in a file. While one is written, those that come wait together for the next one,
//! and files of one process begin [`APART`] from each other. So many small puts make few files, and none waits for more than
//! the file before its own.
//!
//! What it must never do: say that rows are in the history before they are, or have the puts of one wait for ever for a place
//! that does not answer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at, timeout};

use super::LANE;
use crate::store::declarations::{ELSEWHERE, NO_WINDOW};
use crate::store::offline::compact::{EVERY, is_due};
use crate::store::offline::{Compaction, OfflineFile, OfflineStore, OfflineWriter, check_schema};
use crate::store::{FeatureReader, StoreError};

/// How far apart files are begun, at least.
const APART: Duration = Duration::from_millis(50);
/// How long a file may take.
const LONGEST: Duration = Duration::from_secs(10);

/// The way of what one process puts into the history.
pub(super) struct PutHistory {
    store: Arc<OfflineStore>,
    /// Of everything that it writes.
    epoch: u64,
    waiting: Mutex<Vec<Waiting>>,
    /// Whose turn it is to write, and not before when.
    turn: AsyncMutex<Interval>,
    /// Groups that were put to, whose files are compacted.
    groups: Arc<Mutex<BTreeSet<String>>>,
    /// Ends with this value.
    _compacting: JoinSet<()>,
}

/// Rows of one group, of one put.
#[derive(Debug)]
pub(super) struct PutRows {
    pub(super) group: String,
    pub(super) first_sequence: u64,
    pub(super) rows: RecordBatch,
}

/// A put that waits for a file.
struct Waiting {
    parts: Vec<PutRows>,
    told: oneshot::Sender<Result<(), String>>,
}

impl PutHistory {
    /// The history at a place, for a writer with an epoch of its own. `clock` tells how old files are. To be called in a
    /// runtime, in which files are compacted from then on.
    pub(super) fn new(
        store: Arc<OfflineStore>,
        epoch: u64,
        clock: Arc<impl FeatureReader + ?Sized + 'static>,
    ) -> Self {
        let groups = Arc::<Mutex<BTreeSet<String>>>::default();
        let mut compacting = JoinSet::new();
        compacting.spawn(compact(Arc::clone(&store), Arc::clone(&groups), clock));
        let mut turn = interval(APART);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            store,
            epoch,
            waiting: Mutex::default(),
            turn: AsyncMutex::new(turn),
            groups,
            _compacting: compacting,
        }
    }

    /// Writes the rows of a put, with those of others. They are in the history when it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Shape`] when they cannot be in a file, [`StoreError::Unrecorded`] when it was not written, or not
    /// in time: some of the rows may be there then.
    pub(super) async fn keep(&self, parts: Vec<PutRows>) -> Result<(), StoreError> {
        // What is wrong with one put must not fail those beside it.
        for part in &parts {
            check_schema(&part.rows)?;
        }
        let (told, mut done) = oneshot::channel();
        self.waiting().push(Waiting { parts, told });
        let mut turn = self.turn.lock().await;
        let done = match done.try_recv() {
            // Whoever had the turn before has written them.
            Ok(done) => done,
            Err(TryRecvError::Empty) => {
                turn.tick().await;
                self.write_all().await;
                let nobody = Err(TryRecvError::Closed.to_string());
                done.try_recv().unwrap_or(nobody)
            }
            Err(TryRecvError::Closed) => Err("whoever wrote it was stopped".to_owned()),
        };
        drop(turn);
        done.map_err(|reason| StoreError::Unrecorded {
            place: self.store.shown().to_owned(),
            reason,
        })
    }

    /// Writes what waits, and tells everyone of whom it was.
    async fn write_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        let (parts, told): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|it| (it.parts, it.told)).unzip();
        let parts: Vec<PutRows> = parts.into_iter().flatten().collect();
        let groups: Vec<String> = parts.iter().map(|part| part.group.clone()).collect();
        let done = match timeout(LONGEST, self.write(parts)).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("there was no answer in {} s", LONGEST.as_secs())),
        };
        locked(&self.groups).extend(groups);
        for told in told {
            // A put that was given up hears nothing.
            let _ = told.send(done.clone());
        }
    }

    async fn write(&self, mut parts: Vec<PutRows>) -> Result<(), StoreError> {
        let columns = |part: &PutRows| -> Vec<String> {
            let fields = part.rows.schema_ref().fields().iter();
            fields.map(|field| field.name().clone()).collect()
        };
        let first = parts.iter().map(|part| part.first_sequence).min();
        // A file has one schema: those with the same columns go together.
        parts.sort_by_cached_key(|part| (part.group.clone(), columns(part)));
        let stem = format!("l{LANE}-{}-{}", self.epoch, first.unwrap_or_default());
        let mut writer = OfflineWriter::new(Arc::clone(&self.store), stem);
        for part in &parts {
            let of = [ELSEWHERE, NO_WINDOW];
            writer.add(&part.group, of, &part.rows).await?;
        }
        writer.flush().await
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        locked(&self.waiting)
    }
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is whole before anything can panic.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compacts the files of what was put, from time to time.
async fn compact(
    store: Arc<OfflineStore>,
    groups: Arc<Mutex<BTreeSet<String>>>,
    clock: Arc<impl FeatureReader + ?Sized>,
) {
    let mut compaction = Compaction::new(store);
    let mut rounds = interval_at(Instant::now() + EVERY, EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let groups = locked(&groups).clone();
        let now = clock.unix();
        for group in groups {
            let is_due = |files: &[OfflineFile]| is_due(files, ELSEWHERE, now);
            if let Err(error) = compaction.compact(&group, is_due).await {
                tracing::warn!(group, %error, "the history of values that were put is not compacted; it is tried again, and nothing is lost");
            }
        }
    }
}
