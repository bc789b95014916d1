//! Feature values that broke their validation, as rows; and the file of them, which is made with the first.

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

/// How values that broke a rule are shown: with their entity, window, feature and the rule.
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

    /// A row for each value of an output that broke a rule.
    pub(super) fn rows(
        &self,
        output: &Output,
        features: &[DeliveredFeature],
        failures: &[Failure],
    ) -> Result<RecordBatch, ArrowError> {
        let rows = &output.rows;
        let of_rows = failures.iter().map(|(row, ..)| *row as u32);
        let of_rows = UInt32Array::from_iter_values(of_rows);
        let mut columns: Vec<ArrayRef> = rows.columns()[..self.naming]
            .iter()
            .map(|column| take(column, &of_rows, None))
            .collect::<Result<_, _>>()?;
        let names = failures.iter().map(|(_, feature, _)| {
            let declaration = &features[*feature].declaration;
            crate::store::item::attribute_name(&declaration.name, declaration.version)
        });
        columns.push(Arc::new(StringArray::from_iter_values(names)));
        let rules = failures.iter().map(|(.., rule)| rule.code());
        columns.push(Arc::new(StringArray::from_iter_values(rules)));
        let values = failures
            .iter()
            .map(|(row, feature, _)| {
                array_value_to_string(rows.column(features[*feature].column), *row)
            })
            .collect::<Result<Vec<String>, ArrowError>>()?;
        columns.push(Arc::new(StringArray::from(values)));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// The file of values that broke a rule.
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

    /// Notes values of an output that broke a rule, by rising row.
    pub(super) fn write(
        &mut self,
        lane: usize,
        output: &Output,
        features: &[DeliveredFeature],
        failures: &[Failure],
    ) -> Result<(), DeliveryError> {
        let batch = self.shown.rows(output, features, failures)?;
        let marks = match self.order.is_marked() {
            true => failures
                .iter()
                .map(|(row, ..)| output.marks[*row])
                .collect(),
            false => Vec::new(),
        };
        Ok(self.open()?.write(lane, &batch, output.length, marks)?)
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
