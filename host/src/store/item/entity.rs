//! The text form of an entity: how the values of a key are written where one text has to name them, in stored keys,
//! on the command line and over HTTP.
//!
//! | type of the key column | text |
//! | --- | --- |
//! | integers, decimals | canonical decimal: `42`, `-7`, `1.50` |
//! | utf8 | as it is |
//! | bool | `true`, `false` |
//! | floats | the shortest decimal that reads back to the same value: `1`, `0.1`, `NaN` |
//! | binary | lower-case hexadecimal |
//! | date | `2001-01-31` |
//! | timestamp | RFC 3339 in UTC with the shortest fraction: `2001-01-01T00:00:00.5Z` |
//!
//! A key of one column is written plain. The columns of a composite key are joined by `,` in the key's order, with
//! `\` before each `,` and `\` inside a part: `("a,b", 7)` is `a\,b,7`. A key without columns is the empty text.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    Array, ArrayRef, Int64Array, LargeBinaryArray, LargeStringArray, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMicrosecondType};

/// Why the values of a key cannot name an entity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntityError {
    /// The type has no text form.
    #[error(
        "key column {column} has type {data_type}, which cannot name an entity; use an integer, a text, a bool, a date or a timestamp"
    )]
    Unsupported {
        /// The position of the column in the key.
        column: usize,
        /// Its type.
        data_type: String,
    },
    /// A key has no value.
    #[error(
        "row {row} has no value in key column {column}: rows without a key must be rejected before they are stored"
    )]
    Null {
        /// The position of the column in the key.
        column: usize,
        /// The row of the batch.
        row: usize,
    },
    /// A timestamp lies outside the years that RFC 3339 can write.
    #[error(
        "row {row} has a timestamp in key column {column} that lies outside the years -9999 to 9999"
    )]
    Time {
        /// The position of the column in the key.
        column: usize,
        /// The row of the batch.
        row: usize,
    },
}

/// Whether a key column of this type can name an entity.
#[must_use]
pub fn can_name(data_type: &DataType) -> bool {
    Part::new(0, &arrow::array::new_empty_array(data_type)).is_ok()
}

/// Writes the entities of the rows of one batch.
pub struct EntityEncoder {
    parts: Vec<Part>,
}

/// One key column, brought to one of four shapes so that writing a row branches little.
enum Part {
    Int(Int64Array),
    UInt(UInt64Array),
    Text(StringArray),
    LargeText(LargeStringArray),
}

impl EntityEncoder {
    /// Prepares the key columns, in the key's order.
    ///
    /// # Errors
    ///
    /// [`EntityError`] when a column's type has no text form, or a row has no value in it.
    pub fn new(keys: &[ArrayRef]) -> Result<Self, EntityError> {
        let parts = keys
            .iter()
            .enumerate()
            .map(|(column, array)| Part::new(column, array))
            .collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// Appends the text of row `row`.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        let composite = self.parts.len() > 1;
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            match part {
                Part::Int(a) => write!(out, "{}", a.value(row)).expect("a Vec takes every write"),
                Part::UInt(a) => write!(out, "{}", a.value(row)).expect("a Vec takes every write"),
                Part::Text(a) if composite => escape(a.value(row), out),
                Part::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
                Part::LargeText(a) if composite => escape(a.value(row), out),
                Part::LargeText(a) => out.extend_from_slice(a.value(row).as_bytes()),
            }
        }
    }
}

/// Joins the parts of a key to an entity's text.
#[must_use]
pub fn join(parts: &[&str]) -> String {
    if let [part] = parts {
        return (*part).to_owned();
    }
    let mut out = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        escape(part, &mut out);
    }
    String::from_utf8(out).expect("escaping puts ASCII between the characters of texts")
}

