//! `penstock test`: a pipeline against what is expected of it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::Failure;
use super::show::{self, say};
use crate::config::{DEFAULT_ENVIRONMENT, Pipeline, is_url, load_pipelines};
use crate::pipeline::Host;
use crate::testing::{
    self, CASES_FOLDER, Case, CaseReport, ColumnTolerance, Options, Results, TestError,
};

/// Both ways of using it, for whoever gave neither.
const FORMS: &str = "\
name events and what is expected of them:
  penstock test PIPELINE.toml --events events.ndjson --expect expected.csv
or a folder of cases, each a folder with events.ndjson and expected.csv:
  penstock test PIPELINE.toml --cases cases";

/// Runs a pipeline over recorded events and compares what comes out with what is expected. Touches
/// neither the store nor the outputs of the environment.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock test pipeline.toml                          the cases beside the pipeline, in cases/
  penstock test pipeline.toml --events a.ndjson --expect a.csv --tolerance mean=1e-9
  penstock test pipeline.toml --events 'data/*.ndjson' --expect golden.parquet --bless
  penstock test pipeline.toml --cases cases --filter late --junit results.xml
  penstock test pipeline.toml --events a.ndjson --purity

A tolerance t allows |expected - got| <= t * max(1, |expected|, |got|). Without one, values must be
the same, floats bit by bit. Rows are matched by entity and window, not by their place in the file.

Exit code 1 says that something differs, 2 that the input was bad, 130 that you stopped it.")]
pub(super) struct Arguments {
    /// The pipeline's file.
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// Files of events, or globs, in place of those that the environment has.
    #[arg(long, value_name = "FILES", num_args = 1.., conflicts_with = "cases")]
    events: Vec<String>,
    /// The features that are expected: .csv, .ndjson or .parquet.
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    expect: Option<PathBuf>,
    /// The rejected and late rows that are expected, as NDJSON: stage, code and line are compared.
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    expect_rejects: Option<PathBuf>,
    /// A folder of cases, each a folder with events.*, expected.* and perhaps case.toml.
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,
    /// Only the cases whose name contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// How far a column's values may be from the expected ones; `*` for every column.
    #[arg(long, value_name = "COLUMN=TOLERANCE")]
    tolerance: Vec<ColumnTolerance>,
    /// Compare only this column of the output; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    column: Vec<String>,
    /// How many differences to show.
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// Write what comes out as what is expected, and say what changed.
    #[arg(long)]
    bless: bool,
    /// Also check that the result depends on the events alone: other batches, other lanes and fresh
    /// instances must give the same bytes. Includes --laws.
    #[arg(long)]
    purity: bool,
    /// Also check the laws of the transform's merge, within the tolerances.
    #[arg(long)]
    laws: bool,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    /// The environment of penstock.toml that says what the events are.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
}

impl From<TestError> for Failure {
    fn from(error: TestError) -> Self {
        match () {
            () if error.is_stop() => Self::Stopped(error.to_string()),
            () if error.is_of_the_system() => Self::work(error),
            () => Self::input(error),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let pipeline = one_pipeline(&arguments.pipeline)?;
    let cases = cases(arguments, &pipeline)?;
    let host = super::host()?;
    let stop = super::signals::Signals::catch(&host)?.stop_work();
    let options = Options {
        show: arguments.show,
        bless: arguments.bless,
        all: arguments.json,
        lanes: lanes(&cases),
    };
    let results = test(&host, &pipeline, &cases, options, &stop, arguments.json);
    if let Some(path) = &arguments.junit {
        testing::write_junit(path, &pipeline.name.value, &results.cases)?;
    }
    if arguments.json {
        let cases: Vec<_> = results.cases.iter().map(CaseReport::to_json).collect();
        show::json(&json!({
            "pipeline": pipeline.name.value,
            "passed": results.failed().next().is_none(),
            "cases": cases,
        }));
    }
    verdict(&results, &stop)
}

/// Loads a pipeline by its own file.
pub(super) fn one_pipeline(path: &Path) -> Result<Pipeline, Failure> {
    let mut pipelines = load_pipelines(&[path]).map_err(Failure::input)?;
    match pipelines.len() {
        1 => Ok(pipelines.remove(0)),
        many => Err(Failure::Input(format!(
            "{} has {many} pipelines, and one is tested at a time; name its file",
            path.display()
        ))),
    }
}

/// Several cases at once have the machine to share.
pub(super) fn lanes(cases: &[Case]) -> Option<u32> {
    (cases.len() > 1).then_some(1)
}

fn cases(arguments: &Arguments, pipeline: &Pipeline) -> Result<Vec<Case>, Failure> {
    let usual = Case {
        tolerances: arguments.tolerance.iter().cloned().collect(),
        columns: arguments.column.clone(),
        environment: arguments.env.clone(),
        purity: arguments.purity,
        laws: arguments.laws || arguments.purity,
        ..Case::default()
    };
    let beside = cases_beside(pipeline);
    let is_checked = arguments.purity || arguments.laws;
    let single = !arguments.events.is_empty()
        || arguments.expect.is_some()
        || arguments.expect_rejects.is_some();
    let folder = match (&arguments.cases, single) {
        (Some(folder), _) => folder,
        (None, false) if beside.is_dir() => &beside,
        (None, single) if single || is_checked => return Ok(vec![single_case(arguments, usual)?]),
        (None, _) => {
            return Err(Failure::Input(format!(
                "there is nothing to test {} with: no folder {}; {FORMS}",
                arguments.pipeline.display(),
                beside.display()
            )));
        }
    };
    Ok(testing::find_cases(
        folder,
        arguments.filter.as_deref(),
        &usual,
    )?)
}

/// The folder of cases that belongs to a pipeline.
fn cases_beside(pipeline: &Pipeline) -> PathBuf {
    let folder = pipeline.source.folder().join(CASES_FOLDER);
    folder
        .strip_prefix(".")
        .map(Path::to_path_buf)
        .unwrap_or(folder)
}

fn single_case(arguments: &Arguments, usual: Case) -> Result<Case, Failure> {
    if arguments.filter.is_some() {
        return Err(Failure::Input(
            "--filter chooses among cases; give it with --cases".to_owned(),
        ));
    }
    let is_checked = usual.purity || usual.laws;
    if arguments.expect.is_none() && arguments.expect_rejects.is_none() && !is_checked {
        return Err(Failure::Input(format!(
            "there is nothing expected of these events: give --expect, --expect-rejects, --purity or --laws; {FORMS}"
        )));
    }
    let events = match arguments.events.as_slice() {
        [] => None,
        patterns => Some(events_of(patterns)?),
    };
    Ok(Case {
        events,
        expected: arguments.expect.clone(),
        expected_refused: arguments.expect_rejects.clone(),
        ..usual
    })
}

/// The files that patterns stand for, in their order, those of a glob by name, each once.
pub(super) fn events_of(patterns: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        if is_url(pattern) || Path::new(pattern).exists() {
            files.push(PathBuf::from(pattern));
            continue;
        }
        let refuse =
            |what: &dyn std::fmt::Display| Failure::Input(format!("--events {pattern}: {what}"));
        let found = glob::glob(pattern).map_err(|error| refuse(&error))?;
        let mut found = found
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refuse(&error))?;
        if found.is_empty() {
            return Err(refuse(&"there is no such file"));
        }
        found.sort_unstable();
        files.append(&mut found);
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|path| seen.insert(path.clone()));
    Ok(files)
}

