//! Shards that are split and merged while they are read: parents before children, each key in order.

use penstock::source::kinesis::{KinesisSettings, ShardCursor, ShardState};
use serde_json::{Value, json};

use super::follower::{Cursors, Follower, settings};
use super::proxy::{Fate, Proxy};
use super::stream::{SHARED, Stream, values};

/// Splits and merges a stream of two shards, and writes between. `before` is called before that, and
/// `after` when shards were closed. Gives how many values there are.
fn reshard(stream: &Stream, mut before: impl FnMut(), mut after: impl FnMut()) -> usize {
    let mut count = 0;
    let mut put = |stream: &Stream| {
        stream.put(values(12, count..count + 240));
        count += 240;
    };
    put(stream);
    before();
    stream.split("shardId-000000000000");
    after();
    put(stream);
    before();
    // A child of the first, which is a neighbour of the second.
    stream.merge("shardId-000000000003", "shardId-000000000001");
    after();
    put(stream);
    before();
    stream.split("shardId-000000000004");
    put(stream);
    stream.merge("shardId-000000000002", "shardId-000000000005");
    after();
    put(stream);
    count
}

/// The server never says to a subscription that its shard has ended, as the service does. This proxy
/// does, to those who subscribe to a closed shard.
fn service(name: &'static str) -> Proxy {
    let ask = move |action: &str, mut question: Value| {
        question["StreamName"] = name.into();
        let told = SHARED.call(action, &question.to_string()).unwrap();
        serde_json::from_str::<Value>(&told).unwrap()
    };
    Proxy::start(SHARED.port(), move |action, body| {
        if action != "SubscribeToShard" {
            return Fate::Pass;
        }
        let asked: Value = serde_json::from_str(body).unwrap();
        let shards = ask("ListShards", json!({}));
        let mut shards = shards["Shards"].as_array().unwrap().iter();
        let shard = shards.find(|it| it["ShardId"] == asked["ShardId"]).unwrap();
        if shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null() {
            return Fate::Pass;
        }
        let mut from = json!({"ShardId": asked["ShardId"]});
        from["ShardIteratorType"] = asked["StartingPosition"]["Type"].clone();
        if let Some(number) = asked["StartingPosition"].get("SequenceNumber") {
            from["StartingSequenceNumber"] = number.clone();
        }
        let iterator = ask("GetShardIterator", from);
        let told = SHARED.call("GetRecords", &iterator.to_string()).unwrap();
        // It has all that an event has, but for where to go on, which the last event has not.
        Fate::Events(vec![told])
    })
}

#[test]
fn keys_stay_in_order_while_polled_shards_are_split_and_merged() {
    let stream = Stream::make("kinesis-resharded", 2);
    assert_followed(&stream, &settings(stream.name, &[]), || {});
}

#[test]
fn keys_stay_in_order_while_subscribed_shards_are_split_and_merged() {
    let stream = Stream::make("kinesis-resharded-fan-out", 2);
    let proxy = service(stream.name);
    let endpoint = proxy.endpoint();
    let more = [("consumer", "penstock"), ("endpoint", &*endpoint)];
    assert_followed(&stream, &settings(stream.name, &more), || proxy.cut());
}

#[track_caller]
fn assert_followed(stream: &Stream, settings: &KinesisSettings, after: impl FnMut()) {
    let mut follower = Follower::start(settings, Cursors::new());
    let before = || {
        let seen = follower.seen.len();
        follower.until("some has come", |it| it.seen.len() > seen);
    };
    let count = reshard(stream, before, after);
    follower.until("all has come", |it| it.seen.len() == count && it.at_rest());
    follower.assert_whole(12, count);
    let shards: Vec<String> = follower.shards.iter().map(|it| it.id.clone()).collect();
    assert_eq!(shards, stream.shards());
    let parents = |shard: usize| {
        let mut parents = follower.shards[shard].parents.clone();
        parents.sort_unstable();
        parents
    };
    assert_eq!([parents(2), parents(3)], [[0], [0]]);
    assert_eq!(parents(4), [1, 3]);
    assert_eq!(parents(7), [2, 5]);
    let mut closed = follower.closed.clone();
    closed.sort();
    assert_eq!(closed, shards[..6]);
    let cursors = follower.leave();

    // Another one goes on, and reads nothing of what was finished.
    stream.put(values(12, count..count + 24));
    let mut follower = Follower::start(settings, cursors);
    follower.until("the rest has come", |it| {
        it.seen.len() == 24 && it.at_rest()
    });
    assert_eq!(follower.started, shards[6..]);
    follower.leave();
}

#[test]
fn a_stream_that_was_resharded_before_is_read_from_its_first_shards() {
    let stream = Stream::make("kinesis-resharded-before", 2);
    let count = reshard(&stream, || {}, || {});
    let mut follower = Follower::start(&settings(stream.name, &[]), Cursors::new());
    follower.until("all has come", |it| it.at_rest());
    follower.assert_whole(12, count);
    follower.leave();

    // With `latest` nothing of it is read, whichever shard it is in.
    let latest = settings(stream.name, &[("start", "latest")]);
    let mut follower = Follower::start(&latest, Cursors::new());
    follower.until("it is at its end", |it| it.at_rest());
    assert_eq!(follower.seen, []);
    // But shards that are made from now on are read whole.
    stream.split("shardId-000000000006");
    stream.put(values(12, 0..120));
    follower.until("all has come", |it| it.at_rest() && it.seen.len() == 120);
    follower.assert_whole(12, 120);
    follower.leave();
}

#[test]
fn a_child_waits_for_its_parents_and_for_its_start() {
    let stream = Stream::make("kinesis-child", 1);
    let (parent, child) = ("shardId-000000000000", "shardId-000000000001");
    stream.put(values(4, 0..40));
    stream.split(parent);
    stream.put(values(4, 40..80));
    let mut follower = Follower::start(&settings(stream.name, &[]), Cursors::new());
    // Nobody has started anything before the shards are told of.
    follower.eager = false;
    follower.until("shards are told of", |it| it.shards.len() == 3);
    follower.source.start(1, None);
    follower.until("the child waits", |it| it.is(child, ShardState::Behind));
    assert!(follower.is(parent, ShardState::Waiting));
    follower.source.start(0, None);
    follower.until("both are read", |it| it.ended.contains(child));
    assert_eq!(follower.started, [parent, child]);
    assert_eq!(follower.closed, [parent]);
    // Its sister was not started.
    assert!(follower.is("shardId-000000000002", ShardState::Waiting));
    follower.source.start(2, Some(ShardCursor::Beginning));
    follower.until("all has come", |it| it.at_rest());
    follower.assert_whole(4, 80);
    follower.leave();
}

#[test]
fn a_reader_that_went_in_the_middle_of_a_split_goes_on_there() {
    let stream = Stream::make("kinesis-split-resumed", 1);
    stream.put(values(4, 0..100));
    stream.split("shardId-000000000000");
    stream.put(values(4, 100..200));
    let small = settings(stream.name, &[("batch_records", "9")]);
    let (mut cursors, mut seen) = (Cursors::new(), Vec::new());
    while seen.len() < 200 {
        let mut follower = Follower::start(&small, cursors);
        follower.until("some has come", |it| it.seen.len() >= 30 || it.at_rest());
        seen.append(&mut follower.seen);
        cursors = follower.leave();
    }
    let mut last = Follower::start(&small, cursors);
    last.until("there is nothing more", |it| it.at_rest());
    assert_eq!(last.seen, []);
    last.seen = seen;
    last.assert_whole(4, 200);
    last.leave();
}
