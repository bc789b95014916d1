//! The windows in which a run finished states, found again by the states.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow_row::{OwnedRow, RowConverter, SortField};

use super::TestError;
use super::probe::window_of;
use super::recorder::{Call, Recording};

/// The windows in which states were finished, so that states can be finished again.
pub(super) struct Windows {
    converter: Option<RowConverter>,
    of_state: HashMap<OwnedRow, (i64, i64)>,
    of_key: HashMap<OwnedRow, (i64, i64)>,
    keys: Option<RowConverter>,
    any: (i64, i64),
}

impl Windows {
    /// The windows of a run's calls of `finish`.
    pub(super) fn of(recording: &Recording<Call>) -> Result<Self, TestError> {
        let mut windows = Self {
            converter: None,
            of_state: HashMap::new(),
            of_key: HashMap::new(),
            keys: None,
            any: (0, 1),
        };
        for call in &recording.calls {
            let Call::Finish {
                keys,
                states,
                bounds,
                len,
                ..
            } = call
            else {
                continue;
            };
            let key_rows = converter(&mut windows.keys, keys)?.convert_columns(keys)?;
            let all: Vec<ArrayRef> = keys.iter().chain(states).map(Arc::clone).collect();
            let all = converter(&mut windows.converter, &all)?.convert_columns(&all)?;
            for group in 0..*len {
                let (Some(start), Some(end)) = window_of(bounds, group) else {
                    continue;
                };
                windows.any = (start, end);
                windows
                    .of_state
                    .insert(all.row(group).owned(), (start, end));
                windows
                    .of_key
                    .entry(key_rows.row(group).owned())
                    .or_insert((start, end));
            }
        }
        Ok(windows)
    }

    /// For each group the window in which its state was finished, or one of its entity, or any.
    pub(super) fn bounds(
        &self,
        keys: &[ArrayRef],
        states: &[ArrayRef],
        len: usize,
    ) -> Result<Vec<ArrayRef>, TestError> {
        let mut found = vec![self.any; len];
        if let (Some(of_keys), Some(of_all)) = (&self.keys, &self.converter) {
            let all: Vec<ArrayRef> = keys.iter().chain(states).map(Arc::clone).collect();
            let (keys, all) = (
                of_keys.convert_columns(keys)?,
                of_all.convert_columns(&all)?,
            );
            for (group, found) in found.iter_mut().enumerate() {
                let of_state = self.of_state.get(&all.row(group).owned());
                let window = of_state.or_else(|| self.of_key.get(&keys.row(group).owned()));
                *found = *window.unwrap_or(found);
            }
        }
        let column = |of: fn(&(i64, i64)) -> i64| -> ArrayRef {
            let values = TimestampMicrosecondArray::from_iter_values(found.iter().map(of));
            Arc::new(values.with_timezone("UTC"))
        };
        Ok(vec![column(|window| window.0), column(|window| window.1)])
    }
}

fn converter<'a>(
    slot: &'a mut Option<RowConverter>,
    columns: &[ArrayRef],
) -> Result<&'a RowConverter, TestError> {
    if slot.is_none() {
        let fields = columns.iter();
        let fields = fields.map(|column| SortField::new(column.data_type().clone()));
        *slot = Some(RowConverter::new(fields.collect())?);
    }
    Ok(slot.as_ref().expect("it was just put there"))
}
