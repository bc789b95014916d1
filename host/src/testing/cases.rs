//! Folders of small cases: each sub-folder has events and what is expected of them.
//!
//! ```text
//! cases/
//!   late_rows/
//!     events.ndjson               one file or more whose names begin with `events`
//!     expected.csv                or .ndjson, .parquet
//!     expected.rejects.ndjson     optional: the rejected and late rows
//!     case.toml                   optional
//! ```
//!
//! In `case.toml`, every key optional:
//!
//! ```toml
//! description = "A row behind the watermark changes nothing."
//! env = "ci"                      # in place of the command's
//! columns = ["mean"]              # compare only these
//! purity = true                   # in cuts of all kinds, the same bytes
//! laws = true                     # the laws of merge
//! [tolerance]
//! mean = 1e-9
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::TestError;
use super::tolerance::Tolerances;
use crate::config::FileFormat;

/// The folder beside a pipeline in which cases are looked for unless others are named.
pub const CASES_FOLDER: &str = "cases";

/// The file of a case with what is particular about it.
const CASE_FILE: &str = "case.toml";
/// The file of expected rejected and late rows.
const EXPECTED_REFUSED: &str = "expected.rejects.ndjson";
/// Names of files of expected features, and of the one that is written first.
const EXPECTED: [&str; 4] = [
    "expected.ndjson",
    "expected.jsonl",
    "expected.csv",
    "expected.parquet",
];

/// One test: events, and what is expected of them.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// How it is called; empty for the only one.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// The files of events; those of the environment if none.
    pub events: Option<Vec<PathBuf>>,
    /// The file of expected features, if there are any expectations of them.
    pub expected: Option<PathBuf>,
    /// The file of expected rejected and late rows, likewise.
    pub expected_refused: Option<PathBuf>,
    /// Tolerances by column.
    pub tolerances: Tolerances,
    /// The columns that are compared; all if empty.
    pub columns: Vec<String>,
    /// The environment.
    pub environment: String,
    /// Whether every cut must give the same bytes.
    pub purity: bool,
    /// Whether the laws of `merge` are checked.
    pub laws: bool,
    /// Why it cannot be tested at all, if its files or its `case.toml` are not as they must be.
    pub unusable: Option<Arc<TestError>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseFile {
    description: String,
    env: Option<String>,
    columns: Vec<String>,
    purity: bool,
    laws: Option<bool>,
    tolerance: BTreeMap<String, f64>,
}

/// The cases of a folder, by name; those whose name contains `filter`. What they have of their own
/// goes before what `usual` says.
///
/// # Errors
///
/// The folder cannot be read or has no cases, or none is left over. A case that is not as it must be
/// says so itself, and keeps nobody from testing the others.
pub fn find(folder: &Path, filter: Option<&str>, usual: &Case) -> Result<Vec<Case>, TestError> {
    let mut folders = Vec::new();
    for path in entries(folder)? {
        let hidden = name_of(&path).starts_with(['.', '_']);
        if path.is_dir() && !hidden {
            folders.push(path);
        }
    }
    if folders.is_empty() {
        return Err(TestError::file(
            folder,
            "there are no cases in this folder; make a folder in it for each, with events.ndjson and expected.csv",
        ));
    }
    let names: Vec<String> = folders.iter().map(|path| name_of(path)).collect();
    folders.retain(|path| filter.is_none_or(|filter| name_of(path).contains(filter)));
    if folders.is_empty() {
        return Err(TestError::Asked(format!(
            "no case's name contains `{}`; there are {}",
            filter.unwrap_or_default(),
            names.join(", ")
        )));
    }
    let read = |path: &PathBuf| {
        read(path, usual).unwrap_or_else(|error| Case {
            name: name_of(path),
            unusable: Some(Arc::new(error)),
            ..usual.clone()
        })
    };
    Ok(folders.iter().map(read).collect())
}

fn read(folder: &Path, usual: &Case) -> Result<Case, TestError> {
    let files = entries(folder)?;
    let own = case_file(&folder.join(CASE_FILE))?;
    let tolerances = Tolerances::of(own.tolerance)
        .map_err(|reason| TestError::file(&folder.join(CASE_FILE), reason))?;
    let (known, others): (Vec<PathBuf>, Vec<PathBuf>) = files
        .iter()
        .filter(|path| name_of(path).starts_with("events") && path.is_file())
        .cloned()
        .partition(|path| FileFormat::of_path(path).is_some());
    // What editors leave beside a file has a name that says no format. So may the files of an event
    // whose format is declared.
    let events = if known.is_empty() { others } else { known };
    if events.is_empty() {
        return Err(TestError::file(
            folder,
            "this case has no events; put them into events.ndjson or events.parquet",
        ));
    }
    let mut expected = files
        .iter()
        .filter(|path| EXPECTED.contains(&&*name_of(path)));
    let (first, second) = (expected.next(), expected.next());
    if let (Some(first), Some(second)) = (first, second) {
        let reason = format!(
            "this case has both {} and {}; keep one",
            name_of(first),
            name_of(second)
        );
        return Err(TestError::file(folder, reason));
    }
    let refused = folder.join(EXPECTED_REFUSED);
    Ok(Case {
        name: name_of(folder),
        description: own.description,
        events: Some(events),
        // One that is not there yet is told when it is asked for, and written when it is blessed.
        expected: Some(first.cloned().unwrap_or_else(|| folder.join(EXPECTED[0]))),
        expected_refused: (refused.is_file() || first.is_none()).then_some(refused),
        tolerances: usual.tolerances.clone().overridden_by(&tolerances),
        columns: match own.columns.is_empty() {
            true => usual.columns.clone(),
            false => own.columns,
        },
        environment: own.env.unwrap_or_else(|| usual.environment.clone()),
        purity: own.purity || usual.purity,
        laws: own.laws.unwrap_or(own.purity || usual.laws),
        unusable: None,
    })
}

