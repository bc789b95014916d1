//! Live events of every format, and `cases/declared.txt` of the room of configurations, a table of wrong ones.

use arrow::datatypes::{DataType, Field};
use penstock_servers::{Registration, SchemaRegistryStandIn};
use prost_reflect::prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::Type;
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;
use crate::config::cases::check_cases;
use crate::config::types::type_name;
use crate::source::kafka::Start;

const RIGHT: &str = r#"[environments.local.events.ride_offer]
event_time = "at"
schema = { at = "timestamp[us, UTC]", driver_id = "int64" }
kafka.brokers = "a:9092,b:9092"
kafka.topic = "ride-offers"
kafka."sasl.password" = "${CARGO_PKG_NAME}"
kafka.start = 2026-01-31T12:00:00Z
kafka.session.timeout.ms = 30_000
message_columns = { headers = "h", timestamp = "t" }
"#;

const AVRO: &str = r#"{"type":"record","name":"Offer","fields":[
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"driver","type":["null","string"]},
    {"name":"nothing","type":"null"}]}"#;

/// A folder with a `penstock.toml` and the schemas that it may name.
fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).unwrap();
    };
    write("penstock.toml", text.as_bytes());
    write("offer.avsc", AVRO.as_bytes());
    write("number.avsc", b"\"int\"");
    write("broken.avsc", b"{");
    write("rides.desc", &descriptors());
    let fields = vec![
        Field::new("at", DataType::Date64, true),
        Field::new("driver", DataType::Utf8View, true),
        Field::new("when", type_of("timestamp[s]"), true),
    ];
    let mut arrow = Vec::new();
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(&mut arrow, &Schema::new(fields)).unwrap();
    writer.finish().unwrap();
    drop(writer);
    write("one.arrow", &arrow);
    folder
}

fn type_of(name: &str) -> DataType {
    crate::config::types::parse_type(name).unwrap()
}

