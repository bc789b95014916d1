//! Schemas of a schema registry: asked for over HTTP, once each.
//!
//! After Confluent's REST API, which others speak too: `GET /schemas/ids/{id}` and
//! `GET /subjects/{subject}/versions/{version}`. What an id stands for never changes, so it is kept for ever; that an id
//! stands for nothing may change, and is asked again after a while. A registry that does not answer is asked several
//! times, and then it is the caller who decides how long to wait: no record is refused for it.
//!
//! Requests run on the I/O runtime; whoever asks blocks, and so must never be one of its tasks. No error shows a
//! password.

mod answer;
mod error;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::Handle;
use url::Url;

use self::answer::{Answer, Asked};
pub use self::error::{RegistryError, RegistryFault};
use super::avro::AvroSchema;
use crate::clock::Clock;

/// How a registry is reached.
#[derive(Clone)]
pub struct RegistryOptions {
    /// Where its API begins: `https://registry.example.com` or `http://localhost:8081/apis/ccompat/v7`.
    pub url: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often it is asked before it counts as unreachable, at least once.
    pub tries: u32,
    /// The wait after the first of them; each further one is twice as long, and 5 seconds at most.
    pub first_wait: Duration,
}

impl RegistryOptions {
    /// With 10 seconds for an answer, and 4 tries over about 2 seconds.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            credentials: None,
            timeout: Duration::from_secs(10),
            tries: 4,
            first_wait: Duration::from_millis(250),
        }
    }
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("url", &self.url)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

/// How long an id that is unknown is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Unknown ids that are remembered. A stream that makes them up must not fill the memory.
const MOST_UNKNOWN: usize = 10_000;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// References of references, at most.
const DEEPEST: usize = 32;
/// Schemas that one refers to, through others or not, at most.
const MOST_REFERENCES: usize = 1_000;

/// A schema registry, whose schemas are kept. Shared by all who decode.
pub struct Registry {
    client: Client,
    options: RegistryOptions,
    base: Url,
    io: Handle,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    schemas: HashMap<u32, Result<Arc<AvroSchema>, String>>,
    /// The ids that are none, and until when that is taken for granted.
    unknown: HashMap<u32, Duration>,
}

/// What an id stands for.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Schema(Arc<AvroSchema>),
    /// A schema that is not Avro, or none. The reason is a sentence without its subject.
    Unreadable(String),
    Unknown,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

