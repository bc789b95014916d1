//! Topics that are not divided by the key: by way of a topic of partial states they leave what the same
//! events leave in a topic that is.

mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use self::stream::{Scattered, Spread, between};
use super::pipeline::{Pipeline, Process, beside, pause, wait};
use crate::crash::stream::KEYS;
use crate::support::servers::kafka::consume;

const TUMBLING: &str = "kind = \"tumbling\"\nsize = \"1m\"";
const LATE: &str = "kind = \"tumbling\"\nsize = [\"30s\", \"2m\"]\nallowed_lateness = \"2m\"";
const HOPPING: &str = "kind = \"hopping\"\nsize = [\"1m\", \"5m\"]\nslide = \"10s\"";

const RUN: &str = "lanes = 2\ncommit_every = \"10ms\"";

/// A pipeline over a topic, as it stands, or by way of so many partitions of partial states.
fn pipeline(topic: &Scattered, group: &str, window: &str, run: &str, by_way: u32) -> Pipeline {
    let pipeline = Pipeline::over(&topic.topic, group, window, run);
    if by_way > 0 {
        let text = pipeline.folder.text("penstock.toml");
        let event_time = "event_time = \"at\"";
        let between = between(group);
        let declared = format!(
            "{event_time}\npartitioned_by_key = false\nrepartition = {{ topic = \"{between}\", partitions = {by_way}, replication = 1 }}"
        );
        let text = text.replacen(event_time, &declared, 1);
        pipeline.folder.write("penstock.toml", text);
    }
    pipeline
}

/// What is left, with sums that may differ in their last digits.
#[derive(Debug)]
struct Left {
    /// By key and feature: the event time, and the value.
    store: BTreeMap<(u32, String), (i64, Option<f64>)>,
    events: Value,
    rejected: Value,
    windows: u64,
    /// The accounts of lanes of the first stage, and of those that have the windows.
    upstream: Value,
    lanes: Value,
}

impl Left {
    fn of(pipeline: &Pipeline, summary: &Value) -> Self {
        let lanes = &summary[0]["lanes"];
        let windows = lanes.as_object().unwrap().values();
        Self {
            store: stream::numbers(&pipeline.folder.path("store")),
            events: summary[0]["events"].clone(),
            rejected: summary[0]["rejected_by_reason"].clone(),
            windows: windows.map(|lane| lane["windows"].as_u64().unwrap()).sum(),
            upstream: summary[0]["upstream"].clone(),
            lanes: lanes.clone(),
        }
    }

    fn count(&self, what: &str) -> u64 {
        self.events[what].as_u64().unwrap_or(0)
    }

    /// Fails with what is different.
    #[track_caller]
    fn is(&self, expected: &Self, what: &str) {
        for count in [
            "read",
            "applied",
            "rejected",
            "late",
            "partly_late",
            "filtered",
        ] {
            let counts = (self.count(count), expected.count(count));
            assert_eq!(counts.0, counts.1, "{count} of {what}: {self:?}");
        }
        assert_eq!(self.rejected, expected.rejected, "{what}");
        assert_eq!(self.windows, expected.windows, "windows of {what}");
        assert_eq!(
            self.store.keys().collect::<Vec<_>>(),
            expected.store.keys().collect::<Vec<_>>(),
            "{what}"
        );
        for (of, (time, value)) in &self.store {
            let (expected_time, expected_value) = &expected.store[of];
            assert_eq!(time, expected_time, "{of:?} of {what}");
            let is_same = match (value, expected_value) {
                (Some(value), Some(expected)) => stream::is_close(*value, *expected),
                (value, expected) => value == expected,
            };
            assert!(is_same, "{of:?} of {what}: {value:?}, {expected_value:?}");
        }
    }

    /// Both stages account for every row, and nothing is on its way.
    #[track_caller]
    fn balances(&self) {
        let sum = |what: &[&str]| what.iter().map(|what| self.count(what)).sum::<u64>();
        assert_eq!(self.count("forwarded"), self.count("received"), "{self:?}");
        assert_eq!(
            self.count("read"),
            sum(&["applied", "rejected", "late", "quarantined"]),
            "{self:?}"
        );
    }
}

