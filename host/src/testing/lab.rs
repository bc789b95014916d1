//! Instances of transforms that checks put their questions to, outside of any run.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{interleave, take};

use super::TestError;
use super::recorder::Accumulated;
use crate::pipeline::{Host, Opener};
use crate::sandbox::Instance;
use crate::transform::{CallError, Finished, Groups, Reject, Rows, Updated, Windowed};

/// Opens an instance that nobody has asked anything.
type Open<'a, I> = Box<dyn Fn() -> Result<I, CallError> + 'a>;

/// An instance of a transform, and how to get another.
pub(super) struct Fresh<'a, I> {
    host: &'a Host,
    open: Open<'a, I>,
    instance: Option<I>,
}

impl<'a, I> Fresh<'a, I> {
    pub(super) fn new(host: &'a Host, open: Open<'a, I>) -> Self {
        Self {
            host,
            open,
            instance: None,
        }
    }

    /// Puts an instance in the place of the one at hand that nobody has asked anything.
    pub(super) fn renew(&mut self) {
        self.instance = None;
    }

    fn instance(&mut self) -> Result<&mut I, TestError> {
        match &mut self.instance {
            Some(instance) => Ok(instance),
            none => Ok(none.insert((self.open)().map_err(TestError::Open)?)),
        }
    }

    /// Asks; a failed instance is never asked again.
    pub(super) fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut I) -> Result<T, CallError>,
    ) -> Result<Result<T, CallError>, TestError> {
        let host = self.host;
        let instance = self.instance()?;
        let answer = host.lanes.block_on(question(instance));
        if answer.is_err() {
            self.instance = None;
        }
        Ok(answer)
    }
}

/// Where fresh instances of a windowed transform are opened and asked.
pub(super) struct Lab<'a>(Fresh<'a, Instance>);

/// All states after rows were added, and the rejects by the call's own rows.
pub(super) type Added = (Vec<ArrayRef>, Vec<Reject>);

/// Some rows of a call, for the groups that they belong to alone.
pub(super) struct Part {
    columns: Vec<ArrayRef>,
    group_of_row: ScalarBuffer<u32>,
    /// Which groups of the call these are.
    groups: Vec<u32>,
    keys: Vec<ArrayRef>,
    states: Vec<ArrayRef>,
    /// Which rows of the call these are.
    rows: Vec<u32>,
}

impl<'a> Lab<'a> {
    pub(super) fn new(host: &'a Host, opener: &'a Opener) -> Self {
        let open = move || host.lanes.block_on(opener.instance("check"));
        Self(Fresh::new(host, Box::new(open)))
    }

    /// Puts an instance in the place of the one at hand that nobody has asked anything.
    pub(super) fn renew(&mut self) {
        self.0.renew();
    }

    /// What the transform said of itself.
    pub(super) fn initial(&mut self) -> Result<RecordBatch, TestError> {
        Ok(self.0.instance()?.spec().initial.clone())
    }

    /// A call once more, as it was.
    pub(super) fn accumulate(
        &mut self,
        call: &Accumulated,
    ) -> Result<Result<Updated, CallError>, TestError> {
        self.0.ask(async |instance: &mut Instance| {
            let rows = Rows {
                columns: &call.columns,
                group_of_row: &call.group_of_row,
            };
            instance
                .accumulate(rows, groups(&call.keys, &call.states, call.len))
                .await
        })
    }

    /// Adds some rows of a call to the states of its groups, which start from `states`.
    pub(super) fn add(
        &mut self,
        call: &Accumulated,
        rows: Vec<u32>,
        states: &[ArrayRef],
    ) -> Result<Result<Added, CallError>, TestError> {
        if rows.is_empty() {
            return Ok(Ok((states.to_vec(), Vec::new())));
        }
        let part = Part::of(call, rows, states)?;
        let updated = self.0.ask(async |instance: &mut Instance| {
            let rows = Rows {
                columns: &part.columns,
                group_of_row: &part.group_of_row,
            };
            instance
                .accumulate(rows, groups(&part.keys, &part.states, part.groups.len()))
                .await
        })?;
        let mut updated = match updated {
            Ok(updated) => updated,
            Err(error) => return Ok(Err(error)),
        };
        let new = applied(
            &part.states,
            &part.group_of_row,
            part.groups.len(),
            &updated,
        )?;
        for reject in &mut updated.rejects {
            reject.row = part.rows[reject.row as usize];
        }
        let mut sources: Vec<(usize, usize)> = (0..call.len).map(|group| (0, group)).collect();
        for (at, group) in part.groups.iter().enumerate() {
            sources[*group as usize] = (1, at);
        }
        let all = states.iter().zip(&new);
        let all = all.map(|(old, new)| interleave(&[old, new], &sources));
        Ok(Ok((all.collect::<Result<_, _>>()?, updated.rejects)))
    }

