//! Errors that a broker seldom gives, from librdkafka's mock of one. It fakes transactions, so what
//! becomes visible is asked of the real broker, in `publish.rs`.

use std::sync::atomic::AtomicBool;

use penstock::sink::kafka::{FaultKind, LaneProducer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Answer};

use super::member::{Cursors, Member, settings};
use super::publish::{at, row, to};

static STOP: AtomicBool = AtomicBool::new(false);

fn broker(topic: &str) -> MockCluster<'static, DefaultProducerContext> {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(topic, 1, 1).unwrap();
    broker
}

#[test]
fn what_can_be_retried_is() {
    let broker = broker("t");
    let to = to(&broker.bootstrap_servers(), "t", 0, &[]);
    let mut lane = LaneProducer::open(to, &STOP).unwrap();
    lane.begin().unwrap();
    lane.send(&row(at(1, 0), "k", "v")).unwrap();
    let busy = [Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 3];
    broker.request_errors(Request::EndTxn, &busy);
    let lost = [Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 2];
    broker.request_errors(Request::Produce, &lost);
    lane.commit().unwrap();
}

#[test]
fn what_needs_an_abort_gets_one_and_can_be_sent_again() {
    let broker = broker("t");
    let to = to(&broker.bootstrap_servers(), "t", 0, &[]);
    let mut lane = LaneProducer::open(to, &STOP).unwrap();
    lane.begin().unwrap();
    let denied = [Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    broker.request_errors(Request::AddPartitionsToTxn, &denied);
    lane.send(&row(at(1, 0), "k", "v")).unwrap();
    let fault = lane.commit().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Aborted, "{fault}");
    assert!(
        fault.to_string().contains("nothing of it was published"),
        "{fault}"
    );
    lane.begin().unwrap();
    lane.send(&row(at(1, 0), "k", "v")).unwrap();
    lane.commit().unwrap();
}

#[test]
fn a_fenced_producer_is_of_no_use_any_more() {
    let broker = broker("t");
    let to = to(&broker.bootstrap_servers(), "t", 0, &[]);
    let mut lane = LaneProducer::open(to, &STOP).unwrap();
    lane.begin().unwrap();
    lane.send(&row(at(1, 0), "k", "v")).unwrap();
    broker.request_errors(
        Request::EndTxn,
        &[Answer::RD_KAFKA_RESP_ERR_PRODUCER_FENCED],
    );
    assert_eq!(lane.commit().unwrap_err().kind, FaultKind::Fenced);
    assert_eq!(lane.begin().unwrap_err().kind, FaultKind::Fenced);
}

#[test]
fn a_right_that_is_missing_is_told_by_name() {
    let broker = broker("t");
    let bootstrap = broker.bootstrap_servers();
    let denied = [Answer::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED];
    broker.request_errors(Request::InitProducerId, &denied);
    let fault = LaneProducer::open(to(&bootstrap, "t", 0, &[]), &STOP).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.to_string().contains("transactional id"), "{fault}");

    // A group may be granted while somebody waits for it.
    let denied = [Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 2];
    broker.request_errors(Request::JoinGroup, &denied);
    let mut member = Member::join(&settings(&bootstrap, "t", &[]), &Cursors::default());
    member.until("it is told", |it| {
        it.was_told("to read the topic and the group")
    });
    member.until("it joins", |it| it.started.contains_key(&0));
    member.leave();
}

#[test]
fn a_place_that_is_not_told_at_once_is_asked_for_again() {
    let broker = broker("t");
    let mut member = Member::join(
        &settings(&broker.bootstrap_servers(), "t", &[]),
        &Cursors::default(),
    );
    let denied = [Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 2];
    broker.request_errors(Request::ListOffsets, &denied);
    member.until("it is told", |it| {
        it.was_told("find where to start partition 0")
    });
    member.until("it starts", |it| it.started.contains_key(&0));
    member.leave();
}
