//! Where the rows of states live: in the very batches that came back from the transform.
//!
//! A run is such a batch, a row for a state. Each state has a slot, and the slot points at one
//! row of one run; an update adds a run and leaves dead rows behind in older ones. Runs without
//! live rows are dropped at once; when there are too many runs, or too many dead rows, the live
//! ones are gathered into few. So nothing is ever written in place, whatever the columns' types,
//! and the cost of gathering stays in proportion to the rows that were updated.
//!
//! A run that is gathered has a bounded number of bytes, because a column of strings or lists cannot
//! count beyond 2 GiB of them. One that has about so many is not gathered again to save runs.

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::error::ArrowError;

use crate::transform::bytes_of;

/// More small runs than this are merged: the smallest three quarters of them.
const MOST_RUNS: usize = 128;
/// Bytes of rows that are gathered into one run, about.
const RUN_BYTES: usize = 256 << 20;
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
pub(super) struct Runs {
    runs: Vec<Option<Run>>,
    live_rows: usize,
    rows: usize,
    count: usize,
    /// Bytes of a run that is gathered, about.
    run_bytes: usize,
    /// Bytes of dead rows that are put up with.
    spare_bytes: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Self::new(RUN_BYTES)
    }
}

impl Runs {
    fn new(run_bytes: usize) -> Self {
        Self {
            runs: Vec::new(),
            live_rows: 0,
            rows: 0,
            count: 0,
            run_bytes,
            spare_bytes: SPARE_BYTES,
        }
    }

    /// From now on runs that are gathered have about so many bytes, and no more of dead rows are
    /// put up with.
    pub(super) fn limit(&mut self, bytes: usize) {
        self.run_bytes = bytes;
        self.spare_bytes = bytes.min(SPARE_BYTES);
    }

    /// What the rows take, dead ones too.
    pub(super) fn bytes(&self) -> usize {
        let runs = self.runs.iter().flatten();
        let runs = runs.map(|run| run.bytes + size_of_val(&run.slots[..]));
        runs.sum()
    }

