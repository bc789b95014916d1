//! What comes out of a topic, and how much of it is held at a time.

use arrow::array::{Array, AsArray};
use penstock::source::kafka::PartitionState;
use penstock::source::messages::Messages;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::member::{Cursors, Member, all_until, numbers, settings};
use crate::support::servers::kafka::{SHARED, Writer, create, delete_before};

#[test]
fn messages_come_with_all_that_they_have() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-whole-messages");
    create(&bootstrap, topic, 1);
    let writer = Writer::new(&bootstrap, topic);
    let to = || {
        BaseRecord::<[u8], [u8]>::to(topic)
            .partition(0)
            .timestamp(1_700_000_000_123)
    };
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "trace",
            value: Some("a"),
        })
        .insert(Header {
            key: "trace",
            value: Some(b"\xff\x00".as_slice()),
        })
        .insert(Header::<&str> {
            key: "nothing",
            value: None,
        });
    writer.send(
        to().key(b"driver 7")
            .payload(b"\x00binary\xff")
            .headers(headers),
    );
    // A tombstone, an empty value, and a value without a key.
    writer.send(to().key(b"driver 7"));
    writer.send(to().key(b"").payload(b"").timestamp(0));
    writer.send(to().payload(b"no key"));
    writer.flush();

    let settings = settings(&bootstrap, topic, &[("headers", "true")]);
    let mut member = Member::join(&settings, &Cursors::default());
    member.kept = Some(Vec::new());
    member.until("all have come", |it| it.count() == 4);
    let kept = member.kept.take().unwrap();
    let row = |row: usize| one(kept.iter().map(|batch| &batch.messages), row);
    let first = row(0);
    assert_eq!(first.keys.value(0), b"driver 7");
    assert_eq!(first.values.value(0), b"\x00binary\xff");
    assert_eq!(first.timestamps[0], 1_700_000_000_123_000);
    let headers = first.headers.as_ref().unwrap().value(0);
    let headers = headers.as_struct();
    let (names, values) = (
        headers.column(0).as_string::<i32>(),
        headers.column(1).as_binary::<i32>(),
    );
    assert_eq!(
        names.iter().flatten().collect::<Vec<_>>(),
        ["trace", "trace", "nothing"]
    );
    assert_eq!(
        (values.value(0), values.value(1)),
        (&b"a"[..], &b"\xff\x00"[..])
    );
    assert!(values.is_null(2));
    let tombstone = row(1);
    assert!(tombstone.values.is_null(0) && tombstone.keys.is_valid(0));
    assert_eq!(tombstone.headers.as_ref().unwrap().value_length(0), 0);
    let empty = row(2);
    assert!(empty.values.is_valid(0) && empty.keys.is_valid(0) && empty.values.value(0).is_empty());
    assert!(row(3).keys.is_null(0));
    drop(kept);
    member.leave();
}

/// The batch that has the row of this number, cut to it.
fn one<'a>(batches: impl Iterator<Item = &'a Messages>, mut row: usize) -> Messages {
    for batch in batches {
        if row < batch.len() {
            return Messages {
                split: batch.split,
                offsets: batch.offsets.slice(row, 1),
                timestamps: batch.timestamps.slice(row, 1),
                keys: batch.keys.slice(row, 1),
                values: batch.values.slice(row, 1),
                headers: batch.headers.as_ref().map(|headers| headers.slice(row, 1)),
            };
        }
        row -= batch.len();
    }
    panic!("there is no such row");
}

#[test]
fn partitions_start_where_they_are_told() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-starts");
    create(&bootstrap, topic, 1);
    let writer = Writer::new(&bootstrap, topic);
    for number in 0..10_i64 {
        let value = number.to_string();
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0);
        writer.send(
            record
                .payload(value.as_bytes())
                .timestamp(1_000_000 + number * 1000),
        );
    }
    writer.flush();
    // Each with a group of its own, for the offsets of another would not matter but its members.
    let first =
        |name: &str, start: &str, cursor: Option<i64>| {
            let settings = settings(&bootstrap, topic, &[("group", name), ("start", start)]);
            let cursors = Cursors::default();
            cursors
                .lock()
                .unwrap()
                .extend(cursor.map(|cursor| (0, cursor)));
            let mut member = Member::join(&settings, &cursors);
            member.until("it has started and read all", |it| {
                !it.started.is_empty() && it.ended.contains(&0)
            });
            let started = member.started[&0];
            let values = member.seen.remove(&0).unwrap_or_default();
            assert_eq!(member.status(0).unwrap().lag(), Some(0));
            member.leave();
            assert_eq!(values.len() as i64, 10 - started, "{name}");
            assert!(values.first().is_none_or(|(offset, value)| {
                *offset == started && *value == started.to_string()
            }));
            started
        };
    assert_eq!(first("starts-1", "earliest", None), 0);
    assert_eq!(first("starts-2", "latest", None), 10);
    assert_eq!(first("starts-3", "1970-01-01T00:16:44Z", None), 4);
    // Between two messages, before all, and after all.
    assert_eq!(first("starts-4", "1970-01-01T00:16:43.000001Z", None), 4);
    assert_eq!(first("starts-5", "1969-01-01T00:00:00Z", None), 0);
    assert_eq!(first("starts-6", "2999-01-01T00:00:00Z", None), 10);
    // A cursor goes before all settings.
    assert_eq!(first("starts-7", "latest", Some(3)), 3);
    assert_eq!(first("starts-8", "earliest", Some(10)), 10);
}

