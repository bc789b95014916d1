//! Random streams: rows of several splits with the watermark at each, and cuts of them into
//! batches.

use std::ops::Range;

use proptest::prelude::*;

use super::traced::{IGNORED, Item};

/// A row, where it stands in the stream.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) time: i64,
    /// The watermark at the row, itself counted.
    pub(super) watermark: i64,
    /// Its `id` is the row's sequence.
    pub(super) item: Item,
}

/// Rows in order, and the watermark before and after each.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) rows: Vec<Row>,
    /// The watermark after as many rows, and after the splits that went idle there.
    after: Vec<i64>,
}

/// What happens next, before times are worked out.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Row {
        split: usize,
        key: usize,
        time: Time,
        value: Option<i64>,
        amount: usize,
    },
    /// A split goes idle until its next row.
    Idle { split: usize },
}

/// When a row is, next to where the walk has come.
#[derive(Debug, Clone)]
pub(super) enum Time {
    /// The walk goes on by so much.
    On(i64),
    /// Behind the walk, which stays.
    Behind(i64),
    /// Ahead of it, which stays.
    Ahead(i64),
}

/// Sums of these depend on the order in which they are added.
const AMOUNTS: [f64; 6] = [0.1, 1e17, -1e17, 3.3, 0.7, -2.0e-9];

impl Stream {
    /// The stream of some steps: `splits` splits, and `keys` keys of which the first has half of
    /// all rows. With few `values` the transform refuses many rows as repeated.
    fn new(
        start: i64,
        disorder: i64,
        splits: usize,
        (keys, values): (usize, i64),
        steps: &[Step],
    ) -> Self {
        let mut now = start;
        let mut greatest: Vec<Option<i64>> = vec![None; splits];
        let mut live = vec![true; splits];
        let mut watermark = i64::MIN;
        let mut stream = Self {
            rows: Vec::new(),
            after: vec![i64::MIN],
        };
        for step in steps {
            let mut row = None;
            match step {
                Step::Idle { split } => live[*split % splits] = false,
                Step::Row {
                    split,
                    key,
                    time,
                    value,
                    amount,
                } => {
                    let time = match time {
                        Time::On(by) => {
                            now += by;
                            now
                        }
                        Time::Behind(by) => now - by,
                        Time::Ahead(by) => now + by,
                    };
                    let split = split % splits;
                    live[split] = true;
                    greatest[split] = greatest[split].max(Some(time));
                    let key = if key % 2 == 0 { 0 } else { key / 2 % keys };
                    let few = |value: i64| match value {
                        IGNORED => value,
                        _ => value % values,
                    };
                    row = Some((
                        key as i64 - 2,
                        time,
                        value.map(few),
                        AMOUNTS[amount % AMOUNTS.len()],
                    ));
                }
            }
            let of_live = (0..splits).filter(|split| live[*split]);
            // A split of which nothing was seen sorts first, and holds the watermark back.
            let least = of_live.map(|split| greatest[split]).min().flatten();
            watermark = watermark.max(least.map_or(i64::MIN, |least| least - disorder));
            if let Some((key, time, value, amount)) = row {
                let id = stream.rows.len() as u64;
                let item = Item { id, value, amount };
                stream.rows.push(Row {
                    key,
                    time,
                    watermark,
                    item,
                });
                stream.after.push(watermark);
            } else if let Some(after) = stream.after.last_mut() {
                *after = watermark;
            }
        }
        stream
    }

    /// A row of each key every `period`, in order.
    pub(super) fn dense(keys: i64, rows: i64, period: i64) -> Self {
        let of_time = |row| (0..keys).map(move |key| (row * period, key as usize));
        let row = |(time, key): (i64, usize)| Step::Row {
            split: 0,
            // Even ones are all the first key.
            key: 2 * key + 1,
            time: Time::Ahead(time),
            value: Some((time / period) % 8),
            amount: key,
        };
        let steps: Vec<Step> = (0..rows).flat_map(of_time).map(row).collect();
        Self::new(0, 0, 1, (keys as usize, 8), &steps)
    }

    /// The stream with time 0 at an instant and all times so many times as long, up to the greatest
    /// that is given.
    pub(super) fn at(mut self, start: i64, times: i64, greatest: i64) -> Self {
        let at = |time: i64| match time {
            i64::MIN => i64::MIN,
            time => start + time.min(greatest) * times,
        };
        for row in &mut self.rows {
            (row.time, row.watermark) = (at(row.time), at(row.watermark));
        }
        self.after.iter_mut().for_each(|after| *after = at(*after));
        self
    }

