//! The mapper.

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::UInt32Type;
use penstock::sandbox::Component;
use penstock::transform::Mapper;

use super::super::mapper;
use super::super::values::{Batch, given, one_nan};
use crate::support::HOST;
use crate::support::random::Columns;

pub(in super::super) fn a_mapper_filters_multiplies_and_rejects(guest: &Component) {
    let commands = [(2, "reject"), (50, "log"), (99, "reject")];
    let batch = Batch::random(&mut Columns::new(17), 100, 3).commanded(&commands);
    copied(guest, &batch, &[2, 99]);
}

pub(in super::super) fn a_mapper_takes_as_many_rows_as_there_may_be(guest: &Component) {
    let commands = [(40_000, "reject"), (65_535, "reject")];
    let batch = Batch::random(&mut Columns::new(23), 65_536, 5).commanded(&commands);
    copied(guest, &batch, &[40_000, 65_535]);
}

/// Asserts that a mapper makes the copies that it should, and rejects just these rows.
fn copied(guest: &Component, batch: &Batch, rejected: &[u32]) {
    let rows = batch.rows;
    let mut source = Vec::new();
    let mut copies = Vec::new();
    for row in (0..rows).filter(|row| !rejected.contains(&(*row as u32))) {
        for copy in 0..(batch.required().value(row) & 3) as u32 {
            source.push(row as u32);
            copies.push(copy);
        }
    }
    let mapped = HOST
        .lanes
        .block_on(mapper(guest).map(&batch.columns, rows))
        .unwrap();
    assert_eq!(mapped.source_row, source);
    let found: Vec<u32> = mapped.rejects.iter().map(|reject| reject.row).collect();
    assert_eq!(found, rejected);
    let columns = mapped.output.columns();
    assert_eq!(
        columns[0].as_primitive::<UInt32Type>().values(),
        copies.as_slice()
    );
    let picked =
        |column: &ArrayRef| take(column, &UInt32Array::from(source.clone()), None).unwrap();
    assert_eq!(columns[1].as_ref(), picked(&batch.columns[1]).as_ref());
    let expected: Vec<ArrayRef> = batch.values().iter().map(picked).collect();
    for ((found, expected), field) in columns[2..].iter().zip(&expected).zip(given()) {
        assert_eq!(
            one_nan(found).as_ref(),
            one_nan(expected).as_ref(),
            "{}",
            field.name()
        );
    }
}
