//! Rows that were rejected or came too late, as NDJSON: one object a line, in the order of the input.
//!
//! ```json
//! {"stage":"decode","code":"not-json","detail":"…","file":"rides.ndjson","line":7,"record":"{\"driver\": 4"}
//! ```
//!
//! `file` (of a live stream its split), and `line`, `row` or `offset`, are there when they are known; `generation` where a
//! live pipeline's transform failed on the row; `record` is the raw text, or the row as an object.
//!
//! Lines are ordered by the sequence of the input's row. Lines of one row stand in the order in which their producer
//! gave them, since a row is rejected by one producer. (Values that fail validation belong to windows, not to rows, and
//! have a file of their own.)

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::SinkError;
use super::ordered::Frontier;
use super::partial::{Partial, Whole, partial_path};
use crate::stage::Stage;

/// The place of a row in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// A line of a text file, from 1.
    Line(u64),
    /// A row of a columnar file, from 0.
    Row(u64),
    /// The position of a message in its split of a stream.
    Offset(u64),
}

/// What was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The raw text of the row.
    Text(String),
    /// The row as the text of one JSON value. What is not JSON is kept as a text.
    Json(String),
}

/// One rejected row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The row's position in the order of the whole input.
    pub sequence: u64,
    /// Orders what a mapper made of one row, whichever producer rejects it; any number without one.
    pub part: u32,
    /// Where it was rejected.
    pub stage: Stage,
    /// Why, for a program.
    pub code: String,
    /// Why, for a person.
    pub detail: String,
    /// The file that it came from.
    pub file: Option<String>,
    /// Where in that file.
    pub position: Option<Position>,
    /// The generation of the transform that failed on it, where a pipeline has several.
    pub generation: Option<u64>,
    /// The row.
    pub record: Record,
}

/// A line as it is written; the fields' order is the order in the file.
#[derive(Serialize)]
struct Shown<'a> {
    stage: Stage,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(flatten)]
    position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
}

/// A line that waits for its turn.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    sequence: u64,
    /// Whether it is not the first producer's, whose rejects come before all others of a sequence.
    later: bool,
    part: u32,
    producer: usize,
    /// The producer's own order.
    position: u64,
    line: String,
}

/// A file of rejected rows that several producers (the reader, each lane) give through one thread.
#[derive(Debug)]
pub struct RejectSink {
    path: PathBuf,
    frontier: Frontier<u64>,
    held: Vec<VecDeque<Held>>,
    held_bytes: usize,
    given: u64,
    /// Created with the first line: most runs reject nothing.
    file: Option<Partial>,
    rows: u64,
}

impl RejectSink {
    /// A sink for `producers` producers. No file is created yet. What the first gives at a sequence
    /// comes before what the others do.
    #[must_use]
    pub fn new(path: &Path, producers: usize) -> Self {
        Self {
            path: path.to_owned(),
            frontier: Frontier::new(producers),
            held: (0..producers).map(|_| VecDeque::new()).collect(),
            held_bytes: 0,
            given: 0,
            file: None,
            rows: 0,
        }
    }

    /// Takes a rejected row. A producer's sequences never fall, and are above what it has called complete.
    ///
    /// # Errors
    ///
    /// [`SinkError::OutOfOrder`] when they are not.
    pub fn write(&mut self, producer: usize, reject: &Reject) -> Result<(), SinkError> {
        let last = self.held[producer].back().map(|h| h.sequence);
        let complete = self.frontier.of(producer);
        if last.is_some_and(|last| reject.sequence < last)
            || complete.is_some_and(|complete| reject.sequence <= complete)
        {
            return Err(SinkError::OutOfOrder {
                path: self.path.clone(),
                reason: format!(
                    "producer {producer} gave row {} after row {}",
                    reject.sequence,
                    last.max(complete).unwrap_or_default()
                ),
            });
        }
        let line = reject_line(reject);
        self.held_bytes += line.len();
        self.given += 1;
        self.held[producer].push_back(Held {
            sequence: reject.sequence,
            later: producer > 0,
            part: reject.part,
            producer,
            position: self.given,
            line,
        });
        self.let_first_go()
    }

