//! A decoded batch of a split, made ready: which rows are wanted, and what becomes of the others.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::Int64Type;

use arrow::error::ArrowError;

use super::decode::{Decoded, Malformed};
use super::event_time::{self, EventTimeFault, EventTimes};
use super::{Origin, Origins, SourceReject, record_text};
use crate::stage::Stage;
use crate::text::instant;

/// Event times from `from` on and before `to`, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first that is wanted; `i64::MIN` for all.
    pub from: i64,
    /// The first that is no longer wanted; `i64::MAX` for all.
    pub to: i64,
}

impl TimeRange {
    /// All event times.
    pub const ALL: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    /// Whether an event time is wanted.
    pub fn holds(self, event_time: i64) -> bool {
        (self.from..self.to).contains(&event_time)
    }
}

/// Why a batch cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The event time, or the time of arrival, is of a type that no time can be made of.
    #[error(transparent)]
    EventTime(#[from] EventTimeFault),
    /// Arrow cannot choose the rows.
    #[error("cannot choose the rows that are wanted: {0}")]
    Arrow(#[from] ArrowError),
}

/// A batch of a split. All its rows have a usable event time.
#[derive(Default)]
pub(super) struct Prepared {
    /// None only before the first batch.
    pub(super) rows: Option<RecordBatch>,
    pub(super) event_times: ScalarBuffer<i64>,
    pub(super) origins: Origins,
    /// What did not become rows, with the row that it stood before.
    pub(super) rejects: VecDeque<(usize, SourceReject)>,
    /// Rows that are outside of the asked-for time.
    pub(super) skipped: u64,
    /// How far the split's file was read with it.
    pub(super) bytes_read: u64,
}

impl Prepared {
    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let rows = self
            .rows
            .as_ref()
            .map_or(0, RecordBatch::get_array_memory_size);
        let rejects = self.rejects.iter();
        let rejects = rejects.map(|(_, reject)| 128 + reject.record.len() + reject.detail.len());
        rows + 8 * self.event_times.len() + rejects.sum::<usize>()
    }
}

/// How the batches of all splits are prepared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation {
    /// The column of the event time.
    pub(super) event_time: usize,
    /// The column of the arrival time, and how far an event may be after it.
    pub(super) arrival: Option<(usize, i64)>,
    pub(super) range: TimeRange,
}

/// Why a row is not wanted.
enum Unfit {
    /// It is outside of the asked-for time.
    Skipped,
    Rejected(Stage, &'static str, String),
}

impl Preparation {
    /// Keeps the rows that are wanted, and notes what became of the others.
    pub(super) fn prepare(&self, split: u32, decoded: Decoded) -> Result<Prepared, PrepareError> {
        let arrivals = match self.arrival {
            Some((column, most)) => Some((times(&decoded.rows, column)?, most)),
            None => None,
        };
        self.prepare_arrived(split, decoded, arrivals)
    }

