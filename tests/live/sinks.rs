//! What live pipelines publish, as those who read committed messages see it.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::BinaryArray;
use penstock::clock::{Clock, SystemClock};
use penstock::config::types::parse_type;
use penstock::source::decode::message::{MessageDecoder, MessageFormat};
use penstock::source::messages::Messages;
use penstock_servers::{Kafka, Server};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::servers::kafka::{
    Consumed, LIMIT, SHARED, Writer, assert_in_order, consume, create,
};
use crate::support::servers::start;
use crate::support::{Ended, Folder, transform};

/// Partitions of the stream.
const PARTITIONS: i32 = 2;
/// Rows of each.
const ROWS: usize = 4_000;
/// The key of the last row of each partition, which is so late that it closes every other window.
const LAST: &str = "999999";

const TUMBLING: &str = "kind = \"tumbling\"\nsize = [\"1m\", \"5m\"]\nallowed_lateness = \"2m\"";
const SESSIONS: &str = "kind = \"session\"\ngap = \"15s\"\nallowed_lateness = \"30s\"";

/// A stream, and a pipeline over it: as recorded files, one of each partition, and live.
struct Stream {
    folder: Folder,
    bootstrap: String,
    name: String,
    lines: Vec<Vec<String>>,
}

impl Stream {
    /// `name` is that of everything on the broker at `bootstrap`, where the events are. `topics` are those of
    /// `penstock.toml`, and `outputs` the keys of the pipeline's outputs.
    fn new(bootstrap: &str, name: &str, window: &str, topics: &str, outputs: &str) -> Self {
        let folder = Folder::new();
        let mut random = Pcg64::seed_from_u64(name.len() as u64);
        let lines: Vec<Vec<String>> = (0..PARTITIONS).map(|it| lines(&mut random, it)).collect();
        let mut environments = String::new();
        for (partition, lines) in lines.iter().enumerate() {
            folder.write(&format!("events/{partition}.ndjson"), lines.join("\n"));
            environments.push_str(&format!(
                "[environments.p{partition}]\noutput = \"recorded{partition}\"\nstore = \"recorded-store\"\n[environments.p{partition}.events.entry]\nfiles = \"events/{partition}.ndjson\"\n{EVENT}"
            ));
        }
        environments.push_str(&format!(
            "[environments.live]\noutput = \"out\"\nstore = \"store\"\n[environments.live.events.entry]\nkafka = {{ brokers = \"{bootstrap}\", topic = \"{name}\", group = \"{name}\", instance = \"one\", batch_messages = 100, {QUICK} }}\n{EVENT}{topics}"
        ));
        folder.write("penstock.toml", environments);
        let stream = Self {
            folder,
            bootstrap: bootstrap.to_owned(),
            name: name.to_owned(),
            lines,
        };
        stream.pipeline("totals", "rows", window, outputs);
        create(bootstrap, name, PARTITIONS);
        stream
    }

    /// Writes a pipeline over the stream.
    fn pipeline(&self, name: &str, prefix: &str, window: &str, outputs: &str) {
        let text = format!(
            r#"
event = "entry"
transform = {:?}
key = ["key"]
group = "key"
[window]
{window}
disorder = "5s"
[[feature]]
name = "{prefix}_{{window}}"
column = "rows"
type = "uint64"
[[feature]]
name = "{prefix}_sum_{{window}}"
column = "sum"
type = "float64"
validation = {{ max = 900.0 }}
[outputs]
features = "{name}.ndjson"
{outputs}
[run]
commit_every = "5ms"
"#,
            transform("ledger")
        );
        self.folder.write(&format!("{name}.toml"), text);
    }

    /// Sends what stands in these parts of each partition, of so many.
    fn write(&self, parts: std::ops::Range<usize>, of: usize) {
        let writer = Writer::new(&self.bootstrap, &self.name);
        for (partition, lines) in self.lines.iter().enumerate() {
            let at = |part| lines.len() * part / of;
            writer.write(partition as i32, &lines[at(parts.start)..at(parts.end)]);
        }
    }

