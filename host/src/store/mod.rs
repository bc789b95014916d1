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

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::objects::StorageError;

pub use self::cache::Cached;
pub(crate) use self::declared::{dropped, is_retired, refuse_dropped};
pub use self::item::Items;
pub use self::item::value::Value;
pub use self::opening::{open_reader, open_store};
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

    /// Writes items of a lane of their pipeline. They are visible to this store's readers when it returns, and durable after the next
    /// flush.
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

/// What kind of thing is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// There is no such table.
    Missing,
    /// There are no credentials, or the service does not accept them or what they are used for.
    Denied,
    /// It takes nothing so large.
    TooLarge,
    /// The service refuses for another reason.
    Refused,
    /// The service does not answer, or not to so much. The same may work later.
    Unreachable,
}

/// What can go wrong with a feature store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The batch does not fit together; a fault of the caller.
    #[error("cannot store a batch: {0}")]
    Shape(String),
    /// A key cannot name an entity.
    #[error("cannot store features of group {group:?}: {source}")]
    Entity {
        /// The feature group.
        group: String,
        /// What is wrong with the key.
        source: item::entity::EntityError,
    },
    /// A feature's values cannot be stored, or were not what the store can read.
    #[error("feature {feature:?} of group {group:?}: {source}")]
    Value {
        /// The feature group.
        group: String,
        /// The feature.
        feature: String,
        /// What is wrong.
        source: item::value::ValueError,
    },
    /// An item in the store cannot be read.
    #[error("entity {entity:?} of group {group:?}: {source}")]
    Item {
        /// The feature group.
        group: String,
        /// The entity.
        entity: String,
        /// What is wrong.
        source: item::ItemError,
    },
    /// The store takes no item so large.
    #[error("entity {entity:?} of group {group:?}: {reason}")]
    TooLarge {
        /// The feature group.
        group: String,
        /// The entity.
        entity: String,
        /// What is too large, how large it may be, and what can be done about it.
        reason: String,
    },
    /// Nobody declared the group.
    #[error(
        "no feature group {group:?} is declared in {store}{}",
        nearest("groups", known, group)
    )]
    UnknownGroup {
        /// What was asked for.
        group: String,
        /// The groups that are declared.
        known: Vec<String>,
        /// Where was looked.
        store: String,
    },
    /// Nobody declared the feature, or not at that version.
    #[error(
        "group {group:?} has no feature {feature:?}{}",
        nearest("features", known, feature)
    )]
    UnknownFeature {
        /// The feature group.
        group: String,
        /// What was asked for, with its version if one was named.
        feature: String,
        /// The group's features, as `name@version`.
        known: Vec<String>,
    },
    /// A version of a feature is taken.
    #[error(
        "feature {group}/{feature}@{version} is already declared with {was}, and now comes with {now}: raise the feature's version, or store into another place"
    )]
    Redeclared {
        /// The feature group.
        group: String,
        /// The feature.
        feature: String,
        /// The version.
        version: u32,
        /// What it was declared with.
        was: String,
        /// What it is declared with now.
        now: String,
    },
    /// A pipeline computes less than what is served of it.
    #[error(
        "pipeline {pipeline} does not declare {} any more, and the store serves {}: whoever reads that would get no new values. Put it back into the pipeline's file; or, if nobody reads it, say so at the top of the file: retired = [{}]",
        features.join(", "),
        if features.len() == 1 { "it" } else { "them" },
        quoted(features)
    )]
    Dropped {
        /// The pipeline.
        pipeline: String,
        /// What it computed before and does not declare now, as `group/name@version`.
        features: Vec<String>,
    },
    /// What was put is not in the history of features.
    #[error("cannot write to the history of features in {place}: {reason}")]
    Unrecorded {
        /// Where the history is.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The folder holds something else, or nothing.
    #[error("{} is not a feature store: {reason}. Give the folder that a pipeline's `store` names, after the pipeline has run", folder.display())]
    NotAStore {
        /// The folder.
        folder: PathBuf,
        /// How it can be told.
        reason: String,
    },
    /// Another process writes to a lane.
    #[error("another process has lane {lane} of pipeline {pipeline} in the store {} open for writing: wait for its end, or let `store` of the environment be another folder", folder.display())]
    Busy {
        /// The store's folder.
        folder: PathBuf,
        /// The pipeline.
        pipeline: String,
        /// The lane.
        lane: u32,
    },
    /// The store was laid out by another build.
    #[error("{} has layout {found}, and this build reads layout {expected}: use the build that wrote it, or a newer one", path.display())]
    Layout {
        /// The file that says so.
        path: PathBuf,
        /// Its layout.
        found: u64,
        /// The layout that this build knows.
        expected: u64,
    },
    /// A file of the store breaks its layout.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has opened the lane for writing since.
    #[error("cannot {doing} {}: another process has opened it for writing, and only one may hold it at a time", path.display())]
    Fenced {
        /// What was being done.
        doing: &'static str,
        /// The database.
        path: PathBuf,
    },
    /// The lane was not opened.
    #[error(
        "lane {lane} of pipeline {pipeline} is not one of those that the store was opened with"
    )]
    NoLane {
        /// The pipeline that was named.
        pipeline: String,
        /// The lane that was named.
        lane: u32,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A table refused, or does not answer.
    #[error("cannot {doing} in DynamoDB table `{table}`: {reason}; {hint}")]
    Table {
        /// What was being done.
        doing: String,
        /// The table.
        table: String,
        /// What kind of thing is wrong.
        fault: TableFault,
        /// What the service says.
        reason: String,
        /// What can be done about it.
        hint: String,
    },
    /// Object storage refused, or does not answer.
    #[error(transparent)]
    Objects(#[from] StorageError),
    /// The storage engine refused.
    #[error("cannot {doing} {}: {reason}. {advice}", path.display())]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// The database's folder.
        path: PathBuf,
        /// The engine's reason.
        reason: String,
        /// What can be done about it.
        advice: &'static str,
    },
}

impl StoreError {
    /// Whether the store was given something that it cannot work with, rather than that something failed.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Redeclared { .. }
            | Self::Dropped { .. }
            | Self::NotAStore { .. }
            | Self::TooLarge { .. } => true,
            Self::Table { fault, .. } => *fault != TableFault::Unreachable,
            Self::Objects(error) => !error.is_of_the_system(),
            _ => false,
        }
    }

    /// Whether somebody else has the lane by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }
}

/// Texts as a list in TOML has them.
fn quoted(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    quoted.join(", ")
}

/// The end of an "unknown" message: the nearest name that exists, else all of them.
fn nearest(what: &str, names: &[String], asked: &str) -> String {
    let bare = |name: &str| FeatureName::parse(name).name;
    let nearest = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&bare(name), &bare(asked)), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= asked.len() / 3 + 1);
    match nearest {
        _ if names.is_empty() => format!(": no {what} are declared there yet"),
        Some((_, name)) => format!(
            ": did you mean {name:?}? Declared {what}: {}",
            names.join(", ")
        ),
        None => format!(". Declared {what}: {}", names.join(", ")),
    }
}
