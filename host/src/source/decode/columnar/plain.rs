//! Types without encodings: what a column holds, not how it was held when the file was written.

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use std::sync::Arc;

/// The schema with plain types, and without metadata.
pub(in super::super) fn schema(schema: &Schema) -> Schema {
    Schema::new(
        schema
            .fields()
            .iter()
            .map(plain_field)
            .collect::<Vec<FieldRef>>(),
    )
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(
        field.name(),
        data_type(field.data_type()),
        field.is_nullable(),
    ))
}

/// Dictionaries and runs become their values, views become offsets.
fn data_type(encoded: &DataType) -> DataType {
    match encoded {
        DataType::Dictionary(_, value) => data_type(value),
        DataType::RunEndEncoded(_, value) => data_type(value.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(element) | DataType::ListView(element) => {
            DataType::List(plain_field(element))
        }
        DataType::LargeList(element) | DataType::LargeListView(element) => {
            DataType::LargeList(plain_field(element))
        }
        DataType::FixedSizeList(element, size) => {
            DataType::FixedSizeList(plain_field(element), *size)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        _ => encoded.clone(),
    }
}
