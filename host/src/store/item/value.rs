//! How one value of a feature is laid out in bytes, for every Arrow type that a feature may have.
//!
//! Layout version 1 (integers little-endian, `varint` is LEB128, `text` is a varint length and UTF-8):
//!
//! ```text
//! value      = 0x01 (layout version)  type  cells(type, 1)
//! type       = text (Arrow C data interface format string, e.g. "l", "tsu:UTC", "d:10,2", "+s")
//!              u8 (1 = nullable, 2 = a map's keys are sorted)
//!              varint (number of children)  { text (name)  type }*
//! cells(t,n) = validity  then, by t:
//!   n                       nothing, and no validity before it
//!   b                       ceil(n/8) bytes, least significant bit first
//!   fixed width w           n * w bytes; zero under a null
//!   z Z u U                 n varint lengths (0 under a null), then the bytes
//!   +l +L +m                n varint lengths (0 under a null), then cells(child, their sum)
//!   +w:k                    cells(child, n * k)
//!   +s                      cells(child, n) for each child
//! validity   = 0x00 (no nulls)  |  0x01 and ceil(n/8) bytes, least significant bit first, 1 = valid
//! ```
//!
//! Types speak the same language as the Wasm contract, so a type that crosses there is stored here without a new
//! tag. The cells of a list lie together, so an embedding of a thousand floats is one copy. Floats keep their bits.
//! A child field's metadata is not stored.

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, downcast_primitive_array, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::util::bit_util;

use super::bytes::{Cursor, put_varint};
use super::types::{read_type, write_type};
use crate::text::json_texts;

/// The layout that this code writes, and the only one that it reads.
const LAYOUT: u8 = 1;

/// One value of a feature: a single Arrow cell with its type.
#[derive(Clone, Debug)]
pub struct Value(ArrayRef);

/// As Arrow compares arrays: floats by their bits, so that a NaN equals itself.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_data() == other.0.to_data()
    }
}

/// Why a value could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The type has no layout here.
    #[error(
        "the type {0} cannot be stored as a feature; cast it to a plain type (for example Utf8 or a list) first"
    )]
    Unsupported(String),
    /// The bytes are of a layout that this build does not know.
    #[error(
        "the value has layout {found}, and this build reads layout {LAYOUT}: read it with the build that wrote it, or a newer one"
    )]
    Layout {
        /// The version that the bytes name.
        found: u8,
    },
    /// The bytes do not follow the layout.
    #[error("the value's bytes are damaged: {0}")]
    Damaged(String),
    /// The value cannot be shown as text.
    #[error("the value cannot be written as JSON: {0}")]
    Json(String),
}

impl Value {
    /// Takes row `row` of a column.
    ///
    /// # Panics
    ///
    /// When `row` is not a row of `column`.
    #[must_use]
    pub fn of(column: &ArrayRef, row: usize) -> Self {
        Self(column.slice(row, 1))
    }

    /// The value as an array of one row.
    #[must_use]
    pub fn array(&self) -> &ArrayRef {
        &self.0
    }

    /// The value's Arrow type.
    #[must_use]
    pub fn data_type(&self) -> &DataType {
        self.0.data_type()
    }

    /// The value as JSON text: timestamps in RFC 3339, binary in hexadecimal, NaN and the infinities as `null`.
    ///
    /// # Errors
    ///
    /// [`ValueError::Json`] when Arrow's JSON writer does not know the type.
    pub fn to_json(&self) -> Result<String, ValueError> {
        let texts = json_texts(&self.0).map_err(|error| ValueError::Json(error.to_string()));
        let text = texts?.pop();
        text.ok_or_else(|| ValueError::Json("the writer gave no line".to_owned()))
    }

    /// Reads a value from its bytes, which are not trusted.
    ///
    /// # Errors
    ///
    /// [`ValueError::Layout`] for a version this build does not know, [`ValueError::Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let mut cursor = Cursor::new(bytes);
        let layout = cursor.u8().ok_or_else(cut)?;
        if layout != LAYOUT {
            return Err(ValueError::Layout { found: layout });
        }
        let data_type = read_type(&mut cursor)?;
        let array = read_cells(&mut cursor, &data_type, 1)?;
        if !cursor.is_empty() {
            return Err(damaged("bytes follow the value"));
        }
        Ok(Self(array))
    }
}

/// Writes the values of one column, a row at a time.
pub struct ValueEncoder<'a> {
    /// The layout version and the type, the same for every row.
    head: Vec<u8>,
    column: Column<'a>,
}

