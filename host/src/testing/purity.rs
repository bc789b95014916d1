//! Whether a pipeline's results depend on its input alone.
//!
//! The same events are run in other cuts, on fresh instances: in batches of 1, 7 and 1,000 rows and
//! of the usual size, in one lane and in three. All files must have the same bytes. Then the calls
//! of a run are put to fresh instances again: see [`probe`](super::probe).

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::compare::compare;
use super::evidence::Evidence;
use super::lab::Lab;
use super::probe::{self, Culprit, Names};
use super::recorder::{Recorder, Recording};
use super::table::{self, Sides};
use super::trial::{Cut, Outcome, Trial};
use super::{Check, TestError, Tolerances};
use crate::pipeline::{Host, Opener};

/// Rows of a batch when a pipeline does not say.
const USUAL_ROWS: usize = 65_536;
/// With more rows than this, batches of one row take too long for what they show.
const MOST_ROWS_ONE_BY_ONE: u64 = 100_000;

const USUAL_CUT: Sides = Sides("usual", "cut");

/// Runs the events in other cuts and asks fresh instances.
///
/// # Errors
///
/// A run fails that went well in the usual cut, or the machine gives out.
pub(super) fn check(
    host: &Host,
    trial: &Trial<'_>,
    usual: &Outcome,
    most: usize,
) -> Result<Check, TestError> {
    let mut detail = String::new();
    let mut cuts = Vec::new();
    let rows = usual.report.accounting.read;
    for (batch_rows, lanes) in [(1, 1), (7, 3), (1000, 1), (USUAL_ROWS, 3)] {
        if batch_rows == 1 && rows > MOST_ROWS_ONE_BY_ONE {
            continue;
        }
        let cut = Cut {
            batch_rows: Some(batch_rows),
            lanes: Some(lanes),
        };
        let what = match trial.run(cut, |opened| opened) {
            Ok(outcome) => {
                differs(usual, &outcome, most)?.map(|what| format!("the output is another: {what}"))
            }
            Err(TestError::Run(error)) if !error.is_stop() => {
                Some(format!("the run fails: {error}"))
            }
            Err(error) => return Err(error),
        };
        if let Some(what) = what {
            let rows = table::many(batch_rows, "row", "rows");
            let lanes = table::many(lanes as usize, "lane", "lanes");
            detail = format!("with batches of {rows} and {lanes} {what}");
        }
        cuts.push(json!({"batch_rows": batch_rows, "lanes": lanes, "same": detail.is_empty()}));
        if !detail.is_empty() {
            break;
        }
    }
    let Asked {
        calls,
        culprit,
        is_cut,
    } = ask_again(host, trial, rows)?;
    let passed = detail.is_empty() && culprit.is_none();
    let summary = match (&culprit, passed) {
        (_, true) if usual.opener.is_none() => {
            format!("the same bytes in {} other cuts", cuts.len())
        }
        (_, true) => format!(
            "the same bytes in {} other cuts; {calls} calls are the same on fresh instances{}",
            cuts.len(),
            if is_cut {
                ", from the beginning of a long run"
            } else {
                ""
            }
        ),
        (Some(culprit), _) => culprit.what.to_owned(),
        (None, _) => "the output depends on how rows are cut into batches and lanes".to_owned(),
    };
    if let Some(Culprit { at, shows, .. }) = &culprit {
        detail = format!("in {at}\n  {shows}\n{detail}");
    }
    Ok(Check {
        name: "purity",
        passed,
        summary,
        detail,
        data: json!({
            "cuts": cuts,
            "calls_checked": calls,
            "beginning_of_a_long_run": is_cut,
            "culprit": culprit.map(|c| json!({"what": c.what, "at": c.at, "shows": c.shows})),
        }),
    })
}

/// Runs in one lane, once more with small batches, so that instances have a past, and once with a
/// large one, so that a call has several rows of an entity; and puts what was asked to fresh ones.
fn ask_again(host: &Host, trial: &Trial<'_>, rows: u64) -> Result<Asked, TestError> {
    let mut asked = Asked::default();
    for batch_rows in [(rows / 16).clamp(2, 4096), rows.clamp(2, 65_536)] {
        let cut = Cut {
            batch_rows: Some(batch_rows as usize),
            lanes: Some(1),
        };
        let Some(recorded) = record(trial, cut)? else {
            break;
        };
        let mut lab = Lab::new(host, &recorded.opener);
        let (calls, culprit) = probe::check(&recorded.calls, &mut lab, &recorded.names)?;
        asked.calls += calls;
        asked.is_cut |= recorded.calls.is_cut;
        asked.culprit = culprit;
        if asked.culprit.is_some() {
            break;
        }
    }
    Ok(asked)
}

/// What fresh instances answered.
#[derive(Default)]
struct Asked {
    calls: usize,
    culprit: Option<Culprit>,
    /// Whether there were more calls than could be noted.
    is_cut: bool,
}

/// What was noted of a run's windowed transform.
pub(super) struct Recorded {
    pub(super) calls: Recording,
    pub(super) names: Names,
    pub(super) opener: Opener,
    /// Whether its windows are put together of several states.
    pub(super) merges: bool,
}

/// Runs with every call of the windowed transform noted; none if there is no such transform.
pub(super) fn record(trial: &Trial<'_>, cut: Cut) -> Result<Option<Recorded>, TestError> {
    let recording = Arc::new(Mutex::new(Recording::default()));
    let mut names = None;
    let outcome = trial.run(cut, |opened| {
        names = opened.plan.windows().map(|windows| Names {
            input: windows.spec.columns.clone(),
            keys: Arc::clone(&opened.plan.key_schema),
            state: Arc::clone(&windows.spec.state),
        });
        opened.map_transforms(|transform| Box::new(Recorder::new(transform, &recording)))
    })?;
    let recording = std::mem::take(&mut *recording.lock().expect("the run is over"));
    let found = names.zip(outcome.opener);
    Ok(found.map(|(names, opener)| Recorded {
        calls: recording,
        names,
        opener,
        merges: outcome.merges,
    }))
}

/// In which file two runs differ first, and how.
fn differs(usual: &Outcome, cut: &Outcome, most: usize) -> Result<Option<String>, TestError> {
    let name = |name: &&&str| usual.files.get(**name) != cut.files.get(**name);
    let Some(file) = ["features", "rejects", "late", "invalid"].iter().find(name) else {
        return Ok(None);
    };
    if *file != "features" {
        let text = |outcome: &Outcome| {
            let bytes = outcome.files.get(file).cloned().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (one, other) = (text(usual), text(cut));
        let (mut one, mut other) = (one.lines(), other.lines());
        let line = (1..).find_map(|number| match (one.next(), other.next()) {
            (None, None) => Some((number, "", "")),
            (a, b) if a == b => None,
            (a, b) => Some((number, a.unwrap_or("nothing"), b.unwrap_or("nothing"))),
        });
        let (number, one, other) = line.unwrap_or_default();
        return Ok(Some(format!(
            "line {number} of its {file} file\n  usual  {one}\n  cut    {other}"
        )));
    }
    let leniency = super::cells::Leniency::default();
    let comparison = compare(
        &usual.layout,
        (&usual.features, leniency),
        &cut.features,
        &usual.layout.outputs,
        &Tolerances::default(),
    )?;
    if comparison.is_same() {
        return Ok(Some("the same features in another order".to_owned()));
    }
    let evidence = Evidence::find(&comparison, usual, 1)?;
    Ok(Some(format!(
        "{}\n{}",
        table::summary(&comparison, USUAL_CUT),
        table::render(&comparison, USUAL_CUT, most, &evidence)
    )))
}
