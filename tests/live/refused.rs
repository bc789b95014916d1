//! What a live pipeline cannot work on: one clear error each, or it tries on and says so.

use penstock::store::FeatureStore;
use penstock::store::embedded::EmbeddedStore;
use rustix::process::Signal;
use serde_json::Value;

use super::pipeline::{Pipeline, wait};
use super::topic::Topic;
use crate::crash::stream::WINDOWS;
use crate::support::HOST;
use crate::support::servers::kafka::{Writer, grow};

const RUN: &str = "commit_every = \"10ms\"";

fn started(name: &str, change: impl FnOnce(&Pipeline)) -> (Pipeline, super::pipeline::Process) {
    let mut topic = Topic::new(name, 2, 1);
    topic.write(50);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    change(&pipeline);
    let process = pipeline.start("one");
    (pipeline, process)
}

fn replace(pipeline: &Pipeline, file: &str, from: &str, to: &str) {
    let text = pipeline.folder.text(file);
    assert!(text.contains(from), "{text}");
    pipeline.folder.write(file, text.replace(from, to));
}

#[test]
fn a_topic_that_does_not_exist_is_told_with_one_that_does() {
    let (_pipeline, process) = started("no-such-topic", |pipeline| {
        replace(
            pipeline,
            "penstock.toml",
            "topic = \"no-such-topic\"",
            "topic = \"no-such-topik\"",
        );
    });
    process.fails(2, &["no-such-topik", "no-such-topic"]);
}

#[test]
fn a_topic_that_is_not_partitioned_by_the_key_is_refused() {
    let (_pipeline, process) = started("not-by-key", |pipeline| {
        replace(
            pipeline,
            "penstock.toml",
            "event_time = \"at\"",
            "event_time = \"at\"\npartitioned_by_key = false",
        );
    });
    process.fails(2, &["not partitioned by the key", "penstock.toml"]);
}

#[test]
fn a_topic_whose_keys_are_in_several_partitions_is_found_out() {
    let name = "not-by-key-found";
    let topic = Topic::new(name, 2, 1);
    let writer = Writer::new(&topic.bootstrap, name);
    let line = |key: u32| format!("{{\"at\":1000,\"key\":{key},\"amount\":1}}");
    writer.write(0, [line(1), line(2), line(3)]);
    writer.write(1, [line(4), line(2)]);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    pipeline.start("one").fails(
        2,
        &[
            "the key {\"key\":2} is in partition",
            "`partitioned_by_key = false`",
        ],
    );
}

#[test]
fn partitions_that_grew_end_the_pipeline() {
    let name = "grown";
    let mut topic = Topic::new(name, 2, 1);
    topic.write(200);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    pipeline.finish(&topic, "one");
    grow(&topic.bootstrap, name, 3);
    let process = pipeline.start("one");
    process.fails(2, &["had 2 partitions", "--fresh"]);
}

#[test]
fn state_of_another_transform_is_not_taken_over() {
    let name = "other-shape";
    let mut topic = Topic::new(name, 1, 1);
    topic.write(200);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    pipeline.finish(&topic, "one");
    replace(&pipeline, "pipeline.toml", "size = \"1m\"", "size = \"2m\"");
    let process = pipeline.start("one");
    process.fails(2, &["window", "--fresh"]);
}

#[test]
fn state_of_a_version_that_is_not_known_is_not_taken_over() {
    let name = "other-layout";
    let mut topic = Topic::new(name, 1, 1);
    topic.write(200);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    pipeline.finish(&topic, "one");
    HOST.io.block_on(async {
        let folder = pipeline.folder.path("store");
        let store = EmbeddedStore::open(&folder, &[]).await.unwrap();
        let lane = store.open_lane("totals", 0).await.unwrap();
        // How far the lane has come.
        let meta = lane
            .state
            .get(&[0])
            .await
            .unwrap()
            .expect("it has committed");
        let mut meta: Value = serde_json::from_slice(&meta).unwrap();
        let layout = meta["layout"].as_u64().unwrap();
        meta["layout"] = (layout + 1).into();
        let mut batch = lane.state.batch();
        batch.put(&[0], meta.to_string().as_bytes());
        lane.state.apply(batch).await.unwrap();
        lane.state.flush().await.unwrap();
        store.close_lane(lane).await.unwrap();
        store.close().await.unwrap();
    });
    let store = pipeline.store();
    pipeline.start("one").fails(2, &["layout", "--fresh"]);
    assert_eq!(pipeline.store(), store, "what was there is there");
}

#[test]
fn a_transform_that_is_refused_stops_no_other_pipeline() {
    let name = "beside-a-refused-one";
    let mut topic = Topic::new(name, 1, 1);
    topic.write(200);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    let good = pipeline.folder.text("pipeline.toml");
    pipeline.folder.write("broken.wasm", "no component");
    let lines = good.lines().map(|line| match line.split_once(" = ") {
        Some(("name", "\"totals\"")) => "name = \"broken\"",
        Some(("transform", _)) => "transform = \"broken.wasm\"",
        Some(("group", _)) => "group = \"other\"",
        _ => line,
    });
    let broken = lines.collect::<Vec<_>>().join("\n");
    pipeline.folder.write("broken.toml", broken);
    let mut process = pipeline.start_with("one", |command| {
        command.arg("broken.toml");
    });
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.signal(Signal::TERM);
    // That it ran without one of them is not forgotten at its end.
    let told = ["the pipeline was not started", "broken.wasm"];
    process.fails(2, &told);
}

#[test]
fn two_pipelines_of_one_name_and_store_are_told_apart() {
    let name = "twice";
    let mut topic = Topic::new(name, 1, 1);
    topic.write(200);
    let pipeline = Pipeline::over(&topic, name, WINDOWS[0], RUN);
    let first = pipeline.start("one");
    wait(
        || topic.is_done_by(name),
        || format!("it has caught up: {}", first.stderr()),
    );
    replace(
        &pipeline,
        "penstock.toml",
        "group = \"twice\"",
        "group = \"twice-again\"",
    );
    let second = pipeline.start("two");
    wait(
        || topic.is_done_by("twice-again"),
        || format!("the other one has caught up: {}", second.stderr()),
    );
    topic.write(50);
    wait(
        || first.stderr().contains("another process has the lane"),
        || format!("the first one is told: {}", first.stderr()),
    );
}
