//! What comes after the guest `versioned`: its states are others, and it takes those over. What it does wrong with them
//! lies in its bytes behind a mark, where a test can change it without a compiler.

use std::hint::black_box;

use penstock_sdk::prelude::*;

/// A mark that nothing else has, what is added to each sum, and what goes wrong.
static KNOBS: [u64; 3] = [0x5eed_ba5e_0dd5_ca1e, 0, 0];

/// A row.
#[derive(Row)]
pub struct Entry {
    amount: Option<f64>,
}

/// What is remembered.
#[derive(State, Clone, Default)]
pub struct Sheet {
    sum: f64,
    greatest: Option<f64>,
    lines: i64,
}

/// What was remembered before.
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
    greatest: Option<f64>,
}

/// The transform.
#[derive(Default)]
pub struct Successor;

impl Window for Successor {
    type Row<'a> = Entry;
    type State = Sheet;
    type Output = Total;

    const STATE_VERSION: u32 = 2;

    fn open(_config: &Config<'_>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn accumulate(&self, sheet: &mut Sheet, entry: Entry) -> Result<(), Reject> {
        let amount = entry.amount.unwrap_or(0.0).abs() + knob(1) as f64;
        sheet.lines += 1;
        sheet.sum += amount;
        sheet.greatest = Some(
            sheet
                .greatest
                .map_or(amount, |greatest| greatest.max(amount)),
        );
        Ok(())
    }

    fn merge(&self, earlier: Sheet, later: Sheet) -> Sheet {
        Sheet {
            lines: earlier.lines + later.lines,
            sum: earlier.sum + later.sum,
            greatest: earlier
                .greatest
                .into_iter()
                .chain(later.greatest)
                .reduce(f64::max),
        }
    }

    fn finish(&self, sheet: &Sheet, _bounds: Bounds) -> Total {
        Total {
            rows: sheet.lines as u64,
            sum: sheet.sum,
            greatest: sheet.greatest,
        }
    }
}

impl Migrate<Sheet> for Successor {
    const FROM: &'static [u32] = &[1];

    fn migrate(&self, old: OldStates<'_>) -> Result<Vec<Sheet>, Failure> {
        let wrong = knob(2);
        if wrong == 6 {
            panic!("it does not know how");
        }
        let mut sheets = old.map(|page: Page| {
            if wrong == 7 {
                loop {
                    black_box(page.rows);
                }
            }
            Sheet {
                lines: page.rows as i64,
                sum: page.sum,
                greatest: None,
            }
        })?;
        match wrong {
            8 => drop(sheets.pop()),
            9 => sheets.push(Sheet::default()),
            10 => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            // A trial has no more than that.
            11 if sheets.len() > 1_000 => panic!("there are too many"),
            _ => {}
        }
        Ok(sheets)
    }
}

fn knob(number: usize) -> u64 {
    black_box(&KNOBS)[number]
}

export_window!(Successor, migrating);
