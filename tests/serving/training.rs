//! Training sets, from the program itself.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::UInt64Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use serde_json::Value;

use super::flights;
use crate::support::Folder;

/// The program that joins is a package of its own, and lies beside `penstock` if it was built.
pub(super) fn is_built() -> bool {
    let program = Path::new(env!("CARGO_BIN_EXE_penstock")).with_file_name("penstock-training-set");
    let is_built = program.is_file();
    if !is_built {
        println!("left out: training sets, for want of {}", program.display());
    }
    is_built
}

/// Rows that ask for airports at times.
pub(super) fn spine(folder: &Folder, rows: &[(&str, &str)]) {
    let airports = StringArray::from_iter_values(rows.iter().map(|row| row.0));
    let at: Vec<&str> = rows.iter().map(|row| row.1).collect();
    write_spine(folder, Arc::new(airports), times(&at));
}

pub(super) fn times(texts: &[&str]) -> ArrayRef {
    let times = texts.iter().map(|text| {
        let time: jiff::Timestamp = text.parse().unwrap();
        time.as_millisecond()
    });
    Arc::new(TimestampMillisecondArray::from_iter_values(times))
}

pub(super) fn write_spine(folder: &Folder, airports: ArrayRef, times: ArrayRef) {
    let rows = RecordBatch::try_from_iter([("origin", airports), ("at", times)]).unwrap();
    let file = File::create(folder.path("spine.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

/// A training set of these rows with one feature.
pub(super) fn made(folder: &Folder, feature: &str, more: &[&str]) -> RecordBatch {
    let arguments = [&ARGUMENTS[..], &[feature], more].concat();
    let told: Value = serde_json::from_str(&folder.penstock(&arguments).fine()).unwrap();
    let file = File::open(folder.path("train.parquet")).unwrap();
    let mut rows = ParquetRecordBatchReader::try_new(file, 100).unwrap();
    let rows = rows.next().unwrap().unwrap();
    assert_eq!(told["rows"], rows.num_rows());
    let column = rows.columns().last().unwrap();
    assert_eq!(told["found"][0], column.len() - column.null_count());
    rows
}

pub(super) const ARGUMENTS: [&str; 9] = [
    "training-set",
    "--entities",
    "spine.parquet",
    "--time",
    "at",
    "--out",
    "train.parquet",
    "--json",
    "--features",
];

#[test]
fn rows_get_features_as_they_were() {
    if !is_built() {
        return;
    }
    let folder = flights("offline = \"history\"");
    folder.penstock(&["run", "--quiet", "pipeline.toml"]).fine();
    spine(
        &folder,
        &[
            ("SFO", "2026-01-03T00:00:00Z"),
            ("SFO", "2026-01-02T00:00:00Z"),
            ("SFO", "2026-01-01T23:59:59.999Z"),
            ("LAX", "2026-01-02T12:00:00Z"),
            ("nobody", "2026-01-03T00:00:00Z"),
        ],
    );
    let made = |more: &[&str]| -> Vec<Option<u64>> {
        let rows = made(&folder, "airport/flights_1d@1", more);
        let flights = rows.column_by_name("flights_1d").unwrap();
        flights.as_primitive::<UInt64Type>().iter().collect()
    };
    let get = |airport: &str| -> Option<u64> {
        let got = folder.penstock(&["get", "airport", airport, "flights_1d", "--json"]);
        let got: Value = serde_json::from_str(&got.fine()).unwrap();
        got["features"][0]["value"].as_u64()
    };
    let flights = made(&[]);
    // The day of SFO's flights ends at midnight, when the window does; until then nothing is known of it.
    assert_eq!((flights[0], flights[1]), (get("SFO"), get("SFO")));
    assert!(flights[0].is_some() && flights[3].is_some());
    assert_eq!((flights[2], flights[4]), (None, None));
    // All of it was computed long after those days: a model would have been answered nothing.
    assert_eq!(made(&["--by-write-time"]), [None; 5]);
    let left = std::fs::read_dir(folder.path(".")).unwrap();
    let left = left.filter(|it| {
        it.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("scratch")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn what_cannot_be_joined_is_refused_with_what_to_do() {
    if !is_built() {
        return;
    }
    let folder = flights("");
    let refused = |feature: &str, says: &[&str]| {
        folder
            .penstock(&[&ARGUMENTS[..], &[feature]].concat())
            .fails(2, says);
        assert!(!folder.path("train.parquet").exists());
    };
    refused("flights_1d", &["keeps no history", "offline = "]);
    let toml = folder.text("penstock.toml");
    let local = "[environments.local]\n";
    folder.write(
        "penstock.toml",
        toml.replace(local, &format!("{local}offline = \"history\"\n")),
    );
    folder
        .penstock(&["features", "apply", "pipeline.toml"])
        .fine();
    refused("flights_9d", &["no feature `flights_9d` is declared"]);
    refused("flights_1d", &["spine.parquet cannot be read"]);
    spine(&folder, &[("SFO", "2026-01-03T00:00:00Z")]);
    refused("flights_1d", &["flights_1d@1 has no history"]);
    folder.penstock(&["run", "--quiet", "pipeline.toml"]).fine();
    refused("flights_1d@2", &["no feature `flights_1d@2` is declared"]);
    refused("driver/flights_1d", &["no feature `driver/flights_1d`"]);
    refused("Flights!", &["does not name a feature"]);
    refused("flights_1d,airport/flights_1d@1", &["asked for twice"]);
    let with = [&ARGUMENTS[..], &["flights_1d"]].concat();
    folder
        .penstock(&[&with[..], &["--memory", "much"]].concat())
        .fails(2, &["--memory", "is not an amount"]);
    let mut other_time = with;
    other_time[4] = "when";
    folder
        .penstock(&other_time)
        .fails(2, &["no column `when`", "--time"]);
}
