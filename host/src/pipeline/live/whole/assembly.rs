//! From the messages of a batch to partial states for the windows.

use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::error::ReceivedError;
use super::upstreams::Upstreams;
use crate::pipeline::lane::{LaneBatch, LaneError};
use crate::pipeline::live::partial::{Layout, Message, Trouble, What};
use crate::pipeline::staged::{Assemble, Assembled};
use crate::source::decode::message::{MessageDecoder, MessageFormat};
use crate::source::messages::Messages;
use crate::transform::event_time_type;
use crate::window::{RowBatch, Sequences};

/// The columns that the second stage has of each message: when it was sent, and what it says.
pub(in crate::pipeline::live) fn source_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("sent", event_time_type(), true),
        Field::new("value", DataType::Binary, false),
    ]))
}

/// Which of them is the message.
const VALUE: usize = 1;

/// Makes partial states of messages.
pub(in crate::pipeline::live) struct Assembly {
    layout: Arc<Layout>,
    decoder: MessageDecoder,
    upstreams: Upstreams,
    /// Whether time goes on while all upstream lanes are idle.
    advances: bool,
}

impl Assembly {
    /// Goes on with what was kept; `Null` if nothing was.
    pub(in crate::pipeline::live) fn new(
        layout: Arc<Layout>,
        advances: bool,
        kept: serde_json::Value,
    ) -> Result<Self, LaneError> {
        let upstreams = match kept {
            serde_json::Value::Null => Ok(Upstreams::default()),
            kept => serde_json::from_value(kept),
        };
        let upstreams =
            upstreams.map_err(|error| refused(ReceivedError::Kept(error.to_string())))?;
        let decoder = MessageDecoder::new(&MessageFormat::ArrowIpc(None), &layout.wire);
        Ok(Self {
            decoder: decoder.map_err(|error| LaneError::Received(Box::new(error)))?,
            layout,
            upstreams,
            advances,
        })
    }

    /// Looks at each message, and gives the streams of those that have partial states, each with its row and
    /// the watermark when it came.
    fn streams<'a>(&mut self, batch: &'a LaneBatch) -> Result<Vec<Stream<'a>>, ReceivedError> {
        let values: &BinaryArray = batch.rows.column(VALUE).as_binary();
        let mut streams = Vec::new();
        for (row, value) in values.iter().enumerate() {
            let position = batch.origins.of(batch.source_row(row)).position;
            let value = value.unwrap_or_default();
            let message = Message::decode(value).map_err(|trouble| match trouble {
                Trouble::Layout(layout) => ReceivedError::Layout { position, layout },
                Trouble::Malformed => ReceivedError::Foreign {
                    position,
                    reason: "it does not begin as they do".to_owned(),
                },
            })?;
            self.check(&message, position)?;
            if !self.upstreams.take(&message, position, self.advances)? {
                let (lane, repeats) = (message.body.lane, self.upstreams.repeats());
                tracing::warn!(lane, position, repeats, "a message came twice; once counts");
                continue;
            }
            if let What::Partials(stream) = message.body.what {
                streams.push(Stream {
                    stream,
                    row: row as u32,
                    watermark: self.upstreams.watermark(),
                });
            }
        }
        Ok(streams)
    }

    fn check(&self, message: &Message<'_>, position: u64) -> Result<(), ReceivedError> {
        if message.body.pipeline != self.layout.pipeline() {
            return Err(ReceivedError::Pipeline {
                position,
                pipeline: message.body.pipeline.to_owned(),
            });
        }
        match message.body.digest == *self.layout.digest() {
            true => Ok(()),
            false => Err(ReceivedError::States { position }),
        }
    }

    /// The rows of all streams, and the stream of each.
    fn decode(
        &mut self,
        batch: &LaneBatch,
        streams: &[Stream<'_>],
    ) -> Result<(RecordBatch, Vec<u32>), LaneError> {
        let count = streams.len();
        let messages = Messages {
            split: 0,
            offsets: (0..count as i64).collect(),
            timestamps: vec![0; count].into(),
            keys: BinaryArray::new_null(count),
            values: BinaryArray::from_iter_values(streams.iter().map(|stream| stream.stream)),
            headers: None,
        };
        let (mut parts, mut stream_of_row, mut next) = (Vec::new(), Vec::new(), 0);
        while next < count {
            let decoded = self.decoder.decode(&messages, next);
            let decoded = decoded.map_err(|error| LaneError::Received(Box::new(error)))?;
            if let Some(reject) = decoded.rejects.first() {
                let row = streams[reject.message as usize].row;
                return Err(refused(ReceivedError::Foreign {
                    position: batch.origins.of(batch.source_row(row as usize)).position,
                    reason: reject.detail.clone(),
                }));
            }
            next = decoded.next;
            stream_of_row.extend_from_slice(&decoded.message_of_row);
            parts.push(decoded.rows);
        }
        let rows = match &parts[..] {
            [only] => only.clone(),
            parts => concat_batches(&self.layout.wire, parts)?,
        };
        Ok((rows, stream_of_row))
    }
}

/// An Arrow IPC stream, which message it was in, and the watermark when it came.
struct Stream<'a> {
    stream: &'a [u8],
    row: u32,
    watermark: i64,
}

impl Assemble for Assembly {
    fn assemble(&mut self, batch: &LaneBatch) -> Result<Assembled, LaneError> {
        let streams = self.streams(batch).map_err(refused)?;
        let (rows, stream_of_row) = self.decode(batch, &streams)?;
        let stream_of = |row: usize| &streams[stream_of_row[row] as usize];
        let taken = self.layout.partials(&rows).map_err(|reason| {
            let first = streams.first().map_or(0, |stream| stream.row as usize);
            refused(ReceivedError::Foreign {
                position: batch.origins.of(batch.source_row(first)).position,
                reason: format!("{reason}, in this message or one soon after it"),
            })
        })?;
        let count = 0..rows.num_rows();
        let source_row = |row| batch.source_row(stream_of(row).row as usize);
        let source_row: Vec<u32> = count.clone().map(source_row).collect();
        let first = batch.sequences.start;
        Ok(Assembled {
            rows: RowBatch {
                input: Vec::new(),
                keys: taken.keys,
                event_times: taken.least.into(),
                watermarks: Some(count.map(|row| stream_of(row).watermark).collect()),
                sequences: Sequences::Picked(first, source_row.clone()),
                watermark: self.upstreams.watermark(),
                next_sequence: batch.sequences.end,
                partials: Some(taken.partials),
            },
            source_row,
        })
    }

    fn kept(&self) -> serde_json::Value {
        serde_json::to_value(&self.upstreams).expect("it has only numbers and lists")
    }
}

fn refused(error: ReceivedError) -> LaneError {
    LaneError::Received(Box::new(error))
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
