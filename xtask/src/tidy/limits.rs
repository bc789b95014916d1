//! Every limit has a guest that runs into it.

use super::{Finding, Tree};

/// Where limits are declared.
const TABLE: &str = "host/src/sandbox/limits/table.rs";
/// Where those live that attack.
const ATTACKS: &str = "tests/hostile/";

pub(super) fn have_attackers(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.files.iter().find(|file| file.path == TABLE) else {
        return Vec::new();
    };
    let is_tried = |name: &str| {
        let named = format!("\"{name}\"");
        tree.files
            .iter()
            .filter(|file| file.path.starts_with(ATTACKS))
            .any(|file| file.text.contains(&named))
    };
    let lines = (1..).zip(table.text.lines());
    let limits = lines.filter_map(|(line, text)| {
        let name = text.trim().strip_prefix("limit(\"")?.split('"').next()?;
        Some((line, name))
    });
    limits
        .filter(|(_, name)| !is_tried(name))
        .map(|(line, name)| {
            let message = format!(
                "no guest in {ATTACKS} runs into the limit `{name}`: add an attack that it stops"
            );
            table.finding(line, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::assert_found;
    use super::*;

    #[test]
    fn a_limit_that_nobody_tries_is_found() {
        let table = "//! Limits.\n    limit(\"memory\", \"1\"),\n    limit(\"stack\", \"1\"),\n";
        let files = [(TABLE, table), ("tests/hostile/memory.rs", "(\"memory\")")];
        assert_found(
            have_attackers,
            &files,
            &[
                "host/src/sandbox/limits/table.rs:3: no guest in tests/hostile/ runs into the limit `stack`",
            ],
        );
    }
}
