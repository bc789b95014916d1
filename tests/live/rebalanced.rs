//! Processes that join, leave and freeze, while events come in.

use std::time::Duration;

use rustix::process::Signal;

use super::pipeline::{Pipeline, beside, pause, wait};
use super::topic::Topic;
use crate::crash::stream::WINDOWS;

const RUN: &str = "commit_every = \"10ms\"";

fn written(topic: Topic, pieces: u32, main: impl FnOnce()) -> Topic {
    let mut topic = topic;
    beside(
        move || {
            for _ in 0..pieces {
                topic.write(100);
                pause(Duration::from_millis(50));
            }
            topic
        },
        main,
    )
}

#[test]
fn processes_come_and_go_and_each_event_counts_once() {
    for (number, window) in [(0, WINDOWS[0]), (1, WINDOWS[3])] {
        let name = format!("come-and-go-{number}");
        let topic = Topic::new(&name, 4, 100 + number);
        let pipeline = Pipeline::over(&topic, &format!("{name}-some"), window, RUN);
        let topic = written(topic, 200, || {
            let one = pipeline.start("one");
            pause(Duration::from_secs(2));
            let two = pipeline.start("two");
            pause(Duration::from_secs(2));
            let three = pipeline.start("three");
            pause(Duration::from_secs(2));
            one.stop();
            pause(Duration::from_secs(1));
            two.kill();
            pause(Duration::from_secs(1));
            three.stop();
        });
        let some = pipeline.finish(&topic, "last");
        let one = Pipeline::over(&topic, &format!("{name}-one"), window, RUN);
        some.is(&one.finish(&topic, "only"), topic.name.as_str());
    }
}

/// One is frozen past the end of its session, and woken when another one has its lanes: it commits and
/// publishes nothing more of them.
#[test]
fn a_frozen_process_that_wakes_up_changes_nothing() {
    let name = "frozen";
    let topic = Topic::new(name, 3, 200);
    let pipeline = Pipeline::over(&topic, "frozen-some", WINDOWS[0], RUN);
    let topic = written(topic, 300, || {
        let mut frozen = pipeline.start("frozen");
        wait(
            || frozen.stderr().contains("partitions are ours"),
            || "it has partitions".into(),
        );
        pause(Duration::from_secs(1));
        frozen.signal(Signal::STOP);
        let mut other = pipeline.start("other");
        wait(
            || (0..3).all(|partition| other.was_given(partition)),
            || format!("the other one has all of them: {}", other.stderr()),
        );
        pause(Duration::from_secs(1));
        frozen.signal(Signal::CONT);
        pause(Duration::from_secs(4));
        frozen.is_alive();
        other.is_alive();
        other.stop();
        pause(Duration::from_secs(1));
        frozen.stop();
    });
    let some = pipeline.finish(&topic, "last");
    let one = Pipeline::over(&topic, "frozen-one", WINDOWS[0], RUN);
    some.is(&one.finish(&topic, "only"), topic.name.as_str());
}
