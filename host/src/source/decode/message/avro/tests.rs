//! Records against apache-avro, schemas that change, and what is refused.

mod evolution;

use std::sync::Arc;

use apache_avro::types::Value as Avro;
use apache_avro::{Schema as Apache, from_avro_datum, to_avro_datum};
use arrow::datatypes::Schema;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{decode, float, hex, row};
use super::super::{MessageDecoder, MessageFormat};
use super::{AvroSchema, AvroSchemas};

const RIDE: &str = r#"{"type": "record", "name": "Ride", "namespace": "rides", "fields": [
    {"name": "skipped", "type": {"type": "array", "items": ["null", "string", {"type": "map", "values": "bytes"}]}},
    {"name": "flag", "type": "boolean"},
    {"name": "int", "type": "int"},
    {"name": "long", "type": ["null", "long"]},
    {"name": "float", "type": "float"},
    {"name": "double", "type": ["double", "null"]},
    {"name": "text", "type": "string"},
    {"name": "bytes", "type": "bytes"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["SOLO", "POOL", "OTHER"]}},
    {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
    {"name": "skipped_too", "type": ["null", "Kind", "Four", "double"]},
    {"name": "either", "type": ["null", "int", "long"]},
    {"name": "stops", "type": {"type": "array", "items": ["null", {"type": "record", "name": "Stop", "fields": [
        {"name": "x", "type": "int"},
        {"name": "names", "type": {"type": "array", "items": "string"}},
        {"name": "kind", "type": "Kind"}
    ]}]}},
    {"name": "tags", "type": {"type": "map", "values": "long"}},
    {"name": "stop", "type": ["null", "Stop"]}
]}"#;

fn wanted(schema: &AvroSchema) -> Arc<Schema> {
    let all = schema.infer().unwrap();
    assert_eq!(all.left_out, []);
    let fields = all.schema.fields().iter();
    let fields: Vec<_> = fields
        .filter(|f| !f.name().starts_with("skipped"))
        .cloned()
        .collect();
    Arc::new(Schema::new(fields))
}

