//! Reading features: from a key to items, and from the lanes' items to the newest values.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};

use super::catalog::Catalog;
use super::folder::Folder;
use super::keys::ItemKeys;
use super::lanes::LaneReaders;
use super::storage::Storage;
use crate::config::StorePlace;
use crate::store::item::value::ValueError;
use crate::store::item::{Attribute, attribute_name, merge_attributes};
use crate::store::{Declaration, FeatureName, FeatureReader, FeatureValue, StoreError, Value};

/// An embedded store, open for reading alone.
///
/// What a writer flushed before this was opened is seen at once, what it flushes later within a tenth of a second; on
/// object storage, where each look is a request, within ten.
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
        declarations(&self.catalog, group).boxed()
    }

    fn get<'a>(
        &'a self,
        group: &'a str,
        entity: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Option<FeatureValue>>, StoreError>> {
        get(
            &self.catalog,
            group,
            entity,
            features,
            move |pipeline, key| {
                async move { self.lanes.get(&pipeline, &key, &BTreeSet::new()).await }.boxed()
            },
        )
        .boxed()
    }
}

pub(super) async fn declarations(
    catalog: &Catalog,
    group: Option<&str>,
) -> Result<Vec<Declaration>, StoreError> {
    catalog.list(group).await
}

/// Reads features with `items`, which gives a key's items from every lane of a pipeline that has one.
pub(super) async fn get<'a, F>(
    catalog: &Catalog,
    group: &str,
    entity: &str,
    features: &[FeatureName],
    items: F,
) -> Result<Vec<Option<FeatureValue>>, StoreError>
where
    F: Fn(String, Vec<u8>) -> BoxFuture<'a, Result<Vec<Bytes>, StoreError>>,
{
    let found = catalog.find(group, features).await?;
    // Features of one pipeline and window share an item, which is read once.
    let mut keys: Vec<(String, Vec<u8>)> = Vec::new();
    let mut item_of = Vec::with_capacity(found.len());
    for declaration in &found {
        let mut key = Vec::new();
        ItemKeys::new(group, &declaration.pipeline, &declaration.window)
            .write(entity.as_bytes(), &mut key);
        let position = keys.iter().position(|(_, k)| *k == key);
        let position = position.unwrap_or_else(|| {
            keys.push((declaration.pipeline.clone(), key));
            keys.len() - 1
        });
        item_of.push(position);
    }
    let reading = keys.into_iter();
    let items = try_join_all(reading.map(|(pipeline, key)| items(pipeline, key))).await?;
    let merged = items
        .iter()
        .map(|lanes| merge_lanes(group, entity, lanes))
        .collect::<Result<Vec<_>, _>>()?;
    found
        .iter()
        .zip(item_of)
        .map(|(declaration, item)| pick(declaration, &merged[item]))
        .collect()
}

/// One entity's items may lie in several lanes: after a run with another number of lanes, or with two writers.
fn merge_lanes<'a>(
    group: &str,
    entity: &str,
    lanes: &'a [Bytes],
) -> Result<Vec<Attribute<'a>>, StoreError> {
    let mut merged = Vec::new();
    for item in lanes {
        let attributes = Attribute::read_all(item).map_err(|source| StoreError::Item {
            group: group.to_owned(),
            entity: entity.to_owned(),
            source,
        })?;
        merged = merge_attributes(&merged, &attributes);
    }
    Ok(merged)
}

fn pick(
    declaration: &Declaration,
    attributes: &[Attribute<'_>],
) -> Result<Option<FeatureValue>, StoreError> {
    let name = attribute_name(&declaration.feature, declaration.version);
    let Ok(position) = attributes.binary_search_by(|a| a.name.cmp(&name)) else {
        return Ok(None);
    };
    let attribute = attributes[position];
    let fault = |source| StoreError::Value {
        group: declaration.group.clone(),
        feature: declaration.feature.clone(),
        source,
    };
    let value = attribute
        .value
        .map(Value::decode)
        .transpose()
        .map_err(fault)?;
    if let Some(value) = &value
        && *value.data_type() != declaration.data_type
    {
        return Err(fault(ValueError::Damaged(format!(
            "the stored value is {} where {} is declared",
            value.data_type(),
            declaration.data_type
        ))));
    }
    Ok(Some(FeatureValue {
        version: declaration.version,
        order: attribute.order,
        data_type: declaration.data_type.clone(),
        value,
    }))
}
