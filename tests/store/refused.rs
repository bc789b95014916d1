//! What a store says to bad input, and what it makes of entities at the edges.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use penstock::config::TablePlace;
use penstock::store::dynamodb::DynamoDbStore;
use penstock::store::{FeatureBatch, FeatureColumn, FeatureName, Items, StoreError};

use super::backends::{Backend, GROUP, PIPELINE, declaration, items};
use crate::kinesis::proxy::{Fate, Proxy};
use crate::support::servers::dynamodb::{SHARED, settings, table, table_at};
use crate::support::{Folder, HOST};

fn told<T>(answer: Result<T, StoreError>) -> String {
    let Err(error) = answer else {
        panic!("it is no error");
    };
    error.to_string()
}

#[test]
fn unknown_names_are_told_with_those_that_are_near() {
    Backend::each("unknown", 1, |backend| {
        backend.declare(&[declaration("trips", 1, "10m", "")]);
        let get = |group: &str, feature: &str| {
            let names = [FeatureName::parse(feature)];
            told(HOST.io.block_on(backend.reader.get(group, "e", &names)))
        };
        let unknown = get(GROUP, "tirps");
        assert!(unknown.contains("did you mean \"trips@1\"?"), "{unknown}");
        assert!(get(GROUP, "trips@2").contains("has no feature \"trips@2\""));
        let unknown = get("drivers", "trips");
        assert!(
            unknown.contains("no feature group \"drivers\"") && unknown.contains("\"driver\""),
            "{unknown}"
        );
    });
}

#[test]
fn a_version_is_not_declared_as_something_else() {
    Backend::each("redeclared", 2, |backend| {
        let first = declaration("f", 1, "10m", "{}");
        backend.declare(std::slice::from_ref(&first));
        // Its document may change, by whoever.
        let mut other = first.clone();
        other.document = "{\"owner\":\"x\"}".to_owned();
        let by_another = backend.writers[1].declare(std::slice::from_ref(&other));
        HOST.io.block_on(by_another).unwrap();
        let found = HOST
            .io
            .block_on(backend.writers[0].declarations(Some(GROUP)))
            .unwrap();
        assert_eq!(found, [other]);
        let of_another_type = penstock::store::Declaration {
            data_type: DataType::Utf8,
            ..first
        };
        let error = told(
            HOST.io
                .block_on(backend.writers[0].declare(&[of_another_type])),
        );
        assert!(error.contains("raise the feature's version"), "{error}");
    });
}

#[test]
fn entities_of_no_bytes_and_of_many_are_entities() {
    Backend::each("edges", 1, |backend| {
        backend.declare(&[declaration("f", 1, "10m", "")]);
        let long = "é".repeat(1536);
        let longer = format!("{long}x");
        let exact = "k".repeat(2048);
        let rows = [
            ("", 1, Some(1)),
            (long.as_str(), 1, Some(2)),
            (longer.as_str(), 1, Some(3)),
            (exact.as_str(), 1, Some(4)),
            ("a/b%2Fc\u{0}, \\", 1, Some(5)),
        ];
        backend.write(0, items("10m", &[("f", 1)], (1, 0), &rows));
        for (entity, _, value) in rows {
            assert_eq!(backend.value(entity, "f").unwrap().1, value);
        }
        assert_eq!(backend.value(&"é".repeat(1535), "f"), None);
    });
}

#[test]
fn a_stored_value_of_another_type_is_an_error_and_no_answer() {
    Backend::each("wrong_type", 1, |backend| {
        backend.declare(&[declaration("f", 1, "10m", "")]);
        let keys: [ArrayRef; 1] = [Arc::new(StringArray::from(vec!["e"]))];
        let values: ArrayRef = Arc::new(StringArray::from(vec!["a text"]));
        let features = [FeatureColumn {
            name: "f",
            version: 1,
            values: &values,
        }];
        let items = Items::encode(&FeatureBatch {
            group: GROUP,
            pipeline: PIPELINE,
            window: "10m",
            keys: &keys,
            event_time: &TimestampMicrosecondArray::from(vec![1]),
            epoch: 1,
            first_sequence: 0,
            features: &features,
        });
        backend.write(0, items.unwrap());
        let names = [FeatureName::parse("f")];
        let error = told(HOST.io.block_on(backend.writers[0].get(GROUP, "e", &names)));
        assert!(
            error.contains("the stored value is Utf8 where Int64 is declared"),
            "{error}"
        );
    });
}

#[test]
fn what_is_wrong_with_a_table_is_told_with_what_to_do() {
    let missing = told(
        HOST.io
            .block_on(DynamoDbStore::open(&table("nobody_made_it"))),
    );
    assert!(
        missing.contains("DynamoDB table `nobody_made_it`")
            && missing.contains("penstock store init"),
        "{missing}"
    );

    // A table of somebody else.
    let other = "{\"TableName\": \"other\", \"BillingMode\": \"PAY_PER_REQUEST\", \"AttributeDefinitions\": [{\"AttributeName\": \"k\", \"AttributeType\": \"S\"}], \"KeySchema\": [{\"AttributeName\": \"k\", \"KeyType\": \"HASH\"}]}";
    SHARED.call("CreateTable", other).unwrap();
    let error = told(HOST.io.block_on(DynamoDbStore::init(&table("other"))));
    assert!(
        error.contains("its key is (k), and not (pk, sk)"),
        "{error}"
    );
    assert!(
        HOST.io
            .block_on(DynamoDbStore::open(&table("other")))
            .is_err()
    );

    for (code, hint) in [
        ("UnrecognizedClientException", "check the credentials"),
        ("AccessDeniedException", "docs/feature-store.md"),
        ("InvalidSignatureException", "this machine's clock is right"),
        ("RequestTimeTooSkewed", "this machine's clock is right"),
        ("ExpiredTokenException", "get new credentials"),
    ] {
        let proxy = Proxy::start(SHARED.port(), move |_, _| Fate::Refuse(400, code, "said"));
        let error = HOST
            .io
            .block_on(DynamoDbStore::open(&table_at("x", &proxy.endpoint())));
        let Err(error) = error else {
            panic!("{code} is no error")
        };
        assert!(error.is_bad_input(), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    // Nobody is there.
    let place = TablePlace {
        timeout: std::time::Duration::from_millis(200),
        ..table_at("x", "http://127.0.0.1:9")
    };
    let Err(error) = HOST.io.block_on(DynamoDbStore::open(&place)) else {
        panic!("nobody is there");
    };
    assert!(
        !error.is_bad_input() && error.to_string().contains("check `endpoint`"),
        "{error}"
    );
}

#[test]
fn the_program_says_so_too() {
    let folder = Folder::new();
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let toml = format!(
        "[environments.local]\nstore = \"dynamodb://by_program\"\n{}",
        settings(&endpoint)
    );
    folder.write("penstock.toml", toml);
    folder
        .penstock(&["get", "driver", "42", "f"])
        .fails(2, &["DynamoDB table `by_program`", "penstock store init"]);
    assert_eq!(
        folder.penstock(&["store", "init"]).fine(),
        "dynamodb://by_program was made\n"
    );
    assert_eq!(
        folder.penstock(&["store", "init"]).fine(),
        "dynamodb://by_program is there\n"
    );
    folder.penstock(&["get", "driver", "42", "f"]).fails(
        2,
        &["no feature group \"driver\" is declared in DynamoDB table `by_program`"],
    );
}
