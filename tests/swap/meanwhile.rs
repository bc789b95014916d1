//! What becomes of a version between its being handed to lanes and their going over to it.

use serde_json::Value;

use super::versions::{
    WINDOW, Wrong, ask, beginning_with, history, pipeline, until_all_have, version,
};
use crate::live::pipeline::{Pipeline, wait};
use crate::live::topic::Topic;
use crate::support;

const RUN: &str = "lanes = 1\ncommit_every = \"5ms\"";

#[test]
fn a_lane_that_fails_before_it_goes_over_says_nothing_of_the_version_that_it_is_to_have() {
    let mut topic = Topic::new("failed-meanwhile", 1, 17);
    // It is compiled by then.
    let good = version(0, Wrong::Nothing);
    let undisturbed = pipeline(&topic, "not-failed-meanwhile", 0, RUN);
    undisturbed.start_with_all(&topic, "one").stop();

    let never = version(0, Wrong::NeverAnswers);
    let disturbed = Pipeline::over(&topic, "failed-meanwhile", WINDOW, RUN);
    let disturbed = beginning_with(never, disturbed);
    let text = disturbed.folder.text("pipeline.toml");
    let limits = "[limits]\nfailures = 0\ncpu_per_call = \"10s\"\n";
    disturbed.folder.write("pipeline.toml", text + limits);
    let text = disturbed.folder.text("penstock.toml");
    let listens = "output = \"out\"\nlisten = \"127.0.0.1:0\"";
    let text = text.replacen("output = \"out\"", listens, 1);
    disturbed.folder.write("penstock.toml", text);
    let mut process = disturbed.start_with_all(&topic, "one");
    let address = process.address();
    topic.write(1);
    // The lane is in a call that does not end before it is ended.
    let status = || -> Value {
        let (_, status) = support::ask(&address, "/status");
        serde_json::from_str(&status).unwrap()
    };
    let works = |part: &Value| part["doing"] == "working" && part["for_s"].as_f64() > Some(0.3);
    wait(
        || {
            let status = status();
            let parts = status["pipelines"][0]["parts"].as_array().unwrap();
            parts.iter().any(works)
        },
        || "the lane is at it".to_owned(),
    );
    let next = ask(&disturbed, "next.wasm", good);
    wait(
        || {
            process.is_alive();
            status()["pipelines"][0]["generation"]["number"] == next
        },
        || "the version is handed over".to_owned(),
    );
    let fate = |number: u64| {
        let mut history = history(&disturbed).into_iter();
        history.find(|it| it.0 == number).unwrap().1
    };
    assert_eq!(fate(next), "wanted", "no lane has it");
    until_all_have(&disturbed, next);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    assert!(process.stderr().contains("failed while it was to change"));
    let left = disturbed.left(&process.stop());
    assert_eq!(fate(next), "running");
    left.is(&undisturbed.finish(&topic, "one"), "what failed meanwhile");
}
