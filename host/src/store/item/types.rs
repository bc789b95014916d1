//! Arrow types as bytes: the C data interface's format strings in pre-order, as `value.rs` lays them out.

use arrow::datatypes::{DataType, Field};
use arrow_schema::ffi::{FFI_ArrowSchema, Flags};

use super::bytes::{Cursor, put_text, put_varint};
use super::value::{ValueError, cut, damaged};

/// Deeper nesting than this is refused, so that hostile bytes cannot exhaust the stack.
const MAX_DEPTH: usize = 32;

/// Appends the descriptor of a type, as the head of this file's page gives it.
///
/// # Errors
///
/// [`ValueError::Unsupported`] for a type without a layout.
pub fn write_type(data_type: &DataType, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let unsupported = || ValueError::Unsupported(data_type.to_string());
    if !has_layout(data_type, 0) {
        return Err(unsupported());
    }
    let ffi = FFI_ArrowSchema::try_from(data_type).map_err(|_| unsupported())?;
    write_node(&ffi, out);
    Ok(())
}

fn has_layout(data_type: &DataType, depth: usize) -> bool {
    // The C interface ends names at a NUL, so such a name could not be told from a shorter one.
    let field = |f: &Field| !f.name().contains('\0') && has_layout(f.data_type(), depth + 1);
    depth < MAX_DEPTH
        && match data_type {
            DataType::List(f)
            | DataType::LargeList(f)
            | DataType::FixedSizeList(f, _)
            | DataType::Map(f, _) => field(f),
            DataType::Struct(fields) => fields.iter().all(|f| field(f)),
            DataType::Timestamp(_, Some(zone)) => !zone.contains('\0'),
            DataType::Null
            | DataType::Boolean
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::FixedSizeBinary(_) => true,
            other => other.is_primitive(),
        }
}

fn write_node(ffi: &FFI_ArrowSchema, out: &mut Vec<u8>) {
    put_text(ffi.format(), out);
    out.push(u8::from(ffi.nullable()) | u8::from(ffi.map_keys_sorted()) << 1);
    put_varint(ffi.children().count() as u64, out);
    for child in ffi.children() {
        put_text(child.name().unwrap_or_default(), out);
        write_node(child, out);
    }
}

/// Reads a type descriptor.
///
/// # Errors
///
/// [`ValueError::Damaged`] when the bytes name no type that has a layout.
pub fn read_type(cursor: &mut Cursor<'_>) -> Result<DataType, ValueError> {
    let ffi = read_node(cursor, 0)?;
    let data_type = DataType::try_from(&ffi).map_err(|e| damaged(&e.to_string()))?;
    match has_layout(&data_type, 0) {
        true => Ok(data_type),
        false => Err(damaged(&format!("the type {data_type} has no layout"))),
    }
}

fn read_node(cursor: &mut Cursor<'_>, depth: usize) -> Result<FFI_ArrowSchema, ValueError> {
    if depth >= MAX_DEPTH {
        return Err(damaged("the type is nested too deeply"));
    }
    let format = cursor.text().ok_or_else(cut)?;
    let flags = cursor.u8().ok_or_else(cut)?;
    let children = cursor.length().ok_or_else(cut)?;
    // Arrow's reader of format strings panics on NULs and on missing children, and takes negative sizes.
    let expected = match format {
        "+l" | "+L" | "+m" => Some(1),
        "+s" => None,
        f if f.starts_with("+w:") => Some(1),
        _ => Some(0),
    };
    // Those of kinds without a layout as well, of which it takes the children for granted.
    let is_other = expected == Some(0) && format.starts_with('+');
    let negative = format.contains(":-") && (format.starts_with("+w") || format.starts_with("w"));
    if format.contains('\0') || negative || is_other || expected.is_some_and(|n| n != children) {
        return Err(damaged(&format!(
            "{format:?} with {children} children is no type"
        )));
    }
    let children = (0..children)
        .map(|_| {
            let name = cursor.text().ok_or_else(cut)?;
            read_node(cursor, depth + 1)?
                .with_name(name)
                .map_err(|e| damaged(&e.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut ffi_flags = Flags::empty();
    ffi_flags.set(Flags::NULLABLE, flags & 1 != 0);
    ffi_flags.set(Flags::MAP_KEYS_SORTED, flags & 2 != 0);
    FFI_ArrowSchema::try_new(format, children, None)
        .and_then(|ffi| ffi.with_name("")?.with_flags(ffi_flags))
        .map_err(|e| damaged(&e.to_string()))
}
