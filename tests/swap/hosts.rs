//! Swaps while hosts come and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::versions::{Wrong, ask, generations, pipeline, same_but, swap, until_all_have, version};
use crate::live::pipeline::{Pipeline, beside, pause, wait};
use crate::live::topic::Topic;

const RUN: &str = "lanes = 2\ncommit_every = \"10ms\"";

/// The hosts that lanes had at their last commits.
fn hosts(pipeline: &Pipeline) -> BTreeSet<String> {
    let status = pipeline.folder.penstock(&["status", "totals", "--json"]);
    let status: Value = serde_json::from_str(&status.fine()).unwrap();
    let lanes = status["lanes"].as_array().unwrap().iter();
    let hosts = lanes.map(|lane| lane["host"].as_str().unwrap_or_default().to_owned());
    hosts.collect()
}

/// Waits until two hosts have committed all lanes as this generation.
fn until_two_have(pipeline: &Pipeline, number: u64) {
    let mut last = (Vec::new(), BTreeSet::new());
    wait(
        || {
            last = (generations(pipeline), hosts(pipeline));
            last.0.iter().all(|it| *it == number) && last.1.len() == 2
        },
        || format!("two hosts have generation {number}"),
    );
}

#[test]
fn swaps_while_partitions_move_between_hosts_count_each_event_once() {
    let mut topic = Topic::new("swap-moves", 4, 20);
    let disturbed = pipeline(&topic, "swap-moves", 0, RUN);
    let is_over = AtomicBool::new(false);
    topic.write(500);
    let one = disturbed.start_with_all(&topic, "one");
    let topic = beside(
        || {
            while !is_over.load(Ordering::Relaxed) {
                topic.write(50);
                pause(Duration::from_millis(50));
            }
            topic
        },
        || {
            let end = Ending(&is_over);
            let number = ask(&disturbed, "next.wasm", same_but("versioned", 1));
            let two = disturbed.start("two");
            until_two_have(&disturbed, number);
            // It is taken back while nobody has the lanes of the second host.
            swap(&disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
            two.stop();
            disturbed.folder.penstock(&["rollback", "totals"]).fine();
            let two = disturbed.start("two");
            until_two_have(&disturbed, number);
            let last = ask(&disturbed, "last.wasm", same_but("versioned", 2));
            two.kill();
            until_all_have(&disturbed, last);
            drop(end);
        },
    );
    one.stop();
    let left = disturbed.finish(&topic, "one");
    let undisturbed = pipeline(&topic, "swap-does-not-move", 0, RUN);
    left.is(&undisturbed.finish(&topic, "one"), "what has moved");
}

/// Has the writer end, also where something fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
