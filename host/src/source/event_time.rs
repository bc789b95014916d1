//! Event times: timestamps of any unit, and dates, as microseconds.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

/// 0001-01-01T00:00:00Z and 9800-01-01T00:00:00Z, in microseconds. Event times outside are refused:
/// the bounds of their windows would have no text, and are mostly times of another unit.
const FIRST: i64 = -62_135_596_800_000_000;
const AFTER_LAST: i64 = 247_090_953_600_000_000;

/// A column that cannot be an event time.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "column `{column}` has type {data_type}, and an event time is a timestamp or a date; declare it in the event's `schema`, for example `{column} = \"timestamp[ms, UTC]\"`"
)]
pub struct EventTimeFault {
    /// The column.
    pub column: String,
    /// Its type.
    pub data_type: DataType,
}

/// Whether a type can be an event time.
pub fn is_event_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    )
}

/// The event times of a column.
#[derive(Debug, Clone)]
pub struct EventTimes {
    /// In microseconds; meaningless where not valid.
    pub micros: ScalarBuffer<i64>,
    /// Which rows have one; none if all do.
    pub valid: Option<NullBuffer>,
}

/// Code and detail of the reject of a row of column `column`, `array`, that is not valid.
pub fn why_invalid(column: &str, array: &ArrayRef, row: usize) -> (&'static str, String) {
    if array.is_null(row) {
        return ("null_event_time", format!("`{column}` is null"));
    }
    (
        "event_time_out_of_range",
        format!("`{column}` is outside the years 1 to 9799; is its unit right?"),
    )
}

/// Reads a column as event times. Finer units are rounded down, so that no event moves across the
/// start of a window.
///
/// Rows that are null or outside the years 1 to 9799 are not valid.
///
/// # Errors
///
/// The column is of another type.
pub fn read(column: &str, array: &ArrayRef) -> Result<EventTimes, EventTimeFault> {
    let second = 1_000_000;
    let day = 86_400 * second;
    let micros = match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .clone(),
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(array.as_primitive::<TimestampSecondType>().values(), second)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => scaled(
            array.as_primitive::<TimestampMillisecondType>().values(),
            1000,
        ),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = array.as_primitive::<TimestampNanosecondType>().values();
            values.iter().map(|value| value.div_euclid(1000)).collect()
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().values();
            days.iter()
                .map(|days| i64::from(*days).saturating_mul(day))
                .collect()
        }
        DataType::Date64 => scaled(array.as_primitive::<Date64Type>().values(), 1000),
        other => {
            return Err(EventTimeFault {
                column: column.into(),
                data_type: other.clone(),
            });
        }
    };
    let in_range = |time: &i64| (FIRST..AFTER_LAST).contains(time);
    // One pass that the compiler can vectorise; the rows are looked at one by one only if it says no.
    let all_in_range = micros.iter().fold(true, |all, time| all & in_range(time));
    let mut valid = array
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
        .cloned();
    if !all_in_range {
        let near: NullBuffer = micros.iter().map(in_range).collect::<Vec<_>>().into();
        valid = NullBuffer::union(valid.as_ref(), Some(&near));
    }
    Ok(EventTimes { micros, valid })
}

/// Times beyond 64 bits saturate, and are then out of range.
fn scaled(values: &[i64], factor: i64) -> ScalarBuffer<i64> {
    values
        .iter()
        .map(|value| value.saturating_mul(factor))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    fn times(array: ArrayRef) -> Vec<Option<i64>> {
        let times = read("at", &array).expect("it is a time");
        let valid = |row| times.valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        let micros = times.micros.iter().enumerate();
        micros
            .map(|(row, time)| valid(row).then_some(*time))
            .collect()
    }

    #[test]
    fn finer_units_are_rounded_down_and_far_times_refused() {
        let nanos = TimestampNanosecondArray::from(vec![Some(1999), Some(-1), None]);
        assert_eq!(times(Arc::new(nanos)), [Some(1), Some(-1), None]);
        let seconds = TimestampSecondArray::from(vec![i64::MAX, i64::MIN, 7]);
        assert_eq!(times(Arc::new(seconds)), [None, None, Some(7_000_000)]);
        let days = Date32Array::from(vec![i32::MAX, i32::MIN, 1]);
        assert_eq!(times(Arc::new(days)), [None, None, Some(86_400_000_000)]);
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_to_do() {
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
        let Err(fault) = read("at", &numbers) else {
            panic!("an integer has no unit");
        };
        assert!(fault.to_string().contains("timestamp[ms, UTC]"), "{fault}");
    }
}
