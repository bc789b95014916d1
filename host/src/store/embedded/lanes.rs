//! Reading lanes that this process does not write: other processes may be writing them at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use slatedb::config::DbReaderOptions;
use slatedb::{DbReader, DbReaderMode, ErrorKind};
use tokio::sync::RwLock;

use super::engine;
use super::folder::{Folder, LaneName, parsed};
use super::groups::filters;
use super::merge::NewestWins;
use super::state::Pairs;
use super::storage::Storage;
use crate::store::StoreError;

/// How often a reader that stays open looks for what was flushed since.
const POLL: Duration = Duration::from_millis(25);
/// The same in a bucket, where each look is a request.
const REMOTE_POLL: Duration = Duration::from_secs(10);
/// How often a request to a bucket is repeated before a read fails.
const REMOTE_TRIES: u32 = 6;

/// Keys that are looked up at the same time.
const AT_ONCE: usize = 64;

/// How often a lane is opened anew when files vanish below a read, before the read fails.
const ATTEMPTS: u32 = 3;

/// Lanes, opened for reading as they come into being.
pub(super) struct LaneReaders {
    folder: Folder,
    storage: Storage,
    open: RwLock<BTreeMap<LaneName, Arc<DbReader>>>,
}

impl LaneReaders {
    pub(super) fn new(folder: Folder, storage: Storage) -> Self {
        Self {
            folder,
            storage,
            open: RwLock::default(),
        }
    }

