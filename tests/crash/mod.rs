//! Runs that are killed and go on: what they leave is what an undisturbed run leaves.

mod kept;
mod killed;
mod remote;
pub(crate) mod stream;

/// The seed of the first schedule: that of a round of `cargo xtask soak`, or zero.
pub(crate) fn first_seed() -> u64 {
    let round = std::env::var("PROPTEST_RNG_SEED").map_or(Ok(0), |seed| seed.parse::<u64>());
    round.expect("a seed is a whole number") * 1_000_000
}
