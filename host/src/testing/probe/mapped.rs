//! Calls of a mapper, made again whole and in two, and the first row that betrays it.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{ArrayRef, make_comparator};
use arrow::compute::SortOptions;

use super::rows::input_row;
use super::{Culprit, WHOSE, chosen, failed};
use crate::sandbox::MapperInstance;
use crate::source::record_text;
use crate::testing::TestError;
use crate::testing::lab::Fresh;
use crate::testing::recorder::{MapCall, Recording};
use crate::transform::{CallError, Mapped, Mapper};

const HIDDEN_STATE: &str = "the mapper remembers something between calls: an instance that had been called before answers otherwise than a fresh one";
const EYE_FOR_CALLS: &str =
    "the mapper has an eye for calls: its rows depend on where its input is cut";

const CUT: [&str; 2] = ["in one call", "in two"];
const PAST: [&str; 2] = [
    "from an instance that had been called before",
    "from a fresh instance",
];

type Instance<'a> = Fresh<'a, MapperInstance>;

/// Checks recorded calls of a mapper that wants the columns `names`; gives how many were, and the
/// first that betrays it.
pub(in crate::testing) fn check(
    recording: &Recording<MapCall>,
    instance: &mut Instance<'_>,
    names: &[String],
) -> Result<(usize, Option<Culprit>), TestError> {
    let mut checked = 0;
    for (_, call) in chosen(&recording.calls) {
        checked += 1;
        let culprit = again(call, instance, names)?;
        if culprit.is_some() {
            return Ok((checked, culprit));
        }
    }
    Ok((checked, None))
}

fn map(
    call: &MapCall,
    rows: Range<usize>,
    instance: &mut Instance<'_>,
) -> Result<Result<Mapped, CallError>, TestError> {
    let columns = call.columns.iter();
    let columns: Vec<ArrayRef> = columns
        .map(|column| column.slice(rows.start, rows.len()))
        .collect();
    instance.ask(async |mapper: &mut MapperInstance| mapper.map(&columns, rows.len()).await)
}

fn again(
    call: &MapCall,
    instance: &mut Instance<'_>,
    names: &[String],
) -> Result<Option<Culprit>, TestError> {
    let all = 0..call.rows;
    instance.renew();
    let whole = match map(call, all.clone(), instance)? {
        Ok(whole) => whole,
        Err(error) => return Ok(Some(fails(&error))),
    };
    let compared = Compared { call, names };
    let found = compared.find(all, (&call.mapped, 0), (&whole, 0), HIDDEN_STATE, WHOSE)?;
    if found.is_some() {
        return Ok(found);
    }
    let mut cuts = vec![1, call.rows / 2, call.rows.saturating_sub(1)];
    cuts.retain(|cut| (1..call.rows).contains(cut));
    cuts.dedup();
    for cut in cuts {
        let found = compared.in_two_calls(cut, &whole, instance)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn fails(error: &CallError) -> Culprit {
    Culprit {
        what: HIDDEN_STATE,
        ..failed("map", error)
    }
}

/// A call whose answers are compared.
struct Compared<'a> {
    call: &'a MapCall,
    names: &'a [String],
}

impl Compared<'_> {
    fn in_two_calls(
        &self,
        cut: usize,
        whole: &Mapped,
        instance: &mut Instance<'_>,
    ) -> Result<Option<Culprit>, TestError> {
        let rest = cut..self.call.rows;
        instance.renew();
        let first = map(self.call, 0..cut, instance)?;
        let on_same = map(self.call, rest.clone(), instance)?;
        instance.renew();
        let on_fresh = map(self.call, rest.clone(), instance)?;
        let (first, on_same, on_fresh) = match (first, on_same, on_fresh) {
            (Ok(first), Ok(on_same), Ok(on_fresh)) => (first, on_same, on_fresh),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                return Ok(Some(fails(&error)));
            }
        };
        let (on_same, on_fresh) = ((&on_same, cut), (&on_fresh, cut));
        let found = self.find(rest.clone(), on_same, on_fresh, HIDDEN_STATE, PAST)?;
        if found.is_some() {
            return Ok(found);
        }
        let found = self.find(0..cut, (whole, 0), (&first, 0), EYE_FOR_CALLS, CUT)?;
        if found.is_some() {
            return Ok(found);
        }
        self.find(rest, (whole, 0), on_fresh, EYE_FOR_CALLS, CUT)
    }

    /// The first of the call's `rows` of which two answers say something else. With each answer goes
    /// the row that it begins with.
    fn find(
        &self,
        rows: Range<usize>,
        one: (&Mapped, usize),
        other: (&Mapped, usize),
        what: &'static str,
        whose: [&str; 2],
    ) -> Result<Option<Culprit>, TestError> {
        let columns = one.0.output.columns().iter().zip(other.0.output.columns());
        let compare: Vec<_> = columns
            .map(|(one, other)| make_comparator(one, other, SortOptions::default()))
            .collect::<Result<_, _>>()?;
        for row in rows {
            let (a, b) = (row - one.1, row - other.1);
            let (made, others) = (made_of(one.0, a), made_of(other.0, b));
            let same = made.len() == others.len()
                && made.zip(others).all(|(made, other)| {
                    let mut columns = compare.iter();
                    columns.all(|compare| compare(made, other) == Ordering::Equal)
                })
                && reject_of(one.0, a) == reject_of(other.0, b);
            if !same {
                let record = input_row(self.names, &self.call.columns, row);
                return Ok(Some(Culprit {
                    what,
                    at: format!("map, input row {record}"),
                    shows: format!(
                        "the row {} {}, and {} {}",
                        fate(one.0, a),
                        whose[0],
                        fate(other.0, b),
                        whose[1]
                    ),
                }));
            }
        }
        Ok(None)
    }
}

/// The output rows that were made of a row.
fn made_of(mapped: &Mapped, row: usize) -> Range<usize> {
    let before = |least: usize| {
        let rows = &mapped.source_row;
        rows.partition_point(|of_row| (*of_row as usize) < least)
    };
    before(row)..before(row + 1)
}

/// Why a row was refused.
fn reject_of(mapped: &Mapped, row: usize) -> Option<(&str, &str)> {
    let mut rejects = mapped.rejects.iter();
    let reject = rejects.find(|reject| reject.row as usize == row)?;
    Some((&reject.code, &reject.detail))
}

/// What became of a row, in words.
fn fate(mapped: &Mapped, row: usize) -> String {
    if let Some((code, _)) = reject_of(mapped, row) {
        return format!("is rejected ({code})");
    }
    let made = made_of(mapped, row);
    if made.is_empty() {
        return "is filtered".to_owned();
    }
    let rows = made.map(|row| record_text(&mapped.output, row as u32));
    format!("becomes {}", rows.collect::<Vec<_>>().join(" and "))
}
