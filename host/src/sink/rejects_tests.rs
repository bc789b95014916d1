//! The order of rejects is that of the input, whoever gives them.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn reject(sequence: u64, stage: Stage, detail: &str) -> Reject {
    Reject {
        sequence,
        part: 0,
        stage,
        code: "c".to_owned(),
        detail: detail.to_owned(),
        file: None,
        position: None,
        generation: None,
        record: Record::Json("{}".to_owned()),
    }
}

proptest! {
    /// Each row is rejected by one producer, some more than once.
    #[test]
    fn producers_and_interleavings_do_not_show(
        rows in proptest::collection::vec((0..4u64, 1..3usize), 0..40),
        producers in 2..5usize,
        choices in proptest::collection::vec(0..1000usize, 0..60),
    ) {
        let folder = TempDir::new().unwrap();
        let mut sequence = 0;
        let mut rejects = Vec::new();
        for (i, (gap, times)) in rows.iter().enumerate() {
            sequence += gap + 1;
            for time in 0..*times {
                let detail = format!("{}", (i * 31 + time * 17) % 10);
                rejects.push((i * 5, reject(sequence, Stage::Transform, &detail)));
            }
        }
        let write = |name: &str, producers: usize, choices: &[usize]| {
            let path = folder.path().join(name);
            let mut sink = RejectSink::new(&path, producers);
            let mut left: Vec<VecDeque<&Reject>> = vec![VecDeque::new(); producers];
            for (owner, reject) in &rejects {
                left[owner % producers].push_back(reject);
            }
            for choice in choices {
                let producer = choice % producers;
                for _ in 0..choice / producers % 4 {
                    if let Some(reject) = left[producer].pop_front() {
                        sink.write(producer, reject).unwrap();
                    }
                }
                let next = left[producer].front().map_or(u64::MAX - 1, |r| r.sequence - 1);
                sink.advance(producer, next).unwrap();
            }
            for (producer, left) in left.into_iter().enumerate() {
                for reject in left {
                    sink.write(producer, reject).unwrap();
                }
            }
            let summary = sink.complete().unwrap().place().unwrap();
            assert_eq!(summary.map_or(0, |s| s.rows), rejects.len() as u64);
            fs::read(&path).unwrap_or_default()
        };
        let one = write("one", 1, &[]);
        prop_assert_eq!(write("several", producers, &choices), one);
    }
}

proptest! {
    /// What a mapper made of one row may be rejected by several lanes.
    #[test]
    fn lanes_that_share_a_row_do_not_show(
        rows in proptest::collection::vec((any::<bool>(), proptest::collection::vec(0..4usize, 0..5)), 0..20),
        lanes in 1..5usize,
    ) {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, lanes: usize| {
            let path = folder.path().join(name);
            let mut sink = RejectSink::new(&path, 1 + lanes);
            for (sequence, (by_reader, parts)) in (0..).zip(&rows) {
                for lane in 0..lanes {
                    for (part, owner) in (0..).zip(parts).filter(|(_, owner)| *owner % lanes == lane) {
                        let detail = format!("{part} {owner}");
                        let reject = Reject { part, ..reject(sequence, Stage::Transform, &detail) };
                        sink.write(1 + lane, &reject).unwrap();
                    }
                    sink.advance(1 + lane, sequence).unwrap();
                }
                if *by_reader {
                    sink.write(0, &reject(sequence, Stage::Key, "r")).unwrap();
                }
                sink.advance(0, sequence).unwrap();
            }
            sink.complete().unwrap().place().unwrap();
            fs::read(&path).unwrap_or_default()
        };
        prop_assert_eq!(write("several", lanes), write("one", 1));
    }
}

