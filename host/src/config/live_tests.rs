//! Live streams as they are declared, and `cases/live.txt`, a table of wrong ones.

use super::*;
use crate::config::cases::check_cases;
use crate::config::{Environment, Source};

pub(super) const RIGHT: &str = r#"[environments.local.events.ride_offer]
event_time = "occurred_at"
schema = { occurred_at = "timestamp[us, UTC]", driver_id = "int64!", message_key = "utf8" }
message_columns = { key = "message_key", headers = "h", partition = "p", offset = "o", timestamp = "t" }
on_missing = "earliest"
partitioned_by_key = false
[environments.local.events.ride_offer.kafka]
brokers = "a:9092,b:9092"
topic = "ride-offers"
session.timeout.ms = 30_000
"sasl.password" = "${KAFKA_PASSWORD}"
start = 2026-01-31T12:00:00Z
"enable.metrics.push" = false

[environments.avro.events.ride_offer]
kafka = { brokers = "a:9092", topic = "ride-offers" }
format = "avro"
avro = { registry = "http://localhost:8081", user = "u", password = "${P}", timeout = "5s", tries = 2 }
event_time = "occurred_at"
schema = { message_key = "utf8" }
message_columns = { key = "message_key" }

[environments.avro_file.events.ride_offer]
kafka = { brokers = "a:9092", topic = "ride-offers" }
format = "avro"
avro = { file = "ride_offer.avsc", framed = true }
event_time = "occurred_at"

[environments.protobuf.events.ride_offer]
kafka = { brokers = "a:9092", topic = "ride-offers" }
format = "protobuf"
protobuf = { descriptor_set = "rides.desc", message = "rides.v1.RideOffer" }
event_time = "occurred_at"

[environments.aws.events.ride_offer]
kinesis = { stream = "s", region = "eu-central-1", start = "trim_horizon" }
format = "arrow"
arrow = { file = "one.arrow" }
event_time = "at"
"#;

/// The live event of an environment, and all of its declared columns.
fn live(name: &str) -> (LiveSource, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("penstock.toml"), RIGHT).unwrap();
    let environment = Environment::find_and_load(folder.path(), name).unwrap();
    let event = &environment.events["ride_offer"];
    let Source::Live(live) = &event.source else {
        panic!("{name} has a live stream");
    };
    let columns = event.schema.as_ref().map(|schema| columns_of(schema));
    (live.as_ref().clone(), columns)
}

fn columns_of(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        let bang = if field.is_nullable() { "" } else { "!" };
        let name = crate::config::types::type_name(field.data_type());
        format!("{}: {name}{bang}", field.name())
    });
    columns.collect::<Vec<_>>().join(", ")
}

#[test]
fn settings_are_kept_as_they_are_written() {
    let (live, columns) = live("local");
    let Stream::Kafka(settings) = &live.stream else {
        panic!("it is a topic");
    };
    let entries: Vec<_> = settings
        .entries
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        entries,
        [
            ("brokers", "a:9092,b:9092"),
            ("topic", "ride-offers"),
            ("session.timeout.ms", "30000"),
            ("sasl.password", "${KAFKA_PASSWORD}"),
            ("start", "2026-01-31T12:00:00Z"),
            ("enable.metrics.push", "false"),
        ]
    );
    assert_eq!(live.stream.to_string(), "Kafka topic `ride-offers`");
    assert!(!format!("{live:?}").contains("KAFKA_PASSWORD"));
    assert_eq!(
        (live.on_missing, live.partitioned_by_key),
        (OnMissing::Earliest, false)
    );
    assert_eq!(
        columns.unwrap(),
        "occurred_at: timestamp[us, UTC], driver_id: int64!, message_key: utf8, \
         h: list[struct{name: utf8!, value: binary}!]!, p: int32!, o: int64!, t: timestamp[us, UTC]"
    );
    assert_eq!(
        columns_of(&live.body.unwrap()),
        "occurred_at: timestamp[us, UTC], driver_id: int64!"
    );
}

#[test]
fn formats_are_read() {
    let (avro, columns) = live("avro");
    let LiveFormat::AvroRegistry(registry) = &avro.format else {
        panic!("it is a registry: {:?}", avro.format);
    };
    assert_eq!(registry.url.expose(), "http://localhost:8081");
    assert_eq!(
        (registry.timeout, registry.tries),
        (Some(5_000_000), Some(2))
    );
    assert_eq!(registry.credentials.as_ref().unwrap().1.expose(), "${P}");
    // Only the type of the key is declared, so the registry says the rest.
    assert!(avro.body.is_none() && columns.is_none());
    assert_eq!(avro.message_columns.key_type, DataType::Utf8);
    assert_eq!(avro.on_missing, OnMissing::Stop);
    assert!(avro.partitioned_by_key);

    assert!(matches!(
        live("avro_file").0.format,
        LiveFormat::AvroFile { framed: true, .. }
    ));
    assert!(matches!(
        live("protobuf").0.format,
        LiveFormat::Protobuf { framed: false, .. }
    ));
    let (aws, _) = live("aws");
    assert!(matches!(aws.format, LiveFormat::Arrow { file: Some(_) }));
    assert_eq!(aws.stream.to_string(), "Kinesis stream `s`");
}

#[test]
fn wrong_live_streams_are_refused_as_the_table_says() {
    check_cases("live.txt", include_str!("cases/live.txt"), RIGHT, |text| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("penstock.toml"), text).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let outcome = Environment::find_and_load(folder.path(), "local");
        let shown =
            outcome.map_or_else(|error| error.to_string(), |_| "nothing is wrong".to_owned());
        let shown = shown.replace(&format!("{}/", root.display()), "");
        shown.replace(&format!("{}/", folder.path().display()), "")
    });
}
