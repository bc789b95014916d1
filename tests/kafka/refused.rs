//! What cannot work is one error that says what to do.

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;

use penstock::sink::kafka::{KafkaSinkSettings, Lane, LaneProducer, LaneTopic};
use penstock::source::kafka::{FaultKind, KafkaFault, KafkaSettings, KafkaSource};
use penstock_servers::Kafka;

use super::member::{Watch, settings};
use crate::support::servers::kafka::{SHARED, create};

fn connect(settings: &KafkaSettings, stop: bool) -> KafkaFault {
    let connected = KafkaSource::connect(settings, Watch::start(), &AtomicBool::new(stop));
    connected.expect_err("it cannot work")
}

#[track_caller]
fn assert_told(fault: &KafkaFault, kind: FaultKind, parts: &[&str]) {
    let told = fault.to_string();
    assert_eq!(fault.kind, kind, "{told}");
    for part in parts {
        assert!(told.contains(part), "`{part}` is not in: {told}");
    }
    assert!(
        !told.contains("not-to-be-shown") && !told.contains("a guess"),
        "{told}"
    );
}

fn login(password: &str) -> [(&str, &str); 4] {
    [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", Kafka::USER.0),
        ("sasl.password", password),
    ]
}

#[test]
fn wrong_credentials_are_refused_at_once() {
    let (bootstrap, topic) = (SHARED.sasl_bootstrap(), "kafka-login");
    create(&SHARED.bootstrap(), topic, 1);
    let fault = connect(&settings(&bootstrap, topic, &login("a guess")), false);
    let parts = [
        bootstrap.as_str(),
        "Authentication failed",
        "`sasl.password`",
    ];
    assert_told(&fault, FaultKind::Denied, &parts);

    let right = settings(&bootstrap, topic, &login(Kafka::USER.1));
    let source = KafkaSource::connect(&right, Watch::start(), &AtomicBool::new(false));
    assert_eq!(source.unwrap().partitions(), 1);
}

#[test]
fn a_sink_is_refused_as_a_source_is() {
    let bootstrap = SHARED.sasl_bootstrap();
    create(&SHARED.bootstrap(), "kafka-sink-login", 1);
    let open = |topic: &str, password: &str| {
        let own = [("bootstrap", bootstrap.as_str()), ("topic", topic)];
        let entries = own
            .iter()
            .chain(&login(password))
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>();
        let to = LaneTopic::new(
            &KafkaSinkSettings::parse(entries).unwrap(),
            Lane::new("p", 0),
        );
        LaneProducer::open(to, &AtomicBool::new(false))
    };
    let fault = open("kafka-sink-login", "a guess").unwrap_err();
    assert_told(
        &fault,
        FaultKind::Denied,
        &["Authentication failed", "`sasl.password`"],
    );
    let fault = open("kafka-sink-lgoin", Kafka::USER.1).unwrap_err();
    assert_told(
        &fault,
        FaultKind::Missing,
        &["did you mean `kafka-sink-login`"],
    );
    open("kafka-sink-login", Kafka::USER.1).unwrap();
}

#[test]
fn a_missing_topic_is_told_with_those_that_are_like_it() {
    let bootstrap = SHARED.bootstrap();
    create(&bootstrap, "kafka-missing-rides", 1);
    let fault = connect(&settings(&bootstrap, "kafka-mising-rides", &[]), false);
    let parts = [
        "no topic `kafka-mising-rides`",
        "did you mean `kafka-missing-rides`",
    ];
    assert_told(&fault, FaultKind::Missing, &parts);
    let fault = connect(&settings(&bootstrap, "something-else-entirely", &[]), false);
    assert_told(&fault, FaultKind::Missing, &["make the topic"]);
}

#[test]
fn a_broker_that_is_not_there_is_told_with_the_reason() {
    // A port that was just free. A stop is set, or this would try for half a minute.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let bootstrap = format!("127.0.0.1:{port}");
    let fault = connect(&settings(&bootstrap, "rides", &[]), true);
    let parts = [bootstrap.as_str(), "Connection refused", "check `brokers`"];
    assert_told(&fault, FaultKind::Unreachable, &parts);
    let fault = connect(&settings("no-such-host.invalid:9092", "rides", &[]), true);
    assert_told(
        &fault,
        FaultKind::Unreachable,
        &["no-such-host.invalid:9092", "resolve"],
    );
}

#[test]
fn a_listener_that_speaks_no_tls_is_told() {
    let bootstrap = SHARED.bootstrap();
    let tls = [("security.protocol", "SSL")];
    let fault = connect(&settings(&bootstrap, "rides", &tls), true);
    let parts = [bootstrap.as_str(), "SSL handshake failed"];
    assert_told(&fault, FaultKind::Unreachable, &parts);
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let more = [
        ("session.timeout.ms", "60000"),
        ("max.poll.interval.ms", "1000"),
    ];
    let fault = connect(&settings("127.0.0.1:1", "rides", &more), true);
    assert_told(
        &fault,
        FaultKind::Setting,
        &["max.poll.interval.ms", "session.timeout.ms"],
    );
}
