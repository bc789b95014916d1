//! Versions that are tried on live events beside the one at work, on a real broker.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::replayed::{RowsOfRun, figures, folder, rows_of_run};
use super::versions::{
    WINDOW, Wrong, generations, pipeline, same_but, successor, until_all_have, version,
};
use crate::crash::stream::{KEYS, event};
use crate::live::pipeline::{Pipeline, Process, wait};
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// Asks for a trial.
fn try_beside(pipeline: &Pipeline, bytes: Vec<u8>, more: &[&str]) {
    pipeline.folder.write("tried.wasm", bytes);
    let asked = ["swap", "totals", "tried.wasm", "--shadow"];
    let asked = pipeline.folder.penstock(&[&asked[..], more].concat());
    assert!(asked.fine().contains("shadow"));
}

/// What is said of the last trial beside the wanted generation.
fn shadow(pipeline: &Pipeline) -> Value {
    let status = pipeline.folder.penstock(&["status", "totals", "--json"]);
    let status: Value = serde_json::from_str(&status.fine()).unwrap();
    status["shadow"].clone()
}

/// Waits until so many lanes have a version beside them.
fn until_beside(pipeline: &Pipeline, lanes: u64) {
    let mut last = Value::Null;
    wait(
        || {
            last = shadow(pipeline);
            assert_eq!(last["fate"], "watched", "{last}");
            last["report"]["lanes"] == lanes
        },
        || format!("{lanes} lanes have a version beside them"),
    );
}

/// Waits until the last trial has ended, for which there are events as long as it takes. Gives what is said of it.
fn until_ended(pipeline: &Pipeline, topic: &mut Topic) -> Value {
    let mut ended = Value::Null;
    wait(
        || {
            topic.write(200);
            let history = pipeline.folder.penstock(&["history", "totals", "--json"]);
            let history: Value = serde_json::from_str(&history.fine()).unwrap();
            let shadows = history[0]["shadows"].as_array().unwrap();
            ended = shadows.last().unwrap().clone();
            ended["fate"] != "watched"
        },
        || "the trial has ended".to_owned(),
    );
    ended
}

/// The lines of a topic's partition, as [`Topic::write`] writes them.
fn lines(seed: u64, count: u32, partition: u32, partitions: u32) -> String {
    let (mut random, mut now) = (Pcg64::seed_from_u64(seed), 0.0);
    let all = (0..count).map(|_| {
        now += random.random_range(0.0..0.4);
        event(&mut random, now)
    });
    let of_partition = all.filter(|(key, _)| key % partitions == partition);
    of_partition.map(|(_, line)| line).collect()
}

/// A version that adds something to each row is tried by some hosts, of which each has a part of the topic.
fn finds_what_two_recorded_runs_show(name: &str, hosts: &[&str]) {
    const SEED: u64 = 31;
    let mut topic = Topic::new(name, 2, SEED);
    let watched = pipeline(&topic, name, 0, RUN);
    let mut processes: Vec<Process> = hosts.iter().map(|host| watched.start(host)).collect();
    wait(
        || {
            processes.iter_mut().for_each(Process::is_alive);
            let has_some = |process: &Process| (0..2).any(|it| process.was_given(it));
            processes.iter().all(has_some)
        },
        || "each has a part".to_owned(),
    );
    try_beside(&watched, version(3, Wrong::Nothing), &["--for", "1h"]);
    until_beside(&watched, 4);
    topic.write(3_000);
    watched.catch_up(&topic, &mut processes.iter_mut().collect::<Vec<_>>());

    let recorded = folder(WINDOW);
    let mut expected = 0;
    for partition in 0..2 {
        recorded.write("recorded.ndjson", lines(SEED, 3_000, partition, 2));
        let (old, until) = rows_of_run(&recorded, version(0, Wrong::Nothing));
        let (new, _) = rows_of_run(&recorded, version(3, Wrong::Nothing));
        // What only the end of recorded events closes is open still.
        let closed = |rows: &RowsOfRun| -> Vec<f64> {
            let rows = rows.values().filter(|(end, _)| *end <= until);
            rows.map(|(_, sum)| *sum).collect()
        };
        let (old, new) = (closed(&old), closed(&new));
        assert!(old.iter().zip(&new).all(|(old, new)| old < new));
        expected += old.len() as u64;
    }
    let mut last = Value::Null;
    wait(
        || {
            last = shadow(&watched);
            figures(&last, "sum_1m").iter().sum::<u64>() >= expected
        },
        || {
            format!(
                "{expected} values of each feature are compared: {}",
                shadow(&watched)
            )
        },
    );
    assert_eq!(figures(&last, "rows_1m"), [expected, 0, 0, 0], "{last}");
    assert_eq!(figures(&last, "sum_1m"), [0, expected, 0, 0], "{last}");
    let dropped = watched
        .folder
        .penstock(&["swap", "totals", "--drop-shadow"]);
    assert!(dropped.fine().contains("by an operator"));
    topic.write(500);
    watched.catch_up(&topic, &mut processes.iter_mut().collect::<Vec<_>>());
    assert_eq!(generations(&watched), [1; 4]);
    let summaries: Vec<Value> = processes.into_iter().map(Process::stop).collect();
    let alone = pipeline(&topic, &format!("{name}-alone"), 0, RUN);
    let undisturbed = alone.finish(&topic, "one");
    if let [summary] = &summaries[..] {
        watched.left(summary).is(&undisturbed, name);
    }
    assert_eq!(watched.store(), alone.store());
}

