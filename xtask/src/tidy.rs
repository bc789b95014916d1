//! The rules of the house that no compiler knows, checked over every file that git has or would take.
//!
//! Each check is a function from the files to its findings; what it allows stands in a table at the top of its file.
//! A finding says what to do. To change a rule, change its table, in the same commit as what needs it.

mod form;
mod limits;
mod links;
mod rooms;
mod source;
mod versions;
mod words;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use self::source::Source;
use crate::command;

/// A check's name and what it does.
type Check = (&'static str, fn(&Tree) -> Vec<Finding>);

const CHECKS: [Check; 12] = [
    ("every Rust file says what it is", form::opening_docs),
    ("no Rust file is too long", form::length),
    ("files are named for what they hold", form::file_names),
    (
        "the files that a project has are there",
        form::required_files,
    ),
    (
        "dependencies between rooms point one way",
        rooms::directions,
    ),
    (
        "names stay in the rooms that may know them",
        words::known_names,
    ),
    (
        "nothing unfinished, nothing that panics without a reason",
        words::forbidden_words,
    ),
    ("unsafe code is where the table says", words::unsafe_code),
    ("no file knows a machine's folders", words::machine_folders),
    ("every limit has a hostile guest", limits::have_attackers),
    (
        "SDKs have the contract's version",
        versions::follow_the_contract,
    ),
    ("links between documents lead somewhere", links::resolve),
];

/// Checks everything and prints what it finds.
///
/// # Errors
///
/// If there is a finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let findings = findings(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} to put in order", counted(findings.len(), "thing"));
    }
    println!(
        "{} hold for {}",
        counted(CHECKS.len(), "rule"),
        counted(tree.files.len(), "file")
    );
    Ok(())
}

/// What the Rust of a protocol begins with.
const GENERATED: &str = "// This file is @generated";

fn findings(tree: &Tree) -> Vec<Finding> {
    CHECKS.iter().flat_map(|(_, check)| check(tree)).collect()
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The files of the repository.
#[derive(Debug)]
struct Tree {
    /// Sorted by path.
    files: Vec<File>,
}

/// A text file.
#[derive(Debug)]
struct File {
    /// From the root, with `/` between the parts.
    path: String,
    text: String,
    /// For Rust files.
    source: Option<Source>,
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths(root)? {
            let bytes = match fs::read(root.join(&path)) {
                Ok(bytes) => bytes,
                // Deleted, and not yet committed so; or a link to a folder.
                Err(_) if !root.join(&path).is_file() => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
            };
            // What is not text (a recorded Parquet file, say) has no rules, nor has what a program made.
            if let Ok(text) = String::from_utf8(bytes)
                && !text.starts_with(GENERATED)
            {
                files.push((path, text));
            }
        }
        Ok(Tree::new(files))
    }

    fn new(files: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let mut files: Vec<File> = files
            .into_iter()
            .map(|(path, text)| File::new(path.into(), text.into()))
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let test_modules: Vec<String> = files.iter().flat_map(File::test_modules).collect();
        for file in &mut files {
            let is_test = file.is_named_as_test()
                || test_modules.iter().any(|module| {
                    file.path
                        .strip_prefix(module.as_str())
                        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
                });
            if let Some(source) = file.source.as_mut().filter(|_| is_test) {
                source.make_all_test();
            }
        }
        Tree { files }
    }

    fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files
            .iter()
            .filter_map(|file| Some((file, file.source.as_ref()?)))
    }

    fn file(&self, path: &str) -> Option<&File> {
        let found = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path));
        found.ok().map(|at| &self.files[at])
    }

    fn has(&self, path: &str) -> bool {
        self.file(path).is_some()
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let source = path.ends_with(".rs").then(|| Source::new(&text));
        File { path, text, source }
    }

    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line: Some(line),
            message: message.into(),
        }
    }

    /// The whole package of tests, and test modules by the names that they have beside what they test.
    fn is_named_as_test(&self) -> bool {
        let path = self.path.as_str();
        path.starts_with("tests/")
            || path.contains("/tests/")
            || path.contains("/benches/")
            || path.ends_with("/tests.rs")
            || path.ends_with("_tests.rs")
    }

    /// The paths, without `.rs`, of the modules that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let Some(source) = &self.source else {
            return Vec::new();
        };
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let folder = match name {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        source
            .test_modules
            .iter()
            .map(|module| format!("{folder}/{module}"))
            .collect()
    }
}

/// A place where a rule does not hold, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: Option<usize>,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// What git tracks, and what it would if it were added now. Without git (an unpacked archive, say) everything but what
/// is built and simulated.
fn paths(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    if let Ok(listed) = command::output(&mut git) {
        let mut paths: Vec<String> = listed
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect();
        paths.sort_unstable();
        paths.dedup();
        return Ok(paths);
    }
    let mut paths = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let within = root.join(&folder);
        for entry in
            fs::read_dir(&within).with_context(|| format!("cannot list {}", within.display()))?
        {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if !entry.file_type()?.is_dir() {
                paths.push(path.to_string_lossy().replace('\\', "/"));
            } else if !["target", "data", ".git"]
                .iter()
                .any(|skipped| path == Path::new(skipped))
            {
                folders.push(path);
            }
        }
    }
    Ok(paths)
}

/// Runs one check over made-up files, for the tests of the checks.
#[cfg(test)]
fn found(check: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    check(&Tree::new(files.iter().copied()))
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Asserts that a check finds nothing in the first files, and in the second ones a thing a line, each of which begins so.
#[cfg(test)]
#[track_caller]
fn assert_found(check: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
    let found = found(check, files);
    let right = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, start)| found.starts_with(start));
    assert!(right, "found {found:#?}\nexpected {expected:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask is in the root");
        let findings = findings(&Tree::read(root).expect("the files can be read"));
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn modules_that_are_for_tests_only_are_known_from_their_declaration() {
        let tree = Tree::new([
            (
                "host/src/config/mod.rs",
                "#[cfg(test)]\nmod cases;\nmod load;",
            ),
            ("host/src/config/cases.rs", "fn a() {}"),
            ("host/src/config/cases/deep.rs", "fn a() {}"),
            (
                "host/src/config/load.rs",
                "fn a() {}\n#[cfg(test)]\nmod oracle;",
            ),
            ("host/src/config/load/oracle.rs", "fn a() {}"),
            ("host/src/config/load/disk.rs", "fn a() {}"),
        ]);
        let tested: Vec<&str> = tree
            .rust()
            .filter(|(_, source)| source.shipped().trim().is_empty())
            .map(|(file, _)| file.path.as_str())
            .collect();
        assert_eq!(
            tested,
            [
                "host/src/config/cases.rs",
                "host/src/config/cases/deep.rs",
                "host/src/config/load/oracle.rs"
            ]
        );
    }

    #[test]
    fn a_repository_without_git_is_listed_all_the_same() {
        let root = std::env::temp_dir().join(format!("penstock-tidy-{}", std::process::id()));
        fs::create_dir_all(root.join("host/src")).expect("a folder");
        fs::create_dir_all(root.join("target/debug")).expect("a folder");
        fs::write(root.join("host/src/lib.rs"), "").expect("a file");
        fs::write(root.join("target/debug/built.rs"), "").expect("a file");
        let listed = paths(&root);
        fs::remove_dir_all(&root).expect("it can be deleted again");
        assert_eq!(listed.expect("it can be listed"), ["host/src/lib.rs"]);
    }
}
