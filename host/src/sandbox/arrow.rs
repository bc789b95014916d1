//! Arrow columns across the boundary: normalised on the way out, checked on the way in.
//!
//! Out: plain arrays become the buffers that the contract lays down, without a copy where the
//! array already is as the contract wants it. In: every length, offset, bitmap and UTF-8 byte is
//! checked before an array is made of it, and what a guest may not say is said to the caller.

use std::ops::Range;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, OffsetSizeTrait, PrimitiveArray, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Field, Schema};

/// The buffers of some columns, in the contract's order. Cheap to clone.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    buffers: Vec<Buffer>,
}

impl Lowered {
    /// The buffers as the generated bindings take them.
    pub(super) fn slices(&self) -> Vec<&[u8]> {
        self.buffers.iter().map(Buffer::as_slice).collect()
    }
}

/// Lays arrays out for a guest.
pub(super) fn lower(arrays: &[ArrayRef]) -> Lowered {
    let mut lowered = Lowered::default();
    for array in arrays {
        lower_array(array, true, None, &mut lowered.buffers);
    }
    lowered
}

/// Lays out one array. `hidden` are the nulls of the struct that it is in: what lies under them must
/// not cross. A column that is not `nullable` has no validity even then.
fn lower_array(
    array: &dyn Array,
    nullable: bool,
    hidden: Option<&NullBuffer>,
    buffers: &mut Vec<Buffer>,
) {
    let nulls = NullBuffer::union(array.nulls(), hidden).filter(|nulls| nulls.null_count() > 0);
    let nulls = nulls.as_ref();
    let validity = nulls.filter(|_| nullable);
    buffers.push(validity.map_or_else(Buffer::default, |nulls| packed_bits(nulls.inner())));
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean().values();
            // Under a null the bit is zero.
            buffers.push(match nulls {
                Some(nulls) => packed_bits(&(values & nulls.inner())),
                None => packed_bits(values),
            });
        }
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            lower_bytes(text.offsets(), text.values(), nulls, buffers);
        }
        DataType::Binary => {
            let binary = array.as_binary::<i32>();
            lower_bytes(binary.offsets(), binary.values(), nulls, buffers);
        }
        DataType::LargeUtf8 => {
            let text = array.as_string::<i64>();
            lower_bytes(text.offsets(), text.values(), nulls, buffers);
        }
        DataType::LargeBinary => {
            let binary = array.as_binary::<i64>();
            lower_bytes(binary.offsets(), binary.values(), nulls, buffers);
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            lower_list(list.offsets(), list.values(), item, nulls, buffers);
        }
        DataType::LargeList(item) => {
            let list = array.as_list::<i64>();
            lower_list(list.offsets(), list.values(), item, nulls, buffers);
        }
        DataType::Struct(fields) => {
            for (child, field) in array.as_struct().columns().iter().zip(fields) {
                lower_array(child, field.is_nullable(), nulls, buffers);
            }
        }
        fixed => {
            let width = fixed_width(fixed);
            let data = array.to_data();
            let first = data.offset() * width;
            let values = data.buffers()[0].slice_with_length(first, data.len() * width);
            buffers.push(match nulls {
                Some(nulls) => zeroed(&values, width, nulls),
                None => values,
            });
        }
    }
}

/// The width in bytes of a type whose values all have the same.
fn fixed_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeBinary(width) => *width as usize,
        other => other
            .primitive_width()
            .expect("schema::children lets no other type through"),
    }
}

/// A bitmap from its first bit on, with zeros past its end.
fn packed_bits(bits: &BooleanBuffer) -> Buffer {
    let length = bits.len().div_ceil(8);
    let tail = bits.len() % 8;
    if bits.offset() == 0 {
        let packed = bits.inner().slice_with_length(0, length);
        if tail == 0 || packed[length - 1] >> tail == 0 {
            return packed;
        }
    }
    let mut packed = MutableBuffer::new(length);
    packed.extend_from_slice(&bits.sliced().as_slice()[..length]);
    if tail != 0 {
        packed.as_slice_mut()[length - 1] &= (1 << tail) - 1;
    }
    packed.into()
}

fn zeroed(values: &Buffer, width: usize, nulls: &NullBuffer) -> Buffer {
    let mut zeroed = MutableBuffer::new(values.len());
    zeroed.extend_from_slice(values.as_slice());
    let bytes = zeroed.as_slice_mut();
    for row in (0..nulls.len()).filter(|row| nulls.is_null(*row)) {
        bytes[row * width..(row + 1) * width].fill(0);
    }
    zeroed.into()
}

/// Whether offsets start at zero and no null spans anything, as the contract wants it.
fn plain<O: OffsetSizeTrait>(offsets: &[O], nulls: Option<&NullBuffer>) -> bool {
    offsets.first().is_none_or(|first| first.as_usize() == 0)
        && nulls.is_none_or(|nulls| {
            (0..nulls.len()).all(|row| nulls.is_valid(row) || offsets[row] == offsets[row + 1])
        })
}

