//! One recorded file of rows, with the rejects beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use serde_json::Value;

use super::error::RecordedError;
use super::layout::{
    HASHED, KEY, NOTE_NEXT, NOTE_RECORDING, NOTE_VERSION, OFFSET, PARTITION, SAMPLE, TIMESTAMP,
    VERSION,
};
use super::rejects::{Reject, Rejects};
use crate::config::live::headers_type;
use crate::source::decode::{self, Format, SplitReader};
use crate::source::live::{LiveSpec, MessageColumn};
use crate::source::recording::Recording;

/// Rows that are read at once.
const BATCH_ROWS: usize = 8192;
/// Rejects that are given out at once, more or less.
const MOST_REJECTS: usize = 4096;

/// A file of rows, and that of its rejects.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) rows: Arc<dyn Recording>,
    pub(super) rejects: Option<Arc<dyn Recording>>,
}

/// Where what is in the rows that are read.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// How many of them, from the first on, are those of what messages say.
    pub(super) body: usize,
    pub(super) offset: usize,
    pub(super) timestamp: usize,
    partition: usize,
    pub(super) key: Option<usize>,
    pub(super) headers: Option<usize>,
}

/// A file that is read.
pub(super) struct OpenFile {
    name: String,
    partition: u32,
    /// The offset behind the last that it covers.
    next: i64,
    schema: SchemaRef,
    columns: Columns,
    reader: Box<dyn SplitReader>,
    rejects: Option<Rejects>,
    /// Rows that were read and not given out.
    rows: RecordBatch,
    /// Whether all rows were read.
    is_read: bool,
}

/// The rows and rejects of some offsets.
pub(super) struct Taken {
    pub(super) rows: RecordBatch,
    pub(super) rejects: Vec<Reject>,
    /// The offset behind them.
    pub(super) until: i64,
}

