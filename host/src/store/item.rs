//! Items: what a feature store keeps for one entity, one pipeline and one window length.
//!
//! An item holds an attribute for each `feature@version`. Each attribute carries its own [`Order`], and the greatest
//! wins, so items merge attribute by attribute in any order, any number of times, to the same bytes. A *removal* is
//! an attribute without a value: it hides the older values below it.
//!
//! Layout version 1 of an item (`varint` is LEB128, integers little-endian):
//!
//! ```text
//! item      = 0x01 (layout version)  attribute*          ascending by the bytes of the name, each name once
//! attribute = u8 flags (1 = removal, 2 = the order of the attribute before)
//!             varint length, name ("feature@version")
//!             order, unless flag 2: i64 event time in µs, varint epoch, varint sequence
//!             value, unless flag 1: varint length, bytes as value.rs lays them out
//! ```

pub(crate) mod bytes;
pub mod entity;
pub mod types;
pub mod value;

use std::cmp::Ordering;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use self::bytes::{Cursor, put_text, put_varint};
use self::entity::EntityEncoder;
use self::value::ValueEncoder;
use super::{FeatureBatch, Order, StoreError};

/// The layout that this code writes, and the only one that it reads.
const LAYOUT: u8 = 1;
const REMOVAL: u8 = 1;
const SAME_ORDER: u8 = 2;

/// The items of one batch, ready for any backend: at most one an entity, the newest of the batch.
#[derive(Clone, Debug)]
pub struct Items {
    /// The feature group.
    pub group: String,
    /// The pipeline that computed the values.
    pub pipeline: String,
    /// The window's label, such as `10m`.
    pub window: String,
    entities: Spans,
    bodies: Spans,
}

/// Byte strings that lie one after the other in one buffer.
#[derive(Clone, Debug, Default)]
struct Spans {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Spans {
    fn close(&mut self) {
        self.ends.push(self.bytes.len());
    }

    fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }
}

impl Items {
    /// Makes the items of a batch. Of several rows of one entity, the one with the greatest order is kept; row `i`
    /// has sequence `first_sequence + i`. A null in a feature's column is stored as a removal.
    ///
    /// # Errors
    ///
    /// [`StoreError::Entity`] or [`StoreError::Value`] when a key or a feature has a type that cannot be stored or a
    /// key is null, [`StoreError::Shape`] when the columns differ in length or a feature is named twice.
    pub fn encode(batch: &FeatureBatch<'_>) -> Result<Self, StoreError> {
        check_shape(batch)?;
        let mut features = batch
            .features
            .iter()
            .map(|feature| {
                let values =
                    ValueEncoder::new(feature.values).map_err(|source| StoreError::Value {
                        group: batch.group.to_owned(),
                        feature: feature.name.to_owned(),
                        source,
                    })?;
                Ok((attribute_name(feature.name, feature.version), values))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        features.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = features.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(StoreError::Shape(format!(
                "the feature {} is given twice",
                twice[0].0
            )));
        }
        let (entities, newest) = newest_rows(batch)?;
        let mut bodies = Spans::default();
        let mut value = Vec::new();
        for row in newest {
            bodies.bytes.push(LAYOUT);
            let order = Order {
                event_time: batch.event_time.value(row),
                epoch: batch.epoch,
                sequence: batch.first_sequence + row as u64,
            };
            for (i, (name, values)) in features.iter().enumerate() {
                value.clear();
                let bytes = (!values.is_null(row)).then(|| {
                    values.encode(row, &mut value);
                    value.as_slice()
                });
                let shown = Attribute {
                    name,
                    order,
                    value: bytes,
                };
                shown.write((i > 0).then_some(order), &mut bodies.bytes);
            }
            bodies.close();
        }
        Ok(Self {
            group: batch.group.to_owned(),
            pipeline: batch.pipeline.to_owned(),
            window: batch.window.to_owned(),
            entities,
            bodies,
        })
    }

    /// One item of one entity, as it is.
    #[cfg(test)]
    pub(crate) fn of_one(
        group: &str,
        pipeline: &str,
        window: &str,
        entity: &str,
        body: &[u8],
    ) -> Self {
        let span = |bytes: &[u8]| Spans {
            bytes: bytes.to_vec(),
            ends: vec![bytes.len()],
        };
        Self {
            group: group.to_owned(),
            pipeline: pipeline.to_owned(),
            window: window.to_owned(),
            entities: span(entity.as_bytes()),
            bodies: span(body),
        }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bodies.ends.len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bodies.ends.is_empty()
    }

    /// The entities' texts with their items' bytes, in the order in which the entities first came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map(|i| (self.entities.get(i), self.bodies.get(i)))
    }
}

