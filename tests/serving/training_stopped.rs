//! Training sets that somebody stops, and what is left of them.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray};
use rustix::process::{Pid, Signal, kill_process};

use super::{flights, training};
use crate::support::{Ended, Folder, HOST};

/// How long a program may take until it does what it was asked to.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder in which a training set takes some seconds.
fn long() -> Folder {
    const ROWS: usize = 1_000_000;
    let folder = flights("offline = \"history\"");
    folder.penstock(&["run", "--quiet", "pipeline.toml"]).fine();
    let airports: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..ROWS).map(|at| format!("airport {}", at * 7_919 % ROWS)),
    ));
    let times = TimestampMillisecondArray::from_value(1_767_398_400_000, ROWS);
    training::write_spine(&folder, airports, Arc::new(times));
    folder.write("train.parquet", "of an earlier time");
    folder
}

fn start(folder: &Folder) -> Child {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(
            [
                &training::ARGUMENTS[..],
                &["flights_1d", "--memory", "1MiB"],
            ]
            .concat(),
        )
        .current_dir(folder.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The scratch folders that are there.
fn scratch(folder: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path(".")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_scratch = |path: &PathBuf| path.to_string_lossy().contains(".scratch-");
    paths.filter(is_scratch).collect()
}

/// Waits until the result is begun, and gives the process that writes it.
fn until_begun(folder: &Folder, outer: &mut Child) -> Pid {
    let until = HOST.clock.now() + LIMIT;
    loop {
        for scratch in scratch(folder) {
            for work in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
                let name = work.file_name().to_string_lossy().into_owned();
                let pid = name.strip_prefix("work-").and_then(|pid| pid.parse().ok());
                if let Some(pid) = pid
                    && work.path().join("result.partial").exists()
                {
                    return Pid::from_raw(pid).unwrap();
                }
            }
        }
        let ended = outer.try_wait().unwrap();
        assert!(ended.is_none(), "it has ended: {ended:?}");
        assert!(HOST.clock.now() < until, "it does not begin");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn a_training_set_that_is_stopped_leaves_nothing() {
    if !training::is_built() {
        return;
    }
    let folder = long();
    let check = |child: Child| {
        let ended = Ended::of(child.wait_with_output().unwrap());
        ended.fails(130, &["stopped: no training set was made"]);
        assert_eq!(scratch(&folder), Vec::<PathBuf>::new());
        assert_eq!(folder.text("train.parquet"), "of an earlier time");
    };
    // Ctrl-C is heard by both, a supervisor asks the outer one.
    for signal in [Signal::INT, Signal::TERM] {
        let mut outer = start(&folder);
        until_begun(&folder, &mut outer);
        kill_process(Pid::from_child(&outer), signal).unwrap();
        check(outer);
        let mut outer = start(&folder);
        let inner = until_begun(&folder, &mut outer);
        kill_process(inner, signal).unwrap();
        check(outer);
    }
}

#[test]
fn what_a_killed_one_leaves_the_next_one_removes() {
    if !training::is_built() {
        return;
    }
    let folder = long();
    let mut outer = start(&folder);
    let inner = until_begun(&folder, &mut outer);
    outer.kill().unwrap();
    outer.wait().unwrap();
    let [left] = &scratch(&folder)[..] else {
        panic!("there is not one folder: {:?}", scratch(&folder));
    };
    kill_process(inner, Signal::KILL).unwrap();
    // It holds its lock until it is gone.
    File::open(left.join("lock")).unwrap().lock().unwrap();
    training::spine(&folder, &[("SFO", "2026-01-03T00:00:00Z")]);
    training::made(&folder, "flights_1d", &[]);
    assert_eq!(scratch(&folder), Vec::<PathBuf>::new());
}