impl<'a> ValueEncoder<'a> {
    /// Prepares a column.
    ///
    /// # Errors
    ///
    /// [`ValueError::Unsupported`] when the column's type, or one inside it, has no layout.
    pub fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        let mut head = vec![LAYOUT];
        write_type(array.data_type(), &mut head)?;
        Ok(Self {
            head,
            column: Column::new(array)?,
        })
    }

    /// What every value of the column begins with: the layout and the type.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether the row holds no value.
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.column.nulls.is_some_and(|n| n.is_null(row))
            || matches!(self.column.cells, Cells::Nothing)
    }

    /// Appends the bytes of row `row`.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        self.column.write(row, 1, out);
    }
}

/// An Arrow column, with what writing its cells needs taken out once.
struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Nothing,
    Bits(&'a arrow::buffer::BooleanBuffer),
    Fixed(&'a [u8], usize),
    Bytes32(&'a [i32], &'a [u8]),
    Bytes64(&'a [i64], &'a [u8]),
    List32(&'a [i32], Box<Column<'a>>),
    List64(&'a [i64], Box<Column<'a>>),
    FixedList(usize, Box<Column<'a>>),
    Struct(Vec<Column<'a>>),
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        let child = |array: &'a dyn Array| Column::new(array).map(Box::new);
        let cells = match array.data_type() {
            DataType::Null => Cells::Nothing,
            DataType::Boolean => Cells::Bits(array.as_boolean().values()),
            DataType::Utf8 => {
                let a = array.as_string::<i32>();
                Cells::Bytes32(a.value_offsets(), a.value_data())
            }
            DataType::LargeUtf8 => {
                let a = array.as_string::<i64>();
                Cells::Bytes64(a.value_offsets(), a.value_data())
            }
            DataType::Binary => {
                let a = array.as_binary::<i32>();
                Cells::Bytes32(a.value_offsets(), a.value_data())
            }
            DataType::LargeBinary => {
                let a = array.as_binary::<i64>();
                Cells::Bytes64(a.value_offsets(), a.value_data())
            }
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).unwrap_or(0);
                Cells::Fixed(array.as_fixed_size_binary().value_data(), width)
            }
            DataType::List(_) => {
                let a = array.as_list::<i32>();
                Cells::List32(a.value_offsets(), child(a.values())?)
            }
            DataType::LargeList(_) => {
                let a = array.as_list::<i64>();
                Cells::List64(a.value_offsets(), child(a.values())?)
            }
            DataType::Map(..) => {
                let a = array.as_map();
                Cells::List32(a.value_offsets(), child(a.entries())?)
            }
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).unwrap_or(0);
                Cells::FixedList(size, child(array.as_fixed_size_list().values())?)
            }
            DataType::Struct(_) => Cells::Struct(
                array
                    .as_struct()
                    .columns()
                    .iter()
                    .map(|c| Column::new(c))
                    .collect::<Result<_, _>>()?,
            ),
            _ => downcast_primitive_array!(
                array => Cells::Fixed(
                    array.values().inner().as_slice(),
                    array.data_type().primitive_width().expect("a primitive type has a width"),
                ),
                other => return Err(ValueError::Unsupported(other.to_string())),
            ),
        };
        Ok(Self {
            nulls: array.nulls(),
            cells,
        })
    }

    /// Writes rows `start..start + len`.
    fn write(&self, start: usize, len: usize, out: &mut Vec<u8>) {
        if matches!(self.cells, Cells::Nothing) {
            return;
        }
        // Only nulls within the range count: the same value must give the same bytes whatever its neighbours are.
        let nulls = self
            .nulls
            .filter(|n| (start..start + len).any(|row| n.is_null(row)));
        match nulls {
            None => out.push(0),
            Some(nulls) => {
                out.push(1);
                write_bits(len, out, |i| nulls.is_valid(start + i));
            }
        }
        let valid = |i: usize| nulls.is_none_or(|n| n.is_valid(start + i));
        match &self.cells {
            Cells::Nothing => {}
            Cells::Bits(bits) => write_bits(len, out, |i| valid(i) && bits.value(start + i)),
            Cells::Fixed(bytes, width) => {
                let from = out.len();
                out.extend_from_slice(&bytes[start * width..(start + len) * width]);
                if nulls.is_some() {
                    for i in (0..len).filter(|i| !valid(*i)) {
                        out[from + i * width..from + (i + 1) * width].fill(0);
                    }
                }
            }
            Cells::Bytes32(offsets, data) => {
                write_bytes(start, len, valid, |i| offsets[i] as usize, data, out);
            }
            Cells::Bytes64(offsets, data) => {
                write_bytes(start, len, valid, |i| offsets[i] as usize, data, out);
            }
            Cells::List32(offsets, child) => {
                write_lists(start, len, valid, |i| offsets[i] as usize, child, out);
            }
            Cells::List64(offsets, child) => {
                write_lists(start, len, valid, |i| offsets[i] as usize, child, out);
            }
            Cells::FixedList(size, child) => child.write(start * size, len * size, out),
            Cells::Struct(children) => {
                for child in children {
                    child.write(start, len, out);
                }
            }
        }
    }
}

