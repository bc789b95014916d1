//! Tumbling windows against the oracle, over random streams: disorder, ties, late rows, nulls in
//! every column, several splits; and the promise of equal bytes.

use std::collections::BTreeMap;

use penstock::pipeline::RunReport;
use penstock::simulate::{RidesFormat, RidesSpec, write_rides};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::{Expected, Row, Total, expected};
use crate::support::{Folder, Tuning, cases, transform};

/// A random case.
#[derive(Debug, Clone)]
struct Case {
    splits: Vec<Vec<Row>>,
    size_s: i64,
    offset_s: i64,
    disorder_s: i64,
}

fn row() -> impl Strategy<Value = (i64, Row)> {
    // Times walk on with small steps back and forth, many of them ties.
    let step = prop_oneof![6 => 0..4_i64, 3 => -6..0_i64, 1 => 5..40_i64];
    let amount = prop_oneof![
        6 => (-3..50_i32).prop_map(|n| Some(f64::from(n) / 10.0)),
        1 => Just(Some(1e17)),
        1 => Just(None)
    ];
    let note = prop::option::weighted(0.7, "[a-zé]{0,6}");
    let city = prop::option::weighted(0.95, "[ab]{1,2}");
    let rider = prop::option::weighted(0.95, -2..3_i64);
    (step, prop::bool::weighted(0.95), city, rider, amount, note).prop_map(
        |(step, timed, city, rider, amount, note)| {
            let row = Row {
                at: timed.then_some(0),
                city,
                rider,
                amount,
                note,
            };
            (step, row)
        },
    )
}

fn split() -> impl Strategy<Value = Vec<Row>> {
    (-50..50_i64, prop::collection::vec(row(), 0..60)).prop_map(|(start, rows)| {
        let mut at = start;
        rows.into_iter()
            .map(|(step, mut row)| {
                at += step;
                row.at = row.at.map(|_| at * 1_000_000);
                row
            })
            .collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(split(), 1..4),
        1..30_i64,
        0..30_i64,
        0..12_i64,
    )
        .prop_filter("some input", |(splits, ..)| {
            splits.iter().any(|rows| !rows.is_empty())
        })
        .prop_map(|(splits, size_s, offset_s, disorder_s)| Case {
            splits,
            offset_s: offset_s % size_s,
            size_s,
            disorder_s,
        })
}

fn prepare(case: &Case) -> Folder {
    let folder = Folder::new();
    for (number, rows) in case.splits.iter().enumerate() {
        let lines: String = rows.iter().map(|row| format!("{}\n", line(row))).collect();
        folder.write(&format!("events/{number}.ndjson"), lines);
    }
    folder.write(
        "penstock.toml",
        r#"
[environments.local]
output = "out"
store = "store"
[environments.local.events.entry]
files = "events/*.ndjson"
event_time = "at"
schema = { at = "timestamp[us, UTC]", city = "utf8", rider = "int64", amount = "float64", note = "utf8" }
"#,
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "ledger"
event = "entry"
transform = {:?}
key = ["city", "rider"]
group = "rider"
[window]
kind = "tumbling"
size = "{}s"
offset = "{}s"
disorder = "{}s"
[[feature]]
name = "rows"
type = "uint64"
[outputs]
store = false
features = "out.ndjson"
"#,
            transform("ledger"),
            case.size_s,
            case.offset_s,
            case.disorder_s
        ),
    );
    folder
}

fn line(row: &Row) -> Value {
    let at = row
        .at
        .map(|at| jiff::Timestamp::from_microsecond(at).unwrap().to_string());
    json!({"at": at, "city": row.city, "rider": row.rider, "amount": row.amount, "note": row.note})
}

/// What a run wrote, read back.
pub(crate) fn found(folder: &Folder) -> BTreeMap<(i64, String, i64), Total> {
    let text = folder.text("out/out.ndjson");
    let mut before = None;
    let mut windows = BTreeMap::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let end: jiff::Timestamp = row["window_end"].as_str().unwrap().parse().unwrap();
        let key = (
            end.as_microsecond(),
            row["city"].as_str().unwrap().to_owned(),
            row["rider"].as_i64().unwrap(),
        );
        assert!(
            before < Some(key.clone()),
            "not sorted by window end and key: {key:?}"
        );
        before = Some(key.clone());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let total = Total {
            rows: row["rows"].as_u64().unwrap(),
            sum: sum(line),
            last_note: text(&row["last_note"]),
            notes: row["notes"].as_array().unwrap().iter().map(text).collect(),
            digest: row["digest"].as_u64().unwrap(),
        };
        windows.insert(key, total);
    }
    windows
}

/// The sum of a line, read exactly: serde_json may be off by a bit in the last place.
fn sum(line: &str) -> f64 {
    let (_, rest) = line.split_once("\"sum\":").unwrap();
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap()
}

