//! Features that no pipeline computes: put over REST and gRPC, into the embedded store and into a table.

use std::time::Duration;

use penstock::serve::grpc::v1::{Column, Doubles, Ints, PutRequest, Texts, column};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::Code;

use super::program::{Serving, json_to};
use super::{flights, start};
use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::{Folder, HOST};

const AIRPORTS: &str = r#"
group = "airport"
entity = ["origin"]

[[feature]]
name = "runways"
type = "int64"
validation = { min = 1, max = 20, nulls = false }

[[feature]]
name = "city"
type = "utf8"
validation = { max_length = 16, allowed = ["San Francisco", "Los Angeles", "Nowhere"] }

[[feature]]
name = "elevation"
type = "float64"

[[feature]]
name = "embedding"
type = "list[float32]"

[[feature]]
name = "opened"
type = "timestamp[us, UTC]"
"#;

pub(super) const PUT: &str = "/v1/groups/airport/put";
const GET: &str = "/v1/groups/airport/batch-get";

/// A store that has these features declared, and one of a pipeline.
pub(super) fn declared(store: &str, serving: &str) -> Folder {
    let folder = flights(&format!("{store}\n{serving}"));
    folder.write("airports.toml", AIRPORTS);
    folder.penstock(&["store", "init"]).fine();
    let apply = ["features", "apply", "airports.toml", "pipeline.toml"];
    folder.penstock(&apply).fine();
    folder
}

/// Asks the same of both backends, where whoever can connect may write.
fn each(name: &str, ask: impl Fn(&Folder)) {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let table = format!("store = \"dynamodb://put_{name}\"\n{}", settings(&endpoint));
    // A table of TOML comes after all plain keys.
    let serving = "[environments.local.serving]\nanyone = \"write\"\nmax_body = \"16KiB\"\ndeadline = \"30s\"";
    for store in ["store = \"store\"", table.as_str()] {
        ask(&declared(store, serving));
    }
}

pub(super) fn values(entities: &Value, event_time: &str, features: &[(&str, Value)]) -> Value {
    let features: Vec<Value> = features
        .iter()
        .map(|(feature, values)| json!({"feature": feature, "values": values}))
        .collect();
    json!({"entities": entities, "event_time": event_time, "features": features})
}

/// What a feature of airports is now: values, states, event times.
pub(super) fn now(serving: &Serving, feature: &str, entities: &[&str]) -> [Value; 3] {
    let (code, answer) = serving.post(GET, &json!({"entities": entities, "features": [feature]}));
    assert_eq!(code, 200, "{answer}");
    ["values", "states", "event_times"].map(|name| answer["features"][0][name].clone())
}

