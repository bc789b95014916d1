//! Where a shard is read on, and what it makes of answers, without a service.

use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::Record;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn settings() -> KinesisSettings {
    KinesisSettings::parse([("stream".to_owned(), "rides".to_owned())]).unwrap()
}

fn shard() -> Shard {
    let info = ShardInfo {
        shard: 0,
        id: "shardId-0".to_owned(),
        parents: Vec::new(),
        hash_keys: 0..=u128::MAX,
        closed: false,
    };
    Shard::new(info, &settings())
}

fn record(number: &str) -> Record {
    Record::builder()
        .sequence_number(number)
        .partition_key("driver 7")
        .approximate_arrival_timestamp(DateTime::from_millis(1500))
        .data(Blob::new(b"data"))
        .build()
        .unwrap()
}

fn part(numbers: &[&str], behind_ms: i64) -> Part {
    Part {
        records: numbers.iter().map(|number| record(number)).collect(),
        behind_ms,
        ..Part::default()
    }
}

fn after(number: &str, offset: i64) -> ShardCursor {
    ShardCursor::After {
        place: Place::new(number, 0).unwrap(),
        offset,
    }
}

/// Has a shard take an answer, and gives the offsets of what came of it.
fn take(shard: &mut Shard, part: &Part, now: Duration) -> (Took, Vec<i64>) {
    let mailbox = Arc::new(Mailbox::default());
    let took = shard.take(part, &settings(), &mailbox, now);
    mailbox.show(Vec::new());
    let mut offsets = Vec::new();
    while let Ok(Some(event)) = mailbox.next(Duration::ZERO) {
        if let KinesisEvent::Messages(batch) = event {
            assert_eq!(batch.messages.timestamps[0], 1_500_000);
            offsets.extend(batch.messages.offsets.iter());
        }
    }
    (took, offsets)
}

#[track_caller]
fn asks(shard: &mut Shard, now: Duration, from: From) {
    let ask = shard.next_ask(now, false, 12 * HOUR);
    assert!(
        matches!(&ask, Some(Ask::Iterator(it)) if *it == from),
        "{ask:?}"
    );
}

#[test]
fn a_cursor_is_asked_for_and_must_come_first() {
    let begin = || {
        let mut shard = shard();
        shard.start(&after("7", 41), HOUR);
        assert_eq!(shard.next_offset(), 42);
        asks(&mut shard, HOUR, From::At("7".to_owned()));
        shard
    };
    let mut right = begin();
    // An answer may have nothing though there is more.
    assert_eq!(take(&mut right, &part(&[], 10), HOUR), (Took::All, vec![]));
    let answer = part(&["7", "9", "11"], 0);
    assert_eq!(take(&mut right, &answer, HOUR), (Took::All, vec![42, 43]));
    // What is known does not come twice.
    let answer = part(&["9", "11", "100"], 0);
    assert_eq!(take(&mut right, &answer, HOUR), (Took::All, vec![44]));

    let trimmed = Took::Gone(Some("9".to_owned()));
    assert_eq!(
        take(&mut begin(), &part(&["9"], 10), HOUR),
        (trimmed, vec![])
    );
    assert_eq!(
        take(&mut begin(), &part(&[], 0), HOUR),
        (Took::Gone(None), vec![])
    );
}

#[test]
fn reading_goes_on_behind_the_last_record() {
    let mut shard = shard();
    shard.start_at_latest(HOUR);
    asks(&mut shard, HOUR, From::Latest);
    // Another try must not begin later than the first.
    assert_eq!(shard.pin(Some(17)), Some(Some(ShardCursor::Since(17))));
    assert_eq!(shard.pin(Some(19)), None);
    asks(&mut shard, HOUR, From::Since(17));
    assert_eq!(
        take(&mut shard, &part(&["5"], 0), HOUR),
        (Took::All, vec![0])
    );
    asks(&mut shard, HOUR, From::After("5".to_owned()));
    shard.continuation = Some("6".to_owned());
    asks(&mut shard, HOUR, From::After("6".to_owned()));
    // After long without an answer nobody knows what was trimmed.
    asks(&mut shard, 13 * HOUR, From::At("5".to_owned()));
    let told = Took::Gone(Some("8".to_owned()));
    assert_eq!(
        take(&mut shard, &part(&["8"], 0), 13 * HOUR),
        (told, vec![])
    );
}

#[test]
fn an_iterator_is_kept_until_it_has_given_something() {
    let mut shard = shard();
    shard.start(&ShardCursor::Beginning, HOUR);
    shard.line = Line::Iterator("first".to_owned());
    for _ in 0..2 {
        let ask = shard.next_ask(HOUR, false, 12 * HOUR);
        assert!(
            matches!(&ask, Some(Ask::Records(it)) if it == "first"),
            "{ask:?}"
        );
    }
    shard.due = 2 * HOUR;
    assert!(shard.next_ask(HOUR, false, 12 * HOUR).is_none());
}

#[test]
fn an_end_is_known_for_as_long_as_the_service_says_so() {
    let mut shard = shard();
    shard.start(&ShardCursor::Beginning, HOUR);
    take(&mut shard, &part(&["5"], 0), HOUR);
    assert_eq!(shard.status().at_end, Some(HOUR));
    take(&mut shard, &part(&[], 0), 2 * HOUR);
    assert_eq!(shard.status().at_end, Some(2 * HOUR));
    take(&mut shard, &part(&["6"], 10), 3 * HOUR);
    assert_eq!(
        (shard.status().at_end, shard.status().behind_ms),
        (None, Some(10))
    );
    let odd = take(&mut shard, &part(&["six"], 0), 3 * HOUR).0;
    assert_eq!(odd, Took::Odd("six".to_owned()));
}
