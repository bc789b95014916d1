//! Whole files, with what they must give. Random files are in `random`.

mod random;

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;

use super::CsvReader;
use crate::source::decode::batch::Sizes;
use crate::source::decode::testing::in_memory;
use crate::source::decode::{DecodeError, Format, Malformed, SplitReader, code, infer};

/// A value as text; `None` is null.
type Shown = Option<String>;

/// A file as rows with their lines, and rejects with the number of rows before them.
#[derive(Debug, PartialEq)]
struct Read {
    rows: Vec<(u64, Vec<Shown>)>,
    rejects: Vec<(usize, Malformed)>,
}

fn shown(rows: &RecordBatch, row: usize) -> Vec<Shown> {
    let cell = |array: &Arc<dyn Array>| {
        (!array.is_null(row)).then(|| array_value_to_string(array, row).unwrap())
    };
    rows.columns().iter().map(cell).collect()
}

fn read_sized(file: &[u8], schema: &SchemaRef, batch_rows: usize, sizes: Sizes) -> Read {
    let recording = in_memory("test.csv", file);
    let mut reader = CsvReader::open(&recording, schema, batch_rows, sizes).unwrap();
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    while let Some(batch) = reader.next_batch().unwrap() {
        assert_eq!(&batch.rows.schema(), schema);
        assert!(batch.rows.num_rows() + batch.rejects.len() <= batch_rows);
        let before = rows.len();
        for row in 0..batch.rows.num_rows() {
            let line = batch.lines.position(row as u32).unwrap();
            rows.push((line, shown(&batch.rows, row)));
        }
        for mut reject in batch.rejects {
            let at = before + reject.before_row as usize;
            reject.before_row = 0;
            rejects.push((at, reject));
        }
    }
    assert_eq!(reader.bytes_read(), file.len() as u64);
    Read { rows, rejects }
}

fn read(file: &str, schema: &SchemaRef) -> Read {
    read_sized(file.as_bytes(), schema, 1024, Sizes::default())
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn two() -> SchemaRef {
    schema(&[("a", DataType::Int64), ("b", DataType::Utf8)])
}

fn error(file: &str, schema: &SchemaRef) -> DecodeError {
    let recording = in_memory("test.csv", file);
    CsvReader::open(&recording, schema, 10, Sizes::default())
        .err()
        .expect("it is refused")
}

fn row(a: &str, b: &str) -> Vec<Shown> {
    let shown = |text: &str| (text != "-").then(|| text.to_owned());
    vec![shown(a), shown(b)]
}

#[test]
fn quotes_newlines_and_what_is_empty() {
    let file = "\u{feff}b,other,a\r\nx,,1\r\n\r\n\"two, lines\r\nand \"\"quotes\"\"\",z,2\r\n,,\r\n\"\",,\"\"\r\n\"last\",\"\",\"-3\"";
    let read = read(file, &two());
    assert_eq!(read.rejects, []);
    assert_eq!(
        read.rows,
        [
            (2, row("1", "x")),
            (4, row("2", "two, lines\r\nand \"quotes\"")),
            (6, row("-", "-")),
            (7, row("-", "")),
            (8, row("-3", "last")),
        ]
    );
}

#[test]
fn a_bad_record_costs_nobody_else_anything() {
    let file = "a,b\n1,x\n2\nthree,x\n4,x,y\n\"5\n\",x\n\"6\"6,x\n7,x\"y\n8,\"x\ny\n9,x\n10,\"x\" \n11,\"x\"\n9223372036854775808,x\n";
    let read = read(file, &two());
    let lines: Vec<u64> = read.rows.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 12, 14]);
    let rejects: Vec<_> = read
        .rejects
        .iter()
        .map(|(before, reject)| {
            let record = String::from_utf8(reject.record.clone()).unwrap();
            (*before, reject.position, reject.code, record)
        })
        .collect();
    let expected = [
        (1, 3, code::MALFORMED_CSV, "2"),
        (1, 4, code::BAD_VALUE, "three,x"),
        (1, 5, code::MALFORMED_CSV, "4,x,y"),
        (1, 6, code::BAD_VALUE, "\"5\n\",x"),
        (1, 8, code::MALFORMED_CSV, "\"6\"6,x"),
        (1, 9, code::MALFORMED_CSV, "7,x\"y"),
        (1, 10, code::MALFORMED_CSV, "8,\"x"),
        (1, 11, code::MALFORMED_CSV, "y"),
        (2, 13, code::MALFORMED_CSV, "10,\"x\" "),
        (3, 15, code::OUT_OF_RANGE, "9223372036854775808,x"),
    ];
    let expected = expected.map(|(before, line, code, record)| (before, line, code, record.into()));
    assert_eq!(rejects, expected);
    let reasons: Vec<&str> = (read.rejects.iter())
        .map(|(_, reject)| reject.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "expected 2 fields, as in the header, found 1",
            "column `a`: expected int64, found \"three\"",
            "expected 2 fields, as in the header, found 3",
            "column `a`: expected int64, found \"5\\n\"",
            "byte 4: more text after the quote that closes a field",
            "byte 4: a quote inside a field that does not begin with one",
            "a quote is opened on this line and not closed: more text after the quote that closes a field 3 lines further down",
            "expected 2 fields, as in the header, found 1",
            "byte 7: more text after the quote that closes a field",
            "column `a`: \"9223372036854775808\" is out of the range of int64",
        ]
    );
}

