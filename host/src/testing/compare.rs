//! Compares two tables of features: what was expected with what came, or two runs.
//!
//! Rows are matched by entity and window (and whatever else tells rows apart, such as a revision),
//! never by their place in the file; the first row of one window with the first, the second with
//! the second. A row that only one of the tables has is a difference too.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow_row::{OwnedRow, RowConverter, SortField};
use serde_json::Value;

use super::TestError;
use super::cells::{Cells, Leniency};
use super::layout::{FeatureOf, Layout};
use super::tolerance::Tolerances;
use crate::text::json_texts;

/// One difference. Numbers are rows of the tables and columns of what is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// A value is another.
    Value {
        expected: usize,
        got: usize,
        column: usize,
    },
    /// A row was expected and did not come.
    Missing { expected: usize },
    /// A row came and was not expected.
    Extra { got: usize },
}

/// How two tables differ.
pub(super) struct Comparison {
    expected: RecordBatch,
    got: RecordBatch,
    keys: Vec<String>,
    /// Of the rest of what tells rows apart, what is not a bound of the window.
    others: Vec<String>,
    columns: Vec<String>,
    features: Vec<FeatureOf>,
    /// Columns that were to be compared, and that what was expected does not have.
    pub(super) lacking: Vec<String>,
    /// By window, those of the tables in their order.
    pub(super) differences: Vec<Difference>,
    /// Rows that are in both tables.
    pub(super) matched: usize,
}

/// Which row a difference is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RowId {
    /// The key's columns and their values as JSON texts.
    pub(super) entity: Vec<(String, String)>,
    /// The window's bounds in microseconds, as far as it has any.
    pub(super) window: (Option<i64>, Option<i64>),
    /// What else tells it apart.
    pub(super) others: Vec<(String, String)>,
}

/// Compares `columns` of two tables of one layout.
pub(super) fn compare(
    layout: &Layout,
    expected: (&RecordBatch, Leniency),
    got: &RecordBatch,
    columns: &[String],
    tolerances: &Tolerances,
) -> Result<Comparison, TestError> {
    let (expected, leniency) = expected;
    let has = |name: &&String| expected.column_by_name(name).is_some();
    let (columns, lacking): (Vec<&String>, Vec<&String>) = columns.iter().partition(has);
    let window: Vec<String> = layout.window.iter().filter(has).cloned().collect();
    let identity: Vec<&String> = layout.keys.iter().chain(&window).collect();
    let (pairs, missing, extra) = matching(expected, got, &identity)?;

    let mut differences: Vec<Difference> = Vec::new();
    for (at, name) in columns.iter().enumerate() {
        let tolerance = tolerances.of_column(name);
        let (one, other) = (column(expected, name), column(got, name));
        let cells = Cells::new(one, other, tolerance, leniency)?;
        let differ = pairs.iter().filter(|(e, g)| !cells.same(*e, *g));
        differences.extend(differ.map(|(expected, got)| Difference::Value {
            expected: *expected,
            got: *got,
            column: at,
        }));
    }
    differences.extend(
        missing
            .into_iter()
            .map(|expected| Difference::Missing { expected }),
    );
    differences.extend(extra.into_iter().map(|got| Difference::Extra { got }));
    let bounds = ["window_start", "window_end"];
    let comparison = Comparison {
        expected: expected.clone(),
        got: got.clone(),
        keys: layout.keys.clone(),
        others: window
            .into_iter()
            .filter(|name| !bounds.contains(&name.as_str()))
            .collect(),
        columns: columns.into_iter().cloned().collect(),
        features: layout.features.clone(),
        lacking: lacking.into_iter().cloned().collect(),
        matched: pairs.len(),
        differences: Vec::new(),
    };
    let (ends_expected, ends_got) = (micros(expected, bounds[1]), micros(got, bounds[1]));
    differences.sort_by_key(|difference| match difference {
        Difference::Value {
            expected, column, ..
        } => (ends_expected[*expected], *expected, *column),
        Difference::Missing { expected } => (ends_expected[*expected], *expected, 0),
        Difference::Extra { got } => (ends_got[*got], *got, 0),
    });
    Ok(Comparison {
        differences,
        ..comparison
    })
}

/// Pairs of rows that are the same row, and those that only one table has.
type Matching = (Vec<(usize, usize)>, Vec<usize>, Vec<usize>);

fn matching(
    expected: &RecordBatch,
    got: &RecordBatch,
    identity: &[&String],
) -> Result<Matching, TestError> {
    let columns = |table: &RecordBatch| -> Vec<ArrayRef> {
        identity
            .iter()
            .map(|name| ArrayRef::clone(column(table, name)))
            .collect()
    };
    let (expected_columns, got_columns) = (columns(expected), columns(got));
    let fields = got_columns.iter();
    let fields = fields.map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let expected_rows = converter.convert_columns(&expected_columns)?;
    let got_rows = converter.convert_columns(&got_columns)?;
    // The rows of one identity, last first, so that the first is taken first.
    let mut places: HashMap<OwnedRow, Vec<usize>> = HashMap::with_capacity(got_rows.num_rows());
    for row in (0..got_rows.num_rows()).rev() {
        places
            .entry(got_rows.row(row).owned())
            .or_default()
            .push(row);
    }
    let (mut pairs, mut missing) = (Vec::new(), Vec::new());
    for row in 0..expected_rows.num_rows() {
        match places
            .get_mut(&expected_rows.row(row).owned())
            .and_then(Vec::pop)
        {
            Some(got) => pairs.push((row, got)),
            None => missing.push(row),
        }
    }
    let mut extra: Vec<usize> = places.into_values().flatten().collect();
    extra.sort_unstable();
    Ok((pairs, missing, extra))
}

