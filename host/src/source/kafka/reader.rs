//! The thread that polls the client: one loop over orders, rebalances and messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::mailbox::{From, Mailbox, Order, Orders};
use super::member::{Member, Rebalance};
use super::partition::{Found, Partition, Stage};
use super::starting::ToStart;
use super::{KafkaEvent, KafkaSettings};
use crate::clock::Clock;
use crate::kafka::{FaultKind, Topic, blame, is_fencing};
use crate::source::flow::Step;

/// How long the thread sleeps unless somebody rings. librdkafka rings for what is new only; this
/// bounds how late everything else is seen.
const TICK: Duration = Duration::from_millis(100);

/// The thread's state.
pub(super) struct Reader {
    pub(super) consumer: Arc<BaseConsumer<Member>>,
    pub(super) settings: KafkaSettings,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) clock: Arc<dyn Clock>,
    /// Those that are ours.
    pub(super) partitions: BTreeMap<u32, Partition>,
    pub(super) to_start: Vec<ToStart>,
    /// How many there were at first: later ones are read from their first message.
    pub(super) at_first: u32,
    pub(super) count: u32,
    pub(super) reachable: bool,
    /// Since when partitions are revoked that were not released.
    revoked_since: Option<Duration>,
    /// Whether nothing more will come.
    pub(super) failed: bool,
}

impl Reader {
    pub(super) fn new(
        consumer: BaseConsumer<Member>,
        settings: &KafkaSettings,
        mailbox: Arc<Mailbox>,
        clock: Arc<dyn Clock>,
        topic: Topic,
    ) -> Self {
        Self {
            consumer: Arc::new(consumer),
            settings: settings.clone(),
            mailbox,
            clock,
            partitions: BTreeMap::new(),
            to_start: Vec::new(),
            at_first: topic.partitions,
            count: topic.partitions,
            reachable: true,
            revoked_since: None,
            failed: false,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let orders = self.mailbox.take_orders();
            let leave = orders.leave;
            self.obey(orders);
            if leave {
                break;
            }
            let more = self.serve();
            self.rebalance();
            let now = self.clock.now();
            self.observe(now);
            let more = self.read(now) || more;
            let status = self.partitions.values().map(Partition::status);
            self.mailbox.show(status.collect());
            if !more {
                self.mailbox.wait(TICK);
            }
        }
    }

    fn obey(&mut self, orders: Orders) {
        // Commits first: a release says that they are complete.
        self.store(&orders.commits);
        for order in orders.orders {
            match order {
                Order::Start { partition, from } => {
                    self.to_start.push(ToStart::at_once(partition, from));
                }
                Order::Release(number) => self.release(number),
                Order::Rest(number) => self.rest(number),
            }
        }
        self.start_all();
        self.give_up_released();
    }

    fn release(&mut self, number: u32) {
        if let Some(partition) = self.partitions.get_mut(&number)
            && let Stage::Revoked { released, .. } = &mut partition.stage
        {
            *released = true;
        }
    }

    /// Stops reading a partition that stays ours. One that is to go meanwhile is released, for its lanes are closed.
    fn rest(&mut self, number: u32) {
        match self.partitions.get(&number).map(|it| &it.stage) {
            None => {}
            Some(Stage::Revoked { .. }) => self.release(number),
            Some(Stage::Waiting | Stage::Reading(_)) => {
                self.to_start.retain(|it| it.partition != number);
                self.unassign(&[number]);
                let partition = Partition::new(number, self.settings.window_bytes);
                self.partitions.insert(number, partition);
                self.mailbox.tell(KafkaEvent::Rested(number));
            }
        }
    }

    /// Has offsets committed by the client, which sends them every now and then, and when their
    /// partition goes.
    fn store(&self, commits: &BTreeMap<u32, i64>) {
        let mut offsets = TopicPartitionList::new();
        for (number, next) in commits {
            if self
                .partitions
                .get(number)
                .is_some_and(Partition::is_started)
            {
                add(&mut offsets, &self.settings.topic, *number, *next);
            }
        }
        if offsets.count() > 0
            && let Err(error) = self.consumer.store_offsets(&offsets)
        {
            tracing::debug!(%error, "offsets were not kept for Kafka");
        }
    }