/// A message `t.Offer` with an int64 `at` and a string `driver`.
fn descriptors() -> Vec<u8> {
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    let offer = DescriptorProto {
        name: Some("Offer".to_owned()),
        field: vec![
            field("at", 1, Type::Int64),
            field("driver", 2, Type::String),
        ],
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        package: Some("t".to_owned()),
        message_type: vec![offer],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn declare(folder: &TempDir) -> Result<DeclaredStream, DeclaredError> {
    let environment = Environment::find_and_load(folder.path(), "local")?;
    let event = &environment.events["ride_offer"];
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    DeclaredStream::of(&environment, event, "driver_1h", io.handle(), &clock)
}

fn columns(schema: &Schema) -> String {
    let columns = schema.fields().iter();
    let columns =
        columns.map(|field| format!("{}: {}", field.name(), type_name(field.data_type())));
    columns.collect::<Vec<_>>().join(", ")
}

/// What is declared with these lines in the place of the schema and the format.
fn with(lines: &str) -> Result<DeclaredStream, String> {
    let text = RIGHT.replace(
        "schema = { at = \"timestamp[us, UTC]\", driver_id = \"int64\" }\n",
        lines,
    );
    declare(&folder(&text)).map_err(|error| error.to_string())
}

#[test]
fn a_topic_of_json_is_declared_whole() {
    let declared = declare(&folder(RIGHT)).unwrap();
    let StreamOptions::Kafka(kafka) = &declared.stream else {
        panic!("it is a topic");
    };
    assert_eq!(
        (kafka.topic.as_str(), kafka.group.as_str()),
        ("ride-offers", "driver_1h")
    );
    assert_eq!(kafka.start, Start::Timestamp(1_769_860_800_000_000));
    assert!(kafka.headers);
    assert_eq!(kafka.client.value("session.timeout.ms"), Some("30000"));
    // Cargo sets the variable for tests.
    assert_eq!(kafka.client.value("sasl.password"), Some("penstock"));
    assert_eq!(
        columns(&declared.body),
        "at: timestamp[us, UTC], driver_id: int64"
    );
    assert_eq!(
        columns(&declared.schema),
        "at: timestamp[us, UTC], driver_id: int64, h: list[struct{name: utf8!, value: binary}!], t: timestamp[us, UTC]"
    );
    assert!(!declared.inferred && matches!(declared.format, MessageFormat::Json));

    let group = RIGHT.replace("kafka.topic", "kafka.group = \"rides\"\nkafka.topic");
    let declared = declare(&folder(&group)).unwrap();
    assert!(matches!(declared.stream, StreamOptions::Kafka(kafka) if kafka.group == "rides"));
}

#[test]
fn formats_with_schemas_of_their_own_give_their_columns() {
    let avro = with("format = \"avro\"\navro = { file = \"offer.avsc\" }\n").unwrap();
    assert_eq!(columns(&avro.body), "at: timestamp[ms, UTC], driver: utf8");
    assert!(avro.inferred && avro.left_out.len() == 1);

    let protobuf = "format = \"protobuf\"\nprotobuf = { descriptor_set = \"rides.desc\", message = \"t.Offer\" }\n";
    let declared = with(&format!(
        "{protobuf}schema = {{ at = \"int64\", k = \"utf8\" }}\n"
    ));
    assert!(
        declared
            .unwrap_err()
            .contains("event time must be a timestamp")
    );
    let by_message = RIGHT.replace("event_time = \"at\"", "event_time = \"t\"");
    let by_message = by_message.replace(
        "schema = { at = \"timestamp[us, UTC]\", driver_id = \"int64\" }\n",
        protobuf,
    );
    let declared = declare(&folder(&by_message)).unwrap();
    assert_eq!(columns(&declared.body), "at: int64, driver: utf8");

    let arrow = by_message.replace(
        protobuf,
        "format = \"arrow\"\narrow = { file = \"one.arrow\" }\n",
    );
    let declared = declare(&folder(&arrow)).unwrap();
    assert_eq!(
        columns(&declared.body),
        "at: date64, driver: utf8, when: timestamp[s]"
    );
}

#[test]
fn a_registry_gives_the_newest_columns() {
    let server = SchemaRegistryStandIn::start().unwrap();
    server.ask_for("Basic dXNlcjpwZW5zdG9jaw==");
    let lines = |more: &str| {
        format!(
            "format = \"avro\"\navro = {{ registry = \"{}\", tries = 1, {more} }}\n",
            server.url()
        )
    };
    let login = "user = \"user\", password = \"${CARGO_PKG_NAME}\"";
    let unknown = with(&lines(login)).unwrap_err();
    assert!(
        unknown.contains("it has no such subject") && unknown.contains("ride-offers-value"),
        "{unknown}"
    );
    server.register("ride-offers-value", AVRO);
    let declared = with(&lines(login)).unwrap();
    assert_eq!(
        columns(&declared.body),
        "at: timestamp[ms, UTC], driver: utf8"
    );
    let refused = with(&lines("user = \"user\", password = \"hunter2\"")).unwrap_err();
    assert!(
        refused.contains("check user and password") && !refused.contains("hunter2"),
        "{refused}"
    );
    let protobuf = Registration {
        schema_type: "PROTOBUF",
        ..Registration::default()
    };
    server.register_as("ride-offers-value", "syntax = \"proto3\";", &protobuf);
    let refused = with(&lines(login)).unwrap_err();
    assert!(refused.contains("is of type PROTOBUF"), "{refused}");

    // With declared columns nobody is asked.
    let asked = server.requests().len();
    with(&format!(
        "{}schema = {{ at = \"timestamp[us, UTC]\" }}\n",
        lines(login)
    ))
    .unwrap();
    assert_eq!(server.requests().len(), asked);
    drop(server);
}

#[test]
fn a_registry_that_is_down_is_no_mistake_of_the_file() {
    let text = RIGHT.replace(
        "schema = { at = \"timestamp[us, UTC]\", driver_id = \"int64\" }\n",
        "format = \"avro\"\navro = { registry = \"http://127.0.0.1:1\", tries = 1 }\n",
    );
    let error = declare(&folder(&text)).unwrap_err();
    assert!(error.of_the_system, "{error}");
}

#[test]
fn settings_of_kinesis_are_read() {
    let text = RIGHT
        .replace("kafka.brokers = \"a:9092,b:9092\"\n", "")
        .replace(
            "kafka.topic = \"ride-offers\"\n",
            "kinesis.stream = \"${CARGO_PKG_NAME}\"\n",
        )
        .replace("kafka.\"sasl.password\"", "kinesis.consumer")
        .replace("kafka.start", "kinesis.start")
        .replace("kafka.session.timeout.ms", "kinesis.window_bytes");
    let declared = declare(&folder(&text)).unwrap();
    let StreamOptions::Kinesis(settings) = &declared.stream else {
        panic!("it is a stream");
    };
    assert_eq!(settings.stream, "penstock");
    assert_eq!(settings.consumer.as_deref(), Some("penstock"));
    assert_eq!(settings.window_bytes, 30000);
    let text = text.replace("kinesis.window_bytes", "kinesis.window_byte");
    let error = declare(&folder(&text)).unwrap_err().to_string();
    for part in [
        "there is no Kinesis setting `window_byte`",
        "did you mean `window_bytes`?",
        "kinesis.window_byte = ",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn wrong_live_events_are_refused_as_the_table_says() {
    const CASES: &str = include_str!("../../config/cases/declared.txt");
    check_cases("declared.txt", CASES, RIGHT, |text| {
        let folder = folder(text);
        let root = folder.path().canonicalize().unwrap();
        let shown = declare(&folder).map_or_else(
            |error| error.to_string(),
            |declared| columns(&declared.schema),
        );
        let shown = shown.replace(&format!("{}/", root.display()), "");
        shown.replace(&format!("{}/", folder.path().display()), "")
    });
}
