//! Where events are read from, and where output goes: each file once, and none over another.

use std::os::unix::fs::symlink;

use crate::support::{Folder, transform};

const EVENTS: &str = "\
{\"at\":\"2026-01-01T00:00:00Z\",\"origin\":\"SFO\",\"delay_minutes\":1}
{\"at\":\"2026-01-01T01:00:00Z\",\"origin\":\"LAX\",\"delay_minutes\":2}
";

/// A folder with `data/a.ndjson` and a pipeline over it, and more, as it is declared.
pub(super) fn flights(output: &str, files: &str, outputs: &str) -> Folder {
    let folder = Folder::new();
    folder.write("data/a.ndjson", EVENTS);
    declare(&folder, output, files, outputs);
    folder
}

fn declare(folder: &Folder, output: &str, files: &str, outputs: &str) {
    folder.write(
        "penstock.toml",
        format!(
            "[environments.local]\nstore = \"store\"\noutput = {output:?}\n[environments.local.events.flight]\nfiles = {files}\nevent_time = \"at\"\n"
        ),
    );
    let component = folder.path("flights.wasm");
    std::fs::copy(transform("flights_daily"), component).unwrap();
    folder.write(
        "pipeline.toml",
        format!(
            "event = \"flight\"\ntransform = \"flights.wasm\"\nkey = \"origin\"\ngroup = \"airport\"\n[window]\nkind = \"tumbling\"\nsize = \"1d\"\n[[feature]]\nname = \"flights_1d\"\ncolumn = \"flights\"\ntype = \"uint64\"\n[outputs]\n{outputs}\n"
        ),
    );
}

fn read(folder: &Folder) -> u64 {
    let summary = folder.penstock(&["run", "-q", "--json", "pipeline.toml"]);
    let summary: serde_json::Value = serde_json::from_str(&summary.fine()).unwrap();
    summary[0]["events"]["read"].as_u64().unwrap()
}

#[test]
fn what_a_run_reads_it_does_not_write_over() {
    let recorded = "\"data/a.ndjson\"";
    let cases = [
        (
            "data",
            recorded,
            "features = \"a.ndjson\"",
            "recorded files",
        ),
        ("data", recorded, "rejects = \"a.ndjson\"", "recorded files"),
        (
            ".",
            recorded,
            "late = \"x/../data/a.ndjson\"",
            "recorded files",
        ),
        // No such file is there yet; the second run would read what the first wrote.
        ("data", "\"data\"", "features = \"o.ndjson\"", "next run"),
        ("data", "\"./**/*.ndjson\"", "", "next run"),
    ];
    for (output, files, outputs, expected) in cases {
        let folder = flights(output, files, outputs);
        folder
            .penstock(&["run", "-q", "pipeline.toml"])
            .fails(2, &["output file", expected]);
        assert_eq!(folder.text("data/a.ndjson"), EVENTS);
    }
    let partial = flights(
        "data",
        "\"data/a.ndjson.partial\"",
        "features = \"a.ndjson\"",
    );
    partial.write("data/a.ndjson.partial", EVENTS);
    let declared = partial.text("penstock.toml") + "format = \"ndjson\"\n";
    partial.write("penstock.toml", declared);
    partial
        .penstock(&["run", "-q", "pipeline.toml"])
        .fails(2, &["a.ndjson.partial", "recorded files"]);
    assert_eq!(read(&flights("data", recorded, "features = \"o.csv\"")), 2);
}

#[test]
fn a_file_is_read_once_however_it_is_written() {
    let folder = flights("out", "[]", "");
    symlink(
        folder.path("data/a.ndjson"),
        folder.path("data/link.ndjson"),
    )
    .unwrap();
    let whole = folder.path("data/a.ndjson");
    let whole = whole.to_str().unwrap();
    for other in [
        whole,
        "data/../data/a.ndjson",
        &format!("file://{whole}"),
        "data/link.ndjson",
        "data",
        "./data/*",
    ] {
        declare(
            &folder,
            "out",
            &format!("[\"data/a.ndjson\", {other:?}]"),
            "",
        );
        assert_eq!(read(&folder), 2, "{other}");
    }
}

#[test]
fn the_folder_of_the_environment_is_a_folder() {
    let folder = flights("out", "\".\"", "");
    folder
        .penstock(&["run", "-q", "pipeline.toml"])
        .fails(2, &[". has no files directly inside"]);
    folder.write("b.ndjson", EVENTS);
    assert_eq!(read(&folder), 2);
}
