//! The join against an oracle that looks at every write for every row.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Float64Type, Int64Type};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A write of two features of an entity. A feature that is `None` was removed.
#[derive(Debug, Clone)]
struct Write {
    entity: (i64, &'static str),
    event_time: i64,
    write_time: i64,
    epoch: u64,
    sequence: u64,
    f: Option<i64>,
    g: Option<f64>,
}

/// A row of the spine.
#[derive(Debug, Clone, Copy)]
struct Row {
    entity: Option<i32>,
    city: Option<&'static str>,
    time: Option<i64>,
}

const CITIES: [&str; 3] = ["", "Bern", "Kyōto"];

fn utc(times: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
}

fn write_file(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns.into_iter();
    let columns = columns.map(|(name, column)| (name, column, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn write_history(path: &Path, writes: &[Write], with_city: bool, with_g: bool) {
    let each = || writes.iter();
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; writes.len()])) };
    let numbers = |of: fn(&Write) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(each().map(of)))
    };
    let drivers = Int64Array::from_iter_values(each().map(|it| it.entity.0));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("driver", Arc::new(drivers))];
    if with_city {
        let cities = StringArray::from_iter_values(each().map(|it| it.entity.1));
        columns.push(("city", Arc::new(cities)));
    }
    columns.extend([
        ("_event_time", utc(each().map(|it| it.event_time))),
        ("_write_time", utc(each().map(|it| it.write_time))),
        ("_pipeline", same("p")),
        ("_window", same("10m")),
        (
            "_lane",
            Arc::new(UInt32Array::from(vec![0; writes.len()])) as ArrayRef,
        ),
        ("_epoch", numbers(|it| it.epoch)),
        ("_sequence", numbers(|it| it.sequence)),
        (
            "f@1",
            Arc::new(Int64Array::from_iter(each().map(|it| it.f))),
        ),
    ]);
    if with_g {
        let g = Float64Array::from_iter(each().map(|it| it.g));
        columns.push(("g@2", Arc::new(g)));
    }
    write_file(path, columns);
}

fn write_spine(path: &Path, rows: &[Row]) {
    let entities = Int32Array::from_iter(rows.iter().map(|row| row.entity));
    let cities = StringArray::from_iter(rows.iter().map(|row| row.city));
    let times = rows
        .iter()
        .map(|row| row.time.map(|time| 1_000 * time + 999));
    let times = TimestampNanosecondArray::from_iter(times);
    let labels = Int64Array::from_iter_values(0..rows.len() as i64);
    write_file(
        path,
        vec![
            ("driver", Arc::new(entities)),
            ("city", Arc::new(cities)),
            ("at", Arc::new(times)),
            ("label", Arc::new(labels)),
        ],
    );
}

fn wanted(column: &str, attribute: &str, ttl: Option<i64>, history: usize) -> Wanted {
    Wanted {
        column: column.to_owned(),
        attribute: attribute.to_owned(),
        ttl,
        history,
    }
}

fn of_driver(files: &[PathBuf]) -> Place {
    Place {
        keys: vec!["driver".to_owned()],
        files: files.to_vec(),
        keys_are_texts: false,
        taken_back: Vec::new(),
    }
}

fn request(folder: &Path, histories: Vec<Place>, features: Vec<Wanted>) -> Request {
    Request {
        spine: folder.join("spine.parquet"),
        time: "at".to_owned(),
        out: folder.join("out.parquet"),
        scratch: folder.to_owned(),
        memory: 64 << 20,
        by_write_time: false,
        histories,
        features,
    }
}

fn made(request: &Request) -> Result<Made, TrainingError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(make(request))
}

fn read(path: &Path) -> RecordBatch {
    let rows: Vec<RecordBatch> = spine::rows(path).unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap()
}

/// The write that a row gets, by looking at all of them.
fn oracle<'a>(
    row: &Row,
    writes: &'a [Write],
    is_of: impl Fn(&Write) -> bool,
    ttl: Option<i64>,
    (by_write_time, taken_back): (bool, &[TakenBack]),
) -> Option<&'a Write> {
    let time = row.time?;
    let counts = |write: &Write| {
        let has = |it: &&TakenBack| {
            (it.pipeline.as_str(), it.lane) == ("p", 0)
                && (it.after + 1..=it.until).contains(&write.epoch)
        };
        let mut of_it = taken_back.iter().filter(has);
        of_it.all(|it| by_write_time && time < it.at)
    };
    let newest = writes
        .iter()
        .filter(|write| is_of(write) && write.event_time <= time && counts(write))
        .filter(|write| !by_write_time || write.write_time <= time)
        .max_by_key(|write| (write.event_time, write.epoch, write.sequence))?;
    ttl.is_none_or(|ttl| time - newest.event_time < ttl)
        .then_some(newest)
}

