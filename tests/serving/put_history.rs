//! Values that are put, in the history of features: over REST, with the embedded store and with a table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use penstock::config::{Environment, StorePlace};
use penstock::store::offline::OfflineStore;
use serde_json::json;

use super::program::{Serving, json_to};
use super::put::{PUT, declared, now, values};
use super::training;
use crate::support::proxy::Proxy;
use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::servers::s3;
use crate::support::{Folder, HOST};

/// Does the same with both backends.
fn each(name: &str, ask: impl Fn(&Folder)) {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let table = format!(
        "store = \"dynamodb://kept_{name}\"\n{}",
        settings(&endpoint)
    );
    let serving = "[environments.local.serving]\nanyone = \"write\"\ndeadline = \"30s\"";
    for store in ["store = \"store\"", table.as_str()] {
        ask(&declared(
            &format!("offline = \"history\"\n{store}"),
            serving,
        ));
    }
}

/// The files of the history of airports.
fn files(folder: &Folder) -> Vec<RecordBatch> {
    let store = OfflineStore::open(&StorePlace::Folder(folder.path("history"))).unwrap();
    HOST.io.block_on(async {
        let mut found = Vec::new();
        for file in store.files("airport").await.unwrap() {
            found.push(store.read(&file.name).await.unwrap());
        }
        found
    })
}

#[test]
fn what_is_put_is_in_training_sets_as_of_its_time() {
    if !training::is_built() {
        return;
    }
    each("joined", |folder| {
        let serving = Serving::start(folder);
        let put = |entities: &[&str], time: &str, runways: &[i64]| {
            let body = values(&json!(entities), time, &[("runways", json!(runways))]);
            serving.post(PUT, &body).0
        };
        assert_eq!(put(&["42", "LAX"], "2020-01-02T00:00:00Z", &[4, 8]), 200);
        assert_eq!(put(&["42"], "2020-01-04T12:00:00Z", &[5]), 200);
        // The same time once more, and an older value, which the store does not show.
        assert_eq!(put(&["42"], "2020-01-04T12:00:00Z", &[6]), 200);
        assert_eq!(put(&["42"], "2020-01-03T00:00:00Z", &[7]), 200);
        // What its validation refuses is nowhere.
        assert_eq!(put(&["LAX", "42"], "2020-01-05T00:00:00Z", &[3, 21]), 400);
        assert_eq!(now(&serving, "runways", &["42", "LAX"])[0], json!([6, 8]));
        let rows: usize = files(folder).iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 5);
        let asked = [
            ("42", "2020-01-01T23:59:59Z", None),
            ("42", "2020-01-02T00:00:00Z", Some(4)),
            ("42", "2020-01-03T12:00:00Z", Some(7)),
            ("42", "2020-01-06T00:00:00Z", Some(6)),
            ("LAX", "2020-01-06T00:00:00Z", Some(8)),
            ("nobody", "2020-01-06T00:00:00Z", None),
        ];
        let made = |more: &[&str]| -> Vec<Option<i64>> {
            let rows = training::made(folder, "runways", more);
            let runways = rows.column_by_name("runways").unwrap();
            runways.as_primitive::<Int64Type>().iter().collect()
        };
        let expected = asked.map(|(_, _, runways)| runways);
        training::spine(folder, &asked.map(|(airport, time, _)| (airport, time)));
        assert_eq!(made(&[]), expected);
        // All of it was put long after.
        assert_eq!(made(&["--by-write-time"]), [None; 6]);
        serving.stop();
        let compact = ["offline", "compact"];
        let told = folder.penstock(&compact).fine();
        assert!(told.contains("0 rows were there twice"), "{told}");
        assert!(files(folder).len() < 4);
        assert_eq!(made(&[]), expected);
        // Keys are texts in the history, and may be numbers elsewhere.
        let times = training::times(&asked.map(|(_, time, _)| time));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![42; asked.len()]));
        training::write_spine(folder, numbers, times);
        assert_eq!(
            made(&[]),
            [None, Some(4), Some(7), Some(6), Some(6), Some(6)]
        );
    });
}

