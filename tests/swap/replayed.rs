//! Versions that are tried on recorded events before anything is asked for: no broker is there.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::Value;

use super::versions::{WINDOW, Wrong, same_but, version};
use crate::crash::stream::event;
use crate::support::Folder;

/// Recorded events of a stream whose broker nobody has, and a pipeline over it whose transform is `old.wasm`.
pub(super) fn folder(window: &str) -> Folder {
    let folder = Folder::new();
    let mut random = Pcg64::seed_from_u64(21);
    let lines = (1..3_000).map(|at| event(&mut random, f64::from(at) * 0.2).1);
    folder.write("recorded.ndjson", lines.collect::<String>());
    let event = |environment: &str, more: &str| {
        format!(
            "[environments.{environment}]\noutput = \"out\"\nstore = \"store\"\n[environments.{environment}.events.entry]\nevent_time = \"at\"\nschema = {{ at = \"timestamp[ms, UTC]\", key = \"int64\", amount = \"float64\", note = \"utf8\" }}\n{more}"
        )
    };
    let live = event(
        "local",
        "[environments.local.events.entry.kafka]\nbrokers = \"127.0.0.1:9\"\ntopic = \"nowhere\"\ngroup = \"none\"\n",
    );
    let recorded = event("recorded", "files = \"recorded.ndjson\"\n");
    folder.write("penstock.toml", live + &recorded);
    folder.write("old.wasm", version(0, Wrong::Nothing));
    folder.write(
        "pipeline.toml",
        format!(
            "name = \"totals\"\nevent = \"entry\"\ntransform = \"old.wasm\"\nkey = [\"key\"]\ngroup = \"key\"\n[window]\n{window}\ndisorder = \"5s\"\n[[feature]]\nname = \"rows_1m\"\ncolumn = \"rows\"\ntype = \"uint64\"\n[[feature]]\nname = \"sum_1m\"\ncolumn = \"sum\"\ntype = \"float64\"\n[outputs]\nfeatures = \"out.ndjson\"\n"
        ),
    );
    folder
}

/// What is said of a version that is tried on the recorded events.
fn tried(folder: &Folder, bytes: Vec<u8>) -> Value {
    folder.write("new.wasm", bytes);
    let arguments = ["swap", "totals", "new.wasm", "--json", "--replay"];
    let tried = folder.penstock(&[&arguments[..], &["recorded.ndjson"]].concat());
    serde_json::from_str(&tried.fine()).unwrap()
}

/// Rows of features by entity and emission: the end of the window, and the sum.
pub(super) type RowsOfRun = BTreeMap<String, (String, f64)>;

/// What a version gives in a run of its own over the recorded events, and the watermark at their end.
pub(super) fn rows_of_run(folder: &Folder, bytes: Vec<u8>) -> (RowsOfRun, String) {
    let begin = folder.read("old.wasm");
    folder.write("old.wasm", bytes);
    let run = [
        "run",
        "pipeline.toml",
        "--env",
        "recorded",
        "--quiet",
        "--json",
    ];
    let told: Value = serde_json::from_str(&folder.penstock(&run).fine()).unwrap();
    folder.write("old.wasm", begin);
    let lines = folder.text("out/out.ndjson");
    // Without its last letter a time is the greater text if it is the later one.
    let time = |value: &Value| value.as_str().unwrap().trim_end_matches('Z').to_owned();
    let rows = lines.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let of = ["key", "window_start", "window_end", "revision", "withdrawn"];
        let of: Vec<String> = of.iter().map(|name| row[*name].to_string()).collect();
        let sum = row["sum"].as_f64().unwrap();
        (of.join(" "), (time(&row["window_end"]), sum))
    });
    let rows: RowsOfRun = rows.collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    (rows, time(&told[0]["watermark"]))
}

pub(super) fn figures(report: &Value, feature: &str) -> [u64; 4] {
    let figures = &report["report"]["features"][format!("key/{feature}@1")];
    ["equal", "different", "only_old", "only_new"].map(|name| {
        let number = figures[name].as_u64();
        number.unwrap_or_else(|| panic!("{name} of {report}"))
    })
}