/// Few entities and times, so that ties, corrections and values that come late are common.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = (
        (0..4_i64, 0..3_usize),
        -5..20_i64,
        0..12_i64,
        0..3_u64,
        prop::option::of(0..100_i64),
        prop::option::of(0..100_i32),
    );
    prop::collection::vec(write, 1..60).prop_map(|writes| {
        let writes = writes.into_iter().enumerate();
        let made = writes.map(
            |(at, ((driver, city), event_time, late, epoch, f, g))| Write {
                entity: (driver, CITIES[city]),
                event_time,
                write_time: event_time + late,
                epoch,
                sequence: at as u64,
                f,
                g: g.map(f64::from),
            },
        );
        made.collect()
    })
}

/// Writes of a lane that were taken back, mostly of the one that there are writes of.
fn taken_back() -> impl Strategy<Value = Vec<TakenBack>> {
    let lane = prop::sample::select(vec![("p", 0), ("p", 0), ("p", 1), ("q", 0)]);
    let taken_back = (lane, 0..3_u64, 0..3_u64, -5..30_i64);
    let taken_back = taken_back.prop_map(|((pipeline, lane), after, count, at)| TakenBack {
        pipeline: pipeline.to_owned(),
        lane,
        after,
        until: after + count,
        at,
    });
    prop::collection::vec(taken_back, 0..3)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.9, 0..5_i32),
        prop::option::weighted(0.9, 0..3_usize),
        prop::option::weighted(0.9, -10..35_i64),
    );
    let row = row.prop_map(|(entity, city, time)| Row {
        entity,
        city: city.map(|city| CITIES[city]),
        time,
    });
    prop::collection::vec(row, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_row_gets_what_was_the_newest_at_its_time(
        writes in writes(),
        of_cities in writes(),
        rows in rows(),
        cut in 0..60_usize,
        ttl in prop::option::of(1..12_i64),
        (by_write_time, repeat) in any::<(bool, bool)>(),
        taken_back in taken_back(),
    ) {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (first, second) = writes.split_at(cut.min(writes.len()));
        // In the first file the second feature was not there yet. A file may be there twice.
        let mut files = vec![path("a.parquet"), path("b.parquet")];
        write_history(&files[0], first, false, false);
        write_history(&files[1], second, false, true);
        if repeat {
            files.push(path("c.parquet"));
            write_history(&files[2], second, false, true);
        }
        let cities = path("cities.parquet");
        write_history(&cities, &of_cities, true, false);
        write_spine(&path("spine.parquet"), &rows);
        let of_city = Place {
            keys: vec!["city".to_owned(), "driver".to_owned()],
            files: vec![cities],
            keys_are_texts: false,
            taken_back: Vec::new(),
        };
        let features = vec![
            wanted("g", "g@2", ttl, 0),
            wanted("c", "f@1", ttl, 1),
            wanted("f", "f@1", None, 0),
        ];
        let request = Request {
            by_write_time,
            ..request(
                folder.path(),
                vec![
                    Place {
                        taken_back: taken_back.clone(),
                        ..of_driver(&files)
                    },
                    of_city,
                ],
                features,
            )
        };
        let of_drivers = (by_write_time, &taken_back[..]);
        let made = made(&request).unwrap();
        prop_assert_eq!(made.rows, rows.len() as u64);
        let out = read(&request.out);
        let names: Vec<_> = out.schema_ref().fields().iter().map(|it| it.name().clone()).collect();
        prop_assert_eq!(names, ["driver", "city", "at", "label", "g", "c", "f"]);
        let g = out.column(4).as_primitive::<Float64Type>();
        let c = out.column(5).as_primitive::<Int64Type>();
        let f = out.column(6).as_primitive::<Int64Type>();
        for (at, row) in rows.iter().enumerate() {
            prop_assert_eq!(out.column(3).as_primitive::<Int64Type>().value(at), at as i64);
            let of_driver = |write: &Write| row.entity.map(i64::from) == Some(write.entity.0);
            let of_city = |write: &Write| of_driver(write) && row.city == Some(write.entity.1);
            let wanted = oracle(row, &writes, of_driver, None, of_drivers);
            let found = f.is_valid(at).then(|| f.value(at));
            prop_assert_eq!(found, wanted.and_then(|write| write.f), "f of row {}", at);
            let wanted = oracle(row, second, of_driver, ttl, of_drivers);
            let found = g.is_valid(at).then(|| g.value(at));
            prop_assert_eq!(found, wanted.and_then(|write| write.g), "g of row {}", at);
            let wanted = oracle(row, &of_cities, of_city, ttl, (by_write_time, &[]));
            let found = c.is_valid(at).then(|| c.value(at));
            prop_assert_eq!(found, wanted.and_then(|write| write.f), "c of row {}", at);
        }
        let found = [g as &dyn Array, c, f].map(|column| (column.len() - column.null_count()) as u64);
        prop_assert_eq!(made.found, found);
    }
}

