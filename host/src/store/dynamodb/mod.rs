//! Features in a table of DynamoDB: for many hosts that write and read one store.
//!
//! In come items of lanes, which are sent at a flush or before, and declarations. Out go items by their keys. What
//! lanes keep beside features is elsewhere: a flush here must come before the commit that covers it.
//!
//! What it must never do: acknowledge what the service has not; let an older value show over a newer one, for which
//! every write has a condition (`writing.rs`), unless the newer one is taken back (`taking_back.rs`); or be asked for more at a time than it was allowed (`client.rs`).
//! `layout.rs` says how things lie in the table.

mod bounds;
mod catalog;
mod client;
mod fault;
mod layout;
mod reading;
mod table;
mod taking_back;
mod writing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use self::catalog::Catalog;
use self::client::Service;
use self::writing::Outgoing;
use super::figures::StoreFigures;
use super::{
    Before, Caches, Declaration, FeatureName, FeatureReader, FeatureStore, ItemPlace, Items,
    StoreError,
};
use crate::config::TablePlace;

/// A table of features, for reading and writing. Several processes may write to one table, also the same entities.
///
/// Its futures must be polled within a tokio runtime.
pub struct DynamoDbStore {
    service: Arc<Service>,
    catalog: Catalog,
    lanes: RwLock<BTreeMap<LaneKey, Arc<Outgoing>>>,
    /// What all of this process have to send, to be read by any of them.
    outgoing: Arc<RwLock<Vec<OfPipeline>>>,
    caches: Caches,
    /// What it was opened beside: kept, so that who opens the table next comes beside it too.
    first: Option<Arc<Self>>,
    /// Numbers what is put, to tell since when each waits.
    puts: AtomicU32,
}

/// A pipeline and the number of a lane.
type LaneKey = (String, u32);

/// A pipeline, and what one of its lanes has to send, for as long as it is there.
type OfPipeline = (String, Weak<Outgoing>);

impl DynamoDbStore {
    /// Opens a table that [`DynamoDbStore::init`] made.
    ///
    /// # Errors
    ///
    /// [`StoreError::Table`] when there is no such table, nobody may read it, or it is of another layout.
    pub async fn open(place: &TablePlace) -> Result<Self, StoreError> {
        let service = Arc::new(Service::connect(place).await?);
        table::check(&service).await?;
        Ok(Self {
            catalog: Catalog::new(Arc::clone(&service)),
            service,
            lanes: RwLock::default(),
            outgoing: Arc::default(),
            caches: Caches::default(),
            first: None,
            puts: AtomicU32::default(),
        })
    }

    /// The same table for another pipeline of this process, with figures of its own. What either has to send is seen by
    /// readers of both, and heard of by the caches in front of both.
    #[must_use]
    pub fn beside(self: &Arc<Self>) -> Self {
        let service = Arc::new(self.service.beside());
        Self {
            catalog: Catalog::new(Arc::clone(&service)),
            service,
            lanes: RwLock::default(),
            outgoing: Arc::clone(&self.outgoing),
            caches: self.caches.clone(),
            first: Some(Arc::clone(self.first.as_ref().unwrap_or(self))),
            puts: AtomicU32::default(),
        }
    }

    /// Makes a table, paid for by request and with a TTL, or sees that one that is there is right. Gives whether it
    /// was made.
    ///
    /// # Errors
    ///
    /// [`StoreError::Table`] when nobody may make it, or there is another program's of that name.
    pub async fn init(place: &TablePlace) -> Result<bool, StoreError> {
        table::make(&Service::connect(place).await?).await
    }

    /// What it tells while it works.
    pub fn figures(&self) -> &Arc<StoreFigures> {
        &self.service.figures
    }

