//! The embedded store against an oracle, over restarts, kills, readers and a disk that fills up.

mod cached;
mod failing;
mod snapshots;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type};
use proptest::prelude::*;
use tempfile::TempDir;

use self::failing::FailingDisk;
use super::*;
use crate::store::{FeatureBatch, FeatureColumn, Order};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// So many lanes of the pipeline of these tests.
fn rides(lanes: u32) -> [PipelineLanes; 1] {
    let pipeline = "rides".to_owned();
    [PipelineLanes { pipeline, lanes }]
}

fn declaration(feature: &str, version: u32) -> Declaration {
    Declaration {
        group: "driver".to_owned(),
        feature: feature.to_owned(),
        version,
        pipeline: "rides".to_owned(),
        window: "10m".to_owned(),
        entity: vec!["driver_id".to_owned()],
        data_type: DataType::Int64,
        document: format!("{{ \"owner\": \"{feature}\" }}"),
    }
}

/// One row of one feature.
#[derive(Clone, Copy, Debug)]
struct Row {
    entity: i64,
    event_time: i64,
    value: Option<i64>,
}

/// Rows of feature `f@version` as items; the epoch and the sequences are given.
fn items(version: u32, epoch: u64, first_sequence: u64, rows: &[Row]) -> Items {
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(
        rows.iter().map(|r| r.entity),
    ))];
    let event_time = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.event_time));
    let values: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.value)));
    let features = [FeatureColumn {
        name: "f",
        version,
        values: &values,
    }];
    Items::encode(&FeatureBatch {
        group: "driver",
        pipeline: "rides",
        window: "10m",
        keys: &keys,
        event_time: &event_time,
        epoch,
        first_sequence,
        features: &features,
    })
    .unwrap()
}

fn row(entity: i64, event_time: i64, value: i64) -> Row {
    Row {
        entity,
        event_time,
        value: Some(value),
    }
}

async fn get(
    reader: &dyn FeatureReader,
    entity: i64,
    feature: &str,
) -> Option<(Order, Option<i64>)> {
    let names = [FeatureName::parse(feature)];
    let found = reader
        .get("driver", &entity.to_string(), &names)
        .await
        .unwrap();
    let found = found.into_iter().next().unwrap()?;
    let value = found
        .value
        .map(|v| v.array().as_primitive::<Int64Type>().value(0));
    Some((found.order, value))
}

async fn filled(folder: &Path, lanes: u32) -> EmbeddedStore {
    let store = EmbeddedStore::open(folder, &rides(lanes)).await.unwrap();
    store
        .declare(&[declaration("f", 1), declaration("f", 2)])
        .await
        .unwrap();
    store
}

