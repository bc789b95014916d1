//! Swaps in a row, under load, on a real broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::versions::{WINDOW, generations, history, same_but, swap};
use crate::live::pipeline::{Pipeline, beside, pause};
use crate::live::topic::Topic;
use crate::support::cases;

/// Swaps in a row, of `cargo xtask test`.
const SWAPS: u32 = 20;

#[test]
fn after_twenty_swaps_under_load_everything_is_as_if_there_had_been_none() {
    let run = "lanes = 2\ncommit_every = \"5ms\"";
    let mut topic = Topic::new("swapped", 2, 5);
    let swapped = Pipeline::over(&topic, "swapped", WINDOW, run);
    let text = swapped.folder.text("pipeline.toml");
    swapped
        .folder
        .write("pipeline.toml", text + "[swap]\nlook_every = \"20ms\"\n");
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
            // Two versions, so that they are compiled once each.
            for number in 0..swaps {
                let name = format!("{number}.wasm");
                let generation = swap(&swapped, &name, same_but("ledger", (number % 2) as u8));
                assert_eq!(generation, u64::from(number) + 2);
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

    let plain = Pipeline::over(&topic, "not-swapped", WINDOW, run);
    let plain = plain.finish(&topic, "one");
    left.is(&plain, "what was swapped");
}
