//! Every type there and back, and the layout in between against the words of the contract.

use std::fmt::Debug;

use proptest::prelude::*;

use crate::buffers::{Batch, Cursor};
use crate::contract::{Columns, Field, Schema};
use crate::schema::Layout;
use crate::testing::{columns, read};
use crate::types::*;
use crate::value::Value;
use crate::{Row, State};

struct Paris;

impl Zone for Paris {
    const NAME: &'static str = "Europe/Paris";
}

#[derive(State, Clone, Debug, PartialEq)]
struct Point {
    x: i32,
    y: Option<i64>,
}

#[derive(State, Clone, Debug, PartialEq)]
struct Nested {
    name: Option<String>,
    on: bool,
    point: Point,
    maybe: Option<Point>,
    points: Vec<Option<Point>>,
}

#[derive(State, Clone, Debug, PartialEq)]
struct Empty;

/// Writes a column, checks its layout, and reads it back.
fn there_and_back<T: for<'a> Value<'a> + PartialEq + Debug>(values: &[T]) -> (Schema, Columns) {
    let mut schema = Vec::new();
    <T as Value<'static>>::describe("column", false, &mut schema);
    let mut writer = <T as Value<'static>>::writer(values.len());
    for value in values {
        <T as Value<'static>>::put(value, &mut writer);
    }
    let mut buffers = Vec::new();
    <T as Value<'static>>::seal(writer, Vec::new(), &mut buffers);
    let columns = Columns {
        rows: values.len() as u32,
        buffers,
    };
    check_layout(&schema, &columns);

    // An odd address, to see that no alignment is assumed.
    let odd: Vec<Vec<u8>> = columns
        .buffers
        .iter()
        .map(|buffer| [&[0], buffer.as_slice()].concat())
        .collect();
    let odd: Vec<&[u8]> = odd.iter().map(|buffer| &buffer[1..]).collect();
    let layout = Layout::select(&schema, &schema, "the test").unwrap();
    let batch = Batch {
        rows: columns.rows,
        buffers: &odd,
    };
    let reader = T::bind(&mut Cursor::new(&layout, batch), values.len()).unwrap();
    for (row, value) in values.iter().enumerate() {
        assert_eq!(T::get::<true>(&reader, row).as_ref(), Some(value));
        if !T::has_nulls(&reader) {
            assert_eq!(T::get::<false>(&reader, row).as_ref(), Some(value));
        }
        assert_eq!(T::null_path(&reader, row), None);
    }
    (schema, columns)
}

/// Holds columns against the contract, with code of its own.
fn check_layout(schema: &[Field], columns: &Columns) {
    let mut schema = schema.iter();
    let mut buffers = columns.buffers.iter();
    while schema.len() > 0 {
        check_field(&mut schema, &mut buffers, columns.rows as usize, None);
    }
    assert_eq!(buffers.next(), None, "a buffer too many");
}

type Iter<'a, T> = std::slice::Iter<'a, T>;

fn check_field(
    schema: &mut Iter<'_, Field>,
    buffers: &mut Iter<'_, Vec<u8>>,
    rows: usize,
    parent: Option<&[bool]>,
) {
    let field = schema.next().unwrap();
    let validity = buffers.next().unwrap();
    let mut valid = vec![true; rows];
    if validity.is_empty() {
    } else {
        assert!(
            field.nullable,
            "{} has nulls and is not nullable",
            field.name
        );
        assert!(
            check_bits(validity, rows).iter().any(|valid| !valid),
            "a bitmap without a null"
        );
        valid = check_bits(validity, rows);
    }
    // What lies under the null of a parent is zero as well.
    let zero: Vec<bool> = (0..rows)
        .map(|row| !valid[row] || parent.is_some_and(|parent| !parent[row]))
        .collect();
    match field.format.as_str() {
        "+s" => {
            let shown: Vec<bool> = zero.iter().map(|zero| !zero).collect();
            for _ in 0..field.children {
                check_field(schema, buffers, rows, Some(&shown));
            }
        }
        "+l" => {
            let end = check_offsets(buffers.next().unwrap(), rows, &zero);
            assert_eq!(field.children, 1);
            assert_eq!(schema.as_slice()[0].name, "item");
            check_field(schema, buffers, end, None);
        }
        "u" | "z" => {
            let end = check_offsets(buffers.next().unwrap(), rows, &zero);
            assert_eq!(buffers.next().unwrap().len(), end);
        }
        "b" => {
            let values = check_bits(buffers.next().unwrap(), rows);
            assert!(
                values
                    .iter()
                    .zip(&zero)
                    .all(|(value, zero)| !(*value && *zero))
            );
        }
        format => {
            let width = match format {
                "c" | "C" => 1,
                "s" | "S" | "e" => 2,
                "i" | "I" | "f" | "tdD" | "tts" | "ttm" => 4,
                "l" | "L" | "g" | "tdm" | "ttu" | "ttn" => 8,
                _ if format.starts_with("ts") || format.starts_with("tD") => 8,
                _ if format.starts_with("d:") && format.ends_with(",256") => 32,
                _ if format.starts_with("d:") => 16,
                _ => format.strip_prefix("w:").unwrap().parse().unwrap(),
            };
            let values = buffers.next().unwrap();
            assert_eq!(values.len(), rows * width);
            for (value, zero) in values.chunks(width).zip(&zero) {
                assert!(!zero || value.iter().all(|byte| *byte == 0));
            }
        }
    }
}

