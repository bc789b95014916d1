//! Apache Parquet.
//!
//! In: a Parquet file. Out: its wanted columns, read by the `parquet` crate and made to fit the wanted types where that
//! loses nothing (`adapt`). Only the wanted columns are read and decompressed, one page of each at a time.
//!
//! A row whose value is null in a column that may not be null is refused like a malformed line. Anything else that is
//! wrong concerns more than a row, and is an error: a missing column, another type, a damaged page.

mod adapt;
mod plain;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::ChunkReader;

use self::adapt::{Adapt, Unfit};
use super::origin::{Malformed, Origin, code};
use super::{DecodeError, Decoded, SplitReader};

/// Reads one Parquet file.
pub(super) struct ParquetReader {
    path: PathBuf,
    schema: SchemaRef,
    /// `None` after the end, and after an error: a reader that failed is in no known state.
    reader: Option<ParquetRecordBatchReader>,
    columns: Vec<Wanted>,
    rows: u64,
    rows_in_file: u64,
    bytes_in_file: u64,
}

/// Where a wanted column is among those that are read, and what makes it fit.
struct Wanted {
    read: usize,
    adapt: Adapt,
}

impl ParquetReader {
    /// `schema` is what is wanted of `file`; `path` is for messages.
    pub(super) fn new<R: ChunkReader + 'static>(
        file: R,
        path: &Path,
        schema: &SchemaRef,
        batch_rows: usize,
    ) -> Result<Self, DecodeError> {
        let (metadata, bytes_in_file) = footer(&file, path)?;
        let present = metadata.schema();
        let mut roots = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let root = present
                .index_of(field.name())
                .map_err(|_| DecodeError::MissingColumn {
                    path: path.to_owned(),
                    column: field.name().clone(),
                    available: names(present),
                })?;
            roots.push(root);
        }
        let mut read = roots.clone();
        read.sort_unstable();
        read.dedup();
        let mut columns = Vec::with_capacity(roots.len());
        for (field, root) in schema.fields().iter().zip(&roots) {
            let found = present.field(*root);
            let adapt = Adapt::new(found.data_type(), field.data_type()).map_err(|Unfit| {
                DecodeError::IncompatibleColumn {
                    path: path.to_owned(),
                    column: field.name().clone(),
                    expected: field.data_type().clone(),
                    found: found.data_type().clone(),
                }
            })?;
            columns.push(Wanted {
                read: read.partition_point(|r| r < root),
                adapt,
            });
        }
        let rows_in_file =
            u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batch_rows = batch_rows.min(affordable_rows(&metadata, &read));
        let reader = guarded(|| {
            let mask = ProjectionMask::roots(metadata.parquet_schema(), read);
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_projection(mask)
                .with_batch_size(batch_rows.clamp(1, 1 << 30))
                .build()
        })
        .map_err(|reason| DecodeError::Corrupt {
            path: path.to_owned(),
            row: 0,
            reason,
        })?;
        Ok(Self {
            path: path.to_owned(),
            schema: Arc::clone(schema),
            reader: Some(reader),
            columns,
            rows: 0,
            rows_in_file,
            bytes_in_file,
        })
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let reason = match guarded(|| reader.next().transpose()) {
            Ok(Some(batch)) => return Ok(Some(batch)),
            Ok(None) if self.rows == self.rows_in_file => {
                self.reader = None;
                return Ok(None);
            }
            Ok(None) => format!("the footer promises {} rows", self.rows_in_file),
            Err(reason) => reason,
        };
        self.reader = None;
        Err(DecodeError::Corrupt {
            path: self.path.clone(),
            row: self.rows,
            reason,
        })
    }

    /// The wanted columns with their types and in their order; and, if values that must be there are missing, which rows are
    /// complete.
    fn adapt(
        &self,
        batch: &RecordBatch,
    ) -> Result<(Vec<ArrayRef>, Option<NullBuffer>), DecodeError> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut complete: Option<NullBuffer> = None;
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let array = batch.column(column.read);
            let array = column.adapt.apply(array).map_err(|failure| match failure {
                adapt::Failure::Inexact(value) => DecodeError::Inexact {
                    path: self.path.clone(),
                    column: field.name().clone(),
                    row: self.rows,
                    last: self.rows + batch.num_rows().saturating_sub(1) as u64,
                    value,
                    expected: field.data_type().clone(),
                    found: array.data_type().clone(),
                },
                adapt::Failure::Arrow(error) => DecodeError::Corrupt {
                    path: self.path.clone(),
                    row: self.rows,
                    reason: format!("column `{}`: {error}", field.name()),
                },
            })?;
            if !field.is_nullable() && array.null_count() > 0 {
                complete = NullBuffer::union(complete.as_ref(), array.nulls());
            }
            arrays.push(array);
        }
        Ok((arrays, complete))
    }

    /// Takes out the rows that lack a value they must have.
    fn refuse_incomplete(
        &self,
        arrays: Vec<ArrayRef>,
        complete: &NullBuffer,
    ) -> Result<Decoded, DecodeError> {
        let nullable: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let damaged = |error: arrow::error::ArrowError| DecodeError::Corrupt {
            path: self.path.clone(),
            row: self.rows,
            reason: error.to_string(),
        };
        let all = RecordBatch::try_new(Arc::new(Schema::new(nullable)), arrays).map_err(damaged)?;
        let (mut lines, mut rejects, mut kept) = (Origin::default(), Vec::new(), 0);
        for row in 0..all.num_rows() {
            let position = self.rows + row as u64;
            if complete.is_valid(row) {
                lines.push(kept, position);
                kept += 1;
            } else {
                rejects.push(self.incomplete(&all.slice(row, 1), kept, position));
            }
        }
        let keep = BooleanArray::from(BooleanBuffer::clone(complete.inner()));
        let rows = filter_record_batch(&all, &keep).map_err(damaged)?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())
            .map_err(damaged)?;
        Ok(Decoded {
            rows,
            lines,
            rejects,
        })
    }

    fn incomplete(&self, row: &RecordBatch, before_row: u32, position: u64) -> Malformed {
        let missing: Vec<String> = (self.schema.fields().iter().zip(row.columns()))
            .filter(|(field, array)| !field.is_nullable() && array.is_null(0))
            .map(|(field, _)| {
                format!(
                    "column `{}` is null, but declared as not nullable",
                    field.name()
                )
            })
            .collect();
        let mut record = arrow_json::LineDelimitedWriter::new(Vec::new());
        // The record is for a person to look at. A type that has no form in JSON leaves it empty.
        let _ = record.write(row).and_then(|()| record.finish());
        let mut record = record.into_inner();
        record.truncate(record.len().min(super::origin::RECORD_BYTES));
        if record.last() == Some(&b'\n') {
            record.pop();
        }
        Malformed {
            before_row,
            position,
            code: code::MISSING_VALUE,
            reason: missing.join("; "),
            record,
        }
    }
}

