//! A lane's producer: one transaction after the other.
//!
//! Errors come in three kinds, as librdkafka has them. One that can be *retried* is, here, until
//! time is up. One that needs an *abort* ends in [`FaultKind::Aborted`]: nothing of the transaction
//! is visible, and the whole of it is to be sent again. After a *fatal* one the producer is of no
//! use: [`FaultKind::Fenced`] where another one has opened the lane, and whatever happened to the
//! transaction is found out by [`LaneTopic::published`] when the lane is opened anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{LaneTopic, Published, headers};
use crate::kafka::{ClientSettings, FaultKind, KafkaFault, Reach, Troubles, blame, is_fencing};

/// How long one attempt may take: short enough for a stop to be heard.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long to wait for room in the window, each time.
const GLANCE: Duration = Duration::from_millis(50);

/// A row to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The entity, which decides the partition where none is given.
    pub key: &'a [u8],
    /// The message; none withdraws what was said of the entity (a tombstone).
    pub value: Option<&'a [u8]>,
    /// What it is dated, in microseconds; the time of sending if none.
    pub timestamp: Option<i64>,
    /// The partition; what the key says if none.
    pub partition: Option<u32>,
    /// Its place in the lane's output.
    pub at: Published,
    /// The generation of the transform that made it.
    pub generation: u64,
}

/// The only producer of a lane.
pub struct LaneProducer {
    producer: BaseProducer<Troubles>,
    to: LaneTopic,
    open: bool,
    /// Set when nobody waits any longer for brokers that do not answer.
    stop: Option<Arc<AtomicBool>>,
}

static NEVER: AtomicBool = AtomicBool::new(false);

impl LaneProducer {
    /// Opens a lane for publishing, after the brokers were asked whether they know us and the topic.
    /// Whoever had the lane open before is fenced, and its open transaction aborted.
    ///
    /// # Errors
    ///
    /// Settings do not go together, no broker answers, credentials are refused, there is no such
    /// topic, or this user may not use the transactional id.
    pub fn open(to: LaneTopic, stop: &AtomicBool) -> Result<Self, KafkaFault> {
        let config = to.settings.producer(&to.lane);
        let producer: Result<BaseProducer<Troubles>, _> =
            config.create_with_context(Troubles::default());
        let producer = producer.map_err(|error| ClientSettings::refuse(&error))?;
        Reach {
            client: producer.client(),
            serve: &|| (0..64).for_each(|_| producer.poll(Duration::ZERO)),
            troubles: producer.client().context(),
            settings: &to.settings.client,
            topic: &to.settings.topic,
            stop,
        }
        .topic()?;
        let lane = Self {
            producer,
            to,
            open: false,
            stop: None,
        };
        let opened = lane.attempt(stop, |producer| producer.init_transactions(ATTEMPT));
        opened.map_err(|error| lane.blame("open", &error))?;
        Ok(lane)
    }

