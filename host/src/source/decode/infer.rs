//! The columns of text files, from a sample of their records.
//!
//! Of each file, the first 1,000 records are looked at, or the first MiB if that is less (a longer first line is looked
//! at whole). Lines that are not JSON objects, and CSV records with another number of fields than the header, are passed
//! over: decoding will refuse them, with the reason. So is what stands behind damage in a compressed file.
//!
//! Types of JSON: `true` is Boolean, integers are Int64 (UInt64 if none is negative and one needs it), other numbers Float64,
//! strings Utf8 whatever they hold, arrays List, objects Struct; only nulls, Utf8. Where a field has values of several
//! kinds, integers and floats make Float64; otherwise the kind of most values wins, so that a few malformed records do
//! not decide for all. Decoding then refuses the others, in the open, and only if the column is wanted. Everything is
//! nullable.
//!
//! Types of CSV, by the same rule: `true` and `false` in any case are Boolean, what is written like a number in JSON is
//! one; a column in which every value is an RFC 3339 time with its offset is Timestamp(us, UTC). Digits behind a
//! leading zero, or more of them than an integer holds, are nobody's number: one of them makes the column Utf8.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use hashbrown::HashMap;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::batch::Sizes;
use super::column::{CellKind, TextKind, cell_kind, text_kind};
use super::content::Content;
use super::csv;
use super::lines::{Filled, Lines};
use super::{DecodeError, Inferred};

/// Records that are looked at.
pub(super) const SAMPLE_RECORDS: usize = 1_000;
/// Bytes that are looked at.
pub(super) const SAMPLE_BYTES: usize = 1 << 20;

/// What was seen in the files so far.
#[derive(Default)]
pub(super) struct Sample {
    record: Struct,
}

impl Sample {
    /// Looks at a CSV file.
    pub(super) fn add_csv(&mut self, file: &str, content: Content) -> Result<(), DecodeError> {
        csv::sample(file, content, |name, cell| {
            let shape = self.record.field(name.to_owned());
            if let Some(cell) = cell {
                shape.see_cell(cell);
            }
        })
    }

    /// Looks at an NDJSON file.
    pub(super) fn add_ndjson(&mut self, file: &str, content: Content) -> Result<(), DecodeError> {
        let mut lines = Lines::new(content, SAMPLE_BYTES, Sizes::default().line);
        let (mut sampled, mut objects, mut first_reason) = (0, 0, None);
        let mut seen = 0;
        'sample: loop {
            let filled = match lines.fill() {
                Ok(filled) => filled,
                Err(error) => match lines.source().failure(lines.bytes_read(), error) {
                    // What stands before the damage is to be read.
                    DecodeError::Damaged { .. } if sampled > 0 => break,
                    failure => return Err(failure),
                },
            };
            match filled {
                Filled::End => break,
                Filled::TooLong(_) => {
                    sampled += 1;
                    seen += SAMPLE_BYTES;
                    first_reason.get_or_insert_with(|| "it is too long".to_owned());
                }
                Filled::Lines => {
                    let whole = &lines.region()[..lines.remaining()];
                    for line in whole.split(|&byte| byte == b'\n') {
                        // Where a line begins counts, not how the file was cut when it was read.
                        if seen >= SAMPLE_BYTES {
                            break 'sample;
                        }
                        seen += line.len() + 1;
                        if line.trim_ascii().is_empty() {
                            continue;
                        }
                        sampled += 1;
                        match self.add_line(line) {
                            Ok(()) => objects += 1,
                            Err(reason) => drop(first_reason.get_or_insert(reason)),
                        }
                        if sampled == SAMPLE_RECORDS {
                            break 'sample;
                        }
                    }
                    lines.consume(lines.remaining());
                }
            }
            if seen >= SAMPLE_BYTES {
                break;
            }
        }
        match first_reason {
            Some(reason) if objects == 0 => Err(DecodeError::NoObjects {
                file: file.to_owned(),
                lines: sampled,
                reason,
            }),
            _ => Ok(()),
        }
    }

    /// Looks at a message; one that is no object is passed over.
    pub(super) fn add_message(&mut self, message: &[u8]) {
        // Decoding will refuse it, with the reason.
        let _ = self.add_line(message);
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        // A line that turns out to be malformed at its end must leave no field behind, so each has a shape of its own.
        let mut shape = Shape::default();
        let mut json = serde_json::Deserializer::from_slice(line);
        let read = Observe(&mut shape)
            .deserialize(&mut json)
            .and_then(|()| json.end());
        match (read, shape) {
            (
                Ok(()),
                Shape {
                    records: 1, record, ..
                },
            ) => {
                self.record.merge(record);
                Ok(())
            }
            (Ok(()), _) => Err("it is JSON, but no object".to_owned()),
            (Err(error), _) => Err(error.to_string()),
        }
    }

    /// What all that was seen comes to; texts of the columns `times` are points in time.
    pub(super) fn inferred(self, times: &[&str]) -> Inferred {
        let mut unseen = Vec::new();
        let fields = self.record.fields.into_iter().map(|(name, shape)| {
            if shape.is_unseen() {
                unseen.push(name.clone());
            }
            let is_local = shape.local > 0 && shape.zoned == 0;
            let data_type = match shape.into_type() {
                DataType::Utf8 if times.contains(&name.as_str()) => {
                    let zone = (!is_local).then(|| "UTC".into());
                    DataType::Timestamp(TimeUnit::Microsecond, zone)
                }
                other => other,
            };
            Field::new(name, data_type, true)
        });
        Inferred {
            schema: Schema::new(fields.collect::<Vec<_>>()),
            unseen,
        }
    }
}

