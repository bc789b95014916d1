//! Versions that are taken back: by an operator, and by themselves when they fail.

use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use penstock::store::dynamodb::DynamoDbStore;
use serde_json::Value;

use super::versions::{
    WINDOW, Wrong, ask, beginning_with, generations, history, is_wrong, notes, pipeline, swap,
    until_all_have, version, with_table,
};
use crate::crash::stream::KEYS;
use crate::hostile::guest::Guest;
use crate::hostile::image::{cols, field};
use crate::kinesis::proxy::{Fate, Proxy};
use crate::live::pipeline::{Pipeline, pause, wait};
use crate::live::topic::Topic;
use crate::support::HOST;
use crate::support::servers::dynamodb::{SHARED, settings, table};
use crate::support::servers::kafka::delete_before;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// Seconds of event time.
const HOUR: f64 = 3_600.0;

/// Keys of which there is one row each: the version that is silent at times never says anything of them.
const RARE: Range<u32> = KEYS..KEYS + 8;

#[test]
fn after_a_rollback_the_store_is_as_if_the_wrong_version_had_never_run() {
    let mut topic = Topic::new("rolled-back", 2, 6);
    let disturbed = pipeline(&topic, "rolled-back", 0, RUN);
    topic.write(1_000);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let wrong = swap(&disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
    topic.write_over(HOUR, 3_000);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let sums = disturbed.store();
    assert!(sums.iter().any(|line| is_wrong(line)), "{sums:?}");

    // What was to mend it does not fit, and leaves the way back.
    let mending = version(1, Wrong::DoesNotOpen);
    disturbed.folder.write("mending.wasm", mending);
    let swap = ["swap", "totals", "mending.wasm", "--wait", "60s"];
    let refused = disturbed.folder.penstock(&swap);
    refused.fails(2, &["was refused", "it does not open"]);

    let back = disturbed
        .folder
        .penstock(&["rollback", "totals", "--reason", "sums are too large"]);
    assert!(back.fine().contains("back to generation 1"));
    until_all_have(&disturbed, 1);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    let mut all = history(&disturbed).into_iter();
    let (_, fate, reason) = all.find(|it| it.0 == wrong).unwrap();
    assert_eq!(
        (fate.as_str(), reason.as_str()),
        ("revoked", "sums are too large")
    );
    disturbed
        .folder
        .penstock(&["rollback", "totals"])
        .fails(2, &["no way back"]);

    let undisturbed = pipeline(&topic, "not-rolled-back", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what was rolled back");
}

#[test]
fn a_rollback_after_which_lanes_could_not_read_on_is_refused() {
    let mut topic = Topic::new("rolled-back-gone", 2, 11);
    let pipeline = pipeline(&topic, "rolled-back-gone", 0, RUN);
    topic.write(1_000);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);
    swap(&pipeline, "wrong.wasm", version(1, Wrong::Nothing));
    topic.write(1_000);
    pipeline.catch_up(&topic, &mut [&mut process]);
    let rollback = |more: &[&str]| {
        let back = ["rollback", "totals", "--reason", "it is wrong"];
        pipeline.folder.penstock(&[&back[..], more].concat())
    };
    // Of the second partition everything is gone, also what came after the swap.
    let end = topic.ends()[1];
    delete_before(&topic.bootstrap, &topic.name, 1, end);
    let says = [
        &*format!("partition 1 begins at offset {end}"),
        "generation 1 would read again",
        "--anyway",
    ];
    rollback(&[]).fails(2, &says);
    assert_eq!(generations(&pipeline), [2; 4]);
    assert!(history(&pipeline).iter().all(|it| it.1 != "revoked"));
    assert!(rollback(&["--anyway"]).fine().contains("generation 1"));
    process.kill();
}

#[test]
fn what_was_taken_back_stops_also_while_the_one_before_cannot_be_had() {
    let mut topic = Topic::new("rolled-back-late", 1, 12);
    let disturbed = pipeline(&topic, "rolled-back-late", 0, RUN);
    topic.write(500);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    swap(&disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
    let begun = disturbed.folder.read("begin.wasm");
    let components = fs::read_dir(disturbed.folder.path("store/components")).unwrap();
    let mut components = components.map(|it| it.unwrap().path());
    let before = components.find(|it| fs::read(it).unwrap() == begun);
    let before = before.expect("what it began with is in the store");
    fs::remove_file(&before).unwrap();

    let back = ["rollback", "totals", "--reason", "it is wrong"];
    disturbed.folder.penstock(&back).fine();
    let cannot = |text: &String| text.contains("cannot take it on") && text.contains("is missing");
    wait(
        || {
            process.is_alive();
            notes(&disturbed, 1).iter().any(cannot) && process.stderr().contains("tries on")
        },
        || "it says what it cannot have".to_owned(),
    );
    let sums = disturbed.store();
    topic.write(2_000);
    pause(Duration::from_secs(1));
    assert_eq!(disturbed.store(), sums, "the wrong version works on");

    fs::write(&before, begun).unwrap();
    until_all_have(&disturbed, 1);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    assert_eq!(
        notes(&disturbed, 1).iter().filter(|it| cannot(it)).count(),
        1
    );
    let undisturbed = pipeline(&topic, "not-rolled-back-late", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what went back late");
}

/// What a generation had served when it was taken back, as it is listed.
fn served(pipeline: &Pipeline, generation: u64) -> Vec<Value> {
    let number = generation.to_string();
    let listed = (pipeline.folder).penstock(&["history", "totals", "--served", &number]);
    let lines = listed.fine();
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// A version that has something to say of windows of which the one before has not is taken back, in the middle of its work
/// or while nobody works.
fn leaves_nothing_behind(name: &str, disturbed: &Pipeline, topic: &mut Topic, is_killed: bool) {
    topic.write(1_000);
    let mut process = disturbed.start_with_all(topic, "one");
    disturbed.catch_up(topic, &mut [&mut process]);
    let wrong = swap(disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
    topic.write_over(HOUR / 2.0, 1_500);
    RARE.for_each(|key| topic.write_one(key));
    topic.write_over(HOUR / 2.0, 1_500);
    disturbed.catch_up(topic, &mut [&mut process]);
    let rare = disturbed.store_of(RARE);
    assert!(rare.iter().all(|line| line.contains("Some")), "{rare:?}");
    let back = ["rollback", "totals", "--reason", "it says too much"];
    let mut process = match is_killed {
        true => {
            topic.write(500);
            process.kill();
            disturbed.folder.penstock(&back).fine();
            disturbed.start_with_all(topic, "one")
        }
        false => {
            disturbed.folder.penstock(&back).fine();
            process
        }
    };
    until_all_have(disturbed, 1);
    topic.write(500);
    disturbed.catch_up(topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    let listed = served(disturbed, wrong);
    let sum = |item: &Value| item["features"]["sum_1m@1"]["value"].as_f64();
    let is_wrong = |item: &&Value| sum(item).is_some_and(|sum| sum >= 1e6);
    assert!(listed.iter().filter(is_wrong).count() > 0, "{listed:?}");
    assert!(listed.iter().all(|item| item["window"] == "1m"));
    for key in RARE {
        let entity = key.to_string();
        let is_there = |item: &Value| item["entity"] == entity;
        assert!(listed.iter().any(is_there), "{key} is not listed");
    }
    let rare = disturbed.store_of(RARE);
    assert!(rare.iter().all(|line| line.ends_with("None")), "{rare:?}");
    let silent = version(0, Wrong::IsSilentAtTimes);
    let undisturbed = Pipeline::over(topic, &format!("{name}-undisturbed"), WINDOW, RUN);
    let undisturbed = beginning_with(silent, undisturbed);
    left.is(&undisturbed.finish(topic, "one"), name);
}

#[test]
fn what_only_the_wrong_version_wrote_is_withdrawn_and_listed() {
    let name = "silent";
    let mut topic = Topic::new(name, 2, 8);
    let silent = version(0, Wrong::IsSilentAtTimes);
    let disturbed = beginning_with(silent, Pipeline::over(&topic, name, WINDOW, RUN));
    leaves_nothing_behind(name, &disturbed, &mut topic, false);
    let other = ["history", "totals", "--served", "1"];
    (disturbed.folder.penstock(&other)).fails(2, &["generation 1 was not taken back"]);
}

#[test]
fn what_the_wrong_version_wrote_to_a_table_is_withdrawn() {
    for (name, is_killed) in [("silent-table", false), ("silent-table-killed", true)] {
        let mut topic = Topic::new(name, 2, 9);
        let silent = version(0, Wrong::IsSilentAtTimes);
        let disturbed = with_table(&topic, name, RUN, silent);
        leaves_nothing_behind(name, &disturbed, &mut topic, is_killed);
    }
}

#[test]
fn a_table_that_does_not_answer_puts_a_swap_off_and_ends_nothing() {
    let name = "swap-put-off";
    HOST.io.block_on(DynamoDbStore::init(&table(name))).unwrap();
    let is_away = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_away);
    let proxy = Proxy::start(SHARED.port(), move |action, body| {
        // What a host asks for before its lanes go over.
        let is_epoch = action == "UpdateItem" && body.contains("ADD #e :one");
        match is_epoch && seen.load(Ordering::Relaxed) {
            true => Fate::Refuse(500, "InternalServerError", "the test says so"),
            false => Fate::Pass,
        }
    });
    let mut topic = Topic::new(name, 1, 16);
    let store = format!("dynamodb://{name}\"\nstate = \"state");
    let settings = settings(&proxy.endpoint());
    let disturbed = Pipeline::with_store(&topic, name, WINDOW, RUN, (&store, &settings));
    let disturbed = beginning_with(version(0, Wrong::Nothing), disturbed);
    topic.write(300);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);

    is_away.store(true, Ordering::Relaxed);
    let next = ask(&disturbed, "next.wasm", version(2, Wrong::Nothing));
    wait(
        || {
            process.is_alive();
            process.stderr().contains("cannot go over yet")
        },
        || "it says that it cannot go over".to_owned(),
    );
    topic.write(300);
    disturbed.catch_up(&topic, &mut [&mut process]);
    assert_eq!(generations(&disturbed), [1; 2]);
    let (_, fate, _) = history(&disturbed).pop().unwrap();
    assert_eq!(fate, "wanted", "nobody has it at work");

    is_away.store(false, Ordering::Relaxed);
    until_all_have(&disturbed, next);
    topic.write(300);
    disturbed.catch_up(&topic, &mut [&mut process]);
    process.stop();
}

fn fails_and_is_taken_back(name: &str, wrong: Vec<u8>, says: &str) {
    let mut topic = Topic::new(name, 2, 7);
    let disturbed = pipeline(&topic, &format!("{name}-disturbed"), 0, RUN);
    topic.write(1_000);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let number = ask(&disturbed, "wrong.wasm", wrong);
    // Something has to come for as long as it takes until lanes have it.
    let mut revoked = None;
    wait(
        || {
            topic.write(500);
            let history = history(&disturbed).into_iter();
            revoked = history
                .into_iter()
                .find(|it| it.0 == number && it.1 == "revoked");
            revoked.is_some()
        },
        || "it is taken back".to_owned(),
    );
    let (_, _, reason) = revoked.unwrap();
    assert!(reason.contains(says), "{reason}");
    until_all_have(&disturbed, 1);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    let undisturbed = pipeline(&topic, &format!("{name}-undisturbed"), 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), name);
}

#[test]
fn a_version_that_traps_at_once_is_taken_back() {
    let wrong = version(7, Wrong::TrapsAtOnce);
    fails_and_is_taken_back("swap-traps", wrong, "at once");
}

#[test]
fn a_version_that_traps_later_is_taken_back_with_what_it_did() {
    let wrong = version(7, Wrong::TrapsLater);
    fails_and_is_taken_back("swap-traps-later", wrong, "after a thousand rows");
}

#[test]
fn a_version_that_never_answers_is_taken_back() {
    let wrong = version(7, Wrong::NeverAnswers);
    fails_and_is_taken_back("swap-spins", wrong, "cpu_per_call");
}

#[test]
fn a_version_that_takes_too_much_memory_is_taken_back() {
    let wrong = version(7, Wrong::TakesMemory);
    fails_and_is_taken_back("swap-allocates", wrong, "accumulate");
}

/// What says of itself what the guest `versioned` says.
fn pretending() -> Guest {
    Guest::windowed().spec(|spec| {
        spec.state = vec![field("rows", "L", 0), field("sum", "g", 0)];
        spec.initial = cols(1, [&[], &[0; 8], &[], &[0; 8]]);
        spec.output = spec.state.clone();
    })
}

/// A number, and a text of four bytes in the place of the other.
const ANOTHER_SCHEMA: [&[u8]; 5] = [&[], &[0; 8], &[], &[0, 0, 0, 0, 4, 0, 0, 0], b"text"];

#[test]
fn a_version_whose_states_are_not_what_it_said_is_taken_back() {
    let wrong = pretending().updates(cols(1, ANOTHER_SCHEMA), Some(&[0; 4]), &[]);
    fails_and_is_taken_back("swap-states", wrong.build(), "breaks the contract");
}

#[test]
fn a_version_whose_output_is_not_what_it_said_is_taken_back() {
    let wrong = pretending().finishes(cols(1, ANOTHER_SCHEMA), &[0; 4]);
    let states = cols(0, [&[], &[], &[], &[]]);
    let wrong = wrong.updates(states, Some(&[]), &[]);
    fails_and_is_taken_back("swap-output", wrong.build(), "breaks the contract");
}
