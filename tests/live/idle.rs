//! Streams on which nothing comes any more.

use super::pipeline::{Pipeline, wait};
use super::topic::Topic;

const WINDOW: &str = "kind = \"tumbling\"\nsize = \"2s\"";

#[test]
fn time_goes_on_to_the_latest_event_where_a_pipeline_says_so() {
    let mut topic = Topic::new("idle", 2, 5);
    topic.write(500);
    let waiting = Pipeline::over(&topic, "idle-wait", WINDOW, "");
    waiting.finish(&topic, "one");
    let waiting = waiting.store();
    let window = format!("{WINDOW}\non_idle = \"advance\"\nidle_after = \"500ms\"");
    let advancing = Pipeline::over(&topic, "idle-advance", &window, "");
    let mut process = advancing.start("one");
    advancing.catch_up(&topic, &mut [&mut process]);
    // Windows of two seconds are shorter than the disorder of five: some are only closed by this.
    wait(
        || {
            let values = advancing.store();
            let (later, other) = values
                .iter()
                .zip(&waiting)
                .filter(|(now, before)| now != before)
                .fold((0, 0), |(later, other), (now, before)| {
                    match time(now) > time(before) {
                        true => (later + 1, other),
                        false => (later, other + 1),
                    }
                });
            assert_eq!(other, 0, "nothing is taken back");
            later > 0
        },
        || format!("windows close that only wait: {}", process.stderr()),
    );
    process.stop();
}

/// The event time of a value, as the store's lines show it.
fn time(line: &str) -> Option<i64> {
    let (_, rest) = line.split_once("Some((")?;
    rest.split_once(',')?.0.parse().ok()
}
