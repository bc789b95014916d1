//! Transactions of lanes: seen whole or not at all, by one owner at a time, and found again.

use std::sync::atomic::AtomicBool;

use penstock::sink::kafka::{
    FaultKind, KafkaFault, KafkaSinkSettings, Lane, LaneProducer, LaneTopic, Outgoing, Published,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Timestamp};

use crate::support::servers::kafka::{LIMIT, SHARED, create};

static STOP: AtomicBool = AtomicBool::new(false);

pub(super) fn to(bootstrap: &str, topic: &str, lane: u32, more: &[(&str, &str)]) -> LaneTopic {
    let own = [("bootstrap", bootstrap), ("topic", topic)];
    let entries = own.iter().chain(more);
    let entries = entries.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    LaneTopic::new(
        &KafkaSinkSettings::parse(entries).unwrap(),
        Lane::new(topic, lane),
    )
}

fn open(to: &LaneTopic) -> LaneProducer {
    LaneProducer::open(to.clone(), &STOP).unwrap_or_else(|fault| panic!("{fault}"))
}

pub(super) fn at(epoch: u64, sequence: u64) -> Published {
    Published { epoch, sequence }
}

pub(super) fn row<'a>(at: Published, key: &'a str, value: &'a str) -> Outgoing<'a> {
    Outgoing {
        key: key.as_bytes(),
        value: Some(value.as_bytes()),
        timestamp: Some(1_700_000_000_123_456),
        partition: None,
        at,
        generation: 2,
    }
}

/// Sends rows of these sequences as one transaction, and leaves it open.
fn send(
    lane: &mut LaneProducer,
    epoch: u64,
    sequences: std::ops::Range<u64>,
) -> Result<(), KafkaFault> {
    lane.begin()?;
    for sequence in sequences {
        let value = sequence.to_string();
        lane.send(&row(
            at(epoch, sequence),
            &format!("driver {}", sequence % 5),
            &value,
        ))?;
    }
    Ok(())
}

/// Everything that a reader of committed messages sees: values by partition, in order.
fn visible(bootstrap: &str, topic: &str, partitions: i32) -> Vec<Vec<String>> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "anybody")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    let reader: BaseConsumer = config.create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    reader.assign(&all).unwrap();
    let mut seen = vec![Vec::new(); partitions as usize];
    let mut ended = 0;
    while ended < partitions {
        match reader.poll(LIMIT).expect("it comes within the limit") {
            Ok(message) => {
                let headers = message.headers().unwrap();
                let names: Vec<&str> = headers.iter().map(|header| header.key).collect();
                let expected = [
                    "penstock-lane",
                    "penstock-epoch",
                    "penstock-sequence",
                    "penstock-generation",
                ];
                assert_eq!(names, expected);
                assert_eq!(
                    message.timestamp(),
                    Timestamp::CreateTime(1_700_000_000_123)
                );
                let value = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
                seen[message.partition() as usize].push(value);
            }
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

#[test]
fn only_what_is_committed_is_seen_and_found_again() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-publish");
    create(&bootstrap, topic, 3);
    let to = to(&bootstrap, topic, 0, &[]);
    let mut lane = open(&to);
    assert_eq!(to.published(None, &STOP).unwrap(), None);
    send(&mut lane, 1, 0..50).unwrap();
    lane.commit().unwrap();
    assert_eq!(to.published(None, &STOP).unwrap(), Some(at(1, 49)));

    // Greater than the longest stretch that is looked at first, and not to be seen.
    send(&mut lane, 1, 50..4000).unwrap();
    lane.abort().unwrap();
    assert_eq!(to.published(None, &STOP).unwrap(), Some(at(1, 49)));
    send(&mut lane, 1, 50..60).unwrap();
    lane.commit().unwrap();

    let seen = visible(&bootstrap, topic, 3);
    let mut all: Vec<u64> = seen
        .iter()
        .flatten()
        .map(|value| value.parse().unwrap())
        .collect();
    assert!(
        seen.iter()
            .all(|values| values.is_sorted_by_key(|value| value.parse::<u64>().unwrap()))
    );
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<u64>>());
    // A key is in one partition.
    for driver in 0..5 {
        let homes = seen
            .iter()
            .filter(|values| values.contains(&driver.to_string()));
        assert_eq!(homes.count(), 1);
    }
    // Markers of transactions are dated too, by the broker, so this is no search by time.
    let since = |time| to.published(Some(time), &STOP).unwrap();
    assert_eq!(since(1_600_000_000_000_000), Some(at(1, 59)));
    assert_eq!(since(1_700_000_000_123_000), Some(at(1, 59)));
    assert_eq!(since(32_000_000_000_000_000), None);
}

