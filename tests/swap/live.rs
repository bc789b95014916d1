//! Swaps in a row, under load, on a real broker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::versions::{WINDOW, Wrong, beginning_with, generations, history, swap, version};
use crate::live::pipeline::{Pipeline, beside, pause};
use crate::live::topic::Topic;
use crate::support::cases;
use crate::support::servers::kafka::{consume, create};

/// Swaps in a row, of `cargo xtask test`.
const SWAPS: u32 = 20;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// A pipeline whose versions sign what they make, and which publishes its rows under its group's name.
fn publishing(topic: &Topic, group: &str) -> Pipeline {
    create(&topic.bootstrap, &rows_of(group), 2);
    let rows = format!(
        "[environments.local.topics.rows]\nformat = \"json\"\nkafka = {{ brokers = \"{}\", topic = \"{}\" }}\n",
        topic.bootstrap,
        rows_of(group)
    );
    let pipeline = Pipeline::with_store(topic, group, WINDOW, RUN, ("store", &rows));
    let pipeline = beginning_with(version(1, Wrong::Signs), pipeline);
    let text = pipeline.folder.text("pipeline.toml");
    let text = text.replace("look_every = \"50ms\"", "look_every = \"20ms\"");
    let outputs = "[outputs]\ntopics = [\"rows\"]\n";
    pipeline.folder.write("pipeline.toml", text + outputs);
    pipeline
}

fn rows_of(group: &str) -> String {
    format!("{group}-rows")
}

/// How many rows each window had, by what it is told by: its key, its start and its revision. Each is there once, and was
/// made by the generation that its header names, which is none before that of the output before it.
fn published(topic: &Topic, group: &str) -> BTreeMap<String, u64> {
    let mut windows = BTreeMap::new();
    let mut lanes: BTreeMap<String, BTreeMap<(u64, u64), u64>> = BTreeMap::new();
    for message in consume(&topic.bootstrap, &rows_of(group)) {
        let row: Value = serde_json::from_str(message.text()).unwrap();
        let generation: u64 = message.header("penstock-generation").parse().unwrap();
        assert_eq!(row["sum"], generation as f64, "{message:?}");
        let (lane, place) = message.lane();
        let lane = lanes.entry(lane.to_owned()).or_default();
        assert_eq!(lane.insert(place, generation), None, "{message:?}");
        let window = ["key", "window_start", "revision"].map(|part| row[part].to_string());
        let rows = row["rows"].as_u64().unwrap();
        let twice = windows.insert(window.join(" "), rows);
        assert_eq!(twice, None, "{message:?}");
    }
    for (lane, made_by) in lanes {
        assert!(made_by.values().is_sorted(), "{lane}: {made_by:?}");
    }
    windows
}

#[test]
fn after_twenty_swaps_under_load_everything_is_as_if_there_had_been_none() {
    let mut topic = Topic::new("swapped", 2, 5);
    let swapped = publishing(&topic, "swapped");
    topic.write(500);
    let mut process = swapped.start_with_all(&topic, "one");
    let swaps = cases(SWAPS).cases;
    let over = AtomicBool::new(false);
    let mut topic = beside(
        || {
            while !over.load(Ordering::Relaxed) {
                topic.write(100);
                pause(Duration::from_millis(100));
            }
            topic
        },
        || {
            for number in 2..u64::from(swaps) + 2 {
                let bytes = version(number, Wrong::Signs);
                let generation = swap(&swapped, &format!("{number}.wasm"), bytes);
                assert_eq!(generation, number);
            }
            over.store(true, Ordering::Relaxed);
        },
    );
    topic.write(500);
    swapped.catch_up(&topic, &mut [&mut process]);
    let left = swapped.left(&process.stop());
    assert_eq!(generations(&swapped), [u64::from(swaps) + 1; 4]);
    let fates: Vec<String> = history(&swapped).into_iter().map(|it| it.1).collect();
    assert_eq!(fates.last().unwrap(), "running");
    assert!(
        fates[..swaps.min(999) as usize]
            .iter()
            .all(|it| it == "replaced"),
        "{fates:?}"
    );

    let plain = publishing(&topic, "not-swapped");
    let expected = plain.finish(&topic, "one");
    // Sums say who made them, which is not what is compared.
    let left = left.without("sum_1m");
    left.is(&expected.without("sum_1m"), "what was swapped");
    let windows = published(&topic, "swapped");
    assert!(!windows.is_empty());
    assert_eq!(windows, published(&topic, "not-swapped"));
}
