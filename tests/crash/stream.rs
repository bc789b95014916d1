//! A stream in which every loss shows, and pipelines over it.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::support::{Folder, transform};

/// Rows of each of the two files.
pub(super) const ROWS: u32 = 6_000;
/// Keys, of which the first has a third of all rows.
pub(crate) const KEYS: u32 = 40;

/// Windows of every kind, with and without corrections.
pub(crate) const WINDOWS: [&str; 6] = [
    "kind = \"tumbling\"\nsize = \"1m\"\nallowed_lateness = \"2m\"",
    "kind = \"hopping\"\nsize = [\"1m\", \"5m\"]\nslide = \"10s\"",
    "kind = \"hopping\"\nsize = \"2m\"\nslide = \"20s\"\nallowed_lateness = \"1m\"",
    "kind = \"session\"\ngap = \"15s\"\nallowed_lateness = \"30s\"",
    "kind = \"session\"\ngap = \"10s\"\nemit = { every = \"20s\" }",
    "kind = \"unbounded\"\nttl = \"1m\"\nemit = { every = \"30s\" }",
];

/// A folder with two files of events and a pipeline over them.
pub(super) fn folder(seed: u64, window: &str, run: &str) -> Folder {
    let folder = Folder::new();
    let mut random = Pcg64::seed_from_u64(seed);
    for file in ["a", "b"] {
        let mut lines = String::new();
        let mut now = 0.0;
        for _ in 0..ROWS {
            now += random.random_range(0.0..0.4);
            lines.push_str(&event(&mut random, now).1);
        }
        folder.write(&format!("events/{file}.ndjson"), lines);
    }
    folder.write(
        "penstock.toml",
        r#"
[environments.local]
output = "out"
store = "store"
[environments.local.events.entry]
files = "events"
event_time = "at"
schema = { at = "timestamp[ms, UTC]", key = "int64", amount = "float64", note = "utf8" }
"#,
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"
name = "totals"
event = "entry"
transform = {:?}
key = ["key"]
group = "key"
[window]
{window}
disorder = "5s"
[[feature]]
name = "rows_{{window}}"
column = "rows"
type = "uint64"
[[feature]]
name = "sum_{{window}}"
column = "sum"
type = "float64"
validation = {{ max = 3000.0 }}
[outputs]
features = "out.ndjson"
[run]
batch_rows = 256
{run}
"#,
            transform("ledger")
        ),
    );
    folder
}

/// A key and a line: most rows are in order, some late, some far too late, some refused, some no row at
/// all.
pub(crate) fn event(random: &mut Pcg64, now: f64) -> (u32, String) {
    let behind = match random.random_range(0..100) {
        0..80 => 0.0,
        80..95 => random.random_range(0.0..10.0),
        95..99 => random.random_range(10.0..90.0),
        _ => random.random_range(90.0..600.0),
    };
    let key = match random.random_range(0..3) {
        0 => 0,
        _ => random.random_range(0..KEYS),
    };
    let amount = match random.random_range(0..20) {
        0 => "null".to_owned(),
        1 => "-1.5".to_owned(),
        _ => format!("{}", random.random_range(0.0..100.0_f64)),
    };
    let note = match random.random_range(0..4) {
        0 => "null".to_owned(),
        _ => format!("\"n{}\"", random.random_range(0..1_000)),
    };
    let at = ((now - behind).max(0.0) * 1000.0) as i64;
    let line = match random.random_range(0..500) {
        0 => "{\"at\": broken\n".to_owned(),
        1 => format!("{{\"at\":{at},\"key\":null,\"amount\":1}}\n"),
        _ => format!("{{\"at\":{at},\"key\":{key},\"amount\":{amount},\"note\":{note}}}\n"),
    };
    (key, line)
}
