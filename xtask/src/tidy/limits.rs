//! Every limit has a guest that runs into it.

use super::{Finding, Tree};

/// Where limits are declared.
const TABLE: &str = "host/src/sandbox/limits/table.rs";
/// Where attacks are listed, each with what stops it: the test that runs them sees to it that the list is theirs, and that
/// the limit is named by what an operator sees.
const ATTACKS: &str = "docs/security.md";
const BEGIN: &str = "<!-- attacks -->";
const END: &str = "<!-- end of attacks -->";

pub(super) fn have_attackers(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.file(TABLE) else {
        return Vec::new();
    };
    let page = tree.file(ATTACKS).map_or("", |page| page.text.as_str());
    let attacks = page.split_once(BEGIN).map_or("", |(_, rest)| rest);
    let attacks = attacks.split_once(END).map_or("", |(attacks, _)| attacks);
    let is_tried = |name: &str| {
        let named = format!("`{name}`");
        let mut stopped_by = attacks.lines().filter_map(|line| line.split('|').nth(3));
        stopped_by.any(|limit| limit.trim() == named)
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
                "no attack in {ATTACKS} is stopped by the limit `{name}`: add one to tests/hostile/"
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
        let page = "`stack`\n<!-- attacks -->\n| grow | `open` | `memory` | `stack` |\n<!-- end of attacks -->\n";
        let files = [(TABLE, table), (ATTACKS, page)];
        assert_found(
            have_attackers,
            &files,
            &[
                "host/src/sandbox/limits/table.rs:3: no attack in docs/security.md is stopped by the limit `stack`",
            ],
        );
    }
}
