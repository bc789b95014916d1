//! Text names of Arrow types, read and printed.
//!
//! ```text
//! bool  int8 int16 int32 int64  uint8 uint16 uint32 uint64  float16 float32 float64
//! utf8 large_utf8  binary large_binary  fixed_size_binary[16]
//! date32 date64  time32[s|ms]  time64[us|ns]
//! timestamp[s|ms|us|ns]  timestamp[us, UTC]  duration[s|ms|us|ns]
//! decimal128[12, 2]  decimal256[40, 2]
//! list[TYPE]  large_list[TYPE]  struct{name: TYPE, "any name": TYPE}
//! ```
//!
//! A trailing `!` means that there are no nulls: `int64!`, `list[utf8!]!`. Precision is 1 to 38
//! (128 bits) or 76 (256 bits), the scale at most the precision, either way. A list's child is
//! named `item`, as everywhere in Penstock.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::diagnostic::ValueError;
use super::suggest;

/// Deeper nesting than this is refused, so that no input can exhaust the stack.
const DEEPEST: usize = 32;

const PLAIN: [(&str, DataType); 18] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float16", DataType::Float16),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("large_utf8", DataType::LargeUtf8),
    ("binary", DataType::Binary),
    ("large_binary", DataType::LargeBinary),
    ("date32", DataType::Date32),
    ("date64", DataType::Date64),
];

/// Types with parameters, and an example of each for hints.
const PARAMETRIC: [(&str, &str); 10] = [
    ("fixed_size_binary", "fixed_size_binary[16]"),
    ("time32", "time32[ms]"),
    ("time64", "time64[us]"),
    ("timestamp", "timestamp[us, UTC]"),
    ("duration", "duration[ms]"),
    ("decimal128", "decimal128[12, 2]"),
    ("decimal256", "decimal256[40, 2]"),
    ("list", "list[int64]"),
    ("large_list", "large_list[utf8]"),
    ("struct", "struct{a: int64, b: utf8}"),
];

/// What other systems call these types.
const FOREIGN: [(&str, &str); 24] = [
    ("string", "utf8"),
    ("str", "utf8"),
    ("text", "utf8"),
    ("varchar", "utf8"),
    ("int", "int64"),
    ("integer", "int64"),
    ("long", "int64"),
    ("bigint", "int64"),
    ("smallint", "int16"),
    ("i32", "int32"),
    ("i64", "int64"),
    ("u32", "uint32"),
    ("u64", "uint64"),
    ("double", "float64"),
    ("float", "float64"),
    ("number", "float64"),
    ("f32", "float32"),
    ("f64", "float64"),
    ("boolean", "bool"),
    ("bytes", "binary"),
    ("date", "date32"),
    ("time", "time64[us]"),
    ("datetime", "timestamp[us, UTC]"),
    ("decimal", "decimal128[12, 2]"),
];

/// Reads the name of a type. A trailing `!` belongs to a column, not to a type, and is refused
/// here: see [`parse_field`].
pub fn parse_type(text: &str) -> Result<DataType, ValueError> {
    let (data_type, nullable) = parse_whole(text)?;
    if !nullable {
        return Err(ValueError::new(
            format!("`{text}`: `!` cannot stand here"),
            "leave out the `!` at the end",
        ));
    }
    Ok(data_type)
}

/// Reads the type of the column `name`: nullable unless the text ends with `!`.
pub fn parse_field(name: &str, text: &str) -> Result<Field, ValueError> {
    let (data_type, nullable) = parse_whole(text)?;
    Ok(Field::new(name, data_type, nullable))
}

