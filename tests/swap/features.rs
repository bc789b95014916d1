//! Features that come with a version, beside those that are served already.

use super::versions::{Wrong, history, notes, pipeline, successor, swap, until_all_have, version};
use crate::live::pipeline::Pipeline;
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

/// Whether a feature is served of any key.
fn is_served(pipeline: &Pipeline, feature: &str) -> bool {
    let store = pipeline.store();
    let mut served = store.iter().filter(|line| line.contains(feature));
    served.any(|line| line.contains("Some"))
}

#[test]
fn a_version_is_taken_back_also_where_the_one_before_lacks_features_that_were_added() {
    let mut topic = Topic::new("features-back", 1, 15);
    let run = "commit_every = \"5ms\"";
    let disturbed = pipeline(&topic, "features-back", 0, run);
    topic.write(500);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    let wrong = swap(&disturbed, "next.wasm", successor(7, Wrong::Nothing));
    process.stop();

    let text = disturbed.folder.text("pipeline.toml");
    let added = text.replace("begin.wasm", "next.wasm") + ADDED;
    disturbed.folder.write("pipeline.toml", &added);
    let mut process = disturbed.start_with_all(&topic, "one");
    topic.write(1_000);
    disturbed.catch_up(&topic, &mut [&mut process]);
    assert!(is_served(&disturbed, "greatest_1m"));

    let back = ["rollback", "totals", "--reason", "sums are too large"];
    let back = disturbed.folder.penstock(&back);
    assert!(back.fine().contains("back to generation 1"));
    until_all_have(&disturbed, 1);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    let lacks = |notes: Vec<String>| {
        let lacking = |note: &&String| note.contains("does not compute key/greatest_1m@1,");
        notes.iter().filter(lacking).count()
    };
    assert_eq!(lacks(notes(&disturbed, 1)), 1);
    process.stop();
    // Whoever starts goes the same way, and says it no second time.
    let mut process = disturbed.start_with_all(&topic, "one");
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    assert_eq!(lacks(notes(&disturbed, 1)), 1);
    let left = disturbed.left(&process.stop());
    assert!(!is_served(&disturbed, "greatest_1m"));
    let fates = history(&disturbed).into_iter();
    let revoked: Vec<u64> = fates
        .filter(|it| it.1 == "revoked")
        .map(|it| it.0)
        .collect();
    assert_eq!(revoked, [wrong]);

    // Of the others it left what it leaves alone.
    let undisturbed = pipeline(&topic, "features-not-back", 0, run);
    let text = undisturbed.folder.text("pipeline.toml");
    let kept = text + &ADDED[ADDED.rfind("[[feature]]").unwrap()..];
    undisturbed.folder.write("pipeline.toml", kept);
    let left = left.without("greatest_1m");
    left.is(&undisturbed.finish(&topic, "one"), "what was taken back");

    // The next version that computes them has them written again.
    let mut process = disturbed.start_with_all(&topic, "one");
    swap(&disturbed, "mended.wasm", successor(0, Wrong::Nothing));
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    process.stop();
    assert!(is_served(&disturbed, "greatest_1m"));
}
