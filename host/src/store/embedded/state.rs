//! What a lane's pipeline keeps beside its features, in the same database.

use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::StreamExt as _;
use slatedb::WriteBatch;
use slatedb::config::ScanOptions;

use super::counted::StoreRequests;
use super::engine;
use super::groups::GROUPED;
use super::keys::Keyspace;
use super::lane::Lane;
use super::pending::Pending;
use crate::store::{Items, StoreError};

/// Pairs that one look at a lane's state gives, at most.
const PAIRS: usize = 1 << 16;
/// Bytes of pairs that one look gives, about.
const BYTES: usize = 32 << 20;

/// Bytes of keys and values that lie together.
const ROOM: usize = 64 << 10;

/// Groups that are looked for one after the other; several such parts at a time.
const PART: usize = 64;
/// Parts at a time.
const PARTS: usize = 8;

/// Keys with their values, by rising keys.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// The state of one lane: keys and values that mean nothing here.
#[derive(Clone)]
pub struct LaneState {
    lane: Arc<Lane>,
    keyspace: Keyspace,
}

/// Changes of a lane's state, and features, that happen together or not at all. Of two changes of one
/// key the later one holds; of two values of a feature the newer one.
pub struct StateBatch {
    keyspace: Keyspace,
    batch: WriteBatch,
    items: Pending,
    bytes: usize,
    /// Where the next keys and values go. The engine keeps what it is given until it has written a
    /// table of it, and millions of small pieces of memory would be mostly gaps.
    room: BytesMut,
}

