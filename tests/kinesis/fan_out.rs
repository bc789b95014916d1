//! Enhanced fan-out: consumers that register themselves, subscriptions that end.

use serde_json::json;

use penstock::source::kinesis::{Place, ShardCursor, ShardState};

use super::follower::{Cursors, Follower, settings};
use super::proxy::{Fate, Proxy};
use super::stream::{SHARED, Stream, values};

#[test]
fn a_consumer_registers_itself_and_reads_all() {
    let stream = Stream::make("kinesis-fan-out", 2);
    stream.put(values(8, 0..400));
    let more = [("consumer", "penstock")];
    let mut follower = Follower::start(&settings(stream.name, &more), Cursors::new());
    follower.until("all has come", |it| it.seen.len() == 400 && it.at_rest());
    stream.put(values(8, 400..500));
    follower.until("more has come", |it| it.seen.len() == 500 && it.at_rest());
    follower.assert_whole(8, 500);
    let cursors = follower.leave();
    // The consumer is there now, and is used again.
    stream.put(values(8, 500..600));
    let mut follower = Follower::start(&settings(stream.name, &more), cursors);
    follower.until("the rest has come", |it| {
        it.seen.len() == 100 && it.at_rest()
    });
    assert_eq!(follower.told, Vec::<String>::new());
    follower.leave();
    let arn =
        stream.call("DescribeStreamSummary", json!({}))["StreamDescriptionSummary"]["StreamARN"]
            .clone();
    let told = SHARED.call(
        "ListStreamConsumers",
        &json!({"StreamARN": arn}).to_string(),
    );
    let told: serde_json::Value = serde_json::from_str(&told.unwrap()).unwrap();
    assert_eq!(told["Consumers"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["Consumers"][0]["ConsumerName"], "penstock");
}

#[test]
fn subscriptions_that_are_cut_go_on_where_they_were() {
    let stream = Stream::make("kinesis-fan-out-cut", 1);
    stream.put(values(4, 0..100));
    // Each answer ends after some bytes, in the middle of an event or between two.
    let mut cut = 2000;
    let proxy = Proxy::start(SHARED.port(), move |action, _| {
        if action != "SubscribeToShard" {
            return Fate::Pass;
        }
        cut += 4000;
        if cut < 20_000 {
            Fate::Cut(cut)
        } else {
            Fate::Pass
        }
    });
    let endpoint = proxy.endpoint();
    let more = [("consumer", "penstock"), ("endpoint", &*endpoint)];
    let mut follower = Follower::start(&settings(stream.name, &more), Cursors::new());
    let mut count = 100;
    follower.until("it subscribes again and again", |it| {
        let _ = it;
        proxy.count("SubscribeToShard") >= 2
    });
    while proxy.count("SubscribeToShard") < 5 {
        stream.put(values(4, count..count + 20));
        count += 20;
        let before = proxy.count("SubscribeToShard");
        follower.until("all has come, or it is cut", |it| {
            it.seen.len() == count || proxy.count("SubscribeToShard") > before
        });
    }
    follower.until("all has come", |it| it.seen.len() == count && it.at_rest());
    follower.assert_whole(4, count);
    follower.leave();
}

#[test]
fn a_subscription_that_nobody_reads_is_given_up() {
    let stream = Stream::make("kinesis-fan-out-slow", 1);
    let shard = "shardId-000000000000";
    let body = "x".repeat(1000);
    let values = |from: usize, to: usize| {
        let values = (from..to).map(|it| ("key-0", format!("{it}:{body}")));
        values.collect::<Vec<_>>()
    };
    stream.put(values(0, 300));
    let more = [("consumer", "penstock"), ("window_bytes", "50_000")];
    let mut follower = Follower::start(&settings(stream.name, &more), Cursors::new());
    follower.kept = Some(Vec::new());
    follower.until("it is paused", |it| it.is(shard, ShardState::Paused));
    stream.put(values(300, 400));
    follower.kept = None;
    follower.until("all has come", |it| it.seen.len() == 400);
    assert!(
        (0..)
            .zip(&follower.seen)
            .all(|(at, it)| it.value.starts_with(&format!("{at}:")))
    );
    assert!(follower.status(shard).unwrap().pauses > 0);
    follower.leave();
}

#[test]
fn fan_out_starts_where_it_is_told() {
    let stream = Stream::make("kinesis-fan-out-starts", 1);
    let numbers = stream.put(values(1, 0..10));
    let read = |start: &str, cursor: Option<ShardCursor>| {
        let cursors = cursor.map(|cursor| ("shardId-000000000000".to_owned(), cursor));
        let more = [("consumer", "penstock"), ("start", start)];
        let settings = settings(stream.name, &more);
        let mut follower = Follower::start(&settings, cursors.into_iter().collect());
        follower.until("all has been read", |it| {
            it.at_rest() || !it.told.is_empty()
        });
        let (seen, told) = (follower.seen.len(), follower.told.join(" "));
        follower.leave();
        (seen, told)
    };
    let after = |number: &str| ShardCursor::After {
        place: Place::new(number, 0).unwrap(),
        offset: 0,
    };
    let fine = |count: usize| (count, String::new());
    assert_eq!(read("trim_horizon", None), fine(10));
    assert_eq!(read("latest", None), fine(0));
    assert_eq!(read("1980-01-01T00:00:00Z", None), fine(10));
    assert_eq!(read("latest", Some(after(&numbers[3]))), fine(6));
}

#[test]
fn a_consumer_that_another_process_uses_is_told() {
    let stream = Stream::make("kinesis-fan-out-twice", 1);
    let settings = settings(stream.name, &[("consumer", "penstock")]);
    let mut first = Follower::start(&settings, Cursors::new());
    first.until("it is at its end", |it| it.at_rest());
    let mut second = Follower::start(&settings, Cursors::new());
    second.until("it is told", |it| {
        it.was_told("Another active subscription")
    });
    assert_eq!(second.told.len(), 1, "{:?}", second.told);
    // The first one is not disturbed, and the second comes when it has gone.
    stream.put(values(1, 0..10));
    first.until("all has come", |it| it.seen.len() == 10);
    first.leave();
    second.until("all has come", |it| it.seen.len() == 10);
    second.leave();
}
