//! Hosts under SIGKILL while they go from one version to another, and back.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::versions::{Wrong, ask, pipeline, successor, swap, until_all_have, version};
use crate::live::pipeline::pause;
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

/// Steps of a swap, and whether the states are others.
const STEPS: [(&str, bool); 7] = [
    ("prepared", false),
    ("snapshot", false),
    ("switched", false),
    ("migrating", true),
    ("half migrated", true),
    ("migrated", true),
    ("migration committed", true),
];

#[test]
fn a_host_that_dies_at_any_step_ends_in_one_generation_or_the_other() {
    let mut topic = Topic::new("swap-dies", 2, 13);
    let disturbed = pipeline(&topic, "swap-dies", 0, RUN);
    topic.write(500);
    disturbed.finish(&topic, "one");
    let dying = |step: &str| {
        let step = step.to_owned();
        disturbed.start_with("one", |command| {
            command.env("PENSTOCK_DIE_AT", step);
        })
    };
    for (round, (step, is_other)) in (1..).zip(STEPS) {
        topic.write(200);
        // At work it goes over as hosts usually do.
        let mut process = dying(step);
        disturbed.catch_up(&topic, &mut [&mut process]);
        let wrong = match is_other {
            true => successor(1_000 * round, Wrong::Nothing),
            false => version(1_000 * round, Wrong::Nothing),
        };
        let number = ask(&disturbed, &format!("dies-{round}.wasm"), wrong);
        process.dies();
        topic.write(200);
        let mut process = disturbed.start_with_all(&topic, "one");
        until_all_have(&disturbed, number);
        disturbed.catch_up(&topic, &mut [&mut process]);
        process.stop();
        // The way back, of which every other is disturbed too.
        let process = match round % 2 {
            0 => disturbed.start_with_all(&topic, "one"),
            _ => dying("restored"),
        };
        disturbed.folder.penstock(&["rollback", "totals"]).fine();
        let process = match round % 2 {
            0 => process,
            _ => {
                process.dies();
                disturbed.start_with_all(&topic, "one")
            }
        };
        until_all_have(&disturbed, back_at(&disturbed));
        process.stop();
    }
    topic.write(300);
    let left = disturbed.finish(&topic, "one");
    let undisturbed = pipeline(&topic, "swap-does-not-die", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what died");
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