/// The offsets that the spans of the valid rows have when they are laid behind each other.
fn packed_offsets<O: OffsetSizeTrait>(offsets: &[O], nulls: Option<&NullBuffer>) -> Buffer {
    let mut packed = Vec::with_capacity(offsets.len());
    let mut end = 0;
    packed.push(O::usize_as(end));
    for row in 0..offsets.len().saturating_sub(1) {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            end += offsets[row + 1].as_usize() - offsets[row].as_usize();
        }
        packed.push(O::usize_as(end));
    }
    Buffer::from_vec(packed)
}

/// The spans of the valid rows, joined where they touch.
fn spans<O: OffsetSizeTrait>(offsets: &[O], nulls: Option<&NullBuffer>) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for row in 0..offsets.len().saturating_sub(1) {
        let span = offsets[row].as_usize()..offsets[row + 1].as_usize();
        if span.is_empty() || nulls.is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        match spans.last_mut() {
            Some(last) if last.end == span.start => last.end = span.end,
            _ => spans.push(span),
        }
    }
    spans
}

fn lower_bytes<O: OffsetSizeTrait>(
    offsets: &OffsetBuffer<O>,
    values: &Buffer,
    nulls: Option<&NullBuffer>,
    buffers: &mut Vec<Buffer>,
) {
    if plain(offsets, nulls) {
        let end = offsets.last().map_or(0, |end| end.as_usize());
        buffers.push(offsets.inner().inner().clone());
        buffers.push(values.slice_with_length(0, end));
        return;
    }
    buffers.push(packed_offsets(offsets, nulls));
    let spans = spans(offsets, nulls);
    buffers.push(match spans.as_slice() {
        [] => Buffer::default(),
        [span] => values.slice_with_length(span.start, span.len()),
        many => {
            let mut packed = MutableBuffer::new(many.iter().map(Range::len).sum());
            for span in many {
                packed.extend_from_slice(&values[span.clone()]);
            }
            packed.into()
        }
    });
}

fn lower_list<O: OffsetSizeTrait>(
    offsets: &OffsetBuffer<O>,
    values: &ArrayRef,
    item: &Field,
    nulls: Option<&NullBuffer>,
    buffers: &mut Vec<Buffer>,
) {
    let (offsets, spans) = if plain(offsets, nulls) {
        let end = offsets.last().map_or(0, |end| end.as_usize());
        (
            offsets.inner().inner().clone(),
            std::iter::once(0..end).collect(),
        )
    } else {
        (packed_offsets(offsets, nulls), spans(offsets, nulls))
    };
    buffers.push(offsets);
    let items = match spans.as_slice() {
        [] => values.slice(0, 0),
        [span] => values.slice(span.start, span.len()),
        many => {
            let pieces: Vec<ArrayRef> = many
                .iter()
                .map(|span| values.slice(span.start, span.len()))
                .collect();
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            concat(&pieces).expect("pieces of one array have one type")
        }
    };
    lower_array(&items, item.is_nullable(), None, buffers);
}

/// Makes arrays of what a guest returned.
///
/// # Errors
///
/// Says which column breaks the contract, and how.
pub(super) fn lift(
    schema: &Schema,
    rows: u32,
    buffers: Vec<Vec<u8>>,
) -> Result<Vec<ArrayRef>, String> {
    let mut buffers = buffers.into_iter().map(Buffer::from_vec);
    let mut arrays = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let data = lift_field(field, rows as usize, &mut buffers)?;
        arrays.push(make_array(data));
    }
    match buffers.count() {
        0 => Ok(arrays),
        more => Err(format!(
            "{more} more buffers than the schema's columns have"
        )),
    }
}

