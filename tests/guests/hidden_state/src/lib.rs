//! A transform that remembers things where it must not, as its configuration says: in a counter of
//! its own, beside the states that the host keeps.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_sdk::prelude::*;

/// Rows that this instance has seen, over all groups and calls.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// Groups that it has finished.
static FINISHED: AtomicU64 = AtomicU64::new(0);

/// Amounts that it has added.
static AMOUNTS: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// A row.
#[derive(Row)]
pub struct Entry {
    amount: f64,
}

/// What is remembered, as it should be.
#[derive(State, Clone, Default)]
pub struct Page {
    rows: u64,
    sum: f64,
    calls: u64,
}

/// What comes out.
#[derive(Output)]
pub struct Total {
    rows: u64,
    sum: f64,
}

/// Where it remembers.
#[derive(Default, Clone, Copy, PartialEq)]
enum Where {
    #[default]
    Nowhere,
    /// Every fifth row of the instance counts twice.
    Accumulate,
    /// An amount that the instance has seen before does not count.
    Amounts,
    /// Every third window of the instance has a row more.
    Finish,
    /// The number of calls goes into the sum.
    Batches,
}

/// The transform. Its name is one that the parts of an export might have, too: the two must not meet.
#[derive(Default)]
pub struct T {
    remembers: Where,
}

impl ColumnarWindow for T {
    type Key<'a> = ();
    type Row<'a> = Entry;
    type State = Page;
    type Output = Total;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let places = [
            ("accumulate", Where::Accumulate),
            ("amounts", Where::Amounts),
            ("finish", Where::Finish),
            ("batches", Where::Batches),
        ];
        let asked = places
            .into_iter()
            .find(|(name, _)| config.json().contains(name));
        Ok(Self {
            remembers: asked.map_or(Where::Nowhere, |(_, place)| place),
        })
    }

    fn accumulate<'a>(
        &self,
        rows: &Rows<'a, Entry>,
        states: &mut StateColumns<Page>,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        for (row, group) in rows.groups().iter().enumerate() {
            let group = *group as usize;
            let amount = match rows.row(row) {
                Ok(entry) => entry.amount,
                Err(reject) => {
                    rejects.add(row, reject);
                    continue;
                }
            };
            let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
            if self.remembers == Where::Amounts {
                let mut amounts = AMOUNTS.lock().expect("one thread");
                if !amounts.insert(amount.to_bits()) {
                    continue;
                }
            }
            let twice = self.remembers == Where::Accumulate && seen.is_multiple_of(5);
            states.rows[group] += 1 + u64::from(twice);
            states.sum[group] += amount;
        }
        states
            .calls
            .iter_mut()
            .for_each(|calls| *calls += u64::from(self.remembers == Where::Batches));
        Ok(())
    }

    fn merge(&self, earlier: Page, later: Page) -> Page {
        Page {
            rows: earlier.rows + later.rows,
            sum: earlier.sum + later.sum,
            calls: earlier.calls + later.calls,
        }
    }

    fn finish(&self, _key: (), page: &Page, _bounds: Bounds) -> Total {
        let finished = FINISHED.fetch_add(1, Ordering::Relaxed) + 1;
        let more = self.remembers == Where::Finish && finished.is_multiple_of(3);
        Total {
            rows: page.rows + u64::from(more),
            sum: page.sum + page.calls as f64,
        }
    }
}

export_window!(columnar T);
