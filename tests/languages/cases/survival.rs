//! Values on their way through rows, states and output.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, Float64Array, Int64Array, ListArray, StringArray, UInt64Array,
    make_array,
};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, i256};
use penstock::sandbox::{Component, Interface};
use penstock::transform::Mapper;

use super::super::oracle::{States, same};
use super::super::values::{Batch, given};
use super::super::{mapper, window};
use super::{accumulate, all, finish, merge};
use crate::support::HOST;
use crate::support::random::Columns;
use crate::support::types::every_type;

pub(in super::super) fn it_says_what_it_is(guest: &Component) {
    for interface in [Interface::Mapper, Interface::Windowed, Interface::Migration] {
        assert!(guest.interfaces().contains(&interface), "{interface}");
    }
    let ours = |import: &String| import.starts_with("penstock:transform/");
    assert!(guest.imports().iter().all(ours), "{:?}", guest.imports());

    let window = window(guest);
    let spec = window.spec();
    let mut columns = vec!["command".to_owned(), "required".to_owned()];
    columns.extend(given().iter().map(|field| field.name().clone()));
    assert_eq!(spec.columns, columns);
    assert_eq!(
        (spec.state_version, spec.migrates_from.as_slice()),
        (3, [1, 2].as_slice())
    );
    let never_null = |name, data_type| Field::new(name, data_type, false);
    let mut state = vec![
        never_null("count", DataType::UInt64),
        never_null("sum", DataType::Int64),
        never_null("polynomial", DataType::UInt64),
    ];
    state.extend(given());
    let state = Schema::new(state);
    assert_eq!(
        (spec.state.fields(), spec.output.fields()),
        (&state.fields, &state.fields)
    );
    same(spec.initial.columns(), &States::initial(1).columns);

    let mapper = mapper(guest);
    let mut output = vec![
        never_null("copy", DataType::UInt32),
        never_null("required", DataType::Int64),
    ];
    output.extend(given());
    assert_eq!(mapper.spec().output.fields(), &Schema::new(output).fields);
    assert_eq!(mapper.spec().columns, columns);
}

pub(in super::super) fn every_type_survives_rows_states_and_output(guest: &Component) {
    for (seed, rows, groups, nulls) in [
        (1, 1, 1, 0),
        (2, 7, 3, 3),
        (3, 64, 5, 2),
        (4, 200, 20, 4),
        (5, 97, 13, 0),
        (6, 33, 2, 1),
    ] {
        let mut transform = window(guest);
        let mut random = Columns::new(seed);
        let mut expected = States::initial(groups);
        let mut before = expected.clone();
        for round in 0..2 {
            let batch = Batch::random(&mut random, rows, nulls);
            let of_row: Vec<u32> = (0..rows)
                .map(|row| ((row * 7 + round) % groups) as u32)
                .collect();
            let updated = accumulate(&mut transform, &batch, &of_row, &expected.columns).unwrap();
            assert!(updated.rejects.is_empty());
            before = expected.clone();
            expected = expected.accumulate(&batch, &of_row, &[]);
            same(&all(&before, updated), &expected.columns);
        }
        let finished = finish(&mut transform, &expected.columns).unwrap();
        let (groups, rows) = expected.finish();
        assert_eq!(finished.source_group, groups);
        same(finished.output.columns(), &rows);

        let merged = merge(&mut transform, &before.columns, &expected.columns);
        same(&merged, &before.merge(&expected).columns);
    }
}

pub(in super::super) fn the_least_and_the_greatest_survive(guest: &Component) {
    let integers = [0, 1, -1, i64::MIN, i64::MAX, (1 << 53) + 1, -(1 << 53) - 1];
    let integers: ArrayRef = Arc::new(Int64Array::from(integers.to_vec()));
    let floats = [
        0.0,
        -0.0,
        f64::MIN,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let floats: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
    let tiny = [
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::EPSILON,
        0.1,
        1e308,
        -1e-308,
    ];
    let tiny: ArrayRef = Arc::new(Float64Array::from(tiny.to_vec()));
    let rows = integers.len();
    for floats in [floats, tiny] {
        let mut random = Columns::new(7);
        let mut batch = Batch::random(&mut random, rows, 0).with("required", Arc::clone(&integers));
        for field in every_type() {
            let column = match field.data_type() {
                DataType::Int64 | DataType::Timestamp(..) | DataType::Duration(_) => &integers,
                DataType::Float64 | DataType::Float32 | DataType::Float16 => &floats,
                _ => continue,
            };
            batch = batch.with(field.name(), Arc::clone(column));
        }
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![
            0,
            1,
            u64::MAX,
            1 << 63,
            (1 << 53) + 1,
            u64::MAX - 1,
            (1 << 63) - 1,
        ]));
        batch = batch.with("uint64", unsigned);
        // Each row in a group of its own, so that each value is seen.
        echo(guest, &batch, rows);
    }
}

