//! The embedded store: one SlateDB database a lane, in a folder of this machine or in a bucket, and the declarations
//! as files beside them.
//!
//! `docs/decisions/0002-slatedb.md` says why it is built like this. `folder` gives the layout of the folder,
//! `keys` that of a database's keys, [`crate::store::item`] that of the values.

mod aside;
mod bucket;
mod catalog;
mod compaction;
mod counted;
mod disk;
mod epochs;
mod folder;
mod groups;
mod kept;
mod keys;
mod lane;
mod lanes;
mod merge;
mod pending;
mod reader;
mod runs;
mod shadows;
mod snapshot;
mod state;
mod storage;
mod swaps;
mod tables;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, try_join_all};

pub use self::aside::Aside;
use self::catalog::Catalog;
pub use self::counted::{RequestCounts, StoreRequests};
use self::folder::{Folder, LaneName};
pub use self::keys::Keyspace;
use self::lane::Lane;
use self::lanes::LaneReaders;
pub use self::reader::EmbeddedReader;
pub use self::snapshot::{Restored, WayBack};
pub use self::state::{LaneState, Pairs, StateBatch};
use self::storage::Storage;
pub use self::swaps::SaidOfSwaps;
use super::{
    Caches, Declaration, FeatureName, FeatureReader, FeatureStore, ItemPlace, Items, StoreError,
};
use crate::config::{StorePlace, is_url};

/// The lanes that a pipeline has, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineLanes {
    /// The pipeline.
    pub pipeline: String,
    /// How many lanes it has.
    pub lanes: u32,
}

/// What a lane's database takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneSize {
    /// Its files, or objects.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When its log was written last, in microseconds since 1970-01-01T00:00:00Z by the clock of whoever keeps the
    /// files: a lane's last commit, or its opening. None if nothing of the log is there any more.
    pub log_written: Option<i64>,
}

/// A lane of a live pipeline, open for writing.
pub struct LiveLane {
    /// What it keeps.
    pub state: LaneState,
    name: LaneName,
    /// Held as long as the lane is; none where another process has it.
    _lock: Option<File>,
}

/// The embedded store, open for writing. One process at a time may hold a lane, and another one is refused. (In a
/// bucket, and on a file system without locks, another one takes the lane over, and this one's flushes fail from then
/// on: nothing that it wrote later is there.)
///
/// Its futures must be polled within the tokio runtime that opened it (any of its tasks, or `Handle::block_on`).
pub struct EmbeddedStore {
    folder: Folder,
    catalog: Catalog,
    storage: Storage,
    lanes: RwLock<BTreeMap<LaneName, Arc<Lane>>>,
    /// Lanes of other pipelines, and those that an earlier run with more lanes left behind: they are read, not
    /// written.
    others: LaneReaders,
    /// Of lanes that [`EmbeddedStore::open_lanes`] opened, until they are closed.
    locks: Mutex<Vec<(LaneName, File)>>,
    caches: Caches,
}

impl EmbeddedStore {
    /// Opens the store at a place for writing some pipelines' lanes, and creates what is missing. A new store needs
    /// an empty folder or none, or a prefix that nothing has.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when another process has one of the lanes, or the folder holds something else, is of another
    /// layout, or cannot be written.
    pub async fn open(
        place: impl Into<StorePlace>,
        pipelines: &[PipelineLanes],
    ) -> Result<Self, StoreError> {
        let folder = Folder::create(&place.into()).await?;
        let storage = Storage::open(&folder)?;
        let store = Self::on(folder, storage);
        store.open_lanes(pipelines).await?;
        Ok(store)
    }

    fn on(folder: Folder, storage: Storage) -> Self {
        Self {
            catalog: Catalog::new(folder.clone()),
            others: LaneReaders::new(folder.clone(), storage.clone()),
            folder,
            storage,
            lanes: RwLock::default(),
            locks: Mutex::default(),
            caches: Caches::default(),
        }
    }

