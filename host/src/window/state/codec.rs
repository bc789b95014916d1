//! Records as bytes.
//!
//! | part | bytes |
//! | --- | --- |
//! | key of a record | `0x01`, the key's columns in Arrow's row format, then the record's id: 13 bytes |
//! | id | kind (1 byte: 1 pane, 2 revision, 3 session, 4 life, 5 period, 6 due), number (8, big-endian, the sign bit turned), length (4, big-endian) |
//! | value of a record | whether it has a state (1 byte, 0 or 1), how many bytes of facts (1), the facts, then the state's columns in Arrow's row format |
//! | key of an instant at which something is due | `0x02`, the instant (8 bytes, big-endian, the sign bit turned), the key's columns in Arrow's row format; its value is empty |
//! | progress | watermark, closed, next session (8 bytes each, little-endian) |
//!
//! So records lie together by their keys, in the ascending order of the key's columns. The row format
//! is that of the `arrow-row` crate, which sorts as the columns do and gives every value back to the
//! bit; a test holds its bytes, so that a release which changes them is noticed. [`Codec::LAYOUT`]
//! rises with any change of this table.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{ArrayRef, BinaryArray, BinaryBuilder};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};
use bytes::Buf;

use super::facts::Reading;
use super::records::{Changes, Progress, RecordId, Records, Schedule};

const ID_BYTES: usize = 13;
/// What the keys of records begin with.
const RECORDS: u8 = 1;
/// What the keys of instants begin with.
const INSTANTS: u8 = 2;