    /// The watermark when all is over but the end of the input.
    pub(super) fn last_watermark(&self) -> i64 {
        *self
            .after
            .last()
            .expect("there is one before the first row")
    }
}

/// How a stream is cut into source batches.
#[derive(Debug, Clone)]
pub(super) enum Cut {
    Whole,
    Rows,
    /// Batches of these sizes over and over, which may be zero.
    Sizes(Vec<usize>),
}

/// A source's batch.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) rows: Range<usize>,
    /// The watermark after it.
    pub(super) watermark: i64,
}

impl Cut {
    /// The source batches of a stream. Progress without rows is part of the batch before it, or
    /// has a batch of its own, or is first heard of with the next row.
    pub(super) fn pieces(&self, stream: &Stream) -> Vec<Piece> {
        let (mut first, mut heard) = (0, i64::MIN);
        let mut pieces = Vec::new();
        let sizes = match self {
            Self::Whole => vec![stream.rows.len().max(1)],
            Self::Rows => vec![1],
            Self::Sizes(sizes) => sizes.clone(),
        };
        for size in sizes.iter().cycle() {
            let end = (first + size).min(stream.rows.len());
            let at_last = end
                .checked_sub(1)
                .map_or(heard, |last| stream.rows[last].watermark);
            // Sizes that differ by one hear of progress between rows at once or later.
            let watermark = match size % 2 {
                0 => stream.after[end],
                _ => at_last.max(heard),
            };
            heard = watermark;
            pieces.push(Piece {
                rows: first..end,
                watermark,
            });
            first = end;
            if first == stream.rows.len() {
                break;
            }
        }
        pieces.push(Piece {
            rows: first..first,
            watermark: stream.last_watermark(),
        });
        pieces
    }
}

/// Cuts of any kind.
pub(super) fn cuts() -> impl Strategy<Value = Cut> {
    let sizes = prop::collection::vec(0..12_usize, 1..6);
    // Zeros alone would never come to an end.
    let sizes = sizes.prop_map(|mut sizes| {
        sizes.push(3);
        Cut::Sizes(sizes)
    });
    prop_oneof![1 => Just(Cut::Whole), 1 => Just(Cut::Rows), 3 => sizes]
}

fn times() -> impl Strategy<Value = Time> {
    prop_oneof![
        3 => Just(Time::On(0)),
        16 => (1..6_i64).prop_map(Time::On),
        2 => (6..40_i64).prop_map(Time::On),
        1 => (40..600_i64).prop_map(Time::On),
        8 => (1..20_i64).prop_map(Time::Behind),
        3 => (1..80_i64).prop_map(Time::Behind),
        1 => (80..700_i64).prop_map(Time::Behind),
        3 => (1..30_i64).prop_map(Time::Ahead),
    ]
}

/// Rows further ahead than the rest of the stream comes.
fn far() -> impl Strategy<Value = Time> {
    (1_000..1_000_000_000_000_i64).prop_map(Time::Ahead)
}

/// Steps of a stream. With `ignored` some rows are applied and change no state.
fn steps(ignored: bool) -> impl Strategy<Value = Vec<Step>> {
    let values = (0..if ignored { 11 } else { 9_i64 }).prop_map(|value| match value {
        10 => IGNORED,
        value => value,
    });
    let value = prop::option::weighted(0.95, values);
    let time = prop_oneof![300 => times(), 1 => far()];
    let row = (0..4_usize, 0..12_usize, time, value, 0..6_usize);
    let row = row.prop_map(|(split, key, time, value, amount)| Step::Row {
        split,
        key,
        time,
        value,
        amount,
    });
    let step = prop_oneof![
        24 => row,
        1 => (0..4_usize).prop_map(|split| Step::Idle { split }),
    ];
    prop_oneof![
        2 => prop::collection::vec(step.clone(), 0..20),
        3 => prop::collection::vec(step, 0..150),
    ]
}

/// Streams of up to 150 rows.
pub(super) fn streams(ignored: bool) -> impl Strategy<Value = Stream> {
    let disorder = prop_oneof![Just(0), 1..10_i64, 10..60_i64];
    let splits = prop_oneof![3 => Just(1), 2 => 2..5_usize];
    let start = prop_oneof![Just(0), -300..300_i64];
    let values = prop::sample::select(vec![1, 2, 4, 9]);
    let both = (1..7_usize, values);
    (start, disorder, splits, both, steps(ignored)).prop_map(
        |(start, disorder, splits, both, steps)| Stream::new(start, disorder, splits, both, &steps),
    )
}
