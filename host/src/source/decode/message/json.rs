//! JSON: one object a message, read as a line of NDJSON is.
//!
//! The scanner wants lines that end: so the messages of a batch are written one below the other first. That costs a copy
//! of what was just received and is checked to be UTF-8 in the same go.

use arrow::datatypes::SchemaRef;

use super::super::DecodeError;
use super::super::batch::Columns;
use super::super::ndjson::Objects;
use super::outcome::Outcome;
use crate::source::messages::Messages;

/// Decodes JSON messages.
pub(super) struct JsonMessages {
    objects: Objects,
    /// The messages at hand as lines, and room behind them.
    lines: Vec<u8>,
}

/// Room behind the lines, so that they can be looked at in blocks without asking where they end.
const SLACK: usize = 64;

impl JsonMessages {
    pub(super) fn new(wanted: &SchemaRef) -> Result<Self, DecodeError> {
        Ok(Self {
            objects: Objects::new("messages", wanted)?,
            lines: Vec::new(),
        })
    }

    /// The columns that are filled.
    pub(super) fn columns(&mut self) -> &mut Columns {
        self.objects.filled()
    }

    pub(super) fn decode(&mut self, messages: &Messages, first: usize, outcome: &mut Outcome) {
        self.lines.clear();
        for value in messages.values.iter().skip(first).flatten() {
            self.lines.extend_from_slice(trimmed(value));
            self.lines.push(b'\n');
        }
        let whole = self.lines.len();
        let utf8 = simdutf8::basic::from_utf8(&self.lines).is_ok();
        self.lines.resize(whole + SLACK, 0);
        let mut at = 0;
        for (number, value) in messages.values.iter().enumerate().skip(first) {
            let Some(value) = outcome.value(number, value) else {
                continue;
            };
            let end = at + trimmed(value).len();
            match self.objects.read_message(&self.lines, at, end, utf8) {
                Ok(()) => outcome.push(number, 1),
                Err(refusal) => {
                    self.objects.filled().truncate(outcome.rows());
                    outcome.refuse_text(number, refusal, value);
                }
            }
            at = end + 1;
        }
    }
}

/// The message without the space behind it: many writers end it with a newline.
fn trimmed(value: &[u8]) -> &[u8] {
    value.trim_ascii_end()
}

#[cfg(test)]
mod tests;
