//! NDJSON: one JSON object a line (also called JSON Lines).
//!
//! In: the bytes of a file. Out: the wanted fields of its lines as columns. `lines` cuts the file into runs of whole
//! lines, `fields` finds the wanted values on a line and checks its grammar, `column` turns values into arrays.
//!
//! What is accepted: UTF-8 with or without byte order mark; `\n` or `\r\n`; a last line without newline. Blank lines are
//! skipped. Fields that are not wanted are checked for grammar and skipped. A wanted field that is missing is null; of
//! one that stands there twice, the last counts. Everything else is refused line by line, with the reason.

mod column;
mod fields;
mod lines;
mod number;
mod scan;
mod time;

use std::io::Read;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use self::column::{Column, Json, Misfit};
use self::fields::{Fields, Line};

pub(super) use self::lines::{Filled, Lines};
use super::origin::{Malformed, Origin, RECORD_BYTES, code};
use super::{DecodeError, Decoded, SplitReader};

/// The sizes that bound memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes read at a time: little enough that what was read is still in the cache when it is decoded.
    pub(super) chunk: usize,
    /// The longest line, in bytes, without its newline.
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

/// Reads one NDJSON file.
pub(super) struct NdjsonReader<R> {
    file: String,
    lines: Lines<R>,
    wanted: Wanted,
    batch_rows: usize,
    sizes: Sizes,
    /// Lines consumed.
    position: u64,
    batch: Batch,
}

/// What the batch at hand has beside its columns.
#[derive(Default)]
struct Batch {
    rows: usize,
    /// Bytes that were read for it.
    bytes: usize,
    lines: Origin,
    rejects: Vec<Malformed>,
}

impl<R: Read + Send> NdjsonReader<R> {
    /// `schema` is what is wanted of the file with this name and content.
    pub(super) fn new(
        file: &str,
        content: R,
        schema: &SchemaRef,
        batch_rows: usize,
        sizes: Sizes,
    ) -> Result<Self, DecodeError> {
        let columns: Result<Vec<_>, _> = schema
            .fields()
            .iter()
            .map(|field| {
                column::column(field, 1).map_err(|unsupported| DecodeError::UnsupportedType {
                    file: file.to_owned(),
                    column: format!("{}{}", field.name(), unsupported.path),
                    data_type: unsupported.data_type,
                })
            })
            .collect();
        Ok(Self {
            file: file.to_owned(),
            lines: Lines::new(content, sizes.chunk, sizes.line),
            wanted: Wanted {
                schema: Arc::clone(schema),
                fields: Fields::new(schema.fields().iter().map(|field| field.name().as_str())),
                columns: columns?,
            },
            // Rows of a batch are numbered in 32 bits.
            batch_rows: batch_rows.clamp(1, 1 << 30),
            sizes,
            position: 0,
            batch: Batch::default(),
        })
    }

    /// Decodes whole lines that are in the buffer, until they or the batch end.
    fn decode_lines(&mut self) {
        let (text, utf8) = (self.lines.region(), self.lines.is_utf8());
        let (whole, limit) = (self.lines.remaining(), self.sizes.line);
        let mut at = 0;
        while at < whole && !self.batch.is_full(self.batch_rows, self.sizes.batch) {
            self.position += 1;
            let next = match self.wanted.decode_line(text, at, utf8, limit) {
                Ok(Line::Object { next }) => {
                    self.batch.lines.push(self.batch.rows as u32, self.position);
                    self.batch.rows += 1;
                    next
                }
                Ok(Line::Blank { next }) => next,
                Err(refusal) => {
                    self.wanted.truncate(self.batch.rows);
                    let end = line_end(text, at);
                    // A line over the limit is refused as that and nothing else, as if it had never been in the buffer.
                    let (refusal, kept) = if end - at > limit {
                        (Refusal::too_long(limit), limit.min(RECORD_BYTES))
                    } else {
                        (refusal, RECORD_BYTES)
                    };
                    let record = record(&text[at..end], kept);
                    self.batch.refuse(self.position, refusal, record);
                    end + 1
                }
            };
            self.batch.bytes += next - at;
            at = next;
        }
        self.lines.consume(at);
    }

    fn refuse_long_line(&mut self, head: Vec<u8>) {
        self.position += 1;
        self.batch.bytes += head.len();
        self.batch
            .refuse(self.position, Refusal::too_long(self.sizes.line), head);
    }

    fn finish_batch(&mut self) -> Option<Decoded> {
        let Batch {
            rows,
            lines,
            rejects,
            ..
        } = std::mem::take(&mut self.batch);
        if rows == 0 && rejects.is_empty() {
            return None;
        }
        let rows = self.wanted.finish(rows);
        Some(Decoded {
            rows,
            lines,
            rejects,
        })
    }
}

