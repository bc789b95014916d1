//! A right pipeline file, read whole; and `cases/pipeline.txt`, a table of wrong ones.

use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;

use super::super::limits::Limits;
use super::*;
use crate::config::cases::check_cases;
use crate::config::{Emit, OnIdle, WindowKind, load_pipelines, parse_duration};
use crate::store::validation::{Literal, Validation};

/// Every key there is.
const WHOLE: &str = r#"name = "driver_accept_proportion_10m"
event = "ride_offer"
transform = "transforms/driver.wasm"
key = ["driver_id", "city"]
group = "driver"
owner = "marketplace@example.com"
config = { minimum = 3, names = ["a"], since = 2026-01-31, deep = { b = 1.5, a = true } }

[window]
kind = "tumbling"
size = "10m"
offset = "2m"
disorder = "30s"

[[feature]]
name = "accept_proportion_10m"
version = 2
column = "accept_proportion"
type = "float64"
description = "Share of ride offers that the driver accepted."
tags = ["marketplace"]
validation = { min = 0, max = 1.0, nulls = false }

[[feature]]
name = "last_tier"
group = "tier"
owner = "tiers@example.com"
type = "utf8"
validation = { allowed = ["gold", "silver"], max_length = 10 }

[outputs]
store = false
features = "driver.parquet"
rejects = "bad.csv"
late = "late.ndjson"
topics = ["driver_features", "second"]
invalid = { topic = "dead_letters" }

[run]
lanes = 4
batch_rows = 1_000
on_malformed = "stop"
commit_every = "5s"
state_memory = "64MiB"
[limits]
memory = "64MiB"
cpu_per_call = "2s"
output_rows = 1_000
output_bytes = "1MiB"
state_per_group = "4KiB"
log_lines_per_call = 0
metric_names = 8
"#;

/// No key that may be left out.
const LEAST: &str = r#"event = "ride_offer"
transform = "transforms/driver.wasm"
key = "driver_id"
[window]
kind = "tumbling"
size = "10m"
[[feature]]
group = "driver"
name = "acceptances"
type = "int64"
"#;

/// A folder with a transform and these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("transforms")).unwrap();
    std::fs::write(folder.path().join("transforms/driver.wasm"), "").unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// An error as it is shown, without the folder's own path.
