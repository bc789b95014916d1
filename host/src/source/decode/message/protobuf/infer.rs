//! The columns of a Protobuf message, for want of a declaration.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::super::Inferred;

/// How deep inferred types may nest.
const DEEPEST: usize = 16;

/// The columns of a message's fields, all of them nullable. Fields that have no type here are left out, and named with
/// the reason.
pub(super) fn columns(message: &MessageDescriptor) -> Inferred {
    let mut left_out = Vec::new();
    let mut columns = Vec::new();
    for field in message.fields() {
        match data_type(&field, &mut vec![message.full_name().to_owned()]) {
            Ok(data_type) => columns.push(Field::new(field.name(), data_type, true)),
            Err(reason) => left_out.push((field.name().to_owned(), reason)),
        }
    }
    Inferred {
        schema: Schema::new(columns),
        left_out,
    }
}

/// `inside` are the messages around the field.
fn data_type(field: &FieldDescriptor, inside: &mut Vec<String>) -> Result<DataType, String> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            return Err("a map without entries".to_owned());
        };
        let key = value_type(&entry.map_entry_key_field(), inside)?;
        let value = value_type(&entry.map_entry_value_field(), inside)?;
        let entry = Fields::from(vec![
            Field::new("key", key, false),
            Field::new("value", value, true),
        ]);
        return Ok(list(DataType::Struct(entry), false));
    }
    let value = value_type(field, inside)?;
    Ok(if field.is_list() {
        list(value, true)
    } else {
        value
    })
}

fn list(element: DataType, nullable: bool) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, nullable)))
}

fn value_type(field: &FieldDescriptor, inside: &mut Vec<String>) -> Result<DataType, String> {
    Ok(match field.kind() {
        Kind::Double => DataType::Float64,
        Kind::Float => DataType::Float32,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => DataType::Int32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => DataType::Int64,
        Kind::Uint32 | Kind::Fixed32 => DataType::UInt32,
        Kind::Uint64 | Kind::Fixed64 => DataType::UInt64,
        Kind::Bool => DataType::Boolean,
        Kind::String | Kind::Enum(_) => DataType::Utf8,
        Kind::Bytes => DataType::Binary,
        Kind::Message(_) if field.is_group() => return Err("it is a group".to_owned()),
        Kind::Message(message) => message_type(&message, inside)?,
    })
}

fn message_type(message: &MessageDescriptor, inside: &mut Vec<String>) -> Result<DataType, String> {
    let name = message.full_name();
    match name {
        "google.protobuf.Timestamp" => {
            return Ok(DataType::Timestamp(
                TimeUnit::Microsecond,
                Some("UTC".into()),
            ));
        }
        "google.protobuf.Duration" => return Ok(DataType::Duration(TimeUnit::Microsecond)),
        "google.protobuf.BoolValue"
        | "google.protobuf.BytesValue"
        | "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.Int64Value"
        | "google.protobuf.StringValue"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.UInt64Value" => {
            let value = message.get_field_by_name("value");
            return value_type(&value.ok_or("a wrapper around nothing")?, inside);
        }
        _ => {}
    }
    if inside.iter().any(|outer| outer == name) {
        return Err(format!("{name} holds itself"));
    }
    if inside.len() >= DEEPEST {
        return Err(format!("{name} nests too deep"));
    }
    inside.push(name.to_owned());
    let fields: Result<Fields, String> = message
        .fields()
        .map(|field| Ok(Field::new(field.name(), data_type(&field, inside)?, true)))
        .collect();
    inside.pop();
    Ok(DataType::Struct(fields?))
}