fn check_bits(bytes: &[u8], rows: usize) -> Vec<bool> {
    assert_eq!(bytes.len(), rows.div_ceil(8));
    let mut bits: Vec<bool> = bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
        .collect();
    assert!(
        bits.split_off(rows).iter().all(|bit| !bit),
        "bits past the end"
    );
    bits
}

fn check_offsets(bytes: &[u8], rows: usize, zero: &[bool]) -> usize {
    let offsets: Vec<i32> = bytes
        .chunks(4)
        .map(|chunk| i32::from_le_bytes(chunk.try_into().unwrap()))
        .collect();
    assert_eq!((offsets.len(), offsets[0]), (rows + 1, 0));
    for (pair, zero) in offsets.windows(2).zip(zero) {
        assert!(pair[0] <= pair[1] && (!zero || pair[0] == pair[1]));
    }
    offsets[rows] as usize
}

/// Each type as it is, nullable, in a list, and in nullable lists of lists of nullables.
macro_rules! there_and_back {
    ($($name:ident: $type:ty, $format:expr, $values:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(
                #[test]
                fn $name(
                    plain in prop::collection::vec($values, 0..20),
                    nullable in prop::collection::vec(prop::option::of($values), 0..20),
                    list in prop::collection::vec(prop::collection::vec($values, 0..4), 0..10),
                    nested in prop::collection::vec(
                        prop::option::of(prop::collection::vec(prop::collection::vec(prop::option::of($values), 0..4), 0..3)),
                        0..10,
                    ),
                ) {
                    let (schema, _) = there_and_back::<$type>(&plain);
                    prop_assert_eq!(&schema[0].format, $format);
                    prop_assert!(!schema[0].nullable);
                    let (schema, _) = there_and_back::<Option<$type>>(&nullable);
                    prop_assert!(schema[0].nullable);
                    there_and_back::<Vec<$type>>(&list);
                    there_and_back::<Option<Vec<Vec<Option<$type>>>>>(&nested);
                }
            )*
        }
    };
}

fn i64s<T: From<i64> + Clone + Debug>() -> impl Strategy<Value = T> {
    any::<i64>().prop_map(T::from)
}

fn point() -> impl Strategy<Value = Point> {
    (any::<i32>(), any::<Option<i64>>()).prop_map(|(x, y)| Point { x, y })
}

fn nested() -> impl Strategy<Value = Nested> {
    let points = prop::collection::vec(prop::option::of(point()), 0..3);
    (
        any::<Option<String>>(),
        any::<bool>(),
        point(),
        prop::option::of(point()),
        points,
    )
        .prop_map(|(name, on, point, maybe, points)| Nested {
            name,
            on,
            point,
            maybe,
            points,
        })
}

there_and_back! {
    boolean: bool, "b", any::<bool>();
    int8: i8, "c", any::<i8>();
    int16: i16, "s", any::<i16>();
    int32: i32, "i", any::<i32>();
    int64: i64, "l", any::<i64>();
    uint8: u8, "C", any::<u8>();
    uint16: u16, "S", any::<u16>();
    uint32: u32, "I", any::<u32>();
    uint64: u64, "L", any::<u64>();
    float16: Float16, "e", any::<u16>().prop_map(Float16);
    float32: f32, "f", any::<f32>();
    float64: f64, "g", any::<f64>();
    decimal128: Decimal<38, -3>, "d:38,-3", any::<i128>().prop_map(Decimal);
    decimal256: Decimal256<76, 10>, "d:76,10,256", any::<[u8; 32]>().prop_map(Decimal256);
    date32: Date, "tdD", any::<i32>().prop_map(Date);
    date64: DateMillis, "tdm", any::<i64>().prop_map(DateMillis);
    time_s: TimeOfDay<Second>, "tts", (0..86_400i64).prop_map(TimeOfDay::new);
    time_ms: TimeOfDay<Millisecond>, "ttm", (0..86_400_000i64).prop_map(TimeOfDay::new);
    time_us: TimeOfDay<Microsecond>, "ttu", (0..86_400_000_000i64).prop_map(TimeOfDay::new);
    time_ns: TimeOfDay<Nanosecond>, "ttn", (0..86_400_000_000_000i64).prop_map(TimeOfDay::new);
    timestamp_s: Timestamp<Second>, "tss:UTC", i64s::<Timestamp<Second>>();
    timestamp_ms: Timestamp<Millisecond>, "tsm:UTC", i64s::<Timestamp<Millisecond>>();
    timestamp_us: Timestamp, "tsu:UTC", i64s::<Timestamp>();
    timestamp_ns: Timestamp<Nanosecond>, "tsn:UTC", i64s::<Timestamp<Nanosecond>>();
    timestamp_zone: Timestamp<Microsecond, Paris>, "tsu:Europe/Paris", i64s::<Timestamp<Microsecond, Paris>>();
    timestamp_no_zone: Timestamp<Microsecond, NoZone>, "tsu:", i64s::<Timestamp<Microsecond, NoZone>>();
    duration_s: Duration<Second>, "tDs", i64s::<Duration<Second>>();
    duration_ms: Duration<Millisecond>, "tDm", i64s::<Duration<Millisecond>>();
    duration_us: Duration, "tDu", i64s::<Duration>();
    duration_ns: Duration<Nanosecond>, "tDn", i64s::<Duration<Nanosecond>>();
    fixed_binary: [u8; 7], "w:7", any::<[u8; 7]>();
    utf8: String, "u", any::<String>();
    binary: Bytes, "z", any::<Vec<u8>>().prop_map(Bytes);
    structs: Nested, "+s", nested();
    empty_structs: Empty, "+s", Just(Empty);
}