#[test]
fn what_is_not_utf8_is_refused_alone() {
    let file = b"a,b,c\n1,x,\n2,\xff,\n3,\"\xe4\n\",\n4,y,\xc3\xa9\n";
    let read = read_sized(file, &two(), 10, Sizes::default());
    assert_eq!(read.rows, [(2, row("1", "x")), (6, row("4", "y"))]);
    let places: Vec<_> = (read.rejects.iter())
        .map(|(_, reject)| (reject.position, reject.code, reject.reason.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (3, code::INVALID_UTF8, "byte 3: not UTF-8"),
            (4, code::INVALID_UTF8, "byte 4: not UTF-8"),
        ]
    );
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    let mut file = "a,b\n1,\"x\n".to_owned();
    (2..40_000).for_each(|i| file.push_str(&format!("{i},a text\n")));
    for (chunk, line) in [
        (64, 1 << 20),
        (1 << 20, 1 << 20),
        (64, 1000),
        (1 << 20, 1000),
    ] {
        let sizes = Sizes {
            chunk,
            line,
            ..Sizes::default()
        };
        let read = read_sized(file.as_bytes(), &two(), 100, sizes);
        assert_eq!((read.rows.len(), read.rejects.len()), (39_998, 1));
        let reject = &read.rejects[0].1;
        assert_eq!((reject.position, &*reject.record), (2, &b"1,\"x"[..]));
        let expected = match line {
            1000 => code::LINE_TOO_LONG,
            _ => code::MALFORMED_CSV,
        };
        assert_eq!(reject.code, expected);
    }
}

#[test]
fn columns_that_the_header_has_not() {
    let read = read("a,c\n1,x\n", &two());
    assert_eq!(read.rows, [(2, row("1", "-"))]);
    assert_eq!(super::tests::read("", &two()).rows, []);
    assert_eq!(super::tests::read("\n\n", &two()).rows, []);
    assert_eq!(super::tests::read("a,b", &two()).rows, []);
    assert_eq!(super::tests::read("x\n1\n2\n", &schema(&[])).rows.len(), 2);
    assert_eq!(
        error("1,x\n2,y\n", &two()).to_string(),
        "test.csv: its first record, which names its columns, cannot be used: none of its columns (`1`, `x`) is wanted; `a` is"
    );
    assert_eq!(
        error("a,b,a\n1,2,3\n", &two()).to_string(),
        "test.csv: its first record, which names its columns, cannot be used: it has column `a` twice"
    );
    assert!(matches!(
        error("a,\"b\n", &two()),
        DecodeError::BadHeader { .. }
    ));
    let needed = Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("z", DataType::Int64, false),
    ]);
    assert_eq!(
        error("a,b\n", &Arc::new(needed)).to_string(),
        "test.csv: has no column `z`; it has `a`, `b`"
    );
    let lists = schema(&[("a", DataType::new_list(DataType::Int64, true))]);
    let refused = error("a\n", &lists).to_string();
    assert!(
        refused.contains("`a` is declared as list[int64], which cannot be read from CSV"),
        "{refused}"
    );
}

