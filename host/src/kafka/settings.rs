//! Settings of a Kafka client: Penstock's own by their names, everything else as librdkafka knows it.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::fault::{FaultKind, KafkaFault};
use super::names::NAMES;

/// Settings of librdkafka that Penstock sets itself, and what to use instead.
const OURS: [(&str, &str); 19] = [
    ("bootstrap.servers", "use `brokers`"),
    ("metadata.broker.list", "use `brokers`"),
    ("group.id", "use `group`"),
    ("group.instance.id", "use `instance`"),
    (
        "group.protocol",
        "partitions are divided by the classic protocol, cooperatively",
    ),
    (
        "group.remote.assignor",
        "partitions are divided by the classic protocol, cooperatively",
    ),
    (
        "partition.assignment.strategy",
        "it is cooperative-sticky, so that a lane that stays is not disturbed",
    ),
    (
        "auto.offset.reset",
        "use `start`; a cursor that the topic no longer holds is never skipped silently",
    ),
    (
        "enable.auto.commit",
        "offsets are committed behind the state that they belong to",
    ),
    (
        "auto.commit.enable",
        "offsets are committed behind the state that they belong to",
    ),
    (
        "enable.auto.offset.store",
        "offsets are committed behind the state that they belong to",
    ),
    (
        "offset.store.method",
        "offsets are committed behind the state that they belong to",
    ),
    (
        "enable.partition.eof",
        "it is on, so that an idle topic can be told from a slow one",
    ),
    ("allow.auto.create.topics", "topics are made on purpose"),
    (
        "statistics.interval.ms",
        "it is one second, for lag and idleness are read from statistics",
    ),
    (
        "transactional.id",
        "it is made of the pipeline and the lane, so that a lane has one writer",
    ),
    ("enable.idempotence", "it is on"),
    ("log_level", "use PENSTOCK_LOG=librdkafka=debug"),
    ("log.queue", "use PENSTOCK_LOG=librdkafka=debug"),
];

/// Parts of names whose values are never shown.
const SECRET: [&str; 8] = [
    "password",
    "secret",
    "key.pem",
    "username",
    "jaas",
    "token",
    "keytab",
    "oauthbearer.config",
];

/// What a Kafka client is made with. Its values are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSettings {
    bootstrap: String,
    passed: BTreeMap<String, String>,
}

impl ClientSettings {
    /// Where clients connect first.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Whether the user has set one of librdkafka's settings.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.passed.contains_key(name)
    }

    /// What the user has set it to.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.passed.get(name).map(String::as_str)
    }

    /// The same without some settings, which are of no use to another kind of client.
    #[must_use]
    pub fn without(&self, is_of_no_use: impl Fn(&str) -> bool) -> Self {
        let passed = self.passed.iter().filter(|(name, _)| !is_of_no_use(name));
        Self {
            bootstrap: self.bootstrap.clone(),
            passed: passed
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    /// The same with a setting of librdkafka's, unless the user has set it.
    #[must_use]
    pub fn or(mut self, name: &str, value: &str) -> Self {
        let value = || value.to_owned();
        self.passed.entry(name.to_owned()).or_insert_with(value);
        self
    }

    /// As librdkafka takes it; whoever makes a client adds what Penstock sets.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("allow.auto.create.topics", "false");
        for (name, value) in &self.passed {
            config.set(name, value);
        }
        // What is shown of it is decided by our own log. Without `debug` there is nothing below.
        config.set_log_level(if self.has("debug") {
            RDKafkaLogLevel::Debug
        } else {
            RDKafkaLogLevel::Info
        });
        config
    }

    /// What librdkafka says when settings that are right one by one do not go together.
    pub(crate) fn refuse(error: &KafkaError) -> KafkaFault {
        let told = match error {
            KafkaError::ClientCreation(told) => told.clone(),
            KafkaError::ClientConfig(_, told, name, _) if !is_secret(name) => told.clone(),
            KafkaError::ClientConfig(_, _, name, _) => format!("`{name}` has a wrong value"),
            error => error.to_string(),
        };
        KafkaFault::new(
            FaultKind::Setting,
            format!("the settings of the Kafka client do not go together: {told}"),
            "correct or remove the setting that is named",
        )
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("bootstrap", &self.bootstrap)
            .field("passed", &self.passed.keys())
            .finish()
    }
}

/// A table of settings, which are taken out of it one after the other.
pub(crate) struct Table {
    left: BTreeMap<String, String>,
    own: Vec<&'static str>,
}

