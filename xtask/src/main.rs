//! What the project does with itself: `cargo xtask demo`, `test`, `bench`, and the parts of them.
//!
//! Every command installs or names what the machine lacks, and prints the commands that it runs, so that they can be
//! repeated by hand.

mod bench;
mod command;
mod demo;
mod fuzz;
mod machine;
mod packages;
mod projects;
mod services;
mod soak;
mod test;
mod tidy;
mod transforms;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// What the project does with itself.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Set the machine up, build everything, run a pipeline over simulated rides and look features up
    Demo(demo::Options),
    /// Build every example and every guest of the tests to a component in target/transforms
    Transforms,
    /// Make the packages of the SDKs in target/packages, and use each from an empty place
    Packages,
    /// Everything that must hold before a change goes in: formatting, lints, tidiness, tests, docs
    Test(test::Options),
    /// The property tests on many more random cases, round after round
    Soak(soak::Options),
    /// Mutations of what comes from outside: what guests return, files, messages, configuration, stores
    Fuzz(fuzz::Options),
    /// Start, stop and show real servers on this machine: Kafka, Kinesis, S3, DynamoDB
    Services(services::Options),
    /// Check the rules of the house that no compiler knows
    Tidy,
    /// Measure; the figures of a benchmark are ratios within one run
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Workspace::find().and_then(|workspace| match arguments.task {
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::Transforms => transforms::prepare_and_build(&workspace)
            .and_then(|()| projects::prepare_and_build(&workspace, projects::Program::ToBuild)),
        Task::Packages => packages::prepare_and_test(&workspace),
        Task::Test(options) => test::run(&workspace, &options),
        Task::Soak(options) => soak::run(&workspace, &options),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Services(options) => services::run(&workspace, &options),
        Task::Tidy => tidy::run(&workspace.root),
        Task::Bench(options) => bench::run(&workspace, &options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