/// Batches of rows, each with its lane, version, epoch and first sequence: out of order, with ties and repeats.
fn writes() -> impl Strategy<Value = Vec<(u32, u32, u64, u64, Vec<Row>)>> {
    let row = (0..4i64, 0..4i64, proptest::option::weighted(0.8, 0..100i64)).prop_map(
        |(entity, event_time, value)| Row {
            entity,
            event_time,
            value,
        },
    );
    let batch = (
        0..3u32,
        1..3u32,
        0..3u64,
        0..1000u64,
        proptest::collection::vec(row, 1..6),
    );
    proptest::collection::vec(batch, 1..12).prop_map(|mut batches| {
        // Two different writes never share an order: sequences are given out once. A repeat is a replay.
        for (i, batch) in batches.iter_mut().enumerate() {
            batch.3 = batch.3 * 100 + i as u64 * 7;
        }
        let replay = batches[0].clone();
        batches.push(replay);
        batches
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_newest_write_wins_whatever_the_order_lane_and_restarts(
        batches in writes(), flush_at in 0..12usize, restart_at in 0..12usize,
    ) {
        runtime().block_on(async {
            let folder = TempDir::new().unwrap();
            let mut store = filled(folder.path(), 3).await;
            let mut oracle: BTreeMap<(i64, u32), (Order, Option<i64>)> = BTreeMap::new();
            for (i, (lane, version, epoch, first, rows)) in batches.iter().enumerate() {
                for (j, row) in rows.iter().enumerate() {
                    let order = Order { event_time: row.event_time, epoch: *epoch, sequence: first + j as u64 };
                    let kept = oracle.entry((row.entity, *version)).or_insert((order, row.value));
                    if kept.0 < order {
                        *kept = (order, row.value);
                    }
                }
                store.write(*lane, items(*version, *epoch, *first, rows)).await.unwrap();
                if i == flush_at {
                    store.flush().await.unwrap();
                }
                if i == restart_at {
                    store.close().await.unwrap();
                    // A run with fewer lanes still sees what lies in the others, and the batches fit no lane then.
                    store = EmbeddedStore::open(folder.path(), &rides(3)).await.unwrap();
                }
            }
            for entity in 0..4 {
                for version in 1..3 {
                    let found = get(&store, entity, &format!("f@{version}")).await;
                    assert_eq!(found, oracle.get(&(entity, version)).copied(), "{entity} {version}");
                }
            }
            store.close().await.unwrap();
            let reader = EmbeddedStore::open_reader(folder.path()).await.unwrap();
            let fewer = EmbeddedStore::open(folder.path(), &rides(1)).await.unwrap();
            for (&(entity, version), expected) in &oracle {
                let feature = format!("f@{version}");
                assert_eq!(get(&reader, entity, &feature).await.as_ref(), Some(expected));
                assert_eq!(get(&fewer, entity, &feature).await.as_ref(), Some(expected));
            }
            fewer.close().await.unwrap();
            reader.close().await;
        });
    }
}

#[tokio::test]
async fn the_greatest_declared_version_is_read_and_unknown_names_are_explained() {
    let folder = TempDir::new().unwrap();
    let store = filled(folder.path(), 1).await;
    store.declare(&[declaration("f", 10)]).await.unwrap();
    store
        .write(0, items(2, 1, 0, &[row(1, 5, 50)]))
        .await
        .unwrap();
    let names = [FeatureName::parse("f@2"), FeatureName::parse("f")];
    let found = store.get("driver", "1", &names).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().version, 2);
    assert_eq!(
        found[0]
            .as_ref()
            .unwrap()
            .value
            .as_ref()
            .unwrap()
            .to_json()
            .unwrap(),
        "50"
    );
    assert_eq!(
        found[1], None,
        "version 10 is declared and was never written"
    );

    store
        .write(
            0,
            items(
                10,
                1,
                7,
                &[Row {
                    entity: 1,
                    event_time: 5,
                    value: None,
                }],
            ),
        )
        .await
        .unwrap();
    let removed = store.get("driver", "1", &names[1..]).await.unwrap()[0]
        .clone()
        .unwrap();
    assert_eq!(
        (removed.version, removed.order.sequence, removed.value),
        (10, 7, None)
    );

    let reader = EmbeddedStore::open_reader(folder.path()).await.unwrap();
    for reader in [&store as &dyn FeatureReader, &reader] {
        let unknown = reader
            .get("drivers", "1", &names)
            .await
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("did you mean \"driver\"?"), "{unknown}");
        let asked = [FeatureName::parse("g@3")];
        let unknown = reader
            .get("driver", "1", &asked)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            unknown.contains("no feature \"g@3\"") && unknown.contains("f@1, f@2, f@10"),
            "{unknown}"
        );
        let declared = reader.declarations(Some("driver")).await.unwrap();
        assert_eq!(
            declared,
            [
                declaration("f", 1),
                declaration("f", 2),
                declaration("f", 10)
            ]
        );
        assert_eq!(reader.declarations(None).await.unwrap(), declared);
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_version_keeps_its_place_and_type_while_its_document_may_change() {
    let folder = TempDir::new().unwrap();
    let store = filled(folder.path(), 1).await;
    let mut changed = declaration("f", 1);
    changed.document = "{\"owner\":\"b\",\"range\":[0.1,1]}".to_owned();
    store.declare(std::slice::from_ref(&changed)).await.unwrap();
    assert_eq!(store.declarations(None).await.unwrap()[0], changed);
    changed.data_type = DataType::Utf8;
    let refused = store.declare(&[changed]).await.unwrap_err().to_string();
    assert!(
        refused.contains("driver/f@1") && refused.contains("raise the feature's version"),
        "{refused}"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn any_name_can_be_a_group_a_feature_or_an_entity() {
    let folder = TempDir::new().unwrap();
    let store = EmbeddedStore::open(folder.path(), &rides(1)).await.unwrap();
    let odd = Declaration {
        group: "../a b/é".to_owned(),
        feature: "x/.@y".to_owned(),
        ..declaration("", 3)
    };
    store.declare(std::slice::from_ref(&odd)).await.unwrap();
    let keys: [ArrayRef; 1] = [Arc::new(StringArray::from(vec!["\0,é", ""]))];
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let features = [FeatureColumn {
        name: &odd.feature,
        version: 3,
        values: &values,
    }];
    let batch = FeatureBatch {
        group: &odd.group,
        pipeline: &odd.pipeline,
        window: &odd.window,
        keys: &keys,
        event_time: &TimestampMicrosecondArray::from(vec![1, 1]),
        epoch: 0,
        first_sequence: 0,
        features: &features,
    };
    store
        .write(0, Items::encode(&batch).unwrap())
        .await
        .unwrap();
    store.flush().await.unwrap();
    let name = [FeatureName {
        name: odd.feature.clone(),
        version: None,
    }];
    for (entity, json) in [("\0,é", "1"), ("", "2")] {
        let found = store.get(&odd.group, entity, &name).await.unwrap();
        assert_eq!(
            found[0].clone().unwrap().value.unwrap().to_json().unwrap(),
            json
        );
    }
    assert_eq!(store.declarations(None).await.unwrap(), [odd]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_store_is_refused_with_a_reason() {
    let folder = TempDir::new().unwrap();
    let refused = |folder: &Path| {
        let folder = folder.to_owned();
        async move {
            EmbeddedStore::open_reader(&folder)
                .await
                .err()
                .unwrap()
                .to_string()
        }
    };
    assert!(
        refused(&folder.path().join("absent"))
            .await
            .contains("it does not exist")
    );
    assert!(
        refused(folder.path())
            .await
            .contains("it has no store.json")
    );

    std::fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    let taken = EmbeddedStore::open(folder.path(), &rides(1))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        taken.contains("thesis.txt") && taken.contains("empty folder"),
        "{taken}"
    );

    std::fs::write(folder.path().join("store.json"), "{\"layout\":99}").unwrap();
    assert!(refused(folder.path()).await.contains("has layout 99"));
    std::fs::write(folder.path().join("store.json"), "nonsense").unwrap();
    assert!(refused(folder.path()).await.contains("is damaged"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_writer_is_refused_or_takes_over_and_the_first_is_told() {
    let folder = TempDir::new().unwrap();
    let first = filled(folder.path(), 1).await;
    first
        .write(0, items(1, 1, 0, &[row(1, 1, 10)]))
        .await
        .unwrap();
    first.flush().await.unwrap();
    let refused = EmbeddedStore::open(folder.path(), &rides(1))
        .await
        .err()
        .unwrap();
    assert!(
        refused
            .to_string()
            .contains("another process has lane 0 of pipeline rides"),
        "{refused}"
    );
    // As on a file system that knows no locks.
    let store_folder = Folder::open(&folder.path().into()).await.unwrap();
    let storage = Storage::open(&store_folder).unwrap();
    let second = EmbeddedStore::on(store_folder, storage);
    second.open_unlocked(&lane_names(&rides(1))).await.unwrap();
    first
        .write(0, items(1, 1, 1, &[row(1, 2, 20)]))
        .await
        .unwrap();
    let told = first.flush().await.unwrap_err().to_string();
    assert!(told.contains("another process has opened it"), "{told}");
    assert_eq!(get(&second, 1, "f@1").await.unwrap().1, Some(10));
    let _ = first.close().await;
    second.close().await.unwrap();
}

/// The engine lets a write wait for files of what is in memory, and those for the log: nobody flushes that here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_do_not_wait_for_a_flush_that_nobody_asks_for() {
    let folder = TempDir::new().unwrap();
    let store = EmbeddedStore::open(folder.path(), &rides(1)).await.unwrap();
    let state = store.state("rides", 0).unwrap();
    let value = |number: u32| vec![number as u8; 100 + number as usize % 400];
    let mut numbers = 0..300_000_u32;
    for batches in 0.. {
        let mut batch = state.batch();
        for number in numbers.by_ref().take(500 + batches * 37 % 2_000) {
            batch.put(&number.to_be_bytes(), &value(number));
        }
        if batch.bytes() == 0 {
            break;
        }
        state.apply(batch).await.unwrap();
    }
    for number in (0..300_000_u32).step_by(1_001) {
        let found = state.get(&number.to_be_bytes()).await.unwrap();
        assert_eq!(found.as_deref(), Some(&value(number)[..]), "{number}");
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_follow_a_writer_without_touching_the_folder() {
    let folder = TempDir::new().unwrap();
    let store = filled(folder.path(), 2).await;
    let long = EmbeddedStore::open_reader(folder.path()).await.unwrap();
    for round in 0..20 {
        store
            .write(
                round as u32 % 2,
                items(1, 1, round, &[row(1, round as i64, round as i64)]),
            )
            .await
            .unwrap();
        store.flush().await.unwrap();
        // A reader that is opened now sees what was flushed; one that stays open sees some prefix of it.
        let fresh = EmbeddedStore::open_reader(folder.path()).await.unwrap();
        assert_eq!(get(&fresh, 1, "f@1").await.unwrap().1, Some(round as i64));
        fresh.close().await;
        let seen = get(&long, 1, "f@1")
            .await
            .map_or(-1, |(order, _)| order.event_time);
        assert!(seen <= round as i64);
    }
    store.close().await.unwrap();
    long.close().await;
}

/// Not a test of its own: the process that `what_was_flushed_survives_a_kill` kills.
#[test]
fn writer_that_is_killed() {
    let Ok(folder) = std::env::var("PENSTOCK_TEST_STORE") else {
        return;
    };
    runtime().block_on(async {
        let store = filled(Path::new(&folder), 2).await;
        for round in 0.. {
            let rows: Vec<Row> = (0..500).map(|entity| row(entity, round, round)).collect();
            store
                .write((round % 2) as u32, items(1, 1, 0, &rows))
                .await
                .unwrap();
            if round % 3 == 0 {
                store.flush().await.unwrap();
                println!("\nflushed {round}");
                std::io::stdout().flush().unwrap();
            }
        }
    });
}

#[test]
fn what_was_flushed_survives_a_kill() {
    let folder = TempDir::new().unwrap();
    let name = format!(
        "{}::writer_that_is_killed",
        module_path!().split_once("::").unwrap().1
    );
    let mut least = 0;
    for kill in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env("PENSTOCK_TEST_STORE", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let flushed = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("flushed ")?.parse::<i64>().ok())
            .nth(5 + kill)
            .expect("the writer goes on until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        least = flushed.max(least);
        runtime().block_on(async {
            let reader = EmbeddedStore::open_reader(folder.path()).await.unwrap();
            for entity in [0, 1, 250, 499] {
                let (order, value) = get(&reader, entity, "f@1").await.unwrap();
                assert!(
                    value >= Some(least) && value == Some(order.event_time),
                    "{entity}: {value:?} < {least}"
                );
            }
            reader.close().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_error_that_leaves_what_was_flushed() {
    // Once when little is under way, and once with so much that tables have to be written too.
    for entities in [10, 200_000] {
        let folder = TempDir::new().unwrap();
        let store_folder = Folder::create(&folder.path().into()).await.unwrap();
        let disk = FailingDisk::open(&store_folder.path().join("lanes"));
        let full = Arc::clone(&disk.full);
        let storage = Storage::on(Arc::new(disk::Disk::on(disk)));
        let store = EmbeddedStore::on(store_folder, storage);
        store.open_lanes(&rides(1)).await.unwrap();
        store.declare(&[declaration("f", 1)]).await.unwrap();
        store
            .write(0, items(1, 1, 0, &[row(1, 1, 10)]))
            .await
            .unwrap();
        store.flush().await.unwrap();

        full.store(true, Relaxed);
        let rows: Vec<Row> = (0..entities).map(|entity| row(entity, 2, 20)).collect();
        // Whichever of the two meets the disk first must fail, and nothing may wait for room.
        let mut refused = None;
        for _ in 0..3 {
            let written = store.write(0, items(1, 1, 1, &rows)).await;
            refused = refused.or(written.and(store.flush().await).err());
        }
        let refused = refused.unwrap().to_string();
        assert!(
            refused.contains("lanes/rides/0") && refused.contains("No space left"),
            "{refused}"
        );
        assert!(store.close().await.is_err());

        let reader = EmbeddedStore::open_reader(folder.path()).await.unwrap();
        assert_eq!(get(&reader, 1, "f@1").await.unwrap().1, Some(10));
        reader.close().await;
        full.store(false, Relaxed);
        let again = EmbeddedStore::open(folder.path(), &rides(1)).await.unwrap();
        again.write(0, items(1, 1, 1, &rows)).await.unwrap();
        again.flush().await.unwrap();
        assert_eq!(get(&again, 1, "f@1").await.unwrap().1, Some(20));
        again.close().await.unwrap();
    }
}
