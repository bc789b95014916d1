//! `cases/topics.txt` of the room of configurations: a table of wrong topics.

use super::*;
use crate::config::cases::check_cases;

const RIGHT: &str = r#"[environments.local.events.offer]
kafka = { brokers = "a:9092", topic = "offers" }
event_time = "at"
schema = { at = "timestamp[us, UTC]", driver = "int64" }
[environments.local.topics.driver_features]
kafka = { brokers = "a:9092", topic = "driver-features-v1", "compression.type" = "lz4", timeout_seconds = 30 }
format = "arrow"
[environments.local.topics.second]
kafka = { brokers = "b:9092", topic = "driver-features-v1" }
[environments.local.topics.dead_letters]
kafka.brokers = "a:9092"
kafka.topic = "${CARGO_PKG_NAME}"
"#;

const PIPELINE: &str = r#"event = "offer"
transform = "t.wasm"
key = "driver"
group = "driver"
window = { kind = "tumbling", size = "1m" }
feature = [{ name = "offers", type = "uint64" }]
[outputs]
topics = ["driver_features", "second"]
rejects = { topic = "dead_letters" }
invalid = { topic = "dead_letters" }
"#;

fn topics(text: &str) -> Result<OutputTopics, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("penstock.toml"), text).unwrap();
    std::fs::write(folder.path().join("t.wasm"), "").unwrap();
    std::fs::write(folder.path().join("p.toml"), PIPELINE).unwrap();
    let pipeline = Pipeline::load(&folder.path().join("p.toml")).unwrap();
    let source = [("brokers", "a:9092"), ("topic", "offers"), ("group", "g")];
    let source = source.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let source = KafkaSettings::parse(source).unwrap();
    let found = Environment::find_and_load(folder.path(), "local")
        .and_then(|environment| OutputTopics::of(&pipeline, &environment, Some(&source)));
    let root = folder.path().canonicalize().unwrap();
    found.map_err(|error| {
        let shown = error
            .to_string()
            .replace(&format!("{}/", root.display()), "");
        shown.replace(&format!("{}/", folder.path().display()), "")
    })
}

#[test]
fn topics_are_found_with_their_settings() {
    let topics = topics(RIGHT).unwrap();
    let shown: Vec<String> = topics
        .all()
        .map(|(what, topic)| format!("{what} {} {} {topic}", topic.name, topic.format.name()))
        .collect();
    assert_eq!(
        shown,
        [
            "rows driver_features arrow Kafka topic `driver-features-v1` at a:9092",
            "rows second json Kafka topic `driver-features-v1` at b:9092",
            "rejects dead_letters json Kafka topic `penstock` at a:9092",
            "invalid dead_letters json Kafka topic `penstock` at a:9092",
        ]
    );
    assert_eq!(topics.rows[0].settings.timeout.as_secs(), 30);
}

#[test]
fn wrong_topics_are_refused_as_the_table_says() {
    let cases = include_str!("../config/cases/topics.txt");
    check_cases("topics.txt", cases, RIGHT, |text| match topics(text) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(shown) => shown,
    });
}
