//! One split of a live stream on its way to the lanes.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use super::columns::{self, MessageColumn};
use super::cursor::{Placed, Position, SplitCursor};
use super::recorded::{BAD_KEY, RecordedMessages};
use crate::source::decode::message::{
    DecodedMessages, MessageDecoder, MessageError, MessageFormat, MessageReject,
};
use crate::source::decode::{Decoded, Malformed, Origin as Positions, code};
use crate::source::event_time::{EventTimeFault, EventTimes};
use crate::source::messages::Messages;
use crate::source::prepared::{Preparation, PrepareError, Prepared, TimeRange};
use crate::source::{Origin, SourceBatch, SourceReject};
use crate::stage::Stage;

/// How the messages of a stream become rows.
#[derive(Debug, Clone)]
pub struct LiveSpec {
    /// How they are written.
    pub format: MessageFormat,
    /// The wanted columns.
    pub columns: SchemaRef,
    /// Which of them come from the message itself.
    pub message_columns: Vec<(usize, MessageColumn)>,
    /// Which of them is the event time.
    pub event_time: usize,
    /// Which of them is the time at which the row came in; when the stream recorded the message if
    /// none.
    pub arrival_time: Option<usize>,
    /// How far a row's event time may be after its arrival, in microseconds; any if none.
    pub max_future: Option<i64>,
    /// The allowed disorder, in microseconds.
    pub disorder: i64,
    /// Whether the watermark at each row is wanted, also where no row is behind it.
    pub every_watermark: bool,
    /// Whether the first message that does not become a row ends the run.
    pub stop_on_reject: bool,
}

impl LiveSpec {
    /// The columns of what messages say, with their places among all.
    pub(super) fn body(&self) -> Vec<(usize, FieldRef)> {
        let is_body = |at: usize| self.message_columns.iter().all(|(column, _)| *column != at);
        let fields = self.columns.fields().iter().enumerate();
        fields
            .filter(|(at, _)| is_body(*at))
            .map(|(at, field)| (at, Arc::clone(field)))
            .collect()
    }

    /// Whether a column of the messages themselves is wanted.
    pub(super) fn reads(&self, column: MessageColumn) -> bool {
        self.message_columns.iter().any(|(_, it)| *it == column)
    }
}

/// Rows of a split, and the cursor after them.
#[derive(Debug, Clone)]
pub struct LiveBatch {
    /// The rows.
    pub batch: SourceBatch,
    /// The cursor once they are done.
    pub cursor: SplitCursor,
    /// The number of the first message that is not among them.
    pub next: usize,
}

/// Rows of a split's history, which have no offsets.
#[derive(Debug)]
pub struct HistoryRows {
    /// The split.
    pub split: u32,
    /// The rows, in the wanted columns.
    pub rows: RecordBatch,
    /// Their event times, in microseconds.
    pub event_times: ScalarBuffer<i64>,
    /// Their numbers among all rows of the history, from 0; they rise.
    pub numbers: Vec<u64>,
    /// What did not become rows, with the row that it stood before, and in its sequence the number of the row in the
    /// history that it stood before.
    pub rejects: Vec<(usize, SourceReject)>,
    /// The number of the history's first row that was not looked at.
    pub until: u64,
}

/// Why a split cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Messages cannot be decoded; maybe later, see [`LiveError::is_temporary`].
    #[error(transparent)]
    Decode(#[from] MessageError),
    /// The event time, or the time of arrival, is of a type that no time can be made of.
    #[error(transparent)]
    EventTime(EventTimeFault),
    /// Arrow cannot put the columns together.
    #[error("cannot put the columns of messages together: {0}")]
    Arrow(#[from] ArrowError),
    /// A message did not become a row, and the pipeline asked to stop at such.
    #[error(
        "split {split}, position {position}: {detail} ({code}); `run.on_malformed = \"stop\"` ends the run here"
    )]
    Reject {
        /// The split, by its name or else its number.
        split: String,
        /// Its position.
        position: u64,
        /// The short name of the reason.
        code: String,
        /// The reason.
        detail: String,
    },
}

impl LiveError {
    /// Whether the same messages may be readable later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Decode(error) if error.is_temporary())
    }
}

