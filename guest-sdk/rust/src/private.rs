//! What the macros of this crate expand to. Not for anyone else: it changes without notice.

pub use crate::buffers::Cursor;
pub use crate::contract::{Failure, Field};
#[cfg(target_arch = "wasm32")]
pub use crate::glue::component::{Component, Instance, MapperComponent, MapperInstance};
pub use crate::glue::{Mapping, Migrating, Windowed};
pub use crate::value::{Record, StateRecord, Value};

/// Compiles only for a transform that can be exported.
pub fn can_be_exported<T: Windowed>() {}

/// Compiles only for a mapper that can be exported.
pub fn can_be_exported_as_mapper<T: Mapping>() {}

/// Compiles only for a transform that can be exported with its migration.
pub fn migrating<T: Migrating>() {}

/// Joins the path of a null to the name of the field that it is in.
#[cold]
pub fn path(name: &str, inside: &str) -> String {
    format!(".{name}{inside}")
}

/// Reads a column of a state. `None` if something is null where that is not allowed.
pub fn read_column<'a, T: Value<'a>>(reader: &T::Reader, rows: usize) -> Option<Box<[T]>> {
    fn read<'a, T: Value<'a>, const NULLS: bool>(
        reader: &T::Reader,
        rows: usize,
    ) -> Option<Box<[T]>> {
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            values.push(T::get::<NULLS>(reader, row)?);
        }
        Some(values.into_boxed_slice())
    }
    if T::has_nulls(reader) {
        read::<T, true>(reader, rows)
    } else {
        read::<T, false>(reader, rows)
    }
}

/// Writes the kept values of a column of a state, if it has the right length.
pub fn write_column<T: Value<'static>>(
    name: &'static str,
    values: &[T],
    rows: usize,
    keep: Option<&[u32]>,
    buffers: &mut Vec<Vec<u8>>,
) -> Result<(), &'static str> {
    if values.len() != rows {
        return Err(name);
    }
    let mut writer = T::writer(keep.map_or(rows, <[u32]>::len));
    match keep {
        None => values.iter().for_each(|value| T::put(value, &mut writer)),
        Some(keep) => keep
            .iter()
            .for_each(|&group| T::put(&values[group as usize], &mut writer)),
    }
    T::seal(writer, Vec::new(), buffers);
    Ok(())
}
