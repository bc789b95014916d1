//! Differences as people read them: a table of the first ones, and the input rows behind them.

use serde_json::{Value, json};

use super::compare::{Comparison, RowId, json_value};
use super::evidence::Evidence;
use crate::text::instant;

/// Longer cells are cut.
const MOST_CHARACTERS: usize = 60;
/// Longer input rows are cut.
const MOST_OF_A_ROW: usize = 200;

/// The words at the head of the two columns of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides(pub(super) &'static str, pub(super) &'static str);

/// What was expected, and what came.
pub(super) const EXPECTED_GOT: Sides = Sides("expected", "got");

/// An entity as people name it: `driver 42`, or `city "a", rider 7`.
pub(super) fn entity(columns: &[(String, String)]) -> String {
    let columns = columns
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    columns.collect::<Vec<_>>().join(", ")
}

/// The bounds of a window, as far as it has any.
pub(super) fn window(bounds: (Option<i64>, Option<i64>)) -> String {
    match bounds {
        (None, None) => "all time".to_owned(),
        (start, end) => {
            let text = |bound: Option<i64>| bound.map_or_else(|| "…".to_owned(), instant);
            format!("{} to {}", text(start), text(end))
        }
    }
}

fn window_of(id: &RowId) -> String {
    let mut text = window(id.window);
    for (name, value) in &id.others {
        text.push_str(&format!(", {name} {value}"));
    }
    text
}

/// A feature by its name, and by its column where that is called otherwise.
fn feature_of(found: Option<(&str, Option<&str>)>) -> String {
    match found {
        None => "(row)".to_owned(),
        Some((column, Some(name))) if name != column => format!("{name} ({column})"),
        Some((column, _)) => column.to_owned(),
    }
}

/// A text, or as many characters of its beginning and an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(most - 1).collect();
    shown.push('…');
    shown
}

/// A number of things, in words: `1 row`, `2 rows`.
pub(super) fn many(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// One line that counts what differs.
pub(super) fn summary(comparison: &Comparison, sides: Sides) -> String {
    let (values, missing, extra) = comparison.counts();
    let rows = |count: usize| many(count, "row", "rows");
    if comparison.is_same() {
        let verb = if comparison.matched == 1 { "is" } else { "are" };
        return format!("{} {verb} the same", rows(comparison.matched));
    }
    let mut parts = Vec::new();
    if values > 0 {
        parts.push(many(values, "value differs", "values differ"));
    }
    if missing > 0 {
        parts.push(format!("{} only in {}", rows(missing), sides.0));
    }
    if extra > 0 {
        parts.push(format!("{} only in {}", rows(extra), sides.1));
    }
    if !comparison.lacking.is_empty() {
        let lacking = comparison.lacking.join(", ");
        parts.push(format!("{} has no column {lacking}", sides.0));
    }
    format!("{}; {} in both", parts.join(", "), rows(comparison.matched))
}

/// The first differences, at most `most`, with the input rows behind them.
pub(super) fn render(
    comparison: &Comparison,
    sides: Sides,
    most: usize,
    evidence: &Evidence,
) -> String {
    if comparison.differences.is_empty() || most == 0 {
        return String::new();
    }
    let mut rows = vec![["entity", "window", "feature", sides.0, sides.1].map(str::to_owned)];
    let shown = &comparison.differences[..most.min(comparison.differences.len())];
    let ids: Vec<RowId> = shown.iter().map(|one| comparison.id_of(one)).collect();
    for (difference, id) in shown.iter().zip(&ids) {
        let (expected, got) = comparison.texts_of(difference);
        rows.push([
            cut(&entity(&id.entity), MOST_CHARACTERS),
            window_of(id),
            feature_of(comparison.feature_of(difference)),
            cut(&expected, MOST_CHARACTERS),
            cut(&got, MOST_CHARACTERS),
        ]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        // Once for all differences of a row, beneath the last of them.
        let of_next = at < shown.len() && at > 0 && ids[at - 1] == ids[at];
        if at > 0 && !of_next {
            for line in evidence.lines_of(&ids[at - 1]) {
                text.push_str(&format!("    {}\n", cut(&line, MOST_OF_A_ROW)));
            }
        }
    }
    let left = comparison.differences.len() - shown.len();
    if left > 0 {
        text.push_str(&format!("… and {left} more; --show N shows more of them\n"));
    }
    text
}

/// The first differences for programs.
pub(super) fn to_json(
    comparison: &Comparison,
    sides: Sides,
    most: usize,
    evidence: &Evidence,
) -> Value {
    let shown = comparison.differences.iter().take(most);
    let shown = shown.map(|difference| {
        let id = comparison.id_of(difference);
        let feature = comparison.feature_of(difference);
        let (expected, got) = comparison.values_of(difference);
        let named = |columns: &[(String, String)]| -> Value {
            let columns = columns.iter();
            let columns = columns.map(|(name, text)| (name.clone(), json_value(text)));
            Value::Object(columns.collect())
        };
        let mut one = json!({
            "entity": named(&id.entity),
            "window_start": id.window.0.map(instant),
            "window_end": id.window.1.map(instant),
            "feature": feature.and_then(|(_, name)| name),
            "column": feature.map(|(column, _)| column),
            "input": evidence.lines_of(&id),
        });
        one[sides.0] = expected;
        one[sides.1] = got;
        if !id.others.is_empty() {
            one["row"] = named(&id.others);
        }
        one
    });
    let shown: Vec<Value> = shown.collect();
    let (values, missing, extra) = comparison.counts();
    json!({
        "rows_in_both": comparison.matched,
        "values_that_differ": values,
        "rows_missing": missing,
        "rows_not_expected": extra,
        "columns_lacking": comparison.lacking,
        "differences": shown,
    })
}
