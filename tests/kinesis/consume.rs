//! What comes out of a stream, from where, and how much of it is held at a time.

use md5::{Digest, Md5};
use penstock::source::kinesis::{KinesisSettings, Place, ShardCursor, ShardState};

use super::follower::{Cursors, Follower, settings};
use super::stream::{Stream, values};

#[test]
fn all_records_of_all_shards_come_in_order() {
    let stream = Stream::make("kinesis-all", 4);
    stream.put(values(20, 0..2000));
    let mut follower = Follower::start(&settings(stream.name, &[]), Cursors::new());
    follower.until("all has come", |it| it.seen.len() == 2000 && it.at_rest());
    follower.assert_whole(20, 2000);
    assert_eq!(follower.shards.len(), 4);
    for info in follower.shards.clone() {
        let seen = follower.of(&info.id);
        assert!(!seen.is_empty(), "{} has nothing", info.id);
        // Offsets count what came, and sequence numbers rise.
        assert!((0..).zip(&seen).all(|(offset, it)| it.offset == offset));
        let places: Vec<_> = seen
            .iter()
            .map(|it| Place::new(&it.number, it.part))
            .collect();
        assert!(places.is_sorted() && places[0].is_some());
        // Keys lie in the shard whose range has their hash.
        let hash = |key: &str| u128::from_be_bytes(Md5::digest(key).into());
        assert!(
            seen.iter()
                .all(|it| info.hash_keys.contains(&hash(&it.key)))
        );
        let status = follower.status(&info.id).unwrap();
        assert_eq!(status.behind_ms, Some(0));
        assert_eq!(
            status.last_sequence_number.as_ref(),
            seen.last().map(|it| &it.number)
        );
        assert_eq!(
            (status.messages, status.next_offset),
            (seen.len() as u64, seen.len() as i64)
        );
    }
    // The service says again and again that there is nothing more, and then there is.
    let first = follower.source.status()[0].at_end;
    follower.until("it says so again", |it| {
        it.source.status()[0].at_end > first
    });
    stream.put(values(20, 2000..2020));
    follower.until("more has come", |it| it.seen.len() == 2020 && it.at_rest());
    follower.assert_whole(20, 2020);
    assert_eq!(follower.told, Vec::<String>::new());
    follower.leave();
}

#[test]
fn shards_start_where_they_are_told() {
    let stream = Stream::make("kinesis-starts", 1);
    let shard = "shardId-000000000000";
    let numbers = stream.put(values(1, 0..5));
    let mut follower = Follower::start(&settings(stream.name, &[]), Cursors::new());
    follower.until("five have come", |it| it.seen.len() == 5);
    let last = follower.seen[4].micros;
    follower.leave();
    // The service keeps milliseconds: this one is to lie between the two halves.
    while jiff::Timestamp::now().as_microsecond() <= last + 1000 {}
    let numbers = [numbers, stream.put(values(1, 5..10))].concat();
    let after = jiff::Timestamp::from_microsecond(last + 1000).unwrap();
    let after = after.to_string();

    let read = |start: &str, cursor: Option<ShardCursor>| {
        let cursors = cursor.map(|cursor| (shard.to_owned(), cursor));
        let mut follower = Follower::start(
            &settings(stream.name, &[("start", start)]),
            cursors.into_iter().collect(),
        );
        follower.until("all has been read", |it| it.at_rest());
        let seen = std::mem::take(&mut follower.seen);
        follower.leave();
        seen.into_iter()
            .map(|it| (it.value, it.offset))
            .collect::<Vec<_>>()
    };
    let from = |first: usize, offset: i64| {
        let numbers = first..10;
        numbers
            .map(|it| (format!("0:{it}"), it as i64 - offset))
            .collect::<Vec<_>>()
    };
    assert_eq!(read("trim_horizon", None), from(0, 0));
    assert_eq!(read("latest", None), []);
    assert_eq!(read(&after, None), from(5, 5));
    assert_eq!(read("1980-01-01T00:00:00Z", None), from(0, 0));
    // A cursor goes before all settings, and offsets go on behind it.
    let after = |row: usize, offset: i64| ShardCursor::After {
        place: Place::new(&numbers[row], 0).unwrap(),
        offset,
    };
    assert_eq!(read("latest", Some(after(2, 2))), from(3, 0));
    assert_eq!(read("latest", Some(after(2, 102))), from(3, -100));
    assert_eq!(read("latest", Some(after(9, 9))), []);
    assert_eq!(read("latest", Some(ShardCursor::Beginning)), from(0, 0));
    assert_eq!(read("trim_horizon", Some(ShardCursor::Finished)), []);
}