/// What was seen of a field: how many values of each kind. Nulls count for nothing.
#[derive(Debug, Default)]
struct Shape {
    booleans: u64,
    numbers: u64,
    texts: u64,
    lists: u64,
    records: u64,
    /// Of the texts, those that are points in time. Only looked for where nothing else tells them from others.
    times: u64,
    /// Of the texts, those that are times with an offset, and without.
    zoned: u64,
    local: u64,
    /// A text was seen that looks like a number and must not become one.
    digits: bool,
    float: bool,
    negative: bool,
    /// An integer was seen that only u64 holds.
    above_i64: bool,
    /// Of all elements of all lists.
    element: Option<Box<Shape>>,
    record: Struct,
}

impl Shape {
    fn merge(&mut self, other: Self) {
        self.booleans += other.booleans;
        self.numbers += other.numbers;
        self.texts += other.texts;
        self.lists += other.lists;
        self.records += other.records;
        self.times += other.times;
        self.zoned += other.zoned;
        self.local += other.local;
        self.digits |= other.digits;
        self.float |= other.float;
        self.negative |= other.negative;
        self.above_i64 |= other.above_i64;
        if let Some(element) = other.element {
            self.element.get_or_insert_default().merge(*element);
        }
        self.record.merge(other.record);
    }

    /// Looks at a cell, which is not empty.
    fn see_cell(&mut self, cell: &str) {
        match cell_kind(cell) {
            CellKind::Boolean => self.booleans += 1,
            CellKind::Integer => match (cell.parse::<i64>(), cell.parse::<u64>()) {
                (Ok(value), _) => {
                    self.numbers += 1;
                    self.negative |= value < 0;
                }
                (Err(_), Ok(_)) => {
                    self.numbers += 1;
                    self.above_i64 = true;
                }
                _ => (self.texts, self.digits) = (self.texts + 1, true),
            },
            CellKind::Float => {
                self.numbers += 1;
                self.float = true;
            }
            CellKind::Digits => (self.texts, self.digits) = (self.texts + 1, true),
            CellKind::Time => {
                self.times += 1;
                self.see_text(cell);
            }
            CellKind::Text => self.see_text(cell),
        }
    }

