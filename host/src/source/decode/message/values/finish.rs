//! From values under construction to Arrow arrays.

use std::mem::take;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray,
    FixedSizeBinaryArray, LargeListArray, ListArray, NullBufferBuilder, PrimitiveArray,
    StringArray, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type,
    Float32Type, Float64Type, i256,
};

use super::kind::Kind;

/// The array, whose values are gone afterwards.
pub(super) fn array(
    data_type: &DataType,
    kind: &mut Kind,
    nulls: &mut NullBufferBuilder,
) -> ArrayRef {
    let rows = nulls.len();
    let nulls = nulls.finish();
    match kind {
        Kind::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
        Kind::Integer { values, .. } => integers(data_type, taken(values), nulls),
        Kind::Float { values, .. } => floats(data_type, taken(values), nulls),
        Kind::Decimal { values, .. } => decimals(data_type, take(values), nulls),
        Kind::Bytes {
            offsets,
            bytes,
            utf8,
        } => {
            let offsets = taken_offsets(offsets);
            let bytes = Buffer::from_vec(taken(bytes));
            let array: ArrayRef = if *utf8 {
                Arc::new(StringArray::new(offsets, bytes, nulls))
            } else {
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            };
            large(array, data_type)
        }
        Kind::Fixed { size, bytes } => {
            // Of values without bytes their number has to be told.
            let size = i32::try_from(*size).expect("it came from an i32");
            let array = FixedSizeBinaryArray::try_new_with_len(
                size,
                Buffer::from_vec(take(bytes)),
                nulls,
                rows,
            );
            Arc::new(array.expect("each row appended as many bytes as the type has"))
        }
        Kind::List {
            element,
            offsets,
            values,
        } => {
            let (offsets, values) = (taken_offsets(offsets), values.finish());
            let element = Arc::clone(element);
            if let DataType::LargeList(_) = data_type {
                let offsets = offsets.iter().map(|offset| i64::from(*offset)).collect();
                let offsets = OffsetBuffer::new(offsets);
                return Arc::new(LargeListArray::new(element, offsets, values, nulls));
            }
            Arc::new(ListArray::new(element, offsets, values, nulls))
        }
        Kind::Struct { fields, children } => {
            let children = children.iter_mut().map(super::Values::finish).collect();
            let array = StructArray::try_new_with_length(fields.clone(), children, nulls, rows);
            Arc::new(
                array.expect(
                    "children were built from their fields, and nulls checked against them",
                ),
            )
        }
    }
}

/// The next batch is as large as this one, most likely.
fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room))
}

fn taken_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = taken(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

/// With offsets of 64 bits, if that is wanted.
fn large(array: ArrayRef, data_type: &DataType) -> ArrayRef {
    if array.data_type() == data_type {
        return array;
    }
    cast(&array, data_type).expect("texts and bytes have a large form")
}

/// Integers in the width of their type, into which they were seen to fit.
fn integers(data_type: &DataType, values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    let rows = values.len();
    let buffer = match data_type.primitive_width() {
        Some(1) => Buffer::from_vec(values.iter().map(|value| *value as i8).collect::<Vec<_>>()),
        Some(2) => Buffer::from_vec(values.iter().map(|value| *value as i16).collect::<Vec<_>>()),
        Some(4) => Buffer::from_vec(values.iter().map(|value| *value as i32).collect::<Vec<_>>()),
        _ => Buffer::from_vec(values),
    };
    let data = ArrayData::builder(data_type.clone())
        .len(rows)
        .add_buffer(buffer)
        .nulls(nulls)
        .build();
    make_array(data.expect("one buffer of as many values as there are rows"))
}

fn floats(data_type: &DataType, values: Vec<f64>, nulls: Option<NullBuffer>) -> ArrayRef {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    match data_type {
        DataType::Float16 => {
            let values = values.iter().map(|value| Half::from_f64(*value));
            Arc::new(PrimitiveArray::<Float16Type>::new(values.collect(), nulls))
        }
        DataType::Float32 => {
            let values = values.iter().map(|value| *value as f32);
            Arc::new(PrimitiveArray::<Float32Type>::new(values.collect(), nulls))
        }
        _ => Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), nulls)),
    }
}

fn decimals(data_type: &DataType, values: Vec<i256>, nulls: Option<NullBuffer>) -> ArrayRef {
    // All are below ten to the power of the precision, which the type holds.
    let low = |value: &i256| value.as_i128();
    match data_type {
        DataType::Decimal32(..) => typed::<Decimal32Type>(
            data_type,
            values.iter().map(|value| low(value) as i32),
            nulls,
        ),
        DataType::Decimal64(..) => typed::<Decimal64Type>(
            data_type,
            values.iter().map(|value| low(value) as i64),
            nulls,
        ),
        DataType::Decimal128(..) => {
            typed::<Decimal128Type>(data_type, values.iter().map(low), nulls)
        }
        _ => typed::<Decimal256Type>(data_type, values.iter().copied(), nulls),
    }
}

fn typed<T: ArrowPrimitiveType>(
    data_type: &DataType,
    values: impl Iterator<Item = T::Native>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(values.collect(), nulls);
    Arc::new(array.with_data_type(data_type.clone()))
}
