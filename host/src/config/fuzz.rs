//! Pipelines and environments, as anybody may write them.

use crate::config::{Environment, Pipeline};
use crate::fuzz::run;

const PIPELINE: &str = r#"
name = "driver"
event = "ride_offer"
transform = "driver.wasm"
key = ["driver_id", "city"]
group = "driver"
config = { a = [1, 2.5, "x", true], at = 2026-01-01T00:00:00Z }

[map]
transform = "map.wasm"

[window]
kind = "hopping"
size = ["10m", "1h"]
slide = "5m"
offset = "1s"
allowed_lateness = "1m"
max_future = "1h"

[[feature]]
name = "acceptances_{window}"
type = "int64"
window = "10m"
version = 2
validation = { range = [0, 100], not_null = true }

[outputs]
store = true
features = "out.parquet"
rejects = { topic = "dead" }

[run]
lanes = 4
commit_every = "10s"

[limits]
memory = "64MiB"
cpu_per_call = "1s"
keys = 1_000
"#;

const ENVIRONMENT: &str = r#"
[environments.local]
output = "out"
store = "store"
listen = "127.0.0.1:9464"

[environments.local.events.ride_offer]
files = ["a/*.ndjson", "s3://bucket/b/*.parquet"]
event_time = "at"
schema = { at = "timestamp[us, UTC]", driver_id = "int64", city = "utf8", accepted = "bool" }

[environments.production]
extends = "local"

[environments.production.kafka]
"bootstrap.servers" = "localhost:9092"

[environments.production.events.ride_offer]
topic = "rides"
format = "json"
event_time = "at"
"#;

#[test]
fn fuzz_pipeline_toml() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("driver.toml");
    run(
        "pipeline_toml",
        vec![PIPELINE.as_bytes().to_vec()],
        |input| {
            std::fs::write(&path, input).unwrap();
            match Pipeline::load(&path) {
                Ok(pipeline) => assert!(!pipeline.features.is_empty()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        },
    );
}

#[test]
fn fuzz_penstock_toml() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("penstock.toml");
    let near = folder.path().join("driver.toml");
    run(
        "penstock_toml",
        vec![ENVIRONMENT.as_bytes().to_vec()],
        |input| {
            std::fs::write(&path, input).unwrap();
            for name in ["local", "production"] {
                if let Err(error) = Environment::find_and_load(&near, name) {
                    assert!(!error.to_string().is_empty());
                }
            }
        },
    );
}
