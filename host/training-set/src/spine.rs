//! The rows that a training set is made for.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::history::History;
use crate::{Times, TrainingError};

/// Rows that are read at once.
const BATCH: usize = 8_192;

/// Opens a Parquet file.
pub(crate) fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, TrainingError> {
    let failed = |reason: String| TrainingError::File {
        doing: "read",
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| failed(format!("it is no Parquet: {error}")))
}

pub(crate) fn rows(path: &Path) -> Result<ParquetRecordBatchReader, TrainingError> {
    let reader = open(path)?.with_batch_size(BATCH).build();
    reader.map_err(|error| TrainingError::File {
        doing: "read",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The columns of the spine.
pub(crate) fn schema(spine: &Path) -> Result<SchemaRef, TrainingError> {
    match open(spine) {
        Ok(opened) => Ok(Arc::clone(opened.schema())),
        Err(TrainingError::File { path, reason, .. }) => Err(TrainingError::Spine {
            path,
            reason: format!("cannot be read: {reason}"),
        }),
        Err(other) => Err(other),
    }
}

/// The columns of the spine that are joined by.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumns {
    keys: Vec<(String, DataType)>,
    time: String,
}

impl KeyColumns {
    /// Those that a history is joined by.
    pub(crate) fn of(spine: &Path, time: &str, history: &History) -> Result<Self, TrainingError> {
        let keys = &history.keys;
        let schema = schema(spine)?;
        let refuse = |reason: String| TrainingError::Spine {
            path: spine.to_owned(),
            reason,
        };
        check_time(spine, &schema, time)?;
        for (key, wanted) in keys {
            let field = schema.field_with_name(key).map_err(|_| {
                refuse(format!(
                    "have no column `{key}`, which is of the features' key; there are {}",
                    names(&schema)
                ))
            })?;
            let is = field.data_type();
            let alike = is == wanted
                || is.is_integer() && wanted.is_integer()
                || is_text(is) && is_text(wanted)
                || history.keys_are_texts && has_one_text(is);
            if !alike {
                return Err(refuse(format!(
                    "have keys in `{key}` of type {is}, and the features have {wanted}: cast the column"
                )));
            }
        }
        Ok(Self {
            keys: keys.clone(),
            time: time.to_owned(),
        })
    }

    /// Of some rows: the columns of the key, and the time in microseconds.
    pub(crate) fn take(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
        let column = |name: &str| {
            let column = rows.column_by_name(name);
            column.ok_or_else(|| ArrowError::SchemaError(format!("there is no `{name}`")))
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (name, wanted) in &self.keys {
            // A number that the key cannot hold becomes a null, which no entity has.
            columns.push(cast(column(name)?, wanted)?);
        }
        columns.push(micros(column(&self.time)?)?);
        Ok(columns)
    }
}

/// Refuses a spine without a column of times that is called so. Gives which one it is.
fn check_time(spine: &Path, schema: &Schema, time: &str) -> Result<usize, TrainingError> {
    let refuse = |reason: String| TrainingError::Spine {
        path: spine.to_owned(),
        reason,
    };
    let Some((at, field)) = schema.column_with_name(time) else {
        return Err(refuse(format!(
            "have no column `{time}`: name the one with their time with --time; there are {}",
            names(schema)
        )));
    };
    match field.data_type() {
        DataType::Timestamp(..) => Ok(at),
        other => Err(refuse(format!(
            "have times in `{time}` of type {other}: a timestamp is wanted"
        ))),
    }
}

fn names(schema: &Schema) -> String {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The earliest and the latest time of a spine, of which only that column is read.
pub(crate) fn times(spine: &Path, time: &str) -> Result<Times, TrainingError> {
    let at = check_time(spine, schema(spine)?.as_ref(), time)?;
    let opened = open(spine)?.with_batch_size(BATCH);
    let only = ProjectionMask::roots(opened.parquet_schema(), [at]);
    let failed = |reason: String| TrainingError::Spine {
        path: spine.to_owned(),
        reason: format!("cannot be read: {reason}"),
    };
    let rows = opened.with_projection(only).build();
    let mut times = Times {
        first: None,
        last: None,
    };
    for rows in rows.map_err(|error| failed(error.to_string()))? {
        let rows = rows.map_err(|error| failed(error.to_string()))?;
        let column = micros(rows.column(0))?;
        let column = column.as_primitive::<Int64Type>();
        times.first = times.first.into_iter().chain(min(column)).min();
        times.last = times.last.max(max(column));
    }
    Ok(times)
}

/// Timestamps as microseconds since 1970. Finer ones are rounded down: a value of later in the same microsecond is not
/// yet there. Those that lie outside what microseconds reach are nulls.
pub(crate) fn micros(times: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match times.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanos = times.as_primitive::<TimestampNanosecondType>();
            let micros: Int64Array = nanos.unary(|nanos| nanos.div_euclid(1_000));
            Ok(Arc::new(micros))
        }
        DataType::Timestamp(_, zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            cast(&cast(times, &micros)?, &DataType::Int64)
        }
        other => Err(ArrowError::SchemaError(format!("{other} is no time"))),
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Whether values become the text of an entity by a cast. (Others do not: 1.0 is `1` there, and times have a form of their
/// own.)
fn has_one_text(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Boolean | DataType::Date32)
}
