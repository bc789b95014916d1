//! Declarations and data that do not fit.

use penstock::simulate::{RidesSpec, write_rides};

use crate::support::{Folder, transform};

/// A folder with rides and an environment.
pub(super) fn rides(events: u64) -> Folder {
    let folder = Folder::new();
    write_rides(&RidesSpec::new(events, 3), &folder.path("rides"), |_| {}).unwrap();
    environment(&folder, "files = \"rides\"");
    folder
}

fn environment(folder: &Folder, source: &str) {
    folder.write(
        "penstock.toml",
        format!(
            "[environments.local]\nstore = \"store\"\noutput = \"out\"\n[environments.local.events.ride_offer]\n{source}\nevent_time = \"occurred_at\"\n"
        ),
    );
}

/// Writes a pipeline over the rides.
pub(super) fn pipeline(folder: &Folder, transform: &str, key: &str, size: &str) {
    pipeline_with(folder, transform, key, size, "");
}

fn pipeline_with(folder: &Folder, transform: &str, key: &str, size: &str, more: &str) {
    folder.write(
        "pipeline.toml",
        format!(
            r#"event = "ride_offer"
transform = {transform:?}
key = {key:?}
group = "driver"
[window]
kind = "tumbling"
size = {size:?}
disorder = "30s"
[[feature]]
name = "driver_accept_proportion_10m"
type = "float64"
validation = {{ min = 0.0, max = 1.0 }}
[outputs]
features = "features.parquet"
{more}"#
        ),
    );
}

fn good(folder: &Folder) {
    pipeline(
        folder,
        transform("driver_accept_proportion").to_str().unwrap(),
        "driver_id",
        "10m",
    );
}

#[test]
fn a_run_can_be_looked_up_and_validated() {
    let folder = rides(20_000);
    good(&folder);
    let checked = folder.penstock(&["validate", "pipeline.toml"]).fine();
    assert!(
        checked.contains("fine") && checked.contains("driver/driver_accept_proportion_10m@1"),
        "{checked}"
    );
    let summary = folder
        .penstock(&["run", "pipeline.toml", "--json", "--quiet"])
        .fine();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary[0]["events"]["read"], 20_000);
    assert_eq!(summary[0]["events"]["applied"], 20_000);
    assert!(folder.path("out/features.parquet").exists());

    let got = folder
        .penstock(&[
            "get",
            "driver",
            "1",
            "driver_accept_proportion_10m",
            "--json",
        ])
        .fine();
    let got: serde_json::Value = serde_json::from_str(&got).unwrap();
    let share = got["features"][0]["value"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{got}");
    assert_eq!(got["features"][0]["version"], 1);
    folder
        .penstock(&["get", "driver", "1", "driver_accept_proportion_1m"])
        .fails(
            2,
            &[
                "driver_accept_proportion_1m",
                "did you mean",
                "driver_accept_proportion_10m",
            ],
        );
    folder
        .penstock(&["get", "rider", "1", "x"])
        .fails(2, &["rider", "driver"]);
    folder
        .penstock(&["get", "driver", "999999", "driver_accept_proportion_10m"])
        .fails(1, &["999999"]);
}

#[test]
fn a_second_run_replaces_the_values_of_the_first() {
    let folder = rides(5_000);
    good(&folder);
    folder.penstock(&["run", "pipeline.toml"]).fine();
    let path = folder.path("rides/rides-000.ndjson");
    let text = std::fs::read_to_string(&path).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let driver = first["driver_id"].to_string();
    let get = || {
        folder
            .penstock(&["get", "driver", &driver, "driver_accept_proportion_10m"])
            .fine()
    };
    let before = get();
    // The same events once more, with every answer turned around: equal event times, a later epoch.
    let turned = text
        .replace("\"accepted\":true", "\"accepted\":#")
        .replace("\"accepted\":false", "\"accepted\":true")
        .replace('#', "false");
    std::fs::write(&path, turned).unwrap();
    folder.penstock(&["run", "pipeline.toml"]).fine();
    assert_ne!(get(), before);
}

#[test]
fn a_column_that_is_missing_or_of_another_type_is_named() {
    let folder = rides(100);
    let path = folder.path("rides/rides-000.ndjson");
    let text = std::fs::read_to_string(&path).unwrap();
    good(&folder);
    std::fs::write(&path, text.replace("\"accepted\"", "\"taken\"")).unwrap();
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["accepted"]);
    std::fs::write(
        &path,
        text.replace("\"accepted\":true", "\"accepted\":\"yes\"")
            .replace("\"accepted\":false", "\"accepted\":\"no\""),
    )
    .unwrap();
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["accepted", "bool", "utf8"]);
    std::fs::write(&path, &text).unwrap();
    let good_transform = transform("driver_accept_proportion");
    pipeline(&folder, good_transform.to_str().unwrap(), "driver", "10m");
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["pipeline.toml:3", "no column `driver`", "driver_id"]);
}

#[test]
fn a_window_of_zero_is_refused_where_it_stands() {
    let folder = rides(100);
    let path = transform("driver_accept_proportion");
    pipeline(&folder, path.to_str().unwrap(), "driver_id", "0s");
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["pipeline.toml:7", "size", "zero"]);
}

#[test]
fn a_feature_that_is_declared_twice_is_refused() {
    let folder = rides(100);
    let path = transform("driver_accept_proportion");
    let again = "[[feature]]\nname = \"driver_accept_proportion_10m\"\ntype = \"float64\"\n";
    pipeline_with(&folder, path.to_str().unwrap(), "driver_id", "10m", again);
    folder
        .penstock(&["validate", "pipeline.toml"])
        .fails(2, &["driver_accept_proportion_10m@1", "pipeline.toml:16"]);
}

