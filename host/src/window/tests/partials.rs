//! Partial states: rows that are divided among lanes anyhow, made into states there, taken at any time
//! and merged elsewhere, come to what a list of the rows says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::concat;
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::super::{
    Calls, Emission, Emit, Kind, Length, Panes, PartialStates, Partials, RowBatch, Sequences,
    Shape, TakenPartials, WindowError,
};
use super::cases;
use super::drive::{emitted, key_schema};
use super::resting::{Rest, Resting, rests};
use super::stream::{Row, Stream, streams};
use super::traced::{self, IGNORED, Traced};

/// How rows go through partial states.
#[derive(Debug, Clone)]
struct Ways {
    /// The lane of each row, over and over.
    lane: Vec<usize>,
    lanes: usize,
    disorder: i64,
    /// Rows between two times at which lanes may hand over, over and over.
    pieces: Vec<usize>,
    /// Which lanes do then, bit by bit.
    hand_over: Vec<u8>,
    budget: (usize, usize),
    rest: Rest,
}

fn ways() -> impl Strategy<Value = Ways> {
    let budget = prop_oneof![Just((1 << 20, 1 << 20)), (64..2_000_usize, 1..8_usize)];
    (
        1..5_usize,
        prop::collection::vec(0..4_usize, 1..20),
        0..60_i64,
        prop::collection::vec(1..12_usize, 1..6),
        prop::collection::vec(any::<u8>(), 1..6),
        budget,
        rests(),
    )
        .prop_map(
            |(lanes, lane, disorder, pieces, hand_over, budget, rest)| Ways {
                lane,
                lanes,
                disorder,
                pieces,
                hand_over,
                budget,
                rest,
            },
        )
}

/// One that makes partial states.
struct Upstream {
    partials: PartialStates,
    calls: Calls,
    greatest: i64,
    /// The numbers of the rows that were applied since it handed over.
    applied: Vec<usize>,
    /// The watermark that it told last.
    told: i64,
}

#[derive(Default)]
struct Collected(Vec<Emission>);

impl Emit for Collected {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.0.push(emission);
        async { Ok(()) }.boxed()
    }
}

/// What is to be in each window: by length, key and end, the ids of its rows, and their amounts.
type Expected = BTreeMap<(usize, i64, i64), (BTreeSet<u64>, f64)>;

/// What was emitted of each window last: its revision, the ids of its rows, and their sum.
type Told = BTreeMap<(usize, i64, i64), (u32, BTreeSet<u64>, f64)>;

/// The windows that a time is in, of one length, by their ends.
fn ends(length: Length, size: i64, time: i64) -> impl Iterator<Item = i64> {
    let (whole, step) = (length.panes * size, length.step * size);
    let last = time.div_euclid(step) * step;
    (0..)
        .map(move |back| last - back * step)
        .take_while(move |start| start + whole > time)
        .map(move |start| start + whole)
}

fn behind(watermark: i64, by: i64) -> i64 {
    match watermark {
        i64::MIN => i64::MIN,
        watermark => watermark - by,
    }
}

/// Has a lane take its rows of a piece, and checks what it says of each.
fn upstream(
    lane: &mut Upstream,
    rows: &[(usize, &Row)],
    (shape, lengths, size): (&Shape, &[Length], i64),
    disorder: i64,
    counts: &mut (u64, u64),
) {
    let items: Vec<_> = rows.iter().map(|(_, row)| (row.item, row.key)).collect();
    let keys = Int64Array::from_iter_values(rows.iter().map(|(_, row)| row.key));
    let watermarks: Vec<i64> = rows
        .iter()
        .map(|(_, row)| {
            lane.greatest = lane.greatest.max(row.time);
            lane.greatest - disorder
        })
        .collect();
    let batch = RowBatch {
        input: traced::input(&items),
        keys: vec![Arc::new(keys)],
        event_times: rows.iter().map(|(_, row)| row.time).collect(),
        watermarks: Some(watermarks.clone().into()),
        sequences: Sequences::From(0),
        watermark: behind(lane.greatest, disorder),
        next_sequence: 0,
        partials: None,
    };
    let outcome = block_on(lane.partials.batch(&batch, &mut lane.calls)).unwrap();
    let late: BTreeSet<u32> = outcome.late.iter().map(|late| late.row).collect();
    let refused: BTreeSet<u32> = outcome.rejects.iter().map(|reject| reject.row).collect();
    for (at, (number, row)) in rows.iter().enumerate() {
        let last = lengths
            .iter()
            .flat_map(|it| ends(*it, size, row.time))
            .max();
        let is_late = last.unwrap() <= watermarks[at] - shape.lateness;
        assert_eq!(late.contains(&(at as u32)), is_late, "row {number}");
        if !is_late && !refused.contains(&(at as u32)) {
            lane.applied.push(*number);
        }
    }
    assert_eq!(outcome.closed, 0);
    counts.0 += outcome.applied;
    counts.1 += (late.len() + refused.len()) as u64;
}

