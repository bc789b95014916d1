//! Items of a batch, and merging them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use proptest::prelude::*;

use super::*;
use crate::store::FeatureColumn;

/// Writes an item of attributes that are already in order.
fn item(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = vec![LAYOUT];
    let mut before = None;
    for attribute in attributes {
        attribute.write(before, &mut out);
        before = Some(attribute.order);
    }
    out
}

type Write = (u8, Order, Option<u8>);

/// Writes of few attributes with few orders, so that ties and replays are common.
fn writes() -> impl Strategy<Value = Vec<Vec<Write>>> {
    let order = (-2..3i64, 0..3u64, prop_oneof![0..3u64, Just(u64::MAX)]).prop_map(
        |(event_time, epoch, sequence)| Order {
            event_time,
            epoch,
            sequence,
        },
    );
    let write = (0..4u8, order, proptest::option::of(0..3u8));
    proptest::collection::vec(proptest::collection::vec(write, 0..4), 1..8)
}

fn items_of(writes: &[Vec<Write>]) -> Vec<Vec<u8>> {
    let item_of = |writes: &Vec<Write>| {
        let by_name: BTreeMap<u8, &Write> = writes.iter().map(|w| (w.0, w)).collect();
        let names: Vec<String> = by_name.keys().map(|n| format!("f@{n}")).collect();
        let values: Vec<Option<[u8; 1]>> = by_name.values().map(|w| w.2.map(|v| [v])).collect();
        let attributes: Vec<Attribute<'_>> = by_name
            .values()
            .enumerate()
            .map(|(i, w)| Attribute {
                name: &names[i],
                order: w.1,
                value: values[i].as_ref().map(|v| v.as_slice()),
            })
            .collect();
        item(&attributes)
    };
    writes.iter().map(item_of).collect()
}

proptest! {
    #[test]
    fn merging_gives_the_newest_in_any_order_and_grouping(
        writes in writes(), shuffle in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
    ) {
        let items = items_of(&writes);
        let all: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
        let merged = merge(&all).unwrap();

        let mut oracle: BTreeMap<String, (Order, Option<Vec<u8>>)> = BTreeMap::new();
        for item in &items {
            for a in Attribute::read_all(item).unwrap() {
                let new = (a.order, a.value.map(<[u8]>::to_vec));
                let kept = oracle.entry(a.name.to_owned()).or_insert_with(|| new.clone());
                *kept = kept.clone().max(new);
            }
        }
        let found: BTreeMap<_, _> = Attribute::read_all(&merged)
            .unwrap()
            .into_iter()
            .map(|a| (a.name.to_owned(), (a.order, a.value.map(<[u8]>::to_vec))))
            .collect();
        prop_assert_eq!(found, oracle);

        let mut turned = all.clone();
        turned.rotate_left(shuffle.index(all.len()));
        turned.push(all[0]);
        prop_assert_eq!(&merge(&turned).unwrap(), &merged);
        turned.reverse();
        let (head, tail) = turned.split_at(cut.index(turned.len()));
        let halves = [merge(head).unwrap(), merge(tail).unwrap()];
        prop_assert_eq!(&merge(&[&halves[0], &halves[1]]).unwrap(), &merged);
    }

    #[test]
    fn damaged_items_are_an_error_and_no_panic(
        writes in writes(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        for mut item in items_of(&writes) {
            let at = at.index(item.len());
            item[at] = byte;
            let _ = merge(&[&item]);
            item.truncate(at);
            let _ = merge(&[&item]);
        }
    }
}

#[test]
fn the_layout_is_pinned() {
    let order = Order {
        event_time: 1,
        epoch: 2,
        sequence: 300,
    };
    let attributes = [
        Attribute {
            name: "a@1",
            order,
            value: Some(b"v"),
        },
        Attribute {
            name: "b@1",
            order,
            value: None,
        },
    ];
    let bytes = b"\x01\x00\x03a@1\x01\0\0\0\0\0\0\0\x02\xac\x02\x01v\x03\x03b@1";
    assert_eq!(item(&attributes), bytes);
    assert_eq!(Attribute::read_all(bytes).unwrap(), attributes);
    assert_eq!(
        Attribute::read_all(b"\x02"),
        Err(ItemError::Layout { found: 2 })
    );
}

#[test]
fn a_batch_gives_one_item_an_entity_with_its_newest_row() {
    let keys: [ArrayRef; 1] = [Arc::new(StringArray::from(vec!["a", "b", "a", "a"]))];
    let event_time = TimestampMicrosecondArray::from(vec![10, 10, 20, 10]);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
    let features = [
        FeatureColumn {
            name: "z",
            version: 1,
            values: &values,
        },
        FeatureColumn {
            name: "f",
            version: 2,
            values: &values,
        },
    ];
    let batch = FeatureBatch {
        group: "g",
        pipeline: "p",
        window: "1h",
        keys: &keys,
        event_time: &event_time,
        epoch: 7,
        first_sequence: 100,
        features: &features,
    };
    let items = Items::encode(&batch).unwrap();
    let found: Vec<_> = items
        .iter()
        .map(|(entity, item)| {
            let attributes = Attribute::read_all(item).unwrap();
            assert_eq!(
                attributes.iter().map(|a| a.name).collect::<Vec<_>>(),
                ["f@2", "z@1"]
            );
            assert_eq!(attributes[0].order, attributes[1].order);
            (
                entity.to_vec(),
                attributes[0].order.sequence,
                attributes[0].value.is_some(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [(b"a".to_vec(), 102, true), (b"b".to_vec(), 101, false)]
    );

    let twice = [features[0], features[0]];
    let wrong = FeatureBatch {
        features: &twice,
        ..batch
    };
    assert!(matches!(Items::encode(&wrong), Err(StoreError::Shape(_))));
    let short = TimestampMicrosecondArray::from(vec![10]);
    let wrong = FeatureBatch {
        event_time: &short,
        ..batch
    };
    assert!(matches!(Items::encode(&wrong), Err(StoreError::Shape(_))));
}
