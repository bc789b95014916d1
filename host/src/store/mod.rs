//! The feature store: the newest value of every feature of every entity, for models to read.
//!
//! What comes in: closed windows as columns ([`FeatureBatch`]), and the declarations of the features. What goes out:
//! values by entity, each with the order of the write that it came from. Every backend implements [`FeatureStore`]
//! (its reading half is [`FeatureReader`]) over the same [`item`] bytes.
//!
//! What it must never do: let an older value show over a newer one, whatever the order in which writes arrive, how
//! often they are repeated, or how many writers there are. Every attribute carries its [`Order`], the greatest wins,
//! and a removal keeps its order too.

pub mod cache;
pub mod changes;
pub mod declarations;
mod declared;
pub mod dynamodb;
pub mod embedded;
mod error;
pub mod figures;
#[cfg(test)]
mod fuzz;
pub mod item;
mod known;
pub mod offline;
mod opening;
pub mod puts;
pub mod reading;
pub mod validation;

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

pub use self::cache::{Cached, Caches};
pub(crate) use self::declared::{dropped, is_retired, refuse_dropped};
pub use self::error::{StoreError, TableFault};
pub use self::item::Items;
pub use self::item::value::Value;
pub use self::opening::{OpenStores, open_reader, open_store};
pub use self::puts::{PutBatch, PutColumn, PutStore, ServedStore};
pub use self::reading::EntityValues;

/// Which of two writes of a feature is the newer: by event time, then epoch, then sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// The end of the window that the value describes, in microseconds since 1970-01-01T00:00:00Z.
    pub event_time: i64,
    /// The lane's epoch: a rollback's corrected values, written under a higher epoch, replace the revoked ones.
    pub epoch: u64,
    /// The position in the lane's output.
    pub sequence: u64,
}

/// Closed windows of one pipeline and one window length, as columns of equal length.
#[derive(Clone, Copy, Debug)]
pub struct FeatureBatch<'a> {
    /// The feature group.
    pub group: &'a str,
    /// The pipeline.
    pub pipeline: &'a str,
    /// The window's label, such as `10m`.
    pub window: &'a str,
    /// The key columns in the key's order, without nulls.
    pub keys: &'a [ArrayRef],
    /// The windows' ends: the event times of the values.
    pub event_time: &'a TimestampMicrosecondArray,
    /// The lane's epoch.
    pub epoch: u64,
    /// The sequence of the first row; those of the others follow.
    pub first_sequence: u64,
    /// The values.
    pub features: &'a [FeatureColumn<'a>],
}

/// The values of one feature in a [`FeatureBatch`].
#[derive(Clone, Copy, Debug)]
pub struct FeatureColumn<'a> {
    /// The feature's name, without its version.
    pub name: &'a str,
    /// The feature's version.
    pub version: u32,
    /// A value a row. A null removes: validation nulls what it refuses.
    pub values: &'a ArrayRef,
}

/// What a reader asks for: a feature at a version, or at the greatest declared one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeatureName {
    /// The name.
    pub name: String,
    /// The version; `None` is the greatest that is declared.
    pub version: Option<u32>,
}

impl FeatureName {
    /// Reads `name` or `name@version`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.rsplit_once('@').map(|(name, v)| (name, v.parse())) {
            Some((name, Ok(version))) => Self {
                name: name.to_owned(),
                version: Some(version),
            },
            _ => Self {
                name: text.to_owned(),
                version: None,
            },
        }
    }
}

/// What the store knows of a feature at a key: a value, or that it was removed.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureValue {
    /// The version that was read.
    pub version: u32,
    /// The write that it comes from; its event time is the end of the window.
    pub order: Order,
    /// The type that is declared for the feature.
    pub data_type: DataType,
    /// The value, or `None` when the newest write removed it.
    pub value: Option<Value>,
}

/// What a store has to know of a feature to find it, with the declaration itself as text that the store never reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The feature group.
    pub group: String,
    /// The feature's name, without its version.
    pub feature: String,
    /// The version.
    pub version: u32,
    /// The pipeline that computes it.
    pub pipeline: String,
    /// The window's label.
    pub window: String,
    /// The columns that identify an entity, in their order.
    pub entity: Vec<String>,
    /// The type of its values.
    pub data_type: DataType,
    /// The declaration as its owner wrote it, JSON, given back byte for byte.
    pub document: String,
}

/// What an item is of: an entity's values from one pipeline at one window length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemPlace<'a> {
    /// The feature group.
    pub group: &'a str,
    /// The pipeline.
    pub pipeline: &'a str,
    /// The window's label.
    pub window: &'a str,
    /// The entity, in the text form of [`item::entity`].
    pub entity: &'a str,
}

/// An item as it was before something was written that is to be taken back.
#[derive(Clone, Debug)]
pub struct Before {
    /// The feature group.
    pub group: String,
    /// The pipeline.
    pub pipeline: String,
    /// The window's label.
    pub window: String,
    /// The entity, in the text form of [`item::entity`].
    pub entity: String,
    /// What there was; none if nothing was ever written.
    pub item: Option<Bytes>,
}

