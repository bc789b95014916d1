//! What is chosen, what is refused, and what batches of messages become.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config::Environment;
use crate::source::decode::message::MessageDecoder;

const EVENT: &str = r#"[environments.local.events.ride]
kafka = { brokers = "a:9092", topic = "rides" }
event_time = "at"
schema = { at = "timestamp[us, UTC]", rider = "int64", price = "float64", k = "utf8" }
message_columns = { key = "k", headers = "h", offset = "o" }
"#;

fn stream(text: &str) -> DeclaredStream {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("penstock.toml"), text).unwrap();
    let environment = Environment::find_and_load(folder.path(), "local").unwrap();
    let io = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let event = &environment.events["ride"];
    DeclaredStream::of(&environment, event, "g", io.handle(), &clock).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn columns(layout: &Layout) -> Vec<&str> {
    layout
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect()
}

fn key() -> Option<HashKey> {
    HashKey::new(b"0123456789abcdef")
}

#[test]
fn all_columns_are_recorded_unless_some_are_held_back() {
    let stream = stream(EVENT);
    let layout = |choice: &Choice| Layout::new(&stream, choice).unwrap();
    let all = layout(&Choice::default());
    let own = ["kafka_partition", "kafka_offset", "kafka_timestamp"];
    assert_eq!(
        columns(&all),
        [
            &["at", "rider", "price", "k", "h", "o"][..],
            &own,
            &["kafka_key"]
        ]
        .concat()
    );
    assert!(!all.holds_back() && all.wants_headers());

    // Keys and headers may hold what is to be left out.
    let dropped = layout(&Choice {
        drop: names(&["price"]),
        ..Choice::default()
    });
    assert_eq!(
        columns(&dropped),
        [&["at", "rider", "o"][..], &own].concat()
    );
    assert!(dropped.holds_back() && !dropped.wants_headers());
    assert_eq!(dropped.body().fields().len(), 2);

    let hashed = layout(&Choice {
        columns: Some(names(&["at", "h"])),
        hash: names(&["rider", "kafka_key"]),
        key: key(),
        ..Choice::default()
    });
    assert_eq!(
        columns(&hashed),
        [&["at", "rider", "h"][..], &own, &["kafka_key"]].concat()
    );
    for name in ["rider", "kafka_key"] {
        assert_eq!(
            hashed.schema().field_with_name(name).unwrap().data_type(),
            &DataType::Utf8
        );
    }

    // What the sample is drawn by is decoded, and not recorded.
    let sampled = layout(&Choice {
        columns: Some(names(&["at"])),
        sample: Some(Sample {
            share: 0.5,
            by: "rider".to_owned(),
        }),
        ..Choice::default()
    });
    assert_eq!(
        (columns(&sampled).len(), sampled.body().fields().len()),
        (4, 2)
    );
    assert_ne!(sampled.description(), all.description());
}

#[test]
fn an_event_may_call_its_message_columns_as_recordings_do() {
    let same = EVENT
        .replace("offset = \"o\"", "offset = \"kafka_offset\"")
        .replace("k = \"utf8\"", "kafka_key = \"utf8\"");
    let same = same.replace("key = \"k\"", "key = \"kafka_key\"");
    let stream_of = stream;
    let layout = Layout::new(&stream_of(&same), &Choice::default()).unwrap();
    assert_eq!(
        columns(&layout),
        [
            "at",
            "rider",
            "price",
            "kafka_key",
            "h",
            "kafka_offset",
            "kafka_partition",
            "kafka_timestamp"
        ]
    );
    let other = EVENT.replace("offset = \"o\"", "partition = \"kafka_offset\"");
    let error = Layout::new(&stream_of(&other), &Choice::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`kafka_offset`, which every recording has with another meaning"),
        "{error}"
    );
}