/// Reads an entity's text as the key of these columns: a row of each.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence.
pub fn parse(text: &str, key: &Schema) -> Result<Vec<ArrayRef>, String> {
    let fields = key.fields();
    let parts = match fields.len() {
        0 | 1 => vec![text.to_owned()],
        _ => split(text),
    };
    if parts.len() != fields.len().max(1) {
        return Err(format!(
            "it has {} parts, and the key has {} columns: {}",
            parts.len(),
            fields.len(),
            names(key)
        ));
    }
    let columns = fields.iter().zip(parts);
    let columns: Vec<ArrayRef> = columns
        .map(|(field, part)| read(&part, field.data_type()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("it is no {}", names(key)))?;
    // A text that another one stands for would be another key to whoever compares texts.
    let mut canonical = Vec::new();
    let encoder = EntityEncoder::new(&columns).map_err(|error| error.to_string())?;
    encoder.encode(0, &mut canonical);
    match canonical == text.as_bytes() {
        true => Ok(columns),
        false => Err(format!(
            "it is written as `{}`",
            String::from_utf8_lossy(&canonical)
        )),
    }
}

fn names(key: &Schema) -> String {
    let fields = key.fields().iter();
    let names = fields.map(|field| format!("{} ({})", field.name(), field.data_type()));
    names.collect::<Vec<_>>().join(", ")
}

fn read(part: &str, data_type: &DataType) -> Option<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let to = |array: ArrayRef| cast_with_options(&array, data_type, &strict).ok();
    match data_type {
        DataType::Timestamp(unit, _) => {
            let instant: jiff::Timestamp = part.parse().ok()?;
            let micros = TimestampMicrosecondArray::from(vec![instant.as_microsecond()]);
            // By way of the number: the zone says how an instant is shown, and Arrow would take it for a local time.
            let in_unit = cast(&micros, &DataType::Timestamp(*unit, None)).ok()?;
            to(cast(&in_unit, &DataType::Int64).ok()?)
        }
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            let digits = |at| u8::from_str_radix(part.get(at..at + 2)?, 16).ok();
            let bytes: Vec<u8> = (0..part.len())
                .step_by(2)
                .map(digits)
                .collect::<Option<_>>()?;
            to(Arc::new(LargeBinaryArray::from_vec(vec![&bytes])))
        }
        _ => to(Arc::new(StringArray::from(vec![part]))),
    }
}

/// The parts of a text that [`join`] made of several.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let last = parts.last_mut().expect("there is one from the start");
        match character {
            ',' => parts.push(String::new()),
            '\\' => last.extend(characters.next()),
            other => last.push(other),
        }
    }
    parts
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if matches!(byte, b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

impl Part {
    fn new(column: usize, array: &ArrayRef) -> Result<Self, EntityError> {
        let data_type = array.data_type();
        let unsupported = || EntityError::Unsupported {
            column,
            data_type: data_type.to_string(),
        };
        if let Some(row) = array
            .logical_nulls()
            .and_then(|nulls| (0..nulls.len()).find(|row| nulls.is_null(*row)))
        {
            return Err(EntityError::Null { column, row });
        }
        let to = |t: &DataType| cast(array, t).map_err(|_| unsupported());
        Ok(match data_type {
            DataType::UInt64 => Self::UInt(array.as_primitive().clone()),
            t if t.is_integer() => Self::Int(to(&DataType::Int64)?.as_primitive().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string().clone()),
            DataType::Timestamp(..) => Self::Text(timestamps(column, &to(&MICROS)?)?),
            DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
                Self::Text(hexadecimal(to(&DataType::LargeBinary)?.as_binary::<i64>()))
            }
            DataType::Float32 => Self::Text(texts(
                array
                    .as_primitive::<arrow::datatypes::Float32Type>()
                    .values()
                    .iter(),
            )),
            DataType::Float64 => Self::Text(texts(
                array
                    .as_primitive::<arrow::datatypes::Float64Type>()
                    .values()
                    .iter(),
            )),
            DataType::Utf8
            | DataType::Utf8View
            | DataType::Boolean
            | DataType::Date32
            | DataType::Date64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Text(to(&DataType::Utf8)?.as_string().clone()),
            _ => return Err(unsupported()),
        })
    }
}

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn texts<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> StringArray {
    StringArray::from_iter_values(values.map(|v| v.to_string()))
}

fn hexadecimal(array: &arrow::array::LargeBinaryArray) -> StringArray {
    StringArray::from_iter_values((0..array.len()).map(|row| {
        array
            .value(row)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    }))
}

