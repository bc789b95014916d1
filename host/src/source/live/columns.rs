//! Columns that come from the message itself rather than from what it says.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use crate::source::messages::Messages;

/// What of a message a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageColumn {
    /// Its key: bytes, or a text where the column's type says so.
    Key,
    /// Its headers: a list of `{name: utf8, value: binary}`.
    Headers,
    /// The number of its split: `int32`.
    Partition,
    /// Its position in the split: `int64`.
    Offset,
    /// When the stream recorded it: `timestamp[us, UTC]`; null where it does not say.
    Timestamp,
}

impl MessageColumn {
    /// The column, of type `field`, for the messages that rows came from.
    pub(super) fn of(
        self,
        messages: &Messages,
        message_of_row: &ScalarBuffer<u32>,
        field: &Field,
    ) -> Result<ArrayRef, ArrowError> {
        let rows = message_of_row.iter().map(|message| *message as usize);
        let indices = || UInt32Array::new(message_of_row.clone(), None);
        let column: ArrayRef = match self {
            Self::Key if *field.data_type() == DataType::Utf8 => Arc::new(texts(messages, rows)),
            Self::Key => take(&messages.keys, &indices(), None)?,
            Self::Headers => match &messages.headers {
                Some(headers) => take(headers, &indices(), None)?,
                None => arrow::array::new_null_array(field.data_type(), message_of_row.len()),
            },
            Self::Partition => Arc::new(Int32Array::from_value(
                messages.split as i32,
                message_of_row.len(),
            )),
            Self::Offset => {
                let offsets = rows.map(|message| messages.offsets[message]);
                Arc::new(Int64Array::from_iter_values(offsets))
            }
            Self::Timestamp => {
                let (times, valid) = timestamps(messages, message_of_row);
                Arc::new(TimestampMicrosecondArray::new(times, valid).with_timezone("UTC"))
            }
        };
        match column.data_type() == field.data_type() {
            true => Ok(column),
            false => cast(&column, field.data_type()),
        }
    }
}

/// When the messages of rows were recorded, and for which of them it is known; none for all.
pub(super) fn timestamps(
    messages: &Messages,
    message_of_row: &ScalarBuffer<u32>,
) -> (ScalarBuffer<i64>, Option<NullBuffer>) {
    let rows = message_of_row.iter();
    let times: Vec<i64> = rows
        .map(|message| messages.timestamps[*message as usize])
        .collect();
    let is_known = |time: &i64| *time != i64::MIN;
    let all = times.iter().fold(true, |all, time| all & is_known(time));
    let valid = (!all).then(|| times.iter().map(is_known).collect::<Vec<_>>().into());
    (times.into(), valid)
}

/// Keys as texts. Those that are none are null here: [`no_text`] finds them.
fn texts(messages: &Messages, rows: impl Iterator<Item = usize>) -> StringArray {
    rows.map(|message| {
        let key = messages.keys.is_valid(message);
        let key = key.then(|| messages.keys.value(message));
        key.and_then(|key| std::str::from_utf8(key).ok())
    })
    .collect()
}

/// Whether the key of a message is there and no text.
pub(super) fn no_text(messages: &Messages, message: u32) -> bool {
    let message = message as usize;
    messages.keys.is_valid(message) && std::str::from_utf8(messages.keys.value(message)).is_err()
}
