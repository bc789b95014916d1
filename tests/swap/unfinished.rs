//! Windows that one version could not finish, tried again by the next.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::versions::{
    WINDOW, Wrong, ask, history, pipeline, successor, swap, until_all_have, version,
};
use crate::live::pipeline::{Pipeline, pause, wait};
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// Few keys are in memory, so that most states come from the database.
const SMALL: &str = "lanes = 2\ncommit_every = \"5ms\"\nstate_memory = \"64KiB\"";

/// Windows of several panes, which are merged.
const HOPPING: &str =
    "kind = \"hopping\"\nsize = \"3m\"\nslide = \"1m\"\nallowed_lateness = \"2m\"";

/// The same without corrections, so that each window comes out once.
const ONCE: &str = "kind = \"hopping\"\nsize = \"3m\"\nslide = \"1m\"";

/// A pipeline that begins with a version which does this wrong, as often as it likes.
fn failing(topic: &Topic, group: &str, wrong: Wrong, window: &str, run: &str) -> Pipeline {
    let pipeline = over(topic, group, window, run);
    pipeline.folder.write("begin.wasm", version(0, wrong));
    let text = pipeline.folder.text("pipeline.toml");
    let limits = "[limits]\nfailures = 1_000_000\n";
    pipeline.folder.write("pipeline.toml", text + limits);
    pipeline
}

fn over(topic: &Topic, group: &str, window: &str, run: &str) -> Pipeline {
    let pipeline = pipeline(topic, group, 0, run);
    let text = pipeline.folder.text("pipeline.toml");
    let (text, names) = (text.replace(WINDOW, window), "{window}");
    assert!(text.contains(names), "features are of all lengths");
    pipeline.folder.write("pipeline.toml", text);
    pipeline
}

/// How many windows all lanes keep that could not be finished, as of their last commits.
fn kept(pipeline: &Pipeline) -> u64 {
    sum_of(pipeline, |input| &input["unfinished_windows"]["kept"])
}

fn until_none_waits(pipeline: &Pipeline) {
    wait(|| kept(pipeline) == 0, || "none waits any more".to_owned());
}

/// How many rows all lanes have emitted.
fn emitted(pipeline: &Pipeline) -> u64 {
    sum_of(pipeline, |input| &input["rows"])
}

fn sum_of(pipeline: &Pipeline, number: impl Fn(&Value) -> &Value) -> u64 {
    let state = pipeline.folder.penstock(&["state", "totals", "--json"]);
    let state: Value = serde_json::from_str(&state.fine()).unwrap();
    let lanes = state["lanes"].as_array().unwrap().iter();
    let inputs = lanes.flat_map(|lane| lane["inputs"].as_array().unwrap());
    inputs.map(|input| number(input).as_u64().unwrap()).sum()
}

/// Works with the failing version until some of its windows are kept, then goes over to another one, and sees to it that
/// the store is as if that had worked from the start.
fn is_made_up_for(name: &str, wrong: Wrong, window: &str, run: &str, next: Vec<u8>) {
    let mut topic = Topic::new(name, 2, 31);
    let disturbed = failing(&topic, &format!("{name}-disturbed"), wrong, window, run);
    topic.write(1_500);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let waiting = kept(&disturbed);
    assert!(waiting > 5, "{waiting} windows wait");
    let undisturbed = over(&topic, &format!("{name}-undisturbed"), window, RUN);
    undisturbed.finish(&topic, "one");
    let sound = undisturbed.store();
    assert_ne!(disturbed.store(), sound, "features are missing");

    swap(&disturbed, "next.wasm", next);
    // States that were taken over are committed before anything is made of them.
    until_none_waits(&disturbed);
    assert_eq!(
        disturbed.store(),
        sound,
        "{name}: as soon as it has switched"
    );
    topic.write(800);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let summary = process.stop();
    let lanes = summary[0]["lanes"].as_object().unwrap().values();
    let finished = lanes.map(|lane| lane["unfinished_windows"]["finished"].as_u64().unwrap());
    assert_eq!(finished.sum::<u64>(), waiting, "{summary}");
    undisturbed.finish(&topic, "one");
    assert_eq!(disturbed.store(), undisturbed.store(), "{name}: later on");
}

#[test]
fn windows_that_a_version_could_not_finish_are_those_of_the_next() {
    let next = version(0, Wrong::Nothing);
    is_made_up_for("unfinished", Wrong::FinishTraps, WINDOW, RUN, next);
}

#[test]
fn sessions_that_a_version_could_not_finish_are_those_of_the_next() {
    let window = "kind = \"session\"\ngap = \"15s\"\nallowed_lateness = \"30s\"";
    let next = version(0, Wrong::Nothing);
    is_made_up_for(
        "unfinished-session",
        Wrong::FinishTraps,
        window,
        SMALL,
        next,
    );
}

