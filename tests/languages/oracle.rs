//! What a conformance guest must make of rows, worked out in Arrow.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{Int64Type, UInt64Type};

use super::values::{Batch, given, one_nan};

/// The key of a group.
pub(super) fn key(group: usize) -> i64 {
    7 * group as i64 - 1000
}

/// The window of a group, in microseconds: from, and up to.
pub(super) fn bounds(group: usize) -> [i64; 2] {
    let start = 1_000_000 * group as i64 - 7_000_000;
    [start, start + 600_000_000]
}

/// The state of every group.
#[derive(Clone)]
pub(super) struct States {
    pub(super) columns: Vec<ArrayRef>,
}

impl States {
    /// What groups begin with.
    pub(super) fn initial(groups: usize) -> Self {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![0; groups])),
            Arc::new(Int64Array::from(vec![0; groups])),
            Arc::new(UInt64Array::from(vec![0; groups])),
        ];
        let values = given();
        columns.extend(
            values
                .iter()
                .map(|field| new_null_array(field.data_type(), groups)),
        );
        Self { columns }
    }

    /// After rows, of which those in `rejected` are left out.
    pub(super) fn accumulate(&self, batch: &Batch, groups: &[u32], rejected: &[u32]) -> Self {
        let [mut count, mut sum, mut polynomial] = self.numbers();
        let taken: Vec<u32> = (0..batch.rows as u32)
            .filter(|row| !rejected.contains(row))
            .collect();
        for &row in &taken {
            let group = groups[row as usize] as usize;
            let required = batch.required().value(row as usize) as u64;
            count[group] += 1;
            sum[group] = sum[group].wrapping_add(required);
            polynomial[group] = polynomial[group]
                .wrapping_mul(31)
                .wrapping_add(required)
                .wrapping_add(key(group) as u64);
        }
        let group_count = count.len();
        let values = self.columns[3..]
            .iter()
            .zip(batch.values())
            .map(|(state, rows)| {
                let mut from: Vec<u32> = (0..group_count as u32).collect();
                for &row in taken.iter().filter(|row| rows.is_valid(**row as usize)) {
                    from[groups[row as usize] as usize] = group_count as u32 + row;
                }
                picked(state, &rows, from)
            });
        Self::of([count, sum, polynomial], values.collect())
    }

    /// These, and the same groups' of a later slice of time.
    pub(super) fn merge(&self, later: &Self) -> Self {
        let ([count, sum, polynomial], [later_count, later_sum, later_polynomial]) =
            (self.numbers(), later.numbers());
        let groups = count.len();
        let each = |of: &dyn Fn(usize) -> u64| (0..groups).map(of).collect::<Vec<u64>>();
        let numbers = [
            each(&|group| count[group] + later_count[group]),
            each(&|group| sum[group].wrapping_add(later_sum[group])),
            each(&|group| {
                let power = 31_u64.wrapping_pow(later_count[group] as u32);
                let earlier = polynomial[group].wrapping_mul(power);
                earlier.wrapping_add(later_polynomial[group])
            }),
        ];
        let values = self.columns[3..]
            .iter()
            .zip(&later.columns[3..])
            .map(|(earlier, later)| {
                let from = (0..groups).map(|group| match later.is_valid(group) {
                    true => (groups + group) as u32,
                    false => group as u32,
                });
                picked(earlier, later, from.collect())
            });
        Self::of(numbers, values.collect())
    }

    /// The groups that have an output row, and the rows.
    pub(super) fn finish(&self) -> (Vec<u32>, Vec<ArrayRef>) {
        let counts = self.columns[0].as_primitive::<UInt64Type>().values();
        let groups: Vec<u32> = (0..counts.len() as u32)
            .filter(|group| counts[*group as usize] > 0)
            .collect();
        let sums = self.columns[1].as_primitive::<Int64Type>();
        let sums = sums.values().iter().enumerate().map(|(group, sum)| {
            let [start, end] = bounds(group);
            sum.wrapping_add(key(group) + 3 * start + 5 * end)
        });
        let sums: ArrayRef = Arc::new(Int64Array::from_iter_values(sums));
        let rows = UInt32Array::from(groups.clone());
        let columns = self.columns.iter().enumerate().map(|(at, column)| {
            let column = if at == 1 { &sums } else { column };
            take(column, &rows, None).unwrap()
        });
        (groups, columns.collect())
    }

    fn numbers(&self) -> [Vec<u64>; 3] {
        let unsigned = |at: usize| {
            self.columns[at]
                .as_primitive::<UInt64Type>()
                .values()
                .to_vec()
        };
        let sums = self.columns[1].as_primitive::<Int64Type>().values();
        [
            unsigned(0),
            sums.iter().map(|sum| *sum as u64).collect(),
            unsigned(2),
        ]
    }

    fn of([count, sum, polynomial]: [Vec<u64>; 3], values: Vec<ArrayRef>) -> Self {
        let sums = sum.into_iter().map(|sum| sum as i64);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(count)),
            Arc::new(Int64Array::from_iter_values(sums)),
            Arc::new(UInt64Array::from(polynomial)),
        ];
        columns.extend(values);
        Self { columns }
    }
}

/// Rows of two columns behind each other.
fn picked(first: &ArrayRef, second: &ArrayRef, from: Vec<u32>) -> ArrayRef {
    let both = concat(&[first.as_ref(), second.as_ref()]).unwrap();
    take(&both, &UInt32Array::from(from), None).unwrap()
}

/// Asserts that columns are the same, to the bit; that a NaN is one is enough.
#[track_caller]
pub(super) fn same(found: &[ArrayRef], expected: &[ArrayRef]) {
    assert_eq!(found.len(), expected.len(), "columns");
    let names = ["count", "sum", "polynomial"].map(str::to_owned);
    let names = names
        .into_iter()
        .chain(given().into_iter().map(|field| field.name().clone()));
    let names: Vec<String> = names.collect();
    let behind = names.len() - found.len();
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let name = &names[(at + behind).min(names.len() - 1)];
        assert_eq!(
            one_nan(found).as_ref(),
            one_nan(expected).as_ref(),
            "column {name}"
        );
    }
}
