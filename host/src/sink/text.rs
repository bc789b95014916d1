//! Columns for formats that are text.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;

use crate::text::{json_texts, text_times};

/// A batch whose timestamps, at any depth, are RFC 3339 texts with the shortest fraction; with `nested_as_json`, the
/// columns that hold lists, structs or maps are JSON texts.
pub(super) fn text_batch(
    batch: &RecordBatch,
    nested_as_json: bool,
) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let mut column = text_times(column)?;
        if nested_as_json && column.data_type().is_nested() {
            let texts = json_texts(&column)?;
            let texts = texts.into_iter().enumerate();
            column = Arc::new(StringArray::from_iter(
                texts.map(|(row, text)| column.is_valid(row).then_some(text)),
            ));
        }
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
