//! Comparing with a file of expected features.

use serde_json::Value;

use super::{EVENTS, EXPECTED, folder, pure, test};

#[test]
fn what_is_expected_passes_and_nothing_of_the_environment_is_touched() {
    let folder = pure();
    let said = folder.penstock(&test(&["--expect", "expected.csv"])).fine();
    assert!(said.contains("features: 3 rows are the same"), "{said}");
    assert!(!folder.path("out").exists() && !folder.path("store").exists());
    // Rows are found wherever they stand.
    let mut lines: Vec<&str> = EXPECTED.lines().collect();
    lines[1..].reverse();
    folder.write("turned.csv", lines.join("\n"));
    folder.penstock(&test(&["--expect", "turned.csv"])).fine();
}

#[test]
fn a_difference_is_shown_with_the_rows_behind_it() {
    let folder = pure();
    let wrong = EXPECTED
        .replace("Z,3,8", "Z,3,9")
        .replace("a,2026-01-01T00:00:10Z", "c,2026-01-01T00:00:10Z");
    folder.write("expected.csv", wrong);
    let ended = folder.penstock(&test(&["--expect", "expected.csv"]));
    let said = ended.stdout();
    ended.fails(
        1,
        &[
            "1 value differs",
            "1 row only in expected",
            "1 row only in got",
        ],
    );
    let has = |part: &str| assert!(said.contains(part), "`{part}` is not in:\n{said}");
    has("city \"a\"  2026-01-01T00:00:00Z to 2026-01-01T00:00:10Z  sum      9.0");
    has("events.ndjson:1  {\"at\":\"2026-01-01T00:00:01Z\",\"city\":\"a\",\"amount\":1.5}");
    has("events.ndjson:7 (late)");
    has("no such row");
    has("no input row of this entity lies in this window");
    assert!(
        !said.contains("events.ndjson:2"),
        "of another entity:\n{said}"
    );
    let one = folder.penstock(&test(&["--expect", "expected.csv", "--show", "1"]));
    assert!(one.stdout().contains("… and 2 more"), "{}", one.stdout());
}

#[test]
fn results_can_be_read_by_programs() {
    let folder = pure();
    folder.write(
        "expected.csv",
        EXPECTED.replace("0.30000000000000004", "0.3"),
    );
    let ended = folder.penstock(&test(&["--expect", "expected.csv", "--json", "--laws"]));
    let said: Value = serde_json::from_str(&ended.stdout()).unwrap();
    ended.fails(1, &["features"]);
    assert_eq!(said["pipeline"], "totals");
    assert_eq!(said["passed"], false);
    let checks = &said["cases"][0]["checks"];
    assert_eq!(checks[0]["check"], "features");
    let difference = &checks[0]["found"]["differences"][0];
    assert_eq!(difference["entity"]["city"], "b");
    assert_eq!(difference["window_end"], "2026-01-01T00:00:10Z");
    assert_eq!(difference["expected"], 0.3);
    assert_eq!(difference["got"], 0.1 + 0.2);
    assert!(
        difference["input"][0]
            .as_str()
            .unwrap()
            .starts_with("events.ndjson:2")
    );
    assert_eq!(checks[1]["check"], "laws");
    assert_eq!(checks[1]["passed"], true);
}

#[test]
fn programs_are_given_every_difference() {
    let folder = pure();
    let row = |second: usize| {
        format!(
            "{{\"at\":\"2026-01-01T00:00:0{}Z\",\"city\":\"c{second:02}\",\"amount\":1}}\n",
            second % 10
        )
    };
    folder.write("events.ndjson", (0..40).map(row).collect::<String>());
    let expected = "city,window_start,window_end,rows,sum\n\
        c00,2026-01-01T00:00:00Z,2026-01-01T00:00:10Z,1,2\n";
    folder.write("expected.csv", expected);
    let ended = folder.penstock(&test(&["--expect", "expected.csv", "--json"]));
    let said: Value = serde_json::from_str(&ended.stdout()).unwrap();
    let differences = said["cases"][0]["checks"][0]["found"]["differences"].as_array();
    let differences = differences.unwrap();
    assert_eq!(differences.len(), 40);
    for difference in &differences[1..] {
        assert_eq!(difference["expected"], Value::Null);
        assert_eq!(
            difference["got"],
            serde_json::json!({"rows": 1, "sum": 1.0})
        );
        assert_eq!(
            difference["input"].as_array().unwrap().len(),
            1,
            "{difference}"
        );
    }
}

#[test]
fn an_error_is_told_once_and_long_rows_are_cut() {
    let folder = pure();
    let long = "x".repeat(3000);
    let row = format!("{{\"city\":\"{long}\",\"window_start\":\"soon\"}}\n");
    folder.write("expected.ndjson", row);
    let ended = folder.penstock(&test(&["--expect", "expected.ndjson"]));
    let said = ended.stdout() + &ended.stderr();
    assert_eq!(said.matches("expected.ndjson").count(), 1, "{said}");
    assert!(said.len() < 1000, "{said}");
    ended.fails(2, &["row 1"]);
    folder.write("expected.csv", "");
    folder
        .penstock(&test(&["--expect", "expected.csv"]))
        .fails(2, &["expected.csv", "it is empty"]);
}

