//! Avro schemas: the JSON that they are written in, taken apart.
//!
//! After the Apache Avro specification 1.12, "Schema Declaration". Aliases, defaults, docs and orders are passed over:
//! the reader's side is the wanted columns, which have none. A logical type that does not fit what it stands on is as if
//! it were not there, as the specification says.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// How deep types may nest as they are written; what refers to itself by name nests deeper.
const DEEPEST: u32 = 64;

/// A schema that messages are written with.
#[derive(Debug, Clone)]
pub struct AvroSchema {
    pub(super) root: Type,
    /// The types that have names; a type refers to them by their places.
    pub(super) named: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// An int: days since 1970-01-01.
    Date,
    /// An int: milliseconds since midnight.
    TimeMillis,
    /// A long: microseconds since midnight.
    TimeMicros,
    /// A long: a point in time, or a local time.
    Instant {
        per_second: i64,
        local: bool,
    },
    /// Bytes: a number, times 10 to the power of minus `scale`.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Named(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The full name.
    pub(super) name: String,
    pub(super) kind: NamedKind,
}

#[derive(Debug, Clone)]
pub(super) enum NamedKind {
    /// Names and types of its fields.
    Record(Vec<(String, Type)>),
    Enum(Vec<String>),
    /// Bytes, and the precision and scale if they are a decimal.
    Fixed(usize, Option<(u8, u8)>),
}

