//! Runs the tables of wrong inputs in `cases/`: an edit of a right file, and the whole of what a
//! person is to see.
//!
//! ```text
//! == what is wrong
//! -a line of the right file
//! +what stands there instead
//! --
//! error: …
//! ```
//!
//! A `+` without a `-` before it is added at the end; `-*` takes everything away. With
//! `PENSTOCK_UPDATE_CASES=1` the tables are rewritten with what comes out: read the difference.

use std::fmt::Write;
use std::path::Path;

/// Checks every case of `cases/<table>` (the text `cases`) against `run`, which renders what it finds
/// in a text, or says that there is nothing.
pub(crate) fn check_cases(table: &str, cases: &str, right: &str, run: impl Fn(&str) -> String) {
    let mut found = String::new();
    for case in cases
        .split("\n== ")
        .map(|case| case.strip_prefix("== ").unwrap_or(case))
    {
        let (name, rest) = case
            .split_once('\n')
            .unwrap_or_else(|| panic!("a case has a name: {case}"));
        let (edit, _expected) = rest
            .split_once("\n--")
            .unwrap_or_else(|| panic!("case `{name}` has no `--`"));
        let output = run(&edited(right, edit, name));
        writeln!(found, "== {name}\n{edit}\n--\n{output}\n").expect("a string takes all");
    }
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("PENSTOCK_UPDATE_CASES").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
        std::fs::write(folder.join(table), &found).expect("the table can be written");
    } else {
        assert!(
            found == cases,
            "cases/{table} says otherwise; this came out:\n{}",
            first_difference(cases, &found)
        );
    }
}

fn first_difference(expected: &str, found: &str) -> String {
    let cases = |text: &str| text.split("\n== ").map(str::to_owned).collect::<Vec<_>>();
    let pairs = cases(expected).into_iter().zip(cases(found));
    let different = pairs.filter(|(expected, found)| expected.trim_end() != found.trim_end());
    different
        .map(|(expected, found)| format!("{found}\n(expected)\n{expected}\n"))
        .collect()
}

fn edited(right: &str, edit: &str, name: &str) -> String {
    let mut lines: Vec<&str> = right.lines().collect();
    let mut at = lines.len();
    for change in edit.lines() {
        if change == "-*" {
            lines.clear();
            at = 0;
        } else if let Some(gone) = change.strip_prefix('-') {
            at = lines
                .iter()
                .position(|line| *line == gone)
                .unwrap_or_else(|| panic!("case `{name}`: there is no line `{gone}`"));
            lines.remove(at);
        } else if let Some(new) = change.strip_prefix('+') {
            lines.insert(at, new);
            at += 1;
        } else {
            panic!("case `{name}`: `{change}` begins with neither + nor -");
        }
    }
    format!("{}\n", lines.join("\n"))
}
