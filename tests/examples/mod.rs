//! The examples: each one's pipelines over its recorded events, for several numbers of lanes, against
//! its golden files, byte for byte: that is more than `penstock test` asks, which takes rows in any order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Accounting, Progress};
use serde_json::Value;

use crate::support::{Folder, HOST, Tuning, root};

/// What an example's events are and what must come of them.
const CASE: &str = "cases/basic";

/// Runs of a pipeline, which must not differ.
const TUNINGS: [Tuning; 3] = [
    tuning(1, 65_536),
    tuning(3, 65_536),
    // Every row by itself: nothing may depend on where batches are cut.
    tuning(3, 1),
];

const fn tuning(lanes: u32, batch_rows: usize) -> Tuning {
    Tuning { lanes, batch_rows }
}

#[test]
fn examples_give_what_their_golden_files_say() {
    let pipelines = pipelines();
    let examples: BTreeSet<&str> = pipelines
        .iter()
        .map(|path| name_of(path.parent().expect("it is in an example")))
        .collect();
    for example in [
        "distinct_riders",
        "rides_by_length",
        "search_sessions",
        "supply_and_demand",
    ] {
        assert!(
            examples.contains(example),
            "{example} is not among {examples:?}"
        );
    }
    for path in &pipelines {
        for tuning in TUNINGS {
            check(path, tuning);
        }
    }
}

/// The pipeline files of all examples that have golden files.
fn pipelines() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for example in entries(&root().join("examples")) {
        if !example.join(CASE).is_dir() {
            continue;
        }
        // What is no crate is built by `cargo xtask transforms` alone, as it takes other toolchains.
        let component = format!("target/transforms/{}.wasm", name_of(&example));
        if !example.join("Cargo.toml").exists() && !root().join(&component).exists() {
            println!("left out: {}, for want of {component}", example.display());
            continue;
        }
        let files = entries(&example);
        found.extend(files.into_iter().filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
                && name_of(path) != "Cargo.toml"
        }));
    }
    found.sort();
    found
}

/// Runs a pipeline once and compares its features, and which rows it refused and why.
fn check(path: &Path, tuning: Tuning) {
    let at = format!("{}, {tuning:?}", path.display());
    let golden = path.parent().expect("it is in an example").join(CASE);
    let folder = Folder::new();
    let mut declared = load_pipelines(&[path])
        .unwrap_or_else(|error| panic!("{error}\nhas `cargo xtask transforms` been run?"))
        .remove(0);
    declared.run.lanes = Some(tuning.lanes);
    declared.run.batch_rows = tuning.batch_rows;
    let features = declared.outputs.features.clone();
    let features = features.expect("an example writes its features").value.path;
    let [rejects, late] = [&declared.outputs.rejects, &declared.outputs.late]
        .map(|output| folder.path("out").join(&output.file.path));

    let mut environment = Environment::find_and_load(path, "local").unwrap();
    environment.output = folder.path("out");
    environment.store = folder.path("store").into();
    let accounting = run(declared, &environment);
    assert!(accounting.balances(), "{at}: {accounting:?}");

    let extension = features.extension().expect("a format").to_str().unwrap();
    let expected = read(&golden.join("expected").with_extension(extension));
    let found = read(&folder.path("out").join(features));
    if found != expected {
        let mut lines = found.lines().zip(expected.lines()).zip(1..);
        let first = lines.find(|((found, expected), _)| found != expected);
        panic!("{at}: the features differ, at first in {first:#?} (found, expected, line)");
    }
    let expected = refused(&read(&golden.join("expected.rejects.ndjson")));
    let found = [rejects, late].map(|file| fs::read_to_string(file).unwrap_or_default());
    assert_eq!(refused(&found.concat()), expected, "{at}: refused rows");
}

fn run(declared: penstock::config::Pipeline, environment: &Environment) -> Accounting {
    let opened = pipeline::open(&HOST, declared, environment).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(Progress::default());
    let mut reports = pipeline::run(&HOST, vec![(opened, progress)], &stop).unwrap();
    reports.remove(0).unwrap().accounting
}

/// The line, stage and code of each refused row, in one order. A row may be refused more than once.
fn refused(lines: &str) -> Vec<(u64, String, String)> {
    let row = |line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (row["line"].as_u64().unwrap(), text("stage"), text("code"))
    };
    let mut rows: Vec<_> = lines.lines().map(row).collect();
    rows.sort_unstable();
    rows
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
