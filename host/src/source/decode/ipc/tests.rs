//! Files that the `arrow-ipc` crate wrote: of every type, in both formats, compressed, typed otherwise, and damaged.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::*;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use crate::source::decode::columnar::plain;
use crate::source::decode::testing::in_memory;
use crate::source::decode::{DecodeError, Decoded, Format, code, infer, open};

const ROWS: usize = 1000;

/// The formats that a file can be in.
#[derive(Debug, Clone, Copy)]
struct Written {
    stream: bool,
    compression: Option<CompressionType>,
    batch_rows: usize,
}

const WAYS: [Written; 4] = [
    Written {
        stream: false,
        compression: None,
        batch_rows: ROWS,
    },
    Written {
        stream: true,
        compression: None,
        batch_rows: 300,
    },
    Written {
        stream: false,
        compression: Some(CompressionType::ZSTD),
        batch_rows: 300,
    },
    Written {
        stream: true,
        compression: Some(CompressionType::LZ4_FRAME),
        batch_rows: 700,
    },
];

fn write(batch: &RecordBatch, how: Written) -> Vec<u8> {
    let options = IpcWriteOptions::default()
        .try_with_compression(how.compression)
        .unwrap();
    let mut bytes = Vec::new();
    let pieces = (0..batch.num_rows()).step_by(how.batch_rows);
    let pieces =
        pieces.map(|start| batch.slice(start, how.batch_rows.min(batch.num_rows() - start)));
    if how.stream {
        let mut writer =
            StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
        pieces.for_each(|piece| writer.write(&piece).unwrap());
        writer.finish().unwrap();
    } else {
        let mut writer =
            FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
        pieces.for_each(|piece| writer.write(&piece).unwrap());
        writer.finish().unwrap();
    }
    bytes
}

fn read(bytes: &[u8], schema: &SchemaRef, batch_rows: usize) -> Result<Vec<Decoded>, DecodeError> {
    let recording = in_memory("test.arrow", bytes);
    let mut reader = open(&recording, Format::ArrowIpc, schema, batch_rows)?;
    let (mut batches, mut before) = (Vec::new(), 0);
    while let Some(batch) = reader.next_batch()? {
        assert_eq!(batch.rows.schema_ref(), schema);
        assert!(batch.rows.num_rows() + batch.rejects.len() <= batch_rows);
        assert!(reader.bytes_read() >= before && reader.bytes_read() <= bytes.len() as u64);
        before = reader.bytes_read();
        batches.push(batch);
    }
    assert_eq!(reader.bytes_read(), bytes.len() as u64);
    assert!(reader.next_batch()?.is_none());
    Ok(batches)
}

/// Columns of every kind of type, with nulls.
fn events() -> RecordBatch {
    let numbers = || 0..ROWS as i64;
    let some = |i: i64| i % 7 != 0;
    let ints: ArrayRef = Arc::new(Int64Array::from_iter(
        numbers().map(|i| some(i).then_some(i)),
    ));
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter(numbers().map(|i| {
            some(i).then(|| format!("a text that does not fit a view {i}"))
        })));
    let cities: DictionaryArray<Int32Type> = numbers()
        .map(|i| some(i).then(|| ["oslo", "são paulo", ""][i as usize % 3]))
        .collect();
    let cities: ArrayRef = Arc::new(cities);
    let offsets = OffsetBuffer::new(ScalarBuffer::from_iter((0..=ROWS as i32).map(|i| i / 2)));
    let listed = |values: &ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        Arc::new(ListArray::new(
            item,
            offsets.clone(),
            values.slice(0, ROWS / 2),
            None,
        ))
    };
    let pair: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("city", cities.data_type().clone(), true)),
            Arc::clone(&cities),
        ),
        (
            Arc::new(Field::new("n", DataType::Int64, true)),
            Arc::clone(&ints),
        ),
    ]));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("dictionary".into(), Arc::clone(&cities)),
        ("dictionaries".into(), listed(&cities)),
        ("structs".into(), listed(&pair)),
        ("struct".into(), pair),
        ("null".into(), Arc::new(NullArray::new(ROWS))),
    ];
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    for data_type in [
        DataType::Boolean,
        DataType::Int16,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(20, 2),
        DataType::Decimal256(50, 3),
        DataType::Date32,
        DataType::Date64,
        DataType::Time32(TimeUnit::Second),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Millisecond, None),
        utc(TimeUnit::Microsecond),
        DataType::Duration(TimeUnit::Second),
    ] {
        let from = match data_type {
            DataType::Date32 | DataType::Time32(_) | DataType::Int16 => {
                cast(&ints, &DataType::Int32).unwrap()
            }
            _ => Arc::clone(&ints),
        };
        columns.push((data_type.to_string(), cast(&from, &data_type).unwrap()));
    }
    for data_type in [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
    ] {
        columns.push((data_type.to_string(), cast(&texts, &data_type).unwrap()));
    }
    columns.push((
        "views".into(),
        listed(&cast(&texts, &DataType::Utf8View).unwrap()),
    ));
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

