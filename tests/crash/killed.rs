//! Runs under SIGKILL.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use penstock::clock::{Clock, SystemClock};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::first_seed;
use super::stream::{WINDOWS, folder};
use crate::support::{Folder, cases};

/// Kills of one run at most.
const KILLS: u32 = 4;

/// What is left of a run: its files, its accounts, and what the store says.
#[derive(Debug, PartialEq)]
pub(super) struct Left {
    files: Vec<(String, Option<String>)>,
    accounts: Value,
    store: Vec<Value>,
}

/// The schedules are random; `PENSTOCK_CASES` multiplies their number.
#[test]
fn a_killed_run_goes_on_and_leaves_what_an_undisturbed_one_leaves() {
    let (mut kills, mut resumed) = (0, 0);
    let schedules = u64::from(cases(20).cases);
    let first = first_seed();
    for seed in first..first + schedules {
        let window = WINDOWS[seed as usize % WINDOWS.len()];
        let lanes = 1 + seed % 3;
        let mut run = format!("lanes = {lanes}\ncommit_every = \"5ms\"");
        if seed % 5 == 4 {
            // Every key is put away whenever it can be.
            run.push_str("\nstate_memory = \"1KiB\"");
        }
        let plain = folder(seed, window, &format!("lanes = {lanes}"));
        let clock = SystemClock::start();
        let undisturbed = plain
            .penstock(&["run", "pipeline.toml", "-q", "--json"])
            .fine();
        let took = clock.now();
        let undisturbed = left(&plain, &undisturbed);

        let disturbed = folder(seed, window, &run);
        let mut random = Pcg64::seed_from_u64(seed);
        for _ in 0..KILLS {
            let share = random.random_range(0.4..1.3);
            kills += u32::from(killed_after(&disturbed, took.mul_f64(share)));
        }
        let last = disturbed
            .penstock(&["run", "pipeline.toml", "-q", "--json"])
            .fine();
        let report: Value = serde_json::from_str(&last).unwrap();
        resumed += u32::from(report[0]["resumed"].is_u64());
        assert_eq!(
            left(&disturbed, &last),
            undisturbed,
            "schedule {seed}, {window}"
        );
    }
    println!(
        "{schedules} schedules from seed {first} on, {kills} kills, {resumed} last runs went on"
    );
    assert!(resumed > 0, "no run was killed after a commit");
}

/// Starts a run and kills it; false if it was over before.
pub(super) fn killed_after(folder: &Folder, time: Duration) -> bool {
    let mut child: Child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "pipeline.toml", "-q"])
        .current_dir(folder.path(""))
        .env("PENSTOCK_CACHE", folder.path("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let clock = SystemClock::start();
    clock.wait(time, &AtomicBool::new(false));
    let is_over = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    !is_over
}

pub(super) fn left(folder: &Folder, summary: &str) -> Left {
    left_with(folder, folder, summary)
}

/// What is left in a folder whose store has the same declarations as that of another one.
pub(super) fn left_with(folder: &Folder, declared: &Folder, summary: &str) -> Left {
    let names = [
        "out.ndjson",
        "totals.rejects.ndjson",
        "totals.late.ndjson",
        "totals.invalid.ndjson",
    ];
    let files = names.map(|name| {
        let text = std::fs::read_to_string(folder.path(&format!("out/{name}"))).ok();
        (name.to_owned(), text)
    });
    let mut accounts: Value = serde_json::from_str(summary).unwrap();
    let accounts = accounts[0].as_object_mut().unwrap();
    for other in ["seconds", "events_per_s", "resumed", "files", "store"] {
        accounts.remove(other);
    }
    Left {
        files: files.into(),
        accounts: Value::Object(accounts.clone()),
        store: (0..3).map(|key| values(folder, declared, key)).collect(),
    }
}

/// The features of a key, without the epochs that tell runs apart.
fn values(folder: &Folder, declared: &Folder, key: u32) -> Value {
    let declared = std::fs::read_dir(declared.path("store/declarations/key")).unwrap();
    let names = declared.map(|file| file.unwrap().file_name().into_string().unwrap());
    // What a kill left of a file that was being written is none.
    let names = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    let key = key.to_string();
    let mut arguments = vec!["get", "key", &key, "--json"];
    arguments.extend(names.iter().map(String::as_str));
    let text = folder.penstock(&arguments).fine();
    let mut values: Value = serde_json::from_str(&text).unwrap();
    forget_epochs(&mut values);
    values
}

fn forget_epochs(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(forget_epochs),
        Value::Object(all) => {
            all.remove("epoch");
            all.values_mut().for_each(forget_epochs);
        }
        _ => {}
    }
}
