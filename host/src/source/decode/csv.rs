//! CSV: comma-separated values, after RFC 4180, with a header.
//!
//! In: the lines of a file. Out: the wanted columns of its records. `records` finds the fields of a record, `column`
//! turns their texts into arrays: numbers and times look as they do in NDJSON.
//!
//! What is accepted: UTF-8 with or without byte order mark; `\n` or `\r\n`; a last line without newline. Blank lines are
//! skipped. The first record names the columns, which may stand in any order; those that are not wanted are skipped. A
//! wanted column that the header does not name is null in every row if it may be null, as a field that is missing is
//! in NDJSON; if it may not, opening the file is an error, as is a header that names no wanted column at all. A field of
//! nothing is null; between quotes it is an empty text where the column is one of texts or bytes, and null elsewhere.
//!
//! Every record has as many fields as the header. One that has not, or that holds a value which is not of its column's
//! type, is refused with all its lines. Where the quotes of a record make no sense, its first line is refused, and
//! reading goes on with the next.

mod records;
mod sample;

use std::io;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use self::records::{
    Cell, Found, Quoting, kept, malformed, never_closed, next_record, read_record, too_long,
};
use super::DecodeError;
use super::batch::{Batch, Columns, Records, Refusal, Sizes, TextReader, check_utf8, line_end};
use super::column::{self, Written};
use super::content::Content;
use super::lines::{Extended, Lines};
use super::origin::RECORD_BYTES;
use crate::source::recording::Recording;

pub(super) use self::sample::sample;

/// Reads one CSV file.
pub(super) type CsvReader = TextReader<Cells>;

impl CsvReader {
    /// `schema` is what is wanted of `recording`, whose header is read.
    pub(super) fn open(
        recording: &Arc<dyn Recording>,
        schema: &SchemaRef,
        batch_rows: usize,
        sizes: Sizes,
    ) -> Result<Self, DecodeError> {
        let file = recording.name();
        let columns = Columns::new(&file, "CSV", schema)?;
        if let Some(nested) = schema
            .fields()
            .iter()
            .find(|field| field.data_type().is_nested())
        {
            return Err(DecodeError::UnsupportedType {
                file,
                format: "CSV",
                column: nested.name().clone(),
                data_type: nested.data_type().clone(),
            });
        }
        let mut lines = Lines::new(
            Content::open(recording)?,
            sizes.chunk_of(recording.as_ref()),
            sizes.line,
        );
        let mut line = 0;
        let header = read_header(&file, &mut lines, sizes.line, &mut line)?;
        let wanted = match &header {
            Some(header) => match_columns(&file, header, schema)?,
            // A file of nothing has no rows, and needs no header.
            None => Vec::new(),
        };
        let is_text = |field: &Arc<arrow::datatypes::Field>| {
            use DataType::{Binary, LargeBinary, LargeUtf8, Utf8};
            matches!(field.data_type(), Utf8 | LargeUtf8 | Binary | LargeBinary)
        };
        let cells = Cells {
            cells: vec![Cell::default(); schema.fields().len()],
            texts: schema.fields().iter().map(is_text).collect(),
            plain: Vec::new(),
            wanted,
            columns,
        };
        Ok(Self::new(lines, line, cells, batch_rows, sizes))
    }
}

/// The names of the columns; `None` of a file without records.
fn read_header(
    file: &str,
    lines: &mut Lines<Content>,
    limit: usize,
    line: &mut u64,
) -> Result<Option<Vec<String>>, DecodeError> {
    let record = next_record(lines, limit, line);
    let record = record.map_err(|error| lines.source().failure(lines.bytes_read(), error))?;
    match record.transpose() {
        Ok(None) => Ok(None),
        Ok(Some(header)) => {
            let names: Vec<String> = header.fields.into_iter().map(|(name, _)| name).collect();
            match separated_otherwise(&names) {
                Some(separator) => Err(DecodeError::BadHeader {
                    file: file.to_owned(),
                    reason: format!(
                        "its columns seem to be separated by {separator:?}; fields are separated by commas"
                    ),
                }),
                None => Ok(Some(names)),
            }
        }
        Err(refusal) => Err(DecodeError::BadHeader {
            file: file.to_owned(),
            reason: refusal.reason,
        }),
    }
}

/// What seems to separate the names of a header that has no comma.
fn separated_otherwise(header: &[String]) -> Option<char> {
    let [only] = header else { return None };
    [';', '\t', '|']
        .into_iter()
        .find(|separator| only.contains(*separator))
}

/// A field of the file that nobody wants.
const UNWANTED: u32 = u32::MAX;

