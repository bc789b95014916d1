//! Calls of `accumulate` put together to one, with a group for each key.
//!
//! The host makes groups of the panes of windows, and a call of those that are open; a transform sees
//! neither. So it may be asked as if all rows of a key belonged together, and of short panes there is
//! then something to divide.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow_row::{RowConverter, SortField};

use super::TestError;
use super::lab::pick;
use super::recorder::Accumulated;

/// Runs of neighbouring calls with at most `rows` rows together; one with more stands alone.
pub(super) fn neighbours<'a>(
    calls: impl Iterator<Item = &'a Accumulated>,
    rows: usize,
) -> Vec<Vec<&'a Accumulated>> {
    let (mut runs, mut so_far): (Vec<Vec<_>>, usize) = (Vec::new(), 0);
    for call in calls {
        let more = call.group_of_row.len();
        match runs.last_mut() {
            Some(run) if so_far + more <= rows => {
                so_far += more;
                run.push(call);
            }
            _ => {
                so_far = more;
                runs.push(vec![call]);
            }
        }
    }
    runs
}

/// The calls as one, which nobody has made yet: each group begins with the first state of its key.
/// None if that is the only call itself.
pub(super) fn join(calls: &[&Accumulated]) -> Result<Option<Accumulated>, TestError> {
    let Some((first, others)) = calls.split_first() else {
        return Ok(None);
    };
    let keys = columns(calls, |call| &call.keys)?;
    let fields = keys.iter().map(|key| key.data_type().clone());
    let converter = RowConverter::new(fields.map(SortField::new).collect())?;
    let rows = converter.convert_columns(&keys)?;
    let (mut group_of_key, mut first_of_group) = (HashMap::new(), Vec::new());
    let groups: Vec<u32> = (0..rows.num_rows())
        .map(|row| {
            *group_of_key.entry(rows.row(row)).or_insert_with(|| {
                first_of_group.push(row as u32);
                first_of_group.len() as u32 - 1
            })
        })
        .collect();
    if others.is_empty() && first_of_group.len() == first.len {
        return Ok(None);
    }
    let (mut group_of_row, mut before) = (Vec::new(), 0);
    for call in calls {
        let of_call = call.group_of_row.iter();
        group_of_row.extend(of_call.map(|group| groups[before + *group as usize]));
        before += call.len;
    }
    let states = columns(calls, |call| &call.states)?;
    Ok(Some(Accumulated {
        columns: columns(calls, |call| &call.columns)?,
        group_of_row: group_of_row.into(),
        keys: pick(&keys, &first_of_group)?,
        states: pick(&states, &first_of_group)?,
        len: first_of_group.len(),
        updated: first.updated.clone(),
    }))
}

fn columns(
    calls: &[&Accumulated],
    of: fn(&Accumulated) -> &Vec<ArrayRef>,
) -> Result<Vec<ArrayRef>, TestError> {
    let columns = (0..of(calls[0]).len()).map(|at| {
        let of_calls: Vec<_> = calls.iter().map(|call| of(call)[at].as_ref()).collect();
        concat(&of_calls)
    });
    Ok(columns.collect::<Result<_, _>>()?)
}
