//! Folders of cases, and JUnit.

use super::{EVENTS, EXPECTED, pure};
use crate::support::{Folder, root};

/// Cases beside the pipeline: one that passes, one that is off by a little, one with rejects.
fn with_cases() -> Folder {
    let folder = pure();
    for case in ["exact", "near", "refusing"] {
        folder.write(&format!("cases/{case}/events.ndjson"), EVENTS);
        folder.write(&format!("cases/{case}/expected.csv"), EXPECTED);
    }
    folder.write(
        "cases/near/expected.csv",
        EXPECTED.replace("0.30000000000000004", "0.3"),
    );
    folder.write(
        "cases/refusing/expected.rejects.ndjson",
        "{\"stage\":\"decode\",\"code\":\"wrong_type\",\"line\":8}\n{\"stage\":\"late\",\"code\":\"late\",\"line\":7}\n",
    );
    folder
}

#[test]
fn all_cases_run_and_failures_are_detailed_at_the_end() {
    let folder = with_cases();
    let ended = folder.penstock(&["test", "pipeline.toml"]);
    let said = ended.stdout();
    ended.fails(1, &["1 of 3 cases failed: near"]);
    for part in [
        "ok       exact  (",
        "FAILED   near  (",
        "ok       refusing  (",
        "\n---- near",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(said.contains("2 cases passed, 1 failed"), "{said}");
    assert!(said.contains("0.30000000000000004"), "{said}");

    folder.write(
        "cases/near/case.toml",
        "description = \"rounding\"\n[tolerance]\nsum = 1e-9\n",
    );
    let said = folder.penstock(&["test", "pipeline.toml"]).fine();
    assert!(said.contains("3 cases passed"), "{said}");
    let said = folder
        .penstock(&["test", "pipeline.toml", "--filter", "xact"])
        .fine();
    assert!(
        said.contains("1 case passed") && !said.contains("near"),
        "{said}"
    );
    folder
        .penstock(&["test", "pipeline.toml", "--filter", "no"])
        .fails(2, &["exact, near, refusing"]);
}

#[test]
fn the_cases_of_the_example_pass() {
    let pipeline = root().join("examples/driver_accept_proportion/pipeline.toml");
    let pipeline = pipeline.to_str().unwrap();
    let said = Folder::new()
        .penstock(&["test", pipeline, "--purity"])
        .fine();
    assert!(said.contains("2 cases passed"), "{said}");
}

#[test]
fn cases_that_are_not_right_are_told() {
    let folder = with_cases();
    folder
        .penstock(&["test", "pipeline.toml", "--cases", "case"])
        .fails(2, &["case", "no such folder"]);
    // One that cannot be tested keeps the others from nothing.
    for wrong in ["env = \"production\"\n", "[tolerances]\nsum = 1e-9\n"] {
        folder.write("cases/near/case.toml", wrong);
        let ended = folder.penstock(&["test", "pipeline.toml", "--junit", "junit.xml"]);
        let said = ended.stdout();
        for part in ["ERROR    near", "2 cases passed, 1 failed"] {
            assert!(said.contains(part), "`{part}` is not in:\n{said}");
        }
        ended.fails(2, &["1 of 3 cases failed: near"]);
        assert!(folder.text("junit.xml").contains("near/run"));
    }
    assert!(folder.text("junit.xml").contains("tolerances"));
}

#[test]
fn a_new_case_is_blessed() {
    let folder = with_cases();
    std::fs::remove_file(folder.path("cases/exact/expected.csv")).unwrap();
    let ended = folder.penstock(&["test", "pipeline.toml", "--filter", "exact"]);
    assert!(ended.stdout().contains("--bless"), "{}", ended.stdout());
    ended.fails(2, &["exact"]);
    let said = folder
        .penstock(&["test", "pipeline.toml", "--bless"])
        .fine();
    assert!(
        said.contains("near: ") && said.contains("1 value differs"),
        "{said}"
    );
    assert!(folder.path("cases/exact/expected.ndjson").exists());
    // Rejected and late rows are expected of a new case, and not of one that never asked for them.
    let refused = folder.text("cases/exact/expected.rejects.ndjson");
    assert_eq!(refused.lines().count(), 2, "{refused}");
    assert!(!folder.path("cases/near/expected.rejects.ndjson").exists());
    folder.penstock(&["test", "pipeline.toml"]).fine();
}

#[test]
fn results_are_written_as_junit() {
    let folder = with_cases();
    folder.write("cases/exact/case.toml", "purity = true\n");
    let ended = folder.penstock(&["test", "pipeline.toml", "--junit", "results/junit.xml"]);
    ended.fails(1, &["near"]);
    let xml = folder.text("results/junit.xml");
    let report = Element::parse(&xml);
    let suite = report.only("testsuite");
    assert_eq!(suite.attribute("name"), "totals");
    assert_eq!(
        (suite.attribute("tests"), suite.attribute("failures")),
        ("6", "1")
    );
    let names: Vec<&str> = suite
        .all("testcase")
        .map(|case| case.attribute("name"))
        .collect();
    let expected = [
        "exact/features",
        "exact/purity",
        "exact/laws",
        "near/features",
        "refusing/features",
        "refusing/rejects",
    ];
    assert_eq!(names, expected);
    let near = suite.all("testcase").nth(3).unwrap();
    let failure = near.only("failure");
    assert!(failure.attribute("message").starts_with("1 value differs"));
    assert!(
        failure.text.contains("0.30000000000000004"),
        "{}",
        failure.text
    );
}

/// As much of XML as JUnit files have, read back strictly.
struct Element {
    attributes: Vec<(String, String)>,
    children: Vec<(String, Element)>,
    text: String,
}

impl Element {
    fn parse(xml: &str) -> Self {
        let body = &xml[xml.find("?>").expect("a declaration") + 2..];
        let mut rest = body.trim();
        let (name, root) = Self::read(&mut rest);
        assert_eq!((name.as_str(), rest.trim()), ("testsuites", ""));
        root
    }

    fn read(rest: &mut &str) -> (String, Self) {
        *rest = rest.trim_start().strip_prefix('<').expect("an element");
        let end = rest
            .find(|c: char| c.is_whitespace() || c == '>' || c == '/')
            .unwrap();
        let name = rest[..end].to_owned();
        *rest = &rest[end..];
        let mut element = Self {
            attributes: Vec::new(),
            children: Vec::new(),
            text: String::new(),
        };
        loop {
            *rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                *rest = after;
                return (name, element);
            }
            if let Some(after) = rest.strip_prefix('>') {
                *rest = after;
                break;
            }
            let (key, value) = rest.split_once("=\"").expect("an attribute");
            let (value, after) = value.split_once('"').expect("its end");
            element.attributes.push((key.to_owned(), unescaped(value)));
            *rest = after;
        }
        loop {
            let (text, after) = rest.split_at(rest.find('<').expect("its end"));
            element.text += &unescaped(text);
            *rest = after;
            if let Some(after) = rest.strip_prefix(&format!("</{name}>")) {
                *rest = after;
                return (name, element);
            }
            element.children.push(Self::read(rest));
        }
    }

    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        &found.unwrap_or_else(|| panic!("no {name}")).1
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        let children = self.children.iter().filter(move |(child, _)| child == name);
        children.map(|(_, child)| child)
    }

    fn only(&self, name: &str) -> &Self {
        let mut all = self.all(name);
        let first = all.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(all.next().is_none(), "one {name}");
        first
    }
}

fn unescaped(text: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
