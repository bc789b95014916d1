//! Messages of JSON against serde_json, and what is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{decode, float, messages, row};
use super::super::{Inferred, MessageDecoder, MessageFormat};

fn decoder() -> MessageDecoder {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("fare", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("stops", DataType::new_list(DataType::Int64, true), true),
    ]);
    MessageDecoder::new(&MessageFormat::Json, &Arc::new(schema)).unwrap()
}

#[test]
fn what_is_no_object_on_one_line_is_refused() {
    let cases: [(&[u8], &str, &str); 9] = [
        (b"", "malformed_json", "expected an object, found nothing"),
        (
            b" \n",
            "malformed_json",
            "expected an object, found nothing",
        ),
        (
            b"{\"id\":\n1}",
            "malformed_json",
            "the message has several lines; write one object on one line",
        ),
        (
            b"{\"id\":1}\n{\"id\":2}",
            "malformed_json",
            "the message has several lines; write one object on one line",
        ),
        (
            b"{\"id\":1} x",
            "malformed_json",
            "byte 10: expected the end of the line after the object, found `x`",
        ),
        (
            b"[1]",
            "malformed_json",
            "byte 1: expected an object: `{`, found `[`",
        ),
        (b"{\"id\":\"\xff\"}", "invalid_utf8", "byte 8: not UTF-8"),
        (
            b"{\"id\":\"1\"}",
            "wrong_type",
            "column `id`: expected int64, found the string \"1\"",
        ),
        (
            b"{}",
            "missing_value",
            "column `id` is missing, but declared as not nullable",
        ),
    ];
    let good: &[u8] = b"{\"id\": 7 , \"other\": [{}]}\r\n";
    let values = cases.iter().flat_map(|(value, ..)| [*value, good]);
    let decoded = decode(&mut decoder(), values);
    assert_eq!(decoded.rows.num_rows(), cases.len());
    for (reject, (value, code, detail)) in decoded.rejects.iter().zip(cases) {
        assert_eq!((reject.code, &*reject.detail), (code, detail));
        assert_eq!(reject.record, String::from_utf8_lossy(value));
        assert_eq!(reject.message, 2 * reject.before_row);
    }
}

#[test]
fn a_deletion_and_a_start_in_the_middle() {
    let values = [Some("{\"id\":1}"), None, Some("{\"id\":2}"), Some("{")];
    let decoded = decoder().decode(&messages(values), 1).unwrap();
    assert_eq!(&decoded.message_of_row[..], [2]);
    let codes: Vec<_> = decoded
        .rejects
        .iter()
        .map(|r| (r.message, r.code))
        .collect();
    assert_eq!(codes, [(1, "no_value"), (3, "malformed_json")]);
}

#[test]
fn columns_are_inferred() {
    let values: [&[u8]; 3] = [b"{\"a\":1}", b"no json", b"{\"a\":2.5,\"b\":[\"x\"]}\n"];
    let inferred = Inferred::of_json(values, &[]);
    let fields = inferred.schema.fields().iter();
    let fields: Vec<String> = fields
        .map(|f| format!("{}: {}", f.name(), f.data_type()))
        .collect();
    assert_eq!(fields.join(", "), "a: Float64, b: List(Utf8)");
}

fn message() -> impl Strategy<Value = Value> {
    let stops = proptest::collection::vec(any::<Option<i64>>(), 0..4);
    let fields = (
        any::<i64>(),
        any::<Option<i32>>(),
        any::<Option<String>>(),
        proptest::option::of(stops),
        any::<String>(),
    );
    fields.prop_map(|(id, fare, name, stops, other)| {
        let fare = fare.map(|fare| f64::from(fare) / 8.0);
        json!({"id": id, "fare": fare, "name": name, "stops": stops, "other": {"x": other}})
    })
}

proptest! {
    #[test]
    fn serde_json_agrees(
        values in proptest::collection::vec((message(), any::<bool>()), 0..20),
        damage in any::<prop::sample::Index>(),
    ) {
        let texts: Vec<Vec<u8>> = values.iter().map(|(value, damaged)| {
            let mut text = serde_json::to_vec(value).unwrap();
            if *damaged {
                text.truncate(damage.index(text.len()));
            }
            text
        }).collect();
        let decoded = decode(&mut decoder(), &texts);
        let good = values.iter().filter(|(_, damaged)| !damaged);
        prop_assert_eq!(decoded.rows.num_rows(), good.clone().count());
        for (at, (value, _)) in good.enumerate() {
            let mut expected = value.clone();
            let object = expected.as_object_mut().unwrap();
            object.remove("other");
            let fare = object["fare"].as_f64().map_or(Value::Null, float);
            object.insert("fare".to_owned(), fare);
            prop_assert_eq!(row(&decoded.rows, at), expected);
        }
    }

    #[test]
    fn any_bytes_are_rows_or_rejects(values in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
        decode(&mut decoder(), &values);
    }
}
