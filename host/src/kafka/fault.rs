//! What can be wrong with a Kafka, said with what to do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Why nothing is read from or written to a topic. The message says what was done and what came of
/// it, the hint what the reader can do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct KafkaFault {
    /// What kind of thing is wrong.
    pub kind: FaultKind,
    /// What was done, with whom, and what came of it.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The setting that is wrong, by the name that it is written with, if it is one.
    pub setting: Option<String>,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A setting is unknown, is not the user's to set, or has a wrong value.
    Setting,
    /// No broker answers. The same may work later.
    Unreachable,
    /// The broker does not accept who this is, or what it wants to do.
    Denied,
    /// There is no such topic, or it has no such partition.
    Missing,
    /// Another one has taken over: the same group member, or the same lane's producer.
    Fenced,
    /// The transaction was aborted: nothing of it is visible, and all of it can be sent again.
    Aborted,
    /// The client or the broker refuses for another reason.
    Refused,
}

impl KafkaFault {
    pub(crate) fn new(
        kind: FaultKind,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
            setting: None,
        }
    }

    /// A fault of one setting.
    pub(super) fn of_setting(
        name: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            setting: Some(name.to_owned()),
            ..Self::new(FaultKind::Setting, message, hint)
        }
    }
}

/// The fault that an error of the client is, met while `doing` something.
pub(crate) fn blame(doing: &str, error: &KafkaError) -> KafkaFault {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        error => error.rdkafka_error_code(),
    };
    let reason = match error {
        KafkaError::Transaction(error) => error.string(),
        error => code.map_or_else(|| error.to_string(), |code| code.to_string()),
    };
    let (kind, hint) = code.map_or(
        (FaultKind::Refused, "see the message of the client"),
        remedy,
    );
    KafkaFault::new(kind, format!("cannot {doing}: {reason}"), hint)
}

/// What an error is, and what helps.
pub(super) fn remedy(code: Code) -> (FaultKind, &'static str) {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => (
            FaultKind::Denied,
            "check `security.protocol`, `sasl.mechanism`, `sasl.username` and `sasl.password`",
        ),
        Code::SSL => (
            FaultKind::Denied,
            "check `security.protocol` and `ssl.ca.location`, and that the host is the one that the certificate names",
        ),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => (
            FaultKind::Denied,
            "grant this user the right: to read the topic and the group for a source, to write the topic and the transactional id for a sink",
        ),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => (
            FaultKind::Missing,
            "make the topic, or correct its name in `topic`",
        ),
        Code::FencedInstanceId
        | Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch => (
            FaultKind::Fenced,
            "another process has taken over; run each instance, and each pipeline, once",
        ),
        Code::MessageSizeTooLarge => (
            FaultKind::Refused,
            "raise `message.max.bytes` of the client, and `max.message.bytes` of the topic",
        ),
        Code::InvalidTimestamp => (
            FaultKind::Refused,
            "let the topic take what is as old as the events (`message.timestamp.before.max.ms`), or date messages itself (`message.timestamp.type=LogAppendTime`)",
        ),
        Code::InconsistentGroupProtocol => (
            FaultKind::Refused,
            "other members of the group divide partitions by another strategy: use a `group` that only Penstock reads with",
        ),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::NetworkException
        | Code::WaitingForCoordinator
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::LeaderNotAvailable => (
            FaultKind::Unreachable,
            "check `brokers`, that the brokers run, and that their advertised addresses can be reached from here",
        ),
        _ => (FaultKind::Refused, "see the message of the client"),
    }
}

/// Whether this says that another one has taken the place of this member or producer.
pub(crate) fn is_fencing(code: Code) -> bool {
    remedy(code).0 == FaultKind::Fenced
}