#[test]
fn choices_that_make_no_sense_are_refused() {
    let stream = stream(EVENT);
    let refused = |choice: Choice| Layout::new(&stream, &choice).unwrap_err().to_string();
    let base = Choice::default;
    let cases = [
        (
            Choice {
                drop: names(&["ridr"]),
                ..base()
            },
            "no column `ridr`; its columns are at, rider",
        ),
        (
            Choice {
                drop: names(&["kafka_offset"]),
                ..base()
            },
            "`kafka_offset` cannot be left out",
        ),
        (
            Choice {
                hash: names(&["rider"]),
                ..base()
            },
            "without a key, whoever knows how the values look",
        ),
        (
            Choice {
                key: key(),
                ..base()
            },
            "no column is to be hashed",
        ),
        (
            Choice {
                hash: names(&["price"]),
                key: key(),
                ..base()
            },
            "`price` is float64, of which no hash is taken",
        ),
        (
            Choice {
                hash: names(&["rider"]),
                drop: names(&["rider"]),
                key: key(),
                ..base()
            },
            "to be recorded and to be left out",
        ),
        (
            Choice {
                sample: Some(Sample {
                    share: 0.1,
                    by: "price".to_owned(),
                }),
                ..base()
            },
            "`price` is float64",
        ),
    ];
    for (choice, told) in cases {
        let error = refused(choice);
        assert!(error.contains(told), "{error}");
    }
    let duration = EVENT.replace("price = \"float64\"", "price = \"struct{d: duration[ms]}\"");
    if let Err(error) = Layout::new(&self::stream(&duration), &Choice::default()) {
        assert!(
            error.to_string().contains("which Parquet has no form for"),
            "{error}"
        );
    }
}

/// Messages at the offsets 10, 11, … with these keys and values.
fn messages(rows: &[(Option<&[u8]>, Option<&str>)]) -> Messages {
    let offsets: Vec<i64> = (10..).take(rows.len()).collect();
    let times: Vec<i64> = (0..rows.len() as i64)
        .map(|at| if at == 0 { i64::MIN } else { at })
        .collect();
    Messages {
        split: 3,
        offsets: offsets.into(),
        timestamps: times.into(),
        keys: rows.iter().map(|(key, _)| *key).collect(),
        values: rows
            .iter()
            .map(|(_, value)| value.map(str::as_bytes))
            .collect(),
        headers: None,
    }
}

#[test]
fn every_message_has_a_fate_and_rows_say_where_they_come_from() {
    let text = EVENT.replace(", headers = \"h\"", "");
    let stream = stream(&text);
    let sample = Sample {
        share: 0.5,
        by: "rider".to_owned(),
    };
    // Riders in and out of the sample, by the sample itself.
    let riders: Vec<i64> = (0..64).collect();
    let all: ArrayRef = Arc::new(Int64Array::from(riders.clone()));
    let chosen = sample.of(&all);
    let of = |wanted: bool| {
        riders
            .iter()
            .zip(&chosen)
            .find(|(_, chosen)| **chosen == wanted)
            .map(|(rider, _)| *rider)
    };
    let (inside, outside) = (of(true).unwrap(), of(false).unwrap());
    let value =
        |rider: i64| format!("{{\"at\":\"1970-01-01T00:00:01Z\",\"rider\":{rider},\"price\":1.5}}");
    let (inside_text, outside_text) = (value(inside), value(outside));
    let batch = messages(&[
        (Some(b"a"), Some(&inside_text)),
        (None, Some(&outside_text)),
        (Some(b"c"), Some("{")),
        (Some(b"\xff"), Some(&inside_text)),
        (Some(b"e"), None),
        (None, Some(&inside_text)),
    ]);
    let layout = Layout::new(
        &stream,
        &Choice {
            sample: Some(sample),
            ..Choice::default()
        },
    )
    .unwrap();
    let mut decoder = MessageDecoder::new(&stream.format, layout.body()).unwrap();
    let decoded = decoder.decode(&batch, 0).unwrap();
    let laid = layout.lay(&batch, 0, &decoded).unwrap();
    use Fate::{Rejected, SampledOut, Written};
    assert_eq!(
        laid.fates,
        [Written, SampledOut, Rejected, Rejected, Rejected, Written]
    );
    assert_eq!(laid.bad_keys, [3]);
    let rows = &laid.rows;
    let column = |name: &str| rows.column_by_name(name).unwrap();
    assert_eq!(rows.num_rows(), 2);
    assert_eq!(
        column("kafka_offset").as_primitive::<Int64Type>().values(),
        &[10, 15]
    );
    assert_eq!(column("o").as_ref(), column("kafka_offset").as_ref());
    assert_eq!(
        column("kafka_partition")
            .as_primitive::<Int32Type>()
            .values(),
        &[3, 3]
    );
    let times = column("kafka_timestamp").as_primitive::<TimestampMicrosecondType>();
    assert!(times.is_null(0) && times.value(1) == 5);
    assert_eq!(
        column("k").as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some("a"), None]
    );
    assert_eq!(
        column("rider").as_primitive::<Int64Type>().values(),
        &[inside, inside]
    );

    // The rest of a batch, of which the beginning was taken before.
    let decoded = decoder.decode(&batch, 4).unwrap();
    let laid = layout.lay(&batch, 4, &decoded).unwrap();
    assert_eq!(
        (laid.fates, laid.rows.num_rows()),
        (vec![Rejected, Written], 1)
    );
}
