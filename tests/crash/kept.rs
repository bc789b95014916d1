//! What is kept of a run that was interrupted, and who may go on with it.

use serde_json::Value;

use super::stream::{WINDOWS, folder};
use crate::support::Folder;

/// Starts a run that is stopped in the middle by an event that cannot be decoded.
fn interrupted() -> (Folder, String) {
    interrupted_over(WINDOWS[1])
}

/// The same over some windows.
fn interrupted_over(window: &str) -> (Folder, String) {
    let folder = folder(
        7,
        window,
        "lanes = 2\ncommit_every = \"1ms\"\non_malformed = \"stop\"",
    );
    let good = folder.text("events/b.ndjson").replace("broken", "1}");
    let half: String = good.split_inclusive('\n').take(4_000).collect();
    folder.write(
        "events/a.ndjson",
        folder.text("events/a.ndjson").replace("broken", "1}"),
    );
    // As many bytes as the good file, so that the interrupted run and the next one read the same.
    let mut bad = half.into_bytes();
    bad.extend(b"no event ");
    bad.resize(good.len() - 1, b' ');
    bad.push(b'\n');
    folder.write("events/b.ndjson", bad);
    let ended = folder.penstock(&["run", "pipeline.toml", "-q", "--lanes", "2"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr());
    (folder, good)
}

fn resumed(folder: &Folder, arguments: &[&str]) -> Option<u64> {
    let arguments = [
        &["run", "pipeline.toml", "-q", "--json", "--lanes", "2"],
        arguments,
    ]
    .concat();
    let summary: Value = serde_json::from_str(&folder.penstock(&arguments).fine()).unwrap();
    summary[0]["resumed"].as_u64()
}

#[test]
fn a_run_that_failed_goes_on_when_its_cause_is_mended_and_the_next_begins_anew() {
    let (folder, good) = interrupted();
    folder.write("events/b.ndjson", good);
    let rows = resumed(&folder, &[]);
    assert!(rows.is_some_and(|rows| rows > 0), "{rows:?}");
    let first = folder.text("out/out.ndjson");
    assert_eq!(
        resumed(&folder, &[]),
        None,
        "a run that is over leaves nothing"
    );
    assert_eq!(folder.text("out/out.ndjson"), first);
}

#[test]
fn another_run_does_not_go_on_with_it_unless_it_begins_anew() {
    let (folder, good) = interrupted();
    folder.write("events/b.ndjson", format!("{good}\n"));
    let refused = folder.penstock(&["run", "pipeline.toml", "-q", "--lanes", "3"]);
    refused.fails(2, &["recorded files", "--fresh"]);
    assert_eq!(resumed(&folder, &["--fresh"]), None);
}

#[test]
fn a_run_that_keeps_nothing_ends_an_interrupted_one() {
    let (folder, good) = interrupted();
    folder.write("events/b.ndjson", good);
    let keeping = folder.text("pipeline.toml");
    folder.write(
        "pipeline.toml",
        keeping.replace("commit_every = \"1ms\"", ""),
    );
    assert_eq!(resumed(&folder, &[]), None);
    folder.write("pipeline.toml", keeping);
    assert_eq!(
        resumed(&folder, &[]),
        None,
        "nothing is interrupted any more"
    );
}

#[test]
fn a_test_of_a_pipeline_keeps_nothing_in_the_store() {
    let folder = folder(3, WINDOWS[0], "commit_every = \"1ms\"");
    let arguments = [
        "test",
        "pipeline.toml",
        "--expect",
        "expected.ndjson",
        "--bless",
    ];
    folder.penstock(&arguments).fine();
    assert!(!folder.path("store").exists());
}

#[test]
fn what_an_interrupted_run_keeps_can_be_looked_at() {
    for (window, kind, said) in [
        (WINDOWS[1], "pane", "start"),
        (WINDOWS[3], "session", "first_event"),
        (WINDOWS[5], "value", "last_event"),
    ] {
        look_at(window, kind, said);
    }
}

fn look_at(window: &str, kind: &str, said: &str) {
    let (folder, _) = interrupted_over(window);
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&folder.penstock(arguments).fine()).unwrap()
    };
    let told = json(&["state", "totals", "--json"]);
    let lanes = told["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 2);
    let inputs = lanes
        .iter()
        .flat_map(|lane| lane["inputs"].as_array().unwrap());
    let mut judged = 0;
    for input in inputs {
        assert_eq!(input["input"], "recorded");
        judged += input["cursors"]["all"].as_u64().unwrap();
        assert!(input["watermark"].is_string(), "{input}");
        assert!(input["outbox"]["files"].as_u64() > Some(0), "{input}");
    }
    assert!(judged > 0, "{told}");
    let shown = folder.penstock(&["state", "pipeline.toml"]).fine();
    assert!(
        shown.contains("recorded") && shown.contains("files:"),
        "{shown}"
    );
    // A third of all rows have the first key.
    let told = json(&["state", "pipeline.toml", "--key", "0", "--json"]);
    let mut records = told["records"].as_array().unwrap().iter();
    let record = records.find(|it| it["record"] == kind && it["state"].is_object());
    let record = record.unwrap_or_else(|| panic!("{told}"));
    assert!(record["state"]["rows"].as_u64() > Some(0), "{record}");
    let at: jiff::Timestamp = record[said].as_str().unwrap().parse().unwrap();
    // The events begin in 1970 and last for some forty minutes.
    let minutes = at.as_second() / 60;
    assert!((0..60).contains(&minutes), "{record}");
}
