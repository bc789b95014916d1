//! History, written, compacted and read back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt64Type};
use tempfile::TempDir;

use super::rows::{EVENT_TIME, SEQUENCE, rows};
use super::*;
use crate::store::{FeatureBatch, FeatureColumn};

const DAY: i64 = 86_400_000_000;

fn batch(first_sequence: u64, event_times: &[i64], version: u32) -> RecordBatch {
    at(first_sequence, event_times, version, 77)
}

fn at(first_sequence: u64, event_times: &[i64], version: u32, write_time: i64) -> RecordBatch {
    let count = event_times.len() as i64;
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(0..count))];
    let values: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..count).map(|it| (it != 1).then_some(it)),
    ));
    let features = [FeatureColumn {
        name: "f",
        version,
        values: &values,
    }];
    let batch = FeatureBatch {
        group: "driver",
        pipeline: "rides",
        window: "10m",
        keys: &keys,
        event_time: &TimestampMicrosecondArray::from(event_times.to_vec()),
        epoch: 1,
        first_sequence,
        features: &features,
    };
    rows(&batch, &["driver_id".to_owned()], 3, write_time).unwrap()
}

fn opened(folder: &TempDir) -> Arc<OfflineStore> {
    let place = StorePlace::Folder(folder.path().join("offline"));
    Arc::new(OfflineStore::open(&place).unwrap())
}

fn write(store: &Arc<OfflineStore>, stem: &str, batches: &[RecordBatch]) {
    let mut writer = OfflineWriter::new(Arc::clone(store), stem.to_owned());
    futures::executor::block_on(async {
        for batch in batches {
            writer.add("driver", ["rides", "10m"], batch).await.unwrap();
        }
        writer.flush().await.unwrap();
    });
}

/// Sequences and days of everything there is.
fn there(store: &OfflineStore) -> (usize, Vec<(u64, String)>) {
    futures::executor::block_on(async {
        let files = store.files("driver").await.unwrap();
        let mut found = Vec::new();
        for file in &files {
            let rows = store.read(&file.name).await.unwrap();
            let sequences = rows.column_by_name(SEQUENCE).unwrap();
            let times = rows.column_by_name(EVENT_TIME).unwrap();
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for (at, sequence) in sequences
                .as_primitive::<UInt64Type>()
                .values()
                .iter()
                .enumerate()
            {
                found.push((*sequence, file.day().to_owned()));
                let day = times.value(at).div_euclid(DAY);
                assert_eq!(file.day(), format!("1970-01-{:02}", day + 1));
            }
        }
        found.sort();
        (files.len(), found)
    })
}

#[test]
fn rows_lie_by_day_and_come_back() {
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    write(
        &store,
        "3-1",
        &[batch(0, &[0, DAY - 1, DAY], 1), batch(3, &[5, DAY], 1)],
    );
    let (files, found) = there(&store);
    assert_eq!(files, 2);
    let sequences: Vec<u64> = found.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4]);
    let first = futures::executor::block_on(async {
        let files = store.files("driver").await.unwrap();
        assert!(
            files[0]
                .name
                .starts_with("driver/1970-01-01/rides-10m-3-1-"),
            "{files:?}"
        );
        assert_eq!(store.groups().await.unwrap(), ["driver"]);
        store.read(&files[0].name).await.unwrap()
    });
    let names: Vec<&str> = first
        .schema_ref()
        .fields()
        .iter()
        .map(|it| it.name().as_str())
        .collect();
    assert_eq!(
        names,
        [
            "driver_id",
            "_event_time",
            "_write_time",
            "_pipeline",
            "_window",
            "_lane",
            "_epoch",
            "_sequence",
            "f@1"
        ]
    );
    let values = first
        .column_by_name("f@1")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert!(values.is_null(1) && values.value(0) == 0);
}

#[test]
fn compaction_keeps_each_row_once_and_new_columns_apart() {
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    write(&store, "a", &[batch(0, &[0, 1, DAY], 1)]);
    // The same rows once more, as after a crash; then others, and some with another feature.
    write(&store, "b", &[batch(0, &[0, 1, DAY], 1)]);
    write(&store, "c", &[batch(3, &[2, 3], 1)]);
    write(&store, "d", &[batch(5, &[4], 2)]);
    let (files, before) = there(&store);
    assert_eq!((files, before.len()), (6, 9));
    let mut compaction = Compaction::new(Arc::clone(&store));
    let io = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut compact = |least| {
        let is_due = |files: &[OfflineFile]| files.len() >= least;
        io.block_on(compaction.compact("driver", is_due)).unwrap()
    };
    assert_eq!(compact(9), Compacted::default());
    let done = compact(2);
    assert_eq!((done.before, done.after, done.repeated), (5, 2, 3));
    let (files, after) = there(&store);
    assert_eq!(files, 3);
    assert_eq!(after.len(), 6);
    let distinct = |rows: &[(u64, String)]| rows.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(distinct(&before), distinct(&after));
    // Of what is one already, nothing is made; the file with the other feature stays apart.
    assert_eq!(compact(2).before, 0);
}

/// Two pipelines of one name, in environments that have one history by mistake, count the same epochs and sequences.
#[test]
fn what_was_written_at_another_time_is_another_row() {
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    write(&store, "r1", &[at(0, &[5], 1, 77)]);
    write(&store, "r1", &[at(0, &[5], 1, 78)]);
    let io = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut compaction = Compaction::new(Arc::clone(&store));
    let done = io.block_on(compaction.compact("driver", |_| true)).unwrap();
    assert_eq!((done.before, done.after, done.repeated), (2, 1, 0));
    assert_eq!(there(&store).1.len(), 2);
}

