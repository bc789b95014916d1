//! Reads messages into columns, as planned.
//!
//! The fields of a message come in any order, and of one that comes twice the last counts: so first the message is gone
//! through and where each wanted value stands is noted, and then the columns get theirs. Elements of repeated fields go
//! to their column at once. A message inside another that comes twice is put together from its parts.

use super::super::super::batch::Refusal;
use super::super::super::column::Misfit;
use super::super::super::origin::code;
use super::super::values::{Source, Values};
use super::plan::{FieldPlan, Found, Label, MessagePlan, Raw, Scalar, Value};
use super::wire::{Cursor, Malformed, WireType};

/// Why a message did not become a row.
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
    fn within(self, step: &str) -> Self {
        match self {
            // Only the outermost step has no dot before it, and only here is it known which that is.
            Self::Misfit(misfit) => Self::Misfit(misfit.within(format!(".{step}"))),
            malformed => malformed,
        }
    }

    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Misfit(mut misfit) => {
                if let Some(outermost) = misfit.path.last_mut() {
                    *outermost = outermost.trim_start_matches('.').to_owned();
                }
                Refusal::misfit(&misfit, "")
            }
            Self::Malformed(Malformed { at, expected }) => Refusal {
                code: code::MALFORMED_PROTOBUF,
                reason: format!("byte {}: expected {expected}", at + 1),
            },
        }
    }
}

/// Appends a row to the columns for a message. After a fault, parts of a row may be left.
pub(super) fn read_message(
    plan: &mut MessagePlan,
    cursor: Cursor<'_>,
    columns: &mut Values,
) -> Result<(), Fault> {
    for found in &mut plan.found {
        found.value = Raw::Absent;
        found.elements = 0;
        found.merged.clear();
    }
    scan(plan, cursor, columns)?;
    let children = columns.children();
    for ((field, found), column) in plan.fields.iter_mut().zip(&plan.found).zip(children) {
        if let Label::Repeated = field.label {
            column.end_list(found.elements)?;
            continue;
        }
        let bytes = match found.value {
            Raw::Bytes { start, end } => {
                let whole = cursor.rest();
                Cursor::new(&whole[start..end], cursor.position() + start)
            }
            // Where a part of it stood is not known any more; reasons point at the whole.
            _ => Cursor::new(&found.merged, cursor.position()),
        };
        push(field, found.value, bytes, column).map_err(|fault| fault.within(&field.name))?;
    }
    columns.end_struct();
    Ok(())
}

/// Notes where the wanted values stand, and appends the elements of repeated fields.
fn scan(plan: &mut MessagePlan, whole: Cursor<'_>, columns: &mut Values) -> Result<(), Fault> {
    let mut cursor = whole;
    while !cursor.is_at_end() {
        let before = cursor;
        let (number, wire_type) = cursor.tag()?;
        let Some(target) = plan.target(number) else {
            cursor.skip(number, wire_type)?;
            continue;
        };
        let Some(column) = target.column else {
            cursor.skip(number, wire_type)?;
            clear_others(plan, target.oneof, usize::MAX);
            continue;
        };
        let field = &mut plan.fields[column];
        let found = &mut plan.found[column];
        if let Label::Repeated = field.label {
            let Some(elements) = columns.children()[column].elements() else {
                continue;
            };
            let added = read_elements(field, before, &mut cursor, wire_type, found, elements);
            added.map_err(|fault| fault.within(&field.name))?;
            continue;
        }
        if wire_type != field.value.wire_type() {
            return Err(before.malformed(field.value.expected()).into());
        }
        match wire_type {
            WireType::Varint => {
                let number = cursor.varint()?;
                // A number that is none of a closed enum's is passed over, as an unknown field is.
                if field.value.is_no_value(number) {
                    continue;
                }
                found.value = Raw::Number(number);
            }
            WireType::Fixed64 => found.value = Raw::Number(cursor.fixed64()?),
            WireType::Fixed32 => found.value = Raw::Number(cursor.fixed32()?.into()),
            _ => {
                let inner = cursor.inner()?;
                let start = inner.position() - whole.position();
                let end = start + inner.rest().len();
                found.note(field, whole.rest(), start, end);
            }
        }
        if target.oneof.is_some() {
            clear_others(plan, target.oneof, column);
        }
    }
    Ok(())
}

impl Found {
    /// Notes where a value stands; a message that is there already goes on with it.
    fn note(&mut self, field: &FieldPlan, whole: &[u8], start: usize, end: usize) {
        let mergeable = !matches!(field.value, Value::Scalar(_));
        match self.value {
            Raw::Bytes {
                start: first,
                end: last,
            } if mergeable => {
                self.merged.extend_from_slice(&whole[first..last]);
                self.merged.extend_from_slice(&whole[start..end]);
                self.value = Raw::Merged;
            }
            Raw::Merged if mergeable => self.merged.extend_from_slice(&whole[start..end]),
            _ => self.value = Raw::Bytes { start, end },
        }
    }
}

