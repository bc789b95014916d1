//! Messages in memory, and rows to compare, for tests.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type,
    UInt64Type,
};
use serde_json::{Value, json};

use super::{DecodedMessages, MessageDecoder};
use crate::source::messages::Messages;

/// Messages with these values, at offsets from 0.
pub(super) fn messages<V: AsRef<[u8]>>(values: impl IntoIterator<Item = Option<V>>) -> Messages {
    let values: BinaryArray = values.into_iter().collect();
    let length = values.len();
    Messages {
        split: 0,
        offsets: (0..length as i64).collect(),
        timestamps: vec![i64::MIN; length].into(),
        keys: BinaryArray::new_null(length),
        values,
        headers: None,
    }
}

/// Decodes messages that are there, and sees to it that each became one row or one reject.
pub(super) fn decode<V: AsRef<[u8]>>(
    decoder: &mut MessageDecoder,
    values: impl IntoIterator<Item = V>,
) -> DecodedMessages {
    let messages = messages(values.into_iter().map(Some));
    let decoded = decoder.decode(&messages, 0).unwrap();
    assert_eq!(decoded.next, messages.len());
    assert_eq!(decoded.rows.num_rows(), decoded.message_of_row.len());
    let mut seen: Vec<u32> = decoded.message_of_row.to_vec();
    assert!(seen.is_sorted());
    seen.extend(decoded.rejects.iter().map(|reject| reject.message));
    seen.sort_unstable();
    assert_eq!(seen, (0..messages.len() as u32).collect::<Vec<_>>());
    decoded
}

/// A row as an object.
pub(super) fn row(rows: &RecordBatch, row: usize) -> Value {
    let schema = rows.schema();
    let cells = schema.fields().iter().zip(rows.columns());
    let cells = cells.map(|(field, column)| (field.name().clone(), cell(column, row)));
    Value::Object(cells.collect())
}

/// A float that equals others as it should.
pub(super) fn float(value: f64) -> Value {
    match value.is_nan() {
        true => json!("NaN"),
        false => json!(format!("{value:?}")),
    }
}

/// Bytes as a text.
pub(super) fn hex(bytes: &[u8]) -> Value {
    json!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

fn cell(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt32 => json!(array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => json!(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => {
            json!(
                array
                    .as_primitive::<Decimal128Type>()
                    .value(row)
                    .to_string()
            )
        }
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            (0..list.len()).map(|item| cell(&list, item)).collect()
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let cells = fields.iter().zip(columns);
            let cells = cells.map(|(field, column)| (field.name().clone(), cell(column, row)));
            Value::Object(cells.collect())
        }
        other => {
            let units = arrow::compute::cast(array, &DataType::Int64);
            let units = units.unwrap_or_else(|error| panic!("{other}: {error}"));
            cell(&units, row)
        }
    }
}
