//! The range of a validation as bounds of the feature's type.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, i256};
use jiff::civil::{Date, DateTime};

use super::{Literal, Rule, SenselessRule, Validation, floats};
use crate::config::types;

/// `min` and `max`, both inclusive, in the unit of the column's own values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Range {
    /// No range.
    Any,
    /// Integers, dates, timestamps and decimals of 128 bits (unscaled).
    Whole {
        min: Option<i128>,
        max: Option<i128>,
    },
    /// Decimals of 256 bits, unscaled.
    Wide {
        min: Option<i256>,
        max: Option<i256>,
    },
    /// Floats of 32 bits, and of 16.
    Float32 { min: Option<f32>, max: Option<f32> },
    /// Floats of 64 bits.
    Float64 { min: Option<f64>, max: Option<f64> },
}

impl Range {
    /// Reads the bounds as values of `data_type`. A bound between two values of the type counts as
    /// the nearest float, or as the value just inside the range.
    pub(super) fn new(
        validation: &Validation,
        data_type: &DataType,
    ) -> Result<Self, Vec<SenselessRule>> {
        if validation.min.is_none() && validation.max.is_none() {
            return Ok(Range::Any);
        }
        match data_type {
            DataType::Float64 => {
                let (min, max) = both(validation, |literal, _| float(literal))?;
                Ok(Range::Float64 { min, max })
            }
            DataType::Float32 => {
                let (min, max) = both(validation, |literal, _| {
                    float(literal).map(|bound| bound as f32)
                })?;
                Ok(Range::Float32 { min, max })
            }
            DataType::Float16 => {
                let (min, max) = both(validation, |literal, _| float(literal).map(nearest_half))?;
                Ok(Range::Float32 { min, max })
            }
            DataType::Decimal256(precision, scale) => {
                let (min, max) = both(validation, |literal, _| {
                    decimal(literal, *precision, *scale)
                })?;
                Ok(Range::Wide { min, max })
            }
            DataType::Decimal128(precision, scale) => {
                let unscaled =
                    |literal: &Literal, _| decimal(literal, *precision, *scale).map(i256::as_i128);
                let (min, max) = both(validation, unscaled)?;
                Ok(Range::Whole { min, max })
            }
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                let (min, max) =
                    both(validation, |literal, rule| moment(literal, rule, data_type))?;
                Ok(Range::Whole { min, max })
            }
            integer if integer.is_integer() => {
                let (min, max) = both(validation, |literal, _| whole(literal, integer))?;
                Ok(Range::Whole { min, max })
            }
            other => {
                let senseless = |rule| {
                    SenselessRule {
                    rule,
                    item: None,
                    message: format!("type {} has no range to keep to", types::type_name(other)),
                    hint: "`min` and `max` are for integers, floats, decimals, dates and timestamps: leave them out".to_owned(),
                }
                };
                let given = [(Rule::Min, &validation.min), (Rule::Max, &validation.max)];
                Err(given
                    .into_iter()
                    .filter(|(_, bound)| bound.is_some())
                    .map(|(rule, _)| senseless(rule))
                    .collect())
            }
        }
    }

    /// Which bound the value of `row`, known to be outside, is beyond.
    pub(super) fn broken_rule(&self, column: &ArrayRef, row: usize) -> Rule {
        let below = match self {
            Range::Any => false,
            Range::Float32 { min, .. } => {
                let value = floats(&column.slice(row, 1))
                    .as_primitive::<arrow::datatypes::Float32Type>()
                    .value(0);
                if value.is_nan() {
                    return Rule::NotANumber;
                }
                min.is_some_and(|min| value < min)
            }
            Range::Float64 { min, .. } => {
                let value = column.as_primitive::<Float64Type>().value(row);
                if value.is_nan() {
                    return Rule::NotANumber;
                }
                min.is_some_and(|min| value < min)
            }
            // Outside of an ordered range: not above the maximum means below the minimum.
            Range::Whole { max: None, .. } | Range::Wide { max: None, .. } => true,
            Range::Whole { min, .. } => {
                let value = whole_value(column, row);
                min.is_some_and(|min| value.is_some_and(|value| value < min))
            }
            Range::Wide { min, .. } => {
                let value = column
                    .as_primitive::<arrow::datatypes::Decimal256Type>()
                    .value(row);
                min.is_some_and(|min| value < min)
            }
        };
        if below { Rule::Min } else { Rule::Max }
    }
}

