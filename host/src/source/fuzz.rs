//! Files and messages of every format.

use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;

use crate::fuzz::run;
use crate::source::decode::message::{
    AvroSchema, AvroSchemas, MessageDecoder, MessageFormat, ProtobufType,
};
use crate::source::decode::{self, Format};
use crate::source::messages::Messages;
use crate::source::recording::Recording;

/// A file that is nowhere.
#[derive(Debug)]
struct InMemory(Bytes);

impl Recording for InMemory {
    fn name(&self) -> String {
        "fuzz".into()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(length);
        match end <= self.0.len() {
            true => Ok(self.0.slice(start..end)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn schema() -> SchemaRef {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    Arc::new(Schema::new(vec![
        Field::new(
            "at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("key", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("price", DataType::Decimal128(12, 2), true),
        Field::new("stops", list, true),
    ]))
}

/// The columns that binary formats have here.
fn plain() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn rows() -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MIN)])),
        Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None])),
        Arc::new(StringArray::from(vec![Some("zürich"), None, Some("")])),
    ];
    RecordBatch::try_new(plain(), columns).unwrap()
}

/// Whatever the file is: its columns are guessed, and it is read to its end or to an error.
fn read(bytes: &[u8], format: Format, wanted: &SchemaRef) {
    let recording: Arc<dyn Recording> = Arc::new(InMemory(Bytes::copy_from_slice(bytes)));
    let inferred = decode::infer(&[Arc::clone(&recording)], format);
    let mut schemas = vec![Arc::clone(wanted)];
    schemas.extend(inferred.map(Arc::new));
    for schema in schemas {
        let Ok(mut reader) = decode::open(&recording, format, &schema, 16) else {
            continue;
        };
        while let Ok(Some(batch)) = reader.next_batch() {
            assert_eq!(batch.rows.schema().fields(), schema.fields());
            for column in batch.rows.columns() {
                column
                    .to_data()
                    .validate_full()
                    .expect("decoders check what they give");
            }
        }
    }
}

const NDJSON: [&str; 4] = [
    "{\"at\":\"2026-01-01T00:00:00Z\",\"key\":1,\"amount\":2.5,\"name\":\"a\\u00e9\\ud83d\\ude00\",\"flag\":true,\"price\":\"12.34\",\"stops\":[1,null,3]}\n",
    "{\"key\":-9223372036854775808,\"amount\":1e308,\"name\":null}\r\n\n{\"nested\":{\"a\":[{\"b\":[[]]}]},\"key\":2}",
    "{\"at\":1767225600000000,\"key\":\"7\",\"amount\":-0.0}\n[1]\n\"text\"\n{\"key\":1,\"key\":2}\n",
    "{\"price\":99999999999999999999.999,\"stops\":[],\"name\":\"\\u0000\\\"\\\\\"}",
];

#[test]
fn fuzz_ndjson() {
    let seeds = NDJSON.iter().map(|text| text.as_bytes().to_vec()).collect();
    run("ndjson", seeds, |input| {
        read(input, Format::Ndjson, &schema())
    });
}

#[test]
fn fuzz_csv() {
    let seeds = [
        "at,key,amount,name,flag,price,stops\n2026-01-01T00:00:00Z,1,2.5,\"a \"\"b\"\"\",true,12.34,\n",
        "key;amount\r\n1;2\r\n\"3\";\"\n\"\r\n",
        "\u{feff}name,key\nx,1,2\ny\n,\n\"unclosed,1\n",
    ];
    let seeds = seeds.iter().map(|text| text.as_bytes().to_vec()).collect();
    run("csv", seeds, |input| read(input, Format::Csv, &schema()));
}

fn ipc_stream() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut bytes, &plain()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

#[test]
fn fuzz_arrow_ipc() {
    let mut file = Vec::new();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(&mut file, &plain()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    drop(writer);
    run("arrow_ipc", vec![file, ipc_stream()], |input| {
        read(input, Format::ArrowIpc, &plain());
    });
}

#[test]
fn fuzz_parquet() {
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, plain(), None).unwrap();
    writer.write(&rows()).unwrap();
    writer.close().unwrap();
    run("parquet", vec![file], |input| {
        read(input, Format::Parquet, &plain())
    });
}

/// A message between two that are good in no format.
fn message(value: &[u8]) -> Messages {
    let values: BinaryArray = [Some(value), None, Some(b"".as_slice())]
        .into_iter()
        .collect();
    Messages {
        split: 0,
        offsets: (0..3).collect(),
        timestamps: vec![i64::MIN; 3].into(),
        keys: BinaryArray::new_null(3),
        values,
        headers: None,
    }
}