impl OpenFile {
    pub(super) fn open(
        spec: &LiveSpec,
        partition: u32,
        first: i64,
        files: &Files,
    ) -> Result<Self, RecordedError> {
        let name = files.rows.name();
        let (notes, present) = decode::parquet_notes_and_schema(&files.rows)?;
        let next = check_notes(&name, first, &notes, spec)?;
        let (schema, columns) = wanted(&name, spec, &present)?;
        let schema = Arc::new(schema);
        let reader = decode::open(&files.rows, Format::Parquet, &schema, BATCH_ROWS)?;
        let rejects = files.rejects.as_ref().map(Rejects::open);
        Ok(Self {
            rows: RecordBatch::new_empty(Arc::clone(&schema)),
            name,
            partition,
            next,
            schema,
            columns,
            reader,
            rejects: rejects.transpose()?,
            is_read: false,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What comes from `position` on, and before `cut` if there is one: as much as is at hand. Nothing at its end.
    pub(super) fn take(
        &mut self,
        position: i64,
        cut: Option<i64>,
    ) -> Result<Option<Taken>, RecordedError> {
        loop {
            self.give_out(position);
            // Of the last message at hand there may be more rows.
            let known = match self.offsets().last() {
                _ if self.is_read => self.next,
                Some(last) => *last,
                None => position,
            };
            let until = cut.map_or(known, |cut| known.min(cut));
            if until > position {
                let (rejects, until) = self.rejects(position, until)?;
                let rows = self.give_out(until);
                return Ok(Some(Taken {
                    rows,
                    rejects,
                    until,
                }));
            }
            if self.is_read {
                return Ok(None);
            }
            self.read()?;
        }
    }

    fn offsets(&self) -> &[i64] {
        let offsets = self.rows.column(self.columns.offset);
        offsets.as_primitive::<Int64Type>().values()
    }

    /// The rows at hand before an offset, which are at hand no longer.
    fn give_out(&mut self, until: i64) -> RecordBatch {
        let count = self.offsets().partition_point(|offset| *offset < until);
        let given = self.rows.slice(0, count);
        self.rows = self.rows.slice(count, self.rows.num_rows() - count);
        given
    }

    /// The rejects before an offset, and the offset up to which that is all of them.
    fn rejects(&mut self, position: i64, until: i64) -> Result<(Vec<Reject>, i64), RecordedError> {
        let mut taken: Vec<Reject> = Vec::new();
        let Some(rejects) = &mut self.rejects else {
            return Ok((taken, until));
        };
        while let Some(reject) = rejects.before(until)? {
            if reject.offset >= position {
                taken.push(reject);
            }
            let (last, next) = (taken.last().map(|last| last.offset), rejects.peek());
            if taken.len() >= MOST_REJECTS
                && let Some(next) = next.filter(|next| *next < until && Some(*next) != last)
            {
                return Ok((taken, next));
            }
        }
        Ok((taken, until))
    }

    fn read(&mut self) -> Result<(), RecordedError> {
        let Some(decoded) = self.reader.next_batch()? else {
            self.is_read = true;
            return Ok(());
        };
        let foreign = |reason: &str| RecordedError::Foreign {
            file: self.name.clone(),
            reason: reason.to_owned(),
        };
        if !decoded.rejects.is_empty() {
            return Err(foreign("some of its rows lack their offset"));
        }
        let column = |at: usize| decoded.rows.column(at);
        let partition = column(self.columns.partition).as_primitive::<Int32Type>();
        let partition = partition.values().iter();
        if !partition.fold(true, |all, it| {
            all & (i64::from(*it) == i64::from(self.partition))
        }) {
            return Err(foreign(
                "it has messages of another partition than its folder says",
            ));
        }
        let of = |rows: &RecordBatch| {
            let offsets = rows.column(self.columns.offset);
            offsets.as_primitive::<Int64Type>().values().clone()
        };
        let (before, offsets) = (of(&self.rows), of(&decoded.rows));
        let last = offsets.last().copied().unwrap_or(i64::MIN);
        let are_rising = before.last() <= offsets.first() || offsets.is_empty();
        if !are_rising || !offsets.is_sorted() || last >= self.next {
            return Err(foreign("its offsets are not in order"));
        }
        self.rows = match self.rows.num_rows() {
            0 => decoded.rows,
            _ => concat_batches(&self.schema, [&self.rows, &decoded.rows])
                .map_err(|error| self.arrow(error))?,
        };
        Ok(())
    }

    pub(super) fn arrow(&self, error: ArrowError) -> RecordedError {
        RecordedError::Arrow {
            file: self.name.clone(),
            error,
        }
    }
}

/// Checks what a footer says, and gives the offset behind the last that the file covers.
fn check_notes(
    file: &str,
    first: i64,
    notes: &BTreeMap<String, String>,
    spec: &LiveSpec,
) -> Result<i64, RecordedError> {
    let foreign = |reason: &str| RecordedError::Foreign {
        file: file.to_owned(),
        reason: reason.to_owned(),
    };
    let unfit = |reason: String| RecordedError::Unfit {
        file: file.to_owned(),
        reason,
    };
    match notes.get(NOTE_VERSION) {
        None => return Err(foreign("its footer has no notes of a recording")),
        Some(version) if *version != VERSION.to_string() => {
            return Err(foreign("it is of another version of Penstock"));
        }
        Some(_) => {}
    }
    let next = notes.get(NOTE_NEXT).and_then(|next| next.parse().ok());
    let next = next
        .filter(|next| *next >= first)
        .ok_or_else(|| foreign("its footer does not say how far it goes"))?;
    let description: Value = notes
        .get(NOTE_RECORDING)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| foreign("its footer does not say what was recorded"))?;
    let said = |entry: &str| description[entry].as_str().unwrap_or_default();
    if !said(SAMPLE).is_empty() {
        return Err(unfit(format!(
            "it is a sample ({}), and not all of the events",
            said(SAMPLE)
        )));
    }
    let mut hashed = said(HASHED).split(", ").filter(|name| !name.is_empty());
    let is_wanted = |name: &&str| {
        let by_name = spec.columns.column_with_name(name).is_some();
        let own = [OFFSET, PARTITION, TIMESTAMP].contains(name);
        by_name || own || (*name == KEY && spec.reads(MessageColumn::Key))
    };
    match hashed.find(is_wanted) {
        Some(name) => Err(unfit(format!("of column `{name}` it has hashes only"))),
        None => Ok(next),
    }
}

/// The columns that are to be read of a file that has those of `present`.
fn wanted(
    file: &str,
    spec: &LiveSpec,
    present: &Schema,
) -> Result<(Schema, Columns), RecordedError> {
    // That a value may not be null is checked when rows are put together: here it would look like a row that is not
    // there.
    let body = spec.body().into_iter();
    let mut fields: Vec<Field> = body
        .map(|(_, field)| field.as_ref().clone().with_nullable(true))
        .collect();
    let body = fields.len();
    let mut add = |field: Field| {
        fields.push(field);
        fields.len() - 1
    };
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut columns = Columns {
        body,
        offset: add(Field::new(OFFSET, DataType::Int64, false)),
        timestamp: add(Field::new(TIMESTAMP, utc, true)),
        partition: add(Field::new(PARTITION, DataType::Int32, false)),
        key: None,
        headers: None,
    };
    let missing = |what: &str, name: &str| RecordedError::Unfit {
        file: file.to_owned(),
        reason: format!("the messages' {what}, column `{name}`, were left out"),
    };
    for (at, column) in &spec.message_columns {
        let declared = spec.columns.field(*at).name().as_str();
        match column {
            MessageColumn::Key => {
                let mut names = [KEY, declared].into_iter();
                let found = names.find_map(|name| present.field_with_name(name).ok());
                let found = found.ok_or_else(|| missing("keys", declared))?;
                // It is bytes, or a text where the event's column of the same name is one.
                let own = match found.data_type() {
                    DataType::Utf8 => DataType::Utf8,
                    _ => DataType::Binary,
                };
                columns.key = Some(add(Field::new(found.name(), own, true)));
            }
            MessageColumn::Headers => {
                let found = present.field_with_name(declared);
                found.map_err(|_| missing("headers", declared))?;
                columns.headers = Some(add(Field::new(declared, headers_type(), true)));
            }
            MessageColumn::Partition | MessageColumn::Offset | MessageColumn::Timestamp => {}
        }
    }
    Ok((Schema::new(fields), columns))
}
