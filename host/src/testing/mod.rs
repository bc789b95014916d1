//! Testing pipelines: recorded events in, a verdict out.
//!
//! In: a pipeline and a [`Case`], which is some events and what is expected of them. Out: a
//! [`CaseReport`] with a [`Check`] for each thing that was looked at: the features against a golden
//! file (`compare`), the rejected and late rows (`refused`), that the result depends on the input
//! alone (`purity`), and the laws of `merge` (`laws`). And what an environment serves and has in its history, against what
//! recorded events give (`parity`).
//!
//! It must never touch the environment's store or outputs: every run writes to a temporary folder
//! (`trial`). What is expected is written only when it was asked for (`bless`).

mod bless;
mod cases;
mod cells;
mod compare;
mod error;
mod evidence;
mod exact;
mod expected;
mod joined;
mod junit;
mod lab;
mod laws;
mod layout;
mod outputs;
mod parity;
mod probe;
mod purity;
mod recorder;
mod refused;
mod several;
mod table;
mod tolerance;
mod trial;
mod windows;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use cases::{CASES_FOLDER, Case, find as find_cases};
pub use error::TestError;
pub use junit::write as write_junit;
pub use layout::Layout;
pub use parity::{Parity, ParityDifference, ParityOptions, Seen, parity};
pub use several::{Results, run_all};
pub use tolerance::{ColumnTolerance, Tolerances};
pub use trial::{Cut, Outcome, Trial};

use crate::config::{Pipeline, types};
use crate::pipeline::Host;
use cells::Leniency;
use evidence::Evidence;
use table::{EXPECTED_GOT, Sides};

/// How cases are tested.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Differences that are shown of each case.
    pub show: usize,
    /// Whether what comes out is taken for what is expected, and written.
    pub bless: bool,
    /// Whether programs are given every difference, and not only those that are shown.
    pub all: bool,
    /// Lanes of pipelines that do not say how many.
    pub lanes: Option<u32>,
}

impl Options {
    /// Differences that programs are given of each case.
    fn listed(self) -> usize {
        if self.all { usize::MAX } else { self.show }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Check {
    /// `features`, `rejects`, `purity` or `laws`.
    pub name: &'static str,
    /// Whether it was found right.
    pub passed: bool,
    /// What was found, in a line.
    pub summary: String,
    /// What a person needs to see if it failed; may have several lines.
    pub detail: String,
    /// The same for programs.
    pub data: Value,
}

/// What came of a case.
#[derive(Debug)]
pub struct CaseReport {
    /// Its name; empty for the only one.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// What was written, and what changed by it.
    pub blessed: Vec<String>,
    /// Why it could not be tested to the end.
    pub error: Option<TestError>,
    /// How long it took.
    pub elapsed: Duration,
}

impl CaseReport {
    /// Whether everything that was looked at was found right.
    pub fn passed(&self) -> bool {
        self.error.is_none() && self.checks.iter().all(|check| check.passed)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            json!({
                "check": check.name,
                "passed": check.passed,
                "summary": check.summary,
                "found": check.data,
            })
        });
        json!({
            "name": self.name,
            "description": self.description,
            "passed": self.passed(),
            "error": self.error.as_ref().map(ToString::to_string),
            "seconds": self.elapsed.as_secs_f64(),
            "checks": checks.collect::<Vec<_>>(),
            "blessed": self.blessed,
        })
    }
}

/// Tests one case.
pub fn run_case(
    host: &Host,
    pipeline: &Pipeline,
    case: &Case,
    options: Options,
    stop: &Arc<AtomicBool>,
) -> CaseReport {
    let began = Instant::now();
    let mut report = CaseReport {
        name: case.name.clone(),
        description: case.description.clone(),
        checks: Vec::new(),
        blessed: Vec::new(),
        error: None,
        elapsed: Duration::ZERO,
    };
    let looked = match &case.unusable {
        Some(error) => Err(TestError::Case(Arc::clone(error))),
        None => look(host, pipeline, case, options, stop, &mut report),
    };
    report.error = looked.err();
    report.elapsed = began.elapsed();
    report
}

