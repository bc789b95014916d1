//! The history of features, to which a lane's rows go many at a time.
//!
//! Entries stay in the outbox until there are enough of them for a file, or they have waited for a while. So history is
//! behind what is served by that while, and nothing is lost or there in two versions: whoever opens the lane next sends
//! the same rows, with the same lane, epoch and sequence.
//!
//! Nothing waits for a write. It is begun, and looked at when there is more to send, so that a place that fails, or does
//! not answer at all, stops neither commits nor what is served. Only a lane's end waits for it, and not for long.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch, StringArray};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{Entries, OutboxError, Waiting};
use crate::clock::Clock;
use crate::config::StorePlace;
use crate::pipeline::kept_rows;
use crate::pipeline::telemetry::HistoryFigures;
use crate::store::StoreError;
use crate::store::offline::rows::{PIPELINE, WINDOW};
use crate::store::offline::{OfflineStore, OfflineWriter};

/// Entries that are written at once, at most, and bytes of them, about: they are in memory meanwhile.
const MANY: u64 = 512;
const BYTES: usize = 16 << 20;
/// How long rows wait for others.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a lane's end waits until everything is written.
const LAST: Duration = Duration::from_secs(10);

/// The way of a lane's rows into history.
pub(super) struct HistorySender {
    place: StorePlace,
    store: Option<Arc<OfflineStore>>,
    lane: u32,
    figures: Arc<HistoryFigures>,
    clock: Arc<dyn Clock>,
    io: Handle,
    /// When the first entry that waits was seen; none if nothing waits.
    waits_since: Option<Duration>,
    /// Whether more of what waits was seen when the last write was begun, which is then due.
    is_behind: bool,
    failed_at: Option<Duration>,
    /// Where the entries end that could not be written. The same are tried again, which are the same files: those of them
    /// that were written are not there twice.
    tried: Option<u64>,
    writing: Option<Write>,
}

/// A write that was begun.
struct Write {
    /// The number of the entry behind those that it writes.
    end: u64,
    rows: u64,
    /// Whether there were more.
    has_more: bool,
    task: JoinHandle<Result<(), StoreError>>,
}

impl HistorySender {
    pub(super) fn new(
        place: StorePlace,
        lane: u32,
        figures: Arc<HistoryFigures>,
        waiting: &Waiting,
    ) -> Self {
        Self {
            place,
            store: None,
            lane,
            figures,
            clock: Arc::clone(&waiting.clock),
            io: waiting.io.clone(),
            waits_since: None,
            is_behind: false,
            failed_at: None,
            tried: None,
            writing: None,
        }
    }

    /// Has entries written if they are many or have waited. Gives the number of the entry behind those that are known to
    /// be. With `all`, everything is written, and waited for.
    pub(super) fn send(&mut self, entries: &Entries<'_>, all: bool) -> Result<u64, OutboxError> {
        let until = all.then(|| self.clock.now().saturating_add(LAST));
        let mut next = entries.numbers.start;
        loop {
            if let Some(write) = self.writing.take() {
                let end = write.end;
                match self.ended(write, until) {
                    None => return Ok(next),
                    Some(true) => next = end,
                    Some(false) if all => return Ok(next),
                    Some(false) => {}
                }
            }
            if next == entries.numbers.end {
                self.waits_since = None;
                self.figures.waits_no_more(self.lane);
                return Ok(next);
            }
            self.figures.waits(self.lane);
            if !(all || self.is_due(entries.numbers.end - next)) {
                return Ok(next);
            }
            self.begin(entries, next)?;
            if !all {
                return Ok(next);
            }
        }
    }

    fn is_due(&mut self, count: u64) -> bool {
        let now = self.clock.now();
        let since = *self.waits_since.get_or_insert(now);
        let passed = |since: Duration| now.saturating_sub(since);
        let is_paused = self.failed_at.is_some_and(|failed| passed(failed) < PAUSE);
        !is_paused && (count >= MANY || self.is_behind || passed(since) >= PATIENCE)
    }

