//! The history of features that live pipelines leave: what runs over the recorded events compute, each write once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use penstock::clock::{Clock, SystemClock};
use penstock::config::Environment;
use penstock::store::offline::OfflineStore;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::stream::{PARTITIONS, Recorded, Stream, TUMBLING};
use crate::support::HOST;
use crate::support::proxy::Proxy;
use crate::support::servers::kafka::{LIMIT, SHARED};
use crate::support::servers::s3;

/// Key, event time in microseconds, and the values of both features, of which JSON does not keep every digit.
type Row = (i64, i64, Option<u64>, Option<String>);
/// Lane, epoch and sequence.
type Write = (u32, u64, u64);

/// A stream whose live pipeline has its history at `place`.
fn stream(name: &str, place: &str, options: &str) -> Stream {
    let stream = Stream::new(&SHARED.bootstrap(), name, TUMBLING, options, "");
    let toml = stream.folder.text("penstock.toml");
    let live = "[environments.live]\n";
    let toml = toml.replace(live, &format!("{live}offline = \"{place}\"\n"));
    stream.folder.write("penstock.toml", toml);
    stream
}

/// What the recorded runs wrote, as rows of the history.
fn expected(recorded: &Recorded) -> Vec<Row> {
    let rows = recorded.rows.iter().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let end: jiff::Timestamp = row["window_end"].as_str().unwrap().parse().unwrap();
        let sum = row["sum"].as_f64().map(|sum| format!("{sum:.6}"));
        let key = row["key"].as_i64().unwrap();
        (key, end.as_microsecond(), row["rows"].as_u64(), sum)
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort();
    rows
}

/// What is in the history, by write, and how many rows are there twice. What is there twice is the same.
fn found(stream: &Stream) -> (BTreeMap<Write, Row>, usize) {
    let environment = Environment::find_and_load(&stream.folder.path("totals.toml"), "live");
    let store = OfflineStore::open(&environment.unwrap().offline.unwrap()).unwrap();
    HOST.io.block_on(async {
        let mut found = BTreeMap::new();
        let mut repeated = 0;
        for file in store.files("key").await.unwrap() {
            for (write, row) in rows(&store.read(&file.name).await.unwrap()) {
                match found.insert(write, row.clone()) {
                    None => {}
                    Some(other) => {
                        assert_eq!(row, other, "{write:?}");
                        repeated += 1;
                    }
                }
            }
        }
        (found, repeated)
    })
}

fn rows(file: &RecordBatch) -> Vec<(Write, Row)> {
    let column = |name: &str| file.column_by_name(name).unwrap();
    let of = |start: &str| {
        let fields = file.schema_ref().fields().iter();
        let at = fields
            .map(|it| it.name())
            .position(|name| name.starts_with(start));
        file.column(at.unwrap())
    };
    let keys = column("key").as_primitive::<Int64Type>();
    let times = column("_event_time").as_primitive::<TimestampMicrosecondType>();
    let lanes = column("_lane").as_primitive::<UInt32Type>();
    let epochs = column("_epoch").as_primitive::<UInt64Type>();
    let sequences = column("_sequence").as_primitive::<UInt64Type>();
    let sums = of("rows_sum_").as_primitive::<Float64Type>();
    let counts = of("rows_").as_primitive_opt::<UInt64Type>().unwrap();
    let row = |at: usize| {
        let count = counts.is_valid(at).then(|| counts.value(at));
        let sum = sums.is_valid(at).then(|| format!("{:.6}", sums.value(at)));
        (
            (lanes.value(at), epochs.value(at), sequences.value(at)),
            (keys.value(at), times.value(at), count, sum),
        )
    };
    (0..file.num_rows()).map(row).collect()
}

fn sorted(found: &BTreeMap<Write, Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = found.values().cloned().collect();
    rows.sort();
    rows
}

/// Waits until so many rows of features are in the pipeline's files.
fn until_written(stream: &Stream, count: usize) {
    let clock = SystemClock::start();
    let lines = || -> usize {
        let files = (0..PARTITIONS).map(|lane| {
            let path = stream.folder.path(&format!("out/totals/{lane}.ndjson"));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.lines().count()
        });
        files.sum()
    };
    while lines() < count {
        assert!(clock.now() < LIMIT, "{} of {count} rows", lines());
        pause(Duration::from_millis(20));
    }
}

fn pause(time: Duration) {
    let clock = SystemClock::start();
    clock.wait(time, &AtomicBool::new(false));
}

#[test]
fn a_killed_pipeline_has_each_write_in_its_history_once() {
    const PARTS: usize = 8;
    let stream = stream("live-history", "history", "");
    let recorded = stream.recorded("totals");
    let mut random = Pcg64::seed_from_u64(11);
    for part in 0..PARTS - 1 {
        let running = stream.start(&["totals"]);
        stream.write(part..part + 1, PARTS);
        until_written(&stream, recorded.rows.len() * part / (PARTS + 2));
        // At the end of lanes their history is written, which is broken off at any moment, or before it begins.
        if part % 3 > 0 {
            kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
            pause(Duration::from_micros(random.random_range(0..200_000)));
        }
        running.kill();
    }
    let running = stream.start(&["totals"]);
    stream.write(PARTS - 1..PARTS, PARTS);
    until_written(&stream, recorded.rows.len());
    running.stop();
    let (all, repeated) = found(&stream);
    assert_eq!(sorted(&all), expected(&recorded));
    let epochs: BTreeSet<u64> = all.keys().map(|(_, epoch, _)| *epoch).collect();
    println!("rows of {} epochs, {repeated} of them twice", epochs.len());
    assert!(epochs.len() > 2, "{epochs:?}");

    // Compacted, it is the same, and each row is there once.
    stream
        .folder
        .penstock(&["offline", "compact", "--env", "live"])
        .fine();
    assert_eq!(found(&stream), (all.clone(), 0));

    // A new beginning counts its entries from 0 again, and writes over none of it.
    std::fs::remove_dir_all(stream.folder.path("out/totals")).unwrap();
    let running = stream.start_with(&["totals.toml", "--fresh"]);
    until_written(&stream, recorded.rows.len());
    running.stop();
    let (both, _) = found(&stream);
    assert!(all.iter().all(|(write, row)| both.get(write) == Some(row)));
    let new = both
        .into_iter()
        .filter(|(write, _)| !all.contains_key(write));
    assert_eq!(sorted(&new.collect()), expected(&recorded));
}

/// The history is in a bucket that refuses everything, or does not answer.
#[test]
fn a_bucket_that_fails_and_stalls_stops_nothing() {
    let server = s3::start();
    server.make_bucket("features").unwrap();
    let is_well = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::ill_until(server.port(), &is_well);
    let options = s3::options(proxy.port).replace("environments.local", "environments.live");
    let stream = stream("live-history-s3", "s3://features/history", &options);
    let recorded = stream.recorded("totals");
    let running = stream.start(&["totals"]);
    stream.write(0..7, 8);
    until_written(&stream, recorded.rows.len() / 2);
    running.stop();
    let log = stream.folder.text("log");
    assert!(
        log.contains("the history of features is not written"),
        "{log}"
    );

    // What was not written, as far as anybody knows, is with whoever opens the lanes next.
    is_well.store(true, Ordering::Relaxed);
    let running = stream.start(&["totals"]);
    stream.write(7..8, 8);
    until_written(&stream, recorded.rows.len());
    running.stop();
    assert_eq!(sorted(&found(&stream).0), expected(&recorded));
}
