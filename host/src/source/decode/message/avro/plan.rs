//! How records of one writer's schema become rows of the wanted columns: worked out once for a schema.
//!
//! Fields are found by name. What nobody wants is skipped, what the schema does not have is null, and what it has with
//! another type is widened where that is a widening (`values::takes`); after the Apache Avro specification 1.12, "Schema
//! Resolution". What fits in no way is refused, for every record of the schema.

use arrow::datatypes::{DataType, Field, Fields};

use super::super::super::column::Misfit;
use super::super::super::origin::code;
use super::super::values::{Source, entry_fields, takes};
use super::schema::{AvroSchema, NamedKind, Type};

/// What to do with the fields of a record, in the order in which they are written.
#[derive(Debug)]
pub(super) struct RecordPlan {
    pub(super) steps: Vec<Step>,
    /// Columns that the record has no field for, and which may be null.
    pub(super) missing: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Step {
    Skip(Type),
    Read {
        column: usize,
        /// What leads from the record to the column, for reasons.
        step: String,
        slot: Slot,
    },
}

/// A value, and whether its column may be null.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) read: Read,
    pub(super) nullable: bool,
}

/// How a value is written, and what it becomes.
#[derive(Debug)]
pub(super) enum Read {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// A length and bytes, whether they are called a string or not.
    Bytes,
    Fixed(usize),
    Decimal {
        /// None: a length stands before the bytes.
        size: Option<usize>,
        scale: i8,
    },
    Date,
    Units {
        int: bool,
        per_second: i64,
        source: Source,
    },
    Enum(Vec<String>),
    List(Box<Slot>),
    Map(Box<Slot>),
    Record(RecordPlan),
    /// What the branches become; or why one has no form in the column.
    Union(Vec<Result<Read, (&'static str, String)>>),
}

impl RecordPlan {
    /// The columns of `wanted` from the schema's record.
    pub(super) fn root(schema: &AvroSchema, wanted: &Fields) -> Result<Self, Misfit> {
        let Some(fields) = record_fields(schema, &schema.root) else {
            return Err(Misfit::new(
                code::BAD_SCHEMA,
                format!("is {}, and not a record", schema.name_of(&schema.root)),
            ));
        };
        Self::new(schema, fields, wanted, "")
    }

    fn new(
        schema: &AvroSchema,
        fields: &[(String, Type)],
        wanted: &Fields,
        dot: &str,
    ) -> Result<Self, Misfit> {
        let mut found = vec![false; wanted.len()];
        let mut steps = Vec::with_capacity(fields.len());
        for (name, of) in fields {
            let Some((column, field)) = wanted.find(name) else {
                steps.push(Step::Skip(of.clone()));
                continue;
            };
            found[column] = true;
            let step = format!("{dot}{name}");
            let slot =
                Slot::new(schema, of, field).map_err(|misfit| misfit.within(step.clone()))?;
            steps.push(Step::Read { column, step, slot });
        }
        let absent = wanted.iter().zip(found).enumerate();
        let absent = absent.filter(|(_, (_, found))| !found);
        let mut missing = Vec::new();
        for (column, (field, _)) in absent {
            if !field.is_nullable() {
                return Err(Misfit::missing("missing").within(format!("{dot}{}", field.name())));
            }
            missing.push(column);
        }
        Ok(Self { steps, missing })
    }
}

impl Slot {
    fn new(schema: &AvroSchema, of: &Type, wanted: &Field) -> Result<Self, Misfit> {
        Ok(Self {
            read: read(schema, of, wanted.data_type())?,
            nullable: wanted.is_nullable(),
        })
    }
}

/// The fields of a record; none if the type is another.
pub(super) fn record_fields<'a>(schema: &'a AvroSchema, of: &Type) -> Option<&'a [(String, Type)]> {
    match of {
        Type::Named(at) => match &schema.named[*at].kind {
            NamedKind::Record(fields) => Some(fields),
            _ => None,
        },
        _ => None,
    }
}

