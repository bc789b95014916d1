//! Kafka, by its own tools.

use penstock_servers::{Kafka, Server};

use crate::support::Folder;
use crate::support::servers::kafka::{SHARED, done, make_topic, tool};
use crate::support::servers::start;

/// Everything in a topic of one partition, a line for each record. The tool stops after `count`.
fn consume(kafka: &Server<Kafka>, topic: &str, count: u32) -> String {
    let count = count.to_string();
    let arguments = [
        "--topic",
        topic,
        "--from-beginning",
        "--max-messages",
        &count,
    ];
    done(kafka, "consumer.ConsoleConsumer", &arguments, "")
}

fn produce(kafka: &Server<Kafka>, topic: &str, lines: &str) {
    done(kafka, "ConsoleProducer", &["--topic", topic], lines);
}

#[test]
fn records_come_back_and_topics_do_not_make_themselves() {
    make_topic(&SHARED, "round-trip", 1);
    produce(&SHARED, "round-trip", "a\nb\nc\n");
    assert_eq!(consume(&SHARED, "round-trip", 3), "a\nb\nc\n");
    let topics = done(&SHARED, "TopicCommand", &["--list"], "");
    assert!(
        topics.lines().any(|topic| topic == "round-trip"),
        "{topics}"
    );
    let bootstrap = SHARED.bootstrap();
    let unknown = [
        "--bootstrap-server",
        &bootstrap,
        "--describe",
        "--topic",
        "nobody-made-it",
    ];
    let told = tool(&SHARED, "TopicCommand", &unknown, "");
    assert!(!told.status.success());
}

#[test]
fn wrong_credentials_are_refused() {
    let folder = Folder::new();
    let bootstrap = SHARED.sasl_bootstrap();
    let (user, right) = Kafka::USER;
    let list = |password: &str| {
        let login = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{user}\" password=\"{password}\";"
        );
        let settings = folder.write(
            "client.properties",
            format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={login}\n"
            ),
        );
        let settings = settings.to_str().unwrap();
        let arguments = [
            "--bootstrap-server",
            &bootstrap,
            "--command-config",
            settings,
            "--list",
        ];
        tool(&SHARED, "TopicCommand", &arguments, "")
    };
    let welcome = list(right);
    assert!(welcome.status.success(), "{welcome:?}");
    let refused = list("a guess");
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("Authentication failed"), "{told}");
}

#[test]
fn records_outlive_a_stop_and_a_kill() {
    let mut kafka = start(Kafka);
    let before = kafka.bootstrap();
    make_topic(&kafka, "kept", 1);
    produce(&kafka, "kept", "before the stop\n");
    kafka.stop().unwrap();
    assert!(kafka.freeze().is_err(), "there is nothing to freeze");
    kafka.start_again().unwrap();
    produce(&kafka, "kept", "before the kill\n");
    kafka.kill().unwrap();
    kafka.start_again().unwrap();
    assert_eq!(kafka.bootstrap(), before);
    assert_eq!(
        consume(&kafka, "kept", 2),
        "before the stop\nbefore the kill\n"
    );
}
