//! Values of every type come in as answers give them out, and nothing else comes in.

use arrow::array::Array as _;
use arrow::datatypes::TimeUnit;
use serde_json::json;

use super::*;
use crate::config::types::parse_type;
use crate::text::json_texts;

fn read(type_name: &str, values: &Json) -> Result<ArrayRef, Misfit> {
    let values = values.as_array().unwrap();
    column(
        &values.iter().collect::<Vec<_>>(),
        &parse_type(type_name).unwrap(),
    )
}

#[test]
fn what_answers_show_comes_in_and_goes_out_the_same() {
    for (type_name, values) in [
        ("bool", json!([true, null, false])),
        ("int8", json!([-128, null, 127])),
        ("uint64", json!([u64::MAX, 0])),
        ("int64", json!([i64::MIN, i64::MAX])),
        ("float32", json!([1.5, null])),
        ("float64", json!([0.1, 1e300, -0.5])),
        ("utf8", json!(["ä\"", "", null])),
        ("large_utf8", json!(["x", null])),
        ("binary", json!(["00ff", "", null])),
        ("fixed_size_binary[2]", json!(["00ff", null])),
        ("date32", json!(["2026-01-31", null])),
        (
            "timestamp[us, UTC]",
            json!(["2026-01-31T12:00:00.000001Z", null]),
        ),
        ("timestamp[s]", json!(["2026-01-31T12:00:00", null])),
        ("list[int64]", json!([[1, null], [], null])),
        ("large_list[float32]", json!([[1.5], null])),
        ("list[list[utf8]]", json!([[["a"], []], null])),
    ] {
        let column = read(type_name, &values).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(*column.data_type(), parse_type(type_name).unwrap());
        let shown: Vec<Json> = json_texts(&column)
            .unwrap()
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        assert_eq!(Json::from(shown), values, "{type_name}");
    }
    let decimals = read("decimal128[6, 2]", &json!(["12.50", 3, 1.25, null])).unwrap();
    let expected = Decimal128Array::from(vec![Some(1250), Some(300), Some(125), None]);
    let expected = expected.with_precision_and_scale(6, 2).unwrap();
    assert_eq!(decimals.to_data(), expected.to_data());
    let structs = read("struct{a: int64!, b: utf8}", &json!([{"a": 1}, null])).unwrap();
    assert_eq!(structs.null_count(), 1);
}

#[test]
fn what_is_another_type_is_refused_with_its_row() {
    for (type_name, values, row, says) in [
        ("int64", json!([1, 4.5]), 1, "4.5 is no int64"),
        ("int64", json!(["4"]), 0, "\"4\" is no int64"),
        ("int8", json!([1, 128]), 1, "128 is no int8"),
        ("uint8", json!([-1]), 0, "-1 is no uint8"),
        ("uint16", json!([65_536]), 0, "65536 is no uint16"),
        ("float64", json!(["0.5"]), 0, "is no float64"),
        ("float32", json!([1e300]), 0, "is no float32"),
        ("bool", json!([1]), 0, "1 is no bool"),
        ("utf8", json!([null, 7]), 1, "7 is no utf8"),
        ("binary", json!(["0g"]), 0, "is no binary"),
        ("binary", json!(["+1"]), 0, "is no binary"),
        ("fixed_size_binary[2]", json!(["00"]), 0, "is no fixed_size"),
        ("date32", json!(["2026-13-01"]), 0, "is not a value of type"),
        (
            "timestamp[s, UTC]",
            json!(["2026-01-31T12:00:00.5Z"]),
            0,
            "lies between two values",
        ),
        ("decimal128[4, 2]", json!(["1.255"]), 0, "more digits"),
        (
            "list[int64]",
            json!([[1], [2, "x"]]),
            1,
            "\"x\" is no int64",
        ),
        (
            "list[int64!]",
            json!([[], [1, null]]),
            1,
            "has a null in it",
        ),
        ("list[int64]", json!([7]), 0, "is no list"),
        ("struct{a: int64!}", json!([{"b": 1}]), 0, "has no `a`"),
        (
            "struct{a: int64}",
            json!([{"a": 1, "c": 1}]),
            0,
            "is no struct",
        ),
    ] {
        let misfit = read(type_name, &values).unwrap_err();
        assert_eq!(misfit.row, Some(row), "{type_name}: {}", misfit.reason);
        assert!(misfit.reason.contains(says), "{}", misfit.reason);
    }
    let misfit = read("time64[us]", &json!([1])).unwrap_err();
    assert!(misfit.reason.contains("gRPC"), "{}", misfit.reason);
}

#[test]
fn plain_columns_come_in_as_they_are() {
    let all = |_: usize| true;
    let seconds = DataType::Time32(TimeUnit::Second);
    let ints = Values::Ints(vec![-1, 7]);
    for data_type in [
        DataType::Int8,
        DataType::Date32,
        DataType::Date64,
        seconds,
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Duration(TimeUnit::Second),
        DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())),
    ] {
        let column = plain(&ints, &data_type, 2, all).unwrap();
        assert_eq!(*column.data_type(), data_type);
        let width = data_type.primitive_width().unwrap();
        let bytes = column.to_data().buffers()[0].as_slice().to_vec();
        assert_eq!(bytes[width..], 7_i64.to_le_bytes()[..width], "{data_type}");
    }
    // What stands where there is no value does not matter.
    let some = Values::Ints(vec![300, 7]);
    let column = plain(&some, &DataType::Int8, 2, |row| row == 1).unwrap();
    assert!(column.is_null(0) && column.is_valid(1));
    let misfit = plain(&some, &DataType::Int8, 2, all).unwrap_err();
    assert_eq!(misfit.row, Some(0));
    let vectors = Values::Vectors {
        lengths: vec![2, 0],
        floats: vec![1.0, 2.0],
    };
    let vectors_type = parse_type("list[float32]").unwrap();
    let column = plain(&vectors, &vectors_type, 2, all).unwrap();
    assert_eq!(json_texts(&column).unwrap(), ["[1.0,2.0]", "[]"]);
    let torn = Values::Vectors {
        lengths: vec![2, u32::MAX],
        floats: vec![1.0],
    };
    assert!(plain(&torn, &vectors_type, 2, all).is_err());
    let texts = Values::Json(vec!["[1]".to_owned(), "[".to_owned()]);
    let misfit = plain(&texts, &parse_type("list[int64]").unwrap(), 2, all).unwrap_err();
    assert_eq!(misfit.row, Some(1));
}
