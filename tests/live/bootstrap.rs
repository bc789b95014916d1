//! Pipelines that begin with recorded history leave what pipelines leave that read the whole topic.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use super::pipeline::{Left, Pipeline, pause, wait};
use super::topic::Topic;
use crate::crash::stream::{WINDOWS, event};
use crate::support::cases;
use crate::support::servers::kafka::{LIMIT, delete_before};
use crate::support::servers::s3;

const RUN: &str = "commit_every = \"5ms\"";

/// Records what is in the topic by now, with the declarations of a pipeline. Gives the summary.
fn record(pipeline: &Pipeline, to: &str, more: &[&str]) -> Value {
    let recorded = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args([
            "record", "entry", "--to", to, "--until", "end", "--quiet", "--json",
        ])
        .args(more)
        .current_dir(pipeline.folder.path(""))
        .env("INSTANCE", "")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&recorded.stderr);
    assert!(recorded.status.success(), "{errors}");
    serde_json::from_slice(&recorded.stdout).unwrap()
}

/// Adds to the event's declaration.
fn declare(pipeline: &Pipeline, line: &str) {
    let text = pipeline.folder.text("penstock.toml");
    let changed = text.replace(
        "event_time = \"at\"\n",
        &format!("event_time = \"at\"\n{line}\n"),
    );
    assert!(changed != text, "{text}");
    pipeline.folder.write("penstock.toml", changed);
}

fn bootstrapped(topic: &Topic, group: &str, window: &str, run: &str, from: &str) -> Pipeline {
    let pipeline = Pipeline::over(topic, group, window, run);
    declare(&pipeline, &format!("bootstrap = {from:?}"));
    pipeline
}

/// Deletes from the topic what was recorded.
fn delete_recorded(topic: &Topic, recorded: &Value) {
    for (partition, recorded) in recorded["partitions"].as_object().unwrap() {
        let partition = partition.parse().unwrap();
        let to = recorded["to"].as_i64().unwrap();
        delete_before(&topic.bootstrap, &topic.name, partition, to);
    }
}

/// What the last process of a pipeline told of its bootstrap.
fn told(pipeline: &Pipeline) -> Value {
    let summary: Value = serde_json::from_str(&pipeline.folder.text("one.stdout")).unwrap();
    summary[0]["bootstrap"].clone()
}

#[test]
fn history_and_stream_together_leave_what_the_topic_leaves() {
    let mut in_the_middle = 0;
    for seed in 0..u64::from(cases(3).cases) {
        let name = format!("bootstrap-{seed}");
        let window = WINDOWS[(seed as usize * 2 + 1) % WINDOWS.len()];
        let (partitions, lanes) = (1 + seed as u32 % 2, 1 + (seed as u32 / 2) % 2);
        let run = format!("lanes = {lanes}\n{RUN}");
        let mut topic = Topic::new(&name, partitions, seed);
        topic.write(120_000);
        let whole = Pipeline::over(&topic, &format!("{name}-whole"), window, &run);
        let history = whole.folder.path("history");
        let recorded = record(&whole, "history", &["--rows-per-file", "6000"]);
        topic.write(1_500);
        let expected = whole.finish(&topic, "one");

        let from = history.to_str().unwrap();
        let calm = bootstrapped(&topic, &format!("{name}-calm"), window, &run, from);
        calm.finish(&topic, "one")
            .is(&expected, &format!("seed {seed}"));
        let expected_told = json!({"records": 120_000, "is_approximate": false});
        assert_eq!(told(&calm), expected_told);

        // The topic has no more than what the recording does not have, and processes are killed.
        delete_recorded(&topic, &recorded);
        let killed = bootstrapped(&topic, &format!("{name}-killed"), window, &run, from);
        let mut random = Pcg64::seed_from_u64(seed);
        for number in 0..4_u64 {
            let mut process = killed.start("one");
            wait(
                || {
                    process.is_alive();
                    // Once it is through it says nothing of that.
                    let told = process.stderr();
                    told.contains("bootstrap from recorded history")
                        || told.contains("partitions are ours")
                            && topic.is_done_by(&format!("{name}-killed"))
                },
                || "it has begun".to_owned(),
            );
            // The first one comes at once, however fast the machine is.
            pause(Duration::from_millis(random.random_range(0..=50 * number)));
            // The last one goes of itself.
            match number {
                0..3 => process.kill(),
                _ => drop(process.stop()),
            }
            let told = killed.folder.text("one.stderr");
            let begun = told.matches("bootstrap from recorded history").count();
            in_the_middle += usize::from(begun > told.matches("bootstrap is through").count());
        }
        let left = killed.finish(&topic, "one");
        left.is(&expected, &format!("seed {seed}, killed"));
    }
    assert!(in_the_middle > 0, "no kill came before history was through");
}

