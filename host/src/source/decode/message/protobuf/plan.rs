//! How messages of a type become rows of the wanted columns: worked out once.
//!
//! Fields are found by the name that they have in the `.proto`, or in Protobuf's JSON. What nobody wants is passed over
//! when it comes, like what the type does not know.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Fields};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Syntax};

use super::super::values::{Source, entry_fields, takes};
use super::wire::WireType;

/// Field numbers up to here are looked up in a table.
const TABLE: usize = 256;

/// How a message is read. Has room for what was found in the message at hand, so that none is made for each.
#[derive(Debug)]
pub(super) struct MessagePlan {
    /// One for each column, in their order.
    pub(super) fields: Vec<FieldPlan>,
    /// What was found of each.
    pub(super) found: Vec<Found>,
    table: Vec<Option<Target>>,
    beyond: HashMap<u32, Target>,
}

/// What a field of a message is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// The column; none if nobody wants it.
    pub(super) column: Option<usize>,
    /// The oneof that it is of: an index into those of which a member is wanted.
    pub(super) oneof: Option<usize>,
}

/// What was found of a field in the message at hand.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) value: Raw,
    /// How many elements were added to the column.
    pub(super) elements: usize,
    /// A message that stands there several times, put together.
    pub(super) merged: Vec<u8>,
}

/// A value as it was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Raw {
    #[default]
    Absent,
    Number(u64),
    /// Where its bytes stand in the message that is read.
    Bytes {
        start: usize,
        end: usize,
    },
    /// Several messages, in [`Found::merged`].
    Merged,
}

/// How a field is read.
#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) name: String,
    pub(super) nullable: bool,
    pub(super) oneof: Option<usize>,
    pub(super) value: Value,
    pub(super) label: Label,
}

/// How often a field stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// Once; if not at all, it has its default.
    Implicit,
    /// Once, or not at all.
    Optional,
    /// Any number of times.
    Repeated,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    Message(Box<MessagePlan>),
    /// An entry of a map: a message, of which neither part is ever missing.
    Entry(Box<MessagePlan>),
    /// `google.protobuf.Timestamp`.
    Instant,
    /// `google.protobuf.Duration`.
    Span,
    /// `google.protobuf.Int64Value` and its like.
    Wrapper(Scalar),
}

/// A value without anything inside.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Bool,
    String,
    Bytes,
    Enum(Symbols),
    /// An enum's numbers.
    EnumNumber,
}

/// The names of an enum.
#[derive(Debug, Clone)]
pub(super) struct Symbols {
    /// By rising number.
    names: Vec<(i32, String)>,
    /// Whether numbers without a name are no values at all.
    pub(super) closed: bool,
}

impl Symbols {
    pub(super) fn name(&self, number: i32) -> Option<&str> {
        let at = self.names.binary_search_by_key(&number, |(n, _)| *n).ok()?;
        Some(&self.names[at].1)
    }
}

/// A column that a message type cannot give.
#[derive(Debug)]
pub(super) enum Unfit {
    /// There is no such field; and those that there are.
    Missing(String, String),
    /// It is something else.
    Unlike(String, String),
}

impl Unfit {
    fn within(self, step: &str) -> Self {
        match self {
            Self::Missing(path, names) => Self::Missing(format!("{step}.{path}"), names),
            Self::Unlike(path, what) if path.is_empty() => Self::Unlike(step.to_owned(), what),
            Self::Unlike(path, what) => Self::Unlike(format!("{step}.{path}"), what),
        }
    }
}