#[test]
fn values_look_as_in_ndjson() {
    let check = |text: &str, data_type: DataType, expected: Result<&str, &'static str>| {
        let wanted = schema(&[("x", data_type.clone())]);
        let read = read(&format!("x\n{text}\n"), &wanted);
        let found = match (read.rows.first(), read.rejects.first()) {
            (Some((_, row)), None) => Ok(row[0].clone().unwrap_or_else(|| "null".to_owned())),
            (None, Some((_, reject))) => Err(reject.code),
            _ => panic!("{text}: {read:?}"),
        };
        let found = found.as_deref().map_err(|code| *code);
        assert_eq!(found, expected, "{text} as {data_type}");
    };
    let utc = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
    check("7.0", DataType::Int32, Ok("7"));
    check("7.5", DataType::Int32, Err(code::WRONG_TYPE));
    check("007", DataType::Int64, Err(code::BAD_VALUE));
    check(" 7", DataType::Int64, Err(code::BAD_VALUE));
    check("\"7\"", DataType::UInt8, Ok("7"));
    check("256", DataType::UInt8, Err(code::OUT_OF_RANGE));
    check("1e3", DataType::Float64, Ok("1000.0"));
    check("NaN", DataType::Float64, Ok("NaN"));
    check("-inf", DataType::Float32, Ok("-inf"));
    check("1e999", DataType::Float64, Err(code::OUT_OF_RANGE));
    check("TRUE", DataType::Boolean, Ok("true"));
    check("false", DataType::Boolean, Ok("false"));
    check("yes", DataType::Boolean, Err(code::BAD_VALUE));
    check("-1.25", DataType::Decimal128(5, 2), Ok("-1.25"));
    check("1.255", DataType::Decimal128(5, 2), Err(code::WRONG_TYPE));
    check("x", DataType::Decimal128(5, 2), Err(code::BAD_VALUE));
    check(
        "2026-03-01T08:15:30.5Z",
        utc(TimeUnit::Millisecond),
        Ok("2026-03-01T08:15:30.500Z"),
    );
    check(
        "2026-03-01T09:15:30+01:00",
        utc(TimeUnit::Second),
        Ok("2026-03-01T08:15:30Z"),
    );
    check(
        "1772352930",
        utc(TimeUnit::Second),
        Ok("2026-03-01T08:15:30Z"),
    );
    check(
        "2026-03-01T08:15:30",
        utc(TimeUnit::Second),
        Err(code::BAD_VALUE),
    );
    check("yesterday", utc(TimeUnit::Second), Err(code::BAD_VALUE));
    check("2024-02-29", DataType::Date32, Ok("2024-02-29"));
    check(
        "08:15:30",
        DataType::Time32(TimeUnit::Second),
        Ok("08:15:30"),
    );
    check("90", DataType::Duration(TimeUnit::Second), Ok("PT90S"));
    check("aGVsbG8=", DataType::Binary, Ok("68656c6c6f"));
    check("a_8", DataType::Binary, Err(code::BAD_VALUE));
    check("//8=", DataType::FixedSizeBinary(2), Ok("ffff"));
    check("back\\slash", DataType::LargeUtf8, Ok("back\\slash"));
    check("null", DataType::Utf8, Ok("null"));
    check("\"\"", DataType::Utf8, Ok(""));
    check("\"\"", DataType::Binary, Ok(""));
    check("\"\"", DataType::Date32, Ok("null"));
    check("\"\"\"\"", DataType::Utf8, Ok("\""));
}

#[test]
fn values_that_must_be_there() {
    let wanted = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let read = read("b,a\nx,1\nx,\nx,\"\"\n", &wanted);
    assert_eq!(read.rows.len(), 1);
    for (_, reject) in &read.rejects {
        assert_eq!(reject.code, code::MISSING_VALUE);
        assert_eq!(
            reject.reason,
            "column `a` is empty, but declared as not nullable"
        );
    }
    assert_eq!(read.rejects.len(), 2);
}

#[test]
fn columns_are_inferred_from_what_most_values_are() {
    let check = |files: &[&str], expected: &str| {
        let files: Vec<_> = files
            .iter()
            .map(|text| in_memory("test.csv", *text))
            .collect();
        let schema = infer(&files, Format::Csv).unwrap();
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        let found: Vec<String> = (schema.fields().iter())
            .map(|field| format!("{}: {}", field.name(), field.data_type()))
            .collect();
        assert_eq!(found.join(", "), expected);
    };
    check(
        &[
            "i,f,b,s,e,t\n1,1.5,true,x,,2026-03-01T08:15:30Z\n-2,2,FALSE,1,,2026-03-01T08:15:30.5+01:00\n",
        ],
        "i: Int64, f: Float64, b: Boolean, s: Utf8, e: Utf8, t: Timestamp(µs, \"UTC\")",
    );
    check(&["x\n1\n2\nthree\n"], "x: Int64");
    check(&["x\n1\ntwo\n"], "x: Utf8");
    check(&["x\n2026-03-01T08:15:30Z\nx\n"], "x: Utf8");
    check(&["x\n2026-03-01T08:15:30\n"], "x: Utf8");
    check(&["x\n1\n2\n007\n"], "x: Utf8");
    check(&["x\n1\n2\n123456789012345678901\n"], "x: Utf8");
    check(&["x\n1\n18446744073709551615\n"], "x: UInt64");
    check(
        &["a,b\n1,\"x\ny\"\nbroken\n", "c,b\n1,\n"],
        "a: Int64, b: Utf8, c: Int64",
    );
    check(&["", "a\n"], "a: Utf8");
    let late = format!("x\n{}late\nlate\n", "1\n".repeat(1000));
    check(&[&late], "x: Int64");
}