#[test]
fn what_is_put_is_read_at_once_and_the_newest_stays() {
    each("newest", |folder| {
        let serving = Serving::start(folder);
        let both = ["SFO", "LAX"];
        // Absence is in the cache before.
        assert_eq!(
            now(&serving, "runways", &both)[1],
            json!(["missing", "missing"])
        );
        let first = values(
            &json!(both),
            "2020-01-02T00:00:00Z",
            &[
                ("runways", json!([4, 8])),
                ("city@1", json!(["San Francisco", "Los Angeles"])),
                ("elevation", json!([4, 38.5])),
                ("embedding", json!([[0.5, -1.5], []])),
                ("opened", json!(["1927-05-07T00:00:00Z", null])),
            ],
        );
        let (code, answer) = serving.post(PUT, &first);
        assert_eq!((code, answer), (200, json!({"values": 10})));
        for (feature, expected) in [
            ("runways", json!([4, 8])),
            ("city", json!(["San Francisco", "Los Angeles"])),
            ("elevation", json!([4.0, 38.5])),
            ("embedding", json!([[0.5, -1.5], []])),
            ("opened", json!(["1927-05-07T00:00:00Z", null])),
        ] {
            assert_eq!(now(&serving, feature, &both)[0], expected, "{feature}");
        }
        assert_eq!(
            now(&serving, "opened", &both)[1],
            json!(["fresh", "removed"])
        );
        let times = json!(["2020-01-02T00:00:00Z", "2020-01-02T00:00:00Z"]);
        assert_eq!(now(&serving, "runways", &both)[2], times);
        // Older ones lose, feature by feature and entity by entity; of one time the last stays.
        let each_its_own = json!({
            "entities": both,
            "event_times": ["2020-01-01T00:00:00Z", "2020-01-03T01:00:00+01:00"],
            "features": [{"feature": "runways", "values": [1, 2]}],
        });
        assert_eq!(serving.post(PUT, &each_its_own).0, 200);
        assert_eq!(now(&serving, "runways", &both)[0], json!([4, 2]));
        for runways in [3, 5] {
            let again = values(
                &json!(["SFO"]),
                "2020-01-02T00:00:00Z",
                &[("runways", json!([runways]))],
            );
            assert_eq!(serving.post(PUT, &again).0, 200);
            assert_eq!(now(&serving, "runways", &["SFO"])[0], json!([runways]));
        }
        // A null removes, and nothing older shows again.
        let removed = values(
            &json!(["SFO"]),
            "2020-01-04T00:00:00Z",
            &[("city", json!([null]))],
        );
        assert_eq!(serving.post(PUT, &removed).0, 200);
        assert_eq!(now(&serving, "city", &["SFO"])[1], json!(["removed"]));
        // Whoever else reads the store sees it as soon as the store shows it.
        let get = ["get", "airport", "SFO", "runways@1", "--json"];
        let seen: Value = serde_json::from_str(&folder.penstock(&get).fine()).unwrap();
        assert_eq!(seen["features"][0]["value"], 5);
        // The next server is a later writer, also at the same time.
        serving.stop();
        let serving = Serving::start(folder);
        assert_eq!(now(&serving, "runways", &both)[0], json!([5, 2]));
        let later = values(
            &json!(["SFO"]),
            "2020-01-02T00:00:00Z",
            &[("runways", json!([6]))],
        );
        assert_eq!(serving.post(PUT, &later).0, 200);
        assert_eq!(now(&serving, "runways", &["SFO"])[0], json!([6]));
        serving.stop();
    });
}

