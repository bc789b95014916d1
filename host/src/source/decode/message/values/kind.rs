//! How the values of a column under construction are kept.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{ArrowPrimitiveType, BooleanBufferBuilder};
use arrow::datatypes::{DataType, FieldRef, Fields, Float16Type, TimeUnit, i256};

use super::super::super::column::Misfit;
use super::super::super::origin::code;
use super::super::super::scan::MAX_DEPTH;
use super::{Unsupported, Values};

/// Digits of a decimal, at most.
pub(super) const MOST_DIGITS: u8 = 76;

/// The values, whose nulls are kept beside them.
pub(super) enum Kind {
    Boolean(BooleanBufferBuilder),
    /// Everything that Arrow keeps as an integer of at most 64 bits. It becomes as narrow as its type at the end, in one
    /// go; that costs less than a column of its own for each width would cost in branches.
    Integer {
        values: Vec<i64>,
        range: RangeInclusive<i64>,
        role: Role,
    },
    /// Floats of any width, rounded to it already.
    Float {
        values: Vec<f64>,
        narrow: Narrow,
    },
    /// Decimals of any width, at the column's scale. All are closer to zero than `limit`.
    Decimal {
        values: Vec<i256>,
        scale: i8,
        limit: i256,
    },
    /// Texts and bytes.
    Bytes {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
        utf8: bool,
    },
    Fixed {
        size: usize,
        bytes: Vec<u8>,
    },
    List {
        element: FieldRef,
        offsets: Vec<i32>,
        values: Box<Values>,
    },
    Struct {
        fields: Fields,
        children: Vec<Values>,
    },
}

/// What an integer of a column stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Number,
    Timestamp { per_second: i64, zoned: bool },
    Duration { per_second: i64 },
    Time { per_second: i64 },
    Date { per_day: i64 },
}

impl Role {
    /// How many of its units a second has.
    pub(super) fn per_second(self) -> i64 {
        match self {
            Self::Timestamp { per_second, .. }
            | Self::Duration { per_second }
            | Self::Time { per_second } => per_second,
            Self::Number | Self::Date { .. } => 1,
        }
    }
}

/// The width of a float.
#[derive(Debug, Clone, Copy)]
pub(super) enum Narrow {
    Half,
    Single,
    Double,
}

impl Narrow {
    #[inline]
    pub(super) fn float(self, value: f64) -> f64 {
        match self {
            Self::Half => <Float16Type as ArrowPrimitiveType>::Native::from_f64(value).to_f64(),
            Self::Single => f64::from(value as f32),
            Self::Double => value,
        }
    }

    // Through an `f64` a number would be rounded twice.
    pub(super) fn integer(self, value: i64) -> f64 {
        match self {
            Self::Single => f64::from(value as f32),
            _ => self.float(value as f64),
        }
    }

    pub(super) fn unsigned(self, value: u64) -> f64 {
        match self {
            Self::Single => f64::from(value as f32),
            _ => self.float(value as f64),
        }
    }
}

