//! The bytes of a file depend on its rows alone.

use std::fs;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SECOND: i64 = 1_000_000;

fn schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let tags = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    Arc::new(Schema::new(vec![
        Field::new("driver", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("window_start", instant.clone(), false),
        Field::new("window_end", instant, false),
        Field::new("share", DataType::Float64, true),
        Field::new("tags", tags, true),
    ]))
}

/// A row: driver, city, window end in seconds, a number that tells rows of one key and window apart.
type Row = (i64, Option<&'static str>, i64, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let times = |shift: i64| -> ArrayRef {
        let ends = rows.iter().map(|r| (r.2 - shift) * SECOND + 500_000);
        Arc::new(TimestampMicrosecondArray::from_iter_values(ends).with_timezone("UTC"))
    };
    let mut tags = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for row in rows {
        tags.append_option(
            (row.3 % 3 > 0).then(|| (0..row.3 % 3).map(|i| (i > 0).then(|| format!("t,{i}")))),
        );
    }
    let tags: ListArray = tags.finish();
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
            times(10),
            times(0),
            Arc::new(Float64Array::from_iter(
                rows.iter()
                    .map(|r| (r.3 % 5 > 0).then_some(r.3 as f64 / 4.0)),
            )),
            Arc::new(tags),
        ],
    )
    .unwrap()
}

/// Rows in the order that a file has: by window end, driver and city.
fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0..6i64,
        proptest::sample::select(vec![None, Some("a"), Some("b")]),
        0..8i64,
    );
    proptest::collection::vec(row, 0..60).prop_map(|keys| {
        let mut keys = keys;
        keys.sort_by_key(|(driver, city, end)| (*end, *driver, *city));
        keys.into_iter()
            .enumerate()
            .map(|(i, (driver, city, end))| (driver, city, end, i as i64))
            .collect()
    })
}

/// Writes rows through `lanes` lanes, each key in one of them, in an order that `choices` interleaves.
fn write(folder: &Path, name: &str, rows: &[Row], lanes: usize, choices: &[usize]) -> Vec<u8> {
    let path = folder.join(name);
    let mut sink = FileSink::create(&path, lanes, schema(), 2, RowOrder::Windows).unwrap();
    let lane_of = |r: &Row| (r.0 as usize * 7 + r.1.map_or(0, str::len) * 3) % lanes;
    let mut left: Vec<Vec<Row>> = vec![Vec::new(); lanes];
    for row in rows {
        left[lane_of(row)].push(*row);
    }
    let mut given = vec![0; lanes];
    for (step, choice) in choices.iter().enumerate() {
        let lane = choice % lanes;
        let take = (choice / lanes % 4).min(left[lane].len() - given[lane]);
        let part = &left[lane][given[lane]..given[lane] + take];
        sink.write(lane, &batch(part), 0, Vec::new()).unwrap();
        given[lane] += take;
        if step % 2 == 0 {
            // Everything below the next row's window is complete.
            let next = left[lane]
                .get(given[lane])
                .map_or(i64::MAX / SECOND - 1, |r| r.2 - 1);
            sink.closed_up_to(lane, next * SECOND + 500_000).unwrap();
        }
    }
    for lane in 0..lanes {
        sink.write(lane, &batch(&left[lane][given[lane]..]), 0, Vec::new())
            .unwrap();
    }
    let summary = sink.complete().unwrap().place().unwrap().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(
        (summary.rows, summary.bytes),
        (rows.len() as u64, bytes.len() as u64)
    );
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lanes_batches_and_interleavings_do_not_show(
        rows in any_rows(), lanes in 2..5usize, choices in proptest::collection::vec(0..1000usize, 0..40),
    ) {
        let folder = TempDir::new().unwrap();
        for name in ["a.parquet", "a.csv", "a.ndjson"] {
            let one = write(folder.path(), name, &rows, 1, &[]);
            let several = write(folder.path(), name, &rows, lanes, &choices);
            prop_assert!(one == several, "{} differs", name);
        }
    }
}

#[test]
fn many_rows_give_the_same_bytes_in_any_batches() {
    let folder = TempDir::new().unwrap();
    let rows: Vec<Row> = (0..40_000)
        .map(|i| (i % 97, Some("a"), i / 97, i))
        .collect();
    for name in ["a.parquet", "a.csv", "a.ndjson"] {
        let mut files = Vec::new();
        for size in [1000, 8192, 40_000] {
            let path = folder.path().join(name);
            let mut sink = FileSink::create(&path, 1, schema(), 2, RowOrder::Windows).unwrap();
            for part in rows.chunks(size) {
                sink.write(0, &batch(part), 0, Vec::new()).unwrap();
            }
            sink.complete().unwrap().place().unwrap().unwrap();
            files.push(fs::read(&path).unwrap());
        }
        assert!(files[0] == files[1] && files[1] == files[2], "{name}");
    }
}

