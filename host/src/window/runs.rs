//! Where the rows of states live: in the very batches that came back from the transform.
//!
//! A run is such a batch, a row for a state. Each state has a slot, and the slot points at one
//! row of one run; an update adds a run and leaves dead rows behind in older ones. Runs without
//! live rows are dropped at once; when there are too many runs, or too many dead rows, the live
//! ones are gathered into one. So nothing is ever written in place, whatever the columns' types,
//! and the cost of gathering stays in proportion to the rows that were updated.

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::error::ArrowError;

use crate::transform::bytes_of;

/// More runs than this are merged: the smallest three quarters into one.
const MOST_RUNS: usize = 128;
/// Dead rows that are put up with, whatever the number of live ones.
const SPARE_ROWS: usize = 1 << 16;
/// Bytes of dead rows that are put up with, whatever those of live ones.
const SPARE_BYTES: usize = 32 << 20;

/// Where a group's row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    run: u32,
    row: u32,
}

impl Place {
    /// A group that has no row yet.
    pub(super) const NONE: Self = Self {
        run: u32::MAX,
        row: u32::MAX,
    };
}

struct Run {
    columns: Vec<ArrayRef>,
    /// The slot of each row's group; the row is live if that slot's place says so.
    slots: Vec<u32>,
    live: usize,
    bytes: usize,
}

impl Run {
    /// What the live rows take, if all rows take about the same.
    fn live_bytes(&self) -> usize {
        (self.bytes as u128 * self.live as u128 / self.slots.len() as u128) as usize
    }
}

/// The runs of a lane.
#[derive(Default)]
pub(super) struct Runs {
    runs: Vec<Option<Run>>,
    live_rows: usize,
    rows: usize,
    count: usize,
}

impl Runs {
    /// The rows of `slots`, column by column. Slots without a row take the one row of `fresh`.
    pub(super) fn gather(
        &self,
        places: &[Place],
        slots: &[u32],
        fresh: &[ArrayRef],
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        const ABSENT: usize = usize::MAX;
        // Only the runs that are needed take part, the fresh rows first.
        let mut source_of_run = vec![ABSENT; self.runs.len()];
        let mut sources: Vec<&Run> = Vec::new();
        let mut indices = Vec::with_capacity(slots.len());
        for slot in slots {
            let place = places[*slot as usize];
            if place == Place::NONE {
                indices.push((0, 0));
                continue;
            }
            let source = &mut source_of_run[place.run as usize];
            if *source == ABSENT {
                let run = self.runs[place.run as usize].as_ref();
                sources.push(run.expect("a place points into a run that has live rows"));
                *source = sources.len();
            }
            indices.push((*source, place.row as usize));
        }
        let mut arrays: Vec<&dyn Array> = Vec::with_capacity(sources.len() + 1);
        fresh
            .iter()
            .enumerate()
            .map(|(column, fresh)| {
                arrays.clear();
                arrays.push(fresh);
                arrays.extend(sources.iter().map(|run| run.columns[column].as_ref()));
                interleave(&arrays, &indices)
            })
            .collect()
    }

    /// Adds a run whose rows are now those of `slots`.
    pub(super) fn put(
        &mut self,
        places: &mut [Place],
        slots: Vec<u32>,
        columns: Vec<ArrayRef>,
    ) -> Result<(), ArrowError> {
        if slots.is_empty() {
            return Ok(());
        }
        self.add(places, slots, columns);
        if self.count > MOST_RUNS {
            let mut sizes: Vec<usize> = self.runs.iter().flatten().map(|run| run.live).collect();
            sizes.sort_unstable();
            let largest = sizes[sizes.len() * 3 / 4];
            self.merge(places, |run| run.live <= largest)?;
        }
        if self.rows > 2 * self.live_rows + SPARE_ROWS || self.has_too_many_bytes() {
            self.merge(places, |_| true)?;
        }
        Ok(())
    }

    fn has_too_many_bytes(&self) -> bool {
        let runs = || self.runs.iter().flatten();
        let bytes: usize = runs().map(|run| run.bytes).sum();
        // Most lanes never have so many, and which of them are live takes a division a run.
        bytes > SPARE_BYTES && bytes > 2 * runs().map(Run::live_bytes).sum::<usize>() + SPARE_BYTES
    }

    /// The row of a group is no longer wanted.
    pub(super) fn forget(&mut self, place: &mut Place) {
        if *place == Place::NONE {
            return;
        }
        let entry = &mut self.runs[place.run as usize];
        let run = entry.as_mut().expect("a place points into a live run");
        run.live -= 1;
        self.live_rows -= 1;
        if run.live == 0 {
            self.rows -= run.slots.len();
            self.count -= 1;
            *entry = None;
        }
        *place = Place::NONE;
    }

    fn add(&mut self, places: &mut [Place], slots: Vec<u32>, columns: Vec<ArrayRef>) {
        let free = self.runs.iter().position(Option::is_none);
        let run = free.unwrap_or_else(|| {
            self.runs.push(None);
            self.runs.len() - 1
        });
        for (row, slot) in slots.iter().enumerate() {
            let place = &mut places[*slot as usize];
            self.forget(place);
            *place = Place {
                run: run as u32,
                row: row as u32,
            };
        }
        self.rows += slots.len();
        self.live_rows += slots.len();
        self.count += 1;
        self.runs[run] = Some(Run {
            live: slots.len(),
            bytes: bytes_of(&columns),
            slots,
            columns,
        });
    }

    /// Gathers the live rows of the chosen runs into one new run.
    fn merge(
        &mut self,
        places: &mut [Place],
        chosen: impl Fn(&Run) -> bool,
    ) -> Result<(), ArrowError> {
        let mut slots = Vec::new();
        let mut indices = Vec::new();
        let mut sources = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            let Some(run) = run.as_ref().filter(|run| chosen(run)) else {
                continue;
            };
            for (row, slot) in run.slots.iter().enumerate() {
                let place = Place {
                    run: at as u32,
                    row: row as u32,
                };
                if places[*slot as usize] == place {
                    slots.push(*slot);
                    indices.push((sources.len(), row));
                }
            }
            sources.push(run);
        }
        let Some(first) = sources.first() else {
            return Ok(());
        };
        let columns = (0..first.columns.len())
            .map(|column| {
                let arrays: Vec<&dyn Array> = sources
                    .iter()
                    .map(|run| run.columns[column].as_ref())
                    .collect();
                interleave(&arrays, &indices)
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.add(places, slots, columns);
        Ok(())
    }
}
