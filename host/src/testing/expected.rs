//! Reads what is expected: a file of features as a run would write it, or as a person wrote it.
//!
//! In: a CSV, NDJSON or Parquet file, and the columns that the output has. Out: the same columns,
//! with the output's types. In NDJSON numbers may be numbers or texts, and times are texts in RFC
//! 3339; in CSV lists and structs are JSON texts. A column that the file lacks is not made up; one
//! that the output lacks is refused.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::TestError;
use super::cells::Leniency;
use super::exact;
use super::layout::{Layout, nullable_throughout, zones_as_offsets};
use super::table;
use super::trial::{not_read, read_parquet, unknown_column};
use crate::config::{OutputFormat, types};

/// Of rows that cannot be read as much is shown.
const MOST_OF_A_ROW: usize = 200;

/// The format that a file of expected features has by its name.
///
/// # Errors
///
/// It ends in none of `.csv`, `.ndjson`, `.jsonl` and `.parquet`.
pub(super) fn format_of(path: &Path) -> Result<OutputFormat, TestError> {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_ref().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(OutputFormat::Csv),
        Some("ndjson" | "jsonl") => Ok(OutputFormat::Ndjson),
        Some("parquet") => Ok(OutputFormat::Parquet),
        _ => Err(TestError::file(
            path,
            "its name does not say its format: let it end in .csv, .ndjson or .parquet",
        )),
    }
}

/// What was expected.
pub(super) struct Expected {
    pub(super) rows: RecordBatch,
    pub(super) leniency: Leniency,
}

/// Reads a file of expected features.
pub(super) fn read(path: &Path, layout: &Layout) -> Result<Expected, TestError> {
    read_as(format_of(path)?, path, layout)
}

/// Reads one in a format that its name need not say.
pub(super) fn read_as(
    format: OutputFormat,
    path: &Path,
    layout: &Layout,
) -> Result<Expected, TestError> {
    let schema = &layout.schema;
    let rows = match format {
        OutputFormat::Parquet => read_parquet(path, schema)?,
        OutputFormat::Ndjson => {
            let text = read_text(path)?;
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .collect();
            let names = match lines.is_empty() {
                // A file without rows has all columns, as far as anybody can say.
                true => schema
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect(),
                false => names_in(path, &lines)?,
            };
            typed(path, &lines, &names, schema)?
        }
        OutputFormat::Csv => read_csv(path, schema)?,
    };
    let found = rows.schema();
    let missing = schema.fields().iter().map(|field| field.name());
    let missing: Vec<&str> = missing
        .filter(|name| layout.must_have(name) && found.field_with_name(name).is_err())
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let reason = format!(
            "it has no column {}, and rows are found by the key and the window's bounds",
            missing.join(", ")
        );
        return Err(TestError::file(path, reason));
    }
    let leniency = Leniency {
        not_finite_is_null: format == OutputFormat::Ndjson,
        // Lists and structs are JSON in CSV too.
        not_finite_inside_is_null: format != OutputFormat::Parquet,
        empty_is_null: format == OutputFormat::Csv,
    };
    Ok(Expected { rows, leniency })
}

pub(super) fn read_text(path: &Path) -> Result<String, TestError> {
    let bytes = std::fs::read(path).map_err(|error| not_read(path, error))?;
    String::from_utf8(bytes).map_err(|_| TestError::file(path, "it is not UTF-8 text"))
}

/// The names of the fields that any line has.
fn names_in(path: &Path, lines: &[&str]) -> Result<BTreeSet<String>, TestError> {
    let mut names = BTreeSet::new();
    for (number, line) in lines.iter().enumerate() {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)
            .map_err(|error| {
                let line = table::cut(line, MOST_OF_A_ROW);
                TestError::file(path, format!("row {}: {error}: {line}", number + 1))
            })?;
        names.extend(object.into_iter().map(|(name, _)| name));
    }
    Ok(names)
}

