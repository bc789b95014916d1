//! Versions that do not fit: refused before any lane hears of them, with the reason.

use super::versions::{Wrong, generations, pipeline, version};
use crate::live::pipeline::Pipeline;
use crate::live::topic::Topic;
use crate::support::transform;

const RUN: &str = "lanes = 1\ncommit_every = \"5ms\"";

fn is_refused(pipeline: &Pipeline, component: &str, says: &[&str]) {
    let swap = ["swap", "totals", component, "--wait", "60s"];
    pipeline.folder.penstock(&swap).fails(2, says);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut topic = Topic::new("swap-refused", 1, 8);
    let pipeline = pipeline(&topic, "swap-refused", 0, RUN);
    topic.write(500);
    let swap = ["swap", "totals", "begin.wasm"];
    let never = pipeline.folder.penstock(&swap);
    never.fails(2, &["it does not exist"]);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);

    let write = |name: &str, bytes| pipeline.folder.write(name, bytes);
    write("shut.wasm", version(1, Wrong::DoesNotOpen));
    is_refused(
        &pipeline,
        "shut.wasm",
        &["generation 2 was refused", "it does not open"],
    );
    let states = transform("ledger");
    is_refused(
        &pipeline,
        states.to_str().unwrap(),
        &["states have other columns"],
    );
    let mapper = transform("unruly_mapper");
    is_refused(
        &pipeline,
        mapper.to_str().unwrap(),
        &["this component is a mapper"],
    );
    write("text.wasm", b"text".to_vec());
    is_refused(&pipeline, "text.wasm", &["not a WebAssembly component"]);
    is_refused(&pipeline, "begin.wasm", &["is wanted already"]);
    is_refused(&pipeline, "driver@1", &["driver@1", "it is empty"]);
    pipeline
        .folder
        .penstock(&["swap", "other", "begin.wasm"])
        .fails(2, &["pipeline other has no generation"]);

    topic.write(500);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();
    assert_eq!(generations(&pipeline), [1]);

    // Whoever asks where no host runs hears that nobody has it, and it stays wanted.
    write("next.wasm", version(1, Wrong::Nothing));
    let swap = ["swap", "totals", "next.wasm", "--wait", "1s"];
    let asked = pipeline.folder.penstock(&swap);
    asked.fails(1, &["no host has said within 1s", "it stays wanted"]);
    is_refused(&pipeline, "next.wasm", &["is wanted already"]);
}