#[test]
fn a_tolerance_allows_what_it_says_and_no_more() {
    let folder = pure();
    folder.write(
        "expected.csv",
        EXPECTED.replace("0.30000000000000004", "0.3"),
    );
    let with = |tolerance: &str| {
        folder.penstock(&test(&[
            "--expect",
            "expected.csv",
            "--tolerance",
            tolerance,
        ]))
    };
    with("sum=1e-9").fine();
    with("*=1e-9").fine();
    with("sum=1e-18").fails(1, &["1 value differs"]);
    with("rows=1").fails(1, &["1 value differs"]);
    with("some=1").fails(2, &["no column `some`", "rows, sum"]);
    with("sum=x").fails(2, &["`x` is not a number"]);
    // Only some columns.
    folder
        .penstock(&test(&["--expect", "expected.csv", "--column", "rows"]))
        .fine();
    folder
        .penstock(&test(&["--expect", "expected.csv", "--column", "row"]))
        .fails(2, &["no column `row`"]);
}

#[test]
fn what_is_blessed_passes_in_every_format() {
    let folder = pure();
    for format in ["csv", "ndjson", "parquet"] {
        let file = format!("golden.{format}");
        let expect = ["--expect", &file];
        folder
            .penstock(&test(&expect))
            .fails(2, &[&file, "--bless"]);
        let said = folder
            .penstock(&test(&[&expect[..], &["--bless"]].concat()))
            .fine();
        assert!(said.contains("written, 3 rows"), "{said}");
        folder.penstock(&test(&expect)).fine();
        let said = folder
            .penstock(&test(&[&expect[..], &["--bless"]].concat()))
            .fine();
        assert!(said.contains("unchanged, 3 rows"), "{said}");
    }
    // As a run would write it.
    folder.write("nowhere.ndjson", EVENTS);
    folder.penstock(&["run", "pipeline.toml"]).fine();
    assert_eq!(folder.text("golden.csv"), folder.text("out/features.csv"));
    // What changed is said.
    folder.write("golden.csv", EXPECTED.replace("Z,3,8", "Z,3,9"));
    let said = folder
        .penstock(&test(&["--expect", "golden.csv", "--bless"]))
        .fine();
    assert!(said.contains("before") && said.contains("9.0"), "{said}");
    assert_eq!(folder.text("golden.csv"), folder.text("out/features.csv"));
}

#[test]
fn rejected_and_late_rows_can_be_expected() {
    let folder = pure();
    let line = |stage: &str, code: &str, line: u32| {
        format!("{{\"stage\":\"{stage}\",\"code\":\"{code}\",\"line\":{line}}}\n")
    };
    let right = line("late", "late", 7) + &line("decode", "wrong_type", 8);
    folder.write("rejects.ndjson", &right);
    let expect = test(&["--expect-rejects", "rejects.ndjson"]);
    folder.penstock(&expect).fine();
    folder.write(
        "rejects.ndjson",
        line("late", "late", 7) + &line("decode", "wrong_type", 9),
    );
    let ended = folder.penstock(&expect);
    assert!(
        ended
            .stdout()
            .contains("expected  {\"stage\":\"decode\",\"code\":\"wrong_type\",\"line\":9}")
    );
    assert!(
        ended.stdout().contains("got       {\"stage\":\"decode\""),
        "{}",
        ended.stdout()
    );
    ended.fails(1, &["rejects: 1 rejected or late row did not come"]);
    folder
        .penstock(&[&expect[..], &["--bless"]].concat())
        .fine();
    folder.penstock(&expect).fine();
    assert!(
        folder
            .text("rejects.ndjson")
            .contains("\"file\":\"events.ndjson\"")
    );
}

#[test]
fn events_are_files_globs_or_those_of_the_environment() {
    let folder = pure();
    folder.write("parts/one.ndjson", EVENTS.lines().next().unwrap());
    let rest: Vec<&str> = EVENTS.lines().skip(1).collect();
    folder.write("parts/two.ndjson", rest.join("\n"));
    let events = |events: &[&str]| {
        let usual = ["test", "pipeline.toml", "--expect", "expected.csv"];
        folder.penstock(&[&usual, events].concat())
    };
    events(&["--events", "parts/*.ndjson"]).fine();
    events(&["--events", "parts/one.ndjson", "parts/two.ndjson"]).fine();
    events(&["--events", "parts"]).fine();
    events(&["--events", "part/*"]).fails(2, &["part/*", "no such file"]);
    events(&[]).fails(2, &["nowhere.ndjson"]);
    folder.write("nowhere.ndjson", EVENTS);
    events(&[]).fine();
    events(&["--env", "ci"]).fine();
    folder
        .penstock(&["test", "pipeline.toml", "--purity"])
        .fine();
    events(&["--events", "gopher://host/x.ndjson"]).fails(2, &["gopher://host/x.ndjson"]);
    events(&["--env", "c"]).fails(2, &["no environment `c`"]);
}