#[test]
fn equal_versions_differ_in_nothing() {
    let folder = folder(WINDOW);
    let report = tried(&folder, same_but("versioned", 1));
    let all = rows_of_run(&folder, version(0, Wrong::Nothing)).0.len() as u64;
    for feature in ["rows_1m", "sum_1m"] {
        assert_eq!(figures(&report, feature), [all, 0, 0, 0], "{report}");
    }
    assert_eq!(report["report"]["rows"], 2_999, "{report}");
    assert_eq!(report["promoted"], Value::Null);
}

#[test]
fn what_differs_is_counted_as_two_runs_show_it() {
    let folder = folder(WINDOW);
    let report = tried(&folder, version(3, Wrong::Nothing));
    let (old, new) = (
        rows_of_run(&folder, version(0, Wrong::Nothing)).0,
        rows_of_run(&folder, version(3, Wrong::Nothing)).0,
    );
    assert!(old.keys().eq(new.keys()));
    let mut apart: Vec<f64> = old
        .iter()
        .zip(&new)
        .map(|((_, (_, old)), (_, (_, new)))| (new - old).abs())
        .filter(|apart| *apart > 0.0)
        .collect();
    apart.sort_by(f64::total_cmp);
    let (all, different) = (old.len() as u64, apart.len() as u64);
    assert_eq!(figures(&report, "rows_1m"), [all, 0, 0, 0], "{report}");
    let sums = figures(&report, "sum_1m");
    assert_eq!(sums, [all - different, different, 0, 0], "{report}");
    assert!(different > 300);
    let distance = &report["report"]["features"]["key/sum_1m@1"]["distance"];
    let found = |name: &str| distance[name].as_f64().unwrap();
    // Texts of floats are read to the last digit but one.
    let is_near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * other;
    let largest = *apart.last().unwrap();
    assert!(is_near(found("max"), largest), "{distance}");
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let exact = apart[(share * apart.len() as f64).ceil() as usize - 1];
        let found = found(name);
        assert!(
            found >= exact * 0.999 && found <= exact * 1.021,
            "{found} for {exact}"
        );
    }
    let worst = &report["report"]["features"]["key/sum_1m@1"]["worst"];
    assert!(
        is_near(worst[0]["distance"].as_f64().unwrap(), largest),
        "{worst}"
    );
}

#[test]
fn a_version_that_fails_on_recorded_events_is_refused_before_anything_is_asked_for() {
    let folder = folder(WINDOW);
    folder.write("new.wasm", version(0, Wrong::TrapsAtOnce));
    let arguments = ["swap", "totals", "new.wasm", "--replay", "recorded.ndjson"];
    let ended = folder.penstock(&arguments);
    let said = ended.stderr();
    assert_eq!(ended.code(), Some(2), "{said}");
    assert!(
        said.contains("error: the new version fails") && said.contains("at once"),
        "{said}"
    );
    assert!(!folder.path("store").exists());
}

#[test]
fn what_does_not_hold_is_not_asked_for() {
    let folder = folder("kind = \"session\"\ngap = \"15s\"\nallowed_lateness = \"30s\"");
    folder.write("new.wasm", version(3, Wrong::Nothing));
    let tried = |condition: &str, more: &[&str]| {
        let arguments = ["swap", "totals", "new.wasm", "--replay", "recorded.ndjson"];
        let asked = ["--promote-if", condition];
        folder.penstock(&[&arguments[..], &asked, more].concat())
    };
    let some = ["--at-least", "100"];
    tried("different < 0.1%", &some).fails(1, &["nothing is swapped", "key/sum_1m@1"]);
    let many = ["--at-least", "1000000"];
    tried("different < 100%", &many).fails(1, &["1000000 are asked for"]);
    tried("different > 1%", &[]).fails(2, &["is no condition"]);
    // What holds is asked for, and there is nobody to ask.
    tried("missing <= 0%", &some).fails(2, &["store"]);
}
