//! What a recording has of the messages that could not be decoded.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::BAD_KEY;
use super::error::RecordedError;
use crate::source::decode::code;
use crate::source::decode::message::MessageFormat;
use crate::source::recording::Recording;

/// As much of a message as is kept: one that fills it may have been longer.
const RECORD_BYTES: usize = 64 << 10;

/// A message that could not be decoded when it was recorded.
#[derive(Debug, Clone)]
pub(super) struct Reject {
    pub(super) offset: i64,
    /// When the stream recorded it, in microseconds; `i64::MIN` if it does not say.
    pub(super) timestamp: i64,
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) record: String,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    offset: i64,
    timestamp: Option<String>,
    code: String,
    detail: Option<String>,
    record: Option<String>,
}

/// What a message had to say, where that is still known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: it was a deletion.
    None,
    Bytes(Vec<u8>),
}

impl Reject {
    /// What the message said, byte for byte; none where that was not kept. Who reads other columns than were recorded
    /// may be able to decode it.
    pub(super) fn value(&self, format: &MessageFormat) -> Option<Value> {
        if self.code == code::NO_VALUE {
            return Some(Value::None);
        }
        let is_whole = !self.record.is_empty() && self.detail != BAD_KEY;
        match format {
            MessageFormat::Json => {
                // What was no text has other characters in place of what it had.
                let is_same = self.code != code::INVALID_UTF8 && self.record.len() < RECORD_BYTES;
                let value = || Value::Bytes(self.record.clone().into_bytes());
                (is_whole && is_same).then(value)
            }
            MessageFormat::Avro(_) | MessageFormat::Protobuf { .. } => {
                let bytes = STANDARD.decode(&self.record).ok()?;
                (is_whole && bytes.len() < RECORD_BYTES).then_some(Value::Bytes(bytes))
            }
            // It may be a row of a message, other rows of which were recorded.
            MessageFormat::ArrowIpc(_) => None,
            // Nothing of it is ever refused.
            MessageFormat::Bytes => None,
        }
    }
}

/// The rejects of one file, in the order of their offsets.
pub(super) struct Rejects {
    file: String,
    lines: BufReader<Box<dyn Read + Send>>,
    next: Option<Reject>,
}

impl Rejects {
    pub(super) fn open(recording: &Arc<dyn Recording>) -> Result<Self, RecordedError> {
        let file = recording.name();
        let stream = recording.stream();
        let stream = stream.map_err(|source| RecordedError::Rejects {
            file: file.clone(),
            source,
        })?;
        let mut rejects = Self {
            file,
            lines: BufReader::new(stream),
            next: None,
        };
        rejects.read()?;
        Ok(rejects)
    }

    /// The offset of the next one.
    pub(super) fn peek(&self) -> Option<i64> {
        self.next.as_ref().map(|reject| reject.offset)
    }

    /// The next one, if it stands before an offset.
    pub(super) fn before(&mut self, offset: i64) -> Result<Option<Reject>, RecordedError> {
        if self.peek().is_none_or(|next| next >= offset) {
            return Ok(None);
        }
        let reject = self.next.take();
        self.read()?;
        Ok(reject)
    }

    fn read(&mut self) -> Result<(), RecordedError> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        read.map_err(|source| RecordedError::Rejects {
            file: self.file.clone(),
            source,
        })?;
        self.next = None;
        if line.is_empty() {
            return Ok(());
        }
        let foreign = |reason: String| RecordedError::Foreign {
            file: self.file.clone(),
            reason,
        };
        let line: Line = serde_json::from_slice(&line)
            .map_err(|error| foreign(format!("a line of it is no reject: {error}")))?;
        let code = code::known(&line.code)
            .ok_or_else(|| foreign(format!("it has rejects of the unknown code {}", line.code)))?;
        let timestamp = match &line.timestamp {
            None => i64::MIN,
            Some(text) => {
                let time: Result<jiff::Timestamp, _> = text.parse();
                time.map_err(|error| foreign(format!("a line of it has no time: {error}")))?
                    .as_microsecond()
            }
        };
        self.next = Some(Reject {
            offset: line.offset,
            timestamp,
            code,
            detail: line.detail.unwrap_or_else(|| {
                "it could not be decoded when it was recorded; what it was is held back".to_owned()
            }),
            record: line.record.unwrap_or_default(),
        });
        Ok(())
    }
}
