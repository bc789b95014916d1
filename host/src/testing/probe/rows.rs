//! Calls of `accumulate`, made again whole and in two, and the first row that betrays the transform.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Fields, Schema};

use super::{Culprit, HIDDEN_STATE, Labs, NO_FOLD, Names, WHOSE, entity, failed};
use super::{first_difference, two};
use crate::source::record_text;
use crate::testing::TestError;
use crate::testing::lab::{Added, Lab, applied};
use crate::testing::recorder::{Accumulated, Call};
use crate::transform::{CallError, Reject};

/// Rows of a call that are tried one by one.
const MOST_ROWS: usize = 4096;

const PAST: [&str; 2] = [
    "from an instance that had been called before",
    "from a fresh instance",
];
const CUT: [&str; 2] = ["in one call", "in two"];

/// Makes a call again. `before` are those before it.
pub(super) fn again(
    before: &[Call],
    call: &Accumulated,
    labs: &mut Labs<'_>,
    names: &Names,
) -> Result<Option<Culprit>, TestError> {
    labs.fresh.renew();
    let again = match labs.fresh.accumulate(call)? {
        Ok(again) => again,
        Err(error) => return Ok(Some(failed("accumulate", &error))),
    };
    let full = |updated| applied(&call.states, &call.group_of_row, call.len, updated);
    let as_it_was = (full(&call.updated)?, call.updated.rejects.clone());
    let again = (full(&again)?, again.rejects);
    let compared = Compared { call, names };
    if let Some(found) = compared.find(&as_it_was, &again, None, HIDDEN_STATE, WHOSE)? {
        repeat(before, &mut labs.past)?;
        let rows = 0..call.group_of_row.len() as u32;
        let row = compared.first_row(rows, call.states.clone(), labs, WHOSE)?;
        return Ok(Some(row.unwrap_or(found)));
    }
    let rows = call.group_of_row.len() as u32;
    let mut cuts = vec![1, rows / 2, rows.saturating_sub(1)];
    cuts.retain(|cut| (1..rows).contains(cut));
    cuts.dedup();
    for cut in cuts {
        if let Some(culprit) = compared.in_two_calls(cut, &again, labs)? {
            return Ok(Some(culprit));
        }
    }
    Ok(None)
}

/// Gives an instance the past that the run's had.
fn repeat(calls: &[Call], past: &mut Lab<'_>) -> Result<(), TestError> {
    past.renew();
    for call in calls {
        let failed = match call {
            Call::Accumulate(call) => past.accumulate(call)?.err(),
            Call::Merge {
                keys,
                earlier,
                later,
                len,
                ..
            } => past.merge(keys, earlier, later, *len)?.err(),
            Call::Finish {
                keys,
                states,
                bounds,
                len,
                ..
            } => past.finish(keys, states, bounds, *len)?.err(),
        };
        // Its past is another then, and the row will not be found.
        if failed.is_some() {
            break;
        }
    }
    Ok(())
}

/// A call whose answers are compared.
struct Compared<'a> {
    call: &'a Accumulated,
    names: &'a Names,
}