fn write_bits(len: usize, out: &mut Vec<u8>, bit: impl Fn(usize) -> bool) {
    let from = out.len();
    out.resize(from + len.div_ceil(8), 0);
    for i in (0..len).filter(|i| bit(*i)) {
        out[from + i / 8] |= 1 << (i % 8);
    }
}

fn write_bytes(
    start: usize,
    len: usize,
    valid: impl Fn(usize) -> bool,
    offset: impl Fn(usize) -> usize,
    data: &[u8],
    out: &mut Vec<u8>,
) {
    for i in 0..len {
        let length = offset(start + i + 1) - offset(start + i);
        put_varint(if valid(i) { length as u64 } else { 0 }, out);
    }
    for i in (0..len).filter(|i| valid(*i)) {
        out.extend_from_slice(&data[offset(start + i)..offset(start + i + 1)]);
    }
}

fn write_lists(
    start: usize,
    len: usize,
    valid: impl Fn(usize) -> bool,
    offset: impl Fn(usize) -> usize,
    child: &Column<'_>,
    out: &mut Vec<u8>,
) {
    for i in 0..len {
        let length = offset(start + i + 1) - offset(start + i);
        put_varint(if valid(i) { length as u64 } else { 0 }, out);
    }
    let (first, last) = (offset(start), offset(start + len));
    let hidden = (0..len).any(|i| !valid(i) && offset(start + i + 1) > offset(start + i));
    if !hidden {
        return child.write(first, last - first, out);
    }
    // Rows lie under a null list: the cells must be those of the valid lists alone, as one column.
    let rows: Vec<usize> = (0..len)
        .filter(|i| valid(*i))
        .flat_map(|i| offset(start + i)..offset(start + i + 1))
        .collect();
    child.write_rows(&rows, out);
}

impl Column<'_> {
    /// Writes rows that do not lie together. Only hidden rows under a null list lead here, so it is kept simple:
    /// runs are not looked for.
    fn write_rows(&self, rows: &[usize], out: &mut Vec<u8>) {
        if matches!(self.cells, Cells::Nothing) {
            return;
        }
        let valid = |i: usize| self.nulls.is_none_or(|n| n.is_valid(rows[i]));
        if (0..rows.len()).all(valid) {
            out.push(0);
        } else {
            out.push(1);
            write_bits(rows.len(), out, valid);
        }
        match &self.cells {
            Cells::Nothing => {}
            Cells::Bits(bits) => write_bits(rows.len(), out, |i| valid(i) && bits.value(rows[i])),
            Cells::Fixed(bytes, width) => {
                for (i, row) in rows.iter().enumerate() {
                    if valid(i) {
                        out.extend_from_slice(&bytes[row * width..(row + 1) * width]);
                    } else {
                        out.resize(out.len() + width, 0);
                    }
                }
            }
            Cells::Bytes32(offsets, data) => {
                self.write_spans(rows, |i| offsets[i] as usize, out);
                for (_, row) in rows.iter().enumerate().filter(|(i, _)| valid(*i)) {
                    out.extend_from_slice(&data[offsets[*row] as usize..offsets[row + 1] as usize]);
                }
            }
            Cells::Bytes64(offsets, data) => {
                self.write_spans(rows, |i| offsets[i] as usize, out);
                for (_, row) in rows.iter().enumerate().filter(|(i, _)| valid(*i)) {
                    out.extend_from_slice(&data[offsets[*row] as usize..offsets[row + 1] as usize]);
                }
            }
            Cells::List32(offsets, child) => {
                let inner = self.write_spans(rows, |i| offsets[i] as usize, out);
                child.write_rows(&inner, out);
            }
            Cells::List64(offsets, child) => {
                let inner = self.write_spans(rows, |i| offsets[i] as usize, out);
                child.write_rows(&inner, out);
            }
            Cells::FixedList(size, child) => {
                let inner: Vec<usize> =
                    rows.iter().flat_map(|r| r * size..(r + 1) * size).collect();
                child.write_rows(&inner, out);
            }
            Cells::Struct(children) => {
                for child in children {
                    child.write_rows(rows, out);
                }
            }
        }
    }

    /// Writes the lengths of variable-length rows, and gives the positions that they cover.
    fn write_spans(
        &self,
        rows: &[usize],
        offset: impl Fn(usize) -> usize,
        out: &mut Vec<u8>,
    ) -> Vec<usize> {
        let mut covered = Vec::new();
        for row in rows {
            let span = if self.nulls.is_none_or(|n| n.is_valid(*row)) {
                offset(*row)..offset(row + 1)
            } else {
                0..0
            };
            put_varint(span.len() as u64, out);
            covered.extend(span);
        }
        covered
    }
}