    /// Writes what the first producer gave at the sequence after the complete ones, where it comes
    /// before everybody else's. A source may have any number of records there that never became
    /// rows, and they must not pile up.
    fn let_first_go(&mut self) -> Result<(), SinkError> {
        let next = self
            .frontier
            .least()
            .map_or(0, |least| least.saturating_add(1));
        let Some(first) = self.held.first_mut() else {
            return Ok(());
        };
        let count = first.partition_point(|held| held.sequence <= next);
        let ready: Vec<Held> = first.drain(..count).collect();
        self.write_out(ready)
    }

    /// Notes that a producer has given every reject of the rows up to `sequence`, and writes what can go.
    ///
    /// # Errors
    ///
    /// [`SinkError::Io`] when the file cannot be written.
    pub fn advance(&mut self, producer: usize, sequence: u64) -> Result<(), SinkError> {
        let before = self.frontier.least();
        self.frontier.advance(producer, sequence);
        match self.frontier.least() {
            Some(least) if Some(least) > before => {
                self.release(least)?;
                self.let_first_go()
            }
            _ => Ok(()),
        }
    }

    /// The bytes that wait for a producer to advance.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Writes what is left. The file is whole then, and not in its place yet. Without any rejected row there is to be
    /// no file, and one of an earlier run is to go.
    ///
    /// # Errors
    ///
    /// [`SinkError::Io`] when the file cannot be written. The file of an earlier run is untouched then.
    pub fn complete(mut self) -> Result<Whole, SinkError> {
        self.release(u64::MAX)?;
        match self.file {
            Some(file) => file.complete(self.rows),
            None => Whole::none(self.path),
        }
    }

    fn release(&mut self, sequence: u64) -> Result<(), SinkError> {
        let mut ready: Vec<Held> = Vec::new();
        for held in &mut self.held {
            let count = held.partition_point(|h| h.sequence <= sequence);
            ready.extend(held.drain(..count));
        }
        ready.sort_unstable();
        self.write_out(ready)
    }

    /// Writes lines, which are in order.
    fn write_out(&mut self, ready: Vec<Held>) -> Result<(), SinkError> {
        if ready.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Partial::create(&self.path)?),
        };
        for held in ready {
            file.write_all(held.line.as_bytes())
                .map_err(|source| SinkError::Io {
                    doing: "write",
                    path: self.path.clone(),
                    partial: Some(partial_path(&self.path)),
                    source,
                })?;
            self.held_bytes -= held.line.len();
            self.rows += 1;
        }
        Ok(())
    }
}

/// A rejected row as a line, with its newline.
#[must_use]
pub fn reject_line(reject: &Reject) -> String {
    let shown = Shown {
        stage: reject.stage,
        code: &reject.code,
        detail: &reject.detail,
        file: reject.file.as_deref(),
        position: reject.position,
        generation: reject.generation,
    };
    let mut line = serde_json::to_string(&shown).expect("texts and numbers are JSON");
    let text = |text: &str| serde_json::to_string(text).expect("a text is JSON");
    let record = match &reject.record {
        // A JSON text may have line breaks between its tokens, and nowhere else.
        Record::Json(json) if serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok() => {
            json.trim().replace(['\n', '\r'], " ")
        }
        Record::Json(other) | Record::Text(other) => text(other),
    };
    let end = line.pop();
    debug_assert_eq!(
        end,
        Some('}'),
        "the head of a line is an object with fields"
    );
    line.push_str(",\"record\":");
    line.push_str(&record);
    line.push_str("}\n");
    line
}

#[cfg(test)]
#[path = "rejects_tests.rs"]
mod tests;
