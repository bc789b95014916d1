//! Dealing: rows of a source are mapped where the pipeline says so, and each lane gets its own.
//!
//! Rows without a key are refused here. Which lane a row belongs to follows from its key alone; where lanes
//! make partial states, from its number alone.
//! Every lane hears of every batch's progress, also one that got no rows.

use std::hash::BuildHasher;
use std::iter::Peekable;
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

use super::accounting::{Accounting, Mapped};
use super::delivery::ToDelivery;
use super::key_sample::KeySample;
use super::lane::{LaneBatch, Place, Refused, ToLane, Unreached};
use super::map::{Mapping, Part};
use super::plan::Plan;
use super::queue::{Closed, Sender};
use super::reader::ReadError;
use super::telemetry::ReaderTelemetry;
use crate::source::live::{Placed, SplitCursor};
use crate::source::{Origins, SourceBatch, SourceReject, record_lines};
use crate::stage::Stage;
use crate::transform::Figures;

/// Deals out the batches of a source.
pub(super) struct Dealer {
    plan: Arc<Plan>,
    mapping: Option<Mapping>,
    lanes: Vec<Sender<ToLane>>,
    /// Where refused rows go. Without it they go to the first lane, which accounts for them as it
    /// does for its own.
    delivery: Option<Sender<ToDelivery>>,
    stop: Arc<AtomicBool>,
    divider: Divider,
    accounting: Accounting,
    /// The watermark after the last batch.
    watermark: i64,
    telemetry: Arc<ReaderTelemetry>,
    /// Looks whether keys belong to this source alone, if they should.
    keys: Option<KeySample>,
}

impl Dealer {
    pub(super) fn new(
        plan: Arc<Plan>,
        mapping: Option<Mapping>,
        lanes: Vec<Sender<ToLane>>,
        delivery: Option<Sender<ToDelivery>>,
        stop: Arc<AtomicBool>,
        telemetry: Arc<ReaderTelemetry>,
    ) -> Result<Self, ArrowError> {
        Ok(Self {
            divider: Divider::new(&plan, lanes.len())?,
            accounting: Accounting {
                mapped: mapping.as_ref().map(|_| Mapped::default()),
                ..Accounting::default()
            },
            plan,
            mapping,
            lanes,
            delivery,
            stop,
            watermark: i64::MIN,
            telemetry,
            keys: None,
        })
    }

    /// Has a look taken at the keys of the first rows.
    pub(super) fn look_at_keys(&mut self, keys: KeySample) {
        self.keys = Some(keys);
    }

