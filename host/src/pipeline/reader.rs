//! The reader of a pipeline: a thread that takes batches from the source and gives each lane its rows.
//!
//! Rows without a key are refused here. Which lane a row belongs to follows from its key alone.
//! Every lane hears of every batch's progress, also one that got no rows.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

use super::accounting::Accounting;
use super::delivery::ToDelivery;
use super::lane::{LaneBatch, Refused, ToLane};
use super::plan::Plan;
use super::queue::{Closed, Sender};
use crate::source::replay::{Replay, ReplayError, ReplaySummary};
use crate::source::{SourceBatch, record_lines};
use crate::stage::Stage;

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source cannot be read on.
    #[error(transparent)]
    Source(#[from] ReplayError),
    /// Arrow cannot divide the rows.
    #[error("cannot divide rows among lanes: {0}")]
    Arrow(#[from] ArrowError),
    /// Somebody asked the run to stop.
    #[error("stopped before the end of the input")]
    Stopped,
    /// Another part of the pipeline has ended, and says why itself.
    #[error("another part of the pipeline has ended")]
    Closed,
}

impl From<Closed> for ReadError {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// A reader at work.
pub(super) struct Reader {
    pub(super) plan: Arc<Plan>,
    pub(super) source: Replay,
    pub(super) lanes: Vec<Sender<ToLane>>,
    pub(super) delivery: Sender<ToDelivery>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Reader {
    /// Reads to the end of the source, and gives the accounts of what never reached a lane, and what
    /// the source says of itself.
    pub(super) fn run(mut self) -> Result<(Accounting, ReplaySummary), ReadError> {
        let mut accounting = Accounting::default();
        let divider = Divider::new(&self.plan, self.lanes.len())?;
        while let Some(batch) = self.source.next_batch()? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ReadError::Stopped);
            }
            self.batch(batch, &divider, &mut accounting)?;
        }
        for lane in &self.lanes {
            lane.send_blocking(ToLane::End, 0)?;
        }
        Ok((accounting, self.source.summary()))
    }

    fn batch(
        &self,
        mut batch: SourceBatch,
        divider: &Divider,
        accounting: &mut Accounting,
    ) -> Result<(), ReadError> {
        let rows = batch.rows.num_rows() as u64;
        let sequences = batch.first_sequence..batch.first_sequence + rows;
        accounting.read += rows + batch.rejects.len() as u64;
        let keyless = divider.keyless(&batch);
        let mut refused = self.refused(std::mem::take(&mut batch.rejects), &keyless, &batch)?;
        for refused in &refused {
            accounting.reject(refused.stage, &refused.code);
        }
        // Records before the first row come before it; a stable sort keeps them so.
        refused.sort_by_key(|refused| refused.sequence);
        let bytes = refused.iter().map(Refused::bytes).sum();
        let message = ToDelivery::Reader {
            refused,
            sequence: sequences.end,
        };
        self.delivery.send_blocking(message, bytes)?;

        let origins = Arc::new(std::mem::take(&mut batch.origins));
        let shares = divider.divide(&batch, &keyless)?;
        for (lane, (rows, picked)) in self.lanes.iter().zip(shares) {
            let pick = |values: &ScalarBuffer<i64>| match &picked {
                None => values.clone(),
                Some(picked) => picked.iter().map(|row| values[*row as usize]).collect(),
            };
            let event_times = pick(&batch.event_times);
            let watermarks = batch.watermarks.as_ref().map(pick);
            let bytes = rows.get_array_memory_size() + 24 * rows.num_rows();
            let message = ToLane::Batch(LaneBatch {
                event_times,
                watermarks,
                rows,
                picked,
                sequences: sequences.clone(),
                origins: Arc::clone(&origins),
                watermark: batch.watermark,
            });
            lane.send_blocking(message, bytes)?;
        }
        Ok(())
    }

    /// The records that did not become rows, and the rows without a key.
    fn refused(
        &self,
        rejects: Vec<crate::source::SourceReject>,
        keyless: &[u32],
        batch: &SourceBatch,
    ) -> Result<Vec<Refused>, ArrowError> {
        let mut refused: Vec<Refused> = rejects
            .into_iter()
            .map(|reject| Refused {
                sequence: reject.sequence,
                origin: reject.origin,
                stage: reject.stage,
                code: reject.code,
                detail: reject.detail,
                record: reject.record,
            })
            .collect();
        if keyless.is_empty() {
            return Ok(refused);
        }
        let indices = UInt32Array::from(keyless.to_vec());
        let records = record_lines(&take_record_batch(&batch.rows, &indices)?);
        for (row, record) in keyless.iter().zip(records) {
            let columns = self.plan.key.iter();
            let null = columns.filter(|at| batch.rows.column(**at).is_null(*row as usize));
            let schema = batch.rows.schema();
            let names: Vec<String> = null
                .map(|at| format!("`{}`", schema.field(*at).name()))
                .collect();
            let (code, detail) = match names.as_slice() {
                [] => (
                    "key_out_of_range",
                    "a time of the key is outside the years 0 to 9999".to_owned(),
                ),
                names => ("null_key", format!("{} is null", names.join(" and "))),
            };
            refused.push(Refused {
                sequence: batch.first_sequence + u64::from(*row),
                origin: batch.origins.of(*row),
                stage: Stage::Key,
                code: code.into(),
                detail,
                record,
            });
        }
        Ok(refused)
    }
}

