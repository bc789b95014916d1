//! Hosts under SIGKILL while they go from one version to another, and back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::versions::{
    WINDOW, Wrong, ask, ask_for, beginning_with, is_wrong, pipeline, successor, swap,
    until_all_have, version, with_table,
};
use crate::live::pipeline::{Pipeline, Process, beside, pause};
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

#[test]
fn a_host_that_is_killed_in_a_swap_ends_in_one_generation_or_the_other_and_loses_nothing() {
    let mut topic = Topic::new("swap-killed", 2, 9);
    let disturbed = pipeline(&topic, "swap-killed", 0, RUN);
    topic.write(500);
    disturbed.finish(&topic, "one");
    let mut random = Pcg64::seed_from_u64(9);
    for round in 0..6 {
        topic.write(300);
        let process = disturbed.start_with_all(&topic, "one");
        // The wrong one adds nothing when it is taken back.
        ask(
            &disturbed,
            &format!("{round}.wasm"),
            version(1_000 + round, Wrong::Nothing),
        );
        topic.write(300);
        pause(Duration::from_millis(random.random_range(0..400)));
        process.kill();
        let process = disturbed.start("one");
        pause(Duration::from_millis(random.random_range(0..1_500)));
        process.kill();
        disturbed.folder.penstock(&["rollback", "totals"]).fine();
        let process = disturbed.start("one");
        pause(Duration::from_millis(random.random_range(0..1_500)));
        process.kill();
        let process = disturbed.start_with_all(&topic, "one");
        until_all_have(&disturbed, back_at(&disturbed));
        process.stop();
        // Back again needs somewhere to come from.
        let process = disturbed.start_with_all(&topic, "one");
        swap(&disturbed, "again.wasm", again(round));
        process.stop();
    }
    topic.write(500);
    let left = disturbed.finish(&topic, "one");
    let undisturbed = pipeline(&topic, "swap-not-killed", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what was killed");
}

/// How lanes come to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As they are.
    Same,
    /// It takes over their states.
    TakesOver,
    /// They begin anew.
    Anew,
}

/// Steps of a swap, how lanes come to them, and whether it is taken back before anybody works again.
const STEPS: [(&str, Way, bool); 13] = [
    ("prepared", Way::Same, false),
    ("snapshot", Way::Same, true),
    ("switched", Way::Same, false),
    ("switched", Way::Same, true),
    ("migrating", Way::TakesOver, false),
    ("half migrated", Way::TakesOver, false),
    ("migrated", Way::TakesOver, true),
    ("migration committed", Way::TakesOver, false),
    ("forgetting", Way::Anew, false),
    ("forgetting", Way::Anew, true),
    ("forgotten", Way::Anew, false),
    ("forgotten", Way::Anew, true),
    ("begun anew", Way::Anew, true),
];

/// Starts a process that dies at a step.
fn dying(pipeline: &Pipeline, step: &str) -> Process {
    pipeline.start_with("one", |command| {
        command.env("PENSTOCK_DIE_AT", step);
    })
}

/// Has a host die at every step of swaps and of the ways back from them, and sees to it that it leaves what one leaves that
/// never heard of another version.
fn dies_at_every_step(topic: &mut Topic, disturbed: &Pipeline, undisturbed: &Pipeline) {
    topic.write(500);
    disturbed.finish(topic, "one");
    for (round, (step, way, is_taken_back)) in (1..).zip(STEPS) {
        println!("{step}, {way:?}, {is_taken_back}");
        topic.write(200);
        // At work it goes over as hosts usually do.
        let mut process = dying(disturbed, step);
        disturbed.catch_up(topic, &mut [&mut process]);
        let (name, adds) = (format!("dies-{round}.wasm"), 1_000 * round);
        let number = match way {
            Way::Same => ask(disturbed, &name, version(adds, Wrong::Nothing)),
            Way::TakesOver => ask(disturbed, &name, successor(adds, Wrong::Nothing)),
            Way::Anew => {
                let file = disturbed.folder.write(&name, version(adds, Wrong::Nothing));
                ask_for(disturbed, file.to_str().unwrap(), &["--fresh"])
            }
        };
        process.dies();
        topic.write(200);
        if !is_taken_back {
            let mut process = disturbed.start_with_all(topic, "one");
            until_all_have(disturbed, number);
            disturbed.catch_up(topic, &mut [&mut process]);
            process.stop();
        }
        disturbed.folder.penstock(&["rollback", "totals"]).fine();
        // The way back, of which every other is disturbed too where it is sure that there is one.
        if (!is_taken_back || way != Way::Same) && round % 2 == 1 {
            dying(disturbed, "restored").dies();
        }
        let mut process = disturbed.start_with_all(topic, "one");
        until_all_have(disturbed, back_at(disturbed));
        topic.write(100);
        disturbed.catch_up(topic, &mut [&mut process]);
        process.stop();
    }
    topic.write(300);
    let left = disturbed.finish(topic, "one");
    left.is(&undisturbed.finish(topic, "one"), "what died");
}

