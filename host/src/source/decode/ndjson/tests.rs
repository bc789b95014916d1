//! Whole files, with what they must give. Random files are in `random`, and what they must give in `oracle`.

mod oracle;
mod random;

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use serde_json::{Value, json};

use self::oracle::agrees;
use super::{NdjsonReader, Sizes};
use crate::source::decode::testing::in_memory;
use crate::source::decode::{Malformed, SplitReader, code};
use crate::source::recording::Recording;

/// A file as rows with their positions, and rejects with the number of rows before them.
#[derive(Debug, PartialEq)]
struct Read {
    rows: Vec<(u64, Value)>,
    rejects: Vec<(usize, Malformed)>,
}

impl Read {
    fn all(&self) -> usize {
        self.rows.len() + self.rejects.len()
    }
}

fn read_sized(file: &[u8], schema: &SchemaRef, batch_rows: usize, sizes: Sizes) -> Read {
    let recording = in_memory("test.ndjson", file);
    let mut reader = NdjsonReader::open(&recording, schema, batch_rows, sizes).unwrap();
    let mut read = Read {
        rows: Vec::new(),
        rejects: Vec::new(),
    };
    while let Some(batch) = reader.next_batch().unwrap() {
        assert_eq!(&batch.rows.schema(), schema);
        let before = read.rows.len();
        for row in 0..batch.rows.num_rows() {
            let cells = schema.fields().iter().zip(batch.rows.columns());
            let cells =
                cells.map(|(field, array)| (field.name().clone(), cell(array.as_ref(), row)));
            let position = batch.lines.position(row as u32).unwrap();
            read.rows.push((position, Value::Object(cells.collect())));
        }
        for mut reject in batch.rejects {
            let at = before + reject.before_row as usize;
            reject.before_row = 0;
            read.rejects.push((at, reject));
        }
    }
    assert_eq!(reader.bytes_read(), file.len() as u64);
    read
}

fn read(file: &[u8], schema: &SchemaRef) -> Read {
    read_sized(file, schema, 1024, Sizes::default())
}

fn cell(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row).to_string()),
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            json!(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            (0..list.len()).map(|i| cell(list.as_ref(), i)).collect()
        }
        DataType::Struct(fields) => {
            let children = fields.iter().zip(array.as_struct().columns());
            Value::Object(
                children
                    .map(|(f, child)| (f.name().clone(), cell(child.as_ref(), row)))
                    .collect(),
            )
        }
        other => json!(
            arrow::util::display::array_value_to_string(array, row).unwrap_or(other.to_string())
        ),
    }
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn one(data_type: DataType) -> SchemaRef {
    schema(vec![Field::new("x", data_type, true)])
}

#[track_caller]
fn refused(file: &[u8], schema: &SchemaRef) -> Malformed {
    let mut read = read(file, schema);
    assert_eq!((read.rows.len(), read.rejects.len()), (0, 1), "{read:?}");
    read.rejects.remove(0).1
}

#[track_caller]
fn shown(json: &str, data_type: DataType) -> Result<String, (&'static str, String)> {
    let read = read(format!("{{\"x\":{json}}}").as_bytes(), &one(data_type));
    match (read.rows.first(), read.rejects.first()) {
        (Some((_, row)), None) => Ok(row["x"]
            .as_str()
            .map_or_else(|| row["x"].to_string(), str::to_owned)),
        (None, Some((_, reject))) => Err((reject.code, reject.reason.clone())),
        _ => panic!("{read:?}"),
    }
}