fn lift_field(
    field: &Field,
    rows: usize,
    buffers: &mut impl Iterator<Item = Buffer>,
) -> Result<ArrayData, String> {
    let name = field.name();
    let mut next = |what: &str| {
        buffers
            .next()
            .ok_or_else(|| format!("column `{name}`: its {what} buffer is missing"))
    };
    let nulls = lift_nulls(field, rows, next("validity")?)?;
    let mut builder = ArrayData::builder(field.data_type().clone())
        .len(rows)
        .nulls(nulls);
    match field.data_type() {
        DataType::Boolean => {
            let values = exactly(name, "values", next("values")?, rows.div_ceil(8))?;
            builder = builder.add_buffer(values);
        }
        DataType::Utf8 | DataType::Binary => {
            let (offsets, end) = lift_offsets::<i32>(name, rows, next("offsets")?)?;
            let bytes = exactly(name, "bytes", next("bytes")?, end)?;
            builder = builder.add_buffer(offsets).add_buffer(bytes);
        }
        DataType::LargeUtf8 | DataType::LargeBinary => {
            let (offsets, end) = lift_offsets::<i64>(name, rows, next("offsets")?)?;
            let bytes = exactly(name, "bytes", next("bytes")?, end)?;
            builder = builder.add_buffer(offsets).add_buffer(bytes);
        }
        DataType::List(item) => {
            let (offsets, end) = lift_offsets::<i32>(name, rows, next("offsets")?)?;
            builder = builder
                .add_buffer(offsets)
                .add_child_data(lift_field(item, end, buffers)?);
        }
        DataType::LargeList(item) => {
            let (offsets, end) = lift_offsets::<i64>(name, rows, next("offsets")?)?;
            builder = builder
                .add_buffer(offsets)
                .add_child_data(lift_field(item, end, buffers)?);
        }
        DataType::Struct(fields) => {
            for child in fields {
                builder = builder.add_child_data(lift_field(child, rows, buffers)?);
            }
        }
        fixed => {
            let length = rows.checked_mul(fixed_width(fixed)).ok_or_else(|| {
                format!("column `{name}`: {rows} rows are more than memory can hold")
            })?;
            builder = builder.add_buffer(exactly(name, "values", next("values")?, length)?);
        }
    }
    // `build` checks UTF-8 value by value, and once more all offsets; decimals it does not look at.
    let data = builder
        .align_buffers(true)
        .build()
        .map_err(|error| format!("column `{name}`: {error}"))?;
    match *field.data_type() {
        DataType::Decimal128(most, _) => refuse_long_decimals::<Decimal128Type>(name, &data, most)?,
        DataType::Decimal256(most, _) => refuse_long_decimals::<Decimal256Type>(name, &data, most)?,
        _ => {}
    }
    Ok(data)
}

/// Arrow's own check also holds the precision against the scale, and stumbles over negative ones.
fn refuse_long_decimals<T: DecimalType>(
    name: &str,
    data: &ArrayData,
    most: u8,
) -> Result<(), String> {
    let decimals = PrimitiveArray::<T>::from(data.clone());
    let long = |value| !T::is_valid_decimal_precision(value, most);
    match decimals.iter().position(|value| value.is_some_and(long)) {
        None => Ok(()),
        Some(row) => Err(format!(
            "column `{name}`: the decimal in row {row} has more than {most} digits"
        )),
    }
}

fn lift_nulls(field: &Field, rows: usize, bits: Buffer) -> Result<Option<NullBuffer>, String> {
    if bits.is_empty() {
        return Ok(None);
    }
    let name = field.name();
    let bits = exactly(name, "validity", bits, rows.div_ceil(8))?;
    let nulls = NullBuffer::new(BooleanBuffer::new(bits, 0, rows));
    if nulls.null_count() > 0 && !field.is_nullable() {
        return Err(format!(
            "column `{name}` is declared without nulls and has {}",
            nulls.null_count()
        ));
    }
    Ok(Some(nulls))
}

fn exactly(name: &str, what: &str, buffer: Buffer, length: usize) -> Result<Buffer, String> {
    if buffer.len() == length {
        return Ok(buffer);
    }
    Err(format!(
        "column `{name}`: its {what} buffer has {} bytes where {length} belong",
        buffer.len()
    ))
}

/// Checks offsets, and gives them with the last of them.
fn lift_offsets<O: OffsetSizeTrait>(
    name: &str,
    rows: usize,
    buffer: Buffer,
) -> Result<(Buffer, usize), String> {
    let width = size_of::<O>();
    let length = rows
        .checked_add(1)
        .and_then(|count| count.checked_mul(width))
        .ok_or_else(|| format!("column `{name}`: {rows} rows are more than memory can hold"))?;
    let buffer = exactly(name, "offsets", buffer, length)?;
    let mut previous = 0;
    for (row, bytes) in buffer.chunks_exact(width).enumerate() {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(bytes);
        // A negative offset of 32 bits becomes one that is far too large: refused below all the same.
        let offset = u64::from_le_bytes(wide) as usize;
        let is_first = row == 0;
        if (is_first && offset != 0) || offset < previous || offset > O::MAX_OFFSET {
            return Err(format!(
                "column `{name}`: offset {row} is {offset} after {previous}; offsets start at 0 and never fall"
            ));
        }
        previous = offset;
    }
    Ok((buffer, previous))
}

/// Reads little-endian u32 values, as `changed`, `source-group` and `source-row` are.
pub(super) fn lift_u32s(what: &str, bytes: &[u8]) -> Result<Vec<u32>, String> {
    if !bytes.len().is_multiple_of(4) {
        return Err(format!(
            "`{what}` has {} bytes, which is no whole number of u32",
            bytes.len()
        ));
    }
    Ok(bytes
        .chunks_exact(4)
        .map(|value| u32::from_le_bytes(value.try_into().expect("chunks of four")))
        .collect())
}

#[cfg(test)]
#[path = "arrow_tests.rs"]
mod tests;