#[test]
fn a_day_window_is_whole_though_the_topic_holds_little_of_it() {
    let window = "kind = \"hopping\"\nsize = [\"10m\", \"2d\"]\nslide = \"10m\"";
    let mut topic = Topic::new("bootstrap-days", 2, 11);
    // A third of a day of events, of which the topic keeps the last minutes.
    topic.pass_hourly(8, 600);
    let whole = Pipeline::over(&topic, "bootstrap-days-whole", window, RUN);
    let recorded = record(&whole, "history", &["--rows-per-file", "1000"]);
    topic.write(400);
    let expected = whole.finish(&topic, "one");
    delete_recorded(&topic, &recorded);
    let history = whole.folder.path("history");
    let from = history.to_str().unwrap();
    let begun = bootstrapped(&topic, "bootstrap-days-begun", window, RUN, from);
    begun
        .finish(&topic, "one")
        .is(&expected, "the one with history");
}

#[test]
fn history_on_object_storage() {
    let server = s3::start();
    server.make_bucket("recordings").unwrap();
    let mut topic = Topic::new("bootstrap-s3", 2, 5);
    topic.write(1_500);
    let with_options = |pipeline: &Pipeline| {
        let text = pipeline.folder.text("penstock.toml");
        let text = format!("{text}{}", s3::options(server.port()));
        pipeline.folder.write("penstock.toml", text);
    };
    let whole = Pipeline::over(&topic, "bootstrap-s3-whole", WINDOWS[0], RUN);
    with_options(&whole);
    record(
        &whole,
        "s3://recordings/entries",
        &["--rows-per-file", "300"],
    );
    topic.write(500);
    let expected = whole.finish(&topic, "one");
    let from = "s3://recordings/entries";
    let begun = bootstrapped(&topic, "bootstrap-s3-begun", WINDOWS[0], RUN, from);
    with_options(&begun);
    delete_before(&topic.bootstrap, &topic.name, 0, 300);
    delete_before(&topic.bootstrap, &topic.name, 1, 300);
    begun
        .finish(&topic, "one")
        .is(&expected, "the one with history");
}

#[test]
fn what_lies_between_history_and_stream_is_told() {
    let mut topic = Topic::new("bootstrap-gap", 1, 3);
    topic.write(800);
    let whole = Pipeline::over(&topic, "bootstrap-gap-whole", WINDOWS[0], RUN);
    record(&whole, "history", &[]);
    topic.write(300);
    delete_before(&topic.bootstrap, &topic.name, 0, 900);
    let history = whole.folder.path("history");
    let from = history.to_str().unwrap();
    let begun = bootstrapped(&topic, "bootstrap-gap-begun", WINDOWS[0], RUN, from);
    let process = begun.start("one");
    process.fails(
        2,
        &[
            "the recording ends at 800 and the topic begins at 900, so 100 messages are in neither",
            "on_missing",
        ],
    );
    declare(&begun, "on_missing = \"earliest\"");
    let left: Left = begun.finish(&topic, "one");
    assert_eq!(left.read(), 1_000);
}

#[test]
fn what_is_no_history_of_the_topic_is_refused() {
    let mut topic = Topic::new("bootstrap-refused", 1, 3);
    topic.write(50);
    let whole = Pipeline::over(&topic, "bootstrap-refused-whole", WINDOWS[0], RUN);
    record(&whole, "dropped", &["--drop", "amount"]);
    fs::write(
        whole.folder.path("key"),
        "0123456789abcdef0123456789abcdef\n",
    )
    .unwrap();
    record(
        &whole,
        "hashed",
        &["--hash", "key", "--hash-key-file", "key"],
    );
    record(&whole, "sampled", &["--sample", "50%", "--by", "key"]);
    let told = |from: &str, expected: &[&str]| {
        let path = whole.folder.path(from);
        let from = path.to_str().unwrap();
        let begun = bootstrapped(&topic, "bootstrap-refused-begun", WINDOWS[0], RUN, from);
        begun
            .start("one")
            .fails(2, &[expected, &["penstock.toml"]].concat());
    };
    told("dropped", &["`amount`"]);
    told("hashed", &["of column `key` it has hashes only"]);
    told("sampled", &["it is a sample"]);
    told("nowhere", &["nowhere"]);
}

/// Events in the order of a stream, each with its key, without those that are no rows.
fn events(seed: u64, count: usize) -> Vec<(u32, String)> {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut now = 0.0;
    let events = std::iter::from_fn(|| {
        now += random.random_range(0.0..0.4);
        Some(event(&mut random, now))
    });
    let is_row =
        |(_, line): &(u32, String)| !line.contains("broken") && !line.contains("\"key\":null");
    events.filter(is_row).take(count).collect()
}

/// The event time of a line, in milliseconds.
fn at(line: &str) -> i64 {
    let line: Value = serde_json::from_str(line).unwrap();
    line["at"].as_i64().unwrap()
}

