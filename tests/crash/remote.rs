//! Runs whose store is on S3: killed, over a network that fails, with a second process, and without what they need.

use std::time::Duration;

use penstock::config::{Environment, StorePlace};
use penstock::store::FeatureStore;
use penstock::store::embedded::{EmbeddedStore, PipelineLanes};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::killed::{killed_after, left, left_with};
use super::stream::{WINDOWS, folder};
use crate::support::proxy::{Fate, Proxy};
use crate::support::servers::s3;
use crate::support::{Folder, HOST};

/// Says that a folder's store is on the S3 server at a port.
fn move_store(folder: &Folder, port: u16, store: &str) {
    let text = folder.text("penstock.toml");
    let text = text.replace("store = \"store\"", &format!("store = \"{store}\""));
    folder.write("penstock.toml", text + &s3::options(port));
}

fn place(folder: &Folder) -> StorePlace {
    let environment = Environment::find_and_load(&folder.path("pipeline.toml"), "local");
    environment.unwrap().store
}

#[test]
fn a_killed_run_on_s3_goes_on_and_leaves_what_an_undisturbed_one_leaves() {
    let server = s3::start();
    server.make_bucket("state").unwrap();
    let (mut kills, mut resumed) = (0, 0);
    for seed in 0..3_u64 {
        let window = WINDOWS[seed as usize * 2];
        let plain = folder(seed, window, "lanes = 2");
        let undisturbed = plain
            .penstock(&["run", "pipeline.toml", "-q", "--json"])
            .fine();
        let undisturbed = left(&plain, &undisturbed);

        let disturbed = folder(seed, window, "lanes = 2\ncommit_every = \"20ms\"");
        move_store(
            &disturbed,
            server.port(),
            &format!("s3://state/killed/{seed}"),
        );
        let mut random = Pcg64::seed_from_u64(seed);
        for _ in 0..3 {
            let after = random.random_range(400..1_500);
            kills += u32::from(killed_after(&disturbed, Duration::from_millis(after)));
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
        assert!(!disturbed.path("store").exists() && !disturbed.path("s3:").exists());
    }
    println!("{kills} kills, {resumed} last runs went on");
    assert!(resumed > 0, "no run was killed after a commit");
}

#[test]
fn an_s3_that_fails_breaks_off_and_stalls_is_waited_for() {
    let server = s3::start();
    server.make_bucket("state").unwrap();
    let plain = folder(5, WINDOWS[1], "lanes = 2");
    let undisturbed = plain
        .penstock(&["run", "pipeline.toml", "-q", "--json"])
        .fine();
    let undisturbed = left(&plain, &undisturbed);

    let mut requests = 0;
    let mut fates = Pcg64::seed_from_u64(5);
    let proxy = Proxy::by(server.port(), move || {
        requests += 1;
        match fates.random_range(0..100) {
            // An outage, in which nothing goes through.
            _ if (40..55).contains(&requests) => Fate::Refuse(503),
            0..6 => Fate::Refuse(500),
            6..9 => Fate::Break(fates.random_range(0..400)),
            9 => Fate::Stall(fates.random_range(0..400)),
            _ => Fate::Pass,
        }
    });
    let disturbed = folder(5, WINDOWS[1], "lanes = 2\ncommit_every = \"20ms\"");
    move_store(&disturbed, proxy.port, "s3://state/faulty");
    let ended = disturbed.penstock(&["run", "pipeline.toml", "-q", "--json"]);
    let said = ended.stderr();
    assert!(
        said.contains("object storage fails or does not answer"),
        "{said}"
    );
    let summary = ended.fine();
    assert_eq!(left_with(&disturbed, &plain, &summary), undisturbed);
}

#[test]
fn who_opens_a_lane_on_s3_takes_it_from_whoever_had_it() {
    let server = s3::start();
    server.make_bucket("state").unwrap();
    let folder = folder(1, WINDOWS[0], "");
    move_store(&folder, server.port(), "s3://state");
    let (place, lanes) = (
        place(&folder),
        [PipelineLanes {
            pipeline: "totals".to_owned(),
            lanes: 1,
        }],
    );
    HOST.io.block_on(async {
        let first = EmbeddedStore::open(&place, &lanes).await.unwrap();
        let put = async |store: &EmbeddedStore, value: &[u8]| {
            let state = store.state("totals", 0).unwrap();
            let mut batch = state.batch();
            batch.put(b"x", value);
            state.apply(batch).await.unwrap();
            state.flush().await
        };
        put(&first, b"1").await.unwrap();
        assert_eq!(first.begin_epoch("totals").await.unwrap(), 1);
        let second = EmbeddedStore::open(&place, &lanes).await.unwrap();
        let told = put(&first, b"2").await.unwrap_err();
        assert!(told.is_fenced(), "{told}");
        let state = second.state("totals", 0).unwrap();
        assert_eq!(state.get(b"x").await.unwrap().unwrap(), &b"1"[..]);
        assert_eq!(second.begin_epoch("totals").await.unwrap(), 2);
        assert_eq!(first.begin_epoch("totals").await.unwrap(), 3);
        put(&second, b"3").await.unwrap();
        let counts = state.requests().counts();
        assert!(counts.put > 0 && counts.written_bytes > 0, "{counts:?}");
        second.set_run("totals", Some("run".into())).await.unwrap();
        let run = first.run("totals").await.unwrap();
        assert_eq!(run.as_deref(), Some("run"));
        second.set_run("totals", None).await.unwrap();
        assert_eq!(first.run("totals").await.unwrap(), None);
        second.close().await.unwrap();
        let _ = first.close().await;
    });
}

#[test]
fn what_is_missing_is_one_clear_error() {
    let server = s3::start();
    server.make_bucket("full").unwrap();
    s3::put(server.port(), "full", "x/thesis.txt", b"x");
    let ends = |store: &str, port: u16, code: i32, expected: &[&str]| {
        let folder = folder(1, WINDOWS[0], "commit_every = \"1s\"");
        move_store(&folder, port, store);
        let run = folder.penstock(&["run", "pipeline.toml", "-q"]);
        run.fails(code, expected);
        let get = folder.penstock(&["get", "key", "1", "rows_1m"]);
        assert_ne!(get.code(), Some(0));
    };
    ends(
        "s3://absent/x",
        server.port(),
        2,
        &["there is no bucket `absent`"],
    );
    ends(
        "s3://full/x",
        server.port(),
        2,
        &["s3://full/x", "thesis.txt", "needs an empty folder"],
    );
    ends("https://host/x", server.port(), 2, &["s3://BUCKET/PREFIX"]);
    let locked = s3::start_locking_after(0);
    ends(
        "s3://state/x",
        locked.port(),
        2,
        &["credentials", "AWS_ACCESS_KEY_ID"],
    );
    // Nobody is there.
    drop(locked);
    ends("s3://state/x", 1, 1, &["bucket `state` cannot be reached"]);
}
