//! Snapshots of a lane: what its database held at a moment, and the way back to that.
//!
//! A snapshot is a checkpoint of the engine, which keeps the files that it is made of. To go back is to put what
//! differs: both are read once, in the order of their keys, and what was changed since is written as it was, what was
//! added is removed. So nothing is noted while a lane works on, the database stays where its readers look for it, and its
//! fence stands. It may break off anywhere and be done again: the snapshot does not change.
//!
//! A lane has one snapshot at most. The engine knows them by a name, by which those are found that a crash left behind.

use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::admin::AdminBuilder;
use slatedb::config::{CheckpointOptions, CheckpointScope, DbReaderOptions};
use slatedb::{DbIterator, DbReader, DbReaderMode, WriteBatch};

use super::folder::{LaneName, parsed};
use super::groups::filters;
use super::keys::{FEATURES, ITEM_PREFIX, Keyspace, TAKEN_BACK, item_parts, taken_back};
use super::lane::Lane;
use super::merge::NewestWins;
use super::{EmbeddedStore, LiveLane, engine};
use crate::store::{Before, FeatureStore, StoreError};

/// What the engine calls them.
const NAME: &str = "penstock-swap";

/// Bytes of a batch on the way back.
const BATCH_BYTES: usize = 1 << 20;

/// What going back to a snapshot did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Items of features that are as they were: an item is what one entity has of one pipeline and window.
    pub put_back: u64,
    /// Items of features that were not there then, and are withdrawn.
    pub withdrawn: u64,
    /// Records of state that were put back or removed.
    pub records: u64,
}

/// How a lane is put back.
pub struct WayBack<'a> {
    /// The snapshot.
    pub snapshot: &'a str,
    /// The key of the live state that comes back after everything else.
    pub last: &'a [u8],
    /// What keys of the live state begin with that stay as they are.
    pub but: &'a [&'a [u8]],
    /// The generation that is taken back: what it had served last is listed under its number. None if nothing was served.
    pub generation: Option<u64>,
    /// Where features are served from, if not from the lane, and the last epoch that is not taken back.
    pub apart: Option<(&'a dyn FeatureStore, u64)>,
}

impl EmbeddedStore {
    /// Takes a snapshot of a lane, of everything that it wrote and made durable, and forgets the one before. Gives its
    /// name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be taken.
    pub async fn take_snapshot(&self, lane: &LiveLane) -> Result<String, StoreError> {
        let opened = lane.state.lane();
        let fault = |e: &slatedb::Error| engine("take a snapshot of", &opened.path, e);
        opened.flush().await?;
        let options = CheckpointOptions {
            name: Some(NAME.to_owned()),
            ..CheckpointOptions::default()
        };
        let taken = opened.db.create_checkpoint(CheckpointScope::All, &options);
        let taken = taken.await.map_err(|e| fault(&e))?.id.to_string();
        self.forget_snapshots(&lane.name, Some(&taken)).await?;
        Ok(taken)
    }

