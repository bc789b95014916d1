//! Every type comes back as it was stored, and nothing that is stored wrongly brings the reader down.

use std::sync::Arc;

use arrow::array::{ArrayData, Float64Array, Int64Array, StringArray, UnionArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Field, IntervalUnit, TimeUnit, UnionFields};
use proptest::prelude::*;

use super::*;

/// A small generator of bits, so that one number from proptest stands for a whole array.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

fn leaves() -> Vec<DataType> {
    use DataType::*;
    let units = [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ];
    let mut leaves = vec![
        Null,
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Utf8,
        LargeUtf8,
        Binary,
        LargeBinary,
        FixedSizeBinary(3),
        FixedSizeBinary(0),
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time64(TimeUnit::Nanosecond),
        Decimal32(5, 2),
        Decimal64(12, -1),
        Decimal128(10, 2),
        Decimal256(50, 3),
        Interval(IntervalUnit::YearMonth),
        Interval(IntervalUnit::DayTime),
        Interval(IntervalUnit::MonthDayNano),
    ];
    for unit in units {
        leaves.push(Timestamp(unit, None));
        leaves.push(Timestamp(unit, Some("UTC".into())));
        leaves.push(Duration(unit));
    }
    leaves
}

fn any_type() -> impl Strategy<Value = DataType> {
    let field = |t: DataType, nullable| Arc::new(Field::new("item", t, nullable));
    proptest::sample::select(leaves()).prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            (inner.clone(), any::<bool>()).prop_map(move |(t, n)| DataType::List(field(t, n))),
            inner
                .clone()
                .prop_map(move |t| DataType::LargeList(field(t, true))),
            (inner.clone(), 0..3i32)
                .prop_map(move |(t, size)| DataType::FixedSizeList(field(t, true), size)),
            (inner.clone(), inner.clone()).prop_map(move |(k, v)| {
                let key = Field::new("keys", k, false);
                let value = Field::new("values", v, true);
                let entries = DataType::Struct(vec![key, value].into());
                DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
            }),
            proptest::collection::vec((inner, any::<bool>()), 0..3).prop_map(|types| {
                let fields = types.into_iter().enumerate();
                DataType::Struct(
                    fields
                        .map(|(i, (t, n))| Field::new(format!("f{i}"), t, n))
                        .collect(),
                )
            }),
        ]
    })
}

/// Rows of a type, with nulls where `nullable`. Like a producer might, it leaves anything under the nulls.
fn array_of(t: &DataType, rows: usize, nullable: bool, bits: &mut Bits) -> ArrayRef {
    let nulls: Vec<bool> = (0..rows).map(|_| !nullable || bits.below(4) > 0).collect();
    let nulls = (nullable && *t != DataType::Null).then(|| NullBuffer::from(nulls));
    let mut builder = ArrayData::builder(t.clone()).len(rows).nulls(nulls.clone());
    let mut offsets = vec![0usize];
    for _ in 0..rows {
        offsets.push(offsets[offsets.len() - 1] + bits.below(4));
    }
    let total = offsets[rows];
    let short = Buffer::from_iter(offsets.iter().map(|o| *o as i32));
    let long = Buffer::from_iter(offsets.iter().map(|o| *o as i64));
    builder = match t {
        DataType::Null => builder,
        DataType::Boolean => builder.add_buffer(Buffer::from(bits.bytes(rows.div_ceil(8)))),
        DataType::Utf8 => builder
            .add_buffer(short)
            .add_buffer(Buffer::from(vec![b'x'; total])),
        DataType::LargeUtf8 => builder
            .add_buffer(long)
            .add_buffer(Buffer::from(vec![b'y'; total])),
        DataType::Binary => builder
            .add_buffer(short)
            .add_buffer(Buffer::from(bits.bytes(total))),
        DataType::LargeBinary => builder
            .add_buffer(long)
            .add_buffer(Buffer::from(bits.bytes(total))),
        DataType::FixedSizeBinary(n) => {
            builder.add_buffer(Buffer::from(bits.bytes(rows * *n as usize)))
        }
        DataType::List(f) | DataType::Map(f, _) => builder
            .add_buffer(short)
            .add_child_data(array_of(f.data_type(), total, f.is_nullable(), bits).to_data()),
        DataType::LargeList(f) => builder
            .add_buffer(long)
            .add_child_data(array_of(f.data_type(), total, f.is_nullable(), bits).to_data()),
        DataType::FixedSizeList(f, n) => builder.add_child_data(
            array_of(f.data_type(), rows * *n as usize, f.is_nullable(), bits).to_data(),
        ),
        DataType::Struct(fields) => fields.iter().fold(builder, |b, f| {
            b.add_child_data(array_of(f.data_type(), rows, f.is_nullable(), bits).to_data())
        }),
        other => {
            let width = other.primitive_width().expect("the rest is of fixed width");
            builder.add_buffer(Buffer::from(bits.bytes(rows * width)))
        }
    };
    make_array(
        builder
            .align_buffers(true)
            .build()
            .expect("the generator makes valid arrays"),
    )
}