    /// What runs over the recorded events write to one of a pipeline's files, line by line and sorted: what comes of
    /// everything but the last row.
    fn recorded(&self, pipeline: &str) -> Recorded {
        let mut recorded = Recorded::default();
        for partition in 0..PARTITIONS {
            let arguments = [
                "run",
                &format!("{pipeline}.toml"),
                "-q",
                "--env",
                &format!("p{partition}"),
            ];
            let told = self.folder.penstock(&arguments);
            assert_eq!(told.code(), Some(0), "{}", told.stderr());
            recorded.told = told.stderr();
            let lines = |name: &str| {
                let path = self
                    .folder
                    .path(&format!("recorded{partition}/{pipeline}.{name}"));
                let text = std::fs::read_to_string(path).unwrap_or_default();
                text.lines()
                    .filter(|line| !is_last(line))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            recorded.rows.extend(lines("ndjson"));
            recorded.invalid.extend(lines("invalid.ndjson"));
            let refused = |lines: Vec<String>| {
                let at = |line: &String| refusal(partition, &serde_json::from_str(line).unwrap());
                lines.iter().map(at).collect::<Vec<_>>()
            };
            recorded.rejects.extend(refused(lines("rejects.ndjson")));
            recorded.late.extend(refused(lines("late.ndjson")));
        }
        recorded.rows.sort();
        recorded.invalid.sort();
        recorded.rejects.sort();
        recorded.late.sort();
        recorded
    }

    /// Starts the program over the live stream.
    fn start(&self, pipelines: &[&str]) -> Running {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path("log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .arg("run")
            .args(pipelines.iter().map(|name| format!("{name}.toml")))
            .args(["--env", "live"])
            .current_dir(self.folder.path(""))
            .env("PENSTOCK_CACHE", self.folder.path("cache"))
            .env_remove("PENSTOCK_LOG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Running {
            child,
            log: self.folder.path("log"),
        }
    }

    /// What is in a topic once so many messages are there.
    #[track_caller]
    fn consumed(
        &self,
        running: &mut Running,
        bootstrap: &str,
        topic: &str,
        count: usize,
    ) -> Vec<Consumed> {
        let clock = SystemClock::start();
        loop {
            let seen = consume(bootstrap, topic);
            if seen.len() >= count {
                return seen;
            }
            let is_waited_for = clock.now() < LIMIT && running.child.try_wait().unwrap().is_none();
            assert!(
                is_waited_for,
                "{} of {count} messages in {topic}:\n{}",
                seen.len(),
                running.log()
            );
        }
    }
}

const EVENT: &str = "event_time = \"at\"\nschema = { at = \"timestamp[ms, UTC]\", key = \"int64\", amount = \"float64\", note = \"utf8\" }\n";
const QUICK: &str = "session.timeout.ms = 6000, heartbeat.interval.ms = 200, fetch.wait.max.ms = 50, reconnect.backoff.max.ms = 500";

/// What runs over recorded events leave.
#[derive(Default)]
struct Recorded {
    rows: Vec<String>,
    invalid: Vec<String>,
    rejects: Vec<(i64, i64, String)>,
    late: Vec<(i64, i64, String)>,
    /// What the last of them said.
    told: String,
}

/// The program at work.
struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it as an operator would.
    #[track_caller]
    fn stop(mut self) {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Ends it as a power cut would.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_last(line: &str) -> bool {
    line.contains(&format!("\"key\":{LAST}"))
}

/// Lines of a partition, whose keys are its own.
fn lines(random: &mut Pcg64, partition: i32) -> Vec<String> {
    let mut now = 0.0_f64;
    let mut lines: Vec<String> = (0..ROWS)
        .map(|_| {
            now += random.random_range(0.0..0.4);
            let behind = match random.random_range(0..100) {
                0..80 => 0.0,
                80..97 => random.random_range(0.0..40.0),
                _ => random.random_range(90.0..600.0),
            };
            let at = ((now - behind).max(0.0) * 1000.0) as i64 + 1_700_000_000_000;
            let key = 2 * random.random_range(0..20) + partition;
            match random.random_range(0..100) {
                0 => format!("{{\"at\": broken {at}"),
                1 => format!("{{\"at\":{at},\"key\":null}}"),
                2 => format!("{{\"at\":{at},\"key\":{key},\"amount\":-1.5}}"),
                _ => {
                    let amount = random.random_range(0.0..100.0_f64);
                    format!("{{\"at\":{at},\"key\":{key},\"amount\":{amount},\"note\":\"n{at}\"}}")
                }
            }
        })
        .collect();
    lines.push(format!(
        "{{\"at\":1800000000000,\"key\":{LAST},\"amount\":1}}"
    ));
    lines
}

/// Where a refused row stood, and why it was refused.
fn refusal(partition: i32, line: &Value) -> (i64, i64, String) {
    let text = |name: &str| line[name].as_str().unwrap();
    let (partition, offset) = match line["line"].as_i64() {
        Some(line) => (i64::from(partition), line - 1),
        None => {
            let (_, partition) = text("file").rsplit_once('/').unwrap();
            (partition.parse().unwrap(), line["offset"].as_i64().unwrap())
        }
    };
    (
        partition,
        offset,
        format!("{}: {}", text("stage"), text("code")),
    )
}

/// A table of `penstock.toml` for a topic.
fn topic(name: &str, bootstrap: &str, topic: &str, more: &str) -> String {
    format!(
        "[environments.live.topics.{name}]\nkafka = {{ brokers = \"{bootstrap}\", topic = \"{topic}\", reconnect.backoff.max.ms = 500 }}\n{more}\n"
    )
}

fn texts(messages: &[Consumed]) -> Vec<String> {
    let mut texts: Vec<String> = messages
        .iter()
        .map(|message| message.text().to_owned())
        .collect();
    texts.sort();
    texts
}

fn refusals<'a>(messages: impl Iterator<Item = &'a Consumed>) -> Vec<(i64, i64, String)> {
    let mut refusals: Vec<_> = messages
        .map(|message| refusal(0, &serde_json::from_str(message.text()).unwrap()))
        .collect();
    refusals.sort();
    refusals
}

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
        arrow::datatypes::Field::new(name, data_type, true)
    });
    let wanted = Arc::new(arrow::datatypes::Schema::new(fields.to_vec()));
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
    let epochs: std::collections::BTreeSet<u64> = rows.iter().map(|it| it.lane().1.0).collect();
    println!("rows of {} epochs", epochs.len());
    assert!(epochs.len() > 2, "{epochs:?}");

    // A new beginning has new rows, which are no old ones.
    let lane = |messages: &[Consumed]| messages.iter().map(|it| it.lane().1).max();
    let before = lane(&rows);
    let child = stream.start_fresh();
    let mut running = child;
    let all = stream.consumed(&mut running, &bootstrap, out[0], 2 * recorded.rows.len());
    running.stop();
    let new: Vec<Consumed> = all
        .iter()
        .filter(|it| Some(it.lane().1.0) > before.map(|it| it.0))
        .cloned()
        .collect();
    assert_eq!(texts(&new), recorded.rows);
}

impl Stream {
    /// As [`Stream::start`], of everything from the start of the stream on.
    fn start_fresh(&self) -> Running {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path("log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["run", "totals.toml", "--env", "live", "--fresh"])
            .current_dir(self.folder.path(""))
            .env("PENSTOCK_CACHE", self.folder.path("cache"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Running {
            child,
            log: self.folder.path("log"),
        }
    }
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
    stream.write(0..1, 4);
    stream.consumed(&mut running, &bootstrap, out, 1);
    kafka.kill().unwrap();
    stream.write(1..2, 4);
    kafka.start_again().unwrap();
    let some = stream.consumed(&mut running, &bootstrap, out, 2).len();
    stream.consumed(&mut running, &bootstrap, out, some);

    // A stop is heard while nobody answers, and what was not sent is sent by whoever comes next.
    kafka.freeze().unwrap();
    stream.write(2..3, 4);
    let clock = SystemClock::start();
    clock.wait(Duration::from_millis(500), &AtomicBool::new(false));
    running.stop();
    kafka.thaw().unwrap();
    let mut running = stream.start(&["totals"]);
    stream.write(3..4, 4);
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
        let ended: Ended = stream
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
