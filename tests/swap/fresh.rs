//! Versions that begin anew, the way back from them, and lanes that are forgotten.

use super::versions::{
    WINDOW, Wrong, ask_for, beginning_with, history, is_wrong, pipeline, successor, until_all_have,
    version, with_table,
};
use crate::live::pipeline::Pipeline;
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// Goes over to a version that cannot take over what there is, and back.
fn begins_anew_and_goes_back(topic: &mut Topic, name: &str, disturbed: &Pipeline) {
    topic.write(1_000);
    let mut process = disturbed.start_with_all(topic, "one");
    disturbed.catch_up(topic, &mut [&mut process]);
    let wrong = version(1_000_000, Wrong::Nothing);
    let wrong = disturbed.folder.write("wrong.wasm", wrong);
    let wrong = wrong.to_str().unwrap();
    // What they remember is of another version.
    let swap = ["swap", "totals", wrong, "--wait", "60s"];
    let refused = disturbed.folder.penstock(&swap);
    refused.fails(2, &["its states have version 1", "--fresh"]);
    let number = ask_for(disturbed, wrong, &["--fresh"]);
    until_all_have(disturbed, number);
    topic.write(1_500);
    disturbed.catch_up(topic, &mut [&mut process]);
    assert!(disturbed.store().iter().any(|line| is_wrong(line)));
    process.stop();
    // It has read the stream from its start, for itself.
    let all = disturbed.finish(topic, "one").read();
    assert_eq!(all, 2_500);

    let back = ["rollback", "totals", "--reason", "it forgot"];
    disturbed.folder.penstock(&back).fine();
    let mut process = disturbed.start_with_all(topic, "one");
    until_all_have(disturbed, 1);
    topic.write(300);
    disturbed.catch_up(topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    let fates = history(disturbed).into_iter();
    let fates: Vec<_> = fates.map(|(_, fate, _)| fate).collect();
    assert_eq!(fates, ["running", "refused", "revoked"]);
    let begin = successor(0, Wrong::Nothing);
    let undisturbed = Pipeline::over(topic, &format!("{name}-undisturbed"), WINDOW, RUN);
    let undisturbed = beginning_with(begin, undisturbed);
    left.is(&undisturbed.finish(topic, "one"), name);
}

#[test]
fn a_version_that_begins_anew_forgets_states_and_a_rollback_gives_them_back() {
    let name = "swap-fresh";
    let mut topic = Topic::new(name, 2, 17);
    let begin = successor(0, Wrong::Nothing);
    let disturbed = beginning_with(begin, Pipeline::over(&topic, name, WINDOW, RUN));
    begins_anew_and_goes_back(&mut topic, name, &disturbed);
}

#[test]
fn a_rollback_from_a_version_that_began_anew_puts_a_table_back() {
    let name = "swap-fresh-table";
    let mut topic = Topic::new(name, 2, 18);
    let begin = successor(0, Wrong::Nothing);
    let disturbed = with_table(&topic, name, RUN, begin);
    begins_anew_and_goes_back(&mut topic, name, &disturbed);
}

#[test]
fn a_lane_that_was_half_forgotten_is_forgotten_to_the_end() {
    let mut topic = Topic::new("half-forgotten", 1, 19);
    let run = "lanes = 1\ncommit_every = \"5ms\"";
    let disturbed = pipeline(&topic, "half-forgotten", 0, run);
    let undisturbed = pipeline(&topic, "all-forgotten", 0, run);
    topic.write(800);
    disturbed.finish(&topic, "one");
    undisturbed.finish(&topic, "one");
    let fresh = |pipeline: &Pipeline, step: &str| {
        let step = step.to_owned();
        pipeline.start_with("one", |command| {
            command.arg("--fresh").env("PENSTOCK_DIE_AT", step);
        })
    };
    fresh(&disturbed, "forgetting").dies();
    let mut process = fresh(&undisturbed, "none");
    topic.write(800);
    undisturbed.catch_up(&topic, &mut [&mut process]);
    let all = undisturbed.left(&process.stop());
    let half = disturbed.finish(&topic, "one");
    assert_eq!(all.read(), 1_600);
    half.is(&all, "what was half forgotten");
    // Who opens a lane that goes on reads what is left of its windows.
    topic.write(800);
    let half = disturbed.finish(&topic, "one");
    half.is(&undisturbed.finish(&topic, "one"), "what went on");
}
