//! A store that is opened when it is first asked for, and again for as long as that fails.
//!
//! A server may be started before the first pipeline has made the store: until then it answers that there is nothing.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::config::{CacheSettings, FeaturePlace, StorePlace};
use crate::pipeline::telemetry::Telemetry;
use crate::store::{
    Declaration, FeatureName, FeatureReader, ItemPlace, OpenStores, PutBatch, PutStore,
    ServedStore, StoreError,
};

/// The store at a place, behind a cache, opened or not yet.
pub struct Opening {
    stores: Arc<OpenStores>,
    place: FeaturePlace,
    cache: CacheSettings,
    offline: Option<StorePlace>,
    telemetry: Arc<Telemetry>,
    store: OnceCell<ServedStore>,
}

impl Opening {
    /// A store that is opened later, as one of those that are open in this process, with the history that what is put goes to. What its cache and its table tell is in
    /// `telemetry` from then on.
    #[must_use]
    pub fn new(
        stores: Arc<OpenStores>,
        place: FeaturePlace,
        cache: CacheSettings,
        offline: Option<StorePlace>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            stores,
            place,
            cache,
            offline,
            telemetry,
            store: OnceCell::new(),
        }
    }

    async fn store(&self) -> Result<&ServedStore, StoreError> {
        let open = async || {
            let (stores, offline) = (&self.stores, self.offline.clone());
            let store = ServedStore::open(stores, &self.place, self.cache, offline).await?;
            self.telemetry.set_cache(Arc::clone(store.cache_figures()));
            if let Some(figures) = store.table_figures() {
                self.telemetry.set_puts(Arc::clone(figures));
            }
            Ok(store)
        };
        self.store.get_or_try_init(open).await
    }
}

impl FeatureReader for Opening {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        async move {
            match self.store().await {
                Ok(store) => store.declarations(group).await,
                Err(StoreError::NotAStore { .. }) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn find<'a>(
        &'a self,
        group: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        async move { self.store().await?.find(group, features).await }.boxed()
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        async move { self.store().await?.items(places).await }.boxed()
    }
}

impl PutStore for Opening {
    fn put(&self, batch: PutBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.store().await?.put(batch).await }.boxed()
    }
}