/// Of the members of a oneof, only the last that came is there.
fn clear_others(plan: &mut MessagePlan, oneof: Option<usize>, but: usize) {
    let fields = plan.fields.iter().zip(&mut plan.found).enumerate();
    for (column, (field, found)) in fields {
        if field.oneof == oneof && column != but {
            found.value = Raw::Absent;
            found.merged.clear();
        }
    }
}

/// Appends elements of a repeated field: one, or several that are packed.
fn read_elements(
    field: &mut FieldPlan,
    before: Cursor<'_>,
    cursor: &mut Cursor<'_>,
    wire_type: WireType,
    found: &mut Found,
    elements: &mut Values,
) -> Result<(), Fault> {
    let one = field.value.wire_type();
    if wire_type == one {
        let pushed = read_element(&mut field.value, cursor, elements);
        found.elements += usize::from(pushed.map_err(|fault| in_element(fault, found.elements))?);
        return Ok(());
    }
    if wire_type != WireType::Bytes {
        return Err(before.malformed(field.value.expected()).into());
    }
    let mut packed = cursor.inner()?;
    while !packed.is_at_end() {
        let pushed = read_element(&mut field.value, &mut packed, elements);
        found.elements += usize::from(pushed.map_err(|fault| in_element(fault, found.elements))?);
    }
    Ok(())
}

#[cold]
fn in_element(fault: Fault, number: usize) -> Fault {
    match fault {
        Fault::Misfit(misfit) => Fault::Misfit(misfit.within(format!("[{number}]"))),
        malformed => malformed,
    }
}

/// Appends an element, unless it is none.
fn read_element(
    value: &mut Value,
    cursor: &mut Cursor<'_>,
    elements: &mut Values,
) -> Result<bool, Fault> {
    match value.wire_type() {
        WireType::Varint => {
            let number = cursor.varint()?;
            if value.is_no_value(number) {
                return Ok(false);
            }
            push_scalar(value.scalar(), Raw::Number(number), &[], elements)?;
        }
        WireType::Fixed64 => {
            let number = cursor.fixed64()?;
            push_scalar(value.scalar(), Raw::Number(number), &[], elements)?;
        }
        WireType::Fixed32 => {
            let number = cursor.fixed32()?.into();
            push_scalar(value.scalar(), Raw::Number(number), &[], elements)?;
        }
        _ => push_bytes(value, cursor.inner()?, elements)?,
    }
    Ok(true)
}

/// Appends the value of a field that is there at most once.
fn push(
    field: &mut FieldPlan,
    raw: Raw,
    bytes: Cursor<'_>,
    column: &mut Values,
) -> Result<(), Fault> {
    match (raw, field.label) {
        (Raw::Absent, Label::Optional) => Ok(column.push_null_for(field.nullable, "missing")?),
        (Raw::Absent, _) => match &mut field.value {
            Value::Scalar(scalar) => Ok(push_scalar(scalar, Raw::Number(0), &[], column)?),
            // In an entry of a map, a message that is not there is an empty one.
            value => push_bytes(value, Cursor::new(&[], bytes.position()), column),
        },
        (Raw::Number(_), _) => Ok(push_scalar(field.value.scalar(), raw, &[], column)?),
        (Raw::Bytes { .. } | Raw::Merged, _) => push_bytes(&mut field.value, bytes, column),
    }
}

/// Appends a value that has a length.
fn push_bytes(value: &mut Value, bytes: Cursor<'_>, column: &mut Values) -> Result<(), Fault> {
    match value {
        Value::Scalar(scalar) => {
            let text = bytes.rest();
            let raw = Raw::Bytes {
                start: 0,
                end: text.len(),
            };
            push_scalar(scalar, raw, text, column)?;
        }
        Value::Message(plan) | Value::Entry(plan) => read_message(plan, bytes, column)?,
        Value::Instant => {
            let (seconds, nanoseconds) = seconds(bytes)?;
            if !(0..1_000_000_000).contains(&nanoseconds) {
                return Err(bad_nanoseconds(nanoseconds).into());
            }
            column.push_seconds(seconds, nanoseconds, Source::Instant { local: false })?;
        }
        Value::Span => {
            let (seconds, nanoseconds) = seconds(bytes)?;
            let same_sign = i64::from(nanoseconds).signum() * seconds.signum() >= 0;
            if !(-999_999_999..=999_999_999).contains(&nanoseconds) || !same_sign {
                return Err(bad_nanoseconds(nanoseconds).into());
            }
            column.push_seconds(seconds, nanoseconds, Source::Span)?;
        }
        Value::Wrapper(scalar) => push_wrapped(scalar, bytes, column)?,
    }
    Ok(())
}