    /// Gives each lane its rows of a batch, and all of them the progress. A batch of a live stream
    /// comes with its place.
    pub(super) fn deal(
        &mut self,
        batch: SourceBatch,
        place: Option<Place>,
    ) -> Result<(), ReadError> {
        self.accounting.read += (batch.rows.num_rows() + batch.rejects.len()) as u64;
        let mut way = Way::of(batch, self.watermark);
        while !way.is_done {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ReadError::Stopped);
            }
            self.telemetry.heartbeat.work();
            let part = match &mut self.mapping {
                None => Part::whole(&way.batch),
                Some(mapping) => {
                    mapping.part(&way.batch, &way.origins, way.first, &mut self.accounting)?
                }
            };
            self.send(&mut way, part, place.as_ref())?;
            // Without a delivery of its own a lane accounts for what it sent.
            if self.delivery.is_some() {
                self.telemetry.accounts.publish(&self.accounting);
            }
        }
        self.watermark = way.batch.watermark;
        Ok(())
    }

    /// Tells each lane something of its own that is not about rows.
    pub(super) fn tell_each(&self, messages: impl Iterator<Item = ToLane>) -> Result<(), Closed> {
        let mut lanes = self.lanes.iter().zip(messages);
        lanes.try_for_each(|(lane, message)| lane.send_blocking(message, 0))
    }

    /// Tells every lane something that is not about rows.
    pub(super) fn tell_all(&self, message: impl Fn() -> ToLane) -> Result<(), Closed> {
        let mut lanes = self.lanes.iter();
        lanes.try_for_each(|lane| lane.send_blocking(message(), 0))
    }

    /// The accounts of what was not given to a lane, and what the mapper told.
    pub(super) fn finish(mut self) -> (Accounting, Figures) {
        let mapping = self.mapping.take();
        let figures = mapping.map_or_else(Figures::default, |mapping| mapping.figures());
        (std::mem::take(&mut self.accounting), figures)
    }

    /// Refuses the rows of a part that have no key, and gives each lane its own.
    fn send(
        &mut self,
        way: &mut Way,
        mut part: Part,
        place: Option<&Place>,
    ) -> Result<(), ReadError> {
        way.go_to(part.end);
        let keyless = self.divider.keyless(&part.rows);
        if let Some(keys) = &mut self.keys {
            keys.look(&self.divider.keys(&part.rows), &keyless)?;
            self.keys.take_if(|keys| keys.is_done());
        }
        let mut refused = way.unread();
        refused.append(&mut part.refused);
        // What the mapper refused or failed on it has counted itself.
        let by_map = |refused: &&Refused| matches!(refused.stage, Stage::Map | Stage::Poison);
        for refused in refused.iter().filter(|refused| !by_map(refused)) {
            self.accounting.reject(refused.stage, &refused.code);
        }
        self.refuse_keyless(way, &part, &keyless, &mut refused)?;
        // Records before a row come before it, and what a row was mapped to in that order; a stable
        // sort keeps them so.
        refused.sort_by_key(|refused| refused.sequence);
        let sequences = way.sequences();
        self.telemetry.heartbeat.wait();
        let mut unreached = None;
        let mut unreached_bytes: usize = refused.iter().map(Refused::bytes).sum();
        match &self.delivery {
            Some(delivery) => {
                let message = ToDelivery::Reader {
                    refused,
                    sequence: sequences.end,
                };
                delivery.send_blocking(message, unreached_bytes)?;
                unreached_bytes = 0;
            }
            None => {
                unreached = Some(Box::new(Unreached {
                    accounting: std::mem::take(&mut self.accounting),
                    refused,
                }));
            }
        }
        let place = place.map(|place| way.place(place));

        let shares = match self.plan.partials() {
            None => self.divider.divide(&part.rows, &keyless)?,
            // Partial states of a key may be anywhere, and so its rows are shared by all lanes.
            Some(_) => {
                let source_row = part.source_row.as_deref();
                let sequence = |row: u32| {
                    let row = source_row.map_or(row, |all| all[row as usize]);
                    way.batch.first_sequence + u64::from(row)
                };
                self.divider.deal_out(&part.rows, &keyless, sequence)?
            }
        };
        for (lane, (rows, picked)) in self.lanes.iter().zip(shares) {
            let pick = |values: &ScalarBuffer<i64>| match &picked {
                None => values.clone(),
                Some(picked) => picked.iter().map(|row| values[*row as usize]).collect(),
            };
            let event_times = pick(&part.event_times);
            let watermarks = part.watermarks.as_ref().map(pick);
            let bytes = rows.get_array_memory_size() + 24 * rows.num_rows();
            let bytes = bytes + std::mem::take(&mut unreached_bytes);
            let message = ToLane::Batch(Box::new(LaneBatch {
                event_times,
                watermarks,
                rows,
                picked,
                source_row: part.source_row.clone(),
                sequences: sequences.clone(),
                origins: Arc::clone(&way.origins),
                watermark: way.watermark,
                place: place.clone(),
                unreached: unreached.take(),
            }));
            lane.send_blocking(message, bytes)?;
        }
        Ok(())
    }

    /// Describes and counts the rows without a key.
    fn refuse_keyless(
        &mut self,
        way: &Way,
        part: &Part,
        keyless: &[u32],
        refused: &mut Vec<Refused>,
    ) -> Result<(), ArrowError> {
        if keyless.is_empty() {
            return Ok(());
        }
        let indices = UInt32Array::from(keyless.to_vec());
        let records = record_lines(&take_record_batch(&part.rows, &indices)?);
        let schema = part.rows.schema();
        for (row, record) in keyless.iter().zip(records) {
            let columns = self.plan.key.iter();
            let null = columns.filter(|at| part.rows.column(**at).is_null(*row as usize));
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
            self.accounting.reject(Stage::Key, code);
            let source_row = match &part.source_row {
                None => *row,
                Some(source_row) => source_row[*row as usize],
            };
            refused.push(Refused {
                sequence: way.batch.first_sequence + u64::from(source_row),
                part: 0,
                origin: way.origins.of(source_row),
                stage: Stage::Key,
                code: code.into(),
                detail,
                record,
            });
        }
        Ok(())
    }
}

