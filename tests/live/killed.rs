//! Processes under SIGKILL, while events come in.

use std::ops::Range;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::pipeline::{Pipeline, beside, pause};
use super::topic::Topic;
use crate::crash::in_pairs;
use crate::crash::stream::WINDOWS;

/// Kills of one schedule.
const KILLS: u32 = 3;

/// What comes while a process is killed and started again.
pub(super) struct Kills {
    pub(super) events: u32,
    /// The pieces in which they come, and how long there is between two.
    pub(super) pieces: (u32, Duration),
    pub(super) kills: u32,
    /// How long a process lives, in milliseconds.
    pub(super) lives: Range<u64>,
}

impl Kills {
    /// Carries the schedule out, and holds what is left against what an undisturbed process leaves.
    pub(super) fn change_nothing(
        &self,
        disturbed: &Pipeline,
        mut topic: Topic,
        (window, run): (&str, &str),
        seed: u64,
    ) {
        let mut random = Pcg64::seed_from_u64(seed);
        let (pieces, between) = self.pieces;
        let topic = beside(
            || {
                for _ in 0..pieces {
                    topic.write(self.events / pieces);
                    pause(between);
                }
                topic
            },
            || {
                for _ in 0..self.kills {
                    let process = disturbed.start("one");
                    pause(Duration::from_millis(
                        random.random_range(self.lives.clone()),
                    ));
                    process.kill();
                }
            },
        );
        let disturbed = disturbed.finish(&topic, "one");
        let group = format!("{}-undisturbed", topic.name);
        let undisturbed = Pipeline::over(&topic, &group, window, run);
        let undisturbed = undisturbed.finish(&topic, "one");
        disturbed.is(&undisturbed, &format!("seed {seed}"));
    }
}

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
    let topic = Topic::new(&name, partitions, seed);
    let disturbed = Pipeline::over(&topic, &format!("{name}-disturbed"), window, &run);
    let kills = Kills {
        events: 6_000,
        pieces: (30, Duration::from_millis(100)),
        kills: KILLS,
        lives: 300..2_500,
    };
    kills.change_nothing(&disturbed, topic, (window, &run), seed);
}
