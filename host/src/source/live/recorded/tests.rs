//! What was recorded comes out as the messages themselves would have.

use std::fs::{self, File};
use std::path::Path;

use arrow::array::{ArrayRef, Int32Array, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use proptest::prelude::*;
use serde_json::json;

use super::layout::{self, rejects_name, rows_name};
use super::*;
use crate::source::decode::message::{MessageDecoder, MessageFormat};
use crate::source::live::{LiveBatch, LiveSplit, MessageColumn, Position, SplitCursor};
use crate::source::messages::Messages;
use crate::source::recording::LocalFile;
use crate::source::{SourceReject, record_lines};
use crate::text::instant;

const PARTITION: u32 = 3;

fn body() -> Schema {
    let at = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Schema::new(vec![
        Field::new("at", at, true),
        Field::new("driver", DataType::Int64, false),
        Field::new("amount", DataType::Float64, true),
    ])
}

/// What a pipeline reads: without the amount, and perhaps with the messages' keys.
fn spec(with_key: bool) -> Arc<LiveSpec> {
    let body = body();
    let mut fields = vec![body.field(0).clone(), body.field(1).clone()];
    fields.push(Field::new("position", DataType::Int64, true));
    let mut message_columns = vec![(2, MessageColumn::Offset)];
    if with_key {
        fields.push(Field::new("who", DataType::Utf8, true));
        message_columns.push((3, MessageColumn::Key));
    }
    Arc::new(LiveSpec {
        format: MessageFormat::Json,
        columns: Arc::new(Schema::new(fields)),
        message_columns,
        event_time: 0,
        arrival_time: None,
        max_future: Some(1_000),
        disorder: 5,
        every_watermark: true,
        stop_on_reject: false,
    })
}

/// Messages with gaps between their offsets.
fn messages(values: &[(i64, Option<String>)]) -> Messages {
    let offsets = values.iter().scan(7, |next, (step, _)| {
        *next += step;
        Some(*next)
    });
    let keys = (0..values.len()).map(|number| (number % 3 > 0).then(|| format!("k{number}")));
    let time = |number| if number % 5 == 4 { i64::MIN } else { 2_000_000 };
    Messages {
        split: PARTITION,
        offsets: offsets.collect(),
        timestamps: (0..values.len()).map(time).collect(),
        keys: keys.map(|key| key.map(String::into_bytes)).collect(),
        values: values
            .iter()
            .map(|(_, value)| value.as_deref().map(str::as_bytes))
            .collect(),
        headers: None,
    }
}

/// Writes messages as `penstock record` does, in files of so many.
fn record(folder: &Path, messages: &Messages, files: usize, hashed: &str) -> RecordedPartition {
    let mut recorded = RecordedPartition::default();
    fs::create_dir_all(folder.join(layout::folder(PARTITION))).unwrap();
    let body = Arc::new(body());
    let mut first = 5;
    for start in (0..messages.len()).step_by(files) {
        let part = messages.slice(start, files.min(messages.len() - start));
        let next = part.offsets.last().unwrap() + 1;
        let mut decoder = MessageDecoder::new(&MessageFormat::Json, &body).unwrap();
        let decoded = decoder.decode(&part, 0).unwrap();
        let of_row = UInt32Array::new(decoded.message_of_row.clone(), None);
        let taken = |array: ArrayRef| take(&array, &of_row, None).unwrap();
        let times = part
            .timestamps
            .iter()
            .map(|time| Some(*time).filter(|it| *it != i64::MIN));
        let times: TimestampMicrosecondArray = times.collect();
        let more: [(&str, ArrayRef); 4] = [
            (
                layout::PARTITION,
                Arc::new(Int32Array::from_value(PARTITION as i32, of_row.len())),
            ),
            (
                layout::OFFSET,
                taken(Arc::new(Int64Array::new(part.offsets.clone(), None))),
            ),
            (
                layout::TIMESTAMP,
                taken(Arc::new(times.with_timezone("UTC"))),
            ),
            (layout::KEY, taken(Arc::new(part.keys.clone()))),
        ];
        let fields = body.fields().iter().map(|field| field.as_ref().clone());
        let fields = fields.chain(
            more.iter()
                .map(|(name, array)| Field::new(*name, array.data_type().clone(), true)),
        );
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = decoded.rows.columns().iter().cloned();
        let columns = columns.chain(more.iter().map(|(_, array)| Arc::clone(array)));
        let rows =
            arrow::array::RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        let path = folder.join(rows_name(PARTITION, first));
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema, None).unwrap();
        writer.write(&rows).unwrap();
        let description = json!({layout::HASHED: hashed, layout::SAMPLE: ""});
        for (name, value) in [
            (layout::NOTE_VERSION, layout::VERSION.to_string()),
            (layout::NOTE_NEXT, next.to_string()),
            (layout::NOTE_RECORDING, description.to_string()),
        ] {
            writer.append_key_value_metadata(KeyValue::new(name.to_owned(), value));
        }
        writer.close().unwrap();
        let mut lines = String::new();
        for reject in &decoded.rejects {
            let at = reject.message as usize;
            let mut line = json!({
                "partition": PARTITION, "offset": part.offsets[at], "code": reject.code,
                "detail": reject.detail, "record": reject.record,
            });
            if part.timestamps[at] != i64::MIN {
                line["timestamp"] = json!(instant(part.timestamps[at]));
            }
            lines.push_str(&format!("{line}\n"));
        }
        let mut names = vec![path];
        if !lines.is_empty() {
            names.push(folder.join(rejects_name(PARTITION, first)));
            fs::write(&names[1], lines).unwrap();
        }
        for path in names {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            recorded.add(&name, Arc::new(LocalFile::new(path)));
        }
        first = next;
    }
    recorded
}

