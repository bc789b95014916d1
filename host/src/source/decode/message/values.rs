//! Columns under construction that the binary formats fill: what they read has a type already, and here it becomes
//! that of the column, exactly or not at all.
//!
//! As with the columns of text (`column`), a record that turns out to be none may leave its beginning behind; the
//! reader then truncates to the rows that are complete.

mod finish;
mod kind;

use std::fmt;

use arrow::array::{ArrayRef, NullBufferBuilder};
use arrow::datatypes::{DataType, Field, Fields, i256};

use self::kind::{Kind, Role};
use super::super::column::{BadTime, Loss, Misfit, date, scaled, time_of_day, timestamp};
use super::super::origin::code;
use super::super::scan::skip_number;

/// A column under construction.
pub(super) struct Values {
    data_type: DataType,
    kind: Kind,
    nulls: NullBufferBuilder,
}

/// What a format says that a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Boolean,
    /// A number without a unit.
    Integer,
    Float,
    /// Characters, not checked to be any.
    Text,
    Bytes,
    /// So many bytes, always.
    Fixed(usize),
    Decimal,
    /// Days since 1970-01-01.
    Date,
    /// Since midnight.
    TimeOfDay,
    /// A point in time, or, if it is local, a time that is one only together with a place.
    Instant {
        local: bool,
    },
    Span,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("a boolean"),
            Self::Integer => f.write_str("an integer"),
            Self::Float => f.write_str("a floating-point number"),
            Self::Text => f.write_str("a text"),
            Self::Bytes => f.write_str("bytes"),
            Self::Fixed(size) => write!(f, "{size} bytes"),
            Self::Decimal => f.write_str("a decimal"),
            Self::Date => f.write_str("a date"),
            Self::TimeOfDay => f.write_str("a time of day"),
            Self::Instant { local: false } => f.write_str("a point in time"),
            Self::Instant { local: true } => f.write_str("a local time"),
            Self::Span => f.write_str("a duration"),
        }
    }
}

/// Whether values of a source can become those of a type; each of them may still be refused.
pub(super) fn takes(data_type: &DataType, source: Source) -> bool {
    use DataType as T;
    match source {
        Source::Boolean => matches!(data_type, T::Boolean),
        Source::Integer => {
            data_type.is_integer()
                || data_type.is_floating()
                || matches!(data_type, T::Timestamp(..) | T::Duration(_))
        }
        Source::Float => data_type.is_floating(),
        Source::Text => {
            matches!(
                data_type,
                T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary
            ) || data_type.is_temporal() && !matches!(data_type, T::Duration(_) | T::Interval(_))
                || data_type.is_decimal()
        }
        Source::Bytes => matches!(
            data_type,
            T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary
        ),
        Source::Fixed(size) => match data_type {
            T::FixedSizeBinary(wanted) => usize::try_from(*wanted) == Ok(size),
            other => matches!(other, T::Binary | T::LargeBinary),
        },
        Source::Decimal => data_type.is_decimal(),
        Source::Date => matches!(data_type, T::Date32 | T::Date64),
        Source::TimeOfDay => matches!(data_type, T::Time32(_) | T::Time64(_)),
        // Which point in time a local time is, only its writer knows.
        Source::Instant { local } => {
            matches!(data_type, T::Timestamp(_, zone) if !local || zone.is_none())
        }
        Source::Span => matches!(data_type, T::Duration(_)),
    }
}

/// A type that has no column here, and where it stands inside its column.
#[derive(Debug)]
pub(super) struct Unsupported {
    pub(super) path: String,
    pub(super) data_type: DataType,
}

impl Values {
    /// An empty column of this type; `depth` is how deep it lies in others.
    pub(super) fn new(data_type: &DataType, depth: u32) -> Result<Self, Unsupported> {
        Ok(Self {
            kind: Kind::new(data_type, depth)?,
            data_type: data_type.clone(),
            nulls: NullBufferBuilder::new(0),
        })
    }

    /// The columns of a record.
    pub(super) fn record(fields: &Fields) -> Result<Self, Unsupported> {
        Self::new(&DataType::Struct(fields.clone()), 0)
    }

    /// The columns inside it; none if it is no struct.
    #[inline]
    pub(super) fn children(&mut self) -> &mut [Self] {
        match &mut self.kind {
            Kind::Struct { children, .. } => children,
            _ => &mut [],
        }
    }

    /// The column of the elements of a list. Of another column there is none.
    #[inline]
    pub(super) fn elements(&mut self) -> Option<&mut Self> {
        match &mut self.kind {
            Kind::List { values, .. } => Some(values),
            _ => None,
        }
    }

    /// Ends a row of a struct, whose children have one row more already.
    #[inline]
    pub(super) fn end_struct(&mut self) {
        self.nulls.append_non_null();
    }