/// Which rows of a column of times are in the years 0 to 9999, which have a text form; none if all
/// are, or the column has no times.
fn within_calendar(column: &ArrayRef) -> Option<NullBuffer> {
    const FIRST_S: i64 = -62_167_219_200;
    const LAST_S: i64 = 253_402_207_199;
    let seconds: fn(i64, i64) -> bool =
        |value, unit| (FIRST_S..=LAST_S).contains(&value.div_euclid(unit));
    let of = |values: &[i64], unit: i64| -> Vec<bool> {
        values.iter().map(|value| seconds(*value, unit)).collect()
    };
    let near = match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().values();
            days.iter()
                .map(|days| seconds(i64::from(*days) * 86_400, 1))
                .collect()
        }
        DataType::Date64 => of(column.as_primitive::<Date64Type>().values(), 1_000),
        DataType::Timestamp(TimeUnit::Second, _) => {
            of(column.as_primitive::<TimestampSecondType>().values(), 1)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => of(
            column.as_primitive::<TimestampMillisecondType>().values(),
            1_000,
        ),
        DataType::Timestamp(TimeUnit::Microsecond, _) => of(
            column.as_primitive::<TimestampMicrosecondType>().values(),
            1_000_000,
        ),
        // All nanoseconds of 64 bits are within three centuries of 1970.
        _ => return None,
    };
    (!near.iter().all(|near| *near)).then(|| NullBuffer::from(near))
}

/// A lane's rows, and which rows of the batch they are; none for all.
type Share = (RecordBatch, Option<Vec<u32>>);

/// Divides rows among lanes by key.
struct Divider {
    key: Vec<usize>,
    lanes: usize,
    rows: RowConverter,
    hasher: foldhash::quality::FixedState,
}

impl Divider {
    fn new(plan: &Plan, lanes: usize) -> Result<Self, ArrowError> {
        let fields = plan.key_schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            key: plan.key.clone(),
            lanes,
            rows: RowConverter::new(fields.collect())?,
            // Fixed: which lane a key belongs to must not change between runs.
            hasher: foldhash::quality::FixedState::with_seed(0),
        })
    }

    /// The rows whose key names no entity: a column of it is null, or a time that no calendar has.
    fn keyless(&self, batch: &SourceBatch) -> Vec<u32> {
        let mut nulls = None;
        for at in &self.key {
            let column = batch.rows.column(*at);
            if column.null_count() > 0 {
                nulls = NullBuffer::union(nulls.as_ref(), column.nulls());
            }
            if let Some(near) = within_calendar(column) {
                nulls = NullBuffer::union(nulls.as_ref(), Some(&near));
            }
        }
        let Some(nulls) = nulls else {
            return Vec::new();
        };
        (0..nulls.len())
            .filter(|row| nulls.is_null(*row))
            .map(|row| row as u32)
            .collect()
    }

    fn divide(&self, batch: &SourceBatch, keyless: &[u32]) -> Result<Vec<Share>, ArrowError> {
        if self.lanes == 1 && keyless.is_empty() {
            return Ok(vec![(batch.rows.clone(), None)]);
        }
        let mut shares = vec![Vec::new(); self.lanes];
        let columns: Vec<ArrayRef> = self
            .key
            .iter()
            .map(|at| Arc::clone(batch.rows.column(*at)))
            .collect();
        let keys = self.rows.convert_columns(&columns)?;
        let mut keyless = keyless.iter().copied().peekable();
        for (row, key) in (0_u32..).zip(&keys) {
            if keyless.next_if_eq(&row).is_none() {
                let hash = self.hasher.hash_one(key.data());
                shares[(hash % self.lanes as u64) as usize].push(row);
            }
        }
        let take = |picked: Vec<u32>| {
            let indices = UInt32Array::from(picked.clone());
            let rows = take_record_batch(&batch.rows, &indices)?;
            Ok((rows, Some(picked)))
        };
        shares.into_iter().map(take).collect()
    }
}
