//! Every type of the contract crosses the boundary and comes back: as a row, as a state, as output.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use penstock::sandbox::{Instance, Limits};
use penstock::transform::{Groups, Opening, Rows, Windowed};
use proptest::prelude::*;
use rand::RngExt;

use crate::support::random::{Columns, slice};
use crate::support::{HOST, cases, transform, types};

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(types::every_type()))
}

fn open() -> Instance {
    let component = HOST.sandbox.load_file(&transform("every_type")).unwrap();
    let opening = Opening {
        config: "{}".into(),
        event: "event".into(),
        event_schema: schema(),
        key: Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, false)])),
    };
    let limits = Limits::default();
    HOST.lanes
        .block_on(component.open_windowed(&opening, &limits, "test"))
        .unwrap()
}

/// What a column must be after rows: in each group the last value that is not null.
fn last(before: &ArrayRef, rows: &ArrayRef, group_of_row: &[u32]) -> ArrayRef {
    let groups = before.len();
    let mut from: Vec<u32> = (0..groups as u32).collect();
    for (row, group) in group_of_row.iter().enumerate() {
        if rows.is_valid(row) {
            from[*group as usize] = (groups + row) as u32;
        }
    }
    let rows = cast(rows, before.data_type()).unwrap();
    let all = concat(&[before.as_ref(), rows.as_ref()]).unwrap();
    take(&all, &UInt32Array::from(from), None).unwrap()
}

fn same(found: &[ArrayRef], expected: &[ArrayRef], schema: &Schema) {
    for ((found, expected), field) in found.iter().zip(expected).zip(schema.fields()) {
        assert_eq!(found.as_ref(), expected.as_ref(), "column {}", field.name());
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn every_type_survives_rows_states_and_output(
        seed in any::<u64>(),
        rows in prop_oneof![Just(0_usize), Just(1), 2..200_usize],
        groups in 1..20_usize,
        nulls in prop_oneof![Just(0_u32), Just(1), Just(3)],
        skip in 0..9_usize,
    ) {
        let mut transform = open();
        let spec = transform.spec().clone();
        let schema = schema();
        prop_assert_eq!(&spec.columns, &schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>());
        let mut random = Columns::new(seed);
        let zeros = UInt32Array::from(vec![0; groups]);
        let initial = spec.initial.columns().iter();
        let mut states: Vec<ArrayRef> = initial.map(|column| take(column, &zeros, None).unwrap()).collect();
        let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..groups as i64))];
        let mut before = Vec::new();
        for _ in 0..2 {
            // A slice, so that offsets and bitmaps start in the middle of their buffers.
            let whole: Vec<ArrayRef> = schema
                .fields()
                .iter()
                .map(|field| random.column(field.data_type(), rows + skip, nulls))
                .collect();
            let input = slice(&whole, skip, rows);
            let group_of_row: Vec<u32> = (0..rows).map(|_| random.0.random_range(0..groups as u32)).collect();
            let mut expected = vec![Arc::clone(&states[0])];
            let columns = states[1..].iter().zip(&input);
            expected.extend(columns.map(|(state, rows)| last(state, rows, &group_of_row)));

            let rows = Rows { columns: &input, group_of_row: &group_of_row.clone().into() };
            let groups = Groups { keys: &keys, states: &states, len: groups };
            let updated = HOST.lanes.block_on(transform.accumulate(rows, groups)).unwrap();
            prop_assert!(updated.rejects.is_empty() && updated.changed.is_none());
            same(&updated.states[1..], &expected[1..], &schema);
            let count: u64 = updated.states[0].as_primitive::<UInt64Type>().values().iter().sum();
            let counted: u64 = states[0].as_primitive::<UInt64Type>().values().iter().sum();
            prop_assert_eq!(count, counted + group_of_row.len() as u64);
            before = std::mem::replace(&mut states, updated.states);
        }

        let groups = |states| Groups { keys: &keys, states, len: keys[0].len() };
        let end: Vec<ArrayRef> = {
            let bound = |at| arrow::array::TimestampMicrosecondArray::from_value(at, keys[0].len()).with_timezone("UTC");
            vec![Arc::new(bound(0)), Arc::new(bound(1))]
        };
        let finished = HOST.lanes.block_on(transform.finish(groups(&states), &end)).unwrap();
        same(finished.output.columns(), &states, &finished.output.schema());

        let merged = HOST.lanes.block_on(transform.merge(groups(&before), &states)).unwrap();
        let identity: Vec<u32> = (0..keys[0].len() as u32).collect();
        let expected: Vec<ArrayRef> = before.iter().zip(&states).skip(1).map(|(earlier, later)| last(earlier, later, &identity)).collect();
        same(&merged.states[1..], &expected, &schema);
    }
}
