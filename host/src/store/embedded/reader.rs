//! Reading features: from a key to items, and from the lanes' items to the newest values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};

use super::catalog::Catalog;
use super::folder::Folder;
use super::keys::ItemKeys;
use super::lanes::LaneReaders;
use super::storage::Storage;
use crate::config::StorePlace;
use crate::store::{Declaration, FeatureName, FeatureReader, ItemPlace, StoreError, item};

/// An embedded store, open for reading alone.
///
/// What a writer flushed before this was opened is seen at once, what it flushes later within a tenth of a second; on
/// object storage, where each look is a request, within ten seconds.
pub struct EmbeddedReader {
    catalog: Catalog,
    pub(super) folder: Folder,
    pub(super) lanes: LaneReaders,
}

impl EmbeddedReader {
    pub(super) async fn open(place: &StorePlace) -> Result<Self, StoreError> {
        let folder = Folder::open(place).await?;
        let storage = Storage::open(&folder)?;
        Ok(Self {
            catalog: Catalog::new(folder.clone()),
            lanes: LaneReaders::new(folder.clone(), storage),
            folder,
        })
    }

    /// Ends the reader's tasks.
    pub async fn close(&self) {
        self.lanes.close().await;
    }
}

impl FeatureReader for EmbeddedReader {
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
        let read = move |pipeline: &'a str, keys: Vec<Vec<u8>>| async move {
            self.lanes.get_all(pipeline, &keys, &BTreeSet::new()).await
        };
        items(places, read).boxed()
    }
}

/// Reads items with `read`, which gives those at some keys from every lane of a pipeline that has them.
pub(super) async fn items<'a, F>(
    places: &'a [ItemPlace<'a>],
    read: impl Fn(&'a str, Vec<Vec<u8>>) -> F,
) -> Result<Vec<Option<Bytes>>, StoreError>
where
    F: Future<Output = Result<Vec<Vec<Bytes>>, StoreError>>,
{
    let mut pipelines: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        pipelines.entry(place.pipeline).or_default().push(at);
    }
    let reading = pipelines.iter().map(|(pipeline, at)| {
        let keys = at.iter().map(|at| key(&places[*at])).collect();
        read(pipeline, keys)
    });
    let found = try_join_all(reading).await?;
    let mut items = vec![None; places.len()];
    for (at, found) in pipelines.values().zip(found) {
        for (at, lanes) in at.iter().zip(found) {
            items[*at] = merge_lanes(&places[*at], lanes)?;
        }
    }
    Ok(items)
}

fn key(place: &ItemPlace<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    ItemKeys::new(place.group, place.pipeline, place.window)
        .write(place.entity.as_bytes(), &mut key);
    key
}

/// One entity's items may lie in several lanes: after a run with another number of lanes, or with two writers.
fn merge_lanes(place: &ItemPlace<'_>, mut lanes: Vec<Bytes>) -> Result<Option<Bytes>, StoreError> {
    if lanes.len() < 2 {
        return Ok(lanes.pop());
    }
    let items: Vec<&[u8]> = lanes.iter().map(AsRef::as_ref).collect();
    let merged = item::merge(&items).map_err(|source| StoreError::Item {
        group: place.group.to_owned(),
        entity: place.entity.to_owned(),
        source,
    })?;
    Ok(Some(merged.into()))
}
