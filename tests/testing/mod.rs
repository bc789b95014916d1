//! `penstock test`, `penstock dev` and `penstock verify`, run as people run them.

mod cases;
mod dev;
mod golden;
mod parity;
mod promises;

use crate::support::{Folder, transform};

/// Two cities, two windows of ten seconds; the last row but one is late, the last one is rejected.
const EVENTS: &str = r#"{"at":"2026-01-01T00:00:01Z","city":"a","amount":1.5}
{"at":"2026-01-01T00:00:02Z","city":"b","amount":0.1}
{"at":"2026-01-01T00:00:03Z","city":"a","amount":2.5}
{"at":"2026-01-01T00:00:04Z","city":"b","amount":0.2}
{"at":"2026-01-01T00:00:05Z","city":"a","amount":4}
{"at":"2026-01-01T00:00:12Z","city":"a","amount":8}
{"at":"2026-01-01T00:00:06Z","city":"a","amount":16}
{"at":"2026-01-01T00:00:13Z","city":"a","amount":"x"}
"#;

/// What `wrong_merge` and `hidden_state` make of them when they do nothing wrong.
const EXPECTED: &str = "\
city,window_start,window_end,rows,sum
a,2026-01-01T00:00:00Z,2026-01-01T00:00:10Z,3,8
b,2026-01-01T00:00:00Z,2026-01-01T00:00:10Z,2,0.30000000000000004
a,2026-01-01T00:00:10Z,2026-01-01T00:00:20Z,1,8
";

/// A folder with the events of `EVENTS` as the environment's own, and a pipeline over them.
fn folder(guest: &str, config: &str) -> Folder {
    let folder = Folder::new();
    folder.write("events.ndjson", EVENTS);
    folder.write("expected.csv", EXPECTED);
    let events = |name: &str| {
        format!(
            r#"[environments.{name}]
store = "store"
output = "out"
[environments.{name}.events.entry]
files = "nowhere.ndjson"
event_time = "at"
schema = {{ at = "timestamp[us, UTC]", city = "utf8", amount = "float64", note = "utf8" }}
"#
        )
    };
    folder.write(
        "penstock.toml",
        format!("{}{}", events("local"), events("ci")),
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"name = "totals"
event = "entry"
transform = {:?}
key = "city"
group = "city"
config = {{ does = "{config}" }}
[window]
kind = "tumbling"
size = "10s"
[[feature]]
name = "sum"
type = "float64"
[outputs]
features = "features.csv"
"#,
            transform(guest)
        ),
    );
    folder
}

/// A folder whose transform does nothing wrong.
fn pure() -> Folder {
    folder("hidden_state", "nothing")
}

/// The usual arguments, and more.
fn test<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["test", "pipeline.toml", "--events", "events.ndjson"];
    [&usual, more].concat()
}