    /// Has a lane be as it was at a snapshot, durably: features, and the live state.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the snapshot is gone, or the lane cannot be written; then it is to be done again.
    pub async fn restore(
        &self,
        lane: &LiveLane,
        way: &WayBack<'_>,
    ) -> Result<Restored, StoreError> {
        let opened = lane.state.lane();
        let fault = |e: &slatedb::Error| engine("go back to the snapshot of", &opened.path, e);
        let reader = self.snapshot(&lane.name, way.snapshot).await?;
        opened.flush().await?;
        if let Some(generation) = way.generation {
            forget_but(opened, generation).await?;
        }
        let mut restored = Restored::default();
        let live = Keyspace::Live.prefix();
        let last = [&live, way.last].concat();
        let stays = |key: &[u8]| {
            let key = key.strip_prefix(&live[..]);
            key.is_some_and(|key| way.but.iter().any(|but| key.starts_with(but)))
        };
        let mut put = Put {
            lane: opened,
            name: &lane.name,
            way,
            batch: WriteBatch::new(),
            bytes: 0,
            before: Vec::new(),
        };
        // What was never flushed is forgotten also where nothing differs.
        put.all().await?;
        for keyspace in [FEATURES, live[0]] {
            let range = || vec![keyspace]..vec![keyspace + 1];
            let then = reader.scan(range()).await.map_err(|e| fault(&e))?;
            let now = opened.db.scan(range()).await.map_err(|e| fault(&e))?;
            let mut back = Back::new(then, now).await.map_err(|e| fault(&e))?;
            while let Some(difference) = back.next().await.map_err(|e| fault(&e))? {
                if stays(&difference.key) || *difference.key == last[..] {
                    continue;
                }
                match (keyspace, &difference.then) {
                    (FEATURES, Some(_)) => restored.put_back += 1,
                    (FEATURES, None) => restored.withdrawn += 1,
                    _ => restored.records += 1,
                }
                if keyspace == FEATURES {
                    put.serve_as_before(&difference)?;
                }
                put.record(difference).await?;
            }
        }
        put.all().await?;
        opened.flush().await?;
        let mut batch = WriteBatch::new();
        match reader.get(&last).await.map_err(|e| fault(&e))? {
            Some(value) => batch.put(&last, &value),
            None => batch.delete(&last),
        }
        opened.put(batch).await?;
        opened.flush().await?;
        // A reader has nothing to lose.
        let _ = reader.close().await;
        Ok(restored)
    }

    /// What was at a key of the live state at a snapshot.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the snapshot is gone or cannot be read.
    pub async fn in_snapshot(
        &self,
        lane: &LiveLane,
        snapshot: &str,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let reader = self.snapshot(&lane.name, snapshot).await?;
        let key = [&Keyspace::Live.prefix(), key].concat();
        let found = reader.get(&key).await;
        let _ = reader.close().await;
        found.map_err(|e| engine("read the snapshot of", &self.folder.lane(&lane.name), &e))
    }

    pub(super) async fn snapshot(
        &self,
        lane: &LaneName,
        snapshot: &str,
    ) -> Result<DbReader, StoreError> {
        let path = self.folder.lane(lane);
        let damaged = || StoreError::Damaged {
            path: path.clone(),
            reason: format!("{snapshot:?} is the name of no snapshot"),
        };
        let id = FromStr::from_str(snapshot).map_err(|_| damaged())?;
        let reader = DbReader::builder(parsed(&lane.path()), Arc::clone(&self.storage.objects))
            .with_db_cache(Arc::clone(&self.storage.cache), self.storage.scope())
            .with_reader_mode(DbReaderMode::Checkpoint(id))
            .with_merge_operator(Arc::new(NewestWins))
            .with_filter_policies(filters())
            .with_options(DbReaderOptions::default())
            .build();
        reader
            .await
            .map_err(|e| engine("read the snapshot of", &path, &e))
    }

    /// Forgets the snapshots of a lane but for one.
    async fn forget_snapshots(&self, lane: &LaneName, but: Option<&str>) -> Result<(), StoreError> {
        let fault = |e: &slatedb::Error| engine("forget a snapshot of", &self.folder.lane(lane), e);
        let objects = Arc::clone(&self.storage.objects);
        let admin = AdminBuilder::new(parsed(&lane.path()), objects).build();
        let all = admin.list_checkpoints(Some(NAME)).await;
        for checkpoint in all.map_err(|e| fault(&e))? {
            if but != Some(checkpoint.id.to_string().as_str()) {
                let gone = admin.delete_checkpoint(checkpoint.id).await;
                gone.map_err(|e| fault(&e))?;
            }
        }
        Ok(())
    }
}