    fn see_text(&mut self, text: &str) {
        self.texts += 1;
        // Most texts do not begin with a year, and are not worth a closer look.
        if text.as_bytes().get(4) == Some(&b'-') {
            match text_kind(text) {
                TextKind::Zoned => self.zoned += 1,
                TextKind::Local => self.local += 1,
                TextKind::Other => {}
            }
        }
    }

    fn is_unseen(&self) -> bool {
        self.booleans + self.numbers + self.texts + self.lists + self.records == 0
    }

    /// The type of most values; text, if there are as many of another.
    fn into_type(self) -> DataType {
        let others = self.booleans + self.numbers + self.lists + self.records;
        if self.digits {
            return DataType::Utf8;
        }
        if self.times > 0 && self.times == self.texts && others == 0 {
            return DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        }
        let most = [
            self.booleans,
            self.numbers,
            self.texts,
            self.lists,
            self.records,
        ]
        .into_iter()
        .max();
        match most {
            None | Some(0) => DataType::Utf8,
            Some(most) if most == self.texts => DataType::Utf8,
            Some(most) if most == self.numbers => self.number_type(),
            Some(most) if most == self.booleans => DataType::Boolean,
            Some(most) if most == self.lists => {
                let element = self.element.unwrap_or_default().into_type();
                DataType::List(Arc::new(Field::new_list_field(element, true)))
            }
            Some(_) => DataType::Struct(self.record.into_fields()),
        }
    }

    fn number_type(&self) -> DataType {
        match (self.float, self.above_i64, self.negative) {
            (true, ..) | (_, true, true) => DataType::Float64,
            (_, true, false) => DataType::UInt64,
            (_, false, _) => DataType::Int64,
        }
    }
}

/// The fields of an object, in the order in which they were first seen.
#[derive(Debug, Default)]
struct Struct {
    fields: Vec<(String, Shape)>,
    by_name: HashMap<String, usize>,
}

impl Struct {
    fn field(&mut self, name: String) -> &mut Shape {
        let index = *self.by_name.entry(name).or_insert_with_key(|name| {
            self.fields.push((name.clone(), Shape::default()));
            self.fields.len() - 1
        });
        &mut self.fields[index].1
    }

    fn merge(&mut self, other: Self) {
        for (name, shape) in other.fields {
            self.field(name).merge(shape);
        }
    }

    fn into_fields(self) -> Fields {
        self.fields
            .into_iter()
            .map(|(name, shape)| Field::new(name, shape.into_type(), true))
            .collect()
    }
}

/// Reads a value into the shape of the values before it.
struct Observe<'a>(&'a mut Shape);

