//! Links from one document to another: the file exists, and has the heading.

use super::{File, Finding, Tree, source::line_of};

pub(super) fn resolve(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_document(file)) {
        for (start, target) in links(&file.text) {
            if let Some(problem) = problem(tree, file, &target) {
                findings.push(file.finding(
                    line_of(&file.text, start),
                    format!("the link `{target}` {problem}"),
                ));
            }
        }
    }
    findings
}

fn is_document(file: &File) -> bool {
    file.path.ends_with(".md")
}

/// What is wrong with a link, if anything. Addresses on the network are not looked up.
fn problem(tree: &Tree, from: &File, target: &str) -> Option<String> {
    let is_address = target.contains("://") || target.starts_with("mailto:");
    if is_address {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        Some(from.path.clone())
    } else {
        join(&from.path, path)
    };
    let Some(path) = path else {
        return Some("leads out of the repository: use an address".to_owned());
    };
    let is_folder = path.is_empty()
        || tree
            .files
            .iter()
            .any(|file| file.path.starts_with(&format!("{path}/")));
    let Some(document) = tree.file(&path) else {
        return (!is_folder)
            .then(|| format!("leads to {path}, which is not there: correct the path"));
    };
    let missing = !heading.is_empty()
        && is_document(document)
        && !anchors(&document.text).any(|anchor| anchor == heading);
    missing.then(|| {
        format!("leads to a heading that {path} does not have: correct what follows the #")
    })
}

/// `target` as seen from the file `from`; none if it climbs out of the root.
fn join(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').collect(),
    };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// `[text](target)` and `[name]: target`, outside of code; with the offsets of the targets.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (offset, line) in prose(text) {
        let line = without_code(line);
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            // A title may follow the target.
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            found.push((offset + at + 2, rest[..end].to_owned()));
        }
        let definition = line
            .trim_start()
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "));
        if let Some((_, target)) = definition {
            let target = target.split_whitespace().next().unwrap_or_default();
            found.push((offset, target.to_owned()));
        }
    }
    found
}

/// The lines that are not in fenced code blocks, with their offsets.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut offset = 0;
    let mut fenced = false;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = offset;
        offset += line.len();
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((start, line.trim_end()))
    })
}

/// Blanks out what stands between backticks.
fn without_code(line: &str) -> String {
    let mut within = false;
    let blanked = line.bytes().map(|byte| {
        within ^= byte == b'`';
        if within && byte.is_ascii() {
            b' '
        } else {
            byte
        }
    });
    String::from_utf8(blanked.collect()).unwrap_or_else(|_| line.to_owned())
}

/// The anchors of a document's headings, as GitHub and most other viewers make them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim());
    headings.map(|heading| {
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.flat_map(char::to_lowercase)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::assert_found, *};

    #[test]
    fn links_lead_to_files_folders_and_headings() {
        let right = "[a](docs/a.md), [b](docs/a.md#what-it-is-not) [c](docs) [d](https://example.com/x) [e](#top)\n# Top\n\
                     `[f](no.md)`\n```\n[g](no.md)\n```\n[h]: docs/a.md \"title\"\n![i](docs/b.svg \"title\")";
        let files = [
            ("README.md", right),
            (
                "docs/a.md",
                "# A\n## What it is *not*\n[up](../README.md) [root](/README.md) [b](./b.svg)",
            ),
            ("docs/b.svg", "<svg/>"),
        ];
        assert_found(resolve, &files, &[]);
    }

    #[test]
    fn broken_links_are_found() {
        let wrong = "# A\n\n[a](b.md)\n[c](a.md#nothing) and [d](../../x.md)\n[e]: gone.md\n";
        let expected = [
            "docs/a.md:3: the link `b.md` leads to docs/b.md, which is not there",
            "docs/a.md:4: the link `a.md#nothing` leads to a heading",
            "docs/a.md:4: the link `../../x.md` leads out of the repository",
            "docs/a.md:5: the link `gone.md` leads to docs/gone.md",
        ];
        assert_found(resolve, &[("docs/a.md", wrong)], &expected);
    }
}
