//! States of earlier versions.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use penstock::sandbox::Component;
use penstock::transform::CallError;

use super::super::oracle::{States, same};
use super::super::values::Batch;
use super::super::window;
use super::{accumulate, all, earlier, migrate};
use crate::support::random::Columns;

pub(in super::super) fn states_of_earlier_versions_are_taken_over(guest: &Component) {
    let fixed = [0, 1, u64::MAX, 1 << 63, (1 << 53) + 1, 255];
    for (version, groups) in [(1, 0), (1, 1), (1, 6), (2, 9), (1, 4096), (2, 257)] {
        let counts = (0..groups as u64).map(|at| match fixed.get(at as usize) {
            Some(count) => *count,
            None => at.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        });
        let counts: ArrayRef = Arc::new(UInt64Array::from_iter_values(counts));
        let (schema, states) = earlier(version, &counts);
        let mut transform = window(guest);
        let migrated = migrate(&mut transform, version, &schema, &states, groups).unwrap();
        let mut expected = States::initial(groups);
        expected.columns[0] = counts;
        same(&migrated, &expected.columns);

        // What was taken over is worked on as any other.
        let batch = Batch::random(&mut Columns::new(version.into()), 50.min(groups), 3);
        let of_row: Vec<u32> = (0..batch.rows as u32).rev().collect();
        let few = expected
            .columns
            .iter()
            .map(|column| column.slice(0, batch.rows));
        // None of them has been counted as often as can be.
        let mut few: Vec<ArrayRef> = few.collect();
        few[0] = Arc::new(UInt64Array::from_iter_values(7..7 + batch.rows as u64));
        let (schema, states) = earlier(version, &few[0]);
        let migrated = migrate(&mut transform, version, &schema, &states, batch.rows).unwrap();
        let before = States { columns: few };
        let updated = accumulate(&mut transform, &batch, &of_row, &migrated).unwrap();
        let after = before.accumulate(&batch, &of_row, &[]);
        same(&all(&before, updated), &after.columns);
    }
}

pub(in super::super) fn earlier_states_that_do_not_fit_are_named(guest: &Component) {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    for (name, column) in [("total", counts), ("count", texts)] {
        let field = Field::new(name, column.data_type().clone(), false);
        let schema = Schema::new(vec![field]);
        let migrated = migrate(&mut window(guest), 1, &schema, &[column], 2);
        let error = migrated.expect_err("it does not fit").to_string();
        assert!(error.contains("count"), "{error}");
    }
}

pub(in super::super) fn a_null_in_an_earlier_state_is_refused(guest: &Component) {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None, Some(3)]));
    let schema = Schema::new(vec![Field::new("count", DataType::UInt64, true)]);
    let migrated = migrate(&mut window(guest), 1, &schema, &[counts], 3);
    match migrated.expect_err("there is no such count") {
        CallError::Failure { kind, message, .. } => {
            assert_eq!(kind, "bad input");
            assert!(message.contains("`count`"), "{message}");
        }
        other => panic!("{other}"),
    }
    // That it could be null does not matter where it is not.
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
    migrate(&mut window(guest), 1, &schema, &[counts], 2).unwrap();
}