/// Tests cases and says what came of them.
pub(super) fn test(
    host: &Host,
    pipeline: &Pipeline,
    cases: &[Case],
    options: Options,
    stop: &Arc<AtomicBool>,
    quiet: bool,
) -> Results {
    let bar = progress(cases.len(), quiet);
    let results = testing::run_all(host, pipeline, cases, options, stop, |case| {
        bar.inc(1);
        if !quiet && !case.name.is_empty() {
            bar.suspend(|| say!("{}", line(case)));
        }
    });
    bar.finish_and_clear();
    if !quiet {
        results.cases.iter().for_each(detail);
        if cases.iter().any(|case| !case.name.is_empty()) {
            say!("\n{}", summary(&results));
        }
    }
    results
}

/// A bar on a terminal, for those who wait for many cases.
fn progress(cases: usize, quiet: bool) -> ProgressBar {
    if quiet || cases < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:24} {pos} of {len} cases")
        .expect("the template is valid");
    let bar = ProgressBar::with_draw_target(Some(cases as u64), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

fn line(case: &CaseReport) -> String {
    let verdict = match (&case.error, case.passed()) {
        (Some(_), _) => "ERROR",
        (None, true) if case.checks.is_empty() => "blessed",
        (None, true) => "ok",
        (None, false) => "FAILED",
    };
    let seconds = case.elapsed.as_secs_f64();
    format!("{verdict:<7}  {}  ({seconds:.2} s)", case.name)
}

/// What a case has to say beside its line.
fn detail(case: &CaseReport) {
    let name = match case.name.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    for text in &case.blessed {
        say!("{name}{text}");
    }
    if case.passed() && !case.name.is_empty() {
        return;
    }
    if !case.name.is_empty() {
        let description = match case.description.as_str() {
            "" => String::new(),
            description => format!("  ({description})"),
        };
        say!("\n---- {}{description}", case.name);
    }
    for check in &case.checks {
        let verdict = if check.passed { "ok    " } else { "FAILED" };
        say!("{verdict}  {}: {}", check.name, check.summary);
        if !check.passed && !check.detail.is_empty() {
            say!("\n{}\n", check.detail.trim_end());
        }
    }
    // Of a single case the command itself says it, at its end.
    if let Some(error) = case.error.as_ref().filter(|_| !case.name.is_empty()) {
        say!("ERROR   {error}");
    }
}

/// How the command ends.
pub(super) fn verdict(results: &Results, stop: &AtomicBool) -> Result<(), Failure> {
    if results.is_stopped() || stop.load(Ordering::Relaxed) {
        return Err(Failure::Stopped(
            "stopped before the end of the test".to_owned(),
        ));
    }
    let failed: Vec<&CaseReport> = results.failed().collect();
    let message = match (failed.as_slice(), results.cases.as_slice()) {
        ([], _) => return Ok(()),
        ([one], [only]) if only.name.is_empty() => match &one.error {
            Some(error) => error.to_string(),
            None => {
                let checks = one.checks.iter().filter(|check| !check.passed);
                let checks = checks.map(|check| format!("{}: {}", check.name, check.summary));
                checks.collect::<Vec<_>>().join("; ")
            }
        },
        (some, all) => format!(
            "{} of {} failed: {}",
            some.len(),
            match all.len() {
                1 => "1 case".to_owned(),
                count => format!("{count} cases"),
            },
            some.iter()
                .map(|case| case.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    Err(match results.is_difference() {
        true => Failure::Work(message),
        false => Failure::Input(message),
    })
}

/// A line that counts cases, for those who look at nothing else.
fn summary(results: &Results) -> String {
    let (passed, all) = (results.passed(), results.cases.len());
    let cases = |count: usize| match count {
        1 => "1 case".to_owned(),
        count => format!("{} cases", show::count(count as u64)),
    };
    match all - passed {
        0 => format!("{} passed", cases(all)),
        failed => format!("{} passed, {failed} failed", cases(passed)),
    }
}