impl From<PrepareError> for LiveError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::EventTime(fault) => Self::EventTime(fault),
            PrepareError::Arrow(error) => Self::Arrow(error),
        }
    }
}

/// A split that is read.
pub struct LiveSplit {
    spec: Arc<LiveSpec>,
    decoder: MessageDecoder,
    cursor: SplitCursor,
    preparation: Preparation,
    bounds: Bounds,
    /// What errors call it.
    name: Option<Arc<str>>,
    /// Where each wanted column comes from: the message, or the column of this number of what it says.
    origins: Vec<ColumnOf>,
}

/// What other splits make of one's watermark, where several are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What all of them together have reached.
    pub least: i64,
    /// How far the others let it come.
    pub most: i64,
}

impl Bounds {
    /// For a split that is alone.
    pub const NONE: Self = Self {
        least: i64::MIN,
        most: i64::MAX,
    };

    fn of(self, watermark: i64) -> i64 {
        watermark.min(self.most).max(self.least)
    }
}

#[derive(Debug, Clone, Copy)]
enum ColumnOf {
    Message(MessageColumn),
    Decoded(usize),
}

impl LiveSplit {
    /// Goes on at a cursor.
    ///
    /// # Errors
    ///
    /// The format cannot give the wanted columns.
    pub fn new(spec: &Arc<LiveSpec>, cursor: SplitCursor) -> Result<Self, LiveError> {
        let (places, fields): (Vec<usize>, Vec<FieldRef>) = spec.body().into_iter().unzip();
        let all = 0..spec.columns.fields().len();
        let origins = all.map(|at| match places.binary_search(&at) {
            Ok(decoded) => ColumnOf::Decoded(decoded),
            Err(_) => {
                let mut of_message = spec.message_columns.iter();
                let found = of_message.find(|(column, _)| *column == at);
                ColumnOf::Message(found.expect("what is not in the body is of the message").1)
            }
        });
        let origins = origins.collect();
        let decoder = MessageDecoder::new(&spec.format, &Arc::new(Schema::new(fields)))?;
        Ok(Self {
            preparation: Preparation {
                event_time: spec.event_time,
                arrival: spec.arrival_time.zip(spec.max_future),
                range: after(cursor.history),
            },
            spec: Arc::clone(spec),
            decoder,
            cursor,
            bounds: Bounds::NONE,
            name: None,
            origins,
        })
    }

    /// The same, called by a name in errors.
    #[must_use]
    pub fn named(self, name: &Arc<str>) -> Self {
        Self {
            name: Some(Arc::clone(name)),
            ..self
        }
    }

    /// Where it goes on.
    pub fn cursor(&self) -> &SplitCursor {
        &self.cursor
    }

    /// Begins anew at a cursor.
    pub fn go_to(&mut self, cursor: SplitCursor) {
        self.preparation.range = after(cursor.history);
        self.cursor = cursor;
    }

    /// Notes that there are no messages before `position`.
    pub fn skip_to(&mut self, position: Position) {
        self.cursor.position = position;
    }

    /// What the other splits that are read with it say, before the next messages are read. The
    /// sequence is that of the next row of all of them.
    pub fn among(&mut self, bounds: Bounds, sequence: u64) {
        self.bounds = bounds;
        self.cursor.sequence = sequence;
    }

    /// The split's own watermark by now, in microseconds; `i64::MIN` before there is one.
    pub fn watermark(&self) -> i64 {
        self.watermark_of(self.cursor.greatest)
    }

    /// Lets time go on to `time`, because nobody is left to be out of order; false if it is there
    /// already.
    pub fn advance(&mut self, time: i64) -> bool {
        let before = self.watermark();
        self.cursor.floor = self.cursor.floor.max(time);
        self.watermark() > before
    }

    fn watermark_of(&self, progress: i64) -> i64 {
        let behind = match progress {
            i64::MIN => i64::MIN,
            progress => progress.saturating_sub(self.spec.disorder),
        };
        behind.max(self.cursor.floor)
    }

    /// Reads messages, from number `first` on, which are those after the cursor; those of a shard come
    /// with their places. Blocks while a schema registry is asked.
    ///
    /// # Errors
    ///
    /// After one that [`LiveError::is_temporary`], the same messages may be read again.
    pub fn read(
        &mut self,
        messages: &Messages,
        first: usize,
        placed: Option<&Placed>,
    ) -> Result<LiveBatch, LiveError> {
        let decoded = self.decoder.decode(messages, first)?;
        self.take(messages, first, decoded, placed)
    }

