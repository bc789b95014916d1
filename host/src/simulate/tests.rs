//! What the simulator promises, read back from the files it writes.

use std::{collections::HashMap, fs, fs::File};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::*;

const MICROSECONDS: i64 = 1_000_000;

fn small(events: u64) -> RidesSpec {
    RidesSpec {
        drivers: 50,
        ..RidesSpec::new(events, 7)
    }
}

fn write(spec: &RidesSpec) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let paths = write_rides(spec, dir.path(), |_| ()).unwrap();
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        paths.len(),
        "no partial file is left"
    );
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The rows of all files in the order in which the rows arrived.
fn rows(spec: &RidesSpec) -> Vec<Value> {
    let files: Vec<Vec<Value>> = write(spec)
        .iter()
        .map(|file| {
            file.split_inclusive(|&byte| byte == b'\n')
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect()
        })
        .collect();
    interleave(files)
}

fn interleave(files: Vec<Vec<Value>>) -> Vec<Value> {
    let mut files: Vec<_> = files.into_iter().map(Vec::into_iter).collect();
    let mut rows = Vec::new();
    'rounds: loop {
        for file in &mut files {
            match file.next() {
                Some(row) => rows.push(row),
                None => break 'rounds,
            }
        }
    }
    rows
}

fn event_time(row: &Value) -> i64 {
    let text = row["occurred_at"].as_str().unwrap();
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

/// How far each row is behind the greatest event time of the rows before it, in microseconds.
fn lags(rows: &[Value]) -> Vec<i64> {
    let mut greatest = i64::MIN;
    rows.iter()
        .map(|row| {
            let time = event_time(row);
            greatest = greatest.max(time);
            greatest - time
        })
        .collect()
}

#[test]
fn these_bytes_never_change() {
    let file = String::from_utf8(write(&RidesSpec::new(3, 42)).remove(0)).unwrap();
    assert_eq!(file, include_str!("seed_42.ndjson"));
}

#[test]
fn a_seed_decides_every_byte() {
    for format in [RidesFormat::Ndjson, RidesFormat::Parquet] {
        let spec = RidesSpec {
            format,
            files: 2,
            late_share: 0.01,
            ..small(5_000)
        };
        assert!(write(&spec) == write(&spec), "{format:?}: the same seed");
        assert!(
            write(&spec)
                != write(&RidesSpec {
                    seed: 8,
                    ..spec.clone()
                }),
            "{format:?}: another seed"
        );
    }
}

#[test]
fn the_number_of_files_changes_no_row() {
    let one = rows(&small(1_000));
    assert_eq!(one.len(), 1_000);
    for files in [2, 3, 1_000] {
        assert_eq!(
            rows(&RidesSpec {
                files,
                ..small(1_000)
            }),
            one,
            "{files} files"
        );
    }
}

#[test]
fn parquet_holds_the_rows_of_the_ndjson() {
    for files in [1, 3] {
        let spec = RidesSpec {
            files,
            late_share: 0.001,
            ..small(20_000)
        };
        let dir = tempfile::tempdir().unwrap();
        let parquet = RidesSpec {
            format: RidesFormat::Parquet,
            ..spec.clone()
        };
        let read = write_rides(&parquet, dir.path(), |_| ())
            .unwrap()
            .iter()
            .map(|path| {
                let reader =
                    ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
                reader
                    .build()
                    .unwrap()
                    .flat_map(|batch| objects(&batch.unwrap()))
                    .collect()
            })
            .collect();
        assert!(interleave(read) == rows(&spec));
    }
}

fn objects(batch: &RecordBatch) -> Vec<Value> {
    let number = |name: &str, row| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
            .value(row)
    };
    let text = |name: &str, row| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .value(row)
            .to_owned()
    };
    let times = batch
        .column_by_name("occurred_at")
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    let accepted = batch.column_by_name("accepted").unwrap().as_boolean();
    (0..batch.num_rows())
        .map(|row| {
            let time = jiff::Timestamp::from_microsecond(times.value(row)).unwrap();
            json!({
                "offer_id": text("offer_id", row),
                "occurred_at": format!("{time:.3}"),
                "driver_id": number("driver_id", row),
                "rider_id": number("rider_id", row),
                "city": text("city", row),
                "pickup_eta_s": number("pickup_eta_s", row),
                "accepted": accepted.value(row),
            })
        })
        .collect()
}

