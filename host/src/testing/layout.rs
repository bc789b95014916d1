//! Which columns of the features output say which row it is, and which are what came out.

use arrow::datatypes::{DataType, Field, SchemaRef};

use super::TestError;
use crate::pipeline::Opened;
use crate::transform::bounds_schema;

/// The columns of a features output by what they are for.
#[derive(Debug, Clone)]
pub struct Layout {
    /// All columns, in their order.
    pub schema: SchemaRef,
    /// The key: what says which entity.
    pub keys: Vec<String>,
    /// What tells rows of one entity apart: the window's bounds, and whatever else the output has
    /// that the transform did not give.
    pub window: Vec<String>,
    /// What the transform gave.
    pub outputs: Vec<String>,
    /// The features that are declared of it.
    pub features: Vec<FeatureOf>,
}

/// A declared feature, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureOf {
    /// Its name.
    pub name: String,
    /// The output's column.
    pub column: String,
    /// The length of its windows in microseconds, where there are several; none where there is one.
    pub length: Option<i64>,
}

impl Layout {
    pub(super) fn of(opened: &Opened) -> Self {
        let schema = opened.plan.emitted_schema();
        let names = |fields: &arrow::datatypes::Fields| -> Vec<String> {
            fields.iter().map(|field| field.name().clone()).collect()
        };
        let keys = names(opened.plan.key_schema.fields());
        let outputs = names(opened.plan.output().fields());
        let mut window = names(schema.fields());
        window.retain(|name| !keys.contains(name) && !outputs.contains(name));
        let declaration = &opened.declaration;
        let has_lengths = declaration.window.value.kind.lengths().len() > 1;
        let features = declaration.features.iter().map(|feature| FeatureOf {
            name: feature.declaration.name.clone(),
            column: feature.declaration.column.clone(),
            length: has_lengths.then_some(feature.window),
        });
        Self {
            schema,
            keys,
            window,
            outputs,
            features: features.collect(),
        }
    }

    /// Whether a table without this column says too little about which row is which.
    pub(super) fn must_have(&self, column: &str) -> bool {
        let is_bound = |bounds: SchemaRef| bounds.field_with_name(column).is_ok();
        self.keys.iter().any(|key| key == column)
            || (is_bound(bounds_schema()) && self.window.iter().any(|name| name == column))
    }

    /// The columns that are compared: all outputs, or those asked for.
    ///
    /// # Errors
    ///
    /// One that was asked for, or that a tolerance was given for, is no output.
    pub(super) fn compared<'a>(
        &self,
        asked: &'a [String],
        tolerated: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<String>, TestError> {
        for column in asked.iter().map(String::as_str).chain(tolerated) {
            if !self.outputs.iter().any(|output| output == column) {
                return Err(TestError::Asked(format!(
                    "the transform's output has no column `{column}`; it has {}",
                    self.outputs.join(", ")
                )));
            }
        }
        let is_asked = |output: &&String| asked.is_empty() || asked.contains(output);
        Ok(self.outputs.iter().filter(is_asked).cloned().collect())
    }
}

/// A column whose values may be null, and whatever is in them.
pub(super) fn nullable_throughout(field: &Field) -> Field {
    let inner = |field: &Field| std::sync::Arc::new(nullable_throughout(field));
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item), *size),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| inner(field)).collect())
        }
        other => other.clone(),
    };
    field.clone().with_data_type(data_type).with_nullable(true)
}

/// A type with the names and nullabilities of what is in it as they are, and every time zone as an
/// offset: Arrow reads no names of zones, and the values are the same.
pub(super) fn zones_as_offsets(data_type: &DataType) -> DataType {
    let inner = |field: &Field| {
        field
            .clone()
            .with_data_type(zones_as_offsets(field.data_type()))
    };
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(item) => DataType::List(inner(item).into()),
        DataType::LargeList(item) => DataType::LargeList(inner(item).into()),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item).into(), *size),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| inner(field)).collect())
        }
        other => other.clone(),
    }
}
