//! Values that are put, as columns of the declared types.
//!
//! Nothing is converted: a text is no number, 4.5 no whole number, and 300 no int8. JSON is as answers show it: times in
//! RFC 3339, binary in hexadecimal. Where answers are plain columns, what is put is of the same kind of column.

use std::mem::discriminant;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int64Array, LargeListArray, ListArray, StringArray, StructArray,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use serde_json::Value as Json;

use super::catalogue::Described;
use super::columns::{Style, VALUE, Values};
use crate::config::types;
use crate::store::validation::{Literal, read_exactly};

/// The values of one feature, one an entity.
#[derive(Debug)]
pub(in crate::serve) enum Given {
    /// As people write them; a null is none.
    Shown(Vec<Json>),
    /// As answers have them; where the state says no [`VALUE`] there is none. No states are those of values alone.
    Plain { states: Vec<u8>, values: Values },
}

/// A value that is none of the declared type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Whose it is; none if it is about all of them.
    pub(super) row: Option<usize>,
    /// What is wrong with it.
    pub(super) reason: String,
}

impl Misfit {
    fn all(reason: String) -> Self {
        Self { row: None, reason }
    }
}

type Column = Result<ArrayRef, Misfit>;

impl Given {
    /// The values as a column of so many rows, of the feature's type.
    pub(super) fn column(&self, feature: &Described, rows: usize) -> Column {
        let data_type = &feature.data_type;
        match self {
            Self::Shown(values) => {
                has_all(values.len(), rows)?;
                column(&values.iter().collect::<Vec<_>>(), data_type)
            }
            Self::Plain { states, values } => {
                has_all(values.rows(), rows)?;
                if !states.is_empty() && states.len() != rows {
                    let states = states.len();
                    let reason = format!("has {states} states, and {rows} entities are put");
                    return Err(Misfit::all(reason));
                }
                let expected = feature.shape.values(data_type, Style::Plain, 0);
                if discriminant(&expected) != discriminant(values) {
                    let (takes, sent) = (expected.kind(), values.kind());
                    let reason = format!("takes `{takes}`, and `{sent}` were sent");
                    return Err(Misfit::all(reason));
                }
                let there = |row: usize| states.get(row).is_none_or(|it| it & VALUE != 0);
                plain(values, data_type, rows, there)
            }
        }
    }
}

fn has_all(values: usize, rows: usize) -> Result<(), Misfit> {
    match values == rows {
        true => Ok(()),
        false => Err(Misfit::all(format!(
            "has {values} values, and {rows} entities are put"
        ))),
    }
}

fn plain(
    values: &Values,
    data_type: &DataType,
    rows: usize,
    there: impl Fn(usize) -> bool,
) -> Column {
    let nulls = || Some(NullBuffer::from_iter((0..rows).map(&there)));
    Ok(match values {
        Values::Bools(bools) => Arc::new(BooleanArray::new(bools.clone().into(), nulls())),
        Values::Ints(ints) => {
            let each = ints.iter().enumerate();
            let each = each.map(|(row, int)| there(row).then_some(*int));
            return whole_signed(each.collect(), data_type);
        }
        Values::UInts(ints) => {
            let each = ints.iter().enumerate();
            let each = each.map(|(row, int)| there(row).then_some(*int));
            return whole_unsigned(each.collect(), data_type);
        }
        Values::Floats(floats) => Arc::new(Float32Array::new(floats.clone().into(), nulls())),
        Values::Doubles(floats) => Arc::new(Float64Array::new(floats.clone().into(), nulls())),
        Values::Texts(texts) => {
            let texts = texts.iter().enumerate();
            let texts = texts.map(|(row, text)| there(row).then_some(text));
            cast(&(Arc::new(StringArray::from_iter(texts)) as _), data_type)?
        }
        Values::Blobs(blobs) => {
            let blobs = blobs.iter().enumerate();
            let blobs = blobs.map(|(row, blob)| there(row).then_some(blob));
            cast(&(Arc::new(BinaryArray::from_iter(blobs)) as _), data_type)?
        }
        Values::Vectors { lengths, floats } => {
            let lengths: Vec<usize> = lengths.iter().map(|length| *length as usize).collect();
            if lengths.iter().sum::<usize>() != floats.len() {
                let reason = "has lengths that are not those of its values".to_owned();
                return Err(Misfit::all(reason));
            }
            let items: ArrayRef = Arc::new(Float32Array::from(floats.clone()));
            return list(&lengths, nulls(), items, data_type);
        }
        Values::Json(texts) => {
            let parsed = texts.iter().enumerate().map(|(row, text)| {
                if !there(row) {
                    return Ok(Json::Null);
                }
                serde_json::from_str(text).map_err(|error| Misfit {
                    row: Some(row),
                    reason: format!("is no JSON text: {error}"),
                })
            });
            let parsed: Vec<Json> = parsed.collect::<Result<_, _>>()?;
            column(&parsed.iter().collect::<Vec<_>>(), data_type)?
        }
    })
}

