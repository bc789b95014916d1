//! How features lie in a table.
//!
//! The primary key of the table is `pk` (a string, by whose hash the service spreads items) and `sk` (a string).
//!
//! | `pk` | `sk` | what it is |
//! | --- | --- | --- |
//! | `f/GROUP/PIPELINE/WINDOW/ENTITY` | `-` | an entity's item |
//! | `F/GROUP/PIPELINE/WINDOW/SHA256` | `-` | the same of an entity whose key would have more than 2048 bytes: its digest in hexadecimal, the entity itself in attribute `entity` |
//! | `d` | `GROUP/FEATURE@VERSION` | a declaration: JSON in attribute `declaration` |
//! | `e` | `PIPELINE` | the last epoch of a pipeline: a number in attribute `epoch` |
//! | `m` | `layout` | the version of this layout: a number in attribute `layout` |
//!
//! Names of groups, pipelines and windows have `%` and `/` percent-encoded; an entity comes last and is as it is. So
//! different items have different keys, and all of an entity's items are spread apart from each other.
//!
//! An item has an attribute for each `feature@version`, of type binary:
//!
//! ```text
//! event time (8 bytes, big-endian, its sign bit flipped)  epoch (8, big-endian)  sequence (8, big-endian)
//! 0x00 (a removal)  |  0x01 and the value as crate::store::item::value lays it out
//! ```
//!
//! The service compares binaries byte by byte, so that the greater of two is the newer one, as
//! [`crate::store::item`] has it. Beside them is `o`, the greatest order among them in the same 24 bytes, and with a
//! TTL `expires`, in seconds since 1970, by which the service removes the item.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest as _, Sha256};

use crate::store::item::{Attribute, ItemError};
use crate::store::{ItemPlace, Order};

/// The version of the layout that this code writes, and the only one that it reads.
pub(super) const LAYOUT: u64 = 1;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// The `sk` of items.
pub(super) const ITEM: &str = "-";
/// The greatest order in an item.
pub(super) const NEWEST: &str = "o";
/// When an item may go.
pub(super) const EXPIRES: &str = "expires";
/// An entity that is too long for a key.
pub(super) const ENTITY: &str = "entity";

/// The service takes keys of so many bytes.
const KEY_BYTES: usize = 2048;
/// The service takes items of 400 KB, names and keys among them. What is left is for those.
pub(super) const ITEM_BYTES: usize = 390_000;

const ORDER_BYTES: usize = 24;

/// What a row of the table is.
pub(super) type Row = HashMap<String, AttributeValue>;

/// The key of an item, and its entity if the key does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ItemKey {
    pub(super) pk: String,
    pub(super) entity: Option<String>,
}

impl ItemKey {
    pub(super) fn of(place: &ItemPlace<'_>) -> Self {
        let mut key = String::with_capacity(64);
        key.push_str("f/");
        for name in [place.group, place.pipeline, place.window] {
            put_name(name, &mut key);
            key.push('/');
        }
        if key.len() + place.entity.len() <= KEY_BYTES {
            key.push_str(place.entity);
            return Self {
                pk: key,
                entity: None,
            };
        }
        key.replace_range(..1, "F");
        for byte in Sha256::digest(place.entity) {
            write!(key, "{byte:02x}").expect("a String takes every write");
        }
        Self {
            pk: key,
            entity: Some(place.entity.to_owned()),
        }
    }

    /// The entity's text.
    pub(super) fn entity(&self) -> &str {
        let in_key = || self.pk.splitn(5, '/').nth(4).unwrap_or_default();
        self.entity.as_deref().unwrap_or_else(in_key)
    }
}

fn put_name(name: &str, out: &mut String) {
    for c in name.chars() {
        match c {
            '%' => out.push_str("%25"),
            '/' => out.push_str("%2F"),
            c => out.push(c),
        }
    }
}

/// A key as the service wants it.
pub(super) fn key(pk: &str, sk: &str) -> Row {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))])
}

/// The `sk` of a declaration.
pub(super) fn declared(group: &str, feature: &str, version: u32) -> String {
    let mut key = String::new();
    put_name(group, &mut key);
    key.push('/');
    put_name(feature, &mut key);
    write!(key, "@{version}").expect("a String takes every write");
    key
}

/// What the `sk` of all declarations of a group begin with.
pub(super) fn declared_in(group: &str) -> String {
    let mut key = String::new();
    put_name(group, &mut key);
    key.push('/');
    key
}

pub(super) fn encode_order(order: Order) -> [u8; ORDER_BYTES] {
    let mut bytes = [0; ORDER_BYTES];
    let event_time = order.event_time.cast_unsigned() ^ (1 << 63);
    bytes[..8].copy_from_slice(&event_time.to_be_bytes());
    bytes[8..16].copy_from_slice(&order.epoch.to_be_bytes());
    bytes[16..].copy_from_slice(&order.sequence.to_be_bytes());
    bytes
}

/// An attribute as it lies in the table.
pub(super) fn encode(attribute: &Attribute<'_>) -> Vec<u8> {
    let value = attribute.value.unwrap_or_default();
    let mut bytes = Vec::with_capacity(ORDER_BYTES + 1 + value.len());
    bytes.extend_from_slice(&encode_order(attribute.order));
    bytes.push(u8::from(attribute.value.is_some()));
    bytes.extend_from_slice(value);
    bytes
}

