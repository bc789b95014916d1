//! Closed windows as a file: Parquet, CSV or NDJSON.
//!
//! The columns are those of an emission: the key columns, `window_start`, `window_end`, then the outputs. In Parquet
//! they keep their types. In CSV and NDJSON timestamps are RFC 3339 with the shortest fraction
//! (`2001-01-01T00:00:00Z`), in NDJSON every line has every column, and in CSV lists, structs and maps are JSON texts.
//!
//! The bytes depend on the rows and the schema alone. Encoders decide by what they are given in one call (where a
//! page or a dictionary ends, for example), so they are given a fixed number of rows each time.

use std::fmt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow_json::LineDelimitedWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::SinkError;
use super::ordered::{Mark, OrderedRows, RowOrder};
use super::partial::{Partial, Whole, partial_path};
use super::text::text_batch;

/// How many rows an encoder gets in one call.
const CHUNK_ROWS: usize = 8192;

/// How many rows a Parquet row group has; the last one may have fewer.
const ROW_GROUP_ROWS: usize = 32 * CHUNK_ROWS;

/// The formats that a file can have, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.parquet`, compressed with zstd.
    Parquet,
    /// `.csv`, with a header.
    Csv,
    /// `.ndjson` or `.jsonl`: one JSON object a line.
    Ndjson,
}

impl Format {
    /// The format that a file name asks for, whatever its case.
    ///
    /// # Errors
    ///
    /// [`SinkError::Format`] when the ending is none of the known ones.
    pub fn of(path: &Path) -> Result<Self, SinkError> {
        let ending = path.extension().map(|e| e.to_ascii_lowercase());
        match ending.as_ref().and_then(|e| e.to_str()) {
            Some("parquet") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            _ => Err(SinkError::Format {
                path: path.to_owned(),
            }),
        }
    }
}

/// What a finished file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// Where it is.
    pub path: PathBuf,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A file of closed windows, written by several lanes through one thread.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    format: Format,
    schema: SchemaRef,
    ordered: OrderedRows,
    /// In order, and fewer than a chunk.
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    encoder: Encoder,
    rows: u64,
}

enum Encoder {
    Parquet(Box<ArrowWriter<Partial>>),
    Csv(Box<arrow_csv::Writer<Partial>>),
    Ndjson(Box<LineDelimitedWriter<Partial>>),
}

impl FileSink {
    /// Starts a file for `lanes` lanes. `schema` is that of what lanes emit, with `keys` key columns in front, and
    /// with windows their start and end after them.
    ///
    /// # Errors
    ///
    /// [`SinkError`] when the name asks for no known format, the schema is not that of an emission, or the file
    /// cannot be created.
    pub fn create(
        path: &Path,
        lanes: usize,
        schema: SchemaRef,
        keys: usize,
        order: RowOrder,
    ) -> Result<Self, SinkError> {
        let format = Format::of(path)?;
        if order != RowOrder::Marks {
            check_windows(path, &schema, keys)?;
        }
        let partial = Partial::create(path)?;
        let encoder =
            Encoder::new(format, partial, &schema).map_err(|source| SinkError::Encode {
                path: path.to_owned(),
                partial: None,
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            format,
            ordered: OrderedRows::new(SchemaRef::clone(&schema), keys, order, lanes),
            schema,
            pending: Vec::new(),
            pending_rows: 0,
            encoder,
            rows: 0,
        })
    }

