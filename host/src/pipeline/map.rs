//! The mapper at work: rows of a source in, the rows that lanes see out.
//!
//! The reader's thread calls it, before keys are looked at and rows divided. A source's batch goes
//! through in parts, a call each, so that neither what a call is handed nor what it returns is ever
//! larger than its limits allow; nothing that comes out depends on where the parts are cut. Every
//! output row knows the row it came from, and with it that row's sequence, place and watermark.

mod again;
mod opening;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use futures::executor::block_on;

pub use self::again::{MapAgain, MappedRows, Remapper};
pub(super) use self::opening::{OpenedMapper, open};

use super::accounting::{Accounting, Mapped as Counts};
use super::lane::Refused;
use super::opener::Opener;
use super::poison::{Circuit, poison, thread_cpu};
use super::reader::ReadError;
use crate::source::event_time::{self, why_invalid};
use crate::source::{Origins, SourceBatch, record_lines};
use crate::stage::Stage;
use crate::transform::{CallError, Figures, Mapped, Mapper, Reject, bytes_of};

/// Rows of the first call. What it returns shows how many the next may have.
const FIRST_ROWS: usize = 4096;

/// How a mapper stands between a source and the lanes.
#[derive(Debug, Clone)]
pub(super) struct MapPlan {
    /// The digest of its component.
    pub(super) digest: String,
    /// Which of the source's columns it wants, in its order.
    pub(super) input: Vec<usize>,
    /// The columns that lanes see, and where each comes from.
    pub(super) seen: Vec<Seen>,
    /// Their schema.
    pub(super) schema: SchemaRef,
    /// What the mapper gives.
    pub(super) output: SchemaRef,
    /// Where event times come from.
    pub(super) event_time: MappedTime,
    /// Bytes that one call hands over, at most.
    pub(super) call_bytes: usize,
    /// Rows and bytes that one call may return.
    pub(super) output_rows: usize,
    pub(super) output_bytes: usize,
}

/// Where a column that lanes see comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is the mapper's column of this number.
    Output(usize),
    /// It is the event time that each row keeps.
    EventTime,
}

/// Where the event time of a mapped row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MappedTime {
    /// It is that of the row it came from.
    Kept,
    /// It is in the mapper's column of this number and name.
    Column(usize, String),
}

/// Rows on their way to the lanes: all of a source's batch, or what some of it was mapped to.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) rows: RecordBatch,
    pub(super) event_times: ScalarBuffer<i64>,
    /// The watermark at each of them; none where no row is behind it.
    pub(super) watermarks: Option<ScalarBuffer<i64>>,
    /// Which row of the source's batch each came from; none if they are the source's own.
    pub(super) source_row: Option<Arc<[u32]>>,
    /// The row of the source's batch after the last that is in here.
    pub(super) end: usize,
    /// The rows that were refused on the way.
    pub(super) refused: Vec<Refused>,
}

impl Part {
    /// A batch that nobody maps.
    pub(super) fn whole(batch: &SourceBatch) -> Self {
        Self {
            rows: batch.rows.clone(),
            event_times: batch.event_times.clone(),
            watermarks: batch.watermarks.clone(),
            source_row: None,
            end: batch.rows.num_rows(),
            refused: Vec::new(),
        }
    }
}

/// A mapper at work.
pub(super) struct Mapping {
    mapper: Box<dyn Mapper>,
    opener: Opener,
    label: String,
    plan: MapPlan,
    /// Rows of the next call.
    call_rows: usize,
    /// What instances have told that are gone.
    figures: Figures,
    circuit: Circuit,
    /// CPU time of calls that failed, of this batch.
    recovered: Duration,
}

impl Mapping {
    pub(super) fn new(
        mapper: Box<dyn Mapper>,
        opener: Opener,
        label: String,
        plan: MapPlan,
    ) -> Self {
        Self {
            circuit: opener.recovery().circuit("map"),
            mapper,
            opener,
            label,
            plan,
            call_rows: FIRST_ROWS,
            figures: Figures::default(),
            recovered: Duration::ZERO,
        }
    }

