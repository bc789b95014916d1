//! From recorded files to columns.
//!
//! In: the path of one recorded file (a *split*), its format, and the columns that are wanted. Out: [`Decoded`]
//! batches, in file order, in which every record of the file is accounted for: it is a row with a known position,
//! or a [`Malformed`] with a reason.
//!
//! A record that cannot be read never stops a split and never leaves a trace in the columns. What stops it is an I/O
//! error, a damaged Parquet file, or a column that the file cannot give: a [`DecodeError`]. Decoding never holds a
//! whole file in memory, never reads a clock, and never changes a value silently.

mod error;
mod infer;
mod ndjson;
mod origin;
mod parquet;
mod recorded;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

pub use error::DecodeError;
pub use origin::{Malformed, Origin, Run, code};
pub use recorded::{infer_recordings, open_recording};

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
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format that a file's extension names: `.ndjson`, `.jsonl` and `.json`, or `.parquet`, in any case.
    pub fn of_path(path: &Path) -> Result<Self, DecodeError> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("ndjson" | "jsonl" | "json") => Ok(Self::Ndjson),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(DecodeError::UnknownFormat {
                path: path.to_owned(),
            }),
        }
    }
}

/// Opens a split. `schema` names the wanted columns with their types, in the order in which they are to come; other
/// columns of the file are not decoded. `batch_rows` bounds the rows and rejects of a batch.
///
/// # Errors
/// The file cannot be opened or is damaged, or two wanted columns have the same name, or (Parquet) it lacks a wanted column or has it with a type from which the
/// wanted one cannot be made without loss, or (NDJSON) a wanted type has no form in JSON.
pub fn open(
    path: &Path,
    format: Format,
    schema: &SchemaRef,
    batch_rows: usize,
) -> Result<Box<dyn SplitReader>, DecodeError> {
    check_columns(path, schema)?;
    let file = open_file(path)?;
    Ok(match format {
        Format::Ndjson => Box::new(ndjson::NdjsonReader::new(
            file,
            path,
            schema,
            batch_rows,
            ndjson::Sizes::default(),
        )?),
        Format::Parquet => Box::new(parquet::ParquetReader::new(file, path, schema, batch_rows)?),
    })
}

fn check_columns(path: &Path, schema: &SchemaRef) -> Result<(), DecodeError> {
    let mut names = HashSet::new();
    if let Some(twice) = schema
        .fields()
        .iter()
        .find(|field| !names.insert(field.name()))
    {
        return Err(DecodeError::DuplicateColumn {
            path: path.to_owned(),
            column: twice.name().clone(),
        });
    }
    Ok(())
}

/// The schema of recorded files, every column of it: the union of the files' columns, in the order of first
/// appearance, with plain types.
///
/// Parquet: from the footers, which must agree on the type of a column. NDJSON: from the first 1,000 lines or 1 MiB of
/// each file (see `infer`); all columns are nullable; an empty file has no columns.
///
/// # Errors
/// A file cannot be read, Parquet files disagree, or a sampled file has lines and none of them is a JSON object.
pub fn infer<P: AsRef<Path>>(paths: &[P], format: Format) -> Result<Schema, DecodeError> {
    match format {
        Format::Ndjson => {
            let mut sample = infer::Sample::default();
            for path in paths {
                let path = path.as_ref();
                sample.add(open_file(path)?, path)?;
            }
            Ok(sample.schema())
        }
        Format::Parquet => {
            let mut union = parquet::Union::default();
            for path in paths {
                let path = path.as_ref();
                union.add(open_file(path)?, path)?;
            }
            Ok(union.schema())
        }
    }
}

fn open_file(path: &Path) -> Result<File, DecodeError> {
    let file = File::open(path).map_err(|source| DecodeError::Open {
        path: path.to_owned(),
        source,
    })?;
    let metadata = file.metadata().map_err(|source| DecodeError::Open {
        path: path.to_owned(),
        source,
    })?;
    if metadata.is_dir() {
        return Err(DecodeError::Open {
            path: path.to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::IsADirectory),
        });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn formats_by_extension() {
        let format = |path: &str| Format::of_path(Path::new(path)).ok();
        assert_eq!(format("a/b.ndjson"), Some(Format::Ndjson));
        assert_eq!(format("b.2026.JSONL"), Some(Format::Ndjson));
        assert_eq!(format("b.json"), Some(Format::Ndjson));
        assert_eq!(format("b.Parquet"), Some(Format::Parquet));
        let error = Format::of_path(Path::new("b.csv")).unwrap_err().to_string();
        assert!(
            error.starts_with("b.csv: its extension names no format"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let error = |path: &Path, fields: Vec<Field>| {
            let schema = Arc::new(Schema::new(fields));
            open(path, Format::Ndjson, &schema, 10)
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