#[test]
fn every_type_comes_back_plain_in_any_cut() {
    let events = events();
    let wanted = Arc::new(plain::schema(&events.schema()));
    let expected = events.columns().iter().zip(wanted.fields());
    let expected = expected.map(|(array, field)| cast(array, field.data_type()).unwrap());
    let expected = RecordBatch::try_new(Arc::clone(&wanted), expected.collect()).unwrap();
    for how in WAYS {
        let bytes = write(&events, how);
        let recording = in_memory("test.arrow", bytes.clone());
        assert_eq!(infer(&[recording], Format::ArrowIpc).unwrap(), *wanted);
        for batch_rows in [7, 1024] {
            let batches = read(&bytes, &wanted, batch_rows).unwrap();
            let mut position = 0;
            for decoded in &batches {
                assert_eq!(decoded.lines.position(0), Some(position));
                assert_eq!((decoded.lines.runs().len(), decoded.rejects.len()), (1, 0));
                position += decoded.rows.num_rows() as u64;
            }
            let rows = concat_batches(&wanted, batches.iter().map(|b| &b.rows)).unwrap();
            assert_eq!(rows, expected, "{how:?}, {batch_rows} rows");
        }
    }
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields = fields
        .iter()
        .map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[test]
fn wanted_columns_alone_and_adapted() {
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let wanted = schema(&[
        ("Timestamp(µs, \"UTC\")", utc(TimeUnit::Nanosecond), true),
        ("Int16", DataType::Int32, true),
        ("dictionary", DataType::LargeUtf8, false),
    ]);
    for how in WAYS {
        let bytes = write(&events(), how);
        let batches = read(&bytes, &wanted, 64).unwrap();
        let rows: usize = batches.iter().map(|batch| batch.rows.num_rows()).sum();
        let rejects: Vec<_> = batches.iter().flat_map(|batch| &batch.rejects).collect();
        assert_eq!(rows + rejects.len(), ROWS);
        for (reject, row) in rejects.iter().zip((0..ROWS as u64).step_by(7)) {
            assert_eq!((reject.position, reject.code), (row, code::MISSING_VALUE));
        }
        let rows: usize = read(&bytes, &schema(&[]), 64)
            .unwrap()
            .iter()
            .map(|batch| batch.rows.num_rows())
            .sum();
        assert_eq!(rows, ROWS);
        let error = |name: &str, data_type| {
            let wanted = schema(&[(name, data_type, true)]);
            read(&bytes, &wanted, 64).unwrap_err().to_string()
        };
        assert!(
            error("nothing", DataType::Utf8)
                .contains("has no column `nothing`; it has `dictionary`")
        );
        assert!(error("dictionary", DataType::Int64).contains("expected int64, found utf8"));
    }
}

#[test]
fn dictionaries_may_grow_and_change() {
    let batch = |texts: &[&str]| {
        let texts: DictionaryArray<Int8Type> = texts.iter().copied().map(Some).collect();
        RecordBatch::try_from_iter_with_nullable([("x", Arc::new(texts) as ArrayRef, true)])
            .unwrap()
    };
    let pieces = [batch(&["a", "b"]), batch(&["c", "a", "c"])];
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &pieces[0].schema()).unwrap();
    pieces.iter().for_each(|piece| writer.write(piece).unwrap());
    writer.finish().unwrap();
    drop(writer);
    let wanted = schema(&[("x", DataType::Utf8, true)]);
    let batches = read(&bytes, &wanted, 10).unwrap();
    let rows = concat_batches(&wanted, batches.iter().map(|b| &b.rows)).unwrap();
    let found: Vec<_> = rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(found, ["a", "b", "c", "a", "c"]);
}

