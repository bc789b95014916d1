//! Reads what `penstock.toml` says of a live stream. What may stand there is described in
//! [`super::environment`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bootstrap;
use super::diagnostic::{ConfigFile, Located};
use super::live::{
    LiveFormat, LiveSource, MessageColumns, OnMissing, RegistrySettings, Repartition, Stream,
};
use super::live_settings::{StreamKind, read_settings, text};
use super::remote::Secret;
use super::table::{Node, Table};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Avro,
    Protobuf,
    Arrow,
}

const FORMATS: [(&str, Kind); 4] = [
    ("json", Kind::Json),
    ("avro", Kind::Avro),
    ("protobuf", Kind::Protobuf),
    ("arrow", Kind::Arrow),
];

const SCHEMA: &str = "`schema = { occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\" }`";

/// The keys of an event that are for live streams alone.
pub(super) struct LiveKeys<'a> {
    avro: Option<Node<'a>>,
    protobuf: Option<Node<'a>>,
    arrow: Option<Node<'a>>,
    message_columns: Option<Node<'a>>,
    on_missing: Option<Node<'a>>,
    partitioned_by_key: Option<Node<'a>>,
    repartition: Option<Node<'a>>,
    bootstrap: Option<Node<'a>>,
}

/// A declared schema, if there is one.
type Declared = Option<Located<SchemaRef>>;

impl<'a> LiveKeys<'a> {
    pub(super) fn of(table: &mut Table<'a>) -> Self {
        Self {
            avro: table.optional("avro"),
            protobuf: table.optional("protobuf"),
            arrow: table.optional("arrow"),
            message_columns: table.optional("message_columns"),
            on_missing: table.optional("on_missing"),
            partitioned_by_key: table.optional("partitioned_by_key"),
            repartition: table.optional("repartition"),
            bootstrap: table.optional("bootstrap"),
        }
    }

    /// Reports those that are there: the event is no live stream.
    pub(super) fn refuse(&self) {
        let keys = [
            &self.avro,
            &self.protobuf,
            &self.arrow,
            &self.message_columns,
            &self.on_missing,
            &self.partitioned_by_key,
            &self.repartition,
            &self.bootstrap,
        ];
        for node in keys.into_iter().flatten() {
            node.report(
                "is only for live streams (`kafka`, `kinesis`)",
                "leave it out",
            );
        }
    }

