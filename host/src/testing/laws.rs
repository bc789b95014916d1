//! The laws of `merge`, over the states that arise from the events.
//!
//! For the entities of recorded calls of `accumulate`, with `acc` for adding rows:
//!
//! 1. *splitting*: `merge(acc(first rows), acc(the others))` finishes as `acc(all rows)` does, cut
//!    after a quarter, a half and three quarters of a group's rows;
//! 2. *associativity*: of three parts it does not matter which two are merged first;
//! 3. *neutrality*: merging with the initial state, on either side, changes nothing.
//!
//! What `finish` gives is compared, within the tolerances of the columns. Parts are cut in the order
//! of the rows, whatever the windows are (`joined`). Groups of which a part rejects other rows than the
//! whole are left out.

mod asked;

use serde_json::json;

use self::asked::Laws;
use super::lab::Lab;
use super::trial::{Cut, Trial};
use super::windows::Windows;
use super::{Check, TestError, Tolerances, purity, table};
use crate::pipeline::Host;
use crate::transform::CallError;

/// The first law that was found broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    law: &'static str,
    entity: String,
    window: String,
    shows: String,
}

/// How checking ended, if before its end.
enum Ended {
    Violated(Violation),
    /// `merge` fails, whatever it is given.
    Unsupported(CallError),
}

/// Checks the laws over a run of its own.
///
/// # Errors
///
/// The run fails.
pub(super) fn check(
    host: &Host,
    trial: &Trial<'_>,
    rows: u64,
    tolerances: &Tolerances,
) -> Result<Check, TestError> {
    // Two calls and more for an entity with many rows, so that states also come with a past.
    let cut = Cut {
        batch_rows: Some((rows / 2 + 1).clamp(1, 65_536) as usize),
        lanes: Some(1),
    };
    let Some(recorded) = purity::record(trial, cut)?.windows else {
        return Ok(nothing_to_merge());
    };
    let mut lab = Lab::new(host, &recorded.opener);
    let mut laws = Laws {
        initial: lab.initial()?,
        windows: Windows::of(&recorded.calls)?,
        lab,
        names: recorded.names,
        tolerances,
        counts: Counts::default(),
        merged_before: false,
    };
    let ended = laws.check_all(&recorded.calls, cut.batch_rows.unwrap_or(1))?;
    let counts = laws.counts;
    let (passed, summary, detail) = verdict(&ended, counts, recorded.merges);
    let violation = match ended {
        Some(Ended::Violated(v)) => {
            json!({"law": v.law, "entity": v.entity, "window": v.window, "shows": v.shows})
        }
        _ => serde_json::Value::Null,
    };
    Ok(Check {
        name: "laws",
        passed,
        summary,
        detail,
        data: json!({
            "groups": counts.groups,
            "groups_divided": counts.divided,
            "groups_left_out": counts.left_out,
            "violation": violation,
        }),
    })
}

/// The check of a pipeline without windows.
fn nothing_to_merge() -> Check {
    Check {
        name: "laws",
        passed: true,
        summary: "there are no windows, and so no states to merge".to_owned(),
        detail: String::new(),
        data: json!({"groups": 0, "groups_divided": 0, "groups_left_out": 0, "violation": null}),
    }
}

/// Whether it passed, what was found in a line, and what a person needs to see of it.
fn verdict(ended: &Option<Ended>, counts: Counts, needed: bool) -> (bool, String, String) {
    match ended {
        None if counts.divided == 0 => (
            true,
            "nothing is known of merge: no entity has two rows to divide; take more events"
                .to_owned(),
            String::new(),
        ),
        None => (
            true,
            format!(
                "merge keeps its laws for {}, {} of them divided",
                table::many(counts.groups, "group", "groups"),
                counts.divided
            ),
            String::new(),
        ),
        Some(Ended::Unsupported(error)) if !needed => (
            true,
            "merge is not supported, and windows of this kind do not need it".to_owned(),
            error.to_string(),
        ),
        Some(Ended::Unsupported(error)) => (
            false,
            "merge is not supported, and windows of this kind need it".to_owned(),
            error.to_string(),
        ),
        Some(Ended::Violated(violation)) => (
            false,
            format!("merge breaks its law of {}", violation.law),
            format!(
                "entity {}, window {}\n  {}",
                violation.entity, violation.window, violation.shows
            ),
        ),
    }
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    groups: usize,
    /// Those with two parts that both have rows.
    divided: usize,
    /// Those of which a part rejected other rows than the whole.
    left_out: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_that_is_not_supported_fails_only_where_it_is_needed() {
        let unsupported = Some(Ended::Unsupported(CallError::Trap {
            call: "merge",
            reason: "not supported".into(),
        }));
        let counts = Counts {
            groups: 3,
            divided: 1,
            left_out: 0,
        };
        let (passed, summary, detail) = verdict(&unsupported, counts, false);
        assert!(passed && summary.contains("do not need it"), "{summary}");
        assert!(detail.contains("not supported"), "{detail}");
        let (passed, summary, _) = verdict(&unsupported, counts, true);
        assert!(!passed && summary.contains("need it"), "{summary}");
        let (passed, summary, _) = verdict(&None, counts, true);
        assert!(passed && summary.contains("keeps its laws for 3 groups, 1 of them divided"));
        let (_, summary, _) = verdict(&None, Counts::default(), true);
        assert!(!summary.contains("keeps its laws"), "{summary}");
    }
}
