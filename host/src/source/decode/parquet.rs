//! Apache Parquet.
//!
//! In: a Parquet file. Out: its wanted columns, read by the `parquet` crate and made to fit the wanted types where that
//! loses nothing (`columnar`). Only the wanted columns are read and decompressed, one page of each at a time.
//!
//! A row whose value is null in a column that may not be null is refused like a malformed line. Anything else that is
//! wrong concerns more than a row, and is an error: a missing column, another type, a damaged page.

mod chunks;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;

use self::chunks::Chunks;
use super::columnar::{Fitting, Watched, guarded, plain};
use super::{DecodeError, Decoded, SplitReader};
use crate::source::recording::Recording;

/// Reads one Parquet file.
pub(super) struct ParquetReader {
    fitting: Fitting,
    watched: Arc<Watched>,
    /// `None` after the end, and after an error: a reader that failed is in no known state.
    reader: Option<ParquetRecordBatchReader>,
    rows: u64,
    rows_in_file: u64,
}

impl ParquetReader {
    /// `schema` is what is wanted of `recording`.
    pub(super) fn new(
        recording: &Arc<dyn Recording>,
        schema: &SchemaRef,
        batch_rows: usize,
    ) -> Result<Self, DecodeError> {
        let (watched, metadata) = footer(recording)?;
        let (fitting, read) = Fitting::new(recording.name(), metadata.schema(), schema)?;
        let rows_in_file =
            u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batch_rows = batch_rows.min(affordable_rows(&metadata, &read));
        let chunks = Chunks(Arc::clone(&watched));
        let reader = guarded(|| {
            let mask = ProjectionMask::roots(metadata.parquet_schema(), read);
            ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata.clone())
                .with_projection(mask)
                .with_batch_size(batch_rows.clamp(1, 1 << 30))
                .build()
        })
        .map_err(|reason| {
            watched.failure_or(DecodeError::Corrupt {
                file: recording.name(),
                row: 0,
                reason,
            })
        })?;
        Ok(Self {
            fitting,
            watched,
            reader: Some(reader),
            rows: 0,
            rows_in_file,
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
        Err(self.watched.failure_or(DecodeError::Corrupt {
            file: self.fitting.file().to_owned(),
            row: self.rows,
            reason,
        }))
    }
}

impl SplitReader for ParquetReader {
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        let Some(batch) = self.read()? else {
            return Ok(None);
        };
        let decoded = (self.fitting.fit(&batch, self.rows)).inspect_err(|_| self.reader = None)?;
        self.rows += batch.num_rows() as u64;
        Ok(Some(decoded))
    }

    fn bytes_read(&self) -> u64 {
        let share = u128::from(self.watched.size()) * u128::from(self.rows)
            / u128::from(self.rows_in_file.max(1));
        if self.rows_in_file == 0 {
            self.watched.size()
        } else {
            share as u64
        }
    }
}

/// The columns of a file, with plain types.
pub(super) fn schema(recording: &Arc<dyn Recording>) -> Result<Schema, DecodeError> {
    let (_, metadata) = footer(recording)?;
    Ok(metadata.schema().as_ref().clone())
}

/// A file, opened, and its metadata, the Arrow schema made plain.
fn footer(
    recording: &Arc<dyn Recording>,
) -> Result<(Arc<Watched>, ArrowReaderMetadata), DecodeError> {
    let watched = Watched::open(recording, "Parquet")?;
    let chunks = Chunks(Arc::clone(&watched));
    let loaded = guarded(|| {
        // Whole columns are read from their start, so an index of their pages would only be parsed for nothing.
        let options = || ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        let as_written = ArrowReaderMetadata::load(&chunks, options())?;
        let plain = plain::schema(as_written.schema());
        ArrowReaderMetadata::try_new(
            Arc::clone(as_written.metadata()),
            options().with_schema(Arc::new(plain)),
        )
    });
    match loaded {
        Ok(loaded) => Ok((watched, loaded)),
        Err(reason) => Err(watched.failure_or(DecodeError::Unreadable {
            file: recording.name(),
            format: "Parquet",
            reason,
        })),
    }
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