impl Registry {
    /// A registry, which is not asked yet. Requests run on the runtime of `io`; `clock` says when an unknown id may be
    /// asked for again.
    ///
    /// # Errors
    ///
    /// The URL is none, or this machine has no certificates for TLS.
    pub fn new(
        options: RegistryOptions,
        io: &Handle,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let mut options = options;
        let bad = |reason: String| RegistryError {
            registry: "the schema registry".to_owned(),
            asked: "reading its URL".to_owned(),
            fault: RegistryFault::BadUrl(reason),
        };
        let mut base = Url::parse(&options.url).map_err(|error| bad(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(bad(
                "it does not begin with http:// or https:// and a host".to_owned()
            ));
        }
        // Credentials in the URL would be shown with it.
        if !base.username().is_empty() {
            let password = base.password().unwrap_or_default().to_owned();
            let user = base.username().to_owned();
            options.credentials.get_or_insert((user, password));
        }
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        base.set_fragment(None);
        options.url = base.to_string();
        let client = Client::builder()
            .timeout(options.timeout)
            .connect_timeout(options.timeout)
            .user_agent("penstock")
            .build()
            .map_err(|error| bad(error::innermost(&error)))?;
        Ok(Self {
            client,
            options,
            base,
            io: io.clone(),
            clock,
            known: Mutex::default(),
        })
    }

    /// What an id stands for.
    ///
    /// # Errors
    ///
    /// The registry does not answer, or refuses to.
    pub(super) fn schema(&self, id: u32) -> Result<Found, RegistryError> {
        if let Some(found) = self.kept(id) {
            return Ok(found);
        }
        let found = self.io.block_on(self.ask(&Asked::Id(id)))?;
        let mut known = self.known();
        let Some(found) = found else {
            if known.unknown.len() >= MOST_UNKNOWN {
                known.unknown.clear();
            }
            known.unknown.insert(id, self.clock.now() + UNKNOWN_FOR);
            return Ok(Found::Unknown);
        };
        known.unknown.remove(&id);
        let schema = found.into_schema().map(Arc::new);
        known.schemas.insert(id, schema.clone());
        Ok(schema.map_or_else(Found::Unreadable, Found::Schema))
    }

    /// The latest schema of a subject (of the values of a Kafka topic, usually `TOPIC-value`), and its id.
    ///
    /// # Errors
    ///
    /// The registry does not answer or refuses to, has no such subject, or the schema is not Avro.
    pub fn latest(&self, subject: &str) -> Result<(u32, Arc<AvroSchema>), RegistryError> {
        let asked = Asked::Version(subject.to_owned(), None);
        let error = |fault| self.error(&asked, fault);
        let found = self.io.block_on(self.ask(&asked))?;
        let found = found.ok_or_else(|| error(RegistryFault::UnknownSubject))?;
        let id = found.answer.id;
        let id = id.ok_or_else(|| error(RegistryFault::Garbled("it has no `id`".to_owned())))?;
        let schema = found.into_schema();
        let schema = Arc::new(schema.map_err(|reason| error(RegistryFault::Unreadable(reason)))?);
        let mut known = self.known();
        known.schemas.insert(id, Ok(Arc::clone(&schema)));
        Ok((id, schema))
    }

    fn kept(&self, id: u32) -> Option<Found> {
        let known = self.known();
        match known.schemas.get(&id) {
            Some(Ok(schema)) => return Some(Found::Schema(Arc::clone(schema))),
            Some(Err(reason)) => return Some(Found::Unreadable(reason.clone())),
            None => {}
        }
        let until = known.unknown.get(&id)?;
        (self.clock.now() < *until).then_some(Found::Unknown)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A schema, and all that it refers to; none if there is no such schema.
    async fn ask(&self, asked: &Asked) -> Result<Option<Whole>, RegistryError> {
        let Some(answer) = self.get(asked).await? else {
            return Ok(None);
        };
        let mut referenced = References::default();
        // Depth first: a schema comes after those that it refers to.
        let mut open = vec![(answer.references.clone().into_iter(), None)];
        while let Some((references, _)) = open.last_mut() {
            let Some(reference) = references.next() else {
                if let Some((_, Some(text))) = open.pop() {
                    referenced.texts.push(text);
                }
                continue;
            };
            let asked = Asked::Version(reference.subject, Some(reference.version));
            if !referenced.seen.insert(asked.path()) {
                continue;
            }
            let too_many = open.len() > DEEPEST || referenced.seen.len() > MOST_REFERENCES;
            let found = if too_many {
                None
            } else {
                self.get(&asked).await?
            };
            let Some(found) = found else {
                let reason = format!("it refers to {asked}, which is not there, or to too many");
                return Err(self.error(&asked, RegistryFault::Garbled(reason)));
            };
            open.push((found.references.into_iter(), Some(found.schema)));
        }
        Ok(Some(Whole {
            answer,
            referenced: referenced.texts,
        }))
    }

    /// One answer, after as many tries as it may take.
    async fn get(&self, asked: &Asked) -> Result<Option<Answer>, RegistryError> {
        let (mut tries, mut wait) = (1, self.options.first_wait);
        loop {
            let fault = match answer::get(&self.client, &self.options, &self.base, asked).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            if !fault.is_temporary() || tries >= self.options.tries {
                return Err(self.error(asked, fault));
            }
            tracing::warn!(registry = %self, tries, "{asked}: {fault}; it is asked again");
            tries += 1;
            // No event says when a server is well again.
            #[expect(
                clippy::disallowed_methods,
                reason = "a failing server is given time; results do not depend on it"
            )]
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn error(&self, asked: &Asked, fault: RegistryFault) -> RegistryError {
        RegistryError {
            registry: self.to_string(),
            asked: asked.to_string(),
            fault,
        }
    }
}

#[derive(Default)]
struct References {
    texts: Vec<String>,
    seen: std::collections::HashSet<String>,
}

/// A schema and those that it refers to, each behind those that it refers to itself.
struct Whole {
    answer: Answer,
    referenced: Vec<String>,
}

impl Whole {
    fn into_schema(self) -> Result<AvroSchema, String> {
        match self.answer.schema_type.as_deref() {
            None | Some("AVRO" | "") => {
                AvroSchema::parse_with(&self.referenced, &self.answer.schema)
                    .map_err(|reason| format!("cannot be read: it {reason}"))
            }
            Some(other) => Err(format!("is of type {other}, and not Avro")),
        }
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
