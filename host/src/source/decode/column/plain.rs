//! Columns of one fixed-width value a row: booleans, integers, floats, decimals.
//!
//! - Integers of any width: JSON numbers whose value is an integer (`7`, `7.0`, `7e2`), exactly.
//! - Floats: JSON numbers, rounded to nearest, and the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.
//! - Decimals: JSON numbers, or strings that hold one, exactly.
//!
//! In a cell of a CSV file numbers are written as in JSON, booleans `true` or `false` in any case, and what is not
//! finite also `inf`, `-inf` and `nan`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, NullBufferBuilder,
    PrimitiveArray,
};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type, i256,
};

use super::super::scan::skip_number;
use super::number::{Loss, integer, scaled};
use super::{Column, Misfit, Written};
use crate::config::types::type_name;

/// The column for a plain type; `None` for other types.
pub(super) fn column(data_type: &DataType) -> Option<Box<dyn Column>> {
    Some(match *data_type {
        DataType::Boolean => Box::new(BooleanColumn::default()),
        DataType::Int8 => integers::<Int8Type>(data_type),
        DataType::Int16 => integers::<Int16Type>(data_type),
        DataType::Int32 => integers::<Int32Type>(data_type),
        DataType::Int64 => integers::<Int64Type>(data_type),
        DataType::UInt8 => integers::<UInt8Type>(data_type),
        DataType::UInt16 => integers::<UInt16Type>(data_type),
        DataType::UInt32 => integers::<UInt32Type>(data_type),
        DataType::UInt64 => integers::<UInt64Type>(data_type),
        DataType::Float16 => {
            type Half = <Float16Type as ArrowPrimitiveType>::Native;
            floats::<Float16Type>(data_type, |x| {
                (Half::from_f64(x), Half::from_f64(x).is_infinite())
            })
        }
        DataType::Float32 => Box::new(PrimitiveColumn::<Float32Type, _>::new(
            data_type,
            |written, data_type| {
                // Through an f64 the value would be rounded twice.
                float(written, data_type)
                    .and_then(|x: f32| finite(x, x.is_infinite(), written, data_type))
            },
        )),
        DataType::Float64 => floats::<Float64Type>(data_type, |x| (x, x.is_infinite())),
        DataType::Decimal32(precision, scale) => {
            decimals::<Decimal32Type>(data_type, precision, scale, |v| {
                v.to_i128().and_then(|v| v.try_into().ok())
            })
        }
        DataType::Decimal64(precision, scale) => {
            decimals::<Decimal64Type>(data_type, precision, scale, |v| {
                v.to_i128().and_then(|v| v.try_into().ok())
            })
        }
        DataType::Decimal128(precision, scale) => {
            decimals::<Decimal128Type>(data_type, precision, scale, i256::to_i128)
        }
        DataType::Decimal256(precision, scale) => {
            decimals::<Decimal256Type>(data_type, precision, scale, Some)
        }
        _ => return None,
    })
}

/// How a value is read from its text. The type is given for the reason of a misfit.
pub(super) trait Read<T>:
    Fn(Written<'_>, &DataType) -> Result<T, Misfit> + Send + 'static
{
}
impl<T, F: Fn(Written<'_>, &DataType) -> Result<T, Misfit> + Send + 'static> Read<T> for F {}

/// A column of a primitive Arrow type.
pub(super) struct PrimitiveColumn<T: ArrowPrimitiveType, F> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    data_type: DataType,
    read: F,
}

impl<T: ArrowPrimitiveType, F: Read<T::Native>> PrimitiveColumn<T, F> {
    pub(super) fn new(data_type: &DataType, read: F) -> Self {
        Self {
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
            data_type: data_type.clone(),
            read,
        }
    }
}

impl<T: ArrowPrimitiveType, F: Read<T::Native>> Column for PrimitiveColumn<T, F> {
    #[inline]
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        self.values.push((self.read)(written, &self.data_type)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        // The next batch is as large as this one, most likely.
        let room = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(room));
        let array = PrimitiveArray::<T>::new(values.into(), self.nulls.finish());
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}

fn integers<T: ArrowPrimitiveType>(data_type: &DataType) -> Box<dyn Column>
where
    T::Native: TryFrom<i64> + TryFrom<i128>,
{
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        |written, data_type| {
            if !written.is_number() {
                return Err(Misfit::wrong_type(&type_name(data_type), written));
            }
            integer(written.text, written.start, written.end)
                .map_err(|loss| Misfit::loss(loss, data_type, written))
        },
    ))
}

/// `narrow` gives the value in the column's width, and whether that is infinite.
fn floats<T: ArrowPrimitiveType>(
    data_type: &DataType,
    narrow: impl Fn(f64) -> (T::Native, bool) + Send + 'static,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |written, data_type| {
            let (value, infinite) = narrow(float(written, data_type)?);
            finite(value, infinite, written, data_type)
        },
    ))
}

/// Refuses a number that only became infinite in the column's width.
#[inline]
fn finite<T>(
    value: T,
    infinite: bool,
    written: Written<'_>,
    data_type: &DataType,
) -> Result<T, Misfit> {
    if infinite && written.is_number() {
        Err(Misfit::out_of_range(data_type, written))
    } else {
        Ok(value)
    }
}

#[inline]
fn float<T: std::str::FromStr>(written: Written<'_>, data_type: &DataType) -> Result<T, Misfit> {
    let text = match written.string() {
        _ if written.is_number() => written.bytes(),
        Some(text @ (b"NaN" | b"Infinity" | b"-Infinity")) => text,
        Some(text @ (b"inf" | b"-inf" | b"nan")) if written.cell => text,
        _ => return Err(Misfit::wrong_type(&type_name(data_type), written)),
    };
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Misfit::bad_value(&type_name(data_type), written))
}

fn decimals<T: ArrowPrimitiveType>(
    data_type: &DataType,
    precision: u8,
    scale: i8,
    narrow: impl Fn(i256) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::<T, _>::new(
        data_type,
        move |written, data_type| {
            let number = match written.string() {
                _ if written.is_number() => written.bytes(),
                Some(text) if skip_number(text, 0) == Ok(text.len()) => text,
                Some(_) => {
                    return Err(Misfit::bad_value(
                        &format!("{}: a number", type_name(data_type)),
                        written,
                    ));
                }
                None => return Err(Misfit::wrong_type(&type_name(data_type), written)),
            };
            scaled(number, precision, scale)
                .and_then(|value| narrow(value).ok_or(Loss::Range))
                .map_err(|loss| Misfit::loss(loss, data_type, written))
        },
    ))
}

struct BooleanColumn {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for BooleanColumn {
    fn default() -> Self {
        Self {
            values: BooleanBufferBuilder::new(0),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl Column for BooleanColumn {
    #[inline]
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        let value = written
            .boolean()
            .ok_or_else(|| Misfit::wrong_type("Boolean", written))?;
        self.values.append(value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}
