//! Windows that could not be finished, as bytes: the states that go into each, one pair for each state.
//!
//! | part | bytes |
//! | --- | --- |
//! | key | `0x08`, the key's columns in Arrow's row format, the window's id as records have it (13 bytes), which of its states (4, big-endian) |
//! | value | as a record's. The first state of a window has facts, the others have none |
//! | facts | start and end, how often it was emitted (-1 where that is not said), whether an earlier row of it stands, how many states it has, how many of them are its earlier part (8 bytes each, little-endian), then the digest of the transform that failed on it, UTF-8 |
//!
//! So the values can be taken over by a migration like those of records.

use arrow::array::{ArrayRef, BinaryBuilder, UInt32Array, UInt32Builder};
use arrow::compute::take;
use arrow::error::ArrowError;

use super::codec::{
    Codec, Edit, StateError, columns, damaged, put_id, put_value, split_key, split_value,
};
use super::facts::{Reading, put};
use super::records::RecordId;

/// What the keys of all of them begin with.
const UNFINISHED: u8 = 8;
/// Bytes of the number of a state.
const NUMBER_BYTES: usize = 4;

/// What is known of a window that could not be finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedWindow {
    /// Which of its key's windows it is: as an aligned one has a revision, or the session's or the life's record.
    pub id: RecordId,
    /// Start and end, in microseconds.
    pub bounds: (i64, i64),
    /// How often it was emitted before it failed, and whether an earlier row of it stands; none where windows are
    /// emitted once.
    pub revision: Option<(u32, bool)>,
    /// How many states go into it; at least one.
    pub states: usize,
    /// How many of them, the first ones, are merged from the right before they are merged with what is merged of the
    /// others from the left.
    pub earlier: usize,
    /// The digest of the transform that failed on it.
    pub failed_by: String,
}

/// Windows that could not be finished, a row of everything for each.
#[derive(Debug, Clone, Default)]
pub struct UnfinishedWindows {
    /// The key's columns.
    pub keys: Vec<ArrayRef>,
    /// The same as bytes.
    pub rows: Vec<Vec<u8>>,
    /// What is known of each.
    pub windows: Vec<UnfinishedWindow>,
    /// The states of all, one after the other.
    pub states: Vec<ArrayRef>,
}

impl UnfinishedWindows {
    /// Some of them, by rising numbers.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn only(&self, these: &[usize]) -> Result<Self, StateError> {
        let mut states = UInt32Builder::new();
        let (mut first, mut next) = (0, these.iter().peekable());
        for (at, window) in self.windows.iter().enumerate() {
            if next.next_if_eq(&&at).is_some() {
                (first..first + window.states).for_each(|state| states.append_value(state as u32));
            }
            first += window.states;
        }
        let rows = UInt32Array::from_iter_values(these.iter().map(|at| *at as u32));
        let pick =
            |columns: &[ArrayRef], rows: &UInt32Array| -> Result<Vec<ArrayRef>, ArrowError> {
                let columns = columns.iter();
                columns.map(|column| take(column, rows, None)).collect()
            };
        Ok(Self {
            keys: pick(&self.keys, &rows)?,
            rows: these.iter().map(|at| self.rows[*at].clone()).collect(),
            windows: these.iter().map(|at| self.windows[*at].clone()).collect(),
            states: pick(&self.states, &states.finish())?,
        })
    }

    /// The states of one of them.
    pub(in crate::window) fn states_of(&self, window: usize) -> Vec<ArrayRef> {
        let first: usize = self.windows[..window].iter().map(|it| it.states).sum();
        let states = self.windows[window].states;
        let columns = self.states.iter();
        columns.map(|column| column.slice(first, states)).collect()
    }
}

impl Codec {
    /// What the keys of all states of unfinished windows begin with.
    pub const FIRST_UNFINISHED: &[u8] = &[UNFINISHED];