fn case_file(path: &Path) -> Result<CaseFile, TestError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(CaseFile::default());
        }
        Err(error) => return Err(TestError::io("read", path)(error)),
    };
    toml::from_str(&text).map_err(|error| TestError::file(path, error))
}

/// What a folder holds, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, TestError> {
    let entries = std::fs::read_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            TestError::file(folder, "there is no such folder of cases")
        }
        _ => TestError::io("read the folder", folder)(error),
    })?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>, _>>()
        .map_err(TestError::io("read the folder", folder))?;
    paths.sort_unstable();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn usual() -> Case {
        Case {
            environment: "local".into(),
            tolerances: Tolerances::of([("a".to_owned(), 0.1), ("b".to_owned(), 0.1)]).unwrap(),
            ..Case::default()
        }
    }

    #[test]
    fn a_case_is_its_files_and_what_its_own_file_says() {
        let folder = folder(&[
            ("two/events.ndjson", ""),
            ("two/events-1.ndjson", ""),
            ("two/expected.csv", ""),
            ("two/expected.rejects.ndjson", ""),
            (
                "two/case.toml",
                "description = \"d\"\nenv = \"ci\"\npurity = true\n[tolerance]\nb = 0.5\n",
            ),
            ("one/events.parquet", ""),
            (".hidden/x", ""),
            ("readme.md", ""),
        ]);
        let cases = find(folder.path(), None, &usual()).unwrap();
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        let [one, two] = cases.as_slice() else {
            panic!("two")
        };
        assert_eq!(one.environment, "local");
        assert!(
            one.expected
                .as_ref()
                .unwrap()
                .ends_with("one/expected.ndjson")
        );
        assert!(!one.purity && !one.laws && one.unusable.is_none());
        assert_eq!(two.environment, "ci");
        assert_eq!(two.events.as_ref().unwrap().len(), 2);
        assert!(two.expected.as_ref().unwrap().ends_with("two/expected.csv"));
        assert!(two.expected_refused.is_some() && two.purity && two.laws);
        assert_eq!(two.tolerances.of_column("a"), 0.1);
        assert_eq!(two.tolerances.of_column("b"), 0.5);
        let filtered = find(folder.path(), Some("tw"), &usual()).unwrap();
        assert_eq!(filtered.len(), 1);
    }

    #[track_caller]
    fn refused(files: &[(&str, &str)], filter: Option<&str>, because: &str) {
        let folder = folder(files);
        let error = match find(folder.path(), filter, &usual()) {
            Err(error) => error,
            Ok(cases) => TestError::Case(cases[0].unusable.clone().expect("it is no case")),
        };
        assert!(!error.is_of_the_system());
        assert!(error.to_string().contains(because), "{error}");
    }

    #[test]
    fn what_editors_leave_is_no_event() {
        let files = [
            ("a/events.ndjson", ""),
            ("a/events.ndjson~", ""),
            ("a/events.ndjson.bak", ""),
            ("b/events.log", ""),
        ];
        let folder = folder(&files);
        let cases = find(folder.path(), None, &usual()).unwrap();
        let names = |case: &Case| -> Vec<String> {
            let events = case.events.iter().flatten();
            events.map(|path| name_of(path)).collect()
        };
        assert_eq!(names(&cases[0]), ["events.ndjson"]);
        assert_eq!(names(&cases[1]), ["events.log"]);
    }

    #[test]
    fn what_is_no_case_is_refused_with_what_to_do() {
        refused(&[], None, "events.ndjson");
        refused(&[("a/expected.csv", "")], None, "no events");
        refused(&[("a/events.ndjson", "")], Some("b"), "there are a");
        let both = [
            ("a/events.ndjson", ""),
            ("a/expected.csv", ""),
            ("a/expected.ndjson", ""),
        ];
        refused(&both, None, "keep one");
        let unknown = [("a/events.ndjson", ""), ("a/case.toml", "tolerances = 1")];
        refused(&unknown, None, "tolerances");
        let negative = [
            ("a/events.ndjson", ""),
            ("a/case.toml", "tolerance = { a = -1 }"),
        ];
        refused(&negative, None, "column `a`");
        let error = find(Path::new("no/such/folder"), None, &usual()).unwrap_err();
        assert!(error.to_string().contains("no such folder"), "{error}");
    }
}
