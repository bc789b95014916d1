//! Random rides, split into entries, against the oracle.

use std::collections::BTreeMap;

use penstock::pipeline::RunReport;
use penstock::stage::Stage;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::{Ended, Ride, Time, ended};
use crate::support::{Folder, Tuning, cases, transform};
use crate::windows::oracle::Expected;
use crate::windows::tumbling::found;

#[derive(Debug, Clone)]
struct Case {
    splits: Vec<Vec<Ride>>,
    time: Time,
}

fn ride() -> impl Strategy<Value = (i64, Ride)> {
    let step = prop_oneof![6 => 0..4_i64, 3 => -6..0_i64, 1 => 5..40_i64];
    let rider = prop::option::weighted(0.9, -2..3_i64);
    let riders = prop_oneof![
        3 => prop::collection::vec(rider.clone(), 1..2).prop_map(Some),
        3 => prop::collection::vec(rider, 0..5).prop_map(Some),
        1 => Just(None),
    ];
    let amount = prop_oneof![
        6 => (-3..50_i32).prop_map(|n| Some(f64::from(n) / 10.0)),
        1 => Just(None)
    ];
    let note = prop_oneof![4 => Just(None), 4 => "[a-zé]{0,6}".prop_map(Some), 1 => Just(Some("bad".to_owned()))];
    let shift = prop_oneof![
        8 => (-20..20_i64).prop_map(Some),
        1 => Just(None),
        1 => prop_oneof![Just(i64::MAX), Just(-100_000_000_000)].prop_map(Some),
    ];
    let city = prop::option::weighted(0.95, "[ab]{1,2}");
    let timed = prop::bool::weighted(0.95);
    (step, timed, city, riders, amount, note, shift).prop_map(
        |(step, timed, city, riders, amount, note, shift_s)| {
            let ride = Ride {
                at: timed.then_some(0),
                city,
                riders,
                amount,
                note,
                shift_s,
            };
            (step, ride)
        },
    )
}

fn split() -> impl Strategy<Value = Vec<Ride>> {
    (-50..50_i64, prop::collection::vec(ride(), 0..40)).prop_map(|(start, rides)| {
        let mut at = start;
        rides
            .into_iter()
            .map(|(step, mut ride)| {
                at += step;
                ride.at = ride.at.map(|_| at * 1_000_000);
                ride
            })
            .collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let splits = prop::collection::vec(split(), 1..4);
    (splits, 1..30_i64, 0..30_i64, 0..12_i64, any::<bool>())
        .prop_filter("some input", |(splits, ..)| {
            splits.iter().any(|rides| !rides.is_empty())
        })
        .prop_map(|(splits, size_s, offset_s, disorder_s, shifted)| Case {
            splits,
            time: Time {
                size: size_s * 1_000_000,
                offset: offset_s % size_s * 1_000_000,
                disorder: disorder_s * 1_000_000,
                shifted,
            },
        })
}

fn prepare(case: &Case) -> Folder {
    let folder = Folder::new();
    for (number, rides) in case.splits.iter().enumerate() {
        let lines: String = rides
            .iter()
            .map(|ride| format!("{}\n", line(ride)))
            .collect();
        folder.write(&format!("events/{number}.ndjson"), lines);
    }
    folder.write(
        "penstock.toml",
        r#"
[environments.local]
output = "out"
store = "store"
[environments.local.events.ride]
files = "events/*.ndjson"
event_time = "at"
schema = { at = "timestamp[us, UTC]", city = "utf8", riders = "list[int64]", amount = "float64", note = "utf8", shift_s = "int64" }
"#,
    );
    folder
}

fn line(ride: &Ride) -> Value {
    let at = ride
        .at
        .map(|at| jiff::Timestamp::from_microsecond(at).unwrap().to_string());
    json!({
        "at": at, "city": ride.city, "riders": ride.riders, "amount": ride.amount,
        "note": ride.note, "shift_s": ride.shift_s,
    })
}

/// Writes the pipeline: mapper and windows in one component, or in two.
fn declare(folder: &Folder, time: Time, apart: bool) {
    let (windows, map) = match apart {
        false => ("splitter_ledger", String::new()),
        true => {
            let config = if time.shifted {
                "{ shifted = true }"
            } else {
                "{}"
            };
            let mapper = transform("splitter");
            let map = format!("[map]\ntransform = {mapper:?}\nconfig = {config}\n");
            ("ledger", map)
        }
    };
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "ledger"
event = "ride"
transform = {:?}
key = ["city", "rider"]
group = "rider"
{map}
[window]
kind = "tumbling"
size = "{}us"
offset = "{}us"
disorder = "{}us"
[[feature]]
name = "rows"
type = "uint64"
[outputs]
store = false
features = "out.ndjson"
"#,
            transform(windows),
            time.size,
            time.offset,
            time.disorder
        ),
    );
}

