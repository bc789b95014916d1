//! From recorded files to columns.
//!
//! In: one recorded file (a *split*), its format, and the columns that are wanted. Out: [`Decoded`]
//! batches, in file order, in which every record of the file is accounted for: it is a row with a known position,
//! or a [`Malformed`] with a reason. Messages of live streams become columns in [`message`].
//!
//! A record that cannot be read never stops a split and never leaves a trace in the columns. What stops it is an I/O
//! error, a damaged Parquet, Arrow or compressed file, or a column that the file cannot give: a [`DecodeError`]. Decoding never holds a
//! whole file in memory, never reads a clock, and never changes a value silently.

mod batch;
mod column;
mod columnar;
mod content;
mod csv;
mod error;
mod infer;
mod ipc;
mod lines;
pub mod message;
mod ndjson;
mod origin;
mod parquet;
mod scan;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

pub use error::DecodeError;
pub use origin::{Malformed, Origin, Run, code};

use super::recording::Recording;

/// One batch of a split.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The rows, with exactly the projected schema. Arrays are plain: no dictionaries, no views.
    pub rows: RecordBatch,
    /// Where each row came from.
    pub lines: Origin,
    /// The records that are not among the rows, in file order.
    pub rejects: Vec<Malformed>,
}

/// Reads one split from its start to its end.
pub trait SplitReader: Send {
    /// The next batch, or `None` at the end of the file. A batch may hold rejects and no rows. It ends early, with
    /// fewer than the requested rows, where rejects or long lines would make it large.
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError>;

    /// How far the reader is, in bytes of the file. For Parquet, whose columns lie apart, this is the share of rows
    /// read times the length of the file.
    fn bytes_read(&self) -> u64;
}

/// How a recorded file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header, after RFC 4180.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's own format, as a file (Feather version 2) or a stream.
    ArrowIpc,
}

impl Format {
    /// Whether positions are lines, counted from 1; otherwise they are rows, counted from 0. Only such a format has
    /// texts where others have timestamps.
    pub fn is_text(self) -> bool {
        match self {
            Self::Ndjson | Self::Csv => true,
            Self::Parquet | Self::ArrowIpc => false,
        }
    }

    /// What a position in a file of this format is called.
    pub fn position_name(self) -> &'static str {
        if self.is_text() { "line" } else { "row" }
    }
}

/// Opens a split. `schema` names the wanted columns with their types, in the order in which they are to come; other
/// columns of the file are not decoded. `batch_rows` bounds the rows and rejects of a batch.
///
/// # Errors
/// The file cannot be opened or is damaged, or two wanted columns have the same name, or (Parquet, Arrow) it lacks a
/// wanted column or has it with a type from which the wanted one cannot be made without loss, or (NDJSON, CSV) a wanted
/// type has no form in the format, or (CSV) it has no header, or one without a wanted column that may not be null.
pub fn open(
    recording: &Arc<dyn Recording>,
    format: Format,
    schema: &SchemaRef,
    batch_rows: usize,
) -> Result<Box<dyn SplitReader>, DecodeError> {
    let mut names = HashSet::new();
    if let Some(twice) = schema
        .fields()
        .iter()
        .find(|field| !names.insert(field.name()))
    {
        return Err(DecodeError::DuplicateColumn {
            file: recording.name(),
            column: twice.name().clone(),
        });
    }
    let sizes = batch::Sizes::default();
    Ok(match format {
        Format::Ndjson => Box::new(ndjson::NdjsonReader::open(
            recording, schema, batch_rows, sizes,
        )?),
        Format::Csv => Box::new(csv::CsvReader::open(recording, schema, batch_rows, sizes)?),
        Format::Parquet => Box::new(parquet::ParquetReader::new(recording, schema, batch_rows)?),
        Format::ArrowIpc => Box::new(ipc::IpcReader::open(recording, schema, batch_rows)?),
    })
}

