//! Entries of the log: what a lane sent on, as bytes.
//!
//! | kind (1 byte) | rest |
//! | --- | --- |
//! | 1 rows | which length (4 bytes), how many marks (4), the marks (16 each), then the rows as an Arrow IPC stream |
//! | 2 refused rows | a JSON array |
//! | 3 progress | closed up to, sequence, watermark (8 bytes each) |
//!
//! Numbers are little-endian.

use std::io::Cursor;

use arrow::error::ArrowError;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Buf;

use crate::pipeline::lane::{FromLane, Output, Refused};
use crate::sink::Mark;

const ROWS: u8 = 1;
const REFUSED: u8 = 2;
const PROGRESS: u8 = 3;

/// What a lane sent on.
#[derive(Debug)]
pub(super) enum Entry {
    /// Rows, as bytes.
    Rows(Vec<u8>),
    Refused(Vec<Refused>),
    Progress {
        closed_up_to: i64,
        sequence: u64,
        watermark: i64,
    },
}

impl Entry {
    /// What is to be kept of a message.
    pub(super) fn of(message: &FromLane) -> Result<Option<Self>, ArrowError> {
        Ok(match message {
            FromLane::Emitted(output) => Some(Self::Rows(rows(output)?)),
            FromLane::Refused(refused) => Some(Self::Refused(refused.clone())),
            FromLane::Progress {
                closed_up_to,
                sequence,
                watermark,
            } => Some(Self::Progress {
                closed_up_to: *closed_up_to,
                sequence: *sequence,
                watermark: *watermark,
            }),
            FromLane::Relayed(_) | FromLane::Commit(_) | FromLane::Done(_) => None,
        })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Rows(bytes) => bytes,
            Self::Refused(refused) => {
                let mut bytes = vec![REFUSED];
                serde_json::to_writer(&mut bytes, &refused)
                    .expect("refused rows are texts and numbers");
                bytes
            }
            Self::Progress {
                closed_up_to,
                sequence,
                watermark,
            } => {
                let mut bytes = vec![PROGRESS];
                bytes.extend_from_slice(&closed_up_to.to_le_bytes());
                bytes.extend_from_slice(&sequence.to_le_bytes());
                bytes.extend_from_slice(&watermark.to_le_bytes());
                bytes
            }
        }
    }
}

fn rows(output: &Output) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = vec![ROWS];
    bytes.extend_from_slice(&(output.length as u32).to_le_bytes());
    bytes.extend_from_slice(&(output.marks.len() as u32).to_le_bytes());
    for mark in &output.marks {
        bytes.extend_from_slice(&mark.at.to_le_bytes());
        bytes.extend_from_slice(&mark.sequence.to_le_bytes());
    }
    let mut writer = StreamWriter::try_new(&mut bytes, output.rows.schema_ref())?;
    writer.write(&output.rows)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// What an entry says.
pub(super) fn decode(entry: &[u8]) -> Result<FromLane, String> {
    let short = |error: bytes::TryGetError| error.to_string();
    let mut rest = entry;
    match rest.try_get_u8().map_err(short)? {
        ROWS => {
            let length = rest.try_get_u32_le().map_err(short)? as usize;
            let count = rest.try_get_u32_le().map_err(short)?;
            let mut marks = Vec::new();
            for _ in 0..count {
                marks.push(Mark {
                    at: rest.try_get_i64_le().map_err(short)?,
                    sequence: rest.try_get_u64_le().map_err(short)?,
                });
            }
            let rows = only_batch(rest).map_err(|error| error.to_string())?;
            Ok(FromLane::Emitted(Output {
                length,
                rows,
                marks,
            }))
        }
        REFUSED => {
            let refused = serde_json::from_slice(rest).map_err(|error| error.to_string())?;
            Ok(FromLane::Refused(refused))
        }
        PROGRESS => Ok(FromLane::Progress {
            closed_up_to: rest.try_get_i64_le().map_err(short)?,
            sequence: rest.try_get_u64_le().map_err(short)?,
            watermark: rest.try_get_i64_le().map_err(short)?,
        }),
        kind => Err(format!("an entry of its log has kind {kind}")),
    }
}

fn only_batch(stream: &[u8]) -> Result<arrow::array::RecordBatch, ArrowError> {
    let mut batches = StreamReader::try_new(Cursor::new(stream), None)?;
    let missing = || ArrowError::IpcError("there are no rows".into());
    batches.next().ok_or_else(missing)?
}
