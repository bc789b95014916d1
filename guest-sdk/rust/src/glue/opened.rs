//! What `open`, `merge` and `finish` do alike for both forms of a window transform.

use crate::buffers::{Batch, Cursor};
use crate::contract::{Columns, Failure, Finished, Needs, Opening, Schema, WindowedSpec};
use crate::glue::{groups, states};
use crate::schema::{Layout, pick, schema_of};
use crate::value::Record;
use crate::window::{Bounds, Emit};

/// Where everything that the host sends lies.
#[derive(Debug)]
pub(crate) struct Layouts {
    pub(crate) input: Layout,
    pub(crate) keys: Layout,
    pub(crate) states: Layout,
}

/// Checks what the host offers against the author's records.
pub(crate) fn open<'a, R, K, S, O>(
    opening: &Opening,
    state_version: u32,
) -> Result<(Layouts, WindowedSpec), Failure>
where
    R: Record<'a>,
    K: Record<'a>,
    S: for<'s> Record<'s> + Default,
    O: Emit,
{
    let (input, needs) = select_event::<R>(opening)?;
    let keys = Layout::select(&schema_of::<K>(), &opening.key, "the pipeline's key")?;
    let output = schema_of::<O::Row>();
    refuse_reserved_names::<O::Row>(&opening.key)?;

    let layouts = Layouts {
        input,
        keys,
        states: Layout::of::<S>()?,
    };
    let spec = WindowedSpec {
        needs: vec![needs],
        state: schema_of::<S>(),
        state_version,
        migrates_from: Vec::new(),
        initial: states::write(std::iter::once(&S::default())),
        output,
        options: Vec::new(),
    };
    Ok((layouts, spec))
}

/// Finds the columns of a row in the one event that the host offers.
pub(crate) fn select_event<'a, R: Record<'a>>(
    opening: &Opening,
) -> Result<(Layout, Needs), Failure> {
    let [event] = opening.events.as_slice() else {
        return Err(Failure::BadInput(format!(
            "this transform takes one event, but the pipeline offers {}",
            opening.events.len()
        )));
    };
    let row = schema_of::<R>();
    let whose = format!("event `{}`", event.name);
    let input = Layout::select(&row, &pick(&row, &event.schema, &whose)?, &whose)?;
    let needs = Needs {
        event: event.name.clone(),
        columns: R::NAMES.iter().map(|&name| name.to_owned()).collect(),
    };
    Ok((input, needs))
}

/// The host adds the key and the window to the output itself.
fn refuse_reserved_names<'a, O: Record<'a>>(key: &Schema) -> Result<(), Failure> {
    for &name in O::NAMES {
        if ["window_start", "window_end", "revision", "withdrawn"].contains(&name)
            || key.iter().any(|field| field.name == name)
        {
            return Err(Failure::BadInput(format!(
                "the transform's output has a column `{name}`, which the host adds itself: rename the field, or remove it"
            )));
        }
    }
    Ok(())
}

/// Combines states row by row.
pub(crate) fn merge<S>(
    layouts: &Layouts,
    earlier: Batch<'_>,
    later: Batch<'_>,
    merge: impl Fn(S, S) -> S,
) -> Result<Columns, Failure>
where
    S: for<'a> Record<'a>,
{
    same_rows("later states", later, earlier.rows)?;
    let earlier = states::read::<S>(&layouts.states, earlier)?;
    let later = states::read::<S>(&layouts.states, later)?;
    let merged: Vec<S> = earlier
        .into_iter()
        .zip(later)
        .map(|(earlier, later)| merge(earlier, later))
        .collect();
    Ok(states::write(merged.iter()))
}

/// Turns states into output.
pub(crate) fn finish<'a, K, S, O>(
    layouts: &'a Layouts,
    keys: Batch<'a>,
    bounds: Batch<'a>,
    states: Batch<'a>,
    finish: impl Fn(K, &S, Bounds) -> O,
) -> Result<Finished, Failure>
where
    K: Record<'a>,
    S: Record<'a>,
    O: Emit,
{
    same_rows("keys", keys, states.rows)?;
    same_rows("window bounds", bounds, states.rows)?;
    let keys = K::bind(&mut Cursor::new(&layouts.keys, keys), keys.rows as usize)?;
    let bounds = read_bounds(bounds)?;
    let states: Vec<S> = states::read(&layouts.states, states)?;

    let mut writer = <O::Row as Record<'static>>::writer(states.len());
    let mut source_group = Vec::with_capacity(states.len());
    for (group, (state, bounds)) in (0u32..).zip(states.iter().zip(bounds)) {
        let key = K::get::<true>(&keys, group as usize)
            .ok_or_else(|| states::unexpected_null::<K>(&keys, group as usize))?;
        finish(key, state, bounds).emit(|row| {
            <O::Row as Record<'static>>::put(&row, &mut writer);
            source_group.push(group);
        });
    }
    let output = states::seal::<O::Row>(source_group.len(), writer);
    Ok(Finished {
        output,
        source_group: groups::to_bytes(source_group),
    })
}

pub(crate) fn same_rows(what: &str, batch: Batch<'_>, rows: u32) -> Result<(), Failure> {
    if batch.rows == rows {
        Ok(())
    } else {
        Err(Failure::Internal(format!(
            "the host sent {} {what} for {rows} states",
            batch.rows
        )))
    }
}

/// The contract lays them out as two timestamps that are never null.
fn read_bounds(batch: Batch<'_>) -> Result<Vec<Bounds>, Failure> {
    let [_, starts, _, ends] = batch.buffers else {
        return Err(Failure::Internal(format!(
            "the host sent {} buffers for the bounds of windows, not 4",
            batch.buffers.len()
        )));
    };
    let ((starts, []), (ends, [])) = (starts.as_chunks::<8>(), ends.as_chunks::<8>()) else {
        return Err(Failure::Internal(
            "the bounds of windows that the host sent are no whole numbers".to_owned(),
        ));
    };
    if starts.len() != batch.rows as usize || ends.len() != starts.len() {
        return Err(Failure::Internal(
            "the host sent fewer bounds of windows than it said".to_owned(),
        ));
    }
    let bounds = starts.iter().zip(ends);
    Ok(bounds
        .map(|(start, end)| Bounds {
            start: i64::from_le_bytes(*start),
            end: i64::from_le_bytes(*end),
        })
        .collect())
}
