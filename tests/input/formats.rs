//! The same events in every format give the same features; and what a format can have wrong with it.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use penstock::simulate::{RidesSpec, write_rides};
use penstock::source::decode::{self, Format};
use penstock::source::recording::{LocalFile, Recording};

use super::data::pipeline;
use crate::support::servers::s3;
use crate::support::{Folder, Tuning, transform};

/// Rides as they are simulated, and a pipeline over `rides` in the format that its name shows.
fn rides(events: u64) -> (Folder, String) {
    let folder = Folder::new();
    write_rides(&RidesSpec::new(events, 3), &folder.path("made"), |_| {}).unwrap();
    let text = folder.text("made/rides-000.ndjson");
    let path = transform("driver_accept_proportion");
    pipeline(&folder, path.to_str().unwrap(), "driver_id", "10m");
    (folder, text)
}

fn source(folder: &Folder, file: &str) {
    source_with(folder, file, "");
}

fn source_with(folder: &Folder, file: &str, options: &str) {
    folder.write(
        "penstock.toml",
        format!(
            "[environments.local]\nstore = \"store\"\noutput = \"out\"\n{options}[environments.local.events.ride_offer]\nfiles = {file:?}\nevent_time = \"occurred_at\"\n"
        ),
    );
}

/// The events as CSV, columns in another order.
fn csv(text: &str) -> Vec<u8> {
    let mut csv = Vec::new();
    for line in text.lines() {
        let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        if csv.is_empty() {
            let names: Vec<&str> = event.keys().rev().map(String::as_str).collect();
            writeln!(csv, "{}\r", names.join(",")).unwrap();
        }
        let cells = event.values().rev().map(|value| match value {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            other => other.to_string(),
        });
        writeln!(csv, "{}\r", cells.collect::<Vec<_>>().join(",")).unwrap();
    }
    csv
}

fn batches(folder: &Folder) -> Vec<RecordBatch> {
    let path = folder.path("made/rides-000.ndjson");
    let recording: Arc<dyn Recording> = Arc::new(LocalFile::new(path));
    let mut schema = decode::infer(&[Arc::clone(&recording)], Format::Ndjson).unwrap();
    // Declared by nothing but the file itself.
    let fields = schema.fields().iter().map(|field| {
        let utc = arrow::datatypes::DataType::Timestamp(
            arrow::datatypes::TimeUnit::Microsecond,
            Some("UTC".into()),
        );
        match field.name().as_str() {
            "occurred_at" => Arc::new(field.as_ref().clone().with_data_type(utc)),
            _ => Arc::clone(field),
        }
    });
    schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    let mut reader = decode::open(&recording, Format::Ndjson, &Arc::new(schema), 3000).unwrap();
    std::iter::from_fn(|| reader.next_batch().unwrap())
        .map(|decoded| decoded.rows)
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_format_gives_the_same_features_from_disk_and_from_object_storage() {
    let (folder, text) = rides(20_000);
    let batches = batches(&folder);
    let schema = batches[0].schema();
    let halves = text.split_at(text.len() / 2);
    folder.write("rides.ndjson", &text);
    folder.write("again.ndjson", gzip(text.as_bytes()));
    let members = [gzip(halves.0.as_bytes()), gzip(halves.1.as_bytes())];
    folder.write("rides.ndjson.gz", members.concat());
    folder.write(
        "rides.jsonl.zst",
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
    );
    folder.write("rides.csv", csv(&text));
    folder.write("rides.csv.gz", gzip(&csv(&text)));
    let mut parquet = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut parquet, Arc::clone(&schema), None).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    folder.write("rides.parquet", parquet);
    let mut file = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &schema).unwrap();
    batches.iter().for_each(|batch| file.write(batch).unwrap());
    folder.write("rides.arrow", file.into_inner().unwrap());
    let mut stream = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &schema).unwrap();
    batches
        .iter()
        .for_each(|batch| stream.write(batch).unwrap());
    folder.write("rides.arrows", stream.into_inner().unwrap());

    let tuning = Tuning {
        lanes: 2,
        batch_rows: 1000,
    };
    let server = s3::start();
    server.make_bucket("rides").unwrap();
    let options = s3::options(server.port());
    let features = |file: &str| {
        source_with(&folder, file, &options);
        let report = folder
            .run(tuning)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(report.accounting.applied, 20_000, "{file}");
        folder.read("out/features.parquet")
    };
    let expected = features("rides.ndjson");
    for file in [
        "again.ndjson",
        "rides.ndjson.gz",
        "rides.jsonl.zst",
        "rides.csv",
        "rides.csv.gz",
        "rides.parquet",
        "rides.arrow",
        "rides.arrows",
    ] {
        assert!(features(file) == expected, "{file} gives other features");
        s3::put(server.port(), "rides", file, &folder.read(file));
        let object = format!("s3://rides/{file}");
        assert!(
            features(&object) == expected,
            "{object} gives other features"
        );
    }
}

#[test]
fn a_record_of_csv_that_is_none_is_kept_with_its_line() {
    let (folder, text) = rides(100);
    let mut lines: Vec<String> = String::from_utf8(csv(&text))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines[3].push_str(",more");
    lines[7] = lines[7]
        .replace("true", "perhaps")
        .replace("false", "perhaps");
    folder.write("rides.csv", lines.join("\n"));
    source(&folder, "rides.csv");
    let summary = folder
        .penstock(&["run", "pipeline.toml", "--json", "--quiet"])
        .fine();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary[0]["events"]["applied"], 98);
    let rejects = folder.text("out/pipeline.rejects.ndjson");
    let rejects: Vec<serde_json::Value> = rejects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let places: Vec<_> = rejects
        .iter()
        .map(|reject| {
            (
                reject["line"].as_u64().unwrap(),
                reject["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(places, [(4, "malformed_csv"), (8, "bad_value")]);
    assert_eq!(rejects[0]["record"], lines[3].as_str());
}

#[test]
fn a_compressed_file_that_is_cut_off_ends_the_run_and_says_where() {
    let (folder, text) = rides(5_000);
    let mut bytes = gzip(text.as_bytes());
    bytes.truncate(bytes.len() / 2);
    folder.write("rides.ndjson.gz", &bytes);
    source(&folder, "rides.ndjson.gz");
    let place = format!("after {0} of {0} bytes", bytes.len());
    folder
        .penstock(&["run", "pipeline.toml"])
        .fails(2, &["rides.ndjson.gz", "gzip", &place, "ends too early"]);
}
