//! What live pipelines publish, as those who read committed messages see it.

mod history;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::BinaryArray;
use arrow::datatypes::{Field, Schema};
use penstock::clock::{Clock, SystemClock};
use penstock::config::types::parse_type;
use penstock::source::decode::message::{MessageDecoder, MessageFormat};
use penstock::source::messages::Messages;
use penstock_servers::{Kafka, Server};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use self::stream::{PARTITIONS, SESSIONS, Stream, TUMBLING, refusals, texts, topic};
use crate::support::servers::kafka::{Consumed, SHARED, assert_in_order, consume, create};
use crate::support::servers::start;

#[test]
fn what_is_published_is_what_a_recorded_run_writes() {
    let (bootstrap, name) = (SHARED.bootstrap(), "live-sinks");
    let out = ["live-sinks-rows", "live-sinks-arrow", "live-sinks-dead"];
    out.iter().for_each(|topic| create(&bootstrap, topic, 3));
    let topics = [
        topic("rows", &bootstrap, out[0], "format = \"json\""),
        topic("arrow_rows", &bootstrap, out[1], "format = \"arrow\""),
        topic("dead_letters", &bootstrap, out[2], ""),
    ];
    let outputs = "topics = [\"rows\", \"arrow_rows\"]\nrejects = { topic = \"dead_letters\" }\nlate = { topic = \"dead_letters\" }";
    let stream = Stream::new(&bootstrap, name, TUMBLING, &topics.concat(), outputs);
    // So rarely that what is to be sent does not stay in memory until then.
    let text = stream.folder.text("totals.toml");
    let text = text.replace("commit_every = \"5ms\"", "commit_every = \"3s\"");
    stream.folder.write("totals.toml", text);
    let recorded = stream.recorded("totals");
    for part in [
        "topic `rows`",
        "topic `arrow_rows`",
        "rejects go to totals.rejects.ndjson",
    ] {
        assert!(recorded.told.contains(part), "{}", recorded.told);
    }
    assert!(
        !recorded.rejects.is_empty() && !recorded.late.is_empty() && !recorded.invalid.is_empty()
    );
    let withdrawn = |line: &String| line.contains("\"revision\":1");
    assert!(
        recorded.rows.iter().any(withdrawn),
        "no window was corrected"
    );

    stream.write(0..1, 1);
    let mut running = stream.start(&["totals"]);
    let count = recorded.rows.len();
    let rows = stream.consumed(&mut running, &bootstrap, out[0], count);
    let arrow = stream.consumed(&mut running, &bootstrap, out[1], count);
    let refused = recorded.rejects.len() + recorded.late.len();
    let refused = stream.consumed(&mut running, &bootstrap, out[2], refused);
    running.stop();

    assert_eq!(texts(&rows), recorded.rows);
    [&rows, &arrow, &refused]
        .into_iter()
        .for_each(|messages| assert_in_order(messages));
    for message in &rows {
        let row: Value = serde_json::from_str(message.text()).unwrap();
        assert_eq!(
            message.key.as_deref().unwrap(),
            row["key"].to_string().as_bytes()
        );
        let end: jiff::Timestamp = row["window_end"].as_str().unwrap().parse().unwrap();
        assert_eq!(message.timestamp, Some(end.as_millisecond()));
        let lane = format!("totals/{}", row["key"].as_i64().unwrap() % 2);
        assert_eq!(message.lane().0, lane);
        assert_eq!(message.header("penstock-generation"), "1");
    }
    // Both topics have the same rows, each in its form.
    let place = |message: &Consumed| {
        let (lane, at) = message.lane();
        (lane.to_owned(), at)
    };
    let by_place: BTreeMap<_, _> = rows.iter().map(|it| (place(it), it)).collect();
    assert_eq!(arrow.len(), rows.len());
    for message in &arrow {
        let json = by_place[&place(message)];
        assert_eq!(
            (&json.key, json.timestamp),
            (&message.key, message.timestamp)
        );
        let row: Value = serde_json::from_str(json.text()).unwrap();
        assert_eq!(decoded(message), row_of(&row));
    }

    let of = |what: &str| {
        let is_of = format!("/{what}");
        let messages = refused.iter();
        refusals(messages.filter(move |it| it.lane().0.ends_with(&is_of)))
    };
    assert_eq!(of("rejects"), recorded.rejects);
    assert_eq!(of("late"), recorded.late);
    // Files are written next to topics.
    for (file, expected) in [
        ("totals", &recorded.rows),
        ("totals.invalid", &recorded.invalid),
    ] {
        let lines =
            (0..PARTITIONS).map(|lane| stream.folder.text(&format!("out/{file}/{lane}.ndjson")));
        let lines = lines.collect::<String>();
        let mut lines: Vec<&str> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, *expected, "{file}");
    }
}