pub(in super::super) fn the_extremes_of_every_type_survive(guest: &Component) {
    const ROWS: usize = 4;
    let mut batch = Batch::random(&mut Columns::new(21), ROWS, 0);
    for field in every_type() {
        if let Some(extremes) = extremes(field.data_type()) {
            assert_eq!(extremes.len(), ROWS);
            batch = batch.with(field.name(), extremes);
        }
    }
    let long = |item: i64| Some(vec![Some(i64::MIN), None, Some(item), Some(i64::MAX)]);
    let lists = [long(0), Some(vec![]), long((1 << 53) + 1), None];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    echo(guest, &batch.with("list", Arc::new(lists)), ROWS);
}

/// The least value of a type, the greatest, that of no bit and that of all bits; none for types that lists of
/// numbers do not make out.
fn extremes(of: &DataType) -> Option<ArrayRef> {
    let floats = [f64::NEG_INFINITY, f64::INFINITY, -0.0, f64::NAN];
    let values: [Vec<u8>; 4] = match of {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats = Float64Array::from(floats.to_vec());
            return Some(cast(&floats, of).unwrap());
        }
        DataType::Decimal128(precision, _) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            [-most, most, 0, -1].map(|value| value.to_le_bytes().to_vec())
        }
        DataType::Decimal256(precision, _) => {
            let most = i256::from_string(&"9".repeat(usize::from(*precision))).unwrap();
            [-most, most, i256::ZERO, -i256::ONE].map(|value| value.to_le_bytes().to_vec())
        }
        fixed => {
            let width = match fixed {
                DataType::FixedSizeBinary(width) => *width as usize,
                fixed => fixed.primitive_width()?,
            };
            let signed = !fixed.is_unsigned_integer();
            let mut least = vec![0; width];
            let mut most = vec![0xff; width];
            if signed {
                least[width - 1] = 0x80;
                most[width - 1] = 0x7f;
            }
            [least, most, vec![0; width], vec![0xff; width]]
        }
    };
    let data = ArrayData::builder(of.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values.concat()))
        .align_buffers(true);
    Some(make_array(data.build().unwrap()))
}

pub(in super::super) fn texts_beyond_ascii_survive(guest: &Component) {
    let long = "漢字🦀".repeat(1000);
    let texts: Vec<Option<&str>> = vec![
        Some(""),
        Some("ü"),
        Some("e\u{301}"),
        Some("👩‍👩‍👧‍👦"),
        Some("\u{0}a\u{0}"),
        Some("\u{10ffff}\u{feff}"),
        Some(&long),
        None,
        Some("line\r\nbreak\t\"quoted\" \\"),
    ];
    let rows = texts.len();
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let batch = Batch::random(&mut Columns::new(8), rows, 2)
        .with("utf8", Arc::clone(&texts))
        .with("large_utf8", Arc::clone(&texts))
        .with("binary", Arc::clone(&texts))
        .with("large_binary", texts);
    echo(guest, &batch, rows);
}

pub(in super::super) fn many_rows_in_one_group_and_a_group_for_each_row(guest: &Component) {
    const MANY: usize = 65_536;
    let batch = Batch::random(&mut Columns::new(9), MANY, 5);
    let mut transform = window(guest);
    let initial = States::initial(1);
    let updated = accumulate(&mut transform, &batch, &[0; MANY], &initial.columns).unwrap();
    let expected = initial.accumulate(&batch, &[0; MANY], &[]);
    same(&all(&initial, updated), &expected.columns);

    let few = Batch::random(&mut Columns::new(10), 4096, 5);
    echo(guest, &few, 4096);
}

pub(in super::super) fn calls_without_rows_or_groups_do_nothing(guest: &Component) {
    let mut transform = window(guest);
    let nothing = Batch::random(&mut Columns::new(11), 0, 2);
    for groups in [0, 3] {
        let states = States::initial(groups);
        let updated = accumulate(&mut transform, &nothing, &[], &states.columns).unwrap();
        assert!(updated.rejects.is_empty());
        same(&all(&states, updated), &states.columns);
        let finished = finish(&mut transform, &states.columns).unwrap();
        assert_eq!(
            finished.output.num_rows(),
            0,
            "a group without rows has no output"
        );
        same(
            &merge(&mut transform, &states.columns, &states.columns),
            &states.columns,
        );
    }
    let mapped = HOST
        .lanes
        .block_on(mapper(guest).map(&nothing.columns, 0))
        .unwrap();
    assert_eq!((mapped.output.num_rows(), mapped.rejects.len()), (0, 0));
}

/// Sends each row through a state and an output of its own.
fn echo(guest: &Component, batch: &Batch, rows: usize) {
    let mut transform = window(guest);
    let of_row: Vec<u32> = (0..rows as u32).collect();
    let initial = States::initial(rows);
    let updated = accumulate(&mut transform, batch, &of_row, &initial.columns).unwrap();
    let expected = initial.accumulate(batch, &of_row, &[]);
    same(&all(&initial, updated), &expected.columns);
    let finished = finish(&mut transform, &expected.columns).unwrap();
    same(finished.output.columns(), &expected.finish().1);
}