fn look(
    host: &Host,
    pipeline: &Pipeline,
    case: &Case,
    options: Options,
    stop: &Arc<AtomicBool>,
    report: &mut CaseReport,
) -> Result<(), TestError> {
    let mut pipeline = pipeline.clone();
    pipeline.run.lanes = pipeline.run.lanes.or(options.lanes);
    // Whoever tests a transform wants to hear of the first call that fails.
    pipeline.limits.failures = 0;
    let events = case.events.as_deref();
    let trial = Trial::new(host, &pipeline, &case.environment, events, stop)?;
    let outcome = trial.run(Cut::default(), |opened| opened)?;
    let columns = outcome
        .layout
        .compared(&case.columns, case.tolerances.columns())?;
    if let Some(path) = &case.expected {
        match options.bless {
            true => {
                let changed = bless::features(path, &trial, &outcome, options.show)?;
                report.blessed.push(changed);
            }
            false => {
                let check = features(path, &outcome, &columns, case, options)?;
                report.checks.push(check);
            }
        }
    }
    if let Some(path) = &case.expected_refused {
        let got = refused::of(&outcome);
        match options.bless {
            // Of a new case nobody needs a file that says nothing.
            true if got.is_empty() && !path.exists() => {}
            true => report
                .blessed
                .push(bless::refused(path, &got, options.show)?),
            false => report.checks.push(rejects(path, &got, options)?),
        }
    }
    if case.purity {
        let check = purity::check(host, &trial, &outcome, options.show)?;
        report.checks.push(check);
    }
    // Of a transform that is not pure, the laws of its merge say nothing.
    let is_pure = report
        .checks
        .iter()
        .all(|check| check.name != "purity" || check.passed);
    if case.laws && is_pure {
        let rows = outcome.report.accounting.read;
        let check = laws::check(host, &trial, rows, &case.tolerances)?;
        report.checks.push(check);
    }
    Ok(())
}

fn features(
    path: &Path,
    outcome: &Outcome,
    columns: &[String],
    case: &Case,
    options: Options,
) -> Result<Check, TestError> {
    let expected = expected::read(path, &outcome.layout)?;
    let comparison = compare::compare(
        &outcome.layout,
        (&expected.rows, expected.leniency),
        &outcome.features,
        columns,
        &case.tolerances,
    )?;
    let most = options.show;
    let listed = options.listed();
    let evidence = Evidence::find(&comparison, outcome, most.max(listed))?;
    Ok(Check {
        name: "features",
        passed: comparison.is_same(),
        summary: table::summary(&comparison, EXPECTED_GOT),
        detail: table::render(&comparison, EXPECTED_GOT, most, &evidence),
        data: table::to_json(&comparison, EXPECTED_GOT, listed, &evidence),
    })
}

fn rejects(path: &Path, got: &[refused::Refused], options: Options) -> Result<Check, TestError> {
    let turned = refused::compare(&refused::read(path)?, got);
    Ok(Check {
        name: "rejects",
        passed: turned.is_same(),
        summary: turned.summary(),
        detail: turned.render(options.show),
        data: turned.to_json(options.listed()),
    })
}

/// How the features of one run differ from those of an earlier one; nothing if they do not.
///
/// # Errors
///
/// The columns cannot be compared, or the events not be read again.
pub fn difference(
    before: &Outcome,
    now: &Outcome,
    most: usize,
) -> Result<Option<String>, TestError> {
    const BEFORE_NOW: Sides = Sides("before", "now");
    let outputs: Vec<String> = now.layout.outputs.clone();
    if before.layout.schema != now.layout.schema {
        let names = |layout: &Layout| {
            let fields = layout.schema.fields().iter();
            let outputs = fields.filter(|field| layout.outputs.contains(field.name()));
            let outputs = outputs.map(|field| {
                let never = if field.is_nullable() {
                    ""
                } else {
                    ", never null"
                };
                let data_type = types::type_name(field.data_type());
                format!("{}: {data_type}{never}", field.name())
            });
            outputs.collect::<Vec<_>>().join("; ")
        };
        return Ok(Some(format!(
            "the output's columns are others\n  before  {}\n  now     {}\n",
            names(&before.layout),
            names(&now.layout)
        )));
    }
    let comparison = compare::compare(
        &now.layout,
        (&before.features, Leniency::default()),
        &now.features,
        &outputs,
        &Tolerances::default(),
    )?;
    if comparison.is_same() {
        return Ok(None);
    }
    let evidence = Evidence::find(&comparison, now, most)?;
    Ok(Some(format!(
        "{}\n{}",
        table::summary(&comparison, BEFORE_NOW),
        table::render(&comparison, BEFORE_NOW, most, &evidence)
    )))
}
