//! Values that make an item larger than a table takes: removed under their own time, counted, and in nobody's way.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use penstock::store::dynamodb::DynamoDbStore;
use penstock::store::{
    FeatureBatch, FeatureColumn, FeatureName, FeatureReader, FeatureStore, Items,
};

use super::backends::{GROUP, PIPELINE, declaration};
use crate::support::HOST;
use crate::support::servers::dynamodb::table;

/// A new table, with features of texts.
async fn store(name: &str, features: &[&str]) -> DynamoDbStore {
    let place = table(name);
    DynamoDbStore::init(&place).await.unwrap();
    let store = DynamoDbStore::open(&place).await.unwrap();
    let declarations: Vec<_> = features
        .iter()
        .map(|feature| {
            let mut declaration = declaration(feature, 1, "10m", "");
            declaration.data_type = DataType::Utf8;
            declaration
        })
        .collect();
    store.declare(&declarations).await.unwrap();
    store
}

/// Writes texts of so many bytes of an entity, as of an event time, and waits until they are acknowledged.
async fn write(store: &DynamoDbStore, entity: &str, event_time: i64, texts: &[(&str, usize)]) {
    let keys: [ArrayRef; 1] = [Arc::new(StringArray::from(vec![entity]))];
    let columns: Vec<ArrayRef> = texts
        .iter()
        .map(|(_, bytes)| Arc::new(StringArray::from(vec!["x".repeat(*bytes)])) as ArrayRef)
        .collect();
    let features: Vec<FeatureColumn<'_>> = (texts.iter().zip(&columns))
        .map(|((name, _), values)| FeatureColumn {
            name,
            version: 1,
            values,
        })
        .collect();
    let items = Items::encode(&FeatureBatch {
        group: GROUP,
        pipeline: PIPELINE,
        window: "10m",
        keys: &keys,
        event_time: &TimestampMicrosecondArray::from(vec![event_time]),
        epoch: 1,
        first_sequence: 0,
        features: &features,
    });
    store.write(0, items.unwrap()).await.unwrap();
    store.flush_lane(PIPELINE, 0).await.unwrap();
}

/// What is there: the event time, and the bytes of the text if there is one.
async fn there(store: &DynamoDbStore, entity: &str, feature: &str) -> Option<(i64, Option<usize>)> {
    let names = [FeatureName::parse(feature)];
    let found = store.get(GROUP, entity, &names).await.unwrap();
    let found = found.into_iter().next().unwrap()?;
    let text = found
        .value
        .as_ref()
        .map(|value| value.array().as_string::<i32>().value(0).len());
    Some((found.order.event_time, text))
}

#[test]
fn a_value_that_a_table_takes_no_item_of_is_removed_and_counted() {
    HOST.io.block_on(async {
        let store = store("oversized", &["small", "text"]).await;
        write(&store, "e", 1, &[("small", 1), ("text", 500_000)]).await;
        assert_eq!(store.figures().oversized.get(), 1);
        assert_eq!(there(&store, "e", "small").await, Some((1, Some(1))));
        assert_eq!(there(&store, "e", "text").await, Some((1, None)));
    });
}

#[test]
fn an_item_that_outgrows_a_table_over_several_writes_stops_nobody() {
    HOST.io.block_on(async {
        let store = store("outgrown", &["a", "b", "c", "d"]).await;
        write(&store, "e", 1, &[("a", 250_000), ("b", 1)]).await;
        write(&store, "e", 2, &[("b", 250_000), ("c", 1)]).await;
        // No old value of `b` stands under the new time.
        assert_eq!(store.figures().oversized.get(), 2);
        assert_eq!(there(&store, "e", "a").await, Some((1, Some(250_000))));
        assert_eq!(there(&store, "e", "b").await, Some((2, None)));
        assert_eq!(there(&store, "e", "c").await, Some((2, None)));
        // The same where it is added to what is as new.
        write(&store, "e", 2, &[("d", 250_000)]).await;
        assert_eq!(store.figures().oversized.get(), 3);
        assert_eq!(there(&store, "e", "d").await, Some((2, None)));
        // Others are written as before, and this one as soon as there is room.
        write(&store, "f", 2, &[("b", 250_000)]).await;
        assert_eq!(there(&store, "f", "b").await, Some((2, Some(250_000))));
        write(&store, "e", 3, &[("a", 1), ("b", 250_000)]).await;
        assert_eq!(there(&store, "e", "a").await, Some((3, Some(1))));
        assert_eq!(there(&store, "e", "b").await, Some((3, Some(250_000))));
        assert_eq!(store.figures().oversized.get(), 3);
    });
}

#[test]
fn an_item_that_is_full_to_its_last_bytes_takes_nothing_and_stops_nobody() {
    HOST.io.block_on(async {
        // Not even a removal of it fits into what is left of 409,600 bytes.
        let long = "c".repeat(400);
        let store = store("full", &["a", "b", &long]).await;
        write(&store, "e", 1, &[("a", 389_000)]).await;
        write(&store, "e", 2, &[("b", 20_250)]).await;
        assert_eq!(store.figures().oversized.get(), 0);
        write(&store, "e", 3, &[(&long, 1)]).await;
        assert_eq!(store.figures().oversized.get(), 1);
        assert_eq!(there(&store, "e", &long).await, None);
        write(&store, "e", 4, &[("a", 1), (&long, 1)]).await;
        assert_eq!(there(&store, "e", "a").await, Some((4, Some(1))));
        assert_eq!(there(&store, "e", &long).await, Some((4, Some(1))));
    });
}