impl<R: Read + Send> SplitReader for NdjsonReader<R> {
    fn next_batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        loop {
            // A batch that is full of nothing but blank lines is none, and not the end either.
            if self.batch.is_full(self.batch_rows, self.sizes.batch)
                && let Some(decoded) = self.finish_batch()
            {
                return Ok(Some(decoded));
            }
            if self.lines.remaining() > 0 {
                self.decode_lines();
                continue;
            }
            let at = self.lines.bytes_read();
            let filled = self.lines.fill().map_err(|source| DecodeError::Read {
                file: self.file.clone(),
                at,
                source,
            })?;
            match filled {
                Filled::Lines => {}
                Filled::TooLong(head) => self.refuse_long_line(head),
                Filled::End => return Ok(self.finish_batch()),
            }
        }
    }

    fn bytes_read(&self) -> u64 {
        self.lines.bytes_consumed()
    }
}

impl Batch {
    /// Rejects count as rows: a file of nothing else must not fill the memory.
    #[inline]
    fn is_full(&self, rows: usize, bytes: usize) -> bool {
        self.rows + self.rejects.len() >= rows || self.bytes >= bytes
    }

    #[cold]
    fn refuse(&mut self, position: u64, refusal: Refusal, record: Vec<u8>) {
        self.rejects.push(Malformed {
            before_row: self.rows as u32,
            position,
            code: refusal.code,
            reason: refusal.reason,
            record,
        });
    }
}

/// Why a line did not become a row.
struct Refusal {
    code: &'static str,
    reason: String,
}

impl Refusal {
    fn too_long(limit: usize) -> Self {
        Self {
            code: code::LINE_TOO_LONG,
            reason: format!("the line is longer than {limit} bytes"),
        }
    }

    #[cold]
    fn misfit(misfit: &Misfit, column: &str) -> Self {
        Self {
            code: misfit.code,
            reason: misfit.reason(column),
        }
    }

    #[cold]
    fn syntax(syntax: scan::Syntax, text: &[u8], line: usize) -> Self {
        let found = match scan::byte(text, syntax.at) {
            b'\n' => "the end of the line".to_owned(),
            byte @ 0x20..=0x7e => format!("`{}`", char::from(byte)),
            byte => format!("the byte 0x{byte:02x}"),
        };
        let reason = format!(
            "byte {}: expected {}, found {found}",
            syntax.at - line + 1,
            syntax.expected
        );
        Self {
            code: code::MALFORMED_JSON,
            reason,
        }
    }

    #[cold]
    fn utf8(valid: usize) -> Self {
        Self {
            code: code::INVALID_UTF8,
            reason: format!("byte {}: not UTF-8", valid + 1),
        }
    }
}

/// The wanted fields and the columns that they go to.
struct Wanted {
    schema: SchemaRef,
    fields: Fields,
    columns: Vec<Box<dyn Column>>,
}

impl Wanted {
    /// Appends a row for the line at `at`. After a refusal, parts of a row may be left: see [`Wanted::truncate`].
    #[inline]
    fn decode_line(
        &mut self,
        text: &[u8],
        at: usize,
        utf8: bool,
        limit: usize,
    ) -> Result<Line, Refusal> {
        if !utf8 {
            check_utf8(&text[at..line_end(text, at)])?;
        }
        let line = self
            .fields
            .read_line(text, at)
            .map_err(|syntax| Refusal::syntax(syntax, text, at))?;
        let (Line::Object { next } | Line::Blank { next }) = line;
        if next - at - 1 > limit {
            return Err(Refusal::too_long(limit));
        }
        if let Line::Object { .. } = line {
            let wanted = self.fields.spans().iter().zip(self.schema.fields());
            for (column, (span, field)) in self.columns.iter_mut().zip(wanted) {
                let json = (span.start != span.end).then_some(Json {
                    text,
                    start: span.start,
                    end: span.end,
                });
                column::push(column.as_mut(), field.is_nullable(), json)
                    .map_err(|misfit| Refusal::misfit(&misfit, field.name()))?;
            }
        }
        Ok(line)
    }

    fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// The rows so far; the columns are empty afterwards.
    fn finish(&mut self, rows: usize) -> RecordBatch {
        let columns = self
            .columns
            .iter_mut()
            .map(|column| column.finish())
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("the columns were built from the schema, and nulls were checked against it")
    }
}

#[cold]
fn check_utf8(line: &[u8]) -> Result<(), Refusal> {
    match simdutf8::compat::from_utf8(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::utf8(error.valid_up_to())),
    }
}

fn line_end(text: &[u8], at: usize) -> usize {
    at + memchr::memchr(b'\n', &text[at..]).expect("every line in the buffer ends in a newline")
}

/// What a reject keeps of a line.
fn record(line: &[u8], kept: usize) -> Vec<u8> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line[..line.len().min(kept)].to_vec()
}

#[cfg(test)]
mod tests;