impl Drop for Dealer {
    fn drop(&mut self) {
        self.telemetry.heartbeat.end();
    }
}

/// A source's batch on its way to the lanes, part by part.
struct Way {
    batch: SourceBatch,
    origins: Arc<Origins>,
    rejects: Peekable<std::vec::IntoIter<SourceReject>>,
    /// The first row that is in no part yet.
    first: usize,
    /// The watermark at the row before it.
    watermark: i64,
    is_done: bool,
}

impl Way {
    fn of(mut batch: SourceBatch, watermark: i64) -> Self {
        Self {
            origins: Arc::new(std::mem::take(&mut batch.origins)),
            rejects: std::mem::take(&mut batch.rejects).into_iter().peekable(),
            batch,
            first: 0,
            watermark,
            is_done: false,
        }
    }

    /// Notes that the rows before `end` are in parts. Within a batch that does not say the watermark
    /// at each row it stays at that of the batch before: windows close later, and no other rows are
    /// in them for that.
    fn go_to(&mut self, end: usize) {
        self.first = end;
        self.is_done = end == self.batch.rows.num_rows();
        if self.is_done {
            self.watermark = self.batch.watermark;
        } else if let Some(watermarks) = &self.batch.watermarks {
            self.watermark = watermarks[end - 1];
        }
    }

    /// Where in a live stream its parts are by now, as `whole` says of the batch. Records that did not
    /// become rows and stand behind the last of them are read again, and not counted before.
    fn place(&mut self, whole: &Place) -> Place {
        if self.is_done {
            return whole.clone();
        }
        let times = &self.batch.event_times[..self.first];
        let last = self.origins.of(self.first as u32 - 1).position;
        let next = self.origins.of(self.first as u32).position;
        let cursor = (last != next).then_some(whole.after.as_ref()).flatten();
        let cursor = cursor.map(|whole_cursor| SplitCursor {
            position: Placed::behind(whole.placed.as_ref(), last as i64),
            sequence: self.sequences().end,
            greatest: times.iter().copied().fold(whole.greatest, i64::max),
            ..whole_cursor.clone()
        });
        Place {
            after: cursor,
            ..whole.clone()
        }
    }

    /// The sequence of the batch's first row, and the one after the last that is in a part.
    fn sequences(&self) -> std::ops::Range<u64> {
        let start = self.batch.first_sequence;
        start..start + self.first as u64
    }

    /// The records that did not become rows, up to the last row that is in a part.
    fn unread(&mut self) -> Vec<Refused> {
        let (end, is_done) = (self.sequences().end, self.is_done);
        let mut unread = Vec::new();
        while let Some(reject) = self
            .rejects
            .next_if(|reject| is_done || reject.sequence < end)
        {
            unread.push(Refused {
                sequence: reject.sequence,
                part: 0,
                origin: reject.origin,
                stage: reject.stage,
                code: reject.code,
                detail: reject.detail,
                record: reject.record,
            });
        }
        unread
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

/// Rows that go to one lane together where rows are dealt out by their numbers.
const STRETCH: u64 = 64;

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

    /// The columns of the key.
    fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        let key = self.key.iter();
        key.map(|at| Arc::clone(rows.column(*at))).collect()
    }