#[test]
fn a_shadow_finds_what_two_recorded_runs_show_and_leaves_no_trace() {
    finds_what_two_recorded_runs_show("shadowed", &["one"]);
}

#[test]
fn what_several_hosts_find_is_added_up() {
    finds_what_two_recorded_runs_show("shadowed-by-two", &["one", "two"]);
}

#[test]
fn a_fresh_shadow_differs_in_the_windows_that_were_open_when_it_began() {
    let mut topic = Topic::new("shadowed-fresh", 1, 35);
    let watched = pipeline(&topic, "shadowed-fresh", 0, RUN);
    topic.write(1_000);
    let mut process = watched.start_with_all(&topic, "one");
    watched.catch_up(&topic, &mut [&mut process]);
    let fresh = ["--for", "1h", "--fresh"];
    try_beside(&watched, same_but("versioned", 1), &fresh);
    until_beside(&watched, 2);
    let compared = || {
        let [equal, different, only_old, _] = figures(&shadow(&watched), "rows_1m");
        (equal, different + only_old)
    };
    let mut last = (0, 0);
    wait(
        || {
            topic.write(500);
            last = compared();
            last.0 > 100 && last.1 > 0
        },
        || {
            format!(
                "later windows are equal, and earlier ones are not: {:?}",
                compared()
            )
        },
    );
    watched.catch_up(&topic, &mut [&mut process]);
    // As many as there are keys, in the few minutes that windows are open for.
    let (_, differ) = compared();
    assert!(differ <= u64::from(KEYS) * 4, "{differ} differ");
    let left = watched.left(&process.stop());
    let alone = pipeline(&topic, "shadowed-fresh-alone", 0, RUN);
    left.is(&alone.finish(&topic, "one"), "what had a fresh shadow");
}

#[test]
fn a_version_that_differs_in_nothing_takes_over_when_its_time_is_over() {
    let mut topic = Topic::new("promoted", 2, 32);
    let watched = pipeline(&topic, "promoted", 0, RUN);
    topic.write(1_000);
    let mut process = watched.start_with_all(&topic, "one");
    watched.catch_up(&topic, &mut [&mut process]);
    let gate = [
        "--for",
        "15s",
        "--promote-if",
        "different <= 0%",
        "--at-least",
        "10",
    ];
    // Its states are others, and it takes over those that there are.
    try_beside(&watched, successor(0, Wrong::Nothing), &gate);
    let ended = until_ended(&watched, &mut topic);
    assert_eq!(
        (&ended["fate"], &ended["generation"]),
        (&"promoted".into(), &2.into()),
        "{ended}"
    );
    until_all_have(&watched, 2);
    watched.catch_up(&topic, &mut [&mut process]);
    let left = watched.left(&process.stop());
    let alone = pipeline(&topic, "not-promoted", 0, RUN);
    left.is(&alone.finish(&topic, "one"), "what was promoted");
}

