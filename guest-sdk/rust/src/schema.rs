//! Schemas: whether what the host offers fits what a record expects, where the buffers of each
//! column then lie, and how types are called when they do not fit.

use crate::contract::{Failure, Field, Schema};
use crate::value::Record;

/// Where the columns of a record lie among the buffers of a batch.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    slots: Vec<Slot>,
}

/// Where one column of a record lies.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) path: String,
    pub(crate) first_buffer: usize,
    pub(crate) large: bool,
}

impl Layout {
    /// The layout of a batch that has the record's own schema.
    pub fn of<'a, R: Record<'a>>() -> Result<Self, Failure> {
        let schema = schema_of::<R>();
        Self::select(&schema, &schema, "the record")
    }

    /// The layout of a batch of schema `actual` for a record of schema `expected`. Columns are
    /// found by name, at every level; those that the record does not have are skipped. `whose`
    /// says in failures where the columns come from: "event `rides`".
    pub fn select(expected: &[Field], actual: &[Field], whose: &str) -> Result<Self, Failure> {
        let expected = trees(expected)?;
        let mut actual = trees(actual)?;
        number(&mut actual)?;
        let mut layout = Self::default();
        layout.match_children(&expected, &actual, "", whose)?;
        Ok(layout)
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn match_children(
        &mut self,
        expected: &[Tree<'_>],
        actual: &[Tree<'_>],
        prefix: &str,
        whose: &str,
    ) -> Result<(), Failure> {
        for wanted in expected {
            let path = format!("{prefix}{}", wanted.field.name);
            let found = actual
                .iter()
                .find(|tree| tree.field.name == wanted.field.name);
            let found = found.ok_or_else(|| missing(&path, wanted, actual, whose))?;
            self.match_field(wanted, found, path, whose)?;
        }
        Ok(())
    }

    fn match_field(
        &mut self,
        wanted: &Tree<'_>,
        found: &Tree<'_>,
        path: String,
        whose: &str,
    ) -> Result<(), Failure> {
        if !fits(&wanted.field.format, &found.field.format) {
            return Err(Failure::BadInput(format!(
                "{whose} has a column `{path}` of type {}, but the transform expects {}: declare the field as `{}`, or have the pipeline hand over {}",
                type_name(found),
                type_name(wanted),
                rust_name(found),
                type_name(wanted),
            )));
        }
        let inside = format!("{path}.");
        let list = wanted.field.format == "+l";
        self.slots.push(Slot {
            path,
            first_buffer: found.first_buffer,
            large: matches!(found.field.format.as_str(), "U" | "Z" | "+L"),
        });
        match (wanted.children.as_slice(), found.children.as_slice()) {
            // Sources call the child of a list `item`, `element` and other things.
            ([wanted], [found]) if list => {
                self.match_field(wanted, found, format!("{inside}item"), whose)
            }
            (wanted, found) => self.match_children(wanted, found, &inside, whose),
        }
    }
}

/// The schema of a record.
pub fn schema_of<'a, R: Record<'a>>() -> Schema {
    let mut schema = Vec::new();
    R::describe(&mut schema);
    schema
}

/// The fields of `schema`, with their children, that a record of schema `expected` names at the
/// top level, in the record's order.
pub(crate) fn pick(expected: &[Field], schema: &[Field], whose: &str) -> Result<Schema, Failure> {
    let mut picked = Vec::new();
    for wanted in trees(expected)? {
        let mut rest = schema;
        let found = loop {
            let (field, after) = split_first(rest)?;
            match field {
                None => return Err(missing(&wanted.field.name, &wanted, &trees(schema)?, whose)),
                Some(field) if field[0].name == wanted.field.name => break field,
                Some(_) => rest = after,
            }
        };
        picked.extend_from_slice(found);
    }
    Ok(picked)
}

/// The first top-level field with its children, and what follows.
fn split_first(schema: &[Field]) -> Result<(Option<&[Field]>, &[Field]), Failure> {
    let mut length = 0;
    let mut open = usize::from(!schema.is_empty());
    while open > 0 {
        let field = schema.get(length).ok_or_else(|| {
            Failure::Internal("a schema ends in the middle of a field".to_owned())
        })?;
        open += field.children as usize;
        open -= 1;
        length += 1;
    }
    let (field, rest) = schema.split_at(length);
    Ok(((length > 0).then_some(field), rest))
}

struct Tree<'a> {
    field: &'a Field,
    children: Vec<Tree<'a>>,
    first_buffer: usize,
}

fn trees(mut schema: &[Field]) -> Result<Vec<Tree<'_>>, Failure> {
    let mut trees = Vec::new();
    while let (Some(first), rest) = split_first(schema)? {
        trees.push(Tree {
            field: &first[0],
            children: self::trees(&first[1..])?,
            first_buffer: 0,
        });
        schema = rest;
    }
    Ok(trees)
}

fn number(trees: &mut [Tree<'_>]) -> Result<(), Failure> {
    fn walk(trees: &mut [Tree<'_>], next: &mut usize) -> Result<(), Failure> {
        for tree in trees {
            tree.first_buffer = *next;
            *next += buffers(&tree.field.format).ok_or_else(|| {
                Failure::BadInput(format!(
                    "column `{}` has the type `{}` (a format of Arrow's C data interface), which this version of penstock-sdk does not know: update it",
                    tree.field.name, tree.field.format,
                ))
            })?;
            walk(&mut tree.children, next)?;
        }
        Ok(())
    }
    walk(trees, &mut 0)
}

/// How many buffers a format has; none for one that is not in the contract.
fn buffers(format: &str) -> Option<usize> {
    match format {
        "b" | "c" | "s" | "i" | "l" | "C" | "S" | "I" | "L" | "e" | "f" | "g" => Some(2),
        "tdD" | "tdm" | "tts" | "ttm" | "ttu" | "ttn" | "tDs" | "tDm" | "tDu" | "tDn" => Some(2),
        "u" | "z" | "U" | "Z" => Some(3),
        "+l" | "+L" => Some(2),
        "+s" => Some(1),
        _ if format.starts_with("d:") || format.starts_with("w:") => Some(2),
        _ if timestamp(format).is_some() => Some(2),
        _ => None,
    }
}

/// Unit and zone of a timestamp.
fn timestamp(format: &str) -> Option<(&str, &str)> {
    let (unit, zone) = format.strip_prefix("ts")?.split_once(':')?;
    matches!(unit, "s" | "m" | "u" | "n").then_some((unit, zone))
}

fn fits(wanted: &str, found: &str) -> bool {
    if let (Some((wanted_unit, wanted_zone)), Some((unit, zone))) =
        (timestamp(wanted), timestamp(found))
    {
        // With a zone it is an instant, whichever zone it is shown in; without one it is not.
        return wanted_unit == unit && wanted_zone.is_empty() == zone.is_empty();
    }
    wanted == found || matches!((wanted, found), ("u", "U") | ("z", "Z") | ("+l", "+L"))
}

#[cold]
fn missing(path: &str, wanted: &Tree<'_>, actual: &[Tree<'_>], whose: &str) -> Failure {
    let names: Vec<_> = actual
        .iter()
        .map(|tree| format!("`{}`", tree.field.name))
        .collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    Failure::BadInput(format!(
        "{whose} has no column `{path}`, which the transform expects as {}; there are: {names}. If it has another name, put #[column(\"that name\")] on the field",
        type_name(wanted),
    ))
}

/// What a type is called: `int64`, `timestamp[us, UTC]`, `list<utf8>`.
fn type_name(tree: &Tree<'_>) -> String {
    let format = tree.field.format.as_str();
    let named = match format {
        "b" => "boolean",
        "c" => "int8",
        "s" => "int16",
        "i" => "int32",
        "l" => "int64",
        "C" => "uint8",
        "S" => "uint16",
        "I" => "uint32",
        "L" => "uint64",
        "e" => "float16",
        "f" => "float32",
        "g" => "float64",
        "tdD" => "date32",
        "tdm" => "date64",
        "u" => "utf8",
        "U" => "large_utf8",
        "z" => "binary",
        "Z" => "large_binary",
        _ => "",
    };
    if !named.is_empty() {
        return named.to_owned();
    }
    let children = |separator: &str| {
        tree.children
            .iter()
            .map(type_name)
            .collect::<Vec<_>>()
            .join(separator)
    };
    match format.split_at_checked(2) {
        Some(("d:", rest)) => match rest.split(',').collect::<Vec<_>>()[..] {
            [precision, scale, bits] => format!("decimal{bits}({precision}, {scale})"),
            _ => format!("decimal128({})", rest.replace(',', ", ")),
        },
        Some(("w:", length)) => format!("fixed_size_binary[{length}]"),
        Some(("tt", unit)) => format!("time[{}]", unit_name(unit)),
        Some(("tD", unit)) => format!("duration[{}]", unit_name(unit)),
        Some(("ts", _)) => match timestamp(format) {
            Some((unit, "")) => format!("timestamp[{}]", unit_name(unit)),
            Some((unit, zone)) => format!("timestamp[{}, {zone}]", unit_name(unit)),
            None => format.to_owned(),
        },
        Some(("+l", _)) => format!("list<{}>", children(", ")),
        Some(("+L", _)) => format!("large_list<{}>", children(", ")),
        Some(("+s", _)) => {
            let fields: Vec<_> = tree
                .children
                .iter()
                .map(|child| format!("{}: {}", child.field.name, type_name(child)))
                .collect();
            format!("struct<{}>", fields.join(", "))
        }
        _ => format!("`{format}`"),
    }
}

fn unit_name(code: &str) -> &str {
    match code {
        "m" => "ms",
        "u" => "us",
        "n" => "ns",
        other => other,
    }
}

/// The Rust type to declare for a column of this type.
fn rust_name(tree: &Tree<'_>) -> String {
    let format = tree.field.format.as_str();
    let unit = |code: &str| match code {
        "s" => "Second",
        "m" => "Millisecond",
        "u" => "Microsecond",
        _ => "Nanosecond",
    };
    let named = match format {
        "b" => "bool",
        "c" => "i8",
        "s" => "i16",
        "i" => "i32",
        "l" => "i64",
        "C" => "u8",
        "S" => "u16",
        "I" => "u32",
        "L" => "u64",
        "e" => "Float16",
        "f" => "f32",
        "g" => "f64",
        "tdD" => "Date",
        "tdm" => "DateMillis",
        "u" | "U" => "String",
        "z" | "Z" => "Bytes",
        "+s" => "a struct with #[derive(Row)]",
        _ => "",
    };
    if !named.is_empty() {
        return named.to_owned();
    }
    match format.split_at_checked(2) {
        Some(("d:", rest)) => match rest.split(',').collect::<Vec<_>>()[..] {
            [precision, scale, _] => format!("Decimal256<{precision}, {scale}>"),
            _ => format!("Decimal<{}>", rest.replace(',', ", ")),
        },
        Some(("w:", length)) => format!("[u8; {length}]"),
        Some(("tt", code)) => format!("TimeOfDay<{}>", unit(code)),
        Some(("tD", code)) => format!("Duration<{}>", unit(code)),
        Some(("ts", _)) => match timestamp(format) {
            Some((code, "")) => format!("Timestamp<{}, NoZone>", unit(code)),
            Some((code, _)) => format!("Timestamp<{}>", unit(code)),
            None => "another type".to_owned(),
        },
        Some(("+l" | "+L", _)) => match tree.children.first() {
            Some(child) if child.field.nullable => format!("Vec<Option<{}>>", rust_name(child)),
            Some(child) => format!("Vec<{}>", rust_name(child)),
            None => "Vec".to_owned(),
        },
        _ => "another type".to_owned(),
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
