//! Messages that were decoded when they were recorded, and those that could not be.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, RecordBatchOptions,
    UInt32Array,
};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::error::RecordedError;
use super::file::{OpenFile, Taken};
use super::rejects::{Reject, Value};
use crate::source::decode::message::{DecodedMessages, MessageReject};
use crate::source::live::{LiveSpec, MessageColumn};
use crate::source::messages::Messages;

/// Messages of a partition, as a recording has them.
#[derive(Debug, Clone)]
pub struct RecordedMessages {
    /// The messages, without what they said.
    pub messages: Messages,
    /// The columns of what messages say, of the rows that were recorded.
    rows: RecordBatch,
    message_of_row: Vec<u32>,
    /// What could not be decoded, by message.
    rejects: Vec<(u32, Reject)>,
    /// Those of the rejects whose messages can be decoded again, and the messages.
    again: Option<(Vec<usize>, Messages)>,
    /// Whether what is decoded now and was not then may become rows: everything is known that they have.
    may_become_rows: bool,
}

impl RecordedMessages {
    pub(super) fn of(
        spec: &LiveSpec,
        split: u32,
        file: &OpenFile,
        taken: Taken,
    ) -> Result<Self, RecordedError> {
        let arrow = |error| file.arrow(error);
        let columns = file.columns();
        let Taken { rows, rejects, .. } = taken;
        let offset_of_row = rows.column(columns.offset).as_primitive::<Int64Type>();
        let times = rows.column(columns.timestamp);
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let merged = Merged::of(offset_of_row.values(), &rejects);
        let timestamps = merged.sources.iter().map(|source| match source {
            Found::Row(row) if times.is_null(*row as usize) => i64::MIN,
            Found::Row(row) => times.value(*row as usize),
            Found::Reject(at) => rejects[*at].timestamp,
        });
        let timestamps: Vec<i64> = timestamps.collect();
        let row_of_message: UInt32Array = merged
            .sources
            .iter()
            .map(|source| match source {
                Found::Row(row) => Some(*row),
                Found::Reject(_) => None,
            })
            .collect();
        let of_message = |at: Option<usize>| -> Result<Option<ArrayRef>, RecordedError> {
            at.map(|at| take(rows.column(at), &row_of_message, None).map_err(arrow))
                .transpose()
        };
        let count = merged.offsets.len();
        let keys = of_message(columns.key)?.map_or_else(|| nothing(count), |keys| bytes(&keys));
        let headers = of_message(columns.headers)?.map(|it| it.as_list::<i32>().clone());
        let messages = Messages {
            split,
            offsets: merged.offsets.into(),
            timestamps: timestamps.into(),
            keys,
            values: nothing(count),
            headers,
        };
        let rejects: Vec<(u32, Reject)> =
            merged.message_of_reject.into_iter().zip(rejects).collect();
        let body = spec.body();
        let fields: Vec<_> = body.into_iter().map(|(_, field)| field).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let arrays = rows.columns()[..columns.body].to_vec();
        let rows =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
        let rows = rows.map_err(|error| RecordedError::Unfit {
            file: file.name().to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            again: again(spec, &messages, &rejects),
            messages,
            rows,
            message_of_row: merged.message_of_row,
            rejects,
            may_become_rows: ![MessageColumn::Key, MessageColumn::Headers]
                .into_iter()
                .any(|column| spec.reads(column)),
        })
    }

    /// The messages that could not be decoded and can be tried again, if there are any.
    pub(in crate::source::live) fn to_decode(&self) -> Option<&Messages> {
        self.again.as_ref().map(|(_, messages)| messages)
    }

