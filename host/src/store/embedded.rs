//! The embedded store: one SlateDB database a lane in a local folder, and the declarations as files beside them.
//!
//! `docs/decisions/0002-slatedb.md` says why it is built like this. `folder` gives the layout of the folder,
//! `keys` that of a database's keys, [`crate::store::item`] that of the values.

mod catalog;
mod disk;
mod epochs;
mod folder;
mod keys;
mod lane;
mod lanes;
mod merge;
mod pending;
mod reader;
mod storage;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};

use self::catalog::Catalog;
use self::folder::Folder;
use self::lane::Lane;
use self::lanes::LaneReaders;
pub use self::reader::EmbeddedReader;
use self::storage::Storage;
use super::{
    Declaration, FeatureName, FeatureReader, FeatureStore, FeatureValue, Items, StoreError,
};

/// The embedded store, open for writing. One process at a time may hold it, and another one is refused. (On a file
/// system without locks another one takes the lanes over, and this one's flushes fail from then on.)
///
/// Its futures must be polled within the tokio runtime that opened it (any of its tasks, or `Handle::block_on`).
pub struct EmbeddedStore {
    folder: Folder,
    catalog: Arc<Catalog>,
    lanes: Vec<Lane>,
    /// Lanes that an earlier run with more lanes left behind: they are read, not written.
    others: LaneReaders,
    /// Until it is closed.
    lock: Mutex<Option<File>>,
}

impl EmbeddedStore {
    /// Opens the store in `folder` for writing with lanes `0..lanes`, and creates what is missing. A new store needs
    /// an empty folder or none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when another process writes to it, or the folder holds something else, is of another layout, or cannot be written.
    pub async fn open(folder: &Path, lanes: u32) -> Result<Self, StoreError> {
        let path = folder.to_owned();
        let (folder, lock) = blocking(move || {
            let folder = Folder::create(&path)?;
            let lock = folder.lock()?;
            Ok((folder, lock))
        })
        .await?;
        let storage = Storage::open(&folder)?;
        let store = Self::open_on(folder, storage, lanes).await?;
        *store.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(store)
    }

    async fn open_on(folder: Folder, storage: Storage, lanes: u32) -> Result<Self, StoreError> {
        let opening = (0..lanes).map(|lane| Lane::open(&folder, &storage, lane).boxed());
        let lanes: Vec<Lane> = try_join_all(opening).await?;
        Ok(Self {
            catalog: Arc::new(Catalog::new(folder.clone())),
            others: LaneReaders::new(folder.clone(), storage, lanes.len() as u32),
            folder,
            lanes,
            lock: Mutex::default(),
        })
    }

    /// Opens the store in `folder` for reading, while this or another process may be writing to it. Nothing is
    /// written to the folder.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAStore`] when the folder is not a store, others when it cannot be read.
    pub async fn open_reader(folder: &Path) -> Result<EmbeddedReader, StoreError> {
        EmbeddedReader::open(folder).await
    }

    /// The folder that the store lives in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn lane(&self, lane: u32) -> Result<&Lane, StoreError> {
        self.lanes.get(lane as usize).ok_or(StoreError::NoLane {
            lane,
            lanes: self.lanes.len() as u32,
        })
    }

    async fn get_bytes(&self, key: &[u8]) -> Result<Vec<Bytes>, StoreError> {
        let own = self.lanes.iter().map(|lane| lane.get(key));
        let mut found = self.others.get(key).await?;
        found.extend(try_join_all(own).await?.into_iter().flatten());
        Ok(found)
    }
}

impl FeatureReader for EmbeddedStore {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        reader::declarations(&self.catalog, group).boxed()
    }

    fn get<'a>(
        &'a self,
        group: &'a str,
        entity: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Option<FeatureValue>>, StoreError>> {
        reader::get(&self.catalog, group, entity, features, move |key| {
            async move { self.get_bytes(&key).await }.boxed()
        })
        .boxed()
    }
}

impl FeatureStore for EmbeddedStore {
    fn declare<'a>(
        &'a self,
        declarations: &'a [Declaration],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let catalog = Arc::clone(&self.catalog);
        let declarations = declarations.to_vec();
        blocking(move || catalog.declare(&declarations)).boxed()
    }

    fn begin_epoch<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        let folder = self.folder.clone();
        let pipeline = pipeline.to_owned();
        blocking(move || epochs::begin(&folder, &pipeline)).boxed()
    }

    fn write(&self, lane: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.lane(lane)?.write(&items).await }.boxed()
    }

    fn flush_lane(&self, lane: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.lane(lane)?.flush().await }.boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            try_join_all(self.lanes.iter().map(Lane::flush)).await?;
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.others.close().await;
            // Every lane is closed, also when one of them fails: the first failure is reported at the end.
            let closing = futures::future::join_all(self.lanes.iter().map(Lane::close));
            let closed = closing.await.into_iter().collect();
            drop(
                self.lock
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
            closed
        }
        .boxed()
    }
}

/// Runs file system calls where they hold up nobody else's task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Says what the engine refused, and what can be done.
fn engine(doing: &'static str, path: &Path, error: &slatedb::Error) -> StoreError {
    use slatedb::{CloseReason, ErrorKind};
    let advice = match error.kind() {
        ErrorKind::Closed(CloseReason::Fenced) => {
            "Another process has opened the store for writing: only one may hold it at a time"
        }
        ErrorKind::Closed(CloseReason::Clean) => "The store is closed: open it again",
        ErrorKind::Data => {
            "The files of the database are missing or damaged, or come from another version of the engine"
        }
        ErrorKind::Invalid | ErrorKind::Internal | ErrorKind::Transaction => {
            "This is a fault of the program; please report it"
        }
        _ => {
            "Check that the disk has room and can be written to, and start again: what was flushed is kept"
        }
    };
    StoreError::Engine {
        doing,
        path: path.to_owned(),
        reason: reason(error),
        advice,
    }
}

/// The engine's message with those of its causes. The one that helps, a full disk say, is the last of them.
fn reason(error: &slatedb::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason.push_str(": ");
            reason.push_str(&text);
        }
        cause = error.source();
    }
    reason
}

#[cfg(test)]
mod tests;
