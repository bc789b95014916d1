//! Recordings that are killed and stopped: together they hold every message once.

use std::cell::Cell;
use std::path::Path;
use std::process::Child;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{files, folder, offer, offsets, recorded, start, summary};
use crate::support::servers::kafka::{LIMIT, SHARED, Writer, create};

/// Waits until something shows in the files.
#[track_caller]
fn until(what: &str, child: &mut Child, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut errors = String::new();
            std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut errors).unwrap();
            panic!("it ended by itself, with {status}: {errors}");
        }
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::yield_now();
    }
}

fn count(out: &Path) -> usize {
    files(out).values().map(Vec::len).sum()
}

fn under_way(out: &Path) -> usize {
    paths(out, ".*.parquet.*.partial")
}

/// How many files of the partitions' folders match.
fn paths(out: &Path, pattern: &str) -> usize {
    let pattern = out.join("p=*").join(pattern);
    glob::glob(pattern.to_str().unwrap()).unwrap().count()
}

#[test]
fn killed_again_and_again_it_records_every_message_once() {
    const ROUND: usize = 15_000;
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-killed");
    create(&bootstrap, topic, 2);
    let folder = folder(topic, "");
    let writer = Writer::new(&bootstrap, topic);
    let out = folder.path("out");
    for round in 0..3 {
        let before = count(&out);
        let mut child = start(&folder, &["--rows-per-file", "4000"]);
        for partition in 0..2 {
            writer.write(
                partition,
                (0..ROUND).map(|number| offer(round * ROUND + number, "x")),
            );
        }
        // Not all of them may be whole when it is gone.
        until("a new file, and one under way", &mut child, || {
            count(&out) > before && under_way(&out) > 0
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = summary(&folder, &[]);
    assert!(last["counts"]["written"].as_u64().unwrap() > 0);
    let rows = recorded(&out);
    for partition in 0..2 {
        let expected: Vec<i64> = (0..3 * ROUND as i64).collect();
        assert!(
            offsets(&rows[&partition]) == expected,
            "partition {partition}"
        );
        for (number, row) in rows[&partition].iter().enumerate() {
            assert_eq!(
                row["offer_id"],
                format!("o{number}"),
                "partition {partition}: {row}"
            );
        }
    }
    assert_eq!(under_way(&out), 0);
}

#[test]
fn stopped_it_makes_what_is_under_way_whole() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-stopped");
    create(&bootstrap, topic, 1);
    let folder = folder(topic, "");
    Writer::new(&bootstrap, topic).write(0, (0..500).map(|number| offer(number, "x")));
    let out = folder.path("out");
    let mut child = start(&folder, &[]);
    until("a file under way", &mut child, || under_way(&out) > 0);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("all files are whole"), "{errors}");
    assert_eq!((count(&out), under_way(&out)), (1, 0));
    summary(&folder, &[]);
    assert_eq!(offsets(&recorded(&out)[&0]), (0..500).collect::<Vec<i64>>());
}

#[test]
fn recorders_that_share_a_folder_divide_its_partitions() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-shared");
    create(&bootstrap, topic, 4);
    let folder = folder(topic, "");
    let writer = Writer::new(&bootstrap, topic);
    let written = Cell::new(0);
    let write = |count: usize| {
        let from = written.get();
        for partition in 0..4 {
            let numbers = from..from + count;
            writer.write(partition, numbers.map(|number| offer(number, "x")));
        }
        written.set(from + count);
    };
    let out = folder.path("out");
    let quick = ["--rows-per-file", "500"];
    write(3_000);
    let mut first = start(&folder, &quick);
    until("files of the first", &mut first, || count(&out) > 0);
    // The first gives partitions up to the second, and gets them back when that is gone.
    let mut second = start(&folder, &quick);
    let number = second.id();
    until("files under way of the second", &mut first, || {
        write(10);
        paths(&out, &format!(".*.parquet.{number}-*.partial")) > 0
    });
    kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(130));
    let before = count(&out);
    write(2_000);
    until("more of the first", &mut first, || count(&out) > before);
    first.kill().unwrap();
    first.wait().unwrap();
    summary(&folder, &[]);
    let rows = recorded(&out);
    let expected: Vec<i64> = (0..written.get() as i64).collect();
    for partition in 0..4 {
        assert!(
            offsets(&rows[&partition]) == expected,
            "partition {partition}"
        );
    }
}