#[test]
fn what_was_deleted_is_told_and_not_skipped() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-deleted");
    create(&bootstrap, topic, 1);
    Writer::new(&bootstrap, topic).write(0, numbers(10));
    delete_before(&bootstrap, topic, 0, 4);
    let cursors = Cursors::default();
    cursors.lock().unwrap().insert(0, 2);
    let mut member = Member::join(&settings(&bootstrap, topic, &[]), &cursors);
    member.until("it misses what was deleted", |it| it.was_told("Missing"));
    assert_eq!(
        member.told,
        ["Missing { partition: 0, wanted: 2, low: 4, high: 10 }"]
    );
    assert_eq!(member.count(), 0);
    // Whoever reads decides to go on where there is something.
    member.source.start(0, Some(4));
    member.until("the rest has come", |it| it.count() == 6);
    // A topic that was made anew ends before the cursor.
    member.leave();
    cursors.lock().unwrap().insert(0, 11);
    let mut member = Member::join(&settings(&bootstrap, topic, &[]), &cursors);
    member.until("it misses what is not there", |it| {
        it.was_told("wanted: 11, low: 4, high: 10")
    });
    member.leave();
}

#[test]
fn a_slow_reader_holds_no_more_than_its_window() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-slow");
    create(&bootstrap, topic, 2);
    let writer = Writer::new(&bootstrap, topic);
    let body = "x".repeat(1000);
    let values = |from: usize, to: usize| {
        (from..to)
            .map(|number| format!("{number}:{body}"))
            .collect::<Vec<_>>()
    };
    writer.write(0, values(0, 3000));
    let (window, batch) = (200_000, 20_000);
    let settings = settings(
        &bootstrap,
        topic,
        &[("window_bytes", "200_000"), ("batch_bytes", "20_000")],
    );
    let mut member = Member::join(&settings, &Cursors::default());
    member.kept = Some(Vec::new());
    member.until("it is paused", |it| it.is(0, PartitionState::Paused));
    let held = member.status(0).unwrap();
    assert!(
        held.held_bytes >= window && held.held_bytes < window + batch + 2000,
        "{held:?}"
    );
    assert!(
        held.at_end.is_none() && held.lag().unwrap() > 2000,
        "{held:?}"
    );
    // The other partition goes on meanwhile, and so does the group.
    writer.write(1, ["one"]);
    member.until("the other partition is read", |it| it.seen.contains_key(&1));
    let at_pause = member.seen[&0].len();

    // Less than half of it is given back: nothing comes.
    let mut kept = member.kept.take().unwrap();
    let quarter = kept.len() / 4;
    kept.drain(..quarter);
    member.kept = Some(Vec::new());
    writer.write(1, ["two"]);
    member.until("the other partition is read on", |it| {
        it.seen[&1].len() == 2
    });
    assert_eq!(member.seen[&0].len(), at_pause);
    assert!(member.is(0, PartitionState::Paused));

    drop(kept);
    member.kept = None;
    member.until("all have come", |it| it.count() == 3002);
    let offsets: Vec<i64> = member.seen[&0].iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (0..3000).collect::<Vec<i64>>());
    assert!(
        member.seen[&0]
            .iter()
            .all(|(offset, value)| value.starts_with(&format!("{offset}:")))
    );
    member.until("nothing is held", |it| {
        it.status(0).unwrap().held_bytes == 0
    });
    assert_eq!(member.status(0).unwrap().pauses, 1);
    member.leave();
}

#[test]
fn a_partition_that_went_while_paused_is_read_on_when_it_comes_back() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-slow-and-gone");
    create(&bootstrap, topic, 2);
    let writer = Writer::new(&bootstrap, topic);
    (0..2).for_each(|partition| writer.write(partition, numbers(2000)));
    let small = [("window_bytes", "10_000"), ("batch_bytes", "1000")];
    let cursors = Cursors::default();
    let mut first = Member::join(&settings(&bootstrap, topic, &small), &cursors);
    first.kept = Some(Vec::new());
    let paused = |it: &Member| (0..2).all(|partition| it.is(partition, PartitionState::Paused));
    first.until("both are paused", paused);
    let mut second = Member::join(&settings(&bootstrap, topic, &small), &cursors);
    second.kept = Some(Vec::new());
    all_until(&mut [&mut first, &mut second], "one goes", |members| {
        members[1].owned.len() == 1 && members[1].count() > 0
    });
    let gone = *second.owned.first().unwrap();
    let elsewhere = second.seen[&gone].clone();
    second.leave();
    first.kept = None;
    first.until("it comes back, and all is read", |it| {
        let ends = |partition| {
            it.seen[&partition]
                .last()
                .is_some_and(|(offset, _)| *offset == 1999)
        };
        it.owned.len() == 2 && (0..2).all(ends)
    });
    for partition in 0..2 {
        let seen = first.seen[&partition].iter();
        let mut offsets: Vec<i64> = seen.map(|(offset, _)| *offset).collect();
        if partition == gone {
            offsets.extend(elsewhere.iter().map(|(offset, _)| *offset));
            offsets.sort_unstable();
        }
        assert_eq!(
            offsets,
            (0..2000).collect::<Vec<i64>>(),
            "partition {partition}"
        );
    }
    first.leave();
}

#[test]
fn an_idle_partition_is_known_to_be_read_to_its_end() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "kafka-idle");
    create(&bootstrap, topic, 1);
    let writer = Writer::new(&bootstrap, topic);
    let mut member = Member::join(&settings(&bootstrap, topic, &[]), &Cursors::default());
    member.until("its end is known", |it| it.ended.contains(&0));
    let first = member.status(0).unwrap().at_end;
    member.until("the broker says so again", |it| {
        it.status(0).unwrap().at_end > first
    });
    writer.write(0, ["one"]);
    member.until("a message comes", |it| it.count() == 1);
    member.until("and the end again", |it| it.ended.contains(&0));
    member.leave();
}
