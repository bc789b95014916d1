//! Schemas across the boundary: Arrow's to the contract's fields in pre-order, and back, checked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow_schema::ffi::{FFI_ArrowSchema, Flags};

use super::bindings::types;
use super::fault::Fault;
use super::limits::{LimitExceeded, Limits, MAX_NESTING};
use super::text;

/// What is wrong with a schema, in a few words that name the column.
pub(super) type SchemaFault = String;

/// Lays a schema out in pre-order.
///
/// # Errors
///
/// A column has a type that contract 0.1 does not know.
pub(super) fn lower(schema: &Schema) -> Result<Vec<types::FieldResult>, SchemaFault> {
    let mut fields = Vec::new();
    for field in schema.fields() {
        lower_field(field, &mut fields)?;
    }
    Ok(fields)
}

fn lower_field(field: &Field, fields: &mut Vec<types::FieldResult>) -> Result<(), SchemaFault> {
    let children =
        children(field.data_type()).ok_or_else(|| unknown_type(field.name(), field.data_type()))?;
    let format = FFI_ArrowSchema::try_from(field.data_type())
        .map_err(|_| unknown_type(field.name(), field.data_type()))?
        .format()
        .to_owned();
    let mut metadata: Vec<_> = field
        .metadata()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    metadata.sort();
    fields.push(types::FieldResult {
        name: field.name().clone(),
        format,
        nullable: field.is_nullable(),
        children: children.len() as u32,
        metadata,
    });
    for child in children {
        lower_field(&child, fields)?;
    }
    Ok(())
}

fn unknown_type(name: &str, data_type: &DataType) -> SchemaFault {
    format!("column `{name}` has type {data_type}, which contract 0.1 does not know")
}

/// The metadata of fields, as [`borrowed`] wants it.
pub(super) fn borrowed_metadata(fields: &[types::FieldResult]) -> Vec<Vec<(&str, &str)>> {
    fields
        .iter()
        .map(|field| {
            let pairs = field.metadata.iter();
            pairs
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect()
        })
        .collect()
}

/// Fields as a parameter of a call, which borrows all of them.
pub(super) fn borrowed<'a>(
    fields: &'a [types::FieldResult],
    metadata: &'a [Vec<(&'a str, &'a str)>],
) -> Vec<types::FieldParam<'a>> {
    let fields = fields.iter().zip(metadata);
    fields
        .map(|(field, metadata)| types::FieldParam {
            name: &field.name,
            format: &field.format,
            nullable: field.nullable,
            children: field.children,
            metadata,
        })
        .collect()
}

/// Whether contract 0.1 knows a type, nested ones included.
pub(super) fn is_known(data_type: &DataType) -> bool {
    children(data_type)
        .is_some_and(|children| children.iter().all(|child| is_known(child.data_type())))
}

/// The children of a type, as the contract lays them out; `None` for a type that it does not know.
pub(super) fn children(data_type: &DataType) -> Option<Vec<FieldRef>> {
    use DataType as T;
    match data_type {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::UInt8
        | T::UInt16
        | T::UInt32
        | T::UInt64
        | T::Float16
        | T::Float32
        | T::Float64
        | T::Decimal128(..)
        | T::Decimal256(..)
        | T::Date32
        | T::Date64
        | T::Time32(_)
        | T::Time64(_)
        | T::Timestamp(..)
        | T::Duration(_)
        | T::FixedSizeBinary(_)
        | T::Utf8
        | T::LargeUtf8
        | T::Binary
        | T::LargeBinary => Some(Vec::new()),
        T::List(item) | T::LargeList(item) => Some(vec![Arc::clone(item)]),
        T::Struct(fields) => Some(fields.iter().cloned().collect()),
        _ => None,
    }
}

/// Reads a schema that a transform returned.
///
/// # Errors
///
/// Says which column breaks the contract, and how.
pub(super) fn lift(fields: &[types::FieldResult], limits: &Limits) -> Result<Schema, Fault> {
    if fields.len() > limits.columns {
        return Err(beyond("columns", limits.columns, fields.len()));
    }
    let mut rest = fields;
    let mut top = Vec::new();
    while !rest.is_empty() {
        top.push(lift_field(&mut rest, limits, 0)?);
    }
    unique(top.iter())?;
    Ok(Schema::new(top))
}

/// A schema that is more than a limit allows.
fn beyond(name: &'static str, most: usize, requested: usize) -> Fault {
    Fault::Limit(LimitExceeded {
        name,
        limit: most.to_string(),
        current: "0".into(),
        requested: requested.to_string(),
    })
}

fn unique<'a>(siblings: impl Iterator<Item = &'a Field>) -> Result<(), SchemaFault> {
    let mut seen = HashSet::new();
    for field in siblings {
        if !seen.insert(field.name()) {
            return Err(format!("two columns are named `{}`", field.name()));
        }
    }
    Ok(())
}

