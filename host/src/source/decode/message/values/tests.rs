//! Values at the edges of their types.

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Float16Type, Float32Type, Int8Type, TimeUnit, UInt64Type};

use super::*;

fn of(data_type: &DataType) -> Values {
    Values::new(data_type, 1).unwrap_or_else(|unsupported| panic!("{unsupported:?}"))
}

#[test]
fn integers_in_their_widths() {
    let mut small = of(&DataType::Int8);
    small.push_integer(-128).unwrap();
    small.push_null();
    assert!(small.push_integer(128).is_err());
    small.truncate(2);
    let array = small.finish();
    let array = array.as_primitive::<Int8Type>();
    assert_eq!(array.iter().collect::<Vec<_>>(), [Some(-128), None]);

    let mut unsigned = of(&DataType::UInt64);
    unsigned.push_unsigned(u64::MAX).unwrap();
    assert!(unsigned.push_integer(-1).is_err());
    unsigned.truncate(1);
    assert_eq!(
        unsigned.finish().as_primitive::<UInt64Type>().value(0),
        u64::MAX
    );

    let mut single = of(&DataType::Float32);
    single.push_integer(16_777_217).unwrap();
    single.push_unsigned(u64::MAX).unwrap();
    assert!(single.push_float(1e300).is_err());
    single.truncate(2);
    single.push_float(f64::INFINITY).unwrap();
    let array = single.finish();
    let array = array.as_primitive::<Float32Type>();
    assert_eq!(
        array.values()[..],
        [16_777_216.0, 18_446_744_073_709_552_000.0, f32::INFINITY]
    );
    let mut half = of(&DataType::Float16);
    half.push_float(0.5).unwrap();
    assert_eq!(
        half.finish()
            .as_primitive::<Float16Type>()
            .value(0)
            .to_f32(),
        0.5
    );
}

#[test]
fn decimals_keep_all_digits_or_are_refused() {
    let mut decimal = of(&DataType::Decimal128(4, 2));
    decimal.push_decimal(i256::from_i128(123), 1).unwrap();
    decimal.push_decimal(i256::from_i128(-12_300), 3).unwrap();
    decimal.push_text(b"-9.5e0").unwrap();
    for (unscaled, scale) in [
        (i256::from_i128(1), 3),
        (i256::from_i128(1000), 1),
        (i256::MIN, 2),
        (i256::MAX, 0),
    ] {
        assert!(decimal.push_decimal(unscaled, scale).is_err());
    }
    for text in ["1.234", "100", "x", "", "NaN"] {
        assert!(decimal.push_text(text.as_bytes()).is_err(), "{text}");
    }
    decimal.truncate(3);
    let array = decimal.finish();
    assert_eq!(
        array.as_primitive::<Decimal128Type>().values()[..],
        [1230, -1230, -950]
    );
}

#[test]
fn times_are_cut_to_the_unit() {
    let instant = Source::Instant { local: false };
    let mut at = of(&DataType::Timestamp(TimeUnit::Second, Some("UTC".into())));
    at.push_units(-1, 1_000, instant).unwrap();
    at.push_seconds(5, 999_999_999, instant).unwrap();
    at.push_text(b"1970-01-01T00:00:01.9Z").unwrap();
    assert!(at.push_text(b"1970-01-01T00:00:01").is_err());
    assert!(
        at.push_units(1, 1_000, Source::Instant { local: true })
            .is_err()
    );
    at.truncate(3);
    let array = arrow::compute::cast(&at.finish(), &DataType::Int64).unwrap();
    assert_eq!(
        array.as_primitive::<arrow::datatypes::Int64Type>().values()[..],
        [-1, 5, 1]
    );
    let mut fine = of(&DataType::Timestamp(TimeUnit::Nanosecond, None));
    assert!(fine.push_units(i64::MAX, 1_000, instant).is_err());
    let mut day = of(&DataType::Date64);
    day.push_date(-1).unwrap();
    day.push_text(b"1970-01-02").unwrap();
    let array = arrow::compute::cast(&day.finish(), &DataType::Int64).unwrap();
    let days = array.as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!(days.values()[..], [-86_400_000, 86_400_000]);
}

#[test]
fn an_unfinished_row_leaves_nothing_behind() {
    let names = DataType::new_list(DataType::Utf8, false);
    let inner = DataType::Struct(vec![Field::new("names", names, false)].into());
    let mut lists = of(&DataType::new_list(inner, true));
    for finished in [true, false, true] {
        for text in ["a", "bc"] {
            let element = lists.elements().unwrap();
            let names = &mut element.children()[0];
            names
                .elements()
                .unwrap()
                .push_text(text.as_bytes())
                .unwrap();
            names.end_list(1).unwrap();
            if finished {
                element.end_struct();
            }
        }
        if finished {
            lists.end_list(2).unwrap();
        } else {
            lists.truncate(1);
        }
    }
    lists.push_null();
    let array = lists.finish();
    assert_eq!(array.len(), 3);
    assert_eq!(array.as_list::<i32>().values().len(), 4);
    assert_eq!(lists.finish().len(), 0);
}

#[test]
fn types_without_a_column_are_told_with_their_place() {
    let views = DataType::new_list(DataType::Utf8View, true);
    let fields = vec![Field::new(
        "a",
        DataType::Struct(vec![Field::new("b", views, true)].into()),
        true,
    )];
    let Err(unsupported) = Values::record(&fields.into()) else {
        panic!("views have no column");
    };
    assert_eq!(
        (&*unsupported.path, unsupported.data_type),
        ("a.b[]", DataType::Utf8View)
    );
}