#[test]
fn text_formats_are_as_documented() {
    let folder = TempDir::new().unwrap();
    let rows = [
        (7, Some("a,\"b"), 978_307_200, 2),
        (8, None, 978_307_200, 0),
    ];
    let csv = String::from_utf8(write(folder.path(), "a.csv", &rows, 1, &[])).unwrap();
    assert_eq!(
        csv,
        "driver,city,window_start,window_end,share,tags\n\
         7,\"a,\"\"b\",2000-12-31T23:59:50.5Z,2001-01-01T00:00:00.5Z,0.5,\"[null,\"\"t,1\"\"]\"\n\
         8,,2000-12-31T23:59:50.5Z,2001-01-01T00:00:00.5Z,,\n"
    );
    let ndjson = String::from_utf8(write(folder.path(), "a.ndjson", &rows, 1, &[])).unwrap();
    assert_eq!(
        ndjson,
        "{\"driver\":7,\"city\":\"a,\\\"b\",\"window_start\":\"2000-12-31T23:59:50.5Z\",\
         \"window_end\":\"2001-01-01T00:00:00.5Z\",\"share\":0.5,\"tags\":[null,\"t,1\"]}\n\
         {\"driver\":8,\"city\":null,\"window_start\":\"2000-12-31T23:59:50.5Z\",\
         \"window_end\":\"2001-01-01T00:00:00.5Z\",\"share\":null,\"tags\":null}\n"
    );
}

#[test]
fn parquet_keeps_types_and_says_nothing_of_the_moment() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a.parquet", &[(7, None, 5, 1)], 1, &[]);
    let file = fs::File::open(folder.path().join("a.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(
        reader.metadata().file_metadata().created_by(),
        Some("penstock")
    );
    let read = reader.build().unwrap().next().unwrap().unwrap();
    assert_eq!(read.schema().fields(), schema().fields());
    assert_eq!(read.column(0).as_primitive::<Int64Type>().value(0), 7);
    assert_eq!(
        read.column(3)
            .as_primitive::<TimestampMicrosecondType>()
            .value(0),
        5_500_000
    );
    assert_eq!(read.column(4).as_primitive::<Float64Type>().value(0), 0.25);
}

#[test]
fn a_file_without_rows_is_a_file() {
    let folder = TempDir::new().unwrap();
    let csv = write(folder.path(), "a.csv", &[], 2, &[]);
    assert_eq!(csv, b"driver,city,window_start,window_end,share,tags\n");
    assert_eq!(write(folder.path(), "a.ndjson", &[], 2, &[]), b"");
    write(folder.path(), "a.parquet", &[], 2, &[]);
    let file = fs::File::open(folder.path().join("a.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(reader.schema().fields(), schema().fields());
    assert_eq!(reader.build().unwrap().count(), 0);
}

#[test]
fn a_run_that_fails_leaves_the_earlier_result() {
    let folder = TempDir::new().unwrap();
    let before = write(folder.path(), "a.csv", &[(7, None, 5, 1)], 1, &[]);
    let path = folder.path().join("a.csv");
    let mut sink = FileSink::create(&path, 2, schema(), 2, RowOrder::Windows).unwrap();
    sink.write(0, &batch(&[(1, None, 5, 1)]), 0, Vec::new())
        .unwrap();
    sink.closed_up_to(0, 10 * SECOND).unwrap();
    let late = sink
        .write(0, &batch(&[(1, None, 6, 1)]), 0, Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        late.contains("a.csv in order") && late.contains("closed everything"),
        "{late}"
    );
    drop(sink);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(folder.path().join("a.csv.partial").exists());
    // The next run begins anew and cleans up after itself.
    write(folder.path(), "a.csv", &[], 1, &[]);
    assert!(!folder.path().join("a.csv.partial").exists());
}

#[test]
fn wrong_names_columns_and_folders_are_explained() {
    let folder = TempDir::new().unwrap();
    let create = |name: &str, schema: SchemaRef, keys| {
        FileSink::create(
            &folder.path().join(name),
            1,
            schema,
            keys,
            RowOrder::Windows,
        )
        .err()
        .unwrap()
        .to_string()
    };
    assert!(create("a.txt", schema(), 2).contains(".parquet, .csv or .ndjson"));
    assert!(create("a.csv", schema(), 1).contains("must be window_start"));
    assert!(create("absent/a.csv", schema(), 2).contains("cannot create"));
}
