//! Tests of comparing tables, also against a naive oracle.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::transform::event_time_type;

/// Driver, end of the window in seconds, mean.
type Row = (i64, i64, Option<f64>);

fn layout() -> Layout {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Layout {
        schema: Arc::new(Schema::new(vec![
            Field::new("driver", DataType::Int64, false),
            Field::new("window_start", event_time_type(), false),
            Field::new("window_end", event_time_type(), false),
            Field::new("mean", DataType::Float64, true),
        ])),
        keys: names(&["driver"]),
        window: names(&["window_start", "window_end"]),
        outputs: names(&["mean"]),
        features: vec![FeatureOf {
            name: "mean_10s".to_owned(),
            column: "mean".to_owned(),
            length: Some(10_000_000),
        }],
    }
}

fn table(rows: &[Row]) -> RecordBatch {
    let ends = |shift: i64| {
        let micros = rows.iter().map(|(_, end, _)| (end - shift) * 1_000_000);
        TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC")
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(ends(10)),
        Arc::new(ends(0)),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(layout().schema, columns).unwrap()
}

fn compared(expected: &[Row], got: &[Row], tolerance: f64) -> Comparison {
    let tolerances = Tolerances::of([("mean".to_owned(), tolerance)]).unwrap();
    let expected = table(expected);
    let expected = (&expected, Leniency::default());
    compare(
        &layout(),
        expected,
        &table(got),
        &layout().outputs,
        &tolerances,
    )
    .unwrap()
}

#[test]
fn rows_are_found_by_entity_and_window_wherever_they_stand() {
    let expected = [(1, 10, Some(0.5)), (2, 10, None), (1, 20, Some(1.0))];
    let got = [(1, 20, Some(1.0)), (2, 10, None), (1, 10, Some(0.5))];
    assert!(compared(&expected, &got, 0.0).is_same());
}

#[test]
fn differences_are_in_the_order_of_windows_and_say_what_they_are_about() {
    let expected = [(1, 20, Some(1.0)), (2, 10, Some(2.0)), (3, 10, Some(3.0))];
    let got = [(1, 20, None), (2, 10, Some(2.5)), (4, 5, Some(4.0))];
    let comparison = compared(&expected, &got, 0.0);
    assert_eq!(comparison.counts(), (2, 1, 1));
    assert_eq!(comparison.matched, 2);
    let shown: Vec<_> = comparison
        .differences
        .iter()
        .map(|difference| {
            let id = comparison.id_of(difference);
            let (expected, got) = comparison.texts_of(difference);
            let feature = comparison.feature_of(difference);
            let feature = feature.map_or("(row)", |(_, name)| name.unwrap());
            let end = id.window.1.unwrap() / 1_000_000;
            format!("{} {end} {feature} {expected} {got}", id.entity[0].1)
        })
        .collect();
    let expected = [
        "4 5 (row) no such row mean=4.0",
        "2 10 mean_10s 2.0 2.5",
        "3 10 (row) mean=3.0 no such row",
        "1 20 mean_10s 1.0 null",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn values_for_programs_are_those_of_json() {
    for (text, value) in [
        ("3", Value::from(3)),
        ("0.1", Value::from(0.1)),
        ("null", Value::Null),
        ("\"a\"", Value::from("a")),
        ("[1.5,null]", serde_json::json!([1.5, null])),
        ("NaN", Value::from("NaN")),
        ("18446744073709551615", Value::from(u64::MAX)),
        (
            "123456789012345678.25",
            Value::from("123456789012345678.25"),
        ),
    ] {
        assert_eq!(json_value(text), value);
    }
}

#[test]
fn a_column_that_was_not_expected_at_all_is_told() {
    let expected = table(&[(1, 10, None)]);
    let without = expected.project(&[0, 1, 2]).unwrap();
    let lenient = (&without, Leniency::default());
    let outputs = layout().outputs;
    let comparison = compare(
        &layout(),
        lenient,
        &expected,
        &outputs,
        &Tolerances::default(),
    )
    .unwrap();
    assert_eq!(comparison.lacking, ["mean"]);
    assert!(!comparison.is_same() && comparison.differences.is_empty());
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..4_i64, 1..4_i64, prop::option::of(0..3_i32));
    let row = row.prop_map(|(driver, end, mean)| (driver, end * 10, mean.map(f64::from)));
    prop::collection::vec(row, 0..20)
}

/// The values of each entity and window, in order.
fn by_identity(rows: &[Row]) -> BTreeMap<(i64, i64), Vec<Option<f64>>> {
    let mut map: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (driver, end, mean) in rows {
        map.entry((*end, *driver)).or_default().push(*mean);
    }
    map
}

proptest! {
    #[test]
    fn counts_are_those_of_a_naive_comparison(expected in rows(), got in rows()) {
        let (one, other) = (by_identity(&expected), by_identity(&got));
        let mut counts = (0, 0, 0);
        for identity in one.keys().chain(other.keys()).collect::<std::collections::BTreeSet<_>>() {
            let empty = Vec::new();
            let (e, g) = (one.get(identity).unwrap_or(&empty), other.get(identity).unwrap_or(&empty));
            counts.0 += e.iter().zip(g).filter(|(e, g)| e != g).count();
            counts.1 += e.len().saturating_sub(g.len());
            counts.2 += g.len().saturating_sub(e.len());
        }
        prop_assert_eq!(compared(&expected, &got, 0.0).counts(), counts);
    }
}
