//! Columns of dates and times.
//!
//! - Timestamps: RFC 3339 strings (see `time`), or integers in the column's unit.
//! - Dates: `"2026-01-31"`. Times of day: `"08:15:30"`, with a fraction or without.
//! - Durations: integers in the column's unit.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use super::super::super::origin::code;
use super::super::number::integer;
use super::super::time::{BadTime, date, time, timestamp};
use super::plain::PrimitiveColumn;
use super::{Column, Json, Misfit};

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
        move |json, data_type| {
            let Some(text) = json.between_quotes() else {
                return units(
                    json,
                    data_type,
                    "an RFC 3339 string or an integer in its unit",
                );
            };
            let instant =
                timestamp(text, zoned).map_err(|bad| bad_timestamp(bad, json, data_type))?;
            instant
                .in_units(PER_SECOND)
                .ok_or_else(|| Misfit::out_of_range(data_type, json))
        },
    ))
}

#[cold]
fn bad_timestamp(bad: BadTime, json: Json<'_>, data_type: &DataType) -> Misfit {
    let expected = format!("{data_type}: an RFC 3339 string such as \"2026-03-01T08:15:30.123Z\"");
    let misfit = Misfit::bad_value(&expected, json);
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
fn units(json: Json<'_>, data_type: &DataType, expected: &str) -> Result<i64, Misfit> {
    if !json.is_number() {
        return Err(Misfit::wrong_type(
            &format!("{data_type}: {expected}"),
            json,
        ));
    }
    integer(json.text, json.start, json.end).map_err(|loss| Misfit::loss(loss, data_type, json))
}

fn dates<T: ArrowPrimitiveType>(
    data_type: &DataType,
    of_days: impl Fn(i32) -> T::Native + Send + 'static,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |json, data_type| {
            let expected = || format!("{data_type}: a string such as \"2026-01-31\"");
            let text = json
                .between_quotes()
                .ok_or_else(|| Misfit::wrong_type(&expected(), json))?;
            let days = text.try_into().ok().and_then(date);
            days.map(&of_days)
                .ok_or_else(|| Misfit::bad_value(&expected(), json))
        },
    ))
}

fn times<T: ArrowPrimitiveType>(
    data_type: &DataType,
    of_nanoseconds: impl Fn(i64) -> T::Native + Send + 'static,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |json, data_type| {
            let expected = || format!("{data_type}: a string such as \"08:15:30.123\"");
            let text = json
                .between_quotes()
                .ok_or_else(|| Misfit::wrong_type(&expected(), json))?;
            time(text)
                .map(&of_nanoseconds)
                .ok_or_else(|| Misfit::bad_value(&expected(), json))
        },
    ))
}

fn durations<T: ArrowPrimitiveType<Native = i64>>(data_type: &DataType) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        |json, data_type| units(json, data_type, "an integer in its unit"),
    ))
}
