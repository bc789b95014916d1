//! What a schema registry can do to a run.

use std::error::Error;

use thiserror::Error;

/// Why a registry did not say what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("asking the schema registry at {registry} for {asked}: {fault}")]
pub struct RegistryError {
    /// Its URL, without credentials.
    pub registry: String,
    /// What was wanted of it.
    pub asked: String,
    /// What happened.
    pub fault: RegistryFault,
}

/// What was wrong with a registry, or with what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryFault {
    /// It does not answer, or says that it cannot now.
    #[error("{0}; no record is lost: this waits until it answers")]
    Unreachable(String),
    /// It does not let us in.
    #[error("{0}; check user and password")]
    Forbidden(String),
    /// It answers, and not as a registry does.
    #[error("{0}; check that the URL is where the registry's API begins")]
    Refused(String),
    /// Its answer is not what a registry's should be.
    #[error("its answer cannot be read: {0}")]
    Garbled(String),
    /// It has no such subject.
    #[error(
        "it has no such subject; check the name, which for a Kafka topic usually is `TOPIC-value`"
    )]
    UnknownSubject,
    /// The schema is none that this version reads. A sentence without its subject.
    #[error("the schema {0}")]
    Unreadable(String),
    /// The URL is none.
    #[error("{0}; write it as in `http://localhost:8081`")]
    BadUrl(String),
}

impl RegistryFault {
    /// Whether the same question may be answered later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// What lies under an error: the outer layers say only that a request failed, and repeat its URL.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