impl<'de> DeserializeSeed<'de> for Observe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Observe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.0.booleans += 1;
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.numbers += 1;
        self.0.negative |= value < 0;
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.numbers += 1;
        self.0.above_i64 |= i64::try_from(value).is_err();
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.0.numbers += 1;
        self.0.float = true;
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.see_text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut element = Shape::default();
        while elements.next_element_seed(Observe(&mut element))?.is_some() {}
        self.0.lists += 1;
        self.0.element.get_or_insert_default().merge(element);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut record = Struct::default();
        while let Some(name) = members.next_key::<String>()? {
            // Of a field that stands there twice, the last counts.
            let mut shape = Shape::default();
            members.next_value_seed(Observe(&mut shape))?;
            *record.field(name) = shape;
        }
        self.0.records += 1;
        self.0.record.merge(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, Format, infer};
    use super::Sample;
    use crate::source::recording::{LocalFile, Recording};
    use arrow::datatypes::Schema;
    use arrow::datatypes::{DataType, TimeUnit};
    use std::io::Write;
    use std::sync::Arc;

    fn inferred(files: &[&str]) -> Result<Schema, DecodeError> {
        let written = files.iter().map(|text| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file
        });
        let written: Vec<_> = written.collect();
        let recordings: Vec<Arc<dyn Recording>> = written
            .iter()
            .map(|file| Arc::new(LocalFile::new(file.path())) as Arc<dyn Recording>)
            .collect();
        infer(&recordings, Format::Ndjson)
    }

    fn check(files: &[&str], expected: &str) {
        let schema = inferred(files).unwrap();
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        let found: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| format!("{}: {}", field.name(), field.data_type()))
            .collect();
        assert_eq!(found.join(", "), expected);
    }

    #[test]
    fn types() {
        check(
            &["{\"b\":true,\"i\":1,\"f\":1.5,\"s\":\"2026-03-01T08:15:30Z\",\"n\":null}\n"],
            "b: Boolean, i: Int64, f: Float64, s: Utf8, n: Utf8",
        );
        check(&["{\"x\":1}\n{\"x\":2.5}\n{\"x\":null}"], "x: Float64");
        check(&["{\"x\":9223372036854775808}\n{\"x\":1}"], "x: UInt64");
        check(&["{\"x\":9223372036854775808}\n{\"x\":-1}"], "x: Float64");
        check(&["{\"x\":1}\n{\"x\":\"one\"}"], "x: Utf8");
        check(
            &["{\"x\":1}\n{\"x\":\"one\"}\n{\"x\":2}\n{\"x\":true}"],
            "x: Int64",
        );
        check(
            &["{\"x\":[]}\n{\"x\":[1,null]}\n{\"x\":[0.5]}"],
            "x: List(Float64)",
        );
        check(
            &["{\"x\":{\"a\":1}}\n{\"x\":{\"b\":[true]}}"],
            "x: Struct(\"a\": Int64, \"b\": List(Boolean))",
        );
        check(&["{\"x\":\"a\",\"x\":1}"], "x: Int64");
    }

    #[test]
    fn times_and_columns_without_values() {
        let inferred = |text: &str| {
            let mut sample = Sample::default();
            for line in text.lines() {
                sample.add_line(line.as_bytes()).unwrap();
            }
            sample.inferred(&["t"])
        };
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (text, expected) in [
            (r#"{"t":"2001-01-01T00:00:00"}"#, &local),
            (r#"{"t":"2001-01-01 00:00:00"}"#, &local),
            (r#"{"t":"2001-01-01T00:00:00+01:00"}"#, &utc),
            (
                "{\"t\":\"2001-01-01T00:00:00\"}\n{\"t\":\"2001-01-01T00:00:00Z\"}",
                &utc,
            ),
            (r#"{"t":"yesterday"}"#, &utc),
            (r#"{"t":7}"#, &DataType::Int64),
        ] {
            let found = inferred(text).schema;
            assert_eq!(found.field(0).data_type(), expected, "{text}");
        }
        let found = inferred(r#"{"a":null,"t":null,"b":"","c":[]}"#);
        assert_eq!(found.unseen, ["a", "t"]);
    }

    #[test]
    fn files() {
        check(&[], "");
        check(&["", "\n\n"], "");
        check(
            &[
                "\u{feff}{\"z\":1}\r\n\n{\"a\":true}",
                "{\"a\":null,\"m\":\"\"}\n",
            ],
            "z: Int64, a: Boolean, m: Utf8",
        );
        check(&["no json\n{\"x\":1}\n{\"y\":1"], "x: Int64");
        let late = format!("{}{{\"late\":1}}\n", "{\"x\":1}\n".repeat(1000));
        check(&[&late], "x: Int64");
        let long = format!("{{\"x\":\"{}\"}}\n{{\"y\":1}}\n", "a".repeat(3 << 20));
        check(&[&long], "x: Utf8");
        let short = format!("{{\"x\":\"{}\"}}\n{{\"y\":1}}\n", "a".repeat(3 << 18));
        check(&[&short], "x: Utf8, y: Int64");
        let error = inferred(&["[\n1,\n2\n]\n"]).unwrap_err();
        assert!(
            matches!(error, DecodeError::NoObjects { lines: 4, .. }),
            "{error}"
        );
    }
}