/// Every message became rows, or was refused, or has no rows.
fn decode_message(format: &MessageFormat, wanted: &SchemaRef, value: &[u8]) {
    let mut decoder = MessageDecoder::new(format, wanted).expect("it is declared well");
    let messages = message(value);
    let mut first = 0;
    while first < messages.len() {
        let decoded = decoder
            .decode(&messages, first)
            .expect("no registry is asked");
        assert!(decoded.next > first);
        first = decoded.next;
        assert_eq!(decoded.rows.num_rows(), decoded.message_of_row.len());
        for column in decoded.rows.columns() {
            column
                .to_data()
                .validate_full()
                .expect("decoders check what they give");
        }
    }
}

#[test]
fn fuzz_json_message() {
    let seeds = NDJSON.iter().map(|text| text.as_bytes().to_vec()).collect();
    run("json_message", seeds, |input| {
        decode_message(&MessageFormat::Json, &schema(), input);
    });
}

#[test]
fn fuzz_arrow_message() {
    run("arrow_message", vec![ipc_stream()], |input| {
        decode_message(&MessageFormat::ArrowIpc(None), &plain(), input);
    });
}

const AVRO: &str = r#"{"type": "record", "name": "Ride", "fields": [
    {"name": "skipped", "type": {"type": "array", "items": ["null", "string", {"type": "map", "values": "bytes"}]}},
    {"name": "key", "type": ["null", "long"]},
    {"name": "amount", "type": "double"},
    {"name": "name", "type": "string"}
]}"#;

#[test]
fn fuzz_avro_message() {
    let schema = Arc::new(AvroSchema::parse(AVRO).unwrap());
    let format = MessageFormat::Avro(AvroSchemas::File {
        schema,
        framed: false,
    });
    // Arrays of two blocks, one with its size; a long; a double; a text.
    let seeds = vec![
        vec![
            2, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 8, b'r', b'i', b'd', b'e',
        ],
        vec![3, 6, 2, 2, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0],
        vec![
            2, 4, 2, 2, b'k', 2, 7, 0, 0, 2, 0x80, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xff,
        ],
    ];
    run("avro_message", seeds, |input| {
        decode_message(&format, &plain(), input)
    });
}

#[test]
fn fuzz_avro_schema() {
    run("avro_schema", vec![AVRO.as_bytes().to_vec()], |input| {
        if let Ok(text) = std::str::from_utf8(input)
            && let Ok(schema) = AvroSchema::parse(text)
        {
            let _ = schema.infer();
        }
    });
}

/// `message Ride { int64 key = 1; double amount = 2; string name = 3; repeated sint32 stops = 4; }`
/// in `package fuzz`, as a set of descriptors.
fn descriptors() -> Vec<u8> {
    use prost_reflect::prost::Message;
    use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
    use prost_reflect::prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    };
    let field = |name: &str, number, kind: Type, label: Label| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    let ride = DescriptorProto {
        name: Some("Ride".to_owned()),
        field: vec![
            field("key", 1, Type::Int64, Label::Optional),
            field("amount", 2, Type::Double, Label::Optional),
            field("name", 3, Type::String, Label::Optional),
            field("stops", 4, Type::Sint32, Label::Repeated),
        ],
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("fuzz.proto".to_owned()),
        package: Some("fuzz".to_owned()),
        message_type: vec![ride],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn protobuf(name: &str, framed: bool) {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    let mut fields = plain().fields().to_vec();
    fields.push(Arc::new(Field::new("stops", list, true)));
    let wanted = Arc::new(Schema::new(fields));
    let message = ProtobufType::parse("fuzz", &descriptors(), "fuzz.Ride").unwrap();
    let format = MessageFormat::Protobuf { message, framed };
    // All fields; the list once packed and once not; a field that nobody knows, of each wire type.
    let seeds: [&[u8]; 3] = [
        b"\x08\x01\x11\0\0\0\0\0\0\xe0\x3f\x1a\x02\xc3\xa9\x22\x04\x01\x02\x80\x01",
        b"\x20\x01\x20\xff\xff\xff\xff\x0f\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x78\x01\x79\0\0\0\0\0\0\0\0\x7a\x01\0\x7b\x08\x01\x7c\x7d\0\0\0\0",
    ];
    let head: &[u8] = if framed { &[0, 0, 0, 0, 1, 0] } else { &[] };
    let seeds = seeds.iter().map(|seed| [head, seed].concat()).collect();
    run(name, seeds, |input| decode_message(&format, &wanted, input));
}

#[test]
fn fuzz_protobuf_message() {
    protobuf("protobuf_message", false);
}

#[test]
fn fuzz_protobuf_framed() {
    protobuf("protobuf_framed", true);
}

#[test]
fn fuzz_protobuf_schema() {
    run("protobuf_schema", vec![descriptors()], |input| {
        if let Ok(message) = ProtobufType::parse("fuzz", input, "fuzz.Ride") {
            let _ = message.infer();
        }
    });
}