fn encoded(array: &ArrayRef, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    ValueEncoder::new(array).unwrap().encode(row, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_type_comes_back(t in any_type(), seed in any::<u64>(), skip in 0..3usize) {
        let rows = 5;
        let array = array_of(&t, rows + skip, true, &mut Bits(seed)).slice(skip, rows);
        let encoder = ValueEncoder::new(&array).unwrap();
        for row in (0..rows).filter(|row| !encoder.is_null(*row)) {
            let bytes = encoded(&array, row);
            let value = Value::decode(&bytes).unwrap();
            prop_assert_eq!(&value, &Value::of(&array, row));
            // Some types have no JSON and some times no RFC 3339, but no value loses its line.
            if let Err(e) = value.to_json() {
                let e = e.to_string();
                prop_assert!(!e.contains("no line"), "{}", e);
            }
            // The bytes do not depend on the rows around, nor on what lay under nulls.
            prop_assert_eq!(encoded(value.array(), 0), bytes);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_and_no_panic(
        t in any_type(), seed in any::<u64>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let array = array_of(&t, 1, false, &mut Bits(seed));
        let mut bytes = encoded(&array, 0);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(value) = Value::decode(&bytes) {
            prop_assert_eq!(value.array().len(), 1);
        }
    }

    #[test]
    fn noise_is_an_error_and_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Value::decode(&bytes);
        bytes.insert(0, LAYOUT);
        let _ = Value::decode(&bytes);
    }
}

#[test]
fn floats_keep_their_bits() {
    for bits in [
        (-0.0f64).to_bits(),
        f64::NAN.to_bits() | 5,
        f64::INFINITY.to_bits(),
        1,
    ] {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![f64::from_bits(bits)]));
        let value = Value::decode(&encoded(&array, 0)).unwrap();
        let back = value
            .array()
            .as_primitive::<arrow::datatypes::Float64Type>()
            .value(0);
        assert_eq!(back.to_bits(), bits);
    }
}

#[test]
fn the_layout_is_pinned() {
    let int: ArrayRef = Arc::new(Int64Array::from(vec![42]));
    assert_eq!(encoded(&int, 0), b"\x01\x01l\x00\x00\x00\x2a\0\0\0\0\0\0\0");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["né"]));
    assert_eq!(encoded(&text, 0), b"\x01\x01u\x00\x00\x00\x03n\xc3\xa9");
    let values = Int64Array::from(vec![Some(1), None]);
    let field = Arc::new(Field::new("item", DataType::Int64, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2]));
    let list: ArrayRef = Arc::new(arrow::array::ListArray::new(
        field,
        offsets,
        Arc::new(values),
        None,
    ));
    assert_eq!(
        encoded(&list, 0),
        b"\x01\x02+l\x00\x01\x04item\x01l\x01\x00\x00\x02\x01\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    );
}

#[test]
fn an_unknown_layout_and_an_unknown_type_are_refused() {
    assert_eq!(Value::decode(&[9, 1]), Err(ValueError::Layout { found: 9 }));
    let union = UnionArray::try_new(UnionFields::empty(), vec![].into(), None, vec![]);
    let Ok(union) = union else { return };
    assert!(matches!(
        ValueEncoder::new(&union).err(),
        Some(ValueError::Unsupported(_))
    ));
}

#[test]
fn values_show_as_json() {
    let micros = arrow::array::TimestampMicrosecondArray::from(vec![978_307_200_000_000]);
    let none = Arc::new(Field::new("item", DataType::Int64, true));
    let no_values: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
    let empty =
        arrow::array::FixedSizeListArray::try_new_with_length(none, 0, no_values, None, 1).unwrap();
    let cases: [(ArrayRef, &str); 5] = [
        (Arc::new(empty), "[]"),
        (Arc::new(Float64Array::from(vec![0.1])), "0.1"),
        (Arc::new(Float64Array::from(vec![f64::NAN])), "null"),
        (Arc::new(StringArray::from(vec!["a\"b"])), "\"a\\\"b\""),
        (
            Arc::new(micros.with_timezone("UTC")),
            "\"2001-01-01T00:00:00Z\"",
        ),
    ];
    for (array, json) in cases {
        assert_eq!(Value::of(&array, 0).to_json().unwrap(), json);
    }
}