    /// Ends a row of a list, to whose elements `count` were added.
    #[inline]
    pub(super) fn end_list(&mut self, count: usize) -> Result<(), Misfit> {
        if let Kind::List { offsets, .. } = &mut self.kind {
            kind::push_offset(offsets, count)?;
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a null, or says that there may be none; `found` is what stands there instead of a value.
    #[inline]
    pub(super) fn push_null_for(&mut self, nullable: bool, found: &str) -> Result<(), Misfit> {
        if !nullable {
            return Err(Misfit::missing(found));
        }
        self.push_null();
        Ok(())
    }

    /// Appends a null.
    pub(super) fn push_null(&mut self) {
        self.kind.push_empty();
        self.nulls.append_null();
    }

    pub(super) fn push_boolean(&mut self, value: bool) -> Result<(), Misfit> {
        let Kind::Boolean(values) = &mut self.kind else {
            return Err(self.unlike(Source::Boolean));
        };
        values.append(value);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a number without a unit: it is in that of the column.
    #[inline]
    pub(super) fn push_integer(&mut self, value: i64) -> Result<(), Misfit> {
        match &mut self.kind {
            Kind::Integer {
                values,
                range,
                role: Role::Number | Role::Timestamp { .. } | Role::Duration { .. },
            } if range.contains(&value) => values.push(value),
            Kind::Integer {
                role: Role::Number | Role::Timestamp { .. } | Role::Duration { .. },
                ..
            } => return Err(self.out_of_range(value)),
            Kind::Float { values, narrow } => values.push(narrow.integer(value)),
            _ => return Err(self.unlike(Source::Integer)),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// As [`Values::push_integer`], for numbers beyond those of an `i64`.
    pub(super) fn push_unsigned(&mut self, value: u64) -> Result<(), Misfit> {
        if let Ok(value) = i64::try_from(value) {
            return self.push_integer(value);
        }
        match &mut self.kind {
            // Kept by its bits.
            Kind::Integer { values, .. } if self.data_type == DataType::UInt64 => {
                values.push(value.cast_signed());
            }
            Kind::Float { values, narrow } => values.push(narrow.unsigned(value)),
            Kind::Integer { .. } => return Err(self.out_of_range(value)),
            _ => return Err(self.unlike(Source::Integer)),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline]
    pub(super) fn push_float(&mut self, value: f64) -> Result<(), Misfit> {
        let Kind::Float { values, narrow } = &mut self.kind else {
            return Err(self.unlike(Source::Float));
        };
        let narrowed = narrow.float(value);
        if narrowed.is_infinite() && value.is_finite() {
            return Err(self.out_of_range(value));
        }
        values.push(narrowed);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends characters, or bytes; in a column of texts they must be UTF-8, in one of times or decimals the text of one.
    #[inline]
    pub(super) fn push_text(&mut self, text: &[u8]) -> Result<(), Misfit> {
        match &self.kind {
            Kind::Bytes { .. } => self.push_bytes(text),
            Kind::Integer { .. } | Kind::Decimal { .. } => self.push_written(text),
            _ => Err(self.unlike(Source::Text)),
        }
    }

    /// Appends bytes. In a column of texts they must be UTF-8.
    #[inline]
    pub(super) fn push_bytes(&mut self, value: &[u8]) -> Result<(), Misfit> {
        match &mut self.kind {
            Kind::Bytes {
                offsets,
                bytes,
                utf8,
            } => {
                if *utf8 && let Err(error) = simdutf8::compat::from_utf8(value) {
                    return Err(Misfit::new(
                        code::INVALID_UTF8,
                        format!(
                            "expected a text, found bytes that are not UTF-8 from byte {} of them on",
                            error.valid_up_to() + 1
                        ),
                    ));
                }
                kind::push_offset(offsets, value.len())?;
                bytes.extend_from_slice(value);
            }
            Kind::Fixed { size, bytes } if *size == value.len() => bytes.extend_from_slice(value),
            _ => return Err(self.unlike(Source::Bytes)),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends `unscaled` times 10 to the power of minus `scale`.
    pub(super) fn push_decimal(&mut self, unscaled: i256, scale: i8) -> Result<(), Misfit> {
        let Kind::Decimal {
            values,
            scale: wanted,
            limit,
        } = &mut self.kind
        else {
            return Err(self.unlike(Source::Decimal));
        };
        let rescaled = kind::rescale(unscaled, i16::from(*wanted) - i16::from(scale));
        let fitting = rescaled.filter(|value| value.checked_abs().is_some_and(|abs| abs < *limit));
        let Some(value) = fitting else {
            return Err(Misfit::new(
                code::OUT_OF_RANGE,
                format!(
                    "the decimal {unscaled}e{} has no exact form as {}",
                    -i16::from(scale),
                    self.data_type
                ),
            ));
        };
        values.push(value);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends days since 1970-01-01.
    pub(super) fn push_date(&mut self, days: i32) -> Result<(), Misfit> {
        match &mut self.kind {
            Kind::Integer {
                values,
                role: Role::Date { per_day },
                ..
            } => values.push(i64::from(days) * *per_day),
            _ => return Err(self.unlike(Source::Date)),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a point in time, a time of day or a span, in parts of a second. What is finer than the column's unit is
    /// cut off, towards the past.
    #[inline]
    pub(super) fn push_units(
        &mut self,
        value: i64,
        per_second: i64,
        source: Source,
    ) -> Result<(), Misfit> {
        let (Kind::Integer { role, range, .. }, true) =
            (&self.kind, takes(&self.data_type, source))
        else {
            return Err(self.unlike(source));
        };
        let wanted = role.per_second();
        let converted = if wanted >= per_second {
            value.checked_mul(wanted / per_second)
        } else {
            Some(value.div_euclid(per_second / wanted))
        };
        let converted = converted.filter(|value| range.contains(value));
        let Some(converted) = converted else {
            return Err(self.out_of_range(format!("{value} / {per_second} s")));
        };
        self.append(converted);
        Ok(())
    }

    /// Appends a point in time or a span as whole seconds and nanoseconds above (for a negative span: below) that.
    pub(super) fn push_seconds(
        &mut self,
        seconds: i64,
        nanoseconds: i32,
        source: Source,
    ) -> Result<(), Misfit> {
        let (Kind::Integer { role, .. }, true) = (&self.kind, takes(&self.data_type, source))
        else {
            return Err(self.unlike(source));
        };
        let per_second = role.per_second();
        let part = i64::from(nanoseconds).div_euclid(1_000_000_000 / per_second);
        let units = seconds
            .checked_mul(per_second)
            .and_then(|units| units.checked_add(part));
        let Some(units) = units else {
            return Err(self.out_of_range(format!("{seconds} s and {nanoseconds} ns")));
        };
        self.append(units);
        Ok(())
    }

    /// A text that stands for a time or a decimal, by the rules of the text formats.
    fn push_written(&mut self, text: &[u8]) -> Result<(), Misfit> {
        let read = match &self.kind {
            Kind::Integer {
                role: Role::Timestamp { per_second, zoned },
                ..
            } => match timestamp(text, *zoned) {
                Ok(instant) => instant.in_units(*per_second),
                Err(bad) => return Err(self.bad_timestamp(text, bad)),
            },
            Kind::Integer {
                role: Role::Date { per_day },
                ..
            } => {
                let days = text.try_into().ok().and_then(date);
                days.map(|days| i64::from(days) * per_day)
            }
            Kind::Integer {
                role: Role::Time { per_second },
                ..
            } => time_of_day(text).map(|ns| ns / (1_000_000_000 / per_second)),
            Kind::Decimal { scale, .. } => return self.push_written_decimal(text, *scale),
            _ => return Err(self.unlike(Source::Text)),
        };
        let Some(value) = read else {
            return Err(self.bad_text(text, ""));
        };
        self.append(value);
        Ok(())
    }

    fn push_written_decimal(&mut self, text: &[u8], scale: i8) -> Result<(), Misfit> {
        if skip_number(text, 0) != Ok(text.len()) {
            return Err(self.bad_text(text, ""));
        }
        match scaled(text, kind::MOST_DIGITS, scale) {
            Ok(unscaled) => self.push_decimal(unscaled, scale),
            Err(Loss::Fraction) => Err(self.bad_text(text, ", which has more decimal places")),
            Err(Loss::Range) => Err(self.bad_text(text, ", which is out of its range")),
        }
    }

    fn append(&mut self, value: i64) {
        if let Kind::Integer { values, .. } = &mut self.kind {
            values.push(value);
        }
        self.nulls.append_non_null();
    }

    /// Drops all but the first `rows` rows, and whatever an unfinished row left.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.kind.truncate(rows);
        self.nulls.truncate(rows);
    }

    /// The rows so far; the column is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        finish::array(&self.data_type, &mut self.kind, &mut self.nulls)
    }

    #[cold]
    fn unlike(&self, source: Source) -> Misfit {
        Misfit::new(
            code::WRONG_TYPE,
            format!("expected {}, found {source}", self.data_type),
        )
    }

    #[cold]
    fn out_of_range(&self, value: impl fmt::Display) -> Misfit {
        Misfit::new(
            code::OUT_OF_RANGE,
            format!("{value} is out of the range of {}", self.data_type),
        )
    }

    #[cold]
    fn bad_timestamp(&self, text: &[u8], bad: BadTime) -> Misfit {
        match bad {
            BadTime::NoOffset => {
                self.bad_text(text, ", which has no offset from UTC (`Z` or `+01:00`)")
            }
            BadTime::Unreadable(reason) => self.bad_text(text, &format!(": {reason}")),
        }
    }

    #[cold]
    fn bad_text(&self, text: &[u8], what: &str) -> Misfit {
        const SHOWN: usize = 48;
        let shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
        Misfit::new(
            code::BAD_VALUE,
            format!("expected {}, found {shown:?}{what}", self.data_type),
        )
    }
}

/// What is wanted inside a column of lists of key and value, which maps become: the fields of both.
pub(super) fn entry_fields(element: &Field) -> Option<(&Field, &Field)> {
    match element.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Some((&fields[0], &fields[1])),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
