//! Random files, whole, damaged, and cut anywhere.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;

use super::{Read, Shown, read_sized, schema, shown};
use crate::source::decode::batch::Sizes;

/// One record of the test's files.
#[derive(Debug, Clone)]
struct Event {
    id: Option<i64>,
    share: Option<f64>,
    text: Option<String>,
    at: Option<i64>,
    good: Option<bool>,
    day: Option<i32>,
    price: Option<i64>,
}

fn event() -> impl Strategy<Value = Event> {
    let text = prop_oneof!["[a-z ,\"\r\n;ü😀-]{1,12}", "[0-9]{1,3}"];
    (
        proptest::option::of(any::<i64>()),
        proptest::option::of(-1e9..1e9f64),
        proptest::option::of(text),
        proptest::option::of(0..4_000_000_000_000_000i64),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0..40_000i32),
        proptest::option::of(-1_000_000..1_000_000i64),
    )
        .prop_map(|(id, share, text, at, good, day, price)| Event {
            id,
            share,
            text,
            at,
            good,
            day,
            price,
        })
}

fn wanted() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    schema(&[
        ("id", DataType::Int64),
        ("share", DataType::Float64),
        ("text", DataType::Utf8),
        ("at", utc),
        ("good", DataType::Boolean),
        ("day", DataType::Date32),
        ("price", DataType::Decimal128(12, 2)),
    ])
}

fn batch(events: &[Event]) -> RecordBatch {
    let each = events.iter();
    let price: Decimal128Array = each.clone().map(|e| e.price.map(i128::from)).collect();
    let at: TimestampMicrosecondArray = each.clone().map(|e| e.at).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(each.clone().map(|e| e.id).collect::<Int64Array>()),
        Arc::new(each.clone().map(|e| e.share).collect::<Float64Array>()),
        Arc::new(
            each.clone()
                .map(|e| e.text.clone())
                .collect::<StringArray>(),
        ),
        Arc::new(at.with_timezone("+00:00")),
        Arc::new(each.clone().map(|e| e.good).collect::<BooleanArray>()),
        Arc::new(each.map(|e| e.day).collect::<Date32Array>()),
        Arc::new(price.with_precision_and_scale(12, 2).unwrap()),
    ];
    RecordBatch::try_new(wanted(), columns).unwrap()
}

/// What becomes of a record on its way to the file.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Whole,
    BlankBefore,
    FieldMore,
    FieldLess,
    StrayQuote,
    NoNumber,
    NotUtf8,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        10 => Just(Fate::Whole),
        1 => Just(Fate::BlankBefore),
        1 => Just(Fate::FieldMore),
        1 => Just(Fate::FieldLess),
        1 => Just(Fate::StrayQuote),
        1 => Just(Fate::NoNumber),
        1 => Just(Fate::NotUtf8),
    ]
}

/// The line in which a record begins, and the row that it is, if it is one.
type Expected = (u64, Option<Vec<Shown>>);

