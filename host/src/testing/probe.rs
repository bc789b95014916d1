//! Looks for what a transform must not have: a memory of its own, or an eye for where rows are cut.
//!
//! In: the recorded calls of a run. Each of them (of a long recording, each of the first and then
//! every sixteenth) is made once more on a fresh instance, which must answer the same, bit by bit;
//! and calls of `accumulate` are cut in two, one after the other, which must end in the same states. Out: the first call that betrays the transform, with its entity, and its window or its
//! input row.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Fields, Schema, SchemaRef, TimestampMicrosecondType};

use super::TestError;
use super::compare::cell_text;
use super::lab::{Lab, applied, groups_with_applied_rows};
use super::recorder::{Accumulated, Call, Recording};
use super::table;
use crate::source::record_text;

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

/// Checks recorded calls; gives how many were, and the first that betrays the transform.
pub(super) fn check(
    recording: &Recording,
    lab: &mut Lab<'_>,
    names: &Names,
) -> Result<(usize, Option<Culprit>), TestError> {
    let mut checked = 0;
    for (number, call) in recording.calls.iter().enumerate() {
        if number >= FIRST_CALLS && number % EVERY != 0 {
            continue;
        }
        checked += 1;
        lab.renew();
        let culprit = match call {
            Call::Accumulate(call) => accumulate_again(call, lab, names)?,
            Call::Merge { .. } => merge_again(call, lab, names)?,
            Call::Finish { .. } => finish_again(call, lab, names)?,
        };
        if culprit.is_some() {
            return Ok((checked, culprit));
        }
    }
    Ok((checked, None))
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

fn entity(keys: &[ArrayRef], group: usize, names: &Names) -> String {
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

fn accumulate_again(
    call: &Accumulated,
    lab: &mut Lab<'_>,
    names: &Names,
) -> Result<Option<Culprit>, TestError> {
    let again = match lab.accumulate(call)? {
        Ok(again) => again,
        Err(error) => return Ok(Some(failed("accumulate", &error))),
    };
    let full = |updated| applied(&call.states, &call.group_of_row, call.len, updated);
    let (one, other) = (full(&call.updated)?, full(&again)?);
    if let Some(culprit) = states_differ(call, (&one, &other), names, HIDDEN_STATE, WHOSE)? {
        return Ok(Some(culprit));
    }
    if call.updated.rejects != again.rejects {
        return Ok(Some(rejects_differ(
            call,
            &again.rejects,
            names,
            HIDDEN_STATE,
            WHOSE,
        )));
    }
    let rows = call.group_of_row.len() as u32;
    let mut cuts = vec![1, rows / 2, rows.saturating_sub(1)];
    cuts.retain(|cut| (1..rows).contains(cut));
    cuts.dedup();
    for cut in cuts {
        if let Some(culprit) = in_two_calls(call, cut, &one, lab, names)? {
            return Ok(Some(culprit));
        }
    }
    Ok(None)
}

/// Makes two calls of one, of which the first has `cut` rows.
fn in_two_calls(
    call: &Accumulated,
    cut: u32,
    states_of_one: &[ArrayRef],
    lab: &mut Lab<'_>,
    names: &Names,
) -> Result<Option<Culprit>, TestError> {
    let whose = ["in one call", "in two"];
    let rows = call.group_of_row.len() as u32;
    let first = lab.add(call, (0..cut).collect(), &call.states)?;
    let both = match first {
        Ok((states, rejects)) => lab
            .add(call, (cut..rows).collect(), &states)?
            .map(|(states, more)| (states, [rejects, more].concat())),
        Err(error) => Err(error),
    };
    match both {
        Ok((states, rejects)) => {
            let states = (states_of_one, &*states);
            if let Some(culprit) = states_differ(call, states, names, NO_FOLD, whose)? {
                return Ok(Some(culprit));
            }
            let same = rejects == call.updated.rejects;
            Ok((!same).then(|| rejects_differ(call, &rejects, names, NO_FOLD, whose)))
        }
        Err(error) => Ok(Some(Culprit {
            what: NO_FOLD,
            ..failed("accumulate with some of the rows", &error)
        })),
    }
}

fn states_differ(
    call: &Accumulated,
    (one, other): (&[ArrayRef], &[ArrayRef]),
    names: &Names,
    what: &'static str,
    whose: [&str; 2],
) -> Result<Option<Culprit>, TestError> {
    let has_row = groups_with_applied_rows(&call.group_of_row, call.len, &call.updated.rejects);
    let groups = (0..call.len).filter(|group| has_row[*group]);
    let Some((group, column)) = first_difference(one, other, groups)? else {
        return Ok(None);
    };
    let row = call
        .group_of_row
        .iter()
        .position(|of_row| *of_row as usize == group);
    let name = format!("state `{}`", names.state.field(column).name());
    Ok(Some(Culprit {
        what,
        at: accumulate_at(call, row.unwrap_or(0), names),
        shows: two(&name, &one[column], &other[column], group, whose),
    }))
}

fn rejects_differ(
    call: &Accumulated,
    again: &[crate::transform::Reject],
    names: &Names,
    what: &'static str,
    whose: [&str; 2],
) -> Culprit {
    let before = &call.updated.rejects;
    let same = before
        .iter()
        .zip(again)
        .take_while(|(one, other)| one == other)
        .count();
    let (one, other) = (before.get(same), again.get(same));
    let row = [one, other]
        .into_iter()
        .flatten()
        .map(|reject| reject.row)
        .min();
    let text = |reject: Option<&crate::transform::Reject>| {
        let reject = reject.filter(|reject| Some(reject.row) == row);
        reject.map_or("applied".to_owned(), |reject| {
            format!("rejected ({})", reject.code)
        })
    };
    Culprit {
        what,
        at: accumulate_at(call, row.unwrap_or(0) as usize, names),
        shows: format!(
            "the row is {} {}, and {} {}",
            text(one),
            whose[0],
            text(other),
            whose[1]
        ),
    }
}

fn accumulate_at(call: &Accumulated, row: usize, names: &Names) -> String {
    let fields = names.input.iter().zip(&call.columns);
    let fields: Fields = fields
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), call.columns.clone());
    let record = rows.map_or_else(|_| "{}".to_owned(), |rows| record_text(&rows, row as u32));
    let entity = entity(&call.keys, call.group_of_row[row] as usize, names);
    format!("accumulate, entity {entity}, input row {record}")
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
