//! Runs that somebody stops, and runs beside each other.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Progress};

use super::places::flights;
use crate::support::{Folder, HOST};

/// Runs the pipeline, and stops it as soon as `when` says so.
fn stopped(folder: &Folder, when: impl Fn(&Progress) -> bool) -> String {
    let path = folder.path("pipeline.toml");
    let pipeline = load_pipelines(&[&path]).unwrap().remove(0);
    let environment = Environment::find_and_load(&path, "local").unwrap();
    let opened = pipeline::open(&HOST, pipeline, &environment).unwrap();
    let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let reports = std::thread::scope(|scope| {
        let (pipelines, flag) = (vec![(opened, Arc::clone(&progress))], Arc::clone(&stop));
        let run = scope.spawn(move || pipeline::run(&HOST, pipelines, &flag).unwrap());
        while !when(&progress) && !run.is_finished() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        run.join().unwrap()
    });
    match &reports[0] {
        Err(error) if error.is_stop() => error.to_string(),
        other => panic!("it was not stopped: {other:?}"),
    }
}

#[test]
fn lanes_hear_of_a_stop_while_they_close_windows() {
    let folder = flights("out", "\"data/a.ndjson\"", "features = \"o.csv\"");
    // Two keys, and a million windows for each of them once everything was read.
    let pipeline = folder.text("pipeline.toml").replace(
        "kind = \"tumbling\"\nsize = \"1d\"",
        "kind = \"hopping\"\nsize = \"1000s\"\nslide = \"1ms\"",
    );
    folder.write("pipeline.toml", pipeline);
    folder.write("out/o.csv", "of the run before");
    let said = stopped(&folder, |progress| {
        progress.delivered.values.load(Ordering::Relaxed) > 0
    });
    assert!(said.contains("stopped"), "{said}");
    assert_eq!(folder.text("out/o.csv"), "of the run before");
}

#[test]
fn a_signal_before_anything_is_read_ends_with_the_code_of_a_stop() {
    // A server that takes connections and never answers.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("\"http://{}/a.ndjson\"", server.local_addr().unwrap());
    let folder = flights("out", &url, "");
    let environment =
        folder.text("penstock.toml") + "[environments.local.object_store]\nallow_http = \"true\"\n";
    folder.write("penstock.toml", environment);
    let program = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "-q", "pipeline.toml"])
        .current_dir(folder.path("."))
        .env("PENSTOCK_CACHE", folder.path("cache"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = server.accept().unwrap();
    let id = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = program.wait_with_output().unwrap();
    drop(asked);
    assert_eq!(ended.status.signal(), None);
    assert_eq!(ended.status.code(), Some(130));
}

#[test]
fn two_runs_do_not_share_a_store_or_a_file() {
    let folder = flights("out", "\"data/a.ndjson\"", "features = \"o.csv\"");
    folder.penstock(&["run", "-q", "pipeline.toml"]).fine();
    let before = folder.text("out/o.csv");
    let lock = |name: &str| {
        let file = std::fs::File::create(folder.path(name)).unwrap();
        file.lock().unwrap();
        file
    };
    let run = || folder.penstock(&["run", "-q", "pipeline.toml"]);
    let store = lock("store/lanes/pipeline/0.lock");
    run().fails(1, &["another process has lane 0 of pipeline", "open"]);
    drop(store);
    let file = lock("out/o.csv.partial");
    run().fails(1, &["another run is writing there"]);
    assert_eq!(folder.text("out/o.csv"), before);
    drop(file);
    run().fine();
}

#[test]
fn a_run_that_fails_at_its_end_leaves_all_files_as_they_were() {
    let folder = flights("out", "\"data/a.ndjson\"", "features = \"o.csv\"");
    folder.write("out/o.csv", "of the run before");
    std::fs::create_dir(folder.path("out/pipeline.late.ndjson")).unwrap();
    folder
        .penstock(&["run", "-q", "pipeline.toml"])
        .fails(1, &["pipeline.late.ndjson"]);
    assert_eq!(folder.text("out/o.csv"), "of the run before");
}
