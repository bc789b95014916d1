//! Whether values of Arrow are all that a text says, since Arrow cuts off what a type has no room for.
//!
//! In: a column of texts, and the column that Arrow made of them. Out: the first text of which
//! something was lost: a fraction of a whole number, digits beyond a decimal's scale or a time's unit,
//! the time of a date. Floats are rounded, as they are everywhere.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;

/// A type with a text in the place of every value of which something may be lost.
pub(super) fn as_texts(data_type: &DataType) -> DataType {
    let inner = |field: &Field| field.clone().with_data_type(as_texts(field.data_type()));
    match data_type {
        DataType::List(item) => DataType::List(inner(item).into()),
        DataType::LargeList(item) => DataType::LargeList(inner(item).into()),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item).into(), *size),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| inner(field)).collect())
        }
        other if kind_of(other).is_some() => DataType::Utf8,
        other => other.clone(),
    }
}

/// The first text that says more than its value; none if there is none. Both columns come from the
/// same rows, the texts by [`as_texts`].
pub(super) fn first_loss(texts: &ArrayRef, values: &ArrayRef) -> Option<String> {
    match values.data_type() {
        DataType::List(_) => first_loss(
            texts.as_list::<i32>().values(),
            values.as_list::<i32>().values(),
        ),
        DataType::LargeList(_) => first_loss(
            texts.as_list::<i64>().values(),
            values.as_list::<i64>().values(),
        ),
        DataType::FixedSizeList(..) => first_loss(
            texts.as_fixed_size_list().values(),
            values.as_fixed_size_list().values(),
        ),
        DataType::Struct(_) => {
            let columns = texts.as_struct().columns().iter();
            let mut columns = columns.zip(values.as_struct().columns());
            columns.find_map(|(texts, values)| first_loss(texts, values))
        }
        other => first_loss_of(kind_of(other)?, texts.as_string::<i32>(), values),
    }
}

/// What a value must not lose.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Number,
    /// A time with so many digits behind the seconds.
    Time(usize),
    Date,
}

fn kind_of(data_type: &DataType) -> Option<Kind> {
    match data_type {
        kind if kind.is_integer() => Some(Kind::Number),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Some(Kind::Number),
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => {
            Some(Kind::Time(match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            }))
        }
        DataType::Date64 => Some(Kind::Time(3)),
        DataType::Date32 => Some(Kind::Date),
        _ => None,
    }
}

fn first_loss_of(kind: Kind, texts: &StringArray, values: &ArrayRef) -> Option<String> {
    let shown = match kind {
        Kind::Number => cast(values, &DataType::Utf8).ok()?,
        Kind::Time(_) | Kind::Date => ArrayRef::clone(values),
    };
    let rows = (0..texts.len()).filter(|row| texts.is_valid(*row) && values.is_valid(*row));
    let mut rows = rows.map(|row| (row, texts.value(row)));
    let found = rows.find(|(row, text)| match kind {
        Kind::Number => plain(text) != plain(shown.as_string::<i32>().value(*row)),
        Kind::Time(digits) => fraction(text) > digits,
        Kind::Date => text.contains(':'),
    });
    found.map(|(_, text)| text.to_owned())
}

/// A number without what does not count in its text.
fn plain(text: &str) -> String {
    let text = text.trim();
    let text = match text.contains(['e', 'E']) {
        true => text
            .parse::<f64>()
            .map_or(text.to_owned(), |n| n.to_string()),
        false => text.to_owned(),
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

/// How many digits of a second count in a time. A bare number is a count of units, whole or not.
fn fraction(text: &str) -> usize {
    let Some((whole, after)) = text.split_once('.') else {
        return 0;
    };
    let digits = after.find(|c: char| !c.is_ascii_digit());
    let digits = after[..digits.unwrap_or(after.len())].trim_end_matches('0');
    match whole.contains(':') || digits.is_empty() {
        true => digits.len(),
        false => usize::MAX,
    }
}

/// A column as another type, with every value as it was; only floats are rounded.
///
/// # Errors
///
/// There is no way from the one type to the other, or a value has no place in it.
pub(super) fn cast_exactly(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let strictly = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let cast_to = cast_with_options(column, to, &strictly)?;
    let loss = match column.data_type() {
        from if from == to || innermost(to).is_floating() => None,
        DataType::Utf8 => first_loss_of_texts(column, &cast_to),
        from => {
            let back = cast_with_options(&cast_to, from, &strictly)?;
            let same = arrow::array::make_comparator(column, &back, Default::default())?;
            let row = (0..column.len()).find(|row| same(*row, *row).is_ne());
            row.map(|row| super::compare::cell_text(&column.slice(row, 1)))
        }
    };
    match loss {
        None => Ok(cast_to),
        Some(value) => Err(ArrowError::CastError(format!("{value} does not fit"))),
    }
}

fn first_loss_of_texts(texts: &ArrayRef, values: &ArrayRef) -> Option<String> {
    let kind = kind_of(values.data_type())?;
    first_loss_of(kind, texts.as_string::<i32>(), values)
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            innermost(item.data_type())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        for (one, other) in [
            ("3", "3.0"),
            ("1e3", "1000"),
            ("-0", "0"),
            ("+7.50", "7.5"),
            ("007", "7"),
        ] {
            assert_eq!(plain(one), plain(other));
        }
        for (one, other) in [("3", "3.9"), ("-3", "3"), ("12", "1.2"), ("0.5", "5")] {
            assert_ne!(plain(one), plain(other));
        }
    }

    #[test]
    fn digits_of_a_second_are_counted_as_far_as_they_count() {
        for (text, digits) in [
            ("2026-01-01T00:00:00Z", 0),
            ("2026-01-01T00:00:00.500Z", 1),
            ("23:59:59.123456+01:00", 6),
            ("17", 0),
            ("17.0", 0),
            ("17.5", usize::MAX),
        ] {
            assert_eq!(fraction(text), digits, "{text}");
        }
    }
}
