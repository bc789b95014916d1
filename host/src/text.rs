//! Columns and rows as text for people, for HTTP and for files. Knows nothing but Arrow.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    StringArray, StructArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;

/// An event time, in microseconds, as people write it: in RFC 3339.
pub fn instant(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| format!("{micros} us"), |instant| instant.to_string())
}

/// The rows of a column as JSON texts, a null as `null`: timestamps as [`text_times`] has them, binary in hexadecimal,
/// NaN and the infinities as `null`.
///
/// # Errors
///
/// When Arrow's JSON writer does not know the type, or a timestamp has no text.
pub fn json_texts(column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    let column = text_times(column)?;
    let schema = Schema::new(vec![Field::new("v", column.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column])?;
    let lines = json_lines(&batch)?;
    // The one column is cut out as text: a round trip through a JSON parser could move a float's last digit.
    lines
        .lines()
        .map(|line| {
            line.strip_prefix("{\"v\":")
                .and_then(|l| l.strip_suffix('}'))
                .map(str::to_owned)
                .ok_or_else(|| ArrowError::JsonError(format!("unexpected line {line}")))
        })
        .collect()
}

/// Rows as JSON objects, a line each, with nulls as `null` and timestamps as [`text_times`] has them.
///
/// # Errors
///
/// As [`json_texts`].
pub fn record_lines(rows: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let columns: Vec<ArrayRef> = rows
        .columns()
        .iter()
        .map(text_times)
        .collect::<Result<_, _>>()?;
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(&columns);
    let fields: Vec<FieldRef> = fields
        .map(|(field, column)| retyped(field, column))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    Ok(json_lines(&batch)?.lines().map(str::to_owned).collect())
}

fn json_lines(rows: &RecordBatch) -> Result<String, ArrowError> {
    let mut lines = Vec::new();
    let mut writer = arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::LineDelimited>(&mut lines);
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    String::from_utf8(lines).map_err(|error| ArrowError::JsonError(error.to_string()))
}

/// A column with its timestamps, at any depth, as RFC 3339 texts with the shortest fraction:
/// `2001-01-01T00:00:00.5Z`. A timestamp without a zone ends in none.
///
/// # Errors
///
/// When a timestamp lies outside the years -9999 to 9999, which RFC 3339 cannot write.
pub fn text_times(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some())?,
        DataType::List(field) => list::<i32>(array, field)?,
        DataType::LargeList(field) => list::<i64>(array, field)?,
        DataType::FixedSizeList(field, size) => {
            let list = array.as_fixed_size_list();
            let values = text_times(list.values())?;
            let field = retyped(field, &values);
            let nulls = list.nulls().cloned();
            // Lists of size 0 leave nothing to count the rows by.
            Arc::new(FixedSizeListArray::try_new_with_length(
                field,
                *size,
                values,
                nulls,
                list.len(),
            )?)
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let parts = array.as_struct();
            let columns = parts
                .columns()
                .iter()
                .map(text_times)
                .collect::<Result<Vec<_>, _>>()?;
            let fields = fields
                .iter()
                .zip(&columns)
                .map(|(f, c)| retyped(f, c))
                .collect();
            Arc::new(StructArray::try_new(
                fields,
                columns,
                parts.nulls().cloned(),
            )?)
        }
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = text_times(&entries)?;
            let field = retyped(field, &entries);
            let entries = entries.as_struct().clone();
            let nulls = map.nulls().cloned();
            Arc::new(MapArray::try_new(
                field,
                map.offsets().clone(),
                entries,
                nulls,
                *sorted,
            )?)
        }
        _ => Arc::clone(array),
    })
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let list: &GenericListArray<O> = array.as_list();
    let values = text_times(list.values())?;
    let field = retyped(field, &values);
    let list =
        GenericListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?;
    Ok(Arc::new(list))
}

fn retyped(field: &FieldRef, array: &ArrayRef) -> FieldRef {
    Arc::new(Field::new(
        field.name(),
        array.data_type().clone(),
        field.is_nullable(),
    ))
}

fn timestamps(array: &ArrayRef, unit: TimeUnit, instant: bool) -> Result<ArrayRef, ArrowError> {
    // Nanoseconds reach no further than the year 2262, the others are exact in microseconds.
    let times: Vec<Option<jiff::Timestamp>> = if unit == TimeUnit::Nanosecond {
        let nanos = array.as_primitive::<TimestampNanosecondType>();
        nanos
            .iter()
            .map(|t| {
                t.map(|t| jiff::Timestamp::from_nanosecond(i128::from(t)))
                    .transpose()
            })
            .collect::<Result<_, _>>()
    } else {
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let to = DataType::Timestamp(TimeUnit::Microsecond, None);
        let micros = cast_with_options(array, &to, &strict)?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>();
        micros
            .iter()
            .map(|t| t.map(jiff::Timestamp::from_microsecond).transpose())
            .collect::<Result<_, _>>()
    }
    .map_err(|e| ArrowError::ComputeError(format!("a timestamp has no text in RFC 3339: {e}")))?;
    Ok(Arc::new(StringArray::from_iter(times.into_iter().map(
        |time| {
            time.map(|t| match t.to_string() {
                text if instant => text,
                text => text.trim_end_matches('Z').to_owned(),
            })
        },
    ))))
}
