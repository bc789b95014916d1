//! What a server answers when its table is not as it should be: the right codes, and nothing half-applied.

use std::sync::atomic::{AtomicU64, Ordering};

use penstock::serve::grpc::v1::{BatchGetRequest, Column, Doubles, PutRequest, column};
use serde_json::{Value, json};
use tonic::Code;

use super::program::Serving;
use crate::kinesis::proxy::{Fate, Proxy};
use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::{Folder, HOST};

const RATINGS: &str = "group = \"driver\"\nentity = [\"driver_id\"]\n[[feature]]\nname = \"rating\"\ntype = \"float64\"\nvalidation = { min = 1.0, max = 5.0 }\n";

const PUT: &str = "/v1/groups/driver/put";
const GET: &str = "/v1/groups/driver/batch-get";

/// A folder whose environment has a table of whoever answers at an endpoint.
fn folder(table: &str, endpoint: &str) -> Folder {
    let folder = Folder::new();
    let serving = "[environments.local.serving]\nanyone = \"write\"\ndeadline = \"20s\"\n";
    let table = format!(
        "[environments.local]\nstore = \"dynamodb://{table}\"\ncache = {{ max_age = \"0s\" }}\n"
    );
    folder.write(
        "penstock.toml",
        format!("{table}{}{serving}", settings(endpoint)),
    );
    folder.write("ratings.toml", RATINGS);
    folder
}

fn shared() -> String {
    format!("http://127.0.0.1:{}", SHARED.port())
}

/// The same with the table made, and the feature declared.
fn made(table: &str, endpoint: &str) -> Folder {
    let direct = folder(table, &shared());
    direct.penstock(&["store", "init"]).fine();
    direct
        .penstock(&["features", "apply", "ratings.toml"])
        .fine();
    folder(table, endpoint)
}

fn put(serving: &Serving, entities: &[String], time: &str, rating: f64) -> (u16, Value) {
    let ratings = vec![rating; entities.len()];
    let features = json!([{"feature": "rating", "values": ratings}]);
    let body = json!({"entities": entities, "event_time": time, "features": features});
    serving.post(PUT, &body)
}

fn ratings(serving: &Serving, entities: &[String]) -> Value {
    let body = json!({"entities": entities, "features": ["rating"]});
    let (code, answer) = serving.post(GET, &body);
    assert_eq!(code, 200, "{answer}");
    answer["features"][0]["values"].clone()
}

#[test]
fn a_table_that_cannot_be_used_is_unavailable_and_the_log_says_why() {
    let mut broken = vec![(
        folder("nobody_made_this", &shared()),
        "penstock store init",
        None,
    )];
    for (code, hint) in [
        ("UnrecognizedClientException", "check the credentials"),
        ("InvalidSignatureException", "this machine's clock is right"),
        ("RequestTimeTooSkewed", "this machine's clock is right"),
    ] {
        let proxy = Proxy::start(SHARED.port(), move |_, _| Fate::Refuse(400, code, "said"));
        let folder = folder("by_proxy", &proxy.endpoint());
        broken.push((folder, hint, Some(proxy)));
    }
    let one = ["42".to_owned()];
    for (folder, hint, _proxy) in broken {
        let serving = Serving::start(&folder);
        let asked = json!({"entities": ["42"], "features": ["rating"]});
        for (code, answer) in [
            serving.post(GET, &asked),
            put(&serving, &one, "2020-01-01T00:00:00Z", 4.0),
            serving.get("/v1/features"),
        ] {
            assert_eq!(
                (code, &answer["error"]["code"]),
                (503, &json!("unavailable"))
            );
            // Where the store is, and what it says, is nobody's business.
            assert!(!answer.to_string().contains("DynamoDB"), "{answer}");
        }
        let mut client = serving.client();
        HOST.io.block_on(async {
            let request = BatchGetRequest {
                group: "driver".into(),
                entities: vec!["42".into()],
                features: vec!["rating".into()],
            };
            let status = client.batch_get(request).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            let values = Doubles { values: vec![4.0] };
            let request = PutRequest {
                group: "driver".into(),
                entities: vec!["42".into()],
                event_times_us: vec![1],
                columns: vec![Column {
                    feature: "rating".into(),
                    values: Some(column::Values::Doubles(values)),
                    ..Column::default()
                }],
            };
            let status = client.put(request).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
        });
        let said = serving.stop();
        assert!(said.contains(hint), "{said}");
    }
}

#[test]
fn a_put_that_the_table_rejects_half_way_is_whole_when_it_is_put_again() {
    let proxy = Proxy::start(SHARED.port(), |_, _| Fate::Pass);
    let folder = made("put_half_way", &proxy.endpoint());
    let serving = Serving::start(&folder);
    let entities: Vec<String> = (0..200).map(|number| format!("e{number}")).collect();
    assert_eq!(put(&serving, &entities, "2020-01-01T00:00:00Z", 2.0).0, 200);
    let updates = AtomicU64::new(0);
    proxy.change(move |action, _| {
        match action == "UpdateItem" && updates.fetch_add(1, Ordering::Relaxed) >= 70 {
            true => Fate::Refuse(400, "AccessDeniedException", "the test says so"),
            false => Fate::Pass,
        }
    });
    let (code, answer) = put(&serving, &entities, "2020-01-02T00:00:00Z", 3.0);
    assert_eq!(code, 503, "{answer}");
    let told = answer.to_string();
    assert!(told.contains("put them again"), "{told}");
    // What breaks a rule is refused as ever, and changes nothing.
    assert_eq!(put(&serving, &entities, "2020-01-03T00:00:00Z", 7.0).0, 400);
    proxy.change(|_, _| Fate::Pass);
    assert_eq!(put(&serving, &entities, "2020-01-02T00:00:00Z", 3.0).0, 200);
    assert_eq!(
        ratings(&serving, &entities),
        json!(vec![3.0; entities.len()])
    );
    serving.stop();
}

#[test]
fn of_servers_whose_callers_have_clocks_apart_the_newest_event_time_wins_everywhere() {
    let folder = made("clocks", &shared());
    let (one, other) = (Serving::start(&folder), Serving::start(&folder));
    let entities = ["42".to_owned()];
    // The first caller's clock is half an hour ahead of the second's.
    assert_eq!(put(&one, &entities, "2020-01-01T12:30:00Z", 1.0).0, 200);
    assert_eq!(put(&other, &entities, "2020-01-01T12:00:01Z", 2.0).0, 200);
    for server in [&one, &other] {
        assert_eq!(ratings(server, &entities), json!([1.0]));
    }
    assert_eq!(put(&other, &entities, "2020-01-01T12:30:01Z", 3.0).0, 200);
    for server in [&one, &other] {
        assert_eq!(ratings(server, &entities), json!([3.0]));
    }
    // Of one time the later writer's stays, and a server that began to take values later is one.
    assert_eq!(put(&one, &entities, "2020-01-01T12:30:01Z", 4.0).0, 200);
    assert_eq!(ratings(&one, &entities), json!([3.0]));
    // One that would hide everybody's for years is refused.
    let (code, answer) = put(&one, &entities, "2999-01-01T00:00:00Z", 5.0);
    assert_eq!(code, 400, "{answer}");
    assert_eq!(ratings(&other, &entities), json!([3.0]));
    one.stop();
    other.stop();
}