    /// Reads a live stream, and gives all of the event's columns, as far as they are declared. `schema` is
    /// none if it was reported.
    pub(super) fn read(
        &self,
        event: &Located<String>,
        (kind, stream): (StreamKind, &Node<'_>),
        format: Option<&Node<'_>>,
        schema: Option<Declared>,
    ) -> Option<(LiveSource, Declared)> {
        let findings = stream.findings();
        let settings = read_settings(kind, stream);
        let written = self.format(findings.file(), format);
        let columns = match &self.message_columns {
            Some(node) => read_message_columns(node),
            None => Some(MessageColumns::default()),
        };
        let on_missing = match &self.on_missing {
            Some(node) => node.choice(&OnMissing::ALL).map(|choice| choice.value),
            None => Some(OnMissing::Stop),
        };
        let partitioned_by_key = match &self.partitioned_by_key {
            Some(node) => node.boolean(),
            None => Some(true),
        };
        let bootstrap = match &self.bootstrap {
            Some(node) if kind == StreamKind::Kinesis => {
                node.report(
                    "is only for topics of Kafka so far",
                    "leave it out, and let `start` of the stream say where it begins",
                );
                None
            }
            Some(node) => bootstrap::read(node).map(Some),
            None => Some(None),
        };
        let repartition = match &self.repartition {
            Some(node) if kind == StreamKind::Kinesis => {
                node.report("is only for topics of Kafka", "leave it out");
                None
            }
            Some(node) => read_repartition(node).map(Some),
            None => Some(None),
        };
        let (schema, mut columns, format) = (schema?, columns?, written?);
        let body = match &schema {
            Some(schema) => body_of(stream, schema, &mut columns)?,
            None => None,
        };
        if body.is_none()
            && let Some((problem, hint)) = needs_schema(&format, kind)
        {
            let message = format!("event `{}` {problem} and needs a `schema`", event.value);
            findings.report(event.span, message, hint);
            return None;
        }
        let whole = body.as_ref().map(|body| {
            let whole = columns.beside(&body.value);
            Located::new(whole, body.span)
        });
        let settings = settings?;
        let live = LiveSource {
            stream: match kind {
                StreamKind::Kafka => Stream::Kafka(settings),
                StreamKind::Kinesis => Stream::Kinesis(settings),
            },
            format,
            body,
            message_columns: columns,
            on_missing: on_missing?,
            partitioned_by_key: partitioned_by_key?,
            repartition: repartition?,
            bootstrap: bootstrap?,
        };
        Some((live, whole))
    }

    fn format(&self, file: &ConfigFile, format: Option<&Node<'_>>) -> Option<LiveFormat> {
        let kind = match format {
            Some(node) => node.choice(&FORMATS)?.value,
            None => Kind::Json,
        };
        let tables = [
            (&self.avro, Kind::Avro),
            (&self.protobuf, Kind::Protobuf),
            (&self.arrow, Kind::Arrow),
        ];
        let mut fine = true;
        for (node, of) in tables {
            let (name, _) = FORMATS[of as usize];
            if let Some(node) = node
                && kind != of
            {
                let hint = match format {
                    None => format!("add `format = \"{name}\"`, without which messages are JSON"),
                    Some(_) => "leave it out, or correct `format`".to_owned(),
                };
                node.report(format_args!("is only for `format = \"{name}\"`"), hint);
                fine = false;
            }
        }
        let needs = |problem: &str, hint: &str| {
            if let Some(format) = format {
                format.report(problem, hint);
            }
            None
        };
        let read = match (kind, &self.avro, &self.protobuf) {
            (Kind::Json, ..) => Some(LiveFormat::Json),
            (Kind::Avro, Some(node), _) => read_avro(file, node),
            (Kind::Avro, None, _) => needs(
                "does not say where the schemas are",
                "add `avro = { registry = \"http://localhost:8081\" }` or `avro = { file = \"ride_offer.avsc\" }`",
            ),
            (Kind::Protobuf, _, Some(node)) => read_protobuf(file, node),
            (Kind::Protobuf, _, None) => needs(
                "does not say what the messages are",
                "add `protobuf = { descriptor_set = \"rides.desc\", message = \"rides.v1.RideOffer\" }`",
            ),
            (Kind::Arrow, ..) => read_arrow(file, self.arrow.as_ref()),
        };
        read.filter(|_| fine)
    }
}

/// Why an event of this format cannot do without a schema, and what to do.
fn needs_schema(format: &LiveFormat, kind: StreamKind) -> Option<(&'static str, String)> {
    match (format, kind) {
        (LiveFormat::Json, _) => Some((
            "is JSON on a live stream, whose messages are not looked at beforehand,",
            format!("list the columns that are read: {SCHEMA}"),
        )),
        (LiveFormat::Arrow { file: None }, _) => Some((
            "is Arrow on a live stream, whose messages are not looked at beforehand,",
            format!(
                "list the columns that are read: {SCHEMA}; or take all columns of a file: `arrow = {{ file = \"one.arrow\" }}`"
            ),
        )),
        (LiveFormat::AvroRegistry(_), StreamKind::Kinesis) => Some((
            "is on Kinesis, for whose streams a registry has no subjects,",
            format!("list the columns that are read: {SCHEMA}"),
        )),
        _ => None,
    }
}

/// The columns of what messages say: those of the schema but for the key, whose type it may declare.
fn body_of(
    stream: &Node<'_>,
    schema: &Located<SchemaRef>,
    columns: &mut MessageColumns,
) -> Option<Declared> {
    let findings = stream.findings();
    let mut fine = true;
    let mut refuse = |name: &Located<String>, message: String, hint: &str| {
        findings.report(name.span, message, hint);
        fine = false;
    };
    let key = columns.key.as_ref().map(|key| key.value.clone());
    for name in columns.names() {
        let Ok(field) = schema.value.field_with_name(&name.value) else {
            continue;
        };
        if Some(&name.value) != key.as_ref() {
            let message = format!("the event's `schema` has a column `{}` as well", name.value);
            refuse(
                name,
                message,
                "choose another name, or leave it out of `schema`",
            );
        } else if !matches!(field.data_type(), DataType::Binary | DataType::Utf8) {
            let found = super::types::type_name(field.data_type());
            let message = format!(
                "column `{}` is the key of messages, and cannot be {found}",
                name.value
            );
            refuse(
                name,
                message,
                "declare it as \"utf8\" or \"binary\" in `schema`, or give the key another name",
            );
        } else if !field.is_nullable() {
            let message = format!(
                "column `{}` is the key of messages, which may be without one",
                name.value
            );
            refuse(name, message, "leave out the `!` of its type in `schema`");
        }
    }
    let is_key = |field: &Field| Some(field.name()) == key.as_ref();
    if let Some(field) = schema.value.fields().iter().find(|field| is_key(field)) {
        columns.key_type = field.data_type().clone();
    }
    let fields: Vec<Arc<Field>> = schema
        .value
        .fields()
        .iter()
        .filter(|field| !is_key(field))
        .cloned()
        .collect();
    let body =
        (!fields.is_empty()).then(|| Located::new(Arc::new(Schema::new(fields)), schema.span));
    fine.then_some(body)
}

/// Partitions that a topic may be given, and brokers that may keep each.
const PARTITIONS: i64 = 10_000;
const REPLICATION: i64 = 1_000;

fn read_repartition(node: &Node<'_>) -> Option<Repartition> {
    let mut table = node.table("`repartition = { partitions = 8 }`")?;
    let partitions = table
        .required("partitions", "partitions = 8")
        .and_then(|node| node.integer(1..=PARTITIONS));
    let topic = table
        .optional("topic")
        .map_or(Some(Repartition::TOPIC.to_owned()), |node| {
            let topic = node.string("\"{pipeline}-partials\"")?;
            Some(topic.value)
        });
    let replication = table
        .optional("replication")
        .map_or(Some(None), |node| node.integer(1..=REPLICATION).map(Some));
    table.finish(
        &[],
        &[
            (
                "brokers",
                "leave it out: the topic is where the event's own is",
            ),
            ("replicas", "write `replication`"),
        ],
    );
    let number = |number: Located<i64>| u32::try_from(number.value).ok();
    Some(Repartition {
        topic: topic?,
        partitions: number(partitions?)?,
        replication: replication?.and_then(number),
        span: node.span,
    })
}

fn read_message_columns(node: &Node<'_>) -> Option<MessageColumns> {
    let mut table = node.table("`message_columns = { key = \"message_key\" }`")?;
    let mut fine = true;
    let mut read = |key: &'static str, example: &str| {
        let node = table.optional(key)?;
        let name = node.string(example);
        fine &= name.is_some();
        name
    };
    let columns = MessageColumns {
        key: read("key", "\"message_key\""),
        headers: read("headers", "\"message_headers\""),
        partition: read("partition", "\"kafka_partition\""),
        offset: read("offset", "\"kafka_offset\""),
        timestamp: read("timestamp", "\"kafka_timestamp\""),
        ..MessageColumns::default()
    };
    table.finish(
        &[],
        &[("value", "what messages say are the columns of `schema`")],
    );
    let names: Vec<_> = columns.names().collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].iter().any(|before| before.value == name.value) {
            let message = format!("two message columns are called `{}`", name.value);
            node.findings()
                .report(name.span, message, "give each a name of its own");
            fine = false;
        }
    }
    fine.then_some(columns)
}