#[test]
fn numbers_are_exact() {
    let check = |json: &str, data_type: DataType, expected: Result<&str, &'static str>| {
        let found = shown(json, data_type.clone()).map_err(|(code, _)| code);
        assert_eq!(
            found.as_deref().map_err(|c| *c),
            expected,
            "{json} as {data_type}"
        );
    };
    check(
        "9223372036854775807",
        DataType::Int64,
        Ok("9223372036854775807"),
    );
    check(
        "-9223372036854775808",
        DataType::Int64,
        Ok("-9223372036854775808"),
    );
    check(
        "9223372036854775808",
        DataType::Int64,
        Err(code::OUT_OF_RANGE),
    );
    check(
        "18446744073709551615",
        DataType::UInt64,
        Ok("18446744073709551615"),
    );
    check(
        "18446744073709551616",
        DataType::UInt64,
        Err(code::OUT_OF_RANGE),
    );
    check("-1", DataType::UInt8, Err(code::OUT_OF_RANGE));
    check("-128", DataType::Int8, Ok("-128"));
    check("128", DataType::Int8, Err(code::OUT_OF_RANGE));
    check("-0", DataType::UInt16, Ok("0"));
    check("1.0", DataType::Int32, Ok("1"));
    check(
        "9223372036854775807.00",
        DataType::Int64,
        Ok("9223372036854775807"),
    );
    check("1.5", DataType::Int32, Err(code::WRONG_TYPE));
    check("12e2", DataType::Int32, Ok("1200"));
    check("1200e-2", DataType::Int32, Ok("12"));
    check(
        "1e99999999999999999999",
        DataType::Int32,
        Err(code::OUT_OF_RANGE),
    );
    check(
        "1e-99999999999999999999",
        DataType::Int32,
        Err(code::WRONG_TYPE),
    );
    check("0e99999999999999999999", DataType::Int32, Ok("0"));
    check("\"7\"", DataType::Int32, Err(code::WRONG_TYPE));
    check("1.25", DataType::Float32, Ok("1.25"));
    check("1e39", DataType::Float32, Err(code::OUT_OF_RANGE));
    check("1e400", DataType::Float64, Err(code::OUT_OF_RANGE));
    check("\"NaN\"", DataType::Float64, Ok("NaN"));
    check("\"-Infinity\"", DataType::Float64, Ok("-inf"));
    check("\"Infinity\"", DataType::Float16, Ok("inf"));
    check("65520", DataType::Float16, Err(code::OUT_OF_RANGE));
    check("\"inf\"", DataType::Float64, Err(code::WRONG_TYPE));
    check(
        "0.1",
        DataType::Decimal128(38, 18),
        Ok("0.100000000000000000"),
    );
    check("\"-123.4500\"", DataType::Decimal64(5, 2), Ok("-123.45"));
    check("123.456", DataType::Decimal32(5, 2), Err(code::WRONG_TYPE));
    check("1234", DataType::Decimal32(5, 2), Err(code::OUT_OF_RANGE));
    check("\"abc\"", DataType::Decimal32(5, 2), Err(code::BAD_VALUE));
    check("12300", DataType::Decimal128(5, -2), Ok("12300"));
    check("12345", DataType::Decimal128(5, -2), Err(code::WRONG_TYPE));
    let widest = "9".repeat(76);
    check(&widest, DataType::Decimal256(76, 0), Ok(&widest));
    check(
        &format!("{widest}0"),
        DataType::Decimal256(76, 0),
        Err(code::OUT_OF_RANGE),
    );
}