    /// What all of the messages say; `again` is what was decoded of those of [`RecordedMessages::to_decode`].
    pub(in crate::source::live) fn decoded(
        &self,
        again: Option<DecodedMessages>,
    ) -> Result<DecodedMessages, ArrowError> {
        let none = Vec::new();
        let (tried, _) = self
            .again
            .as_ref()
            .map_or((&none, None), |(tried, it)| (tried, Some(it)));
        let message_of_tried = |at: u32| self.rejects[tried[at as usize]].0;
        let mut now: Vec<Option<MessageReject>> = vec![None; self.rejects.len()];
        let mut became_rows = vec![false; self.rejects.len()];
        let (mut rows, mut message_of_row) = (self.rows.clone(), self.message_of_row.clone());
        if let Some(again) = again {
            if again.rows.num_rows() > 0 && self.may_become_rows {
                for tried_of_row in again.message_of_row.iter() {
                    became_rows[tried[*tried_of_row as usize]] = true;
                }
                let of_row = again.message_of_row.iter();
                message_of_row.extend(of_row.map(|at| message_of_tried(*at)));
                let all = concat_batches(&rows.schema(), [&rows, &again.rows])?;
                let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
                order.sort_by_key(|row| message_of_row[*row as usize]);
                message_of_row.sort_unstable();
                rows = take_record_batch(&all, &UInt32Array::from(order))?;
            }
            for reject in again.rejects {
                let at = tried[reject.message as usize];
                now[at] = Some(reject);
            }
        }
        let rejects = self.rejects.iter().zip(now).zip(became_rows);
        let rejects = rejects.filter(|(_, became_rows)| !became_rows);
        let rejects = rejects.map(|(((message, recorded), now), _)| {
            let (code, detail, record) = match now {
                Some(now) => (now.code, now.detail, now.record),
                None => (
                    recorded.code,
                    recorded.detail.clone(),
                    recorded.record.clone(),
                ),
            };
            MessageReject {
                message: *message,
                before_row: message_of_row.partition_point(|it| it < message) as u32,
                code,
                detail,
                record,
            }
        });
        Ok(DecodedMessages {
            next: self.messages.len(),
            rejects: rejects.collect(),
            rows,
            message_of_row: message_of_row.into(),
        })
    }
}

/// Where a message is found.
enum Found {
    /// Its first row.
    Row(u32),
    Reject(usize),
}

/// The messages of rows and rejects, in the order of their offsets.
#[derive(Default)]
struct Merged {
    offsets: Vec<i64>,
    sources: Vec<Found>,
    message_of_row: Vec<u32>,
    message_of_reject: Vec<u32>,
}

impl Merged {
    fn of(offset_of_row: &[i64], rejects: &[Reject]) -> Self {
        let mut merged = Self::default();
        let (mut row, mut reject) = (0, 0);
        loop {
            let next_row = offset_of_row.get(row).copied();
            let next_reject = rejects.get(reject).map(|reject| reject.offset);
            let Some(offset) = next_row.into_iter().chain(next_reject).min() else {
                return merged;
            };
            let message = merged.offsets.len() as u32;
            merged.offsets.push(offset);
            merged.sources.push(match next_row == Some(offset) {
                true => Found::Row(row as u32),
                false => Found::Reject(reject),
            });
            // A message may be several rows, and some of them refused.
            while offset_of_row.get(row) == Some(&offset) {
                merged.message_of_row.push(message);
                row += 1;
            }
            while rejects.get(reject).is_some_and(|it| it.offset == offset) {
                merged.message_of_reject.push(message);
                reject += 1;
            }
        }
    }
}

/// The messages whose values are known, and which of the rejects they are.
fn again(
    spec: &LiveSpec,
    messages: &Messages,
    rejects: &[(u32, Reject)],
) -> Option<(Vec<usize>, Messages)> {
    let mut tried = Vec::new();
    let mut values = BinaryBuilder::new();
    for (at, (_, reject)) in rejects.iter().enumerate() {
        match reject.value(&spec.format) {
            None => continue,
            Some(Value::None) => values.append_null(),
            Some(Value::Bytes(bytes)) => values.append_value(bytes),
        }
        tried.push(at);
    }
    if tried.is_empty() {
        return None;
    }
    let of = |all: &[i64]| -> Vec<i64> {
        let tried = tried.iter();
        tried.map(|at| all[rejects[*at].0 as usize]).collect()
    };
    let messages = Messages {
        split: messages.split,
        offsets: of(&messages.offsets).into(),
        timestamps: of(&messages.timestamps).into(),
        keys: nothing(tried.len()),
        values: values.finish(),
        headers: None,
    };
    Some((tried, messages))
}

fn nothing(count: usize) -> BinaryArray {
    BinaryArray::new_null(count)
}

fn bytes(keys: &ArrayRef) -> BinaryArray {
    match keys.data_type() {
        DataType::Utf8 => BinaryArray::from(keys.as_string::<i32>().clone()),
        _ => keys.as_binary::<i32>().clone(),
    }
}
