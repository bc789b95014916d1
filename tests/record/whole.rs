//! What was produced is what was recorded, with its place; a second recording adds what is new.

use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use super::{files, folder, offer, offsets, recorded, rejects, summary};
use crate::support::servers::kafka::{LIMIT, SHARED, Writer, create, delete_before};

/// A whole second of the last hours: of what is older the broker lets go.
fn lately() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() - 3_600).unwrap()
}

fn at(began: Timestamp, millis: i64) -> String {
    let at = Timestamp::from_millisecond(began.as_millisecond() + millis);
    at.unwrap().to_string()
}

#[test]
fn a_recording_holds_what_was_produced_and_goes_on() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-whole");
    create(&bootstrap, topic, 3);
    let folder = folder(
        topic,
        "message_columns = { headers = \"headers\", partition = \"kafka_partition\" }",
    );
    let writer = Writer::new(&bootstrap, topic);
    let began = lately();
    let send = |partition: i32, from: usize, to: usize| {
        for number in from..to {
            let (key, value) = (format!("k{number}"), offer(number, "plain"));
            let record = BaseRecord::to(topic).partition(partition);
            let headers = OwnedHeaders::new().insert(Header {
                key: "n",
                value: Some(&number.to_string()),
            });
            let record = record.key(key.as_bytes()).payload(value.as_bytes());
            let time = began.as_millisecond() + number as i64;
            writer.send(record.headers(headers).timestamp(time));
        }
        writer.flush();
    };
    send(0, 0, 2_500);
    send(1, 0, 10);
    // A message that is no JSON, one with a wrong type, and a deletion.
    writer.write(1, ["{\"offer_id\":", "{\"driver_id\":\"seven\"}"]);
    writer.send(
        BaseRecord::<[u8], [u8]>::to(topic)
            .partition(1)
            .key(b"gone"),
    );
    writer.flush();

    let first = summary(&folder, &["--rows-per-file", "1000"]);
    assert_eq!(first["counts"]["read"], 2_513);
    assert_eq!(
        (&first["counts"]["written"], &first["counts"]["rejected"]),
        (&json!(2_510), &json!(3))
    );
    assert_eq!(first["partitions"]["1"]["to"], 13);
    let out = folder.path("out");
    let rows = recorded(&out);
    assert_eq!(offsets(&rows[&0]), (0..2_500).collect::<Vec<i64>>());
    assert_eq!(offsets(&rows[&1]), (0..10).collect::<Vec<i64>>());
    assert!(!rows.contains_key(&2));
    let row = &rows[&0][1234];
    let hex = |text: &str| {
        text.bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        *row,
        json!({
            "offer_id": "o1234", "occurred_at": "2026-01-31T00:20:34Z", "driver_id": 34, "accepted": false,
            "note": "plain", "headers": [{"name": "n", "value": hex("1234")}], "kafka_partition": 0,
            "kafka_offset": 1234, "kafka_timestamp": at(began, 1234), "kafka_key": hex("k1234"),
        })
    );
    let told = rejects(&out);
    let short: Vec<_> = told
        .iter()
        .map(|reject| {
            (
                reject["partition"].clone(),
                reject["offset"].clone(),
                reject["code"].clone(),
            )
        })
        .collect();
    assert_eq!(
        json!(short),
        json!([
            [1, 10, "malformed_json"],
            [1, 11, "wrong_type"],
            [1, 12, "no_value"]
        ])
    );
    assert_eq!(told[0]["record"], "{\"offer_id\":");
    assert_eq!(
        told[0]["detail"],
        "byte 13: expected a value, found the end of the line"
    );

    // What came meanwhile is added, and nothing else.
    send(0, 2_500, 2_600);
    send(2, 0, 5);
    let second = summary(&folder, &[]);
    assert_eq!(second["counts"]["read"], 105);
    let third = summary(&folder, &[]);
    assert_eq!(
        (&third["counts"]["read"], &third["files"]),
        (&json!(0), &json!(0))
    );
    let rows = recorded(&out);
    assert_eq!(offsets(&rows[&0]), (0..2_600).collect::<Vec<i64>>());
    assert_eq!(offsets(&rows[&2]), (0..5).collect::<Vec<i64>>());
    assert_eq!(rejects(&out).len(), 3);

    // Another choice of columns is another recording.
    let other = [&super::ALL[..], &["--drop", "note"]].concat();
    folder
        .penstock(&other)
        .fails(2, &["was recorded with the columns", "name another folder"]);
}