/// Waits until everything is committed by both stages, and both have all of their partitions.
fn catch_up(topic: &Scattered, pipeline: &Pipeline, by_way: u32, processes: &mut [&mut Process]) {
    let group = &pipeline.group;
    let processes = std::cell::RefCell::new(processes);
    wait(
        || {
            let mut alive = processes.borrow_mut();
            alive.iter_mut().for_each(|process| process.is_alive());
            topic.topic.is_done_by(group)
                && stream::is_done(
                    &topic.topic.bootstrap,
                    &between(group),
                    by_way,
                    &format!("{group}.partials"),
                )
        },
        || {
            let told = processes.borrow();
            let told = told.iter().map(|process| process.stderr());
            format!("both stages are done: {}", told.collect::<String>())
        },
    );
}

/// Works until both stages are done, in one process, and gives what is left.
fn finish(topic: &Scattered, pipeline: &Pipeline, by_way: u32) -> Left {
    let mut process = pipeline.start("last");
    wait(
        || {
            process.is_alive();
            let stderr = process.stderr();
            let upstream = stream::given(&stderr, "totals.upstream");
            let whole = stream::given(&stderr, "totals");
            upstream.len() == topic.topic.partitions as usize && whole.len() == by_way as usize
        },
        || "all partitions of both stages are ours".to_owned(),
    );
    catch_up(topic, pipeline, by_way, &mut [&mut process]);
    Left::of(pipeline, &process.stop())
}

/// What is left where the same events are divided by key.
fn by_key(name: &str, partitions: u32, seed: u64, events: u32, window: &str) -> Left {
    let mut topic = Scattered::new(&format!("{name}-by-key"), partitions, seed, Spread::ByKey);
    topic.write(events);
    topic.close();
    let group = format!("{name}-by-key");
    let pipeline = pipeline(&topic, &group, window, RUN, 0);
    pipeline.finish(&topic.topic, "one");
    let summary = serde_json::from_str(&pipeline.folder.text("one.stdout")).unwrap();
    Left::of(&pipeline, &summary)
}

#[test]
fn scattered_keys_leave_what_keys_in_their_partitions_leave() {
    for (seed, (window, by_way)) in (0..).zip([(TUMBLING, 2), (LATE, 3), (HOPPING, 1)]) {
        let name = format!("scattered-{seed}");
        let (partitions, events) = (3, 6_000);
        let mut topic = Scattered::new(&name, partitions, seed, Spread::Anyhow);
        let pipeline = pipeline(&topic, &name, window, RUN, by_way);
        let process = pipeline.start("first");
        // In pieces, so that a key in a pane comes to the second stage in many partial states.
        for _ in 0..20 {
            topic.write(events / 20);
            pause(Duration::from_millis(100));
        }
        topic.close();
        process.stop();
        let left = finish(&topic, &pipeline, by_way);
        left.is(&by_key(&name, partitions, seed, events, window), &name);
        left.balances();
        let counts = (left.count("received"), left.count("partials"));
        assert!(0 < counts.1 && counts.1 < counts.0, "{counts:?}");
        let lanes = |of: &Value| of.as_object().unwrap().len();
        assert_eq!(lanes(&left.upstream), 2 * partitions as usize);
        assert_eq!(lanes(&left.lanes), by_way as usize);
    }
}

