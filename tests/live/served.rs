//! What live pipelines tell of themselves over HTTP.

use penstock::store::dynamodb::DynamoDbStore;
use serde_json::{Value, json};

use super::pipeline::{Pipeline, Process, wait};
use super::topic::Topic;
use crate::crash::stream::{KEYS, WINDOWS};
use crate::support::servers::dynamodb::{self, SHARED};
use crate::support::{HOST, ask};

const RUN: &str = "commit_every = \"20ms\"";

fn listening(topic: &Topic, group: &str) -> Pipeline {
    listening_with(topic, group, ("store", ""))
}

/// With a store at some place, and more lines of `penstock.toml`.
pub(super) fn listening_with(topic: &Topic, group: &str, store: (&str, &str)) -> Pipeline {
    let pipeline = Pipeline::with_store(topic, group, WINDOWS[0], RUN, store);
    let environment = pipeline.folder.text("penstock.toml");
    let environment = environment.replace(
        "output = \"out\"",
        "output = \"out\"\nlisten = \"127.0.0.1:0\"",
    );
    pipeline.folder.write("penstock.toml", environment);
    pipeline
}

pub(super) fn status(address: &str) -> Value {
    let (_, text) = ask(address, "/status");
    serde_json::from_str::<Value>(&text).unwrap()["pipelines"][0].take()
}

fn wait_for_ready(address: &str) {
    wait(
        || ask(address, "/ready").0 == 200,
        || format!("it is ready: {:?}", ask(address, "/ready")),
    );
}

#[test]
fn what_is_told_while_it_works_is_what_is_reported_at_the_end() {
    let mut topic = Topic::new("served", 2, 300);
    topic.write(500);
    let pipeline = listening(&topic, "served");
    let mut process = pipeline.start("one");
    let address = process.address();
    assert_eq!(ask(&address, "/health"), (200, "ok\n".to_owned()));
    wait_for_ready(&address);
    pipeline.catch_up(&topic, &mut [&mut process]);
    let running = || status(&address)["state"] == "running";
    wait(running, || "it has caught up".to_owned());

    // Whoever has nothing to do is not taken to be at work, however long that lasts.
    let is_at_rest = || {
        let told = status(&address);
        let mut parts = told["parts"].as_array().unwrap().iter();
        parts.all(|part| part["doing"] == "resting")
    };
    wait(is_at_rest, || format!("all rest: {}", status(&address)));
    // Everything is committed, so nothing of this changes any more.
    let told = status(&address);
    assert_eq!(told["events"]["read"], 500);
    assert!(told["watermark"].is_string(), "{told}");
    let lanes = told["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 2);
    for lane in lanes {
        assert!(lane["commits"]["count"].as_u64().unwrap() > 0, "{lane}");
        assert!(lane["commit_age_s"].is_f64(), "{lane}");
    }
    let splits = told["splits"].as_array().unwrap();
    let sum = |of: &dyn Fn(&Value) -> u64| splits.iter().map(of).sum::<u64>();
    assert_eq!(sum(&|split| split["position"].as_u64().unwrap()), 500);
    assert_eq!(
        sum(&|split| split["freshness"]["count"].as_u64().unwrap()),
        500
    );
    let (_, metrics) = ask(&address, "/metrics");
    for line in [
        "penstock_records_read_total{pipeline=\"totals\"} 500",
        "penstock_pipeline_lanes{pipeline=\"totals\"} 2",
        "penstock_pipeline_state{pipeline=\"totals\",state=\"running\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    let summary = process.stop();
    assert_eq!(summary[0]["events"], told["events"]);
    assert_eq!(summary[0]["rejected_by_reason"], told["rejected_by_reason"]);
}

/// What is answered of a feature of every key: when each value is of, and the value.
fn answered(address: &str, feature: &str) -> Vec<Option<(String, u64)>> {
    let keys: Vec<String> = (0..KEYS).map(|key| key.to_string()).collect();
    let body = json!({"entities": keys, "features": [feature]});
    let url = format!("http://{address}/v1/groups/key/batch-get");
    let answer = HOST.io.block_on(async {
        let request = reqwest::Client::new().post(url);
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (code, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(code, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    });
    let told = &answer["features"][0];
    let times = told["event_times"].as_array().unwrap().iter();
    let values = times.zip(told["values"].as_array().unwrap());
    let values = values.map(|(time, value)| Some((time.as_str()?.to_owned(), value.as_u64()?)));
    values.collect()
}

#[test]
fn what_is_committed_is_served_at_once_however_old_the_cache_may_be() {
    for (name, is_table) in [("served-cached", false), ("served-cached-table", true)] {
        let mut topic = Topic::new(name, 2, 302);
        topic.write(300);
        let (mut store, mut settings) = ("store".to_owned(), String::new());
        if is_table {
            let table = dynamodb::table(name);
            HOST.io.block_on(DynamoDbStore::init(&table)).unwrap();
            store = format!("dynamodb://{name}\"\nstate = \"state");
            settings = dynamodb::settings(&format!("http://127.0.0.1:{}", SHARED.port()));
        }
        let pipeline = listening_with(&topic, name, (&store, &settings));
        let with_cache = |max_age: &str| {
            let environment = pipeline.folder.text("penstock.toml");
            let cache = format!("[environments.local]\ncache = {{ max_age = \"{max_age}\" }}");
            let environment = environment.replacen("[environments.local]", &cache, 1);
            environment.replacen("output =", "serving = {}\noutput =", 1)
        };
        pipeline.folder.write("penstock.toml", with_cache("1h"));
        let mut process = pipeline.start("one");
        let address = process.address();
        wait_for_ready(&address);
        let (mut answers, feature) = (Vec::new(), "rows_1m");
        for _ in 0..4 {
            pipeline.catch_up(&topic, &mut [&mut process]);
            answers.push(answered(&address, feature));
            topic.write(600);
        }
        pipeline.catch_up(&topic, &mut [&mut process]);
        answers.push(answered(&address, feature));
        assert!(answers.windows(2).all(|pair| pair[0] != pair[1]));
        process.stop();
        // Another process, which has never seen any of it.
        let mut other = pipeline.start("one");
        let address = other.address();
        wait_for_ready(&address);
        assert_eq!(answers.last(), Some(&answered(&address, feature)));
        other.stop();
    }
}

#[test]
fn a_member_without_a_partition_is_ready_too() {
    let topic = Topic::new("served-twice", 1, 301);
    let pipeline = listening(&topic, "served-twice");
    let mut processes = [pipeline.start("one"), pipeline.start("two")];
    let addresses = processes.each_mut().map(Process::address);
    addresses.iter().for_each(|address| wait_for_ready(address));
    let lanes = || -> usize {
        let lanes = addresses.iter();
        lanes
            .map(|address| status(address)["lanes"].as_array().unwrap().len())
            .sum()
    };
    wait(
        || lanes() == 1,
        || format!("one of them has the lane: {}", lanes()),
    );
    let [one, two] = processes;
    one.stop();
    // The other one takes over.
    wait_for_ready(&addresses[1]);
    two.stop();
}
