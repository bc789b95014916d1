//! A transform whose merge breaks its laws, each in turn as its configuration says. Windows that
//! never merge do not notice.

use penstock_sdk::prelude::*;

/// A row.
#[derive(Row)]
pub struct Entry {
    amount: f64,
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
    mean: f64,
}

/// What merge does wrong.
#[derive(Default)]
enum Wrong {
    #[default]
    Nothing,
    Forgets,
    CountsTwice,
    CountsItself,
    Panics,
}

/// The transform.
#[derive(Default)]
pub struct WrongMerge {
    wrong: Wrong,
}

impl Window for WrongMerge {
    type Row<'a> = Entry;
    type State = Page;
    type Output = Total;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let wrongs = [
            ("forgets", Wrong::Forgets),
            ("counts_twice", Wrong::CountsTwice),
            ("counts_itself", Wrong::CountsItself),
            ("panics", Wrong::Panics),
        ];
        let asked = wrongs
            .into_iter()
            .find(|(name, _)| config.json().contains(name));
        Ok(Self {
            wrong: asked.map_or(Wrong::Nothing, |(_, wrong)| wrong),
        })
    }

    fn accumulate(&self, page: &mut Page, entry: Entry) -> Result<(), Reject> {
        page.rows += 1;
        page.sum += entry.amount;
        Ok(())
    }

    fn merge(&self, earlier: Page, later: Page) -> Page {
        let sum = earlier.sum + later.sum;
        let rows = match self.wrong {
            Wrong::Nothing => earlier.rows + later.rows,
            // Nobody sees it while the later part is empty.
            Wrong::Forgets if later.rows > 0 => later.rows,
            Wrong::Forgets => earlier.rows,
            // Right for two parts that both have rows, and wrong for a third one.
            Wrong::CountsTwice => earlier.rows + later.rows + earlier.rows.min(later.rows) / 3,
            Wrong::CountsItself => earlier.rows + later.rows + u64::from(later.rows == 0),
            Wrong::Panics => panic!("merge is not supported"),
        };
        Page { rows, sum }
    }

    fn finish(&self, page: &Page, _bounds: Bounds) -> Total {
        Total {
            rows: page.rows,
            sum: page.sum,
            mean: page.sum / page.rows as f64,
        }
    }
}

export_window!(WrongMerge);