#[test]
fn a_long_value_of_many_rows_comes_in_small_batches() {
    let long = "x".repeat(1 << 20);
    let keys = Int32Array::from(vec![0; 5000]);
    let values: ArrayRef = Arc::new(StringArray::from(vec![long.as_str()]));
    let texts = DictionaryArray::new(keys, values);
    let batch = RecordBatch::try_from_iter([("x", Arc::new(texts) as ArrayRef)]).unwrap();
    let bytes = write(&batch, WAYS[0]);
    assert!(bytes.len() < 2 << 20);
    let wanted = schema(&[("x", DataType::Utf8, true)]);
    let mut reader = open(
        &in_memory("a.arrow", bytes),
        Format::ArrowIpc,
        &wanted,
        8192,
    )
    .unwrap();
    let mut rows = 0;
    for _ in 0..3 {
        let batch = reader.next_batch().unwrap().unwrap();
        assert!(batch.rows.get_array_memory_size() < 40 << 20);
        rows += batch.rows.num_rows();
    }
    assert!(rows > 50, "{rows}");
}

#[test]
fn damaged_files_are_errors() {
    let wanted = schema(&[
        ("dictionary", DataType::Utf8, true),
        ("views", DataType::new_list(DataType::Utf8, true), true),
        ("Float64", DataType::Float64, true),
    ]);
    assert!(matches!(
        read(b"", &wanted, 64),
        Err(DecodeError::Empty { .. })
    ));
    for garbage in [
        &b"x"[..],
        b"id,name\n1,x\n",
        b"ARROW1",
        b"FEA1\0\0\0\0",
        &[0xff; 64],
        &[0; 64],
    ] {
        let error = read(garbage, &wanted, 64).unwrap_err();
        assert!(
            matches!(
                error,
                DecodeError::Unreadable {
                    format: "Arrow",
                    ..
                } | DecodeError::MissingColumn { .. }
            ),
            "{error}"
        );
    }
    for how in WAYS {
        let whole = write(&events(), how);
        let mut last = 0;
        for cut in (0..whole.len()).step_by(whole.len() / 50).skip(1) {
            // A stream may end between two messages; anywhere else it is cut off.
            match read(&whole[..cut], &wanted, 64) {
                Err(DecodeError::Corrupt { row, .. }) => {
                    assert!(how.stream && row >= last);
                    last = row;
                }
                Err(DecodeError::Unreadable { .. }) => assert!(!how.stream || last == 0),
                other => assert!(how.stream, "{how:?} cut at {cut}: {other:?}"),
            }
        }
        assert!(!how.stream || last > 0);
        // A byte of data may change into another valid one; what counts is that nothing ends the process.
        let mut errors = 0;
        for at in (0..whole.len()).step_by(whole.len() / 400) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            errors += usize::from(guarded_read(&bytes, &wanted).is_err());
        }
        assert!(errors > 5, "{how:?}: {errors}");
    }
}

/// Reads as far as it goes; a file that changed may have other columns or rows.
fn guarded_read(bytes: &[u8], schema: &SchemaRef) -> Result<usize, DecodeError> {
    let mut reader = open(
        &in_memory("test.arrow", bytes),
        Format::ArrowIpc,
        schema,
        64,
    )?;
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.rows.num_rows() + batch.rejects.len();
        if rows > 10 * ROWS {
            break;
        }
    }
    Ok(rows)
}

