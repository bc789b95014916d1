//! Topics that pipelines write to, as `penstock.toml` declares them for each environment.
//!
//! As for live events, settings are names and texts here ([`StreamSettings`]), each with its place; what
//! they mean is known to `sink` alone.

use std::collections::BTreeMap;

use super::diagnostic::{ConfigError, Located};
use super::environment::Environment;
use super::live::StreamSettings;
use super::live_settings::{StreamKind, read_settings};
use super::pipeline::Pipeline;
use super::suggest;
use super::table::Node;

const EXAMPLE: &str = "kafka = { brokers = \"broker:9092\", topic = \"driver-features\" }";

/// A topic that pipelines may write to.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The name by which pipelines ask for it; `[a-z][a-z0-9_]*`.
    pub name: Located<String>,
    /// What a client of it is made with.
    pub kafka: StreamSettings,
    /// How rows are written.
    pub format: TopicFormat,
}

/// How rows are written to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicFormat {
    /// A JSON object a row.
    Json,
    /// An Arrow IPC stream of one row: its schema, and a record batch.
    Arrow,
}

impl TopicFormat {
    /// The formats, by the words that files have for them.
    pub const ALL: [(&'static str, TopicFormat); 2] =
        [("json", TopicFormat::Json), ("arrow", TopicFormat::Arrow)];

    /// The word that files have for it.
    pub fn name(self) -> &'static str {
        match self {
            TopicFormat::Json => "json",
            TopicFormat::Arrow => "arrow",
        }
    }
}

impl Environment {
    /// The topic that a pipeline asks for.
    ///
    /// # Errors
    ///
    /// It is not declared in this environment.
    pub fn topic(
        &self,
        pipeline: &Pipeline,
        asked: &Located<String>,
    ) -> Result<&Topic, ConfigError> {
        self.topics.get(&asked.value).ok_or_else(|| {
            let path = self.source.path().display();
            let hint = match suggest::closest(asked, self.topics.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "add to {path}\n[environments.{}.topics.{}]\n{EXAMPLE}",
                    self.name, asked.value
                ),
            };
            let message = format!(
                "environment `{}` of {path} has no topic `{}`",
                self.name, asked.value
            );
            pipeline.diagnostic(asked.span, message, hint).into()
        })
    }
}

/// Reads the topics of an environment.
pub(super) fn read(node: &Node<'_>) -> Option<BTreeMap<String, Topic>> {
    let table = node.table("`[environments.NAME.topics.TOPIC]`")?;
    let mut topics = BTreeMap::new();
    for (name, node) in table.entries() {
        let is_name = node.check_name(&name, "`[environments.local.topics.driver_features]`");
        let topic = read_topic(&name, &node).filter(|_| is_name);
        topics.extend(topic.map(|topic| (name.value.clone(), topic)));
    }
    Some(topics)
}

fn read_topic(name: &Located<String>, node: &Node<'_>) -> Option<Topic> {
    let mut table = node.table("`[environments.NAME.topics.TOPIC]` and its keys below")?;
    let kafka = table.required("kafka", EXAMPLE);
    let kafka = kafka.and_then(|node| read_settings(StreamKind::Kafka, &node));
    let format = table
        .optional("format")
        .map_or(Some(TopicFormat::Json), |node| {
            node.choice(&TopicFormat::ALL).map(|choice| choice.value)
        });
    table.finish(
        &[],
        &[
            (
                "topic",
                "write `kafka = { brokers = \"…\", topic = \"…\" }`",
            ),
            ("kinesis", "only topics of Kafka can be written to"),
            (
                "schema",
                "leave it out: rows have the columns of what lanes emit",
            ),
        ],
    );
    Some(Topic {
        name: name.clone(),
        kafka: kafka?,
        format: format?,
    })
}
