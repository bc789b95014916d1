//! Columns that a guest might return: good ones become arrays, all others are refused with a reason.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, ListArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use proptest::prelude::*;

use super::*;

fn schema(data_type: DataType, nullable: bool) -> Schema {
    Schema::new(vec![Field::new("c", data_type, nullable)])
}

fn bytes<T: arrow::datatypes::ArrowNativeType>(values: &[T]) -> Vec<u8> {
    Buffer::from_slice_ref(values).to_vec()
}

fn refused(schema: &Schema, rows: u32, buffers: Vec<Vec<u8>>, because: &str) {
    let fault = lift(schema, rows, buffers).expect_err("hostile");
    assert!(fault.contains(because), "`{because}` is not in: {fault}");
}

#[test]
fn hostile_columns_are_refused() {
    let int = schema(DataType::Int64, false);
    refused(&int, 2, vec![], "validity buffer is missing");
    refused(&int, 2, vec![vec![]], "values buffer is missing");
    refused(
        &int,
        2,
        vec![vec![], vec![0; 15]],
        "15 bytes where 16 belong",
    );
    refused(
        &int,
        2,
        vec![vec![], vec![0; 17]],
        "17 bytes where 16 belong",
    );
    refused(
        &int,
        2,
        vec![vec![0b01], vec![0; 16]],
        "declared without nulls",
    );
    refused(
        &int,
        9,
        vec![vec![0xff], vec![0; 72]],
        "validity buffer has 1 bytes where 2 belong",
    );
    refused(&int, 2, vec![vec![], vec![0; 16], vec![]], "1 more buffers");

    let text = schema(DataType::Utf8, true);
    let of = |offsets: &[i32], text: &[u8]| vec![vec![], bytes(offsets), text.to_vec()];
    refused(&text, 2, of(&[0, 1], b"a"), "offsets buffer");
    refused(&text, 2, of(&[1, 1, 1], b"a"), "start at 0");
    refused(&text, 2, of(&[0, 2, 1], b"a"), "never fall");
    refused(
        &text,
        2,
        of(&[0, 1, 9], b"a"),
        "bytes buffer has 1 bytes where 9 belong",
    );
    refused(&text, 1, of(&[0, -1], b""), "offset 1");
    refused(&text, 1, of(&[0, 2], b"\xff\xfe"), "utf-8");
    // One character over two values.
    refused(&text, 2, of(&[0, 1, 2], "é".as_bytes()), "utf-8");

    let list = schema(DataType::new_list(DataType::Int32, false), true);
    let of = |offsets: &[i32], items: &[i32]| vec![vec![], bytes(offsets), vec![], bytes(items)];
    refused(
        &list,
        1,
        of(&[0, i32::MAX], &[1]),
        "where 8589934588 belong",
    );
    refused(
        &list,
        1,
        of(&[0, 1], &[]),
        "values buffer has 0 bytes where 4 belong",
    );
    let large = schema(DataType::LargeUtf8, true);
    refused(
        &large,
        1,
        vec![vec![], bytes(&[0_i64, i64::MAX]), vec![]],
        "bytes buffer",
    );
}

#[test]
fn decimals_of_too_many_digits_are_refused_unless_null() {
    let narrow = schema(DataType::Decimal128(3, -2), true);
    let of = |validity: u8, values: &[i128]| vec![vec![validity], bytes(values)];
    lift(&narrow, 2, of(0b11, &[999, -999])).expect("three digits");
    lift(&narrow, 2, of(0b01, &[999, 1000])).expect("the second is null");
    refused(&narrow, 2, of(0b11, &[999, -1000]), "row 1 has more than 3");

    let wide = schema(DataType::Decimal256(76, 0), false);
    refused(
        &wide,
        1,
        vec![vec![], [vec![0xff; 31], vec![0x7f]].concat()],
        "more than 76 digits",
    );
    let item = schema(DataType::new_list(DataType::Decimal128(1, 0), false), true);
    let of = |values: &[i128]| vec![vec![], bytes(&[0_i32, 2]), vec![], bytes(values)];
    lift(&item, 1, of(&[9, -9])).expect("one digit each");
    refused(&item, 1, of(&[9, 10]), "`item`: the decimal in row 1");
}