/// Takes what a lane has, as rows of the receiver's next batch.
fn hand_over(lane: &mut Upstream, size: i64) -> Option<TakenPartials> {
    let held = lane.partials.len();
    let taken = block_on(async { lane.partials.take() }).unwrap();
    assert!(lane.partials.is_empty());
    let rows = taken
        .as_ref()
        .map_or(0, |taken| taken.partials.rows.iter().sum());
    assert_eq!(rows, lane.applied.len() as u64);
    if let Some(taken) = &taken {
        assert_eq!(taken.panes.len(), held, "one for each key in each pane");
        for (at, pane) in taken.panes.iter().enumerate() {
            let times = [taken.least[at], taken.greatest[at]];
            assert!(times.iter().all(|time| time.div_euclid(size) == *pane));
        }
    }
    taken
}

fn receive(all: &[(TakenPartials, i64)], watermark: i64) -> RowBatch {
    let columns = |of: &dyn Fn(&TakenPartials) -> Vec<ArrayRef>, count: usize| -> Vec<ArrayRef> {
        let column = |at: usize| {
            let parts: Vec<ArrayRef> = all
                .iter()
                .map(|(taken, _)| Arc::clone(&of(taken)[at]))
                .collect();
            let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts).unwrap()
        };
        (0..count).map(column).collect()
    };
    let is_any = !all.is_empty();
    let none = || {
        vec![arrow::array::new_empty_array(
            &arrow::datatypes::DataType::Int64,
        )]
    };
    let states = traced::spec().state;
    RowBatch {
        input: Vec::new(),
        keys: if is_any {
            columns(&|taken| taken.keys.clone(), 1)
        } else {
            none()
        },
        event_times: all
            .iter()
            .flat_map(|(taken, _)| taken.least.clone())
            .collect(),
        watermarks: Some(
            all.iter()
                .flat_map(|(taken, at)| vec![*at; taken.panes.len()])
                .collect(),
        ),
        sequences: Sequences::From(0),
        watermark,
        next_sequence: 0,
        partials: Some(Partials {
            states: match is_any {
                true => columns(
                    &|taken| taken.partials.states.clone(),
                    states.fields().len(),
                ),
                false => traced::spec().initial.slice(0, 0).columns().to_vec(),
            },
            rows: all
                .iter()
                .flat_map(|(taken, _)| taken.partials.rows.to_vec())
                .collect(),
        }),
    }
}