    /// Puts something around the mapper.
    pub(super) fn wrapped(self, wrap: impl FnOnce(Box<dyn Mapper>) -> Box<dyn Mapper>) -> Self {
        Self {
            mapper: wrap(self.mapper),
            ..self
        }
    }

    /// What maps the same events again.
    pub(super) fn again(&self) -> MapAgain {
        MapAgain {
            opener: self.opener.clone(),
            plan: self.plan.clone(),
        }
    }

    /// What the mapper has told the operator.
    pub(super) fn figures(&self) -> Figures {
        let mut figures = self.figures.clone();
        figures += &self.mapper.figures();
        figures
    }

    /// The digest of its component.
    pub(super) fn digest(&self) -> &str {
        &self.plan.digest
    }

    /// Maps as many rows of a batch, from row `first` on, as one call takes.
    pub(super) fn part(
        &mut self,
        batch: &SourceBatch,
        origins: &Origins,
        first: usize,
        accounting: &mut Accounting,
    ) -> Result<Part, ReadError> {
        if first == batch.rows.num_rows() {
            return Ok(self.nothing(first));
        }
        if first == 0 {
            self.recovered = Duration::ZERO;
        }
        let called = self.call(&batch.rows, first);
        let (length, mapped) = called.map_err(|error| ReadError::Map {
            mapper: self.plan.digest.clone(),
            error,
        })?;
        self.adapt(length, &mapped);
        self.count(length, &mapped, accounting);

        let mut refused = Vec::new();
        let (rows, rejects) = rejected(&batch.rows, first, &mapped)?;
        let is_poison = mapped.rejects.iter().any(Reject::is_poison);
        let stage = if is_poison { Stage::Poison } else { Stage::Map };
        describe(batch, origins, &rows, stage, rejects, &mut refused)?;
        let source_row = mapped.source_row.iter().map(|row| first as u32 + row);
        let source_row: ScalarBuffer<u32> = source_row.collect();
        let (rows, event_times, valid) = self.seen(batch, &source_row, &mapped)?;
        let mut kept = Kept {
            rows,
            event_times,
            source_row,
        };
        if let Some(valid) = valid {
            let untimed = self.untimed(&kept, &mapped, &valid)?;
            accounting.mapped.get_or_insert_default().untimed += untimed.1.len() as u64;
            describe(
                batch,
                origins,
                &untimed.0,
                Stage::EventTime,
                untimed.1,
                &mut refused,
            )?;
            kept = kept.filter(&valid)?;
        }
        Ok(Part {
            watermarks: batch.watermarks.as_ref().map(|watermarks| {
                let rows = kept.source_row.iter();
                rows.map(|row| watermarks[*row as usize]).collect()
            }),
            rows: kept.rows,
            event_times: kept.event_times,
            source_row: Some(Arc::from(&*kept.source_row)),
            end: first + length,
            refused,
        })
    }

    /// Maps rows from `first` on, and says how many. A call that would return more than it may is made
    /// again with half of its rows: whether a run succeeds must not depend on where calls are cut.
    fn call(&mut self, rows: &RecordBatch, first: usize) -> Result<(usize, Mapped), CallError> {
        loop {
            let (length, input) = self.cut(rows, first);
            let began = thread_cpu();
            match block_on(self.mapper.map(&input, length)) {
                Err(error) if length > 1 && is_too_much(&error) => {
                    self.call_rows = length.div_ceil(2);
                    self.open_again()?;
                }
                Err(error) if self.opener.recovery().is_for(&error) => {
                    self.circuit.look(&error)?;
                    let recovery = self.opener.recovery();
                    self.recovered += thread_cpu().saturating_sub(began);
                    if self.recovered >= recovery.cpu {
                        return Err(recovery.takes_too_long("map", &error));
                    }
                    self.open_again()?;
                    if length > 1 {
                        self.call_rows = length.div_ceil(2);
                        continue;
                    }
                    // Alone, and twice.
                    if let Ok(mapped) = block_on(self.mapper.map(&input, length)) {
                        return Ok((length, mapped));
                    }
                    self.open_again()?;
                    self.circuit.failed(&error)?;
                    return Ok((length, self.poisoned(&error)));
                }
                mapped => {
                    self.circuit.passed(length);
                    return Ok((length, mapped?));
                }
            }
        }
    }

