//! Which columns and rows are recorded, and how a batch of messages becomes them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::ArrowSchemaConverter;
use serde_json::{Map, Value, json};

use super::RecordError;
use super::hashing::{HashKey, Sample, can_be_hashed};
use crate::config::types::type_name;
use crate::source::decode::message::DecodedMessages;
use crate::source::live::DeclaredStream;
use crate::source::live::recorded::layout::{HASHED, KEY, OFFSET, PARTITION, SAMPLE, TIMESTAMP};
use crate::source::messages::Messages;

/// Which columns and rows a person wants.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The columns; all if none.
    pub columns: Option<Vec<String>>,
    /// Columns that are left out.
    pub drop: Vec<String>,
    /// Columns of which only hashes are recorded.
    pub hash: Vec<String>,
    /// What they are hashed with.
    pub key: Option<HashKey>,
    /// The entities whose rows are recorded; all if none.
    pub sample: Option<Sample>,
}

impl Choice {
    /// Whether anything is held back: then what it was must not show elsewhere.
    fn holds_back(&self) -> bool {
        self.columns.is_some() || !self.drop.is_empty() || !self.hash.is_empty()
    }
}

/// The columns of recorded files, and where each comes from.
#[derive(Debug, Clone)]
pub struct Layout {
    columns: Vec<Column>,
    schema: SchemaRef,
    /// What the decoder is asked for.
    body: SchemaRef,
    sample: Option<(Sample, From)>,
    key: Option<HashKey>,
    holds_back: bool,
    /// Whether the messages' keys must be text.
    text_keys: bool,
    description: Value,
}

#[derive(Debug, Clone)]
struct Column {
    from: From,
    hashed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    /// A column of what messages say, by its name.
    Body(String),
    Key(DataType),
    Headers,
    Partition,
    Offset,
    Timestamp,
}

/// The rows of messages, and what became of each message.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) rows: RecordBatch,
    /// Of each message from the first on that was decoded.
    pub(super) fates: Vec<Fate>,
    /// Messages whose keys are not the text that they should be.
    pub(super) bad_keys: Vec<u32>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It became rows, and at least one of them is recorded.
    Written,
    /// It could not be decoded.
    Rejected,
    /// Its entities are not in the sample.
    SampledOut,
    /// It has no rows.
    Empty,
}

impl Layout {
    /// What is recorded of a stream.
    ///
    /// # Errors
    ///
    /// A column is not there, or cannot be hashed, left out or written; or what is asked for makes no sense.
    pub fn new(stream: &DeclaredStream, choice: &Choice) -> Result<Self, RecordError> {
        let offered = offered(stream)?;
        let known = |name: &String| offered.iter().any(|(field, _)| field.name() == name);
        let by = choice.sample.iter().map(|sample| &sample.by);
        let asked = choice
            .columns
            .iter()
            .flatten()
            .chain(&choice.drop)
            .chain(&choice.hash)
            .chain(by);
        for name in asked {
            if !known(name) {
                let names: Vec<&str> = offered
                    .iter()
                    .map(|(field, _)| field.name().as_str())
                    .collect();
                return Err(RecordError::asked(
                    format!("event `{}` has no column `{name}`", stream.event),
                    format!("its columns are {}", names.join(", ")),
                ));
            }
        }
        check_choice(choice)?;
        let mut columns = Vec::new();
        let mut fields = Vec::new();
        for (field, from) in &offered {
            if !wants(choice, field.name(), from) {
                continue;
            }
            let hashed = choice.hash.contains(field.name());
            if hashed {
                check_hashed(field)?;
                fields.push(Field::new(
                    field.name(),
                    DataType::Utf8,
                    field.is_nullable(),
                ));
            } else {
                fields.push(field.clone());
            }
            columns.push(Column {
                from: from.clone(),
                hashed,
            });
        }
        let schema = Arc::new(Schema::new(fields));
        check_parquet(&schema)?;
        let sample = match &choice.sample {
            None => None,
            Some(sample) => {
                let (field, from) = offered
                    .iter()
                    .find(|(field, _)| *field.name() == sample.by)
                    .expect("it was checked");
                check_hashed(field)?;
                Some((sample.clone(), from.clone()))
            }
        };
        let needed = |name: &String| {
            let is = |from: &From| *from == From::Body(name.clone());
            columns.iter().any(|column| is(&column.from)) || sample.iter().any(|(_, from)| is(from))
        };
        let body = stream
            .body
            .fields()
            .iter()
            .filter(|field| needed(field.name()));
        Ok(Self {
            description: describe(stream, &schema, choice),
            body: Arc::new(Schema::new(body.cloned().collect::<Vec<_>>())),
            text_keys: columns
                .iter()
                .any(|column| column.from == From::Key(DataType::Utf8)),
            columns,
            schema,
            sample,
            key: choice.key.clone(),
            holds_back: choice.holds_back(),
        })
    }