/// The name of an attribute: `feature@version`.
#[must_use]
pub fn attribute_name(feature: &str, version: u32) -> String {
    format!("{feature}@{version}")
}

fn check_shape(batch: &FeatureBatch<'_>) -> Result<(), StoreError> {
    let rows = batch.event_time.len();
    let lengths = batch
        .keys
        .iter()
        .map(|key| key.len())
        .chain(batch.features.iter().map(|feature| feature.values.len()));
    for length in lengths {
        if length != rows {
            return Err(StoreError::Shape(format!(
                "a column has {length} rows where the window ends have {rows}"
            )));
        }
    }
    if batch.first_sequence.checked_add(rows as u64).is_none() {
        return Err(StoreError::Shape(
            "the sequence runs past its end".to_owned(),
        ));
    }
    Ok(())
}

/// The distinct entities of a batch in order of first appearance, and for each the row with the greatest order.
fn newest_rows(batch: &FeatureBatch<'_>) -> Result<(Spans, Vec<usize>), StoreError> {
    let encoder = EntityEncoder::new(batch.keys).map_err(|source| StoreError::Entity {
        group: batch.group.to_owned(),
        source,
    })?;
    let rows = batch.event_time.len();
    let hasher = foldhash::fast::FixedState::default();
    let mut entities = Spans::default();
    let mut newest: Vec<usize> = Vec::with_capacity(rows);
    let mut table: HashTable<usize> = HashTable::with_capacity(rows);
    for row in 0..rows {
        let start = entities.bytes.len();
        encoder.encode(row, &mut entities.bytes);
        let hash = hasher.hash_one(&entities.bytes[start..]);
        let slot = table.entry(
            hash,
            |i| entities.get(*i) == &entities.bytes[start..],
            |i| hasher.hash_one(entities.get(*i)),
        );
        match slot {
            Entry::Occupied(slot) => {
                // Sequences rise with the rows, so among equal event times the later row is the newer.
                let kept = &mut newest[*slot.get()];
                if batch.event_time.value(row) >= batch.event_time.value(*kept) {
                    *kept = row;
                }
                entities.bytes.truncate(start);
            }
            Entry::Vacant(slot) => {
                slot.insert(newest.len());
                newest.push(row);
                entities.close();
            }
        }
    }
    Ok((entities, newest))
}

/// One attribute of an item, as it lies in the item's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// `feature@version`.
    pub name: &'a str,
    /// Which write this is.
    pub order: Order,
    /// The value's bytes (see [`value`]), or `None` for a removal.
    pub value: Option<&'a [u8]>,
}

/// Why an item's bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// The bytes are of a layout that this build does not know.
    #[error(
        "the item has layout {found}, and this build reads layout {LAYOUT}: read it with the build that wrote it, or a newer one"
    )]
    Layout {
        /// The version that the bytes name.
        found: u8,
    },
    /// The bytes do not follow the layout.
    #[error("the item's bytes are damaged")]
    Damaged,
}

impl<'a> Attribute<'a> {
    /// Reads an item's attributes, ascending by name.
    ///
    /// # Errors
    ///
    /// [`ItemError`] when the bytes are of another layout or damaged.
    pub fn read_all(item: &'a [u8]) -> Result<Vec<Self>, ItemError> {
        let mut cursor = Cursor::new(item);
        match cursor.u8() {
            Some(LAYOUT) => {}
            Some(found) => return Err(ItemError::Layout { found }),
            None => return Err(ItemError::Damaged),
        }
        let mut attributes: Vec<Self> = Vec::with_capacity(4);
        while !cursor.is_empty() {
            let before = attributes.last().copied();
            let attribute = Self::read(&mut cursor, before).ok_or(ItemError::Damaged)?;
            if before.is_some_and(|b| b.name >= attribute.name) {
                return Err(ItemError::Damaged);
            }
            attributes.push(attribute);
        }
        Ok(attributes)
    }

