//! Whether a pipeline's results depend on its input alone.
//!
//! The same events are run in other cuts, on fresh instances: in batches of 1, 7 and 1,000 rows and
//! of the usual size, in one lane and in three. All files must have the same bytes. Then the calls
//! of a run are put to fresh instances again: see [`probe`](super::probe).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::compare::compare;
use super::evidence::Evidence;
use super::lab::Fresh;
use super::probe::{self, Culprit, Labs, Names};
use super::recorder::{Call, MapCall, MapRecorder, Recorder, Recording};
use super::table::{self, Sides};
use super::trial::{Cut, Outcome, Trial};
use super::{Check, TestError, Tolerances};
use crate::pipeline::{Host, MapAgain, Opener};

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
    let rows = usual.report.accounting.read;
    let Cuts { detail, cuts } = match trial.emits_batches() {
        // Where batches are cut is meant to show in what comes out.
        true => Cuts::default(),
        false => in_other_cuts(trial, usual, rows, most)?,
    };
    let Asked {
        calls,
        culprit,
        is_cut,
    } = ask_again(host, trial, rows)?;
    let passed = detail.is_empty() && culprit.is_none();
    let summary = match (&culprit, passed) {
        (_, true) => {
            let same = match trial.emits_batches() {
                true => "emit = \"batch\" shows where batches are cut, so cuts are not compared"
                    .to_owned(),
                false => format!("the same bytes in {} other cuts", cuts.len()),
            };
            let end = if is_cut {
                ", from the beginning of a long run"
            } else {
                ""
            };
            format!("{same}; {calls} calls are the same on fresh instances{end}")
        }
        (Some(culprit), _) => culprit.what.to_owned(),
        (None, _) => "the output depends on how rows are cut into batches and lanes".to_owned(),
    };
    let mut detail = detail;
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

/// What came of the same events in other cuts.
#[derive(Default)]
struct Cuts {
    /// How the first that differs does so.
    detail: String,
    /// Those that were tried, for programs.
    cuts: Vec<Value>,
}

/// Runs the events in other cuts, until one differs.
fn in_other_cuts(
    trial: &Trial<'_>,
    usual: &Outcome,
    rows: u64,
    most: usize,
) -> Result<Cuts, TestError> {
    let mut tried = Cuts::default();
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
        let same = what.is_none();
        let one = json!({"batch_rows": batch_rows, "lanes": lanes, "same": same});
        tried.cuts.push(one);
        if let Some(what) = what {
            let rows = table::many(batch_rows, "row", "rows");
            let lanes = table::many(lanes as usize, "lane", "lanes");
            tried.detail = format!("with batches of {rows} and {lanes} {what}");
            break;
        }
    }
    Ok(tried)
}

/// Numbers of rows of a call. A memory that comes round with every so many rows is not hidden by a
/// call having a multiple of them.
const PRIMES: [u64; 12] = [2, 3, 7, 17, 37, 101, 251, 503, 1009, 2039, 4093, 65_521];

/// The least of `PRIMES` that is no less.
fn prime(rows: u64) -> usize {
    let found = PRIMES.into_iter().find(|prime| *prime >= rows);
    found.unwrap_or(PRIMES[PRIMES.len() - 1]) as usize
}

/// Runs in one lane, once more with small batches, so that instances have a past, and once with a
/// large one, so that a call has several rows of an entity; and puts what was asked to fresh ones.
fn ask_again(host: &Host, trial: &Trial<'_>, rows: u64) -> Result<Asked, TestError> {
    let mut asked = Asked::default();
    for batch_rows in [prime((rows / 16).min(4093)), prime(rows)] {
        let cut = Cut {
            batch_rows: Some(batch_rows),
            lanes: Some(1),
        };
        let recorded = record(trial, cut)?;
        // The mapper comes first: whoever follows it answers for rows that it chose.
        if let Some(mapper) = &recorded.mapper {
            let open = || {
                host.lanes
                    .block_on(mapper.again.opener().open_mapper("check"))
            };
            let mut fresh = Fresh::new(host, Box::new(open));
            let checked = probe::check_mapper(&mapper.calls, &mut fresh, &mapper.input)?;
            asked.note(checked, mapper.calls.is_cut);
        }
        if let (Some(windows), None) = (&recorded.windows, &asked.culprit) {
            let mut labs = Labs::new(host, &windows.opener);
            let checked = probe::check(&windows.calls, &mut labs, &windows.names)?;
            asked.note(checked, windows.calls.is_cut);
        }
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

impl Asked {
    fn note(&mut self, (calls, culprit): (usize, Option<Culprit>), is_cut: bool) {
        self.calls += calls;
        self.culprit = culprit;
        self.is_cut |= is_cut;
    }
}

/// What was noted of a run.
pub(super) struct Recorded {
    pub(super) mapper: Option<RecordedMapper>,
    pub(super) windows: Option<RecordedWindows>,
}

/// What was noted of its mapper.
pub(super) struct RecordedMapper {
    calls: Recording<MapCall>,
    /// The columns that it wants.
    input: Vec<String>,
    again: MapAgain,
}

/// What was noted of its windowed transform.
pub(super) struct RecordedWindows {
    pub(super) calls: Recording<Call>,
    pub(super) names: Names,
    pub(super) opener: Opener,
    /// Whether its windows are put together of several states.
    pub(super) merges: bool,
}

/// Runs with every call of the mapper and of the windowed transform noted, as far as there are such.
pub(super) fn record(trial: &Trial<'_>, cut: Cut) -> Result<Recorded, TestError> {
    let (of_mapper, of_windows) = (Arc::default(), Arc::default());
    let (mut names, mut input) = (None, None);
    let outcome = trial.run(cut, |opened| {
        names = opened.plan.windows().map(|windows| Names {
            input: windows.spec.columns.clone(),
            keys: Arc::clone(&opened.plan.key_schema),
            state: Arc::clone(&windows.spec.state),
        });
        input = opened.mapper.as_ref().map(|mapper| mapper.columns.clone());
        opened
            .map_transforms(|transform| Box::new(Recorder::new(transform, &of_windows)))
            .map_mapper(|mapper| Box::new(MapRecorder::new(mapper, &of_mapper)))
    })?;
    let windows = names.zip(outcome.opener);
    let mapper = input.zip(outcome.map_again);
    Ok(Recorded {
        mapper: mapper.map(|(input, again)| RecordedMapper {
            calls: taken(&of_mapper),
            input,
            again,
        }),
        windows: windows.map(|(names, opener)| RecordedWindows {
            calls: taken(&of_windows),
            names,
            opener,
            merges: outcome.merges,
        }),
    })
}

fn taken<C>(recording: &Mutex<Recording<C>>) -> Recording<C> {
    std::mem::take(&mut *recording.lock().expect("the run is over"))
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
    let evidence = Evidence::find(&comparison, usual, most)?;
    Ok(Some(format!(
        "{}\n{}",
        table::summary(&comparison, USUAL_CUT),
        table::render(&comparison, USUAL_CUT, most, &evidence)
    )))
}
