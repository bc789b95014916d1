//! What values a feature may have, checked a column at a time.
//!
//! A [`Validation`] is what the pipeline file says. [`Checker::new`] refuses one that makes no sense
//! for the feature's type, and otherwise turns it into typed bounds; [`Checker::failures`] finds the
//! rows of a column that break it. A column without failures costs one pass and one bitmap a rule.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteArray, OffsetSizeTrait,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, ByteArrayType, DataType, Date32Type, Date64Type, Decimal128Type,
    Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};
use arrow::util::display::array_value_to_string;
use serde::{Deserialize, Serialize};

mod allowed;
mod bounds;

use crate::config::types;
use allowed::Allowed;
use bounds::Range;

/// What values a feature may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Validation {
    /// The least value. For integers, floats (of which NaN is in no range), decimals, dates and
    /// timestamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Literal>,
    /// The greatest value; for the same types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Literal>,
    /// Whether there may be nulls, which break no other rule. Yes unless said otherwise.
    #[serde(skip_serializing_if = "is_true")]
    pub nulls: bool,
    /// The only values there may be. For strings, integers and booleans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<Literal>>,
    /// The greatest length: characters (Unicode scalar values) of a string, bytes of a binary, items
    /// of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
}

fn is_true(nulls: &bool) -> bool {
    *nulls
}

impl Default for Validation {
    fn default() -> Self {
        Validation {
            min: None,
            max: None,
            nulls: true,
            allowed: None,
            max_length: None,
        }
    }
}

impl Validation {
    /// Whether every value is fine.
    pub fn is_empty(&self) -> bool {
        *self == Validation::default()
    }
}

/// A value in a declaration. What it means depends on the feature's type: a decimal may be written
/// as a number or, exactly, as text; dates and timestamps are text as in RFC 3339.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// `true`
    Boolean(bool),
    /// `12`
    Integer(i64),
    /// `1.5`; never NaN or infinite.
    Float(f64),
    /// `"gold"`, `"12.50"`, `"2026-01-01T00:00:00Z"`
    Text(String),
}

impl std::fmt::Display for Literal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Literal::Boolean(value) => write!(f, "{value}"),
            Literal::Integer(value) => write!(f, "{value}"),
            Literal::Float(value) => write!(f, "{value:?}"),
            Literal::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// A rule of a [`Validation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `nulls = false`
    Nulls,
    /// `min`
    Min,
    /// `max`
    Max,
    /// NaN where there is a range.
    NotANumber,
    /// `allowed`
    Allowed,
    /// `max_length`
    MaxLength,
}

impl Rule {
    /// A short, stable name of what a row did wrong, by which failures are counted.
    pub fn code(self) -> &'static str {
        match self {
            Rule::Nulls => "null",
            Rule::Min => "below-min",
            Rule::Max => "above-max",
            Rule::NotANumber => "not-a-number",
            Rule::Allowed => "not-allowed",
            Rule::MaxLength => "too-long",
        }
    }
}

/// A rule that makes no sense for the feature's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct SenselessRule {
    /// The rule to point at.
    pub rule: Rule,
    /// Which of the allowed values, if it is about one.
    pub item: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// A column that is not of the type that the checker was made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a column of type {found} was to be validated as {expected}; give the column that the feature was declared for"
)]
pub struct WrongColumnType {
    /// Name of the feature's type.
    pub expected: String,
    /// Name of the column's type.
    pub found: String,
}

/// A row that breaks a rule: the first one broken, in the order of [`Rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The row's number in the column.
    pub row: usize,
    /// The rule it breaks.
    pub rule: Rule,
}

/// The rows of a column that break a rule; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// Each row once, in rising order.
    pub rows: Vec<Failure>,
    length: usize,
}

impl Failures {
    /// One value a row of the column, true where it is valid: a filter's mask.
    pub fn valid(&self) -> BooleanArray {
        let mut failed = self.rows.iter().map(|failure| failure.row).peekable();
        let valid =
            BooleanBuffer::collect_bool(self.length, |row| failed.next_if_eq(&row).is_none());
        BooleanArray::new(valid, None)
    }
}

/// A [`Validation`] made ready for columns of one type.
#[derive(Debug, Clone)]
pub struct Checker {
    data_type: DataType,
    validation: Validation,
    range: Range,
    allowed: Option<Allowed>,
}

impl Checker {
    /// Makes `validation` ready for columns of `data_type`, or says which rules make no sense.
    pub fn new(validation: &Validation, data_type: &DataType) -> Result<Self, Vec<SenselessRule>> {
        let mut senseless = Vec::new();
        let range = Range::new(validation, data_type).unwrap_or_else(|found| {
            senseless.extend(found);
            Range::Any
        });
        let allowed = validation.allowed.as_deref().and_then(|allowed| {
            Allowed::new(allowed, data_type)
                .map_err(|found| senseless.extend(found))
                .ok()
        });
        senseless.extend(length_makes_sense(validation.max_length, data_type).err());
        if senseless.is_empty() {
            Ok(Checker {
                data_type: data_type.clone(),
                validation: validation.clone(),
                range,
                allowed,
            })
        } else {
            Err(senseless)
        }
    }

