//! What a registry is asked, against a stand-in.

use std::sync::atomic::Ordering;
use std::time::Duration;

use penstock_servers::{Registration, SchemaRegistryStandIn};

use super::testing::{registry, with_clock};
use super::*;

#[test]
fn ids_are_asked_for_once_and_unknown_ones_again_after_a_while() {
    let server = SchemaRegistryStandIn::start().unwrap();
    let (_io, registry, clock) = with_clock(RegistryOptions::new(&format!("{}/", server.url())));
    assert!(matches!(registry.schema(1), Ok(Found::Unknown)));
    server.register("s", "\"int\"");
    assert!(matches!(registry.schema(1), Ok(Found::Unknown)));
    clock.0.store(31, Ordering::Relaxed);
    assert!(matches!(registry.schema(1), Ok(Found::Schema(_))));
    assert!(matches!(registry.schema(1), Ok(Found::Schema(_))));
    assert_eq!(server.requests(), ["/schemas/ids/1", "/schemas/ids/1"]);
}

#[test]
fn references_come_first() {
    let server = SchemaRegistryStandIn::start().unwrap();
    let (_io, registry) = registry(&server.url());
    let record = |name: &str, of: &str| {
        format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"x","type":"{of}"}}]}}"#)
    };
    server.register("a b/c", &record("A", "int"));
    let b = Registration {
        references: &[("A", "a b/c", 1)],
        ..Registration::default()
    };
    server.register_as("b", &record("B", "A"), &b);
    let c = Registration {
        schema_type: "AVRO",
        references: &[("B", "b", 1), ("A", "a b/c", 1)],
    };
    let id = server.register_as("c", &record("C", "B"), &c);
    let Found::Schema(schema) = registry.schema(id).unwrap() else {
        panic!("it is there");
    };
    assert_eq!(
        schema
            .infer()
            .unwrap()
            .schema
            .field(0)
            .data_type()
            .to_string(),
        "Struct(\"x\": Struct(\"x\": Int32))"
    );
    assert_eq!(
        server.requests(),
        [
            "/schemas/ids/3",
            "/subjects/b/versions/1",
            "/subjects/a%20b%2Fc/versions/1"
        ]
    );
    let circle = Registration {
        references: &[("D", "d", 1)],
        ..Registration::default()
    };
    let id = server.register_as("d", &record("D", "int"), &circle);
    assert!(matches!(registry.schema(id), Ok(Found::Unreadable(_))));
}

#[test]
fn the_latest_of_a_subject() {
    let server = SchemaRegistryStandIn::start().unwrap();
    let (_io, registry) = registry(&server.url());
    server.register("s", "\"int\"");
    server.register(
        "s",
        r#"{"type":"record","name":"r","fields":[{"name":"x","type":"long"}]}"#,
    );
    let (id, schema) = registry.latest("s").unwrap();
    assert_eq!((id, schema.infer().unwrap().schema.fields().len()), (2, 1));
    assert!(matches!(registry.schema(2), Ok(Found::Schema(_))));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(
        registry.latest("t").unwrap_err().fault,
        RegistryFault::UnknownSubject
    );
}

#[test]
fn what_does_not_answer_as_it_should_is_told_apart() {
    let server = SchemaRegistryStandIn::start().unwrap();
    let (_io, open) = registry(&server.url());
    let fault = |registry: &Registry, id| registry.schema(id).err().map(|error| error.fault);
    let protobuf = Registration {
        schema_type: "PROTOBUF",
        ..Registration::default()
    };
    let id = server.register_as("p", "syntax = \"proto3\";", &protobuf);
    assert!(
        matches!(open.schema(id), Ok(Found::Unreadable(reason)) if reason == "is of type PROTOBUF, and not Avro")
    );
    server.fail(1, 404);
    assert!(matches!(fault(&open, 7), Some(RegistryFault::Refused(_))));
    server.fail(1, 200);
    assert!(matches!(fault(&open, 7), Some(RegistryFault::Garbled(_))));
    server.fail(2, 429);
    assert_eq!(fault(&open, 7), None);

    server.ask_for("Basic dXNlcjpzZWNyZXQ=");
    assert!(matches!(fault(&open, 9), Some(RegistryFault::Forbidden(_))));
    let with_password = server.url().replace("http://", "http://user:secret@");
    let (_io2, let_in) = registry(&with_password);
    assert!(matches!(let_in.schema(9), Ok(Found::Unknown)));
    assert!(!format!("{let_in} {let_in:?}").contains("secret"));
    let wrong = server.url().replace("http://", "http://user:hidden@");
    let (_io3, wrong) = registry(&wrong);
    let error = wrong.schema(10).unwrap_err().to_string();
    assert!(
        error.contains("401") && !error.contains("hidden"),
        "{error}"
    );
}

#[test]
fn urls_that_are_none() {
    let io = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for url in ["localhost:8081", "", "ftp://x", "http://"] {
        let clock = Arc::new(super::testing::ByHand::default());
        let made = Registry::new(RegistryOptions::new(url), io.handle(), clock);
        assert!(made.is_err(), "{url}");
    }
    let options = RegistryOptions {
        credentials: Some(("user".to_owned(), "secret".to_owned())),
        timeout: Duration::from_secs(1),
        ..RegistryOptions::new("http://x")
    };
    assert!(!format!("{options:?}").contains("secret"));
}
