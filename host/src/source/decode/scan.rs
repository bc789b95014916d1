//! The grammar of JSON (RFC 8259) over bytes: where does this value end, and is it well-formed up to there?
//!
//! The text is a buffer of whole lines. Because no newline may stand inside a value (a raw one is a control character in
//! a string, and between tokens it would split the record), every scan stops at the end of its line at the latest, and
//! nothing here needs to know where that is. UTF-8 is checked elsewhere, for many lines at once.
//!
//! Eight bytes are looked at together by arithmetic on a `u64`; see "SIMD within a register".

/// How deep values may nest.
pub(super) const MAX_DEPTH: u32 = 128;

/// Where a text stops being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Position in the buffer.
    pub(super) at: usize,
    /// What could have stood there.
    pub(super) expected: &'static str,
}

const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const TOPS: u64 = repeat(0x80);

/// The byte at a position; beyond the buffer, the newline that ends every line.
#[inline(always)]
pub(super) fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(b'\n')
}

/// Eight bytes, the first in the lowest place; beyond the buffer, newlines.
#[inline(always)]
pub(super) fn word(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => last_word(text, at),
    }
}

#[cold]
fn last_word(text: &[u8], at: usize) -> u64 {
    let mut chunk = [b'\n'; 8];
    let rest = text.get(at..).unwrap_or_default();
    chunk[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(chunk)
}

/// Past spaces, tabs and carriage returns. Not past newlines: they end the record.
#[inline(always)]
pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(byte(text, at), b' ' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
#[inline]
pub(super) fn skip_value(text: &[u8], at: usize, depth: u32) -> Result<usize, Syntax> {
    match byte(text, at) {
        b'"' => skip_string(text, at + 1),
        b'-' | b'0'..=b'9' => skip_number(text, at),
        b't' => skip_literal(text, at, b"true"),
        b'f' => skip_literal(text, at, b"false"),
        b'n' => skip_literal(text, at, b"null"),
        b'{' => skip_object(text, at + 1, depth + 1),
        b'[' => skip_array(text, at + 1, depth + 1),
        _ => Err(Syntax {
            at,
            expected: "a value",
        }),
    }
}

/// The position after the closing quote of the string whose opening quote stands before `at`.
#[inline]
pub(super) fn skip_string(text: &[u8], mut at: usize) -> Result<usize, Syntax> {
    loop {
        let found = quotes_escapes_controls(word(text, at));
        if found == 0 {
            at += 8;
            continue;
        }
        at += (found.trailing_zeros() / 8) as usize;
        match byte(text, at) {
            b'"' => return Ok(at + 1),
            b'\\' => at = skip_escape(text, at + 1)?,
            _ => {
                return Err(Syntax {
                    at,
                    expected: "a character or `\"` in a string",
                });
            }
        }
    }
}

/// The top bits of the bytes that are `"`, `\` or below 0x20. Only the lowest set bit is to be trusted: a borrow may
/// run from a true hit into higher bytes.
#[inline(always)]
fn quotes_escapes_controls(word: u64) -> u64 {
    // Exclusive-or with 2 swaps 0x22, the quote, with 0x20 and keeps the control characters below it.
    let quotes_controls = (word ^ repeat(0x02)).wrapping_sub(repeat(0x21));
    let escapes = (word ^ repeat(b'\\')).wrapping_sub(repeat(0x01));
    (quotes_controls | escapes) & !word & TOPS
}

#[cold]
fn skip_escape(text: &[u8], at: usize) -> Result<usize, Syntax> {
    match byte(text, at) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            for digit in at + 1..at + 5 {
                if !byte(text, digit).is_ascii_hexdigit() {
                    return Err(Syntax {
                        at: digit,
                        expected: "a hexadecimal digit after `\\u`",
                    });
                }
            }
            Ok(at + 5)
        }
        _ => Err(Syntax {
            at,
            expected: "one of `\"\\/bfnrtu` after a backslash",
        }),
    }
}

#[inline]
pub(super) fn skip_number(text: &[u8], mut at: usize) -> Result<usize, Syntax> {
    if byte(text, at) == b'-' {
        at += 1;
    }
    at = match byte(text, at) {
        b'0' => at + 1,
        b'1'..=b'9' => skip_digits(text, at),
        _ => {
            return Err(Syntax {
                at,
                expected: "a digit",
            });
        }
    };
    match byte(text, at) {
        b'.' | b'e' | b'E' => skip_fraction(text, at),
        _ => Ok(at),
    }
}

fn skip_fraction(text: &[u8], mut at: usize) -> Result<usize, Syntax> {
    if byte(text, at) == b'.' {
        at = skip_some_digits(text, at + 1)?;
    }
    if matches!(byte(text, at), b'e' | b'E') {
        at += 1;
        if matches!(byte(text, at), b'+' | b'-') {
            at += 1;
        }
        at = skip_some_digits(text, at)?;
    }
    Ok(at)
}