#[test]
fn a_float_keeps_the_bits_of_its_nan() {
    let nan = f64::from_bits(0x7ff8_0000_0000_1234);
    #[derive(State)]
    struct Float {
        value: f64,
    }
    let back = read::<Float>(&columns([Float { value: nan }].into_iter()));
    assert_eq!(back[0].value.to_bits(), nan.to_bits());
}

#[test]
fn float16_there_and_back() {
    for bits in 0..=u16::MAX {
        let float = Float16(bits);
        if !float.to_f32().is_nan() {
            assert_eq!(Float16::from_f32(float.to_f32()), float);
        }
    }
    assert_eq!(Float16(0x3c00).to_f32(), 1.0);
    assert_eq!(Float16(0xc000).to_f32(), -2.0);
    assert_eq!(Float16(0x7bff).to_f32(), 65_504.0);
    assert_eq!(Float16(0x0001).to_f32(), 2f32.powi(-24));
    assert_eq!(Float16::from_f32(65_520.0), Float16(0x7c00));
    assert_eq!(Float16::from_f32(65_519.9), Float16(0x7bff));
    // Halfway between two: the even one.
    assert_eq!(Float16::from_f32(1.0 + 2f32.powi(-11)), Float16(0x3c00));
    assert_eq!(
        Float16::from_f32(1.0 + 3.0 * 2f32.powi(-11)),
        Float16(0x3c02)
    );
    assert_eq!(Float16::from_f32(2f32.powi(-25)), Float16(0));
    assert!(Float16::from_f32(f32::NAN).to_f32().is_nan());
}

#[test]
fn a_row_borrows_from_the_batch() {
    #[derive(Row)]
    struct Visit<'a> {
        page: &'a str,
        body: Option<&'a [u8]>,
        tags: Vec<&'a str>,
    }
    let visits = [
        Visit {
            page: "/a",
            body: None,
            tags: vec!["x", "y"],
        },
        Visit {
            page: "",
            body: Some(b"b"),
            tags: vec![],
        },
    ];
    let written = columns(visits.into_iter());
    let slices: Vec<&[u8]> = written.buffers.iter().map(Vec::as_slice).collect();
    let layout = Layout::of::<Visit<'_>>().unwrap();
    let batch = Batch {
        rows: 2,
        buffers: &slices,
    };
    let visits: Vec<Visit<'_>> = crate::glue::states::read(&layout, batch).unwrap();
    assert!(
        written.buffers[2]
            .as_ptr_range()
            .contains(&visits[0].page.as_ptr())
    );
    assert_eq!(
        (visits[0].tags.as_slice(), visits[0].body),
        (["x", "y"].as_slice(), None)
    );
    assert_eq!(visits[1].body, Some(b"b".as_slice()));
}

#[test]
fn numbers_are_a_slice_where_they_lie_right() {
    #[derive(Row)]
    struct Number {
        n: i64,
    }
    let aligned: &[u8] = bytemuck::cast_slice(&[1i64, 2, 3]);
    let odd = [&[0], aligned].concat();
    let layout = Layout::of::<Number>().unwrap();
    for (bytes, borrowed) in [(aligned, true), (&odd[1..], false)] {
        let buffers = [&[][..], bytes];
        let batch = Batch {
            rows: 3,
            buffers: &buffers,
        };
        let reader =
            <Number as crate::Record<'_>>::bind(&mut Cursor::new(&layout, batch), 3).unwrap();
        let values = reader.n.values();
        assert_eq!(*values, [1, 2, 3]);
        // An odd address is odd for certain only if the vector itself lies even.
        if bytes.as_ptr().addr() % 8 == 0 || !borrowed {
            assert_eq!(
                matches!(values, std::borrow::Cow::Borrowed(_)),
                bytes.as_ptr().addr() % 8 == 0
            );
        }
        assert_eq!(reader.n.iter().sum::<i64>(), 6);
    }
}