fn read(schema: &AvroSchema, of: &Type, wanted: &DataType) -> Result<Read, Misfit> {
    let unlike = || {
        Misfit::new(
            code::WRONG_TYPE,
            format!(
                "is {} in the schema, which has no form as {wanted}",
                schema.name_of(of)
            ),
        )
    };
    let element = match wanted {
        DataType::List(element) | DataType::LargeList(element) => Some(element),
        _ => None,
    };
    match (of, element, wanted) {
        (Type::Null, ..) => return Ok(Read::Null),
        (Type::Union(branches), ..) => return union(schema, branches, wanted).ok_or_else(unlike),
        (Type::Array(items), Some(element), _) => {
            let slot = Slot::new(schema, items, element);
            let slot = slot.map_err(|misfit| misfit.within("[]".to_owned()))?;
            return Ok(Read::List(Box::new(slot)));
        }
        (Type::Map(values), Some(element), _) => {
            let (key, value) = entry_fields(element).ok_or_else(unlike)?;
            if !takes(key.data_type(), Source::Text) {
                return Err(unlike());
            }
            let slot = Slot::new(schema, values, value);
            let slot = slot.map_err(|misfit| misfit.within(format!("[].{}", value.name())))?;
            return Ok(Read::Map(Box::new(slot)));
        }
        (of, _, DataType::Struct(wanted)) => {
            let fields = record_fields(schema, of).ok_or_else(unlike)?;
            return RecordPlan::new(schema, fields, wanted, ".").map(Read::Record);
        }
        _ => {}
    }
    let candidates = plain(schema, of);
    let fitting = candidates
        .into_iter()
        .find(|(_, source)| takes(wanted, *source));
    fitting.map(|(read, _)| read).ok_or_else(unlike)
}

/// What values of a type that has nothing inside can be read as, the best first.
fn plain(schema: &AvroSchema, of: &Type) -> Vec<(Read, Source)> {
    let units = |int, per_second, source| {
        let read = Read::Units {
            int,
            per_second,
            source,
        };
        (read, source)
    };
    match of {
        Type::Boolean => vec![(Read::Boolean, Source::Boolean)],
        Type::Int => vec![(Read::Int, Source::Integer)],
        Type::Long => vec![(Read::Long, Source::Integer)],
        Type::Float => vec![(Read::Float, Source::Float)],
        Type::Double => vec![(Read::Double, Source::Float)],
        Type::Bytes => vec![(Read::Bytes, Source::Bytes)],
        Type::String => vec![(Read::Bytes, Source::Text)],
        Type::Date => vec![(Read::Date, Source::Date)],
        Type::TimeMillis => vec![units(true, 1_000, Source::TimeOfDay)],
        Type::TimeMicros => vec![units(false, 1_000_000, Source::TimeOfDay)],
        Type::Instant { per_second, local } => {
            vec![units(false, *per_second, Source::Instant { local: *local })]
        }
        Type::Decimal { scale, .. } => {
            let scale = scale.cast_signed();
            let decimal = Read::Decimal { size: None, scale };
            vec![(decimal, Source::Decimal), (Read::Bytes, Source::Bytes)]
        }
        Type::Named(at) => match &schema.named[*at].kind {
            NamedKind::Enum(symbols) => vec![(Read::Enum(symbols.clone()), Source::Text)],
            NamedKind::Fixed(size, decimal) => {
                let bytes = (Read::Fixed(*size), Source::Fixed(*size));
                match decimal {
                    None => vec![bytes],
                    Some((_, scale)) => {
                        let (size, scale) = (Some(*size), scale.cast_signed());
                        vec![(Read::Decimal { size, scale }, Source::Decimal), bytes]
                    }
                }
            }
            NamedKind::Record(_) => Vec::new(),
        },
        Type::Null | Type::Array(_) | Type::Map(_) | Type::Union(_) => Vec::new(),
    }
}

/// A union is readable if one of its branches is, other than null: or if null is all that it has.
fn union(schema: &AvroSchema, branches: &[Type], wanted: &DataType) -> Option<Read> {
    let reads: Vec<Result<Read, (&'static str, String)>> = branches
        .iter()
        .map(|branch| {
            read(schema, branch, wanted).map_err(|misfit| {
                let what = format!("found {}", schema.name_of(branch));
                (misfit.code, format!("expected {wanted}, {what}"))
            })
        })
        .collect();
    let readable = |read: &Result<Read, _>| matches!(read, Ok(read) if !matches!(read, Read::Null));
    let only_null = branches.iter().all(|branch| *branch == Type::Null);
    (only_null || reads.iter().any(readable)).then_some(Read::Union(reads))
}

/// What the values of a type are, if it has nothing inside.
pub(super) fn plain_sources(schema: &AvroSchema, of: &Type) -> Vec<Source> {
    let candidates = plain(schema, of).into_iter();
    candidates.map(|(_, source)| source).collect()
}