impl MessagePlan {
    /// The columns of `wanted` from messages of a type.
    pub(super) fn new(message: &MessageDescriptor, wanted: &Fields) -> Result<Self, Unfit> {
        let mut this = Self {
            fields: Vec::with_capacity(wanted.len()),
            found: wanted.iter().map(|_| Found::default()).collect(),
            table: Vec::new(),
            beyond: HashMap::new(),
        };
        let mut oneofs = Vec::new();
        for (column, field) in wanted.iter().enumerate() {
            let descriptor = message
                .get_field_by_name(field.name())
                .or_else(|| message.get_field_by_json_name(field.name()))
                .ok_or_else(|| Unfit::Missing(field.name().clone(), names(message)))?;
            let oneof = descriptor.containing_oneof().map(|oneof| {
                let known = oneofs.iter().position(|known| *known == oneof);
                known.unwrap_or_else(|| {
                    oneofs.push(oneof.clone());
                    oneofs.len() - 1
                })
            });
            let plan = FieldPlan::new(&descriptor, field, oneof)
                .map_err(|unfit| unfit.within(field.name()))?;
            this.fields.push(plan);
            let column = Some(column);
            this.aim(descriptor.number(), Target { column, oneof });
        }
        // What is not wanted still takes the place of what is, where only one of them may be there.
        for (number, oneof) in oneofs.iter().enumerate() {
            for member in oneof.fields() {
                if this.target(member.number()).is_none() {
                    let (column, oneof) = (None, Some(number));
                    this.aim(member.number(), Target { column, oneof });
                }
            }
        }
        Ok(this)
    }

    fn aim(&mut self, number: u32, target: Target) {
        let at = number as usize;
        if at >= TABLE {
            self.beyond.insert(number, target);
            return;
        }
        if self.table.len() <= at {
            self.table.resize(at + 1, None);
        }
        self.table[at] = Some(target);
    }

    /// What the field of a number is for.
    #[inline]
    pub(super) fn target(&self, number: u32) -> Option<Target> {
        match self.table.get(number as usize) {
            Some(target) => *target,
            None if (number as usize) < TABLE => None,
            None => self.beyond.get(&number).copied(),
        }
    }
}

impl FieldPlan {
    fn new(
        descriptor: &FieldDescriptor,
        wanted: &Field,
        oneof: Option<usize>,
    ) -> Result<Self, Unfit> {
        let (label, data_type) = match wanted.data_type() {
            DataType::List(element) | DataType::LargeList(element)
                if descriptor.is_list() || descriptor.is_map() =>
            {
                (Label::Repeated, element.data_type())
            }
            _ if descriptor.is_list() || descriptor.is_map() => {
                return Err(unlike(descriptor, wanted.data_type()));
            }
            other if descriptor.supports_presence() => (Label::Optional, other),
            other => (Label::Implicit, other),
        };
        let value = if descriptor.is_map() {
            entry(descriptor, wanted.data_type())?
        } else {
            value(descriptor, data_type)?
        };
        Ok(Self {
            name: wanted.name().clone(),
            nullable: wanted.is_nullable(),
            oneof,
            value,
            label,
        })
    }
}

fn names(message: &MessageDescriptor) -> String {
    let names: Vec<String> = message.fields().map(|f| f.name().to_owned()).collect();
    match names.is_empty() {
        true => "no fields".to_owned(),
        false => names.join(", "),
    }
}

