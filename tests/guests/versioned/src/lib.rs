//! A transform of which tests make versions: what it adds to sums, and what it does wrong, lie in its bytes behind a
//! mark, where a test can change them without a compiler.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_sdk::prelude::*;

/// A mark that nothing else has, what is added to each sum, and what goes wrong.
static KNOBS: [u64; 3] = [0x5eed_ba5e_0dd5_ca1e, 0, 0];

/// Calls of this instance.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// A row.
#[derive(Row)]
pub struct Entry {
    amount: Option<f64>,
}

/// What is remembered.
#[derive(State, Clone, Default)]
pub struct Page {
    rows: u64,
    sum: f64,
}

/// What comes out.
#[derive(Output)]
pub struct Total {
    rows: u64,
    sum: f64,
}

/// The transform.
#[derive(Default)]
pub struct Versioned;

impl Window for Versioned {
    type Row<'a> = Entry;
    type State = Page;
    type Output = Option<Total>;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        match knob(2) {
            5 => Err(config.wrong("it does not open")),
            _ => Ok(Self),
        }
    }

    fn accumulate(&self, page: &mut Page, entry: Entry) -> Result<(), Reject> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        match knob(2) {
            1 => panic!("at once"),
            2 if calls >= 1_000 => panic!("after a thousand rows"),
            3 => loop {
                black_box(calls);
            },
            4 => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            _ => {}
        }
        page.rows += 1;
        page.sum += entry.amount.unwrap_or(0.0).abs() + knob(1) as f64;
        Ok(())
    }

    fn merge(&self, earlier: Page, later: Page) -> Page {
        if knob(2) == 14 && (earlier.rows + later.rows) % 3 == 1 {
            panic!("it cannot merge these");
        }
        Page {
            rows: earlier.rows + later.rows,
            sum: earlier.sum + later.sum,
        }
    }

    fn finish(&self, page: &Page, _bounds: Bounds) -> Option<Total> {
        if knob(2) == 13 && page.rows % 3 == 1 {
            panic!("it cannot finish this");
        }
        let is_silent = knob(2) == 12 && page.rows % 2 == 1;
        (!is_silent).then_some(Total {
            rows: page.rows,
            sum: match knob(2) {
                15 => knob(1) as f64,
                _ => page.sum,
            },
        })
    }
}

fn knob(number: usize) -> u64 {
    black_box(&KNOBS)[number]
}

export_window!(Versioned);