fn skip_some_digits(text: &[u8], at: usize) -> Result<usize, Syntax> {
    let end = skip_digits(text, at);
    if end == at {
        Err(Syntax {
            at,
            expected: "a digit",
        })
    } else {
        Ok(end)
    }
}

#[inline(always)]
fn skip_digits(text: &[u8], mut at: usize) -> usize {
    loop {
        let others = not_digits(word(text, at));
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
}

/// The top bits of exactly those bytes that are not ASCII digits.
#[inline(always)]
pub(super) fn not_digits(word: u64) -> u64 {
    let values = word ^ repeat(b'0');
    ((values & !TOPS).wrapping_add(repeat(0x76)) | values) & TOPS
}

#[inline(always)]
fn skip_literal(text: &[u8], at: usize, literal: &'static [u8]) -> Result<usize, Syntax> {
    let mut wanted = [0; 8];
    wanted[..literal.len()].copy_from_slice(literal);
    let unused = 64 - 8 * literal.len();
    if (word(text, at) ^ u64::from_le_bytes(wanted)) << unused == 0 {
        Ok(at + literal.len())
    } else {
        Err(Syntax {
            at,
            expected: "`true`, `false`, `null` or another value",
        })
    }
}

fn too_deep(at: usize, depth: u32) -> Result<(), Syntax> {
    if depth > MAX_DEPTH {
        Err(Syntax {
            at,
            expected: "values nested no deeper than 128",
        })
    } else {
        Ok(())
    }
}

/// `at` is after the `[`.
fn skip_array(text: &[u8], at: usize, depth: u32) -> Result<usize, Syntax> {
    too_deep(at - 1, depth)?;
    let mut elements = Elements::new(text, at);
    while let Some(start) = elements.next_start()? {
        elements.at = skip_value(text, start, depth)?;
    }
    Ok(elements.at)
}

/// `at` is after the `{`.
fn skip_object(text: &[u8], at: usize, depth: u32) -> Result<usize, Syntax> {
    too_deep(at - 1, depth)?;
    let mut members = Members::new(text, at);
    while let Some((_, start)) = members.next_start()? {
        members.at = skip_value(text, start, depth)?;
    }
    Ok(members.at)
}

/// Walks the elements of an array. After each, the caller sets `at` to its end; after the last, `at` is behind the `]`.
pub(super) struct Elements<'a> {
    text: &'a [u8],
    pub(super) at: usize,
    first: bool,
}

impl<'a> Elements<'a> {
    /// `at` is after the `[`.
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            first: true,
        }
    }

    /// Where the next element begins.
    pub(super) fn next_start(&mut self) -> Result<Option<usize>, Syntax> {
        let at = skip_space(self.text, self.at);
        let first = std::mem::replace(&mut self.first, false);
        match byte(self.text, at) {
            b']' => {
                self.at = at + 1;
                Ok(None)
            }
            _ if first => Ok(Some(at)),
            b',' => Ok(Some(skip_space(self.text, at + 1))),
            _ => Err(Syntax {
                at,
                expected: "`,` or `]`",
            }),
        }
    }
}

/// Walks the members of an object, as [`Elements`] walks an array.
pub(super) struct Members<'a> {
    text: &'a [u8],
    pub(super) at: usize,
    first: bool,
}

/// A string in the buffer, without its quotes, escapes as they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Members<'a> {
    /// `at` is after the `{`.
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            first: true,
        }
    }

    /// The name of the next member, and where its value begins.
    pub(super) fn next_start(&mut self) -> Result<Option<(Quoted, usize)>, Syntax> {
        let mut at = skip_space(self.text, self.at);
        let first = std::mem::replace(&mut self.first, false);
        match byte(self.text, at) {
            b'}' => {
                self.at = at + 1;
                return Ok(None);
            }
            b',' if !first => at = skip_space(self.text, at + 1),
            _ if !first => {
                return Err(Syntax {
                    at,
                    expected: "`,` or `}`",
                });
            }
            _ => {}
        }
        member(self.text, at).map(Some)
    }
}

/// Reads a name and its colon; `at` is where the name's opening quote should be.
pub(super) fn member(text: &[u8], at: usize) -> Result<(Quoted, usize), Syntax> {
    if byte(text, at) != b'"' {
        return Err(Syntax {
            at,
            expected: "a field name in double quotes",
        });
    }
    let after = skip_string(text, at + 1)?;
    let colon = skip_space(text, after);
    if byte(text, colon) != b':' {
        return Err(Syntax {
            at: colon,
            expected: "`:`",
        });
    }
    Ok((
        Quoted {
            start: at + 1,
            end: after - 1,
        },
        skip_space(text, colon + 1),
    ))
}

/// The text of a JSON string that is given with its quotes. `None` if it escapes half of a surrogate pair.
pub(super) fn unescape(quoted: &[u8]) -> Option<String> {
    serde_json::from_slice(quoted).ok()
}