    /// Takes a fresh instance. Of what the spent one told, only what calls before the last told counts.
    fn open_again(&mut self) -> Result<(), CallError> {
        let told = self.mapper.figures();
        self.figures.take_in(&told, self.opener.metric_names());
        self.mapper = Box::new(block_on(self.opener.open_mapper(&self.label))?);
        Ok(())
    }

    /// What comes of a row on which the mapper fails.
    fn poisoned(&self, error: &CallError) -> Mapped {
        let reject = poison(0, error, &self.plan.digest);
        tracing::warn!(
            row = reject.detail,
            "the mapper fails on a row; it is in the rejects, and the others count"
        );
        Mapped {
            output: RecordBatch::new_empty(Arc::clone(&self.plan.output)),
            source_row: Vec::new(),
            rejects: vec![reject],
        }
    }

    /// The columns of as many rows as the byte budget of a call has room for.
    fn cut(&mut self, rows: &RecordBatch, first: usize) -> (usize, Vec<ArrayRef>) {
        let mut length = self.call_rows.min(rows.num_rows() - first);
        loop {
            let columns = self.plan.input.iter();
            let input: Vec<ArrayRef> = columns
                .map(|at| rows.column(*at).slice(first, length))
                .collect();
            if length <= 1 || bytes_of(&input) <= self.plan.call_bytes {
                return (length, input);
            }
            length = length.div_ceil(2);
            self.call_rows = length;
        }
    }

    /// Chooses the rows of the next call so that it stays well within what a call may return, if its
    /// rows are like those of this one.
    fn adapt(&mut self, length: usize, mapped: &Mapped) {
        let rows = mapped.output.num_rows();
        let bytes = bytes_of(mapped.output.columns()) + 4 * rows;
        let share = |times: usize| {
            times * rows <= self.plan.output_rows / 2 && times * bytes <= self.plan.output_bytes / 2
        };
        if !share(1) {
            self.call_rows = (length / 2).max(1);
        } else if share(2) && length == self.call_rows {
            self.call_rows = length.saturating_mul(2);
        }
    }

    fn count(&self, length: usize, mapped: &Mapped, accounting: &mut Accounting) {
        for reject in &mapped.rejects {
            match reject.is_poison() {
                true => accounting.poison_in_map(),
                false => accounting.reject(Stage::Map, &reject.code),
            }
        }
        let sources = mapped.source_row.chunk_by(|one, other| one == other);
        let sources = sources.count() as u64;
        accounting.filtered += (length - mapped.rejects.len()) as u64 - sources;
        *accounting.mapped.get_or_insert_default() += Counts {
            rows_in: length as u64,
            mapped: sources,
            rows_out: mapped.source_row.len() as u64,
            ..Counts::default()
        };
    }

    /// The rows as lanes see them, their event times, and which of those are none.
    fn seen(
        &self,
        batch: &SourceBatch,
        source_row: &[u32],
        mapped: &Mapped,
    ) -> Result<(RecordBatch, ScalarBuffer<i64>, Option<NullBuffer>), ArrowError> {
        let (event_times, valid) = match &self.plan.event_time {
            MappedTime::Kept => {
                let times = source_row.iter();
                let times = times.map(|row| batch.event_times[*row as usize]);
                (times.collect(), None)
            }
            MappedTime::Column(at, name) => {
                let times = event_time::read(name, mapped.output.column(*at))
                    .expect("its type was checked when the pipeline was opened");
                (times.micros, times.valid)
            }
        };
        let seen = self.plan.seen.iter();
        let columns = seen.map(|seen| match seen {
            Seen::Output(at) => Arc::clone(mapped.output.column(*at)),
            Seen::EventTime => {
                let times = TimestampMicrosecondArray::new(event_times.clone(), None);
                Arc::new(times.with_timezone("UTC")) as ArrayRef
            }
        });
        let rows = RecordBatch::try_new(Arc::clone(&self.plan.schema), columns.collect())?;
        Ok((rows, event_times, valid))
    }

