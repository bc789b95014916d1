//! Versions that are taken back: by an operator, and by themselves when they fail.

use super::versions::{Wrong, ask, history, pipeline, swap, until_all_have, version};
use crate::live::pipeline::wait;
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

#[test]
fn after_a_rollback_the_store_is_as_if_the_wrong_version_had_never_run() {
    let mut topic = Topic::new("rolled-back", 2, 6);
    let disturbed = pipeline(&topic, "rolled-back", 0, RUN);
    topic.write(1_000);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let wrong = swap(&disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
    topic.write(3_000);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let sums = disturbed.store();
    let is_wrong = |line: &String| line.contains("sum_1m") && line.contains("000000");
    assert!(sums.iter().any(is_wrong), "nothing is wrong: {sums:?}");

    let back = disturbed
        .folder
        .penstock(&["rollback", "totals", "--reason", "sums are too large"]);
    assert!(back.fine().contains("back to generation 1"));
    until_all_have(&disturbed, 1);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    let (number, fate, reason) = history(&disturbed).pop().unwrap();
    assert_eq!(
        (number, fate.as_str(), reason.as_str()),
        (wrong, "revoked", "sums are too large")
    );
    disturbed
        .folder
        .penstock(&["rollback", "totals"])
        .fails(2, &["no way back"]);

    let undisturbed = pipeline(&topic, "not-rolled-back", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what was rolled back");
}

fn fails_and_is_taken_back(name: &str, wrong: Wrong, says: &str) {
    let mut topic = Topic::new(name, 2, 7);
    let disturbed = pipeline(&topic, &format!("{name}-disturbed"), 0, RUN);
    topic.write(1_000);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let number = ask(&disturbed, "wrong.wasm", version(7, wrong));
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
    fails_and_is_taken_back("swap-traps", Wrong::TrapsAtOnce, "at once");
}

#[test]
fn a_version_that_traps_later_is_taken_back_with_what_it_did() {
    fails_and_is_taken_back(
        "swap-traps-later",
        Wrong::TrapsLater,
        "after a thousand rows",
    );
}

#[test]
fn a_version_that_never_answers_is_taken_back() {
    fails_and_is_taken_back("swap-spins", Wrong::NeverAnswers, "cpu_per_call");
}

#[test]
fn a_version_that_takes_too_much_memory_is_taken_back() {
    fails_and_is_taken_back("swap-allocates", Wrong::TakesMemory, "accumulate");
}