/// JSON values as a column of a type.
fn column(values: &[&Json], data_type: &DataType) -> Column {
    use DataType::*;
    match data_type {
        Boolean => {
            let bools = each(values, data_type, Json::as_bool)?;
            Ok(Arc::new(BooleanArray::from(bools)))
        }
        Float16 | Float32 => {
            let narrow = |value: &Json| {
                let float = value.as_f64()? as f32;
                float.is_finite().then_some(float)
            };
            let floats = each(values, data_type, narrow)?;
            cast(&(Arc::new(Float32Array::from(floats)) as _), data_type)
        }
        Float64 => {
            let floats = each(values, data_type, Json::as_f64)?;
            Ok(Arc::new(Float64Array::from(floats)))
        }
        Utf8 | LargeUtf8 => {
            let texts = each(values, data_type, Json::as_str)?;
            cast(&(Arc::new(StringArray::from(texts)) as _), data_type)
        }
        Binary | LargeBinary => {
            let blobs = each(values, data_type, hexadecimal)?;
            cast(&(Arc::new(BinaryArray::from_iter(blobs)) as _), data_type)
        }
        FixedSizeBinary(width) => {
            let blob = |value: &Json| hexadecimal(value).filter(|it| it.len() == *width as usize);
            let blobs = each(values, data_type, blob)?.into_iter();
            let made = FixedSizeBinaryArray::try_from_sparse_iter_with_size(blobs, *width);
            made.map(|it| Arc::new(it) as _).map_err(refused)
        }
        Date32 | Date64 | Timestamp(..) | Decimal128(..) | Decimal256(..) => {
            exact(values, data_type)
        }
        List(item) | LargeList(item) => lists(values, item, data_type),
        Struct(fields) => {
            let columns = fields.iter().map(|field| part(values, field));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let known = |name: &String| fields.iter().any(|field| field.name() == name);
            each(values, data_type, |value| {
                let object = value.as_object()?;
                object.keys().all(known).then_some(())
            })?;
            let nulls = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
            let made = StructArray::try_new(fields.clone(), columns, Some(nulls));
            made.map(|it| Arc::new(it) as _).map_err(refused)
        }
        signed if signed.is_signed_integer() => {
            whole_signed(each(values, data_type, Json::as_i64)?, data_type)
        }
        unsigned if unsigned.is_unsigned_integer() => {
            whole_unsigned(each(values, data_type, Json::as_u64)?, data_type)
        }
        other => Err(Misfit::all(format!(
            "is {}, which JSON has no text for: put it over gRPC",
            types::type_name(other)
        ))),
    }
}

/// Reads every value that is not null.
fn each<'a, T>(
    values: &[&'a Json],
    data_type: &DataType,
    read: impl Fn(&'a Json) -> Option<T>,
) -> Result<Vec<Option<T>>, Misfit> {
    let read = values.iter().enumerate().map(|(row, value)| match value {
        Json::Null => Ok(None),
        value => read(value)
            .map(Some)
            .ok_or_else(|| misfit(row, &value.to_string(), data_type)),
    });
    read.collect()
}

fn misfit(row: usize, value: &str, data_type: &DataType) -> Misfit {
    const LONGEST: usize = 100;
    let shown: String = value.chars().take(LONGEST).collect();
    let cut = if shown.len() < value.len() { "…" } else { "" };
    Misfit {
        row: Some(row),
        reason: format!("{shown}{cut} is no {}", types::type_name(data_type)),
    }
}

fn refused(error: arrow::error::ArrowError) -> Misfit {
    Misfit::all(error.to_string())
}

fn cast(array: &ArrayRef, data_type: &DataType) -> Column {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, data_type, &strict).map_err(refused)
}

/// Whole numbers as a type that holds such, or counts something since 1970.
fn whole_signed(values: Vec<Option<i64>>, data_type: &DataType) -> Column {
    let unused = 64 - 8 * data_type.primitive_width().unwrap_or(8) as u32;
    let (least, greatest) = (i64::MIN >> unused, i64::MAX >> unused);
    let outside = |value: &Option<i64>| value.is_some_and(|it| it < least || it > greatest);
    if let Some(row) = values.iter().position(outside) {
        let value = values[row].unwrap_or_default();
        return Err(misfit(row, &value.to_string(), data_type));
    }
    let numbers: ArrayRef = Arc::new(Int64Array::from(values));
    match data_type {
        // Arrow knows times of 32 bits as numbers of 32 bits alone.
        DataType::Date32 | DataType::Time32(_) => {
            cast(&cast(&numbers, &DataType::Int32)?, data_type)
        }
        _ => cast(&numbers, data_type),
    }
}