    /// Whether a write was done; none if it is still under way, or nobody waits for it any longer.
    fn ended(&mut self, mut write: Write, until: Option<Duration>) -> Option<bool> {
        let done = match until {
            None if !write.task.is_finished() => {
                self.writing = Some(write);
                return None;
            }
            None => self.io.block_on(&mut write.task),
            Some(until) => {
                let left = until.saturating_sub(self.clock.now());
                let task = &mut write.task;
                let waited = self
                    .io
                    .block_on(async { tokio::time::timeout(left, task).await });
                let Ok(done) = waited else {
                    write.task.abort();
                    self.failed(write.end, &"no answer came in time");
                    return None;
                };
                done
            }
        };
        let is_done = matches!(done, Ok(Ok(())));
        match done {
            Ok(Ok(())) => {
                self.figures.rows.add(write.rows);
                (self.failed_at, self.tried) = (None, None);
                (self.waits_since, self.is_behind) = (None, write.has_more);
            }
            Ok(Err(error)) => self.failed(write.end, &error),
            Err(panic) => self.failed(write.end, &panic),
        }
        Some(is_done)
    }

    fn failed(&mut self, end: u64, error: &dyn std::fmt::Display) {
        self.failed_at = Some(self.clock.now());
        self.tried = Some(end);
        self.figures.failed.one();
        let lane = self.lane;
        tracing::warn!(lane, %error, "the history of features is not written; it is tried again, and nothing is lost");
    }

    /// Begins to write entries from `next` on.
    fn begin(&mut self, entries: &Entries<'_>, next: u64) -> Result<(), OutboxError> {
        // What is damaged in the lane's own database is no failure of history.
        let damaged = |entry: u64| OutboxError::Damaged {
            lane: self.lane,
            to: entries.to.to_owned(),
            entry,
        };
        let last = self.tried.unwrap_or(u64::MAX).min(entries.numbers.end);
        let (mut end, mut bytes, mut epoch) = (next, 0, None);
        let mut batches: Vec<(String, RecordBatch)> = Vec::new();
        while end < last && end - next < MANY && bytes < BYTES {
            let entry = entries.load(end)?;
            bytes += entry.len();
            for message in entries.messages(end, &entry)? {
                epoch = epoch.or(Some(message.at.epoch));
                let rows = message.value.unwrap_or_default().to_vec();
                let rows = kept_rows::read(rows).map_err(|_| damaged(end))?;
                let group = String::from_utf8_lossy(message.key).into_owned();
                batches.push((group, rows));
            }
            end += 1;
        }
        // The epoch never falls, and numbers of entries begin anew with `--fresh`.
        let stem = format!("l{}-{}-{next}", self.lane, epoch.unwrap_or_default());
        let rows = batches.iter().map(|(_, rows)| rows.num_rows() as u64).sum();
        let store = match &self.store {
            Some(store) => Ok(Arc::clone(store)),
            None => OfflineStore::open(&self.place).map(Arc::new),
        };
        self.store = store.as_ref().ok().map(Arc::clone);
        self.writing = Some(Write {
            end,
            rows,
            has_more: end < entries.numbers.end,
            task: self
                .io
                .spawn(async move { write(store?, stem, &batches).await }),
        });
        Ok(())
    }
}

impl Drop for HistorySender {
    fn drop(&mut self) {
        // It is somebody else's by now, or nobody's.
        self.figures.waits_no_more(self.lane);
    }
}

async fn write(
    store: Arc<OfflineStore>,
    stem: String,
    batches: &[(String, RecordBatch)],
) -> Result<(), StoreError> {
    let mut writer = OfflineWriter::new(store, stem);
    for (group, rows) in batches {
        let [pipeline, window] = [PIPELINE, WINDOW].map(|name| first_text(rows, name));
        writer.add(group, [pipeline, window], rows).await?;
    }
    writer.flush().await
}

/// Rows as a message of the outbox.
pub(in crate::pipeline::live) fn body(
    rows: &RecordBatch,
) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut body = Vec::new();
    kept_rows::write(rows, &mut body)?;
    Ok(body)
}

/// The text that is the same in every row.
fn first_text<'a>(rows: &'a RecordBatch, name: &str) -> &'a str {
    let column = rows.column_by_name(name);
    let column = column.and_then(|column| column.as_any().downcast_ref::<StringArray>());
    column
        .filter(|it| !it.is_empty())
        .map_or("", |it| it.value(0))
}

#[cfg(test)]
#[path = "offline_tests.rs"]
mod tests;
