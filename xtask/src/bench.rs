//! `cargo xtask bench`: builds for speed, then hands over to the package that measures.

use std::env;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    command,
    machine::{self, LIBRDKAFKA, LINKER, WASM_TARGET},
    services, transforms,
    workspace::Workspace,
};

const PACKAGE: &str = "penstock-bench";

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The benchmark, such as `replay`
    name: String,
    /// Handed on to it, such as `--json FILE` (write the figures there) or `--quick` (less data)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(
        workspace.has_package(PACKAGE),
        "the workspace has no package {PACKAGE}, which does the measuring"
    );
    machine::prepare(&[LINKER, LIBRDKAFKA, WASM_TARGET])?;
    if options.name == "kafka" {
        services::install(workspace, &[Box::new(penstock_servers::Kafka)])?;
    }
    transforms::build(workspace)?;
    command::run(
        workspace
            .cargo()
            .args(["build", "--release", "-p", "penstock"]),
    )?;
    let mut bench = workspace.cargo();
    bench
        .arg("run")
        .arg("--manifest-path")
        .arg(workspace.root.join("Cargo.toml"));
    bench
        .args(["--release", "-p", PACKAGE, "--", &options.name])
        .args(&options.arguments);
    // Paths in the arguments start from where the reader is.
    bench.current_dir(env::current_dir().context("the current folder cannot be read")?);
    command::run(&mut bench)
}