#[test]
fn times_and_bytes() {
    let check = |json: &str, data_type: DataType, expected: Result<&str, &'static str>| {
        let found = shown(json, data_type.clone()).map_err(|(code, _)| code);
        assert_eq!(
            found.as_deref().map_err(|c| *c),
            expected,
            "{json} as {data_type}"
        );
    };
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let local = |unit| DataType::Timestamp(unit, None);
    check(
        r#""2026-03-01T08:15:30.123Z""#,
        utc(TimeUnit::Microsecond),
        Ok("1772352930123000"),
    );
    check(
        "1772352930123000",
        utc(TimeUnit::Microsecond),
        Ok("1772352930123000"),
    );
    check(
        r#""2026-03-01T08:15:30""#,
        utc(TimeUnit::Microsecond),
        Err(code::BAD_VALUE),
    );
    check(
        r#""2026-03-01T08:15:30+25:61""#,
        utc(TimeUnit::Microsecond),
        Err(code::BAD_VALUE),
    );
    check(
        r#""1969-12-31T23:59:59.999999999Z""#,
        utc(TimeUnit::Microsecond),
        Ok("-1"),
    );
    check("17.5", utc(TimeUnit::Microsecond), Err(code::WRONG_TYPE));
    check("true", utc(TimeUnit::Microsecond), Err(code::WRONG_TYPE));
    check(
        r#""2026-03-01T08:15:30.5""#,
        local(TimeUnit::Microsecond),
        Ok("1772352930500000"),
    );
    check(
        r#""2026-03-01T09:15:30.5+01:00""#,
        local(TimeUnit::Microsecond),
        Ok("1772352930500000"),
    );
    check(
        r#""9999-01-01T00:00:00Z""#,
        utc(TimeUnit::Nanosecond),
        Err(code::OUT_OF_RANGE),
    );
    check(
        r#""2026-03-01T08:15:30.123Z""#,
        local(TimeUnit::Second),
        Ok("2026-03-01T08:15:30"),
    );
    check(r#""2024-02-29""#, DataType::Date32, Ok("2024-02-29"));
    check(r#""2023-02-29""#, DataType::Date32, Err(code::BAD_VALUE));
    check(r#""0000-01-01""#, DataType::Date32, Ok("0000-01-01"));
    check(
        r#""2024-02-29""#,
        DataType::Date64,
        Ok("2024-02-29T00:00:00"),
    );
    check("5", DataType::Date32, Err(code::WRONG_TYPE));
    check(
        r#""08:15:30.123""#,
        DataType::Time32(TimeUnit::Millisecond),
        Ok("08:15:30.123"),
    );
    check(
        r#""08:15:30.123456789""#,
        DataType::Time64(TimeUnit::Nanosecond),
        Ok("08:15:30.123456789"),
    );
    check(
        r#""24:00:00""#,
        DataType::Time32(TimeUnit::Second),
        Err(code::BAD_VALUE),
    );
    check("90", DataType::Duration(TimeUnit::Second), Ok("PT90S"));
    check(r#""aGVsbG8=""#, DataType::Binary, Ok("68656c6c6f"));
    check(r#""aGVsbG8""#, DataType::LargeBinary, Ok("68656c6c6f"));
    check(r#""\/\/8=""#, DataType::FixedSizeBinary(2), Ok("ffff"));
    check(
        r#""aGVsbG8=""#,
        DataType::FixedSizeBinary(2),
        Err(code::BAD_VALUE),
    );
    check(r#""a_8=""#, DataType::Binary, Err(code::BAD_VALUE));
    check(r#""text""#, DataType::LargeUtf8, Ok("text"));
    check("7", DataType::LargeUtf8, Err(code::WRONG_TYPE));
}

#[test]
fn reasons_name_column_and_finding() {
    let deep = DataType::new_list(
        DataType::Struct(vec![Field::new("lat", DataType::Float64, false)].into()),
        true,
    );
    let stops = schema(vec![Field::new("stops", deep, false)]);
    let reason = |file: &str| refused(file.as_bytes(), &stops).reason;
    assert_eq!(
        reason(r#"{"stops":[{"lat":1},{"lat":"north"}]}"#),
        "column `stops[1].lat`: expected float64, found the string \"north\""
    );
    assert_eq!(
        reason(r#"{"stops":[{}]}"#),
        "column `stops[0].lat` is missing, but declared as not nullable"
    );
    assert_eq!(
        reason(r#"{"stops":null}"#),
        "column `stops` is null, but declared as not nullable"
    );
    assert_eq!(
        reason(r#"{"stops":[] "x":1}"#),
        "byte 13: expected `,` or `}`, found `\"`"
    );
    assert_eq!(
        reason(r#"{"stops":["#),
        "byte 11: expected a value, found the end of the line"
    );
    assert_eq!(
        reason(r#"{"stops":[]} {}"#),
        "byte 14: expected the end of the line after the object, found `{`"
    );
    assert_eq!(
        refused(b"{\"a\":\"\xff\"}", &stops).reason,
        "byte 7: not UTF-8"
    );
    assert_eq!(
        refused(b"{\"a\":\"\xff\"}", &stops).code,
        code::INVALID_UTF8
    );
    assert_eq!(
        refused(br#"{"stops":[],"\ud800":1}"#, &stops).code,
        code::MALFORMED_JSON
    );
}

#[test]
fn layout_of_one_line_does_not_excuse_another() {
    // Each pair teaches that a field is followed by `{"a":`, or an object by its end, and then abuses it.
    let file = "{\"b\":1,\"a\":2}\n{\"a\":5}\n{\"b\":1{\"a\":2}\n{}\n{\"a\":1{}\n{\"a\":1}\n{\"a\":1,\"a\":2}\n";
    let schema = schema(vec![Field::new("a", DataType::Int64, true)]);
    let read = agrees(file, &schema);
    assert_eq!(read.rejects.len(), 2);
    assert_eq!(
        read.rows
            .iter()
            .map(|(_, row)| row["a"].as_i64())
            .collect::<Vec<_>>(),
        [Some(2), Some(5), None, Some(1), Some(2)]
    );
}

#[test]
fn files_at_the_edge() {
    let x = one(DataType::Int64);
    assert_eq!(read(b"", &x).rows, []);
    assert_eq!(read(b"\n \r\n\t\n", &x).rows, []);
    assert_eq!(
        read(b"\xef\xbb\xbf{\"x\":1}\r\n\n{\"x\":2}", &x).rows,
        [(1, json!({"x":1})), (3, json!({"x":2}))]
    );
    assert_eq!(read(b"\xef\xbb\xbf", &x).rows, []);
    assert_eq!(
        read(b"{\"x\":1}\n{}\n", &schema(vec![])).rows,
        [(1, json!({})), (2, json!({}))]
    );
    let nested = |depth: usize| format!("{{\"y\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(read(nested(127).as_bytes(), &x).rejects, []);
    assert_eq!(
        refused(nested(128).as_bytes(), &x).code,
        code::MALFORMED_JSON
    );
    assert_eq!(
        refused("[".repeat(1 << 20).as_bytes(), &x).code,
        code::MALFORMED_JSON
    );
}

#[test]
fn long_lines_are_refused_and_reading_goes_on() {
    let x = one(DataType::Int64);
    let file = format!(
        "{{\"x\":1}}\n{{\"y\":\"{}\"}}\n{{\"x\":3}}\n",
        "a".repeat(1 << 20)
    );
    for (chunk, line) in [(64, 1000), (4 << 20, 1000), (64, 1 << 20)] {
        let read = read_sized(
            file.as_bytes(),
            &x,
            10,
            Sizes {
                chunk,
                line,
                batch: 1 << 30,
            },
        );
        assert_eq!(read.rows, [(1, json!({"x":1})), (3, json!({"x":3}))]);
        let (before, reject) = &read.rejects[0];
        assert_eq!(
            (*before, reject.position, reject.code),
            (1, 2, code::LINE_TOO_LONG)
        );
        assert_eq!(reject.record.len(), line.min(64 << 10));
    }
    assert_eq!(read(file.as_bytes(), &x).rows.len(), 3);
}

#[test]
fn field_names_without_end_do_not_fill_the_memory() {
    let x = one(DataType::Int64);
    let file: String = (0..20_000)
        .map(|i| format!("{{\"field_{i}\":0,\"x\":{i}}}\n"))
        .collect();
    let read = read(file.as_bytes(), &x);
    assert!(
        read.rows.iter().zip(0..).all(|((_, row), i)| row["x"] == i) && read.rejects.is_empty()
    );
}

#[test]
fn a_file_that_cannot_be_read_on_is_an_error() {
    #[derive(Debug, Clone, Copy)]
    struct Failing(bool);
    impl Recording for Failing {
        fn name(&self) -> String {
            "test.ndjson".to_owned()
        }
        fn size(&self) -> std::io::Result<u64> {
            Ok(16)
        }
        fn stream(&self) -> std::io::Result<Box<dyn std::io::Read + Send>> {
            Ok(Box::new(*self))
        }
        fn read_at(&self, _: u64, _: usize) -> std::io::Result<bytes::Bytes> {
            unreachable!("text files are read from their start")
        }
    }
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(std::io::Error::other("the disk is gone"));
            }
            buffer[..8].copy_from_slice(b"{\"x\":1}\n");
            Ok(8)
        }
    }
    let x = one(DataType::Int64);
    let failing: Arc<dyn Recording> = Arc::new(Failing(false));
    let mut reader = NdjsonReader::open(&failing, &x, 1024, Sizes::default()).unwrap();
    assert_eq!(reader.next_batch().unwrap().unwrap().rows.num_rows(), 1);
    let error = reader.next_batch().unwrap_err().to_string();
    assert_eq!(error, "reading test.ndjson at byte 8: the disk is gone");
}