/// Lines of JSON objects as columns of a schema, those that are named.
fn typed(
    path: &Path,
    lines: &[&str],
    names: &BTreeSet<String>,
    schema: &SchemaRef,
) -> Result<RecordBatch, TestError> {
    if let Some(unknown) = names
        .iter()
        .find(|name| schema.field_with_name(name).is_err())
    {
        return Err(TestError::file(path, unknown_column(unknown, schema)));
    }
    let named = schema
        .fields()
        .iter()
        .filter(|field| names.contains(field.name()));
    // Null until compared: a null where the output has none is a difference, and no bad file.
    let fields: Vec<Field> = named.map(|field| nullable_throughout(field)).collect();
    let read_as = fields.iter().map(|field| {
        let data_type = zones_as_offsets(field.data_type());
        field.clone().with_data_type(data_type)
    });
    let read_as: SchemaRef = Arc::new(Schema::new(read_as.collect::<Vec<_>>()));
    let batch = parse(&lines.join("\n"), &read_as).map_err(|error| {
        // The parser does not say where: the first line that it refuses alone is the one.
        let first = lines.iter().zip(1..).find_map(|(line, number)| {
            let error = parse(line, &read_as).err()?;
            let line = table::cut(line, MOST_OF_A_ROW);
            Some(format!("row {number}: {error}: {line}"))
        });
        let reason = first.unwrap_or(error);
        TestError::file(
            path,
            format!("{reason}; write it as the output's types ask for"),
        )
    })?;
    let columns = batch.columns().iter().zip(&fields);
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Reads lines of JSON as rows of a schema, or says why they are not, be it only by a digit.
fn parse(text: &str, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let read = |schema: &SchemaRef, numbers_are_texts: bool| {
        let reader = arrow_json::ReaderBuilder::new(Arc::clone(schema))
            .with_strict_mode(true)
            .with_coerce_primitive(numbers_are_texts)
            .build(Cursor::new(text))?;
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        concat_batches(schema, &batches)
    };
    let rows = read(schema, false).map_err(|error| error.to_string())?;
    let texts = schema.fields().iter().map(|field| {
        let data_type = exact::as_texts(field.data_type());
        field.as_ref().clone().with_data_type(data_type)
    });
    let texts = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let texts = read(&texts, true).map_err(|error| error.to_string())?;
    let columns = schema.fields().iter().zip(texts.columns());
    for ((field, texts), values) in columns.zip(rows.columns()) {
        if let Some(text) = exact::first_loss(texts, values) {
            let data_type = types::type_name(field.data_type());
            let name = field.name();
            return Err(format!("column `{name}`: {text} does not fit {data_type}"));
        }
    }
    Ok(rows)
}

/// Reads the cells as texts and makes JSON of them, so that there is one way from text to types.
fn read_csv(path: &Path, schema: &SchemaRef) -> Result<RecordBatch, TestError> {
    let text = read_text(path)?;
    let broken = |error: arrow::error::ArrowError| {
        TestError::file(
            path,
            format!("this is no CSV file that can be read: {error}"),
        )
    };
    let format = arrow_csv::reader::Format::default().with_header(true);
    let (header, _) = format
        .infer_schema(text.as_bytes(), Some(0))
        .map_err(broken)?;
    let names: BTreeSet<String> = header.fields().iter().map(|f| f.name().clone()).collect();
    if names.is_empty() {
        let reason =
            "it is empty, without a line of column names; --bless writes it from what comes out";
        return Err(TestError::file(path, reason));
    }
    if names.len() != header.fields().len() {
        return Err(TestError::file(path, "two columns have the same name"));
    }
    let texts = header.fields().iter();
    let texts = texts.map(|field| Field::new(field.name(), DataType::Utf8, true));
    let texts: SchemaRef = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let reader = arrow_csv::ReaderBuilder::new(Arc::clone(&texts))
        .with_header(true)
        .build(text.as_bytes())
        .map_err(broken)?;
    let mut lines = Vec::new();
    for batch in reader {
        let batch = batch.map_err(broken)?;
        for row in 0..batch.num_rows() {
            let cells = batch.schema_ref().fields().iter().zip(batch.columns());
            let cells = cells.filter_map(|(field, column)| {
                let text = column
                    .is_valid(row)
                    .then(|| column.as_string::<i32>().value(row));
                let kind = schema.field_with_name(field.name()).ok()?.data_type();
                let name = serde_json::Value::from(field.name().as_str());
                Some(format!("{name}:{}", json_cell(text, kind)))
            });
            lines.push(format!("{{{}}}", cells.collect::<Vec<_>>().join(",")));
        }
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    typed(path, &lines, &names, schema)
}

/// A cell of a CSV file as JSON.
fn json_cell(text: Option<&str>, kind: &DataType) -> String {
    match text {
        None | Some("") => "null".to_owned(),
        Some(text) if kind.is_nested() || *kind == DataType::Boolean => text.trim().to_owned(),
        Some(text) => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
#[path = "expected_tests.rs"]
mod tests;