#[test]
fn rows_are_out_of_order_by_no_more_than_asked() {
    for seed in 0..5 {
        for seconds in [0, 1, 20] {
            let spec = RidesSpec {
                seed,
                disorder: Duration::from_secs(seconds),
                ..small(40_000)
            };
            let rows = rows(&spec);
            assert!(
                rows.iter().all(|row| event_time(row) >= spec.start),
                "nothing is before the start"
            );
            let greatest = lags(&rows).into_iter().max().unwrap();
            let allowed = seconds as i64 * MICROSECONDS;
            assert!(greatest <= allowed, "seed {seed}: {greatest} of {allowed}");
            assert!(
                greatest * 10 >= allowed * 9,
                "seed {seed}: {greatest} of {allowed} is hardly used"
            );
        }
    }
}

#[test]
fn late_rows_are_few_and_come_within_five_minutes() {
    let spec = RidesSpec {
        late_share: 0.002,
        rate_per_s: 100.0,
        ..small(100_000)
    };
    let with = rows(&spec);
    let late = lags(&with)
        .into_iter()
        .filter(|&lag| lag > 20 * MICROSECONDS)
        .collect::<Vec<_>>();
    assert!((150..=250).contains(&late.len()), "{}", late.len());
    assert!(late.iter().all(|&lag| lag <= 320 * MICROSECONDS));

    let without = rows(&RidesSpec {
        late_share: 0.0,
        ..spec
    });
    let moved = with
        .iter()
        .zip(&without)
        .filter(|(a, b)| a != b)
        .collect::<Vec<_>>();
    assert!((150..=250).contains(&moved.len()), "the rest is as it was");
    assert!(
        moved
            .iter()
            .all(|(a, b)| a["rider_id"] == b["rider_id"] && a["accepted"] == b["accepted"])
    );
}

#[test]
fn malformed_lines_replace_rows_and_change_no_other() {
    let spec = small(20_000);
    let whole = write(&spec).remove(0);
    let broken = write(&RidesSpec {
        malformed_share: 0.01,
        ..spec
    })
    .remove(0);
    let lines = |file: &[u8]| {
        file.split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let (whole, broken) = (lines(&whole), lines(&broken));
    assert_eq!(whole.len(), broken.len());
    let changed: Vec<_> = whole
        .iter()
        .zip(&broken)
        .filter(|(a, b)| a != b)
        .map(|(_, b)| b)
        .collect();
    assert!((140..=260).contains(&changed.len()), "{}", changed.len());
    let is_row = |line: &Vec<u8>| {
        serde_json::from_slice::<Value>(line).is_ok_and(|row| {
            row["driver_id"].is_i64() && row["occurred_at"].as_str().unwrap().ends_with('Z')
        })
    };
    assert!(!changed.into_iter().any(is_row));
}

#[test]
fn drivers_differ_in_how_often_they_are_asked_and_accept() {
    let mut of_driver: HashMap<i64, (u32, u32)> = HashMap::new();
    let rows = rows(&RidesSpec {
        drivers: 1_000,
        ..RidesSpec::new(200_000, 1)
    });
    for row in &rows {
        let (offers, accepted) = of_driver
            .entry(row["driver_id"].as_i64().unwrap())
            .or_default();
        *offers += 1;
        *accepted += u32::from(row["accepted"].as_bool().unwrap());
    }
    assert_eq!(of_driver.len(), 1_000, "every driver is asked");
    let mut offers: Vec<u32> = of_driver.values().map(|&(offers, _)| offers).collect();
    offers.sort_unstable();
    let tenth: u32 = offers[900..].iter().sum();
    assert!(
        (40_000..140_000).contains(&tenth),
        "the busiest tenth gets {tenth} of 200,000"
    );
    let shares = of_driver
        .values()
        .filter(|(offers, _)| *offers >= 100)
        .map(|&(offers, accepted)| accepted * 100 / offers);
    let (least, greatest) = shares.fold((100, 0), |(least, greatest), share| {
        (least.min(share), greatest.max(share))
    });
    assert!(
        least < 35 && greatest > 75,
        "acceptance from {least} % to {greatest} %"
    );
}

#[test]
fn lines_have_the_length_that_sizing_counts_on() {
    let file = write(&RidesSpec::new(50_000, 3)).remove(0);
    let mean = file.len() / 50_000;
    assert!((175..=190).contains(&mean), "{mean} bytes a line");
}

#[test]
fn progress_counts_up_to_the_number_of_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = Vec::new();
    write_rides(&small(150_000), dir.path(), |rows| heard.push(rows)).unwrap();
    assert_eq!(heard, [65_536, 131_072, 150_000]);
}

