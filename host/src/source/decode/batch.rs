//! What the text formats have in common: batches are filled record by record, and end early where they would grow large.

use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::column::{self, Column, Misfit};
use super::content::Content;
use super::lines::{Filled, Lines};
use super::origin::{Malformed, Origin, RECORD_BYTES, code};
use super::{DecodeError, Decoded, SplitReader};
use crate::source::recording::Recording;

/// Bytes that are read of a file at a time, however small it is.
const SMALLEST_CHUNK: usize = 4 << 10;

/// The sizes that bound memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes read at a time: little enough that what was read is still in the cache when it is decoded.
    pub(super) chunk: usize,
    /// The longest line or record, in bytes, without its newline.
    pub(super) line: usize,
    /// A batch ends when it has taken in this many bytes, whatever its rows.
    pub(super) batch: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            chunk: 1 << 18,
            line: 16 << 20,
            batch: 32 << 20,
        }
    }
}

impl Sizes {
    /// Bytes of a file that are read at a time: there may be thousands of small ones, all open at once.
    pub(super) fn chunk_of(&self, recording: &dyn Recording) -> usize {
        let size = recording.size().unwrap_or(u64::MAX);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.chunk.min(size.max(SMALLEST_CHUNK))
    }
}

/// What a text format does with lines.
pub(super) trait Records: Send {
    /// Decodes records from the whole lines at hand, at least one, until they or the batch end.
    fn decode(&mut self, lines: &mut Lines<Content>, batch: &mut Batch) -> io::Result<()>;
    /// The columns that it fills.
    fn columns(&mut self) -> &mut Columns;
}

/// Reads one text file.
pub(super) struct TextReader<R> {
    lines: Lines<Content>,
    records: R,
    batch: Batch,
    state: State,
}

enum State {
    Reading,
    /// The rows before the failure were handed over.
    Failed(DecodeError),
    Ended,
}

impl<R: Records> TextReader<R> {
    /// `lines` were read up to the end of line `line`.
    pub(super) fn new(
        lines: Lines<Content>,
        line: u64,
        records: R,
        batch_rows: usize,
        sizes: Sizes,
    ) -> Self {
        Self {
            lines,
            records,
            batch: Batch {
                // Rows of a batch are numbered in 32 bits.
                batch_rows: batch_rows.clamp(1, 1 << 30),
                sizes,
                line,
                rows: 0,
                bytes: 0,
                origin: Origin::default(),
                rejects: Vec::new(),
            },
            state: State::Reading,
        }
    }

    /// Decodes what is at hand, or reads on; `false` at the end of the file.
    fn step(&mut self) -> io::Result<bool> {
        if self.lines.remaining() > 0 {
            self.records.decode(&mut self.lines, &mut self.batch)?;
            return Ok(true);
        }
        match self.lines.fill()? {
            Filled::Lines => Ok(true),
            Filled::TooLong(head) => {
                self.batch.line += 1;
                self.batch.bytes += head.len();
                let refusal = Refusal::too_long(self.batch.sizes.line);
                self.batch.refuse(self.batch.line, refusal, head);
                Ok(true)
            }
            Filled::End => Ok(false),
        }
    }

    fn finish_batch(&mut self) -> Option<Decoded> {
        let rows = std::mem::take(&mut self.batch.rows);
        let rejects = std::mem::take(&mut self.batch.rejects);
        self.batch.bytes = 0;
        if rows == 0 && rejects.is_empty() {
            return None;
        }
        Some(Decoded {
            rows: self.records.columns().finish(rows),
            lines: std::mem::take(&mut self.batch.origin),
            rejects,
        })
    }
}

