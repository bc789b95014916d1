//! What becomes of the messages of a split.

use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use proptest::prelude::*;

use super::*;

fn spec(disorder: i64) -> Arc<LiveSpec> {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = Schema::new(vec![
        Field::new("at", at, true),
        Field::new("who", DataType::Utf8, true),
        Field::new("offset", DataType::Int64, true),
    ]);
    Arc::new(LiveSpec {
        format: MessageFormat::Json,
        columns: Arc::new(columns),
        message_columns: vec![(1, MessageColumn::Key), (2, MessageColumn::Offset)],
        event_time: 0,
        arrival_time: None,
        max_future: Some(1_000),
        disorder,
        every_watermark: true,
        stop_on_reject: false,
    })
}

/// Messages from offset 10 on, with a gap after each; every one came in at time 2,000.
fn messages(values: &[(&[u8], &[u8])]) -> Messages {
    let count = values.len();
    Messages {
        split: 3,
        offsets: (0..count as i64).map(|n| 10 + 2 * n).collect(),
        timestamps: vec![2_000; count].into(),
        keys: BinaryArray::from_iter_values(values.iter().map(|(key, _)| *key)),
        values: BinaryArray::from_iter_values(values.iter().map(|(_, value)| *value)),
        headers: None,
    }
}

#[test]
fn each_message_ends_as_a_row_or_a_reject() {
    let messages = messages(&[
        (b"a", b"{\"at\": 100}"),
        (b"\xff", b"{\"at\": 200}"),
        (b"c", b"{\"at\": "),
        (b"d", b"{\"at\": null}"),
        (b"e", b"{\"at\": 9000}"),
        (b"f", b"{\"at\": 50}"),
    ]);
    let mut split = LiveSplit::new(&spec(10), SplitCursor::start(Position::Offset(10))).unwrap();
    let LiveBatch {
        batch,
        cursor,
        next,
    } = split.read(&messages, 0, None).unwrap();
    assert_eq!(next, 6);
    let offsets = batch.rows.column(2).as_primitive::<Int64Type>().values();
    assert_eq!(offsets[..], [10, 20]);
    assert_eq!(batch.origins.of(1).position, 20);
    assert_eq!(batch.watermarks.unwrap()[..], [90, 90]);
    let codes: Vec<_> = batch.rejects.iter().map(|it| it.code.as_str()).collect();
    let expected = [
        "invalid_utf8",
        "malformed_json",
        "null_event_time",
        "too_far_in_future",
    ];
    assert_eq!(codes, expected);
    assert!(batch.rejects.iter().all(|reject| reject.sequence == 1));
    let after = SplitCursor {
        position: Position::Offset(21),
        sequence: 2,
        greatest: 100,
        floor: i64::MIN,
        history: i64::MIN,
        began: None,
    };
    assert_eq!(cursor, after);
}

#[test]
fn where_time_went_on_while_nothing_came_it_stays() {
    let mut split = LiveSplit::new(&spec(40), SplitCursor::start(Position::Offset(0))).unwrap();
    assert!(!split.advance(i64::MIN), "nothing was seen yet");
    split
        .read(&messages(&[(b"a", b"{\"at\": 100}")]), 0, None)
        .unwrap();
    assert_eq!(split.watermark(), 60);
    assert!(split.advance(100) && !split.advance(100));
    let mut split = LiveSplit::new(&spec(40), split.cursor().clone()).unwrap();
    let read = split.read(
        &messages(&[(b"a", b"{\"at\": 90}"), (b"a", b"{\"at\": 150}")]),
        0,
        None,
    );
    assert_eq!(read.unwrap().batch.watermarks.unwrap()[..], [100, 110]);
}

proptest! {
    /// However messages are cut, and wherever a reader begins anew at a cursor, the same comes out.
    #[test]
    fn cuts_make_no_difference(
        times in prop::collection::vec(0_i64..5_000, 1..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let texts: Vec<String> = times.iter().map(|at| format!("{{\"at\": {at}}}")).collect();
        let values: Vec<(&[u8], &[u8])> =
            texts.iter().map(|text| (&b"k"[..], text.as_bytes())).collect();
        let messages = messages(&values);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(times.len() + 1)).collect();
        ends.push(times.len());
        ends.sort_unstable();
        let mut whole = LiveSplit::new(&spec(100), SplitCursor::start(Position::Offset(0))).unwrap();
        let whole = whole.read(&messages, 0, None).unwrap();
        let (mut rows, mut watermarks, mut first) = (Vec::new(), Vec::new(), 0);
        let mut cursor = SplitCursor::start(Position::Offset(0));
        for end in ends {
            let piece = messages.slice(first, end - first);
            first = end;
            let mut split = LiveSplit::new(&spec(100), cursor.clone()).unwrap();
            let read = split.read(&piece, 0, None).unwrap();
            prop_assert_eq!(read.batch.first_sequence, cursor.sequence);
            cursor = read.cursor;
            rows.push(read.batch.rows);
            watermarks.extend(read.batch.watermarks.unwrap().iter().copied());
        }
        let schema = whole.batch.rows.schema();
        let rows = arrow::compute::concat_batches(&schema, &rows).unwrap();
        prop_assert_eq!(rows, whole.batch.rows);
        prop_assert_eq!(&watermarks[..], &whole.batch.watermarks.unwrap()[..]);
        prop_assert_eq!(cursor, whole.cursor);
    }
}