/// What the footer of a Parquet file notes beside its columns, by name.
///
/// # Errors
/// The file cannot be opened, or is no Parquet file.
pub fn parquet_notes(
    recording: &Arc<dyn Recording>,
) -> Result<BTreeMap<String, String>, DecodeError> {
    parquet::notes(recording)
}

/// What the footer of a Parquet file notes, as [`parquet_notes`], and the columns of the file, with plain types.
///
/// # Errors
/// As there.
pub fn parquet_notes_and_schema(
    recording: &Arc<dyn Recording>,
) -> Result<(BTreeMap<String, String>, Schema), DecodeError> {
    parquet::notes_and_schema(recording)
}

/// The schema of recorded files, every column of it: the union of the files' columns, in the order of first
/// appearance, with plain types.
///
/// Parquet and Arrow: from what the files say of themselves, which must agree on the type of a column. NDJSON and CSV:
/// from the first 1,000 records or 1 MiB of each file (see `infer`); all columns are nullable; an empty file has no
/// columns.
///
/// # Errors
/// A file cannot be read, Parquet or Arrow files disagree, a sampled NDJSON file has lines and none of them is a JSON
/// object, or a CSV file has no header.
pub fn infer(recordings: &[Arc<dyn Recording>], format: Format) -> Result<Schema, DecodeError> {
    Ok(infer_events(recordings, format, &[])?.schema)
}

/// What recorded files show of an event.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// The columns.
    pub schema: Schema,
    /// Those of which the sample had no value: they are taken for texts, and may be anything.
    pub unseen: Vec<String>,
}

/// As [`infer`]. In NDJSON and CSV, the columns `times` are points in time if they are texts: in UTC, or without a zone
/// if no text of the sample has its offset.
///
/// # Errors
/// As [`infer`].
pub fn infer_events(
    recordings: &[Arc<dyn Recording>],
    format: Format,
    times: &[&str],
) -> Result<Inferred, DecodeError> {
    let mut sample = infer::Sample::default();
    let mut union = columnar::Union::default();
    for recording in recordings {
        let name = recording.name();
        match format {
            Format::Ndjson => sample.add_ndjson(&name, content::Content::open(recording)?)?,
            Format::Csv => sample.add_csv(&name, content::Content::open(recording)?)?,
            Format::Parquet => union.add(&name, &parquet::schema(recording)?)?,
            Format::ArrowIpc => union.add(&name, &ipc::schema(recording)?)?,
        }
    }
    Ok(match format.is_text() {
        true => sample.inferred(times),
        false => Inferred {
            schema: union.schema(),
            unseen: Vec::new(),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::source::recording::LocalFile;

    #[test]
    fn what_cannot_be_opened_is_named() {
        let error = |path: &Path, fields: Vec<Field>| {
            let schema = Arc::new(Schema::new(fields));
            let recording: Arc<dyn Recording> = Arc::new(LocalFile::new(path));
            open(&recording, Format::Ndjson, &schema, 10)
                .err()
                .map(|error| error.to_string())
        };
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\"x\":1}").unwrap();
        let (path, shown) = (file.path(), file.path().display());
        let x = |data_type| Field::new("x", data_type, true);
        assert_eq!(error(path, vec![x(DataType::Int64)]), None);
        let twice = error(path, vec![x(DataType::Int64), x(DataType::Utf8)]);
        assert_eq!(
            twice,
            Some(format!("{shown}: column `x` is wanted twice; name it once"))
        );
        let views = DataType::new_list(DataType::Utf8View, true);
        assert_eq!(
            error(path, vec![x(views)]),
            Some(format!(
                "{shown}: column `x[]` is declared as Utf8View, which cannot be read from JSON; declare another type"
            ))
        );
        let gone = path.with_file_name("no such file");
        assert!(
            error(&gone, vec![])
                .is_some_and(|e| e.starts_with(&format!("opening {}", gone.display())))
        );
        assert!(error(&std::env::temp_dir(), vec![]).is_some());
    }
}
