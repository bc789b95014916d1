//! What becomes of the messages of a batch: rows, each with its message, and rejects.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::batch::Refusal;
use super::super::origin::{RECORD_BYTES, code};

/// A message, or a row of one, that is not among the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageReject {
    /// The message's number in its batch, from 0.
    pub message: u32,
    /// The row before which it would stand; the number of rows if after the last.
    pub before_row: u32,
    /// One of the constants in [`code`](super::super::code).
    pub code: &'static str,
    /// What was expected, where, and what was found.
    pub detail: String,
    /// The message, at most its first 64 KiB: text as it is, other formats in base64. Of an Arrow message of which
    /// single rows were refused, the row as JSON. Empty if the message has no value.
    pub record: String,
}

/// The rows so far, by their messages, and the rejects.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) message_of_row: Vec<u32>,
    pub(super) rejects: Vec<MessageReject>,
}

impl Outcome {
    /// Room for so many rows.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            message_of_row: Vec::with_capacity(rows),
            rejects: Vec::new(),
        }
    }

    /// Rows so far.
    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.message_of_row.len()
    }

    /// The value of a message. One that has none is refused.
    #[inline]
    pub(super) fn value<'a>(
        &mut self,
        message: usize,
        value: Option<&'a [u8]>,
    ) -> Option<&'a [u8]> {
        if value.is_none() {
            let refusal = Refusal {
                code: code::NO_VALUE,
                reason: "the message has no value (it is a deletion)".to_owned(),
            };
            self.refuse(message, refusal, String::new());
        }
        value
    }

    /// Notes that so many rows came of a message.
    #[inline]
    pub(super) fn push(&mut self, message: usize, rows: usize) {
        if rows == 1 {
            self.message_of_row.push(message as u32);
        } else {
            let rows = std::iter::repeat_n(message as u32, rows);
            self.message_of_row.extend(rows);
        }
    }

    #[cold]
    pub(super) fn refuse(&mut self, message: usize, refusal: Refusal, record: String) {
        self.refuse_at(message, self.rows(), refusal, record);
    }

    /// Refuses a row that would stand before row `before`.
    #[cold]
    pub(super) fn refuse_at(
        &mut self,
        message: usize,
        before: usize,
        refusal: Refusal,
        record: String,
    ) {
        self.rejects.push(MessageReject {
            message: message as u32,
            before_row: before as u32,
            code: refusal.code,
            detail: refusal.reason,
            record,
        });
    }

    /// Refuses a message that is text.
    #[cold]
    pub(super) fn refuse_text(&mut self, message: usize, refusal: Refusal, value: &[u8]) {
        let shown = &value[..value.len().min(RECORD_BYTES)];
        let record = String::from_utf8_lossy(shown).into_owned();
        self.refuse(message, refusal, record);
    }

    /// Refuses a message that is no text.
    #[cold]
    pub(super) fn refuse_bytes(&mut self, message: usize, refusal: Refusal, value: &[u8]) {
        let record = STANDARD.encode(&value[..value.len().min(RECORD_BYTES)]);
        self.refuse(message, refusal, record);
    }
}