fn read_avro(file: &ConfigFile, node: &Node<'_>) -> Option<LiveFormat> {
    let mut table = node.table("`avro = { registry = \"http://localhost:8081\" }`")?;
    let registry = table.optional("registry");
    let user = table.optional("user");
    let password = table.optional("password");
    let timeout = table.optional("timeout");
    let tries = table.optional("tries");
    let from_file = table.optional("file");
    let framed = table.optional("framed");
    table.finish(
        &[],
        &[("url", "write `registry`"), ("schema", "write `file`")],
    );
    match (&registry, &from_file) {
        (Some(url), None) => {
            if let Some(framed) = framed {
                framed.report(
                    "is only for `file`",
                    "leave it out: messages of a registry begin with their schema's id",
                );
                return None;
            }
            let credentials = match (user, password) {
                (None, None) => Some(None),
                (Some(user), Some(password)) => {
                    let (user, password) = (text(&user), text(&password));
                    user.zip(password).map(Some)
                }
                (Some(node), None) | (None, Some(node)) => {
                    node.report("is alone", "write both `user` and `password`");
                    None
                }
            };
            let timeout = timeout.map_or(Some(None), |node| {
                node.positive_duration("\"10s\"").map(Some)
            });
            let tries = tries.map_or(Some(None), |node| node.integer(1..=1000).map(Some));
            Some(LiveFormat::AvroRegistry(RegistrySettings {
                url: url
                    .string("\"http://localhost:8081\"")
                    .map(|url| Located::new(Secret::new(url.value), url.span))?,
                credentials: credentials?,
                timeout: timeout?.map(|timeout| timeout.value),
                tries: tries?.and_then(|tries| u32::try_from(tries.value).ok()),
            }))
        }
        (None, Some(from_file)) => {
            let mut fine = true;
            for node in [user, password, timeout, tries].into_iter().flatten() {
                node.report("is only for `registry`", "leave it out");
                fine = false;
            }
            let from_file = read_path(file, from_file, "\"ride_offer.avsc\"");
            let framed = framed.map_or(Some(false), |node| node.boolean());
            Some(LiveFormat::AvroFile {
                file: from_file?,
                framed: framed?,
            })
            .filter(|_| fine)
        }
        (None, None) => {
            node.report(
                "does not say where the schemas are",
                "write `registry = \"http://localhost:8081\"` or `file = \"ride_offer.avsc\"`",
            );
            None
        }
        (Some(_), Some(_)) => {
            node.report(
                "has schemas in two places",
                "keep one of `registry` and `file`",
            );
            None
        }
    }
}

