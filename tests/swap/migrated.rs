//! Versions whose states are others than those of the version before.

use super::versions::{
    WINDOW, Wrong, ask, generations, history, pipeline, successor, swap, until_all_have, version,
};
use crate::live::pipeline::{Pipeline, wait};
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// Few keys are in memory, so that most states come from the database.
const SMALL: &str = "lanes = 2\ncommit_every = \"5ms\"\nstate_memory = \"64KiB\"";

#[test]
fn states_are_taken_over_and_given_back() {
    let mut topic = Topic::new("migrated", 2, 10);
    let disturbed = pipeline(&topic, "migrated", 0, SMALL);
    topic.write(1_500);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let wrong = successor(1_000_000, Wrong::Nothing);
    let wrong = swap(&disturbed, "wrong.wasm", wrong);
    topic.write(1_500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    disturbed.folder.penstock(&["rollback", "totals"]).fine();
    until_all_have(&disturbed, 1);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    assert_eq!(history(&disturbed).pop().unwrap().0, wrong);

    swap(&disturbed, "right.wasm", successor(0, Wrong::Nothing));
    topic.write(1_500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let shown = disturbed.folder.penstock(&["history", "totals"]).fine();
    let says = "states of version 1 were taken over";
    assert!(shown.contains(says), "{shown}");
    process.stop();
    // Somebody else reads what was taken over.
    let left = disturbed.finish(&topic, "one");
    let undisturbed = pipeline(&topic, "not-migrated", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what was migrated");
}

/// Asks for a version, and sees to it that it is refused for this reason.
fn is_refused(pipeline: &Pipeline, component: &str, bytes: Vec<u8>, says: &[&str]) {
    let number = ask(pipeline, component, bytes);
    let mut found = None;
    wait(
        || {
            let mut history = history(pipeline).into_iter();
            found = history.find(|it| it.0 == number && it.1 == "refused");
            found.is_some()
        },
        || format!("{component} is refused"),
    );
    let (_, _, reason) = found.unwrap();
    for part in says {
        assert!(reason.contains(part), "{component}: {reason}");
    }
}

#[test]
fn a_migration_that_is_wrong_is_refused_before_anything_switches() {
    let mut topic = Topic::new("migrated-wrongly", 1, 11);
    let pipeline = pipeline(&topic, "migrated-wrongly", 0, "commit_every = \"5ms\"");
    let text = pipeline.folder.text("pipeline.toml");
    let limits = "[limits]\ncpu_per_call = \"1s\"\n";
    pipeline.folder.write("pipeline.toml", text + limits);
    topic.write(500);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);
    for (name, wrong, says) in [
        ("traps.wasm", Wrong::MigrationTraps, "it does not know how"),
        ("spins.wasm", Wrong::MigrationNeverAnswers, "cpu_per_call"),
        ("loses.wasm", Wrong::MigrationLosesRows, "old states"),
        ("adds.wasm", Wrong::MigrationAddsRows, "old states"),
        ("takes.wasm", Wrong::MigrationTakesMemory, "`memory`"),
    ] {
        let bytes = successor(0, wrong);
        is_refused(&pipeline, name, bytes, &["lane 0", says]);
    }
    assert_eq!(generations(&pipeline), [1]);
    let next = swap(&pipeline, "next.wasm", successor(0, Wrong::Nothing));
    // It does not take over what a later version has left.
    let before = version(0, Wrong::Nothing);
    let says = ["its states have version 1"];
    is_refused(&pipeline, "before.wasm", before, &says);
    topic.write(100);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();
    assert_eq!(generations(&pipeline), [next]);
}

#[test]
fn a_migration_that_fails_after_its_trial_is_taken_back_and_leaves_no_trace() {
    let mut topic = Topic::new("migrated-late", 1, 12);
    // Windows of a second that stay open for long, so that there are more states than a trial takes.
    let window = "kind = \"tumbling\"\nsize = \"1s\"\nallowed_lateness = \"1h\"";
    let disturbed = over(&topic, "migrated-late", window);
    // States that cannot be taken over lead back whenever that is found.
    let text = disturbed.folder.text("pipeline.toml") + "probation = \"0s\"\n";
    disturbed.folder.write("pipeline.toml", text);
    topic.write(3_000);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let wrong = successor(0, Wrong::MigrationTrapsAfterTheTrial);
    let wrong = ask(&disturbed, "late.wasm", wrong);
    let mut found = None;
    wait(
        || {
            process.is_alive();
            let mut history = history(&disturbed).into_iter();
            found = history.find(|it| it.0 == wrong && it.1 == "revoked");
            found.is_some()
        },
        || "it is taken back".to_owned(),
    );
    let (_, _, reason) = found.unwrap();
    assert!(reason.contains("there are too many"), "{reason}");
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    process.stop();
    assert_eq!(generations(&disturbed), [1]);
    let left = disturbed.finish(&topic, "one");
    let undisturbed = over(&topic, "not-migrated-late", window);
    left.is(&undisturbed.finish(&topic, "one"), "what was taken back");
}

/// A pipeline with other windows than those that most have here.
fn over(topic: &Topic, group: &str, window: &str) -> Pipeline {
    let pipeline = pipeline(topic, group, 0, "lanes = 1\ncommit_every = \"5ms\"");
    let text = pipeline.folder.text("pipeline.toml");
    pipeline
        .folder
        .write("pipeline.toml", text.replace(WINDOW, window));
    pipeline
}
