//! What the client calls when something happens, on the thread that polls it. Only noted here, and
//! acted upon between two polls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::kafka::Troubles;

/// What the group wants of this member.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(Vec<i32>),
    Revoke {
        partitions: Vec<i32>,
        /// They are gone already.
        lost: bool,
    },
}

/// This member of the group, as the client sees it.
#[derive(Debug, Default)]
pub(super) struct Member {
    troubles: Troubles,
    rebalances: Mutex<VecDeque<Rebalance>>,
    statistics: Mutex<Option<Box<Statistics>>>,
    served: AtomicU64,
    leaving: AtomicBool,
}

impl Member {
    pub(super) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// A number that rises whenever the client has called. A poll does not say whether it has found
    /// something that is no message, and more may wait behind.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        let mut rebalances = self
            .rebalances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rebalances.pop_front()
    }

    pub(super) fn take_statistics(&self) -> Option<Box<Statistics>> {
        let mut statistics = self
            .statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        statistics.take()
    }

    /// From now on partitions are given up without asking. The client does not close before each
    /// revocation has been answered, and from here on nobody else answers.
    pub(super) fn leave(&self, consumer: &BaseConsumer<Self>) {
        self.leaving.store(true, Ordering::Relaxed);
        while let Some(rebalance) = self.next_rebalance() {
            if matches!(rebalance, Rebalance::Assign(_)) {
                accept_nothing(consumer);
            }
        }
        give_up(consumer);
    }

    fn count(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// Answers an assignment without reading anything of it.
fn accept_nothing(consumer: &BaseConsumer<Member>) {
    // As below.
    let _ = consumer.incremental_assign(&TopicPartitionList::new());
}

/// Gives up all that is assigned.
fn give_up(consumer: &BaseConsumer<Member>) {
    if let Ok(assigned) = consumer.assignment() {
        // It fails where there is no group to give anything back to, and then there is no harm.
        let _ = consumer.incremental_unassign(&assigned);
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.count();
        Troubles::log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.count();
        let mut kept = self
            .statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Box::new(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.count();
        match error.rdkafka_error_code() {
            // These are told where they are met, with their partition.
            None | Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset) => {}
            Some(code) => self.troubles.note(code, reason),
        }
    }
}

impl ConsumerContext for Member {
    /// The client waits for an assignment or its undoing, which the reader makes when it can.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.count();
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Relaxed) {
            if assigned {
                accept_nothing(consumer);
            } else {
                give_up(consumer);
            }
            return;
        }
        let partitions = partitions
            .elements()
            .iter()
            .map(|it| it.partition())
            .collect();
        let rebalance = if assigned {
            Rebalance::Assign(partitions)
        } else {
            Rebalance::Revoke {
                partitions,
                lost: consumer.assignment_lost(),
            }
        };
        let mut rebalances = self
            .rebalances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rebalances.push_back(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.count();
        if let Err(error) = result {
            // Lag will show too great until the next one, and nothing else.
            tracing::debug!(%error, "offsets were not committed to Kafka");
        }
    }
}
