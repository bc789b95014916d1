//! Which store a place is, for whoever reads and does not care; and the stores that a process has open.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::dynamodb::DynamoDbStore;
use super::embedded::EmbeddedStore;
use super::{FeatureReader, FeatureStore, StoreError};
use crate::config::{FeaturePlace, StorePlace, TablePlace};

/// Opens the store at a place for reading, while this or other processes may be writing to it. Nothing is written there.
///
/// # Errors
///
/// [`StoreError`] when there is no store, or it cannot be read.
pub async fn open_reader(place: &FeaturePlace) -> Result<Arc<dyn FeatureReader>, StoreError> {
    Ok(match place {
        FeaturePlace::Embedded(place) => Arc::new(EmbeddedStore::open_reader(place).await?),
        FeaturePlace::Table(place) => Arc::new(DynamoDbStore::open(place).await?),
    })
}

/// Opens the store at a place for declaring features, and writing those that no lane computes.
///
/// # Errors
///
/// [`StoreError`] when it cannot be opened. An embedded store is made if it is not there, a table is not.
pub async fn open_store(place: &FeaturePlace) -> Result<Arc<dyn FeatureStore>, StoreError> {
    Ok(match place {
        FeaturePlace::Embedded(place) => Arc::new(EmbeddedStore::open(place, &[]).await?),
        FeaturePlace::Table(place) => Arc::new(DynamoDbStore::open(place).await?),
    })
}

/// The stores that a process has open, each once, whoever writes to it and whoever serves it: so that what its pipelines
/// write is read at once, and a cache in front of it is told.
///
/// A store is open for as long as somebody has it.
#[derive(Default)]
pub struct OpenStores {
    embedded: Places<EmbeddedStore>,
    tables: Places<DynamoDbStore>,
}

type Places<S> = Mutex<HashMap<String, Weak<S>>>;

impl OpenStores {
    /// The embedded store at a place, for pipelines. What is missing is made, as [`EmbeddedStore::open`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be opened.
    pub async fn make_embedded(
        &self,
        place: &StorePlace,
    ) -> Result<Arc<EmbeddedStore>, StoreError> {
        let opening = EmbeddedStore::open(place, &[]);
        shared(&self.embedded, place.to_string(), opening).await
    }

    /// The embedded store at a place, which is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAStore`] when it is not, others when it cannot be opened.
    pub async fn embedded(&self, place: &StorePlace) -> Result<Arc<EmbeddedStore>, StoreError> {
        let opening = EmbeddedStore::open_existing(place);
        shared(&self.embedded, place.to_string(), opening).await
    }

    /// A table, with figures of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be opened.
    pub async fn table(&self, place: &TablePlace) -> Result<Arc<DynamoDbStore>, StoreError> {
        let opening = DynamoDbStore::open(place);
        let table = shared(&self.tables, format!("{place:?}"), opening).await?;
        Ok(Arc::new(table.beside()))
    }
}

/// What somebody has open at a place, or else what is opened now.
async fn shared<S: Send + Sync>(
    open: &Places<S>,
    place: String,
    opening: impl Future<Output = Result<S, StoreError>> + Send,
) -> Result<Arc<S>, StoreError> {
    // Held while it is opened: who comes next finds it.
    let mut open = open.lock().await;
    if let Some(store) = open.get(&place).and_then(Weak::upgrade) {
        return Ok(store);
    }
    let store = Arc::new(opening.await?);
    open.retain(|_, store| store.strong_count() > 0);
    open.insert(place, Arc::downgrade(&store));
    Ok(store)
}