    fn lane(&self, pipeline: &str, lane: u32) -> Arc<Outgoing> {
        let name = (pipeline.to_owned(), lane);
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&name) {
            return Arc::clone(lane);
        }
        drop(lanes);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(name).or_insert_with(|| {
            let lane = Arc::default();
            let mut outgoing = self
                .outgoing
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            outgoing.retain(|(_, lane)| lane.strong_count() > 0);
            outgoing.push((pipeline.to_owned(), Arc::downgrade(&lane)));
            lane
        });
        Arc::clone(lane)
    }

    /// What is on its way to an item.
    fn outgoing(&self, place: &ItemPlace<'_>, key: &layout::ItemKey) -> Vec<Vec<u8>> {
        let outgoing = self.outgoing.read().unwrap_or_else(PoisonError::into_inner);
        let of_pipeline = outgoing.iter().filter(|(name, _)| name == place.pipeline);
        let lanes = of_pipeline.filter_map(|(_, lane)| lane.upgrade());
        lanes.flat_map(|lane| lane.get(key)).collect()
    }

    async fn send(&self, pipeline: &str, lane: u32) -> Result<(), StoreError> {
        let outgoing = self.lane(pipeline, lane);
        outgoing.send(&self.service).await?;
        if outgoing.is_empty() {
            self.service.figures.waits_no_more(pipeline, lane);
        }
        Ok(())
    }
}

impl FeatureReader for DynamoDbStore {
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
        reading::items(self, places).boxed()
    }

    fn caches(&self) -> Option<&Caches> {
        Some(&self.caches)
    }
}

impl FeatureStore for DynamoDbStore {
    fn declare<'a>(
        &'a self,
        declarations: &'a [Declaration],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.catalog.declare(declarations).boxed()
    }

    fn begin_epoch<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        self.catalog.begin_epoch(pipeline).boxed()
    }

    fn raise_epoch<'a>(
        &'a self,
        pipeline: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.catalog.raise_epoch(pipeline, epoch).boxed()
    }

    fn write(&self, lane: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            if items.is_empty() {
                return Ok(());
            }
            let ttl = self
                .catalog
                .ttl(&items.group, &items.pipeline, &items.window)
                .await?;
            let outgoing = self.lane(&items.pipeline, lane);
            let (is_full, waiting) = outgoing.take(&items, ttl)?;
            self.caches.written(&items).await;
            self.service.figures.waits(&items.pipeline, lane, waiting);
            match is_full {
                true => self.send(&items.pipeline, lane).await,
                false => Ok(()),
            }
        }
        .boxed()
    }

    fn check(&self, items: &Items) -> Result<(), StoreError> {
        bounds::check(items)
    }

    /// Many put at once, and each is to hear what became of its own: so they are not sent together.
    fn put(&self, _: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            bounds::check(&items)?;
            let ttl = self
                .catalog
                .ttl(&items.group, &items.pipeline, &items.window)
                .await?;
            let number = self.puts.fetch_add(1, Ordering::Relaxed);
            let figures = &self.service.figures;
            figures.waits(&items.pipeline, number, items.len());
            let put = writing::put_all(&self.service, &items, ttl).await;
            figures.waits_no_more(&items.pipeline, number);
            put?;
            self.caches.written(&items).await;
            Ok(())
        }
        .boxed()
    }

    fn take_back<'a>(
        &'a self,
        (pipeline, lane): (&'a str, u32),
        items: &'a [Before],
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.lane(pipeline, lane).forget().await;
            self.service.figures.waits_no_more(pipeline, lane);
            taking_back::take_back(&self.service, items, epoch).await?;
            self.caches.taken_back(items).await;
            Ok(())
        }
        .boxed()
    }

    fn flush_lane<'a>(
        &'a self,
        pipeline: &'a str,
        lane: u32,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.send(pipeline, lane).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let lanes: Vec<(String, u32)> = {
                let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
                lanes.keys().cloned().collect()
            };
            for (pipeline, lane) in lanes {
                self.send(&pipeline, lane).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.flush()
    }
}
