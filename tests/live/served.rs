//! What live pipelines tell of themselves over HTTP.

use serde_json::Value;

use super::pipeline::{Pipeline, Process, wait};
use super::topic::Topic;
use crate::crash::stream::WINDOWS;
use crate::support::ask;

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
