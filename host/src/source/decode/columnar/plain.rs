//! Types without encodings: what a column holds, not how it was held when the file was written.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};

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

/// A plain schema with texts and bytes as views. Whoever decodes so keeps a value once, however many rows have it.
pub(in super::super) fn with_views(plain: &Schema) -> Schema {
    let fields = plain.fields().iter().map(|field| {
        let viewed = viewed(field.data_type());
        // What could not be made plain again stays.
        match can_cast_types(&viewed, field.data_type()) {
            true => Arc::new(field.as_ref().clone().with_data_type(viewed)),
            false => Arc::clone(field),
        }
    });
    Schema::new(fields.collect::<Vec<FieldRef>>())
}

fn viewed(plain: &DataType) -> DataType {
    let field = |field: &FieldRef| {
        let viewed = viewed(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(viewed))
    };
    match plain {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(element) => DataType::List(field(element)),
        DataType::LargeList(element) => DataType::LargeList(field(element)),
        DataType::FixedSizeList(element, size) => DataType::FixedSizeList(field(element), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        other => other.clone(),
    }
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
