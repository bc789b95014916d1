//! What the client says of itself: its errors, kept until somebody asks, and its log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

/// How many errors are kept for whoever asks. Later ones push out the earliest: librdkafka repeats
/// those that last.
const KEPT: usize = 64;

/// Errors that a client has reported of itself, in their order: no broker answers, a login fails.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<VecDeque<(RDKafkaErrorCode, String)>>);

impl Troubles {
    /// Keeps an error.
    pub(crate) fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((code, reason.to_owned()));
    }

    /// Takes all that are kept.
    pub(crate) fn take(&self) -> Vec<(RDKafkaErrorCode, String)> {
        self.kept().drain(..).collect()
    }

    /// Writes a line of librdkafka's to the log.
    pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{line}");
            }
            // What librdkafka calls errors are lost connections, most of all, and it reconnects.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::info!(target: "librdkafka", facility, "{line}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(RDKafkaErrorCode, String)>> {
        // A panic between push and pop leaves a queue that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Troubles {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Self::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.note(code, reason);
        }
    }
}

impl ProducerContext for Troubles {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, message)) = delivery
            && let Some(code) = error.rdkafka_error_code()
        {
            use rdkafka::Message;
            let place = (message.topic(), message.partition());
            self.note(code, &format!("{} [{}]: {code}", place.0, place.1));
        }
    }
}

impl rdkafka::consumer::ConsumerContext for Troubles {}