/// The name of a type. Of a type that has no name here (dictionaries, views, maps, unions), what
/// Arrow calls it.
pub fn type_name(data_type: &DataType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    if let Some((name, _)) = PLAIN.iter().find(|(_, plain)| plain == data_type) {
        return (*name).to_owned();
    }
    match data_type {
        DataType::FixedSizeBinary(length) => format!("fixed_size_binary[{length}]"),
        DataType::Time32(u) => format!("time32[{}]", unit(u)),
        DataType::Time64(u) => format!("time64[{}]", unit(u)),
        DataType::Timestamp(u, None) => format!("timestamp[{}]", unit(u)),
        DataType::Timestamp(u, Some(zone)) => format!("timestamp[{}, {zone}]", unit(u)),
        DataType::Duration(u) => format!("duration[{}]", unit(u)),
        DataType::Decimal128(precision, scale) => format!("decimal128[{precision}, {scale}]"),
        DataType::Decimal256(precision, scale) => format!("decimal256[{precision}, {scale}]"),
        DataType::List(child) => format!("list[{}]", field_type_name(child)),
        DataType::LargeList(child) => format!("large_list[{}]", field_type_name(child)),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{}: {}", quoted(field.name()), field_type_name(field)))
                .collect();
            format!("struct{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// The name of a column's type, with a `!` if it has no nulls.
pub fn field_type_name(field: &Field) -> String {
    let mark = if field.is_nullable() { "" } else { "!" };
    format!("{}{mark}", type_name(field.data_type()))
}

/// Whether every value of type `actual` can stand where `declared` is asked for: the same type, but
/// a child that never is null may stand for one that may be. Names of list children and metadata do
/// not matter; names of struct fields do.
pub fn fits(declared: &DataType, actual: &DataType) -> bool {
    let child_fits = |declared: &Field, actual: &Field| {
        (declared.is_nullable() || !actual.is_nullable())
            && fits(declared.data_type(), actual.data_type())
    };
    match (declared, actual) {
        (DataType::List(declared), DataType::List(actual))
        | (DataType::LargeList(declared), DataType::LargeList(actual)) => {
            child_fits(declared, actual)
        }
        (DataType::Struct(declared), DataType::Struct(actual)) => {
            declared.len() == actual.len()
                && declared.iter().zip(actual).all(|(declared, actual)| {
                    declared.name() == actual.name() && child_fits(declared, actual)
                })
        }
        _ => declared == actual,
    }
}

/// For `#[serde(with = "…")]`: a type as its name.
pub mod as_name {
    use arrow::datatypes::DataType;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the type's name.
    pub fn serialize<S: Serializer>(
        data_type: &DataType,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::type_name(data_type))
    }

    /// Reads a type's name.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DataType, D::Error> {
        let name = String::deserialize(deserializer)?;
        super::parse_type(&name).map_err(serde::de::Error::custom)
    }
}

fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

fn parse_whole(text: &str) -> Result<(DataType, bool), ValueError> {
    let mut names = TypeNames { text, rest: text };
    let parsed = names.column_type(0)?;
    names.skip_spaces();
    if names.rest.is_empty() {
        Ok(parsed)
    } else {
        Err(names.unexpected("nothing more"))
    }
}

/// What is left to read of a type's name.
struct TypeNames<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> TypeNames<'a> {
    fn column_type(&mut self, depth: usize) -> Result<(DataType, bool), ValueError> {
        let data_type = self.data_type(depth)?;
        Ok((data_type, !self.accept('!')))
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, ValueError> {
        if depth > DEEPEST {
            return Err(ValueError::new(
                format!("this type nests more than {DEEPEST} deep"),
                "flatten it",
            ));
        }
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some((_, plain)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            return Ok(plain.clone());
        }
        match name {
            "list" => Ok(DataType::List(self.child(depth)?)),
            "large_list" => Ok(DataType::LargeList(self.child(depth)?)),
            "struct" => self.fields(depth).map(DataType::Struct),
            "fixed_size_binary" => {
                let (length, _) = self.parameters("fixed_size_binary[16]")?;
                self.number(length, 1..=i32::MAX.into(), "the length")
                    .map(DataType::FixedSizeBinary)
            }
            "time32" => Ok(DataType::Time32(
                self.only_unit("time32[ms]", &["s", "ms"])?,
            )),
            "time64" => Ok(DataType::Time64(
                self.only_unit("time64[us]", &["us", "ns"])?,
            )),
            "duration" => Ok(DataType::Duration(
                self.only_unit("duration[ms]", &["s", "ms", "us", "ns"])?,
            )),
            "timestamp" => self.timestamp(),
            "decimal128" => self
                .decimal("decimal128[12, 2]", 38)
                .map(|(p, s)| DataType::Decimal128(p, s)),
            "decimal256" => self
                .decimal("decimal256[40, 2]", 76)
                .map(|(p, s)| DataType::Decimal256(p, s)),
            _ => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> ValueError {
        let message = match name {
            "" => format!("`{}` is not a type", self.text),
            name => format!("`{name}` is not a type"),
        };
        let names = || {
            PLAIN
                .iter()
                .map(|(name, _)| *name)
                .zip(PLAIN.iter().map(|(name, _)| *name))
        };
        let known = || names().chain(PARAMETRIC).chain(FOREIGN);
        let near = suggest::closest(name, known().map(|(name, _)| name));
        let ours = near.and_then(|near| known().find(|(name, _)| *name == near));
        let hint = match ours {
            Some((_, example)) => format!("did you mean `{example}`?"),
            None => {
                let all: Vec<&str> = names()
                    .chain(PARAMETRIC)
                    .map(|(_, example)| example)
                    .collect();
                format!("the types are {}", all.join(" "))
            }
        };
        ValueError::new(message, hint)
    }

    fn child(&mut self, depth: usize) -> Result<Arc<Field>, ValueError> {
        self.open('[', "list[int64]")?;
        let (data_type, nullable) = self.column_type(depth + 1)?;
        self.expect(']', "`]`")?;
        Ok(Arc::new(Field::new_list_field(data_type, nullable)))
    }

    fn fields(&mut self, depth: usize) -> Result<Fields, ValueError> {
        self.open('{', "struct{a: int64, b: utf8}")?;
        let mut fields: Vec<Field> = Vec::new();
        while !self.accept('}') {
            if !fields.is_empty() {
                self.expect(',', "`,` or `}`")?;
            }
            let name = self.field_name()?;
            if fields.iter().any(|field| *field.name() == name) {
                return Err(ValueError::new(
                    format!("the struct has two fields named `{name}`"),
                    "give each field a name of its own",
                ));
            }
            self.expect(':', "`:` and the field's type")?;
            let (data_type, nullable) = self.column_type(depth + 1)?;
            fields.push(Field::new(name, data_type, nullable));
        }
        Ok(Fields::from(fields))
    }

    fn field_name(&mut self) -> Result<String, ValueError> {
        if !self.accept('"') {
            let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
            return if name.is_empty() {
                Err(self.unexpected("the name of a field"))
            } else {
                Ok(name.to_owned())
            };
        }
        let mut name = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(name);
                }
                '\\' => name.extend(characters.next().map(|(_, c)| c)),
                c => name.push(c),
            }
        }
        Err(ValueError::new(
            format!("`{}`: a quoted name has no end", self.text),
            "close it with `\"`",
        ))
    }

    /// What stands between brackets: one parameter, or two with a comma between.
    fn parameters(&mut self, example: &str) -> Result<(&'a str, Option<&'a str>), ValueError> {
        self.open('[', example)?;
        let Some(end) = self.rest.find(']') else {
            return Err(self.unexpected("`]`"));
        };
        let inside = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(match inside.split_once(',') {
            Some((first, second)) => (first.trim(), Some(second.trim())),
            None => (inside.trim(), None),
        })
    }

    fn only_unit(&mut self, example: &str, units: &[&str]) -> Result<TimeUnit, ValueError> {
        match self.parameters(example)? {
            (unit, None) => self.unit(unit, units),
            (_, Some(_)) => Err(self.unexpected(&format!("a unit alone, as in `{example}`"))),
        }
    }

    fn unit(&self, unit: &str, units: &[&str]) -> Result<TimeUnit, ValueError> {
        match unit {
            _ if !units.contains(&unit) => Err(ValueError::new(
                format!("`{}`: `{unit}` is not a unit of this type", self.text),
                format!("the units are {}", suggest::listed(units.iter().copied())),
            )),
            "s" => Ok(TimeUnit::Second),
            "ms" => Ok(TimeUnit::Millisecond),
            "us" => Ok(TimeUnit::Microsecond),
            _ => Ok(TimeUnit::Nanosecond),
        }
    }

    fn timestamp(&mut self) -> Result<DataType, ValueError> {
        let (unit, zone) = self.parameters("timestamp[us, UTC]")?;
        let unit = self.unit(unit, &["s", "ms", "us", "ns"])?;
        if zone == Some("") {
            return Err(ValueError::new(
                format!("`{}` has a comma and no time zone", self.text),
                "write `timestamp[us, UTC]`, or `timestamp[us]` for one without a zone",
            ));
        }
        Ok(DataType::Timestamp(unit, zone.map(Arc::from)))
    }

    fn decimal(&mut self, example: &str, widest: i64) -> Result<(u8, i8), ValueError> {
        let (precision, Some(scale)) = self.parameters(example)? else {
            return Err(ValueError::new(
                format!("`{}` has no scale", self.text),
                format!("write precision and scale, as in `{example}`"),
            ));
        };
        let precision: u8 = self.number(precision, 1..=widest, "the precision")?;
        let scale: i8 = self.number(
            scale,
            -i64::from(precision)..=i64::from(precision),
            "the scale",
        )?;
        Ok((precision, scale))
    }

    fn number<N: TryFrom<i64>>(
        &self,
        text: &str,
        range: std::ops::RangeInclusive<i64>,
        what: &str,
    ) -> Result<N, ValueError> {
        let number = text
            .parse::<i64>()
            .ok()
            .filter(|number| range.contains(number));
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| {
                let hint = format!(
                    "write a whole number from {} to {}",
                    range.start(),
                    range.end()
                );
                ValueError::new(format!("`{}`: `{text}` is not {what}", self.text), hint)
            })
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        self.skip_spaces();
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn accept(&mut self, c: char) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn open(&mut self, bracket: char, example: &str) -> Result<(), ValueError> {
        if self.accept(bracket) {
            return Ok(());
        }
        let message = format!(
            "`{}` is not a type: it lacks what stands in brackets",
            self.text
        );
        Err(ValueError::new(
            message,
            format!("write it as in `{example}`"),
        ))
    }

    fn expect(&mut self, c: char, asked: &str) -> Result<(), ValueError> {
        if self.accept(c) {
            Ok(())
        } else {
            Err(self.unexpected(asked))
        }
    }

    fn unexpected(&self, asked: &str) -> ValueError {
        let found = match self.rest {
            "" => "it ends".to_owned(),
            rest => format!("`{rest}` stands"),
        };
        ValueError::new(
            format!(
                "`{}` is not a type: {found} where {asked} should be",
                self.text
            ),
            "write a type such as `int64`, `timestamp[us, UTC]` or `list[utf8]`",
        )
    }
}

#[cfg(test)]
#[path = "types_tests.rs"]
mod tests;