    /// Gives up what no broker answers to, from then on when `stop` is set.
    #[must_use]
    pub fn heeding(self, stop: &Arc<AtomicBool>) -> Self {
        Self {
            stop: Some(Arc::clone(stop)),
            ..self
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// Another producer has the lane, or the client has failed.
    pub fn begin(&mut self) -> Result<(), KafkaFault> {
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.blame("begin a transaction", &error))?;
        // What an earlier transaction met has been told with it.
        self.producer.client().context().take();
        self.open = true;
        Ok(())
    }

    /// Sends a row as part of the transaction, waiting while the window is full.
    ///
    /// # Errors
    ///
    /// The broker takes nothing for too long, or the row not at all, being too large for it, say.
    pub fn send(&mut self, row: &Outgoing<'_>) -> Result<(), KafkaFault> {
        let lane = self.to.lane.name();
        let mut record = BaseRecord::to(&self.to.settings.topic)
            .key(row.key)
            .headers(headers::write(lane, row.at, row.generation));
        record.payload = row.value;
        record.partition = row.partition.map(|partition| partition as i32);
        // Zero would stand for the time of sending, and no topic takes what is dated before 1970.
        record.timestamp = row.timestamp.map(|micros| micros.div_euclid(1000).max(1));
        let mut left = self.to.settings.timeout;
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    // Reports of delivery would pile up.
                    self.producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(Code::QueueFull), back))
                    if !left.is_zero() && !self.stop().load(Ordering::Relaxed) =>
                {
                    record = back;
                    self.producer.poll(GLANCE);
                    left = left.saturating_sub(GLANCE);
                }
                Err((error, _)) => return Err(self.refuse("send a row", &error)),
            }
        }
    }

    /// Publishes the transaction: from now on all of it is visible, and stays.
    ///
    /// # Errors
    ///
    /// [`FaultKind::Aborted`]: nothing was published, and everything can be sent again. Any other:
    /// whether it was published is to be asked of the topic.
    pub fn commit(&mut self) -> Result<(), KafkaFault> {
        let committed = self.attempt(self.stop(), |producer| producer.commit_transaction(ATTEMPT));
        match committed {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(error) => Err(self.refuse("commit a transaction", &error)),
        }
    }

    /// Takes back the transaction: nobody will see anything of it.
    ///
    /// # Errors
    ///
    /// Another producer has the lane, or no broker answers. The broker aborts it then.
    pub fn abort(&mut self) -> Result<(), KafkaFault> {
        self.open = false;
        let aborted = self.attempt(self.stop(), |producer| producer.abort_transaction(ATTEMPT));
        aborted.map_err(|error| self.blame("abort a transaction", &error))
    }

    fn stop(&self) -> &AtomicBool {
        self.stop.as_deref().unwrap_or(&NEVER)
    }

    /// What becomes of an error within a transaction: an abort, where one is of use.
    fn refuse(&mut self, doing: &str, error: &KafkaError) -> KafkaFault {
        let fatal = self.producer.client().fatal_error().is_some();
        let mut fault = self.blame(doing, error);
        if fatal || fault.kind == FaultKind::Fenced || !self.open {
            return fault;
        }
        let told = self.producer.client().context().take();
        if let Some((_, reason)) = told.first() {
            fault.message = format!("{} ({reason})", fault.message);
        }
        match self.abort() {
            Ok(()) => KafkaFault::new(
                FaultKind::Aborted,
                fault.message,
                format!("nothing of it was published; {}", fault.hint),
            ),
            Err(abort) => abort,
        }
    }

    /// Acts again for as long as the client says that it is of use, and there is time.
    fn attempt(
        &self,
        stop: &AtomicBool,
        act: impl Fn(&BaseProducer<Troubles>) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        let attempts = self
            .to
            .settings
            .timeout
            .as_secs()
            .div_ceil(ATTEMPT.as_secs());
        let mut left = attempts.max(1);
        loop {
            let done = act(&self.producer);
            self.producer.poll(Duration::ZERO);
            left -= 1;
            match done {
                Err(error) if left > 0 && can_retry(&error) && !stop.load(Ordering::Relaxed) => {
                    tracing::warn!(lane = %self.to.lane, %error, "Kafka does not answer; trying again");
                }
                done => return done,
            }
        }
    }

    fn blame(&self, doing: &str, error: &KafkaError) -> KafkaFault {
        let topic = &self.to.settings.topic;
        let doing = format!("{doing} of lane {} in `{topic}`", self.to.lane);
        let mut fault = blame(&doing, error);
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            fault.message = format!("{} ({reason})", fault.message);
            if is_fencing(code) {
                fault.kind = FaultKind::Fenced;
            }
        }
        if fault.kind == FaultKind::Fenced {
            fault.hint = format!(
                "another process has opened lane {}; if none should have, two pipelines of one name write to `{topic}`",
                self.to.lane
            );
        }
        fault
    }
}

impl std::fmt::Debug for LaneProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneProducer")
            .field("to", &self.to)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// Flushing that takes too long is not told as something to retry, but is.
fn can_retry(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.txn_requires_abort(),
        KafkaError::Flush(code) => *code == Code::OperationTimedOut,
        _ => false,
    }
}
