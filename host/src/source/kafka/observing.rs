//! What the client says of itself and of the brokers, twice: as errors, and as statistics.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;

use super::KafkaEvent;
use super::reader::Reader;
use crate::kafka::blame;

/// A broker that has sent nothing for this long is not known to have nothing, in microseconds: an
/// idle one answers every `fetch.wait.max.ms`, which is half a second.
const SILENCE: i64 = 3_000_000;

impl Reader {
    /// Looks at statistics and troubles. Statistics first: they are the older news.
    pub(super) fn observe(&mut self, now: Duration) {
        if let Some(statistics) = self.consumer.context().take_statistics() {
            self.learn(&statistics, now);
        }
        for (code, reason) in self.consumer.context().troubles().take() {
            match code {
                Code::AllBrokersDown => {
                    if self.reachable {
                        self.reachable = false;
                        tracing::warn!(topic = self.settings.topic, "no Kafka broker answers");
                        self.mailbox.tell(KafkaEvent::Unreachable(reason));
                    }
                }
                // What has failed for good was said as that.
                Code::Fatal => {}
                _ if self.failed => {}
                // Part of a connection's life, and in the log.
                Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {}
                code => {
                    let doing = format!("read `{}`", self.settings.topic);
                    let fault = blame(&doing, &KafkaError::Global(code));
                    self.trouble(format!("{} ({reason}); {}", fault.message, fault.hint));
                }
            }
        }
    }

    fn learn(&mut self, statistics: &Statistics, now: Duration) {
        let mut brokers = statistics.brokers.values().filter(|it| it.nodeid >= 0);
        if !self.reachable && brokers.any(|it| it.state == "UP") {
            self.reachable = true;
            tracing::warn!(topic = self.settings.topic, "a Kafka broker answers again");
            self.mailbox.tell(KafkaEvent::Reachable);
        }
        let Some(topic) = statistics.topics.get(&self.settings.topic) else {
            return;
        };
        let known = topic.partitions.values();
        let known = known.filter(|it| it.partition >= 0 && !it.unknown).count() as u32;
        if known > self.count {
            let before = self.count;
            self.count = known;
            self.mailbox.tell(KafkaEvent::Grown {
                before,
                after: known,
            });
        }
        for (number, partition) in &mut self.partitions {
            let Some(told) = topic.partitions.get(&(*number as i32)) else {
                continue;
            };
            partition.low = partition.low.max(told.lo_offset);
            let end = if told.ls_offset >= 0 {
                told.ls_offset
            } else {
                told.hi_offset
            };
            partition.high = partition.high.max(end);
            let mut brokers = statistics.brokers.values();
            let heard = brokers.any(|it| {
                it.nodeid == told.leader && it.state == "UP" && (0..SILENCE).contains(&it.rxidle)
            });
            if heard {
                partition.confirm(now);
            }
        }
    }
}