#[test]
fn late_rows_are_counted_where_they_are_found_and_the_others_are_in_the_store() {
    let name = "scattered-late";
    let mut topic = Scattered::new(name, 2, 77, Spread::Late);
    topic.write(6_000);
    topic.close();
    let pipeline = pipeline(&topic, name, TUMBLING, RUN, 2);
    let left = finish(&topic, &pipeline, 2);
    left.balances();
    let late = stream::lines_in(&pipeline.folder.path("out/totals.late"));
    assert_eq!(late.len() as u64, left.count("late"));
    assert!(late.len() > 20, "there are late rows: {}", late.len());
    let expected = topic.sums(60_000, &late);
    let found: BTreeMap<u32, (i64, f64)> = (left.store.iter())
        .filter(|((_, feature), _)| feature == "sum_1m")
        .filter_map(|((key, _), (time, value))| Some((*key, (*time, (*value)?))))
        .collect();
    assert!(found.len() > 20, "{found:?}");
    for (key, (end, sum)) in found {
        let (last, expected) = expected[&key];
        assert_eq!(end, last * 1000, "the last window of key {key}");
        assert!(stream::is_close(sum, expected), "{key}: {sum}, {expected}");
    }
}

#[test]
fn killed_stages_go_on_and_leave_what_undisturbed_ones_leave() {
    let first = crate::crash::first_seed();
    for seed in first..first + u64::from(crate::support::cases(3).cases) {
        println!("seed {seed}");
        killed(seed);
    }
}

/// Two processes, of which one or the other is killed at any time while events come in: each has some
/// lanes of either stage.
fn killed(seed: u64) {
    let window = [TUMBLING, HOPPING, LATE][seed as usize % 3];
    let name = format!("scattered-killed-{seed}");
    let (partitions, by_way, events, pieces) = (2, 2, 6_000, 24);
    let mut topic = Scattered::new(&name, partitions, seed, Spread::Anyhow);
    let run = "lanes = 2\ncommit_every = \"5ms\"";
    let pipeline = pipeline(&topic, &name, window, run, by_way);
    let mut random = Pcg64::seed_from_u64(seed);
    let topic = beside(
        || {
            for _ in 0..pieces {
                topic.write(events / pieces);
                pause(Duration::from_millis(250));
            }
            topic.close();
            topic
        },
        || {
            let mut processes = ["one", "two"].map(|name| (name, Some(pipeline.start(name))));
            for _ in 0..4 {
                pause(Duration::from_millis(random.random_range(300..2_500)));
                let (name, process) = &mut processes[random.random_range(0..2)];
                process.take().unwrap().kill();
                *process = Some(pipeline.start(name));
            }
            for (_, process) in processes {
                process.unwrap().kill();
            }
        },
    );
    // Members that were killed have their places until their sessions end.
    let left = finish(&topic, &pipeline, by_way);
    left.is(&by_key(&name, partitions, seed, events, window), &name);
    left.balances();
    let messages = consume(&topic.topic.bootstrap, &between(&name));
    crate::support::servers::kafka::assert_in_order(&messages);
}

#[test]
fn what_comes_twice_counts_once_and_another_schema_is_refused() {
    let name = "scattered-twice";
    let mut topic = Scattered::new(name, 2, 5, Spread::Anyhow);
    let pipeline = pipeline(&topic, name, TUMBLING, RUN, 1);
    let process = pipeline.start("first");
    for _ in 0..10 {
        topic.write(200);
        pause(Duration::from_millis(100));
    }
    process.stop();
    finish(&topic, &pipeline, 1);
    let sent = consume(&topic.topic.bootstrap, &between(name));
    let values: Vec<Vec<u8>> = sent.iter().filter_map(|it| it.value.clone()).collect();
    let partials = values.iter().filter(|value| stream::has_states(value));
    let again: Vec<Vec<u8>> = partials.take(40).cloned().collect();
    assert!(!again.is_empty(), "{}", values.len());
    let writer = stream::writer(&topic.topic.bootstrap, &between(name));
    writer.write(0, &again);
    topic.write(1_000);
    topic.close();
    let left = finish(&topic, &pipeline, 1);
    left.balances();
    left.is(&by_key(name, 2, 5, 3_000, TUMBLING), name);
    let told = pipeline.folder.text("last.stderr");
    assert!(told.contains("a message came twice"), "{told}");
    // Messages of the same lane, of a later place, and of states that are not these.
    let mut other = again[0].clone();
    let digest = stream::digest_of(&other);
    other[digest] ^= 1;
    writer.write(0, [&other]);
    let process = pipeline.start("refused");
    process.fails(2, &["another schema", "--fresh"]);
    // Begun anew it forgets the topic between, too.
    let mut process = pipeline.start_with("fresh", |command| {
        command.arg("--fresh");
    });
    // Nobody knows that the group is done again, but by what is new; which is late by now.
    topic.write(200);
    catch_up(&topic, &pipeline, 1, &mut [&mut process]);
    let fresh = Left::of(&pipeline, &process.stop());
    fresh.balances();
    assert_eq!(fresh.count("read"), left.count("read") + 200);
    assert_eq!(fresh.count("applied"), left.count("applied"));
    assert_eq!(fresh.store.len(), left.store.len());
    for (of, (_, value)) in &fresh.store {
        let (value, before) = (value.unwrap(), left.store[of].1.unwrap());
        assert!(stream::is_close(value, before), "{of:?}: {value}, {before}");
    }
}

