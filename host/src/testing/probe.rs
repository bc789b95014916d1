//! Looks for what a transform must not have: a memory of its own, or an eye for where rows are cut.
//!
//! In: the recorded calls of a run. Each of them (of a long recording, each of the first and then
//! every sixteenth) is made once more on a fresh instance, which must answer the same, bit by bit;
//! and calls with rows are cut in two, which must end in the same (`rows`, `mapped`). Out: the first
//! call that betrays the transform, with its entity, and its window or its input row.

mod mapped;
mod rows;

use std::cmp::Ordering;

use arrow::array::{ArrayRef, AsArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

pub(super) use mapped::check as check_mapper;

use super::TestError;
use super::compare::cell_text;
use super::lab::Lab;
use super::recorder::{Call, Recording};
use super::table;
use crate::pipeline::{Host, Opener};

/// Calls that are all checked; of those after them every sixteenth is.
const FIRST_CALLS: usize = 256;
const EVERY: usize = 16;

/// What the columns of calls are called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) input: Vec<String>,
    pub(super) keys: SchemaRef,
    pub(super) state: SchemaRef,
}

/// What a transform was caught at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Culprit {
    /// What it does that it must not.
    pub(super) what: &'static str,
    /// In which call, and with what.
    pub(super) at: String,
    /// Which column of its answer shows it, and both answers.
    pub(super) shows: String,
}

pub(super) const HIDDEN_STATE: &str = "it remembers something between calls: an instance that had been called before answers otherwise than a fresh one";
pub(super) const NO_FOLD: &str =
    "it is no left fold: the states depend on where rows are cut into calls";

/// Where a windowed transform is asked: an instance that may have a past, and one that never has.
pub(super) struct Labs<'a> {
    past: Lab<'a>,
    fresh: Lab<'a>,
}

impl<'a> Labs<'a> {
    pub(super) fn new(host: &'a Host, opener: &'a Opener) -> Self {
        Self {
            past: Lab::new(host, opener),
            fresh: Lab::new(host, opener),
        }
    }
}

/// Checks recorded calls; gives how many were, and the first that betrays the transform.
pub(super) fn check(
    recording: &Recording<Call>,
    labs: &mut Labs<'_>,
    names: &Names,
) -> Result<(usize, Option<Culprit>), TestError> {
    let mut checked = 0;
    for (number, call) in chosen(&recording.calls) {
        checked += 1;
        labs.fresh.renew();
        let culprit = match call {
            Call::Accumulate(call) => rows::again(&recording.calls[..number], call, labs, names)?,
            Call::Merge { .. } => merge_again(call, &mut labs.fresh, names)?,
            Call::Finish { .. } => finish_again(call, &mut labs.fresh, names)?,
        };
        if culprit.is_some() {
            return Ok((checked, culprit));
        }
    }
    Ok((checked, None))
}

/// The calls that are checked, with their numbers.
fn chosen<C>(calls: &[C]) -> impl Iterator<Item = (usize, &C)> {
    let calls = calls.iter().enumerate();
    calls.filter(|(number, _)| *number < FIRST_CALLS || number % EVERY == 0)
}

/// The first group and column in which columns differ by bits.
fn first_difference(
    one: &[ArrayRef],
    other: &[ArrayRef],
    rows: impl Iterator<Item = usize>,
) -> Result<Option<(usize, usize)>, TestError> {
    let compare = one.iter().zip(other);
    let compare = compare.map(|(one, other)| make_comparator(one, other, SortOptions::default()));
    let compare = compare.collect::<Result<Vec<_>, _>>()?;
    for row in rows {
        let column = compare
            .iter()
            .position(|same| same(row, row) != Ordering::Equal);
        if let Some(column) = column {
            return Ok(Some((row, column)));
        }
    }
    Ok(None)
}