    /// Has the client tell what it has to tell, and gives whether there may be more of it.
    fn serve(&mut self) -> bool {
        let before = self.consumer.context().served();
        for _ in 0..64 {
            let served = self.consumer.context().served();
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    if let Ok(number) = u32::try_from(message.partition())
                        && let Some(partition) = self.partitions.get_mut(&number)
                    {
                        partition.take_stray(&message, &self.settings, &self.mailbox);
                    }
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => self.fail(code),
                // It was noted as a trouble.
                Some(Err(_)) => {}
                None if self.consumer.context().served() == served => break,
                None => {}
            }
        }
        self.consumer.context().served() != before
    }

    fn fail(&mut self, code: Code) {
        let reason = self.consumer.client().fatal_error();
        let reason = reason.map_or_else(|| code.to_string(), |(_, reason)| reason);
        let mut fault = blame(
            &format!(
                "read `{}` as a member of `{}`",
                self.settings.topic, self.settings.group
            ),
            &KafkaError::MessageConsumptionFatal(code),
        );
        fault.message = format!("{} ({reason})", fault.message);
        if is_fencing(code) {
            fault.kind = FaultKind::Fenced;
            fault.hint = format!(
                "another process reads as `instance` {:?}; give each process its own",
                self.settings.instance.as_deref().unwrap_or_default()
            );
        }
        self.lose(&self.partitions.keys().copied().collect::<Vec<_>>());
        self.failed = true;
        self.mailbox.fail(fault);
    }

    fn rebalance(&mut self) {
        while let Some(rebalance) = self.consumer.context().next_rebalance() {
            match rebalance {
                Rebalance::Assign(numbers) => self.accept(&numbers),
                Rebalance::Revoke {
                    partitions,
                    lost: true,
                } => self.lose(&numbers_of(&partitions)),
                Rebalance::Revoke { partitions, .. } => self.revoke(&numbers_of(&partitions)),
            }
        }
        self.end_patience();
    }

    /// Gives revoked partitions up that nobody releases. A group that divides anew meanwhile waits
    /// for this member no longer than `max.poll.interval.ms`, takes everything from it then, and has
    /// no way to tell before it has answered.
    fn end_patience(&mut self) {
        let revoked: Vec<u32> = self.revoked().map(|it| it.number).collect();
        if revoked.is_empty() {
            self.revoked_since = None;
            return;
        }
        let now = self.clock.now();
        let since = *self.revoked_since.get_or_insert(now);
        if now.saturating_sub(since) >= self.settings.patience() || self.consumer.assignment_lost()
        {
            self.lose(&revoked);
        }
    }

    fn accept(&mut self, numbers: &[i32]) {
        let numbers = numbers_of(numbers);
        for &number in &numbers {
            let partition = Partition::new(number, self.settings.window_bytes);
            self.partitions.insert(number, partition);
        }
        if let Err(error) = self.consumer.incremental_assign(&TopicPartitionList::new()) {
            self.trouble(blame("accept an assignment", &error).to_string());
        }
        self.mailbox.has_joined.store(true, Ordering::Relaxed);
        if !numbers.is_empty() {
            self.mailbox.tell(KafkaEvent::Assigned(numbers));
        }
    }

    fn revoke(&mut self, numbers: &[u32]) {
        for number in numbers {
            if let Some(partition) = self.partitions.get_mut(number) {
                let started = partition.is_started();
                partition.stage = Stage::Revoked {
                    started,
                    released: false,
                };
            }
        }
        self.to_start.retain(|it| !numbers.contains(&it.partition));
        if !numbers.is_empty() {
            self.mailbox.tell(KafkaEvent::Revoked(numbers.to_vec()));
        }
        self.give_up_released();
    }

    fn lose(&mut self, numbers: &[u32]) {
        if !numbers.is_empty() {
            self.mailbox.tell(KafkaEvent::Lost(numbers.to_vec()));
        }
        self.to_start.retain(|it| !numbers.contains(&it.partition));
        self.unassign(numbers);
    }

    /// The group waits for one answer to a revocation, so it is given when all are released.
    fn give_up_released(&mut self) {
        let revoked: Vec<u32> = self.revoked().map(|it| it.number).collect();
        let waiting = self.revoked().any(|it| {
            matches!(
                it.stage,
                Stage::Revoked {
                    released: false,
                    ..
                }
            )
        });
        if !revoked.is_empty() && !waiting {
            self.unassign(&revoked);
        }
    }

    fn revoked(&self) -> impl Iterator<Item = &Partition> {
        let all = self.partitions.values();
        all.filter(|it| matches!(it.stage, Stage::Revoked { .. }))
    }

    fn unassign(&mut self, numbers: &[u32]) {
        let mut gone = TopicPartitionList::new();
        for number in numbers {
            // The client refuses the whole list for one that it does not have.
            if let Some(partition) = self.partitions.remove(number)
                && partition.is_started()
            {
                gone.add_partition(&self.settings.topic, *number as i32);
            }
        }
        if let Err(error) = self.consumer.incremental_unassign(&gone) {
            self.trouble(blame("give partitions up", &error).to_string());
        }
    }

    /// Reads a batch of each partition, in turn, and gives whether there may be more.
    fn read(&mut self, now: Duration) -> bool {
        let mut more = false;
        let mut deleted = Vec::new();
        for partition in self.partitions.values_mut() {
            if matches!(partition.stage, Stage::Reading(_)) {
                let step = partition.window.look(now);
                if step != Step::Nothing {
                    let mut one = TopicPartitionList::new();
                    one.add_partition(&self.settings.topic, partition.number as i32);
                    let done = if step == Step::Pause {
                        partition.count_pause();
                        self.consumer.pause(&one)
                    } else {
                        self.consumer.resume(&one)
                    };
                    done.expect("librdkafka pauses and resumes whatever it is given");
                }
            }
            match partition.read(&self.settings, &self.mailbox, now) {
                Found::More => more = true,
                Found::Nothing => {}
                Found::Deleted => deleted.push((partition.number, partition.next)),
            }
        }
        for (number, wanted) in deleted {
            self.restart(number, wanted);
        }
        more
    }

    /// Has a partition wait for a start from another place.
    fn restart(&mut self, number: u32, wanted: i64) {
        self.unassign(&[number]);
        let mut partition = Partition::new(number, self.settings.window_bytes);
        (partition.next, partition.known) = (wanted, true);
        self.partitions.insert(number, partition);
        // Where it begins now is asked there, and told as an event, if nothing answers differently.
        self.to_start
            .push(ToStart::at_once(number, From::Offset(wanted)));
    }

    pub(super) fn trouble(&self, text: String) {
        tracing::warn!(topic = self.settings.topic, "{text}");
        self.mailbox.tell(KafkaEvent::Trouble(text));
    }
}

impl Drop for Reader {
    /// Also when the thread panics: the client does not close before its partitions are given up.
    fn drop(&mut self) {
        self.partitions.clear();
        self.consumer.context().leave(&self.consumer);
        self.mailbox.show(Vec::new());
    }
}

/// The client counts partitions with a sign, and gives none that is negative.
fn numbers_of(partitions: &[i32]) -> Vec<u32> {
    let numbers = partitions.iter().filter_map(|it| u32::try_from(*it).ok());
    numbers.collect()
}

pub(super) fn add(list: &mut TopicPartitionList, topic: &str, partition: u32, offset: i64) {
    list.add_partition_offset(topic, partition as i32, Offset::Offset(offset))
        .expect("offsets of messages, and times since 1970, are not negative");
}
