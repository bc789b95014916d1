//! From names and entities to values: what every backend's reading has in common.
//!
//! What comes in: a group, entities and names of features. What goes out: an answer for each, in the order asked.
//! Features of one pipeline and window length share an item, and each item is looked at once however many of its
//! features are asked for: so the values of one item are always of one moment.

use std::sync::Arc;

use bytes::Bytes;

use super::declarations::Terms;
use super::item::value::ValueError;
use super::item::{Attribute, attribute_name};
use super::{Declaration, FeatureName, FeatureReader, FeatureValue, ItemPlace, StoreError, Value};

/// What is known of some features of one entity, in the order asked.
pub type EntityValues = Vec<Option<FeatureValue>>;

/// Reads features of entities by way of [`FeatureReader::find`] and [`FeatureReader::items`].
pub(super) async fn batch_get<R: FeatureReader + ?Sized>(
    reader: &R,
    group: &str,
    entities: &[&str],
    features: &[FeatureName],
) -> Result<Vec<EntityValues>, StoreError> {
    let found = reader.find(group, features).await?;
    let shape = Shape::at(&found, reader.unix());
    let places: Vec<ItemPlace<'_>> = entities
        .iter()
        .flat_map(|entity| shape.places(group, entity))
        .collect();
    let items = reader.items(&places).await?;
    let width = shape.items.len();
    entities
        .iter()
        .enumerate()
        .map(|(at, entity)| shape.values(group, entity, &items[at * width..(at + 1) * width]))
        .collect()
}

/// Which items some features lie in, the same for every entity.
#[derive(Debug)]
pub struct Shape {
    features: Vec<Arc<Declaration>>,
    /// The attribute of each feature, and which of `items` it lies in.
    lies: Vec<(String, usize)>,
    /// A declaration of each item: its pipeline and window name it.
    items: Vec<Arc<Declaration>>,
    /// For each feature the event time up to which its values are past their TTL, if they have one.
    expired: Vec<Option<i64>>,
}

impl Shape {
    /// Takes features of one group, as [`FeatureReader::find`] gives them. What is past its TTL at `now`, in
    /// microseconds since 1970-01-01T00:00:00Z, is as if it had never been written.
    #[must_use]
    pub fn at(features: &[Arc<Declaration>], now: i64) -> Self {
        let expired = features.iter().map(|feature| {
            let ttl = Terms::of(feature).ttl?;
            Some(now.saturating_sub(ttl))
        });
        Self {
            expired: expired.collect(),
            ..Self::of(features)
        }
    }

    /// The same whatever the time, with what is past its TTL.
    #[must_use]
    pub fn of(features: &[Arc<Declaration>]) -> Self {
        let mut items: Vec<Arc<Declaration>> = Vec::new();
        let mut lies = Vec::with_capacity(features.len());
        for feature in features {
            let is_in = |item: &Arc<Declaration>| {
                item.pipeline == feature.pipeline && item.window == feature.window
            };
            let position = items.iter().position(is_in).unwrap_or_else(|| {
                items.push(Arc::clone(feature));
                items.len() - 1
            });
            lies.push((attribute_name(&feature.feature, feature.version), position));
        }
        Self {
            expired: vec![None; features.len()],
            features: features.to_vec(),
            lies,
            items,
        }
    }

    /// The items of one entity, of which there are as many for every entity.
    pub fn places<'a>(
        &'a self,
        group: &'a str,
        entity: &'a str,
    ) -> impl Iterator<Item = ItemPlace<'a>> {
        self.items.iter().map(move |item| ItemPlace {
            group,
            pipeline: &item.pipeline,
            window: &item.window,
            entity,
        })
    }

    /// The features' attributes in the items of one entity, in the order of the features: what is found without
    /// making a value of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Item`] when an item is damaged or of another layout.
    pub fn attributes<'a>(
        &self,
        group: &str,
        entity: &str,
        items: &'a [Option<Bytes>],
    ) -> Result<Vec<Option<Attribute<'a>>>, StoreError> {
        let read = |item: &'a Option<Bytes>| match item {
            None => Ok(Vec::new()),
            Some(item) => Attribute::read_all(item).map_err(|source| StoreError::Item {
                group: group.to_owned(),
                entity: entity.to_owned(),
                source,
            }),
        };
        let items = items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let features = self.lies.iter().zip(&self.expired);
        let picked = features.map(|((name, item), expired)| {
            let attributes = &items[*item];
            let position = attributes.binary_search_by(|a| a.name.cmp(name)).ok()?;
            let attribute = attributes[position];
            let is_of_use = |expired: i64| attribute.order.event_time > expired;
            expired.is_none_or(is_of_use).then_some(attribute)
        });
        Ok(picked.collect())
    }

    /// The features' values in the items of one entity, in the order of the features.
    ///
    /// # Errors
    ///
    /// As [`Shape::attributes`], and [`StoreError::Value`] for a value that is not what is declared.
    pub fn values(
        &self,
        group: &str,
        entity: &str,
        items: &[Option<Bytes>],
    ) -> Result<EntityValues, StoreError> {
        let attributes = self.attributes(group, entity, items)?;
        let features = self.features.iter().zip(attributes);
        features
            .map(|(declaration, attribute)| {
                attribute
                    .map(|attribute| value(declaration, attribute))
                    .transpose()
            })
            .collect()
    }
}

fn value(declaration: &Declaration, attribute: Attribute<'_>) -> Result<FeatureValue, StoreError> {
    let fault = |source| StoreError::Value {
        group: declaration.group.clone(),
        feature: declaration.feature.clone(),
        source,
    };
    let value = attribute.value.map(Value::decode).transpose();
    let value = value.map_err(fault)?;
    if let Some(value) = &value
        && *value.data_type() != declaration.data_type
    {
        return Err(fault(ValueError::Damaged(format!(
            "the stored value is {} where {} is declared",
            value.data_type(),
            declaration.data_type
        ))));
    }
    Ok(FeatureValue {
        version: declaration.version,
        order: attribute.order,
        data_type: declaration.data_type.clone(),
        value,
    })
}
