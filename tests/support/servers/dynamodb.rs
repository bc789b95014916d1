//! A DynamoDB that tests share, each with a table of its own.

use std::sync::LazyLock;

use penstock::config::{Located, Secret, Span, TableKeys, TablePlace};
use penstock_servers::{DynamoDb, Server};

/// It holds what it was given in memory, and ends with the tests' process.
pub(crate) static SHARED: LazyLock<Server<DynamoDb>> =
    LazyLock::new(|| super::start(DynamoDb::in_memory()));

/// A table on the shared server, which need not be there.
pub(crate) fn table(name: &str) -> TablePlace {
    table_at(name, &format!("http://127.0.0.1:{}", SHARED.port()))
}

/// A table of whoever answers at an endpoint.
pub(crate) fn table_at(name: &str, endpoint: &str) -> TablePlace {
    let hidden = |text: &str| Located::new(Secret::new(text), Span::WHOLE_FILE);
    TablePlace {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        keys: Some(TableKeys {
            id: hidden("AKIAEXAMPLE"),
            secret: hidden("not-to-be-shown"),
            token: None,
        }),
        ..TablePlace::named(name)
    }
}

/// What an environment says of a table at an endpoint.
pub(crate) fn settings(endpoint: &str) -> String {
    format!(
        "[environments.local.dynamodb]\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\naws_access_key_id = \"AKIAEXAMPLE\"\naws_secret_access_key = \"not-to-be-shown\"\ntimeout = \"2s\"\n"
    )
}