/// What a split gave, without where it was cut.
#[derive(Debug, Default, PartialEq)]
struct Gave {
    rows: Vec<String>,
    times: Vec<i64>,
    watermarks: Vec<i64>,
    rejects: Vec<String>,
}

impl Gave {
    fn add(&mut self, read: &LiveBatch) {
        let batch = &read.batch;
        for (row, line) in (0..).zip(record_lines(&batch.rows)) {
            let sequence = batch.first_sequence + u64::from(row);
            let origin = batch.origins.of(row);
            self.rows.push(format!("{sequence} {origin:?} {line}"));
        }
        self.times.extend(batch.event_times.iter());
        self.watermarks.extend(batch.watermarks.iter().flatten());
        let rejects = batch
            .rejects
            .iter()
            .map(|reject: &SourceReject| format!("{reject:?}"));
        self.rejects.extend(rejects);
    }
}

fn value() -> impl Strategy<Value = (i64, Option<String>)> {
    let text = prop_oneof![
        6 => (0..3_000_000_i64, 0..9_i64).prop_map(|(at, driver)| {
            format!("{{\"at\":{at},\"driver\":{driver},\"amount\":1.5}}")
        }),
        1 => Just("{\"at\":1000,\"driver\":1,\"amount\":\"many\"}\n".to_owned()),
        1 => Just("{\"at\":1000,\"amount\":1}".to_owned()),
        1 => Just("{\"at\":null,\"driver\":2}".to_owned()),
        1 => Just("{\"at\":".to_owned()),
    ];
    (1..4_i64, prop::option::weighted(0.95, text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However it lies in files, wherever it is cut, and from wherever it is read.
    #[test]
    fn a_recording_gives_what_the_stream_gives(
        values in prop::collection::vec(value(), 1..60),
        files in 1..30_usize,
        from in 0..60_usize,
        cuts in prop::collection::btree_set(0..200_i64, 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(false);
        let messages = messages(&values);
        let recorded = record(folder.path(), &messages, files, "");
        prop_assert_eq!(recorded.first(), Some(5));
        let from = from % messages.len();
        let cursor = SplitCursor::start(Position::Offset(messages.offsets[from]));
        let wanted = messages.slice(from, messages.len() - from);

        let mut split = LiveSplit::new(&spec, cursor.clone()).unwrap();
        let mut expected = Gave::default();
        expected.add(&split.read(&wanted, 0, None).unwrap());
        let end = split.cursor().clone();

        let from = cursor.position.offset().unwrap();
        let mut split = LiveSplit::new(&spec, cursor).unwrap();
        let cuts: Vec<i64> = cuts.into_iter().collect();
        let mut reader = RecordedReader::new(&spec, PARTITION, &recorded, from, &cuts);
        let mut gave = Gave::default();
        while let Some(piece) = reader.next_piece().unwrap() {
            let Piece::Messages(messages) = piece else { panic!("there is no gap") };
            let offsets = &messages.messages.offsets;
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            prop_assert!(!cuts.iter().any(|cut| first < *cut && *cut <= last));
            gave.add(&split.read_recorded(&messages).unwrap());
        }
        prop_assert_eq!(gave, expected);
        prop_assert_eq!(split.cursor(), &end);
        prop_assert_eq!(Some(reader.position()), end.position.offset());
    }
}

#[test]
fn keys_and_times_come_out_of_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let row = |at: i64| Some(format!("{{\"at\":{at},\"driver\":1,\"amount\":0}}"));
    let wrong = "{\"at\":1,\"driver\":1,\"amount\":\"many\"}".to_owned();
    let values = [
        (1, row(1)),
        (1, row(2)),
        (2, Some(wrong)),
        (1, row(9_999_999)),
        (1, row(3)),
    ];
    let messages = messages(&values);
    let recorded = record(folder.path(), &messages, 3, "");
    let spec = spec(true);
    let mut reader = RecordedReader::new(&spec, PARTITION, &recorded, 5, &[]);
    let mut split = LiveSplit::new(&spec, SplitCursor::start(Position::Offset(5))).unwrap();
    let mut gave = Gave::default();
    while let Some(Piece::Messages(messages)) = reader.next_piece().unwrap() {
        gave.add(&split.read_recorded(&messages).unwrap());
    }
    let shown: Vec<&str> = gave
        .rows
        .iter()
        .map(|row| &row[row.find('{').unwrap()..])
        .collect();
    assert!(
        shown[0].contains("\"position\":8") && !shown[0].contains("\"k0\""),
        "{shown:?}"
    );
    assert!(
        shown[1].contains("\"position\":9,\"who\":\"k1\""),
        "{shown:?}"
    );
    // Of the message that was not decoded then the key is not known now, so it is no row.
    assert_eq!(gave.rows.len(), 3, "{shown:?}");
    assert!(gave.rejects[0].contains("wrong_type"), "{:?}", gave.rejects);
    // Another came before its time.
    assert!(gave.rejects[1].contains("Quarantine"), "{:?}", gave.rejects);
}

#[test]
fn what_a_recording_lacks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let row = Some("{\"at\":1,\"driver\":1,\"amount\":0}".to_owned());
    let messages = messages(&[(1, row.clone()), (1, row.clone()), (5, row)]);
    let whole = record(folder.path(), &messages, 1, "");
    let told = |recorded: &RecordedPartition, spec: &Arc<LiveSpec>| {
        recorded.check(spec, PARTITION).unwrap_err().to_string()
    };
    assert!(whole.check(&spec(true), PARTITION).is_ok());
    let hashed = record(&folder.path().join("hashed"), &messages, 9, "driver");
    assert!(told(&hashed, &spec(false)).contains("of column `driver` it has hashes only"));
    let key = record(&folder.path().join("key"), &messages, 9, "kafka_key");
    assert!(key.check(&spec(false), PARTITION).is_ok());
    assert!(told(&key, &spec(true)).contains("of column `kafka_key` it has hashes only"));
    let mut other = (*spec(false)).clone();
    other.columns = Arc::new(Schema::new(vec![
        body().field(0).clone(),
        Field::new("rider", DataType::Int64, true),
        Field::new("position", DataType::Int64, true),
    ]));
    assert!(told(&whole, &Arc::new(other)).contains("`rider`"));

    // A file in the middle that is not there is a gap.
    let mut gapped = whole.clone();
    let middle = *gapped.files.keys().nth(1).unwrap();
    gapped.files.remove(&middle);
    let mut reader = RecordedReader::new(&spec(false), PARTITION, &gapped, 5, &[]);
    assert!(matches!(reader.next_piece(), Ok(Some(Piece::Messages(_)))));
    let Ok(Some(Piece::Gap { from, to })) = reader.next_piece() else {
        panic!("there is a gap")
    };
    assert_eq!((from, to), (9, 10));
    assert!(matches!(reader.next_piece(), Ok(Some(Piece::Messages(_)))));
    assert!(matches!(reader.next_piece(), Ok(None)));
    assert_eq!(reader.position(), 15);
    // Another partition's file under this one's name.
    let mut foreign = RecordedReader::new(&spec(false), 4, &whole, 5, &[]);
    let error = foreign.next_piece().unwrap_err().to_string();
    assert!(error.contains("another partition"), "{error}");
}