/// For each column of the header, its place among the wanted.
fn match_columns(
    file: &str,
    header: &[String],
    schema: &SchemaRef,
) -> Result<Vec<u32>, DecodeError> {
    let available = || {
        let names: Vec<String> = header.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let mut wanted = vec![UNWANTED; header.len()];
    let (mut found, mut first_missing) = (0, None);
    for (place, field) in schema.fields().iter().enumerate() {
        let mut columns = (0..header.len()).filter(|column| header[*column] == *field.name());
        match (columns.next(), columns.next()) {
            (Some(column), None) => {
                wanted[column] = place as u32;
                found += 1;
            }
            (Some(_), Some(_)) => {
                return Err(DecodeError::BadHeader {
                    file: file.to_owned(),
                    reason: format!("it has column `{}` twice", field.name()),
                });
            }
            (None, _) if field.is_nullable() => {
                first_missing.get_or_insert(field);
            }
            (None, _) => {
                return Err(DecodeError::MissingColumn {
                    file: file.to_owned(),
                    column: field.name().clone(),
                    available: available(),
                });
            }
        }
    }
    match first_missing {
        Some(missing) if found == 0 => Err(DecodeError::BadHeader {
            file: file.to_owned(),
            reason: format!(
                "none of its columns ({}) is wanted; `{}` is",
                available(),
                missing.name()
            ),
        }),
        _ => Ok(wanted),
    }
}

/// The wanted fields of a record and the columns that they go to.
pub(super) struct Cells {
    /// For each field of the file, its column, or [`UNWANTED`].
    wanted: Vec<u32>,
    /// For each column, the field of the record at hand. That of a column which the file has not stays empty.
    cells: Vec<Cell>,
    /// For each column, whether it takes a field of nothing between quotes for a value.
    texts: Vec<bool>,
    /// Room for a field without its doubled quotes.
    plain: Vec<u8>,
    columns: Columns,
}

impl Records for Cells {
    fn decode(&mut self, lines: &mut Lines<Content>, batch: &mut Batch) -> io::Result<()> {
        let (text, whole, utf8) = (lines.region(), lines.remaining(), lines.is_utf8());
        let mut at = 0;
        while at < whole && !batch.is_full() {
            let Some(next) = self.decode_record(text, at, whole, utf8, batch) else {
                lines.consume(at);
                return self.extend(lines, batch);
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

impl Cells {
    /// Appends a row or a reject for the record at `at`, and says where the next begins; `None` if it does not end in
    /// the lines at hand.
    #[inline]
    fn decode_record(
        &mut self,
        text: &[u8],
        at: usize,
        whole: usize,
        utf8: bool,
        batch: &mut Batch,
    ) -> Option<usize> {
        let limit = batch.sizes.line;
        let (wanted, cells) = (&self.wanted, &mut self.cells);
        let found = read_record(text, at, whole, limit, |field, cell| {
            if let Some(place) = wanted.get(field)
                && let Some(wanted) = cells.get_mut(*place as usize)
            {
                *wanted = cell;
            }
        });
        let (next, refusal) = match found {
            Found::Record {
                next,
                fields,
                quoted,
            } => {
                let line = batch.line + 1;
                batch.line += match quoted {
                    true => memchr::memchr_iter(b'\n', &text[at..next]).count() as u64,
                    false => 1,
                };
                if let Err(refusal) = self.push(text, at, next, utf8, fields) {
                    self.columns.truncate(batch.rows());
                    batch.refuse(line, refusal, kept(text, at, next, RECORD_BYTES));
                } else {
                    batch.push(line);
                }
                return Some(next);
            }
            Found::Blank { next } => {
                batch.line += 1;
                return Some(next);
            }
            Found::Open => return None,
            Found::Stray(stray) => (line_end(text, at) + 1, stray.refusal(text, at)),
            Found::TooLong => (line_end(text, at) + 1, too_long(limit)),
        };
        refuse_line(batch, text, at, next, refusal);
        Some(next)
    }

    /// Reads on to where the record at the beginning of the lines ends; if it does not, refuses its first line.
    #[cold]
    fn extend(&mut self, lines: &mut Lines<Content>, batch: &mut Batch) -> io::Result<()> {
        let refusal = match lines.extend()? {
            Extended::More => return Ok(()),
            Extended::TooLong => {
                // Of what stands behind the lines, the limit alone decides how much is looked at.
                let (text, limit) = (lines.region(), batch.sizes.line);
                match read_record(text, 0, text.len(), limit, |_, _| {}) {
                    Found::Stray(stray) => stray.refusal(text, 0),
                    _ => too_long(limit),
                }
            }
            Extended::End => never_closed(),
        };
        let next = line_end(lines.region(), 0) + 1;
        refuse_line(batch, lines.region(), 0, next, refusal);
        batch.bytes += next;
        lines.consume(next);
        Ok(())
    }

    /// Appends a row. After a refusal, parts of it may be left.
    #[inline]
    fn push(
        &mut self,
        text: &[u8],
        at: usize,
        next: usize,
        utf8: bool,
        fields: usize,
    ) -> Result<(), Refusal> {
        if !utf8 {
            check_utf8(&text[at..next])?;
        }
        if fields != self.wanted.len() {
            return Err(malformed(format!(
                "expected {} fields, as in the header, found {fields}",
                self.wanted.len()
            )));
        }
        let Columns { schema, columns } = &mut self.columns;
        let wanted = self.cells.iter().zip(&self.texts).zip(schema.fields());
        for (column, ((cell, is_text), field)) in columns.iter_mut().zip(wanted) {
            let empty = cell.start == cell.end;
            let written = match cell.quoting {
                Quoting::None if empty => None,
                Quoting::Quoted if empty && !is_text => None,
                Quoting::Doubled => {
                    cell.unquote(text, &mut self.plain);
                    Some(Written {
                        text: &self.plain,
                        start: 0,
                        end: self.plain.len(),
                        cell: true,
                    })
                }
                _ => Some(Written {
                    text,
                    start: cell.start,
                    end: cell.end,
                    cell: true,
                }),
            };
            column::push_cell(column.as_mut(), field.is_nullable(), written)
                .map_err(|misfit| Refusal::misfit(&misfit, field.name()))?;
        }
        Ok(())
    }
}

/// Refuses a single line, whose record goes on behind it or nowhere.
#[cold]
fn refuse_line(batch: &mut Batch, text: &[u8], at: usize, next: usize, refusal: Refusal) {
    batch.line += 1;
    let limit = batch.sizes.line;
    // A line over the limit is refused as that and nothing else, as if it had never been in the buffer.
    let refusal = match next - 1 - at > limit {
        true => Refusal::too_long(limit),
        false => refusal,
    };
    batch.refuse(batch.line, refusal, kept(text, at, next, limit));
}

#[cfg(test)]
mod tests;