    /// As [`LiveSplit::read`], of messages that were recorded: what comes out is the same.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_recorded(&mut self, recorded: &RecordedMessages) -> Result<LiveBatch, LiveError> {
        let again = recorded.to_decode();
        let again = again.map(|messages| self.decoder.decode(messages, 0));
        let decoded = recorded.decoded(again.transpose()?)?;
        self.take(&recorded.messages, 0, decoded, None)
    }

    /// Reads rows of history that has no offsets: those of a file, which were chosen to be this split's.
    ///
    /// # Errors
    ///
    /// One of them was refused, and the pipeline asked to stop at such.
    pub fn read_history(&mut self, history: HistoryRows) -> Result<LiveBatch, LiveError> {
        let mut prepared = Prepared {
            rows: Some(history.rows),
            event_times: history.event_times,
            rejects: history.rejects.into(),
            ..Prepared::default()
        };
        for (at, number) in (0..).zip(history.numbers) {
            prepared
                .origins
                .push(at, place_in_history(history.split, number));
        }
        for (_, reject) in &mut prepared.rejects {
            reject.origin = place_in_history(history.split, reject.sequence);
        }
        let batch = self.batch(prepared)?;
        self.cursor.position = SplitCursor::in_history(history.until);
        Ok(LiveBatch {
            batch,
            cursor: self.cursor.clone(),
            next: 0,
        })
    }

    /// Notes that history without offsets has ended at an event time: what the stream has up to that is passed over.
    pub fn end_history(&mut self, event_time: i64) {
        self.cursor.history = event_time;
        self.preparation.range = after(event_time);
    }

    /// Makes a batch of messages that are decoded.
    fn take(
        &mut self,
        messages: &Messages,
        first: usize,
        decoded: DecodedMessages,
        placed: Option<&Placed>,
    ) -> Result<LiveBatch, LiveError> {
        let next = decoded.next;
        let (decoded, message_of_row) = self.put_together(messages, decoded)?;
        let arrivals = match (self.spec.arrival_time, self.spec.max_future) {
            (None, Some(most)) => {
                let (micros, valid) = columns::timestamps(messages, &message_of_row);
                Some((EventTimes { micros, valid }, most))
            }
            _ => None,
        };
        let prepared = match arrivals {
            None => self.preparation.prepare(messages.split, decoded)?,
            arrivals => self
                .preparation
                .prepare_arrived(messages.split, decoded, arrivals)?,
        };
        let batch = self.batch(prepared)?;
        if next > first {
            self.cursor.position = Placed::behind(placed, messages.offsets[next - 1]);
        }
        Ok(LiveBatch {
            batch,
            cursor: self.cursor.clone(),
            next,
        })
    }

    /// The wanted columns, and the message of each row. Rows whose key is not the text that is wanted
    /// are refused.
    fn put_together(
        &self,
        messages: &Messages,
        decoded: DecodedMessages,
    ) -> Result<(Decoded, ScalarBuffer<u32>), LiveError> {
        let DecodedMessages {
            mut rows,
            mut message_of_row,
            mut rejects,
            ..
        } = decoded;
        if self.wants_text_keys() {
            let bad = |message: &u32| columns::no_text(messages, *message);
            if message_of_row.iter().any(bad) {
                let good: Vec<bool> = message_of_row.iter().map(|row| !bad(row)).collect();
                rejects = refuse_keys(rejects, &message_of_row, &good);
                let good = BooleanArray::from(good);
                rows = filter_record_batch(&rows, &good)?;
                let kept = filter(&UInt32Array::new(message_of_row, None), &good)?;
                message_of_row = kept.as_primitive::<UInt32Type>().values().clone();
            }
        }
        let fields = self.spec.columns.fields().iter().zip(&self.origins);
        let columns = fields.map(|(field, origin)| match origin {
            ColumnOf::Message(column) => column.of(messages, &message_of_row, field),
            ColumnOf::Decoded(at) => Ok(Arc::clone(rows.column(*at))),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::clone(&self.spec.columns);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let position = |message: u32| messages.offsets[message as usize].max(0) as u64;
        let mut lines = Positions::default();
        for (row, message) in (0..).zip(message_of_row.iter()) {
            lines.push(row, position(*message));
        }
        let rejects = rejects.into_iter().map(|reject| Malformed {
            before_row: reject.before_row,
            position: position(reject.message),
            code: reject.code,
            reason: reject.detail,
            record: reject.record.into_bytes(),
        });
        let decoded = Decoded {
            rows,
            lines,
            rejects: rejects.collect(),
        };
        Ok((decoded, message_of_row))
    }

    fn wants_text_keys(&self) -> bool {
        let mut of_message = self.spec.message_columns.iter();
        of_message.any(|(at, column)| {
            let is_text = *self.spec.columns.field(*at).data_type() == DataType::Utf8;
            *column == MessageColumn::Key && is_text
        })
    }

    /// The rows with their watermarks and sequences; the cursor goes on by them.
    fn batch(&mut self, prepared: Prepared) -> Result<SourceBatch, LiveError> {
        let first_sequence = self.cursor.sequence;
        let times = prepared.event_times;
        let before = self.cursor.greatest;
        let greatest = times.iter().copied().fold(before, i64::max);
        let watermark = self.bounds.of(self.watermark_of(greatest));
        let is_behind = times.iter().copied().fold(i64::MAX, i64::min) < watermark;
        let watermarks = (is_behind || self.spec.every_watermark).then(|| {
            let mut progress = before;
            let each = times.iter().map(|time| {
                progress = progress.max(*time);
                self.bounds.of(self.watermark_of(progress))
            });
            each.collect()
        });
        self.cursor.greatest = greatest;
        self.cursor.sequence += times.len() as u64;
        let rejects = prepared
            .rejects
            .into_iter()
            .map(|(before, reject)| SourceReject {
                sequence: first_sequence + before as u64,
                ..reject
            });
        let rejects: Vec<SourceReject> = rejects.collect();
        self.check(&rejects)?;
        Ok(SourceBatch {
            rows: prepared
                .rows
                .unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.spec.columns))),
            event_times: times,
            first_sequence,
            origins: prepared.origins,
            watermarks,
            watermark,
            rejects,
        })
    }

    /// A row of the future is set aside whatever the pipeline says of malformed messages.
    fn check(&self, rejects: &[SourceReject]) -> Result<(), LiveError> {
        let mut malformed = rejects.iter();
        let first = malformed.find(|reject| reject.stage != Stage::Quarantine);
        match first.filter(|_| self.spec.stop_on_reject) {
            None => Ok(()),
            Some(reject) => Err(LiveError::Reject {
                split: match &self.name {
                    Some(name) => name.to_string(),
                    None => reject.origin.split.to_string(),
                },
                position: reject.origin.position,
                code: reject.code.clone(),
                detail: reject.detail.clone(),
            }),
        }
    }
}

