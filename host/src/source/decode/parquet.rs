//! Apache Parquet.
//!
//! In: a Parquet file. Out: its wanted columns, read by the `parquet` crate and made to fit the wanted types where that
//! loses nothing (`columnar`). Only the wanted columns are read and decompressed, one page of each at a time.
//!
//! Texts and bytes are decoded as views, which keep a value of a dictionary once, and made plain in pieces of a bearable
//! size: a small file may stand for more than memory holds.
//!
//! A row whose value is null in a column that may not be null is refused like a malformed line. Anything else that is
//! wrong concerns more than a row, and is an error: a missing column, another type, a damaged page.

mod chunks;
mod width;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;

use self::chunks::Chunks;
use self::width::{affordable_rows, unreadable_codec};
use super::columnar::{Fault, Fitting, Pieces, Watched, guarded, plain};
use super::{DecodeError, Decoded, SplitReader};
use crate::source::recording::Recording;

/// Reads one Parquet file.
pub(super) struct ParquetReader {
    fitting: Fitting,
    watched: Arc<Watched>,
    /// `None` after the end, and after an error: a reader that failed is in no known state.
    reader: Option<ParquetRecordBatchReader>,
    /// The rows at hand.
    pieces: Pieces,
    batch_rows: usize,
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
        let Footer {
            watched,
            metadata,
            plain,
        } = footer(recording)?;
        let (fitting, read) = Fitting::new(recording.name(), &plain, schema)?;
        if let Some((column, codec)) = unreadable_codec(metadata.metadata(), &read) {
            return Err(DecodeError::Codec {
                file: recording.name(),
                column,
                codec,
            });
        }
        let plain = (plain.project(&read)).expect("the places are those of columns");
        let rows_in_file =
            u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batch_rows = batch_rows.clamp(1, 1 << 30);
        let decoded_rows = batch_rows.min(affordable_rows(metadata.metadata(), &read));
        let chunks = Chunks(Arc::clone(&watched));
        let reader = guarded(|| {
            let mask = ProjectionMask::roots(metadata.parquet_schema(), read);
            ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata.clone())
                .with_projection(mask)
                .with_batch_size(decoded_rows)
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
            pieces: Pieces::new(Arc::new(plain)),
            batch_rows,
            rows: 0,
            rows_in_file,
        })
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        let fault = match self.read_on() {
            Ok(Some(batch)) => return Ok(Some(batch)),
            Ok(None) if self.rows == self.rows_in_file => {
                self.reader = None;
                return Ok(None);
            }
            Ok(None) => Fault::Damaged(format!("the footer promises {} rows", self.rows_in_file)),
            Err(fault) => fault,
        };
        self.end();
        let error = fault.after(self.fitting.file(), self.rows);
        Err(self.watched.failure_or(error))
    }

    fn read_on(&mut self) -> Result<Option<RecordBatch>, Fault> {
        while self.pieces.is_given_out() {
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            match guarded(|| reader.next().transpose())? {
                Some(batch) => self.pieces.take_in(batch),
                None => return Ok(None),
            }
        }
        let rows = guarded(|| Ok::<_, String>(self.pieces.next(self.batch_rows)))??;
        Ok(Some(rows))
    }

    /// Reads nothing any more.
    fn end(&mut self) {
        self.reader = None;
        self.pieces.end();
    }
}

impl SplitReader for ParquetReader {
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        let Some(batch) = self.read()? else {
            return Ok(None);
        };
        let decoded = self.fitting.fit(&batch, self.rows);
        let decoded = decoded.inspect_err(|_| self.end())?;
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
    Ok(footer(recording)?.plain)
}

/// What the footer of a file notes beside its columns, by name.
pub(super) fn notes(
    recording: &Arc<dyn Recording>,
) -> Result<BTreeMap<String, String>, DecodeError> {
    Ok(notes_and_schema(recording)?.0)
}

/// What the footer of a file notes, and its columns.
pub(super) fn notes_and_schema(
    recording: &Arc<dyn Recording>,
) -> Result<(BTreeMap<String, String>, Schema), DecodeError> {
    let footer = footer(recording)?;
    let file = footer.metadata.metadata().file_metadata();
    let notes = file.key_value_metadata().into_iter().flatten();
    let notes = notes.filter_map(|note| Some((note.key.clone(), note.value.clone()?)));
    Ok((notes.collect(), footer.plain))
}

/// A file, opened, and what its footer says.
struct Footer {
    watched: Arc<Watched>,
    /// With texts and bytes as views, where that is possible.
    metadata: ArrowReaderMetadata,
    plain: Schema,
}

fn footer(recording: &Arc<dyn Recording>) -> Result<Footer, DecodeError> {
    let watched = Watched::open(recording, "Parquet")?;
    let chunks = Chunks(Arc::clone(&watched));
    let loaded = guarded(|| {
        // Whole columns are read from their start, so an index of their pages would only be parsed for nothing.
        let options = || ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        let as_written = ArrowReaderMetadata::load(&chunks, options())?;
        let read_as = |schema: &Schema| {
            let options = options().with_schema(Arc::new(schema.clone()));
            ArrowReaderMetadata::try_new(Arc::clone(as_written.metadata()), options)
        };
        let plain = plain::schema(as_written.schema());
        let metadata = read_as(&plain::with_views(&plain)).or_else(|_| read_as(&plain))?;
        Ok::<_, ParquetError>((metadata, plain))
    });
    match loaded {
        Ok((metadata, plain)) => Ok(Footer {
            watched,
            metadata,
            plain,
        }),
        Err(reason) => Err(watched.failure_or(DecodeError::Unreadable {
            file: recording.name(),
            format: "Parquet",
            reason,
        })),
    }
}

#[cfg(test)]
mod tests;
