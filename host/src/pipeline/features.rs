//! What lanes emit, as features: which values are valid, and what of them is served.
//!
//! A value that breaks its feature's validation is removed: it is null afterwards, and in the store it
//! takes the place of any older value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{filter_record_batch, is_null, not, nullif};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use super::lane::Output;
use super::plan::Plan;
use crate::store::declarations::FeatureDeclaration;
use crate::store::validation::{Checker, Rule};
use crate::store::{FeatureBatch, FeatureColumn, Items, StoreError};

/// A feature, ready to be picked out of what lanes emit.
#[derive(Debug)]
pub(super) struct DeliveredFeature {
    pub(super) declaration: FeatureDeclaration,
    pub(super) checker: Checker,
    /// Which of the pipeline's lengths it is about.
    pub(super) length: usize,
    /// Its column in the emitted schema.
    pub(super) column: usize,
}

/// A value that broke a rule: its row, the number of its feature, and the rule.
pub(super) type Failure = (usize, usize, Rule);

/// The features of a pipeline; those of a group and a length stand together.
#[derive(Debug)]
pub(super) struct Features {
    plan: Arc<Plan>,
    features: Vec<DeliveredFeature>,
    key_names: Vec<String>,
}

impl Features {
    pub(super) fn new(plan: Arc<Plan>, features: Vec<DeliveredFeature>) -> Self {
        let key = plan.key_schema.fields().iter();
        let key_names = key.map(|field| field.name().clone()).collect();
        Self {
            plan,
            features,
            key_names,
        }
    }

    pub(super) fn pipeline(&self) -> &str {
        &self.plan.pipeline
    }

    pub(super) fn all(&self) -> &[DeliveredFeature] {
        &self.features
    }

    /// The rows with nulls in place of values that break their feature's validation, and those values,
    /// by rising row of the output. Rows of windows on which the transform failed are not among the former.
    pub(super) fn validated(
        &self,
        output: &Output,
    ) -> Result<(RecordBatch, Vec<Failure>), ArrowError> {
        let (rows, failures) = self.checked(output)?;
        let Some(failed) = &output.failed else {
            return Ok((rows, failures));
        };
        let is_output = is_null(&failed.codes)?;
        Ok((filter_record_batch(&rows, &is_output)?, failures))
    }

    fn checked(&self, output: &Output) -> Result<(RecordBatch, Vec<Failure>), ArrowError> {
        let rows = &output.rows;
        let withdrawn = self.plan.withdrawn_column();
        let withdrawn = withdrawn.map(|column| rows.column(column).as_boolean());
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        let mut failures = Vec::new();
        for (at, feature) in self.features.iter().enumerate() {
            if feature.length != output.length {
                continue;
            }
            let values = rows.column(feature.column);
            let failed = feature
                .checker
                .failures(values)
                .expect("types were compared when the pipeline was opened");
            let Some(failed) = failed else { continue };
            let invalid = not(&failed.valid())?;
            // Two features may share a column: each takes its own failures out of it.
            columns[feature.column] = nullif(&columns[feature.column], &invalid)?;
            let failures_in_force = failed
                .rows
                .iter()
                // A withdrawn row has no values that could be wrong, and neither has one that is no output.
                .filter(|failure| withdrawn.is_none_or(|rows| !rows.value(failure.row)))
                .filter(|failure| !output.is_failed(failure.row));
            failures.extend(failures_in_force.map(|failure| (failure.row, at, failure.rule)));
        }
        if failures.is_empty() {
            return Ok((rows.clone(), failures));
        }
        failures.sort_unstable_by_key(|(row, feature, _)| (*row, *feature));
        Ok((RecordBatch::try_new(rows.schema(), columns)?, failures))
    }

    /// How many values of features rows of a length hold.
    pub(super) fn values(&self, rows: &RecordBatch, length: usize) -> u64 {
        let features = self.features.iter();
        let features = features.filter(|feature| feature.length == length);
        let values =
            features.map(|feature| rows.num_rows() - rows.column(feature.column).null_count());
        values.sum::<usize>() as u64
    }

    /// What of validated rows of a length is to be served, a group at a time.
    pub(super) fn items(
        &self,
        rows: &RecordBatch,
        length: usize,
        epoch: u64,
        first_sequence: u64,
        mut write: impl FnMut(Items) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.batches(rows, length, epoch, first_sequence, |batch| {
            write(Items::encode(batch)?)
        })
    }

    /// The names of the key's columns.
    pub(super) fn key_names(&self) -> &[String] {
        &self.key_names
    }

    /// What of validated rows of a length is features, a group at a time.
    pub(super) fn batches(
        &self,
        rows: &RecordBatch,
        length: usize,
        epoch: u64,
        first_sequence: u64,
        mut show: impl FnMut(&FeatureBatch<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let keys = self.plan.key.len();
        let mut rest = self.features.as_slice();
        while let Some(first) = rest.first() {
            let group = &first.declaration.group;
            let together = |feature: &&DeliveredFeature| {
                feature.declaration.group == *group && feature.length == first.length
            };
            let (these, others) = rest.split_at(rest.iter().take_while(together).count());
            rest = others;
            if first.length != length {
                continue;
            }
            let columns: Vec<FeatureColumn<'_>> = these
                .iter()
                .map(|feature| FeatureColumn {
                    name: &feature.declaration.name,
                    version: feature.declaration.version,
                    values: rows.column(feature.column),
                })
                .collect();
            show(&FeatureBatch {
                group,
                pipeline: &self.plan.pipeline,
                window: &first.declaration.window,
                keys: &rows.columns()[..keys],
                event_time: rows
                    .column(self.plan.event_time_column())
                    .as_primitive::<TimestampMicrosecondType>(),
                epoch,
                first_sequence,
                features: &columns,
            })?;
        }
        Ok(())
    }
}