/// The least and the greatest value of an integer type.
pub(super) fn limits(integer: &DataType) -> (i128, i128) {
    match integer {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        _ => (0, u64::MAX.into()),
    }
}

/// The value of one row of whole numbers, in the column's own unit.
fn whole_value(column: &ArrayRef, row: usize) -> Option<i128> {
    let one = column.slice(row, 1);
    match column.data_type() {
        DataType::Decimal128(..) => Some(
            one.as_primitive::<arrow::datatypes::Decimal128Type>()
                .value(0),
        ),
        DataType::UInt64 => Some(
            one.as_primitive::<arrow::datatypes::UInt64Type>()
                .value(0)
                .into(),
        ),
        // An i64 holds all of the other types, and casting to it keeps a time's own unit.
        _ => {
            let days = matches!(column.data_type(), DataType::Date32)
                .then(|| cast(&one, &DataType::Int32).ok());
            let one = days.flatten().unwrap_or(one);
            let value = cast(&one, &DataType::Int64).ok()?;
            (!value.is_null(0)).then(|| {
                value
                    .as_primitive::<arrow::datatypes::Int64Type>()
                    .value(0)
                    .into()
            })
        }
    }
}

/// What is wrong with a bound, and what to write.
pub(super) type Refusal = (String, String);

type Bounds<T> = (Option<T>, Option<T>);

fn both<T: PartialOrd>(
    validation: &Validation,
    read: impl Fn(&Literal, Rule) -> Result<T, Refusal>,
) -> Result<Bounds<T>, Vec<SenselessRule>> {
    let senseless = |rule, (message, hint)| SenselessRule {
        rule,
        item: None,
        message,
        hint,
    };
    let one = |literal: &Option<Literal>, rule| {
        literal
            .as_ref()
            .map(|literal| read(literal, rule).map_err(|refusal| senseless(rule, refusal)))
            .transpose()
    };
    match (
        one(&validation.min, Rule::Min),
        one(&validation.max, Rule::Max),
    ) {
        (Ok(min), Ok(max)) => {
            if let (Some(least), Some(greatest)) = (&min, &max)
                && least > greatest
            {
                let refusal = (
                    "the minimum is greater than the maximum".to_owned(),
                    "no value could be valid: swap `min` and `max`".to_owned(),
                );
                return Err(vec![senseless(Rule::Min, refusal)]);
            }
            Ok((min, max))
        }
        (min, max) => Err([min.err(), max.err()].into_iter().flatten().collect()),
    }
}

fn float(literal: &Literal) -> Result<f64, Refusal> {
    match literal {
        Literal::Float(bound) if bound.is_finite() => Ok(*bound),
        Literal::Integer(bound) => Ok(*bound as f64),
        other => Err((
            format!("{other} is not a finite number"),
            "write a number such as `0.5`".to_owned(),
        )),
    }
}

/// The nearest half float, as a single one.
fn nearest_half(bound: f64) -> f32 {
    let single = Float32Array::from(vec![bound as f32]);
    let half = cast(&single, &DataType::Float16).and_then(|half| cast(&half, &DataType::Float32));
    half.map_or(bound as f32, |half| {
        half.as_primitive::<arrow::datatypes::Float32Type>()
            .value(0)
    })
}

fn whole(literal: &Literal, integer: &DataType) -> Result<i128, Refusal> {
    let (least, greatest) = limits(integer);
    let name = types::type_name(integer);
    match literal {
        Literal::Integer(bound) if (least..=greatest).contains(&i128::from(*bound)) => {
            Ok((*bound).into())
        }
        Literal::Integer(bound) => Err((
            format!("{bound} is not a value of type {name}"),
            format!("{name} goes from {least} to {greatest}"),
        )),
        other => Err((
            format!("{other} is not a value of type {name}"),
            "write a whole number".to_owned(),
        )),
    }
}