impl StateBatch {
    /// This is to be at a key.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += key.len() + value.len();
        let stored = self.piece(&[&self.keyspace.prefix(), key]);
        let value = self.piece(&[value]);
        self.batch.put_bytes(stored, value);
    }

    /// Nothing is to be at a key.
    pub fn remove(&mut self, key: &[u8]) {
        self.bytes += key.len();
        self.batch.delete(stored(self.keyspace, key));
    }

    /// These features are to be served, where nothing newer is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Item`] if one cannot be merged with another one of this batch.
    pub fn write(&mut self, items: &Items) -> Result<(), StoreError> {
        let before = self.items.bytes();
        self.items.take(items)?;
        self.bytes += self.items.bytes() - before;
        Ok(())
    }

    fn piece(&mut self, parts: &[&[u8]]) -> Bytes {
        let bytes = parts.iter().map(|part| part.len()).sum();
        if self.room.capacity() < bytes {
            self.room = BytesMut::with_capacity(ROOM.max(bytes));
        }
        for part in parts {
            self.room.extend_from_slice(part);
        }
        self.room.split().freeze()
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl LaneState {
    pub(super) fn of(lane: Arc<Lane>, keyspace: Keyspace) -> Self {
        Self { lane, keyspace }
    }

    /// Changes of it, none yet.
    pub fn batch(&self) -> StateBatch {
        StateBatch {
            keyspace: self.keyspace,
            batch: WriteBatch::new(),
            items: Pending::default(),
            bytes: 0,
            room: BytesMut::new(),
        }
    }

    /// What its lane has asked of the disk or the bucket since it was opened.
    pub fn requests(&self) -> &Arc<StoreRequests> {
        &self.lane.requests
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.lane.close().await
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) fn is_of(&self, lane: &Arc<Lane>) -> bool {
        Arc::ptr_eq(&self.lane, lane)
    }

    /// What is at a key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.lane.db.get(stored(self.keyspace, key)).await;
        found.map_err(|e| engine("read", &self.lane.path, &e))
    }

    /// The pairs whose keys begin with `prefix` and come after `after`, by rising keys: as many as
    /// are good to have in memory at once, and none when there are no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn pairs(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let fault = |e: &slatedb::Error| engine("read", &self.lane.path, e);
        let first = match after {
            Some(after) => Bound::Excluded(stored(self.keyspace, after)),
            None => Bound::Included(stored(self.keyspace, prefix)),
        };
        let range = (first, Bound::<Vec<u8>>::Unbounded);
        let mut found = self.lane.db.scan(range).await.map_err(|e| fault(&e))?;
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        let all = stored(self.keyspace, prefix);
        while pairs.len() < PAIRS
            && bytes < BYTES
            && let Some(pair) = found.next().await.map_err(|e| fault(&e))?
            && pair.key.starts_with(&all)
        {
            bytes += pair.key.len() + pair.value.len();
            pairs.push((pair.key.slice(self.keyspace.prefix().len()..), pair.value));
        }
        Ok(pairs)
    }

    /// The pairs whose keys are in `from..to`, by rising keys: `most` of them, if there are so many.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn range(
        &self,
        from: Bound<&[u8]>,
        to: &[u8],
        most: usize,
    ) -> Result<Pairs, StoreError> {
        let fault = |e: &slatedb::Error| engine("read", &self.lane.path, e);
        let range = (
            from.map(|from| stored(self.keyspace, from)),
            Bound::Excluded(stored(self.keyspace, to)),
        );
        let mut found = self.lane.db.scan(range).await.map_err(|e| fault(&e))?;
        let mut pairs = Vec::new();
        while pairs.len() < most
            && let Some(pair) = found.next().await.map_err(|e| fault(&e))?
        {
            pairs.push((pair.key.slice(self.keyspace.prefix().len()..), pair.value));
        }
        Ok(pairs)
    }

    /// All pairs of some groups, in the order of `groups`. A group is the whole beginning that the
    /// keys of its pairs have in common, and its first byte is 1. One that has no pair costs next
    /// to nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn groups(&self, groups: &[Vec<u8>]) -> Result<Pairs, StoreError> {
        let parts: Vec<Vec<Vec<u8>>> = groups.chunks(PART).map(<[_]>::to_vec).collect();
        let read = |part: Vec<Vec<u8>>| {
            let state = self.clone();
            // A task of its own, so that parts are read on several threads.
            tokio::spawn(async move { state.part(&part).await })
        };
        let mut reading = futures::stream::iter(parts).map(read).buffered(PARTS);
        let mut pairs = Vec::new();
        while let Some(part) = reading.next().await {
            match part {
                Ok(part) => pairs.extend(part?),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(pairs)
    }

    async fn part(&self, groups: &[Vec<u8>]) -> Result<Pairs, StoreError> {
        let fault = |e: &slatedb::Error| engine("read", &self.lane.path, e);
        // What is found is in memory from then on, so its blocks need not be.
        let options = ScanOptions::default();
        // A pair that the engine gives keeps the whole block in memory that it is from.
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for group in groups {
            debug_assert_eq!(group.first(), Some(&GROUPED));
            let db = &self.lane.db;
            let found = db.scan_prefix_with_options(stored(self.keyspace, group), .., &options);
            let mut found = found.await.map_err(|e| fault(&e))?;
            while let Some(pair) = found.next().await.map_err(|e| fault(&e))? {
                let key = &pair.key[self.keyspace.prefix().len()..];
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(&pair.value);
                lengths.push((key.len(), pair.value.len()));
            }
        }
        let mut rest = Bytes::from(bytes);
        let pairs = lengths.into_iter().map(|(key, value)| {
            let key = rest.split_to(key);
            (key, rest.split_to(value))
        });
        Ok(pairs.collect())
    }

    /// Applies changes. They can be read when this returns, with every feature that the lane wrote
    /// before, and are durable, with those, after the lane's next flush.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the lane cannot be written to any more.
    pub async fn apply(&self, batch: StateBatch) -> Result<(), StoreError> {
        let StateBatch {
            mut batch, items, ..
        } = batch;
        // The engine's log keeps the order of writes, so what is durable of the state never runs
        // ahead of the features.
        self.lane.drain().await?;
        for (key, item) in items.sorted() {
            batch.merge(key, item);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.lane.put(batch).await?;
        self.lane.tell(&items).await;
        Ok(())
    }

    /// Makes everything durable that the lane wrote.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be made durable, or the lane belongs to somebody else by now.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.lane.flush().await
    }
}

fn stored(keyspace: Keyspace, key: &[u8]) -> Vec<u8> {
    [&keyspace.prefix(), key].concat()
}