#[test]
fn values_without_end_that_a_version_could_not_finish_are_those_of_the_next() {
    let window = "kind = \"unbounded\"\nttl = \"1m\"\nemit = { every = \"30s\" }";
    let next = successor(0, Wrong::Nothing);
    is_made_up_for("unfinished-value", Wrong::FinishTraps, window, RUN, next);
}

#[test]
fn windows_that_a_version_could_not_merge_are_those_of_the_next() {
    let next = version(0, Wrong::Nothing);
    is_made_up_for("unmerged", Wrong::MergeTraps, HOPPING, RUN, next);
}

#[test]
fn windows_that_a_version_could_not_finish_are_those_of_one_with_other_states() {
    let next = successor(0, Wrong::Nothing);
    is_made_up_for("unfinished-other", Wrong::FinishTraps, HOPPING, SMALL, next);
}

#[test]
fn after_a_rollback_windows_wait_as_they_did() {
    let mut topic = Topic::new("unfinished-back", 2, 32);
    let group = "unfinished-back";
    let disturbed = failing(&topic, group, Wrong::FinishTraps, WINDOW, RUN);
    topic.write(1_500);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let (waiting, store) = (kept(&disturbed), disturbed.store());
    assert!(waiting > 20, "{waiting} windows wait");
    // One that fails on the same windows is not to blame for them, and they go on waiting.
    let mut again = version(0, Wrong::FinishTraps);
    again.extend([0, 3, 1, b'v', 7]);
    let fails_again = swap(&disturbed, "again.wasm", again);
    let is_running = |(number, fate, _): (u64, String, String)| {
        assert_ne!(fate, "revoked");
        number == fails_again && fate == "running"
    };
    wait(
        || history(&disturbed).pop().is_some_and(is_running),
        || "the host says that it is at work".to_owned(),
    );
    assert_eq!(kept(&disturbed), waiting);
    // What this one makes of them is withdrawn.
    swap(
        &disturbed,
        "wrong.wasm",
        successor(1_000_000, Wrong::Nothing),
    );
    until_none_waits(&disturbed);
    assert_ne!(disturbed.store(), store);
    disturbed.folder.penstock(&["rollback", "totals"]).fine();
    until_all_have(&disturbed, fails_again);
    assert_eq!((kept(&disturbed), disturbed.store()), (waiting, store));
    swap(&disturbed, "right.wasm", version(0, Wrong::Nothing));
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    process.stop();
    let undisturbed = pipeline(&topic, "unfinished-not-back", 0, RUN);
    undisturbed.finish(&topic, "one");
    assert_eq!(disturbed.store(), undisturbed.store());
}

#[test]
fn a_host_that_dies_while_windows_are_tried_again_loses_none_and_emits_none_twice() {
    let mut topic = Topic::new("unfinished-killed", 2, 33);
    let disturbed = failing(&topic, "unfinished-killed", Wrong::FinishTraps, ONCE, SMALL);
    let undisturbed = over(&topic, "unfinished-not-killed", ONCE, RUN);
    let mut random = Pcg64::seed_from_u64(33);
    let dying = || {
        disturbed.start_with("one", |command| {
            command.env("PENSTOCK_DIE_AT", "tried again");
        })
    };
    for round in 0..4 {
        topic.write(800);
        let mut process = dying();
        disturbed.catch_up(&topic, &mut [&mut process]);
        assert!(kept(&disturbed) > 10);
        let next = match round % 2 {
            0 => version(0, Wrong::Nothing),
            _ => successor(0, Wrong::Nothing),
        };
        ask(
            &disturbed,
            &format!("next-{round}.wasm"),
            of_round(next, round),
        );
        // As soon as a lane has tried its windows, between two commits and then where it is opened.
        process.dies();
        dying().dies();
        let process = disturbed.start("one");
        pause(Duration::from_millis(random.random_range(0..700)));
        process.kill();
        let process = disturbed.start_with_all(&topic, "one");
        until_none_waits(&disturbed);
        process.stop();
        undisturbed.finish(&topic, "one");
        assert_eq!(disturbed.store(), undisturbed.store(), "round {round}");
        assert_eq!(emitted(&disturbed), emitted(&undisturbed), "round {round}");
        // Back to one that fails, for what comes next.
        let process = disturbed.start_with_all(&topic, "one");
        disturbed.folder.penstock(&["rollback", "totals"]).fine();
        until_all_have(&disturbed, 1);
        process.stop();
    }
}

/// The same version as another one.
fn of_round(mut bytes: Vec<u8>, round: u8) -> Vec<u8> {
    bytes.extend([0, 3, 1, b'v', round]);
    bytes
}
