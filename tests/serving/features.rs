//! Features over REST and gRPC, from the program itself.

use std::process::Command;

use penstock::serve::grpc::v1::{
    BatchGetRequest, DescribeFeatureRequest, ListFeaturesRequest, column,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::Code;

use super::program::{Serving, json_to};
use super::{flights, start};
use crate::support::{Folder, HOST, ask};

/// A store with features of two airports.
fn filled(environment: &str) -> Folder {
    let folder = flights(environment);
    folder.penstock(&["run", "--quiet", "pipeline.toml"]).fine();
    folder
}

fn asked() -> Value {
    json!({"entities": ["SFO", "nobody", "LAX"], "features": ["flights_1d", "flights_1d@1"]})
}

const BATCH_GET: &str = "/v1/groups/airport/batch-get";

#[test]
fn rest_answers_with_what_the_store_has() {
    let folder = filled("");
    let serving = Serving::start(&folder);
    let (code, answer) = serving.post(BATCH_GET, &asked());
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["entities"], asked()["entities"]);
    for column in answer["features"].as_array().unwrap() {
        assert_eq!(column["feature"], "flights_1d");
        assert_eq!(
            (&column["version"], &column["type"]),
            (&json!(1), &json!("uint64"))
        );
        assert_eq!(column["states"], json!(["fresh", "missing", "fresh"]));
        for (at, airport) in [(0, "SFO"), (2, "LAX")] {
            let got = folder.penstock(&["get", "airport", airport, "flights_1d", "--json"]);
            let got: Value = serde_json::from_str(&got.fine()).unwrap();
            assert_eq!(column["values"][at], got["features"][0]["value"]);
            assert_eq!(column["event_times"][at], got["features"][0]["event_time"]);
            assert!(column["ages_s"][at].is_number());
        }
        for name in ["values", "event_times", "ages_s"] {
            assert_eq!(column[name][1], Value::Null, "{name}");
        }
    }
    let (code, listed) = serving.get("/v1/features");
    assert_eq!(
        (code, &listed["features"][0]["name"]),
        (200, &json!("flights_1d"))
    );
    assert_eq!(serving.get("/v1/groups/airport/features").1, listed);
    let (code, one) = serving.get("/v1/groups/airport/features/flights_1d@1");
    assert_eq!((code, &one), (200, &listed["features"][0]));
    assert_eq!(one["entity"], json!(["origin"]));
    assert_eq!(one["declaration"]["pipeline"], "pipeline");
    let (code, description) = serving.get("/openapi.json");
    assert_eq!((code, &description["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(ask(&serving.rest, "/ready").0, 200);
    let metrics = ask(&serving.rest, "/metrics").1;
    let line =
        "penstock_serve_requests_total{protocol=\"rest\",method=\"batch_get\",outcome=\"ok\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    serving.stop();
}

#[test]
fn bad_requests_are_refused_with_codes_and_what_to_do() {
    let folder = filled("serving = { max_body = \"16KiB\" }");
    let serving = Serving::start(&folder);
    let request =
        |entities: Value, features: Value| json!({"entities": entities, "features": features});
    let long = "x".repeat(3 << 10);
    let large: Vec<String> = (0..2_000).map(|at| format!("entity {at}")).collect();
    let one = json!(["flights_1d"]);
    let cases = [
        (
            BATCH_GET,
            request(json!(["SFO"]), json!(["flihgts_1d"])),
            404,
            "did you mean `flights_1d`",
        ),
        (
            BATCH_GET,
            request(json!(["SFO"]), json!(["flights_1d@7"])),
            404,
            "has no feature",
        ),
        (
            "/v1/groups/driver/batch-get",
            request(json!(["SFO"]), one.clone()),
            404,
            "no feature group",
        ),
        (
            BATCH_GET,
            request(json!([""]), one.clone()),
            400,
            "entity 0 has 0 bytes",
        ),
        (
            BATCH_GET,
            request(json!([long]), one.clone()),
            400,
            "1 to 2048 bytes",
        ),
        (
            BATCH_GET,
            request(json!([1.5]), one.clone()),
            400,
            "a whole number",
        ),
        (
            BATCH_GET,
            request(json!([{"a": 1}]), one.clone()),
            400,
            "for each column of the key",
        ),
        (
            BATCH_GET,
            request(json!([]), one.clone()),
            400,
            "no entities",
        ),
        (
            BATCH_GET,
            request(json!("SFO"), one.clone()),
            400,
            "not a request",
        ),
        (
            BATCH_GET,
            json!({"entities": ["SFO"], "feature": ["x"]}),
            400,
            "unknown field `feature`",
        ),
        (
            BATCH_GET,
            request(json!(large), one),
            413,
            "serving.max_body",
        ),
    ];
    for (path, body, wanted, says) in cases {
        let (code, answer) = serving.post(path, &body);
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(code, wanted, "{answer}");
        assert!(message.contains(says), "{message}");
    }
    let url = format!("http://{}{BATCH_GET}", serving.rest);
    let (code, answer) = serving.ask(|client| client.post(&url).body("{}"));
    assert_eq!(code, 400, "{answer}");
    let (code, answer) =
        serving.ask(|client| json_to(client.post(&url), &asked()).header("x-timeout-ms", "soon"));
    assert_eq!(code, 400, "{answer}");
    assert!(answer.to_string().contains("milliseconds"));
    assert_eq!(serving.get(BATCH_GET).0, 405);
    assert_eq!(serving.get("/v2").0, 404);
    assert_eq!(serving.post(BATCH_GET, &asked()).0, 200);
    serving.stop();
}

#[test]
fn grpc_answers_with_what_the_store_has() {
    let folder = filled("serving = { max_body = \"16KiB\" }");
    let serving = Serving::start(&folder);
    let mut client = serving.client();
    let request = |entities: &[&str], features: &[&str]| BatchGetRequest {
        group: "airport".into(),
        entities: entities.iter().map(|it| (*it).to_owned()).collect(),
        features: features.iter().map(|it| (*it).to_owned()).collect(),
    };
    let (_, shown) = serving.post(BATCH_GET, &asked());
    HOST.io.block_on(async {
        let whole = request(&["SFO", "nobody", "LAX"], &["flights_1d"]);
        let answer = client.batch_get(whole).await.unwrap().into_inner();
        let column = &answer.columns[0];
        assert_eq!((column.feature.as_str(), column.version), ("flights_1d", 1));
        assert_eq!(column.states, [3, 0, 3]);
        let Some(column::Values::Uints(values)) = &column.values else {
            panic!("{column:?}");
        };
        let shown = &shown["features"][0]["values"];
        assert_eq!(shown[0], values.values[0]);
        assert_eq!(shown[2], values.values[2]);
        assert!(column.event_times_us[0] > 0 && column.event_times_us[1] == 0);
        assert!(column.ages_ms[0] > 0);
        let listed = client.list_features(ListFeaturesRequest::default()).await;
        let listed = listed.unwrap().into_inner().features;
        let described = client.describe_feature(DescribeFeatureRequest {
            group: "airport".into(),
            feature: "flights_1d".into(),
        });
        assert_eq!(described.await.unwrap().into_inner(), listed[0]);
        let long = "x".repeat(3 << 10);
        let large = vec!["an entity"; 2_000];
        for (refused, code) in [
            (request(&["SFO"], &["other"]), Code::NotFound),
            (
                request(&["SFO", ""], &["flights_1d"]),
                Code::InvalidArgument,
            ),
            (request(&[&long], &["flights_1d"]), Code::InvalidArgument),
            (request(&[], &["flights_1d"]), Code::InvalidArgument),
            (request(&large, &["flights_1d"]), Code::OutOfRange),
        ] {
            let status = client.batch_get(refused).await.unwrap_err();
            assert_eq!(status.code(), code, "{status}");
            assert!(!status.message().is_empty());
        }
    });
    serving.stop();
}

#[test]
fn tokens_are_good_for_their_groups_and_never_shown() {
    let token = "secret-of-the-ranking-model";
    let folder = filled(
        "[environments.local.serving.tokens.ranking]\nfile = \"ranking.token\"\nread = [\"airport\"]\n\
         [environments.local.serving.tokens.other]\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\nread = [\"driver\"]",
    );
    folder.write("ranking.token", format!("{token}\n"));
    let serving = Serving::start(&folder);
    let url = format!("http://{}{BATCH_GET}", serving.rest);
    let with =
        |token: &str| serving.ask(|client| json_to(client.post(&url), &asked()).bearer_auth(token));
    assert_eq!(with(token).0, 200);
    // The SHA-256 above is that of `test`.
    let (code, answer) = with("test");
    assert_eq!(code, 403);
    assert!(
        answer.to_string().contains("may not read group"),
        "{answer}"
    );
    let (code, answer) = with("guess");
    assert_eq!(code, 401);
    assert!(!answer.to_string().contains("guess"));
    assert_eq!(serving.post(BATCH_GET, &asked()).0, 401);
    assert_eq!(serving.get("/v1/groups/airport/features").0, 401);
    assert_eq!(serving.get("/v1/features").1, json!({"features": []}));
    let mut client = serving.client();
    HOST.io.block_on(async {
        let mut request = tonic::Request::new(ListFeaturesRequest {
            group: "airport".into(),
        });
        let refused = client
            .list_features(ListFeaturesRequest {
                group: "airport".into(),
            })
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        assert_eq!(
            client
                .list_features(request)
                .await
                .unwrap()
                .into_inner()
                .features
                .len(),
            1
        );
    });
    let said = serving.stop();
    assert!(!said.contains(token) && !said.contains("guess"), "{said}");
    folder.write("ranking.token", "short");
    folder.penstock(&["serve"]).fails(2, &["`ranking`", "16"]);
}

#[test]
fn an_open_door_is_refused_unless_somebody_says_so() {
    let folder = flights("");
    folder
        .penstock(&["serve", "--listen", "0.0.0.0:0"])
        .fails(2, &["no tokens", "anyone = \"read\""]);
    folder
        .penstock(&["serve", "--listen", "nowhere"])
        .fails(2, &["cannot listen on nowhere"]);
}

#[test]
fn over_tls_nothing_is_said_in_the_clear() {
    let folder =
        filled("serving = { tls = { certificate = \"server.pem\", key = \"server.key\" } }");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-keyout",
            "server.key",
            "-out",
            "server.pem",
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
        ])
        .current_dir(folder.path("."))
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("left out: TLS, for want of `openssl`, which makes the certificate");
        return;
    }
    let serving = Serving::start(&folder);
    let url = format!("https://{}{BATCH_GET}", serving.rest);
    let (code, answer) = serving.ask(|_| {
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true);
        json_to(client.build().unwrap().post(&url), &asked())
    });
    assert_eq!(code, 200, "{answer}");
    let clear = HOST
        .io
        .block_on(reqwest::get(format!("http://{}/health", serving.rest)));
    assert!(clear.is_err());
    serving.stop();
    folder.write("server.key", "no key");
    folder
        .penstock(&["serve", "--listen", "127.0.0.1:0"])
        .fails(2, &["server.key", "PEM"]);
}