#[test]
fn a_feature_that_two_files_declare_is_refused() {
    let folder = rides(100);
    good(&folder);
    let other = folder
        .text("pipeline.toml")
        .replace("event =", "name = \"other\"\nevent =")
        .replace("features.parquet", "other.parquet");
    folder.write("pipelines/one.toml", folder.text("pipeline.toml"));
    folder.write("pipelines/two.toml", other);
    folder.penstock(&["run", "pipelines"]).fails(
        2,
        &[
            "driver_accept_proportion_10m@1",
            "one.toml:10",
            "two.toml:11",
        ],
    );
}

#[test]
fn a_key_that_is_a_float_is_refused() {
    let folder = rides(100);
    environment(
        &folder,
        "files = \"rides\"\nschema = { occurred_at = \"timestamp[us, UTC]\", driver_id = \"float64\", accepted = \"bool\" }",
    );
    good(&folder);
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["pipeline.toml:3", "float64", "cannot be a key"]);
}

#[test]
fn more_lanes_than_there_is_room_for_are_refused() {
    let folder = rides(100);
    good(&folder);
    let most = penstock::sandbox::MAX_INSTANCES;
    let copies = most / 1024 + 1;
    for copy in 0..copies {
        let name = format!("name = \"p{copy}\"\nevent =");
        let text = folder.text("pipeline.toml").replace("event =", &name);
        let feature = format!("name = \"f{copy}\"\ncolumn = \"driver_accept_proportion_10m\"");
        let text = text.replace("name = \"driver_accept_proportion_10m\"", &feature);
        let text = text.replace("features.parquet", &format!("{copy}.parquet"));
        folder.write(&format!("pipelines/{copy}.toml"), text);
    }
    folder
        .penstock(&["run", "pipelines", "--lanes", "1024"])
        .fails(2, &["lanes together", "run.lanes"]);
}

#[test]
fn a_feature_of_another_type_than_the_transform_gives_is_refused() {
    let folder = rides(100);
    let path = transform("driver_accept_proportion");
    let other = "[[feature]]\nname = \"driver_offers_10m\"\ntype = \"utf8\"\n";
    pipeline_with(&folder, path.to_str().unwrap(), "driver_id", "10m", other);
    folder.penstock(&["validate", "pipeline.toml"]).fails(
        2,
        &["driver_offers_10m", "utf8", "uint64", "pipeline.toml:17"],
    );
}

#[test]
fn files_that_hold_nothing_are_told() {
    let folder = rides(100);
    good(&folder);
    folder.write("rides/rides-000.ndjson", "");
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["rides-000.ndjson", "empty"]);
    std::fs::remove_file(folder.path("rides/rides-000.ndjson")).unwrap();
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["rides", "penstock.toml:5"]);
    environment(&folder, "files = \"nowhere/*.parquet\"");
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["nowhere", "penstock.toml:5"]);
}

#[test]
fn a_truncated_parquet_file_is_told_and_earlier_results_stay() {
    let folder = rides(100);
    good(&folder);
    folder.penstock(&["run", "pipeline.toml"]).fine();
    let before = folder.read("out/features.parquet");
    folder
        .penstock(&[
            "simulate", "rides", "--events", "5000", "--format", "parquet", "--out", "other",
        ])
        .fine();
    environment(&folder, "files = \"other\"");
    let path = folder.path("other/rides-000.parquet");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["rides-000.parquet"]);
    std::fs::write(&path, b"").unwrap();
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["rides-000.parquet", "empty"]);
    assert_eq!(folder.read("out/features.parquet"), before);
}

#[test]
fn a_malformed_line_is_kept_with_its_place_or_stops_the_run() {
    let folder = rides(100);
    good(&folder);
    let path = folder.path("rides/rides-000.ndjson");
    let mut lines: Vec<String> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.insert(10, "{\"driver_id\": 7, oops".into());
    std::fs::write(&path, lines.join("\n")).unwrap();
    let out = folder.penstock(&["run", "pipeline.toml"]).fine();
    assert!(out.contains("malformed_json"), "{out}");
    let reject: serde_json::Value =
        serde_json::from_str(&folder.text("out/pipeline.rejects.ndjson")).unwrap();
    assert_eq!(reject["line"], 11);
    assert_eq!(reject["record"], "{\"driver_id\": 7, oops");
    assert!(
        reject["file"]
            .as_str()
            .unwrap()
            .ends_with("rides-000.ndjson")
    );

    let path = transform("driver_accept_proportion");
    pipeline_with(
        &folder,
        path.to_str().unwrap(),
        "driver_id",
        "10m",
        "[run]\non_malformed = \"stop\"\n",
    );
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["rides-000.ndjson", "line 11", "on_malformed"]);
}

#[test]
fn an_environment_with_a_topic_is_validated_without_its_broker() {
    let folder = rides(100);
    good(&folder);
    let mut text = folder.text("penstock.toml");
    text.push_str("[environments.production.events.ride_offer]\nkafka = { brokers = \"localhost:9092\", topic = \"offers\" }\nevent_time = \"occurred_at\"\nschema = { occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\", accepted = \"bool\" }\n");
    folder.write("penstock.toml", text);
    folder.penstock(&["validate", "pipeline.toml"]).fine();
    // Nobody asks the broker, which is not there.
    let validated = folder.penstock(&["validate", "pipeline.toml", "--env", "production"]);
    let shown = validated.fine();
    assert!(
        shown.contains("Kafka topic `offers`, schema declared"),
        "{shown}"
    );
    assert!(shown.contains("accepted: bool"), "{shown}");
    folder
        .penstock(&["run", "pipeline.toml", "--env", "staging"])
        .fails(2, &["staging", "production"]);
}
