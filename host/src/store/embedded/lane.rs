//! One lane's database, open for writing.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slatedb::config::{
    CloseOptions, CompactionWorkerOptions, CompactorOptions, FlushOptions, FlushType,
};
use slatedb::{CompactorBuilder, Db, Settings, SstBlockSize, WriteBatch};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::counted::StoreRequests;
use super::folder::{Folder, LaneName, parsed};
use super::groups::filters;
use super::keys::{ITEM_PREFIX, item_parts};
use super::merge::NewestWins;
use super::pending::Pending;
use super::storage::Storage;
use super::{compaction, engine};
use crate::store::{Caches, ItemPlace, Items, StoreError};

/// A lane holds this many bytes of items before it hands them to the engine without being asked.
const PENDING_BYTES: usize = 8 << 20;

/// How much one batch of the engine may hold, in bytes of keys and values. The engine applies a batch in one piece,
/// so this bounds how long it keeps its tasks from running.
const BATCH_BYTES: usize = 1 << 20;

/// The engine writes a table in memory out as a file when it has grown to this many bytes of keys and values. Small
/// ones take four times as much there, and each lane has some of them.
const TABLE_BYTES: usize = 2 << 20;

/// The engine lets writes wait while it holds this many bytes that are not in files yet.
const UNFLUSHED_BYTES: usize = 4 << 20;

/// How long a write waits before it sees to it that it does not wait for itself.
const PATIENCE: Duration = Duration::from_millis(5);

/// The same in a bucket, where each file is a request.
const REMOTE_TABLE_BYTES: usize = 4 << 20;
const REMOTE_UNFLUSHED_BYTES: usize = 12 << 20;

/// How often the engine looks for tables to put together.
const COMPACTION_EVERY: Duration = Duration::from_millis(500);
/// Bytes that the engine reads at once of each of the tables that it puts together.
const FETCHED_BYTES: usize = 256 << 10;
/// Bytes of a table that it makes of them, at most. What is written of one is in memory until there are 10 MiB of it.
const FILE_BYTES: usize = 4 << 20;

/// In a bucket: flushes of the log after which a table is written. Opening a lane reads an object for each flush
/// since then.
const LOG_OBJECTS: u32 = 512;
/// How often the engine looks what others have done to the database, and what there is to put together.
const REMOTE_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes that it reads at once, where an answer takes long and a connection is fast.
const REMOTE_FETCHED_BYTES: usize = 4 << 20;
/// Tables that may wait to be put together before writes wait.
const REMOTE_TABLES: usize = 32;
/// How long the engine tries to write down what a database consists of.
const OUTAGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A lane's database with what is on its way to it.
pub(super) struct Lane {
    pub(super) db: Db,
    pub(super) path: PathBuf,
    /// What it has asked of the disk or the bucket.
    pub(super) requests: Arc<StoreRequests>,
    /// Told of every item that can be read from now on, and of what is taken back.
    pub(super) caches: Caches,
    /// Flushes of the log since the last table, in a bucket.
    flushes: Option<AtomicU32>,
    memory: Mutex<Memory>,
    /// Held while items go to the engine. A writer that has filled `PENDING_BYTES` waits for it.
    draining: AsyncMutex<()>,
}

/// Items that the engine does not have yet, or not for certain.
#[derive(Default)]
struct Memory {
    pending: Pending,
    /// On its way to the engine. It stays readable until the engine has it, and stays at all when the engine fails.
    leaving: Option<Arc<Pending>>,
}

