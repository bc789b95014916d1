//! Real flights, against what DuckDB makes of them.

use std::collections::HashMap;

use crate::support::{Folder, Tuning, root, transform};

#[test]
fn daily_flights_are_as_duckdb_has_them() {
    let window = "kind = \"tumbling\"\nsize = \"1d\"";
    compare(
        "flights.tumbling_1d.csv",
        window,
        &["flights", "mean_delay_minutes", "late_share"],
    );
}

#[test]
fn flights_of_six_hours_every_hour_are_as_duckdb_has_them() {
    let window = "kind = \"hopping\"\nsize = \"6h\"\nslide = \"1h\"";
    compare(
        "flights.hopping_6h_1h.csv",
        window,
        &["flights", "max_delay_minutes", "distance_miles"],
    );
}

#[test]
fn flights_between_quiet_times_are_as_duckdb_has_them() {
    let window = "kind = \"session\"\ngap = \"3h\"";
    compare(
        "flights.session_3h.csv",
        window,
        &["flights", "min_delay_minutes"],
    );
}

/// Runs flights through windows, and compares columns with a file: counts and sums exactly, means
/// to 1e-9.
fn compare(expected: &str, window: &str, columns: &[&str]) {
    let data = root().join("../shared/data");
    let events = data.join("flights.ndjson");
    let (Ok(expected), true) = (
        std::fs::read_to_string(data.join(expected)),
        events.exists(),
    ) else {
        println!("left out: flights against DuckDB's answer, because ../shared/data is not there");
        return;
    };
    let folder = Folder::new();
    folder.write("penstock.toml", format!(
        "[environments.local]\noutput = \"out\"\n[environments.local.events.flight]\nfiles = {events:?}\nevent_time = \"departed_at\"\n"
    ));
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
name = "flights"
type = "uint64"
[[feature]]
name = "late_share"
type = "float64"
validation = {{ min = 0.0, max = 1.0 }}
[outputs]
store = false
features = "flights.csv"
"#,
            transform("departures")
        ),
    );
    for (lanes, batch_rows) in [(2, 1000), (1, 7), (5, 65_536)] {
        let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
        assert!(report.accounting.balances());
        assert_eq!(report.accounting.applied, 20_000);
        let found = folder.text("out/flights.csv");
        let (found, expected) = (rows(&found), rows(&expected));
        assert_eq!(found.len(), expected.len());
        for (window, want) in &expected {
            let got = &found[window];
            for column in columns {
                let (got, want) = (got[column], want[column]);
                if !want.contains('.') {
                    assert_eq!(number(got), number(want), "{column} of {window:?}");
                } else {
                    let difference = (number(got) - number(want)).abs();
                    assert!(
                        difference <= 1e-9,
                        "{column}: {got} for {want} at {window:?}"
                    );
                }
            }
        }
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// The rows of a CSV file: key and window to the rest, by name.
fn rows(csv: &str) -> HashMap<[&str; 3], HashMap<&str, &str>> {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    let row = |cells: Vec<_>| {
        let rest = names[3..].iter().copied().zip(cells[3..].iter().copied());
        ([cells[0], cells[1], cells[2]], rest.collect())
    };
    lines.map(row).collect()
}
