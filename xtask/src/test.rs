//! `cargo xtask test`: everything that must hold, one step after the other, until one fails.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    command,
    machine::{self, CLIPPY, LIBRDKAFKA, LINKER, RUSTFMT, WASI_TARGET, WASM_TARGET},
    packages,
    projects::{self, Program},
    services, tidy, transforms,
    workspace::Workspace,
};

/// What a test prints, first in a line, when it could not check something here, such as for want of a server.
const LEFT_OUT: &str = "left out: ";

/// How much is tested.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what a change most likely breaks: no whole programs, no documentation
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut report = Report::default();
    let done = run_steps(workspace, options, &mut report);
    println!("\n{}", report.summary());
    done
}

fn run_steps(workspace: &Workspace, options: &Options, report: &mut Report) -> Result<()> {
    report.step("machine", |_| {
        machine::prepare(&[
            LINKER,
            LIBRDKAFKA,
            WASM_TARGET,
            WASI_TARGET,
            RUSTFMT,
            CLIPPY,
        ])?;
        if options.quick {
            return Ok(());
        }
        services::prepare(workspace)
    })?;
    report.step("format", |_| {
        command::run(workspace.cargo().args(["fmt", "--all", "--check"]))
    })?;
    report.step("tidy", |_| tidy::run(&workspace.root))?;
    report.step("clippy", |_| {
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        command::run(workspace.cargo().args(clippy))
    })?;
    if options.quick {
        report.left_out.push("documentation (--quick)".to_owned());
    } else {
        report.step("docs", |_| {
            let doc = ["doc", "--workspace", "--no-deps"];
            command::run(
                workspace
                    .cargo()
                    .env("RUSTDOCFLAGS", "-D warnings")
                    .args(doc),
            )
        })?;
    }
    report.step("transforms", |_| transforms::build(workspace))?;
    if !options.quick {
        // Before the languages, whose projects `penstock` builds: built for itself, it would have its dependencies built
        // with other features, and all of them twice.
        report.step("build", |_| {
            command::run(workspace.cargo().args(["test", "--workspace", "--no-run"]))
        })?;
        report.step("languages", |_| {
            projects::prepare_and_build(workspace, Program::Built)?;
            projects::test(workspace)?;
            packages::prepare_and_test(workspace)
        })?;
    }
    report.step("tests", |left_out| {
        let mut tests = workspace.cargo();
        tests.args(["test", "--workspace"]);
        if options.quick {
            tests.args(["--lib", "--bins"]);
            left_out.push(
                "tests of whole programs, and examples in documentation (--quick)".to_owned(),
            );
        }
        // What a passing test prints reaches us only with this option.
        tests.args(["--", "--show-output"]);
        let mut output = TestOutput::default();
        let done = command::run_reading(&mut tests, |line| {
            if output.take(line) {
                println!("{line}");
            }
        });
        left_out.append(&mut output.left_out);
        done
    })
}

#[derive(Debug, Default)]
struct Report {
    passed: Vec<(&'static str, Duration)>,
    failed: Option<&'static str>,
    left_out: Vec<String>,
}

impl Report {
    fn step(
        &mut self,
        name: &'static str,
        step: impl FnOnce(&mut Vec<String>) -> Result<()>,
    ) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let done = step(&mut self.left_out);
        let took = start.elapsed();
        match &done {
            Ok(()) => {
                println!("{name}: passed in {}", seconds(took));
                self.passed.push((name, took));
            }
            Err(_) => {
                println!("{name}: FAILED after {}", seconds(took));
                self.failed = Some(name);
            }
        }
        done.with_context(|| format!("the step `{name}` failed"))
    }

    fn summary(&self) -> String {
        let mut lines = vec!["== summary".to_owned()];
        lines.extend(
            self.passed
                .iter()
                .map(|(name, took)| format!("{name}: passed in {}", seconds(*took))),
        );
        if let Some(name) = self.failed {
            lines.push(format!("{name}: FAILED; what comes after it was not run"));
        }
        if self.failed.is_none() && self.left_out.is_empty() {
            lines.push("nothing was left out".to_owned());
        }
        let mut left_out = self.left_out.clone();
        left_out.sort_unstable();
        left_out.dedup();
        lines.extend(left_out.iter().map(|what| format!("{LEFT_OUT}{what}")));
        lines.join("\n")
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// Reads what the test harness prints. With `--show-output` it repeats what passing tests printed, between `successes:`
/// and the next heading; of that, only what was left out is worth a reader's time.
#[derive(Debug, Default)]
struct TestOutput {
    within_successes: bool,
    left_out: Vec<String>,
}

impl TestOutput {
    /// Whether the line is to be printed.
    fn take(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.within_successes = true,
            "failures:" => self.within_successes = false,
            _ if line.starts_with("test result: ") => self.within_successes = false,
            _ => {}
        }
        if let Some(what) = line.strip_prefix(LEFT_OUT) {
            self.left_out.push(what.to_owned());
            return true;
        }
        !self.within_successes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cargo 1.95 prints.
    const OUTPUT: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
a lot of detail
left out: Kinesis, for want of Node.js

---- b stdout ----
left out: Kinesis, for want of Node.js


successes:
    a
    b

failures:

---- c stdout ----
it broke

failures:
    c

test result: FAILED. 2 passed; 1 failed
";

    #[test]
    fn passing_tests_are_silent_but_for_what_they_left_out() {
        let mut output = TestOutput::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| output.take(line)).collect();
        assert_eq!(output.left_out, ["Kinesis, for want of Node.js"; 2]);
        let shown = shown.join("\n");
        assert!(
            !shown.contains("a lot of detail") && !shown.contains("successes"),
            "{shown}"
        );
        assert!(
            shown.contains("it broke")
                && shown.contains("test result")
                && shown.contains("test a ... ok"),
            "{shown}"
        );
    }

    #[test]
    fn the_summary_says_what_failed_and_what_was_left_out_once() {
        let mut report = Report::default();
        report
            .step("first", |left_out| {
                left_out.extend(["x".to_owned(), "x".to_owned()]);
                Ok(())
            })
            .expect("it passes");
        assert!(report.step("second", |_| anyhow::bail!("no")).is_err());
        let summary = report.summary();
        assert_eq!(summary.matches("left out: x").count(), 1, "{summary}");
        assert!(
            summary.contains("first: passed in 0.0 s") && summary.contains("second: FAILED"),
            "{summary}"
        );
    }
}
