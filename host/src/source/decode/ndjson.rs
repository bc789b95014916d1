//! NDJSON: one JSON object a line (also called JSON Lines).
//!
//! In: the lines of a file. Out: the wanted fields of its lines as columns. `fields` finds the wanted values on a line
//! and checks its grammar, `column` turns values into arrays.
//!
//! What is accepted: UTF-8 with or without byte order mark; `\n` or `\r\n`; a last line without newline. Blank lines are
//! skipped. Fields that are not wanted are checked for grammar and skipped. A wanted field that is missing is null; of
//! one that stands there twice, the last counts. Everything else is refused line by line, with the reason.

mod fields;

use std::io;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::fields::{Fields, Line};
use super::DecodeError;
use super::batch::{
    Batch, Columns, Records, Refusal, Sizes, TextReader, check_utf8, line_end, record,
};
use super::column::{self, Written};
use super::content::Content;
use super::lines::Lines;
use super::origin::{RECORD_BYTES, code};
use super::scan;
use crate::source::recording::Recording;

/// Reads one NDJSON file.
pub(super) type NdjsonReader = TextReader<Objects>;

impl NdjsonReader {
    /// `schema` is what is wanted of `recording`.
    pub(super) fn open(
        recording: &Arc<dyn Recording>,
        schema: &SchemaRef,
        batch_rows: usize,
        sizes: Sizes,
    ) -> Result<Self, DecodeError> {
        let objects = Objects::new(&recording.name(), schema)?;
        let lines = Lines::new(
            Content::open(recording)?,
            sizes.chunk_of(recording.as_ref()),
            sizes.line,
        );
        Ok(Self::new(lines, 0, objects, batch_rows, sizes))
    }
}

/// The wanted fields of a line and the columns that they go to.
pub(super) struct Objects {
    fields: Fields,
    columns: Columns,
}

impl Records for Objects {
    fn decode(&mut self, lines: &mut Lines<Content>, batch: &mut Batch) -> io::Result<()> {
        let (text, utf8) = (lines.region(), lines.is_utf8());
        let (whole, limit) = (lines.remaining(), batch.sizes.line);
        let mut at = 0;
        while at < whole && !batch.is_full() {
            batch.line += 1;
            let next = match self.decode_line(text, at, utf8, limit) {
                Ok(Line::Object { next }) => {
                    batch.push(batch.line);
                    next
                }
                Ok(Line::Blank { next }) => next,
                Err(refusal) => {
                    self.columns.truncate(batch.rows());
                    let end = line_end(text, at);
                    // A line over the limit is refused as that and nothing else, as if it had never been in the buffer.
                    let (refusal, kept) = if end - at > limit {
                        (Refusal::too_long(limit), limit)
                    } else {
                        (refusal, RECORD_BYTES)
                    };
                    batch.refuse(batch.line, refusal, record(&text[at..end], kept));
                    end + 1
                }
            };
            batch.bytes += next - at;
            at = next;
        }
        lines.consume(at);
        Ok(())
    }

    fn columns(&mut self) -> &mut Columns {
        &mut self.columns
    }
}

impl Objects {
    /// `schema` is what is wanted of `name`.
    pub(super) fn new(name: &str, schema: &SchemaRef) -> Result<Self, DecodeError> {
        Ok(Self {
            fields: Fields::new(schema.fields().iter().map(|field| field.name().as_str())),
            columns: Columns::new(name, "JSON", schema)?,
        })
    }

    /// The columns that are filled.
    pub(super) fn filled(&mut self) -> &mut Columns {
        &mut self.columns
    }

    /// Appends a row for the one object that `text[at..end]` is; behind it stands a newline. After a refusal, parts of a
    /// row may be left, or a whole one: see [`Columns::truncate`].
    #[inline]
    pub(super) fn read_message(
        &mut self,
        text: &[u8],
        at: usize,
        end: usize,
        utf8: bool,
    ) -> Result<(), Refusal> {
        match self.decode_line(text, at, utf8, usize::MAX) {
            Ok(Line::Object { next }) if next == end + 1 => Ok(()),
            Ok(Line::Blank { next }) if next == end + 1 => Err(Refusal {
                code: code::MALFORMED_JSON,
                reason: "expected an object, found nothing".to_owned(),
            }),
            Err(refusal) if memchr::memchr(b'\n', &text[at..end]).is_none() => Err(refusal),
            _ => Err(Refusal {
                code: code::MALFORMED_JSON,
                reason: "the message has several lines; write one object on one line".to_owned(),
            }),
        }
    }

    /// Appends a row for the line at `at`. After a refusal, parts of a row may be left: see [`Columns::truncate`].
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
            .map_err(|error| syntax(error, text, at))?;
        let (Line::Object { next } | Line::Blank { next }) = line;
        if next - at - 1 > limit {
            return Err(Refusal::too_long(limit));
        }
        if let Line::Object { .. } = line {
            let Columns { schema, columns } = &mut self.columns;
            let wanted = self.fields.spans().iter().zip(schema.fields());
            for (column, (span, field)) in columns.iter_mut().zip(wanted) {
                let written = (span.start != span.end).then_some(Written {
                    text,
                    start: span.start,
                    end: span.end,
                    cell: false,
                });
                column::push(column.as_mut(), field.is_nullable(), written)
                    .map_err(|misfit| Refusal::misfit(&misfit, field.name()))?;
            }
        }
        Ok(line)
    }
}

#[cold]
fn syntax(syntax: scan::Syntax, text: &[u8], line: usize) -> Refusal {
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
    Refusal {
        code: code::MALFORMED_JSON,
        reason,
    }
}

#[cfg(test)]
mod tests;