fn place_in_history(split: u32, number: u64) -> Origin {
    Origin {
        split,
        position: SplitCursor::in_history(number).offset().unwrap_or_default() as u64,
    }
}

/// The event times after one.
fn after(event_time: i64) -> TimeRange {
    match event_time {
        i64::MIN => TimeRange::ALL,
        time => TimeRange {
            from: time.saturating_add(1),
            ..TimeRange::ALL
        },
    }
}

/// Adds the rows whose key is no text to the rejects, and lets each reject stand before its row among
/// those that are left.
fn refuse_keys(
    rejects: Vec<MessageReject>,
    message_of_row: &[u32],
    good: &[bool],
) -> Vec<MessageReject> {
    let mut kept = 0;
    let mut rejects = rejects.into_iter().peekable();
    let mut all = Vec::new();
    for (row, (message, is_good)) in (0..).zip(message_of_row.iter().zip(good)) {
        while let Some(mut reject) = rejects.next_if(|reject| reject.before_row <= row) {
            reject.before_row = kept;
            all.push(reject);
        }
        if *is_good {
            kept += 1;
            continue;
        }
        all.push(MessageReject {
            message: *message,
            before_row: kept,
            code: code::INVALID_UTF8,
            detail: BAD_KEY.to_owned(),
            record: String::new(),
        });
    }
    all.extend(rejects.map(|reject| MessageReject {
        before_row: kept,
        ..reject
    }));
    all
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
