//! Every SDK has the version of the contract that it speaks.

use super::{File, Finding, Tree};

/// Where the contract says its version, and what stands before it.
const CONTRACT: (&str, &str) = ("wit/host.wit", "package penstock:transform@");

/// Where a package says its own: the first line that has this, and the version after it.
const PACKAGES: [(&str, &str); 6] = [
    ("Cargo.toml", "version = \""),
    ("guest-sdk/python/pyproject.toml", "version = \""),
    ("guest-sdk/javascript/package.json", "\"version\": \""),
    ("guest-sdk/go/penstock.go", "const Version = \""),
    (
        "guest-sdk/c/include/penstock.h",
        "#define PENSTOCK_VERSION \"",
    ),
    ("guest-sdk/c/CMakeLists.txt", "project(penstock VERSION "),
];

pub(super) fn follow_the_contract(tree: &Tree) -> Vec<Finding> {
    let contract = tree.file(CONTRACT.0);
    let Some((_, wanted)) = contract.and_then(|file| said(file, CONTRACT.1)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (path, before) in PACKAGES {
        let Some(file) = tree.file(path) else {
            continue;
        };
        match said(file, before) {
            Some((_, version)) if version == wanted => {}
            Some((line, version)) => findings.push(file.finding(
                line,
                format!("version {version}, but the contract's is {wanted}: they are the same"),
            )),
            None => findings.push(file.finding(1, format!("it says no version, after `{before}`"))),
        }
    }
    findings
}

/// The line and the version that a file says.
fn said<'a>(file: &'a File, before: &str) -> Option<(usize, &'a str)> {
    let mut lines = (1..).zip(file.text.lines());
    lines.find_map(|(line, text)| {
        let (_, after) = text.split_once(before)?;
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        Some((line, &after[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_another_version_is_found() {
        let tree = Tree::new([
            (CONTRACT.0, "package penstock:transform@1.2.0;\n"),
            ("Cargo.toml", "[workspace.package]\nversion = \"1.2.0\"\n"),
            (
                "guest-sdk/go/penstock.go",
                "package penstock\nconst Version = \"1.1.0\"\n",
            ),
            ("guest-sdk/c/CMakeLists.txt", "project(penstock)\n"),
        ]);
        let found: Vec<String> = follow_the_contract(&tree)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("penstock.go:2: version 1.1.0, but the contract's is 1.2.0"),
            "{found:?}"
        );
        assert!(
            found[1].contains("CMakeLists.txt:1: it says no version"),
            "{found:?}"
        );
    }
}