    /// The rows of some keys as bytes.
    pub(in crate::window) fn key_rows(
        &self,
        keys: &[ArrayRef],
    ) -> Result<Vec<Vec<u8>>, StateError> {
        let rows = self.key.convert_columns(keys)?;
        Ok(rows.iter().map(|row| row.data().to_vec()).collect())
    }

    /// The key of one of a window's states.
    pub(in crate::window) fn unfinished_key(row: &[u8], id: RecordId, state: usize) -> Vec<u8> {
        let mut key = vec![UNFINISHED];
        key.extend_from_slice(row);
        put_id(id, &mut key);
        key.extend_from_slice(&(state as u32).to_be_bytes());
        key
    }

    /// What is to be put for a window of a key, with the states that go into it.
    pub(in crate::window) fn encode_unfinished(
        &self,
        row: &[u8],
        window: &UnfinishedWindow,
        states: &[ArrayRef],
        mut each: impl FnMut(Edit<'_>),
    ) -> Result<(), StateError> {
        let mut value = Vec::new();
        for (number, state) in self.state.convert_columns(states)?.iter().enumerate() {
            let mut facts = Vec::new();
            if number == 0 {
                let (times, stands) = window
                    .revision
                    .map_or((-1, false), |(times, stands)| (times.into(), stands));
                let (start, end) = window.bounds;
                let (states, earlier) = (window.states as i64, window.earlier as i64);
                put(
                    &mut facts,
                    [start, end, times, stands.into(), states, earlier],
                );
                facts.extend_from_slice(window.failed_by.as_bytes());
            }
            put_value(&facts, Some(state.data()), &mut value);
            each(Edit::Put(
                &Self::unfinished_key(row, window.id, number),
                &value,
            ));
        }
        Ok(())
    }

    /// Whether two keys are of states of one window.
    pub fn is_one_window(a: &[u8], b: &[u8]) -> bool {
        let end = a.len().saturating_sub(NUMBER_BYTES);
        a.len() == b.len() && a[..end] == b[..end]
    }

    /// The windows whose states these pairs are, by rising keys. All of a window are there.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if they were not put by this layout.
    pub fn decode_unfinished<'a>(
        &self,
        encoded: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<UnfinishedWindows, StateError> {
        let (mut keys, mut states) = (BinaryBuilder::new(), BinaryBuilder::new());
        let mut found = UnfinishedWindows::default();
        let mut left = 0;
        for (key, value) in encoded {
            let (has_state, facts, state) = split_value(value)?;
            if !has_state {
                return Err(damaged(
                    &"an unfinished window has a record without a state",
                ));
            }
            states.append_value(state);
            if left > 0 {
                left -= 1;
                continue;
            }
            let key = key.len().checked_sub(NUMBER_BYTES).map(|end| &key[..end]);
            let (row, id) = split_key(key.unwrap_or_default())?;
            let window = window(id, facts)?;
            left = window.states - 1;
            keys.append_value(row);
            found.rows.push(row.to_vec());
            found.windows.push(window);
        }
        if left > 0 {
            return Err(damaged(&"an unfinished window lacks some of its states"));
        }
        found.keys = columns(&self.key, keys.finish())?;
        found.states = columns(&self.state, states.finish())?;
        Ok(found)
    }
}

fn window(id: RecordId, facts: &[u8]) -> Result<UnfinishedWindow, StateError> {
    let mut facts = Reading(facts);
    let bounds = (facts.number()?, facts.number()?);
    let (times, stands) = (facts.number()?, facts.flag()?);
    let states = usize::try_from(facts.number()?).unwrap_or(0);
    let earlier = usize::try_from(facts.number()?).unwrap_or(usize::MAX);
    if states == 0 || earlier > states {
        return Err(damaged(&"an unfinished window has no states"));
    }
    let failed_by = std::str::from_utf8(facts.0).map_err(|error| damaged(&error))?;
    Ok(UnfinishedWindow {
        id,
        bounds,
        revision: u32::try_from(times).ok().map(|times| (times, stands)),
        states,
        earlier,
        failed_by: failed_by.to_owned(),
    })
}
