//! Takes CSV records apart, after RFC 4180: fields between commas; a field that begins with a quote goes on to the next
//! quote that is not doubled, over commas and newlines. A quote anywhere else is refused.
//!
//! Unlike a parser that believes every quote, this one begins anew on the next line when a record's quotes make no
//! sense: one stray quote costs one line, not the rest of the file.

use std::io;

use super::super::batch::{Refusal, check_utf8, line_end, record};
use super::super::content::Content;
use super::super::lines::{Extended, Filled, Lines};
use super::super::origin::code;
use super::super::scan::{byte, word};

/// Where a field stands, without its quotes. The default is a field of nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) quoting: Quoting,
}

/// How a field is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Quoting {
    #[default]
    None,
    Quoted,
    /// With quotes inside, each of them doubled.
    Doubled,
}

impl Cell {
    /// Its text, if it has doubled quotes.
    pub(super) fn unquote(self, text: &[u8], to: &mut Vec<u8>) {
        to.clear();
        let mut at = self.start;
        while let Some(quote) = memchr::memchr(b'"', &text[at..self.end]) {
            to.extend_from_slice(&text[at..=at + quote]);
            at += quote + 2;
        }
        to.extend_from_slice(&text[at..self.end]);
    }
}

/// What stands at the beginning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record of so many fields; the next begins at `next`. `quoted`: some field is, and may hold newlines.
    Record {
        next: usize,
        fields: usize,
        quoted: bool,
    },
    /// Nothing; the next line begins at `next`.
    Blank { next: usize },
    /// A record whose last field has a quote that is not closed in the lines at hand.
    Open,
    /// A record that is longer than the limit.
    TooLong,
    /// A quote that makes no sense.
    Stray(Stray),
}

/// Where a quote makes no sense, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stray {
    at: usize,
    what: &'static str,
}

/// Reads the record that begins at `start` of `text`, whose lines end at `whole`; `each` is given its fields by their
/// numbers. A record of more than `limit` bytes is none.
#[inline]
pub(super) fn read_record(
    text: &[u8],
    start: usize,
    whole: usize,
    limit: usize,
    mut each: impl FnMut(usize, Cell),
) -> Found {
    let mut at = start;
    match byte(text, at) {
        b'\n' => return Found::Blank { next: at + 1 },
        b'\r' if byte(text, at + 1) == b'\n' => return Found::Blank { next: at + 2 },
        _ => {}
    }
    let (mut fields, mut quoted) = (0, false);
    loop {
        let cell = if byte(text, at) == b'"' {
            quoted = true;
            match read_quoted(text, at, whole, start + limit) {
                Ok(cell) => cell,
                Err(found) => return found,
            }
        } else {
            let end = find_special(text, at);
            Cell {
                start: at,
                end,
                quoting: Quoting::None,
            }
        };
        let after = cell.end + usize::from(cell.quoting != Quoting::None);
        match byte(text, after) {
            b',' => {
                each(fields, cell);
                (fields, at) = (fields + 1, after + 1);
            }
            b'\n' | b'\r' => {
                let (cell, newline) = last(text, cell, after);
                each(fields, cell);
                if newline - start > limit {
                    return Found::TooLong;
                }
                return Found::Record {
                    next: newline + 1,
                    fields: fields + 1,
                    quoted,
                };
            }
            _ if after - start > limit => return Found::TooLong,
            _ => {
                return Found::Stray(Stray {
                    at: after,
                    what: "a quote inside a field that does not begin with one",
                });
            }
        }
    }
}

/// The last cell of a record, of which a carriage return before the newline is no part, and where the newline is.
#[inline(always)]
fn last(text: &[u8], cell: Cell, after: usize) -> (Cell, usize) {
    if cell.quoting != Quoting::None {
        return (cell, after + usize::from(text[after] == b'\r'));
    }
    let end = match text[cell.start..cell.end].last() {
        Some(b'\r') => cell.end - 1,
        _ => cell.end,
    };
    (Cell { end, ..cell }, after)
}

/// Reads the field whose opening quote stands at `quote`. What comes after its closing quote is a comma or the end of
/// the line.
#[inline]
fn read_quoted(text: &[u8], quote: usize, whole: usize, limit: usize) -> Result<Cell, Found> {
    let seen = whole.min(limit);
    let mut quoting = Quoting::Quoted;
    let mut at = quote + 1;
    loop {
        let found = text
            .get(at..seen)
            .and_then(|rest| memchr::memchr(b'"', rest));
        let Some(found) = found else {
            return Err(if limit <= whole {
                Found::TooLong
            } else {
                Found::Open
            });
        };
        let end = at + found;
        match (byte(text, end + 1), byte(text, end + 2)) {
            (b'"', _) => (quoting, at) = (Quoting::Doubled, end + 2),
            (b',' | b'\n', _) | (b'\r', b'\n') => {
                return Ok(Cell {
                    start: quote + 1,
                    end,
                    quoting,
                });
            }
            _ => {
                return Err(Found::Stray(Stray {
                    at: end + 1,
                    what: "more text after the quote that closes a field",
                }));
            }
        }
    }
}