impl SplitReader for ParquetReader {
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        let Some(batch) = self.read()? else {
            return Ok(None);
        };
        let rows = batch.num_rows();
        let (arrays, complete) = self.adapt(&batch).inspect_err(|_| self.reader = None)?;
        let decoded = match complete {
            Some(complete) => self.refuse_incomplete(arrays, &complete)?,
            None => {
                let mut lines = Origin::default();
                lines.push(0, self.rows);
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let batch =
                    RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
                let rows = batch.map_err(|error| DecodeError::Corrupt {
                    path: self.path.clone(),
                    row: self.rows,
                    reason: error.to_string(),
                })?;
                Decoded {
                    rows,
                    lines,
                    rejects: Vec::new(),
                }
            }
        };
        self.rows += rows as u64;
        Ok(Some(decoded))
    }

    fn bytes_read(&self) -> u64 {
        let share = u128::from(self.bytes_in_file) * u128::from(self.rows)
            / u128::from(self.rows_in_file.max(1));
        if self.rows_in_file == 0 {
            self.bytes_in_file
        } else {
            share as u64
        }
    }
}

/// The columns of several files.
#[derive(Default)]
pub(super) struct Union {
    fields: Vec<Field>,
}

impl Union {
    /// Adds the columns of a file.
    pub(super) fn add<R: ChunkReader>(&mut self, file: R, path: &Path) -> Result<(), DecodeError> {
        let (metadata, _) = footer(&file, path)?;
        for field in metadata.schema().fields() {
            match self
                .fields
                .iter_mut()
                .find(|known| known.name() == field.name())
            {
                None => self.fields.push(field.as_ref().clone()),
                Some(known) if known.data_type() == field.data_type() => {
                    known.set_nullable(known.is_nullable() || field.is_nullable());
                }
                Some(known) => {
                    return Err(DecodeError::Disagreement {
                        path: path.to_owned(),
                        column: field.name().clone(),
                        expected: known.data_type().clone(),
                        found: field.data_type().clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// All columns, in the order of first appearance.
    pub(super) fn schema(self) -> Schema {
        Schema::new(self.fields)
    }
}

/// The metadata of a file, its Arrow schema made plain, and the length of the file.
fn footer<R: ChunkReader>(
    file: &R,
    path: &Path,
) -> Result<(ArrowReaderMetadata, u64), DecodeError> {
    if file.len() == 0 {
        return Err(DecodeError::Empty {
            path: path.to_owned(),
        });
    }
    let loaded = guarded(|| {
        // Whole columns are read from their start, so an index of their pages would only be parsed for nothing.
        let options = || ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        let as_written = ArrowReaderMetadata::load(file, options())?;
        let plain = plain::schema(as_written.schema());
        ArrowReaderMetadata::try_new(
            Arc::clone(as_written.metadata()),
            options().with_schema(Arc::new(plain)),
        )
    });
    match loaded {
        Ok(loaded) => Ok((loaded, file.len())),
        Err(reason) => Err(DecodeError::NotParquet {
            path: path.to_owned(),
            reason,
        }),
    }
}

fn names(schema: &Schema) -> String {
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("`{}`", field.name()))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Runs a step of the `parquet` crate. Some of its decoders panic on damaged pages; that must not end the host.
fn guarded<T, E: ToString>(step: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_text(panic.as_ref())),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the decoder gave up").to_owned()
}

/// Bytes of a batch, at most, as far as the file's footer tells them.
const BATCH_BYTES: u64 = 32 << 20;

/// How many rows of some root columns make a batch of a bearable size, at least one. Goes by the row
/// group with the widest rows; what dictionaries hide it cannot know.
fn affordable_rows(metadata: &ArrowReaderMetadata, roots: &[usize]) -> usize {
    let schema = metadata.parquet_schema();
    let wanted = |column: usize| roots.contains(&schema.get_column_root_idx(column));
    let widest = metadata.metadata().row_groups().iter().map(|group| {
        let columns = group.columns().iter().enumerate();
        let wanted = columns.filter(|(column, _)| wanted(*column));
        let bytes: i64 = wanted.map(|(_, column)| column.uncompressed_size()).sum();
        bytes.max(0) as u64 / group.num_rows().max(1) as u64
    });
    (BATCH_BYTES / widest.max().unwrap_or(1).max(1)).max(1) as usize
}

#[cfg(test)]
mod tests;