#[test]
fn what_transactions_leave_between_messages_is_no_gap() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-transactions");
    create(&bootstrap, topic, 1);
    let folder = folder(topic, "");
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &bootstrap)
        .set("transactional.id", topic);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    let send = |numbers: std::ops::Range<usize>| {
        producer.begin_transaction().unwrap();
        for number in numbers {
            let value = offer(number, "");
            producer
                .send(BaseRecord::<[u8], [u8]>::to(topic).payload(value.as_bytes()))
                .unwrap();
        }
        producer.flush(LIMIT).unwrap();
    };
    send(0..5);
    producer.commit_transaction(LIMIT).unwrap();
    send(5..9);
    producer.abort_transaction(LIMIT).unwrap();
    let first = summary(&folder, &[]);
    assert_eq!(first["counts"]["written"], 5);
    // Behind the last message stand the ends of both transactions, and what was aborted.
    assert_eq!(first["partitions"]["0"]["to"], 5);
    send(9..12);
    producer.commit_transaction(LIMIT).unwrap();
    let second = summary(&folder, &[]);
    assert_eq!(
        (
            &second["partitions"]["0"]["from"],
            &second["counts"]["written"]
        ),
        (&json!(5), &json!(3))
    );
    assert_eq!(
        offsets(&recorded(&folder.path("out"))[&0]),
        [0, 1, 2, 3, 4, 11, 12, 13]
    );
}

#[test]
fn a_time_is_where_it_begins_and_where_it_ends() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-times");
    create(&bootstrap, topic, 2);
    let folder = folder(topic, "");
    let writer = Writer::new(&bootstrap, topic);
    let began = lately();
    let second = |number: i64| began.as_millisecond() + number * 1_000;
    for number in 0..20 {
        let value = offer(number, "");
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0);
        writer.send(
            record
                .payload(value.as_bytes())
                .timestamp(second(number as i64)),
        );
    }
    writer.flush();
    let instant = |number: i64| at(began, number * 1_000);
    let timed = |to: &str, from: &str, until: &str| {
        let arguments = [
            "record",
            "ride_offer",
            "--env",
            "live",
            "--to",
            to,
            "--from",
            from,
            "--until",
            until,
            "--quiet",
        ];
        folder.penstock(&arguments).fine();
        recorded(&folder.path(to))
            .get(&0)
            .map(|rows| offsets(rows))
            .unwrap_or_default()
    };
    assert_eq!(timed("a", &instant(3), &instant(7)), [3, 4, 5, 6]);
    // The same folder goes on where it was, whatever --from says.
    assert_eq!(timed("a", "latest", &instant(9)), [3, 4, 5, 6, 7, 8]);
    assert_eq!(timed("b", "latest", "end"), [0; 0]);
    writer.write(0, [offer(20, "")]);
    // What is recorded from `latest` on has its beginning in the folder.
    assert_eq!(timed("b", "earliest", "end"), [20]);
    assert!(files(&folder.path("b")).contains_key(&0));
}

#[test]
fn what_was_deleted_before_it_was_recorded_is_never_passed_over_silently() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-deleted");
    create(&bootstrap, topic, 1);
    let writer = Writer::new(&bootstrap, topic);
    let stops = folder(topic, "");
    let goes_on = folder(topic, "on_missing = \"earliest\"");
    writer.write(0, (0..10).map(|number| offer(number, "")));
    summary(&stops, &[]);
    summary(&goes_on, &[]);
    writer.write(0, (10..20).map(|number| offer(number, "")));
    delete_before(&bootstrap, topic, 0, 15);
    let arguments = [&super::ALL[..], &["--quiet"]].concat();
    let told = [
        "offset 10 is to be recorded next",
        "15 to 20 only",
        "on_missing",
    ];
    stops.penstock(&arguments).fails(1, &told);
    assert_eq!(
        offsets(&recorded(&stops.path("out"))[&0]),
        (0..10).collect::<Vec<i64>>()
    );

    let second = summary(&goes_on, &[]);
    assert_eq!(second["partitions"]["0"]["passed_over"], 5);
    let expected: Vec<i64> = (0..10).chain(15..20).collect();
    assert_eq!(offsets(&recorded(&goes_on.path("out"))[&0]), expected);
}
