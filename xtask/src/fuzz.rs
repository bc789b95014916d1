//! `cargo xtask fuzz`: mutations of what comes from outside, for as long as one likes.
//!
//! Targets are tests named `fuzz_NAME` in the library; `host/src/fuzz.rs` says how they go about it. The library is built for it
//! so that it counts which code runs; its dependencies are as ever. What a target finds is kept in `tests/fuzz/corpus`, and
//! tried in every test run from then on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{
    command,
    machine::{self, LIBRDKAFKA, LINKER},
    workspace::Workspace,
};

/// What makes the compiler count the edges between pieces of code, in counters of a byte each.
const COUNTING: [&str; 4] = [
    "-Copt-level=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                          every target for a minute
  cargo xtask fuzz --list                   their names
  cargo xtask fuzz --seconds 600 guest      what guests return, for ten minutes
  cargo xtask fuzz --jobs 4                 four at a time
  cargo xtask fuzz --seed 7 ndjson          the mutations of that seed")]
pub(crate) struct Options {
    /// Targets, by how their names begin; all, if none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target is tried
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many are tried at a time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The seed of the mutations; another one each time if none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Shows the targets, and tries none
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    machine::prepare(&[LINKER, LIBRDKAFKA])?;
    let program = build(workspace)?;
    let tests = targets(&program, &options.targets)?;
    if options.list {
        tests.iter().for_each(|test| println!("{}", name(test)));
        return Ok(());
    }
    if tests.is_empty() {
        bail!("no target is named so; `cargo xtask fuzz --list` shows them");
    }
    let left = Mutex::new(tests.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                let next = || left.lock().expect("nobody panics here").next();
                while let Some(test) = next() {
                    if let Err(error) = command::run(&mut fuzz(&program, test, options)) {
                        let mut failed = failed.lock().expect("nobody panics here");
                        failed.push(format!("{}: {error:#}", name(test)));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics here");
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("{}", failed.join("\n")),
    }
}

/// Builds the library's tests so that they count which code runs, and says where they are.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let mut build = workspace.cargo();
    build.args(["rustc", "-p", "penstock", "--lib", "--profile", "test"]);
    build.args(["--message-format", "json-render-diagnostics", "--"]);
    build.args(COUNTING);
    let mut program = None;
    command::run_reading(&mut build, |line| {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(path) = message["executable"].as_str() {
            program = Some(PathBuf::from(path));
        }
    })?;
    program.context("cargo did not say where the tests are")
}

/// The tests that are targets, by their paths.
fn targets(program: &Path, wanted: &[String]) -> Result<Vec<String>> {
    let tests = command::output(Command::new(program).args(["--list", "--format", "terse"]))?;
    let tests = tests.lines().filter_map(|line| line.strip_suffix(": test"));
    let is_wanted = |test: &&str| {
        let begins = |wanted: &String| name(test).starts_with(wanted);
        is_target(test) && (wanted.is_empty() || wanted.iter().any(begins))
    };
    Ok(tests.filter(is_wanted).map(str::to_owned).collect())
}

fn is_target(test: &str) -> bool {
    let last = test.rsplit("::").next();
    last.is_some_and(|last| last.starts_with("fuzz_"))
}

fn name(test: &str) -> &str {
    test.rsplit("::fuzz_").next().unwrap_or(test)
}

fn fuzz(program: &Path, test: &str, options: &Options) -> Command {
    let mut fuzz = Command::new(program);
    fuzz.args(["--exact", test, "--nocapture"]);
    fuzz.env("PENSTOCK_FUZZ_SECONDS", options.seconds.to_string());
    // Of a panic that the host catches, as those of a library are, pages would be printed each time.
    fuzz.env("RUST_BACKTRACE", "0");
    if let Some(seed) = options.seed {
        fuzz.env("PENSTOCK_FUZZ_SEED", seed.to_string());
    }
    fuzz
}
