//! Runs that are killed and go on: what they leave is what an undisturbed run leaves.

mod kept;
mod killed;
mod remote;
pub(crate) mod stream;
mod table;

use std::ops::Range;
use std::sync::Mutex;

use crate::support::cases;

/// The seed of the first schedule: that of a round of `cargo xtask soak`, or zero.
pub(crate) fn first_seed() -> u64 {
    let round = std::env::var("PROPTEST_RNG_SEED").map_or(Ok(0), |seed| seed.parse::<u64>());
    round.expect("a seed is a whole number") * 1_000_000
}

/// Carries out this many schedules, two at a time; `PENSTOCK_CASES` multiplies their number. Gives their seeds.
pub(crate) fn in_pairs(schedules: u32, schedule: impl Fn(u64) + Sync) -> Range<u64> {
    let first = first_seed();
    let seeds = first..first + u64::from(cases(schedules).cases);
    let left = Mutex::new(seeds.clone());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = left.lock().unwrap().next();
                    let Some(seed) = seed else { break };
                    schedule(seed);
                }
            });
        }
    });
    seeds
}
