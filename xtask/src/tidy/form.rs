//! Files as such: how they open, how long they are, what they are called, which there must be.

use super::{Finding, Tree};

/// Files aim at half of it.
const MOST_LINES: usize = 600;

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: [&str; 8] = [
    "manager", "helper", "helpers", "util", "utils", "common", "misc", "shared",
];

/// What anyone looks for in a project.
const REQUIRED: [(&str, &str); 2] = [
    ("LICENSE", "the text of the Apache License 2.0"),
    (
        "CHANGELOG.md",
        "what changed for users, in the form of keepachangelog.com",
    ),
];

pub(super) fn opening_docs(tree: &Tree) -> Vec<Finding> {
    let silent = tree
        .rust()
        .filter(|(file, _)| !file.text.starts_with("//!"));
    silent
        .map(|(file, _)| file.finding(1, "begin the file with `//!` and say what it is"))
        .collect()
}

pub(super) fn length(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .map(|(file, _)| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(file, lines)| {
            let message = format!(
                "{lines} lines, and {MOST_LINES} is the most: split it by what it holds, or move its tests to a file beside it"
            );
            file.finding(lines, message)
        })
        .collect()
}

pub(super) fn file_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, _) in tree.rust() {
        let empty = file
            .path
            .split('/')
            .find(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")));
        if let Some(name) = empty {
            findings.push(file.finding(
                1,
                format!("`{name}` does not say what is in it: name it for that"),
            ));
        }
    }
    findings
}

pub(super) fn required_files(tree: &Tree) -> Vec<Finding> {
    let missing = REQUIRED.iter().filter(|(path, _)| !tree.has(path));
    missing
        .map(|(path, what)| Finding {
            path: (*path).to_owned(),
            line: None,
            message: format!("is missing: add {what}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::assert_found, *};

    #[test]
    fn a_rust_file_opens_with_docs() {
        let files = [
            ("a.rs", "//! A.\n"),
            ("b.rs", "// b\n"),
            ("build.rs", "\n//! Too late.\n"),
            ("c.txt", "c"),
            ("d.rs", ""),
        ];
        assert_found(
            opening_docs,
            &files,
            &["b.rs:1: begin", "build.rs:1: begin", "d.rs:1: begin"],
        );
    }

    #[test]
    fn a_rust_file_ends_in_time() {
        let (right, wrong) = ("x\n".repeat(600), "x\n".repeat(601));
        assert_found(
            length,
            &[("a.rs", &right), ("b.rs", &wrong), ("c.md", &wrong)],
            &["b.rs:601: 601 lines"],
        );
    }

    #[test]
    fn names_say_something() {
        let files = [
            ("a/lane.rs", ""),
            ("a/utils.rs", ""),
            ("common/mod.rs", ""),
            ("uncommon.rs", ""),
        ];
        assert_found(
            file_names,
            &files,
            &["a/utils.rs:1: `utils.rs`", "common/mod.rs:1: `common`"],
        );
    }

    #[test]
    fn a_project_has_a_licence_and_a_changelog() {
        assert_found(
            required_files,
            &[("CHANGELOG.md", ""), ("LICENSE", "")],
            &[],
        );
        assert_found(
            required_files,
            &[("docs/LICENSE", "")],
            &["LICENSE: is missing", "CHANGELOG.md: is missing"],
        );
    }
}