#[test]
fn a_run_serves_what_it_writes() {
    let folder = filled("serving = { max_in_flight = 8 }");
    let listen = ["--listen", "127.0.0.1:0", "--speed", "1x"];
    let run = start(&folder, &listen);
    let url = format!("http://{}{BATCH_GET}", run.address);
    let (code, answer) = HOST.io.block_on(async {
        let request = json_to(reqwest::Client::new().post(&url), &asked());
        let answer = request.send().await.unwrap();
        let code = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (code, serde_json::from_str::<Value>(&text).unwrap())
    });
    assert_eq!(code, 200, "{answer}");
    assert_eq!(
        answer["features"][0]["states"],
        json!(["fresh", "missing", "fresh"])
    );
    run.signal(Signal::TERM);
    run.wait();
}

#[test]
fn every_valid_write_goes_into_history() {
    let folder = filled("offline = \"history\"");
    let files = |folder: &Folder| {
        let mut found = Vec::new();
        for day in std::fs::read_dir(folder.path("history/airport")).unwrap() {
            for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
                found.push(file.unwrap().path());
            }
        }
        found.sort();
        found
    };
    let first = files(&folder);
    assert!(!first.is_empty());
    for file in &first {
        let name = file.to_string_lossy().into_owned();
        assert!(name.contains("/pipeline-1d-r"), "{name}");
    }
    // Each run is a writer of its own; what it writes is there as well.
    folder.penstock(&["run", "--quiet", "pipeline.toml"]).fine();
    let second = files(&folder);
    assert_eq!(second.len(), 2 * first.len());
    assert!(first.iter().all(|file| second.contains(file)));
}
