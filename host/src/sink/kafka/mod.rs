//! A Kafka topic that lanes publish to, each in transactions of its own.
//!
//! In come the rows of a lane's committed outbox, in order. Out go messages, keyed by entity, that
//! readers with `isolation.level=read_committed` see whole or not at all. A lane has one producer:
//! opening it fences whoever had the lane before.
//!
//! What it must never do: publish the same rows twice. After a restart [`LaneTopic::published`]
//! says how far the topic is, so that only what is missing is sent. Everything here blocks: call it
//! from one blocking thread.

mod dating;
mod headers;
mod made;
mod producer;
mod published;
mod settings;

pub use self::dating::Dating;
pub use self::made::Making;
pub use self::producer::{LaneProducer, Outgoing};
pub use self::published::Published;
pub use self::settings::{KafkaSinkSettings, Lane, LaneTopic};
pub use crate::kafka::{FaultKind, KafkaFault};
