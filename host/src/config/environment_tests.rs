//! A right `penstock.toml`, read whole; and `cases/environment.txt`, a table of wrong ones.

use arrow::datatypes::{Field, TimeUnit};

use super::*;
use crate::config::cases::check_cases;
use crate::config::recorded::RecordedPlace;

const RIGHT: &str = r#"[environments.local]
store = "state"
output = "out"
[environments.local.events.ride_offer]
files = "data/*.ndjson"
format = "ndjson"
event_time = "occurred_at"
schema = { occurred_at = "timestamp[us, UTC]", driver_id = "int64!" }

[environments.production.events.ride_offer]
kafka = { brokers = "broker:9092",
topic = "ride-offers" }
event_time = "at"
schema = { at = "timestamp[us, UTC]" }

[environments.aws]
events.ride_offer = { kinesis = { stream = "s" }, event_time = "at", schema = { at = "timestamp[s]" } }

[environments.sample.events.ride_offer]
files = ["data/a.ndjson", "data", "data/a.ndjson"]
event_time = "at"
"#;

const PIPELINE: &str = r#"event = "ride_offer"
transform = "t.wasm"
key = "driver_id"
group = "driver"
[window]
kind = "tumbling"
size = "10m"
[[feature]]
name = "acceptances"
type = "int64"
"#;

/// `penstock.toml`, data, and a pipeline in a folder below.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("penstock.toml", text);
    for name in [
        "data/b.ndjson",
        "data/a.ndjson",
        "data/.hidden.ndjson",
        "data/_unfinished.ndjson",
    ] {
        write(name, "");
    }
    write("data/deeper/c.ndjson", "");
    write("data/note.txt", "");
    write("empty/note.txt", "");
    write("two/c.parquet", "");
    write("pipelines/driver.toml", PIPELINE);
    write("pipelines/t.wasm", "");
    folder
}

fn pipeline(folder: &tempfile::TempDir) -> Pipeline {
    Pipeline::load(&folder.path().join("pipelines/driver.toml")).unwrap()
}

fn environment(folder: &tempfile::TempDir, name: &str) -> Result<Environment, ConfigError> {
    Environment::find_and_load(&folder.path().join("pipelines/driver.toml"), name)
}

/// Paths from the folder on, with `/`.
fn below(folder: &tempfile::TempDir, paths: &[PathBuf]) -> Vec<String> {
    let root = folder.path().canonicalize().unwrap();
    paths
        .iter()
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect()
}

fn local_paths(recorded: &RecordedEvent<'_>) -> Vec<PathBuf> {
    let local = |place: &RecordedPlace| match place {
        RecordedPlace::Local(path) => Some(path.clone()),
        RecordedPlace::Url(_) => None,
    };
    recorded.files.places.iter().filter_map(local).collect()
}

