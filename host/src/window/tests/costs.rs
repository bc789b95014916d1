//! What single rows cost: merges for late rows of many keys, and calls for rows of keys that were
//! forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;

use super::super::{
    Calls, Emission, Emit, Kind, Length, Panes, RowBatch, Sequences, Shape, WindowError, Windows,
};
use crate::transform::{
    CallError, Finished, Groups, Merged, Rows, Updated, Windowed, WindowedSpec,
};

/// Panes of a window.
const PANES: i64 = 500;
const KEYS: i64 = 200;

/// Counts rows.
#[derive(Default)]
struct Counting(Arc<Asked>);

/// What the transform was asked for.
#[derive(Default)]
struct Asked {
    /// Calls with rows.
    calls: AtomicU64,
    /// Groups to be merged.
    merged: AtomicU64,
}

fn counts(columns: &[ArrayRef]) -> &[i64] {
    columns[0].as_primitive::<Int64Type>().values()
}

fn column(counts: impl IntoIterator<Item = i64>) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from_iter_values(counts))]
}

fn schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]))
}

impl Windowed for Counting {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let mut states = counts(groups.states).to_vec();
        (rows.group_of_row.iter()).for_each(|group| states[*group as usize] += 1);
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
        let groups = earlier.len as u64;
        self.0.merged.fetch_add(groups, Ordering::Relaxed);
        let pairs = counts(earlier.states).iter().zip(counts(later));
        let merged = column(pairs.map(|(earlier, later)| earlier + later));
        async { Ok(merged.into()) }.boxed()
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        _bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        let output = RecordBatch::try_new(schema("rows"), groups.states.to_vec()).unwrap();
        let source_group = (0..groups.len as u32).collect();
        let finished = Finished {
            output,
            source_group,
            failed: Vec::new(),
        };
        async { Ok(finished) }.boxed()
    }
}

/// Counts the rows that are emitted.
struct Emitted(u64);

impl Emit for Emitted {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.0 += emission.rows.num_rows() as u64;
        async { Ok(()) }.boxed()
    }
}

/// Rows of keys at times, with the watermark at each of them and after them.
fn batch(rows: impl Iterator<Item = (i64, i64)>, watermark: i64) -> RowBatch {
    let (keys, times): (Vec<i64>, Vec<i64>) = rows.unzip();
    RowBatch {
        input: Vec::new(),
        watermarks: Some(vec![watermark; keys.len()].into()),
        keys: column(keys),
        event_times: times.into(),
        sequences: Sequences::From(0),
        watermark,
        next_sequence: 1,
        partials: None,
    }
}

/// Windows, calls of the transform, and what it is asked for.
fn windows(shape: &Shape) -> (Windows, Calls, Arc<Asked>) {
    let spec = WindowedSpec {
        columns: Vec::new(),
        state: schema("rows"),
        state_version: 1,
        migrates_from: Vec::new(),
        initial: RecordBatch::try_new(schema("rows"), column([0])).unwrap(),
        output: schema("rows"),
    };
    let counting = Counting::default();
    let asked = Arc::clone(&counting.0);
    let calls = Calls::new(Box::new(counting), 1 << 20, 1 << 16);
    let windows = Windows::new(shape, &schema("key"), &spec).unwrap();
    (windows, calls, asked)
}

#[test]
fn a_late_row_costs_what_it_changes_however_many_keys_there_are() {
    let length = Length {
        panes: PANES,
        step: 1,
        growing: false,
    };
    let kind = Kind::Aligned {
        panes: Panes::new(1, 0).unwrap(),
        lengths: vec![length],
    };
    let shape = Shape {
        kind,
        lateness: 10,
        per_batch: false,
    };
    let (mut windows, mut calls, asked) = windows(&shape);
    let mut out = Emitted(0);
    // The watermark comes to stand in the middle of a chunk.
    let now = 2 * PANES + PANES / 2;
    for time in now - PANES..=now {
        let batch = batch((0..KEYS).map(|key| (key, time)), time);
        block_on(windows.batch(&batch, &mut calls, &mut out)).unwrap();
    }
    let before = (asked.merged.load(Ordering::Relaxed), out.0);
    const LATE: i64 = 6_000;
    let late = (0..LATE).map(|row| (row % KEYS, now - 1 - row * 7 % 10));
    let outcome = block_on(windows.batch(&batch(late, now), &mut calls, &mut out)).unwrap();
    assert_eq!(outcome.applied, LATE as u64);
    let (merged, emitted) = (
        asked.merged.load(Ordering::Relaxed) - before.0,
        out.0 - before.1,
    );
    assert!(emitted >= 5 * LATE as u64, "{emitted} rows");
    // Of each key the panes of two chunks are folded when its first row comes and after its last
    // one; a row folds anew what it changes, ten panes at most, and puts its windows together.
    let most = (4 * PANES * KEYS + 10 * LATE) as u64 + emitted;
    assert!(merged <= most, "{merged} merges, {most} at most");
}

#[test]
fn keys_that_were_forgotten_come_back_in_one_call() {
    let kind = Kind::Unbounded {
        ttl: 10,
        every: None,
    };
    let shape = Shape {
        kind,
        lateness: 0,
        per_batch: true,
    };
    let (mut windows, mut calls, asked) = windows(&shape);
    let mut out = Emitted(0);
    // Of each key the state is over at its next row, though it was not deleted before.
    for time in [0, 100, 200] {
        let batch = batch((0..KEYS).map(|key| (key, time)), time);
        let before = asked.calls.load(Ordering::Relaxed);
        let outcome = block_on(windows.batch(&batch, &mut calls, &mut out)).unwrap();
        assert_eq!(outcome.applied, KEYS as u64);
        assert_eq!(asked.calls.load(Ordering::Relaxed) - before, 1);
    }
    assert_eq!(out.0, 3 * KEYS as u64);
}