fn shown(error: &ConfigError, folder: &tempfile::TempDir) -> String {
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

fn load(text: &str) -> Pipeline {
    let folder = folder(&[("driver.toml", text)]);
    Pipeline::load(&folder.path().join("driver.toml")).unwrap()
}

#[test]
fn a_pipeline_with_every_key_is_read() {
    let pipeline = load(WHOLE);
    assert_eq!(pipeline.name.value, "driver_accept_proportion_10m");
    assert_eq!(pipeline.event.value, "ride_offer");
    let file = pipeline.transform.file().expect("it is a path");
    assert!(file.ends_with("transforms/driver.wasm"));
    let key: Vec<&str> = pipeline.key.iter().map(|column| column.as_str()).collect();
    assert_eq!(key, ["driver_id", "city"]);
    assert_eq!(
        pipeline.config.value,
        r#"{"deep":{"a":true,"b":1.5},"minimum":3,"names":["a"],"since":"2026-01-31"}"#
    );
    let micros = |text| parse_duration(text).unwrap();
    let window = WindowSpec {
        kind: WindowKind::Tumbling {
            sizes: vec![micros("10m")],
            offset: micros("2m"),
            zone: None,
        },
        disorder: micros("30s"),
        allowed_lateness: 0,
        emit: Emit::Close,
        on_idle: OnIdle::Wait,
        idle_after: micros("1m"),
        max_future: None,
    };
    assert_eq!(pipeline.window.value, window);
    let [proportion, tier] = pipeline.features.as_slice() else {
        panic!("two features")
    };
    assert_eq!(
        proportion.declaration,
        FeatureDeclaration {
            group: "driver".into(),
            name: "accept_proportion_10m".into(),
            version: 2,
            entity: vec!["driver_id".into(), "city".into()],
            feature_type: DataType::Float64,
            owner: "marketplace@example.com".into(),
            description: "Share of ride offers that the driver accepted.".into(),
            tags: vec!["marketplace".into()],
            validation: Validation {
                min: Some(Literal::Integer(0)),
                max: Some(Literal::Float(1.0)),
                nulls: false,
                ..Validation::default()
            },
            ttl: None,
            freshness: None,
            alert: String::new(),
            pipeline: "driver_accept_proportion_10m".into(),
            column: "accept_proportion".into(),
            window: "10m".into(),
            lineage: None,
        }
    );
    assert_eq!(tier.declaration.to_string(), "tier/last_tier@1");
    assert_eq!(tier.declaration.owner, "tiers@example.com");
    assert_eq!(tier.declaration.column, "last_tier");
    let outputs = &pipeline.outputs;
    assert!(!outputs.store);
    let features = outputs.features.as_ref().unwrap();
    assert_eq!(
        (features.path.to_str(), features.format),
        (Some("driver.parquet"), OutputFormat::Parquet)
    );
    assert_eq!(outputs.rejects.file.format, OutputFormat::Csv);
    let topics: Vec<&str> = outputs.all_topics().map(|topic| topic.as_str()).collect();
    assert_eq!(topics, ["driver_features", "second", "dead_letters"]);
    assert!(outputs.rejects.topic.is_none());
    assert_eq!(
        outputs.invalid.file.path.to_str(),
        Some("driver_accept_proportion_10m.invalid.ndjson")
    );
    let run = RunOptions {
        lanes: Some(4),
        batch_rows: 1_000,
        on_malformed: OnMalformed::Stop,
        commit_every: Some(Duration::from_secs(5)),
        state_memory: 64 << 20,
    };
    assert_eq!(pipeline.run, run);
    let limits = Limits {
        memory: 64 << 20,
        cpu_per_call: 2_000_000,
        output_rows: 1_000,
        output_bytes: 1 << 20,
        state_per_group: 4 << 10,
        log_lines_per_call: 0,
        metric_names: 8,
        ..Limits::default()
    };
    assert_eq!(pipeline.limits, limits);
}

#[test]
fn what_may_be_left_out_has_defaults() {
    let pipeline = load(LEAST);
    assert_eq!(pipeline.name.value, "driver");
    assert_eq!(pipeline.config.value, "{}");
    assert_eq!(pipeline.window.value.to_string(), "tumbling 10m");
    assert!(pipeline.outputs.store && pipeline.outputs.features.is_none());
    assert_eq!(
        pipeline.outputs.rejects.file.path.to_str(),
        Some("driver.rejects.ndjson")
    );
    assert_eq!(
        pipeline.outputs.late.file.path.to_str(),
        Some("driver.late.ndjson")
    );
    assert_eq!(pipeline.run, RunOptions::default());
    assert_eq!(pipeline.limits, Limits::default());
    assert_eq!(
        pipeline.declarations().next().unwrap().to_string(),
        "driver/acceptances@1"
    );
}

#[test]
fn a_feature_says_for_how_long_it_is_of_use_and_whom_to_tell() {
    let tags = "tags = [\"marketplace\"]";
    let more = format!("{tags}\nttl = \"7d\"\nfreshness = \"5m\"\nalert = \"oncall\"");
    let pipeline = load(&WHOLE.replace(tags, &more));
    let declared = pipeline.declarations().next().unwrap();
    assert_eq!(declared.ttl, Some(7 * 24 * 3_600_000_000));
    assert_eq!(declared.freshness, Some(300_000_000));
    assert_eq!(declared.alert, "oncall");
}

#[test]
fn features_that_may_go_are_named_with_their_versions() {
    let retired = "retired = [\"driver/accept_proportion_5m@1\", \"last_tier@3\"]\n";
    let pipeline = load(&(retired.to_owned() + WHOLE));
    let names: Vec<String> = pipeline.retired.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["driver/accept_proportion_5m@1", "last_tier@3"]);
    assert!(load(LEAST).retired.is_empty());
}

#[test]
fn wrong_pipelines_are_refused_as_the_table_says() {
    check_cases(
        "pipeline.txt",
        include_str!("cases/pipeline.txt"),
        WHOLE,
        |text| {
            let folder = folder(&[("driver.toml", text)]);
            match Pipeline::load(&folder.path().join("driver.toml")) {
                Ok(_) => "nothing is wrong".to_owned(),
                Err(error) => shown(&error, &folder),
            }
        },
    );
}

