//! A column under construction: takes JSON values of known grammar, gives an Arrow array.
//!
//! A value that does not fit may leave its beginning behind, as the first elements of a list; the reader then truncates
//! every column to the rows that are complete. Arrow's own builders cannot be truncated, hence these.

mod binary;
mod nested;
mod plain;
mod temporal;
mod text;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

use super::super::origin::code;
use super::fields::unescape;
use super::number::Loss;

/// A JSON value in the buffer, its grammar checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<'a> {
    /// The buffer. What stands behind the value may be looked at, but means nothing.
    pub(super) text: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Json<'a> {
    #[inline(always)]
    pub(super) fn first(self) -> u8 {
        self.text[self.start]
    }

    #[inline(always)]
    pub(super) fn is_null(self) -> bool {
        self.first() == b'n'
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> &'a [u8] {
        &self.text[self.start..self.end]
    }

    #[inline(always)]
    pub(super) fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// What stands between the quotes of a string, escapes as they are; `None` for other values.
    #[inline(always)]
    pub(super) fn between_quotes(self) -> Option<&'a [u8]> {
        (self.first() == b'"').then(|| &self.text[self.start + 1..self.end - 1])
    }

    /// What the value is, and how it begins: for reasons.
    fn describe(self) -> String {
        const SHOWN: usize = 48;
        let kind = match self.first() {
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
        format!("{kind}{}{more}", shown.trim_end_matches('\u{fffd}'))
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
    pub(super) fn wrong_type(expected: &str, json: Json<'_>) -> Self {
        Self::new(
            code::WRONG_TYPE,
            format!("expected {expected}, found {}", json.describe()),
        )
    }

    #[cold]
    pub(super) fn bad_value(expected: &str, json: Json<'_>) -> Self {
        Self::new(
            code::BAD_VALUE,
            format!("expected {expected}, found {}", json.describe()),
        )
    }

    #[cold]
    pub(super) fn loss(loss: Loss, data_type: &DataType, json: Json<'_>) -> Self {
        match loss {
            Loss::Range => Self::out_of_range(data_type, json),
            Loss::Fraction => Self::new(
                code::WRONG_TYPE,
                format!(
                    "expected {data_type}, found {}, which has more decimal places",
                    json.describe()
                ),
            ),
        }
    }

    #[cold]
    pub(super) fn out_of_range(data_type: &DataType, json: Json<'_>) -> Self {
        Self::new(
            code::OUT_OF_RANGE,
            format!("{} is out of the range of {data_type}", json.describe()),
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
    fn lone_surrogate(json: Json<'_>) -> Self {
        Self::new(
            code::MALFORMED_JSON,
            format!("half of a surrogate pair in {}", json.describe()),
        )
    }

    #[cold]
    fn within(mut self, step: String) -> Self {
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
    fn push(&mut self, json: Json<'_>) -> Result<(), Misfit>;
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
    json: Option<Json<'_>>,
) -> Result<(), Misfit> {
    match json {
        Some(json) if !json.is_null() => column.push(json),
        _ if nullable => {
            column.push_null();
            Ok(())
        }
        Some(_) => Err(Misfit::missing("null")),
        None => Err(Misfit::missing("missing")),
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
