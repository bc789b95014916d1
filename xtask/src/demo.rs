//! `cargo xtask demo`: from a fresh machine to features that were looked up.

use std::{env, path::Path, process::Command};

use anyhow::Result;
use clap::Args;

use crate::{
    command,
    machine::{self, LIBRDKAFKA, LINKER, WASM_TARGET},
    transforms,
    workspace::Workspace,
};

const PIPELINE: &str = "examples/driver_accept_proportion/pipeline.toml";

/// The folder of `penstock.toml`, which says where the store is.
const PROJECT: &str = "examples";

/// Where `examples/penstock.toml` looks for rides.
const RIDES: &str = "data/rides";

/// The simulated stream in which [`DRIVERS`] are among the busiest, so that even a short one has them.
const SEED: &str = "1708";

/// Who is looked up.
const DRIVERS: [&str; 3] = ["42", "3860", "2689"];

const FEATURES: [&str; 2] = ["driver_accept_proportion_10m", "driver_offers_10m"];

/// How much the demo does.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ride offers to simulate: 1,000 a second of event time, about 180 bytes each
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2_000..))]
    events: u64,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let root = &workspace.root;
    if env::current_dir().is_ok_and(|here| here != *root) {
        println!("$ cd {}", root.display());
    }
    let penstock = workspace.target.join("release/penstock");

    say("What the machine needs");
    machine::prepare(&[LINKER, LIBRDKAFKA, WASM_TARGET])?;
    println!("all there");

    say("Transforms: the examples, built to WebAssembly components");
    transforms::build(workspace)?;

    say("The host (on a fresh machine this takes some minutes)");
    command::run(
        workspace
            .cargo()
            .args(["build", "--release", "-p", "penstock"]),
    )?;

    say("Simulated rides");
    let events = options.events.to_string();
    let simulate = [
        "simulate", "rides", "--events", &events, "--seed", SEED, "--out", RIDES,
    ];
    command::run(in_root(&penstock, root).args(simulate))?;

    say("The pipeline: each driver's share of accepted offers, every 10 minutes");
    command::run(in_root(&penstock, root).args(["run", PIPELINE]))?;

    say("Features, as a model would look them up");
    for driver in DRIVERS {
        command::run(
            in_root(&penstock, root)
                .args(["get", "driver", driver])
                .args(FEATURES)
                .args(["--project", PROJECT]),
        )?;
    }
    Ok(())
}

fn say(what: &str) {
    println!("\n== {what}");
}

fn in_root(program: &Path, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}
