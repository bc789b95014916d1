//! What windows tell of a stream, be they the real ones or an oracle's, and how the two compare.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::Moment;
use super::stream::{Row, Stream};
use super::traced::{Output, State};

/// A row that was emitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Emitted {
    /// When; the window's end where windows are emitted once.
    pub(super) moment: Moment,
    pub(super) key: i64,
    pub(super) bounds: (i64, i64),
    /// The revision, and whether the row is withdrawn, where windows may be emitted again.
    pub(super) revision: Option<(u32, bool)>,
    pub(super) length: usize,
    pub(super) output: Option<Output>,
}

impl Emitted {
    /// Its place in the order that does not depend on cuts and lanes.
    pub(super) fn place(&self) -> impl Copy + Ord + use<> {
        let (start, end) = self.bounds;
        (self.moment, end, Reverse(start), self.length, self.key)
    }
}

/// What became of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    pub(super) emitted: Vec<Emitted>,
    pub(super) applied: u64,
    pub(super) partly_late: u64,
    /// Sequence, end of the last window, watermark.
    pub(super) late: Vec<(u64, i64, i64)>,
    /// Sequence and code.
    pub(super) rejected: Vec<(u64, String)>,
    pub(super) closed: u64,
}

impl Told {
    pub(super) fn late(&mut self, row: &Row, window_end: i64) {
        self.late.push((row.item.id, window_end, row.watermark));
    }

    pub(super) fn reject(&mut self, row: &Row, code: &str) {
        self.rejected.push((row.item.id, code.to_owned()));
    }

    /// A window is emitted with a state; `stands` tells whether a row of it with these bounds does.
    /// If so, and it gives no row now, that row is withdrawn. Says whether a row stands after that.
    pub(super) fn emit(&mut self, window: Emitted, state: &State, odd: bool, stands: bool) -> bool {
        let outputs = state.finish(window.bounds, odd);
        let gives_rows = !outputs.is_empty();
        if stands && !gives_rows {
            self.withdraw(window);
            return false;
        }
        self.emitted
            .extend(outputs.into_iter().map(|output| Emitted {
                output: Some(output),
                ..window.clone()
            }));
        gives_rows
    }

    /// The row of a window is taken back.
    pub(super) fn withdraw(&mut self, window: Emitted) {
        let (revision, _) = window
            .revision
            .expect("only what has revisions is withdrawn");
        self.emitted.push(Emitted {
            revision: Some((revision, true)),
            output: None,
            ..window
        });
    }

    /// Puts everything into the order that does not depend on cuts and lanes.
    pub(super) fn sort(&mut self) {
        self.emitted.sort_by_key(Emitted::place);
        self.late.sort_unstable();
        self.rejected.sort_unstable();
    }

    /// How another run differs, to the bit.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        self.compare(other, |one, two| one.to_bits() == two.to_bits())
    }

    /// How a run differs from this, which is an oracle's: sums may by as much as adding in another
    /// order may change them.
    pub(super) fn difference_of_run(&self, run: &Self, stream: &Stream) -> Option<String> {
        let (mut told, mut run) = (self.clone(), run.clone());
        told.sort();
        run.sort();
        let amounts = stream.rows.iter().map(|row| row.item.amount.abs());
        let tolerance = 1e-9 * amounts.sum::<f64>();
        told.compare(&run, |one, two| (one - two).abs() <= tolerance)
    }

    fn compare(&self, other: &Self, same_sum: impl Fn(f64, f64) -> bool) -> Option<String> {
        let without_sum = |row: &Emitted| {
            let mut row = row.clone();
            let sum = row
                .output
                .as_mut()
                .map(|output| std::mem::take(&mut output.state.sum));
            (row, sum)
        };
        for at in 0..self.emitted.len().max(other.emitted.len()) {
            let (one, two) = (self.emitted.get(at), other.emitted.get(at));
            let same = match (one.map(without_sum), two.map(without_sum)) {
                (Some((one, Some(sum))), Some((two, Some(other)))) => {
                    one == two && same_sum(sum, other)
                }
                (one, two) => one == two,
            };
            if !same {
                return Some(format!("emitted row {at}:\n  {one:?}\n  {two:?}"));
            }
        }
        let rest = |told: &Self| Self {
            emitted: Vec::new(),
            ..told.clone()
        };
        let (one, two) = (rest(self), rest(other));
        (one != two).then(|| format!("what became of rows:\n  {one:?}\n  {two:?}"))
    }

    /// The rows that hold in the end if they are taken as they come, each as if it were emitted
    /// once, when its window ends; and what became of the stream's rows.
    pub(super) fn final_values(&self) -> Self {
        let mut rows = BTreeMap::new();
        for row in &self.emitted {
            let at = (row.length, row.key, row.bounds);
            match row.output {
                Some(_) => rows.insert(at, row.clone()),
                None => rows.remove(&at),
            };
        }
        let emitted = rows.into_values().map(|row| Emitted {
            moment: Moment {
                watermark: row.bounds.1,
                sequence: 0,
            },
            revision: None,
            ..row
        });
        Self {
            emitted: emitted.collect(),
            ..self.clone()
        }
    }
}