    /// Gathers anew what has many dead rows, after much was let go of at once.
    pub(super) fn tidy(&mut self, places: &mut [Place]) -> Result<(), ArrowError> {
        self.merge(places, |run| run.live * 4 < run.slots.len() * 3)
    }

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
            self.merge_small(places)?;
        }
        if self.rows > 2 * self.live_rows + SPARE_ROWS || self.has_too_many_bytes() {
            self.merge(places, |_| true)?;
        }
        Ok(())
    }

    /// Merges small runs, if there are too many of them.
    fn merge_small(&mut self, places: &mut [Place]) -> Result<(), ArrowError> {
        let is_small = |run: &Run, run_bytes: usize| run.live_bytes() < run_bytes / 2;
        let small = self.runs.iter().flatten();
        let small = small.filter(|run| is_small(run, self.run_bytes));
        let mut sizes: Vec<usize> = small.map(|run| run.live).collect();
        if sizes.len() <= MOST_RUNS {
            return Ok(());
        }
        sizes.sort_unstable();
        let largest = sizes[sizes.len() * 3 / 4];
        let run_bytes = self.run_bytes;
        self.merge(places, |run| {
            run.live <= largest && is_small(run, run_bytes)
        })
    }

    fn has_too_many_bytes(&self) -> bool {
        let runs = || self.runs.iter().flatten();
        let bytes: usize = runs().map(|run| run.bytes).sum();
        // Most lanes never have so many, and which of them are live takes a division a run.
        bytes > self.spare_bytes
            && bytes > 2 * runs().map(Run::live_bytes).sum::<usize>() + self.spare_bytes
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

    /// Gathers the live rows of the chosen runs into new ones.
    fn merge(
        &mut self,
        places: &mut [Place],
        chosen: impl Fn(&Run) -> bool,
    ) -> Result<(), ArrowError> {
        let mut parts = Vec::new();
        let (mut slots, mut bytes) = (Vec::new(), 0);
        for (at, run) in self.runs.iter().enumerate() {
            let Some(run) = run.as_ref().filter(|run| chosen(run)) else {
                continue;
            };
            let bytes_of_row = run.bytes.div_ceil(run.slots.len());
            for (row, slot) in run.slots.iter().enumerate() {
                let place = Place {
                    run: at as u32,
                    row: row as u32,
                };
                if places[*slot as usize] != place {
                    continue;
                }
                slots.push(*slot);
                bytes += bytes_of_row;
                if bytes >= self.run_bytes {
                    parts.push(std::mem::take(&mut slots));
                    bytes = 0;
                }
            }
        }
        parts.push(slots);
        // One after the other, so that the runs of which a part was the rest are gone before the
        // next one is gathered.
        for slots in parts {
            self.move_together(places, slots)?;
        }
        Ok(())
    }

    /// Gathers rows into one run, or into several if they turn out to be too large for that: the
    /// rows of a run need not be all alike.
    fn move_together(
        &mut self,
        places: &mut [Place],
        mut slots: Vec<u32>,
    ) -> Result<(), ArrowError> {
        let Some(first) = slots.first() else {
            return Ok(());
        };
        let run = self.runs[places[*first as usize].run as usize].as_ref();
        let columns = &run.expect("the row is live").columns;
        let nothing: Vec<ArrayRef> = columns.iter().map(|column| column.slice(0, 0)).collect();
        match self.gather(places, &slots, &nothing) {
            Err(ArrowError::OffsetOverflowError(_)) if slots.len() > 1 => {
                let rest = slots.split_off(slots.len() / 2);
                self.move_together(places, slots)?;
                self.move_together(places, rest)
            }
            columns => {
                self.add(places, slots, columns?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn column(texts: impl IntoIterator<Item = String>) -> Vec<ArrayRef> {
        vec![Arc::new(StringArray::from_iter_values(texts))]
    }

    proptest! {
        #[test]
        fn rows_are_what_a_plain_map_says(
            run_bytes in 1..2_000_usize,
            steps in prop::collection::vec(
                (prop::collection::btree_set(0..60_u32, 1..6), 0..90_usize, any::<bool>()), 0..400,
            ),
        ) {
            let mut runs = Runs::new(run_bytes);
            let (mut places, mut model) = ([Place::NONE; 60], BTreeMap::new());
            for (at, (slots, length, forgets)) in steps.into_iter().enumerate() {
                if forgets && at % 4 == 0 {
                    for slot in slots {
                        runs.forget(&mut places[slot as usize]);
                        model.remove(&slot);
                    }
                    continue;
                }
                let texts = slots.iter().map(|slot| format!("{slot} at {at}{}", "-".repeat(length)));
                let texts: Vec<String> = texts.collect();
                model.extend(slots.iter().copied().zip(texts.clone()));
                runs.put(&mut places, slots.into_iter().collect(), column(texts)).unwrap();
            }
            let all: Vec<u32> = (0..60).collect();
            let found = runs.gather(&places, &all, &column(["fresh".to_owned()])).unwrap();
            let found = found[0].as_string::<i32>();
            for (slot, found) in found.iter().enumerate() {
                let expected = model.get(&(slot as u32)).map_or("fresh", String::as_str);
                prop_assert_eq!(found, Some(expected));
            }
            prop_assert_eq!(runs.live_rows, model.len());
        }
    }

    #[test]
    fn runs_stay_below_their_bytes_and_large_ones_stay_where_they_are() {
        const ROW: usize = 104;
        const RUN: usize = 100 * ROW;
        let mut runs = Runs::new(RUN);
        let mut places = [Place::NONE; 50_000];
        let put = |runs: &mut Runs, places: &mut [Place], slots: std::ops::Range<u32>| {
            let texts = slots.clone().map(|slot| format!("{slot:0100}"));
            runs.put(places, slots.collect(), column(texts)).unwrap();
        };
        for first in (0..50_000).step_by(10) {
            put(&mut runs, &mut places, first..first + 10);
        }
        let all = || runs.runs.iter().flatten();
        assert!(
            all().all(|run| run.bytes <= RUN + ROW),
            "a run is too large"
        );
        let large = all().filter(|run| run.bytes > RUN / 2).count();
        assert!(large > 2 * MOST_RUNS, "{large} large runs");
        assert!(runs.count <= large + MOST_RUNS, "{} runs", runs.count);
        let values = |runs: &Runs| {
            let run = runs.runs[places[0].run as usize].as_ref().unwrap();
            run.columns[0].as_string::<i32>().value_data().as_ptr()
        };
        let before = values(&runs);
        let mut others = places;
        for slot in 49_000..50_000 {
            put(&mut runs, &mut others, slot..slot + 1);
        }
        assert_eq!(
            values(&runs),
            before,
            "a large run was gathered for small ones"
        );
    }
}
