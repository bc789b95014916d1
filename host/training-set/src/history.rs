//! Features that lie in the same files, and the rows that they are joined by.
//!
//! Rows of the spine and of the history have the same columns there, so that they can be sorted together:
//!
//! ```text
//! k0 …                  the key
//! time                  of the history: from when on it counts; of the spine: as of when it is joined
//! row                   of the spine: its number; null in the history, so that what is of a row's own time comes before it
//! event, epoch, sequence    of the history: which write it is
//! until                 of the history: from when on it does not count any more; null if it always does
//! f0 …                  of the history: the values
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{cast, filter_record_batch, is_null};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type};
use arrow::error::ArrowError;

use crate::spine::{KeyColumns, micros, open};
use crate::{Request, TakenBack, TrainingError, Wanted};

/// Features that lie in the same files.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) files: Vec<PathBuf>,
    /// The columns of the key, with the types that they have in the files.
    pub(crate) keys: Vec<(String, DataType)>,
    /// Whether these are the texts of what the spine may have as numbers.
    pub(crate) keys_are_texts: bool,
    pub(crate) features: Vec<Feature>,
    taken_back: Vec<TakenBack>,
    by_write_time: bool,
    /// Of the rows that are sorted.
    pub(crate) schema: SchemaRef,
}

/// A feature of them.
#[derive(Debug, Clone)]
pub(crate) struct Feature {
    /// Which of the wanted ones it is.
    pub(crate) number: usize,
    pub(crate) attribute: String,
    pub(crate) data_type: DataType,
    pub(crate) ttl: Option<i64>,
}

/// Puts wanted features together that lie in the same files.
pub(crate) fn histories(request: &Request) -> Result<Vec<History>, TrainingError> {
    let mut found = Vec::new();
    for (at, place) in request.histories.iter().enumerate() {
        let mut schemas = Vec::with_capacity(place.files.len());
        for path in &place.files {
            schemas.push((path, Arc::clone(open(path)?.schema())));
        }
        // By the files that they lie in: a pipeline may have got a feature later than others.
        let mut together: Vec<(Vec<PathBuf>, Vec<Feature>)> = Vec::new();
        let wanted = request.features.iter().enumerate();
        for (number, wanted) in wanted.filter(|(_, wanted)| wanted.history == at) {
            let (files, feature) = lies(number, wanted, &schemas)?;
            match together.iter_mut().find(|(others, _)| *others == files) {
                Some((_, features)) => features.push(feature),
                None => together.push((files, vec![feature])),
            }
        }
        for (files, features) in together {
            let own = schemas.iter().filter(|(path, _)| files.contains(path));
            let keys = key_types(&place.keys, own)?;
            let history = History::new(request.by_write_time, files, keys, features);
            found.push(History {
                keys_are_texts: place.keys_are_texts,
                taken_back: place.taken_back.clone(),
                ..history
            });
        }
    }
    Ok(found)
}

type OfFile<'a> = (&'a PathBuf, SchemaRef);

/// The files that have a feature.
fn lies(
    number: usize,
    wanted: &Wanted,
    schemas: &[OfFile<'_>],
) -> Result<(Vec<PathBuf>, Feature), TrainingError> {
    let field = |(path, schema): &OfFile<'_>| {
        let field = schema.field_with_name(&wanted.attribute).ok()?;
        Some(((*path).clone(), field.data_type().clone()))
    };
    let (files, types): (Vec<PathBuf>, Vec<DataType>) = schemas.iter().filter_map(field).unzip();
    let Some(data_type) = types.first() else {
        return Err(TrainingError::NoHistory {
            attribute: wanted.attribute.clone(),
        });
    };
    let feature = Feature {
        number,
        attribute: wanted.attribute.clone(),
        data_type: data_type.clone(),
        ttl: wanted.ttl,
    };
    Ok((files, feature))
}

/// The types of the key's columns, which must be the same in all files.
fn key_types<'a>(
    names: &[String],
    schemas: impl Iterator<Item = &'a OfFile<'a>>,
) -> Result<Vec<(String, DataType)>, TrainingError> {
    let mut found: Option<Vec<(String, DataType)>> = None;
    for (path, schema) in schemas {
        let bad = |reason: String| TrainingError::File {
            doing: "read",
            path: (*path).clone(),
            reason,
        };
        let key = |name: &String| match schema.field_with_name(name) {
            Ok(field) => Ok((name.clone(), field.data_type().clone())),
            Err(_) => Err(bad(format!("it has no column `{name}` of the key"))),
        };
        let keys = names.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if found.get_or_insert_with(|| keys.clone()) != &keys {
            return Err(bad(
                "its key is of other types than that of other files".to_owned()
            ));
        }
    }
    Ok(found.unwrap_or_default())
}

