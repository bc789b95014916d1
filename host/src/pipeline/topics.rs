//! The topics that a pipeline over a live stream writes to, found in its environment and checked as far as
//! that goes without a broker.

use std::fmt;

use crate::config::{ConfigError, Diagnostic, Environment, Located, Pipeline, Topic, TopicFormat};
use crate::sink::kafka::KafkaSinkSettings;
use crate::source::kafka::KafkaSettings;

/// A topic that a pipeline writes to.
#[derive(Debug, Clone)]
pub struct OutputTopic {
    /// Its name in the environment.
    pub name: String,
    /// What clients of it are made with.
    pub settings: KafkaSinkSettings,
    /// How rows are written to it.
    pub format: TopicFormat,
}

impl fmt::Display for OutputTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KafkaSinkSettings { topic, client, .. } = &self.settings;
        write!(f, "Kafka topic `{topic}` at {}", client.bootstrap())
    }
}

/// The topics that a pipeline writes to; none over recorded events.
#[derive(Debug, Clone, Default)]
pub struct OutputTopics {
    /// What the transform gives.
    pub rows: Vec<OutputTopic>,
    /// Rejected rows.
    pub rejects: Option<OutputTopic>,
    /// Rows that came too late.
    pub late: Option<OutputTopic>,
    /// Values that broke their feature's validation.
    pub invalid: Option<OutputTopic>,
}

impl OutputTopics {
    /// The topics of a pipeline that reads `source`, if that is one of Kafka's.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each at its line: a topic that the environment does not have, a setting
    /// that is unknown or wrong, a topic that would be written twice or be read again.
    pub(super) fn of(
        pipeline: &Pipeline,
        environment: &Environment,
        source: Option<&KafkaSettings>,
    ) -> Result<Self, ConfigError> {
        let mut finding = Finding {
            pipeline,
            environment,
            source,
            diagnostics: Vec::new(),
        };
        let outputs = &pipeline.outputs;
        let rows = finding.rows(&outputs.topics);
        let mut side = |asked: &Option<Located<String>>| {
            let asked = asked.as_ref()?;
            finding.side(asked)
        };
        let topics = Self {
            rows,
            rejects: side(&outputs.rejects.topic),
            late: side(&outputs.late.topic),
            invalid: side(&outputs.invalid.topic),
        };
        // A topic that is asked for twice is wrong once.
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        for found in finding.diagnostics {
            let is_known = |other: &Diagnostic| other.to_string() == found.to_string();
            if !diagnostics.iter().any(is_known) {
                diagnostics.push(found);
            }
        }
        match diagnostics.is_empty() {
            true => Ok(topics),
            false => Err(ConfigError { diagnostics }),
        }
    }

    /// Each with what is written to it.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &OutputTopic)> {
        let side = [
            ("rejects", &self.rejects),
            ("late", &self.late),
            ("invalid", &self.invalid),
        ];
        let side = side.into_iter();
        let side = side.filter_map(|(what, topic)| Some((what, topic.as_ref()?)));
        self.rows.iter().map(|topic| ("rows", topic)).chain(side)
    }
}

/// Topics that are being found.
struct Finding<'a> {
    pipeline: &'a Pipeline,
    environment: &'a Environment,
    source: Option<&'a KafkaSettings>,
    diagnostics: Vec<Diagnostic>,
}

impl Finding<'_> {
    fn rows(&mut self, asked: &[Located<String>]) -> Vec<OutputTopic> {
        let mut found: Vec<OutputTopic> = Vec::new();
        for name in asked {
            let Some(topic) = self.topic(name) else {
                continue;
            };
            // Rows of a lane are told apart by their numbers alone, so each is in a topic once.
            let is_same = |other: &&OutputTopic| is_one(&other.settings, &topic.settings);
            match found.iter().find(is_same) {
                Some(other) => {
                    let message = format!(
                        "`{}` and `{}` are one topic in environment `{}`: {topic}",
                        other.name, topic.name, self.environment.name
                    );
                    self.refuse(name, message, "keep one of the two");
                }
                None => found.push(topic),
            }
        }
        found
    }

    fn side(&mut self, asked: &Located<String>) -> Option<OutputTopic> {
        let topic = self.topic(asked)?;
        if topic.format != TopicFormat::Json {
            let message = format!(
                "topic `{}` has `format = \"{}\"` in environment `{}`, and what is refused is written as JSON",
                asked.value,
                topic.format.name(),
                self.environment.name
            );
            self.refuse(asked, message, "name a topic with `format = \"json\"`");
            return None;
        }
        Some(topic)
    }

    fn topic(&mut self, asked: &Located<String>) -> Option<OutputTopic> {
        let found = self.environment.topic(self.pipeline, asked);
        let settings = found.and_then(|topic| Ok((topic, self.settings(topic)?)));
        let (topic, settings) = match settings {
            Ok(found) => found,
            Err(error) => {
                self.diagnostics.extend(error.diagnostics);
                return None;
            }
        };
        let reads = self.source.is_some_and(|source| {
            source.topic == settings.topic
                && source.client.bootstrap() == settings.client.bootstrap()
        });
        if reads {
            let message = format!(
                "topic `{}` is the one that event `{}` is read from: what is written would be read again",
                settings.topic, self.pipeline.event.value
            );
            self.refuse(asked, message, "write to another topic");
            return None;
        }
        Some(OutputTopic {
            name: topic.name.value.clone(),
            settings,
            format: topic.format,
        })
    }

    fn settings(&self, topic: &Topic) -> Result<KafkaSinkSettings, ConfigError> {
        let entries = topic.kafka.resolved(&self.environment.source)?;
        let entries = entries
            .into_iter()
            .map(|(name, value)| (name.value, value.expose().to_owned()));
        KafkaSinkSettings::parse(entries).map_err(|fault| {
            let setting = fault.setting.as_deref();
            let span = setting.map_or(topic.kafka.span, |name| topic.kafka.place(name));
            let found = self.environment.diagnostic(span, fault.message, fault.hint);
            found.into()
        })
    }

    fn refuse(&mut self, asked: &Located<String>, message: String, hint: &str) {
        self.diagnostics
            .push(self.pipeline.diagnostic(asked.span, message, hint));
    }
}

/// Whether two are the same topic, as far as can be seen without asking.
fn is_one(one: &KafkaSinkSettings, other: &KafkaSinkSettings) -> bool {
    one.topic == other.topic && one.client.bootstrap() == other.client.bootstrap()
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
