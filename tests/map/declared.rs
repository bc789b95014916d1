//! `[map]` as people write it, what they are told, and streams that are longer than a call.

use serde_json::{Value, json};

use crate::support::{Folder, Tuning, transform};

const PENSTOCK: &str = r#"
[environments.local]
output = "out"
store = "store"
[environments.local.events.ride]
files = "events.ndjson"
event_time = "at"
schema = { at = "timestamp[us, UTC]", city = "utf8", riders = "list[int64]", amount = "float64", note = "utf8", shift_s = "int64" }
"#;

fn pipeline(transform_name: &str, key: &str, map: &str) -> String {
    format!(
        r#"
name = "ledger"
event = "ride"
transform = {:?}
key = {key}
group = "rider"
{map}
[window]
kind = "tumbling"
size = "10s"
disorder = "5s"
[[feature]]
name = "rows"
type = "uint64"
[outputs]
store = false
features = "out.ndjson"
"#,
        transform(transform_name)
    )
}

fn map(transform_name: &str, config: &str) -> String {
    format!(
        "[map]\ntransform = {:?}\nconfig = {config}\n",
        transform(transform_name)
    )
}

const KEY: &str = "[\"city\", \"rider\"]";

fn folder(pipeline: String, rides: u64) -> Folder {
    let folder = Folder::new();
    folder.write("penstock.toml", PENSTOCK);
    folder.write("pipeline.toml", pipeline);
    let lines: String = (0..rides).map(|ride| format!("{}\n", line(ride))).collect();
    folder.write("events.ndjson", lines);
    folder
}

/// A ride of four, of which one in eleven is bad, one in seven has nobody in it, one in a hundred
/// has a rider that nobody knows, and one in thirteen is six hours late.
fn line(ride: u64) -> Value {
    let riders = match ride {
        _ if ride.is_multiple_of(7) => json!([]),
        _ if ride % 100 == 3 => json!([1, null, 2]),
        _ => json!([ride % 5, 3]),
    };
    let second = if ride % 13 == 12 {
        ride / 8 - 1
    } else {
        ride / 8 + 21_600
    };
    let at = jiff::Timestamp::from_second(second as i64)
        .unwrap()
        .to_string();
    let note = if ride.is_multiple_of(11) { "bad" } else { "x" };
    json!({"at": at, "city": "ab", "riders": riders, "amount": 1.5, "note": note, "shift_s": 2})
}

#[test]
fn a_stream_longer_than_a_call_gives_equal_bytes() {
    for config in ["{}", "{ shifted = true }"] {
        let folder = folder(pipeline("ledger", KEY, &map("splitter", config)), 12_000);
        let mut first = None;
        for (lanes, batch_rows) in [(1, 65_536), (3, 65_536), (2, 5_000), (1, 100)] {
            let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
            assert!(report.accounting.balances(), "{:?}", report.accounting);
            assert!(report.accounting.late > 0 && report.accounting.filtered > 0);
            // Several calls for one batch, or one for each.
            assert!(report.figures.counts["calls"] > 1);
            let read = |file: &str| folder.read(&format!("out/{file}"));
            let files = ["out.ndjson", "ledger.rejects.ndjson", "ledger.late.ndjson"];
            let written = (report.accounting, files.map(read));
            let same = first.get_or_insert(written.clone());
            assert!(*same == written, "{lanes} lanes, batches of {batch_rows}");
        }
    }
}

#[test]
fn the_summary_shows_both_sums() {
    let folder = folder(pipeline("ledger", KEY, &map("splitter", "{}")), 1_000);
    let text = folder.penstock(&["run", "pipeline.toml", "--quiet"]).fine();
    assert!(
        text.contains(
            "map        1,000 rows in, 130 filtered, 91 rejected, 779 mapped to 1,565 rows"
        ),
        "{text}"
    );
    let json = folder
        .penstock(&["run", "pipeline.toml", "--quiet", "--json"])
        .fine();
    let report = &serde_json::from_str::<Value>(&json).unwrap()[0];
    let sum = |of: &str, parts: &[&str]| {
        let number = |name: &str| report["map"][name].as_u64().unwrap();
        let sum: u64 = parts.iter().map(|part| number(part)).sum();
        assert_eq!(number(of), sum, "{report}");
    };
    sum("rows_in", &["filtered", "rejected", "mapped"]);
    sum(
        "rows_out",
        &["applied", "rejected_after", "late", "poisoned"],
    );
    assert_ne!(report["mapper"], report["transform"]);
}

#[test]
fn one_component_may_be_both() {
    let folder = folder(pipeline("splitter_ledger", KEY, ""), 100);
    let validated = folder.penstock(&["validate", "pipeline.toml"]).fine();
    let component = transform("splitter_ledger");
    let inspected = folder.penstock(&["inspect", component.to_str().unwrap(), "--event",
        "at: timestamp[us, UTC], city: utf8, riders: list[int64], amount: float64, note: utf8, shift_s: int64",
        "--key", "city: utf8, rider: int64"]);
    let text = inspected.fine();
    for part in [
        "mapped to",
        "  mapper     ",
        "splitter_ledger.wasm (sha256:",
        ", 1 file, ",
    ] {
        assert!(validated.contains(part), "`{part}` is not in:\n{validated}");
    }
    for part in [
        "mapper, windowed",
        "mapper\ncolumns     ",
        "windowed\ncolumns     ",
        "rider: int64",
        "last_note",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[track_caller]
fn refused(pipeline: String, expected: &[&str]) {
    folder(pipeline, 10)
        .penstock(&["validate", "pipeline.toml"])
        .fails(2, expected);
}

#[test]
fn what_does_not_fit_is_said_where_it_stands() {
    refused(
        pipeline("ledger", KEY, &map("ledger", "{}")),
        &["does not export `mapper`", "pipeline.toml:8:13", "inspect"],
    );
    refused(
        pipeline("splitter_ledger", KEY, &map("splitter", "{}")),
        &["has a mapper already", "leave `[map]` out"],
    );
    refused(pipeline("splitter", KEY, ""), &["is a mapper", "`[map]`"]);
    refused(
        pipeline("ledger", "[\"riders\"]", &map("splitter", "{}")),
        &[
            "the mapper's output has no column `riders`",
            "did you mean `rider`",
        ],
    );
    refused(
        pipeline("ledger", KEY, "[map]\ntransfrom = \"x.wasm\"\n"),
        &["no key `transfrom` in `map`", "did you mean `transform`"],
    );
    refused(
        pipeline("unruly", KEY, &map("unruly_mapper", "{}")),
        &["unruly_mapper.wasm", "event `ride`", "`key`"],
    );
}

#[test]
fn the_event_time_that_rows_keep_may_be_part_of_the_key() {
    let kept = pipeline("ledger", "[\"city\", \"at\"]", &map("splitter", "{}"));
    let folder = folder(kept, 50);
    let report = folder
        .run(Tuning {
            lanes: 2,
            batch_rows: 7,
        })
        .unwrap();
    assert!(report.accounting.balances());
    let first = folder.text("out/out.ndjson");
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert!(
        first["at"]
            .as_str()
            .unwrap()
            .starts_with("1970-01-01T06:00:0"),
        "{first}"
    );
}
