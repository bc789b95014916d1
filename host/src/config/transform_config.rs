//! A pipeline's `config` as the JSON text that its transform is opened with.

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use super::diagnostic::Located;
use super::table::{Node, integer_of};

/// The `config` table as JSON text, keys sorted. Dates and times become strings, as TOML writes them.
pub(super) fn to_json(node: &Node<'_>) -> Option<Located<String>> {
    // A transform's own settings are names of its own choice, hence a table.
    node.table("`config = { name = \"value\" }`")?;
    let json = convert(node, node.value)?;
    Some(Located::new(json.to_string(), node.span))
}

fn convert(node: &Node<'_>, value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(integer) => match integer_of(value) {
            Some(number) => Value::Number(number.into()),
            None => {
                return refuse(
                    node,
                    &format!("holds {integer}, which does not fit 64 bits"),
                );
            }
        },
        DeValue::Float(float) => match float
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
        {
            Some(number) => Value::Number(number),
            None => return refuse(node, &format!("holds {float}, which JSON cannot say")),
        },
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| convert(&node.at(item), item.get_ref()))
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(entries) => {
            let mut object: Vec<(String, Value)> = Vec::with_capacity(entries.len());
            for (key, entry) in entries {
                object.push((
                    key.get_ref().to_string(),
                    convert(&node.at(entry), entry.get_ref())?,
                ));
            }
            object.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(Map::from_iter(object))
        }
    })
}

fn refuse(node: &Node<'_>, problem: &str) -> Option<Value> {
    node.report(
        problem,
        "write it as a string, if the transform can read that",
    );
    None
}