fn whole_unsigned(values: Vec<Option<u64>>, data_type: &DataType) -> Column {
    let unused = 64 - 8 * data_type.primitive_width().unwrap_or(8) as u32;
    let outside = |value: &Option<u64>| value.is_some_and(|it| it > u64::MAX >> unused);
    if let Some(row) = values.iter().position(outside) {
        let value = values[row].unwrap_or_default();
        return Err(misfit(row, &value.to_string(), data_type));
    }
    cast(&(Arc::new(UInt64Array::from(values)) as _), data_type)
}

/// Dates, timestamps and decimals.
fn exact(values: &[&Json], data_type: &DataType) -> Column {
    let mut read = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let literal = match value {
            Json::Null => {
                read.push(None);
                continue;
            }
            Json::String(text) => Some(Literal::Text(text.clone())),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Some(Literal::Integer(whole)),
                None => number.as_f64().map(Literal::Float),
            },
            _ => None,
        };
        let literal = literal.ok_or_else(|| misfit(row, &value.to_string(), data_type))?;
        let number = read_exactly(&literal, data_type).map_err(|reason| Misfit {
            row: Some(row),
            reason,
        })?;
        read.push(Some(number));
    }
    match data_type {
        DataType::Decimal256(precision, scale) => {
            let made = Decimal256Array::from(read).with_precision_and_scale(*precision, *scale);
            made.map(|it| Arc::new(it) as _).map_err(refused)
        }
        DataType::Decimal128(precision, scale) => {
            let numbers = read.into_iter().map(|it| it.map(|it| it.as_i128()));
            let made = numbers.collect::<Decimal128Array>();
            let made = made.with_precision_and_scale(*precision, *scale);
            made.map(|it| Arc::new(it) as _).map_err(refused)
        }
        _ => {
            let numbers = read.into_iter().map(|it| it.map(|it| it.as_i128() as i64));
            whole_signed(numbers.collect(), data_type)
        }
    }
}

/// One field of objects.
fn part(values: &[&Json], field: &FieldRef) -> Column {
    let parts = values.iter().map(|value| value.get(field.name()));
    let parts: Vec<&Json> = parts.map(|part| part.unwrap_or(&Json::Null)).collect();
    let lacking = |row: &usize| parts[*row].is_null() && !values[*row].is_null();
    if let Some(row) = (0..parts.len()).find(|row| !field.is_nullable() && lacking(row)) {
        let reason = format!("has no `{}`, where there must be one", field.name());
        return Err(Misfit {
            row: Some(row),
            reason,
        });
    }
    column(&parts, field.data_type())
}

fn lists(values: &[&Json], item: &FieldRef, data_type: &DataType) -> Column {
    let read = each(values, data_type, Json::as_array)?;
    let lengths: Vec<usize> = read.iter().map(|it| it.map_or(0, Vec::len)).collect();
    let row_of = |item: usize| {
        let mut ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        ends.position(|end| item < end)
    };
    let items: Vec<&Json> = read.iter().flatten().flat_map(|it| it.iter()).collect();
    if let Some(at) = items.iter().position(|it| it.is_null())
        && !item.is_nullable()
    {
        return Err(Misfit {
            row: row_of(at),
            reason: "has a null in it, where there must be none".to_owned(),
        });
    }
    let items = column(&items, item.data_type()).map_err(|misfit| Misfit {
        row: misfit.row.and_then(row_of),
        ..misfit
    })?;
    let nulls = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
    list(&lengths, Some(nulls), items, data_type)
}

fn list(
    lengths: &[usize],
    nulls: Option<NullBuffer>,
    items: ArrayRef,
    data_type: &DataType,
) -> Column {
    let lengths = || lengths.iter().copied();
    match data_type {
        DataType::LargeList(item) => {
            let offsets = OffsetBuffer::from_lengths(lengths());
            let made = LargeListArray::try_new(Arc::clone(item), offsets, items, nulls);
            made.map(|it| Arc::new(it) as _).map_err(refused)
        }
        DataType::List(item) => {
            let offsets = OffsetBuffer::from_lengths(lengths());
            let made = ListArray::try_new(Arc::clone(item), offsets, items, nulls);
            made.map(|it| Arc::new(it) as _).map_err(refused)
        }
        other => Err(Misfit::all(format!(
            "is {}, which cannot be put",
            types::type_name(other)
        ))),
    }
}

fn hexadecimal(value: &Json) -> Option<Vec<u8>> {
    let text = value.as_str().filter(|text| text.len() % 2 == 0)?;
    let digits = |at| {
        let pair = text.get(at..at + 2)?;
        let plain = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(pair, 16).ok().filter(|_| plain)
    };
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
#[path = "given_tests.rs"]
mod tests;