/// Forgets what was served by generations that were taken back but for one.
async fn forget_but(lane: &Lane, generation: u64) -> Result<(), StoreError> {
    let fault = |e: &slatedb::Error| engine("forget what was taken back in", &lane.path, e);
    let but = taken_back(generation);
    let range = TAKEN_BACK.to_vec()..vec![TAKEN_BACK[0], TAKEN_BACK[1] + 1];
    let mut found = lane.db.scan(range).await.map_err(|e| fault(&e))?;
    let (mut batch, mut bytes) = (WriteBatch::new(), 0);
    while let Some(pair) = found.next().await.map_err(|e| fault(&e))? {
        if pair.key.starts_with(&but) {
            continue;
        }
        bytes += pair.key.len();
        batch.delete(&pair.key);
        if bytes >= BATCH_BYTES {
            lane.put(std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    match batch.is_empty() {
        true => Ok(()),
        false => lane.put(batch).await,
    }
}

/// What is being put back, in batches.
struct Put<'a> {
    lane: &'a Lane,
    name: &'a LaneName,
    way: &'a WayBack<'a>,
    batch: WriteBatch,
    bytes: usize,
    /// Items that are put back, for who serves them: a table, or caches.
    before: Vec<Before>,
}

impl Put<'_> {
    async fn record(&mut self, difference: Difference) -> Result<(), StoreError> {
        let Difference { key, then, .. } = difference;
        self.bytes += key.len() + then.as_ref().map_or(0, Bytes::len);
        match then {
            Some(value) => self.batch.put_bytes(key, value),
            None => self.batch.delete(key),
        }
        match self.bytes >= BATCH_BYTES {
            true => self.all().await,
            false => Ok(()),
        }
    }

    /// Lists an item as it was served, and has it be served as it was before.
    fn serve_as_before(&mut self, difference: &Difference) -> Result<(), StoreError> {
        let bare = &difference.key[ITEM_PREFIX..];
        if let (Some(generation), Some(now)) = (self.way.generation, &difference.now) {
            let key = [&taken_back(generation), bare].concat();
            self.bytes += key.len() + now.len();
            self.batch.put(key, now);
        }
        if self.way.apart.is_some() || !self.lane.caches.is_empty() {
            let parts = item_parts(bare).ok_or_else(|| StoreError::Damaged {
                path: self.lane.path.clone(),
                reason: "the key of an item cannot be read".to_owned(),
            })?;
            let [group, entity, pipeline, window] = parts;
            self.before.push(Before {
                group,
                pipeline,
                window,
                entity,
                item: difference.then.clone(),
            });
        }
        Ok(())
    }

    /// Writes what there is: elsewhere first, since what does not differ any more is not looked at again.
    async fn all(&mut self) -> Result<(), StoreError> {
        if let Some((store, epoch)) = self.way.apart {
            let lane = (self.name.pipeline.as_str(), self.name.number);
            store.take_back(lane, &self.before, epoch).await?;
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.lane.put(batch).await?;
        }
        self.lane.caches.taken_back(&self.before).await;
        self.before.clear();
        Ok(())
    }
}

/// A key that differs.
struct Difference {
    key: Bytes,
    then: Option<Bytes>,
    now: Option<Bytes>,
}

/// What has to be written to get from now to then.
struct Back {
    then: DbIterator,
    now: DbIterator,
    /// The next pair of each.
    next_then: Option<(Bytes, Bytes)>,
    next_now: Option<(Bytes, Bytes)>,
}

impl Back {
    async fn new(then: DbIterator, now: DbIterator) -> Result<Self, slatedb::Error> {
        let mut back = Self {
            then,
            now,
            next_then: None,
            next_now: None,
        };
        back.next_then = pair(&mut back.then).await?;
        back.next_now = pair(&mut back.now).await?;
        Ok(back)
    }

    /// The next key that differs.
    async fn next(&mut self) -> Result<Option<Difference>, slatedb::Error> {
        loop {
            let order = match (&self.next_then, &self.next_now) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((then, _)), Some((now, _))) => then.cmp(now),
            };
            let then = match order.is_le() {
                true => std::mem::replace(&mut self.next_then, pair(&mut self.then).await?),
                false => None,
            };
            let now = match order.is_ge() {
                true => std::mem::replace(&mut self.next_now, pair(&mut self.now).await?),
                false => None,
            };
            if then == now {
                continue;
            }
            let key = then.as_ref().or(now.as_ref()).map(|(key, _)| key.clone());
            return Ok(key.map(|key| Difference {
                key,
                then: then.map(|(_, value)| value),
                now: now.map(|(_, value)| value),
            }));
        }
    }
}

async fn pair(iterator: &mut DbIterator) -> Result<Option<(Bytes, Bytes)>, slatedb::Error> {
    let pair = iterator.next().await?;
    Ok(pair.map(|pair| (pair.key, pair.value)))
}
