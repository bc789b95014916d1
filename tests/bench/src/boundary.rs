//! The boundary and the guest alone: `accumulate` through the sandbox, and the same natively.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use futures::executor::block_on;
use penstock::sandbox::{Compiler, Limits, Sandbox};
use penstock::transform::{Groups, Opening, Rows, Windowed};

use crate::Figures;
use crate::native::Native;

/// Rows of a call, and groups that they fall into.
const SHAPES: [(usize, usize, &str); 4] = [
    (1, 1, "1"),
    (256, 100, "256"),
    (8_192, 1_000, "8k"),
    (65_536, 1_000, "64k"),
];

pub(crate) fn measure(figures: &mut Figures, rounds: usize) -> anyhow::Result<()> {
    crate::pin_to_one_processor()?;
    let sandbox = Sandbox::start(Compiler::InProcess, None)?;
    let component = sandbox.load_file(&crate::transform()?)?;
    let mut guest = block_on(component.open_windowed(&opening(), &Limits::default(), "bench"))?;
    let mut native = Native::open(guest.spec())?;
    println!("boundary and guest, against native: one call of `accumulate`");
    println!(
        "{:>8} {:>8} {:>14} {:>14} {:>8}",
        "rows", "groups", "native ns/row", "sandbox ns/row", "ratio"
    );
    for (rows, groups, name) in SHAPES {
        let input = Input::new(rows, groups, &guest.spec().initial);
        let (mut best_native, mut best_guest) = (Duration::MAX, Duration::MAX);
        // One after the other, many times, so that a busy neighbour slows both.
        for _ in 0..rounds * 20 {
            best_native = best_native.min(input.time(&mut native)?);
            best_guest = best_guest.min(input.time(&mut guest)?);
        }
        let per_row = |time: Duration| time.as_secs_f64() * 1e9 / rows as f64;
        let ratio = best_guest.as_secs_f64() / best_native.as_secs_f64();
        println!(
            "{rows:>8} {groups:>8} {:>14.2} {:>14.2} {ratio:>8.2}",
            per_row(best_native),
            per_row(best_guest)
        );
        figures.insert(format!("boundary_and_guest_vs_native_{name}"), ratio);
        figures.insert(
            format!("boundary_and_guest_ns_per_row_{name}"),
            per_row(best_guest),
        );
    }
    Ok(())
}

/// Offers of rides, of which a transform of any language wants one column.
pub(crate) fn opening() -> Opening {
    let key = Field::new("driver_id", DataType::Int64, false);
    let accepted = Field::new("accepted", DataType::Boolean, true);
    Opening {
        config: "{}".into(),
        event: "ride_offer".into(),
        event_schema: Arc::new(Schema::new(vec![accepted])),
        key: Arc::new(Schema::new(vec![key])),
    }
}

/// What calls are made with.
pub(crate) struct Input {
    columns: Vec<ArrayRef>,
    group_of_row: UInt32Array,
    keys: Vec<ArrayRef>,
    states: Vec<ArrayRef>,
    groups: usize,
    calls: usize,
}

impl Input {
    pub(crate) fn new(rows: usize, groups: usize, initial: &arrow::array::RecordBatch) -> Self {
        // A fixed scramble in place of random numbers.
        let scramble = |row: usize| row.wrapping_mul(2_654_435_761) >> 7;
        let accepted = BooleanArray::from_iter((0..rows).map(|row| Some(scramble(row) % 3 != 0)));
        let zeros = UInt32Array::from(vec![0; groups]);
        let states = initial.columns().iter();
        let states = states
            .map(|column| arrow::compute::take(column, &zeros, None).expect("one row, many times"));
        Self {
            columns: vec![Arc::new(accepted)],
            group_of_row: (0..rows)
                .map(|row| (scramble(row) % groups) as u32)
                .collect::<Vec<_>>()
                .into(),
            keys: vec![Arc::new(Int64Array::from_iter_values(0..groups as i64))],
            states: states.collect(),
            groups,
            calls: (100_000 / rows).clamp(1, 2_000),
        }
    }

    /// The time of one call, over as many as make it worth reading a clock.
    pub(crate) fn time(&self, transform: &mut impl Windowed) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for _ in 0..self.calls {
            let rows = Rows {
                columns: &self.columns,
                group_of_row: self.group_of_row.values(),
            };
            let groups = Groups {
                keys: &self.keys,
                states: &self.states,
                len: self.groups,
            };
            let updated = block_on(transform.accumulate(rows, groups))?;
            anyhow::ensure!(
                updated.states[0].len() == self.groups,
                "a state for each group"
            );
        }
        Ok(began.elapsed() / self.calls as u32)
    }
}
