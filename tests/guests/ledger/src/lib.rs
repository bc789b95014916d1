//! A transform whose output betrays everything: a row that is missing, doubled or out of order,
//! a sum that was added up in another order, a state that was lost or mixed up.

use penstock_sdk::prelude::*;

/// A row; every column may be null.
#[derive(Row)]
pub struct Entry<'a> {
    amount: Option<f64>,
    note: Option<&'a str>,
}

/// What is remembered.
#[derive(State, Clone, Default)]
pub struct Page {
    rows: u64,
    sum: f64,
    last_note: Option<String>,
    notes: Vec<Option<String>>,
    digest: u64,
}

/// What comes out: all that is remembered, but only the last few notes.
#[derive(Output)]
pub struct Total {
    rows: u64,
    sum: f64,
    last_note: Option<String>,
    notes: Vec<Option<String>>,
    digest: u64,
}

/// The transform.
#[derive(Default)]
pub struct Ledger;

/// How many notes are kept.
const NOTES: usize = 3;

impl Window for Ledger {
    type Row<'a> = Entry<'a>;
    type State = Page;
    type Output = Total;

    fn accumulate(&self, page: &mut Page, entry: Entry<'_>) -> Result<(), Reject> {
        page.rows += 1;
        page.digest = page.digest.wrapping_mul(31).wrapping_add(1);
        if let Some(amount) = entry.amount {
            page.sum += amount;
            page.digest = page.digest.wrapping_mul(31).wrapping_add(amount.to_bits());
            // Refused only after the state was touched: the SDK has to undo that.
            if amount < 0.0 {
                return Err(Reject::new("negative", format!("an amount of {amount}")));
            }
        }
        let note = entry.note.map(str::to_owned);
        if note.is_some() {
            page.last_note.clone_from(&note);
        }
        page.notes.push(note);
        if page.notes.len() > NOTES {
            page.notes.remove(0);
        }
        Ok(())
    }

    fn merge(&self, earlier: Page, later: Page) -> Page {
        let mut notes = earlier.notes;
        notes.extend(later.notes);
        notes.drain(..notes.len().saturating_sub(NOTES));
        Page {
            rows: earlier.rows + later.rows,
            sum: earlier.sum + later.sum,
            last_note: later.last_note.or(earlier.last_note),
            notes,
            digest: earlier.digest ^ later.digest,
        }
    }

    fn finish(&self, page: &Page, _bounds: Bounds) -> Total {
        Total {
            rows: page.rows,
            sum: page.sum,
            last_note: page.last_note.clone(),
            notes: page.notes.clone(),
            digest: page.digest,
        }
    }
}

export_window!(Ledger);