    /// The rows of `column` that break a rule; `None` if all are fine.
    pub fn failures(&self, column: &ArrayRef) -> Result<Option<Failures>, WrongColumnType> {
        if !types::fits(&self.data_type, column.data_type()) {
            let (expected, found) = (
                types::type_name(&self.data_type),
                types::type_name(column.data_type()),
            );
            return Err(WrongColumnType { expected, found });
        }
        let valid = column.nulls().map(|nulls| nulls.inner());
        let present = |bad: BooleanBuffer| valid.map_or(bad.clone(), |valid| &bad & valid);
        let nulls = valid.filter(|_| !self.validation.nulls).map(|valid| !valid);
        let range = self.outside_range(column).map(present);
        let unlisted = self
            .allowed
            .as_ref()
            .map(|allowed| allowed.others(column))
            .map(present);
        let long = self
            .validation
            .max_length
            .map(|most| longer_than(column, most))
            .map(present);
        let any = [&nulls, &range, &unlisted, &long]
            .into_iter()
            .flatten()
            .fold(None, |any: Option<BooleanBuffer>, bad| {
                Some(any.map_or(bad.clone(), |any| &any | bad))
            });
        let Some(any) = any.filter(|any| any.count_set_bits() > 0) else {
            return Ok(None);
        };
        let breaks =
            |bad: &Option<BooleanBuffer>, row| bad.as_ref().is_some_and(|bad| bad.value(row));
        let rule = |row| match () {
            () if breaks(&nulls, row) => Rule::Nulls,
            () if breaks(&range, row) => self.range.broken_rule(column, row),
            () if breaks(&unlisted, row) => Rule::Allowed,
            () => Rule::MaxLength,
        };
        let rows = any
            .set_indices()
            .map(|row| Failure {
                row,
                rule: rule(row),
            })
            .collect();
        Ok(Some(Failures {
            rows,
            length: column.len(),
        }))
    }

    /// A failure in words, with the value: for the rejects output and the log.
    pub fn describe(&self, column: &ArrayRef, failure: Failure) -> String {
        const LONGEST: usize = 100;
        let bound =
            |literal: &Option<Literal>| literal.as_ref().map_or(String::new(), Literal::to_string);
        let value = display(&column.slice(failure.row, 1));
        let value: String = match value.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value,
        };
        match failure.rule {
            Rule::Nulls => "null, where nulls are not allowed".to_owned(),
            Rule::Min => format!(
                "{value} is below the minimum of {}",
                bound(&self.validation.min)
            ),
            Rule::Max => format!(
                "{value} is above the maximum of {}",
                bound(&self.validation.max)
            ),
            Rule::NotANumber => "NaN, where a range is given".to_owned(),
            Rule::Allowed => format!("{value} is not one of the allowed values"),
            Rule::MaxLength => {
                format!(
                    "{value} is longer than {}",
                    self.validation.max_length.unwrap_or_default()
                )
            }
        }
    }

    fn outside_range(&self, column: &ArrayRef) -> Option<BooleanBuffer> {
        use DataType::*;
        Some(match &self.range {
            Range::Any => return None,
            Range::Whole { min, max } => match column.data_type() {
                Int8 => outside::<Int8Type>(column, narrow(*min), narrow(*max)),
                Int16 => outside::<Int16Type>(column, narrow(*min), narrow(*max)),
                Int32 => outside::<Int32Type>(column, narrow(*min), narrow(*max)),
                Int64 => outside::<Int64Type>(column, narrow(*min), narrow(*max)),
                UInt8 => outside::<UInt8Type>(column, narrow(*min), narrow(*max)),
                UInt16 => outside::<UInt16Type>(column, narrow(*min), narrow(*max)),
                UInt32 => outside::<UInt32Type>(column, narrow(*min), narrow(*max)),
                UInt64 => outside::<UInt64Type>(column, narrow(*min), narrow(*max)),
                Date32 => outside::<Date32Type>(column, narrow(*min), narrow(*max)),
                Date64 => outside::<Date64Type>(column, narrow(*min), narrow(*max)),
                Timestamp(TimeUnit::Second, _) => {
                    outside::<TimestampSecondType>(column, narrow(*min), narrow(*max))
                }
                Timestamp(TimeUnit::Millisecond, _) => {
                    outside::<TimestampMillisecondType>(column, narrow(*min), narrow(*max))
                }
                Timestamp(TimeUnit::Microsecond, _) => {
                    outside::<TimestampMicrosecondType>(column, narrow(*min), narrow(*max))
                }
                Timestamp(TimeUnit::Nanosecond, _) => {
                    outside::<TimestampNanosecondType>(column, narrow(*min), narrow(*max))
                }
                _ => outside::<Decimal128Type>(column, *min, *max),
            },
            Range::Wide { min, max } => outside::<Decimal256Type>(column, *min, *max),
            Range::Float32 { min, max } => outside::<Float32Type>(&floats(column), *min, *max),
            Range::Float64 { min, max } => outside::<Float64Type>(column, *min, *max),
        })
    }
}

