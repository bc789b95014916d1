//! Which store a place is, for whoever reads and does not care.

use std::sync::Arc;

use super::dynamodb::DynamoDbStore;
use super::embedded::EmbeddedStore;
use super::{FeatureReader, FeatureStore, StoreError};
use crate::config::FeaturePlace;

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