impl Kind {
    pub(super) fn new(data_type: &DataType, depth: u32) -> Result<Self, Unsupported> {
        let unsupported = || Unsupported {
            path: String::new(),
            data_type: data_type.clone(),
        };
        if depth > MAX_DEPTH {
            return Err(unsupported());
        }
        let inside = |step: String| {
            move |inner: Unsupported| Unsupported {
                path: format!("{step}{}", inner.path),
                ..inner
            }
        };
        if let Some(kind) = Self::integer(data_type) {
            return Ok(kind);
        }
        let float = |narrow| Self::Float {
            values: Vec::new(),
            narrow,
        };
        let bytes = |utf8| Self::Bytes {
            offsets: vec![0],
            bytes: Vec::new(),
            utf8,
        };
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Float16 => float(Narrow::Half),
            DataType::Float32 => float(Narrow::Single),
            DataType::Float64 => float(Narrow::Double),
            DataType::Utf8 | DataType::LargeUtf8 => bytes(true),
            DataType::Binary | DataType::LargeBinary => bytes(false),
            DataType::FixedSizeBinary(size) => Self::Fixed {
                size: usize::try_from(*size).map_err(|_| unsupported())?,
                bytes: Vec::new(),
            },
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => Self::Decimal {
                values: Vec::new(),
                scale: *scale,
                limit: power_of_ten((*precision).into()).ok_or_else(unsupported)?,
            },
            DataType::List(element) | DataType::LargeList(element) => Self::List {
                values: Box::new(
                    Values::new(element.data_type(), depth + 1).map_err(inside("[]".to_owned()))?,
                ),
                element: Arc::clone(element),
                offsets: vec![0],
            },
            DataType::Struct(fields) => Self::Struct {
                children: (fields.iter())
                    .map(|field| {
                        let dot = if depth == 0 { "" } else { "." };
                        Values::new(field.data_type(), depth + 1)
                            .map_err(inside(format!("{dot}{}", field.name())))
                    })
                    .collect::<Result<_, _>>()?,
                fields: fields.clone(),
            },
            _ => return Err(unsupported()),
        })
    }

    fn integer(data_type: &DataType) -> Option<Self> {
        use DataType as T;
        const DAY: i64 = 86_400;
        let all = i64::MIN..=i64::MAX;
        let (range, role) = match data_type {
            T::Int8 => (i8::MIN.into()..=i8::MAX.into(), Role::Number),
            T::Int16 => (i16::MIN.into()..=i16::MAX.into(), Role::Number),
            T::Int32 => (i32::MIN.into()..=i32::MAX.into(), Role::Number),
            T::Int64 => (all, Role::Number),
            T::UInt8 => (0..=u8::MAX.into(), Role::Number),
            T::UInt16 => (0..=u16::MAX.into(), Role::Number),
            T::UInt32 => (0..=u32::MAX.into(), Role::Number),
            T::UInt64 => (0..=i64::MAX, Role::Number),
            T::Timestamp(unit, zone) => {
                let zoned = zone.is_some();
                let per_second = per_second(*unit);
                (all, Role::Timestamp { per_second, zoned })
            }
            T::Duration(unit) => {
                let per_second = per_second(*unit);
                (all, Role::Duration { per_second })
            }
            T::Date32 => (i32::MIN.into()..=i32::MAX.into(), Role::Date { per_day: 1 }),
            T::Date64 => (
                all,
                Role::Date {
                    per_day: DAY * 1_000,
                },
            ),
            T::Time32(unit @ (TimeUnit::Second | TimeUnit::Millisecond))
            | T::Time64(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => {
                let per_second = per_second(*unit);
                (0..=DAY * per_second - 1, Role::Time { per_second })
            }
            _ => return None,
        };
        Some(Self::Integer {
            values: Vec::new(),
            range,
            role,
        })
    }

    /// Appends what stands under a null.
    pub(super) fn push_empty(&mut self) {
        match self {
            Self::Boolean(values) => values.append(false),
            Self::Integer { values, .. } => values.push(0),
            Self::Float { values, .. } => values.push(0.0),
            Self::Decimal { values, .. } => values.push(i256::ZERO),
            Self::Bytes { offsets, .. } | Self::List { offsets, .. } => {
                offsets.push(last(offsets));
            }
            Self::Fixed { size, bytes } => bytes.resize(bytes.len() + *size, 0),
            // A child that may not be null gets one as well: Arrow allows it where the parent hides it.
            Self::Struct { children, .. } => children.iter_mut().for_each(Values::push_null),
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => values.truncate(rows),
            Self::Integer { values, .. } => values.truncate(rows),
            Self::Float { values, .. } => values.truncate(rows),
            Self::Decimal { values, .. } => values.truncate(rows),
            Self::Bytes { offsets, bytes, .. } => {
                offsets.truncate(rows + 1);
                bytes.truncate(last(offsets) as usize);
            }
            Self::Fixed { size, bytes } => bytes.truncate(rows * *size),
            Self::List {
                offsets, values, ..
            } => {
                offsets.truncate(rows + 1);
                values.truncate(last(offsets) as usize);
            }
            Self::Struct { children, .. } => {
                children.iter_mut().for_each(|child| child.truncate(rows));
            }
        }
    }
}

/// The end of the last row.
fn last(offsets: &[i32]) -> i32 {
    offsets.last().copied().unwrap_or_default()
}

/// Ends a row that is `length` longer than the one before it.
#[inline]
pub(super) fn push_offset(offsets: &mut Vec<i32>, length: usize) -> Result<(), Misfit> {
    let end = i32::try_from(length)
        .ok()
        .and_then(|length| last(offsets).checked_add(length));
    let end = end.ok_or_else(|| {
        Misfit::new(
            code::OUT_OF_RANGE,
            "more than 2,147,483,647 bytes or elements in one batch".to_owned(),
        )
    })?;
    offsets.push(end);
    Ok(())
}

/// A decimal with so many more places.
pub(super) fn rescale(value: i256, places: i16) -> Option<i256> {
    let factor = power_of_ten(places.unsigned_abs())?;
    if places >= 0 {
        return value.checked_mul(factor);
    }
    match value.checked_rem(factor)? {
        i256::ZERO => value.checked_div(factor),
        _ => None,
    }
}

fn power_of_ten(exponent: u16) -> Option<i256> {
    let exponent = u32::from(exponent);
    (exponent <= u32::from(MOST_DIGITS))
        .then(|| i256::from_i128(10).checked_pow(exponent))
        .flatten()
}

const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