    /// Takes rows of a lane, all of windows of one of the pipeline's lengths, in the order that [`RowOrder`] asks for,
    /// with a mark for each row if it has marks. All marks, or windows' ends, are above what the lane closed.
    ///
    /// # Errors
    ///
    /// [`SinkError`] when the rows are of another schema or out of order, or the file cannot be written.
    pub fn write(
        &mut self,
        lane: usize,
        batch: &RecordBatch,
        length: usize,
        marks: Vec<Mark>,
    ) -> Result<(), SinkError> {
        // Metadata and nullability may differ; names and types may not.
        let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), batch.columns().to_vec())
            .map_err(|e| SinkError::Schema {
                path: self.path.clone(),
                reason: format!(
                    "the rows do not have the columns that the file was created with: {e}"
                ),
            })?;
        let ready = self
            .ordered
            .push(lane, batch, length, marks)
            .map_err(|reason| SinkError::OutOfOrder {
                path: self.path.clone(),
                reason,
            })?;
        self.encode(ready)
    }

    /// Notes that a lane has given every window that ends at or before `mark`, in microseconds; with marks, every row
    /// that is marked so.
    ///
    /// # Errors
    ///
    /// [`SinkError`] when the file cannot be written.
    pub fn closed_up_to(&mut self, lane: usize, mark: i64) -> Result<(), SinkError> {
        let ready = self
            .ordered
            .closed_up_to(lane, mark)
            .map_err(|e| self.failed(e))?;
        self.encode(ready)
    }

    /// Writes what is left. The file is whole then, and not in its place yet.
    ///
    /// # Errors
    ///
    /// [`SinkError`] when the file cannot be written. The file of an earlier run is untouched.
    pub fn complete(mut self) -> Result<Whole, SinkError> {
        let ready = self.ordered.finish().map_err(|e| self.failed(e))?;
        self.encode(ready)?;
        if self.pending_rows > 0 {
            let rest = concat_batches(&self.schema, &self.pending).map_err(|e| self.failed(e))?;
            self.encode_chunk(&rest)?;
        }
        let readable = self.readable();
        let partial = self.encoder.finish().map_err(|source| SinkError::Encode {
            path: self.path.clone(),
            partial: readable,
            source,
        })?;
        partial.complete(self.rows)
    }

    /// Adds rows that are in their final order, and encodes the whole chunks.
    fn encode(&mut self, rows: Option<RecordBatch>) -> Result<(), SinkError> {
        let Some(mut rows) = rows else { return Ok(()) };
        while self.pending_rows + rows.num_rows() >= CHUNK_ROWS {
            let take = CHUNK_ROWS - self.pending_rows;
            self.pending.push(rows.slice(0, take));
            rows = rows.slice(take, rows.num_rows() - take);
            let chunk = concat_batches(&self.schema, &self.pending).map_err(|e| self.failed(e))?;
            self.pending.clear();
            self.pending_rows = 0;
            self.encode_chunk(&chunk)?;
        }
        if rows.num_rows() > 0 {
            self.pending_rows += rows.num_rows();
            self.pending.push(rows);
        }
        Ok(())
    }

    fn encode_chunk(&mut self, chunk: &RecordBatch) -> Result<(), SinkError> {
        self.encoder.write(chunk).map_err(|e| self.failed(e))?;
        self.rows += chunk.num_rows() as u64;
        Ok(())
    }

    fn failed(&self, source: ArrowError) -> SinkError {
        SinkError::Encode {
            path: self.path.clone(),
            partial: self.readable(),
            source,
        }
    }

    /// The partial file, where a reader can make something of it: Parquet cannot be read without its end.
    fn readable(&self) -> Option<PathBuf> {
        (self.format != Format::Parquet).then(|| partial_path(&self.path))
    }
}

fn check_windows(path: &Path, schema: &SchemaRef, keys: usize) -> Result<(), SinkError> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    for (column, name) in [(keys, "window_start"), (keys + 1, "window_end")] {
        let fits = schema
            .fields()
            .get(column)
            .is_some_and(|f| f.name() == name && *f.data_type() == instant);
        if !fits {
            return Err(SinkError::Schema {
                path: path.to_owned(),
                reason: format!(
                    "column {column} must be {name} of type {instant} after {keys} key columns"
                ),
            });
        }
    }
    Ok(())
}

impl Encoder {
    fn new(format: Format, partial: Partial, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_created_by("penstock".to_owned())
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .set_max_row_group_bytes(None)
                    .build();
                let writer =
                    ArrowWriter::try_new(partial, SchemaRef::clone(schema), Some(properties))?;
                Self::Parquet(Box::new(writer))
            }
            Format::Csv => {
                let mut writer = arrow_csv::WriterBuilder::new().build(partial);
                // The header comes with the first batch, which a file without rows would never see.
                writer.write(&text_batch(
                    &RecordBatch::new_empty(SchemaRef::clone(schema)),
                    true,
                )?)?;
                Self::Csv(Box::new(writer))
            }
            Format::Ndjson => Self::Ndjson(Box::new(
                arrow_json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build(partial),
            )),
        })
    }

    fn write(&mut self, chunk: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Parquet(writer) => writer.write(chunk).map_err(ArrowError::from),
            Self::Csv(writer) => writer.write(&text_batch(chunk, true)?),
            Self::Ndjson(writer) => writer.write(&text_batch(chunk, false)?),
        }
    }

    fn finish(self) -> Result<Partial, ArrowError> {
        match self {
            Self::Parquet(writer) => writer.into_inner().map_err(ArrowError::from),
            Self::Csv(writer) => Ok(writer.into_inner()),
            Self::Ndjson(mut writer) => {
                writer.finish()?;
                Ok(writer.into_inner())
            }
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet(_) => "Parquet",
            Self::Csv(_) => "Csv",
            Self::Ndjson(_) => "Ndjson",
        })
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
