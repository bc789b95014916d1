//! The columns of an Avro schema, for want of a declaration.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

use super::super::Inferred;
use super::super::values::takes;
use super::plan::{plain_sources, record_fields};
use super::schema::{AvroSchema, NamedKind, Type};

/// How deep inferred types may nest. What refers to itself would nest without end.
const DEEPEST: u32 = 16;

/// The columns of a record, all of them nullable: a later schema may do without any of them. Those that have no type
/// here are left out, and named with the reason.
pub(super) fn columns(schema: &AvroSchema) -> Result<Inferred, String> {
    let Some(fields) = record_fields(schema, &schema.root) else {
        let name = schema.name_of(&schema.root);
        return Err(format!("is {name}, and not a record"));
    };
    let mut left_out = Vec::new();
    let mut columns = Vec::with_capacity(fields.len());
    for (name, of) in fields {
        match data_type(schema, of, 0) {
            Ok(data_type) => columns.push(Field::new(name, data_type, true)),
            Err(reason) => left_out.push((name.clone(), reason)),
        }
    }
    Ok(Inferred {
        schema: Schema::new(columns),
        left_out,
    })
}

fn data_type(schema: &AvroSchema, of: &Type, depth: u32) -> Result<DataType, String> {
    if depth > DEEPEST {
        let name = schema.name_of(of);
        return Err(format!("{name} refers to itself, or nests too deep"));
    }
    Ok(match of {
        Type::Null => return Err("it is never anything but null".to_owned()),
        Type::Boolean => DataType::Boolean,
        Type::Int => DataType::Int32,
        Type::Long => DataType::Int64,
        Type::Float => DataType::Float32,
        Type::Double => DataType::Float64,
        Type::Bytes => DataType::Binary,
        Type::String => DataType::Utf8,
        Type::Date => DataType::Date32,
        Type::TimeMillis => DataType::Time32(TimeUnit::Millisecond),
        Type::TimeMicros => DataType::Time64(TimeUnit::Microsecond),
        Type::Instant { per_second, local } => {
            let unit = match per_second {
                1_000 => TimeUnit::Millisecond,
                1_000_000 => TimeUnit::Microsecond,
                _ => TimeUnit::Nanosecond,
            };
            DataType::Timestamp(unit, (!local).then(|| "UTC".into()))
        }
        Type::Decimal { precision, scale } => decimal(*precision, *scale),
        Type::Array(items) => list(data_type(schema, items, depth + 1)?, true),
        Type::Map(values) => {
            let entry = vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", data_type(schema, values, depth + 1)?, true),
            ];
            list(DataType::Struct(entry.into()), false)
        }
        Type::Union(branches) => union(schema, branches, depth)?,
        Type::Named(at) => match &schema.named[*at].kind {
            NamedKind::Enum(_) => DataType::Utf8,
            NamedKind::Fixed(_, Some((precision, scale))) => decimal(*precision, *scale),
            NamedKind::Fixed(size, None) => {
                DataType::FixedSizeBinary(i32::try_from(*size).map_err(|e| e.to_string())?)
            }
            NamedKind::Record(fields) => {
                let fields: Result<Fields, String> = fields
                    .iter()
                    .map(|(name, of)| Ok(Field::new(name, data_type(schema, of, depth + 1)?, true)))
                    .collect();
                DataType::Struct(fields?)
            }
        },
    })
}

fn list(element: DataType, nullable: bool) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, nullable)))
}

fn decimal(precision: u8, scale: u8) -> DataType {
    if precision <= 38 {
        DataType::Decimal128(precision, scale.cast_signed())
    } else {
        DataType::Decimal256(precision, scale.cast_signed())
    }
}

/// The type of one of the branches that takes the values of all.
fn union(schema: &AvroSchema, branches: &[Type], depth: u32) -> Result<DataType, String> {
    let others: Vec<&Type> = branches.iter().filter(|of| **of != Type::Null).collect();
    if let [only] = others[..] {
        return data_type(schema, only, depth + 1);
    }
    for candidate in &others {
        let Ok(candidate) = data_type(schema, candidate, depth + 1) else {
            continue;
        };
        let takes_all = others.iter().all(|of| {
            // A column may take values of a wider type as far as they fit; a guess must take all of them.
            let narrower = match candidate {
                DataType::Int32 => **of != Type::Int,
                DataType::Float32 => !matches!(of, Type::Int | Type::Float),
                DataType::Utf8 => **of == Type::Bytes,
                DataType::Binary => false,
                _ => **of == Type::String,
            };
            !narrower
                && plain_sources(schema, of)
                    .into_iter()
                    .any(|source| takes(&candidate, source))
        });
        if takes_all {
            return Ok(candidate);
        }
    }
    Err(
        "no type takes all branches of its union; declare one that takes those that matter"
            .to_owned(),
    )
}