fn read_protobuf(file: &ConfigFile, node: &Node<'_>) -> Option<LiveFormat> {
    let mut table = node.table(
        "`protobuf = { descriptor_set = \"rides.desc\", message = \"rides.v1.RideOffer\" }`",
    )?;
    let descriptor_set = table
        .required("descriptor_set", "descriptor_set = \"rides.desc\"")
        .and_then(|node| read_path(file, &node, "\"rides.desc\""));
    let message = table
        .required("message", "message = \"rides.v1.RideOffer\"")
        .and_then(|node| node.string("\"rides.v1.RideOffer\""));
    let framed = table
        .optional("framed")
        .map_or(Some(false), |node| node.boolean());
    table.finish(&[], &[("file", "write `descriptor_set`")]);
    Some(LiveFormat::Protobuf {
        descriptor_set: descriptor_set?,
        message: message?,
        framed: framed?,
    })
}

fn read_arrow(file: &ConfigFile, node: Option<&Node<'_>>) -> Option<LiveFormat> {
    let Some(node) = node else {
        return Some(LiveFormat::Arrow { file: None });
    };
    let mut table = node.table("`arrow = { file = \"one.arrow\" }`")?;
    let from_file = table
        .required("file", "file = \"one.arrow\"")
        .and_then(|node| read_path(file, &node, "\"one.arrow\""));
    table.finish(&[], &[("schema", "write `file`")]);
    Some(LiveFormat::Arrow {
        file: Some(from_file?),
    })
}

fn read_path(file: &ConfigFile, node: &Node<'_>, example: &str) -> Option<Located<PathBuf>> {
    let written = node.string(example)?;
    let path = file.folder().join(written.value);
    let path = path
        .strip_prefix(".")
        .map(Path::to_path_buf)
        .unwrap_or(path);
    Some(Located::new(path, node.span))
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
