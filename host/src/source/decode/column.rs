//! A column under construction: takes values as they are written in JSON of known grammar or in a cell of a CSV file,
//! gives an Arrow array. What a number or a time looks like is the same in both.
//!
//! A value that does not fit may leave its beginning behind, as the first elements of a list; the reader then truncates
//! every column to the rows that are complete. Arrow's own builders cannot be truncated, hence these.

mod binary;
mod nested;
mod number;
mod plain;
mod temporal;
mod text;
mod time;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

pub(super) use self::number::{Loss, scaled};
pub(super) use self::time::{BadTime, date, time as time_of_day, timestamp};
use super::origin::code;
use super::scan::skip_number;
use crate::config::types::type_name;

/// A value in the buffer: a JSON value whose grammar was checked, or the text of a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// The buffer. What stands behind the value may be looked at, but means nothing.
    pub(super) text: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether this is a cell: a text without quotes and escapes, of which its column says what it is. It is empty only
    /// if the column is one of texts or bytes.
    pub(super) cell: bool,
}

impl<'a> Written<'a> {
    #[inline(always)]
    pub(super) fn first(self) -> u8 {
        self.text[self.start]
    }

    /// Whether it is JSON's `null`.
    #[inline(always)]
    fn is_null(self) -> bool {
        self.first() == b'n'
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> &'a [u8] {
        &self.text[self.start..self.end]
    }

    #[inline(always)]
    pub(super) fn is_number(self) -> bool {
        if self.cell {
            skip_number(self.text, self.start) == Ok(self.end)
        } else {
            matches!(self.first(), b'-' | b'0'..=b'9')
        }
    }

    #[inline(always)]
    pub(super) fn boolean(self) -> Option<bool> {
        match self.first() {
            b't' if !self.cell => Some(true),
            b'f' if !self.cell => Some(false),
            _ if !self.cell => None,
            _ if self.bytes().eq_ignore_ascii_case(b"true") => Some(true),
            _ if self.bytes().eq_ignore_ascii_case(b"false") => Some(false),
            _ => None,
        }
    }

    /// What stands between the quotes of a JSON string, escapes as they are, or in a cell; `None` for other values.
    #[inline(always)]
    pub(super) fn string(self) -> Option<&'a [u8]> {
        if self.cell {
            return Some(self.bytes());
        }
        (self.first() == b'"').then(|| &self.text[self.start + 1..self.end - 1])
    }

    /// Whether its string has escapes.
    #[inline(always)]
    pub(super) fn has_escapes(self, string: &[u8]) -> bool {
        !self.cell && memchr::memchr(b'\\', string).is_some()
    }

    /// What the value is, and how it begins: for reasons.
    fn describe(self) -> String {
        const SHOWN: usize = 48;
        let kind = match self.first() {
            _ if self.cell => "",
            b'"' => "the string ",
            b'{' => "the object ",
            b'[' => "the array ",
            b't' | b'f' | b'n' => "",
            _ => "the number ",
        };
        let bytes = self.bytes();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
        let more = if bytes.len() > SHOWN { "…" } else { "" };
        // A character that was cut in two is not worth showing.
        let shown = shown.trim_end_matches('\u{fffd}');
        if self.cell {
            return format!("{shown:?}{more}");
        }
        format!("{kind}{shown}{more}")
    }
}

/// Why a value does not fit its column.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) code: &'static str,
    /// The steps to the value inside its column, innermost first.
    pub(super) path: Vec<String>,
    pub(super) what: String,
}

impl Misfit {
    #[cold]
    pub(super) fn new(code: &'static str, what: String) -> Self {
        Self {
            code,
            path: Vec::new(),
            what,
        }
    }

    #[cold]
    pub(super) fn wrong_type(expected: &str, written: Written<'_>) -> Self {
        if written.cell {
            return Self::bad_value(expected, written);
        }
        Self::new(
            code::WRONG_TYPE,
            format!("expected {expected}, found {}", written.describe()),
        )
    }

    #[cold]
    pub(super) fn bad_value(expected: &str, written: Written<'_>) -> Self {
        Self::new(
            code::BAD_VALUE,
            format!("expected {expected}, found {}", written.describe()),
        )
    }

    #[cold]
    fn loss(loss: Loss, data_type: &DataType, written: Written<'_>) -> Self {
        match loss {
            Loss::Range => Self::out_of_range(data_type, written),
            Loss::Fraction => Self::new(
                code::WRONG_TYPE,
                format!(
                    "expected {}, found {}, which has more decimal places",
                    type_name(data_type),
                    written.describe()
                ),
            ),
        }
    }

    #[cold]
    pub(super) fn out_of_range(data_type: &DataType, written: Written<'_>) -> Self {
        Self::new(
            code::OUT_OF_RANGE,
            format!(
                "{} is out of the range of {}",
                written.describe(),
                type_name(data_type)
            ),
        )
    }

    #[cold]
    pub(super) fn missing(found: &str) -> Self {
        Self::new(
            code::MISSING_VALUE,
            format!("is {found}, but declared as not nullable"),
        )
    }