#[test]
fn what_lies_under_nulls_and_outside_slices_does_not_cross() {
    let garbage = Int64Array::new(
        vec![1, 2, 3, 4].into(),
        Some(vec![true, false, true, false].into()),
    );
    let lowered = lower(&[Arc::new(garbage.slice(1, 3)) as ArrayRef]);
    assert_eq!(lowered.slices(), [&[0b010][..], &bytes(&[0_i64, 3, 0])]);

    let bits = BooleanArray::from(vec![true; 20]).slice(3, 9);
    assert_eq!(
        lower(&[Arc::new(bits) as ArrayRef]).slices(),
        [&[][..], &[0xff, 0x01]]
    );

    // A null that spans bytes, in the middle of an array.
    let data = StringArray::from(vec!["aa", "bb", "cc", "dd"]).to_data();
    let hidden = data
        .into_builder()
        .nulls(Some(vec![true, true, false, true].into()))
        .build()
        .unwrap();
    let lowered = lower(&[StringArray::from(hidden).slice(1, 3).into_arc()]);
    assert_eq!(
        lowered.slices(),
        [&[0b101][..], &bytes(&[0_i32, 2, 2, 4]), b"bbdd"]
    );

    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1)]),
        None,
        Some(vec![Some(2), None]),
    ]);
    let lowered = lower(&[lists.slice(2, 1).into_arc()]);
    assert_eq!(
        lowered.slices(),
        [&[][..], &bytes(&[0_i32, 2]), &[0b01], &bytes(&[2_i32, 0])]
    );

    let fields = Fields::from(vec![Field::new("a", DataType::Int64, false)]);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![5, 6]));
    let hidden = StructArray::new(fields, vec![column], Some(vec![false, true].into()));
    let lowered = lower(&[hidden.into_arc()]);
    assert_eq!(lowered.slices()[0], [0b10]);
    assert_eq!(lowered.slices()[2], bytes(&[0_i64, 6]));
}

trait IntoArc {
    fn into_arc(self) -> ArrayRef;
}

impl<A: Array + 'static> IntoArc for A {
    fn into_arc(self) -> ArrayRef {
        Arc::new(self)
    }
}

/// A schema with some of everything that has a layout of its own.
fn everything() -> Schema {
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int16, true),
        Field::new("b", DataType::LargeUtf8, true),
    ]);
    Schema::new(vec![
        Field::new("bits", DataType::Boolean, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("fixed", DataType::FixedSizeBinary(3), true),
        Field::new(
            "list",
            DataType::new_list(DataType::Struct(fields.clone()), true),
            true,
        ),
        Field::new("struct", DataType::Struct(fields), true),
    ])
}

proptest! {
    /// Whatever bytes come, they are refused or become arrays that can be read from end to end.
    #[test]
    fn no_bytes_make_the_host_panic(
        rows in 0..20_u32,
        buffers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        if let Ok(arrays) = lift(&everything(), rows, buffers) {
            for array in &arrays {
                array.to_data().validate_full().unwrap();
            }
        }
    }

    /// Good columns with one byte changed or cut: no panic, and what is taken is sound.
    #[test]
    fn one_wrong_byte_is_refused_or_harmless(
        texts in prop::collection::vec(prop::option::of("[aé漢]{0,3}"), 1..12),
        buffer in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let rows = texts.len();
        let text = StringArray::from(texts);
        let lowered = lower(&[Arc::new(text.clone()) as ArrayRef]);
        let mut buffers: Vec<Vec<u8>> = lowered.slices().into_iter().map(<[u8]>::to_vec).collect();
        let good = lift(&schema(DataType::Utf8, true), rows as u32, buffers.clone()).unwrap();
        prop_assert_eq!(good[0].as_string::<i32>(), &text);
        let chosen = buffer.index(buffers.len());
        let changed = &mut buffers[chosen];
        if !changed.is_empty() {
            let at = at.index(changed.len());
            if cut { changed.truncate(at) } else { changed[at] = byte }
        }
        if let Ok(arrays) = lift(&schema(DataType::Utf8, true), rows as u32, buffers) {
            arrays[0].to_data().validate_full().unwrap();
        }
    }
}
