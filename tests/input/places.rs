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

#[test]
fn output_stays_below_its_folder_unless_the_environment_lets_it_out() {
    let elsewhere = Folder::new();
    let way = elsewhere.path("way").display().to_string();
    for (outputs, written) in [
        (format!("features = \"{way}/a.ndjson\""), "a.ndjson"),
        (format!("rejects = \"{way}/b.ndjson\""), "b.ndjson"),
        ("late = \"../way/c.ndjson\"".to_owned(), "c.ndjson"),
        ("invalid = \"link/d.ndjson\"".to_owned(), "d.ndjson"),
        ("features = \"in/../link/e.ndjson\"".to_owned(), "e.ndjson"),
    ] {
        let output = elsewhere.path("out").display().to_string();
        let folder = flights(&output, "\"data/a.ndjson\"", &outputs);
        for made in ["out/in", "way"] {
            std::fs::create_dir_all(elsewhere.path(made)).unwrap();
        }
        // One that was laid before is as good.
        let _ = symlink(elsewhere.path("way"), elsewhere.path("out/link"));
        let run = ["run", "-q", "pipeline.toml"];
        let says = ["output file", "is outside of", "output_elsewhere = true"];
        folder.penstock(&run).fails(2, &says);
        let before = std::fs::read_dir(elsewhere.path("way")).unwrap();
        let mut before = before.map(|file| file.unwrap().file_name());
        assert!(before.all(|name| name != written), "{outputs}");

        let declared = folder.text("penstock.toml");
        let declared = declared.replace("output =", "output_elsewhere = true\noutput =");
        folder.write("penstock.toml", declared);
        folder.penstock(&run).fine();
        // A file of rows that were turned away is there when there are such rows.
        let is_there = elsewhere.path("way").join(written).exists();
        assert!(is_there || !outputs.starts_with("features"), "{outputs}");
    }
    let inside = flights("out", "\"data/a.ndjson\"", "features = \"in/../f.ndjson\"");
    inside.penstock(&["run", "-q", "pipeline.toml"]).fine();
    assert!(inside.path("out/f.ndjson").exists());
}

#[test]
fn output_of_a_live_pipeline_stays_below_its_folder_too() {
    let folder = flights("out", "\"data/a.ndjson\"", "rejects = \"../bad.ndjson\"");
    let live = "[environments.local]\noutput = \"out\"\n[environments.local.events.flight]\nevent_time = \"at\"\n\
                schema = { at = \"timestamp[ms, UTC]\", origin = \"utf8\", delay_minutes = \"int64\" }\n\
                kafka = { brokers = \"127.0.0.1:1\", topic = \"flights\" }\n";
    folder.write("penstock.toml", live);
    let validate = ["validate", "pipeline.toml"];
    let says = ["output file", "is outside of", "output_elsewhere = true"];
    folder.penstock(&validate).fails(2, &says);
    let live = live.replace("output =", "output_elsewhere = true\noutput =");
    folder.write("penstock.toml", live);
    folder.penstock(&validate).fine();
}
