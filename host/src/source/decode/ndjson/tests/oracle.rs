//! What serde_json makes of the same lines.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

use super::{Read, read};

/// What serde_json thinks of a line.
enum Oracle {
    Row(Value),
    Refused,
    /// It holds half of a surrogate pair, or a number beyond floats. Where nobody reads those they are well-formed, but a
    /// `Value` cannot hold them.
    Unclear,
}

/// The wanted fields of a line as serde_json reads them; other fields only have to be well-formed.
fn oracle(line: &str, schema: &Schema) -> Oracle {
    struct Line<'a>(&'a Schema);
    impl<'de> Visitor<'de> for Line<'_> {
        type Value = HashMap<String, Value>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = HashMap::new();
            while let Some(name) = map.next_key::<String>()? {
                if self.0.index_of(&name).is_ok() {
                    found.insert(name, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut json = serde_json::Deserializer::from_str(line);
    let found = match json
        .deserialize_map(Line(schema))
        .and_then(|found| json.end().map(|()| found))
    {
        Ok(found) => found,
        Err(error) => {
            let well_formed = serde_json::from_str::<IgnoredAny>(line).is_ok();
            let text = error.to_string();
            let unclear = text.contains("hex escape") || text.contains("out of range");
            return if well_formed && unclear {
                Oracle::Unclear
            } else {
                Oracle::Refused
            };
        }
    };
    let cell = |field: &Arc<Field>| {
        Some((
            field.name().clone(),
            expected(found.get(field.name()), field)?,
        ))
    };
    let row: Option<_> = schema.fields().iter().map(cell).collect();
    row.map_or(Oracle::Refused, |row| Oracle::Row(Value::Object(row)))
}

/// The value that a column must hold; `None` if it must refuse.
fn expected(value: Option<&Value>, field: &Field) -> Option<Value> {
    let value = match value {
        None | Some(Value::Null) => return field.is_nullable().then_some(Value::Null),
        Some(value) => value,
    };
    match (field.data_type(), value) {
        (DataType::Boolean, Value::Bool(_)) | (DataType::Utf8, Value::String(_)) => {
            Some(value.clone())
        }
        (DataType::Int64, Value::Number(_)) => integer(value),
        (DataType::Float64, Value::Number(n)) => n.as_f64().map(|x| json!(x.to_string())),
        (DataType::Timestamp(..), Value::Number(_)) => integer(value),
        (DataType::Timestamp(..), Value::String(text)) => {
            let timestamp = text.parse::<jiff::Timestamp>().ok()?;
            Some(json!(timestamp.as_nanosecond().div_euclid(1000) as i64))
        }
        (DataType::List(element), Value::Array(values)) => values
            .iter()
            .map(|value| expected(Some(value), element))
            .collect(),
        (DataType::Struct(fields), Value::Object(members)) => fields
            .iter()
            .map(|field| {
                Some((
                    field.name().clone(),
                    expected(members.get(field.name()), field)?,
                ))
            })
            .collect::<Option<_>>()
            .map(Value::Object),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<Value> {
    // serde_json reads `-0`, `1.0` and `1e2` as floats; the tests' floats are small enough to be exact.
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 1e15).then_some(x as i64);
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|_| !value.is_u64()).and_then(whole))
        .map(|x| json!(x))
}

pub(super) fn agrees(file: &str, schema: &SchemaRef) -> Read {
    let mut read = read(file.as_bytes(), schema);
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for (line, position) in file.split('\n').zip(1..) {
        if line.trim_matches([' ', '\t', '\r']).is_empty() {
            continue;
        }
        match oracle(line, schema) {
            Oracle::Row(row) => rows.push((position, row)),
            Oracle::Refused => refused.push(position),
            Oracle::Unclear => {
                read.rows.retain(|(at, _)| *at != position);
                read.rejects
                    .retain(|(_, reject)| reject.position != position);
            }
        }
    }
    let found: Vec<u64> = read
        .rejects
        .iter()
        .map(|(_, reject)| reject.position)
        .collect();
    if found != refused {
        let line = |position: &&u64| {
            file.split('\n')
                .nth(**position as usize - 1)
                .unwrap_or_default()
        };
        let (ours, theirs) = (
            found.iter().find(|p| !refused.contains(p)),
            refused.iter().find(|p| !found.contains(p)),
        );
        let reason = read
            .rejects
            .iter()
            .find(|(_, r)| Some(&r.position) == ours)
            .map(|(_, r)| &r.reason);
        panic!(
            "only we refuse {:?}: {reason:?}; only the oracle refuses {:?}",
            ours.as_ref().map(line),
            theirs.as_ref().map(line)
        );
    }
    for (found, expected) in read.rows.iter().zip(&rows) {
        assert_eq!(found, expected);
    }
    read
}