impl Lane {
    pub(super) async fn open(
        folder: &Folder,
        storage: &Storage,
        lane: &LaneName,
        caches: &Caches,
    ) -> Result<Self, StoreError> {
        let path = folder.lane(lane);
        let (objects, requests) = storage.counted();
        let is_remote = folder.is_remote();
        let (settings, compactor) = match is_remote {
            true => remote_settings(),
            false => settings(),
        };
        let at = parsed(&lane.path());
        let thread = compaction::thread().map_err(|source| StoreError::Io {
            doing: "start a thread to compact",
            path: path.clone(),
            source,
        })?;
        let compactor = CompactorBuilder::new(at.clone(), Arc::clone(&objects))
            .with_options(compactor)
            .with_runtime(thread);
        let db = Db::builder(at, objects)
            .with_db_cache(Arc::clone(&storage.cache), storage.scope())
            .with_compactor_builder(compactor)
            .with_settings(settings)
            .with_sst_block_size(SstBlockSize::Block8Kib)
            .with_filter_policies(filters())
            .with_merge_operator(Arc::new(NewestWins))
            .build()
            .await
            .map_err(|e| engine("open", &path, &e))?;
        Ok(Self {
            db,
            path,
            requests,
            caches: caches.clone(),
            flushes: is_remote.then(AtomicU32::default),
            memory: Mutex::default(),
            draining: AsyncMutex::default(),
        })
    }

    /// Takes items in. They are durable after the next flush.
    pub(super) async fn write(&self, items: &Items) -> Result<(), StoreError> {
        let full = {
            let mut memory = self.memory();
            memory.pending.take(items)?;
            memory.pending.bytes() >= PENDING_BYTES
        };
        self.caches.written(items).await;
        match full {
            true => self.drain().await,
            false => Ok(()),
        }
    }