#[test]
fn urls_are_kept_and_secrets_are_not_shown() {
    let text = RIGHT.replace(
        "files = \"data/*.ndjson\"\nformat = \"ndjson\"",
        "files = [\"s3://bucket/rides/*.ndjson\", \"data/a.ndjson\", \"s3://bucket/more/\"]\narrival_time = \"occurred_at\"",
    );
    let text = text.replace(
        "[environments.local.events.ride_offer]",
        "[environments.local.object_store]\nAWS_Secret_Access_Key = \"hunter2\"\naws_regoin = \"eu\"\n[environments.local.events.ride_offer]",
    );
    let folder = folder(&text);
    let local = environment(&folder, "local").unwrap();
    let pipeline = pipeline(&folder);
    let recorded = local.recorded(&pipeline).unwrap();
    let places = recorded.files.places.iter().map(|place| match place {
        RecordedPlace::Local(_) => "local",
        RecordedPlace::Url(url) => url.as_str(),
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        ["s3://bucket/rides/*.ndjson", "local", "s3://bucket/more/"]
    );
    let arrival = recorded.event.arrival_time.as_ref();
    assert_eq!(arrival.map(|column| column.as_str()), Some("occurred_at"));
    let (name, value) = &local.store_options.entries[0];
    assert_eq!(
        (name.as_str(), value.expose()),
        ("aws_secret_access_key", "hunter2")
    );
    let error = local.unknown_option("aws_regoin", ["aws_region", "timeout"]);
    let error = error.to_string();
    assert!(
        error.contains("penstock.toml:6:1") && error.contains("did you mean `aws_region`?"),
        "{error}"
    );
    let about_secret = local.unknown_option("aws_secret_access_key", []);
    let shown = format!("{about_secret} {local:?}");
    assert!(
        shown.contains("penstock.toml:5") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn an_environment_is_found_above_and_read() {
    let folder = folder(RIGHT);
    let local = environment(&folder, "local").unwrap();
    let output = OutputFile {
        path: "x/y.csv".into(),
        format: crate::config::OutputFormat::Csv,
    };
    let store = |of: &Environment| of.store.folder().unwrap().to_owned();
    let places = [store(&local), local.output_path(&output)];
    assert_eq!(below(&folder, &places), ["state", "out/x/y.csv"]);
    let pipeline = pipeline(&folder);
    let recorded = local.recorded(&pipeline).unwrap();
    assert_eq!(recorded.files.format.get(), Some(FileFormat::Ndjson));
    assert_eq!(
        below(&folder, &local_paths(&recorded)),
        ["data/a.ndjson", "data/b.ndjson"]
    );
    let schema = recorded.event.schema.as_ref().unwrap();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        Field::new("occurred_at", utc, true),
        Field::new("driver_id", DataType::Int64, false),
    ];
    assert_eq!(schema.value.as_ref(), &Schema::new(fields));
}

#[test]
fn a_list_is_read_in_its_order_and_a_folder_without_hidden_files() {
    let folder = folder(RIGHT);
    let sample = environment(&folder, "sample").unwrap();
    let pipeline = pipeline(&folder);
    let recorded = sample.recorded(&pipeline).unwrap();
    assert_eq!(
        below(&folder, &local_paths(&recorded)),
        ["data/a.ndjson", "data/b.ndjson"]
    );
    assert_eq!(
        below(
            &folder,
            &[
                sample.store.folder().unwrap().to_owned(),
                sample.output.clone()
            ]
        ),
        [".penstock/store", "penstock-out"]
    );
}

#[test]
fn wrong_environments_are_refused_as_the_table_says() {
    check_cases(
        "environment.txt",
        include_str!("cases/environment.txt"),
        RIGHT,
        |text| {
            let folder = folder(text);
            let pipeline = pipeline(&folder);
            let root = folder.path().canonicalize().unwrap();
            let outcome = environment(&folder, "local").and_then(|local| {
                let declared = local.recorded(&pipeline)?.event.schema.as_ref();
                declared.map_or(Ok(()), |schema| {
                    pipeline.check_key(schema, "event `ride_offer`")
                })
            });
            let shown = outcome.map_or_else(
                |error| error.to_string(),
                |()| "nothing is wrong".to_owned(),
            );
            let shown = shown.replace(&format!("{}/", root.display()), "");
            shown.replace(&format!("{}/", folder.path().display()), "")
        },
    );
}

#[test]
fn without_a_file_it_is_said_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let error = Environment::find_and_load(folder.path(), "local")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("there is no penstock.toml beside this path, nor in a folder above it"),
        "{error}"
    );
    assert!(
        error.contains("[environments.local.events.ride_offer]"),
        "{error}"
    );
}

#[test]
fn opened_data_must_have_the_event_time() {
    let folder = folder(RIGHT);
    let sample = environment(&folder, "sample").unwrap();
    let event = &sample.events["ride_offer"];
    let found = Schema::new(vec![Field::new("at", DataType::Utf8, true)]);
    let error = sample
        .check_event_time(event, &found)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("event time must be a timestamp, but column `at` is utf8"),
        "{error}"
    );
    let found = Schema::new(vec![Field::new("tat", DataType::Utf8, true)]);
    let error = sample
        .check_event_time(event, &found)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("penstock.toml:21:14") && error.contains("did you mean `tat`?"),
        "{error}"
    );
}
