//! Tests of reading expected files: what a run writes comes back.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Float64Type, Int64Type, Schema};

use super::*;
use crate::sink::{FileSink, RowOrder};

/// A struct of which nothing is ever null.
fn spots() -> ArrayRef {
    let fields = vec![
        Field::new("x", DataType::Float64, false),
        Field::new("stops", DataType::Int64, false),
    ];
    let x: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0, -2.0]));
    let stops: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    Arc::new(StructArray::new(fields.into(), vec![x, stops], None))
}

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
        (
            "counts",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
        ),
        ("spot", spots()),
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
        outputs: names(4..13),
        features: Vec::new(),
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
        let texts = |rows: &RecordBatch| -> Vec<Vec<String>> {
            let columns = rows.columns().iter();
            columns
                .map(|c| crate::text::json_texts(c).unwrap())
                .collect()
        };
        assert_eq!(texts(&read.rows), texts(&rows), "{name}");
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
fn what_says_more_than_the_types_hold_is_refused() {
    let head = r#""city":"a","rider":1,"window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:01Z""#;
    for (value, column) in [
        (r#""rows":3.9"#, "rows"),
        (r#""rows":"3.9""#, ""),
        (r#""price":1.234"#, "price"),
        (r#""price":"78914.999""#, "price"),
        (r#""day":"1969-12-31T23:59:59""#, "day"),
        (r#""seen":"1970-01-01T00:00:00.0000019Z""#, "seen"),
        (r#""spot":{"stops":1.5}"#, "spot"),
        (r#""spot":{"typo":3}"#, "typo"),
        (r#""counts":[1.5,null,3]"#, "counts"),
    ] {
        let reason = refused("x.ndjson", &format!("{{{head},{value}}}\n"));
        assert!(
            reason.contains("row 1") && reason.contains(column),
            "{value}: {reason}"
        );
    }
    let csv = "city,rider,window_start,window_end,rows\na,1,1970-01-01T00:00:00Z,1970-01-01T00:00:01Z,3.9\n";
    assert!(refused("x.csv", csv).contains("rows"), "{csv}");
    assert!(refused("x.csv", "").contains("it is empty"));

    // The same values, however they are written.
    let (layout, _) = layout();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ndjson");
    let value = r#""rows":3.0,"price":1.50,"seen":"1970-01-01T00:00:00.000001000Z","counts":[1e3],"spot":{"stops":2}"#;
    std::fs::write(&path, format!("{{{head},{value}}}\n")).unwrap();
    assert_eq!(read(&path, &layout).unwrap().rows.num_rows(), 1);
}

#[test]
fn other_types_of_parquet_must_hold_the_same_values() {
    let (layout, rows) = layout();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let refused = |column: &str, values: ArrayRef| {
        let columns = layout.schema.fields().iter().zip(rows.columns());
        let columns: Vec<(String, ArrayRef)> = columns
            .map(|(field, own)| match field.name() == column {
                true => (column.to_owned(), Arc::clone(&values)),
                false => (field.name().clone(), Arc::clone(own)),
            })
            .collect();
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let mut sink = FileSink::create(&path, 1, rows.schema(), 2, RowOrder::Windows).unwrap();
        sink.write(0, &rows, 0, Vec::new()).unwrap();
        sink.complete().unwrap().place().unwrap();
        read(&path, &layout).err().map(|error| error.to_string())
    };
    let floats = |values: [f64; 3]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    assert_eq!(refused("rows", floats([3.0, 4.0, 0.0])), None);
    let reason = refused("rows", floats([3.0, 3.9, 0.0])).unwrap();
    assert!(
        reason.contains("`rows`") && reason.contains("3.9"),
        "{reason}"
    );
    let signed: ArrayRef = Arc::new(Int64Array::from(vec![1, -5, 3]));
    let reason = refused("rows", signed).unwrap();
    assert!(
        reason.contains("`rows`") && reason.contains("-5"),
        "{reason}"
    );
}

#[test]
fn a_nan_within_a_list_or_a_struct_comes_back_as_no_difference() {
    let (layout, rows) = layout();
    let (_, spots, _) = rows
        .column_by_name("spot")
        .unwrap()
        .as_struct()
        .clone()
        .into_parts();
    let fields = match rows.schema().field_with_name("spot").unwrap().data_type() {
        DataType::Struct(fields) => fields.clone(),
        other => panic!("{other}"),
    };
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.0, f64::INFINITY]));
    let spots: ArrayRef = Arc::new(StructArray::new(
        fields,
        vec![nan, Arc::clone(&spots[1])],
        None,
    ));
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of("spot").unwrap()] = spots;
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.csv", "x.ndjson", "x.parquet"] {
        let path = folder.path().join(name);
        let mut sink =
            FileSink::create(&path, 1, Arc::clone(&layout.schema), 2, RowOrder::Windows).unwrap();
        sink.write(0, &rows, 0, Vec::new()).unwrap();
        sink.complete().unwrap().place().unwrap();
        let read = read(&path, &layout).unwrap();
        let compared = crate::testing::compare::compare(
            &layout,
            (&read.rows, read.leniency),
            &rows,
            &layout.outputs,
            &crate::testing::Tolerances::default(),
        );
        assert!(compared.unwrap().is_same(), "{name}");
    }
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