#[test]
fn lines_are_as_documented() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rejects.ndjson");
    let mut sink = RejectSink::new(&path, 2);
    let late = Reject {
        file: Some("a.parquet".to_owned()),
        position: Some(Position::Row(3)),
        record: Record::Json("{ \"x\":\n 0.1 }\n".to_owned()),
        ..reject(9, Stage::Late, "too late")
    };
    sink.write(1, &late).unwrap();
    let broken = Reject {
        file: Some("a.ndjson".to_owned()),
        position: Some(Position::Line(1)),
        record: Record::Text("{\"x\": \n".to_owned()),
        ..reject(4, Stage::EventTime, "no \"t\"")
    };
    sink.write(0, &broken).unwrap();
    sink.write(
        1,
        &Reject {
            generation: Some(2),
            record: Record::Json("{oops".to_owned()),
            ..late.clone()
        },
    )
    .unwrap();
    assert!(sink.held_bytes() > 0);
    let summary = sink.complete().unwrap().place().unwrap().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((summary.rows, summary.bytes), (3, text.len() as u64));
    assert_eq!(
        text,
        "{\"stage\":\"event_time\",\"code\":\"c\",\"detail\":\"no \\\"t\\\"\",\"file\":\"a.ndjson\",\"line\":1,\
         \"record\":\"{\\\"x\\\": \\n\"}\n\
         {\"stage\":\"late\",\"code\":\"c\",\"detail\":\"too late\",\"file\":\"a.parquet\",\"row\":3,\
         \"record\":{ \"x\":  0.1 }}\n\
         {\"stage\":\"late\",\"code\":\"c\",\"detail\":\"too late\",\"file\":\"a.parquet\",\"row\":3,\"generation\":2,\
         \"record\":\"{oops\"}\n"
    );
}

#[test]
fn a_run_without_rejects_removes_the_file_of_an_earlier_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rejects.ndjson");
    assert_eq!(
        RejectSink::new(&path, 1)
            .complete()
            .unwrap()
            .place()
            .unwrap(),
        None
    );

    let mut sink = RejectSink::new(&path, 1);
    sink.write(0, &reject(1, Stage::Key, "")).unwrap();
    drop(sink);
    assert!(
        !path.exists(),
        "nothing is created before something can be written"
    );

    let mut sink = RejectSink::new(&path, 1);
    sink.write(0, &reject(1, Stage::Key, "")).unwrap();
    sink.complete().unwrap().place().unwrap().unwrap();
    assert!(path.exists());
    assert_eq!(
        RejectSink::new(&path, 1)
            .complete()
            .unwrap()
            .place()
            .unwrap(),
        None
    );
    assert!(!path.exists());
}

#[test]
fn only_what_is_not_complete_is_held() {
    let folder = TempDir::new().unwrap();
    let mut sink = RejectSink::new(&folder.path().join("r.ndjson"), 2);
    sink.write(1, &reject(1, Stage::Key, "")).unwrap();
    sink.write(1, &reject(2, Stage::Key, "")).unwrap();
    sink.advance(1, 2).unwrap();
    let both = sink.held_bytes();
    sink.advance(0, 1).unwrap();
    assert_eq!(sink.held_bytes(), both / 2);
    let wrong = sink
        .write(1, &reject(2, Stage::Key, ""))
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("gave row 2 after row 2"), "{wrong}");
    sink.complete().unwrap().place().unwrap().unwrap();
}

/// A file of nothing but lines that cannot be read: they all stand before the first row.
#[test]
fn records_that_never_became_rows_do_not_pile_up() {
    let folder = TempDir::new().unwrap();
    let mut sink = RejectSink::new(&folder.path().join("rejects.ndjson"), 3);
    for _ in 0..1_000 {
        sink.write(0, &reject(0, Stage::Decode, "x")).unwrap();
    }
    assert_eq!(sink.held_bytes(), 0);
    // A row of lane 2 waits for lane 1; the reader's records before the next row do not.
    sink.advance(0, 4).unwrap();
    sink.write(2, &reject(3, Stage::Transform, "y")).unwrap();
    assert!(sink.held_bytes() > 0);
    sink.advance(1, 4).unwrap();
    sink.advance(2, 4).unwrap();
    for _ in 0..1_000 {
        sink.write(0, &reject(5, Stage::Decode, "z")).unwrap();
    }
    assert_eq!(sink.held_bytes(), 0);
    assert_eq!(
        sink.complete().unwrap().place().unwrap().unwrap().rows,
        2_001
    );
}