    /// Returns when everything that was written before is durable.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        self.drain().await?;
        let fault = |e: &slatedb::Error| engine("make durable what was written to", &self.path, e);
        self.db.flush().await.map_err(|e| fault(&e))?;
        if let Some(flushes) = &self.flushes
            && flushes.fetch_add(1, Ordering::Relaxed) >= LOG_OBJECTS
        {
            flushes.store(0, Ordering::Relaxed);
            self.write_table().await.map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// Has what is in the log written as a table, so that whoever opens the lane next need not read the log.
    async fn write_table(&self) -> Result<(), slatedb::Error> {
        let options = FlushOptions {
            flush_type: FlushType::MemTable,
        };
        self.db.flush_with_options(options).await
    }

    /// What there is at a key: at most one item from the engine, and those that it does not have yet.
    pub(super) async fn get(&self, key: &[u8]) -> Result<Vec<Bytes>, StoreError> {
        // Memory comes first: what leaves it after this look is in the engine by the next line, or in both.
        let mut found: Vec<Bytes> = {
            let memory = self.memory();
            let leaving = memory.leaving.as_ref().and_then(|leaving| leaving.get(key));
            memory.pending.get(key).into_iter().chain(leaving).collect()
        };
        let stored = self.db.get(key).await;
        found.extend(stored.map_err(|e| engine("read", &self.path, &e))?);
        Ok(found)
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        // The log alone is flushed: a table would only save the next start from reading it, and would make closing
        // a store after a failure depend on more of the disk.
        // In a bucket reading it is a request for each commit.
        let mut flushed = self.flush().await;
        if self.flushes.is_some() && flushed.is_ok() {
            let written = self.write_table().await;
            flushed = written.map_err(|e| engine("close", &self.path, &e));
        }
        let options = CloseOptions::default().with_flush_type(None);
        let closed = self.db.close_with_options(options).await;
        flushed.and(closed.map_err(|e| engine("close", &self.path, &e)))
    }

    /// Whether it is closed, or somebody else's by now: what is there is read elsewhere.
    pub(super) fn is_closed(&self) -> bool {
        self.db.status().close_reason.is_some()
    }

    /// Hands everything that was pending at the call to the engine.
    pub(super) async fn drain(&self) -> Result<(), StoreError> {
        let _alone = self.draining.lock().await;
        loop {
            // What an earlier call left behind, because it failed or was given up, goes first; what is pending after.
            let (leaving, last) = {
                let mut memory = self.memory();
                let last = memory.leaving.is_none();
                if last && !memory.pending.is_empty() {
                    memory.leaving = Some(Arc::new(std::mem::take(&mut memory.pending)));
                }
                (memory.leaving.clone(), last)
            };
            if let Some(leaving) = leaving {
                self.hand_over(&leaving).await?;
                self.memory().leaving = None;
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn hand_over(&self, items: &Pending) -> Result<(), StoreError> {
        let mut batches = Vec::new();
        let mut batch = WriteBatch::new();
        let mut bytes = 0;
        for (key, item) in items.sorted() {
            batch.merge(key, item);
            bytes += key.len() + item.len();
            if bytes >= BATCH_BYTES {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        for batch in batches {
            self.put(batch).await?;
        }
        Ok(())
    }

    /// Hands a batch to the engine. It can be read when this returns, and is durable after the next flush.
    ///
    /// A batch has to wait while too much is not in files. What is in memory becomes a file only once the log has all
    /// of it, and the log is written when somebody flushes it: whoever waits here is the only one who could.
    pub(super) async fn put(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let fault = |e: slatedb::Error| engine("write to", &self.path, &e);
        let mut write = pin!(self.db.write(batch));
        loop {
            match timeout(PATIENCE, &mut write).await {
                Ok(written) => return written.map(drop).map_err(fault),
                Err(_) => self.db.flush().await.map_err(fault)?,
            }
        }
    }

    /// Tells caches of items that the engine has now, at their keys.
    pub(super) async fn tell(&self, items: &Pending) {
        if self.caches.is_empty() {
            return;
        }
        for (key, item) in items.sorted() {
            let parts = item_parts(&key[ITEM_PREFIX..]).expect("keys are of items");
            let [group, entity, pipeline, window] = &parts;
            let place = ItemPlace {
                group,
                pipeline,
                window,
                entity,
            };
            self.caches.written_one(&place, item).await;
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change of what is held is whole before anything can panic, so that a poisoned lock is a sound one.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In a bucket every look costs a request, also where nothing happens: there the engine looks seldom, and may have
/// more tables that wait to be put together.
fn remote_settings() -> (Settings, CompactorOptions) {
    let (settings, compactor) = settings();
    let compactor = CompactorOptions {
        poll_interval: REMOTE_LOOK_EVERY,
        worker: compactor.worker.map(|worker| CompactionWorkerOptions {
            compactions_poll_interval: REMOTE_LOOK_EVERY,
            bytes_to_fetch: REMOTE_FETCHED_BYTES,
            ..worker
        }),
        ..compactor
    };
    let settings = Settings {
        l0_sst_size_bytes: REMOTE_TABLE_BYTES,
        max_unflushed_bytes: REMOTE_UNFLUSHED_BYTES,
        manifest_poll_interval: REMOTE_LOOK_EVERY,
        // An outage may take long, and is waited for.
        manifest_update_timeout: OUTAGE,
        l0_max_ssts: REMOTE_TABLES,
        l0_max_ssts_per_key: REMOTE_TABLES,
        object_store_max_retries: None,
        ..settings
    };
    (settings, compactor)
}

/// What a lane's database works with, and what puts its tables together.
fn settings() -> (Settings, CompactorOptions) {
    let settings = Settings {
        // Lanes flush when they commit. A timer would sync files in between that nobody waits for.
        flush_interval: None,
        l0_sst_size_bytes: TABLE_BYTES,
        max_unflushed_bytes: UNFLUSHED_BYTES,
        // A disk's failures do not pass (see `disk`). Without a bound the engine would try for ever.
        object_store_max_retries: Some(0),
        l0_flush_parallelism: 1,
        compactor_options: None,
        ..Settings::default()
    };
    let compactor = CompactorOptions {
        // Tables in memory are small, so that tables in files come fast.
        poll_interval: COMPACTION_EVERY,
        max_concurrent_compactions: 1,
        worker: Some(CompactionWorkerOptions {
            compactions_poll_interval: COMPACTION_EVERY,
            max_concurrent_compactions: 1,
            max_subcompactions: 1,
            max_fetch_tasks: 2,
            bytes_to_fetch: FETCHED_BYTES,
            max_sst_size: FILE_BYTES,
            ..CompactionWorkerOptions::default()
        }),
        ..CompactorOptions::default()
    };
    (settings, compactor)
}
