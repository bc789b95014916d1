//! Publishing to a topic, for as long as it takes.
//!
//! What a broker refuses for the moment is tried again, and said. Where it is not known whether a
//! transaction was published, the lane is opened anew and the topic asked. Before that the lane's
//! database must still be ours: it is what decides who has the lane, and a producer that is opened by
//! somebody who has it no longer would fence the one who has it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::{Entries, Keeper, OutboxError, Outgoing, Published, Waiting, is_bad_input};
use crate::sink::kafka::{FaultKind, KafkaFault, LaneProducer, LaneTopic};

/// Bytes of one transaction, about.
const TRANSACTION_BYTES: usize = 8 << 20;

/// How long to wait before the next try, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often in a row brokers may refuse what they answer to. A message that is too large is too large
/// for ever.
const REFUSALS: u32 = 8;

/// How often somebody else may open the lane in the topic whose database is ours: once, if it was about
/// to lose the lane then.
const FENCINGS: u32 = 3;

/// A topic that a lane publishes to.
pub(super) struct Publisher {
    to: LaneTopic,
    waiting: Waiting,
    producer: Option<LaneProducer>,
    /// Whether it was open at any time: then its settings are right.
    has_been_open: bool,
    /// The last message that is known to be there.
    published: Option<Published>,
    /// Whether there may be later ones.
    is_unsure: bool,
    fencings: u32,
}

impl Publisher {
    pub(super) fn new(to: LaneTopic, waiting: Waiting) -> Self {
        Self {
            to,
            waiting,
            producer: None,
            has_been_open: false,
            published: None,
            is_unsure: false,
            fencings: 0,
        }
    }

    /// Opens the lane in the topic. `is_owed` says that its last owner may have sent what is to be sent.
    pub(super) fn open(&mut self, is_owed: bool, keeper: &Keeper) -> Result<(), OutboxError> {
        self.is_unsure = is_owed;
        self.insist(keeper, Self::open_once).map(drop)
    }

    /// Publishes entries, and gives the number of the first that is not published: where no broker
    /// answers and nobody waits any longer, before the end of them.
    pub(super) fn send(
        &mut self,
        entries: &Entries<'_>,
        keeper: &Keeper,
    ) -> Result<u64, OutboxError> {
        let mut next = entries.numbers.start;
        while next < entries.numbers.end {
            let mut batch: Vec<(u64, Bytes)> = Vec::new();
            let mut bytes = 0;
            let mut after = next;
            while after < entries.numbers.end && bytes < TRANSACTION_BYTES {
                let entry = entries.load(after)?;
                bytes += entry.len();
                batch.push((after, entry));
                after += 1;
            }
            let mut messages = Vec::new();
            for (number, entry) in &batch {
                messages.extend(entries.messages(*number, entry)?);
            }
            let publish = |this: &mut Self| this.publish_once(&messages, entries);
            if !self.insist(keeper, publish)? {
                break;
            }
            next = after;
        }
        Ok(next)
    }

    fn open_once(&mut self) -> Result<(), OutboxError> {
        if self.producer.is_none() {
            let producer = LaneProducer::open(self.to.clone(), &self.waiting.stop)?;
            self.producer = Some(producer.heeding(&self.waiting.stop));
            self.has_been_open = true;
        }
        Ok(())
    }

    fn publish_once(
        &mut self,
        messages: &[Outgoing<'_>],
        entries: &Entries<'_>,
    ) -> Result<(), OutboxError> {
        self.open_once()?;
        if self.is_unsure {
            // Of all entries, for the lane's last message may be of any of them, in any partition.
            let since = entries.earliest()?;
            let published = self.to.published(since, &self.waiting.stop)?;
            self.published = self.published.max(published);
            self.is_unsure = false;
        }
        let published = self.published;
        let is_new = |at: Published| published.is_none_or(|published| at > published);
        let mut new = messages
            .iter()
            .filter(|message| is_new(message.at))
            .peekable();
        if new.peek().is_none() {
            return Ok(());
        }
        let producer = self.producer.as_mut().expect("it was opened above");
        producer.begin()?;
        for message in new {
            producer.send(message)?;
        }
        producer.commit()?;
        self.published = messages.last().map(|message| message.at);
        Ok(())
    }

    /// Acts until it is done, or nobody waits any longer. Gives whether it is done.
    fn insist(
        &mut self,
        keeper: &Keeper,
        act: impl Fn(&mut Self) -> Result<(), OutboxError>,
    ) -> Result<bool, OutboxError> {
        let (mut pause, mut refusals) = (FIRST_PAUSE, 0);
        loop {
            let fault = match act(self) {
                Ok(()) => return Ok(true),
                Err(OutboxError::Topic(fault)) => fault,
                Err(error) => return Err(error),
            };
            if self.is_hopeless(&fault, &mut refusals) {
                return Err(fault.into());
            }
            let Waiting { clock, stop, .. } = &self.waiting;
            if !stop.load(Ordering::Relaxed) {
                let (lane, topic) = (self.to.lane(), self.to.topic());
                tracing::warn!(%lane, topic, %fault, "cannot publish yet; trying again");
                clock.wait(clock.now().saturating_add(pause), stop);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            if self.producer.is_none() {
                keeper.claim()?;
            }
        }
    }

    /// Whether it is of no use to try again after a fault. Else everything is ready for that.
    fn is_hopeless(&mut self, fault: &KafkaFault, refusals: &mut u32) -> bool {
        let is_over = match fault.kind {
            FaultKind::Unreachable => false,
            FaultKind::Fenced => {
                self.fencings += 1;
                self.fencings >= FENCINGS
            }
            _ => {
                *refusals += 1;
                *refusals >= REFUSALS || (is_bad_input(fault) && !self.has_been_open)
            }
        };
        // Nothing of an aborted transaction is there, and the producer is as it was.
        if fault.kind != FaultKind::Aborted {
            self.producer = None;
            self.is_unsure = true;
        }
        is_over
    }
}
