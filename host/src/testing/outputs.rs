//! What `finish` gave, group by group.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch};

use super::cells::{Cells, Leniency};
use super::{TestError, Tolerances};
use crate::transform::Finished;

/// Output rows by their group.
pub(super) struct Outputs {
    rows: RecordBatch,
    source_group: Vec<u32>,
}

/// The first group whose output differs.
pub(super) struct Found {
    pub(super) group: usize,
    /// The column, and both values; none if the numbers of rows differ.
    pub(super) column: Option<(String, ArrayRef, ArrayRef)>,
    /// How many rows there are of the group.
    pub(super) rows: (usize, usize),
}

impl Outputs {
    pub(super) fn of(finished: Finished) -> Self {
        Self {
            rows: finished.output,
            source_group: finished.source_group,
        }
    }

    /// The rows of a group: they stand together, since groups never fall.
    fn of_group(&self, group: usize) -> Range<usize> {
        let before = |least: usize| {
            self.source_group
                .partition_point(|of_row| (*of_row as usize) < least)
        };
        before(group)..before(group + 1)
    }
}

/// The first of the `comparable` groups in whose output two runs differ by more than is tolerated.
pub(super) fn first_difference(
    one: &Outputs,
    other: &Outputs,
    comparable: &[bool],
    tolerances: &Tolerances,
) -> Result<Option<Found>, TestError> {
    let schema = one.rows.schema();
    let columns = one.rows.columns().iter().zip(other.rows.columns());
    let columns = schema
        .fields()
        .iter()
        .zip(columns)
        .map(|(field, (one, other))| {
            let tolerance = tolerances.of_column(field.name());
            Cells::new(one, other, tolerance, Leniency::default())
        });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let groups = comparable
        .iter()
        .enumerate()
        .filter(|(_, comparable)| **comparable);
    for (group, _) in groups {
        let (a, b) = (one.of_group(group), other.of_group(group));
        let rows = (a.len(), b.len());
        if a.len() != b.len() {
            let column = None;
            return Ok(Some(Found {
                group,
                column,
                rows,
            }));
        }
        for (a, b) in a.zip(b) {
            let Some(at) = columns.iter().position(|cells| !cells.same(a, b)) else {
                continue;
            };
            let column = Some((
                schema.field(at).name().clone(),
                one.rows.column(at).slice(a, 1),
                other.rows.column(at).slice(b, 1),
            ));
            return Ok(Some(Found {
                group,
                column,
                rows,
            }));
        }
    }
    Ok(None)
}
