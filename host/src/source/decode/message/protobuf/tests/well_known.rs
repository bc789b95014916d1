//! Timestamps, durations and wrappers, enums of both kinds, and messages in parts.

use arrow::datatypes::TimeUnit;

use super::*;

fn times() -> ProtobufType {
    let google = |name: &str, fields| FileDescriptorProto {
        name: Some(format!("{name}.proto")),
        package: Some("google.protobuf".to_owned()),
        message_type: vec![message(name, fields)],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    let seconds = || {
        vec![
            field("seconds", 1, Type::Int64, None),
            field("nanos", 2, Type::Int32, None),
        ]
    };
    let names = ["Timestamp", "Duration", "Int64Value", "StringValue"];
    let fields = (1..).zip(names).map(|(number, name)| {
        let of = format!(".google.protobuf.{name}");
        field(&name.to_lowercase(), number, Type::Message, Some(&of))
    });
    let file = FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        message_type: vec![message("T", fields.collect())],
        dependency: names.iter().map(|name| format!("{name}.proto")).collect(),
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    let set = FileDescriptorSet {
        file: vec![
            google("Timestamp", seconds()),
            google("Duration", seconds()),
            google("Int64Value", vec![field("value", 1, Type::Int64, None)]),
            google("StringValue", vec![field("value", 1, Type::String, None)]),
            file,
        ],
    };
    ProtobufType::parse("t.desc", &set.encode_to_vec(), "T").unwrap()
}

#[test]
fn well_known_types_are_what_they_stand_for() {
    let message = times();
    let inferred = message.infer();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let types: Vec<&DataType> = inferred
        .schema
        .fields()
        .iter()
        .map(|f| f.data_type())
        .collect();
    assert_eq!(
        types,
        [
            &utc,
            &DataType::Duration(TimeUnit::Microsecond),
            &DataType::Int64,
            &DataType::Utf8
        ]
    );
    let format = MessageFormat::Protobuf {
        message,
        framed: false,
    };
    let mut decoder = MessageDecoder::new(&format, &Arc::new(inferred.schema)).unwrap();
    let values: [&[u8]; 6] = [
        b"",
        b"\x0a\0\x12\0\x1a\0\x22\0",
        // 1 s and 1,999 ns; -1 s and -1,000 ns; wrapped values.
        b"\x0a\x05\x08\x01\x10\xcf\x0f\x12\x16\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x98\xf8\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x02\x08\x07\x22\x03\x0a\x01x",
        // In parts, which are put together.
        b"\x0a\x02\x08\x01\x0a\x03\x10\xe8\x07",
        // A point in time has no nanoseconds below zero; a duration no two signs.
        b"\x0a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x12\x0d\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ];
    let decoded = decode(&mut decoder, values);
    let rows: Vec<Value> = (0..4).map(|at| row(&decoded.rows, at)).collect();
    let of = |at: Value, span: Value, number: Value, text: Value| json!({"timestamp": at, "duration": span, "int64value": number, "stringvalue": text});
    assert_eq!(
        rows,
        [
            of(Value::Null, Value::Null, Value::Null, Value::Null),
            of(json!(0), json!(0), json!(0), json!("")),
            of(json!(1_000_001), json!(-1_000_001), json!(7), json!("x")),
            of(json!(1_000_001), Value::Null, Value::Null, Value::Null),
        ]
    );
    let codes: Vec<_> = decoded.rejects.iter().map(|reject| reject.code).collect();
    assert_eq!(codes, ["bad_value", "bad_value"]);
}

#[test]
fn numbers_without_names() {
    let wanted = Schema::new(vec![
        Field::new("kind", DataType::Utf8, true),
        Field::new("kinds", DataType::new_list(DataType::Utf8, true), true),
    ]);
    let wanted = Arc::new(wanted);
    // 7 has no name; 5 has.
    let value = b"\x80\x01\x05\x80\x01\x07\xa2\x02\x02\x07\x05";
    for (syntax, expected) in [
        ("proto3", json!({"kind": "7", "kinds": ["7", "POOL"]})),
        ("proto2", json!({"kind": "POOL", "kinds": ["POOL"]})),
    ] {
        let format = MessageFormat::Protobuf {
            message: ride(syntax),
            framed: false,
        };
        let mut decoder = MessageDecoder::new(&format, &wanted).unwrap();
        assert_eq!(row(&decode(&mut decoder, [value]).rows, 0), expected);
    }
}

#[test]
fn of_a_oneof_the_last_is_there_wanted_or_not() {
    let wanted = Schema::new(vec![
        Field::new("cash", DataType::Int64, true),
        Field::new(
            "voucher",
            DataType::Struct(vec![Field::new("x", DataType::Int32, true)].into()),
            true,
        ),
    ]);
    let format = MessageFormat::Protobuf {
        message: ride("proto3"),
        framed: false,
    };
    let mut decoder = MessageDecoder::new(&format, &Arc::new(wanted)).unwrap();
    let (cash, card, voucher) = (b"\xc0\x3e\x05", b"\xca\x3e\x01a", b"\xd2\x3e\x02\x08\x01");
    let values = [
        [&cash[..], voucher].concat(),
        [&voucher[..], cash].concat(),
        [&cash[..], card].concat(),
        [&voucher[..], cash, voucher].concat(),
    ];
    let decoded = decode(&mut decoder, &values);
    let rows: Vec<Value> = (0..4).map(|at| row(&decoded.rows, at)).collect();
    assert_eq!(
        rows,
        [
            json!({"cash": null, "voucher": {"x": 1}}),
            json!({"cash": 5, "voucher": null}),
            json!({"cash": null, "voucher": null}),
            json!({"cash": null, "voucher": {"x": 1}}),
        ]
    );
}