impl Before {
    /// Which item it is.
    pub fn place(&self) -> ItemPlace<'_> {
        ItemPlace {
            group: &self.group,
            pipeline: &self.pipeline,
            window: &self.window,
            entity: &self.entity,
        }
    }
}

/// The reading half of a store.
pub trait FeatureReader: Send + Sync {
    /// The declarations of one group, or of all, ordered by group, feature and version.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read. An unknown group has none.
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>>;

    /// The declarations of the features that are asked for, in the order asked.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownGroup`] and [`StoreError::UnknownFeature`] for what is not declared, others when the
    /// store cannot be read.
    fn find<'a>(
        &'a self,
        group: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>>;

    /// The items at some places, in the order asked, each looked at once; `None` where nothing was ever written.
    /// See [`reading::Shape`] for the places that features lie at.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>>;

    /// The caches in front of it, which it tells of what is written through it. None if nothing ever is.
    fn caches(&self) -> Option<&Caches> {
        None
    }

    /// The newest values of an entity's features, in the order asked; `None` where nothing was ever written.
    /// The entity is in the text form of [`item::entity`].
    ///
    /// # Errors
    ///
    /// As [`FeatureReader::batch_get`].
    fn get<'a>(
        &'a self,
        group: &'a str,
        entity: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<EntityValues, StoreError>> {
        async move {
            let mut values = self.batch_get(group, &[entity], features).await?;
            Ok(values.pop().expect("there is an answer for each entity"))
        }
        .boxed()
    }

    /// The newest values of some entities' features: an answer for each entity, in the order asked, which has one
    /// for each feature; `None` where nothing was ever written. Values from one pipeline and window length are of
    /// one look, so that they belong together.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownGroup`] and [`StoreError::UnknownFeature`] for what is not declared, others when the
    /// store cannot be read. There are no answers in part.
    fn batch_get<'a>(
        &'a self,
        group: &'a str,
        entities: &'a [&'a str],
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<EntityValues>, StoreError>> {
        reading::batch_get(self, group, entities, features).boxed()
    }

    /// The time by which values are judged to be of use still, in microseconds since 1970-01-01T00:00:00Z: what is
    /// past its TTL is answered as if it had never been written.
    #[expect(
        clippy::disallowed_methods,
        reason = "how old a value is, whoever asks for it goes by the machine's clock; nothing is computed from it"
    )]
    fn unix(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
    }
}

/// A store that lanes write to.
pub trait FeatureStore: FeatureReader {
    /// Makes features known, durably. Declaring a version again may change its document alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Redeclared`] when a version is already declared with another pipeline, window or type.
    fn declare<'a>(
        &'a self,
        declarations: &'a [Declaration],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes the next epoch of a pipeline, durably: greater than that of every run before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read or written.
    fn begin_epoch<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Sees to it that later epochs of a pipeline are greater than this one, which came from elsewhere. Where epochs
    /// come from nowhere else there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be written.
    fn raise_epoch<'a>(
        &'a self,
        _pipeline: &'a str,
        _epoch: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Writes items of a lane of their pipeline. They are visible to this store's readers when it returns, also through the
    /// caches in front of it, and durable after the next flush.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the lane cannot be written to any more. Writing the same items again is harmless.
    fn write(&self, lane: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Whether the store takes items so large, wherever it has a bound. What lies there already is not looked at.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] for the first that it does not take.
    fn check(&self, _items: &Items) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes items that somebody waits for, durably; through a lane where lanes are what is written through. What has
    /// failed is not written later, and what is too large is refused rather than removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] when an item would be larger than the store takes, with what it has already; others when
    /// they cannot be written. Other items may be there then, and to write them again is harmless.
    fn put(&self, lane: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let pipeline = items.pipeline.clone();
            self.write(lane, items).await?;
            self.flush_lane(&pipeline, lane).await
        }
        .boxed()
    }

    /// Takes back what a lane of a pipeline wrote to these items under epochs after `epoch`, durably: such attributes are
    /// as they were before. What the lane wrote and did not flush is forgotten. Where lanes' databases are what is read
    /// from, they are put back themselves, and there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be done. To do it again is harmless.
    fn take_back<'a>(
        &'a self,
        _lane: (&'a str, u32),
        _items: &'a [Before],
        _epoch: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Makes everything that one lane wrote durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be made durable: the lane must not acknowledge what it wrote.
    fn flush_lane<'a>(
        &'a self,
        pipeline: &'a str,
        lane: u32,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes everything that was written durable.
    ///
    /// # Errors
    ///
    /// As [`FeatureStore::flush_lane`].
    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Flushes, and ends the store's tasks. Nothing may be written afterwards.
    ///
    /// # Errors
    ///
    /// As [`FeatureStore::flush_lane`].
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