#[test]
fn latest_is_the_next_record() {
    let stream = Stream::make("kinesis-latest", 1);
    stream.put(values(1, 0..5));
    let read = |latest: &KinesisSettings, cursors: Cursors, value: &str| {
        let mut follower = Follower::start(latest, cursors);
        follower.until("it is at its end", |it| it.at_rest());
        stream.put([("key-0", value)]);
        let came = |it: &Follower| it.seen.last().is_some_and(|it| it.value == value);
        follower.until("the next has come", came);
        follower
    };
    for more in [&[][..], &[("consumer", "penstock")]] {
        let latest = settings(stream.name, &[&[("start", "latest")], more].concat());
        let follower = read(&latest, Cursors::new(), "next");
        assert!(follower.seen.iter().all(|it| it.value != "0:0"));
        follower.leave();

        // One that went before anything had come goes on where it was, and misses nothing.
        let mut follower = Follower::start(&latest, Cursors::new());
        follower.until("it is at its end", |it| it.at_rest());
        // What came in the second before may come, if the service had to be asked twice.
        let nothing = follower.seen.is_empty();
        let cursors = follower.leave();
        let kept = cursors.values().next().unwrap().to_string();
        assert_eq!(kept.starts_with("1:since:"), nothing, "{kept}");
        stream.put([("key-0", "missed")]);
        let follower = read(&latest, cursors, "next after it");
        let values: Vec<&str> = follower.seen.iter().map(|it| &*it.value).collect();
        assert!(values.ends_with(&["missed", "next after it"]), "{values:?}");
        follower.leave();
    }
}

#[test]
fn a_cursor_in_the_middle_is_gone_on_from() {
    let stream = Stream::make("kinesis-resumed", 2);
    stream.put(values(8, 0..400));
    let small = settings(stream.name, &[("batch_records", "7")]);
    let mut follower = Follower::start(&small, Cursors::new());
    let mut seen = Vec::new();
    // Each reader reads some, and the next one goes on there.
    loop {
        let before = follower.seen.len();
        follower.until("some has come", |it| {
            it.seen.len() >= before + 60 || it.at_rest()
        });
        seen.append(&mut follower.seen);
        let done = follower.at_rest();
        let cursors = follower.leave();
        if done && seen.len() == 400 {
            break;
        }
        let cursors = cursors.into_iter().map(|(shard, cursor)| {
            let kept = cursor.to_string();
            (shard, kept.parse().unwrap())
        });
        follower = Follower::start(&small, cursors.collect());
    }
    let mut last = Follower::start(&small, Cursors::new());
    last.seen = seen;
    last.assert_whole(8, 400);
    for shard in stream.shards() {
        assert!(
            (0..)
                .zip(last.of(&shard))
                .all(|(offset, it)| it.offset == offset)
        );
    }
    last.leave();
}

#[test]
fn what_is_not_there_any_more_is_told_and_not_skipped() {
    let stream = Stream::make("kinesis-missing", 1);
    let numbers = stream.put(values(1, 0..5));
    // A number that the shard has never had, as one that was trimmed.
    let (head, tail) = numbers[2].split_at(numbers[2].len() - 1);
    let other = format!("{head}{}", if tail == "4" { 6 } else { 4 });
    let cursor = ShardCursor::After {
        place: Place::new(&other, 0).unwrap(),
        offset: 2,
    };
    let shard = "shardId-000000000000";
    let cursors = Cursors::from([(shard.to_owned(), cursor)]);
    let mut follower = Follower::start(&settings(stream.name, &[]), cursors);
    follower.until("it is missing", |it| it.was_told("Missing"));
    assert!(follower.was_told(&other), "{:?}", follower.told);
    assert_eq!(follower.told.len(), 1, "{:?}", follower.told);
    follower.until("its state says so too", |it| {
        it.is(shard, ShardState::Missing)
    });
    assert_eq!(follower.seen, []);
    // Whoever reads decides to go on with what there is.
    follower.cursors.clear();
    follower.source.start(0, Some(ShardCursor::Beginning));
    follower.until("all has come", |it| it.seen.len() == 5);
    follower.leave();
}