    /// The rows whose key names no entity: a column of it is null, or a time that no calendar has.
    fn keyless(&self, rows: &RecordBatch) -> Vec<u32> {
        let mut nulls = None;
        for at in &self.key {
            let column = rows.column(*at);
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

    /// Gives each lane as many rows as any other, by the rows' sequences: a split that is read again is
    /// divided in the same way, wherever it is cut.
    fn deal_out(
        &self,
        rows: &RecordBatch,
        keyless: &[u32],
        sequence: impl Fn(u32) -> u64,
    ) -> Result<Vec<Share>, ArrowError> {
        if self.lanes == 1 && keyless.is_empty() {
            return Ok(vec![(rows.clone(), None)]);
        }
        let mut shares = vec![Vec::new(); self.lanes];
        let mut keyless = keyless.iter().copied().peekable();
        for row in 0..rows.num_rows() as u32 {
            if keyless.next_if_eq(&row).is_none() {
                // Neighbours are often of one key, so that stretches of them go together.
                let stretch = sequence(row) / STRETCH;
                shares[(stretch % self.lanes as u64) as usize].push(row);
            }
        }
        shares
            .into_iter()
            .map(|picked| share(rows, picked))
            .collect()
    }

    fn divide(&self, rows: &RecordBatch, keyless: &[u32]) -> Result<Vec<Share>, ArrowError> {
        if self.lanes == 1 && keyless.is_empty() {
            return Ok(vec![(rows.clone(), None)]);
        }
        let mut shares = vec![Vec::new(); self.lanes];
        let keys = self.rows.convert_columns(&self.keys(rows))?;
        let mut keyless = keyless.iter().copied().peekable();
        for (row, key) in (0_u32..).zip(&keys) {
            if keyless.next_if_eq(&row).is_none() {
                let hash = self.hasher.hash_one(key.data());
                shares[(hash % self.lanes as u64) as usize].push(row);
            }
        }
        shares
            .into_iter()
            .map(|picked| share(rows, picked))
            .collect()
    }
}

/// A lane's share of some rows.
fn share(rows: &RecordBatch, picked: Vec<u32>) -> Result<Share, ArrowError> {
    let indices = UInt32Array::from(picked.clone());
    let rows = take_record_batch(rows, &indices)?;
    Ok((rows, Some(picked)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Which lane a row is dealt to does not depend on where batches are cut.
        #[test]
        fn rows_are_dealt_out_by_their_numbers(lanes in 1..5_usize, rows in 1..700_usize, cut in any::<prop::sample::Index>()) {
            let divider = Divider {
                key: Vec::new(),
                lanes,
                rows: RowConverter::new(Vec::new()).unwrap(),
                hasher: foldhash::quality::FixedState::with_seed(0),
            };
            let deal = |first: u64, count: usize| -> Vec<(u64, usize)> {
                let column: ArrayRef = Arc::new(UInt32Array::from(vec![0; count]));
                let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
                let shares = divider.deal_out(&rows, &[], |row| first + u64::from(row)).unwrap();
                let shares = shares.into_iter().enumerate().flat_map(|(lane, (rows, picked))| {
                    let picked = picked.unwrap_or_else(|| (0..rows.num_rows() as u32).collect());
                    picked.into_iter().map(move |row| (first + u64::from(row), lane))
                });
                let mut dealt: Vec<_> = shares.collect();
                dealt.sort_unstable();
                dealt
            };
            let whole = deal(1_000, rows);
            prop_assert_eq!(whole.len(), rows);
            let cut = cut.index(rows);
            let parts = [deal(1_000, cut), deal(1_000 + cut as u64, rows - cut)].concat();
            prop_assert_eq!(whole, parts);
        }
    }
}