impl<R: Records> SplitReader for TextReader<R> {
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Reading => self.state = State::Reading,
            State::Failed(error) => return Err(error),
            State::Ended => return Ok(None),
        }
        loop {
            // A batch that is full of nothing but blank lines is none, and not the end either.
            if self.batch.is_full()
                && let Some(decoded) = self.finish_batch()
            {
                return Ok(Some(decoded));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => {
                    self.state = State::Ended;
                    return Ok(self.finish_batch());
                }
                Err(error) => {
                    let content = self.lines.source();
                    let error = content.failure(self.lines.bytes_read(), error);
                    let Some(decoded) = self.finish_batch() else {
                        self.state = State::Ended;
                        return Err(error);
                    };
                    self.state = State::Failed(error);
                    return Ok(Some(decoded));
                }
            }
        }
    }

    fn bytes_read(&self) -> u64 {
        let compressed = self.lines.source().compressed_bytes_read();
        compressed.unwrap_or_else(|| self.lines.bytes_consumed())
    }
}

/// What the batch at hand has beside its columns.
pub(super) struct Batch {
    batch_rows: usize,
    pub(super) sizes: Sizes,
    /// Lines consumed since the file began.
    pub(super) line: u64,
    rows: usize,
    /// Bytes that were read for it.
    pub(super) bytes: usize,
    origin: Origin,
    rejects: Vec<Malformed>,
}

impl Batch {
    /// Rejects count as rows: a file of nothing else must not fill the memory.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows + self.rejects.len() >= self.batch_rows || self.bytes >= self.sizes.batch
    }

    /// Rows so far.
    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Notes that the columns have one more row, which began at `line`.
    #[inline]
    pub(super) fn push(&mut self, line: u64) {
        self.origin.push(self.rows as u32, line);
        self.rows += 1;
    }

    /// Notes a record that began at `line` and is none.
    #[cold]
    pub(super) fn refuse(&mut self, line: u64, refusal: Refusal, record: Vec<u8>) {
        self.rejects.push(Malformed {
            before_row: self.rows as u32,
            position: line,
            code: refusal.code,
            reason: refusal.reason,
            record,
        });
    }
}

/// Why a record did not become a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn too_long(limit: usize) -> Self {
        Self {
            code: code::LINE_TOO_LONG,
            reason: format!("the line is longer than {limit} bytes"),
        }
    }

    #[cold]
    pub(super) fn misfit(misfit: &Misfit, column: &str) -> Self {
        Self {
            code: misfit.code,
            reason: misfit.reason(column),
        }
    }
}

/// Refuses a record that is not UTF-8.
#[cold]
pub(super) fn check_utf8(record: &[u8]) -> Result<(), Refusal> {
    match simdutf8::compat::from_utf8(record) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal {
            code: code::INVALID_UTF8,
            reason: format!("byte {}: not UTF-8", error.valid_up_to() + 1),
        }),
    }
}

/// What a reject keeps of a record, whose last newline is left out.
pub(super) fn record(record: &[u8], kept: usize) -> Vec<u8> {
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    record[..record.len().min(kept).min(RECORD_BYTES)].to_vec()
}

/// The newline that ends the line which goes through `at`.
pub(super) fn line_end(text: &[u8], at: usize) -> usize {
    at + memchr::memchr(b'\n', &text[at..]).expect("every line in the buffer ends in a newline")
}

/// The wanted columns.
pub(super) struct Columns {
    pub(super) schema: SchemaRef,
    pub(super) columns: Vec<Box<dyn Column>>,
}

impl Columns {
    /// Empty columns for what is wanted of `file`; `format` is for messages.
    pub(super) fn new(
        file: &str,
        format: &'static str,
        schema: &SchemaRef,
    ) -> Result<Self, DecodeError> {
        let columns: Result<Vec<_>, _> = schema
            .fields()
            .iter()
            .map(|field| {
                column::column(field, 1).map_err(|unsupported| DecodeError::UnsupportedType {
                    file: file.to_owned(),
                    format,
                    column: format!("{}{}", field.name(), unsupported.path),
                    data_type: unsupported.data_type,
                })
            })
            .collect();
        Ok(Self {
            schema: Arc::clone(schema),
            columns: columns?,
        })
    }

    /// Drops all but the first rows, and whatever an unfinished row left.
    pub(super) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// The rows so far; the columns are empty afterwards.
    pub(super) fn finish(&mut self, rows: usize) -> RecordBatch {
        let columns = self.columns.iter_mut().map(|column| column.finish());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options)
            .expect("the columns were built from the schema, and nulls were checked against it")
    }
}