#[test]
fn a_put_with_anything_wrong_stores_nothing() {
    each("wrong", |folder| {
        let serving = Serving::start(folder);
        let both = ["SFO", "LAX"];
        let time = "2020-01-02T00:00:00Z";
        let right = values(
            &json!(both),
            time,
            &[
                ("runways", json!([4, 8])),
                ("city", json!(["Nowhere", null])),
            ],
        );
        assert_eq!(serving.post(PUT, &right).0, 200);
        let newer = "2020-01-03T00:00:00Z";
        let put = |features: &[(&str, Value)]| values(&json!(both), newer, features);
        // The first feature would be fine.
        let second =
            |feature: &str, given: Value| put(&[("runways", json!([5, 5])), (feature, given)]);
        let of = |entities: Value| values(&entities, newer, &[("runways", json!([5]))]);
        let large: Vec<String> = (0..2_000).map(|at| format!("entity {at}")).collect();
        let cases = [
            (
                second("runwys", json!([1, 1])),
                404,
                "did you mean `runways`",
            ),
            (
                second("city@7", json!(["Nowhere", "Nowhere"])),
                404,
                "has no feature",
            ),
            (
                second("flights_1d", json!([1, 1])),
                409,
                "computed by pipeline \"pipeline\"",
            ),
            (
                second("elevation", json!(["high", 1])),
                400,
                "entity \"SFO\", feature \"elevation@1\": \"high\" is no float64",
            ),
            (
                put(&[("runways", json!([5, 5.5]))]),
                400,
                "entity \"LAX\", feature \"runways@1\": 5.5 is no int64",
            ),
            (
                put(&[("runways", json!([5, 21]))]),
                400,
                "entity \"LAX\", feature \"runways@1\": 21 is above the maximum of 20 (above-max); nothing was stored",
            ),
            (
                put(&[("runways", json!([5, null]))]),
                400,
                "nulls are not allowed (null)",
            ),
            (
                second("city", json!(["Nowhere", "Rome"])),
                400,
                "(not-allowed)",
            ),
            (
                second("city", json!(["Nowhere", "x".repeat(17)])),
                400,
                "not-allowed",
            ),
            (
                second("city", json!(["Nowhere"])),
                400,
                "has 1 values, and 2 entities are put",
            ),
            (
                put(&[("runways", json!([5, 5])), ("runways@1", json!([6, 6]))]),
                400,
                "is put twice",
            ),
            (of(json!([""])), 400, "entity 0 has 0 bytes"),
            (of(json!(["x".repeat(3 << 10)])), 400, "1 to 2048 bytes"),
            (of(json!([])), 400, "no entities"),
            (put(&[]), 400, "no features"),
            (values(&json!(large), newer, &[]), 413, "serving.max_body"),
            (
                values(
                    &json!(both),
                    "2999-01-01T00:00:00Z",
                    &[("runways", json!([5, 5]))],
                ),
                400,
                "more than a day ahead",
            ),
            (
                values(&json!(both), "yesterday", &[("runways", json!([5, 5]))]),
                400,
                "write it as in",
            ),
            (
                json!({"entities": both, "event_times": [newer], "event_time": newer, "features": []}),
                400,
                "either `event_time`",
            ),
            (
                json!({"entities": both, "event_times": [newer, newer, newer], "features": [{"feature": "runways", "values": [5, 5]}]}),
                400,
                "3 event times for 2 entities",
            ),
            (
                json!({"entities": both, "event_time": newer, "values": {}}),
                400,
                "unknown field `values`",
            ),
        ];
        for (body, wanted, says) in cases {
            let (code, answer) = serving.post(PUT, &body);
            assert_eq!(code, wanted, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(says), "{message}");
        }
        let (code, answer) = serving.post("/v1/groups/driver/put", &right);
        assert_eq!(code, 404, "{answer}");
        assert_eq!(serving.get(PUT).0, 405);
        // What was there is there, and nothing else.
        let [runways, _, times] = now(&serving, "runways", &both);
        assert_eq!((runways, times), (json!([4, 8]), json!([time, time])));
        assert_eq!(now(&serving, "city", &both)[0], json!(["Nowhere", null]));
        assert_eq!(
            now(&serving, "elevation", &both)[1],
            json!(["missing", "missing"])
        );
        serving.stop();
    });
}

