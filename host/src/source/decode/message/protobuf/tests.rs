//! Messages against prost-reflect, and what is refused.

mod well_known;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value as Proto,
};
use serde_json::{Value, json};

use super::super::testing::{decode, float, hex, row};
use super::super::{MessageDecoder, MessageError, MessageFormat};
use super::ProtobufType;

/// A field; `of` names the message or the enum that it is of.
fn field(name: &str, number: i32, kind: Type, of: Option<&str>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(ProtoLabel::Optional.into()),
        r#type: Some(kind.into()),
        type_name: of.map(str::to_owned),
        ..Default::default()
    }
}

fn repeated(field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto {
        label: Some(ProtoLabel::Repeated.into()),
        ..field
    }
}

fn of_oneof(field: FieldDescriptorProto, oneof: i32) -> FieldDescriptorProto {
    FieldDescriptorProto {
        oneof_index: Some(oneof),
        ..field
    }
}

fn oneof(name: &str) -> OneofDescriptorProto {
    OneofDescriptorProto {
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

fn message(name: &str, fields: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto {
        name: Some(name.to_owned()),
        field: fields,
        ..Default::default()
    }
}

fn kind_enum() -> EnumDescriptorProto {
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..Default::default()
    };
    EnumDescriptorProto {
        name: Some("Kind".to_owned()),
        value: vec![value("SOLO", 0), value("POOL", 5), value("LOST", -1)],
        ..Default::default()
    }
}

fn entry(name: &str, key: Type, value: FieldDescriptorProto) -> DescriptorProto {
    DescriptorProto {
        options: Some(MessageOptions {
            map_entry: Some(true),
            ..Default::default()
        }),
        ..message(name, vec![field("key", 1, key, None), value])
    }
}

/// A message with something of everything, in both syntaxes.
fn set(syntax: &str) -> Vec<u8> {
    let scalars = [
        Type::Double,
        Type::Float,
        Type::Int32,
        Type::Int64,
        Type::Uint32,
        Type::Uint64,
        Type::Sint32,
        Type::Sint64,
        Type::Fixed32,
        Type::Fixed64,
        Type::Sfixed32,
        Type::Sfixed64,
        Type::Bool,
        Type::String,
        Type::Bytes,
    ];
    let mut fields = Vec::new();
    for (number, kind) in (1..).zip(scalars) {
        let name = format!("{kind:?}").to_lowercase();
        fields.push(field(&name, number, kind, None));
        fields.push(repeated(field(
            &format!("{name}s"),
            number + 20,
            kind,
            None,
        )));
    }
    fields.push(field("kind", 16, Type::Enum, Some(".t.Kind")));
    fields.push(repeated(field("kinds", 36, Type::Enum, Some(".t.Kind"))));
    fields.push(field("stop", 17, Type::Message, Some(".t.Stop")));
    fields.push(repeated(field("stops", 37, Type::Message, Some(".t.Stop"))));
    fields.push(repeated(field(
        "tags",
        38,
        Type::Message,
        Some(".t.Ride.TagsEntry"),
    )));
    fields.push(repeated(field(
        "halts",
        39,
        Type::Message,
        Some(".t.Ride.HaltsEntry"),
    )));
    fields.push(of_oneof(field("cash", 1000, Type::Int64, None), 0));
    fields.push(of_oneof(field("card", 1001, Type::String, None), 0));
    fields.push(of_oneof(
        field("voucher", 1002, Type::Message, Some(".t.Stop")),
        0,
    ));
    let mut maybe = of_oneof(field("maybe", 1003, Type::Int32, None), 1);
    if syntax == "proto3" {
        maybe.proto3_optional = Some(true);
    }
    fields.push(maybe);
    let ride = DescriptorProto {
        nested_type: vec![
            entry(
                "TagsEntry",
                Type::String,
                field("value", 2, Type::Int64, None),
            ),
            entry(
                "HaltsEntry",
                Type::Int32,
                field("value", 2, Type::Message, Some(".t.Stop")),
            ),
        ],
        oneof_decl: vec![oneof("payment"), oneof("_maybe")],
        ..message("Ride", fields)
    };
    let stop = message(
        "Stop",
        vec![
            field("x", 1, Type::Int32, None),
            repeated(field("names", 2, Type::String, None)),
            field("inner", 3, Type::Message, Some(".t.Inner")),
        ],
    );
    let inner = message(
        "Inner",
        vec![
            field("y", 1, Type::Double, None),
            field("self", 2, Type::Message, Some(".t.Node")),
        ],
    );
    let node = message(
        "Node",
        vec![field("next", 1, Type::Message, Some(".t.Node"))],
    );
    let file = FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        package: Some("t".to_owned()),
        message_type: vec![stop, inner, ride, node],
        enum_type: vec![kind_enum()],
        syntax: Some(syntax.to_owned()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn ride(syntax: &str) -> ProtobufType {
    ProtobufType::parse("t.desc", &set(syntax), "t.Ride").unwrap()
}

/// The columns of the whole message, as far as it does not hold itself.
fn wanted() -> Arc<Schema> {
    let ride = ride("proto3");
    let inferred = ride.infer();
    let stop = DataType::Struct(
        vec![
            Field::new("x", DataType::Int32, true),
            Field::new("names", DataType::new_list(DataType::Utf8, true), true),
            Field::new(
                "inner",
                DataType::Struct(vec![Field::new("y", DataType::Float64, true)].into()),
                true,
            ),
        ]
        .into(),
    );
    let halt = DataType::Struct(
        vec![
            Field::new("key", DataType::Int32, false),
            Field::new("value", stop.clone(), true),
        ]
        .into(),
    );
    let fields = inferred.schema.fields().iter();
    let mut fields: Vec<Field> = fields.map(|field| field.as_ref().clone()).collect();
    for (name, data_type) in [
        ("stop", stop.clone()),
        ("stops", DataType::new_list(stop.clone(), true)),
        ("halts", DataType::new_list(halt, false)),
        ("voucher", stop),
    ] {
        assert!(
            inferred
                .left_out
                .iter()
                .any(|(left, why)| left == name && why == "t.Node holds itself")
        );
        fields.push(Field::new(name, data_type, true));
    }
    Arc::new(Schema::new(fields))
}

fn decoder(syntax: &str) -> MessageDecoder {
    let format = MessageFormat::Protobuf {
        message: ride(syntax),
        framed: false,
    };
    MessageDecoder::new(&format, &wanted()).unwrap()
}

/// What a message looks like in a row, by prost-reflect.
fn shown(message: &DynamicMessage, fields: &[Arc<Field>]) -> Value {
    let cells = fields.iter().map(|wanted| {
        let field = message
            .descriptor()
            .get_field_by_name(wanted.name())
            .unwrap();
        let absent = field.supports_presence() && !message.has_field(&field);
        let value = message.get_field(&field);
        let value = match absent {
            true => Value::Null,
            false => shown_value(&value, &field, wanted.data_type()),
        };
        (wanted.name().clone(), value)
    });
    Value::Object(cells.collect())
}

fn shown_value(value: &Proto, field: &FieldDescriptor, data_type: &DataType) -> Value {
    match (value, data_type) {
        (Proto::List(items), DataType::List(element)) => {
            let items = items.iter();
            items
                .map(|item| shown_value(item, field, element.data_type()))
                .collect()
        }
        (Proto::Map(entries), DataType::List(element)) => {
            let (Kind::Message(entry), DataType::Struct(parts)) =
                (field.kind(), element.data_type())
            else {
                panic!("a map has entries");
            };
            let of = entry.map_entry_value_field();
            let mut entries: Vec<Value> = entries
                .iter()
                .map(|(key, value)| {
                    let key = match key {
                        MapKey::String(key) => json!(key),
                        MapKey::I32(key) => json!(key),
                        other => panic!("{other:?}"),
                    };
                    json!({"key": key, "value": shown_value(value, &of, parts[1].data_type())})
                })
                .collect();
            entries.sort_by_key(Value::to_string);
            Value::Array(entries)
        }
        (Proto::Message(message), DataType::Struct(fields)) => shown(message, fields),
        (Proto::Bool(x), _) => json!(x),
        (Proto::I32(x), _) => json!(x),
        (Proto::I64(x), _) => json!(x),
        (Proto::U32(x), _) => json!(x),
        (Proto::U64(x), _) => json!(x),
        (Proto::F32(x), _) => float((*x).into()),
        (Proto::F64(x), _) => float(*x),
        (Proto::String(x), _) => json!(x),
        (Proto::Bytes(x), _) => hex(x),
        (Proto::EnumNumber(x), _) => {
            let Kind::Enum(of) = field.kind() else {
                panic!("a number of an enum");
            };
            json!(
                of.get_value(*x)
                    .map_or(x.to_string(), |value| value.name().to_owned())
            )
        }
        other => panic!("{other:?}"),
    }
}

/// A row, with maps in an order of their own: of a key that is there several times, the last.
fn row_of_maps(rows: &arrow::array::RecordBatch, at: usize) -> Value {
    let mut shown = row(rows, at);
    for map in ["tags", "halts"] {
        let entries = shown[map].as_array().unwrap().clone();
        let mut last: Vec<Value> = Vec::new();
        for entry in entries {
            last.retain(|earlier| earlier["key"] != entry["key"]);
            last.push(entry);
        }
        last.sort_by_key(Value::to_string);
        shown[map] = Value::Array(last);
    }
    shown
}

/// A field as it is written: of a number that may be known, with a value that may be its own.
fn written() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let stop = prop_oneof![
        Just(vec![]),
        any::<u8>().prop_map(|x| vec![8, x & 0x7f]),
        "[a-z]{0,3}".prop_map(|name| [&[18, name.len() as u8], name.as_bytes()].concat()),
        any::<f64>().prop_map(|y| [&[26, 9, 9], &y.to_le_bytes()[..]].concat()),
    ];
    let stop = proptest::collection::vec(stop, 0..3).prop_map(|parts| parts.concat());
    let bytes = prop_oneof![
        "[a-z]{0,5}".prop_map(String::into_bytes),
        stop.clone(),
        stop.prop_map(|stop| [&[8, 3, 18, stop.len() as u8], &stop[..]].concat()),
        proptest::collection::vec(0..128u8, 0..24),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    let number = prop_oneof![1..18u32, 21..40u32, 1000..1004u32, 1..2000u32];
    let varint = prop_oneof![
        any::<u64>(),
        0..10u64,
        Just(u64::MAX),
        (0..10i64).prop_map(|x| (-x).cast_unsigned()),
    ];
    (number, any::<bool>(), 0..100u8, varint, bytes).prop_map(
        |(number, own, wire, varint, bytes)| {
            let scalar = if number > 20 && number < 36 {
                number - 20
            } else {
                number
            };
            let own_type = match scalar {
                1 | 10 | 12 => 1,
                2 | 9 | 11 => 5,
                14 | 15 | 17 | 37..=39 | 1001 | 1002 => 2,
                _ => 0,
            };
            let packed = number > 20 && number < 37 && own;
            let wire_type = match wire {
                0..5 => u32::from(wire % 8),
                _ if packed => 2,
                _ => own_type,
            };
            let mut written = Vec::new();
            prost_reflect::prost::encoding::encode_varint(
                u64::from(number << 3 | wire_type),
                &mut written,
            );
            match wire_type {
                0 => prost_reflect::prost::encoding::encode_varint(varint, &mut written),
                1 => written.extend(varint.to_le_bytes()),
                5 => written.extend((varint as u32).to_le_bytes()),
                2 => {
                    written.push(bytes.len() as u8);
                    written.extend(bytes);
                }
                _ => {}
            }
            (number, written)
        },
    )
}

proptest! {
    /// Random fields in any order, repeated, in oneofs, of wrong types: the same is refused, the rest means the same.
    #[test]
    fn prost_reflect_agrees(
        fields in proptest::collection::vec(written(), 0..12),
        proto3 in any::<bool>(),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let syntax = if proto3 { "proto3" } else { "proto2" };
        let numbers: Vec<u32> = fields.iter().map(|(number, _)| *number).collect();
        // Of a map it does not look which wire type it is written with, the low three bits, and takes whatever comes for the
        // length of an entry.
        let is_no_entry = fields.iter().any(|(number, field)| [38, 39].contains(number) && field[0] & 7 != 2);
        let mut bytes = fields.into_iter().map(|(_, field)| field).collect::<Vec<_>>().concat();
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let decoded = decode(&mut decoder(syntax), [&[][..], &bytes, &[]]);
        let oracle = DynamicMessage::decode(ride(syntax).message, &bytes[..]);
        let reasons: Vec<_> = decoded.rejects.iter().map(|reject| &reject.detail).collect();
        match &oracle {
            Ok(_) if is_no_entry && !reasons.is_empty() => {}
            Ok(message) => {
                prop_assert_eq!(&reasons, &Vec::<&String>::new());
                // Numbers that are none of a closed enum's are kept there as if they were.
                if proto3 || !numbers.iter().any(|number| [16, 36].contains(number)) {
                    let expected = shown(message, wanted().fields());
                    prop_assert_eq!(row_of_maps(&decoded.rows, 1), expected);
                }
            }
            // It looks into what is not wanted here, and into what something else takes the place of later.
            Err(error) => {
                let singular = |number: &u32| if (1000..1003).contains(number) { 1000 } else { *number };
                let mut places: Vec<u32> = numbers.iter().map(singular).collect();
                places.sort_unstable();
                let replaced = places.windows(2).any(|pair| pair[0] == pair[1]);
                let not_wanted = error.to_string().contains("Node");
                prop_assert!(decoded.rejects.len() == 1 || replaced || not_wanted, "{error}");
            }
        }
        let empty = DynamicMessage::new(ride(syntax).message);
        let last = decoded.rows.num_rows() - 1;
        prop_assert_eq!(row(&decoded.rows, 0), shown(&empty, wanted().fields()));
        prop_assert_eq!(row(&decoded.rows, last), shown(&empty, wanted().fields()));
    }

    #[test]
    fn any_bytes_are_rows_or_rejects(values in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
        decode(&mut decoder("proto3"), &values);
    }
}

#[test]
fn what_a_type_cannot_give_is_said_at_once() {
    let error = |wanted: Field| {
        let format = MessageFormat::Protobuf {
            message: ride("proto3"),
            framed: false,
        };
        let wanted = Arc::new(Schema::new(vec![wanted]));
        MessageDecoder::new(&format, &wanted)
            .err()
            .map(|error| error.to_string())
    };
    let unfit = |what: &str| {
        Some(format!(
            "the Protobuf type does not fit what is wanted of it: {what}"
        ))
    };
    assert_eq!(error(Field::new("int64", DataType::Int8, true)), None);
    assert_eq!(
        error(Field::new("string", DataType::Int64, true)),
        unfit("column `string`: expected Int64, found string")
    );
    assert_eq!(
        error(Field::new("strings", DataType::Utf8, true)),
        unfit("column `strings`: expected Utf8, found repeated string")
    );
    let stop = |field: Field| DataType::new_list(DataType::Struct(vec![field].into()), true);
    assert_eq!(
        error(Field::new(
            "stops",
            stop(Field::new("z", DataType::Utf8, true)),
            true
        )),
        unfit("t.Ride has no field `stops.z`; it has x, names, inner")
    );
    assert_eq!(
        error(Field::new(
            "stops",
            stop(Field::new("x", DataType::Boolean, true)),
            true
        )),
        unfit("column `stops.x`: expected Boolean, found int32")
    );
    let missing = ProtobufType::parse("t.desc", &set("proto3"), "t.Rides").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "t.desc: has no message `t.Rides`; it has t.Stop, t.Inner, t.Ride, t.Node"
    );
    let none = ProtobufType::parse("t.desc", b"no descriptors", "t.Ride");
    assert!(matches!(none, Err(MessageError::BadSchemaFile { .. })));
}

#[test]
fn reasons_name_the_place() {
    let inner = DataType::Struct(vec![Field::new("x", DataType::Int8, true)].into());
    let wanted = Schema::new(vec![
        Field::new("stops", DataType::new_list(inner, true), true),
        Field::new("card", DataType::Utf8, true),
        Field::new("maybe", DataType::Int32, false),
    ]);
    let format = MessageFormat::Protobuf {
        message: ride("proto3"),
        framed: true,
    };
    let mut decoder = MessageDecoder::new(&format, &Arc::new(wanted)).unwrap();
    let cases: [(&[u8], &str, &str); 6] = [
        (
            b"\0\0\0\0\x01\0",
            "bad_framing",
            "the message is of type [0] of its file, and not of [2], which is the one that is read",
        ),
        (
            b"\0\0\0\0\x01\x02",
            "bad_framing",
            "byte 7: expected the place of the message's type in its file",
        ),
        (
            b"\0\0\0\0\x01\x02\x04",
            "missing_value",
            "column `maybe` is missing, but declared as not nullable",
        ),
        (
            b"\0\0\0\0\x01\x02\x04\xaa\x02\0\xaa\x02\x03\x08\x80\x01",
            "out_of_range",
            "column `stops[1].x`: 128 is out of the range of Int8",
        ),
        (
            b"\0\0\0\0\x01\x02\x04\xca\x3e\x01\xff\xd8\x3e\x01",
            "invalid_utf8",
            "column `card`: expected a text, found bytes that are not UTF-8 from byte 1 of them on",
        ),
        (
            b"\0\0\0\0\x01\x02\x04\xaa\x02\x02\x0a\0",
            "malformed_protobuf",
            "byte 11: expected an integer, as the field's type is written",
        ),
    ];
    let good: &[u8] = b"\0\0\0\0\x01\x02\x04\xaa\x02\0\xd8\x3e\x01";
    let decoded = decode(
        &mut decoder,
        cases.iter().flat_map(|(value, ..)| [*value, good]),
    );
    for (reject, (_, code, detail)) in decoded.rejects.iter().zip(cases) {
        assert_eq!((reject.code, &*reject.detail), (code, detail));
    }
    assert_eq!(decoded.rejects.len(), cases.len());
    assert_eq!(
        row(&decoded.rows, 5),
        json!({"stops": [{"x": 0}], "card": null, "maybe": 1})
    );
}
