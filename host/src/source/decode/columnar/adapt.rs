//! Makes a column that was read into a column of the wanted type, where the types hold the same values: large and small
//! offsets, wider numbers, timestamps of another unit, the names of list elements, fewer or reordered struct fields.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, Int64Array, OffsetSizeTrait, StructArray,
    make_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, Int64Type, TimeUnit};
use arrow::error::ArrowError;

/// The wanted type does not hold what the column's type holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit;

/// How an array becomes one of the wanted type.
#[derive(Debug)]
pub(super) enum Adapt {
    /// It is one.
    Keep,
    /// By a cast that loses nothing.
    Cast(DataType),
    /// By adapting the items, and then a cast that changes the width of the offsets alone.
    Relist(Box<Adapt>, DataType),
    /// By changing the unit of timestamps.
    Timestamp {
        multiply: i64,
        divide: i64,
        to: DataType,
    },
    List(FieldRef, Box<Adapt>),
    LargeList(FieldRef, Box<Adapt>),
    /// For each wanted field, the field it is made from.
    Struct(Fields, Vec<(usize, Adapt)>),
}

/// Why an array could not be adapted.
#[derive(Debug)]
pub(super) enum Failure {
    /// This timestamp is no multiple of the wanted unit, or does not fit it.
    Inexact(i64),
    Arrow(ArrowError),
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl Adapt {
    /// How arrays of type `from` become arrays of type `to`.
    pub(super) fn new(from: &DataType, to: &DataType) -> Result<Self, Unfit> {
        use DataType as T;
        if from == to {
            return Ok(Self::Keep);
        }
        Ok(match (from, to) {
            (T::Utf8, T::LargeUtf8)
            | (T::LargeUtf8, T::Utf8)
            | (T::Binary, T::LargeBinary)
            | (T::LargeBinary, T::Binary) => Self::Cast(to.clone()),
            // As in the text formats, an integer counts units of the declared type.
            (T::Int64, T::Timestamp(..)) => Self::Cast(to.clone()),
            _ if widens(from, to) => Self::Cast(to.clone()),
            (T::Timestamp(found, from_zone), T::Timestamp(wanted, to_zone)) => {
                // A local time is no point in time: which one it is, only the file's owner knows.
                if from_zone.is_none() && to_zone.is_some() {
                    return Err(Unfit);
                }
                let (found, wanted) = (per_second(*found), per_second(*wanted));
                let (multiply, divide) = ((wanted / found).max(1), (found / wanted).max(1));
                Self::Timestamp {
                    multiply,
                    divide,
                    to: to.clone(),
                }
            }
            (T::List(found), T::List(wanted)) => {
                Self::List(Arc::clone(wanted), Self::child(found, wanted)?)
            }
            (T::LargeList(found), T::LargeList(wanted)) => {
                Self::LargeList(Arc::clone(wanted), Self::child(found, wanted)?)
            }
            (T::List(_), T::LargeList(wanted)) => {
                let items = Self::new(from, &T::List(Arc::clone(wanted)))?;
                Self::Relist(Box::new(items), to.clone())
            }
            (T::LargeList(_), T::List(wanted)) => {
                let items = Self::new(from, &T::LargeList(Arc::clone(wanted)))?;
                Self::Relist(Box::new(items), to.clone())
            }
            (T::Struct(found), T::Struct(wanted)) => {
                let children = wanted.iter().map(|field| {
                    let (index, source) = found.find(field.name()).ok_or(Unfit)?;
                    Ok((index, *Self::child(source, field)?))
                });
                Self::Struct(wanted.clone(), children.collect::<Result<_, Unfit>>()?)
            }
            _ => return Err(Unfit),
        })
    }

    /// Inside a column, a value that may not be null must never have been one.
    fn child(from: &FieldRef, to: &FieldRef) -> Result<Box<Self>, Unfit> {
        if from.is_nullable() && !to.is_nullable() {
            return Err(Unfit);
        }
        Self::new(from.data_type(), to.data_type()).map(Box::new)
    }

    /// The array in the wanted type.
    pub(super) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, Failure> {
        match self {
            Self::Keep => Ok(Arc::clone(array)),
            Self::Cast(to) => {
                let strict = CastOptions {
                    safe: false,
                    ..CastOptions::default()
                };
                Ok(cast_with_options(array, to, &strict)?)
            }
            Self::Timestamp {
                multiply,
                divide,
                to,
            } => timestamps(array, *multiply, *divide, to),
            Self::Relist(items, to) => Self::Cast(to.clone()).apply(&items.apply(array)?),
            Self::List(element, adapt) => list::<i32>(array, element, adapt),
            Self::LargeList(element, adapt) => list::<i64>(array, element, adapt),
            Self::Struct(fields, children) => {
                let from = array.as_struct();
                let arrays: Result<Vec<_>, _> = children
                    .iter()
                    .map(|(index, adapt)| adapt.apply(from.column(*index)))
                    .collect();
                let nulls = from.nulls().cloned();
                Ok(Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    arrays?,
                    nulls,
                    from.len(),
                )?))
            }
        }
    }
}

fn list<O: OffsetSizeTrait>(
    array: &ArrayRef,
    element: &FieldRef,
    adapt: &Adapt,
) -> Result<ArrayRef, Failure> {
    let list = array.as_list::<O>();
    let values = adapt.apply(list.values())?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListArray::<O>::try_new(
        Arc::clone(element),
        offsets,
        values,
        nulls,
    )?))
}

fn timestamps(
    array: &ArrayRef,
    multiply: i64,
    divide: i64,
    to: &DataType,
) -> Result<ArrayRef, Failure> {
    let counts = make_array(
        array
            .to_data()
            .into_builder()
            .data_type(DataType::Int64)
            .build()?,
    );
    let counts = counts.as_primitive::<Int64Type>();
    let converted: Int64Array = if multiply == 1 && divide == 1 {
        counts.clone()
    } else {
        let exact = |value: i64| match value % divide {
            0 => (value / divide)
                .checked_mul(multiply)
                .ok_or(Failure::Inexact(value)),
            _ => Err(Failure::Inexact(value)),
        };
        counts.try_unary(exact)?
    };
    Ok(make_array(
        converted
            .to_data()
            .into_builder()
            .data_type(to.clone())
            .build()?,
    ))
}

const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Whether every number of one type is a number of the other.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (
            T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s),
            T::Decimal128(wider, scale),
        )
        | (T::Decimal32(p, s) | T::Decimal64(p, s), T::Decimal64(wider, scale))
        | (
            T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s),
            T::Decimal256(wider, scale),
        ) => wider >= p && scale == s,
        (T::Float16, T::Float32 | T::Float64) | (T::Float32, T::Float64) => true,
        _ => match (integer_bits(from), integer_bits(to)) {
            (Some((true, from)), Some((true, to))) | (Some((false, from)), Some((_, to))) => {
                from < to
            }
            _ => false,
        },
    }
}

/// Whether an integer type is signed, and its width.
fn integer_bits(data_type: &DataType) -> Option<(bool, u32)> {
    Some(match data_type {
        DataType::Int8 => (true, 8),
        DataType::Int16 => (true, 16),
        DataType::Int32 => (true, 32),
        DataType::Int64 => (true, 64),
        DataType::UInt8 => (false, 8),
        DataType::UInt16 => (false, 16),
        DataType::UInt32 => (false, 32),
        DataType::UInt64 => (false, 64),
        _ => return None,
    })
}
