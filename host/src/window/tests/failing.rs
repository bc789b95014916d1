//! Windows of a transform that fails on some of them: the others are what they are without those, and which they are
//! does not depend on where batches are cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::super::{
    Calls, Emission, Emit, Kind, Length, Panes, RowBatch, Sequences, Shape, WindowError, Windows,
};
use crate::transform::{
    CallError, Finished, Groups, Merged, Reject, Rows, Updated, Windowed, WindowedSpec,
};

/// What a sum has at least that something is wrong with.
const BAD: i64 = 1000;

/// Where a transform fails on sums that something is wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fails {
    Nowhere,
    Merge,
    Finish,
}

/// Sums numbers, and fails as a transform does whose incidents are over.
pub(super) struct Fragile(pub(super) Fails);

fn sums(columns: &[ArrayRef]) -> &[i64] {
    columns[0].as_primitive::<Int64Type>().values()
}

pub(super) fn column(sums: impl IntoIterator<Item = i64>) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from_iter_values(sums))]
}

pub(super) fn schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]))
}

fn failure(row: usize) -> Reject {
    Reject {
        row: row as u32,
        code: "poison:trap".into(),
        detail: "it fails".into(),
    }
}

impl Windowed for Fragile {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        let mut states = sums(groups.states).to_vec();
        for (group, number) in rows.group_of_row.iter().zip(sums(rows.columns)) {
            states[*group as usize] += number;
        }
        let updated = Updated {
            states: column(states),
            changed: None,
            rejects: Vec::new(),
        };
        async { Ok(updated) }.boxed()
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        let mut merged = Vec::new();
        let mut failed = Vec::new();
        for (pair, (earlier, later)) in sums(earlier.states).iter().zip(sums(later)).enumerate() {
            let is_bad = *earlier >= BAD || *later >= BAD;
            match is_bad && self.0 == Fails::Merge {
                true => {
                    failed.push(failure(pair));
                    merged.push(*earlier);
                }
                false => merged.push(earlier + later),
            }
        }
        let states = column(merged);
        async { Ok(Merged { states, failed }) }.boxed()
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        _bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        let all = sums(groups.states).iter().enumerate();
        let is_bad = |sum: i64| self.0 == Fails::Finish && sum >= BAD;
        let (bad, good): (Vec<_>, Vec<_>) = all.partition(|(_, sum)| is_bad(**sum));
        let output = column(good.iter().map(|(_, sum)| **sum));
        let finished = Finished {
            output: RecordBatch::try_new(schema("sum"), output).unwrap(),
            source_group: good.iter().map(|(group, _)| *group as u32).collect(),
            failed: bad.iter().map(|(group, _)| failure(*group)).collect(),
        };
        async { Ok(finished) }.boxed()
    }
}

#[derive(Default)]
pub(super) struct Collected(pub(super) Vec<Emission>);

impl Emit for Collected {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.0.push(emission);
        async { Ok(()) }.boxed()
    }
}

/// A row: its key, its time and a number.
pub(super) type Row = (i64, i64, i64);

/// What is told: rows of output by the texts in front of it, each with its sum or what went wrong; and the rows that were
/// refused.
type Told = (Vec<(Vec<String>, Result<i64, String>)>, Vec<u32>);

/// What the transform says of itself.
pub(super) fn spec() -> WindowedSpec {
    WindowedSpec {
        columns: vec!["number".into()],
        state: schema("sum"),
        state_version: 1,
        migrates_from: Vec::new(),
        initial: RecordBatch::try_new(schema("sum"), column([0])).unwrap(),
        output: schema("sum"),
    }
}

/// Runs windows over rows, whose watermark is behind by `behind`, cut at some places.
fn run(shape: &Shape, rows: &[Row], behind: i64, cuts: &[usize], fails: Fails) -> Told {
    let mut calls = Calls::new(Box::new(Fragile(fails)), 1 << 20, 5);
    let mut windows = Windows::new(shape, &schema("key"), &spec()).unwrap();
    let (mut out, mut refused) = (Collected::default(), Vec::new());
    let (mut first, mut watermark) = (0, i64::MIN);
    for end in cuts.iter().copied().chain([rows.len()]) {
        let end = end.clamp(first, rows.len());
        let part = &rows[first..end];
        let watermarks = part.iter().map(|(_, time, _)| {
            watermark = watermark.max(time - behind);
            watermark
        });
        let batch = RowBatch {
            watermarks: Some(watermarks.collect()),
            input: column(part.iter().map(|row| row.2)),
            keys: column(part.iter().map(|row| row.0)),
            event_times: part.iter().map(|row| row.1).collect(),
            sequences: Sequences::From(first as u64),
            watermark,
            next_sequence: end as u64,
            partials: None,
        };
        let outcome = block_on(windows.batch(&batch, &mut calls, &mut out)).unwrap();
        refused.extend(outcome.rejects.iter().map(|it| it.row + first as u32));
        first = end;
    }
    block_on(windows.end(&mut calls, &mut out)).unwrap();
    refused.sort_unstable();
    let mut told: Vec<_> = out.0.iter().flat_map(told_of).collect();
    if shape.revises() {
        told.sort();
    }
    (told, refused)
}

