//! Runs real windows over a stream: cut into batches, divided among lanes, with calls of any size.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::super::{
    Calls, Emission, Emit, Moment, Outcome, RowBatch, Sequences, Shape, WindowError,
};
use super::resting::{Rest, Resting, rests};
use super::stream::{Cut, Piece, Row, Stream, cuts};
use super::told::{Emitted, Told};
use super::traced::{self, Output, Traced};

/// How windows are run: nothing of this may show in what comes out.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) cut: Cut,
    pub(super) lanes: usize,
    /// Bytes and groups of a call.
    pub(super) budget: (usize, usize),
    /// Whether watermarks are left out where they may be.
    pub(super) bare: bool,
    /// Whether the key has a second column.
    pub(super) wide: bool,
    /// What happens to windows between batches.
    pub(super) rest: Rest,
}

impl Plan {
    /// One lane that gets all rows at once.
    pub(super) fn plain() -> Self {
        Self {
            cut: Cut::Whole,
            lanes: 1,
            budget: (1 << 20, 1 << 20),
            bare: false,
            wide: false,
            rest: Rest::None,
        }
    }
}

/// Plans of any kind.
pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let budget = prop_oneof![
        2 => Just((1 << 20, 1 << 20)),
        1 => (Just(64), 1..4_usize),
        1 => (200..2_000_usize, 1..20_usize),
    ];
    let flags = (any::<bool>(), any::<bool>());
    (cuts(), 1..4_usize, budget, flags, rests()).prop_map(
        |(cut, lanes, budget, (bare, wide), rest)| Plan {
            cut,
            lanes,
            budget,
            bare,
            wide,
            rest,
        },
    )
}

/// Everything that one run shows.
pub(super) struct Ran {
    pub(super) told: Told,
    /// The states that were left at the end.
    pub(super) states: usize,
    /// Groups that were merged.
    pub(super) merged: u64,
}

#[derive(Default)]
struct Collected(Vec<Emission>);

impl Emit for Collected {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.0.push(emission);
        async { Ok(()) }.boxed()
    }
}

/// Runs windows over a stream. `odd` is the transform's.
pub(super) fn run(shape: &Shape, stream: &Stream, plan: &Plan, odd: bool) -> Ran {
    let pieces = plan.cut.pieces(stream);
    let mut ran = Ran {
        told: Told::default(),
        states: 0,
        merged: 0,
    };
    for lane in 0..plan.lanes {
        let (transform, merged) = Traced::new(odd);
        let mut calls = Calls::new(Box::new(transform), plan.budget.0, plan.budget.1);
        let mut windows = Resting::new(shape, &key_schema(plan.wide), &plan.rest);
        let mut out = Collected::default();
        for piece in &pieces {
            let (batch, rows) = batch(shape, stream, plan, piece, lane);
            let outcome = windows.batch(&batch, &mut calls, &mut out);
            count(&mut ran.told, &outcome, &rows);
        }
        ran.told.closed += windows.end(&mut calls, &mut out);
        ran.states += windows.states();
        ran.merged += merged.load(std::sync::atomic::Ordering::Relaxed);
        let revises = shape.revises();
        let emissions = out.0.iter();
        let rows = emissions.flat_map(|emission| emitted(emission, revises, plan.wide));
        let rows: Vec<Emitted> = rows.collect();
        // Rows that are not sorted by their moments come in the one order of all lanes.
        if !revises && !plan.rest.puts_away() {
            let mut places = rows.iter().map(Emitted::place).zip(&rows);
            let mut before = places.next();
            for (place, row) in places {
                let (of_last, last) = before.replace((place, row)).expect("there was one");
                assert!(of_last <= place, "{last:?} comes before {row:?}");
            }
        }
        ran.told.emitted.extend(rows);
    }
    ran
}

