//! Schemas that change, from a registry's stand-in.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::{Value, json};

use super::super::super::registry::testing::registry;
use super::super::super::testing::{decode, messages, row};
use super::super::super::{AvroSchema, AvroSchemas, MessageDecoder, MessageFormat};
use penstock_servers::SchemaRegistryStandIn;

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#)
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body].concat()
}

fn schema(fields: Vec<Field>) -> Arc<Schema> {
    Arc::new(Schema::new(fields))
}

#[test]
fn a_schema_may_add_remove_and_widen() {
    let server = SchemaRegistryStandIn::start().unwrap();
    let (io, registry) = registry(&server.url());
    let first = server.register("rides-value", &record(r#"{"name":"id","type":"int"},{"name":"fare","type":"float"},{"name":"note","type":"string"}"#));
    let wider = server.register("rides-value", &record(r#"{"name":"note","type":["null","bytes"]},{"name":"new","type":{"type":"map","values":"long"}},{"name":"id","type":"long"},{"name":"fare","type":"double"}"#));
    let shorter = server.register("rides-value", &record(r#"{"name":"id","type":"long"}"#));
    let without_id = server.register("rides-value", &record(r#"{"name":"fare","type":"double"}"#));
    let other_type = server.register(
        "rides-value",
        &record(r#"{"name":"id","type":"long"},{"name":"fare","type":["null","string"]}"#),
    );
    let no_record = server.register("rides-value", "\"string\"");
    let format = MessageFormat::Avro(AvroSchemas::Registry(registry));
    let wanted = schema(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("fare", DataType::Float64, true),
        Field::new("note", DataType::Utf8, true),
    ]);
    let mut decoder = MessageDecoder::new(&format, &wanted).unwrap();
    let values = [
        framed(first, b"\x02\0\0\0\x3f\x02a"),
        framed(
            wider,
            b"\x02\x02b\x01\x06\x02k\x04\0\x04\0\0\0\0\0\0\xe0\x3f",
        ),
        framed(shorter, b"\x06"),
        framed(without_id, b"\0\0\0\0\0\0\xe0\x3f"),
        framed(other_type, b"\x08\0"),
        framed(no_record, b"\x02a"),
        framed(17, b"\x02a"),
        framed(first, b"\x0a\0\0\0\x3f\x02c"),
    ];
    let url = server.url();
    for _ in 0..2 {
        let decoded = decode(&mut decoder, &values);
        let rows: Vec<Value> = (0..decoded.rows.num_rows())
            .map(|at| row(&decoded.rows, at))
            .collect();
        assert_eq!(
            rows,
            [
                json!({"id": 1, "fare": "0.5", "note": "a"}),
                json!({"id": 2, "fare": "0.5", "note": "b"}),
                json!({"id": 3, "fare": null, "note": null}),
                json!({"id": 5, "fare": "0.5", "note": "c"}),
            ]
        );
        let rejects = decoded
            .rejects
            .iter()
            .map(|r| (r.message, r.code, r.detail.clone()));
        let rejects: Vec<_> = rejects.collect();
        assert_eq!(rejects, [
            (3, "missing_value", "schema 4: column `id` is missing, but declared as not nullable".to_owned()),
            (4, "wrong_type", "schema 5: column `fare`: is union of null, string in the schema, which has no form as Float64".to_owned()),
            (5, "bad_schema", "schema 6 is string, and not a record".to_owned()),
            (6, "unknown_schema", format!("schema 17 is unknown to the registry at {url}")),
        ]);
    }
    // Each id is asked for once.
    assert_eq!(server.requests().len(), 7);
    drop(io);
}

#[test]
fn a_registry_that_is_down_rejects_nothing() {
    let server = SchemaRegistryStandIn::start().unwrap();
    let (io, registry) = registry(&server.url());
    let id = server.register("s", &record(r#"{"name":"id","type":"int"}"#));
    let format = MessageFormat::Avro(AvroSchemas::Registry(registry));
    let wanted = schema(vec![Field::new("id", DataType::Int64, false)]);
    let mut decoder = MessageDecoder::new(&format, &wanted).unwrap();
    let messages = messages([Some(framed(id, b"\x02")), Some(b"bad".to_vec())]);
    server.fail(3, 503);
    let error = decoder.decode(&messages, 0).unwrap_err();
    assert!(error.is_temporary());
    assert_eq!(
        error.to_string(),
        format!(
            "asking the schema registry at {} for schema 1: it answers 503 Service Unavailable; no record is lost: this waits until it answers",
            server.url()
        )
    );
    // One failure is not worth telling.
    server.fail(1, 0);
    let decoded = decoder.decode(&messages, 0).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (1, 1));
    // What is known needs no registry.
    let url = server.url();
    drop(server);
    assert_eq!(decoder.decode(&messages, 0).unwrap().rows.num_rows(), 1);
    let unknown = super::super::super::testing::messages([Some(framed(9, b""))]);
    let error = decoder.decode(&unknown, 0).unwrap_err();
    assert!(error.is_temporary(), "{error} {url}");
    drop(io);
}

#[test]
fn times_and_decimals_become_those_of_the_columns() {
    let avsc = record(concat!(
        r#"{"name":"ms","type":{"type":"long","logicalType":"timestamp-millis"}},"#,
        r#"{"name":"us","type":{"type":"long","logicalType":"timestamp-micros"}},"#,
        r#"{"name":"text","type":"string"},"#,
        r#"{"name":"time","type":{"type":"int","logicalType":"time-millis"}},"#,
        r#"{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":5,"scale":1}},"#,
        r#"{"name":"uuid","type":{"type":"string","logicalType":"uuid"}}"#
    ));
    let avro = Arc::new(AvroSchema::parse(&avsc).unwrap());
    let schemas = AvroSchemas::File {
        schema: avro,
        framed: false,
    };
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let wanted = schema(vec![
        Field::new("ms", utc(TimeUnit::Microsecond), true),
        Field::new("us", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("text", utc(TimeUnit::Microsecond), true),
        Field::new("time", DataType::Time64(TimeUnit::Microsecond), true),
        Field::new("price", DataType::Decimal128(6, 2), true),
        Field::new("uuid", DataType::Utf8, true),
    ]);
    let mut decoder = MessageDecoder::new(&MessageFormat::Avro(schemas), &wanted).unwrap();
    let values: [&[u8]; 4] = [
        b"\x02\xd1\x0f\x281970-01-01T00:00:01Z\x04\x02\x85\x02u",
        // 31 February.
        b"\x02\xd1\x0f\x281970-02-31T00:00:01Z\x04\x02\x85\x02u",
        // A time of day before midnight.
        b"\x02\xd1\x0f\x281970-01-01T00:00:01Z\x03\x02\x85\x02u",
        // 3276.7 has four digits before the point: fits; eight bytes of them do not.
        b"\x02\xd1\x0f\x281970-01-01T00:00:01Z\x04\x10\x7f\0\0\0\0\0\0\0\x02u",
    ];
    let decoded = decode(&mut decoder, values);
    assert_eq!(
        row(&decoded.rows, 0),
        json!({"ms": 1000, "us": -2, "text": 1_000_000, "time": 2000, "price": "-1230", "uuid": "u"})
    );
    let codes: Vec<_> = decoded.rejects.iter().map(|reject| reject.code).collect();
    assert_eq!(codes, ["bad_value", "out_of_range", "out_of_range"]);
}

#[test]
fn what_no_schema_can_give_is_said_at_once() {
    let error = |fields: &str, wanted: Field| {
        let avro = Arc::new(AvroSchema::parse(&record(fields)).unwrap());
        let schemas = AvroSchemas::File {
            schema: avro,
            framed: false,
        };
        let decoder = MessageDecoder::new(&MessageFormat::Avro(schemas), &schema(vec![wanted]));
        decoder.err().map(|error| error.to_string())
    };
    let local = r#"{"name":"at","type":{"type":"long","logicalType":"local-timestamp-micros"}}"#;
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        error(local, Field::new("at", utc, true)).as_deref(),
        Some(
            "the Avro schema does not fit what is wanted of it: column `at`: is local-timestamp-micros in the schema, which has no form as Timestamp(µs, \"UTC\")"
        )
    );
    let views = DataType::new_list(DataType::Utf8View, true);
    assert_eq!(
        error(local, Field::new("at", views, true)).as_deref(),
        Some(
            "column `at[]` is declared as Utf8View, which cannot be read from Avro; declare another type"
        )
    );
}