    /// What the lanes of a pipeline hold at some keys: for each key one value for each lane that has it. The `own`
    /// lanes are left out: who has these readers writes them.
    pub(super) async fn get_all(
        &self,
        pipeline: &str,
        keys: &[Vec<u8>],
        own: &BTreeSet<LaneName>,
    ) -> Result<Vec<Vec<Bytes>>, StoreError> {
        let lanes = self.lanes(pipeline, own).await?;
        let mut reading = Vec::with_capacity(keys.len());
        for key in keys {
            reading.push(self.get_each(&lanes, key).boxed());
        }
        futures::stream::iter(reading)
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn get_each(
        &self,
        lanes: &[(LaneName, Arc<DbReader>)],
        key: &[u8],
    ) -> Result<Vec<Bytes>, StoreError> {
        let reading = lanes
            .iter()
            .map(|(lane, reader)| self.get_from(lane.clone(), Arc::clone(reader), key));
        Ok(try_join_all(reading).await?.into_iter().flatten().collect())
    }

    pub(super) async fn close(&self) {
        let readers = std::mem::take(&mut *self.open.write().await);
        // A reader has nothing to lose: that it could not be closed is of no consequence to anybody.
        join_all(readers.values().map(|reader| reader.close())).await;
    }

    /// What a lane holds at a key.
    pub(super) async fn get_of(
        &self,
        lane: &LaneName,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let reader = self.reader(lane).await?;
        self.get_from(lane.clone(), reader, key).await
    }

    /// The pairs of a lane whose keys begin so, by rising keys from behind one of them on: `most` of them, if there are so
    /// many.
    pub(super) async fn some_of(
        &self,
        lane: &LaneName,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Pairs, StoreError> {
        let mut attempt = 1;
        loop {
            let reader = self.reader(lane).await?;
            let error = match scan(&reader, prefix, after, most).await {
                Ok(pairs) => return Ok(pairs),
                Err(error) => error,
            };
            if !is_outrun(&error) || attempt == ATTEMPTS {
                return Err(engine("read", &self.folder.lane(lane), &error));
            }
            attempt += 1;
            self.open.write().await.remove(lane);
        }
    }

    async fn reader(&self, lane: &LaneName) -> Result<Arc<DbReader>, StoreError> {
        if let Some(reader) = self.open.read().await.get(lane) {
            return Ok(Arc::clone(reader));
        }
        let reader = self.open_lane(lane).await?;
        let mut open = self.open.write().await;
        open.insert(lane.clone(), Arc::clone(&reader));
        Ok(reader)
    }

    async fn lanes(
        &self,
        pipeline: &str,
        own: &BTreeSet<LaneName>,
    ) -> Result<Vec<(LaneName, Arc<DbReader>)>, StoreError> {
        let mut wanted = self.folder.lanes_of(pipeline).await?;
        wanted.retain(|lane| !own.contains(lane));
        let open = self.open.read().await;
        if wanted.iter().any(|lane| !open.contains_key(lane)) {
            drop(open);
            let mut open = self.open.write().await;
            for lane in &wanted {
                if !open.contains_key(lane) && self.folder.is_made(lane).await? {
                    open.insert(lane.clone(), self.open_lane(lane).await?);
                }
            }
            return Ok(of(&open, &wanted));
        }
        Ok(of(&open, &wanted))
    }

    async fn open_lane(&self, lane: &LaneName) -> Result<Arc<DbReader>, StoreError> {
        let mut attempt = 1;
        loop {
            let (poll, tries) = match self.folder.is_remote() {
                true => (REMOTE_POLL, REMOTE_TRIES),
                false => (POLL, 0),
            };
            let objects = Arc::clone(&self.storage.objects);
            let opened = DbReader::builder(parsed(&lane.path()), objects)
                .with_db_cache(Arc::clone(&self.storage.cache), self.storage.scope())
                // The other modes pin what they read by writing to the manifest, and so get in the writer's way and
                // need the right to write. Following needs neither, at the price of `get_from`'s second attempts.
                .with_reader_mode(DbReaderMode::FollowLatest)
                .with_merge_operator(Arc::new(NewestWins))
                .with_filter_policies(filters())
                .with_options(DbReaderOptions {
                    manifest_poll_interval: poll,
                    object_store_max_retries: Some(tries),
                    ..DbReaderOptions::default()
                })
                .build()
                .await;
            match opened {
                Ok(reader) => return Ok(Arc::new(reader)),
                Err(e) if e.kind() == ErrorKind::Data && attempt < ATTEMPTS => attempt += 1,
                Err(e) => return Err(engine("read", &self.folder.lane(lane), &e)),
            }
        }
    }

    /// Reads one lane. The writer's garbage collector may delete a file between a reader's look at the manifest and
    /// its read of the file; the next manifest no longer names it.
    async fn get_from(
        &self,
        lane: LaneName,
        mut reader: Arc<DbReader>,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let mut attempt = 1;
        loop {
            let error = match reader.get(key).await {
                Ok(found) => return Ok(found),
                Err(e) => e,
            };
            if !is_outrun(&error) || attempt == ATTEMPTS {
                return Err(engine("read", &self.folder.lane(&lane), &error));
            }
            attempt += 1;
            reader = self.open_lane(&lane).await?;
            let mut open = self.open.write().await;
            open.insert(lane.clone(), Arc::clone(&reader));
        }
    }
}

/// Whether files vanished below a reader.
fn is_outrun(error: &slatedb::Error) -> bool {
    matches!(error.kind(), ErrorKind::Data | ErrorKind::Closed(_))
}

async fn scan(
    reader: &DbReader,
    prefix: &[u8],
    after: Option<&[u8]>,
    most: usize,
) -> Result<Pairs, slatedb::Error> {
    let after = after.map(|key| &key[prefix.len()..]);
    let begin = after.map_or(Bound::Unbounded, |rest| Bound::Excluded(rest.to_vec()));
    let range = (begin, Bound::Unbounded);
    let mut found = reader.scan_prefix(prefix, range).await?;
    let mut pairs = Pairs::new();
    while pairs.len() < most
        && let Some(pair) = found.next().await?
    {
        pairs.push((pair.key, pair.value));
    }
    Ok(pairs)
}

fn of(
    open: &BTreeMap<LaneName, Arc<DbReader>>,
    wanted: &[LaneName],
) -> Vec<(LaneName, Arc<DbReader>)> {
    let lanes = wanted.iter();
    lanes
        .filter_map(|lane| Some((lane.clone(), Arc::clone(open.get(lane)?))))
        .collect()
}