/// What an Arrow message says, by Penstock's own decoder.
fn decoded(message: &Consumed) -> Vec<String> {
    let types = [
        ("key", "int64"),
        ("window_start", "timestamp[us, UTC]"),
        ("window_end", "timestamp[us, UTC]"),
        ("revision", "uint32"),
        ("rows", "uint64"),
        ("sum", "float64"),
        ("last_note", "utf8"),
    ];
    let fields = types.map(|(name, text)| {
        let data_type = parse_type(text).unwrap();
        Field::new(name, data_type, true)
    });
    let wanted = Arc::new(Schema::new(fields.to_vec()));
    let mut decoder = MessageDecoder::new(&MessageFormat::ArrowIpc(None), &wanted).unwrap();
    let messages = Messages {
        split: 0,
        offsets: vec![message.offset].into(),
        timestamps: vec![0].into(),
        keys: BinaryArray::new_null(1),
        values: BinaryArray::from(vec![message.value.as_deref().unwrap()]),
        headers: None,
    };
    let decoded = decoder.decode(&messages, 0).unwrap();
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    assert_eq!(decoded.rows.num_rows(), 1);
    row_of(&serde_json::from_str(&penstock::text::record_lines(&decoded.rows).unwrap()[0]).unwrap())
}

fn row_of(row: &Value) -> Vec<String> {
    let names = [
        "key",
        "window_start",
        "window_end",
        "revision",
        "rows",
        "sum",
        "last_note",
    ];
    names.map(|name| row[name].to_string()).to_vec()
}