/// Reads a date, a timestamp or a decimal as declarations write it, exactly: in the unit of the type, and without the point.
///
/// # Errors
///
/// What is wrong with it, and what to write.
pub fn read_exactly(literal: &Literal, data_type: &DataType) -> Result<i256, String> {
    let read = match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            bounds::decimal(literal, *precision, *scale)
        }
        _ => bounds::exact_moment(literal, data_type).map(|moment| i256::from_i128(moment.into())),
    };
    read.map_err(|(message, hint)| format!("{message}; {hint}"))
}

/// Bounds were checked to be values of the type, so that nothing is cut off.
fn narrow<N: TryFrom<i128>>(bound: Option<i128>) -> Option<N> {
    bound.and_then(|bound| N::try_from(bound).ok())
}

/// A column's only value in words.
fn display(one: &ArrayRef) -> String {
    // Arrow knows no zones by name here, not even UTC: instants are shown in UTC by its offset.
    let one = match one.data_type() {
        DataType::Timestamp(unit, Some(_)) => match unit {
            TimeUnit::Second => in_utc::<TimestampSecondType>(one),
            TimeUnit::Millisecond => in_utc::<TimestampMillisecondType>(one),
            TimeUnit::Microsecond => in_utc::<TimestampMicrosecondType>(one),
            TimeUnit::Nanosecond => in_utc::<TimestampNanosecondType>(one),
        },
        _ => ArrayRef::clone(one),
    };
    array_value_to_string(&one, 0).unwrap_or_else(|_| "the value".to_owned())
}

fn in_utc<T: ArrowTimestampType>(moments: &ArrayRef) -> ArrayRef {
    Arc::new(moments.as_primitive::<T>().clone().with_timezone("+00:00"))
}

/// Half floats as single ones, which hold every half float; other columns as they are.
fn floats(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float16 => cast(column, &DataType::Float32).expect("every half float is a float"),
        _ => ArrayRef::clone(column),
    }
}

/// Rows outside the range, also where the row is null. NaN compares with nothing and is outside.
fn outside<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    min: Option<T::Native>,
    max: Option<T::Native>,
) -> BooleanBuffer {
    let values = column.as_primitive::<T>().values();
    let rows = values.len();
    let at_least = |value: T::Native, min: T::Native| value >= min;
    let at_most = |value: T::Native, max: T::Native| value <= max;
    match (min, max) {
        (Some(min), Some(max)) => BooleanBuffer::collect_bool(rows, |row| {
            !(at_least(values[row], min) & at_most(values[row], max))
        }),
        (Some(min), None) => BooleanBuffer::collect_bool(rows, |row| !at_least(values[row], min)),
        (None, Some(max)) => BooleanBuffer::collect_bool(rows, |row| !at_most(values[row], max)),
        (None, None) => BooleanBuffer::new_unset(rows),
    }
}

fn length_makes_sense(max_length: Option<u64>, data_type: &DataType) -> Result<(), SenselessRule> {
    use DataType::*;
    let measurable = matches!(
        data_type,
        Utf8 | LargeUtf8 | Binary | LargeBinary | List(_) | LargeList(_)
    );
    if max_length.is_none() || measurable {
        return Ok(());
    }
    Err(SenselessRule {
        rule: Rule::MaxLength,
        item: None,
        message: format!(
            "type {} has no length to limit",
            types::type_name(data_type)
        ),
        hint: "`max_length` is for strings, binaries and lists: leave it out".to_owned(),
    })
}

fn longer_than(column: &ArrayRef, most: u64) -> BooleanBuffer {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match column.data_type() {
        DataType::Utf8 => long_texts(column.as_string::<i32>(), most),
        DataType::LargeUtf8 => long_texts(column.as_string::<i64>(), most),
        DataType::Binary => long_items(column.as_binary::<i32>().value_offsets(), most),
        DataType::LargeBinary => long_items(column.as_binary::<i64>().value_offsets(), most),
        DataType::List(_) => long_items(column.as_list::<i32>().value_offsets(), most),
        _ => long_items(column.as_list::<i64>().value_offsets(), most),
    }
}

fn long_items<O: OffsetSizeTrait>(offsets: &[O], most: usize) -> BooleanBuffer {
    BooleanBuffer::collect_bool(offsets.len() - 1, |row| {
        (offsets[row + 1] - offsets[row]).as_usize() > most
    })
}

/// A string has at most as many characters as bytes, so that only long ones are counted.
fn long_texts<T: ByteArrayType<Native = str>>(
    texts: &GenericByteArray<T>,
    most: usize,
) -> BooleanBuffer {
    BooleanBuffer::collect_bool(texts.len(), |row| {
        let text: &str = texts.value(row);
        text.len() > most && text.chars().nth(most).is_some()
    })
}

#[cfg(test)]
#[path = "validation/tests.rs"]
mod tests;
