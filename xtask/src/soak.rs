//! `cargo xtask soak`: the property tests again and again, on other random cases each round.
//!
//! A round has a seed, which is printed, and repeats the same cases. Rounds that passed are noted in
//! `target/soak`, so that a soak which was stopped goes on where it was.

use std::fs;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    command,
    machine::{self, LIBRDKAFKA, LINKER, WASI_TARGET, WASM_TARGET},
    services, transforms,
    workspace::Workspace,
};

/// The property tests, as arguments of `cargo test -p penstock`.
const PROPERTIES: [&[&str]; 2] = [
    &["--lib", "--", "window::", "residence::"],
    &[
        "--test",
        "whole",
        "--",
        "windows::",
        "contract::every_type",
        "map::",
        "crash::killed",
        "live::killed",
        "live::kinesis::a_killed",
        "live::sinks::a_killed",
        "swap::live",
        "swap::killed",
    ],
];

/// What to try, and how long to go on.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only tests of whole pipelines with one of these in their names; without any everything that has random cases, and
    /// swaps in a row: 20 for each of `--times` in a round. `soak swap::live --rounds 1 --times 50` is 1,000 swaps
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Rounds in all, those of earlier soaks counted
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// How many times the cases of `cargo xtask test` a round tries
    #[arg(long, default_value_t = 10)]
    times: u32,
    /// The seed of the first round; each further round has the next one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Forget the rounds of earlier soaks
    #[arg(long)]
    fresh: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    machine::prepare(&[LINKER, LIBRDKAFKA, WASM_TARGET, WASI_TARGET])?;
    services::prepare(workspace)?;
    transforms::build(workspace)?;
    let folder = workspace.root.join("target").join("soak");
    let mut tests: Vec<Vec<&str>> = PROPERTIES.map(<[_]>::to_vec).to_vec();
    let mut noted = format!("seed-{}-times-{}", options.seed, options.times);
    if !options.names.is_empty() {
        let names = options.names.iter().map(String::as_str);
        tests = vec![["--test", "whole", "--"].into_iter().chain(names).collect()];
        noted = format!("{}-{noted}", options.names.join("-").replace("::", "-"));
    }
    let noted = folder.join(noted);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let before = fs::read_to_string(&noted).ok().filter(|_| !options.fresh);
    let passed: u64 = before.map_or(Ok(0), |text| text.trim().parse())?;
    if passed > 0 {
        println!("{passed} rounds passed before; --fresh starts over");
    }
    for round in passed..options.rounds {
        let seed = options.seed + round;
        println!(
            "\n== round {} of {}, seed {seed}",
            round + 1,
            options.rounds
        );
        for properties in &tests {
            let mut tests = workspace.cargo();
            tests
                .args(["test", "-p", "penstock"])
                .args(properties)
                .env("PENSTOCK_CASES", options.times.to_string())
                .env("PROPTEST_RNG_SEED", seed.to_string());
            command::run(&mut tests).with_context(|| {
                format!(
                    "round {} failed; repeat it with --seed {seed} --rounds 1 --times {} --fresh",
                    round + 1,
                    options.times
                )
            })?;
        }
        fs::write(&noted, (round + 1).to_string())
            .with_context(|| format!("cannot write {}", noted.display()))?;
    }
    println!("\n{} rounds passed", options.rounds);
    Ok(())
}