#[test]
fn a_slow_reader_holds_no_more_than_its_window() {
    let stream = Stream::make("kinesis-slow", 2);
    let body = "x".repeat(1000);
    // Both keys in turn lie in different shards.
    let key = |number: usize| ["key-0", "key-1"][number % 2];
    let all = (0..600).map(|number| (key(number), format!("{}:{body}", number / 2)));
    stream.put(all);
    let small = [("window_bytes", "100_000"), ("batch_records", "10")];
    let mut follower = Follower::start(&settings(stream.name, &small), Cursors::new());
    follower.kept = Some(Vec::new());
    let full = |it: &Follower| {
        let all = it.source.status();
        all.len() == 2 && all.iter().all(|it| it.held_bytes >= 100_000)
    };
    follower.until("its windows are full", full);
    for status in follower.source.status() {
        assert!(status.held_bytes < 100_000 + 12_000, "{status:?}");
        assert!(status.at_end.is_none(), "{status:?}");
    }
    follower.until("all that is held was seen", |it| {
        let handed_out: u64 = it.source.status().iter().map(|it| it.messages).sum();
        it.seen.len() as u64 == handed_out
    });
    let count = follower.seen.len();
    // Less than half of it is given back: nothing comes.
    let mut kept = follower.kept.take().unwrap();
    let quarter = kept.len() / 4;
    kept.drain(..quarter);
    follower.kept = Some(Vec::new());
    follower.until("it is paused", |it| {
        it.source
            .status()
            .iter()
            .any(|it| it.state == ShardState::Paused)
    });
    assert_eq!(follower.seen.len(), count);
    drop(kept);
    follower.kept = None;
    follower.until("all has come", |it| it.seen.len() == 600);
    for key in ["key-0", "key-1"] {
        let of_key = follower.seen.iter().filter(|it| it.key == key);
        assert!(
            (0..)
                .zip(of_key)
                .all(|(at, it)| it.value.starts_with(&format!("{at}:")))
        );
    }
    follower.until("nothing is held", |it| {
        it.source.status().iter().all(|it| it.held_bytes == 0)
    });
    follower.leave();
}

/// A record as the Kinesis Producer Library writes it.
fn aggregated(records: &[(&str, &str)]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        // One byte is enough for the lengths that are written here.
        let length = u8::try_from(bytes.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], bytes].concat()
    };
    let mut message = Vec::new();
    for (key, _) in records {
        message.extend(field(1, key.as_bytes()));
    }
    for (at, (_, value)) in records.iter().enumerate() {
        let record = [vec![1 << 3, at as u8], field(3, value.as_bytes())].concat();
        message.extend(field(3, &record));
    }
    let digest: [u8; 16] = Md5::digest(&message).into();
    [&[0xF3, 0x89, 0x9A, 0xC2], &message[..], &digest].concat()
}

#[test]
fn aggregated_records_are_taken_apart() {
    let stream = Stream::make("kinesis-aggregated", 1);
    let three = [("key-0", "0:0"), ("key-1", "1:0"), ("key-0", "0:1")];
    let broken = {
        let mut bytes = aggregated(&three);
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    stream.put([
        ("key-0", aggregated(&three)),
        ("key-2", b"plain".to_vec()),
        ("key-3", aggregated(&[])),
        ("key-1", aggregated(&[("key-1", "1:1")])),
        ("key-4", broken.clone()),
    ]);
    let mut follower = Follower::start(&settings(stream.name, &[]), Cursors::new());
    follower.until("all has come", |it| it.at_rest());
    let seen: Vec<_> = follower
        .seen
        .iter()
        .map(|it| (&*it.key, &*it.value, it.part, it.offset))
        .collect();
    let whole = String::from_utf8_lossy(&broken);
    let expected = [
        ("key-0", "0:0", 0, 0),
        ("key-1", "1:0", 1, 1),
        ("key-0", "0:1", 2, 2),
        ("key-2", "plain", 0, 3),
        ("key-1", "1:1", 0, 4),
        ("key-4", &*whole, 0, 5),
    ];
    assert_eq!(seen, expected);
    // A cursor may lie in the middle of a record.
    let first = &follower.seen[1];
    let cursor = ShardCursor::After {
        place: Place::new(&first.number, 1).unwrap(),
        offset: first.offset,
    };
    let shard = follower.id(0);
    follower.leave();
    let cursors = Cursors::from([(shard, cursor)]);
    let mut follower = Follower::start(&settings(stream.name, &[]), cursors);
    follower.until("the rest has come", |it| it.at_rest());
    let seen: Vec<_> = follower
        .seen
        .iter()
        .map(|it| (&*it.key, &*it.value, it.part, it.offset))
        .collect();
    assert_eq!(seen, expected[2..]);
    follower.leave();
}

#[test]
fn parts_of_other_shards_are_kept_or_dropped() {
    let stream = Stream::make("kinesis-misplaced", 2);
    let keys: Vec<String> = (0..8).map(|it| format!("key-{it}")).collect();
    let records: Vec<(&str, &str)> = keys.iter().map(|key| (&**key, "v")).collect();
    stream.put([("key-0", aggregated(&records))]);
    let read = |misplaced: &str| {
        let settings = settings(stream.name, &[("misplaced", misplaced)]);
        let mut follower = Follower::start(&settings, Cursors::new());
        follower.until("all has come", |it| it.at_rest());
        let status = follower.source.status();
        let count = status.iter().map(|it| it.misplaced).sum::<u64>();
        let seen = follower.seen.len() as u64;
        follower.leave();
        (seen, count)
    };
    let (kept, misplaced) = read("keep");
    assert!(kept == 8 && (1..8).contains(&misplaced), "{misplaced}");
    assert_eq!(read("drop"), (8 - misplaced, misplaced));
}