/// Writes events as producers do that choose partitions in this way.
fn produce<'a>(topic: &Topic, partitioner: &str, events: impl Iterator<Item = &'a (u32, String)>) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &topic.bootstrap)
        .set("enable.idempotence", "true")
        .set("partitioner", partitioner);
    let producer: BaseProducer = config.create().unwrap();
    for (_, line) in events {
        let parsed: Value = serde_json::from_str(line).unwrap();
        let key = parsed["key"].to_string();
        let record = BaseRecord::to(&topic.name).key(key.as_bytes());
        producer
            .send(record.payload(line.trim_end().as_bytes()))
            .unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(LIMIT).unwrap();
}

#[test]
fn files_without_offsets_are_joined_by_time() {
    let mut in_the_middle = 0;
    for (seed, partitioner, name) in [
        (1, "murmur2_random", "murmur2"),
        (2, "consistent_random", "consistent_random"),
    ] {
        let events = events(seed, 90_000);
        let (history, rest) = events.split_at(84_000);
        let until = history.iter().map(|(_, line)| at(line)).max().unwrap();
        // What came later and is older is in neither: that is the limit.
        let is_after = |event: &&(u32, String)| at(&event.1) > until;
        let topic_name = format!("bootstrap-files-{name}-expected");
        let topic = Topic::new(&topic_name, 3, seed);
        produce(
            &topic,
            partitioner,
            history.iter().chain(rest.iter().filter(is_after)),
        );
        let whole = Pipeline::over(&topic, &topic_name, WINDOWS[0], RUN);
        whole.finish(&topic, "one");

        // History ends in the middle of the topic.
        let topic_name = format!("bootstrap-files-{name}");
        let topic = Topic::new(&topic_name, 3, seed);
        produce(&topic, partitioner, history[78_000..].iter().chain(rest));
        let lines: String = history.iter().map(|(_, line)| line.as_str()).collect();
        let begun = Pipeline::over(&topic, &topic_name, WINDOWS[0], RUN);
        begun.folder.write("history/a.ndjson", lines);
        let line = format!("bootstrap = {{ files = \"history\", partitioner = {name:?} }}");
        declare(&begun, &line);
        for number in 0..2 {
            let process = begun.start("one");
            wait(
                || process.stderr().contains("joined by event time"),
                || "it has begun".to_owned(),
            );
            pause(Duration::from_millis(50 * number));
            process.kill();
            let told = begun.folder.text("one.stderr");
            let begun = told.matches("joined by event time").count();
            in_the_middle += usize::from(begun > told.matches("bootstrap is through").count());
        }
        let left = begun.finish(&topic, "one");
        assert_eq!(begun.store(), whole.store(), "{name}");
        let is_older = |event: &&(u32, String)| !is_after(event);
        let passed_over = rest.iter().filter(is_older).count();
        assert_eq!(told(&begun)["is_approximate"], true);
        assert_eq!(left.read(), 90_000 - passed_over as u64, "{name}");

        // Producers that divide the topic otherwise are found out before anything is read.
        let wrong = Pipeline::over(&topic, &format!("{topic_name}-wrong"), WINDOWS[0], RUN);
        wrong
            .folder
            .write("history/a.ndjson", begun.folder.text("history/a.ndjson"));
        let other = if seed == 1 { "consistent" } else { "murmur2" };
        let line = format!("bootstrap = {{ files = \"history\", partitioner = {other:?} }}");
        declare(&wrong, &line);
        wrong.start("one").fails(
            2,
            &[
                "belong to other partitions",
                "correct `partitioner`",
                "Nothing was read",
            ],
        );
    }
    assert!(in_the_middle > 0, "no kill came before history was through");
}

#[test]
fn files_without_offsets_need_a_partitioner() {
    let topic = Topic::new("bootstrap-unclear", 1, 3);
    let told = |line: &str, expected: &[&str]| {
        let begun = Pipeline::over(&topic, "bootstrap-unclear", WINDOWS[0], RUN);
        let events: String = events(1, 10).into_iter().map(|(_, line)| line).collect();
        begun.folder.write("history/a.ndjson", events);
        begun
            .folder
            .write("recorded/p=0/00000000000000000000.parquet", "PAR1");
        declare(&begun, line);
        begun
            .start("one")
            .fails(2, &[expected, &["penstock.toml"]].concat());
    };
    told("bootstrap = \"history\"", &["partitioner = \"murmur2\""]);
    told(
        "bootstrap = { files = \"history\", partitioner = \"murmur3\" }",
        &["did you mean `murmur2`?"],
    );
    told(
        "bootstrap = { files = \"history\", partitioner = \"murmur2\", key = \"kee\" }",
        &["reads no column `kee`", "did you mean `key`?"],
    );
    told(
        "bootstrap = { files = \"history\", partitioner = \"murmur2\", key = \"amount\" }",
        &["column `amount` is float64"],
    );
    told(
        "bootstrap = \"recorded/**/*.parquet\"",
        &["`penstock record` has written", "name the folder"],
    );
}
