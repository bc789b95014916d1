//! Records out of columns and back.

use crate::buffers::{Batch, Cursor};
use crate::contract::{Columns, Failure};
use crate::schema::Layout;
use crate::value::Record;

/// Reads a record for each row. A null where there may be none is the host's mistake here: nobody
/// else has had these columns in hand since they were written.
pub(crate) fn read<'a, R: Record<'a>>(
    layout: &'a Layout,
    batch: Batch<'a>,
) -> Result<Vec<R>, Failure> {
    read_or(layout, batch, unexpected_null::<R>)
}

/// The same of columns that may have such nulls: `null` says what of a row that has one.
pub(crate) fn read_or<'a, R: Record<'a>>(
    layout: &'a Layout,
    batch: Batch<'a>,
    null: impl Fn(&R::Reader, usize) -> Failure,
) -> Result<Vec<R>, Failure> {
    let rows = batch.rows as usize;
    let reader = R::bind(&mut Cursor::new(layout, batch), rows)?;
    if look_for_nulls::<R>(&reader) {
        read_rows::<R, true>(&reader, rows, null)
    } else {
        read_rows::<R, false>(&reader, rows, null)
    }
}

/// Whether rows must be read with an eye on nulls. A record of many columns always is: a second copy
/// of what reads it would only make the component larger.
#[inline(always)]
pub(crate) fn look_for_nulls<'a, R: Record<'a>>(reader: &R::Reader) -> bool {
    R::NAMES.len() > 8 || R::has_nulls(reader)
}

fn read_rows<'a, R: Record<'a>, const NULLS: bool>(
    reader: &R::Reader,
    rows: usize,
    null: impl Fn(&R::Reader, usize) -> Failure,
) -> Result<Vec<R>, Failure> {
    let mut records = Vec::with_capacity(rows);
    for row in 0..rows {
        records.push(R::get::<NULLS>(reader, row).ok_or_else(|| null(reader, row))?);
    }
    Ok(records)
}

#[cold]
pub(crate) fn unexpected_null<'a, R: Record<'a>>(reader: &R::Reader, row: usize) -> Failure {
    let path = R::null_path(reader, row).unwrap_or_default();
    Failure::Internal(format!(
        "the host broke the contract: `{}` is null in row {row}, and may not be",
        path.trim_start_matches('.')
    ))
}

/// Writes records.
pub(crate) fn write<'r, R: for<'a> Record<'a> + 'r>(
    records: impl ExactSizeIterator<Item = &'r R>,
) -> Columns {
    let rows = records.len();
    let mut writer = <R as Record<'static>>::writer(rows);
    for record in records {
        <R as Record<'static>>::put(record, &mut writer);
    }
    seal::<R>(rows, writer)
}

/// The finished columns of a writer.
pub(crate) fn seal<R: for<'a> Record<'a>>(
    rows: usize,
    writer: <R as Record<'static>>::Writer,
) -> Columns {
    let mut buffers = Vec::new();
    <R as Record<'static>>::seal(writer, &mut buffers);
    let rows = u32::try_from(rows).expect("a batch has fewer rows than 32 bits count");
    Columns { rows, buffers }
}