/// The unscaled value of a decimal literal, exactly.
pub(super) fn decimal(literal: &Literal, precision: u8, scale: i8) -> Result<i256, Refusal> {
    let text = match literal {
        Literal::Integer(bound) => bound.to_string(),
        // The shortest text that reads back as this float is what was written in the file.
        Literal::Float(bound) => format!("{bound}"),
        Literal::Text(bound) => bound.trim().to_owned(),
        Literal::Boolean(bound) => bound.to_string(),
    };
    let hint = || {
        format!(
            "write a number of at most {precision} digits, {} of them after the point; in quotes if it is long",
            scale.max(0)
        )
    };
    let refuse = |why: &str| (format!("{literal} {why}"), hint());
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if before.is_empty() || !all_digits(before) || !all_digits(after) {
        return Err(refuse("is not a decimal number"));
    }
    let mut unscaled = format!("{before}{}", after.trim_end_matches('0'));
    let missing = isize::from(scale) - after.trim_end_matches('0').len() as isize;
    if missing >= 0 {
        unscaled.extend(std::iter::repeat_n('0', missing.unsigned_abs()));
    } else {
        let kept = unscaled.len().saturating_sub(missing.unsigned_abs());
        if !unscaled[kept..].bytes().all(|b| b == b'0') {
            return Err(refuse("has more digits after the point than the type"));
        }
        unscaled.truncate(kept);
    }
    let significant = unscaled.trim_start_matches('0');
    if significant.len() > usize::from(precision) {
        return Err(refuse("has more digits than the type"));
    }
    let significant = if significant.is_empty() {
        "0"
    } else {
        significant
    };
    i256::from_string(&format!("{sign}{significant}"))
        .ok_or_else(|| refuse("is not a decimal number"))
}

/// A date or timestamp in the unit of `data_type`, which must be one of its values.
pub(super) fn exact_moment(literal: &Literal, data_type: &DataType) -> Result<i64, Refusal> {
    let below = moment(literal, Rule::Max, data_type)?;
    let above = moment(literal, Rule::Min, data_type)?;
    let exact = i64::try_from(below).ok().filter(|_| below == above);
    exact.ok_or_else(|| {
        let name = types::type_name(data_type);
        let message = format!("{literal} lies between two values of type {name}");
        (message, "round it, or choose a finer type".to_owned())
    })
}

/// A date or timestamp in the unit of `data_type`. What lies between two values of the type counts
/// as the one inside the range.
fn moment(literal: &Literal, rule: Rule, data_type: &DataType) -> Result<i128, Refusal> {
    const DAY: i128 = 86_400 * 1_000_000_000;
    let (nanos, unit): (Option<i128>, i128) = match (literal, data_type) {
        (Literal::Text(text), DataType::Date32 | DataType::Date64) => {
            let unit = if *data_type == DataType::Date32 {
                DAY
            } else {
                1_000_000
            };
            (
                text.parse::<Date>()
                    .ok()
                    .and_then(|date| since_1970(date.to_datetime(jiff::civil::Time::midnight()))),
                unit,
            )
        }
        (Literal::Text(text), DataType::Timestamp(unit, zone)) => {
            let nanos = match zone {
                Some(_) => text
                    .parse::<jiff::Timestamp>()
                    .ok()
                    .map(jiff::Timestamp::as_nanosecond),
                None if has_offset(text) => None,
                None => text.parse::<DateTime>().ok().and_then(since_1970),
            };
            (nanos, nanos_of(unit))
        }
        _ => (None, 1),
    };
    let example = match data_type {
        DataType::Date32 | DataType::Date64 => "2026-01-31",
        DataType::Timestamp(_, None) => "2026-01-31T12:00:00",
        _ => "2026-01-31T12:00:00Z",
    };
    let Some(nanos) = nanos else {
        let message = format!(
            "{literal} is not a value of type {}",
            types::type_name(data_type)
        );
        return Err((message, format!("write it as in {example}")));
    };
    let rounded = match rule {
        Rule::Min => -(-nanos).div_euclid(unit),
        _ => nanos.div_euclid(unit),
    };
    if i64::try_from(rounded).is_err() {
        let message = format!(
            "{literal} is outside of what {} can hold",
            types::type_name(data_type)
        );
        return Err((message, "leave it out, or choose a coarser unit".to_owned()));
    }
    Ok(rounded)
}

/// A date and time without a zone, as nanoseconds since 1970-01-01T00:00:00 without a zone.
fn since_1970(moment: DateTime) -> Option<i128> {
    let zoned = moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_nanosecond())
}

/// Whether the text says how far it is from UTC, which a type without a zone has no place for.
fn has_offset(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

fn nanos_of(unit: &TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}