/// A file, and for each record the line in which it begins and what it must become: a row, or not. A stray quote is put
/// where the record has one line, because it costs a line.
fn written(events: &[(Event, Fate)], crlf: bool) -> (Vec<u8>, Vec<Expected>) {
    let mut file = b"id,share,text,at,good,day,price,tail\n".to_vec();
    let (mut line, mut expected) = (2, Vec::new());
    for (event, fate) in events {
        let batch = batch(std::slice::from_ref(event));
        let mut record = Vec::new();
        let mut writer = arrow_csv::WriterBuilder::new()
            .with_header(false)
            .build(&mut record);
        writer.write(&batch).unwrap();
        drop(writer);
        assert_eq!(record.pop(), Some(b'\n'));
        record.push(b',');
        let mut row = Some(shown(&batch, 0));
        let one_line = !record.contains(&b'\n');
        match fate {
            Fate::BlankBefore => {
                file.push(b'\n');
                line += 1;
            }
            Fate::FieldMore => record.push(b','),
            Fate::FieldLess => drop(record.pop()),
            Fate::StrayQuote if one_line => record.extend(b"x\"x"),
            Fate::NoNumber => drop(record.splice(0..0, *b"x")),
            Fate::NotUtf8 => record.push(0xff),
            Fate::Whole | Fate::StrayQuote => {}
        }
        let refused = match fate {
            Fate::Whole | Fate::BlankBefore => false,
            Fate::StrayQuote => one_line,
            _ => true,
        };
        if refused {
            row = None;
        }
        expected.push((line, row));
        line += 1 + record.iter().filter(|byte| **byte == b'\n').count() as u64;
        file.extend(record);
        file.extend(if crlf { &b"\r\n"[..] } else { b"\n" });
    }
    (file, expected)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_a_row_or_a_reject(
        events in proptest::collection::vec((event(), fate()), 0..20),
        crlf in any::<bool>(),
        batch_rows in prop_oneof![1..8usize, Just(1024)],
        chunk in prop_oneof![1..80usize, Just(1 << 18)],
        newline in any::<bool>(),
    ) {
        let (mut file, expected) = written(&events, crlf);
        if !newline {
            file.pop();
        }
        let sizes = Sizes { chunk, ..Sizes::default() };
        let read = read_sized(&file, &wanted(), batch_rows, sizes);
        let rows: Vec<_> = expected.iter().filter_map(|(line, row)| row.clone().map(|row| (*line, row))).collect();
        prop_assert_eq!(&read.rows, &rows);
        let refused: Vec<u64> = expected.iter().filter(|(_, row)| row.is_none()).map(|(line, _)| *line).collect();
        let found: Vec<u64> = read.rejects.iter().map(|(_, reject)| reject.position).collect();
        prop_assert_eq!(found, refused);
        for (before, reject) in &read.rejects {
            prop_assert!(read.rows[..*before].iter().all(|(line, _)| *line < reject.position));
            prop_assert!(read.rows[*before..].iter().all(|(line, _)| *line > reject.position));
        }
    }

    #[test]
    fn quoted_fields_come_back_as_they_were(
        rows in proptest::collection::vec(proptest::collection::vec("[a\",\r\n ü]{0,6}", 2), 0..12),
        chunk in 1..40usize,
    ) {
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let mut file = "a,b\n".to_owned();
        for row in &rows {
            file.push_str(&row.iter().map(quoted).collect::<Vec<_>>().join(","));
            file.push('\n');
        }
        let texts = schema(&[("a", DataType::Utf8), ("b", DataType::Utf8)]);
        let read = read_sized(file.as_bytes(), &texts, 5, Sizes { chunk, ..Sizes::default() });
        prop_assert_eq!(&read.rejects, &[]);
        let found: Vec<Vec<String>> = read.rows.iter()
            .map(|(_, row)| row.iter().map(|cell| cell.clone().expect("it is quoted")).collect())
            .collect();
        prop_assert_eq!(found, rows);
    }

    #[test]
    fn cuts_change_nothing(
        file in "([a-c1-3 ]{0,3}|\"|,|\n|\r\n|\"\"|\"[a,\n]{0,5}\",){0,60}",
        line in prop_oneof![Just(1 << 20), 1..60usize],
    ) {
        let file = format!("a,b\n{file}");
        let wanted = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let read = |chunk, batch_rows, batch| -> Read {
            read_sized(file.as_bytes(), &wanted, batch_rows, Sizes { chunk, line, batch })
        };
        if line > 3 {
            let whole = read(1 << 16, 1 << 16, 1 << 20);
            // Whatever the quotes are like, every line is a part of a row, a reject or nothing.
            for chunk in [1, 7, 64] {
                for (batch_rows, batch) in [(1, 1 << 20), (7, 1 << 20), (1024, 1), (1024, 100)] {
                    prop_assert_eq!(&read(chunk, batch_rows, batch), &whole, "chunk {}, {} rows", chunk, batch_rows);
                }
            }
        }
    }
}

#[test]
fn a_flood_of_rejects_comes_in_batches() {
    let file = format!("a\n{}", "x\n".repeat(10_000));
    let wanted = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    // The reader of these tests asks for each batch whether it is too large.
    let read = read_sized(file.as_bytes(), &wanted, 100, Sizes::default());
    assert_eq!((read.rows.len(), read.rejects.len()), (0, 10_000));
}
