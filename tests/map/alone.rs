//! A mapper without windows: its rows come out as they are, in the source's order.

use serde_json::{Value, json};

use crate::support::{Folder, Tuning, transform};

const PENSTOCK: &str = r#"
[environments.local]
output = "out"
store = "store"
[environments.local.events.ride]
files = "events.ndjson"
event_time = "at"
arrival_time = "came"
schema = { at = "timestamp[us, UTC]", came = "timestamp[us, UTC]", city = "utf8", riders = "list[int64]", amount = "float64", note = "utf8", shift_s = "int64" }
"#;

fn pipeline(transform_name: &str, more: &str) -> String {
    format!(
        r#"
name = "entries"
event = "ride"
transform = {:?}
key = ["city", "rider"]
group = "rider"
{more}
[window]
kind = "none"
max_future = "1h"
[[feature]]
name = "last_amount"
column = "amount"
type = "float64"
validation = {{ max = 9000.0 }}
[outputs]
features = "out.ndjson"
"#,
        transform(transform_name)
    )
}

fn folder(pipeline: String) -> Folder {
    let folder = Folder::new();
    folder.write("penstock.toml", PENSTOCK);
    folder.write("pipeline.toml", pipeline);
    folder
}

fn instant(second: i64) -> String {
    jiff::Timestamp::from_second(second).unwrap().to_string()
}

/// The rides of a stream, with what must come of each: its entries.
fn stream(rides: i64) -> (String, Vec<String>) {
    let (mut lines, mut entries) = (String::new(), Vec::new());
    for ride in 0..rides {
        // One in five is an hour behind the one before; one in 97 came long before it happened.
        let at = ride / 8 + if ride % 5 == 4 { 0 } else { 3_600 };
        let came = if ride % 97 == 96 { 0 } else { at };
        let riders = match ride % 7 {
            0 => json!([]),
            1 => json!([1, null, 2]),
            _ => json!([ride % 4, 3]),
        };
        let note = if ride % 11 == 0 { "bad" } else { "x" };
        let line = json!({"at": instant(at), "came": instant(came), "city": "ab",
            "riders": riders, "amount": ride as f64, "note": note, "shift_s": 2});
        lines += &format!("{line}\n");
        let is_fine = note == "x" && came + 3_600 >= at;
        for rider in riders.as_array().unwrap().iter().filter(|_| is_fine) {
            if rider.is_i64() {
                let (at, amount) = (instant(at), ride as f64);
                entries.push(format!(
                    r#"{{"city":"ab","rider":{rider},"at":"{at}","amount":{amount:?},"note":"x"}}"#
                ));
            }
        }
    }
    (lines, entries)
}

#[test]
fn rows_come_out_in_the_order_of_the_source_however_they_are_cut() {
    let folder = folder(pipeline("splitter", ""));
    let (lines, entries) = stream(9_000);
    folder.write("events.ndjson", lines);
    for (lanes, batch_rows) in [(1, 65_536), (3, 65_536), (2, 5_000), (3, 7)] {
        let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
        let accounting = &report.accounting;
        assert!(accounting.balances(), "{accounting:?}");
        assert_eq!(accounting.applied, entries.len() as u64);
        assert!(accounting.quarantined > 0 && accounting.late == 0);
        assert_eq!(report.windows, None);
        let text = folder.text("out/out.ndjson");
        for (line, (found, expected)) in text.lines().zip(&entries).enumerate() {
            assert_eq!(found, expected, "line {line}, {lanes} lanes");
        }
        assert_eq!(text.lines().count(), entries.len());
    }
}

#[test]
fn the_store_serves_the_latest_row_of_an_entity() {
    let folder = folder(pipeline("splitter", ""));
    let (lines, entries) = stream(500);
    folder.write("events.ndjson", lines);
    folder.penstock(&["run", "pipeline.toml", "--quiet"]).fine();
    let of = |rider: i64| {
        let entries = entries
            .iter()
            .map(|entry| serde_json::from_str::<Value>(entry).unwrap());
        let mut of_rider: Vec<Value> = entries.filter(|entry| entry["rider"] == rider).collect();
        // Of those at one time the last one counts.
        of_rider.sort_by_key(|entry| entry["at"].as_str().unwrap().to_owned());
        of_rider.pop().unwrap()
    };
    for rider in [1, 3] {
        let entity = format!("ab,{rider}");
        let got = folder
            .penstock(&["get", "rider", &entity, "last_amount", "--json"])
            .fine();
        let amount = of(rider)["amount"].to_string();
        assert!(got.contains(&amount), "{got}\nhas not {amount}");
    }
}

#[test]
fn values_that_are_invalid_are_kept_apart_with_their_time() {
    let folder = folder(pipeline("splitter", ""));
    let (lines, _) = stream(9_010);
    folder.write("events.ndjson", lines);
    let tuning = Tuning {
        lanes: 2,
        batch_rows: 100,
    };
    let report = folder.run(tuning).unwrap();
    let invalid = folder.text("out/entries.invalid.ndjson");
    assert_eq!(invalid.lines().count() as u64, report.invalid);
    let first: Value = serde_json::from_str(invalid.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["feature"], &first["value"]),
        (&json!("last_amount@1"), &json!("9001.0"))
    );
    assert!(first["at"].is_string(), "{first}");
}

#[test]
fn what_makes_no_sense_without_windows_is_told() {
    let validate = |pipeline: String, expected: &[&str]| {
        let folder = folder(pipeline);
        folder.write("events.ndjson", stream(1).0);
        folder
            .penstock(&["validate", "pipeline.toml"])
            .fails(2, expected);
    };
    validate(
        pipeline("ledger", ""),
        &["aggregates over windows", "has none", "`mapper`"],
    );
    let map = format!("[map]\ntransform = {:?}\n", transform("splitter"));
    validate(
        pipeline("splitter", &map),
        &["nothing after the mapper", "leave `[map]` out"],
    );
    let keyed = pipeline("splitter", "").replace("[\"city\", \"rider\"]", "[\"at\"]");
    validate(keyed, &["cannot be a key without windows"]);
    let late = pipeline("splitter", "").replace("max_future", "disorder");
    validate(late, &["`window.disorder`", "leave it out"]);
}
