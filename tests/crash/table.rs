//! Runs whose features go to a table of DynamoDB: killed, and over a service that fails.

use std::process::{Command, Stdio};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::killed::{left, left_with};
use super::stream::{WINDOWS, folder};
use crate::kinesis::proxy::{Fate, Proxy};
use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::{Folder, HOST};

/// Says that a folder's features go to a table, and makes that.
fn move_features(folder: &Folder, table: &str, endpoint: &str) {
    let store = format!("store = \"dynamodb://{table}\"\nstate = \"state\"");
    let text = folder.text("penstock.toml");
    let text = text.replace("store = \"store\"", &store);
    folder.write("penstock.toml", text + &settings(endpoint));
    folder.penstock(&["store", "init"]).fine();
}

fn pause(time: Duration) {
    HOST.clock.wait(HOST.clock.now() + time, &false.into());
}

/// A run of some seconds, in which there are many commits however slow the table is.
const RUN: [&str; 5] = ["run", "pipeline.toml", "-q", "--speed", "400x"];

/// Starts a run and kills it when the table was asked for so many updates; false if it was over before.
fn killed_at(folder: &Folder, proxy: &Proxy, updates: usize) -> bool {
    let before = proxy.count("UpdateItem");
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(RUN)
        .current_dir(folder.path(""))
        .env("PENSTOCK_CACHE", folder.path("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_over = loop {
        if child.try_wait().unwrap().is_some() {
            break true;
        }
        if proxy.count("UpdateItem") - before >= updates {
            break false;
        }
        pause(Duration::from_millis(5));
    };
    // It may be over by now.
    let _ = child.kill();
    child.wait().unwrap();
    !is_over
}

#[test]
fn a_killed_run_to_a_table_goes_on_and_leaves_what_an_undisturbed_one_leaves() {
    let keeping = "lanes = 2\ncommit_every = \"20ms\"";
    let proxy = Proxy::start(SHARED.port(), |_, _| Fate::Pass);
    let (mut kills, mut resumed) = (0, 0);
    for seed in 0..2_u64 {
        let window = WINDOWS[seed as usize * 2];
        let plain = folder(seed, window, "lanes = 2");
        let undisturbed = plain
            .penstock(&["run", "pipeline.toml", "-q", "--json"])
            .fine();
        let undisturbed = left(&plain, &undisturbed);

        // How much a whole run asks for here and now.
        let whole = folder(seed, window, keeping);
        move_features(&whole, &format!("whole_{seed}"), &proxy.endpoint());
        let before = proxy.count("UpdateItem");
        whole.penstock(&RUN).fine();
        let asked = proxy.count("UpdateItem") - before;

        let disturbed = folder(seed, window, keeping);
        move_features(&disturbed, &format!("killed_{seed}"), &proxy.endpoint());
        let mut random = Pcg64::seed_from_u64(seed);
        for _ in 0..3 {
            let share = random.random_range(0.4..0.9);
            let updates = (asked as f64 * share) as usize;
            kills += u32::from(killed_at(&disturbed, &proxy, updates));
        }
        let last = disturbed
            .penstock(&["run", "pipeline.toml", "-q", "--json"])
            .fine();
        let report: Value = serde_json::from_str(&last).unwrap();
        resumed += u32::from(report[0]["resumed"].is_u64());
        assert_eq!(
            left_with(&disturbed, &plain, &last),
            undisturbed,
            "schedule {seed}, {window}"
        );
        // Neither features nor declarations are anywhere else.
        assert!(!disturbed.path("store").exists());
        assert!(!disturbed.path("state/declarations").exists());
    }
    println!("{kills} kills, {resumed} last runs went on");
    assert!(resumed > 0, "no run was killed after a commit");
}

#[test]
fn a_run_to_a_table_that_fails_is_the_same_as_one_to_a_table_that_does_not() {
    let plain = folder(5, WINDOWS[1], "lanes = 2");
    let undisturbed = plain
        .penstock(&["run", "pipeline.toml", "-q", "--json"])
        .fine();
    let undisturbed = left(&plain, &undisturbed);
    let mut random = Pcg64::seed_from_u64(5);
    let proxy = Proxy::start(SHARED.port(), move |action, _| {
        match random.random_range(0..100) {
            _ if action != "UpdateItem" => Fate::Pass,
            0..5 => Fate::Refuse(500, "InternalServerError", "the test says so"),
            5..10 => Fate::Refuse(400, "ThrottlingException", "the test says so"),
            10..14 => Fate::Cut(random.random_range(0..300)),
            _ => Fate::Pass,
        }
    });
    let disturbed = folder(5, WINDOWS[1], "lanes = 2\ncommit_every = \"50ms\"");
    move_features(&disturbed, "faulty_run", &proxy.endpoint());
    let ended = disturbed.penstock(&["run", "pipeline.toml", "-q", "--json"]);
    let said = ended.stderr();
    assert!(said.contains("it is asked again until it does"), "{said}");
    let summary = ended.fine();
    assert_eq!(left_with(&disturbed, &plain, &summary), undisturbed);
}