#[test]
fn arguments_that_make_no_sense_are_told() {
    let folder = pure();
    folder
        .penstock(&["test", "pipeline.toml"])
        .fails(2, &["--events", "--expect", "--cases"]);
    folder
        .penstock(&test(&[]))
        .fails(2, &["nothing expected", "--purity"]);
    folder
        .penstock(&test(&["--cases", "cases"]))
        .fails(2, &["cannot be used with"]);
    folder
        .penstock(&test(&["--expect", "expected.txt"]))
        .fails(2, &["expected.txt", ".csv"]);
    folder
        .penstock(&test(&["--laws", "--filter", "a"]))
        .fails(2, &["--filter"]);
    folder
        .penstock(&["test", "pipe.toml", "--laws"])
        .fails(2, &["pipe.toml"]);
    folder.write("expected.csv", "city,rows\na,1\n");
    folder
        .penstock(&test(&["--expect", "expected.csv"]))
        .fails(2, &["no column window_start, window_end"]);
    folder.write("events.ndjson", "");
    folder.penstock(&test(&["--laws"])).fails(2, &["empty"]);
}

#[test]
fn a_column_that_was_not_expected_is_a_difference() {
    let folder = pure();
    let without: Vec<String> = EXPECTED
        .lines()
        .map(|line| line.rsplit_once(',').unwrap().0.to_owned())
        .collect();
    folder.write("expected.csv", without.join("\n"));
    folder
        .penstock(&test(&["--expect", "expected.csv"]))
        .fails(1, &["expected has no column sum"]);
    folder
        .penstock(&test(&["--expect", "expected.csv", "--column", "rows"]))
        .fine();
}

#[test]
fn a_transform_that_fails_is_no_difference_and_no_bad_input() {
    let folder = folder("unruly", "panic");
    folder.write("events.ndjson", EVENTS.replace("2.5", "13"));
    let text = folder.text("pipeline.toml");
    folder.write(
        "pipeline.toml",
        text.replace("sum", "rows").replace("float64", "uint64"),
    );
    let ended = folder.penstock(&test(&["--expect", "expected.csv"]));
    assert_eq!(ended.code(), Some(1));
    let said = ended.stderr();
    assert!(
        said.contains("trapped") && said.contains("thirteen"),
        "{said}"
    );
}

#[test]
fn the_rows_behind_a_mapper_are_found_by_what_it_makes_of_them() {
    let example = crate::support::root().join("examples/supply_and_demand");
    let expected = std::fs::read_to_string(example.join("cases/basic/expected.ndjson")).unwrap();
    let folder = crate::support::Folder::new();
    let wrong = expected.replacen("\"demand\":6", "\"demand\":77", 1);
    folder.write("expected.ndjson", wrong);
    let [pipeline, events] = ["pipeline.toml", "cases/basic/events.ndjson"]
        .map(|file| example.join(file).to_str().unwrap().to_owned());
    let arguments = [
        "test",
        &pipeline,
        "--events",
        &events,
        "--expect",
        "expected.ndjson",
    ];
    let ended = folder.penstock(&arguments);
    let said = ended.stdout();
    ended.fails(1, &["1 value differs"]);
    assert!(said.contains("cases/basic/events.ndjson:"), "{said}");
}

#[test]
fn a_row_that_a_mapper_left_out_is_behind_nothing() {
    let folder = super::promises::with_mapper("instance", true);
    // Lines 3 and 6 are left out.
    let ended = folder.penstock(&test(&["--expect", "expected.csv"]));
    let said = ended.stdout();
    ended.fails(1, &["differ"]);
    assert!(said.contains("events.ndjson:1  "), "{said}");
    assert!(!said.contains("events.ndjson:3  "), "{said}");
}

#[test]
fn a_row_that_came_after_one_of_its_windows_had_closed_is_marked() {
    let folder = pure();
    let text = folder.text("pipeline.toml");
    let hopping = "kind = \"hopping\"\nsize = \"20s\"\nslide = \"10s\"\n";
    let tumbling = "kind = \"tumbling\"\nsize = \"10s\"\n";
    folder.write("pipeline.toml", text.replace(tumbling, hopping));
    let row = |second: u32| {
        format!("{{\"at\":\"2026-01-01T00:00:{second}Z\",\"city\":\"a\",\"amount\":1}}\n")
    };
    folder.write("events.ndjson", [12, 21, 15].map(row).concat());
    let expected = "city,window_start,window_end,rows,sum\n\
        a,2026-01-01T00:00:00Z,2026-01-01T00:00:20Z,2,2\n";
    folder.write("expected.csv", expected);
    let ended = folder.penstock(&test(&["--expect", "expected.csv", "--column", "rows"]));
    let said = ended.stdout();
    ended.fails(1, &["1 value differs"]);
    assert!(said.contains("events.ndjson:1  "), "{said}");
    assert!(
        said.contains("events.ndjson:3 (after it closed)  "),
        "{said}"
    );
    assert!(
        said.contains("events.ndjson:3  "),
        "the other window was open:\n{said}"
    );
}