/// A pipeline that got another feature, with rows of before and after in one write.
#[test]
fn rows_with_other_columns_go_into_other_files() {
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    write(
        &store,
        "a",
        &[batch(0, &[0, 1], 1), batch(2, &[2], 2), batch(3, &[3], 2)],
    );
    let (files, found) = there(&store);
    assert_eq!((files, found.len()), (2, 4));
}

/// Somebody reads while others write and compact: what was written before the reading began is found.
#[test]
fn readers_find_every_row_whatever_is_compacted_meanwhile() {
    const WRITES: u64 = 120;
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..WRITES {
                write(&store, "w", &[batch(3 * number, &[0, 1, DAY], 1)]);
                written.store(number + 1, Ordering::SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let io = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let mut compaction = Compaction::new(Arc::clone(&store));
                while written.load(Ordering::SeqCst) < WRITES {
                    io.block_on(compaction.compact("driver", |files| files.len() > 2))
                        .unwrap();
                }
            });
        }
        let mut rounds = 0;
        while rounds == 0 || written.load(Ordering::SeqCst) < WRITES {
            let there = written.load(Ordering::SeqCst);
            let copies = folder.path().join(format!("copies-{rounds}"));
            std::fs::create_dir(&copies).unwrap();
            let files = store.snapshot("driver", Some("rides"), Span::default(), &copies);
            let files = futures::executor::block_on(files).unwrap();
            let mut found = BTreeSet::new();
            for file in files {
                let bytes = std::fs::read(file).unwrap();
                let rows = read::decode(bytes.into()).unwrap();
                let sequences = rows.column_by_name(SEQUENCE).unwrap();
                found.extend(
                    sequences
                        .as_primitive::<UInt64Type>()
                        .values()
                        .iter()
                        .copied(),
                );
            }
            let missing = (0..3 * there).find(|sequence| !found.contains(sequence));
            assert_eq!(missing, None, "of {there} writes, in round {rounds}");
            std::fs::remove_dir_all(&copies).unwrap();
            rounds += 1;
        }
    });
    let io = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let other = io.block_on(store.snapshot("driver", Some("ride"), Span::default(), folder.path()));
    assert_eq!(other.unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn the_days_of_a_span_are_found_by_their_names() {
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    // 9 days from the last of 1969 on, and one that is named by hand.
    let times: Vec<i64> = (-1..8)
        .flat_map(|day| [day * DAY, day * DAY + DAY - 1])
        .collect();
    write(&store, "a", &[batch(0, &times, 1)]);
    futures::executor::block_on(async {
        let files = store.files("driver").await.unwrap();
        assert_eq!(files.len(), 9);
        let bounds = || times.iter().map(|time| Some(*time)).chain([None]);
        for (first, last) in bounds().flat_map(|first| bounds().map(move |last| (first, last))) {
            let span = Span { first, last };
            let is_within = |time: &i64| {
                first.is_none_or(|first| first <= *time) && last.is_none_or(|last| *time <= last)
            };
            for (file, of_day) in files.iter().zip(times.chunks(2)) {
                assert!(
                    file.may_have(span) || !of_day.iter().any(is_within),
                    "{span:?}: {file:?}"
                );
                let day = of_day[0]..=of_day[1];
                let is_beside = first.is_some_and(|first| *day.end() < first)
                    || last.is_some_and(|last| last < *day.start());
                assert_eq!(file.may_have(span), !is_beside, "{span:?}: {file:?}");
            }
        }
        let unknown = OfflineFile {
            name: "driver/today/a.parquet".to_owned(),
            bytes: 1,
            written: 0,
        };
        let (first, last) = (Some(0), Some(0));
        assert!(unknown.may_have(Span { first, last }));
    });
}

#[test]
fn a_key_may_not_be_called_as_a_column_of_the_history_is() {
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![1]))];
    let batch = FeatureBatch {
        group: "g",
        pipeline: "p",
        window: "w",
        keys: &keys,
        event_time: &TimestampMicrosecondArray::from(vec![0]),
        epoch: 0,
        first_sequence: 0,
        features: &[],
    };
    let error = rows(&batch, &["_lane".to_owned()], 0, 0).unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
}

#[test]
fn every_row_is_read_although_files_are_compacted_while_others_are_read() {
    let folder = TempDir::new().unwrap();
    let store = opened(&folder);
    write(&store, "one", &[batch(0, &[1, 2], 1)]);
    write(&store, "other", &[batch(2, &[3], 1)]);
    let names = futures::executor::block_on(store.files("driver")).unwrap();
    assert_eq!(names.len(), 2);
    let mut found = BTreeSet::new();
    let read = store.read_all("driver", |name, rows| {
        // The other one goes when it was listed and is not read yet, as if into a new file.
        if name == names[0].name && found.is_empty() {
            let path = |name: &str| folder.path().join("offline").join(name);
            let made = names[1].name.replace("other", "compacted");
            std::fs::rename(path(&names[1].name), path(&made)).unwrap();
        }
        let sequences = rows.column_by_name(SEQUENCE).unwrap();
        found.extend(sequences.as_primitive::<UInt64Type>().values());
        Ok(())
    });
    futures::executor::block_on(read).unwrap();
    assert_eq!(found, BTreeSet::from([0, 1, 2]));
}