impl Table {
    /// Of a setting that is there twice the later one counts. `brokers` may be called `bootstrap`, too.
    pub(crate) fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                "bootstrap" => ("brokers".to_owned(), value),
                _ => (name, value),
            });
        Self {
            left: entries.collect(),
            own: Vec::new(),
        }
    }

    /// One of Penstock's own settings.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.own.push(name);
        self.left.remove(name)
    }

    /// One that must be there.
    pub(crate) fn need(&mut self, name: &'static str, what: &str) -> Result<String, KafkaFault> {
        let found = self.take(name).filter(|value| !value.trim().is_empty());
        found.ok_or_else(|| {
            KafkaFault::of_setting(
                name,
                format!("the Kafka setting `{name}` is missing"),
                format!("set it to {what}"),
            )
        })
    }

    /// A number from 1 on, or `usual`.
    pub(crate) fn number(&mut self, name: &'static str, usual: usize) -> Result<usize, KafkaFault> {
        let Some(text) = self.take(name) else {
            return Ok(usual);
        };
        let number = text
            .replace('_', "")
            .parse()
            .ok()
            .filter(|number| *number > 0);
        number.ok_or_else(|| wrong(name, &text, "a whole number from 1 on"))
    }

    /// What is left goes to librdkafka.
    ///
    /// # Errors
    ///
    /// A name that neither knows, one that Penstock sets itself, or a value that librdkafka refuses.
    pub(crate) fn client(mut self) -> Result<ClientSettings, KafkaFault> {
        let bootstrap = self.need("brokers", "a broker, or several: `host:9092,other:9092`")?;
        check(&self.own, "bootstrap.servers", &bootstrap)
            .map_err(|_| wrong("brokers", &bootstrap, "`host:9092,other:9092`"))?;
        for (name, value) in &self.left {
            if let Some((_, instead)) = OURS.iter().find(|(ours, _)| ours == name) {
                return Err(KafkaFault::of_setting(
                    name,
                    format!("the Kafka setting `{name}` is not yours to set"),
                    *instead,
                ));
            }
            check(&self.own, name, value)?;
        }
        Ok(ClientSettings {
            bootstrap,
            passed: self.left,
        })
    }
}

/// A value that is not what it should be.
pub(crate) fn wrong(name: &str, value: &str, expected: &str) -> KafkaFault {
    KafkaFault::of_setting(
        name,
        format!("the Kafka setting `{name}` is `{value}`"),
        format!("set it to {expected}"),
    )
}

fn check(own: &[&str], name: &str, value: &str) -> Result<(), KafkaFault> {
    let native = ClientConfig::new().set(name, value).create_native_config();
    let Err(error) = native else {
        return Ok(());
    };
    let told = match &error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            return Err(unknown(own, name));
        }
        KafkaError::ClientConfig(_, told, ..) => told.clone(),
        error => error.to_string(),
    };
    let told = if is_secret(name) {
        "librdkafka refuses its value".to_owned()
    } else {
        told
    };
    Err(KafkaFault::of_setting(
        name,
        format!("the Kafka setting `{name}` is wrong: {told}"),
        "see docs/kafka.md, and CONFIGURATION.md of librdkafka 2.12",
    ))
}

fn unknown(own: &[&str], name: &str) -> KafkaFault {
    let names = own
        .iter()
        .chain(NAMES)
        .filter(|known| OURS.iter().all(|(ours, _)| ours != *known));
    // `_` and `-` are what people write for `.`, which is what librdkafka writes.
    let folded = name.to_lowercase().replace(['_', '-'], ".");
    let nearest = names
        .map(|known| {
            (
                strsim::osa_distance(&folded, &known.replace('_', ".")),
                known,
            )
        })
        .min()
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1));
    let hint = nearest.map_or_else(
        || {
            "see docs/kafka.md, and CONFIGURATION.md of librdkafka 2.12, for those there are"
                .to_owned()
        },
        |(_, known)| format!("did you mean `{known}`?"),
    );
    KafkaFault::of_setting(name, format!("there is no Kafka setting `{name}`"), hint)
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(entries: &[(&str, &str)]) -> Result<ClientSettings, KafkaFault> {
        let entries = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut table = Table::new(entries);
        table.take("topic");
        table.client()
    }

    #[track_caller]
    fn refused(name: &str, value: &str) -> String {
        let fault = client(&[("bootstrap", "a:1"), (name, value)]).expect_err("it is wrong");
        assert_eq!(fault.kind, FaultKind::Setting);
        assert_eq!(fault.setting.as_deref(), Some(name));
        fault.to_string()
    }

    #[test]
    fn names_that_nobody_knows_are_refused_with_the_nearest() {
        for (name, nearest) in [
            ("session.timeout.mss", "`session.timeout.ms`"),
            ("session_timeout_ms", "`session.timeout.ms`"),
            ("sasl.pasword", "`sasl.password`"),
            ("topik", "`topic`"),
            ("broker", "`brokers`"),
        ] {
            let told = refused(name, "1");
            assert_eq!(
                told,
                format!("there is no Kafka setting `{name}`; did you mean {nearest}?")
            );
        }
        assert!(refused("colour", "blue").contains("docs/kafka.md"));
    }

    #[test]
    fn what_penstock_sets_is_refused_with_the_reason() {
        for (name, instead) in OURS {
            let told = refused(name, "1");
            assert_eq!(
                told,
                format!("the Kafka setting `{name}` is not yours to set; {instead}")
            );
            assert!(NAMES.contains(&name), "{name}");
        }
    }

    #[test]
    fn wrong_values_are_refused_and_secrets_never_shown() {
        let told = refused("session.timeout.ms", "soon");
        assert!(
            told.contains("the Kafka setting `session.timeout.ms` is wrong: Invalid value"),
            "{told}"
        );
        let settings = client(&[("bootstrap", "a:1"), ("sasl.password", "hunter2")]);
        let settings = settings.expect("they are right");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.config().get("sasl.password"), Some("hunter2"));
        let fault = client(&[("topic", "t")]).expect_err("there is no broker");
        assert!(
            fault.to_string().contains("`brokers` is missing"),
            "{fault}"
        );
    }
}