fn lift_field(
    rest: &mut &[types::FieldResult],
    limits: &Limits,
    depth: usize,
) -> Result<Field, Fault> {
    let Some((field, tail)) = rest.split_first() else {
        let message = "a column counts more children than there are fields";
        return Err(message.to_owned().into());
    };
    *rest = tail;
    let longest = field.name.len().max(field.format.len());
    if longest > limits.name_bytes {
        return Err(beyond("name_bytes", limits.name_bytes, longest));
    }
    // Of a format, the time zone is free text.
    let mut chars = field.name.chars().chain(field.format.chars());
    if !chars.all(text::is_harmless) {
        return Err(Fault::Breaks(format!(
            "the name or format of column `{}` has control characters",
            field.name
        )));
    }
    // Never deeper than what this function may call itself.
    let deepest = limits.nesting.min(MAX_NESTING);
    if depth > deepest {
        return Err(beyond("nesting", deepest, depth));
    }
    // Every child takes a field of its own, so a count beyond what is left is refused before anything is made of it.
    if field.children as usize > rest.len() {
        return Err(Fault::Breaks(format!(
            "column `{}` counts {} children, but {} fields follow",
            field.name,
            field.children,
            rest.len()
        )));
    }
    let children = (0..field.children)
        .map(|_| lift_field(rest, limits, depth + 1))
        .collect::<Result<Vec<_>, _>>()?;
    let data_type = lift_type(field, children)?;
    let metadata = lift_metadata(field, limits)?;
    Ok(Field::new(&field.name, data_type, field.nullable).with_metadata(metadata))
}

/// Entries of a column's metadata.
const MOST_METADATA: usize = 64;

/// What is said of a column beside its type, within the limits of names: each instance keeps it, and people see it.
fn lift_metadata(
    field: &types::FieldResult,
    limits: &Limits,
) -> Result<HashMap<String, String>, Fault> {
    if field.metadata.len() > MOST_METADATA {
        return Err(Fault::Breaks(format!(
            "column `{}` has {} entries of metadata, and {MOST_METADATA} are the most",
            field.name,
            field.metadata.len()
        )));
    }
    for (key, value) in &field.metadata {
        let longest = key.len().max(value.len());
        if longest > limits.name_bytes {
            return Err(beyond("name_bytes", limits.name_bytes, longest));
        }
        if !key.chars().chain(value.chars()).all(text::is_harmless) {
            return Err(Fault::Breaks(format!(
                "the metadata of column `{}` has control characters",
                field.name
            )));
        }
    }
    Ok(field.metadata.iter().cloned().collect())
}

fn lift_type(field: &types::FieldResult, children: Vec<Field>) -> Result<DataType, SchemaFault> {
    let unknown = || {
        format!(
            "column `{}` has format `{}` with {} children, which contract 0.1 does not know",
            field.name,
            field.format,
            children.len()
        )
    };
    match (field.format.as_str(), children.as_slice()) {
        ("+s", _) => {
            unique(children.iter())?;
            Ok(DataType::Struct(Fields::from(children)))
        }
        ("+l" | "+L", [item]) if takes_no_bytes(item.data_type()) => Err(format!(
            "column `{}` is a list whose items take no bytes, so a few bytes could claim any number of them",
            field.name
        )),
        ("+l", [item]) => Ok(DataType::List(Arc::new(item.clone()))),
        ("+L", [item]) => Ok(DataType::LargeList(Arc::new(item.clone()))),
        (format, []) if !format.starts_with('+') && !format.contains('\0') => {
            let schema =
                FFI_ArrowSchema::try_new(format, Vec::new(), None).map_err(|_| unknown())?;
            let schema = schema.with_flags(Flags::NULLABLE).map_err(|_| unknown())?;
            let data_type = DataType::try_from(&schema).map_err(|_| unknown())?;
            let known = self::children(&data_type).is_some_and(|children| children.is_empty());
            if !known || !sound(&data_type) {
                return Err(unknown());
            }
            Ok(data_type)
        }
        _ => Err(unknown()),
    }
}

/// Whether any number of values fit into no buffer at all.
fn takes_no_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|child| takes_no_bytes(child.data_type())),
        _ => false,
    }
}

