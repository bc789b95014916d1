//! Feature values that broke their validation, and windows on which a transform failed, as rows; and the file of them,
//! which is made with the first.
//!
//! Of a window that has no features since its transform failed, the feature is `*`, the rule a code such as `poison:trap`,
//! and the value what there is to say of it as JSON: the transform's words, and the states that it was handed.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use super::delivery::DeliveryError;
use super::features::{DeliveredFeature, Failure};
use super::lane::Output;
use super::plan::Plan;
use crate::sink::{FileSink, RowOrder, SinkError, Whole};
use crate::store::item::attribute_name;

/// What stands for all features of a window.
const ALL: &str = "*";

/// What is shown: with its entity, window, feature and the rule.
#[derive(Debug, Clone)]
pub(super) struct InvalidRows {
    schema: SchemaRef,
    /// The columns in front that say which row it is.
    naming: usize,
    keys: usize,
}

impl InvalidRows {
    pub(super) fn new(plan: &Plan) -> Self {
        let naming = plan.event_time_column() + 1;
        let mut fields: Vec<Arc<Field>> = plan.emitted_schema().fields()[..naming].to_vec();
        for name in ["feature", "rule", "value"] {
            // A key may have such a column, and a file has no two columns of one name.
            let taken = fields.iter().any(|field| field.name() == name);
            let name = if taken {
                format!("invalid_{name}")
            } else {
                name.to_owned()
            };
            fields.push(Arc::new(Field::new(name, DataType::Utf8, false)));
        }
        Self {
            schema: Arc::new(Schema::new(fields)),
            naming,
            keys: plan.key.len(),
        }
    }

    /// How many columns in front are the key.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// A row for each value of an output that broke a rule, and for each window that failed; and the rows of the
    /// output that they are of. None if all is well.
    pub(super) fn rows(
        &self,
        output: &Output,
        features: &[DeliveredFeature],
        failures: &[Failure],
    ) -> Result<Option<(RecordBatch, Vec<usize>)>, ArrowError> {
        let mut shown: Vec<(usize, String, String, String)> = Vec::new();
        if let Some(failed) = &output.failed {
            let windows = (0..output.rows.num_rows()).filter(|row| failed.is_failed(*row));
            let text = |texts: &StringArray, row: usize| texts.value(row).to_owned();
            shown.extend(windows.map(|row| {
                let (code, detail) = (text(&failed.codes, row), text(&failed.details, row));
                (row, ALL.to_owned(), code, detail)
            }));
        }
        for (row, feature, rule) in failures {
            let DeliveredFeature {
                declaration,
                column,
                ..
            } = &features[*feature];
            let name = attribute_name(&declaration.name, declaration.version);
            let value = array_value_to_string(output.rows.column(*column), *row)?;
            shown.push((*row, name, rule.code().to_owned(), value));
        }
        if shown.is_empty() {
            return Ok(None);
        }
        // Both are by rising row, and none has rows of the other.
        shown.sort_by_key(|(row, ..)| *row);
        let of_rows = UInt32Array::from_iter_values(shown.iter().map(|(row, ..)| *row as u32));
        let mut columns: Vec<ArrayRef> = output.rows.columns()[..self.naming]
            .iter()
            .map(|column| take(column, &of_rows, None))
            .collect::<Result<_, _>>()?;
        let mut text = |texts: Vec<&str>| columns.push(Arc::new(StringArray::from(texts)));
        text(shown.iter().map(|(_, name, ..)| name.as_str()).collect());
        text(shown.iter().map(|(_, _, rule, _)| rule.as_str()).collect());
        text(shown.iter().map(|(.., value)| value.as_str()).collect());
        let of_rows = shown.iter().map(|(row, ..)| *row).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Some((rows, of_rows)))
    }
}

/// The file of what is shown.
pub(super) struct InvalidValues {
    path: PathBuf,
    shown: InvalidRows,
    keys: usize,
    order: RowOrder,
    closed: Vec<i64>,
    file: Option<FileSink>,
}

impl InvalidValues {
    /// For what so many lanes of a pipeline emit.
    pub(super) fn new(path: PathBuf, lanes: usize, plan: &Plan) -> Self {
        Self {
            path,
            shown: InvalidRows::new(plan),
            keys: plan.key.len(),
            order: plan.row_order(),
            closed: vec![i64::MIN; lanes],
            file: None,
        }
    }

    /// Notes values of an output that broke a rule, and its windows that failed; says how many there were.
    pub(super) fn write(
        &mut self,
        lane: usize,
        output: &Output,
        features: &[DeliveredFeature],
        failures: &[Failure],
    ) -> Result<u64, DeliveryError> {
        let Some((batch, of_rows)) = self.shown.rows(output, features, failures)? else {
            return Ok(0);
        };
        let marks = match self.order.is_marked() {
            true => of_rows.iter().map(|row| output.marks[*row]).collect(),
            false => Vec::new(),
        };
        self.open()?.write(lane, &batch, output.length, marks)?;
        Ok(of_rows.len() as u64)
    }

    /// As [`FileSink::closed_up_to`].
    pub(super) fn closed_up_to(&mut self, lane: usize, mark: i64) -> Result<(), SinkError> {
        self.closed[lane] = mark;
        match &mut self.file {
            Some(file) => file.closed_up_to(lane, mark),
            None => Ok(()),
        }
    }

    /// Completes the file; one of an earlier run is to go if every value was fine.
    pub(super) fn complete(self) -> Result<Whole, SinkError> {
        match self.file {
            Some(file) => file.complete(),
            None => Whole::none(self.path),
        }
    }

    fn open(&mut self) -> Result<&mut FileSink, SinkError> {
        if self.file.is_none() {
            let lanes = self.closed.len();
            let schema = Arc::clone(&self.shown.schema);
            let mut file = FileSink::create(&self.path, lanes, schema, self.keys, self.order)?;
            for (lane, mark) in self.closed.iter().enumerate() {
                file.closed_up_to(lane, *mark)?;
            }
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("opened above"))
    }
}