pub(super) fn key_schema(wide: bool) -> SchemaRef {
    let mut fields = vec![Field::new("key", DataType::Int64, false)];
    if wide {
        fields.push(Field::new("name", DataType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

fn name(key: i64) -> String {
    format!("key {key}")
}

/// A lane's share of a piece, and the rows in it.
pub(super) fn batch<'a>(
    shape: &Shape,
    stream: &'a Stream,
    plan: &Plan,
    piece: &Piece,
    lane: usize,
) -> (RowBatch, Vec<&'a Row>) {
    let of_lane = |row: &&Row| row.key.rem_euclid(plan.lanes as i64) == lane as i64;
    let rows: Vec<&Row> = stream.rows[piece.rows.clone()]
        .iter()
        .filter(of_lane)
        .collect();
    let keys = Int64Array::from_iter_values(rows.iter().map(|row| row.key));
    let names = StringArray::from_iter_values(rows.iter().map(|row| name(row.key)));
    let mut key_columns: Vec<ArrayRef> = vec![Arc::new(keys)];
    if plan.wide {
        key_columns.push(Arc::new(names));
    }
    let first = piece.rows.start as u64;
    let behind = |row: &&Row| (row.item.id - first) as u32;
    let items: Vec<_> = rows.iter().map(|row| (row.item, row.key)).collect();
    let is_behind = rows.iter().any(|row| row.time < piece.watermark);
    let bare = plan.bare && !is_behind && !shape.needs_watermarks();
    let batch = RowBatch {
        input: traced::input(&items),
        keys: key_columns,
        event_times: rows.iter().map(|row| row.time).collect(),
        watermarks: (!bare).then(|| rows.iter().map(|row| row.watermark).collect()),
        sequences: match plan.lanes {
            1 => Sequences::From(first),
            _ => Sequences::Picked(first, rows.iter().map(behind).collect()),
        },
        watermark: piece.watermark,
        next_sequence: piece.rows.end as u64,
        partials: None,
    };
    (batch, rows)
}

/// Adds what became of a batch's rows.
fn count(told: &mut Told, outcome: &Outcome, rows: &[&Row]) {
    let total = outcome.applied as usize + outcome.late.len() + outcome.rejects.len();
    assert_eq!(
        total,
        rows.len(),
        "rows that are in none or two of the counts"
    );
    told.applied += outcome.applied;
    told.partly_late += outcome.partly_late;
    told.closed += outcome.closed;
    for late in &outcome.late {
        let row = rows[late.row as usize];
        told.late
            .push((row.item.id, late.window_end, late.watermark));
    }
    for reject in &outcome.rejects {
        let row = rows[reject.row as usize];
        assert_eq!(
            reject.detail,
            row.item.id.to_string(),
            "a reject of another row"
        );
        told.rejected.push((row.item.id, reject.code.clone()));
    }
}

/// The rows of an emission.
pub(super) fn emitted(emission: &Emission, revises: bool, wide: bool) -> Vec<Emitted> {
    let rows: &RecordBatch = &emission.rows;
    assert!(rows.num_rows() > 0, "an emission without rows");
    assert_eq!(emission.moments.is_some(), revises);
    let columns = rows.columns();
    let keys = columns[0].as_primitive::<Int64Type>();
    if wide {
        let names = columns[1].as_string::<i32>();
        let mut both = keys.values().iter().zip(names);
        assert!(both.all(|(key, of)| of == Some(name(*key).as_str())));
    }
    let columns = &columns[if wide { 2 } else { 1 }..];
    let instants = |column: &ArrayRef| -> TimestampMicrosecondArray {
        column.as_primitive::<TimestampMicrosecondType>().clone()
    };
    let (starts, ends) = (instants(&columns[0]), instants(&columns[1]));
    let revisions = revises.then(|| columns[2].as_primitive::<UInt32Type>());
    let withdrawn = revises.then(|| columns[3].as_boolean());
    let output = &columns[if revises { 4 } else { 2 }..];
    let widths = output[4].as_primitive::<Int64Type>();
    let states = traced::states(output);
    let row = |(row, state)| {
        let is_withdrawn = withdrawn.is_some_and(|withdrawn| withdrawn.value(row));
        if is_withdrawn {
            assert!(output.iter().all(|column| column.is_null(row)));
        }
        let at_end = Moment {
            watermark: ends.value(row),
            sequence: 0,
        };
        Emitted {
            moment: emission
                .moments
                .as_ref()
                .map_or(at_end, |moments| moments[row]),
            key: keys.value(row),
            bounds: (starts.value(row), ends.value(row)),
            revision: revisions.map(|revisions| (revisions.value(row), is_withdrawn)),
            length: emission.length,
            output: (!is_withdrawn).then(|| Output {
                state,
                width: widths.value(row),
            }),
        }
    };
    states.into_iter().enumerate().map(row).collect()
}