fn column<'a>(table: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    table
        .column_by_name(name)
        .expect("the layout's columns were found in the table")
}

/// A column of times, in microseconds; none where there is none.
pub(super) fn micros(table: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let to = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = table.column_by_name(name);
    let column = column.and_then(|column| cast(column, &to).ok());
    match column {
        Some(column) => column
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect(),
        None => vec![None; table.num_rows()],
    }
}

impl Comparison {
    /// Whether nothing differs.
    pub(super) fn is_same(&self) -> bool {
        self.differences.is_empty() && self.lacking.is_empty()
    }

    /// How many values differ, rows are missing, rows were not expected.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for difference in &self.differences {
            match difference {
                Difference::Value { .. } => counts.0 += 1,
                Difference::Missing { .. } => counts.1 += 1,
                Difference::Extra { .. } => counts.2 += 1,
            }
        }
        counts
    }

    /// Which table a difference shows in, and in which row.
    pub(super) fn row_of(&self, difference: &Difference) -> (&RecordBatch, usize) {
        match difference {
            Difference::Value { expected, .. } | Difference::Missing { expected } => {
                (&self.expected, *expected)
            }
            Difference::Extra { got } => (&self.got, *got),
        }
    }

    /// The key's columns of the row of a difference, of one row each.
    pub(super) fn key_of(&self, difference: &Difference) -> Vec<ArrayRef> {
        let (table, row) = self.row_of(difference);
        self.keys
            .iter()
            .map(|key| column(table, key).slice(row, 1))
            .collect()
    }

    /// The row that a difference is about.
    pub(super) fn id_of(&self, difference: &Difference) -> RowId {
        let (table, row) = self.row_of(difference);
        let table = table.slice(row, 1);
        let named = |names: &[String]| -> Vec<(String, String)> {
            names
                .iter()
                .map(|name| (name.clone(), text(&table, name, 0)))
                .collect()
        };
        RowId {
            entity: named(&self.keys),
            window: (
                micros(&table, "window_start")[0],
                micros(&table, "window_end")[0],
            ),
            others: named(&self.others),
        }
    }

    /// The column that a difference is in, and the feature that is declared of it and of windows of
    /// this length; neither where whole rows are missing.
    pub(super) fn feature_of(&self, difference: &Difference) -> Option<(&str, Option<&str>)> {
        let Difference::Value { column, .. } = difference else {
            return None;
        };
        let (column, id) = (self.columns[*column].as_str(), self.id_of(difference));
        let length = id.window.0.zip(id.window.1).map(|(start, end)| end - start);
        let mut features = self.features.iter();
        let feature = features.find(|feature| {
            feature.column == column && (feature.length.is_none() || feature.length == length)
        });
        Some((column, feature.map(|feature| feature.name.as_str())))
    }

    /// What was expected and what came, for programs: a value, or a whole row, or null for none.
    pub(super) fn values_of(&self, difference: &Difference) -> (Value, Value) {
        let whole = |table: &RecordBatch, row: usize| {
            let columns = self.columns.iter();
            Value::Object(
                columns
                    .map(|name| (name.clone(), json_value(&text(table, name, row))))
                    .collect(),
            )
        };
        match difference {
            Difference::Value {
                expected,
                got,
                column,
            } => {
                let name = &self.columns[*column];
                (
                    json_value(&text(&self.expected, name, *expected)),
                    json_value(&text(&self.got, name, *got)),
                )
            }
            Difference::Missing { expected } => (whole(&self.expected, *expected), Value::Null),
            Difference::Extra { got } => (Value::Null, whole(&self.got, *got)),
        }
    }

    /// What was expected and what came, as texts.
    pub(super) fn texts_of(&self, difference: &Difference) -> (String, String) {
        let whole = |table: &RecordBatch, row: usize| {
            let values = self.columns.iter();
            let values = values.map(|name| format!("{name}={}", text(table, name, row)));
            values.collect::<Vec<_>>().join(" ")
        };
        match difference {
            Difference::Value {
                expected,
                got,
                column,
            } => {
                let name = &self.columns[*column];
                (
                    text(&self.expected, name, *expected),
                    text(&self.got, name, *got),
                )
            }
            Difference::Missing { expected } => {
                (whole(&self.expected, *expected), "no such row".to_owned())
            }
            Difference::Extra { got } => ("no such row".to_owned(), whole(&self.got, *got)),
        }
    }
}

/// A cell for people. Floats that JSON lacks are shown by their names.
pub(super) fn text(table: &RecordBatch, name: &str, row: usize) -> String {
    cell_text(&column(table, name).slice(row, 1))
}

/// What a text of [`cell_text`] says as a value of JSON. A number with more digits than a float has
/// stays a text, and so does what JSON lacks.
pub(super) fn json_value(text: &str) -> Value {
    const MOST_DIGITS: usize = 17;
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.is_f64() => {
            let digits = text.split(['e', 'E']).next().unwrap_or(text);
            let digits = digits.chars().filter(char::is_ascii_digit).count();
            match digits > MOST_DIGITS + 1 {
                true => Value::from(text),
                false => Value::Number(number),
            }
        }
        Ok(value) => value,
        Err(_) => Value::from(text),
    }
}

/// The only value of a column for people.
pub(super) fn cell_text(cell: &ArrayRef) -> String {
    if cell.is_valid(0)
        && cell.data_type().is_floating()
        && let Ok(number) = cast(cell, &DataType::Float64)
    {
        let number = number
            .as_primitive::<arrow::datatypes::Float64Type>()
            .value(0);
        if !number.is_finite() {
            return number.to_string();
        }
    }
    let texts = json_texts(cell);
    let text = texts.ok().and_then(|mut texts| texts.pop());
    text.unwrap_or_else(|| format!("(a {} that has no text)", cell.data_type()))
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
