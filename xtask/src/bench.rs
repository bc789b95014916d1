//! `cargo xtask bench`: builds for speed, then hands over to the package that measures.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    command,
    machine::{self, LIBRDKAFKA, LINKER, REDIS, WASM_TARGET},
    projects, services, transforms,
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
    if ["kafka", "swap"].contains(&options.name.as_str()) {
        services::install(workspace, &[Box::new(penstock_servers::Kafka)])?;
    }
    if options.name == "serve" {
        machine::prepare(&[REDIS])?;
        services::install(
            workspace,
            &[Box::new(penstock_servers::DynamoDb::in_memory())],
        )?;
    }
    transforms::build(workspace)?;
    if options.name == "languages" {
        projects::prepare_and_build(workspace, projects::Program::ToBuild)?;
    }
    // Both together: alone, each would have its dependencies built with other features.
    command::run(
        workspace
            .cargo()
            .args(["build", "--release", "-p", "penstock", "-p", PACKAGE]),
    )?;
    let mut bench = Command::new(workspace.target.join("release").join(PACKAGE));
    bench.arg(&options.name).args(&options.arguments);
    command::run(&mut bench)
}