#[test]
fn a_hot_key_is_few_partial_states_to_the_lane_that_has_it() {
    let name = "scattered-hot";
    let mut topic = Scattered::new(name, 4, 9, Spread::Hot);
    let events = 20_000;
    topic.write(events);
    let window = "kind = \"tumbling\"\nsize = \"1d\"";
    let run = "commit_every = \"200ms\"";
    let pipeline = pipeline(&topic, name, window, run, 2);
    let left = finish(&topic, &pipeline, 2);
    left.balances();
    assert_eq!(left.count("read"), u64::from(events));
    let sent = consume(&topic.topic.bootstrap, &between(name));
    // A marker to each partition goes with every commit that has anything.
    let is_marker = |value: &[u8]| !stream::has_states(value);
    let markers = sent.iter().filter(|it| it.partition == 0);
    let markers = markers.filter(|it| it.value.as_deref().is_some_and(is_marker));
    let commits = markers.count() as u64;
    let partials = left.count("partials");
    // All events are in one pane, so a commit has one partial state of each key at most.
    assert!(
        partials <= commits * u64::from(KEYS),
        "{partials} partial states, {commits} commits"
    );
    assert!(partials < left.count("received") / 4, "{left:?}");
}

#[test]
fn what_cannot_go_through_partial_states_is_refused() {
    let name = "scattered-refused";
    let mut topic = Scattered::new(name, 2, 1, Spread::Anyhow);
    topic.write(10);
    for (number, (window, told)) in (0..).zip([
        ("kind = \"session\"\ngap = \"10s\"", "which session"),
        (
            "kind = \"unbounded\"\nttl = \"1h\"\nemit = { every = \"1m\" }",
            "`ttl`",
        ),
        (
            "kind = \"tumbling\"\nsize = \"1m\"\nemit = \"batch\"",
            "each batch",
        ),
    ]) {
        let group = format!("{name}-{number}");
        let pipeline = pipeline(&topic, &group, window, "", 2);
        let process = pipeline.start("one");
        process.fails(2, &["cannot go through a topic of partial states", told]);
    }
    let pipeline = pipeline(&topic, name, TUMBLING, "", 2);
    crate::support::servers::kafka::create(&topic.topic.bootstrap, &between(name), 3);
    let process = pipeline.start("one");
    process.fails(2, &["has 3 partitions, and is to have 2", "partitions = 3"]);
}

#[test]
fn a_partition_on_which_nothing_comes_holds_no_others_back() {
    let name = "scattered-idle";
    let mut topic = Scattered::new(name, 3, 4, Spread::NotTheLast);
    let window = format!("{TUMBLING}\nidle_after = \"500ms\"");
    let pipeline = pipeline(&topic, name, &window, RUN, 2);
    let process = pipeline.start("one");
    wait(
        || {
            // The others must not be idle themselves: then time would stand still.
            (0..20).for_each(|_| {
                topic.write(50);
                pause(Duration::from_millis(50));
            });
            stream::numbers(&pipeline.folder.path("store")).len() > 40
        },
        || format!("windows close: {}", process.stderr()),
    );
    process.stop();
}
