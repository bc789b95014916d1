//! A store for whoever serves it: read behind a cache, and written to by those who compute features elsewhere.
//!
//! In come lookups, and values that have been looked at ([`PutBatch`]). What is put is durable when [`PutStore::put`] returns,
//! and every lookup through the same [`ServedStore`] that begins later finds it.
//!
//! Whoever puts is a writer as a lane is: it has an epoch of its own, and numbers what it writes. The embedded store has one
//! lane for all that is put, which one process has at a time: it is taken when something is put for the first time, and
//! kept until the process ends. To a table many may put.
//!
//! Where there is a history of features, what is put is in it before it is in the store (`history`): so it has everything
//! that was ever served, and nothing that was acknowledged is missing from it.
//!
//! What it must never do: take that lane from another process of this machine, or say that something is stored before it is
//! durable.

mod history;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array as _, ArrayRef, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use self::history::{PutHistory, PutRows};
use super::declarations::{ELSEWHERE, NO_WINDOW};
use super::embedded::{EmbeddedStore, LiveLane};
use super::figures::{CacheFigures, StoreFigures};
use super::item::entity;
use super::offline::OfflineStore;
use super::offline::rows::rows;
use super::{
    Cached, Declaration, FeatureBatch, FeatureColumn, FeatureName, FeatureReader, FeatureStore,
    ItemPlace, Items, OpenStores, StoreError,
};
use crate::config::{CacheSettings, FeaturePlace, StorePlace};

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
    /// Writes values. They are durable when it returns, in the history as well, and of those of one event time the ones that
    /// were put last stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] and [`StoreError::Fenced`] where another process takes values for this store,
    /// [`StoreError::Unrecorded`] when they are not in the history, and so not in the store either,
    /// [`StoreError::TooLarge`] when the store takes no item so large; others when it cannot be written: some of the
    /// values may be there then, and putting them again is harmless.
    fn put(&self, batch: PutBatch) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// A store behind a cache, opened for reading and for values that are put.
pub struct ServedStore {
    store: Arc<dyn FeatureStore>,
    cached: Cached<dyn FeatureStore>,
    /// Where a lane has to be taken before anything is put.
    embedded: Option<Arc<EmbeddedStore>>,
    /// What is told of a table.
    table: Option<Arc<StoreFigures>>,
    /// Where the history of features is, if there is one.
    offline: Option<StorePlace>,
    writer: OnceCell<Writer>,
    /// What another process has taken away from this one, for good.
    fenced: OnceLock<PathBuf>,
}

/// Who writes what is put.
struct Writer {
    epoch: u64,
    /// The sequence of the next row.
    next: AtomicU64,
    /// Where rows go before they are stored.
    history: Option<PutHistory>,
    /// It is ours for as long as this is held.
    _lane: Option<LiveLane>,
}

impl ServedStore {
    /// Opens the store at a place, as one of those that are open in this process. Nothing is written there before something is put; and what is put goes to the history at
    /// `offline` as well.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is no store, or it cannot be read.
    pub async fn open(
        stores: &OpenStores,
        place: &FeaturePlace,
        cache: CacheSettings,
        offline: Option<StorePlace>,
    ) -> Result<Self, StoreError> {
        let (store, embedded, table): (Arc<dyn FeatureStore>, _, _) = match place {
            FeaturePlace::Embedded(place) => {
                let store = stores.embedded(place).await?;
                (Arc::clone(&store) as _, Some(store), None)
            }
            FeaturePlace::Table(place) => {
                let store = stores.table(place).await?;
                let figures = Arc::clone(store.figures());
                (store as _, None, Some(figures))
            }
        };
        Ok(Self {
            cached: Cached::new(Arc::clone(&store), cache.bytes, cache.max_age),
            store,
            embedded,
            table,
            offline,
            writer: OnceCell::new(),
            fenced: OnceLock::new(),
        })
    }

    /// What the cache tells while it works.
    pub fn cache_figures(&self) -> &Arc<CacheFigures> {
        self.cached.figures()
    }

    /// What the table tells while it works, if values go to one.
    pub fn table_figures(&self) -> Option<&Arc<StoreFigures>> {
        self.table.as_ref()
    }