/// Why kept bytes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Some column's type has no row format.
    #[error(
        "the {what} column {column:?} is of type {data_type}, which cannot be kept: use another type"
    )]
    Type {
        /// Whether it is a column of the key or of the state.
        what: &'static str,
        /// Its name.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A record breaks the layout.
    #[error("a record of the state is damaged: {0}")]
    Damaged(String),
    /// Arrow cannot hold the columns.
    #[error("cannot turn state into columns: {0}")]
    Arrow(#[from] ArrowError),
}

/// A step of bringing what is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Nothing is to be at this key, where something may be.
    Remove(&'a [u8]),
    /// This is to be at this key.
    Put(&'a [u8], &'a [u8]),
}

/// Turns the records of one lane into bytes and back.
pub struct Codec {
    pub(super) key: RowConverter,
    pub(super) state: RowConverter,
}

impl Codec {
    /// The version of the layout above.
    pub const LAYOUT: u32 = 1;
    /// What the keys of all records begin with.
    pub const FIRST_RECORD: &[u8] = &[RECORDS];
    /// The least bytes that a key of an instant may have.
    pub const FIRST_INSTANT: &[u8] = &[INSTANTS];

    /// A codec for states of these columns, of keys of these columns.
    ///
    /// # Errors
    ///
    /// [`StateError::Type`] if a column cannot be kept.
    pub fn new(key: &Schema, state: &SchemaRef) -> Result<Self, StateError> {
        Ok(Self {
            key: converter("key", key)?,
            state: converter("state", state)?,
        })
    }

    /// What is to be removed and put, in this order, but for the progress.
    ///
    /// # Errors
    ///
    /// [`StateError::Arrow`] if the columns are not those of the codec.
    pub fn encode(
        &self,
        changes: &Changes,
        mut each: impl FnMut(Edit<'_>),
    ) -> Result<(), StateError> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let gone_keys = self.key.convert_columns(&changes.gone_keys)?;
        for (row, id) in gone_keys.iter().zip(&changes.gone) {
            put_key(row.data(), *id, &mut key);
            each(Edit::Remove(&key));
        }
        let records = &changes.records;
        let keys = self.key.convert_columns(&records.keys)?;
        let states = self.state.convert_columns(&records.states)?;
        let mut states = states.iter();
        for (record, row) in keys.iter().enumerate() {
            put_key(row.data(), records.ids[record], &mut key);
            let state = records.has_state[record]
                .then(|| states.next().expect("a state for each record that has one"));
            let state = state.as_ref().map(|state| state.data());
            put_value(records.facts.get(record), state, &mut value);
            each(Edit::Put(&key, &value));
        }
        self.encode_schedule(&changes.schedule, each)
    }

    /// What is to be removed and put of a schedule.
    ///
    /// # Errors
    ///
    /// As [`Codec::encode`].
    pub fn encode_schedule(
        &self,
        schedule: &Schedule,
        mut each: impl FnMut(Edit<'_>),
    ) -> Result<(), StateError> {
        let (mut key, mut instant) = (Vec::new(), Vec::new());
        let rows = self.key.convert_columns(&schedule.keys)?;
        for (row, (from, to)) in rows.iter().zip(schedule.from.iter().zip(&schedule.to)) {
            put_key(row.data(), RecordId::Due, &mut key);
            if let Some(from) = from {
                put_instant(*from, row.data(), &mut instant);
                each(Edit::Remove(&instant));
            }
            match to {
                None => each(Edit::Remove(&key)),
                Some(to) => {
                    put_instant(*to, row.data(), &mut instant);
                    each(Edit::Put(&instant, &[]));
                    let facts = to.to_le_bytes();
                    let mut value = vec![0, facts.len() as u8];
                    value.extend_from_slice(&facts);
                    each(Edit::Put(&key, &value));
                }
            }
        }
        Ok(())
    }

    /// The bytes that the keys of all instants up to `watermark` are less than; all of them are not
    /// less than [`Codec::FIRST_INSTANT`].
    pub fn instants_up_to(watermark: i64) -> Vec<u8> {
        let mut end = Vec::new();
        match watermark.checked_add(1) {
            Some(next) => put_instant(next, &[], &mut end),
            None => end.push(INSTANTS + 1),
        }
        end
    }

    /// The instant of a key of instants, in microseconds; none if it is no such key.
    pub fn instant(key: &[u8]) -> Option<i64> {
        let mut instant = key.strip_prefix(Self::FIRST_INSTANT)?;
        instant.try_get_i64().ok().map(|instant| instant ^ i64::MIN)
    }

    /// The key's columns of some keys of instants, and the prefix of the records of each.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if they are no such keys.
    pub fn decode_instants<'a>(
        &self,
        instants: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<ArrayRef>, Vec<Vec<u8>>), StateError> {
        let (mut keys, mut prefixes) = (BinaryBuilder::new(), Vec::new());
        for instant in instants {
            let row = instant.get(9..);
            let row = row.ok_or_else(|| damaged(&"an instant's key is too short"))?;
            keys.append_value(row);
            prefixes.push([&[RECORDS], row].concat());
        }
        Ok((columns(&self.key, keys.finish())?, prefixes))
    }

    /// What the keys of all records of a key begin with, and those of no other: for each row of the
    /// key's columns.
    ///
    /// # Errors
    ///
    /// [`StateError::Arrow`] if the columns are not those of the codec.
    pub fn prefixes(&self, keys: &[ArrayRef]) -> Result<Vec<Vec<u8>>, StateError> {
        let rows = self.key.convert_columns(keys)?;
        let prefix = |row: arrow_row::Row<'_>| [&[RECORDS], row.data()].concat();
        Ok(rows.iter().map(prefix).collect())
    }

    /// Whether the keys of two records are of one key.
    pub fn is_one_key(a: &[u8], b: &[u8]) -> bool {
        // Ids are of one size, so what stands before them is at the same place in both.
        let end = a.len().saturating_sub(ID_BYTES);
        a.len() == b.len() && a[..end] == b[..end]
    }

    /// The records that were put.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if they were not put by this layout.
    pub fn decode<'a>(
        &self,
        encoded: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Records, StateError> {
        let (mut keys, mut states) = (BinaryBuilder::new(), BinaryBuilder::new());
        let mut records = Records::default();
        for (key, value) in encoded {
            let (row, id) = split_key(key)?;
            keys.append_value(row);
            records.ids.push(id);
            let (has_state, facts, state) = split_value(value)?;
            records.facts.push(|out| out.extend_from_slice(facts));
            records.has_state.push(has_state);
            if has_state {
                states.append_value(state);
            }
        }
        records.keys = columns(&self.key, keys.finish())?;
        records.states = columns(&self.state, states.finish())?;
        Ok(records)
    }
}

impl Codec {
    /// The states of some records' values, of those that have one, in order.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if they were not put by this layout.
    pub fn states<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, StateError> {
        let mut states = BinaryBuilder::new();
        for value in values {
            if let (true, _, state) = split_value(value)? {
                states.append_value(state);
            }
        }
        columns(&self.state, states.finish())
    }

    /// What is to be put so that records have these states in the place of theirs, which may be of other columns than
    /// this codec's; there is one for each that has a state, in order.
    ///
    /// # Errors
    ///
    /// [`StateError`] if there are too few states, or the records were not put by this layout.
    pub fn put_states<'a>(
        &self,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        states: &[ArrayRef],
        each: &mut dyn FnMut(Edit<'_>),
    ) -> Result<(), StateError> {
        let rows = self.state.convert_columns(states)?;
        let (mut rows, mut put) = (rows.iter(), Vec::new());
        for (key, value) in records {
            if let (true, facts, _) = split_value(value)? {
                let state = rows.next();
                let state = state.ok_or_else(|| damaged(&"there is no new state for it"))?;
                put_value(facts, Some(state.data()), &mut put);
                each(Edit::Put(key, &put));
            }
        }
        Ok(())
    }
}

impl Progress {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        super::facts::put(&mut bytes, [self.watermark, self.closed, self.next_session]);
        bytes
    }

    /// Reads its bytes.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if there are too few.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reading = Reading(bytes);
        let mut number = || reading.number();
        Ok(Self {
            watermark: number()?,
            closed: number()?,
            next_session: number()?,
        })
    }
}