    /// Opens some pipelines' lanes for writing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when another process has one of the lanes, or it cannot be opened. Then none is open.
    pub async fn open_lanes(&self, pipelines: &[PipelineLanes]) -> Result<(), StoreError> {
        let names = lane_names(pipelines);
        let locking = self.folder.clone();
        let locks = blocking(move || {
            let locks = names.into_iter().filter_map(|lane| {
                let lock = locking.lock(&lane).transpose()?;
                Some(lock.map(|lock| (lane, lock)))
            });
            locks.collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
        self.open_unlocked(&lane_names(pipelines)).await?;
        self.locks().extend(locks);
        Ok(())
    }

    async fn open_unlocked(&self, names: &[LaneName]) -> Result<(), StoreError> {
        let opening = names.iter().map(|name| {
            async move {
                let lane = Lane::open(&self.folder, &self.storage, name, &self.caches).await?;
                Ok::<_, StoreError>((name.clone(), Arc::new(lane)))
            }
            .boxed()
        });
        let opened = try_join_all(opening).await?;
        self.lanes_mut().extend(opened);
        Ok(())
    }

    /// Closes what is open of a pipeline's lanes. They can be read still, as others' can.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when one could not be made durable. The others are closed.
    pub async fn close_lanes(&self, pipeline: &str) -> Result<(), StoreError> {
        self.close_those(|name| name.pipeline == pipeline).await
    }

    async fn close_those(&self, which: impl Fn(&LaneName) -> bool) -> Result<(), StoreError> {
        let closing: Vec<Arc<Lane>> = {
            let mut lanes = self.lanes_mut();
            let (gone, kept) = std::mem::take(&mut *lanes)
                .into_iter()
                .partition(|(name, _)| which(name));
            *lanes = kept;
            let gone: BTreeMap<LaneName, Arc<Lane>> = gone;
            gone.into_values().collect()
        };
        // Every lane is closed, also when one of them fails: the first failure is reported at the end.
        let closed = join_all(closing.iter().map(|lane| lane.close())).await;
        self.locks().retain(|(name, _)| !which(name));
        closed.into_iter().collect()
    }

    /// Opens a store that is there, without lanes: for reading, and for lanes that are opened later.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAStore`] when the folder is not a store, others when it cannot be read.
    pub async fn open_existing(place: impl Into<StorePlace>) -> Result<Self, StoreError> {
        let folder = Folder::open(&place.into()).await?;
        let storage = Storage::open(&folder)?;
        Ok(Self::on(folder, storage))
    }

    /// Opens the store at a place for reading, while this or another process may be writing to it. Nothing is
    /// written there.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAStore`] when the folder is not a store, others when it cannot be read.
    pub async fn open_reader(place: impl Into<StorePlace>) -> Result<EmbeddedReader, StoreError> {
        EmbeddedReader::open(&place.into()).await
    }

    /// The folder that the store lives in, or its URL.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a lane's pipeline keeps beside its features.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLane`] if the store was not opened with the lane.
    pub fn state(&self, pipeline: &str, lane: u32) -> Result<LaneState, StoreError> {
        Ok(LaneState::of(self.lane(pipeline, lane)?, Keyspace::Run))
    }

    /// Opens a lane of a live pipeline, and takes it away from whoever had it open, here or elsewhere: what that one
    /// writes from now on fails. What it wrote before is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be opened.
    pub async fn open_lane(&self, pipeline: &str, lane: u32) -> Result<LiveLane, StoreError> {
        // The lock keeps runs over recorded events away. Another process that reads the stream may have it, frozen
        // maybe: the stream has given the lane to us, and the database sees to it that only one writes.
        let name = lane_name(pipeline, lane);
        let lock = match self.lock(&name).await {
            Err(StoreError::Busy { .. }) => None,
            lock => lock?,
        };
        self.open_locked(name, lock).await
    }

    /// Opens a lane that nothing but its lock gives to anybody. (Where there are no locks, it is taken away from whoever
    /// had it, whose flushes fail from then on.)
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when another process has it, others when it cannot be opened.
    pub async fn claim_lane(&self, pipeline: &str, lane: u32) -> Result<LiveLane, StoreError> {
        let name = lane_name(pipeline, lane);
        let lock = self.lock(&name).await?;
        self.open_locked(name, lock).await
    }

    async fn lock(&self, name: &LaneName) -> Result<Option<File>, StoreError> {
        let (folder, name) = (self.folder.clone(), name.clone());
        blocking(move || folder.lock(&name)).await
    }

    async fn open_locked(
        &self,
        name: LaneName,
        lock: Option<File>,
    ) -> Result<LiveLane, StoreError> {
        let opened = Arc::new(Lane::open(&self.folder, &self.storage, &name, &self.caches).await?);
        let state = LaneState::of(Arc::clone(&opened), Keyspace::Live);
        self.lanes_mut().insert(name.clone(), opened);
        Ok(LiveLane {
            state,
            name,
            _lock: lock,
        })
    }

    /// Closes a lane of a live pipeline. Everything that was flushed stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it belongs to somebody else by now, or the disk fails.
    pub async fn close_lane(&self, lane: LiveLane) -> Result<(), StoreError> {
        let closed = lane.state.close().await;
        let mut lanes = self.lanes_mut();
        // Another one may have been opened under its name.
        if (lanes.get(&lane.name)).is_some_and(|open| lane.state.is_of(open)) {
            lanes.remove(&lane.name);
        }
        closed
    }

    fn lanes(&self) -> RwLockReadGuard<'_, BTreeMap<LaneName, Arc<Lane>>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<LaneName, Arc<Lane>>> {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn locks(&self) -> MutexGuard<'_, Vec<(LaneName, File)>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes().values().map(Arc::clone).collect()
    }

    /// What is said of the run of a pipeline that is not over, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when it cannot be read.
    pub async fn run(&self, pipeline: &str) -> Result<Option<String>, StoreError> {
        runs::read(&self.folder, pipeline).await
    }

    /// Says something of the run of a pipeline, durably; or that there is none that is not over.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when it cannot be written.
    pub async fn set_run(&self, pipeline: &str, run: Option<String>) -> Result<(), StoreError> {
        runs::write(&self.folder, pipeline, run).await
    }

    fn lane(&self, pipeline: &str, lane: u32) -> Result<Arc<Lane>, StoreError> {
        let name = lane_name(pipeline, lane);
        let no_lane = || StoreError::NoLane {
            pipeline: pipeline.to_owned(),
            lane,
        };
        self.lanes().get(&name).map(Arc::clone).ok_or_else(no_lane)
    }

    async fn read(
        &self,
        pipeline: &str,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<Bytes>>, StoreError> {
        let own: BTreeMap<LaneName, Arc<Lane>> = {
            let lanes = self.lanes();
            let own = lanes.iter().filter(|(name, _)| name.pipeline == pipeline);
            own.map(|(name, lane)| (name.clone(), Arc::clone(lane)))
                .collect()
        };
        let names = own.keys().cloned().collect();
        let mut found = self.others.get_all(pipeline, &keys, &names).await?;
        for (key, found) in keys.iter().zip(&mut found) {
            let own = own
                .iter()
                .map(|(name, lane)| self.read_own(name, lane, key));
            found.extend(try_join_all(own).await?.into_iter().flatten());
        }
        Ok(found)
    }

    /// What there is at a key of a lane that is open here, or was a moment ago.
    async fn read_own(
        &self,
        name: &LaneName,
        lane: &Lane,
        key: &[u8],
    ) -> Result<Vec<Bytes>, StoreError> {
        match lane.get(key).await {
            Err(_) if lane.is_closed() => {
                let found = self.others.get_of(name, key).await?;
                Ok(found.into_iter().collect())
            }
            found => found,
        }
    }
}

impl FeatureReader for EmbeddedStore {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        self.catalog.list(group).boxed()
    }

    fn find<'a>(
        &'a self,
        group: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        self.catalog.find(group, features).boxed()
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        reader::items(places, |pipeline, keys| self.read(pipeline, keys)).boxed()
    }