impl AvroSchema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// The text is no Avro schema; the error says where, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(&[], text)
    }

    /// Reads a schema that names types of `referenced` ones, which come before those that name them.
    pub(crate) fn parse_with(referenced: &[String], text: &str) -> Result<Self, String> {
        let mut parser = Parser::default();
        for text in referenced {
            parser.schema(text)?;
        }
        let root = parser.schema(text)?;
        Ok(Self {
            root,
            named: parser.named,
        })
    }

    /// What the schema calls a type.
    pub(super) fn name_of(&self, of: &Type) -> String {
        match of {
            Type::Null => "null".to_owned(),
            Type::Boolean => "boolean".to_owned(),
            Type::Int => "int".to_owned(),
            Type::Long => "long".to_owned(),
            Type::Float => "float".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            Type::String => "string".to_owned(),
            Type::Date => "date".to_owned(),
            Type::TimeMillis => "time-millis".to_owned(),
            Type::TimeMicros => "time-micros".to_owned(),
            Type::Instant { per_second, local } => {
                let unit = match per_second {
                    1_000 => "millis",
                    1_000_000 => "micros",
                    _ => "nanos",
                };
                let local = if *local { "local-" } else { "" };
                format!("{local}timestamp-{unit}")
            }
            Type::Decimal { precision, scale } => format!("decimal({precision}, {scale})"),
            Type::Array(items) => format!("array of {}", self.name_of(items)),
            Type::Map(values) => format!("map of {}", self.name_of(values)),
            Type::Union(branches) => {
                let names: Vec<String> = branches.iter().map(|of| self.name_of(of)).collect();
                format!("union of {}", names.join(", "))
            }
            Type::Named(at) => {
                let Named { name, kind } = &self.named[*at];
                match kind {
                    NamedKind::Record(_) => format!("record {name}"),
                    NamedKind::Enum(_) => format!("enum {name}"),
                    NamedKind::Fixed(size, _) => format!("fixed {name} of {size} bytes"),
                }
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    named: Vec<Named>,
    by_name: HashMap<String, usize>,
}

impl Parser {
    fn schema(&mut self, text: &str) -> Result<Type, String> {
        // A registry, and some files, have a bare name of a type without the quotes that JSON asks for.
        let bare = text.trim();
        let value = match serde_json::from_str(bare) {
            Ok(value) => value,
            Err(_) if bare.bytes().all(|b| b.is_ascii_alphanumeric()) && !bare.is_empty() => {
                Value::String(bare.to_owned())
            }
            Err(error) => return Err(format!("is no JSON: {error}")),
        };
        self.any(&value, "", 0)
    }

    fn any(&mut self, schema: &Value, namespace: &str, depth: u32) -> Result<Type, String> {
        if depth > DEEPEST {
            return Err(format!("types nest deeper than {DEEPEST}"));
        }
        match schema {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("expected a type, found {other}")),
        }
    }

    fn name(&self, name: &str, namespace: &str) -> Result<Type, String> {
        Ok(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::String,
            _ => {
                let full = full_name(name, namespace);
                // A name without a namespace may mean one of no namespace, as older writers had it.
                let found = self.by_name.get(&full).or_else(|| self.by_name.get(name));
                Type::Named(*found.ok_or_else(|| format!("names the unknown type `{full}`"))?)
            }
        })
    }

    fn union(&mut self, branches: &[Value], namespace: &str, depth: u32) -> Result<Type, String> {
        let mut types: Vec<Type> = Vec::with_capacity(branches.len());
        for branch in branches {
            let branch = self.any(branch, namespace, depth + 1)?;
            if let Type::Union(_) = branch {
                return Err("has a union directly in a union".to_owned());
            }
            types.push(branch);
        }
        Ok(Type::Union(types))
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: u32,
    ) -> Result<Type, String> {
        let of = object.get("type").ok_or("has a type without `type`")?;
        let plain = match of.as_str() {
            Some("record" | "error") => return self.record(object, namespace, depth),
            Some("enum") => return self.enumeration(object, namespace),
            Some("fixed") => return self.fixed(object, namespace),
            Some("array") => {
                let items = object.get("items").ok_or("has an array without `items`")?;
                return Ok(Type::Array(Box::new(self.any(
                    items,
                    namespace,
                    depth + 1,
                )?)));
            }
            Some("map") => {
                let values = object.get("values").ok_or("has a map without `values`")?;
                return Ok(Type::Map(Box::new(self.any(
                    values,
                    namespace,
                    depth + 1,
                )?)));
            }
            _ => self.any(of, namespace, depth + 1)?,
        };
        Ok(logical(plain, object))
    }

    fn record(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: u32,
    ) -> Result<Type, String> {
        let (at, namespace) = self.declare(object, namespace, NamedKind::Record(Vec::new()))?;
        let name = self.named[at].name.clone();
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| format!("record `{name}` has no `fields`"))?;
        let mut read: Vec<(String, Type)> = Vec::with_capacity(fields.len());
        let mut seen = std::collections::HashSet::new();
        for field in fields {
            let field_name = field.get("name").and_then(Value::as_str);
            let field_name =
                field_name.ok_or_else(|| format!("record `{name}` has a field without `name`"))?;
            if !seen.insert(field_name) {
                return Err(format!("record `{name}` has two fields `{field_name}`"));
            }
            let of = field.get("type");
            let of = of.ok_or_else(|| format!("field `{name}.{field_name}` has no `type`"))?;
            let of = self
                .any(of, &namespace, depth + 1)
                .map_err(|error| format!("field `{name}.{field_name}` {error}"))?;
            read.push((field_name.to_owned(), of));
        }
        self.named[at].kind = NamedKind::Record(read);
        Ok(Type::Named(at))
    }

    fn enumeration(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<Type, String> {
        let symbols = object.get("symbols").and_then(Value::as_array);
        let symbols: Option<Vec<String>> = symbols.and_then(|symbols| {
            let symbols = symbols.iter();
            symbols
                .map(|symbol| symbol.as_str().map(str::to_owned))
                .collect()
        });
        let symbols = symbols.ok_or("has an enum without `symbols`")?;
        let (at, _) = self.declare(object, namespace, NamedKind::Enum(symbols))?;
        Ok(Type::Named(at))
    }

    fn fixed(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Type, String> {
        // What a column of such values has a type for.
        let size = object.get("size").and_then(Value::as_u64);
        let size = size.and_then(|size| i32::try_from(size).ok());
        let size = size.ok_or("has a fixed without a `size`")? as usize;
        let decimal = match logical(Type::Bytes, object) {
            Type::Decimal { precision, scale } => Some((precision, scale)),
            _ => None,
        };
        let (at, _) = self.declare(object, namespace, NamedKind::Fixed(size, decimal))?;
        Ok(Type::Named(at))
    }

    /// Notes a type under its full name, and gives its place and the namespace inside it.
    fn declare(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        kind: NamedKind,
    ) -> Result<(usize, String), String> {
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or("has a record, enum or fixed without `name`")?;
        let own = object.get("namespace").and_then(Value::as_str);
        let full = full_name(name, own.unwrap_or(namespace));
        let inside = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let inside = inside.to_owned();
        let at = self.named.len();
        if self.by_name.insert(full.clone(), at).is_some() {
            return Err(format!("declares the type `{full}` twice"));
        }
        self.named.push(Named { name: full, kind });
        Ok((at, inside))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// A type with its logical type, if that fits.
fn logical(plain: Type, object: &Map<String, Value>) -> Type {
    let instant = |per_second, local| Type::Instant { per_second, local };
    let logical = object.get("logicalType").and_then(Value::as_str);
    match (plain, logical) {
        (Type::Int, Some("date")) => Type::Date,
        (Type::Int, Some("time-millis")) => Type::TimeMillis,
        (Type::Long, Some("time-micros")) => Type::TimeMicros,
        (Type::Long, Some("timestamp-millis")) => instant(1_000, false),
        (Type::Long, Some("timestamp-micros")) => instant(1_000_000, false),
        (Type::Long, Some("timestamp-nanos")) => instant(1_000_000_000, false),
        (Type::Long, Some("local-timestamp-millis")) => instant(1_000, true),
        (Type::Long, Some("local-timestamp-micros")) => instant(1_000_000, true),
        (Type::Long, Some("local-timestamp-nanos")) => instant(1_000_000_000, true),
        (Type::Bytes, Some("decimal")) => {
            let number = |key| object.get(key).and_then(Value::as_u64);
            match (number("precision"), number("scale").unwrap_or(0)) {
                (Some(precision @ 1..=76), scale) if scale <= precision => Type::Decimal {
                    precision: precision as u8,
                    scale: scale as u8,
                },
                _ => Type::Bytes,
            }
        }
        (plain, _) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, expected: Result<&str, &str>) {
        let parsed = AvroSchema::parse(schema).map(|schema| schema.name_of(&schema.root));
        assert_eq!(parsed.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn types_are_read() {
        check("\"long\"", Ok("long"));
        check("long", Ok("long"));
        check(r#"{"type":{"type":"string"}}"#, Ok("string"));
        check(
            r#"["null",{"type":"array","items":{"type":"map","values":"int"}}]"#,
            Ok("union of null, array of map of int"),
        );
        check(
            r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#,
            Ok("decimal(5, 2)"),
        );
        check(
            r#"{"type":"bytes","logicalType":"decimal","precision":1,"scale":2}"#,
            Ok("bytes"),
        );
        check(
            r#"{"type":"int","logicalType":"timestamp-millis"}"#,
            Ok("int"),
        );
        check(
            r#"{"type":"record","name":"a.Node","fields":[{"name":"next","type":["null","Node"]}]}"#,
            Ok("record a.Node"),
        );
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        check(
            "{",
            Err("is no JSON: EOF while parsing an object at line 1 column 1"),
        );
        check("\"Other\"", Err("names the unknown type `Other`"));
        check(
            r#"{"type":"record","name":"r","fields":[{"name":"x","type":"y"}]}"#,
            Err("field `r.x` names the unknown type `y`"),
        );
        check(
            r#"{"type":"record","name":"r","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}"#,
            Err("record `r` has two fields `x`"),
        );
        let deep = format!("{}\"int\"{}", "[".repeat(100), "]".repeat(100));
        check(&deep, Err("types nest deeper than 64"));
        check(
            &"[".repeat(100_000),
            Err("is no JSON: recursion limit exceeded at line 1 column 128"),
        );
    }
}
