//! Compares the rows that were turned away, rejected or late, with those that were expected.
//!
//! Both are NDJSON as a run writes its rejects; of each line only `stage`, `code` and `line` (or
//! `row`) count, and the name of the `file`, without its folders, where it was expected. The order
//! does not matter.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::TestError;
use super::expected::read_text;
use super::table::many;
use super::trial::Outcome;

/// A row that was turned away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Refused {
    stage: String,
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<u64>,
}

/// Which were expected and did not come, and which came and were not expected.
#[derive(Debug, Default)]
pub(super) struct Turned {
    pub(super) same: usize,
    pub(super) missing: Vec<Refused>,
    pub(super) extra: Vec<Refused>,
}

impl Turned {
    pub(super) fn is_same(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    pub(super) fn summary(&self) -> String {
        let rows = |count| many(count, "rejected or late row", "rejected or late rows");
        match self.is_same() {
            true => format!("{} as expected", rows(self.same)),
            false => format!(
                "{} did not come, {} not expected; {} as expected",
                rows(self.missing.len()),
                rows(self.extra.len()),
                rows(self.same)
            ),
        }
    }

    /// The first of each, a line each.
    pub(super) fn render(&self, most: usize) -> String {
        let mut text = String::new();
        for (what, rows) in [("expected", &self.missing), ("got     ", &self.extra)] {
            for row in rows.iter().take(most) {
                text.push_str(&format!("{what}  {}\n", line(row)));
            }
            if rows.len() > most {
                text.push_str(&format!("… and {} more\n", rows.len() - most));
            }
        }
        text
    }

    pub(super) fn to_json(&self, most: usize) -> Value {
        json!({
            "same": self.same,
            "missing": self.missing.iter().take(most).collect::<Vec<_>>(),
            "not_expected": self.extra.iter().take(most).collect::<Vec<_>>(),
        })
    }
}

fn line(row: &Refused) -> String {
    serde_json::to_string(row).expect("texts and numbers are JSON")
}

/// The rows that a run turned away, in the order of its files.
pub(super) fn of(outcome: &Outcome) -> Vec<Refused> {
    let rows = outcome.refused().map(|line| {
        let mut row: Refused =
            serde_json::from_str(line).expect("the run wrote what a reject must have");
        row.file = row.file.as_deref().map(file_name);
        row
    });
    rows.collect()
}

/// As a file of expected rows.
pub(super) fn as_lines(rows: &[Refused]) -> String {
    rows.iter().map(|row| format!("{}\n", line(row))).collect()
}

/// Reads a file of expected rows.
pub(super) fn read(path: &Path) -> Result<Vec<Refused>, TestError> {
    let text = read_text(path)?;
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    let rows = lines.map(|(line, number)| {
        let row: Result<Refused, _> = serde_json::from_str(line);
        let mut row = row.map_err(|error| {
            let form = r#"{"stage":"decode","code":"wrong_type","line":7}"#;
            TestError::file(
                path,
                format!("line {number}: {error}; write it as in {form}"),
            )
        })?;
        row.file = row.file.as_deref().map(file_name);
        Ok(row)
    });
    rows.collect()
}

fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Compares them as bags: a row that is there twice must come twice.
pub(super) fn compare(expected: &[Refused], got: &[Refused]) -> Turned {
    let without_file = |row: &Refused| Refused {
        file: None,
        ..row.clone()
    };
    // By what they are, the files that they came from.
    let mut left: BTreeMap<Refused, Vec<&Refused>> = BTreeMap::new();
    for row in got.iter().rev() {
        left.entry(without_file(row)).or_default().push(row);
    }
    let mut turned = Turned::default();
    // Files are compared only where they were expected; rows without one take what is left over.
    let (named, anywhere): (Vec<_>, Vec<_>) = expected.iter().partition(|row| row.file.is_some());
    for row in named.into_iter().chain(anywhere) {
        let of_it = left.entry(without_file(row)).or_default();
        let place = match &row.file {
            None => of_it.len().checked_sub(1),
            file => of_it.iter().rposition(|other| other.file == *file),
        };
        match place {
            Some(place) => {
                of_it.remove(place);
                turned.same += 1;
            }
            None => turned.missing.push(row.clone()),
        }
    }
    for row in got {
        let of_it = left.entry(without_file(row)).or_default();
        if let Some(place) = of_it.iter().rposition(|other| *other == row) {
            of_it.remove(place);
            turned.extra.push(row.clone());
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(code: &str, file: Option<&str>, line: u64) -> Refused {
        Refused {
            stage: "decode".into(),
            code: code.into(),
            file: file.map(str::to_owned),
            line: Some(line),
            row: None,
        }
    }

    #[test]
    fn rows_are_compared_as_bags_and_files_only_where_expected() {
        let got = [
            row("a", Some("x"), 1),
            row("a", Some("y"), 1),
            row("b", Some("x"), 2),
        ];
        assert!(
            compare(
                &[row("b", None, 2), row("a", None, 1), row("a", Some("y"), 1)],
                &got
            )
            .is_same()
        );
        let turned = compare(&[row("a", None, 1), row("b", Some("y"), 2)], &got);
        assert_eq!(turned.same, 1);
        assert_eq!(turned.missing, [row("b", Some("y"), 2)]);
        assert_eq!(turned.extra.len(), 2);
        assert!(
            turned.render(1).contains("… and 1 more"),
            "{}",
            turned.render(1)
        );
    }

    #[test]
    fn what_is_written_is_read_and_other_fields_do_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("expected.rejects.ndjson");
        let rows = [row("a", Some("x.ndjson"), 1), row("b", None, 2)];
        std::fs::write(&path, as_lines(&rows)).unwrap();
        assert_eq!(read(&path).unwrap(), rows);
        let long = r#"{"stage":"decode","code":"a","detail":"d","file":"/long/x.ndjson","line":1,"record":{}}"#;
        std::fs::write(&path, long).unwrap();
        assert_eq!(read(&path).unwrap(), rows[..1]);
        std::fs::write(&path, "{\"stage\":\"decode\"}").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 1"));
    }
}