#[test]
fn a_version_that_gives_other_values_is_dropped_with_the_reason() {
    let mut topic = Topic::new("dropped", 1, 33);
    let watched = pipeline(&topic, "dropped", 0, RUN);
    topic.write(500);
    let mut process = watched.start_with_all(&topic, "one");
    watched.catch_up(&topic, &mut [&mut process]);
    let gate = [
        "--for",
        "15s",
        "--promote-if",
        "different < 0.1%",
        "--at-least",
        "10",
    ];
    try_beside(&watched, version(3, Wrong::Nothing), &gate);
    let ended = until_ended(&watched, &mut topic);
    let reason = ended["reason"].as_str().unwrap();
    assert_eq!(ended["fate"], "dropped", "{ended}");
    assert!(
        reason.contains("key/sum_1m@1") && reason.contains("not equal"),
        "{reason}"
    );
    // What was found stays to be seen, and the version may be tried by hand.
    assert!(figures(&shadow(&watched), "sum_1m")[1] > 0);
    try_beside(&watched, same_but("versioned", 1), &["--for", "1h"]);
    until_beside(&watched, 2);
    watched
        .folder
        .penstock(&["swap", "totals", "tried.wasm"])
        .fine();
    until_all_have(&watched, 2);
    let by_hand = until_ended(&watched, &mut topic);
    assert_eq!(by_hand["fate"], "promoted", "{by_hand}");
    process.stop();
}

fn fails_and_is_ended(name: &str, wrong: Wrong, says: &str) {
    fails_with(RUN, name, version(0, wrong), says);
}

fn fails_with(run: &str, name: &str, tried: Vec<u8>, says: &str) {
    let mut topic = Topic::new(name, 1, 34);
    let watched = pipeline(&topic, &format!("{name}-watched"), 0, run);
    topic.write(500);
    let mut process = watched.start_with_all(&topic, "one");
    watched.catch_up(&topic, &mut [&mut process]);
    try_beside(&watched, tried, &["--for", "1h"]);
    let ended = until_ended(&watched, &mut topic);
    let reason = ended["reason"].as_str().unwrap_or_default();
    assert_eq!(ended["fate"], "failed", "{ended}");
    assert!(reason.contains(says), "{reason}");
    topic.write(500);
    watched.catch_up(&topic, &mut [&mut process]);
    assert_eq!(generations(&watched), [1; 2]);
    let left = watched.left(&process.stop());
    let alone = pipeline(&topic, &format!("{name}-alone"), 0, run);
    left.is(&alone.finish(&topic, "one"), name);
}

#[test]
fn a_shadow_whose_states_take_more_than_they_may_is_ended() {
    // Those of the version at work need not be in memory.
    let run = format!("{RUN}\nstate_memory = \"1KiB\"");
    let tried = same_but("versioned", 1);
    fails_with(&run, "shadow-memory", tried, "state_bytes");
}

#[test]
fn a_shadow_that_falls_behind_is_ended_and_holds_up_nothing() {
    let mut topic = Topic::new("shadow-behind", 1, 36);
    let run = "lanes = 1\n[limits]\ncpu_per_call = \"60s\"";
    let watched = pipeline(&topic, "shadow-behind", 0, run);
    topic.write(500);
    let mut process = watched.start_with_all(&topic, "one");
    watched.catch_up(&topic, &mut [&mut process]);
    let never = version(0, Wrong::NeverAnswers);
    try_beside(&watched, never, &["--for", "1h"]);
    until_beside(&watched, 1);
    let mut ended = Value::Null;
    wait(
        || {
            topic.write(100_000);
            watched.catch_up(&topic, &mut [&mut process]);
            ended = shadow(&watched);
            ended["fate"] != "watched"
        },
        || format!("the trial has ended: {}", shadow(&watched)),
    );
    let reason = ended["reason"].as_str().unwrap_or_default();
    assert_eq!(ended["fate"], "failed", "{ended}");
    assert!(reason.contains("fell behind"), "{reason}");
    assert_eq!(generations(&watched), [1]);
    process.kill();
}

#[test]
fn a_shadow_that_traps_is_ended_and_the_pipeline_goes_on() {
    fails_and_is_ended("shadow-traps", Wrong::TrapsLater, "after a thousand rows");
}

#[test]
fn a_shadow_that_never_answers_is_ended_and_the_pipeline_goes_on() {
    fails_and_is_ended("shadow-spins", Wrong::NeverAnswers, "cpu_per_call");
}

#[test]
fn a_version_that_cannot_be_tried_is_refused_with_the_reason() {
    fails_and_is_ended("shadow-does-not-open", Wrong::DoesNotOpen, "does not open");
}