fn timestamps(column: usize, array: &ArrayRef) -> Result<StringArray, EntityError> {
    let micros = array.as_primitive::<TimestampMicrosecondType>();
    let texts = (0..micros.len())
        .map(|row| {
            jiff::Timestamp::from_microsecond(micros.value(row))
                .map(|t| t.to_string())
                .map_err(|_| EntityError::Time { column, row })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(StringArray::from(texts))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, Float64Array, Int8Array, TimestampNanosecondArray,
    };
    use arrow::datatypes::Field;

    use super::*;

    fn entity(keys: &[ArrayRef], row: usize) -> String {
        let mut out = Vec::new();
        EntityEncoder::new(keys).unwrap().encode(row, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_has_its_canonical_text() {
        let cases: [(ArrayRef, &str); 8] = [
            (Arc::new(Int8Array::from(vec![-7])), "-7"),
            (
                Arc::new(UInt64Array::from(vec![u64::MAX])),
                "18446744073709551615",
            ),
            (Arc::new(StringArray::from(vec!["a,b\\"])), "a,b\\"),
            (Arc::new(BooleanArray::from(vec![true])), "true"),
            (Arc::new(Float64Array::from(vec![1.0])), "1"),
            (Arc::new(Date32Array::from(vec![11_353])), "2001-01-31"),
            (
                Arc::new(TimestampNanosecondArray::from(vec![
                    978_307_200_500_000_000,
                ])),
                "2001-01-01T00:00:00.5Z",
            ),
            (
                Arc::new(arrow::array::BinaryArray::from_vec(vec![b"\x00\xff"])),
                "00ff",
            ),
        ];
        for (array, text) in cases {
            assert_eq!(entity(&[array], 0), text);
        }
    }

    #[test]
    fn composite_keys_cannot_be_confused() {
        let left: ArrayRef = Arc::new(StringArray::from(vec!["a,b", "a"]));
        let right: ArrayRef = Arc::new(StringArray::from(vec!["c", "b,c"]));
        let keys = [left, right];
        assert_eq!(entity(&keys, 0), "a\\,b,c");
        assert_eq!(entity(&keys, 1), "a,b\\,c");
        assert_eq!(join(&["a,b", "c"]), entity(&keys, 0));
        assert_eq!(join(&["a,b"]), "a,b");
    }

    #[test]
    fn a_text_is_read_back_as_the_key_that_it_came_from() {
        let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let cases = [
            (vec![DataType::Int64], "-7"),
            (vec![DataType::UInt64], "18446744073709551615"),
            (vec![DataType::Utf8], "a,b\\"),
            (vec![DataType::Boolean], "true"),
            (vec![DataType::Date32], "2001-01-31"),
            (vec![utc], "2001-01-01T00:00:00.5Z"),
            (vec![DataType::Binary], "00ff"),
            (vec![DataType::Decimal128(9, 2)], "1.50"),
            (vec![DataType::Utf8, DataType::Int32], "a\\,b\\\\,7"),
        ];
        let schema = |types: &[DataType]| {
            let fields = types.iter().map(|t| Field::new("k", t.clone(), false));
            Schema::new(fields.collect::<Vec<_>>())
        };
        for (types, text) in &cases {
            let columns = parse(text, &schema(types)).unwrap();
            assert_eq!(&entity(&columns, 0), text);
        }
        let int = schema(&[DataType::Int64]);
        for text in ["x", "", "007", "1,2", "9999999999999999999"] {
            assert!(parse(text, &int).is_err(), "{text}");
        }
        let two = schema(&[DataType::Int64, DataType::Utf8]);
        assert!(parse("1", &two).unwrap_err().contains("2 columns"));
    }

    #[test]
    fn a_missing_key_and_a_nested_key_are_errors() {
        let missing: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(
            EntityEncoder::new(&[missing]).err(),
            Some(EntityError::Null { column: 0, row: 1 })
        );
        let nested: ArrayRef = Arc::new(arrow::array::StructArray::new_empty_fields(1, None));
        assert!(matches!(
            EntityEncoder::new(&[nested]).err(),
            Some(EntityError::Unsupported { column: 0, .. })
        ));
    }
}