#[test]
fn what_an_opened_transform_shows_points_into_the_file() {
    let text = LEAST.replace(
        "type = \"int64\"",
        "type = \"int64\"\ncolumn = \"acceptnaces\"",
    );
    let folder = folder(&[("a.toml", &text), ("b.toml", LEAST)]);
    let output = Schema::new(vec![Field::new("acceptances", DataType::Float64, true)]);
    let pipeline = |name| Pipeline::load(&folder.path().join(name)).unwrap();
    let error = pipeline("a.toml").check_output(&output).unwrap_err();
    assert_eq!(
        shown(&error, &folder),
        r#"error: the transform's output has no column `acceptnaces`
  --> a.toml:11:10
   |
11 | column = "acceptnaces"
   |          ^^^^^^^^^^^^^
   = help: did you mean `acceptances`?"#
    );
    let error = pipeline("b.toml").check_output(&output).unwrap_err();
    assert_eq!(
        shown(&error, &folder),
        r#"error: feature driver/acceptances@1 is declared as int64, but the transform's column `acceptances` is float64
  --> b.toml:10:8
   |
10 | type = "int64"
   |        ^^^^^^^
   = help: declare it as "float64", or change the transform"#
    );
    let error = pipeline("b.toml")
        .check_key(&output, "event `ride_offer`")
        .unwrap_err();
    assert_eq!(
        shown(&error, &folder),
        r#"error: event `ride_offer` has no column `driver_id`
  --> b.toml:3:7
   |
 3 | key = "driver_id"
   |       ^^^^^^^^^^^
   = help: its columns are: `acceptances`"#
    );
}

#[test]
fn a_template_that_is_wrong_for_every_length_is_one_finding() {
    let text = LEAST
        .replace("\"10m\"", "[\"10m\", \"1h\"]")
        .replace("\"acceptances\"", "\"acceptances_{window}\"");
    let other = format!("name = \"other\"\n{text}");
    let folder = folder(&[("a.toml", &text), ("b.toml", &other)]);
    let output = Schema::new(vec![Field::new("acceptances", DataType::Float64, true)]);
    let pipeline = Pipeline::load(&folder.path().join("a.toml")).unwrap();
    assert_eq!(pipeline.features.len(), 2);
    let error = pipeline.check_output(&output).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1, "{error}");
    let error = load_pipelines(&[folder.path()]).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1, "{error}");
}

#[test]
fn a_folder_of_pipelines_is_loaded_in_order_of_names() {
    let other = LEAST.replace("acceptances", "refusals");
    let folder = folder(&[
        ("b.toml", &other),
        ("a.toml", LEAST),
        ("penstock.toml", ""),
        ("Cargo.toml", ""),
        ("c.txt", ""),
    ]);
    let pipelines =
        load_pipelines(&[folder.path().to_path_buf(), folder.path().join("./a.toml")]).unwrap();
    let names: Vec<&str> = pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn pipelines_that_cannot_run_beside_each_other_are_refused() {
    let twin = format!("name = \"a\"\n{LEAST}");
    let same_feature = format!("{LEAST}[outputs]\nlate = \"a.rejects.ndjson\"\n");
    let folder = folder(&[
        ("a.toml", LEAST),
        ("b.toml", &twin),
        ("c.toml", &same_feature),
    ]);
    let error = load_pipelines(&[folder.path()]).unwrap_err();
    assert_eq!(
        shown(&error, &folder),
        include_str!("cases/beside_each_other.txt").trim_end()
    );
    let error = load_pipelines(&[
        folder.path().join("nowhere"),
        folder.path().join("transforms"),
    ])
    .unwrap_err();
    assert_eq!(
        shown(&error, &folder),
        "error: this folder has no pipeline files\n  --> transforms\n   = help: a pipeline file ends in .toml and lies directly in the folder\n\nerror: this file cannot be read: No such file or directory (os error 2)\n  --> nowhere\n   = help: check the path and its permissions"
    );
}

proptest! {
    /// A file with anything in it is read or refused, and what is said about it can be shown.
    #[test]
    fn any_file_is_read_or_refused(
        edits in prop::collection::vec((0..WHOLE.len(), 0..4usize, "[a-z0-9=\"\\[\\]{}.,\n\t#é\u{7}-]{0,3}"), 1..5),
    ) {
        let mut text = WHOLE.to_owned();
        for (at, gone, new) in edits {
            let start = text.floor_char_boundary(at);
            let end = text.floor_char_boundary(at + gone).max(start);
            text.replace_range(start..end, &new);
        }
        let file = ConfigFile::from_text("driver.toml", text);
        match pipeline_file::read(&file) {
            Ok(_) => {}
            Err(error) => {
                prop_assert!(!error.diagnostics.is_empty());
                prop_assert!(!error.to_string().contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
            }
        }
    }
}
