//! The cases, each for any guest.

mod failures;
mod mapping;
mod migration;
mod rejects;
mod survival;
mod told;

pub(super) use self::failures::*;
pub(super) use self::mapping::*;
pub(super) use self::migration::*;
pub(super) use self::rejects::*;
pub(super) use self::survival::*;
pub(super) use self::told::*;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema};
use penstock::sandbox::Instance;
use penstock::transform::{CallError, Finished, Groups, Rows, Updated, Windowed};

use super::oracle::{States, bounds, key};
use super::values::{Batch, given};
use crate::support::HOST;
use crate::support::random::Columns;

/// States as an earlier version had them. Those of version 2 have other columns around the one that counts.
fn earlier(version: u32, counts: &ArrayRef) -> (Schema, Vec<ArrayRef>) {
    const SKIP: usize = 3;
    let count = Field::new("count", DataType::UInt64, false);
    if version == 1 {
        return (Schema::new(vec![count]), vec![Arc::clone(counts)]);
    }
    let mut random = Columns::new(18);
    let others = ["places", "utf8"].map(|name| {
        let field = given().into_iter().find(|field| field.name() == name);
        let field = field.expect("it is one of the values");
        let column = random.column(field.data_type(), counts.len() + SKIP, 3);
        (field, column.slice(SKIP, counts.len()))
    });
    let [(places, place), (utf8, text)] = &others;
    let schema = Schema::new(vec![places.clone(), count, utf8.clone()]);
    (
        schema,
        vec![Arc::clone(place), Arc::clone(counts), Arc::clone(text)],
    )
}

fn migrate(
    transform: &mut Instance,
    version: u32,
    schema: &Schema,
    states: &[ArrayRef],
    groups: usize,
) -> Result<Vec<ArrayRef>, CallError> {
    HOST.lanes
        .block_on(transform.migrate(version, schema, states, groups))
}

/// The states of all groups after a call that may have named only those that changed.
fn all(before: &States, updated: Updated) -> Vec<ArrayRef> {
    let Some(changed) = updated.changed else {
        return updated.states;
    };
    let groups = before.columns[0].len();
    let mut from: Vec<u32> = (0..groups as u32).collect();
    for (at, group) in changed.iter().enumerate() {
        from[*group as usize] = (groups + at) as u32;
    }
    let from = UInt32Array::from(from);
    let columns = before.columns.iter().zip(&updated.states);
    columns
        .map(|(before, after)| {
            let both = arrow::compute::concat(&[before.as_ref(), after.as_ref()]).unwrap();
            take(&both, &from, None).unwrap()
        })
        .collect()
}

fn keys(groups: usize) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from_iter_values((0..groups).map(key)))]
}

fn accumulate(
    transform: &mut Instance,
    batch: &Batch,
    of_row: &[u32],
    states: &[ArrayRef],
) -> Result<Updated, CallError> {
    let len = states[0].len();
    let keys = keys(len);
    let rows = Rows {
        columns: &batch.columns,
        group_of_row: &of_row.to_vec().into(),
    };
    let groups = Groups {
        keys: &keys,
        states,
        len,
    };
    HOST.lanes.block_on(transform.accumulate(rows, groups))
}

fn merge(transform: &mut Instance, earlier: &[ArrayRef], later: &[ArrayRef]) -> Vec<ArrayRef> {
    try_merge(transform, earlier, later).unwrap()
}

fn try_merge(
    transform: &mut Instance,
    earlier: &[ArrayRef],
    later: &[ArrayRef],
) -> Result<Vec<ArrayRef>, CallError> {
    let len = earlier[0].len();
    let keys = keys(len);
    let groups = Groups {
        keys: &keys,
        states: earlier,
        len,
    };
    let merged = HOST.lanes.block_on(transform.merge(groups, later))?;
    Ok(merged.states)
}

fn finish(transform: &mut Instance, states: &[ArrayRef]) -> Result<Finished, CallError> {
    let len = states[0].len();
    let bound = |which: usize| -> ArrayRef {
        let moments = (0..len).map(|group| bounds(group)[which]);
        Arc::new(TimestampMicrosecondArray::from_iter_values(moments).with_timezone("UTC"))
    };
    let bounds = [bound(0), bound(1)];
    let keys = keys(len);
    let groups = Groups {
        keys: &keys,
        states,
        len,
    };
    HOST.lanes.block_on(transform.finish(groups, &bounds))
}