fn compare(report: &RunReport, folder: &Folder, expected: &Ended, case: &Case) {
    let accounting = &report.accounting;
    assert!(accounting.balances(), "{accounting:?}");
    let rejects = |stage: Stage, code: &str| {
        let rejected = accounting.rejected.iter();
        let of = rejected.filter(|(reason, _)| reason.stage == stage && reason.code == code);
        of.map(|(_, count)| *count).sum::<u64>()
    };
    let mapped = accounting.mapped.expect("there is a mapper");
    let found = Ended {
        windows: Expected {
            windows: found(folder),
            applied: accounting.applied,
            late: accounting.late,
            null_event_time: expected.windows.null_event_time,
            null_key: rejects(Stage::Key, "null_key"),
            negative: rejects(Stage::Transform, "negative"),
        },
        rows_in: mapped.rows_in,
        filtered: accounting.filtered,
        mapped: mapped.mapped,
        rows_out: mapped.rows_out,
        untimed: mapped.untimed,
        refused: refused(folder, case),
    };
    assert_eq!(&found, expected);
    let rides: usize = case.splits.iter().map(Vec::len).sum();
    assert_eq!(accounting.read, rides as u64);
    assert_eq!(
        mapped.rows_in,
        accounting.read - expected.windows.null_event_time
    );
}

/// The lines of the files of rejected and late rows, each of which must name a line of the input.
fn refused(folder: &Folder, case: &Case) -> BTreeMap<(usize, usize, String), u64> {
    let mut refused = BTreeMap::new();
    for file in ["ledger.rejects.ndjson", "ledger.late.ndjson"] {
        let text = std::fs::read_to_string(folder.path("out").join(file)).unwrap_or_default();
        for line in text.lines() {
            let reject: Value = serde_json::from_str(line).unwrap();
            let split = reject["file"].as_str().unwrap().rsplit('/').next().unwrap();
            let split: usize = split.trim_end_matches(".ndjson").parse().unwrap();
            let position = reject["line"].as_u64().unwrap() as usize - 1;
            let ride = &case.splits[split][position];
            // A time that no calendar has cannot be shown.
            if reject["record"].is_object() {
                assert_eq!(reject["record"]["note"], json!(ride.note), "{reject}");
            }
            let code = reject["code"].as_str().unwrap().to_owned();
            *refused.entry((split, position, code)).or_default() += 1;
        }
    }
    refused
}

const FILES: [&str; 3] = ["out.ndjson", "ledger.rejects.ndjson", "ledger.late.ndjson"];

fn bytes(folder: &Folder) -> Vec<Option<Vec<u8>>> {
    let read = |file: &&str| std::fs::read(folder.path("out").join(file)).ok();
    FILES.iter().map(read).collect()
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn mapped_rows_equal_the_oracle_however_the_work_is_cut(case in case()) {
        let expected = ended(&case.splits, case.time);
        let folder = prepare(&case);
        let mut first = None;
        for (lanes, batch_rows, apart) in [
            (1, 65_536, true),
            (2, 1, true),
            (5, 7, true),
            (3, 1024, true),
            (1, 3, false),
            (4, 16, false),
        ] {
            // One component has one configuration, and the ledger takes none.
            if case.time.shifted && !apart {
                continue;
            }
            declare(&folder, case.time, apart);
            let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
            compare(&report, &folder, &expected, &case);
            let written = (report.accounting, bytes(&folder));
            match &first {
                None => first = Some(written),
                Some(first) => prop_assert!(*first == written, "{} lanes, batches of {}, apart: {}", lanes, batch_rows, apart),
            }
        }
    }
}
