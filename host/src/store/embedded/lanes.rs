//! Reading lanes that this process does not write: other processes may be writing them at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use slatedb::config::DbReaderOptions;
use slatedb::{DbReader, DbReaderMode, ErrorKind};
use tokio::sync::RwLock;

use super::folder::{Folder, LaneName};
use super::groups::filters;
use super::merge::NewestWins;
use super::storage::Storage;
use super::{blocking, engine};
use crate::store::StoreError;

/// How often a reader that stays open looks for what was flushed since.
const POLL: Duration = Duration::from_millis(50);

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

    /// What the lanes of a pipeline hold at a key, one value for each lane that has it. The `own` lanes are left out:
    /// who has these readers writes them.
    pub(super) async fn get(
        &self,
        pipeline: &str,
        key: &[u8],
        own: &BTreeSet<LaneName>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let reading = self
            .lanes(pipeline, own)
            .await?
            .into_iter()
            .map(|(lane, reader)| self.get_from(lane, reader, key));
        Ok(try_join_all(reading).await?.into_iter().flatten().collect())
    }

    pub(super) async fn close(&self) {
        let readers = std::mem::take(&mut *self.open.write().await);
        // A reader has nothing to lose: that it could not be closed is of no consequence to anybody.
        join_all(readers.values().map(|reader| reader.close())).await;
    }

    async fn lanes(
        &self,
        pipeline: &str,
        own: &BTreeSet<LaneName>,
    ) -> Result<Vec<(LaneName, Arc<DbReader>)>, StoreError> {
        let folder = self.folder.clone();
        let existing = blocking(move || folder.existing_lanes()).await?;
        let wanted = existing
            .into_iter()
            .filter(|lane| lane.pipeline == pipeline && !own.contains(lane));
        let wanted: Vec<LaneName> = wanted.collect();
        let open = self.open.read().await;
        if wanted.iter().any(|lane| !open.contains_key(lane)) {
            drop(open);
            let mut open = self.open.write().await;
            for lane in &wanted {
                if !open.contains_key(lane) {
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
            let disk = Arc::clone(&self.storage.disk);
            let opened = DbReader::builder(lane.path(), disk)
                .with_db_cache(Arc::clone(&self.storage.cache), self.storage.scope())
                // The other modes pin what they read by writing to the manifest, and so get in the writer's way and
                // need the right to write. Following needs neither, at the price of `get_from`'s second attempts.
                .with_reader_mode(DbReaderMode::FollowLatest)
                .with_merge_operator(Arc::new(NewestWins))
                .with_filter_policies(filters())
                .with_options(DbReaderOptions {
                    manifest_poll_interval: POLL,
                    object_store_max_retries: Some(0),
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
            let again = matches!(error.kind(), ErrorKind::Data | ErrorKind::Closed(_));
            if !again || attempt == ATTEMPTS {
                return Err(engine("read", &self.folder.lane(&lane), &error));
            }
            attempt += 1;
            reader = self.open_lane(&lane).await?;
            let mut open = self.open.write().await;
            open.insert(lane.clone(), Arc::clone(&reader));
        }
    }
}

fn of(
    open: &BTreeMap<LaneName, Arc<DbReader>>,
    wanted: &[LaneName],
) -> Vec<(LaneName, Arc<DbReader>)> {
    let lanes = wanted.iter();
    lanes
        .map(|lane| (lane.clone(), Arc::clone(&open[lane])))
        .collect()
}
