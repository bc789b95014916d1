//! Events without a `schema`: what their files show, and what is said where they show too little.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::places::flights;
use crate::support::Folder;

fn applied(folder: &Folder) -> u64 {
    let summary = folder.penstock(&["run", "-q", "--json", "pipeline.toml"]);
    let summary: serde_json::Value = serde_json::from_str(&summary.fine()).unwrap();
    summary[0]["events"]["applied"].as_u64().unwrap()
}

fn run(folder: &Folder) -> crate::support::Ended {
    folder.penstock(&["run", "-q", "pipeline.toml"])
}

#[test]
fn times_without_an_offset_are_read_as_they_stand() {
    let folder = flights("out", "\"data/a.ndjson\"", "");
    for (from, to) in [("Z\"", "\""), ("T", " ")] {
        let events = folder.text("data/a.ndjson").replace(from, to);
        folder.write("data/a.ndjson", events);
        assert_eq!(applied(&folder), 2);
    }
    let csv = flights("out", "\"data/a.csv\"", "");
    csv.write(
        "data/a.csv",
        "at,origin,delay_minutes\n2001-01-01 00:00:00,SFO,1\n",
    );
    assert_eq!(applied(&csv), 1);
}

#[test]
fn a_column_of_which_no_value_was_seen_is_named() {
    let folder = flights("out", "\"data/a.csv\"", "");
    folder.write("data/a.csv", "at,origin,delay_minutes\n");
    run(&folder).fails(
        2,
        &["`delay_minutes` was seen in the sample", "in its `schema`"],
    );
    folder.write("data/a.csv", "at;origin;delay_minutes\n2001-01-01;SFO;1\n");
    run(&folder).fails(2, &["separated by ';'", "by commas"]);
}

#[test]
fn a_header_that_names_a_wanted_column_twice_is_found_without_a_run() {
    let folder = flights("out", "\"data/a.csv\"", "");
    folder.write(
        "data/a.csv",
        "at,origin,delay_minutes,origin\n2001-01-01T00:00:00Z,SFO,1,LAX\n",
    );
    for command in ["validate", "run"] {
        folder
            .penstock(&[command, "pipeline.toml"])
            .fails(2, &["it has column `origin` twice"]);
    }
}

#[test]
fn numbers_and_texts_of_columnar_files_as_times() {
    let folder = flights("out", "\"data/a.parquet\"", "");
    let write = |at: ArrayRef| {
        let columns: [(&str, ArrayRef); 3] = [
            ("at", at),
            ("origin", Arc::new(StringArray::from(vec!["SFO"]))),
            ("delay_minutes", Arc::new(Int64Array::from(vec![1]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        folder.write("data/a.parquet", writer.into_inner().unwrap());
    };
    write(Arc::new(StringArray::from(vec!["2026-01-01T00:00:00Z"])));
    run(&folder).fails(2, &["`at` of the files is text", "as a timestamp"]);
    write(Arc::new(Int64Array::from(vec![1_767_225_600_000])));
    run(&folder).fails(2, &["column `at` is int64", "timestamp[us, UTC]"]);
    let declared = folder.text("penstock.toml")
        + "schema = { at = \"timestamp[ms, UTC]\", origin = \"utf8\", delay_minutes = \"int64\" }\n";
    folder.write("penstock.toml", declared);
    folder.write("data/empty.parquet", "");
    let both = folder
        .text("penstock.toml")
        .replace("data/a.parquet", "data/*.parquet");
    folder.write("penstock.toml", both);
    let summary = folder.penstock(&["run", "--json", "pipeline.toml"]);
    assert!(summary.stderr().contains("is empty, and left out"));
    let summary: serde_json::Value = serde_json::from_str(&summary.fine()).unwrap();
    assert_eq!(summary[0]["events"]["applied"], 1);
    assert_eq!(summary[0]["watermark"], "2026-01-01T00:00:00Z");
}