#[test]
fn sizes_that_no_memory_holds_are_refused() {
    let batch =
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![7; ROWS])) as ArrayRef)])
            .unwrap();
    let how = Written {
        compression: Some(CompressionType::ZSTD),
        ..WAYS[0]
    };
    let bytes = write(&batch, how);
    let length = (8 * ROWS as u64).to_le_bytes();
    let at = bytes
        .windows(8)
        .position(|window| window == length)
        .unwrap();
    let wanted = schema(&[("x", DataType::Int64, true)]);
    assert!(read(&bytes, &wanted, 64).is_ok());
    for claimed in [1u64 << 40, i64::MAX as u64] {
        // The length stands where the buffer begins, and in the metadata as well, perhaps: all of them change.
        let mut bytes = bytes.clone();
        for place in at..bytes.len() - 8 {
            if bytes[place..place + 8] == length {
                bytes[place..place + 8].copy_from_slice(&claimed.to_le_bytes());
            }
        }
        let error = read(&bytes, &wanted, 64).unwrap_err().to_string();
        assert!(error.contains("within bounds of memory"), "{error}");
    }
}

/// Three dictionaries that nobody asks for, none of which is decoded: each is damaged.
#[test]
fn dictionaries_of_other_columns_are_not_decoded() {
    let texts = |text: &str| -> ArrayRef {
        let values: DictionaryArray<Int32Type> = vec![text; ROWS].into_iter().collect();
        Arc::new(values)
    };
    let batch = RecordBatch::try_from_iter([
        ("a", texts("unwanted")),
        ("id", Arc::new(Int64Array::from(vec![7; ROWS])) as ArrayRef),
        ("b", texts("wanted")),
    ])
    .unwrap();
    for how in [WAYS[0], WAYS[1]] {
        let mut bytes = write(&batch, how);
        let places: Vec<usize> = (0..bytes.len() - 8)
            .filter(|at| bytes[*at..].starts_with(b"unwanted"))
            .collect();
        for at in places {
            bytes[at..at + 8].fill(0xff);
        }
        let wanted = schema(&[("id", DataType::Int64, true), ("b", DataType::Utf8, true)]);
        let rows = read(&bytes, &wanted, 64).unwrap();
        assert_eq!(rows.iter().map(|b| b.rows.num_rows()).sum::<usize>(), ROWS);
        let unwanted = schema(&[("a", DataType::Utf8, true)]);
        assert!(read(&bytes, &unwanted, 64).is_err(), "{how:?}");
    }
}

/// A frame of lz4 that becomes more than the buffer says is refused before it is decompressed.
#[test]
fn a_buffer_that_says_less_than_it_holds_is_refused() {
    let noise = (0..6000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes());
    // The noise makes room for the frame below, and what follows makes it worth compressing.
    let value: Vec<u8> = noise.chain(std::iter::repeat_n(0, 24_000)).collect();
    let values: ArrayRef = Arc::new(BinaryArray::from(vec![value.as_slice()]));
    let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
    let how = Written {
        compression: Some(CompressionType::LZ4_FRAME),
        ..WAYS[0]
    };
    let mut bytes = write(&batch, how);
    let magic = [0x04, 0x22, 0x4d, 0x18];
    let head = [&(value.len() as u64).to_le_bytes()[..], &magic].concat();
    let at = bytes.windows(12).position(|window| window == head);
    let at = at.unwrap() + 8;
    let frame = [&magic[..], &[0x60, 0x70, 0x73]].concat();
    bytes[at..at + 7].copy_from_slice(&frame);
    for block in 0..2000 {
        let at = at + 7 + 5 * block;
        bytes[at..at + 5].copy_from_slice(&[1, 0, 0, 0, 0]);
    }
    let wanted = schema(&[("x", DataType::Binary, true)]);
    let error = read(&bytes, &wanted, 64).unwrap_err().to_string();
    assert!(error.contains("more than it says"), "{error}");
}

#[test]
fn files_must_agree() {
    let one = |array: ArrayRef| {
        let batch = RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap();
        in_memory("test.arrow", write(&batch, WAYS[1]))
    };
    let ints = one(Arc::new(Int64Array::from(vec![1])));
    let cities: DictionaryArray<Int32Type> = vec!["a"].into_iter().collect();
    let (texts, views) = (
        one(Arc::new(cities)),
        one(Arc::new(StringViewArray::from(vec!["a"]))),
    );
    assert_eq!(
        infer(&[Arc::clone(&texts), views], Format::ArrowIpc).unwrap(),
        *schema(&[("x", DataType::Utf8, true)])
    );
    let error = infer(&[ints, texts], Format::ArrowIpc).unwrap_err();
    assert!(matches!(error, DecodeError::Disagreement { .. }), "{error}");
}