pub(in crate::window) fn damaged(reason: &dyn std::fmt::Display) -> StateError {
    StateError::Damaged(reason.to_string())
}

fn converter(what: &'static str, schema: &Schema) -> Result<RowConverter, StateError> {
    let fields = schema.fields().iter().map(|field| {
        let sorted = SortField::new(field.data_type().clone());
        match RowConverter::supports_fields(std::slice::from_ref(&sorted)) {
            true => Ok(sorted),
            false => Err(StateError::Type {
                what,
                column: field.name().clone(),
                data_type: field.data_type().clone(),
            }),
        }
    });
    Ok(RowConverter::new(fields.collect::<Result<_, _>>()?)?)
}

pub(super) fn columns(
    converter: &RowConverter,
    rows: BinaryArray,
) -> Result<Vec<ArrayRef>, StateError> {
    // Rows are read by a decoder that trusts them, and panics where it should not have. It keeps nothing of
    // what it was doing, so that nothing is left half done.
    let decode = || converter.convert_rows(&converter.from_binary(rows));
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(columns) => Ok(columns?),
        Err(_) => Err(damaged(&"its columns are not what was written")),
    }
}

fn put_key(row: &[u8], id: RecordId, out: &mut Vec<u8>) {
    out.clear();
    out.push(RECORDS);
    out.extend_from_slice(row);
    put_id(id, out);
}

/// Puts an id behind what is there.
pub(super) fn put_id(id: RecordId, out: &mut Vec<u8>) {
    let (kind, number, length) = match id {
        RecordId::Pane(pane) => (1, pane, 0),
        RecordId::Revision(end, length) => (2, end, length),
        RecordId::Session(number) => (3, number, 0),
        RecordId::Life => (4, 0, 0),
        RecordId::Period(period) => (5, period, 0),
        RecordId::Due => (6, 0, 0),
    };
    out.push(kind);
    out.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}

fn put_instant(instant: i64, row: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(INSTANTS);
    out.extend_from_slice(&(instant ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(row);
}

/// The key's row and the id, of a key that begins with one byte more.
pub(super) fn split_key(key: &[u8]) -> Result<(&[u8], RecordId), StateError> {
    let key = key.get(1..).unwrap_or_default();
    let row = key.len().checked_sub(ID_BYTES);
    let row = row.ok_or_else(|| damaged(&"its key is too short"))?;
    let (row, mut id) = key.split_at(row);
    let (kind, number, length) = (id.get_u8(), id.get_i64() ^ i64::MIN, id.get_u32());
    let id = match kind {
        1 => RecordId::Pane(number),
        2 => RecordId::Revision(number, length),
        3 => RecordId::Session(number),
        4 => RecordId::Life,
        5 => RecordId::Period(number),
        6 => RecordId::Due,
        kind => return Err(damaged(&format!("its kind is {kind}"))),
    };
    Ok((row, id))
}

pub(super) fn put_value(facts: &[u8], state: Option<&[u8]>, out: &mut Vec<u8>) {
    out.clear();
    out.push(u8::from(state.is_some()));
    out.push(u8::try_from(facts.len()).expect("a record has a handful of facts"));
    out.extend_from_slice(facts);
    out.extend_from_slice(state.unwrap_or_default());
}

/// Whether there is a state, the facts, and the state.
pub(super) fn split_value(value: &[u8]) -> Result<(bool, &[u8], &[u8]), StateError> {
    let short = || damaged(&"its value is too short");
    let (head, rest) = value.split_at_checked(2).ok_or_else(short)?;
    let (facts, state) = rest.split_at_checked(head[1].into()).ok_or_else(short)?;
    match head[0] {
        0 if state.is_empty() => Ok((false, facts, state)),
        1 => Ok((true, facts, state)),
        _ => Err(damaged(&"whether it has a state is not said")),
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
