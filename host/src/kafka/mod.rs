//! What the Kafka source and the Kafka sink share: settings of the client, whether a broker can be
//! reached and has the topic, and what goes wrong, in words.
//!
//! In come names and values as people write them. Out come clients of librdkafka that are worth
//! starting, or one error that says what to do. No secret is ever shown, and a setting that nobody
//! knows is refused rather than dropped.

mod fault;
mod names;
mod reach;
mod settings;
mod troubles;

pub use self::fault::{FaultKind, KafkaFault};
pub(crate) use self::fault::{blame, is_fencing};
pub(crate) use self::reach::{Reach, Topic};
pub use self::settings::ClientSettings;
pub(crate) use self::settings::{Table, wrong};
pub(crate) use self::troubles::Troubles;
