//! Whether a broker answers, accepts who we are, and has the topic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use super::fault::{FaultKind, KafkaFault, blame, remedy};
use super::{ClientSettings, Troubles};

/// How long each attempt waits, in seconds. librdkafka connects anew all the while, so a broker
/// that starts within half a minute is reached.
const ATTEMPTS: [u64; 5] = [1, 2, 4, 8, 15];

/// A topic as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    /// How many partitions it has; at least one.
    pub(crate) partitions: u32,
}

/// A client that is to reach a topic.
pub(crate) struct Reach<'a, C: ClientContext> {
    /// The client, which asks.
    pub(crate) client: &'a Client<C>,
    /// Has the client report its errors to `troubles`.
    pub(crate) serve: &'a dyn Fn(),
    /// Where they are found.
    pub(crate) troubles: &'a Troubles,
    /// What the client was made with.
    pub(crate) settings: &'a ClientSettings,
    /// The topic.
    pub(crate) topic: &'a str,
    /// Ends the waiting when set.
    pub(crate) stop: &'a AtomicBool,
}

impl<C: ClientContext> Reach<'_, C> {
    /// Asks for the topic: again while no broker answers, and not where that is of no use.
    ///
    /// # Errors
    ///
    /// No broker answers, they refuse who we are, or there is no such topic.
    pub(crate) fn topic(&self) -> Result<Topic, KafkaFault> {
        let mut last = String::new();
        let mut made = 0;
        for seconds in ATTEMPTS {
            match self
                .client
                .fetch_metadata(Some(self.topic), Duration::from_secs(seconds))
            {
                Ok(metadata) => {
                    if let Some(topic) = self.read(&metadata)? {
                        return Ok(topic);
                    }
                    last = "the topic has no leader yet".to_owned();
                }
                Err(error) => self.judge(&error, &mut last)?,
            }
            made += 1;
            if self.stop.load(Ordering::Relaxed) || made == ATTEMPTS.len() {
                break;
            }
            let left = ATTEMPTS.len() - made;
            tracing::warn!(
                bootstrap = self.settings.bootstrap(),
                topic = self.topic,
                reason = last,
                "no broker answers; {left} more attempts"
            );
        }
        Err(KafkaFault::new(
            FaultKind::Unreachable,
            format!(
                "cannot reach a Kafka broker at {} after {made} attempts: {last}",
                self.settings.bootstrap()
            ),
            remedy(Code::AllBrokersDown).1,
        ))
    }

    /// What an answer says of the topic; nothing where it is only just being made.
    fn read(&self, metadata: &Metadata) -> Result<Option<Topic>, KafkaFault> {
        let Some(topic) = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.topic)
        else {
            return Ok(None);
        };
        match topic.error().map(Code::from) {
            None => {}
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Err(self.missing()),
            Some(Code::LeaderNotAvailable) => return Ok(None),
            Some(code) => {
                let doing = format!("use topic `{}`", self.topic);
                return Err(blame(&doing, &KafkaError::MetadataFetch(code)));
            }
        }
        let partitions = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
        Ok((partitions > 0).then_some(Topic { partitions }))
    }

    fn missing(&self) -> KafkaFault {
        let all = self.client.fetch_metadata(None, Duration::from_secs(10));
        let names: Vec<String> = all.map_or_else(
            |_| Vec::new(),
            |all| {
                all.topics()
                    .iter()
                    .map(|topic| topic.name().to_owned())
                    .collect()
            },
        );
        let near = near(self.topic, &names);
        let hint = if near.is_empty() {
            "make the topic, or correct its name in `topic`; this user may see no other that is like it"
                .to_owned()
        } else {
            format!("did you mean {}? Else make the topic", near.join(" or "))
        };
        let at = self.settings.bootstrap();
        KafkaFault::new(
            FaultKind::Missing,
            format!("there is no topic `{}` at {at}", self.topic),
            hint,
        )
    }

    /// Notes why an attempt failed. It is an error where further attempts are of no use: then the
    /// brokers would only see more wrong logins.
    fn judge(&self, error: &KafkaError, last: &mut String) -> Result<(), KafkaFault> {
        (self.serve)();
        let troubles = self.troubles.take();
        let denied = troubles
            .iter()
            .find(|(code, _)| remedy(*code).0 == FaultKind::Denied);
        if let Some((code, reason)) = denied {
            return Err(KafkaFault::new(
                FaultKind::Denied,
                format!(
                    "a Kafka broker at {} refuses us: {reason}",
                    self.settings.bootstrap()
                ),
                remedy(*code).1,
            ));
        }
        let fault = blame(&format!("ask for topic `{}`", self.topic), error);
        if fault.kind != FaultKind::Unreachable {
            return Err(fault);
        }
        // "All brokers down" says less than what came before it, and librdkafka does not repeat
        // what is the same as before.
        let told = troubles
            .into_iter()
            .rfind(|(code, _)| *code != Code::AllBrokersDown);
        if let Some((_, reason)) = told {
            *last = reason;
        } else if last.is_empty() {
            *last = fault.message;
        }
        Ok(())
    }
}

/// Up to three names that may have been meant.
fn near(wanted: &str, names: &[String]) -> Vec<String> {
    let folded = wanted.to_lowercase();
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .filter(|name| !name.starts_with("__"))
        .map(|name| (strsim::osa_distance(&folded, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(wanted.len()) / 4)
        .collect();
    near.sort();
    near.truncate(3);
    near.into_iter()
        .map(|(_, name)| format!("`{name}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_topics_are_those_that_differ_by_little() {
        let names = ["rides", "Rides-v2", "drivers", "__consumer_offsets", "ride"];
        let names = names.map(str::to_owned);
        assert_eq!(near("ridse", &names), ["`ride`", "`rides`"]);
        assert_eq!(near("rides-v1", &names), ["`Rides-v2`", "`rides`"]);
        assert!(near("payments", &names).is_empty());
    }
}