/// A history that takes many times the memory there is, and of which every value is known.
#[test]
fn what_does_not_fit_into_memory_is_spilled_and_comes_out_the_same() {
    const ENTITIES: i64 = 1_000;
    const TIMES: i64 = 400;
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Out of order, as compaction and many lanes leave them.
    let writes: Vec<Write> = (0..ENTITIES * TIMES)
        .map(|at| (at * 7_919) % (ENTITIES * TIMES))
        .map(|at| Write {
            entity: (at % ENTITIES, ""),
            event_time: 10 * (at / ENTITIES),
            write_time: 0,
            epoch: 1,
            sequence: at as u64,
            f: Some(at),
            g: None,
        })
        .collect();
    let files = [path("a.parquet"), path("b.parquet")];
    let (first, second) = writes.split_at(writes.len() / 3);
    write_history(&files[0], first, false, false);
    write_history(&files[1], second, false, false);
    let rows: Vec<Row> = (0..50_000)
        .map(|at| Row {
            entity: Some((at * 31) % ENTITIES as i32),
            city: None,
            time: Some(i64::from(at * 17) % (10 * TIMES)),
        })
        .collect();
    write_spine(&path("spine.parquet"), &rows);
    let features = vec![wanted("f", "f@1", None, 0)];
    let request = Request {
        memory: 0,
        ..request(folder.path(), vec![of_driver(&files)], features)
    };
    made(&request).unwrap();
    let out = read(&request.out);
    let f = out.column(4).as_primitive::<Int64Type>();
    for (at, row) in rows.iter().enumerate() {
        let time = row.time.unwrap() / 10;
        assert_eq!(
            f.value(at),
            time * ENTITIES + i64::from(row.entity.unwrap())
        );
    }
    // Nothing of what was spilled is left.
    let left = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(left.count(), 4);
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let files = [path("a.parquet")];
    let write = Write {
        entity: (1, ""),
        event_time: 0,
        write_time: 0,
        epoch: 0,
        sequence: 0,
        f: Some(1),
        g: None,
    };
    write_history(&files[0], &[write], true, false);
    let row = Row {
        entity: Some(1),
        city: None,
        time: Some(0),
    };
    write_spine(&path("spine.parquet"), &[row]);
    let with = |time: &str, key: &str, feature: Wanted| Request {
        time: time.to_owned(),
        ..request(
            folder.path(),
            vec![Place {
                keys: vec![key.to_owned()],
                files: files.to_vec(),
                keys_are_texts: false,
                taken_back: Vec::new(),
            }],
            vec![feature],
        )
    };
    let f = |column: &str| wanted(column, "f@1", None, 0);
    let cases = [
        (with("when", "driver", f("f")), "no column `when`"),
        (with("label", "driver", f("f")), "a timestamp is wanted"),
        (
            with("at", "driver", wanted("h", "h@1", None, 0)),
            "has no history",
        ),
        (with("at", "rider", f("f")), "no column `rider` of the key"),
        (with("at", "_pipeline", f("f")), "no column `_pipeline`"),
        (with("at", "driver", f("label")), "rename it"),
        (
            with("at", "driver", wanted("f", "f@1", None, 1)),
            "in no history",
        ),
    ];
    for (request, says) in cases {
        let error = made(&request).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!request.out.exists());
    }
    // A key of another type, a file that is no Parquet, and one that is not there.
    write_file(
        &path("spine.parquet"),
        vec![
            ("driver", Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
            ("at", utc([0])),
        ],
    );
    let refused = || made(&with("at", "driver", f("f"))).unwrap_err();
    assert!(refused().to_string().contains("cast the column"));
    std::fs::write(path("spine.parquet"), "no Parquet").unwrap();
    assert!(refused().to_string().contains("it is no Parquet"));
    std::fs::remove_file(path("spine.parquet")).unwrap();
    assert!(refused().is_bad_input() && refused().to_string().contains("cannot be read"));
}

#[test]
fn the_times_of_rows_are_from_the_earliest_to_the_latest_that_has_one() {
    let folder = TempDir::new().unwrap();
    let spine = folder.path().join("spine.parquet");
    let asked = |time: &str| {
        times(&Spine {
            spine: spine.clone(),
            time: time.to_owned(),
        })
    };
    let rows = |times: &[Option<i64>]| {
        let rows: Vec<Row> = times
            .iter()
            .map(|time| Row {
                entity: Some(1),
                city: None,
                time: *time,
            })
            .collect();
        write_spine(&spine, &rows);
    };
    // Nanoseconds are rounded down, also before 1970. More rows than are read at once.
    let many: Vec<Option<i64>> = (0..20_000)
        .map(|at| (at % 3 > 0).then_some(at - 7_000))
        .collect();
    for (some, first, last) in [
        (&[][..], None, None),
        (&[None, None], None, None),
        (&[Some(3), None, Some(-2)], Some(-2), Some(3)),
        (&many, Some(-6_999), Some(12_999)),
    ] {
        rows(some);
        assert_eq!(asked("at").unwrap(), Times { first, last });
    }
    assert!(asked("label").unwrap_err().is_bad_input());
    assert!(asked("when").unwrap_err().is_bad_input());
}
