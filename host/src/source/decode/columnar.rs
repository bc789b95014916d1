//! What the columnar formats have in common: the columns of a file are made to fit the wanted ones.
//!
//! In: batches as a file has them, with plain types. Out: the wanted columns in their order, and rows that lack a value
//! they must have as rejects. Anything else that does not fit concerns more than a row, and is an error.

mod adapt;
mod expanded;
mod pieces;
pub(super) mod plain;
mod watched;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use self::adapt::Adapt;
pub(super) use self::pieces::{PIECE_BYTES, Pieces};
pub(super) use self::watched::Watched;
use super::origin::{Malformed, Origin, code};
use super::{DecodeError, Decoded};

/// How the columns of a file become the wanted ones.
pub(super) struct Fitting {
    file: String,
    schema: SchemaRef,
    columns: Vec<Wanted>,
}

/// Where a wanted column is among those that are read, and what makes it fit.
struct Wanted {
    read: usize,
    adapt: Adapt,
}

impl Fitting {
    /// How columns of `present`, whose types are plain, become those of `schema`; and which of them are to be read, by
    /// their places in the file.
    pub(super) fn new(
        file: String,
        present: &Schema,
        schema: &SchemaRef,
    ) -> Result<(Self, Vec<usize>), DecodeError> {
        let mut roots = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let Ok(root) = present.index_of(field.name()) else {
                return Err(DecodeError::MissingColumn {
                    file,
                    column: field.name().clone(),
                    available: names(present),
                });
            };
            roots.push(root);
        }
        let mut read = roots.clone();
        read.sort_unstable();
        let mut columns = Vec::with_capacity(roots.len());
        for (field, root) in schema.fields().iter().zip(&roots) {
            let found = present.field(*root);
            let Ok(adapt) = Adapt::new(found.data_type(), field.data_type()) else {
                return Err(DecodeError::IncompatibleColumn {
                    file,
                    column: field.name().clone(),
                    expected: field.data_type().clone(),
                    found: found.data_type().clone(),
                });
            };
            columns.push(Wanted {
                read: read.partition_point(|r| r < root),
                adapt,
            });
        }
        let fitting = Self {
            file,
            schema: Arc::clone(schema),
            columns,
        };
        Ok((fitting, read))
    }

    /// The file's name.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Rows of the columns that were to be read; the first of them is row `first` of the file.
    pub(super) fn fit(&self, batch: &RecordBatch, first: u64) -> Result<Decoded, DecodeError> {
        let (arrays, complete) = self.adapt(batch, first)?;
        if let Some(complete) = complete {
            return self.refuse_incomplete(arrays, &complete, first);
        }
        let mut lines = Origin::default();
        lines.push(0, first);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        Ok(Decoded {
            rows: rows.map_err(|error| self.damaged(first, &error))?,
            lines,
            rejects: Vec::new(),
        })
    }

    fn damaged(&self, row: u64, error: &ArrowError) -> DecodeError {
        DecodeError::Corrupt {
            file: self.file.clone(),
            row,
            reason: error.to_string(),
        }
    }

    /// The wanted columns with their types and in their order; and, if values that must be there are missing, which rows are
    /// complete.
    fn adapt(
        &self,
        batch: &RecordBatch,
        first: u64,
    ) -> Result<(Vec<ArrayRef>, Option<NullBuffer>), DecodeError> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut complete: Option<NullBuffer> = None;
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let array = batch.column(column.read);
            let array = column.adapt.apply(array).map_err(|failure| match failure {
                adapt::Failure::Inexact(value) => DecodeError::Inexact {
                    file: self.file.clone(),
                    column: field.name().clone(),
                    row: first,
                    last: first + batch.num_rows().saturating_sub(1) as u64,
                    value,
                    expected: field.data_type().clone(),
                    found: array.data_type().clone(),
                },
                adapt::Failure::Arrow(error) => DecodeError::Corrupt {
                    file: self.file.clone(),
                    row: first,
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
        first: u64,
    ) -> Result<Decoded, DecodeError> {
        let nullable: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let damaged = |error| self.damaged(first, &error);
        let all = RecordBatch::try_new(Arc::new(Schema::new(nullable)), arrays).map_err(damaged)?;
        let (mut lines, mut rejects, mut kept) = (Origin::default(), Vec::new(), 0);
        for row in 0..all.num_rows() {
            let position = first + row as u64;
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

/// The columns of several files.
#[derive(Default)]
pub(super) struct Union {
    fields: Vec<Field>,
}

impl Union {
    /// Adds the columns of a file, whose types are plain.
    pub(super) fn add(&mut self, file: &str, schema: &Schema) -> Result<(), DecodeError> {
        for field in schema.fields() {
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
                        file: file.to_owned(),
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

/// Why rows cannot be read on.
pub(super) enum Fault {
    /// The file is damaged.
    Damaged(String),
    /// What comes next does not fit into memory that one file may take.
    TooLarge(String),
}

impl Fault {
    /// The error of a file of which so many rows were read.
    pub(super) fn after(self, file: &str, row: u64) -> DecodeError {
        let file = file.to_owned();
        match self {
            Self::Damaged(reason) => DecodeError::Corrupt { file, row, reason },
            Self::TooLarge(reason) => DecodeError::TooLarge { file, row, reason },
        }
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::MemoryError(reason) => Self::TooLarge(reason),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Runs a step of the `parquet` or `arrow-ipc` crate. Some of their decoders panic on damaged data; that must not end
/// the host.
pub(super) fn guarded<T, E: ToString>(step: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
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