#[test]
fn a_host_that_dies_at_any_step_ends_in_one_generation_or_the_other() {
    let mut topic = Topic::new("swap-dies", 2, 13);
    let disturbed = pipeline(&topic, "swap-dies", 0, RUN);
    let undisturbed = pipeline(&topic, "swap-does-not-die", 0, RUN);
    dies_at_every_step(&mut topic, &disturbed, &undisturbed);
}

/// A version that writes less than those that come after it, in a pipeline without a table.
fn silent(topic: &Topic, group: &str, run: &str) -> Pipeline {
    let silent = version(0, Wrong::IsSilentAtTimes);
    beginning_with(silent, Pipeline::over(topic, group, WINDOW, run))
}

#[test]
fn a_host_with_a_table_that_dies_at_any_step_ends_in_one_generation_or_the_other() {
    let mut topic = Topic::new("swap-dies-table", 2, 15);
    let begin = version(0, Wrong::IsSilentAtTimes);
    let disturbed = with_table(&topic, "swap-dies-table", RUN, begin);
    let undisturbed = silent(&topic, "swap-does-not-die-table", RUN);
    dies_at_every_step(&mut topic, &disturbed, &undisturbed);
}

/// A host dies after a table has what a version wrote, and before anything says that this version was at work.
fn what_is_served_and_not_committed_is_taken_back(name: &str, is_taken_back: bool) {
    // Much is written between two commits.
    let seldom = "lanes = 2\ncommit_every = \"2s\"";
    let mut topic = Topic::new(name, 2, 16);
    let begin = version(0, Wrong::IsSilentAtTimes);
    let disturbed = with_table(&topic, name, seldom, begin);
    topic.write(1_000);
    let mut process = dying(&disturbed, "served");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let (mut wrong, is_dead) = (0, AtomicBool::new(false));
    let mut topic = beside(
        || {
            for _ in 0..1_000 {
                if is_dead.load(Ordering::Relaxed) {
                    break;
                }
                topic.write(50);
                pause(Duration::from_millis(50));
            }
            topic
        },
        || {
            // Lanes that had nothing to do for a while commit at once, and one after the other when they have.
            pause(Duration::from_secs(3));
            wrong = ask(&disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
            process.dies();
            is_dead.store(true, Ordering::Relaxed);
        },
    );
    assert!(disturbed.store().iter().any(|line| is_wrong(line)));
    if !is_taken_back {
        let mut process = disturbed.start_with_all(&topic, "one");
        until_all_have(&disturbed, wrong);
        disturbed.catch_up(&topic, &mut [&mut process]);
        process.stop();
    }
    disturbed.folder.penstock(&["rollback", "totals"]).fine();
    let mut process = disturbed.start_with_all(&topic, "one");
    until_all_have(&disturbed, 1);
    // So few that the windows of before are the last of many keys.
    topic.write(40);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let left = disturbed.left(&process.stop());
    let undisturbed = silent(&topic, &format!("{name}-undisturbed"), RUN);
    left.is(&undisturbed.finish(&topic, "one"), name);
}

#[test]
fn what_a_host_served_from_a_table_before_it_died_is_taken_back_later() {
    what_is_served_and_not_committed_is_taken_back("swap-served", false);
}

#[test]
fn what_a_host_served_from_a_table_before_it_died_is_taken_back_at_once() {
    what_is_served_and_not_committed_is_taken_back("swap-served-at-once", true);
}

/// The generation that is wanted.
fn back_at(pipeline: &crate::live::pipeline::Pipeline) -> u64 {
    let history = super::versions::history(pipeline);
    let running = history.into_iter().rev().find(|it| it.1 == "running");
    running.expect("one was gone back to").0
}

/// A version that does what the first one does, and is another one each time.
fn again(round: u64) -> Vec<u8> {
    let mut bytes = version(0, Wrong::Nothing);
    bytes.extend([0, 3, 1, b'v', round as u8]);
    bytes
}