/// The entity of a group, in words.
pub(super) fn entity(keys: &[ArrayRef], group: usize, names: &Names) -> String {
    let fields = names.keys.fields().iter().zip(keys);
    let columns =
        fields.map(|(field, key)| (field.name().clone(), cell_text(&key.slice(group, 1))));
    table::entity(&columns.collect::<Vec<_>>())
}

fn two(name: &str, one: &ArrayRef, other: &ArrayRef, row: usize, whose: [&str; 2]) -> String {
    let text = |column: &ArrayRef| cell_text(&column.slice(row, 1));
    format!(
        "{name} is {} {}, and {} {}",
        text(one),
        whose[0],
        text(other),
        whose[1]
    )
}

const WHOSE: [&str; 2] = ["as the run had it", "from a fresh instance"];

fn failed(call: &str, error: &crate::transform::CallError) -> Culprit {
    Culprit {
        what: HIDDEN_STATE,
        at: format!("a call of {call}"),
        shows: format!("it went well in the run, and a fresh instance fails: {error}"),
    }
}

fn merge_again(
    call: &Call,
    lab: &mut Lab<'_>,
    names: &Names,
) -> Result<Option<Culprit>, TestError> {
    let Call::Merge {
        keys,
        earlier,
        later,
        len,
        merged,
    } = call
    else {
        return Ok(None);
    };
    let again = match lab.merge(keys, earlier, later, *len)? {
        Ok(again) => again,
        Err(error) => return Ok(Some(failed("merge", &error))),
    };
    let difference = first_difference(merged, &again, 0..*len)?;
    Ok(difference.map(|(group, column)| {
        let name = format!("state `{}`", names.state.field(column).name());
        Culprit {
            what: HIDDEN_STATE,
            at: format!("merge, entity {}", entity(keys, group, names)),
            shows: two(&name, &merged[column], &again[column], group, WHOSE),
        }
    }))
}

fn finish_again(
    call: &Call,
    lab: &mut Lab<'_>,
    names: &Names,
) -> Result<Option<Culprit>, TestError> {
    let Call::Finish {
        keys,
        states,
        bounds,
        len,
        finished,
    } = call
    else {
        return Ok(None);
    };
    let again = match lab.finish(keys, states, bounds, *len)? {
        Ok(again) => again,
        Err(error) => return Ok(Some(failed("finish", &error))),
    };
    let at = |group: usize| {
        format!(
            "finish, entity {}, window {}",
            entity(keys, group, names),
            table::window(window_of(bounds, group))
        )
    };
    if finished.source_group != again.source_group {
        let same = finished.source_group.iter().zip(&again.source_group);
        let same = same.take_while(|(one, other)| one == other).count();
        let group = [&finished.source_group, &again.source_group]
            .into_iter()
            .filter_map(|groups| groups.get(same))
            .min();
        return Ok(Some(Culprit {
            what: HIDDEN_STATE,
            at: at(*group.unwrap_or(&0) as usize),
            shows: format!(
                "it gave {} rows {}, and {} {}",
                finished.output.num_rows(),
                WHOSE[0],
                again.output.num_rows(),
                WHOSE[1]
            ),
        }));
    }
    let (one, other) = (finished.output.columns(), again.output.columns());
    let difference = first_difference(one, other, 0..finished.output.num_rows())?;
    Ok(difference.map(|(row, column)| {
        let schema = finished.output.schema();
        Culprit {
            what: HIDDEN_STATE,
            at: at(finished.source_group[row] as usize),
            shows: two(
                &format!("output `{}`", schema.field(column).name()),
                &one[column],
                &other[column],
                row,
                WHOSE,
            ),
        }
    }))
}

/// The bounds of a group's window.
pub(super) fn window_of(bounds: &[ArrayRef], group: usize) -> (Option<i64>, Option<i64>) {
    let bound = |at: usize| {
        let column = bounds
            .get(at)?
            .as_primitive_opt::<TimestampMicrosecondType>()?;
        arrow::array::Array::is_valid(column, group).then(|| column.value(group))
    };
    (bound(0), bound(1))
}
