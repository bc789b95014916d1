//! Reads the settings of a stream's client: names and texts, which only the stream's own room understands.

use toml::de::DeValue;

use super::diagnostic::Located;
use super::live::StreamSettings;
use super::remote::Secret;
use super::suggest;
use super::table::{Node, Table, integer_of, kind_of};

/// Which of the two a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    Kafka,
    Kinesis,
}

/// What must be among the settings of a stream, with an example.
fn required(kind: StreamKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        StreamKind::Kafka => &[("brokers", "\"broker:9092\""), ("topic", "\"ride-offers\"")],
        StreamKind::Kinesis => &[("stream", "\"ride-offers\"")],
    }
}

/// Names of settings that stand elsewhere, or are called otherwise.
const ELSEWHERE: [(&str, &str); 3] = [
    ("bootstrap", "write `brokers`"),
    ("bootstrap.servers", "write `brokers`"),
    (
        "headers",
        "give the headers a column: `message_columns = { headers = \"message_headers\" }`, beside `kafka`",
    ),
];

pub(super) fn read_settings(kind: StreamKind, node: &Node<'_>) -> Option<StreamSettings> {
    let (example, what) = match kind {
        StreamKind::Kafka => (
            "`kafka = { brokers = \"broker:9092\", topic = \"ride-offers\" }`",
            "Kafka",
        ),
        StreamKind::Kinesis => ("`kinesis = { stream = \"ride-offers\" }`", "Kinesis"),
    };
    let mut nodes = Vec::new();
    flatten("", &node.table(example)?, &mut nodes);
    let fine = check_names(what, node, &nodes);
    let name = read_required(kind, what, node, &nodes, fine)?;
    if !fine {
        return None;
    }
    let entries: Vec<_> = nodes
        .into_iter()
        .map(|(name, node)| Some((name, text(&node)?)))
        .collect();
    let entries: Option<Vec<_>> = entries.into_iter().collect();
    Some(StreamSettings {
        name,
        span: node.span,
        entries: entries?,
    })
}

/// Whether no setting stands twice, or in the wrong place.
fn check_names(what: &str, node: &Node<'_>, nodes: &[(Located<String>, Node<'_>)]) -> bool {
    let mut fine = true;
    let mut refuse = |name: &Located<String>, message: String, hint: &str| {
        node.findings().report(name.span, message, hint);
        fine = false;
    };
    for (name, _) in nodes {
        if let Some((_, hint)) = ELSEWHERE.iter().find(|(word, _)| *word == name.value) {
            let message = format!("there is no {what} setting `{}` in this file", name.value);
            refuse(name, message, hint);
        }
        let is_first = |other: &Located<String>| {
            other.value != name.value || other.span.start() >= name.span.start()
        };
        if !nodes.iter().all(|(other, _)| is_first(other)) {
            let message = format!("the {what} setting `{}` is there twice", name.value);
            refuse(name, message, "keep one of the two");
        }
    }
    fine
}

/// The last of the settings that must be there, which is the stream's name. If names are not `fine`, none
/// is missed: it may be called otherwise.
fn read_required(
    kind: StreamKind,
    what: &str,
    node: &Node<'_>,
    nodes: &[(Located<String>, Node<'_>)],
    fine: bool,
) -> Option<Located<String>> {
    let mut texts = Vec::new();
    for (key, example) in required(kind) {
        if let Some((_, node)) = nodes.iter().find(|(name, _)| name.value == *key) {
            texts.push(node.string(example));
            continue;
        }
        texts.push(None);
        if !fine {
            continue;
        }
        let names = nodes.iter().map(|(name, _)| name);
        let near = suggest::closest(key, names.clone().map(|name| name.as_str()));
        match near.and_then(|near| names.clone().find(|name| name.value == near)) {
            Some(name) => {
                let message = format!("there is no {what} setting `{}`", name.value);
                let hint = format!("did you mean `{key}`?");
                node.findings().report(name.span, message, hint);
            }
            None => {
                let hint = format!("add `{key} = {example}`");
                node.report(format_args!("has no `{key}`"), hint);
            }
        }
    }
    let texts: Option<Vec<_>> = texts.into_iter().collect();
    texts?.pop()
}

/// The settings of a table. `security.protocol = "SSL"` without quotes is, to TOML, a table in a table.
fn flatten<'a>(prefix: &str, table: &Table<'a>, found: &mut Vec<(Located<String>, Node<'a>)>) {
    for (name, node) in table.entries() {
        let name = Located::new(format!("{prefix}{}", name.value), name.span);
        match node.value {
            DeValue::Table(inner) if !inner.is_empty() => {
                if let Some(inner) = node.table("") {
                    flatten(&format!("{}.", name.value), &inner, found);
                }
            }
            _ => found.push((name, node)),
        }
    }
}

/// A text, number, truth or time as text.
pub(super) fn text(node: &Node<'_>) -> Option<Located<Secret>> {
    let text = match node.value {
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Integer(_) => match integer_of(node.value) {
            Some(number) => number.to_string(),
            None => {
                node.report("is out of range", "write a whole number of 64 bits");
                return None;
            }
        },
        DeValue::Array(_) | DeValue::Table(_) => {
            node.report(
                format_args!(
                    "must be a string, a number or a boolean, not {}",
                    kind_of(node.value)
                ),
                "write one value, in quotes if it is a text",
            );
            return None;
        }
    };
    Some(Located::new(Secret::new(text), node.span))
}
