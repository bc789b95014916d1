//! Every type that rows may have.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// A nullable column of each type, and of some types in others, named after them.
pub(crate) fn every_type() -> Vec<Field> {
    use DataType as T;
    use TimeUnit as U;
    let list = |item: T| T::List(Arc::new(Field::new("item", item, true)));
    let utc = |unit| T::Timestamp(unit, Some("UTC".into()));
    let point = T::Struct(Fields::from(vec![
        Field::new("x", T::Float64, false),
        Field::new("y", T::Float64, true),
    ]));
    let place = T::Struct(Fields::from(vec![
        Field::new("name", T::Utf8, true),
        Field::new("point", point, true),
        Field::new("visits", list(T::Int32), false),
    ]));
    let columns = [
        ("boolean", T::Boolean),
        ("int8", T::Int8),
        ("int16", T::Int16),
        ("int32", T::Int32),
        ("int64", T::Int64),
        ("uint8", T::UInt8),
        ("uint16", T::UInt16),
        ("uint32", T::UInt32),
        ("uint64", T::UInt64),
        ("float16", T::Float16),
        ("float32", T::Float32),
        ("float64", T::Float64),
        ("decimal128", T::Decimal128(20, 4)),
        ("decimal256", T::Decimal256(50, 10)),
        ("date32", T::Date32),
        ("date64", T::Date64),
        ("time_s", T::Time32(U::Second)),
        ("time_ms", T::Time32(U::Millisecond)),
        ("time_us", T::Time64(U::Microsecond)),
        ("time_ns", T::Time64(U::Nanosecond)),
        ("timestamp_s", utc(U::Second)),
        ("timestamp_ms", utc(U::Millisecond)),
        ("timestamp_us", utc(U::Microsecond)),
        ("timestamp_ns", utc(U::Nanosecond)),
        (
            "timestamp_paris",
            T::Timestamp(U::Microsecond, Some("Europe/Paris".into())),
        ),
        ("timestamp_no_zone", T::Timestamp(U::Microsecond, None)),
        ("duration_s", T::Duration(U::Second)),
        ("duration_ms", T::Duration(U::Millisecond)),
        ("duration_us", T::Duration(U::Microsecond)),
        ("duration_ns", T::Duration(U::Nanosecond)),
        ("fixed_binary", T::FixedSizeBinary(5)),
        ("utf8", T::Utf8),
        ("binary", T::Binary),
        ("large_utf8", T::LargeUtf8),
        ("large_binary", T::LargeBinary),
        ("list", list(T::Int64)),
        ("list_utf8", list(T::Utf8)),
        ("list_of_lists", list(list(T::Boolean))),
        (
            "large_list",
            T::LargeList(Arc::new(Field::new("item", T::Int16, true))),
        ),
        ("place", place.clone()),
        ("places", list(place)),
    ];
    columns
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, true))
        .collect()
}
