//! A store for whoever serves it: read behind a cache, and written to by those who compute features elsewhere.
//!
//! In come lookups, and values that have been looked at ([`PutBatch`]). What is put is durable when [`PutStore::put`] returns,
//! and every lookup through the same [`ServedStore`] that begins later finds it.
//!
//! Whoever puts is a writer as a lane is: it has an epoch of its own, and numbers what it writes. The embedded store has one
//! lane for all that is put, which one process has at a time: it is taken when something is put for the first time, and
//! kept until the process ends. To a table many may put.
//!
//! What it must never do: take that lane from another process of this machine, or say that something is stored before it is
//! durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array as _, ArrayRef, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::declarations::{ELSEWHERE, NO_WINDOW};
use super::dynamodb::DynamoDbStore;
use super::embedded::{EmbeddedStore, LiveLane};
use super::{
    Cached, Declaration, FeatureBatch, FeatureColumn, FeatureName, FeatureReader, FeatureStore,
    ItemPlace, Items, StoreError,
};
use crate::config::{CacheSettings, FeaturePlace};

/// The lane that everything goes to that is put.
const LANE: u32 = 0;

/// Values of features that no pipeline computes, as columns of equal length.
#[derive(Debug, Clone)]
pub struct PutBatch {
    /// The feature group.
    pub group: String,
    /// An entity a row, in the text form of [`super::item::entity`].
    pub entities: StringArray,
    /// What the values of each row are of.
    pub event_times: TimestampMicrosecondArray,
    /// The features, each once.
    pub features: Vec<PutColumn>,
}

/// The values of one feature in a [`PutBatch`].
#[derive(Debug, Clone)]
pub struct PutColumn {
    /// The feature's name, without its version.
    pub name: String,
    /// The feature's version.
    pub version: u32,
    /// A value a row, of the declared type. A null removes.
    pub values: ArrayRef,
}

/// A store that takes values of features that no pipeline computes.
pub trait PutStore: FeatureReader {
    /// Writes values. They are durable when it returns, and of those of one event time the ones that were put last stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] and [`StoreError::Fenced`] where another process takes values for this store, others when it
    /// cannot be written: some of the values may be there then, and putting them again is harmless.
    fn put(&self, batch: PutBatch) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// A store behind a cache, opened for reading and for values that are put.
pub struct ServedStore {
    store: Arc<dyn FeatureStore>,
    cached: Cached<dyn FeatureStore>,
    /// Where a lane has to be taken before anything is put.
    embedded: Option<Arc<EmbeddedStore>>,
    writer: OnceCell<Writer>,
}

/// Who writes what is put.
struct Writer {
    epoch: u64,
    /// The sequence of the next row.
    next: AtomicU64,
    /// It is ours for as long as this is held.
    _lane: Option<LiveLane>,
}

impl ServedStore {
    /// Opens the store at a place. Nothing is written there before something is put.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is no store, or it cannot be read.
    pub async fn open(place: &FeaturePlace, cache: CacheSettings) -> Result<Self, StoreError> {
        let (store, embedded): (Arc<dyn FeatureStore>, _) = match place {
            FeaturePlace::Embedded(place) => {
                let store = Arc::new(EmbeddedStore::open_existing(place).await?);
                (Arc::clone(&store) as _, Some(store))
            }
            FeaturePlace::Table(place) => (Arc::new(DynamoDbStore::open(place).await?), None),
        };
        Ok(Self {
            cached: Cached::new(Arc::clone(&store), cache.bytes, cache.max_age),
            store,
            embedded,
            writer: OnceCell::new(),
        })
    }

    async fn writer(&self) -> Result<Writer, StoreError> {
        let lane = match &self.embedded {
            Some(store) => Some(store.claim_lane(ELSEWHERE, LANE).await?),
            None => None,
        };
        let epoch = match self.store.begin_epoch(ELSEWHERE).await {
            Ok(epoch) => epoch,
            Err(error) => {
                if let (Some(store), Some(lane)) = (&self.embedded, lane) {
                    // Why there is no epoch is what matters.
                    let _ = store.close_lane(lane).await;
                }
                return Err(error);
            }
        };
        Ok(Writer {
            epoch,
            next: AtomicU64::default(),
            _lane: lane,
        })
    }

    async fn write(&self, batch: PutBatch) -> Result<(), StoreError> {
        let writer = self.writer.get_or_try_init(|| self.writer()).await?;
        let rows = batch.entities.len() as u64;
        let first_sequence = writer.next.fetch_add(rows, Ordering::Relaxed);
        let features: Vec<FeatureColumn<'_>> = batch
            .features
            .iter()
            .map(|column| FeatureColumn {
                name: &column.name,
                version: column.version,
                values: &column.values,
            })
            .collect();
        let items = Items::encode(&FeatureBatch {
            group: &batch.group,
            pipeline: ELSEWHERE,
            window: NO_WINDOW,
            keys: &[Arc::new(batch.entities)],
            event_time: &batch.event_times,
            epoch: writer.epoch,
            first_sequence,
            features: &features,
        })?;
        // A table gives an item the longest time to live of the features that it knows of: it must know these.
        let names = batch.features.iter().map(|column| FeatureName {
            name: column.name.clone(),
            version: Some(column.version),
        });
        let names: Vec<FeatureName> = names.collect();
        self.store.find(&batch.group, &names).await?;
        self.cached.write(LANE, items).await?;
        self.cached.flush_lane(ELSEWHERE, LANE).await
    }
}

impl FeatureReader for ServedStore {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        self.cached.declarations(group)
    }

    fn find<'a>(
        &'a self,
        group: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        self.cached.find(group, features)
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.cached.items(places)
    }
}

impl PutStore for ServedStore {
    fn put(&self, batch: PutBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(batch))
    }
}