    #[cold]
    fn lone_surrogate(written: Written<'_>) -> Self {
        Self::new(
            code::MALFORMED_JSON,
            format!("half of a surrogate pair in {}", written.describe()),
        )
    }

    #[cold]
    pub(super) fn within(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }

    /// The reason as a sentence about a column.
    pub(super) fn reason(&self, column: &str) -> String {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        let verb = if self.code == code::MISSING_VALUE {
            ""
        } else {
            ":"
        };
        format!("column `{column}{path}`{verb} {}", self.what)
    }
}

/// A column under construction.
pub(super) trait Column: Send {
    /// Appends a value that is not `null`.
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit>;
    /// Appends a null.
    fn push_null(&mut self);
    /// Drops all but the first `rows` rows, and whatever an unfinished row left.
    fn truncate(&mut self, rows: usize);
    /// The rows so far; the column is empty afterwards.
    fn finish(&mut self) -> ArrayRef;
}

/// Appends a value, or the null that stands in its place or for a field that is not there.
#[inline(always)]
pub(super) fn push(
    column: &mut dyn Column,
    nullable: bool,
    written: Option<Written<'_>>,
) -> Result<(), Misfit> {
    match written {
        Some(written) if !written.is_null() => column.push(written),
        _ if nullable => {
            column.push_null();
            Ok(())
        }
        Some(_) => Err(Misfit::missing("null")),
        None => Err(Misfit::missing("missing")),
    }
}

/// Appends a cell, or the null that stands in its place where nothing is written.
#[inline(always)]
pub(super) fn push_cell(
    column: &mut dyn Column,
    nullable: bool,
    written: Option<Written<'_>>,
) -> Result<(), Misfit> {
    match written {
        Some(written) => column.push(written),
        None if nullable => {
            column.push_null();
            Ok(())
        }
        None => Err(Misfit::missing("empty")),
    }
}

/// What a cell looks like, for want of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellKind {
    Boolean,
    /// An integer as JSON writes it.
    Integer,
    /// Any other number as JSON writes it.
    Float,
    /// Digits alone, and no number: they begin with a zero.
    Digits,
    /// A point in time, with its offset from UTC.
    Time,
    Text,
}

/// What a cell looks like that is not empty.
pub(super) fn cell_kind(cell: &str) -> CellKind {
    let bytes = cell.as_bytes();
    let written = Written {
        text: bytes,
        start: 0,
        end: bytes.len(),
        cell: true,
    };
    let unsigned = cell.strip_prefix('-').unwrap_or(cell);
    let digits = unsigned.bytes().all(|byte| byte.is_ascii_digit());
    match written.is_number() {
        true if digits => CellKind::Integer,
        true => CellKind::Float,
        false if written.boolean().is_some() => CellKind::Boolean,
        false if digits && !unsigned.is_empty() => CellKind::Digits,
        false if time::timestamp(bytes, true).is_ok() => CellKind::Time,
        false => CellKind::Text,
    }
}

/// What a text says of a point in time.
pub(super) enum TextKind {
    /// It is one, with its offset from UTC.
    Zoned,
    /// It is one without.
    Local,
    Other,
}

/// Whether a text is a point in time, and has its offset.
pub(super) fn text_kind(text: &str) -> TextKind {
    match time::timestamp(text.as_bytes(), true) {
        Ok(_) => TextKind::Zoned,
        Err(time::BadTime::NoOffset) => TextKind::Local,
        Err(time::BadTime::Unreadable(_)) => TextKind::Other,
    }
}

/// A type without a form in JSON, and where it stands inside its column.
#[derive(Debug)]
pub(super) struct Unsupported {
    pub(super) path: String,
    pub(super) data_type: DataType,
}

/// An empty column. How deep types nest bounds how deep building them nests; deeper than JSON itself is refused.
pub(super) fn column(field: &Field, depth: u32) -> Result<Box<dyn Column>, Unsupported> {
    let data_type = field.data_type();
    let unsupported = || Unsupported {
        path: String::new(),
        data_type: data_type.clone(),
    };
    if depth > super::scan::MAX_DEPTH {
        return Err(unsupported());
    }
    Ok(match data_type {
        DataType::List(element) => Box::new(nested::ListColumn::<i32>::new(element, depth)?),
        DataType::LargeList(element) => Box::new(nested::ListColumn::<i64>::new(element, depth)?),
        DataType::Struct(fields) => Box::new(nested::StructColumn::new(fields, depth)?),
        DataType::Utf8 => Box::new(text::TextColumn::<i32>::default()),
        DataType::LargeUtf8 => Box::new(text::TextColumn::<i64>::default()),
        DataType::Binary => Box::new(binary::BinaryColumn::<i32>::default()),
        DataType::LargeBinary => Box::new(binary::BinaryColumn::<i64>::default()),
        DataType::FixedSizeBinary(size) if *size >= 0 => {
            Box::new(binary::FixedBinaryColumn::new(*size))
        }
        _ => plain::column(data_type)
            .or_else(|| temporal::column(data_type))
            .ok_or_else(unsupported)?,
    })
}