#[cold]
fn bad_nanoseconds(nanoseconds: i32) -> Misfit {
    let what = format!("expected a part of a second in nanoseconds, found {nanoseconds}");
    Misfit::new(code::BAD_VALUE, what)
}

/// The fields of `google.protobuf.Timestamp` and `Duration`.
fn seconds(bytes: Cursor<'_>) -> Result<(i64, i32), Malformed> {
    let (mut cursor, mut seconds, mut nanoseconds) = (bytes, 0, 0);
    while !cursor.is_at_end() {
        let before = cursor;
        match cursor.tag()? {
            (1, WireType::Varint) => seconds = cursor.varint()?.cast_signed(),
            (2, WireType::Varint) => nanoseconds = cursor.varint()? as i32,
            (1 | 2, _) => return Err(before.malformed("seconds and nanoseconds")),
            (number, wire_type) => cursor.skip(number, wire_type)?,
        }
    }
    Ok((seconds, nanoseconds))
}

/// The field of `google.protobuf.Int64Value` and its like.
fn push_wrapped(scalar: &Scalar, bytes: Cursor<'_>, column: &mut Values) -> Result<(), Fault> {
    let (mut cursor, mut raw, mut text): (_, _, &[u8]) = (bytes, Raw::Number(0), &[]);
    while !cursor.is_at_end() {
        let before = cursor;
        let (number, wire_type) = cursor.tag()?;
        if number != 1 {
            cursor.skip(number, wire_type)?;
            continue;
        }
        if wire_type != scalar.wire_type() {
            return Err(before.malformed(expected(scalar.wire_type())).into());
        }
        raw = match wire_type {
            WireType::Varint => Raw::Number(cursor.varint()?),
            WireType::Fixed64 => Raw::Number(cursor.fixed64()?),
            WireType::Fixed32 => Raw::Number(cursor.fixed32()?.into()),
            _ => {
                text = cursor.inner()?.rest();
                let end = text.len();
                Raw::Bytes { start: 0, end }
            }
        };
    }
    Ok(push_scalar(scalar, raw, text, column)?)
}

/// Appends a value; the number 0 of something with a length is an empty one.
fn push_scalar(scalar: &Scalar, raw: Raw, bytes: &[u8], column: &mut Values) -> Result<(), Misfit> {
    let number = match raw {
        Raw::Number(number) => number,
        _ => 0,
    };
    // Of a number of 32 bits, only those count, whatever a writer has put above them.
    let low = number as u32;
    match scalar {
        Scalar::Int32 | Scalar::Sfixed32 | Scalar::EnumNumber => {
            column.push_integer(low.cast_signed().into())
        }
        Scalar::Int64 | Scalar::Sfixed64 => column.push_integer(number.cast_signed()),
        Scalar::Uint32 | Scalar::Fixed32 => column.push_integer(low.into()),
        Scalar::Uint64 | Scalar::Fixed64 => column.push_unsigned(number),
        Scalar::Sint32 => {
            column.push_integer(((low >> 1).cast_signed() ^ -(low & 1).cast_signed()).into())
        }
        Scalar::Sint64 => {
            column.push_integer((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
        }
        Scalar::Float => column.push_float(f32::from_bits(low).into()),
        Scalar::Double => column.push_float(f64::from_bits(number)),
        Scalar::Bool => column.push_boolean(number != 0),
        Scalar::String => column.push_text(bytes),
        Scalar::Bytes => column.push_bytes(bytes),
        Scalar::Enum(symbols) => match symbols.name(low.cast_signed()) {
            Some(name) => column.push_text(name.as_bytes()),
            // As Protobuf's JSON shows it.
            None => column.push_text(low.cast_signed().to_string().as_bytes()),
        },
    }
}

fn expected(wire_type: WireType) -> &'static str {
    match wire_type {
        WireType::Varint => "an integer, as the field's type is written",
        WireType::Fixed64 => "eight bytes, as the field's type is written",
        WireType::Fixed32 => "four bytes, as the field's type is written",
        _ => "a length and bytes, as the field's type is written",
    }
}

impl Value {
    fn wire_type(&self) -> WireType {
        match self {
            Self::Scalar(scalar) => scalar.wire_type(),
            _ => WireType::Bytes,
        }
    }

    fn expected(&self) -> &'static str {
        expected(self.wire_type())
    }

    /// Whether a number is none of a closed enum's.
    fn is_no_value(&self, number: u64) -> bool {
        match self {
            Self::Scalar(Scalar::Enum(symbols)) => {
                symbols.closed && symbols.name((number as u32).cast_signed()).is_none()
            }
            _ => false,
        }
    }

    /// The scalar that it is; what has a number is one.
    fn scalar(&self) -> &Scalar {
        match self {
            Self::Scalar(scalar) | Self::Wrapper(scalar) => scalar,
            _ => &Scalar::Int64,
        }
    }
}
