//! Rows as messages of Arrow IPC, read by the decoder of messages.

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{Int32Type, Schema};

use super::*;
use crate::source::decode::message::{MessageDecoder, MessageFormat};
use crate::source::messages::Messages;

#[test]
fn each_arrow_message_is_read_by_itself() {
    let lists = [Some(vec![Some(1), None]), None, Some(vec![])];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("driver", Arc::new(Int64Array::from(vec![7, 8, 9]))),
        (
            "city",
            Arc::new(StringArray::from(vec![Some("Zürich"), None, Some("")])),
        ),
        (
            "share",
            Arc::new(Float64Array::from(vec![Some(0.5), None, Some(-0.0)])),
        ),
        (
            "last",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        ),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    // A piece of a batch, as validated rows may be.
    let rows = rows.slice(1, 2);
    let fields = rows.schema().fields().iter().cloned().collect::<Vec<_>>();
    let wanted = Arc::new(Schema::new(fields));
    let mut encoder = ArrowRows::new(rows.schema()).unwrap();
    let mut value = Vec::new();
    for row in [1, 0, 1] {
        let one = rows.slice(row, 1);
        encoder.encode(&one, &mut value).unwrap();
        let messages = Messages {
            split: 0,
            offsets: vec![5].into(),
            timestamps: vec![i64::MIN].into(),
            keys: BinaryArray::new_null(1),
            values: BinaryArray::from(vec![value.as_slice()]),
            headers: None,
        };
        let mut decoder = MessageDecoder::new(&MessageFormat::ArrowIpc(None), &wanted).unwrap();
        let read = decoder.decode(&messages, 0).unwrap();
        assert!(read.rejects.is_empty(), "{:?}", read.rejects);
        assert_eq!(read.rows.columns(), one.columns());
    }
}

#[test]
fn keys_are_the_texts_of_entities() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("city", Arc::new(StringArray::from(vec!["a,b", ""]))),
        ("driver", Arc::new(Int64Array::from(vec![7, -8]))),
        ("share", Arc::new(Float64Array::from(vec![0.5, 1.0]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let keys = Keys::of(&rows, 2).unwrap();
    assert_eq!([keys.get(0), keys.get(1)], [&b"a\\,b,7"[..], b",-8"]);
}
