//! Tests of reading expected files: what a run writes comes back.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Float64Type, Schema};

use super::*;
use crate::sink::{FileSink, RowOrder};

fn layout() -> (Layout, RecordBatch) {
    let time = |micros: &[i64]| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(micros.to_vec()).with_timezone("UTC"))
    };
    let lists = [Some(vec![Some(0.1), None]), None, Some(vec![])];
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "city",
            Arc::new(StringArray::from(vec!["a", "b,\"c\"", "é"])),
        ),
        ("rider", Arc::new(Int64Array::from(vec![-1, i64::MAX, 3]))),
        ("window_start", time(&[0, 0, 1_500_000])),
        ("window_end", time(&[1_500_000, 1_500_000, 3_000_000])),
        (
            "rows",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
        ),
        (
            "mean",
            Arc::new(Float64Array::from(vec![Some(1.0 / 3.0), Some(1e300), None])),
        ),
        (
            "any",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(0), Some(20_000), None])),
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(1234), Some(-5), None])
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        ("seen", time(&[1, 2, 3])),
        (
            "parts",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists)),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, (name, column))| Field::new(*name, column.data_type().clone(), at > 3))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let names = |range: std::ops::Range<usize>| {
        columns[range]
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect()
    };
    let layout = Layout {
        keys: names(0..2),
        window: names(2..4),
        outputs: names(4..11),
        schema: Arc::clone(&schema),
    };
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    (layout, RecordBatch::try_new(schema, columns).unwrap())
}

#[test]
fn what_a_run_writes_comes_back_in_every_format() {
    let (layout, rows) = layout();
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.csv", "x.ndjson", "x.parquet"] {
        let path = folder.path().join(name);
        let mut sink =
            FileSink::create(&path, 1, Arc::clone(&layout.schema), 2, RowOrder::Windows).unwrap();
        sink.write(0, &rows, 0, Vec::new()).unwrap();
        sink.complete().unwrap().place().unwrap();
        let read = read(&path, &layout).unwrap();
        assert_eq!(read.rows.columns(), rows.columns(), "{name}");
    }
}

fn refused(name: &str, text: &str) -> String {
    let (layout, _) = layout();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let Err(error) = read(&path, &layout) else {
        panic!("it is refused");
    };
    assert!(!error.is_of_the_system());
    error.to_string()
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let head =
        r#""city":"a","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:01Z""#;
    let good = format!("{{{head},\"rider\":1}}");
    let reason = refused("x.ndjson", &format!("{good}\n{{{head},\"rider\":\"x\"}}\n"));
    assert!(reason.contains("row 2"), "{reason}");
    let reason = refused("x.ndjson", &format!("{good}\nnonsense\n"));
    assert!(reason.contains("row 2"), "{reason}");
    let reason = refused("x.ndjson", &format!("{{{head},\"rider\":1,\"rowz\":2}}"));
    assert!(
        reason.contains("`rowz`") && reason.contains("mean"),
        "{reason}"
    );
    let reason = refused("x.ndjson", &format!("{{{head}}}"));
    assert!(reason.contains("no column rider"), "{reason}");
    assert!(refused("x.csv", "city,rider,rows\n").contains("window_start, window_end"));
    assert!(refused("x.csv", "city,city\n").contains("same name"));
    assert!(refused("x.parquet", "PAR1").contains("no Parquet"));
    assert!(refused("x.txt", "").contains(".csv, .ndjson or .parquet"));
}

#[test]
fn a_file_that_is_not_there_can_be_blessed() {
    let (layout, _) = layout();
    let Err(error) = read(Path::new("no/such.csv"), &layout) else {
        panic!("it is refused");
    };
    assert!(error.to_string().contains("--bless"), "{error}");
}

#[test]
fn a_subset_of_the_columns_is_read_and_none_is_made_up() {
    let (layout, _) = layout();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let text = "rider,city,window_start,window_end,mean\n1,a,1970-01-01T00:00:00Z,1970-01-01T00:00:01+00:00,NaN\n";
    std::fs::write(&path, text).unwrap();
    let rows = read(&path, &layout).unwrap().rows;
    assert_eq!(rows.num_columns(), 5);
    let mean = rows
        .column_by_name("mean")
        .unwrap()
        .as_primitive::<Float64Type>();
    assert!(mean.value(0).is_nan());
    let end = rows.column_by_name("window_end").unwrap();
    let end = end.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(end.value(0), 1_000_000);
}