fn check(stream: &Stream, lengths: &[Length], size: i64, lateness: i64, ways: &Ways) {
    let shape = Shape {
        kind: Kind::Aligned {
            panes: Panes::new(size, 0).unwrap(),
            lengths: lengths.to_vec(),
        },
        lateness,
        per_batch: false,
    };
    let key = key_schema(false);
    let calls = || Calls::new(Box::new(Traced::new(false).0), ways.budget.0, ways.budget.1);
    let mut lanes: Vec<Upstream> = (0..ways.lanes)
        .map(|_| Upstream {
            partials: PartialStates::new(&shape, &key, &traced::spec())
                .unwrap()
                .unwrap(),
            calls: calls(),
            greatest: i64::MIN,
            applied: Vec::new(),
            told: i64::MIN,
        })
        .collect();
    let mut windows = Resting::new(&shape, &key, &ways.rest);
    let (mut merging, mut out) = (calls(), Collected::default());
    let mut expected = Expected::new();
    let (mut counts, mut merged, mut partly_late, mut expected_partly) = ((0, 0), 0, 0, 0);
    let mut watermark = i64::MIN;
    let rows: Vec<(usize, &Row)> = stream.rows.iter().enumerate().collect();
    let (mut rest, mut piece) = (&rows[..], 0);
    loop {
        let is_last = rest.is_empty();
        let length = ways.pieces[piece % ways.pieces.len()].min(rest.len());
        let (now, later) = rest.split_at(length);
        rest = later;
        let mask = ways.hand_over[piece % ways.hand_over.len()];
        piece += 1;
        let mut received = Vec::new();
        for number in 0..ways.lanes {
            let lane = &mut lanes[number];
            let of_lane = |row: usize| ways.lane[row % ways.lane.len()] % ways.lanes == number;
            let its: Vec<_> = now
                .iter()
                .filter(|(row, _)| of_lane(*row))
                .copied()
                .collect();
            upstream(
                lane,
                &its,
                (&shape, lengths, size),
                ways.disorder,
                &mut counts,
            );
            if !is_last && mask >> number & 1 == 0 {
                continue;
            }
            if let Some(taken) = hand_over(lane, size) {
                received.push((taken, watermark));
            }
            for row in std::mem::take(&mut lane.applied) {
                let row = &stream.rows[row];
                let gone = behind(watermark, lateness);
                let mut is_partly = false;
                for (at, length) in lengths.iter().enumerate() {
                    for end in ends(*length, size, row.time) {
                        if end <= gone {
                            is_partly = true;
                            continue;
                        }
                        let (ids, sum) = expected.entry((at, row.key, end)).or_default();
                        if row.item.value != Some(IGNORED) {
                            ids.insert(row.item.id);
                            *sum += row.item.amount;
                        }
                    }
                }
                expected_partly += u64::from(is_partly);
            }
            lane.told = behind(lane.greatest, ways.disorder);
            watermark = watermark.max(lanes.iter().map(|lane| lane.told).min().unwrap());
        }
        let batch = receive(&received, watermark);
        let outcome = windows.batch(&batch, &mut merging, &mut out);
        assert_eq!(
            outcome.late,
            [],
            "what one found in time is never late for the other"
        );
        merged += outcome.applied;
        partly_late += outcome.partly_late;
        if is_last {
            break;
        }
    }
    windows.end(&mut merging, &mut out);
    assert_eq!(windows.states(), 0, "states are left");
    assert_eq!(counts.0 + counts.1, rows.len() as u64);
    assert_eq!((merged, partly_late), (counts.0, expected_partly));
    same(&expected, &out.0, shape.revises());
}

/// What was emitted last of each window is what is expected of it.
fn same(expected: &Expected, emissions: &[Emission], revises: bool) {
    let mut told = Told::new();
    for row in emissions.iter().flat_map(|it| emitted(it, revises, false)) {
        let of_window = (row.length, row.key, row.bounds.1);
        let revision = row.revision.map_or(0, |(number, _)| number);
        let state = &row.output.as_ref().expect("none is withdrawn").state;
        let ids = state.trace.split(',').filter(|id| !id.is_empty());
        let ids: Vec<u64> = ids.map(|id| id.parse().unwrap()).collect();
        let set: BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(set.len(), ids.len(), "a row twice: {row:?}");
        let before = told.insert(of_window, (revision, set, state.sum));
        let is_next = before.is_none_or(|(before, ..)| revises && before < revision);
        assert!(is_next, "{row:?}");
    }
    let found: Vec<_> = told
        .iter()
        .map(|(of, (_, ids, _))| (*of, ids.clone()))
        .collect();
    let wanted: Vec<_> = expected
        .iter()
        .map(|(of, (ids, _))| (*of, ids.clone()))
        .collect();
    assert_eq!(found, wanted);
    for (of, (_, _, sum)) in &told {
        // The greatest amounts are 1e17, whose sums are exact to some tens.
        assert!((sum - expected[of].1).abs() < 1e4, "{of:?}: {sum}");
    }
}

fn lengths() -> impl Strategy<Value = Vec<Length>> {
    let hopping = (1..5_i64, prop::collection::btree_set(0..9_i64, 1..3));
    let hopping = hopping.prop_map(|(step, more)| {
        let length = |more| Length {
            panes: step + more,
            step,
            growing: false,
        };
        more.into_iter().map(length).collect()
    });
    let tumbling = prop::collection::btree_set(1..9_i64, 1..3).prop_map(|sizes| {
        let length = |panes| Length {
            panes,
            step: panes,
            growing: false,
        };
        sizes.into_iter().map(length).collect()
    });
    prop_oneof![hopping, tumbling]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn partial_states_come_to_what_the_rows_say(
        stream in streams(true), lengths in lengths(), size in 1..13_i64,
        lateness in prop_oneof![2 => Just(0_i64), 1 => 1..80_i64], ways in ways(),
    ) {
        check(&stream, &lengths, size, lateness, &ways);
    }
}
