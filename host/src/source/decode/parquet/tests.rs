//! Files that the `parquet` crate wrote, whole, typed otherwise, and damaged.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use base64::Engine as _;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use crate::source::decode::{DecodeError, Decoded, Format, code, infer, open};
use crate::source::recording::{LocalFile, Recording};

const ROWS: usize = 1000;

fn write(batch: &RecordBatch) -> NamedTempFile {
    let file = tempfile::Builder::new()
        .suffix(".parquet")
        .tempfile()
        .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(300))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer =
        ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    file
}

fn events() -> RecordBatch {
    let numbers = || 0..ROWS as i64;
    let cities: DictionaryArray<Int32Type> = numbers()
        .map(|i| {
            if i % 7 == 0 {
                None
            } else {
                Some(["oslo", "são paulo", ""][i as usize % 3])
            }
        })
        .collect();
    let names: StringViewArray = numbers()
        .map(|i| Some(format!("a name that does not fit a view {i}")))
        .collect();
    let times = TimestampNanosecondArray::from_iter_values(numbers().map(|i| i * 1_000_000));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
        numbers().map(|i| Some(vec![Some(i as i32), None])),
    );
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "id",
            Arc::new(Int64Array::from_iter_values(numbers())),
            false,
        ),
        ("city", Arc::new(cities), true),
        ("name", Arc::new(names), true),
        ("at", Arc::new(times.with_timezone("UTC")), true),
        (
            "seats",
            Arc::new(Int32Array::from_iter(
                numbers().map(|i| (i % 10 != 0).then_some(i as i32)),
            )),
            true,
        ),
        ("list", Arc::new(list), true),
        (
            "accepted",
            Arc::new(BooleanArray::from_iter(numbers().map(|i| Some(i % 2 == 0)))),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn recording(path: &Path) -> Arc<dyn Recording> {
    Arc::new(LocalFile::new(path))
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields = fields
        .iter()
        .map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn read(path: &Path, schema: &SchemaRef, batch_rows: usize) -> Result<Vec<Decoded>, DecodeError> {
    let mut reader = open(&recording(path), Format::Parquet, schema, batch_rows)?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        assert_eq!(batch.rows.schema_ref(), schema);
        batches.push(batch);
    }
    assert_eq!(reader.bytes_read(), std::fs::metadata(path).unwrap().len());
    assert!(reader.next_batch()?.is_none());
    Ok(batches)
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}

#[test]
fn wanted_columns_come_plain_in_any_cut() {
    let batch = events();
    let file = write(&batch);
    let wanted = schema(&[
        ("accepted", DataType::Boolean, true),
        ("city", DataType::Utf8, true),
        ("name", DataType::LargeUtf8, true),
        ("at", utc(TimeUnit::Microsecond), true),
        ("seats", DataType::Int64, true),
        (
            "list",
            DataType::List(Arc::new(Field::new("element", DataType::Int64, true))),
            true,
        ),
    ]);
    for batch_rows in [1, 7, 1024] {
        let batches = read(file.path(), &wanted, batch_rows).unwrap();
        let mut position = 0;
        for decoded in &batches {
            assert_eq!(decoded.lines.position(0), Some(position));
            assert_eq!((decoded.lines.runs().len(), decoded.rejects.len()), (1, 0));
            position += decoded.rows.num_rows() as u64;
        }
        let rows = concat_batches(&wanted, batches.iter().map(|b| &b.rows)).unwrap();
        assert_eq!(rows.num_rows(), ROWS);
        for (name, i) in [
            ("accepted", 6),
            ("city", 1),
            ("name", 2),
            ("seats", 4),
            ("list", 5),
        ] {
            let found = rows.column_by_name(name).unwrap();
            let expected = arrow::compute::cast(batch.column(i), found.data_type()).unwrap();
            assert_eq!(found, &expected, "{name}");
        }
        let found = rows
            .column_by_name("at")
            .unwrap()
            .as_primitive::<TimestampMicrosecondType>();
        let written = batch.column(3).as_primitive::<TimestampNanosecondType>();
        assert!(
            found
                .values()
                .iter()
                .zip(written.values())
                .all(|(us, ns)| us * 1000 == *ns)
        );
    }
    let rows: usize = read(file.path(), &schema(&[]), 64)
        .unwrap()
        .iter()
        .map(|b| b.rows.num_rows())
        .sum();
    assert_eq!(rows, ROWS);
}

#[test]
fn rows_without_a_value_they_must_have_are_refused() {
    let file = write(&events());
    let wanted = schema(&[
        ("id", DataType::Int64, false),
        ("seats", DataType::Int32, false),
    ]);
    for batch_rows in [1, 7, 1024] {
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for decoded in read(file.path(), &wanted, batch_rows).unwrap() {
            let ids = decoded
                .rows
                .column(0)
                .as_primitive::<arrow::datatypes::Int64Type>();
            for (row, id) in ids.values().iter().enumerate() {
                assert_eq!(decoded.lines.position(row as u32), Some(*id as u64));
                kept.push(*id as u64);
            }
            for reject in decoded.rejects {
                assert_eq!(reject.code, code::MISSING_VALUE);
                assert_eq!(
                    reject.record,
                    format!(r#"{{"id":{}}}"#, reject.position).into_bytes()
                );
                let before = decoded.lines.position(reject.before_row.wrapping_sub(1));
                assert!(reject.before_row == 0 || before < Some(reject.position));
                refused.push(reject.position);
            }
        }
        assert_eq!(refused, (0..ROWS as u64).step_by(10).collect::<Vec<_>>());
        assert_eq!(
            kept,
            (0..ROWS as u64).filter(|i| i % 10 != 0).collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_the_file_cannot_give_is_an_error_with_names() {
    let file = write(&events());
    let error = |name: &str, data_type: DataType| {
        read(file.path(), &schema(&[(name, data_type, true)]), 64)
            .unwrap_err()
            .to_string()
    };
    let path = file.path().display();
    assert_eq!(
        error("who", DataType::Int64),
        format!(
            "{path}: has no column `who`; it has `id`, `city`, `name`, `at`, `seats`, `list`, `accepted`"
        )
    );
    assert_eq!(
        error("id", DataType::Utf8),
        format!(
            "{path}: column `id`: expected utf8, found int64; declare the type that the file has"
        )
    );
    assert!(error("id", DataType::Int32).contains("expected int32, found int64"));
    assert!(error("at", DataType::Int64).contains("expected int64, found timestamp"));
    assert!(
        error("at", utc(TimeUnit::Second))
            .contains("1000000 (timestamp[ns, UTC]), between rows 0 and 63")
    );
    let strict = DataType::List(Arc::new(Field::new("item", DataType::Int32, false)));
    assert!(error("list", strict).contains("expected list"));
    let local = RecordBatch::try_from_iter([(
        "t",
        Arc::new(TimestampMicrosecondArray::from(vec![1])) as ArrayRef,
    )]);
    let local = write(&local.unwrap());
    let error = read(
        local.path(),
        &schema(&[("t", utc(TimeUnit::Microsecond), true)]),
        64,
    )
    .unwrap_err();
    assert!(matches!(error, DecodeError::IncompatibleColumn { .. }));
}

#[test]
fn structs_give_the_fields_that_are_wanted() {
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let pairs = [
        (Arc::new(Field::new("id", DataType::Int32, true)), ids),
        (Arc::new(Field::new("name", DataType::Utf8, true)), names),
    ];
    let file = write(
        &RecordBatch::try_from_iter([(
            "who",
            Arc::new(StructArray::from(pairs.to_vec())) as ArrayRef,
        )])
        .unwrap(),
    );
    let fields = vec![
        Field::new("name", DataType::LargeUtf8, true),
        Field::new("id", DataType::Int64, true),
    ];
    let batches = read(
        file.path(),
        &schema(&[("who", DataType::Struct(fields.into()), true)]),
        64,
    )
    .unwrap();
    let who = batches[0].rows.column(0).as_struct();
    assert_eq!(who.column(0).as_string::<i64>().value(0), "a");
    assert_eq!(
        who.column(1)
            .as_primitive::<arrow::datatypes::Int64Type>()
            .values(),
        &[1, 2]
    );
    let other = vec![Field::new("age", DataType::Int64, true)];
    assert!(
        read(
            file.path(),
            &schema(&[("who", DataType::Struct(other.into()), true)]),
            64
        )
        .is_err()
    );
}

#[test]
fn damaged_files_are_errors() {
    let wanted = schema(&[
        ("city", DataType::Utf8, true),
        ("at", utc(TimeUnit::Nanosecond), true),
    ]);
    let whole = std::fs::read(write(&events()).path()).unwrap();
    let damaged = tempfile::Builder::new()
        .suffix(".parquet")
        .tempfile()
        .unwrap();
    let error = |bytes: &[u8]| {
        std::fs::write(damaged.path(), bytes).unwrap();
        read(damaged.path(), &wanted, 64).err()
    };
    assert!(matches!(error(b""), Some(DecodeError::Empty { .. })));
    assert!(matches!(
        error(b"{\"x\":1}\n"),
        Some(DecodeError::Unreadable { .. })
    ));
    for cut in (0..whole.len()).step_by(97).skip(1) {
        assert!(
            matches!(error(&whole[..cut]), Some(DecodeError::Unreadable { .. })),
            "cut at {cut}"
        );
    }
    // A byte of data may change into another valid one; what counts is that nothing ends the process.
    let mut errors = 0;
    for at in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        errors += usize::from(error(&bytes).is_some());
    }
    assert!(errors > 100, "{errors}");
    let mut bytes = whole.clone();
    bytes[4..whole.len() / 3].fill(0xff);
    assert!(matches!(error(&bytes), Some(DecodeError::Corrupt { .. })));
}

#[test]
fn files_are_inferred_with_plain_types_and_must_agree() {
    let file = write(&events());
    let inferred = infer(&[recording(file.path())], Format::Parquet).unwrap();
    let types: Vec<&DataType> = inferred
        .fields()
        .iter()
        .map(|field| field.data_type())
        .collect();
    assert_eq!(
        types[..4],
        [
            &DataType::Int64,
            &DataType::Utf8,
            &DataType::Utf8,
            &utc(TimeUnit::Nanosecond)
        ]
    );
    assert!(!inferred.field(0).is_nullable() && inferred.metadata().is_empty());
    // What was inferred can be read.
    let rows: usize = read(file.path(), &Arc::new(inferred), 64)
        .unwrap()
        .iter()
        .map(|b| b.rows.num_rows())
        .sum();
    assert_eq!(rows, ROWS);

    let id = |array: ArrayRef| {
        write(&RecordBatch::try_from_iter_with_nullable([("id", array, true)]).unwrap())
    };
    let same = id(Arc::new(Int64Array::from(vec![Some(1), None])));
    let both = infer(
        &[recording(file.path()), recording(same.path())],
        Format::Parquet,
    )
    .unwrap();
    assert!(both.field(0).is_nullable() && both.fields().len() == 7);
    let other = id(Arc::new(StringArray::from(vec!["1"])));
    let error = infer(
        &[recording(file.path()), recording(other.path())],
        Format::Parquet,
    )
    .unwrap_err();
    assert!(matches!(error, DecodeError::Disagreement { .. }), "{error}");
}

/// One long value in a hundred thousand rows: a few kilobytes of file, and twenty gigabytes of text.
#[test]
fn a_long_value_of_many_rows_comes_in_small_batches() {
    let long = "x".repeat(200_000);
    let texts: DictionaryArray<Int32Type> = DictionaryArray::new(
        Int32Array::from(vec![0; 100_000]),
        Arc::new(StringArray::from(vec![long.as_str()])),
    );
    for data_type in [DataType::Utf8, DataType::LargeUtf8] {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
            (0..100_000).map(|row| Some(vec![Some(row)])),
        );
        let batch = RecordBatch::try_from_iter([
            ("x", Arc::new(texts.clone()) as ArrayRef),
            ("list", Arc::new(lists) as ArrayRef),
        ])
        .unwrap();
        let file = write(&batch);
        assert!(file.as_file().metadata().unwrap().len() < 2 << 20);
        let wanted = schema(&[
            ("list", DataType::new_list(DataType::Int32, true), true),
            ("x", data_type, true),
        ]);
        let recording = recording(file.path());
        let mut reader = open(&recording, Format::Parquet, &wanted, 65_536).unwrap();
        let mut rows = 0;
        for _ in 0..5 {
            let batch = reader.next_batch().unwrap().unwrap();
            assert!(batch.rows.get_array_memory_size() < 40 << 20);
            let first = batch.rows.column(0).as_list::<i32>().value(0);
            assert_eq!(first.as_primitive::<Int32Type>().value(0), rows as i32);
            rows += batch.rows.num_rows();
        }
        assert!(rows > 200, "{rows}");
    }
}

/// `x` with 0 to 4, as another program wrote it, with checksums; ours are not written.
const CHECKED: &str = "UEFSMRUAFVwVXBXWn48QHBUKFQAVBhUGHAAAAAIAAAAKAQAAAAAAAAAAAQAAAAAAAAACAAAAAAAAAAMAAAAAAAAABAAAAAAAAAAVBBks\
    NQAYBnNjaGVtYRUCABUEJQIYAXgAFgoZHBkcJgAcFQQZJQYAGRgBeBUAFgoWjAEWjAEmCEkcFQAVABUCADwpBhkmAAoAAAAWjAEWCiYIFowBACgg\
    cGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAAB+AAAAUEFSMQ==";

/// Texts and bytes at any depth are decoded as views, and come back as they were.
#[test]
fn nested_texts_come_back_in_any_cut() {
    let text =
        |i: usize| (!i.is_multiple_of(5)).then(|| ["", "short", "a text that fits no view"][i % 3]);
    let texts = || StringArray::from_iter((0..2 * ROWS).map(text));
    let bytes = || LargeBinaryArray::from_iter((0..ROWS).map(|i| text(i).map(str::as_bytes)));
    let pairs = || arrow::buffer::OffsetBuffer::from_repeated_length(2, ROWS);
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let list = ListArray::new(item(DataType::Utf8), pairs(), Arc::new(texts()), None);
    let fixed = FixedSizeListArray::new(item(DataType::Utf8), 2, Arc::new(texts()), None);
    let inner = StructArray::from(vec![
        (item(DataType::LargeBinary), Arc::new(bytes()) as ArrayRef),
        (
            Arc::new(Field::new("list", list.data_type().clone(), true)),
            Arc::new(list.clone()) as ArrayRef,
        ),
    ]);
    let keys = StringArray::from_iter_values((0..2 * ROWS).map(|i| format!("the key number {i}")));
    let entries = StructArray::from(vec![
        (
            Arc::new(Field::new("keys", DataType::Utf8, false)),
            Arc::new(keys) as ArrayRef,
        ),
        (
            Arc::new(Field::new("values", DataType::Utf8, true)),
            Arc::new(texts()) as ArrayRef,
        ),
    ]);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, pairs(), entries, None, false);
    let columns: [(&str, ArrayRef); 4] = [
        ("list", Arc::new(list)),
        ("fixed", Arc::new(fixed)),
        ("struct", Arc::new(inner)),
        ("map", Arc::new(map)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let file = write(&batch);
    let wanted = Arc::new(infer(&[recording(file.path())], Format::Parquet).unwrap());
    for rows in [7, ROWS] {
        let read = read(file.path(), &wanted, rows).unwrap();
        let whole = concat_batches(&wanted, read.iter().map(|decoded| &decoded.rows)).unwrap();
        for (found, expected) in whole.columns().iter().zip(batch.columns()) {
            assert_eq!(found.to_data(), expected.to_data());
        }
    }
}

#[test]
fn a_page_whose_checksum_is_wrong_is_damage() {
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut bytes = base64.decode(CHECKED).unwrap();
    let wanted = schema(&[("x", DataType::Int64, true)]);
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    assert_eq!(
        read(file.path(), &wanted, 10).unwrap()[0].rows.num_rows(),
        5
    );
    let value = 3i64.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == value);
    bytes[at.unwrap()] ^= 0x10;
    std::fs::write(file.path(), &bytes).unwrap();
    let error = read(file.path(), &wanted, 10).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
}

#[test]
fn a_codec_that_is_not_there_is_named_when_the_file_is_opened() {
    let file = write(&events());
    let mut bytes = std::fs::read(file.path()).unwrap();
    // In the footer zstd is 6 and brotli 4; both numbers are written twice as large.
    for at in (0..bytes.len()).rev() {
        let before = codecs(&bytes);
        if bytes[at] != 12 {
            continue;
        }
        bytes[at] = 8;
        let after = codecs(&bytes);
        let changed = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        if before.len() != after.len() || changed.count() != 1 {
            bytes[at] = 12;
        }
    }
    std::fs::write(file.path(), &bytes).unwrap();
    let wanted = schema(&[("city", DataType::Utf8, true)]);
    let error = open(&recording(file.path()), Format::Parquet, &wanted, 64);
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("`city` is compressed with brotli"),
        "{error}"
    );
}

/// How the columns of a file say that they are compressed; empty if it cannot be read.
fn codecs(bytes: &[u8]) -> Vec<Compression> {
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new();
    let metadata = metadata.parse_and_finish(&bytes::Bytes::copy_from_slice(bytes));
    let Ok(metadata) = metadata else {
        return Vec::new();
    };
    let groups = metadata.row_groups().iter();
    let columns = groups.flat_map(|group| group.columns().iter());
    columns.map(|column| column.compression()).collect()
}