#[test]
fn grpc_takes_columns_as_it_answers_with_them() {
    each("grpc", |folder| {
        let serving = Serving::start(folder);
        let mut client = serving.client();
        let column = |feature: &str, states: &[u8], values: column::Values| Column {
            feature: feature.into(),
            states: states.to_vec(),
            values: Some(values),
            ..Column::default()
        };
        let ints = |values: &[i64]| {
            column::Values::Ints(Ints {
                values: values.to_vec(),
            })
        };
        let request = |event_times_us: &[i64], columns: Vec<Column>| PutRequest {
            group: "airport".into(),
            entities: vec!["SFO".into(), "LAX".into()],
            event_times_us: event_times_us.to_vec(),
            columns,
        };
        let doubles = column::Values::Doubles(Doubles {
            values: vec![4.5, 0.0],
        });
        let texts = |values: &[&str]| {
            let values = values.iter().map(|it| (*it).to_owned()).collect();
            column::Values::Texts(Texts { values })
        };
        HOST.io.block_on(async {
            let columns = vec![
                column("runways", &[], ints(&[4, 8])),
                column("elevation@1", &[3, 1], doubles.clone()),
            ];
            let put = client.put(request(&[1_000_000], columns)).await.unwrap();
            assert_eq!(put.into_inner().values, 4);
            for (refused, code, says) in [
                (
                    request(&[2_000_000], vec![column("runways", &[], doubles.clone())]),
                    Code::InvalidArgument,
                    "takes `ints`, and `doubles` were sent",
                ),
                (
                    request(
                        &[2_000_000],
                        vec![column("runways", &[2, 2], ints(&[5, 0]))],
                    ),
                    Code::InvalidArgument,
                    "0 is below the minimum",
                ),
                (
                    request(&[2_000_000], vec![column("runways", &[2], ints(&[5, 5]))]),
                    Code::InvalidArgument,
                    "has 1 states",
                ),
                (
                    request(&[], vec![column("runways", &[], ints(&[5, 5]))]),
                    Code::InvalidArgument,
                    "0 event times",
                ),
                (
                    request(&[i64::MAX], vec![column("runways", &[], ints(&[5, 5]))]),
                    Code::InvalidArgument,
                    "outside of the years",
                ),
                (
                    request(&[2_000_000], vec![column("flights_1d", &[], ints(&[5, 5]))]),
                    Code::FailedPrecondition,
                    "computed by pipeline",
                ),
                (
                    request(&[2_000_000], vec![column("other", &[], ints(&[5, 5]))]),
                    Code::NotFound,
                    "has no feature",
                ),
                (
                    request(
                        &[2_000_000],
                        vec![Column {
                            feature: "runways".into(),
                            ..Column::default()
                        }],
                    ),
                    Code::InvalidArgument,
                    "without values",
                ),
                (
                    request(
                        &[2_000_000],
                        vec![column(
                            "city",
                            &[],
                            texts(&["x".repeat(32 << 10).as_str(), ""]),
                        )],
                    ),
                    Code::OutOfRange,
                    "",
                ),
            ] {
                let status = client.put(refused).await.unwrap_err();
                assert_eq!(status.code(), code, "{status}");
                assert!(status.message().contains(says), "{status}");
            }
        });
        let both = ["SFO", "LAX"];
        assert_eq!(now(&serving, "runways", &both)[0], json!([4, 8]));
        let [elevation, states, _] = now(&serving, "elevation", &both);
        assert_eq!(elevation, json!([4.5, null]));
        assert_eq!(states, json!(["fresh", "removed"]));
        serving.stop();
    });
}

#[test]
fn who_may_read_may_not_write_and_the_other_way_round() {
    let tokens = "[environments.local.serving.tokens.reader]\nfile = \"reader.token\"\nread = [\"airport\"]\n\
         [environments.local.serving.tokens.writer]\nfile = \"writer.token\"\nwrite = [\"airport\"]";
    let folder = flights(&format!("store = \"store\"\n{tokens}"));
    folder.write("airports.toml", AIRPORTS);
    folder.write("reader.token", "the-token-of-a-reader");
    folder.write("writer.token", "the-token-of-a-writer");
    folder
        .penstock(&["features", "apply", "airports.toml"])
        .fine();
    let serving = Serving::start(&folder);
    let body = values(
        &json!(["SFO"]),
        "2020-01-02T00:00:00Z",
        &[("runways", json!([4]))],
    );
    let asked = json!({"entities": ["SFO"], "features": ["runways"]});
    let with = |token: &str, path: &str, body: &Value| {
        let url = format!("http://{}{path}", serving.rest);
        serving.ask(|client| json_to(client.post(url), body).bearer_auth(token))
    };
    let (code, answer) = with("the-token-of-a-reader", PUT, &body);
    assert_eq!(code, 403);
    assert!(
        answer.to_string().contains("may not write group"),
        "{answer}"
    );
    assert_eq!(serving.post(PUT, &body).0, 401);
    assert_eq!(with("the-token-of-nobody", PUT, &body).0, 401);
    assert_eq!(with("the-token-of-a-writer", PUT, &body).0, 200);
    assert_eq!(with("the-token-of-a-writer", GET, &asked).0, 403);
    let (_, answer) = with("the-token-of-a-reader", GET, &asked);
    assert_eq!(answer["features"][0]["values"], json!([4]));
    // A group that nobody declared is no other one to somebody without the right to it.
    assert_eq!(
        with("the-token-of-a-writer", "/v1/groups/x/put", &body).0,
        403
    );
    serving.stop();
}

