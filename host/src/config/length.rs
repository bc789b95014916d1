//! Lengths of windows, as features name them: `window = "1h"`, and `{window}` in a template.
//!
//! A pipeline with several lengths computes every column of the transform once for each. So a
//! `[[feature]]` says which length it is about, or stands as a template for one feature a length.

use super::diagnostic::Located;
use super::suggest;
use super::table::{Findings, Node};

/// What stands for the length in a template.
const PLACE: &str = "{window}";

/// A length of a pipeline's windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Length {
    /// Microseconds.
    pub(super) micros: i64,
    /// As the file writes it, without spaces: `10m`.
    pub(super) text: String,
}

impl Length {
    pub(super) fn new(micros: i64, text: &str) -> Self {
        Length {
            micros,
            text: text.split_whitespace().collect(),
        }
    }

    /// Puts this length into a template; a text without a place for it stays as it is.
    pub(super) fn fill(&self, template: &str) -> String {
        template.replace(PLACE, &self.text)
    }
}

/// The column that a template of a feature's name means, if nothing else is said: the name without
/// the length.
pub(super) fn column_of(name: &str) -> String {
    name.replace(&format!("_{PLACE}"), "").replace(PLACE, "")
}

/// The lengths that a feature is about, of those that its pipeline has: the one it names, all for a
/// template, the only one otherwise. `window` is its key of this name.
pub(super) fn lengths_of(
    window: Option<&Node<'_>>,
    name: &Located<String>,
    lengths: &[Length],
    findings: &Findings,
) -> Option<Vec<Length>> {
    if let Some(node) = window {
        return chosen(node, lengths).map(|length| vec![length]);
    }
    if lengths.len() == 1 || name.contains(PLACE) {
        return Some(lengths.to_vec());
    }
    let message = format!(
        "feature `{}` does not say which of the windows it is about: {}",
        name.value,
        listed(lengths)
    );
    let example = lengths.first().map_or("", |length| &length.text);
    let hint = format!(
        "add `window = \"{example}\"` to declare it for that one,\n\
         or put `{PLACE}` into its name, as in \"{}_{PLACE}\", to declare it for each",
        name.value
    );
    findings.report(name.span, message, hint);
    None
}

fn chosen(node: &Node<'_>, lengths: &[Length]) -> Option<Length> {
    let micros = node.positive_duration("\"1h\"")?.value;
    let found = lengths.iter().find(|length| length.micros == micros);
    if found.is_none() {
        let hint = format!("the pipeline has: {}", listed(lengths));
        node.report("is not a length of this pipeline's windows", hint);
    }
    found.cloned()
}

fn listed(lengths: &[Length]) -> String {
    suggest::listed(lengths.iter().map(|length| length.text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_and_name_their_column() {
        let length = Length::new(3_600_000_000, " 1h 0m");
        assert_eq!(length.text, "1h0m");
        assert_eq!(length.fill("rides_{window}"), "rides_1h0m");
        assert_eq!(length.fill("rides"), "rides");
        assert_eq!(column_of("rides_{window}"), "rides");
        assert_eq!(column_of("rides{window}_late"), "rides_late");
        assert_eq!(column_of("mean_{window}_of_{window}"), "mean_of");
        assert_eq!(column_of("rides"), "rides");
    }
}
