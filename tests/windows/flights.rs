//! Real flights, against what DuckDB makes of them.

use std::collections::HashMap;

use crate::support::{Folder, Tuning, root, transform};

#[test]
fn daily_flights_are_as_duckdb_has_them() {
    let data = root().join("../shared/data");
    let expected = data.join("flights.tumbling_1d.csv");
    let (Ok(expected), true) = (
        std::fs::read_to_string(&expected),
        data.join("flights.ndjson").exists(),
    ) else {
        println!("left out: flights against DuckDB's answer, because ../shared/data is not there");
        return;
    };
    let folder = Folder::new();
    let events = data.join("flights.ndjson");
    folder.write("penstock.toml", format!(
        "[environments.local]\noutput = \"out\"\n[environments.local.events.flight]\nfiles = {events:?}\nevent_time = \"departed_at\"\n"
    ));
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "flights_1d"
event = "flight"
transform = {:?}
key = ["origin"]
group = "airport"
[window]
kind = "tumbling"
size = "1d"
[[feature]]
name = "flights"
type = "uint64"
[[feature]]
name = "mean_delay_minutes"
type = "float64"
[[feature]]
name = "late_share"
type = "float64"
validation = {{ min = 0.0, max = 1.0 }}
[outputs]
store = false
features = "flights.csv"
"#,
            transform("flights_daily")
        ),
    );
    let report = folder
        .run(Tuning {
            lanes: 2,
            batch_rows: 1000,
        })
        .unwrap();
    assert!(report.accounting.balances());
    assert_eq!(report.accounting.applied, 20_000);

    let found = folder.text("out/flights.csv");
    let (found, expected) = (rows(&found), rows(&expected));
    assert_eq!(found.len(), expected.len());
    for (window, want) in &expected {
        let got = &found[window];
        assert_eq!(got[0], want[0], "flights of {window:?}");
        for column in 1..3 {
            let number = |text: &str| text.parse::<f64>().unwrap();
            let (got, want) = (number(got[column]), number(want[column]));
            assert!((got - want).abs() <= 1e-9, "{got} for {want} at {window:?}");
        }
    }
}

/// The rows of a CSV file: key and window to the rest.
fn rows(csv: &str) -> HashMap<[&str; 3], Vec<&str>> {
    csv.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            ([cells[0], cells[1], cells[2]], cells[3..].to_vec())
        })
        .collect()
}