    /// Shows an item's attributes one after the other, ascending by name, without keeping them.
    ///
    /// # Errors
    ///
    /// As [`Attribute::read_all`]; those before the damage have been shown.
    pub fn each(item: &'a [u8], mut show: impl FnMut(Self)) -> Result<(), ItemError> {
        let mut cursor = Cursor::new(item);
        match cursor.u8() {
            Some(LAYOUT) => {}
            Some(found) => return Err(ItemError::Layout { found }),
            None => return Err(ItemError::Damaged),
        }
        let mut before = None;
        while !cursor.is_empty() {
            let attribute = Self::read(&mut cursor, before).ok_or(ItemError::Damaged)?;
            show(attribute);
            before = Some(attribute);
        }
        Ok(())
    }

    /// Writes an item of attributes, which ascend by name, each once.
    #[must_use]
    pub fn write_all(attributes: &[Self]) -> Vec<u8> {
        let bytes = |it: &Self| it.name.len() + it.value.map_or(0, <[u8]>::len) + 32;
        let mut out = Vec::with_capacity(1 + attributes.iter().map(bytes).sum::<usize>());
        out.push(LAYOUT);
        let mut before = None;
        for attribute in attributes {
            attribute.write(before, &mut out);
            before = Some(attribute.order);
        }
        out
    }

    fn read(cursor: &mut Cursor<'a>, before: Option<Self>) -> Option<Self> {
        let flags = cursor.u8()?;
        if flags & !(REMOVAL | SAME_ORDER) != 0 {
            return None;
        }
        let name = cursor.text()?;
        let order = match flags & SAME_ORDER {
            0 => Order {
                event_time: cursor.i64()?,
                epoch: cursor.varint()?,
                sequence: cursor.varint()?,
            },
            _ => before?.order,
        };
        let value = match flags & REMOVAL {
            0 => Some(cursor.block()?),
            _ => None,
        };
        Some(Self { name, order, value })
    }

    fn write(&self, before: Option<Order>, out: &mut Vec<u8>) {
        let same = before == Some(self.order);
        let removal = self.value.is_none();
        out.push((u8::from(removal) * REMOVAL) | (u8::from(same) * SAME_ORDER));
        put_text(self.name, out);
        if !same {
            out.extend_from_slice(&self.order.event_time.to_le_bytes());
            put_varint(self.order.epoch, out);
            put_varint(self.order.sequence, out);
        }
        if let Some(value) = self.value {
            put_varint(value.len() as u64, out);
            out.extend_from_slice(value);
        }
    }

    /// Two different writes never share an order; should they, the greater bytes win, so that merging stays
    /// commutative whatever happens.
    fn newer<'b>(&'b self, other: &'b Self) -> &'b Self {
        match (self.order, self.value).cmp(&(other.order, other.value)) {
            Ordering::Less => other,
            Ordering::Equal | Ordering::Greater => self,
        }
    }
}

/// Merges items of one key, attribute by attribute: the greatest order wins. The result depends neither on the order
/// of the items nor on how often one of them occurs, nor on which were merged before.
///
/// # Errors
///
/// [`ItemError`] when one of the items is of another layout or damaged.
pub fn merge(items: &[&[u8]]) -> Result<Vec<u8>, ItemError> {
    let mut merged: Vec<Attribute<'_>> = Vec::new();
    for item in items {
        merged = merge_attributes(&merged, &Attribute::read_all(item)?);
    }
    Ok(Attribute::write_all(&merged))
}

/// Merges two lists of attributes, each ascending by name.
#[must_use]
pub fn merge_attributes<'a>(left: &[Attribute<'a>], right: &[Attribute<'a>]) -> Vec<Attribute<'a>> {
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        match left[l].name.cmp(right[r].name) {
            Ordering::Less => {
                merged.push(left[l]);
                l += 1;
            }
            Ordering::Greater => {
                merged.push(right[r]);
                r += 1;
            }
            Ordering::Equal => {
                merged.push(*left[l].newer(&right[r]));
                l += 1;
                r += 1;
            }
        }
    }
    merged.extend_from_slice(&left[l..]);
    merged.extend_from_slice(&right[r..]);
    merged
}

#[cfg(test)]
#[path = "item_tests.rs"]
mod tests;
