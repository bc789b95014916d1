//! Groups against a map: sums by key and pane, over many small batches, with states that come back
//! whole or in part, and rows that are all rejected.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use proptest::prelude::*;

use super::*;

/// Sums by pane start and key.
type Sums = BTreeMap<(i64, i32), i64>;

fn state(key: &Schema) -> WindowState {
    let schema = Arc::new(Schema::new(vec![Field::new("sum", DataType::Int64, false)]));
    let zero: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    let initial = RecordBatch::try_new(schema, vec![zero]).unwrap();
    WindowState::new(Panes::new(10, 3).unwrap(), key, &initial).unwrap()
}

/// Adds rows of (time, key, amount) as a transform would; amounts of zero are rejected. Of the
/// groups that got something, returns either all states or the changed ones.
fn add(state: &mut WindowState, keys: Vec<ArrayRef>, rows: &[(i64, i32, i64)], whole: bool) {
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let slots = state.assign(&times, &keys).unwrap();
    let touched = state.touch(&slots, &keys).unwrap();
    let mut sums = touched.states[0]
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    let mut applied = vec![false; touched.len()];
    for (row, group) in rows.iter().zip(touched.group_of_row.iter()) {
        sums[*group as usize] += row.2;
        applied[*group as usize] |= row.2 != 0;
    }
    let changed: Vec<u32> = (0..touched.len() as u32)
        .filter(|group| applied[*group as usize])
        .collect();
    let (sums, changed) = match whole {
        true => (sums, None),
        false => (
            changed.iter().map(|group| sums[*group as usize]).collect(),
            Some(changed),
        ),
    };
    let states: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(sums))];
    state
        .update(touched, states, changed.as_deref(), |group| applied[group])
        .unwrap();
}

/// Closes what is over, and checks that it comes in order.
fn close(state: &mut WindowState, watermark: i64, text: bool) -> Sums {
    let mut sums = Sums::new();
    let mut before = None;
    while let Some(closed) = state.close_next(watermark) {
        let (keys, states) = state.gather(&closed, 0..closed.len()).unwrap();
        let found = states[0].as_primitive::<Int64Type>().values();
        for (row, sum) in found.iter().enumerate() {
            let key = match text {
                true => keys[0].as_string::<i32>().value(row).parse().unwrap(),
                false => keys[0].as_primitive::<Int32Type>().value(row),
            };
            let order = match text {
                true => (closed.pane.start, key.to_string(), 0),
                false => (closed.pane.start, String::new(), key),
            };
            assert!(before < Some(order.clone()), "{order:?} after {before:?}");
            before = Some(order);
            sums.insert((closed.pane.start, key), *sum);
        }
        state.drop_closed(closed);
    }
    sums
}

fn key_columns(rows: &[(i64, i32, i64)], text: bool) -> Vec<ArrayRef> {
    let keys = rows.iter().map(|row| row.1);
    match text {
        true => vec![Arc::new(StringArray::from_iter_values(
            keys.map(|key| key.to_string()),
        ))],
        false => vec![Arc::new(Int32Array::from_iter_values(keys))],
    }
}

proptest! {
    #[test]
    fn groups_equal_a_map(
        batches in prop::collection::vec(
            (prop::collection::vec((0..60_i64, -4..4_i32, -2..3_i64), 1..12), any::<bool>(), 0..4_i64),
            1..300,
        ),
        text in any::<bool>(),
    ) {
        let data_type = if text { DataType::Utf8 } else { DataType::Int32 };
        let key = Schema::new(vec![Field::new("key", data_type, false)]);
        let mut state = state(&key);
        let mut sums = Sums::new();
        let mut now = 0;
        for (rows, whole, step) in batches {
            let rows: Vec<_> = rows.into_iter().map(|(at, key, amount)| (now + at, key, amount)).collect();
            add(&mut state, key_columns(&rows, text), &rows, whole);
            for (at, key, amount) in rows.into_iter().filter(|row| row.2 != 0) {
                *sums.entry(((at - 3).div_euclid(10) * 10 + 3, key)).or_default() += amount;
            }
            prop_assert_eq!(state.len(), sums.len());
            now += step;
            let later = sums.split_off(&(now - 9, i32::MIN));
            prop_assert_eq!(close(&mut state, now, text), std::mem::replace(&mut sums, later));
        }
        prop_assert_eq!(close(&mut state, i64::MAX, text), sums);
        prop_assert!(state.is_empty());
    }
}

/// Many updates of few groups, and of some that are then left alone: dead rows are collected, and
/// the rows that stay are the right ones.
#[test]
fn dead_rows_are_collected() {
    let key = Schema::new(vec![Field::new("key", DataType::Int32, false)]);
    let mut state = state(&key);
    let mut sums = Sums::new();
    for round in 0..400 {
        let first = if round % 7 == 0 { 0 } else { 1_500 };
        let rows: Vec<_> = (first..2_000)
            .map(|key| (5, key, i64::from(key % 5) + 1))
            .collect();
        add(&mut state, key_columns(&rows, false), &rows, round % 2 == 0);
        for (_, key, amount) in rows {
            *sums.entry((3, key)).or_default() += amount;
        }
    }
    assert!(
        state.runs.rows() <= 2 * 2_000 + (1 << 16) + 2_000,
        "{} rows are kept",
        state.runs.rows()
    );
    assert_eq!(close(&mut state, i64::MAX, false), sums);
}

#[test]
fn what_was_assigned_can_be_taken_back() {
    let key = Schema::new(vec![Field::new("key", DataType::Int32, false)]);
    let mut state = state(&key);
    let rows = [(5, 1, 1), (5, 2, 1), (15, 1, 1), (5, 1, 1)];
    add(&mut state, key_columns(&rows[..1], false), &rows[..1], true);
    let slots = state
        .assign(&[5, 5, 15, 5], &key_columns(&rows, false))
        .unwrap();
    assert_eq!(state.len(), 3);
    state.unassign(&slots);
    assert_eq!(state.len(), 1);
    assert_eq!(
        close(&mut state, i64::MAX, false),
        Sums::from([((3, 1), 1)])
    );
}