    /// The rows whose event time is none, and why.
    fn untimed(
        &self,
        kept: &Kept,
        mapped: &Mapped,
        valid: &NullBuffer,
    ) -> Result<(RecordBatch, Vec<RejectOf>), ArrowError> {
        let MappedTime::Column(at, name) = &self.plan.event_time else {
            unreachable!("an event time that is kept was valid before");
        };
        let rows = (0..valid.len()).filter(|row| valid.is_null(*row));
        let rows: Vec<u32> = rows.map(|row| row as u32).collect();
        let why = |row: &u32| {
            let (code, detail) = why_invalid(name, mapped.output.column(*at), *row as usize);
            RejectOf {
                source_row: kept.source_row[*row as usize],
                code: code.into(),
                detail,
            }
        };
        let rejects = rows.iter().map(why).collect();
        let rows = take_record_batch(&kept.rows, &UInt32Array::from(rows))?;
        Ok((rows, rejects))
    }

    /// The part of a batch that has no rows.
    fn nothing(&self, end: usize) -> Part {
        Part {
            rows: RecordBatch::new_empty(Arc::clone(&self.plan.schema)),
            event_times: Vec::new().into(),
            watermarks: None,
            source_row: Some(Arc::from([])),
            end,
            refused: Vec::new(),
        }
    }
}

/// Whether fewer rows might give what a call may return.
fn is_too_much(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Limit {
            name: "output_rows" | "output_bytes",
            ..
        }
    )
}

/// Rows on their way through.
struct Kept {
    rows: RecordBatch,
    event_times: ScalarBuffer<i64>,
    source_row: ScalarBuffer<u32>,
}

impl Kept {
    fn filter(self, valid: &NullBuffer) -> Result<Self, ArrowError> {
        let valid = BooleanArray::new(valid.inner().clone(), None);
        let times = filter(&Int64Array::new(self.event_times, None), &valid)?;
        let sources = filter(&UInt32Array::new(self.source_row, None), &valid)?;
        Ok(Self {
            rows: filter_record_batch(&self.rows, &valid)?,
            event_times: times.as_primitive::<Int64Type>().values().clone(),
            source_row: sources.as_primitive::<UInt32Type>().values().clone(),
        })
    }
}

/// Why a row is refused, and which row of the source's batch it came from.
struct RejectOf {
    source_row: u32,
    code: String,
    detail: String,
}

/// The rows of a source's batch that the mapper refused. The call had those from `first` on.
fn rejected(
    rows: &RecordBatch,
    first: usize,
    mapped: &Mapped,
) -> Result<(RecordBatch, Vec<RejectOf>), ArrowError> {
    let rejects = mapped.rejects.iter().map(|reject| RejectOf {
        source_row: first as u32 + reject.row,
        code: reject.code.clone(),
        detail: reject.detail.clone(),
    });
    let rejects: Vec<RejectOf> = rejects.collect();
    let indices = UInt32Array::from_iter_values(rejects.iter().map(|reject| reject.source_row));
    Ok((take_record_batch(rows, &indices)?, rejects))
}

/// Describes refused rows, `rows`, each with its reject.
fn describe(
    batch: &SourceBatch,
    origins: &Origins,
    rows: &RecordBatch,
    stage: Stage,
    rejects: Vec<RejectOf>,
    refused: &mut Vec<Refused>,
) -> Result<(), ArrowError> {
    if rejects.is_empty() {
        return Ok(());
    }
    for (reject, record) in rejects.into_iter().zip(record_lines(rows)) {
        refused.push(Refused {
            sequence: batch.first_sequence + u64::from(reject.source_row),
            part: 0,
            origin: origins.of(reject.source_row),
            stage,
            code: reject.code,
            detail: reject.detail,
            record,
        });
    }
    Ok(())
}