fn compare(report: &RunReport, folder: &Folder, expected: &Expected, case: &Case) {
    let accounting = &report.accounting;
    assert!(accounting.balances(), "{accounting:?}");
    let rejected: BTreeMap<&str, u64> = accounting
        .rejected
        .iter()
        .map(|(reason, count)| (reason.code.as_str(), *count))
        .collect();
    let rejects = |code| rejected.get(code).copied().unwrap_or(0);
    let ended = Expected {
        windows: found(folder),
        applied: accounting.applied,
        late: accounting.late,
        null_event_time: rejects("null_event_time"),
        null_key: rejects("null_key"),
        negative: rejects("negative"),
    };
    assert_eq!(&ended, expected);
    let kept = std::fs::read_to_string(folder.path("out").join("ledger.late.ndjson"));
    for reject in kept.iter().flat_map(|text| text.lines()) {
        let reject: Value = serde_json::from_str(reject).unwrap();
        let columns = ["at", "city", "rider", "amount", "note"];
        let record = reject["record"].as_object().unwrap();
        assert!(
            columns.iter().all(|column| record.contains_key(*column)),
            "{reject}"
        );
        let at: jiff::Timestamp = record["at"].as_str().unwrap().parse().unwrap();
        let split = reject["file"].as_str().unwrap().rsplit('/').next().unwrap();
        let split: usize = split.trim_end_matches(".ndjson").parse().unwrap();
        let row = &case.splits[split][reject["line"].as_u64().unwrap() as usize - 1];
        assert_eq!(row.at, Some(at.as_microsecond()), "{reject}");
    }
    let rows: usize = case.splits.iter().map(Vec::len).sum();
    assert_eq!(accounting.read, rows as u64);
    for (file, count) in [
        ("ledger.rejects.ndjson", accounting.rejected_in_all()),
        ("ledger.late.ndjson", accounting.late),
    ] {
        let path = folder.path("out").join(file);
        let lines = std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
        assert_eq!(lines as u64, count, "{file}");
    }
}

const FILES: [&str; 3] = ["out.ndjson", "ledger.rejects.ndjson", "ledger.late.ndjson"];

fn bytes(folder: &Folder) -> Vec<Option<Vec<u8>>> {
    let read = |file: &&str| std::fs::read(folder.path("out").join(file)).ok();
    FILES.iter().map(read).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn windows_equal_the_oracle_however_the_work_is_cut(case in case()) {
        let micros = 1_000_000;
        let expected = expected(
            &case.splits,
            case.size_s * micros,
            case.offset_s * micros,
            case.disorder_s * micros,
        );
        let folder = prepare(&case);
        let mut first = None;
        for (lanes, batch_rows) in [(1, 65_536), (2, 1), (5, 7), (1, 3), (3, 1024)] {
            let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
            compare(&report, &folder, &expected, &case);
            let written = (report.accounting, bytes(&folder));
            match &first {
                None => first = Some(written),
                Some(first) => prop_assert_eq!(first, &written, "{} lanes, batches of {}", lanes, batch_rows),
            }
        }
    }
}

/// Every batch size and number of lanes that is promised, and one of them twice.
const CUTS: [(u32, usize); 13] = [
    (1, 65_536),
    (1, 1024),
    (1, 7),
    (1, 1),
    (2, 65_536),
    (2, 1024),
    (2, 7),
    (2, 1),
    (5, 65_536),
    (5, 1024),
    (5, 7),
    (5, 1),
    (1, 65_536),
];

/// A larger stream in several files, so that batches of every size really are cut: the same
/// accounts, the same bytes, the same features in the store.
fn rides_give_equal_bytes(format: RidesFormat, output: &str) {
    let folder = Folder::new();
    let ndjson = format == RidesFormat::Ndjson;
    let spec = RidesSpec {
        drivers: 100,
        rate_per_s: 10.0,
        late_share: 0.01,
        malformed_share: if ndjson { 0.003 } else { 0.0 },
        files: 3,
        format,
        ..RidesSpec::new(5_000, 11)
    };
    write_rides(&spec, &folder.path("events"), |_| {}).unwrap();
    folder.write(
        "penstock.toml",
        "[environments.local]\noutput = \"out\"\nstore = \"store\"\n[environments.local.events.ride_offer]\nfiles = \"events\"\nevent_time = \"occurred_at\"\n",
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "accept"
event = "ride_offer"
transform = {:?}
key = "driver_id"
group = "driver"
[window]
kind = "tumbling"
size = "1m"
disorder = "20s"
[[feature]]
name = "driver_accept_proportion_10m"
type = "float64"
validation = {{ max = 0.95 }}
[outputs]
features = "out.{output}"
"#,
            transform("driver_accept_proportion")
        ),
    );
    let mut first = None;
    for (lanes, batch_rows) in CUTS {
        let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
        assert!(report.accounting.balances());
        assert!(report.accounting.late > 0, "none late");
        assert!(
            report.accounting.rejected_in_all() > 0 || !ndjson,
            "none rejected"
        );
        assert!(report.invalid > 0, "none invalid");
        let read = |file: &str| std::fs::read(folder.path("out").join(file)).ok();
        let files = [
            "accept.rejects.ndjson",
            "accept.late.ndjson",
            "accept.invalid.ndjson",
        ];
        let written = (
            report.accounting,
            (report.windows, report.rows, report.values, report.invalid),
            files.map(read),
            read(&format!("out.{output}")),
        );
        let same = first.get_or_insert(written.clone());
        // Not assert_eq: nobody reads two files as lists of bytes.
        assert!(
            *same == written,
            "{lanes} lanes, batches of {batch_rows}: {:?}",
            written.0
        );
    }
}

#[test]
fn rides_from_ndjson_give_equal_bytes_however_the_work_is_cut() {
    rides_give_equal_bytes(RidesFormat::Ndjson, "parquet");
}

#[test]
fn rides_from_parquet_give_equal_bytes_however_the_work_is_cut() {
    rides_give_equal_bytes(RidesFormat::Parquet, "csv");
}