#[test]
fn a_killed_pipeline_publishes_each_row_once_and_in_order() {
    const PARTS: usize = 8;
    let (bootstrap, name) = (SHARED.bootstrap(), "live-killed");
    let out = ["live-killed-rows", "live-killed-dead"];
    out.iter().for_each(|topic| create(&bootstrap, topic, 3));
    let topics = [
        topic("rows", &bootstrap, out[0], ""),
        topic("dead_letters", &bootstrap, out[1], ""),
    ];
    let outputs = "topics = [\"rows\"]\nrejects = { topic = \"dead_letters\" }\nlate = { topic = \"dead_letters\" }\ninvalid = { topic = \"dead_letters\" }";
    let stream = Stream::new(&bootstrap, name, SESSIONS, &topics.concat(), outputs);
    let recorded = stream.recorded("totals");
    let mut random = Pcg64::seed_from_u64(7);
    let clock = SystemClock::start();
    for part in 0..PARTS {
        let mut running = stream.start(&["totals"]);
        // The sooner half of the parts is written when it runs.
        let before = consume(&bootstrap, out[0]).len();
        stream.write(part..part + 1, PARTS);
        if part + 1 == PARTS {
            stream.consumed(&mut running, &bootstrap, out[0], recorded.rows.len());
            let refused = recorded.rejects.len() + recorded.late.len() + recorded.invalid.len();
            stream.consumed(&mut running, &bootstrap, out[1], refused);
            running.stop();
            break;
        }
        stream.consumed(&mut running, &bootstrap, out[0], before + 1);
        let time = Duration::from_micros(random.random_range(0..100_000));
        clock.wait(clock.now() + time, &AtomicBool::new(false));
        running.kill();
    }
    let rows = consume(&bootstrap, out[0]);
    assert_in_order(&rows);
    assert_eq!(texts(&rows), recorded.rows);
    let dead = consume(&bootstrap, out[1]);
    assert_in_order(&dead);
    let of = |what: &str| {
        let is_of = format!("/{what}");
        dead.iter()
            .filter(move |it| it.lane().0.ends_with(&is_of))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(refusals(of("rejects").iter()), recorded.rejects);
    assert_eq!(refusals(of("late").iter()), recorded.late);
    assert_eq!(texts(&of("invalid")), recorded.invalid);
    let epochs: BTreeSet<u64> = rows.iter().map(|it| it.lane().1.0).collect();
    println!("rows of {} epochs", epochs.len());
    assert!(epochs.len() > 2, "{epochs:?}");

    // A new beginning has new rows, which are no old ones.
    let lane = |messages: &[Consumed]| messages.iter().map(|it| it.lane().1).max();
    let before = lane(&rows);
    let mut running = stream.start_with(&["totals.toml", "--fresh"]);
    let all = stream.consumed(&mut running, &bootstrap, out[0], 2 * recorded.rows.len());
    running.stop();
    let new: Vec<Consumed> = all
        .iter()
        .filter(|it| Some(it.lane().1.0) > before.map(|it| it.0))
        .cloned()
        .collect();
    assert_eq!(texts(&new), recorded.rows);
}

/// The events are at one broker, and what comes of them goes to another one, which does not always answer.
#[test]
fn a_broker_that_goes_away_is_waited_for_and_nothing_comes_twice() {
    let mut kafka: Server<Kafka> = start(Kafka);
    let (bootstrap, out) = (kafka.bootstrap(), "live-away-rows");
    create(&bootstrap, out, 2);
    let topics = topic("rows", &bootstrap, out, "");
    let stream = Stream::new(
        &SHARED.bootstrap(),
        "live-away",
        TUMBLING,
        &topics,
        "topics = [\"rows\"]",
    );
    let recorded = stream.recorded("totals");
    let mut running = stream.start(&["totals"]);
    stream.write(0..1, 6);
    stream.consumed(&mut running, &bootstrap, out, 1);
    kafka.kill().unwrap();
    stream.write(1..2, 6);
    kafka.start_again().unwrap();
    let some = consume(&bootstrap, out).len();
    stream.write(2..3, 6);
    stream.consumed(&mut running, &bootstrap, out, some + 1);

    // A stop is heard while nobody answers, and what was not sent is sent by whoever comes next.
    kafka.freeze().unwrap();
    stream.write(3..4, 6);
    running.until_logged("Kafka does not answer");
    running.stop();
    let log = stream.folder.text("log");
    assert!(log.contains("not everything was sent"), "{log}");
    kafka.thaw().unwrap();
    // So it is after a kill, whatever became of the transaction that was being committed.
    let mut running = stream.start(&["totals"]);
    let some = consume(&bootstrap, out).len();
    stream.write(4..5, 6);
    stream.consumed(&mut running, &bootstrap, out, some + 1);
    kafka.freeze().unwrap();
    stream.write(5..6, 6);
    running.until_logged("Kafka does not answer");
    running.kill();
    kafka.thaw().unwrap();
    let mut running = stream.start(&["totals"]);
    stream.consumed(&mut running, &bootstrap, out, recorded.rows.len());
    running.stop();
    let rows = consume(&bootstrap, out);
    assert_in_order(&rows);
    assert_eq!(texts(&rows), recorded.rows);
}

#[test]
fn two_pipelines_publish_to_one_topic() {
    let (bootstrap, name, out) = (SHARED.bootstrap(), "live-two", "live-two-rows");
    create(&bootstrap, out, 1);
    let topics = topic("rows", &bootstrap, out, "");
    let outputs = "topics = [\"rows\"]";
    let stream = Stream::new(&bootstrap, name, TUMBLING, &topics, outputs);
    stream.pipeline("visits", "visits", SESSIONS, outputs);
    let toml = stream.folder.text("penstock.toml");
    // Each pipeline is a group of its own.
    stream.folder.write(
        "penstock.toml",
        toml.replace(&format!("group = \"{name}\", "), ""),
    );
    let (totals, visits) = (stream.recorded("totals"), stream.recorded("visits"));
    stream.write(0..1, 1);
    let mut running = stream.start(&["totals", "visits"]);
    let count = totals.rows.len() + visits.rows.len();
    let rows = stream.consumed(&mut running, &bootstrap, out, count);
    running.stop();
    assert_in_order(&rows);
    for (pipeline, recorded) in [("totals/", totals), ("visits/", visits)] {
        let rows = rows.iter().filter(|it| it.lane().0.starts_with(pipeline));
        assert_eq!(
            texts(&rows.cloned().collect::<Vec<_>>()),
            recorded.rows,
            "{pipeline}"
        );
    }
}

#[test]
fn what_cannot_be_published_to_is_one_error() {
    let (bootstrap, sasl) = (SHARED.bootstrap(), SHARED.sasl_bootstrap());
    create(&bootstrap, "live-refused-rows", 1);
    let outputs = "topics = [\"rows\"]";
    let login = |topic: &str, password: &str| {
        format!(
            "[environments.live.topics.rows]\nkafka = {{ brokers = \"{sasl}\", topic = \"{topic}\", security.protocol = \"SASL_PLAINTEXT\", sasl.mechanism = \"PLAIN\", sasl.username = \"{}\", sasl.password = \"{password}\" }}\n",
            Kafka::USER.0
        )
    };
    let cases = [
        (
            login("live-refused-rwos", Kafka::USER.1),
            "did you mean `live-refused-rows`",
        ),
        (
            login("live-refused-rows", "a guess"),
            "Authentication failed",
        ),
        (String::new(), "[environments.live.topics.rows]"),
    ];
    for (number, (topics, told)) in cases.iter().enumerate() {
        let name = format!("live-refused-{number}");
        let stream = Stream::new(&bootstrap, &name, TUMBLING, topics, outputs);
        let ended = stream
            .folder
            .penstock(&["run", "totals.toml", "--env", "live"]);
        let told = ended.fails(2, &["rows", told]);
        assert!(
            !told.contains("a guess") && !told.contains(Kafka::USER.1),
            "{told}"
        );
    }
}

#[test]
fn validation_shows_where_everything_goes() {
    let (bootstrap, name) = ("127.0.0.1:1", "live-shown");
    let topics = [
        topic("rows", bootstrap, "rows-v1", "format = \"arrow\""),
        topic("dead_letters", bootstrap, "dead", ""),
    ];
    let outputs = "topics = [\"rows\"]\nlate = { topic = \"dead_letters\" }";
    let shared = SHARED.bootstrap();
    let stream = Stream::new(&shared, name, TUMBLING, &topics.concat(), outputs);
    let live = stream
        .folder
        .penstock(&["validate", "totals.toml", "--env", "live"])
        .fine();
    for part in [
        "rows: Kafka topic `rows-v1` at 127.0.0.1:1, as arrow",
        "late: Kafka topic `dead` at 127.0.0.1:1, as json",
        "rejects: a file of each lane, out/totals.rejects/LANE.ndjson",
        "features: a file of each lane, out/totals/LANE.ndjson",
        "features: store store",
    ] {
        assert!(live.contains(part), "{part} is not in:\n{live}");
    }
    let recorded = stream
        .folder
        .penstock(&["validate", "totals.toml", "--env", "p0"])
        .fine();
    for part in [
        "late: recorded0/totals.late.ndjson",
        "not written here: topic `rows`",
        "late go to totals.late.ndjson",
    ] {
        assert!(recorded.contains(part), "{part} is not in:\n{recorded}");
    }
}