/// Reads `len` cells of a type. Every size is checked against what is left before anything is allocated.
fn read_cells(cursor: &mut Cursor<'_>, t: &DataType, len: usize) -> Result<ArrayRef, ValueError> {
    let mut builder = arrow::array::ArrayData::builder(t.clone()).len(len);
    if *t != DataType::Null {
        builder = match cursor.u8().ok_or_else(cut)? {
            0 => builder,
            1 => {
                let bits = cursor.take(len.div_ceil(8)).ok_or_else(cut)?;
                builder.null_bit_buffer(Some(Buffer::from(bits)))
            }
            other => return Err(damaged(&format!("{other} is no validity"))),
        };
    }
    let times = |size: i32| {
        usize::try_from(size)
            .ok()
            .and_then(|s| s.checked_mul(len))
            .ok_or_else(|| damaged("a size is out of range"))
    };
    builder = match t {
        DataType::Null => builder,
        DataType::Boolean => builder.add_buffer(Buffer::from(
            cursor.take(bit_util::ceil(len, 8)).ok_or_else(cut)?,
        )),
        DataType::Utf8 | DataType::Binary => {
            let (offsets, total) = read_lengths::<i32>(cursor, len)?;
            let data = cursor.take(total).ok_or_else(cut)?;
            builder.add_buffer(offsets).add_buffer(Buffer::from(data))
        }
        DataType::LargeUtf8 | DataType::LargeBinary => {
            let (offsets, total) = read_lengths::<i64>(cursor, len)?;
            let data = cursor.take(total).ok_or_else(cut)?;
            builder.add_buffer(offsets).add_buffer(Buffer::from(data))
        }
        DataType::FixedSizeBinary(width) => {
            builder.add_buffer(Buffer::from(cursor.take(times(*width)?).ok_or_else(cut)?))
        }
        DataType::List(field) | DataType::Map(field, _) => {
            let (offsets, total) = read_lengths::<i32>(cursor, len)?;
            let child = read_cells(cursor, field.data_type(), total)?;
            builder.add_buffer(offsets).add_child_data(child.to_data())
        }
        DataType::LargeList(field) => {
            let (offsets, total) = read_lengths::<i64>(cursor, len)?;
            let child = read_cells(cursor, field.data_type(), total)?;
            builder.add_buffer(offsets).add_child_data(child.to_data())
        }
        DataType::FixedSizeList(field, size) => {
            let child = read_cells(cursor, field.data_type(), times(*size)?)?;
            builder.add_child_data(child.to_data())
        }
        DataType::Struct(fields) => {
            for field in fields {
                builder =
                    builder.add_child_data(read_cells(cursor, field.data_type(), len)?.to_data());
            }
            builder
        }
        other => {
            let width = other
                .primitive_width()
                .ok_or_else(|| damaged("the type has no layout"))?;
            let size = width.checked_mul(len).ok_or_else(cut)?;
            builder.add_buffer(Buffer::from(cursor.take(size).ok_or_else(cut)?))
        }
    };
    // `build` validates all of it: offsets, UTF-8, children, nulls where a field allows none.
    let data = builder
        .align_buffers(true)
        .build()
        .map_err(|e| damaged(&e.to_string()))?;
    Ok(make_array(data))
}

/// Reads `len` lengths as an offset buffer, with their sum.
fn read_lengths<O>(cursor: &mut Cursor<'_>, len: usize) -> Result<(Buffer, usize), ValueError>
where
    O: arrow::datatypes::ArrowNativeType + TryFrom<u64>,
{
    // A length takes a byte at least, which bounds what a hostile count can make this allocate.
    if len > cursor.remaining() {
        return Err(cut());
    }
    let mut total = 0u64;
    let mut offsets: Vec<O> = Vec::with_capacity(len + 1);
    offsets.push(O::default());
    for _ in 0..len {
        total = cursor
            .varint()
            .and_then(|length| total.checked_add(length))
            .ok_or_else(cut)?;
        offsets.push(O::try_from(total).map_err(|_| damaged("an offset is out of range"))?);
    }
    let total = usize::try_from(total).map_err(|_| damaged("an offset is out of range"))?;
    Ok((Buffer::from_vec(offsets), total))
}

pub(super) fn cut() -> ValueError {
    damaged("they end too early")
}

pub(super) fn damaged(reason: &str) -> ValueError {
    ValueError::Damaged(reason.to_owned())
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