    async fn writer(&self) -> Result<Writer, StoreError> {
        let open = |place: &StorePlace| {
            OfflineStore::open(place).map_err(|error| StoreError::Unrecorded {
                place: place.to_string(),
                reason: error.to_string(),
            })
        };
        let history = self.offline.as_ref().map(open).transpose()?;
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
            history: history
                .map(|history| PutHistory::new(Arc::new(history), epoch, Arc::clone(&self.store))),
            _lane: lane,
        })
    }

    async fn write(&self, batch: PutBatch) -> Result<(), StoreError> {
        let writer = self.writer.get_or_try_init(|| self.writer()).await?;
        if let Some(path) = self.fenced.get() {
            let (doing, path) = ("write to", path.clone());
            return Err(StoreError::Fenced { doing, path });
        }
        let count = batch.entities.len() as u64;
        let first_sequence = writer.next.fetch_add(count, Ordering::Relaxed);
        let features: Vec<FeatureColumn<'_>> = batch
            .features
            .iter()
            .map(|column| FeatureColumn {
                name: &column.name,
                version: column.version,
                values: &column.values,
            })
            .collect();
        // A table gives an item the longest time to live of the features that it knows of: it must know these.
        let names = batch.features.iter().map(|column| FeatureName {
            name: column.name.clone(),
            version: Some(column.version),
        });
        let names: Vec<FeatureName> = names.collect();
        let declared = self.store.find(&batch.group, &names).await?;
        let entities: ArrayRef = Arc::new(batch.entities.clone());
        let stored = FeatureBatch {
            group: &batch.group,
            pipeline: ELSEWHERE,
            window: NO_WINDOW,
            keys: &[entities],
            event_time: &batch.event_times,
            epoch: writer.epoch,
            first_sequence,
            features: &features,
        };
        let items = Items::encode(&stored)?;
        self.store.check(&items)?;
        if let Some(history) = &writer.history {
            let written = self.store.unix();
            let kept = rows_of(&stored, &batch.entities, &declared, written)?;
            history.keep(kept).await?;
        }
        let stored = self.store.put(LANE, items).await;
        if let Err(StoreError::Fenced { path, .. }) = &stored {
            // The history must not have what is refused from now on.
            let _ = self.fenced.set(path.clone());
        }
        stored
    }
}

/// What is put as rows of the history: keys as texts, since nobody says of what types they are. Features whose keys are called
/// otherwise lie apart.
fn rows_of(
    batch: &FeatureBatch<'_>,
    entities: &StringArray,
    declared: &[Arc<Declaration>],
    written: i64,
) -> Result<Vec<PutRows>, StoreError> {
    let mut keys: Vec<&[String]> = declared.iter().map(|it| it.entity.as_slice()).collect();
    keys.sort_unstable();
    keys.dedup();
    let parts = keys.into_iter().map(|key| {
        let own = batch.features.iter().zip(declared);
        let own = own.filter(|(_, declared)| declared.entity == key);
        let features: Vec<FeatureColumn<'_>> = own.map(|(feature, _)| *feature).collect();
        let batch = FeatureBatch {
            keys: &parts_of(entities, key)?,
            features: &features,
            ..*batch
        };
        Ok(PutRows {
            group: batch.group.to_owned(),
            first_sequence: batch.first_sequence,
            rows: rows(&batch, key, LANE, written)?,
        })
    });
    parts.collect()
}

/// The columns of a key, as texts.
fn parts_of(entities: &StringArray, key: &[String]) -> Result<Vec<ArrayRef>, StoreError> {
    if let [_] = key {
        return Ok(vec![Arc::new(entities.clone())]);
    }
    let mut columns = vec![Vec::with_capacity(entities.len()); key.len()];
    for entity in entities.iter().flatten() {
        let parts = entity::split(entity);
        if parts.len() != key.len() {
            let key = key.join(", ");
            let message = format!("entity {entity:?} is no key of the columns {key}");
            return Err(StoreError::Shape(message));
        }
        for (column, part) in columns.iter_mut().zip(parts) {
            column.push(part);
        }
    }
    let columns = columns.into_iter();
    let columns = columns.map(|texts| Arc::new(StringArray::from_iter_values(texts)) as ArrayRef);
    Ok(columns.collect())
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

#[cfg(test)]
mod tests;