#[cold]
fn unlike(descriptor: &FieldDescriptor, wanted: &DataType) -> Unfit {
    let label = match () {
        () if descriptor.is_map() => "a map",
        () if descriptor.is_list() => "repeated",
        () => "",
    };
    let kind = match descriptor.kind() {
        _ if descriptor.is_map() => String::new(),
        _ if descriptor.is_group() => "a group, which is not read".to_owned(),
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let what = format!("{label} {kind}");
    Unfit::Unlike(
        String::new(),
        format!("expected {wanted}, found {}", what.trim()),
    )
}

/// The key and the value of a map, from the columns of a list of both.
fn entry(descriptor: &FieldDescriptor, wanted: &DataType) -> Result<Value, Unfit> {
    let (DataType::List(element) | DataType::LargeList(element)) = wanted else {
        return Err(unlike(descriptor, wanted));
    };
    let Kind::Message(entry) = descriptor.kind() else {
        return Err(unlike(descriptor, wanted));
    };
    let (key, value) = entry_fields(element).ok_or_else(|| unlike(descriptor, wanted))?;
    // Whatever the columns are called.
    let renamed = |field: &Field, name: &str| field.clone().with_name(name);
    let fields = Fields::from(vec![renamed(key, "key"), renamed(value, "value")]);
    let mut plan = MessagePlan::new(&entry, &fields)?;
    for field in &mut plan.fields {
        // What is not there is empty, and not null.
        field.label = Label::Implicit;
    }
    Ok(Value::Entry(Box::new(plan)))
}

fn value(descriptor: &FieldDescriptor, wanted: &DataType) -> Result<Value, Unfit> {
    let unfit = || unlike(descriptor, wanted);
    let Kind::Message(message) = descriptor.kind() else {
        let scalar = scalar(&descriptor.kind(), wanted).ok_or_else(unfit)?;
        return Ok(Value::Scalar(scalar));
    };
    if descriptor.is_group() {
        return Err(unfit());
    }
    let well_known = match message.full_name() {
        "google.protobuf.Timestamp" if takes(wanted, Source::Instant { local: false }) => {
            Some(Value::Instant)
        }
        "google.protobuf.Duration" if takes(wanted, Source::Span) => Some(Value::Span),
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") => message
            .get_field_by_name("value")
            .and_then(|field| scalar(&field.kind(), wanted))
            .map(Value::Wrapper),
        _ => None,
    };
    match (well_known, wanted) {
        (Some(value), _) => Ok(value),
        (None, DataType::Struct(fields)) => {
            MessagePlan::new(&message, fields).map(|plan| Value::Message(Box::new(plan)))
        }
        _ => Err(unfit()),
    }
}

fn scalar(kind: &Kind, wanted: &DataType) -> Option<Scalar> {
    let (scalar, source) = match kind {
        Kind::Double => (Scalar::Double, Source::Float),
        Kind::Float => (Scalar::Float, Source::Float),
        Kind::Int32 => (Scalar::Int32, Source::Integer),
        Kind::Int64 => (Scalar::Int64, Source::Integer),
        Kind::Uint32 => (Scalar::Uint32, Source::Integer),
        Kind::Uint64 => (Scalar::Uint64, Source::Integer),
        Kind::Sint32 => (Scalar::Sint32, Source::Integer),
        Kind::Sint64 => (Scalar::Sint64, Source::Integer),
        Kind::Fixed32 => (Scalar::Fixed32, Source::Integer),
        Kind::Fixed64 => (Scalar::Fixed64, Source::Integer),
        Kind::Sfixed32 => (Scalar::Sfixed32, Source::Integer),
        Kind::Sfixed64 => (Scalar::Sfixed64, Source::Integer),
        Kind::Bool => (Scalar::Bool, Source::Boolean),
        Kind::String => (Scalar::String, Source::Text),
        Kind::Bytes => (Scalar::Bytes, Source::Bytes),
        Kind::Enum(_) if wanted.is_integer() => (Scalar::EnumNumber, Source::Integer),
        Kind::Enum(of) => {
            let mut names: Vec<(i32, String)> = of
                .values()
                .map(|value| (value.number(), value.name().to_owned()))
                .collect();
            // Of several names of one number, the first.
            names.sort_by_key(|(number, _)| *number);
            names.dedup_by_key(|(number, _)| *number);
            let closed = of.parent_file().syntax() == Syntax::Proto2;
            (Scalar::Enum(Symbols { names, closed }), Source::Text)
        }
        Kind::Message(_) => return None,
    };
    takes(wanted, source).then_some(scalar)
}

impl Scalar {
    /// How its values are written.
    pub(super) fn wire_type(&self) -> WireType {
        match self {
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool
            | Self::Enum(_)
            | Self::EnumNumber => WireType::Varint,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => WireType::Fixed32,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => WireType::Fixed64,
            Self::String | Self::Bytes => WireType::Bytes,
        }
    }
}