impl History {
    fn new(
        by_write_time: bool,
        files: Vec<PathBuf>,
        keys: Vec<(String, DataType)>,
        features: Vec<Feature>,
    ) -> Self {
        let key = |(at, (_, data_type)): (usize, &(String, DataType))| {
            Field::new(format!("k{at}"), data_type.clone(), true)
        };
        let mut fields: Vec<Field> = keys.iter().enumerate().map(key).collect();
        for (name, data_type) in [
            ("time", DataType::Int64),
            ("row", DataType::Int64),
            ("event", DataType::Int64),
            ("epoch", DataType::UInt64),
            ("sequence", DataType::UInt64),
            ("until", DataType::Int64),
        ] {
            fields.push(Field::new(name, data_type, true));
        }
        fields.extend(value_fields(&features));
        Self {
            files,
            keys,
            keys_are_texts: false,
            features,
            taken_back: Vec::new(),
            by_write_time,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// Which column the time is; those of row, event time, epoch, sequence, until and values come after it.
    pub(crate) fn time(&self) -> usize {
        self.keys.len()
    }

    /// Rows of a file, to be sorted among others.
    pub(crate) fn known(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |name: &str| column(rows, name);
        let event = micros(column("_event_time")?)?;
        let time = match self.by_write_time {
            true => later(&event, &micros(column("_write_time")?)?),
            false => Arc::clone(&event),
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (name, _) in &self.keys {
            columns.push(Arc::clone(column(name)?));
        }
        columns.extend([
            time,
            new_null_array(&DataType::Int64, rows.num_rows()),
            event,
        ]);
        columns.push(cast(column("_epoch")?, &DataType::UInt64)?);
        columns.push(cast(column("_sequence")?, &DataType::UInt64)?);
        let until = self.until(rows)?;
        columns.push(match &until {
            Some(until) => Arc::new(until.clone()),
            None => new_null_array(&DataType::Int64, rows.num_rows()),
        });
        for feature in &self.features {
            columns.push(cast(column(&feature.attribute)?, &feature.data_type)?);
        }
        let known = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        match until {
            Some(until) if !self.by_write_time => filter_record_batch(&known, &is_null(&until)?),
            _ => Ok(known),
        }
    }

    /// From when on rows of a file do not count any more; none where all of the history's do.
    fn until(&self, rows: &RecordBatch) -> Result<Option<Int64Array>, ArrowError> {
        if self.taken_back.is_empty() {
            return Ok(None);
        }
        let pipelines = cast(column(rows, "_pipeline")?, &DataType::Utf8)?;
        let lanes = cast(column(rows, "_lane")?, &DataType::UInt32)?;
        let epochs = cast(column(rows, "_epoch")?, &DataType::UInt64)?;
        let pipelines = pipelines.as_string::<i32>();
        let lanes = lanes.as_primitive::<UInt32Type>();
        let epochs = epochs.as_primitive::<UInt64Type>();
        let until = (0..rows.num_rows()).map(|row| {
            let (lane, epoch) = (lanes.value(row), epochs.value(row));
            let taken_back = self.taken_back.iter().filter(|it| {
                it.lane == lane
                    && it.after < epoch
                    && epoch <= it.until
                    && it.pipeline == pipelines.value(row)
            });
            taken_back.map(|it| it.at).min()
        });
        Ok(Some(until.collect()))
    }

    /// Rows of the spine, of which the first has number `first`, to be sorted among those.
    pub(crate) fn asking(
        &self,
        rows: &RecordBatch,
        keys: &KeyColumns,
        first: i64,
    ) -> Result<RecordBatch, ArrowError> {
        let mut columns = keys.take(rows)?;
        let count = rows.num_rows();
        let numbers = first..first + count as i64;
        columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        let rest = &self.schema.fields()[columns.len()..];
        columns.extend(rest.iter().map(|it| new_null_array(it.data_type(), count)));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    let column = rows.column_by_name(name);
    column.ok_or_else(|| ArrowError::SchemaError(format!("a file of the history has no `{name}`")))
}

/// Columns of values as they are called while joining.
pub(crate) fn value_fields(features: &[Feature]) -> impl Iterator<Item = Field> {
    let features = features.iter().enumerate();
    features.map(|(at, feature)| Field::new(format!("f{at}"), feature.data_type.clone(), true))
}

fn later(a: &ArrayRef, b: &ArrayRef) -> ArrayRef {
    let [a, b] = [a, b].map(|it| it.as_primitive::<Int64Type>().values());
    Arc::new(Int64Array::from_iter_values(
        a.iter().zip(b).map(|(a, b)| *a.max(b)),
    ))
}