#[test]
fn a_new_owner_fences_the_old_one_and_ends_what_it_left() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-fence");
    create(&bootstrap, topic, 1);
    let to = to(&bootstrap, topic, 0, &[]);
    let mut old = open(&to);
    send(&mut old, 1, 0..5).unwrap();
    old.commit().unwrap();
    send(&mut old, 1, 5..10).unwrap();
    let mut new = open(&to);
    assert_eq!(to.published(None, &STOP).unwrap(), Some(at(1, 4)));
    let fault = old.commit().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Fenced, "{fault}");
    assert!(
        fault
            .to_string()
            .contains("another process has opened lane kafka-fence/0"),
        "{fault}"
    );
    assert_eq!(old.begin().unwrap_err().kind, FaultKind::Fenced);
    send(&mut new, 2, 5..10).unwrap();
    new.commit().unwrap();
    assert_eq!(to.published(None, &STOP).unwrap(), Some(at(2, 9)));
    assert_eq!(visible(&bootstrap, topic, 1)[0], super::member::numbers(10));
}

#[test]
fn lanes_of_one_topic_do_not_mix() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-lanes");
    create(&bootstrap, topic, 1);
    let quick = [("timeout_seconds", "1")];
    let tos = [
        to(&bootstrap, topic, 0, &[]),
        to(&bootstrap, topic, 1, &[]),
        to(&bootstrap, topic, 10, &quick),
    ];
    let (mut first, mut second) = (open(&tos[0]), open(&tos[1]));
    send(&mut first, 1, 0..5).unwrap();
    send(&mut second, 7, 0..3000).unwrap();
    first.commit().unwrap();
    // The other lane's transaction is open, and what the first has committed behind it not readable.
    let fault = tos[2].published(None, &STOP).unwrap_err();
    assert!(fault.to_string().contains("stays open"), "{fault}");
    std::thread::scope(|scope| {
        let found = scope.spawn(|| tos[0].published(None, &STOP));
        second.commit().unwrap();
        assert_eq!(found.join().unwrap().unwrap(), Some(at(1, 4)));
    });
    assert_eq!(tos[1].published(None, &STOP).unwrap(), Some(at(7, 2999)));
    assert_eq!(tos[2].published(None, &STOP).unwrap(), None);
}

#[test]
fn a_small_window_makes_a_lane_wait_and_loses_nothing() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-window");
    create(&bootstrap, topic, 1);
    let to = to(
        &bootstrap,
        topic,
        0,
        &[("window_bytes", "10_000"), ("linger.ms", "0")],
    );
    let mut lane = open(&to);
    lane.begin().unwrap();
    let value = "x".repeat(1000);
    for sequence in 0..500 {
        lane.send(&row(at(1, sequence), "driver", &value)).unwrap();
    }
    lane.commit().unwrap();
    assert_eq!(visible(&bootstrap, topic, 1)[0].len(), 500);

    // Too large for anybody: the transaction is gone, and the lane goes on.
    lane.begin().unwrap();
    let huge = "x".repeat(2 << 20);
    let fault = lane.send(&row(at(1, 500), "driver", &huge)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Aborted, "{fault}");
    send(&mut lane, 1, 500..501).unwrap();
    lane.commit().unwrap();
    assert_eq!(to.published(None, &STOP).unwrap(), Some(at(1, 500)));
}
