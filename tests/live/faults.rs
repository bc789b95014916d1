//! Brokers that answer with errors, late, or not at all, from librdkafka's mock of a cluster: what a pipeline
//! leaves is what it leaves on a cluster that is well. (Its transactions are fakes: what topics hold is asked of real
//! brokers, in `sinks.rs`.)

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Answer};

use super::pipeline::{Pipeline, pause};
use super::topic::Topic;
use crate::crash::stream::WINDOWS;

const RUN: &str = "commit_every = \"10ms\"";

const BROKERS: i32 = 3;

/// Requests of a member of a group, and what brokers in trouble answer to them.
const TROUBLE: [(Request, &[Answer]); 7] = [
    (
        Request::Fetch,
        &[
            Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Answer::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    ),
    (
        Request::OffsetCommit,
        &[
            Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Answer::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        ],
    ),
    (
        Request::Heartbeat,
        &[
            Answer::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            Answer::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        ],
    ),
    (
        Request::JoinGroup,
        &[
            Answer::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            Answer::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    ),
    (
        Request::SyncGroup,
        &[Answer::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS],
    ),
    (
        Request::FindCoordinator,
        &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE],
    ),
    (
        Request::OffsetFetch,
        &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
    ),
];

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Writes to a topic while a cluster is made worse, and compares what a pipeline leaves with what one leaves that reads
/// it when the cluster is well again.
fn compare(name: &str, window: &str, worse: impl Fn(&Cluster, u32), well: impl Fn(&Cluster)) {
    let cluster = MockCluster::new(BROKERS).unwrap();
    cluster.create_topic(name, 2, BROKERS).unwrap();
    let mut topic = Topic::there(&cluster.bootstrap_servers(), name, 2, 400);
    let disturbed = Pipeline::over(&topic, &format!("{name}-disturbed"), window, RUN);
    let mut process = disturbed.start_with_all(&topic, "one");
    for round in 0..20 {
        worse(&cluster, round);
        topic.write(100);
        pause(Duration::from_millis(100));
        process.is_alive();
    }
    well(&cluster);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let disturbed = disturbed.left(&process.stop());
    let undisturbed = Pipeline::over(&topic, &format!("{name}-undisturbed"), window, RUN);
    disturbed.is(&undisturbed.finish(&topic, "one"), name);
}

#[test]
fn brokers_that_answer_with_errors_are_asked_again() {
    let worse = |cluster: &Cluster, _| {
        for (request, answers) in TROUBLE {
            cluster.request_errors(request, answers);
        }
    };
    let well = |cluster: &Cluster| {
        for (request, _) in TROUBLE {
            cluster.clear_request_errors(request);
        }
    };
    compare("answers-with-errors", WINDOWS[0], worse, well);
}

#[test]
fn brokers_that_are_slow_are_waited_for() {
    let slow = |cluster: &Cluster, millis| {
        for broker in 1..=BROKERS {
            let time = Duration::from_millis(millis);
            cluster.broker_round_trip_time(broker, time).unwrap();
        }
    };
    let worse = |cluster: &Cluster, round: u32| slow(cluster, [0, 150, 700][round as usize % 3]);
    compare("is-slow", WINDOWS[1], worse, |cluster| slow(cluster, 0));
}

/// No other broker takes over what one leads in the mock, so one that is down is gone for everybody.
#[test]
fn brokers_that_go_down_by_turns_are_waited_for() {
    let worse = |cluster: &Cluster, round: u32| {
        let broker = 1 + round as i32 % BROKERS;
        cluster.broker_down(broker).unwrap();
        pause(Duration::from_millis(150));
        cluster.broker_up(broker).unwrap();
    };
    compare("goes-down", WINDOWS[3], worse, |_| {});
}