const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The next comma, quote or newline. Every line ends in one.
#[inline(always)]
fn find_special(text: &[u8], mut at: usize) -> usize {
    let is = |word: u64, wanted: u8| (word ^ repeat(wanted)).wrapping_sub(repeat(1));
    loop {
        let word = word(text, at);
        // The lowest bit that is set is to be trusted: a borrow runs from a true hit into higher bytes only.
        let found = (is(word, b',') | is(word, b'"') | is(word, b'\n')) & !word & repeat(0x80);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
}

impl Stray {
    /// The reason, for the line that begins at `line`. A quote further on makes no sense because of one on this line.
    pub(super) fn refusal(&self, text: &[u8], line: usize) -> Refusal {
        let reason = if self.at <= line_end(text, line) {
            format!("byte {}: {}", self.at - line + 1, self.what)
        } else {
            format!(
                "a quote is opened on this line and not closed: {} {} lines further down",
                self.what,
                memchr::memchr_iter(b'\n', &text[line..self.at]).count()
            )
        };
        malformed(reason)
    }
}

/// The record is refused because of how it is written.
pub(super) fn malformed(reason: String) -> Refusal {
    Refusal {
        code: code::MALFORMED_CSV,
        reason,
    }
}

/// A quote is open at the end of the file.
pub(super) fn never_closed() -> Refusal {
    malformed("a quote is opened on this line and never closed".to_owned())
}

/// A record is longer than the limit.
pub(super) fn too_long(limit: usize) -> Refusal {
    Refusal {
        code: code::LINE_TOO_LONG,
        reason: format!("the record is longer than {limit} bytes"),
    }
}

/// A record with what stands in its fields, for headers and samples.
pub(super) struct Whole {
    /// Of each field, its text and whether it was quoted.
    pub(super) fields: Vec<(String, bool)>,
}

/// The next record, or why it is none; `None` at the end. `line` counts the lines consumed.
pub(super) fn next_record(
    lines: &mut Lines<Content>,
    limit: usize,
    line: &mut u64,
) -> io::Result<Option<Result<Whole, Refusal>>> {
    loop {
        if lines.remaining() == 0 {
            match lines.fill()? {
                Filled::Lines => {}
                Filled::TooLong(_) => {
                    *line += 1;
                    return Ok(Some(Err(too_long(limit))));
                }
                Filled::End => return Ok(None),
            }
        }
        let (text, whole) = (lines.region(), lines.remaining());
        if whole == 0 {
            continue;
        }
        let mut cells = Vec::new();
        let (result, next) = match read_record(text, 0, whole, limit, |_, cell| cells.push(cell)) {
            Found::Blank { next } => {
                lines.consume(next);
                *line += 1;
                continue;
            }
            Found::Record { next, .. } => {
                let whole = check_utf8(&text[..next]).map(|()| Whole {
                    fields: cells.iter().map(|cell| cell_text(text, *cell)).collect(),
                });
                (whole, next)
            }
            Found::Stray(stray) => (Err(stray.refusal(text, 0)), line_end(text, 0) + 1),
            Found::TooLong => (Err(too_long(limit)), line_end(text, 0) + 1),
            Found::Open => match lines.extend()? {
                Extended::More => continue,
                Extended::TooLong => (Err(too_long(limit)), line_end(lines.region(), 0) + 1),
                Extended::End => (Err(never_closed()), line_end(lines.region(), 0) + 1),
            },
        };
        *line += memchr::memchr_iter(b'\n', &lines.region()[..next]).count() as u64;
        lines.consume(next);
        return Ok(Some(result));
    }
}

fn cell_text(text: &[u8], cell: Cell) -> (String, bool) {
    let mut plain = Vec::new();
    cell.unquote(text, &mut plain);
    let raw = match cell.quoting {
        Quoting::Doubled => plain.as_slice(),
        _ => &text[cell.start..cell.end],
    };
    let raw = String::from_utf8_lossy(raw).into_owned();
    (raw, cell.quoting != Quoting::None)
}

/// What a reject keeps of the record between two places, the second of them behind its newline.
pub(super) fn kept(text: &[u8], start: usize, next: usize, limit: usize) -> Vec<u8> {
    record(&text[start..next - 1], limit)
}