/// Arrow's own parser of formats takes some parameters that its arrays then panic on.
fn sound(data_type: &DataType) -> bool {
    match *data_type {
        DataType::FixedSizeBinary(width) => width > 0,
        DataType::Decimal128(precision, scale) => {
            (1..=38).contains(&precision) && scale.unsigned_abs() <= precision
        }
        DataType::Decimal256(precision, scale) => {
            (1..=76).contains(&precision) && scale.unsigned_abs() <= precision
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{IntervalUnit, TimeUnit};

    fn every_type() -> Schema {
        use DataType as T;
        let nested = Fields::from(vec![
            Field::new("a", T::Int8, false),
            Field::new_list("b", Field::new("item", T::LargeUtf8, true), true),
        ]);
        let types = [
            T::Boolean,
            T::Int8,
            T::Int16,
            T::Int32,
            T::Int64,
            T::UInt8,
            T::UInt16,
            T::UInt32,
            T::UInt64,
            T::Float16,
            T::Float32,
            T::Float64,
            T::Decimal128(12, 2),
            T::Decimal256(40, -3),
            T::Date32,
            T::Date64,
            T::Time32(TimeUnit::Second),
            T::Time32(TimeUnit::Millisecond),
            T::Time64(TimeUnit::Microsecond),
            T::Time64(TimeUnit::Nanosecond),
            T::Timestamp(TimeUnit::Second, None),
            T::Timestamp(TimeUnit::Millisecond, Some("Europe/Paris".into())),
            event_time(),
            T::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into())),
            T::Duration(TimeUnit::Second),
            T::Duration(TimeUnit::Nanosecond),
            T::FixedSizeBinary(16),
            T::Utf8,
            T::LargeUtf8,
            T::Binary,
            T::LargeBinary,
            T::List(Arc::new(Field::new(
                "item",
                T::Struct(nested.clone()),
                true,
            ))),
            T::LargeList(Arc::new(Field::new("item", T::Int64, false))),
            T::Struct(nested),
        ];
        Schema::new(
            types
                .into_iter()
                .enumerate()
                .map(|(i, data_type)| {
                    Field::new(format!("c{i}"), data_type, i % 2 == 0)
                        .with_metadata([("unit".to_owned(), i.to_string())].into())
                })
                .collect::<Vec<_>>(),
        )
    }

    fn event_time() -> DataType {
        crate::transform::event_time_type()
    }

    #[test]
    fn every_type_crosses_and_comes_back() {
        let schema = every_type();
        let fields = lower(&schema).expect("all are known");
        assert_eq!(lift(&fields, &Limits::default()).unwrap(), schema);
    }

    #[test]
    fn a_type_outside_the_contract_is_refused_by_name() {
        let schema = Schema::new(vec![Field::new(
            "i",
            DataType::Interval(IntervalUnit::DayTime),
            true,
        )]);
        let fault = lower(&schema).unwrap_err();
        assert!(fault.contains("column `i`"), "{fault}");
    }

    #[test]
    fn hostile_schemas_are_refused() {
        let field = |name: &str, format: &str, children| types::FieldResult {
            name: name.into(),
            format: format.into(),
            nullable: true,
            children,
            metadata: Vec::new(),
        };
        let deep: Vec<_> = (0..40).map(|_| field("item", "+l", 1)).collect();
        let wide: Vec<_> = (0..2000).map(|i| field(&i.to_string(), "l", 0)).collect();
        let cases = [
            (vec![field("a", "l", 0), field("a", "l", 0)], "two columns"),
            (vec![field("a", "+l", u32::MAX)], "children"),
            (vec![field("a", "+l", 0)], "format"),
            (vec![field("a", "l", 1), field("b", "l", 0)], "format"),
            (vec![field("a", "+vl", 0)], "format"),
            (vec![field("a", "vu", 0)], "format"),
            (vec![field("a", "n", 0)], "format"),
            (vec![field("a", "w:-1", 0)], "format"),
            (vec![field("a", "w:0", 0)], "format"),
            (
                vec![field("a", "+l", 1), field("item", "+s", 0)],
                "take no bytes",
            ),
            (
                vec![
                    field("a", "+L", 1),
                    field("item", "+s", 2),
                    field("b", "+s", 0),
                    field("c", "+s", 0),
                ],
                "take no bytes",
            ),
            (vec![field("a", "d:99,2", 0)], "format"),
            (vec![field("a", "d:5,99", 0)], "format"),
            (vec![field("a", "", 0)], "format"),
            (vec![field("a", "l\0", 0)], "format"),
            (vec![field("a", "tsu:\u{1b}[2J", 0)], "control characters"),
            (vec![field("a", "tsu", 0)], "format"),
            (
                vec![field(&"x".repeat(300), "l", 0)],
                "limit name_bytes: 256",
            ),
            (deep, "limit nesting: 16"),
            (vec![field("a\nb", "l", 0)], "control characters"),
            (wide, "limit columns: 1024"),
        ];
        for (fields, expected) in cases {
            let fault = lift(&fields, &Limits::default())
                .expect_err("hostile")
                .to_string();
            assert!(fault.contains(expected), "{fault} for {:?}", fields[0]);
        }
    }
}