    pub(super) fn merge(
        &mut self,
        keys: &[ArrayRef],
        earlier: &[ArrayRef],
        later: &[ArrayRef],
        len: usize,
    ) -> Result<Result<Vec<ArrayRef>, CallError>, TestError> {
        self.0.ask(async |instance: &mut Instance| {
            let merged = instance.merge(groups(keys, earlier, len), later).await?;
            Ok(merged.states)
        })
    }

    pub(super) fn finish(
        &mut self,
        keys: &[ArrayRef],
        states: &[ArrayRef],
        bounds: &[ArrayRef],
        len: usize,
    ) -> Result<Result<Finished, CallError>, TestError> {
        self.0.ask(async |instance: &mut Instance| {
            instance.finish(groups(keys, states, len), bounds).await
        })
    }
}

fn groups<'a>(keys: &'a [ArrayRef], states: &'a [ArrayRef], len: usize) -> Groups<'a> {
    Groups { keys, states, len }
}

impl Part {
    fn of(call: &Accumulated, rows: Vec<u32>, states: &[ArrayRef]) -> Result<Self, TestError> {
        let mut place = vec![u32::MAX; call.len];
        let mut groups = Vec::new();
        let mut group_of_row = Vec::with_capacity(rows.len());
        for row in &rows {
            let group = call.group_of_row[*row as usize];
            let place = &mut place[group as usize];
            if *place == u32::MAX {
                *place = groups.len() as u32;
                groups.push(group);
            }
            group_of_row.push(*place);
        }
        Ok(Self {
            columns: pick(&call.columns, &rows)?,
            keys: pick(&call.keys, &groups)?,
            states: pick(states, &groups)?,
            group_of_row: group_of_row.into(),
            groups,
            rows,
        })
    }
}

/// Some rows of columns.
pub(super) fn pick(columns: &[ArrayRef], rows: &[u32]) -> Result<Vec<ArrayRef>, TestError> {
    let rows = UInt32Array::from(rows.to_vec());
    let picked = columns.iter().map(|column| take(column, &rows, None));
    Ok(picked.collect::<Result<_, _>>()?)
}

/// The states of all groups after a call. As in a run, a group of which no row was applied stays
/// as it was.
pub(super) fn applied(
    states: &[ArrayRef],
    group_of_row: &[u32],
    groups: usize,
    updated: &Updated,
) -> Result<Vec<ArrayRef>, TestError> {
    let mut sources: Vec<(usize, usize)> = (0..groups).map(|group| (0, group)).collect();
    let has_row = groups_with_applied_rows(group_of_row, groups, &updated.rejects);
    let mut set = |group: usize, row: usize| {
        if has_row[group] {
            sources[group] = (1, row);
        }
    };
    match &updated.changed {
        None => (0..groups).for_each(|group| set(group, group)),
        Some(changed) => changed
            .iter()
            .enumerate()
            .for_each(|(row, group)| set(*group as usize, row)),
    }
    let all = states.iter().zip(&updated.states);
    let all = all.map(|(old, new)| interleave(&[old, new], &sources));
    Ok(all.collect::<Result<_, _>>()?)
}

/// Which groups have a row that was not rejected.
pub(super) fn groups_with_applied_rows(
    group_of_row: &[u32],
    groups: usize,
    rejects: &[Reject],
) -> Vec<bool> {
    let mut applied = vec![false; groups];
    let mut rejects = rejects.iter().map(|reject| reject.row as usize).peekable();
    for (row, group) in group_of_row.iter().enumerate() {
        if rejects.next_if_eq(&row).is_none() {
            applied[*group as usize] = true;
        }
    }
    applied
}

/// The initial state as often as there are groups.
pub(super) fn broadcast(initial: &RecordBatch, groups: usize) -> Result<Vec<ArrayRef>, TestError> {
    let rows = vec![0; groups];
    let columns: Vec<ArrayRef> = initial.columns().iter().map(Arc::clone).collect();
    pick(&columns, &rows)
}
