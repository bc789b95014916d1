//! Windows of several lengths that come out with the same bounds: one order of rows, however the
//! work is cut.

use std::collections::HashMap;

use crate::support::{Folder, Tuning, transform};

/// Sizes of which some windows begin and end together, some end together only, and one begins
/// later than a shorter one that ends with it.
const WINDOW: &str = r#"
kind = "tumbling"
size = ["20m", "30m", "1h"]
emit = { every = "10m" }
disorder = "5m"
"#;

#[test]
fn windows_of_several_lengths_come_in_one_order() {
    let folder = prepare(WINDOW);
    let csv = compare(&folder);
    let mut bounds: HashMap<Vec<&str>, usize> = HashMap::new();
    for line in csv.lines().skip(1) {
        *bounds.entry(line.split(',').take(3).collect()).or_default() += 1;
    }
    assert!(
        bounds.values().any(|rows| *rows == 3),
        "no bounds of three lengths"
    );
}

#[test]
fn corrections_of_several_lengths_come_in_one_order() {
    let folder = prepare(&format!("{WINDOW}\nallowed_lateness = \"1h\""));
    let csv = compare(&folder);
    let revised = csv
        .lines()
        .filter(|line| line.split(',').nth(3) > Some("0"));
    assert!(revised.count() > 10, "hardly a correction");
}

/// Departures of some hours and airports, every fourth of them behind the others.
fn prepare(window: &str) -> Folder {
    let folder = Folder::new();
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let lines = (0..1_500_u64).map(|row| {
        let behind = if row % 4 == 0 { random(1_500) } else { random(200) };
        let second = 4_000 + row * 12 - behind;
        format!(
            "{{\"departed_at\":{second},\"origin\":\"A{}\",\"delay_minutes\":{},\"distance_miles\":{row}}}\n",
            random(5),
            random(60) as i64 - 10,
        )
    });
    folder.write("events.ndjson", lines.collect::<String>());
    folder.write(
        "penstock.toml",
        r#"
[environments.local]
output = "out"
[environments.local.events.flight]
files = "events.ndjson"
event_time = "departed_at"
schema = { departed_at = "timestamp[s, UTC]", origin = "utf8!", delay_minutes = "int64!", distance_miles = "int64!" }
"#,
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "flights"
event = "flight"
transform = {:?}
key = ["origin"]
group = "airport"
[window]
{window}
[[feature]]
name = "flights_{{window}}"
column = "flights"
type = "uint64"
validation = {{ max = 12 }}
[outputs]
store = false
features = "flights.csv"
"#,
            transform("departures")
        ),
    );
    folder
}

/// The features, which must be the same for every cut, as must be the invalid values.
fn compare(folder: &Folder) -> String {
    let mut first = None;
    for (lanes, batch_rows) in [(1, 65_536), (3, 65_536), (1, 1), (3, 7)] {
        let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
        assert!(report.accounting.balances());
        let files = ["out/flights.csv", "out/flights.invalid.ndjson"];
        let written = (report.accounting, files.map(|file| folder.text(file)));
        match &first {
            None => first = Some(written),
            Some(first) => assert_eq!(first, &written, "{lanes} lanes, batches of {batch_rows}"),
        }
    }
    let (_, [features, invalid]) = first.expect("it ran");
    assert!(invalid.lines().count() > 10, "hardly an invalid value");
    features
}
