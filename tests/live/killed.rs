//! Processes under SIGKILL, while events come in.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::pipeline::{Pipeline, beside, pause};
use super::topic::Topic;
use crate::crash::in_pairs;
use crate::crash::stream::WINDOWS;

/// Events of a schedule, and the pieces in which they come.
const EVENTS: u32 = 6_000;
const PIECES: u32 = 30;
/// Kills of one schedule.
const KILLS: u32 = 3;

/// The schedules are random; `PENSTOCK_CASES` multiplies their number.
#[test]
fn a_killed_pipeline_goes_on_and_leaves_what_an_undisturbed_one_leaves() {
    let seeds = in_pairs(20, schedule);
    println!("schedules of seeds {seeds:?}, {KILLS} kills each");
}

fn schedule(seed: u64) {
    let window = WINDOWS[seed as usize % WINDOWS.len()];
    let (partitions, lanes) = (1 + seed as u32 % 3, 1 + (seed as u32 / 6) % 2);
    let run = format!("lanes = {lanes}\ncommit_every = \"5ms\"");
    let name = format!("killed-{seed}");
    let mut topic = Topic::new(&name, partitions, seed);
    let disturbed = Pipeline::over(&topic, &format!("{name}-disturbed"), window, &run);
    let mut random = Pcg64::seed_from_u64(seed);
    let topic = beside(
        || {
            for _ in 0..PIECES {
                topic.write(EVENTS / PIECES);
                pause(Duration::from_millis(100));
            }
            topic
        },
        || {
            for _ in 0..KILLS {
                let process = disturbed.start("one");
                pause(Duration::from_millis(random.random_range(300..2_500)));
                process.kill();
            }
        },
    );
    let disturbed = disturbed.finish(&topic, "one");
    let undisturbed = Pipeline::over(&topic, &format!("{name}-undisturbed"), window, &run);
    let undisturbed = undisturbed.finish(&topic, "one");
    disturbed.is(&undisturbed, &format!("seed {seed}"));
}