#[test]
fn a_server_that_is_killed_loses_nothing_that_it_acknowledged() {
    each("killed", |folder| {
        for round in 0..2 {
            let serving = Serving::start(folder);
            let url = format!("http://{}{PUT}", serving.rest);
            let (told, acknowledged) = std::sync::mpsc::sync_channel(0);
            let asking = std::thread::spawn(move || {
                let client = reqwest::Client::new();
                for at in 1_u32.. {
                    let time = format!("2020-01-0{}T00:{:02}:{:02}Z", round + 1, at / 60, at % 60);
                    let body = values(
                        &json!(["SFO", "LAX"]),
                        &time,
                        &[("elevation", json!([at, -f64::from(at)]))],
                    );
                    let sent = HOST.io.block_on(json_to(client.post(&url), &body).send());
                    match sent {
                        Ok(answer) => assert_eq!(answer.status().as_u16(), 200),
                        Err(_) => return,
                    }
                    if told.send(at).is_err() {
                        return;
                    }
                }
            });
            let mut last = 0;
            while last < 20 + 7 * round {
                last = acknowledged.recv().unwrap();
            }
            serving.kill();
            // What was on its way when it was killed may be there or not.
            last = acknowledged.try_iter().last().unwrap_or(last);
            drop(acknowledged);
            asking.join().unwrap();
            let serving = Serving::start(folder);
            let [elevation, ..] = now(&serving, "elevation", &["SFO", "LAX"]);
            let found = elevation[0].as_f64().unwrap();
            assert!(
                found >= f64::from(last),
                "{found} is there, and {last} was acknowledged"
            );
            serving.stop();
        }
    });
}

#[test]
fn one_process_takes_the_values_of_an_embedded_store() {
    let folder = declared("store = \"store\"", "serving = { anyone = \"write\" }");
    let (one, other) = (Serving::start(&folder), Serving::start(&folder));
    let body = |runways: u32| {
        values(
            &json!(["SFO"]),
            "2020-01-02T00:00:00Z",
            &[("runways", json!([runways]))],
        )
    };
    assert_eq!(one.post(PUT, &body(1)).0, 200);
    let (code, answer) = other.post(PUT, &body(2));
    assert_eq!(code, 409);
    let told = answer.to_string();
    assert!(told.contains("another process takes the values"), "{told}");
    // It sees what is put there within the bound, and takes over when that one ends.
    let until = HOST.clock.now() + Duration::from_secs(20);
    while now(&other, "runways", &["SFO"])[0] != json!([1]) {
        assert!(HOST.clock.now() < until, "it is not seen");
    }
    one.kill();
    assert_eq!(other.post(PUT, &body(3)).0, 200);
    assert_eq!(now(&other, "runways", &["SFO"])[0], json!([3]));
    other.stop();
}

#[test]
fn a_run_takes_values_as_well() {
    let folder = declared("store = \"store\"", "serving = { anyone = \"write\" }");
    let run = start(&folder, &["--listen", "127.0.0.1:0", "--speed", "1x"]);
    let ask = |path: &str, body: &Value| {
        let url = format!("http://{}{path}", run.address);
        HOST.io.block_on(async {
            let sent = json_to(reqwest::Client::new().post(url), body).send().await;
            let answer = sent.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    let body = values(
        &json!(["SFO"]),
        "2020-01-02T00:00:00Z",
        &[("runways", json!([4]))],
    );
    assert_eq!(ask(PUT, &body), (200, "{\"values\":1}".to_owned()));
    let (code, answer) = ask(GET, &json!({"entities": ["SFO"], "features": ["runways"]}));
    assert_eq!(code, 200, "{answer}");
    assert!(answer.contains("\"values\":[4]"), "{answer}");
    run.signal(Signal::TERM);
    run.wait();
}