/// The same without its value: a removal in its place.
pub(super) fn encode_removal(order: Order) -> Vec<u8> {
    encode(&Attribute {
        name: "",
        order,
        value: None,
    })
}

pub(super) fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Reads an attribute.
pub(super) fn decode<'a>(name: &'a str, bytes: &'a [u8]) -> Option<Attribute<'a>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    };
    let order = Order {
        event_time: (number(0)? ^ (1 << 63)).cast_signed(),
        epoch: number(8)?,
        sequence: number(16)?,
    };
    let value = match bytes.get(ORDER_BYTES)? {
        0 if bytes.len() == ORDER_BYTES + 1 => None,
        1 => Some(&bytes[ORDER_BYTES + 1..]),
        _ => return None,
    };
    Some(Attribute { name, order, value })
}

/// The item in a row of the table, as any other backend would have it.
pub(super) fn item_of(row: &Row) -> Result<Vec<u8>, ItemError> {
    let mut attributes = Vec::with_capacity(row.len());
    // Names of features have an `@`, and nothing else in a row does.
    for (name, value) in row.iter().filter(|(name, _)| name.contains('@')) {
        let AttributeValue::B(bytes) = value else {
            return Err(ItemError::Damaged);
        };
        attributes.push(decode(name, bytes.as_ref()).ok_or(ItemError::Damaged)?);
    }
    attributes.sort_unstable_by_key(|attribute| attribute.name);
    Ok(Attribute::write_all(&attributes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::item;

    #[test]
    fn fuzz_table_attribute() {
        let seeds = vec![encode_removal(Order::default()), vec![1; ORDER_BYTES + 3]];
        crate::fuzz::run("table_attribute", seeds, |input| {
            if let Some(attribute) = decode("a@1", input) {
                assert_eq!(encode(&attribute), input);
            }
        });
    }

    fn attribute() -> impl Strategy<Value = (Order, Option<Vec<u8>>)> {
        let time = prop_oneof![any::<i64>(), -2..2i64];
        let number = || prop_oneof![any::<u64>(), 0..3u64];
        let value = proptest::option::of(proptest::collection::vec(0..3u8, 0..3));
        (time, number(), number(), value).prop_map(|(event_time, epoch, sequence, value)| {
            let order = Order {
                event_time,
                epoch,
                sequence,
            };
            (order, value)
        })
    }

    proptest! {
        #[test]
        fn bytes_compare_as_writes_do((a, x) in attribute(), (b, y) in attribute()) {
            let one = Attribute { name: "f@1", order: a, value: x.as_deref() };
            let other = Attribute { name: "f@1", order: b, value: y.as_deref() };
            prop_assert_eq!(encode(&one).cmp(&encode(&other)), (a, &x).cmp(&(b, &y)));
            let bytes = encode(&one);
            prop_assert_eq!(decode("f@1", &bytes), Some(one));
            prop_assert_eq!(encode_order(a).cmp(&encode_order(b)), a.cmp(&b));
        }

        #[test]
        fn an_item_goes_through_a_row_unchanged(a in attribute(), b in attribute()) {
            let attributes = [("a@1", &a), ("b@2", &b)]
                .map(|(name, (order, value))| Attribute { name, order: *order, value: value.as_deref() });
            let mut row = key("f/g/p/w/e", ITEM);
            for attribute in &attributes {
                row.insert(attribute.name.to_owned(), binary(encode(attribute)));
            }
            let bytes = item_of(&row).unwrap();
            prop_assert_eq!(Attribute::read_all(&bytes).unwrap(), attributes.to_vec());
            prop_assert_eq!(item::merge(&[&bytes]).unwrap(), bytes);
        }

        #[test]
        fn different_items_have_different_keys(a in parts(), b in parts()) {
            let key = |p: &[String; 4]| ItemKey::of(&ItemPlace {
                group: &p[0], pipeline: &p[1], window: &p[2], entity: &p[3],
            });
            prop_assert_eq!(a == b, key(&a).pk == key(&b).pk);
        }
    }

    fn parts() -> impl Strategy<Value = [String; 4]> {
        ["[/%a]{0,2}", "[/%a]{0,2}", "[/%2a]{0,2}", "[/%a]{0,2}"]
    }

    #[test]
    fn a_long_entity_has_a_key_that_the_service_takes() {
        let long = "é".repeat(1500);
        let place = |entity| ItemPlace {
            group: "g",
            pipeline: "p",
            window: "w",
            entity,
        };
        let key = ItemKey::of(&place(&long));
        assert!(key.pk.starts_with("F/g/p/w/") && key.pk.len() < 100);
        assert_eq!(key.entity.as_deref(), Some(long.as_str()));
        assert_eq!(ItemKey::of(&place("")).pk, "f/g/p/w/");
        for entity in [long.as_str(), "", "a/b/c%2F"] {
            assert_eq!(ItemKey::of(&place(entity)).entity(), entity);
        }
    }
}
