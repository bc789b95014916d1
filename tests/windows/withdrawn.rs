//! A value that was given and holds no longer: a late row takes it back, from files and the store.

use serde_json::{Value, json};

use crate::support::{Folder, transform};

/// The key `a` gets a row that comes late, after which its window gives nothing; `b` does not.
const EVENTS: [(u32, &str, f64); 6] = [
    (10, "a", 1.0),
    (20, "a", 1.0),
    (30, "b", 1.0),
    (700, "b", 1.0),
    (40, "a", 13.0),
    (50, "b", 13.5),
];

fn prepare() -> Folder {
    let folder = Folder::new();
    let line = |(at, key, amount)| format!("{{\"at\":{at},\"key\":{key:?},\"amount\":{amount}}}\n");
    folder.write("events.ndjson", EVENTS.map(line).concat());
    folder.write(
        "penstock.toml",
        r#"
[environments.local]
output = "out"
store = "store"
[environments.local.events.entry]
files = "events.ndjson"
event_time = "at"
schema = { at = "timestamp[s, UTC]", key = "utf8!", amount = "float64!" }
"#,
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "counts"
event = "entry"
transform = {:?}
config = {{ misdeed = "withhold" }}
key = ["key"]
group = "key"
[window]
kind = "tumbling"
size = "10m"
allowed_lateness = "1h"
[[feature]]
name = "rows"
type = "uint64"
[outputs]
features = "out.ndjson"
"#,
            transform("unruly")
        ),
    );
    folder
}

#[test]
fn a_window_that_gives_nothing_after_a_correction_is_withdrawn_from_files_and_store() {
    let folder = prepare();
    folder.penstock(&["run", "pipeline.toml", "--quiet"]).fine();
    let rows: Vec<Value> = folder
        .text("out/out.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_key = |key: &str| -> Vec<(u64, bool, Option<u64>)> {
        let rows = rows.iter().filter(|row| row["key"] == key);
        let row = |row: &Value| {
            (
                row["revision"].as_u64().unwrap(),
                row["withdrawn"].as_bool().unwrap(),
                row["rows"].as_u64(),
            )
        };
        rows.map(row).collect()
    };
    assert_eq!(of_key("a"), [(0, false, Some(2)), (1, true, None)]);
    assert_eq!(
        of_key("b"),
        [
            (0, false, Some(1)),
            (1, false, Some(2)),
            (0, false, Some(1))
        ]
    );
    let got = |key: &str| {
        let got = folder
            .penstock(&["get", "key", key, "rows", "--json"])
            .fine();
        let got: Value = serde_json::from_str(&got).unwrap();
        let feature = &got["features"][0];
        (feature["event_time"].clone(), feature["value"].clone())
    };
    // What was taken back takes the place of what stood there.
    assert_eq!(got("a"), (json!("1970-01-01T00:10:00Z"), Value::Null));
    assert_eq!(got("b"), (json!("1970-01-01T00:20:00Z"), json!(1)));
}
