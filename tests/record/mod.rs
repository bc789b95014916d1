//! `penstock record` against a real broker: what was produced is in the files, once, whatever happens.

mod broken_off;
mod private;
mod read_again;
mod remote;
mod whole;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::Folder;
use crate::support::servers::kafka::SHARED;

/// The columns of the events.
const SCHEMA: &str = "schema = { offer_id = \"utf8\", occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\", accepted = \"bool\", note = \"utf8\" }";

/// A folder with an environment `live`, in which the event `ride_offer` is a topic; `more` goes into its table.
fn folder(topic: &str, more: &str) -> Folder {
    let folder = Folder::new();
    let bootstrap = SHARED.bootstrap();
    folder.write(
        "penstock.toml",
        format!(
            "[environments.live.events.ride_offer]\nkafka = {{ brokers = \"{bootstrap}\", topic = \"{topic}\", \"session.timeout.ms\" = 6000, \"heartbeat.interval.ms\" = 200, \"fetch.wait.max.ms\" = 50, batch_messages = 250 }}\nevent_time = \"occurred_at\"\n{SCHEMA}\n{more}\n"
        ),
    );
    folder
}

/// The text of an event.
fn offer(number: usize, note: &str) -> String {
    format!(
        "{{\"offer_id\":\"o{number}\",\"occurred_at\":\"2026-01-31T00:{:02}:{:02}Z\",\"driver_id\":{},\"accepted\":{},\"note\":\"{note}\"}}",
        number / 60 % 60,
        number % 60,
        number % 50,
        number.is_multiple_of(3)
    )
}

/// The arguments of a recording into `out` of all that there is.
const ALL: [&str; 8] = [
    "record",
    "ride_offer",
    "--env",
    "live",
    "--to",
    "out",
    "--until",
    "end",
];

/// Runs the program, and gives its summary.
fn summary(folder: &Folder, more: &[&str]) -> Value {
    let arguments = [&ALL[..], more, &["--json", "--quiet"]].concat();
    let printed = folder.penstock(&arguments).fine();
    let summary: Value = serde_json::from_str(&printed).unwrap();
    let counts = &summary["counts"];
    let sum: u64 = ["written", "rejected", "sampled_out", "empty"]
        .iter()
        .map(|name| counts[name].as_u64().unwrap())
        .sum();
    assert_eq!(counts["read"], sum, "{summary}");
    summary
}

/// Starts a recording into `out` that goes on until somebody ends it.
fn start(folder: &Folder, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args([&ALL[..6], &["--quiet"], more].concat())
        .current_dir(folder.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The files of rows below a folder, by partition and in their order.
fn files(folder: &Path) -> BTreeMap<u32, Vec<PathBuf>> {
    let mut files: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    let pattern = folder.join("p=*/*.parquet");
    for path in glob::glob(pattern.to_str().unwrap()).unwrap() {
        let path = path.unwrap();
        let partition = path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let partition = partition.strip_prefix("p=").unwrap().parse().unwrap();
        files.entry(partition).or_default().push(path);
    }
    files
}

/// The rows of a file.
fn rows(path: &Path) -> RecordBatch {
    let file = File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = std::sync::Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// All rows below a folder, as JSON objects, by partition and in the order of the files.
fn recorded(folder: &Path) -> BTreeMap<u32, Vec<Value>> {
    let files = files(folder).into_iter();
    files
        .map(|(partition, paths)| {
            let mut lines = Vec::new();
            for path in paths {
                let texts = penstock::text::record_lines(&rows(&path)).unwrap();
                lines.extend(
                    texts
                        .iter()
                        .map(|line| serde_json::from_str::<Value>(line).unwrap()),
                );
            }
            (partition, lines)
        })
        .collect()
}

/// The lines of all rejects below a folder.
fn rejects(folder: &Path) -> Vec<Value> {
    let pattern = folder.join("p=*/rejects-*.ndjson");
    let paths = glob::glob(pattern.to_str().unwrap()).unwrap();
    let texts = paths.map(|path| std::fs::read_to_string(path.unwrap()).unwrap());
    let texts: Vec<String> = texts.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The offsets of rows.
fn offsets(rows: &[Value]) -> Vec<i64> {
    rows.iter()
        .map(|row| row["kafka_offset"].as_i64().unwrap())
        .collect()
}