fn without_skipped() -> AvroSchema {
    // What nobody wants has a type here that no column has.
    AvroSchema::parse(
        &RIDE
            .replace(
                r#"["null", "string", {"type": "map", "values": "bytes"}]"#,
                "\"int\"",
            )
            .replace(r#"["null", "Kind", "Four", "double"]"#, "\"int\""),
    )
    .unwrap()
}

fn decoder() -> MessageDecoder {
    let schemas = AvroSchemas::File {
        schema: Arc::new(AvroSchema::parse(RIDE).unwrap()),
        framed: false,
    };
    MessageDecoder::new(&MessageFormat::Avro(schemas), &wanted(&without_skipped())).unwrap()
}

fn stop() -> impl Strategy<Value = Avro> {
    let names = proptest::collection::vec(any::<String>().prop_map(Avro::String), 0..3);
    (any::<i32>(), names, kind()).prop_map(|(x, names, kind)| {
        Avro::Record(vec![
            ("x".to_owned(), Avro::Int(x)),
            ("names".to_owned(), Avro::Array(names)),
            ("kind".to_owned(), kind),
        ])
    })
}

fn kind() -> impl Strategy<Value = Avro> {
    const SYMBOLS: [(u32, &str); 3] = [(0, "SOLO"), (1, "POOL"), (2, "OTHER")];
    proptest::sample::select(&SYMBOLS[..]).prop_map(|(at, name)| Avro::Enum(at, name.to_owned()))
}

/// A branch of a union.
fn branch(at: u32, value: Avro) -> Avro {
    Avro::Union(at, Box::new(value))
}

fn ride() -> impl Strategy<Value = Avro> {
    let stop_or_null = || {
        proptest::option::of(stop())
            .prop_map(|stop| stop.map_or(branch(0, Avro::Null), |stop| branch(1, stop)))
    };
    let skipped = prop_oneof![
        Just(branch(0, Avro::Null)),
        any::<String>().prop_map(|s| branch(1, Avro::String(s))),
        any::<Vec<u8>>()
            .prop_map(|b| { branch(2, Avro::Map([("k".to_owned(), Avro::Bytes(b))].into())) }),
    ];
    let either = prop_oneof![
        Just(branch(0, Avro::Null)),
        any::<i32>().prop_map(|x| branch(1, Avro::Int(x))),
        any::<i64>().prop_map(|x| branch(2, Avro::Long(x))),
    ];
    let tags =
        proptest::collection::hash_map(any::<String>(), any::<i64>().prop_map(Avro::Long), 0..2);
    let plain = (
        any::<bool>(),
        any::<i32>(),
        any::<Option<i64>>(),
        any::<f32>(),
        any::<Option<f64>>(),
    );
    let long = (
        any::<String>(),
        any::<Vec<u8>>(),
        any::<i64>(),
        any::<i32>(),
        any::<[u8; 4]>(),
    );
    let lists = (
        proptest::collection::vec(skipped, 0..3),
        proptest::collection::vec(stop_or_null(), 0..3),
        tags,
        stop_or_null(),
        kind(),
        either,
    );
    (plain, long, lists).prop_map(
        |((flag, int, long, float, double), (text, bytes, at, day, fixed), lists)| {
            let (skipped, stops, tags, stop, kind, either) = lists;
            let too = branch(2, Avro::Fixed(4, fixed.to_vec()));
            let fields = [
                ("skipped", Avro::Array(skipped)),
                ("flag", Avro::Boolean(flag)),
                ("int", Avro::Int(int)),
                (
                    "long",
                    long.map_or(branch(0, Avro::Null), |x| branch(1, Avro::Long(x))),
                ),
                ("float", Avro::Float(float)),
                (
                    "double",
                    double.map_or(branch(1, Avro::Null), |x| branch(0, Avro::Double(x))),
                ),
                ("text", Avro::String(text)),
                ("bytes", Avro::Bytes(bytes)),
                ("at", Avro::TimestampMicros(at)),
                ("day", Avro::Date(day)),
                ("kind", kind),
                ("fixed", Avro::Fixed(4, fixed.to_vec())),
                ("skipped_too", too),
                ("either", either),
                ("stops", Avro::Array(stops)),
                ("tags", Avro::Map(tags)),
                ("stop", stop),
            ];
            Avro::Record(
                fields
                    .map(|(name, value)| (name.to_owned(), value))
                    .to_vec(),
            )
        },
    )
}

/// What a value looks like in a row.
fn shown(value: &Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(x) => json!(x),
        Avro::Int(x) | Avro::Date(x) => json!(x),
        Avro::Long(x) | Avro::TimestampMicros(x) => json!(x),
        Avro::Float(x) => float((*x).into()),
        Avro::Double(x) => float(*x),
        Avro::Bytes(x) | Avro::Fixed(_, x) => hex(x),
        Avro::String(x) | Avro::Enum(_, x) => json!(x),
        Avro::Union(_, x) => shown(x),
        Avro::Array(x) => x.iter().map(shown).collect(),
        Avro::Map(x) => x
            .iter()
            .map(|(key, value)| json!({"key": key, "value": shown(value)}))
            .collect(),
        Avro::Record(x) => x
            .iter()
            .filter(|(name, _)| !name.starts_with("skipped"))
            .map(|(name, value)| (name.clone(), shown(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn apache_avro_agrees(rides in proptest::collection::vec(ride(), 1..12)) {
        let schema = Apache::parse_str(RIDE).unwrap();
        let written: Vec<Vec<u8>> = rides
            .iter()
            .map(|ride| to_avro_datum(&schema, ride.clone()).unwrap())
            .collect();
        let decoded = decode(&mut decoder(), &written);
        prop_assert_eq!(&decoded.rejects, &[]);
        for (at, ride) in rides.iter().enumerate() {
            prop_assert_eq!(row(&decoded.rows, at), shown(ride));
        }
    }

    /// What is taken of damaged records is what apache-avro takes them for; and their neighbours stay whole.
    #[test]
    fn damage_stays_where_it_is(
        (good, ride) in (ride(), ride()),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let schema = Apache::parse_str(RIDE).unwrap();
        let good_bytes = to_avro_datum(&schema, good.clone()).unwrap();
        let mut damaged = to_avro_datum(&schema, ride).unwrap();
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        let decoded = decode(&mut decoder(), [&good_bytes, &damaged, &good_bytes]);
        let last = decoded.rows.num_rows() - 1;
        prop_assert_eq!(row(&decoded.rows, 0), shown(&good));
        prop_assert_eq!(row(&decoded.rows, last), shown(&good));
        if decoded.rejects.is_empty() {
            let mut rest = &damaged[..];
            // It checks the texts that nobody wants as well, and knows no blocks with their sizes inside others.
            if let Ok(value) = from_avro_datum(&schema, &mut rest, None) {
                prop_assert_eq!(row(&decoded.rows, 1), shown(&value));
                prop_assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_are_rows_or_rejects(values in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
        decode(&mut decoder(), &values);
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"a","type":["null","long"]},
        {"name":"n","type":{"type":"array","items":"null"}},
        {"name":"s","type":"string"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}}]}"#;
    let schema = Arc::new(AvroSchema::parse(schema).unwrap());
    let fields = arrow::datatypes::Fields::from(vec![
        arrow::datatypes::Field::new("a", arrow::datatypes::DataType::Int8, false),
        arrow::datatypes::Field::new("s", arrow::datatypes::DataType::Utf8, true),
        arrow::datatypes::Field::new("e", arrow::datatypes::DataType::Utf8, true),
    ]);
    let schemas = AvroSchemas::File {
        schema,
        framed: true,
    };
    let format = MessageFormat::Avro(schemas);
    let mut decoder = MessageDecoder::new(&format, &Arc::new(Schema::new(fields))).unwrap();
    let cases: [(&[u8], &str, &str); 11] = [
        (
            b"",
            "bad_framing",
            "expected a zero byte and the four bytes of a schema's id, found nothing",
        ),
        (
            b"{}",
            "bad_framing",
            "expected a zero byte and the four bytes of a schema's id, found `{`: is it JSON?",
        ),
        (
            b"\0\0\0\0",
            "bad_framing",
            "expected a zero byte and the four bytes of a schema's id, found 4 bytes",
        ),
        (
            b"\0\0\0\0\x01",
            "malformed_avro",
            "byte 6: expected an integer of at most 64 bits",
        ),
        (
            b"\0\0\0\0\x01\x04",
            "malformed_avro",
            "byte 6: expected the number of a branch of a union",
        ),
        (
            b"\0\0\0\0\x01\0\0\x02x\0",
            "missing_value",
            "column `a` is null, but declared as not nullable",
        ),
        (
            b"\0\0\0\0\x01\x02\x80\x02\0\x02x\0",
            "out_of_range",
            "column `a`: 128 is out of the range of Int8",
        ),
        // 2^28 elements in five bytes.
        (
            b"\0\0\0\0\x01\x02\x02\x80\x80\x80\x80\x02\0\x02x\0",
            "malformed_avro",
            "byte 8: expected no more elements than the message has bytes for",
        ),
        (
            b"\0\0\0\0\x01\x02\x02\0\x02\xff\0",
            "invalid_utf8",
            "column `s`: expected a text, found bytes that are not UTF-8 from byte 1 of them on",
        ),
        (
            b"\0\0\0\0\x01\x02\x02\0\x02x\x02",
            "malformed_avro",
            "byte 11: expected the number of a symbol of an enum",
        ),
        (
            b"\0\0\0\0\x01\x02\x02\0\x02x\0\0",
            "malformed_avro",
            "byte 12: expected the end of the message after its record",
        ),
    ];
    let good: &[u8] = b"\0\0\0\0\x01\x02\x02\x06\0\x02x\0";
    let decoded = decode(
        &mut decoder,
        cases.iter().flat_map(|(value, ..)| [*value, good]),
    );
    assert_eq!(decoded.rows.num_rows(), cases.len());
    assert_eq!(
        row(&decoded.rows, 10),
        json!({"a": null, "s": "x", "e": "X"})
            .as_object()
            .map(|o| {
                let mut o = o.clone();
                o.insert("a".to_owned(), json!(1));
                Value::Object(o)
            })
            .unwrap()
    );
    for (reject, (_, code, detail)) in decoded.rejects.iter().zip(cases) {
        assert_eq!((reject.code, &*reject.detail), (code, detail));
    }
    assert_eq!(decoded.rejects[3].record, "AAAAAAE=");
}