fn told_of(emission: &Emission) -> Vec<(Vec<String>, Result<i64, String>)> {
    let rows = &emission.rows;
    let sum = rows.num_columns() - 1;
    let told = (0..rows.num_rows()).map(|row| {
        // Texts of times with a zone need a database of zones.
        let text = |at: usize| match rows
            .column(at)
            .as_primitive_opt::<TimestampMicrosecondType>()
        {
            Some(times) => times.value(row).to_string(),
            None => array_value_to_string(rows.column(at), row).unwrap(),
        };
        let mut front: Vec<String> = (0..sum).map(text).collect();
        let moment = emission.moments.as_ref().map(|moments| moments[row]);
        front.extend(moment.map(|moment| format!("{moment:?}")));
        let failed = emission.failed.as_ref();
        let is_failed = failed.is_some_and(|failed| failed.is_failed(row));
        let told = match (is_failed, rows.column(sum).is_null(row)) {
            (true, true) => Err(failed.unwrap().details.value(row).to_owned()),
            // Withdrawn.
            (false, true) => Ok(-1),
            (false, false) => Ok(rows.column(sum).as_primitive::<Int64Type>().value(row)),
            (true, false) => panic!("a failed window has output"),
        };
        (front, told)
    });
    told.collect()
}

pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let number = prop_oneof![12 => 1..5_i64, 1 => Just(BAD)];
    let row = (0..3_i64, -2..4_i64, number);
    prop::collection::vec(row, 1..60).prop_map(|rows| {
        let mut now = 100;
        let rows = rows.into_iter().map(|(key, step, number)| {
            now += step;
            (key, now, number)
        });
        rows.collect()
    })
}

pub(super) fn hopping(lateness: i64) -> Shape {
    let length = |panes, step| Length {
        panes,
        step,
        growing: false,
    };
    Shape {
        kind: Kind::Aligned {
            panes: Panes::new(2, 0).unwrap(),
            lengths: vec![length(4, 1), length(3, 3)],
        },
        lateness,
        per_batch: false,
    }
}

pub(super) fn others() -> [Shape; 3] {
    let shape = |kind, lateness| Shape {
        kind,
        lateness,
        per_batch: false,
    };
    [
        shape(
            Kind::Session {
                gap: 4,
                every: None,
            },
            0,
        ),
        shape(
            Kind::Session {
                gap: 4,
                every: None,
            },
            8,
        ),
        shape(
            Kind::Unbounded {
                ttl: 20,
                every: Some(Panes::new(6, 0).unwrap()),
            },
            0,
        ),
    ]
}

proptest! {
    #![proptest_config(super::cases(60))]
    #[test]
    fn windows_that_do_not_fail_are_as_if_there_were_no_others(
        rows in rows(),
        mut cuts in prop::collection::vec(0..60_usize, 0..6),
        lateness in prop_oneof![Just(0), Just(6)],
    ) {
        cuts.sort_unstable();
        let shape = hopping(lateness);
        let run = |cuts: &[usize], fails| run(&shape, &rows, 3, cuts, fails);
        let (sound, _) = run(&[], Fails::Nowhere);
        let sound: BTreeMap<_, _> = sound.into_iter().collect();
        for fails in [Fails::Merge, Fails::Finish] {
            let (told, refused) = run(&cuts, fails);
            prop_assert!(refused.is_empty());
            prop_assert_eq!(&run(&[], fails).0, &told);
            prop_assert_eq!(told.len(), sound.len());
            for (window, told) in told {
                let expected = sound.get(&window).and_then(|told| told.as_ref().ok());
                let expected = *expected.expect("it is there without failures");
                match told {
                    Ok(sum) => prop_assert_eq!(sum, expected),
                    Err(_) => prop_assert!(expected >= BAD),
                }
                // What is merged nowhere fails in no merge.
                prop_assert!(fails == Fails::Merge || told.is_err() == (expected >= BAD));
            }
        }
    }

    #[test]
    fn what_fails_does_not_depend_on_cuts(
        rows in rows(),
        mut cuts in prop::collection::vec(0..60_usize, 0..6),
    ) {
        cuts.sort_unstable();
        for shape in others() {
            for fails in [Fails::Merge, Fails::Finish] {
                let told = run(&shape, &rows, 3, &cuts, fails);
                prop_assert_eq!(&run(&shape, &rows, 3, &[], fails), &told);
            }
        }
    }
}
