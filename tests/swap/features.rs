//! Features that come with a version, beside those that are served already.

use super::versions::{Wrong, pipeline, successor, swap, version};
use crate::live::topic::Topic;

const ADDED: &str = r#"
[[feature]]
name = "greatest_{window}"
column = "greatest"
type = "float64"
[[feature]]
name = "sum_{window}"
version = 2
column = "sum"
type = "float64"
"#;

#[test]
fn features_are_added_beside_others_and_none_that_is_served_breaks() {
    let mut topic = Topic::new("features-added", 1, 14);
    let pipeline = pipeline(&topic, "features-added", 0, "commit_every = \"5ms\"");
    topic.write(500);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);
    let next = successor(0, Wrong::Nothing);
    swap(&pipeline, "next.wasm", next);
    process.stop();

    let text = pipeline.folder.text("pipeline.toml");
    let text = text.replace("begin.wasm", "next.wasm") + ADDED;
    pipeline.folder.write("pipeline.toml", text);
    let mut process = pipeline.start_with_all(&topic, "one");
    topic.write(1_000);
    pipeline.catch_up(&topic, &mut [&mut process]);
    let store = pipeline.store();
    for feature in ["greatest_1m", "sum_1m", "rows_1m"] {
        let is_served = |line: &String| line.contains(feature) && line.contains("Some");
        assert!(store.iter().any(is_served), "{feature}: {store:?}");
    }
    let get = ["get", "key", "1", "sum_1m@1", "sum_1m@2"];
    let both = pipeline.folder.penstock(&get).fine();
    assert!(
        both.contains("sum_1m@1") && both.contains("sum_1m@2"),
        "{both}"
    );

    pipeline
        .folder
        .write("before.wasm", version(1, Wrong::Nothing));
    let swap = ["swap", "totals", "before.wasm", "--wait", "60s"];
    let says = ["generation 3 was refused", "no column `greatest`"];
    pipeline.folder.penstock(&swap).fails(2, &says);
    process.stop();

    // What is served does not go unless somebody says that it may.
    let text = pipeline.folder.text("pipeline.toml").replace(ADDED, "");
    pipeline.folder.write("pipeline.toml", &text);
    let says = [
        "key/greatest_1m@1, key/sum_1m@2 any more",
        "retired = [\"key/greatest_1m@1\", \"key/sum_1m@2\"]",
    ];
    pipeline.start("one").fails(2, &says);
    let retired = "retired = [\"key/greatest_1m@1\", \"sum_1m@2\"]\n";
    pipeline
        .folder
        .write("pipeline.toml", retired.to_owned() + &text);
    let mut process = pipeline.start_with_all(&topic, "one");
    topic.write(200);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();
    let get = ["get", "key", "1", "sum_1m@1", "sum_1m@2"];
    pipeline.folder.penstock(&get).fine();
}
