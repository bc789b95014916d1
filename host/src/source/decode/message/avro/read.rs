//! Reads records into columns, as planned.

use arrow::datatypes::i256;

use super::super::super::batch::Refusal;
use super::super::super::column::Misfit;
use super::super::super::origin::code;
use super::super::super::scan::MAX_DEPTH;
use super::super::values::Values;
use super::plan::{Read, RecordPlan, Slot, Step};
use super::schema::{AvroSchema, NamedKind, Type};
use super::wire::{Cursor, Malformed};

/// Why a record did not become a row.
#[derive(Debug)]
pub(super) enum Fault {
    Malformed(Malformed),
    Misfit(Misfit),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Misfit> for Fault {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

impl Fault {
    #[cold]
    fn within(self, step: String) -> Self {
        match self {
            Self::Misfit(misfit) => Self::Misfit(misfit.within(step)),
            malformed => malformed,
        }
    }

    /// The reason; `before` bytes stood before the record.
    pub(super) fn refusal(self, before: usize) -> Refusal {
        match self {
            Self::Misfit(misfit) => Refusal::misfit(&misfit, ""),
            Self::Malformed(Malformed { at, expected }) => Refusal {
                code: code::MALFORMED_AVRO,
                reason: format!("byte {}: expected {expected}", before + at + 1),
            },
        }
    }
}

/// Appends a row to the columns for the one record that `bytes` are. After a fault, parts of a row may be left.
pub(super) fn read_message(
    schema: &AvroSchema,
    plan: &RecordPlan,
    bytes: &[u8],
    columns: &mut Values,
) -> Result<(), Fault> {
    let mut cursor = Cursor::new(bytes);
    read_record(schema, plan, &mut cursor, columns)?;
    if !cursor.is_at_end() {
        return Err(cursor
            .malformed("the end of the message after its record")
            .into());
    }
    Ok(())
}

fn read_record(
    schema: &AvroSchema,
    plan: &RecordPlan,
    cursor: &mut Cursor<'_>,
    columns: &mut Values,
) -> Result<(), Fault> {
    for step in &plan.steps {
        match step {
            Step::Skip(of) => skip(schema, of, cursor, 0)?,
            Step::Read { column, step, slot } => {
                let column = &mut columns.children()[*column];
                read_slot(schema, slot, cursor, column)
                    .map_err(|fault| fault.within(step.clone()))?;
            }
        }
    }
    for column in &plan.missing {
        columns.children()[*column].push_null();
    }
    columns.end_struct();
    Ok(())
}

fn read_slot(
    schema: &AvroSchema,
    slot: &Slot,
    cursor: &mut Cursor<'_>,
    values: &mut Values,
) -> Result<(), Fault> {
    let mut read = &slot.read;
    while let Read::Union(branches) = read {
        let before = *cursor;
        let branch = usize::try_from(cursor.long()?).ok();
        match branch.and_then(|branch| branches.get(branch)) {
            Some(Ok(branch)) => read = branch,
            Some(Err((code, what))) => return Err(Misfit::new(code, what.clone()).into()),
            None => return Err(before.malformed("the number of a branch of a union").into()),
        }
    }
    match read {
        Read::Null => values.push_null_for(slot.nullable, "null")?,
        Read::Boolean => values.push_boolean(cursor.boolean()?)?,
        Read::Int => values.push_integer(cursor.int()?.into())?,
        Read::Long => values.push_integer(cursor.long()?)?,
        Read::Float => values.push_float(cursor.float()?.into())?,
        Read::Double => values.push_float(cursor.double()?)?,
        Read::Bytes => values.push_text(cursor.bytes()?)?,
        Read::Fixed(size) => {
            values.push_bytes(cursor.take(*size, "as many bytes as a fixed has")?)?
        }
        Read::Decimal { size, scale } => {
            let bytes = match size {
                Some(size) => cursor.take(*size, "as many bytes as a fixed has")?,
                None => cursor.bytes()?,
            };
            values.push_decimal(big_endian(bytes)?, *scale)?;
        }
        Read::Date => values.push_date(cursor.int()?)?,
        Read::Units {
            int,
            per_second,
            source,
        } => {
            let value = if *int {
                cursor.int()?.into()
            } else {
                cursor.long()?
            };
            values.push_units(value, *per_second, *source)?;
        }
        Read::Enum(symbols) => {
            let before = *cursor;
            let symbol = usize::try_from(cursor.int()?).ok();
            let Some(symbol) = symbol.and_then(|symbol| symbols.get(symbol)) else {
                return Err(before.malformed("the number of a symbol of an enum").into());
            };
            values.push_text(symbol.as_bytes())?;
        }
        Read::List(element) => read_list(schema, element, cursor, values)?,
        Read::Map(value) => read_map(schema, value, cursor, values)?,
        Read::Record(plan) => read_record(schema, plan, cursor, values)?,
        Read::Union(_) => unreachable!("the loop ends at a branch, which is no union"),
    }
    Ok(())
}

fn read_list(
    schema: &AvroSchema,
    element: &Slot,
    cursor: &mut Cursor<'_>,
    values: &mut Values,
) -> Result<(), Fault> {
    let mut total = 0;
    loop {
        let (count, _) = cursor.block()?;
        if count == 0 {
            break;
        }
        let Some(elements) = values.elements() else {
            break;
        };
        for number in total..total + count {
            read_slot(schema, element, cursor, elements)
                .map_err(|fault| fault.within(format!("[{number}]")))?;
        }
        total += count;
    }
    Ok(values.end_list(total)?)
}

fn read_map(
    schema: &AvroSchema,
    value: &Slot,
    cursor: &mut Cursor<'_>,
    values: &mut Values,
) -> Result<(), Fault> {
    let mut total = 0;
    loop {
        let (count, _) = cursor.block()?;
        if count == 0 {
            break;
        }
        let Some(entries) = values.elements() else {
            break;
        };
        for number in total..total + count {
            let [key, entry] = entries.children() else {
                break;
            };
            key.push_text(cursor.bytes()?)?;
            read_slot(schema, value, cursor, entry)
                .map_err(|fault| fault.within(format!("[{number}]")))?;
            entries.end_struct();
        }
        total += count;
    }
    Ok(values.end_list(total)?)
}

/// A number in two's complement, its highest byte first.
fn big_endian(bytes: &[u8]) -> Result<i256, Misfit> {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let fill = if negative { 0xff } else { 0 };
    let (extra, low) = bytes.split_at(bytes.len().saturating_sub(32));
    let same_sign = low.first().is_none_or(|first| (*first >= 0x80) == negative);
    if extra.iter().any(|byte| *byte != fill) || !same_sign {
        let what = format!(
            "a decimal of {} bytes, of which 32 are possible",
            bytes.len()
        );
        return Err(Misfit::new(code::OUT_OF_RANGE, what));
    }
    let mut padded = [fill; 32];
    padded[32 - low.len()..].copy_from_slice(low);
    Ok(i256::from_be_bytes(padded))
}

/// Reads over a value.
fn skip(
    schema: &AvroSchema,
    of: &Type,
    cursor: &mut Cursor<'_>,
    depth: u32,
) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(cursor.malformed("records nested no deeper than 128"));
    }
    match of {
        Type::Null => Ok(()),
        Type::Boolean => cursor.boolean().map(drop),
        Type::Int | Type::Date | Type::TimeMillis => cursor.int().map(drop),
        Type::Long | Type::TimeMicros | Type::Instant { .. } => cursor.long().map(drop),
        Type::Float => cursor.float().map(drop),
        Type::Double => cursor.double().map(drop),
        Type::Bytes | Type::String | Type::Decimal { .. } => cursor.bytes().map(drop),
        Type::Array(items) => skip_blocks(cursor, |cursor| skip(schema, items, cursor, depth + 1)),
        Type::Map(values) => skip_blocks(cursor, |cursor| {
            cursor.bytes()?;
            skip(schema, values, cursor, depth + 1)
        }),
        Type::Union(branches) => {
            let before = *cursor;
            let branch = usize::try_from(cursor.long()?).ok();
            match branch.and_then(|branch| branches.get(branch)) {
                Some(branch) => skip(schema, branch, cursor, depth + 1),
                None => Err(before.malformed("the number of a branch of a union")),
            }
        }
        Type::Named(at) => match &schema.named[*at].kind {
            NamedKind::Record(fields) => fields
                .iter()
                .try_for_each(|(_, of)| skip(schema, of, cursor, depth + 1)),
            NamedKind::Enum(symbols) => {
                let before = *cursor;
                match usize::try_from(cursor.int()?) {
                    Ok(symbol) if symbol < symbols.len() => Ok(()),
                    _ => Err(before.malformed("the number of a symbol of an enum")),
                }
            }
            NamedKind::Fixed(size, _) => {
                cursor.take(*size, "as many bytes as a fixed has").map(drop)
            }
        },
    }
}

fn skip_blocks<'a>(
    cursor: &mut Cursor<'a>,
    mut skip_one: impl FnMut(&mut Cursor<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    loop {
        match cursor.block()? {
            (0, _) => return Ok(()),
            (_, Some(size)) => drop(cursor.take(size, "as many bytes as the block has")?),
            (count, None) => (0..count).try_for_each(|_| skip_one(cursor))?,
        }
    }
}