    /// The columns of recorded files.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What a decoder of the messages is asked for.
    pub(super) fn body(&self) -> &SchemaRef {
        &self.body
    }

    /// Whether something of the messages is held back, so that rejects must not show them.
    pub fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// Whether the messages' headers are wanted.
    pub(super) fn wants_headers(&self) -> bool {
        let columns = self.columns.iter().map(|column| &column.from);
        columns
            .chain(self.sample.iter().map(|(_, from)| from))
            .any(|from| *from == From::Headers)
    }

    /// What must be the same for another recording to go on where this one stopped.
    pub(super) fn description(&self) -> &Value {
        &self.description
    }

    /// The rows of the messages from number `first` on, of which `decoded` was made.
    pub(super) fn lay(
        &self,
        messages: &Messages,
        first: usize,
        decoded: &DecodedMessages,
    ) -> Result<Laid, ArrowError> {
        let bad_keys = if self.text_keys {
            bad_keys(&messages.keys, first..decoded.next)
        } else {
            Vec::new()
        };
        let message_of_row = UInt32Array::new(decoded.message_of_row.clone(), None);
        let mut keep = vec![true; message_of_row.len()];
        if let Some((sample, from)) = &self.sample {
            keep = sample.of(&self.column(from, messages, &decoded.rows, &message_of_row)?);
        }
        if !bad_keys.is_empty() {
            for (keep, message) in keep.iter_mut().zip(message_of_row.values()) {
                *keep &= bad_keys.binary_search(message).is_err();
            }
        }
        let fates = fates(first, decoded, &keep, &bad_keys);
        let kept: UInt32Array = (0_u32..)
            .zip(&keep)
            .filter(|(_, keep)| **keep)
            .map(|(row, _)| row)
            .collect();
        let all = kept.len() == keep.len();
        let (rows, of_row) = if all {
            (decoded.rows.clone(), message_of_row)
        } else {
            let rows = arrow::compute::take_record_batch(&decoded.rows, &kept)?;
            let of_row = kept
                .values()
                .iter()
                .map(|row| decoded.message_of_row[*row as usize]);
            (rows, of_row.collect())
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let values = self.column(&column.from, messages, &rows, &of_row)?;
            columns.push(match (&self.key, column.hashed) {
                (Some(key), true) => key.column(&values),
                _ => values,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(of_row.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Laid {
            rows,
            fates,
            bad_keys,
        })
    }

    fn column(
        &self,
        from: &From,
        messages: &Messages,
        rows: &RecordBatch,
        of_row: &UInt32Array,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(match from {
            From::Body(name) => {
                let column = rows.column_by_name(name);
                Arc::clone(column.expect("the decoder was asked for it"))
            }
            From::Key(DataType::Utf8) => {
                let keys = take(&messages.keys, of_row, None)?;
                let keys = keys
                    .as_any()
                    .downcast_ref::<BinaryArray>()
                    .expect("keys are bytes");
                // While a sample is drawn, keys that are no text are still among them.
                let keys = keys
                    .iter()
                    .map(|key| key.and_then(|key| std::str::from_utf8(key).ok()));
                Arc::new(keys.collect::<StringArray>())
            }
            From::Key(_) => take(&messages.keys, of_row, None)?,
            From::Headers => {
                let headers = messages.headers.as_ref().ok_or_else(|| {
                    ArrowError::InvalidArgumentError(
                        "the messages came without their headers".to_owned(),
                    )
                })?;
                take(headers, of_row, None)?
            }
            From::Partition => {
                let partition = i32::try_from(messages.split).unwrap_or(i32::MAX);
                Arc::new(Int32Array::from_value(partition, of_row.len()))
            }
            From::Offset => take(
                &Int64Array::new(messages.offsets.clone(), None),
                of_row,
                None,
            )?,
            From::Timestamp => take(&timestamps(&messages.timestamps), of_row, None)?,
        })
    }
}

/// When messages were recorded; null where the stream does not say.
fn timestamps(times: &ScalarBuffer<i64>) -> TimestampMicrosecondArray {
    let known: NullBuffer = times.iter().map(|time| *time != i64::MIN).collect();
    TimestampMicrosecondArray::new(times.clone(), Some(known)).with_timezone("UTC")
}

/// The messages whose keys are not UTF-8.
fn bad_keys(keys: &BinaryArray, among: std::ops::Range<usize>) -> Vec<u32> {
    let bad = |message: &usize| {
        keys.is_valid(*message) && std::str::from_utf8(keys.value(*message)).is_err()
    };
    among.filter(bad).map(|message| message as u32).collect()
}

fn fates(first: usize, decoded: &DecodedMessages, keep: &[bool], bad_keys: &[u32]) -> Vec<Fate> {
    let mut fates = vec![Fate::Empty; decoded.next.saturating_sub(first)];
    let at = |message: u32| (message as usize).saturating_sub(first);
    for (message, keep) in decoded.message_of_row.iter().zip(keep) {
        let fate = &mut fates[at(*message)];
        *fate = match keep {
            true => Fate::Written,
            false if *fate == Fate::Empty => Fate::SampledOut,
            false => *fate,
        };
    }
    let rejects = decoded.rejects.iter().map(|reject| reject.message);
    for message in rejects.chain(bad_keys.iter().copied()) {
        let fate = &mut fates[at(message)];
        // Of an Arrow message single rows may be refused.
        if *fate != Fate::Written {
            *fate = Fate::Rejected;
        }
    }
    fates
}

/// All columns that there are to choose from: the event's, and those that recordings have.
fn offered(stream: &DeclaredStream) -> Result<Vec<(Field, From)>, RecordError> {
    let mut offered: Vec<(Field, From)> = Vec::new();
    for field in stream.body.fields() {
        offered.push((field.as_ref().clone(), From::Body(field.name().clone())));
    }
    let columns = &stream.message_columns;
    let key = From::Key(columns.key_type.clone());
    let roles = [
        (&columns.key, key),
        (&columns.headers, From::Headers),
        (&columns.partition, From::Partition),
        (&columns.offset, From::Offset),
        (&columns.timestamp, From::Timestamp),
    ];
    let roles = roles.into_iter().filter(|(name, _)| name.is_some());
    offered.extend(
        columns
            .fields()
            .into_iter()
            .zip(roles.map(|(_, from)| from)),
    );
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let own = [
        (
            Field::new(PARTITION, DataType::Int32, false),
            From::Partition,
        ),
        (Field::new(OFFSET, DataType::Int64, false), From::Offset),
        (Field::new(TIMESTAMP, utc, true), From::Timestamp),
        (
            Field::new(KEY, DataType::Binary, true),
            From::Key(DataType::Binary),
        ),
    ];
    for (field, from) in own {
        match offered
            .iter()
            .find(|(other, _)| other.name() == field.name())
        {
            None => offered.push((field, from)),
            // The event calls it the same.
            Some((_, other))
                if *other == from || matches!((other, &from), (From::Key(_), From::Key(_))) => {}
            Some(_) => {
                return Err(RecordError::asked(
                    format!(
                        "event `{}` has a column `{}`, which every recording has with another meaning",
                        stream.event,
                        field.name()
                    ),
                    "give the event's column another name in penstock.toml",
                ));
            }
        }
    }
    Ok(offered)
}

fn wants(choice: &Choice, name: &str, from: &From) -> bool {
    let named = |names: &[String]| names.iter().any(|other| other == name);
    if named(&choice.drop) {
        return false;
    }
    if [PARTITION, OFFSET, TIMESTAMP].contains(&name) || named(&choice.hash) {
        return true;
    }
    match &choice.columns {
        Some(columns) => named(columns),
        // Keys and headers often hold what is hashed or left out elsewhere.
        None => !choice.holds_back() || !matches!(from, From::Key(_) | From::Headers),
    }
}

fn check_choice(choice: &Choice) -> Result<(), RecordError> {
    if let Some(name) = choice
        .drop
        .iter()
        .find(|name| [PARTITION, OFFSET, TIMESTAMP].contains(&name.as_str()))
    {
        return Err(RecordError::asked(
            format!("column `{name}` cannot be left out"),
            "every recording has it, so that others can tell which messages it holds",
        ));
    }
    let twice = |name: &&String| choice.drop.contains(name);
    let columns = choice.columns.iter().flatten();
    if let Some(name) = choice.hash.iter().chain(columns).find(twice) {
        return Err(RecordError::asked(
            format!("column `{name}` is to be recorded and to be left out"),
            "name it once",
        ));
    }
    match (&choice.key, choice.hash.first()) {
        (None, Some(name)) => Err(RecordError::asked(
            format!("column `{name}` is to be hashed, and there is no key"),
            "give a file with one by --hash-key-file: without a key, whoever knows how the values look hashes all of them and finds yours",
        )),
        (Some(_), None) => Err(RecordError::asked(
            "there is a key, and no column is to be hashed",
            "name the columns by --hash",
        )),
        _ => Ok(()),
    }
}

fn check_hashed(field: &Field) -> Result<(), RecordError> {
    if can_be_hashed(field.data_type()) {
        return Ok(());
    }
    let (name, of) = (field.name(), type_name(field.data_type()));
    Err(RecordError::asked(
        format!("column `{name}` is {of}, of which no hash is taken"),
        "name a column of texts, bytes or whole numbers",
    ))
}

fn check_parquet(schema: &Schema) -> Result<(), RecordError> {
    for field in schema.fields() {
        let alone = Schema::new(vec![Arc::clone(field)]);
        if let Err(error) = ArrowSchemaConverter::new().convert(&alone) {
            let (name, of) = (field.name(), type_name(field.data_type()));
            return Err(RecordError::asked(
                format!("column `{name}` is {of}, which Parquet has no form for ({error})"),
                "leave it out by --drop, or declare another type in `schema`",
            ));
        }
    }
    Ok(())
}

fn describe(stream: &DeclaredStream, schema: &Schema, choice: &Choice) -> Value {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| {
            let bang = if field.is_nullable() { "" } else { "!" };
            format!("{} {}{bang}", field.name(), type_name(field.data_type()))
        })
        .collect();
    let mut hashed = choice.hash.clone();
    hashed.sort_unstable();
    let sample = choice
        .sample
        .as_ref()
        .map(|sample| format!("{} by {}", sample.share, sample.by));
    let mut description = Map::new();
    description.insert("event".to_owned(), json!(stream.event));
    description.insert("columns".to_owned(), json!(columns.join(", ")));
    description.insert(HASHED.to_owned(), json!(hashed.join(", ")));
    let key = choice.key.as_ref().map(HashKey::fingerprint);
    description.insert("key of hashes".to_owned(), json!(key.unwrap_or_default()));
    description.insert(SAMPLE.to_owned(), json!(sample.unwrap_or_default()));
    Value::Object(description)
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