    fn caches(&self) -> Option<&Caches> {
        Some(&self.caches)
    }
}

impl FeatureStore for EmbeddedStore {
    fn declare<'a>(
        &'a self,
        declarations: &'a [Declaration],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.catalog.declare(declarations).boxed()
    }

    fn begin_epoch<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        epochs::begin(&self.folder, pipeline).boxed()
    }

    fn write(&self, lane: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.lane(&items.pipeline, lane)?.write(&items).await }.boxed()
    }

    fn flush_lane<'a>(
        &'a self,
        pipeline: &'a str,
        lane: u32,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.lane(pipeline, lane)?.flush().await }.boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let lanes = self.all_lanes();
            try_join_all(lanes.iter().map(|lane| lane.flush())).await?;
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.others.close().await;
            self.close_those(|_| true).await
        }
        .boxed()
    }
}

fn lane_name(pipeline: &str, number: u32) -> LaneName {
    LaneName {
        pipeline: pipeline.to_owned(),
        number,
    }
}

fn lane_names(pipelines: &[PipelineLanes]) -> Vec<LaneName> {
    let names = pipelines
        .iter()
        .flat_map(|of| (0..of.lanes).map(|number| lane_name(&of.pipeline, number)));
    names.collect()
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
            return StoreError::Fenced {
                doing,
                path: path.to_owned(),
            };
        }
        ErrorKind::Closed(CloseReason::Clean) => "The store is closed: open it again",
        ErrorKind::Data => {
            "The files of the database are missing or damaged, or come from another version of the engine"
        }
        ErrorKind::Invalid | ErrorKind::Internal | ErrorKind::Transaction => {
            "This is a fault of the program; please report it"
        }
        _ if is_url(&path.to_string_lossy()) => {
            "See to it that the bucket is there and may be written to, and start again: what was flushed is kept"
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
