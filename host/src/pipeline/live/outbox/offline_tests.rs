//! Rows on their way into history: what is there of them, whatever fails.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::UInt64Type;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::entry;
use super::*;
use crate::pipeline::telemetry::by_hand::ByHand;
use crate::sink::kafka::{Outgoing, Published};
use crate::store::offline::rows::{EPOCH, SEQUENCE, rows};
use crate::store::{FeatureBatch, FeatureColumn};

/// A lane's outbox: entries of one row each.
struct Lane {
    clock: Arc<ByHand>,
    figures: Arc<HistoryFigures>,
    sender: HistorySender,
    io: Runtime,
    epoch: u64,
}

impl Lane {
    fn new(place: &Path, epoch: u64) -> Self {
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let clock = Arc::new(ByHand::default());
        let waiting = Waiting {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            stop: Arc::new(AtomicBool::new(false)),
            io: io.handle().clone(),
        };
        let figures = Arc::new(HistoryFigures::default());
        let place = StorePlace::Folder(place.to_owned());
        Self {
            sender: HistorySender::new(place, 0, Arc::clone(&figures), &waiting),
            clock,
            figures,
            io,
            epoch,
        }
    }

    fn send(&mut self, numbers: Range<u64>, all: bool) -> u64 {
        let epoch = self.epoch;
        let load = |number| Ok(one_row(epoch, number));
        let entries = Entries {
            lane: 0,
            to: "offline",
            numbers,
            load: &load,
        };
        self.sender.send(&entries, all).unwrap()
    }

    /// As it is called again and again, until what was begun has ended.
    fn send_and_wait(&mut self, numbers: Range<u64>) -> u64 {
        let begun = self.send(numbers.clone(), false);
        if let Some(write) = &mut self.sender.writing {
            self.io.block_on(async {
                while !write.task.is_finished() {
                    tokio::task::yield_now().await;
                }
            });
        }
        match self.sender.writing {
            Some(_) => self.send(begun..numbers.end, false),
            None => begun,
        }
    }
}

/// The entry of this number, as a lane of this epoch commits it.
fn one_row(epoch: u64, number: u64) -> Bytes {
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![7]))];
    let values: ArrayRef = Arc::new(Int64Array::from(vec![number as i64]));
    let features = [FeatureColumn {
        name: "f",
        version: 1,
        values: &values,
    }];
    let batch = FeatureBatch {
        group: "driver",
        pipeline: "rides",
        window: "10m",
        keys: &keys,
        event_time: &TimestampMicrosecondArray::from(vec![0]),
        epoch,
        first_sequence: number,
        features: &features,
    };
    let rows = rows(&batch, &["driver_id".to_owned()], 0, 77).unwrap();
    let message = Outgoing {
        key: b"driver",
        value: Some(&body(&rows).unwrap()),
        timestamp: None,
        partition: None,
        at: Published {
            epoch,
            sequence: number,
        },
        generation: 1,
    };
    let mut bytes = Vec::new();
    entry::put(&message, &mut bytes);
    bytes.into()
}

/// Epochs and sequences of all rows, and how many files they are in.
fn there(place: &Path) -> (BTreeSet<(u64, u64)>, usize) {
    let store = OfflineStore::open(&StorePlace::Folder(place.to_owned())).unwrap();
    let io = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    io.block_on(async {
        let files = store.files("driver").await.unwrap();
        let mut found = BTreeSet::new();
        for file in &files {
            let rows = store.read(&file.name).await.unwrap();
            let [epochs, sequences] = [EPOCH, SEQUENCE].map(|name| {
                rows.column_by_name(name)
                    .unwrap()
                    .as_primitive::<UInt64Type>()
                    .clone()
            });
            found.extend(
                epochs
                    .values()
                    .iter()
                    .copied()
                    .zip(sequences.values().iter().copied()),
            );
        }
        (found, files.len())
    })
}

fn of_epoch(epoch: u64, numbers: Range<u64>) -> BTreeSet<(u64, u64)> {
    numbers.map(|number| (epoch, number)).collect()
}

/// With `--fresh` the entries of a lane begin at 0 again, under a higher epoch.
#[test]
fn a_lane_that_begins_anew_writes_over_nothing() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("history");
    assert_eq!(Lane::new(&place, 1).send(0..3, true), 3);
    assert_eq!(Lane::new(&place, 2).send(0..2, true), 2);
    let all: BTreeSet<_> = of_epoch(1, 0..3)
        .union(&of_epoch(2, 0..2))
        .copied()
        .collect();
    assert_eq!(there(&place), (all, 2));
}

/// Whoever opens a lane next does not know what of the last commit was written.
#[test]
fn entries_that_are_sent_again_are_the_same_file() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("history");
    for _ in 0..3 {
        assert_eq!(Lane::new(&place, 1).send(4..9, true), 9);
    }
    assert_eq!(there(&place), (of_epoch(1, 4..9), 1));
}

#[test]
fn rows_wait_for_others_and_not_for_long() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("history");
    let mut lane = Lane::new(&place, 1);
    assert_eq!(lane.send_and_wait(0..5), 0);
    lane.clock.pass(PATIENCE);
    assert_eq!(lane.send_and_wait(0..6), 6);
    assert_eq!(lane.figures.rows.get(), 6);
    // Those that are many do not wait, and are written in parts.
    assert_eq!(lane.send_and_wait(6..2 * MANY), 6 + MANY);
    assert_eq!(lane.send_and_wait(6 + MANY..2 * MANY), 2 * MANY);
    assert_eq!(there(&place), (of_epoch(1, 0..2 * MANY), 3));
}

#[test]
fn what_cannot_be_written_is_tried_again_and_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let blocked = folder.path().join("blocked");
    std::fs::write(&blocked, "no folder").unwrap();
    let place = blocked.join("history");
    let mut lane = Lane::new(&place, 1);
    assert_eq!(
        lane.send(0..1, true),
        0,
        "a lane's end does not wait for ever"
    );
    assert_eq!(lane.send_and_wait(0..MANY), 0);
    assert_eq!(lane.figures.failed.get(), 1, "nothing is tried for a while");
    lane.clock.pass(PAUSE);
    assert_eq!(lane.send_and_wait(0..MANY), 0);
    assert_eq!(lane.figures.failed.get(), 2);
    assert!(lane.figures.lag() > Duration::ZERO);
    std::fs::remove_file(&blocked).unwrap();
    lane.clock.pass(PAUSE);
    assert_eq!(lane.send(0..MANY, true), MANY);
    assert_eq!(there(&place).0, of_epoch(1, 0..MANY));
    assert_eq!(lane.figures.lag(), Duration::ZERO);
}