#[test]
fn a_server_that_is_killed_leaves_all_that_it_acknowledged_in_the_history() {
    const CLIENTS: u32 = 4;
    each("killed", |folder| {
        let mut acknowledged = BTreeSet::new();
        for round in 0..2 {
            let serving = Serving::start(folder);
            let (told, hears) = sync_channel(0);
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (told, url) = (told.clone(), format!("http://{}{PUT}", serving.rest));
                    std::thread::spawn(move || {
                        let http = reqwest::Client::new();
                        for at in 0_u32.. {
                            let value = f64::from((round * 1_000_000 + at) * CLIENTS + client);
                            let body = values(
                                &json!([format!("airport {client}")]),
                                "2020-01-02T00:00:00Z",
                                &[("elevation", json!([value]))],
                            );
                            let sent = HOST.io.block_on(json_to(http.post(&url), &body).send());
                            match sent {
                                Ok(answer) => assert_eq!(answer.status().as_u16(), 200),
                                Err(_) => return,
                            }
                            if told.send(value as u64).is_err() {
                                return;
                            }
                        }
                    })
                })
                .collect();
            drop(told);
            for _ in 0..30 + 7 * round {
                acknowledged.insert(hears.recv().unwrap());
            }
            serving.kill();
            acknowledged.extend(hears.try_iter());
            drop(hears);
            for client in clients {
                client.join().unwrap();
            }
            let found: BTreeSet<u64> = files(folder)
                .iter()
                .flat_map(|rows| {
                    let values = rows.column_by_name("elevation@1").unwrap();
                    let values = values.as_primitive::<Float64Type>().values();
                    values.iter().map(|value| *value as u64).collect::<Vec<_>>()
                })
                .collect();
            let lost: Vec<_> = acknowledged.difference(&found).collect();
            assert!(lost.is_empty(), "{lost:?}");
        }
    });
}

#[test]
fn while_the_history_cannot_be_written_nothing_is_taken() {
    each("away", |folder| {
        let serving = Serving::start(folder);
        let body = values(
            &json!(["SFO"]),
            "2020-01-02T00:00:00Z",
            &[("runways", json!([4]))],
        );
        // Where a folder should be is a file.
        std::fs::create_dir_all(folder.path("history")).unwrap();
        folder.write("history/airport", "");
        let (code, answer) = serving.post(PUT, &body);
        assert_eq!(code, 503, "{answer}");
        let told = answer.to_string();
        assert!(
            told.contains("history of features cannot be written"),
            "{told}"
        );
        assert_eq!(now(&serving, "runways", &["SFO"])[1], json!(["missing"]));
        std::fs::remove_file(folder.path("history/airport")).unwrap();
        assert_eq!(serving.post(PUT, &body).0, 200);
        assert_eq!(now(&serving, "runways", &["SFO"])[0], json!([4]));
        let said = serving.stop();
        assert!(
            said.contains("cannot write to the history of features"),
            "{said}"
        );
    });
}

/// The history is in a bucket that refuses everything, or does not answer.
#[test]
fn a_bucket_that_fails_or_stalls_has_the_values_refused_and_not_lost() {
    let server = s3::start();
    server.make_bucket("features").unwrap();
    let is_well = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::ill_until(server.port(), &is_well);
    let store = "store = \"store\"\noffline = \"s3://features/history\"";
    let options = s3::options(proxy.port);
    let folder = declared(
        store,
        &format!("{options}\n[environments.local.serving]\nanyone = \"write\"\ndeadline = \"60s\""),
    );
    let serving = Serving::start(&folder);
    let put = |runways: i64| {
        let time = "2020-01-02T00:00:00Z";
        let body = values(&json!(["SFO"]), time, &[("runways", json!([runways]))]);
        serving.post(PUT, &body)
    };
    let (code, answer) = put(4);
    assert_eq!(code, 503, "{answer}");
    assert!(
        answer.to_string().contains("history of features"),
        "{answer}"
    );
    assert_eq!(now(&serving, "runways", &["SFO"])[1], json!(["missing"]));
    is_well.store(true, Ordering::Relaxed);
    // A connection from before may still be stalled: a put that is refused is put again.
    while put(5).0 == 503 {}
    assert_eq!(now(&serving, "runways", &["SFO"])[0], json!([5]));
    serving.stop();
    let environment = Environment::find_and_load(&folder.path("pipeline.toml"), "local");
    let store = OfflineStore::open(&environment.unwrap().offline.unwrap()).unwrap();
    let found = HOST.io.block_on(async {
        let files = store.files("airport").await.unwrap();
        let mut found = Vec::new();
        for file in files {
            let rows = store.read(&file.name).await.unwrap();
            let runways = rows.column_by_name("runways@1").unwrap();
            found.extend_from_slice(runways.as_primitive::<Int64Type>().values());
        }
        found
    });
    assert!(found.contains(&5), "{found:?}");
}