impl Compared<'_> {
    /// Makes two calls of one, of which the first has `cut` rows.
    fn in_two_calls(
        &self,
        cut: u32,
        whole: &Added,
        labs: &mut Labs<'_>,
    ) -> Result<Option<Culprit>, TestError> {
        let rows = self.call.group_of_row.len() as u32;
        labs.past.renew();
        let first = match labs
            .past
            .add(self.call, (0..cut).collect(), &self.call.states)?
        {
            Ok(first) => first,
            Err(error) => return Ok(Some(fails_in_part(&error))),
        };
        let second: Vec<u32> = (cut..rows).collect();
        labs.fresh.renew();
        let on_same = labs.past.add(self.call, second.clone(), &first.0)?;
        let (on_same, on_fresh) = match (on_same, labs.fresh.add(self.call, second, &first.0)?) {
            (Ok(on_same), Ok(on_fresh)) => (on_same, on_fresh),
            (Err(error), _) | (_, Err(error)) => return Ok(Some(fails_in_part(&error))),
        };
        // Whoever remembers the first rows answers otherwise than a fresh instance; that has to be
        // asked first, since two calls may differ from one for no other reason.
        if let Some(found) = self.find(&on_same, &on_fresh, None, HIDDEN_STATE, PAST)? {
            labs.past.renew();
            let row = self.first_row(0..rows, self.call.states.clone(), labs, PAST)?;
            return Ok(Some(row.unwrap_or(found)));
        }
        let both = (on_fresh.0, [first.1.clone(), on_fresh.1].concat());
        match self.find(whole, &both, None, NO_FOLD, CUT)? {
            Some(found) => {
                let least = self.least_rows(cut..rows, &first, &mut labs.fresh)?;
                Ok(Some(least.unwrap_or(found)))
            }
            None => Ok(None),
        }
    }

    /// The first row that an instance with a past adds otherwise than a fresh one, row by row.
    fn first_row(
        &self,
        rows: Range<u32>,
        mut states: Vec<ArrayRef>,
        labs: &mut Labs<'_>,
        whose: [&str; 2],
    ) -> Result<Option<Culprit>, TestError> {
        for row in rows.take(MOST_ROWS) {
            labs.fresh.renew();
            let past = labs.past.add(self.call, vec![row], &states)?;
            let fresh = labs.fresh.add(self.call, vec![row], &states)?;
            let (Ok(past), Ok(fresh)) = (past, fresh) else {
                return Ok(None);
            };
            let found = self.find(&past, &fresh, Some(row), HIDDEN_STATE, whose)?;
            if found.is_some() {
                return Ok(found);
            }
            states = past.0;
        }
        Ok(None)
    }

    /// The row at the end of as few rows as give something else in one call than in two, of which
    /// the first ends where `second` begins.
    fn least_rows(
        &self,
        second: Range<u32>,
        first: &Added,
        fresh: &mut Lab<'_>,
    ) -> Result<Option<Culprit>, TestError> {
        let (mut same, mut other) = (second.start, second.end);
        let mut least = None;
        while same < other {
            let middle = same + (other - same).div_ceil(2);
            fresh.renew();
            let one = fresh.add(self.call, (0..middle).collect(), &self.call.states)?;
            fresh.renew();
            let two = fresh.add(self.call, (second.start..middle).collect(), &first.0)?;
            let (Ok(one), Ok(two)) = (one, two) else {
                return Ok(None);
            };
            let two = (two.0, [first.1.clone(), two.1].concat());
            match self.find(&one, &two, Some(middle - 1), NO_FOLD, CUT)? {
                Some(found) => {
                    least = Some(found);
                    other = middle - 1;
                }
                None => same = middle,
            }
        }
        Ok(least)
    }

    /// The first difference of two answers: in what became of `row` if that is given, and else in
    /// anything, with the first row of its group.
    fn find(
        &self,
        one: &Added,
        other: &Added,
        row: Option<u32>,
        what: &'static str,
        whose: [&str; 2],
    ) -> Result<Option<Culprit>, TestError> {
        let of_row = row.map(|row| self.call.group_of_row[row as usize] as usize);
        let groups = of_row.into_iter().chain(0..self.call.len);
        if let Some((group, column)) = first_difference(&one.0, &other.0, groups)? {
            let mut of_rows = self.call.group_of_row.iter();
            let first = of_rows.position(|of_row| *of_row as usize == group);
            let row = row.map_or(first.unwrap_or(0), |row| row as usize);
            let name = format!("state `{}`", self.names.state.field(column).name());
            return Ok(Some(Culprit {
                what,
                at: self.place(row),
                shows: two(&name, &one.0[column], &other.0[column], group, whose),
            }));
        }
        Ok((one.1 != other.1).then(|| self.rejects_differ(&one.1, &other.1, what, whose)))
    }

    fn rejects_differ(
        &self,
        one: &[Reject],
        other: &[Reject],
        what: &'static str,
        whose: [&str; 2],
    ) -> Culprit {
        let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        let (one, other) = (one.get(same), other.get(same));
        let rows = [one, other].into_iter().flatten();
        let row = rows.map(|reject| reject.row).min();
        let text = |reject: Option<&Reject>| {
            let reject = reject.filter(|reject| Some(reject.row) == row);
            reject.map_or("applied".to_owned(), |reject| {
                format!("rejected ({})", reject.code)
            })
        };
        Culprit {
            what,
            at: self.place(row.unwrap_or(0) as usize),
            shows: format!(
                "the row is {} {}, and {} {}",
                text(one),
                whose[0],
                text(other),
                whose[1]
            ),
        }
    }

    fn place(&self, row: usize) -> String {
        let record = input_row(&self.names.input, &self.call.columns, row);
        let group = self.call.group_of_row[row] as usize;
        let entity = entity(&self.call.keys, group, self.names);
        format!("accumulate, entity {entity}, input row {record}")
    }
}

/// An input row of a call as JSON.
pub(super) fn input_row(names: &[String], columns: &[ArrayRef], row: usize) -> String {
    let fields = names.iter().zip(columns);
    let fields: Fields = fields
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec());
    rows.map_or_else(|_| "{}".to_owned(), |rows| record_text(&rows, row as u32))
}

fn fails_in_part(error: &CallError) -> Culprit {
    Culprit {
        what: NO_FOLD,
        ..failed("accumulate with some of the rows", error)
    }
}
