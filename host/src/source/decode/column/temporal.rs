//! Columns of dates and times.
//!
//! - Timestamps: RFC 3339 strings (see `time`), or integers in the column's unit.
//! - Dates: `"2026-01-31"`. Times of day: `"08:15:30"`, with a fraction or without.
//! - Durations: integers in the column's unit.
//!
//! The same in a cell of a CSV file, without the quotes.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use super::super::origin::code;
use super::number::integer;
use super::plain::PrimitiveColumn;
use super::time::{BadTime, date, time, timestamp};
use super::{Column, Misfit, Written};
use crate::config::types::type_name;

/// The column for a temporal type; `None` for other types.
pub(super) fn column(data_type: &DataType) -> Option<Box<dyn Column>> {
    Some(match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            timestamps::<TimestampSecondType, 1>(data_type, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            timestamps::<TimestampMillisecondType, 1_000>(data_type, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            timestamps::<TimestampMicrosecondType, 1_000_000>(data_type, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            timestamps::<TimestampNanosecondType, 1_000_000_000>(data_type, zone.is_some())
        }
        DataType::Date32 => dates::<Date32Type>(data_type, |days| days),
        DataType::Date64 => dates::<Date64Type>(data_type, |days| i64::from(days) * 86_400_000),
        DataType::Time32(TimeUnit::Second) => {
            times::<Time32SecondType>(data_type, |ns| (ns / 1_000_000_000) as i32)
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            times::<Time32MillisecondType>(data_type, |ns| (ns / 1_000_000) as i32)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            times::<Time64MicrosecondType>(data_type, |ns| ns / 1_000)
        }
        DataType::Time64(TimeUnit::Nanosecond) => times::<Time64NanosecondType>(data_type, |ns| ns),
        DataType::Duration(TimeUnit::Second) => durations::<DurationSecondType>(data_type),
        DataType::Duration(TimeUnit::Millisecond) => {
            durations::<DurationMillisecondType>(data_type)
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            durations::<DurationMicrosecondType>(data_type)
        }
        DataType::Duration(TimeUnit::Nanosecond) => durations::<DurationNanosecondType>(data_type),
        _ => return None,
    })
}

fn timestamps<T: ArrowPrimitiveType<Native = i64>, const PER_SECOND: i64>(
    data_type: &DataType,
    zoned: bool,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |written, data_type| {
            let text = written.string().filter(|_| !written.is_number());
            let Some(text) = text else {
                return units(
                    written,
                    data_type,
                    "an RFC 3339 string or an integer in its unit",
                );
            };
            let instant =
                timestamp(text, zoned).map_err(|bad| bad_timestamp(bad, written, data_type))?;
            instant
                .in_units(PER_SECOND)
                .ok_or_else(|| Misfit::out_of_range(data_type, written))
        },
    ))
}

#[cold]
fn bad_timestamp(bad: BadTime, written: Written<'_>, data_type: &DataType) -> Misfit {
    let expected = format!(
        "{}: an RFC 3339 string such as \"2026-03-01T08:15:30.123Z\"",
        type_name(data_type)
    );
    let misfit = Misfit::bad_value(&expected, written);
    let detail = match bad {
        BadTime::NoOffset => {
            "which has no offset from UTC (`Z` or `+01:00`); a column without time zone takes it"
                .to_owned()
        }
        BadTime::Unreadable(reason) => reason,
    };
    Misfit::new(code::BAD_VALUE, format!("{}: {detail}", misfit.what))
}

#[inline]
fn units(written: Written<'_>, data_type: &DataType, expected: &str) -> Result<i64, Misfit> {
    if !written.is_number() {
        return Err(Misfit::wrong_type(
            &format!("{}: {expected}", type_name(data_type)),
            written,
        ));
    }
    integer(written.text, written.start, written.end)
        .map_err(|loss| Misfit::loss(loss, data_type, written))
}

fn dates<T: ArrowPrimitiveType>(
    data_type: &DataType,
    of_days: impl Fn(i32) -> T::Native + Send + 'static,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |written, data_type| {
            let expected = || format!("{}: a string such as \"2026-01-31\"", type_name(data_type));
            let text = written
                .string()
                .ok_or_else(|| Misfit::wrong_type(&expected(), written))?;
            let days = text.try_into().ok().and_then(date);
            days.map(&of_days)
                .ok_or_else(|| Misfit::bad_value(&expected(), written))
        },
    ))
}

fn times<T: ArrowPrimitiveType>(
    data_type: &DataType,
    of_nanoseconds: impl Fn(i64) -> T::Native + Send + 'static,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |written, data_type| {
            let expected = || {
                format!(
                    "{}: a string such as \"08:15:30.123\"",
                    type_name(data_type)
                )
            };
            let text = written
                .string()
                .ok_or_else(|| Misfit::wrong_type(&expected(), written))?;
            time(text)
                .map(&of_nanoseconds)
                .ok_or_else(|| Misfit::bad_value(&expected(), written))
        },
    ))
}

fn durations<T: ArrowPrimitiveType<Native = i64>>(data_type: &DataType) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        |written, data_type| units(written, data_type, "an integer in its unit"),
    ))
}