    /// As [`Preparation::prepare`], where it is known otherwise when each row came in, and how far its
    /// event may be after that.
    pub(super) fn prepare_arrived(
        &self,
        split: u32,
        decoded: Decoded,
        arrivals: Option<(EventTimes, i64)>,
    ) -> Result<Prepared, PrepareError> {
        let times = times(&decoded.rows, self.event_time)?;
        let judge = Judge {
            preparation: self,
            rows: &decoded.rows,
            arrivals: arrivals.as_ref().map(|(times, most)| (times, *most)),
            times: &times,
        };
        let place = |position| Origin { split, position };
        let mut prepared = Prepared::default();
        let malformed = decoded.rejects.into_iter();
        let malformed = malformed.map(|malformed| (malformed.before_row as usize, malformed));
        let malformed = malformed.map(|(before, found)| (before, reject(found, &place)));
        if judge.all_fit() {
            for run in decoded.lines.runs() {
                prepared.origins.push(run.at, place(run.position));
            }
            prepared.rejects = malformed.collect();
            (prepared.rows, prepared.event_times) = (Some(decoded.rows), times.micros);
            return Ok(prepared);
        }

        let mut malformed = malformed.peekable();
        let mut keep = vec![false; decoded.rows.num_rows()];
        let mut kept = 0;
        for row in 0..=keep.len() {
            while let Some((_, reject)) = malformed.next_if(|(before, _)| *before <= row) {
                prepared.rejects.push_back((kept, reject));
            }
            if row == keep.len() {
                break;
            }
            let position = decoded.lines.position(row as u32).unwrap_or_default();
            match judge.of(row) {
                None => {
                    keep[row] = true;
                    prepared.origins.push(kept as u32, place(position));
                    kept += 1;
                }
                Some(Unfit::Skipped) => prepared.skipped += 1,
                Some(Unfit::Rejected(stage, code, detail)) => {
                    let reject = SourceReject {
                        sequence: 0,
                        origin: place(position),
                        stage,
                        code: code.into(),
                        detail,
                        record: record_text(&decoded.rows, row as u32),
                    };
                    prepared.rejects.push_back((kept, reject));
                }
            }
        }
        let keep = BooleanArray::from(keep);
        let times = filter(&Int64Array::new(times.micros, None), &keep)?;
        prepared.event_times = times.as_primitive::<Int64Type>().values().clone();
        prepared.rows = Some(filter_record_batch(&decoded.rows, &keep)?);
        Ok(prepared)
    }
}

fn times(rows: &RecordBatch, column: usize) -> Result<EventTimes, PrepareError> {
    let name = rows.schema_ref().field(column).name();
    Ok(event_time::read(name, rows.column(column))?)
}

fn reject(malformed: Malformed, place: &impl Fn(u64) -> Origin) -> SourceReject {
    SourceReject {
        sequence: 0,
        origin: place(malformed.position),
        stage: Stage::Decode,
        code: malformed.code.into(),
        detail: malformed.reason,
        record: String::from_utf8_lossy(&malformed.record).into_owned(),
    }
}

/// Judges the rows of a batch one by one, and all at once where it can.
struct Judge<'a> {
    preparation: &'a Preparation,
    rows: &'a RecordBatch,
    times: &'a EventTimes,
    /// Arrival times, and how far an event may be after them.
    arrivals: Option<(&'a EventTimes, i64)>,
}

impl Judge<'_> {
    /// One pass over each column that the compiler can vectorise, without a look at single rows.
    fn all_fit(&self) -> bool {
        let range = self.preparation.range;
        let times = &self.times.micros;
        let within = |time: &i64| (range.from <= *time) & (*time < range.to);
        let timely = match self.arrivals {
            // Where a row has no arrival time, its slot may hold anything: then each is looked at.
            Some((arrivals, most)) => {
                let pairs = times.iter().zip(arrivals.micros.iter());
                arrivals.valid.is_none()
                    && pairs.fold(true, |all, (time, arrival)| {
                        all & (*time <= arrival.saturating_add(most))
                    })
            }
            None => true,
        };
        self.times.valid.is_none()
            && timely
            && (range == TimeRange::ALL || times.iter().fold(true, |all, time| all & within(time)))
    }

    fn of(&self, row: usize) -> Option<Unfit> {
        let is_valid =
            |times: &EventTimes| times.valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        let column = |at: usize| -> (&ArrayRef, String) {
            let name = self.rows.schema_ref().field(at).name();
            (self.rows.column(at), format!("`{name}`"))
        };
        if !is_valid(self.times) {
            let (array, name) = column(self.preparation.event_time);
            let (code, detail) = match array.is_null(row) {
                true => ("null_event_time", format!("{name} is null")),
                false => (
                    "event_time_out_of_range",
                    format!("{name} is outside the years 1 to 9799; is its unit right?"),
                ),
            };
            return Some(Unfit::Rejected(Stage::EventTime, code, detail));
        }
        let time = self.times.micros[row];
        if !self.preparation.range.holds(time) {
            return Some(Unfit::Skipped);
        }
        let (arrivals, most) = self.arrivals.filter(|(arrivals, _)| is_valid(arrivals))?;
        let arrival = arrivals.micros[row];
        if time <= arrival.saturating_add(most) {
            return None;
        }
        let (_, name) = column(self.preparation.event_time);
        let (time, arrival) = (instant(time), instant(arrival));
        let detail = format!(
            "{name} is {time}, and it came in at {arrival}: further ahead than `max_future` allows"
        );
        Some(Unfit::Rejected(
            Stage::Quarantine,
            "too_far_in_future",
            detail,
        ))
    }
}