#[test]
fn files_of_an_earlier_run_are_replaced_but_never_mixed_in() {
    let dir = tempfile::tempdir().unwrap();
    let two = write_rides(
        &RidesSpec {
            files: 2,
            ..small(10)
        },
        dir.path(),
        |_| (),
    )
    .unwrap();
    write_rides(
        &RidesSpec {
            files: 2,
            ..small(20)
        },
        dir.path(),
        |_| (),
    )
    .unwrap();
    assert_eq!(fs::read_to_string(&two[1]).unwrap().lines().count(), 10);

    let error = write_rides(&small(10), dir.path(), |_| ()).unwrap_err();
    assert!(
        matches!(&error, SimulateError::LeftOver { path } if *path == two[1]),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(&two[0]).unwrap().lines().count(),
        10,
        "nothing was touched"
    );
}

#[test]
fn an_empty_stream_is_a_file_without_rows() {
    assert_eq!(write(&small(0)), [b""]);
    let dir = tempfile::tempdir().unwrap();
    let empty = RidesSpec {
        format: RidesFormat::Parquet,
        ..small(0)
    };
    let paths = write_rides(&empty, dir.path(), |_| ()).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&paths[0]).unwrap()).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let good = small(10);
    let cases = [
        (
            "drivers",
            RidesSpec {
                drivers: 0,
                ..good.clone()
            },
        ),
        (
            "files",
            RidesSpec {
                files: 0,
                ..good.clone()
            },
        ),
        (
            "files",
            RidesSpec {
                files: 1_001,
                ..good.clone()
            },
        ),
        (
            "rate_per_s",
            RidesSpec {
                rate_per_s: 0.0,
                ..good.clone()
            },
        ),
        (
            "rate_per_s",
            RidesSpec {
                rate_per_s: f64::NAN,
                ..good.clone()
            },
        ),
        (
            "late_share",
            RidesSpec {
                late_share: -0.1,
                ..good.clone()
            },
        ),
        (
            "malformed_share",
            RidesSpec {
                malformed_share: f64::NAN,
                ..good.clone()
            },
        ),
        (
            "malformed_share",
            RidesSpec {
                malformed_share: 0.1,
                format: RidesFormat::Parquet,
                ..good.clone()
            },
        ),
        (
            "start",
            RidesSpec {
                start: -1,
                ..good.clone()
            },
        ),
        (
            "events",
            RidesSpec {
                events: u64::MAX,
                ..good.clone()
            },
        ),
        (
            "events",
            RidesSpec {
                start: i64::MAX,
                ..good.clone()
            },
        ),
        (
            "events",
            RidesSpec {
                disorder: Duration::MAX,
                ..good
            },
        ),
    ];
    for (expected, spec) in cases {
        let dir = tempfile::tempdir().unwrap();
        let error = write_rides(&spec, dir.path(), |_| ()).unwrap_err();
        assert!(
            matches!(error, SimulateError::Setting { setting, .. } if setting == expected),
            "{expected}: {error}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taken");
    fs::write(&file, "").unwrap();
    let error = write_rides(&small(1), &file, |_| ()).unwrap_err();
    assert!(error.to_string().contains("taken"), "{error}");
}
