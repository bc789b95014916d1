//! A service that throttles, fails, stalls, or does not know us.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use penstock::source::kinesis::{FaultKind, KinesisFault, Place, ShardCursor};

use super::follower::{Cursors, Follower, connect, settings};
use super::proxy::{Fate, Proxy};
use super::stream::{SHARED, Stream, values};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Starts a reader behind a proxy with this rule.
#[track_caller]
fn behind(
    stream: &Stream,
    more: &[(&str, &str)],
    rule: impl FnMut(&str, &str) -> Fate + Send + 'static,
) -> (Follower, Proxy) {
    let proxy = Proxy::start(SHARED.port(), rule);
    let endpoint = proxy.endpoint();
    let more = [more, &[("endpoint", &endpoint)]].concat();
    let follower = Follower::start(&settings(stream.name, &more), Cursors::new());
    (follower, proxy)
}

#[test]
fn throttling_is_waited_out_and_told_once() {
    let stream = Stream::make("kinesis-throttled", 2);
    stream.put(values(8, 0..400));
    // Of each action the first three are refused, at connecting and later.
    let counts: Mutex<std::collections::BTreeMap<String, u32>> = Mutex::default();
    let rule = move |action: &str, _: &str| {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(action.to_owned()).or_default();
        *count += 1;
        match action {
            "DescribeStreamSummary" | "ListShards" if *count <= 2 => {
                Fate::Refuse(400, "LimitExceededException", "Rate exceeded")
            }
            "GetRecords" | "GetShardIterator" if *count <= 3 => {
                Fate::Refuse(400, THROTTLED, "Rate exceeded for shard")
            }
            _ => Fate::Pass,
        }
    };
    let (mut follower, _proxy) = behind(&stream, &[("batch_records", "50")], rule);
    follower.until("all has come", |it| it.seen.len() == 400 && it.at_rest());
    follower.assert_whole(8, 400);
    assert_eq!(follower.told.len(), 1, "{:?}", follower.told);
    assert!(follower.was_told(
        "Throttled(\"ProvisionedThroughputExceededException: Rate exceeded for shard\")"
    ));
    let throttled: u64 = follower.source.status().iter().map(|it| it.throttled).sum();
    assert_eq!(throttled, 6);
    follower.leave();
}

#[test]
fn answers_that_fail_are_asked_for_again_and_nothing_comes_twice() {
    let stream = Stream::make("kinesis-failing", 2);
    stream.put(values(8, 0..300));
    let mut count = 0;
    let rule = move |action: &str, _: &str| {
        if action != "GetRecords" {
            return Fate::Pass;
        }
        count += 1;
        match count % 8 {
            1 => Fate::Refuse(500, "InternalFailure", "oops"),
            3 => Fate::Cut(0),
            5 => Fate::Cut(700),
            6 => Fate::Refuse(400, "ExpiredIteratorException", "Iterator expired"),
            _ => Fate::Pass,
        }
    };
    let (mut follower, _proxy) = behind(&stream, &[("batch_records", "25")], rule);
    follower.until("all has come", |it| it.seen.len() == 300 && it.at_rest());
    follower.assert_whole(8, 300);
    assert!(
        follower.was_told("Unreachable") && follower.was_told("Reachable"),
        "{:?}",
        follower.told
    );
    assert!(
        follower.was_told("InternalFailure: oops; it is tried again"),
        "{:?}",
        follower.told
    );
    follower.leave();
}

#[test]
fn a_service_that_stalls_is_told_and_its_return_too() {
    let stream = Stream::make("kinesis-stalling", 1);
    stream.put(values(4, 0..40));
    // A machine with much to do may take as long now and then; that is told too, and does no harm.
    let (mut follower, proxy) = behind(&stream, &[("timeout", "1s")], |_, _| Fate::Pass);
    follower.until("all has come", |it| it.at_rest());
    follower.told.clear();
    proxy.change(|_, _| Fate::Stall);
    let last_told = |it: &Follower, part: &str| it.told.last().is_some_and(|it| it.contains(part));
    follower.until("it does not answer", |it| {
        last_told(it, "Unreachable(\"it does not answer in time\")")
    });
    let (at_end, told) = (follower.source.status()[0].at_end, follower.told.len());
    stream.put(values(4, 40..80));
    let asked = proxy.count("GetRecords");
    follower.until("it is asked again", |_| {
        proxy.count("GetRecords") > asked + 1
    });
    // Not to hear anything is no end, and no news.
    assert_eq!(follower.source.status()[0].at_end, at_end);
    assert_eq!(follower.told.len(), told, "{:?}", follower.told);
    proxy.change(|_, _| Fate::Pass);
    follower.until("all has come", |it| it.seen.len() == 80 && it.at_rest());
    follower.assert_whole(4, 80);
    assert!(last_told(&follower, "Reachable"), "{:?}", follower.told);
    follower.leave();
}

#[test]
fn one_shard_that_is_refused_does_not_hold_up_the_other() {
    let stream = Stream::make("kinesis-one-refused", 2);
    stream.put(values(8, 0..80));
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let rule = move |action: &str, body: &str| {
        let first = action == "GetShardIterator" && body.contains("shardId-000000000000");
        if first && !opened.load(Ordering::Relaxed) {
            counted.fetch_add(1, Ordering::Relaxed);
            return Fate::Refuse(400, THROTTLED, "Rate exceeded");
        }
        Fate::Pass
    };
    let (mut follower, _proxy) = behind(&stream, &[], rule);
    follower.until("the other is read", |it| {
        it.ended.contains("shardId-000000000001")
    });
    assert!(follower.of("shardId-000000000000").is_empty());
    follower.until("it is asked again", |_| refused.load(Ordering::Relaxed) > 2);
    open.store(true, Ordering::Relaxed);
    follower.until("all has come", |it| it.at_rest());
    follower.assert_whole(8, 80);
    follower.leave();
}

/// Connects with a rule, and gives why it fails.
fn refused(
    more: &[(&str, &str)],
    rule: impl FnMut(&str, &str) -> Fate + Send + 'static,
) -> KinesisFault {
    let proxy = Proxy::start(SHARED.port(), rule);
    let endpoint = proxy.endpoint();
    let more = [&[("endpoint", &*endpoint)], more].concat();
    let fault = connect(&settings("kinesis-nobody-made-it", &more)).unwrap_err();
    let told = fault.to_string();
    assert!(!told.contains("not-to-be-shown"), "{told}");
    fault
}

#[test]
fn errors_that_no_repetition_mends_end_at_once() {
    let fault = refused(&[], |_, _| Fate::Pass);
    assert_eq!(fault.kind, FaultKind::Missing);
    let told = fault.to_string();
    for part in [
        "`kinesis-nobody-made-it`",
        "ResourceNotFoundException",
        "make the stream",
    ] {
        assert!(told.contains(part), "{told}");
    }
    for (code, kind, part) in [
        (
            "UnrecognizedClientException",
            FaultKind::Denied,
            "check the credentials",
        ),
        (
            "AccessDeniedException",
            FaultKind::Denied,
            "docs/kinesis.md",
        ),
        ("InvalidSignatureException", FaultKind::Denied, "clock"),
        (
            "ExpiredTokenException",
            FaultKind::Denied,
            "new credentials",
        ),
        (
            "InvalidArgumentException",
            FaultKind::Refused,
            "check `stream`",
        ),
    ] {
        let fault = refused(&[], move |_, _| Fate::Refuse(400, code, "told"));
        assert_eq!(fault.kind, kind, "{code}");
        assert!(fault.to_string().contains(part), "{fault}");
    }
}

#[test]
fn what_ends_while_it_is_read_ends_reading() {
    let stream = Stream::make("kinesis-denied-later", 1);
    stream.put(values(1, 0..10));
    let (mut follower, proxy) = behind(&stream, &[], |_, _| Fate::Pass);
    follower.until("all has come", |it| it.at_rest());
    proxy.change(|_, _| Fate::Refuse(400, "AccessDeniedException", "not you"));
    follower.until("it fails", |it| it.failed.is_some());
    let fault = follower.failed.take().unwrap();
    assert_eq!(fault.kind, FaultKind::Denied);
    assert!(
        fault
            .to_string()
            .contains("cannot read shard `shardId-000000000000`"),
        "{fault}"
    );
    follower.leave();

    // A stream that is deleted.
    let mut follower = Follower::start(&settings(stream.name, &[]), Cursors::new());
    follower.until("all has come", |it| it.at_rest());
    drop(stream);
    follower.until("it fails", |it| it.failed.is_some());
    let fault = follower.failed.take().unwrap();
    assert_eq!(fault.kind, FaultKind::Missing, "{fault}");
    follower.leave();
}

#[test]
fn a_service_that_skips_what_was_trimmed_is_caught() {
    let stream = Stream::make("kinesis-skipping", 1);
    let numbers = stream.put(values(1, 0..5));
    // A service may begin with the oldest record that it has, in place of the one that is asked for.
    let proxy = Proxy::start(SHARED.port(), |_, body| {
        if body.contains("AT_SEQUENCE_NUMBER") {
            Fate::Rewrite(body.replace("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"))
        } else {
            Fate::Pass
        }
    });
    let endpoint = proxy.endpoint();
    for more in [&[("consumer", "penstock")][..], &[]] {
        let more = [more, &[("endpoint", &*endpoint)]].concat();
        let cursor = ShardCursor::After {
            place: Place::new(&numbers[1], 0).unwrap(),
            offset: 1,
        };
        let cursors = Cursors::from([("shardId-000000000000".to_owned(), cursor)]);
        let mut follower = Follower::start(&settings(stream.name, &more), cursors);
        follower.until("it is missing", |it| !it.told.is_empty());
        let told = format!(
            "Missing {{ shard: 0, wanted: Some(\"{}\"), first: Some(\"{}\")",
            numbers[1], numbers[2]
        );
        assert!(follower.was_told(&told), "{:?}", follower.told);
        assert_eq!(follower.seen, []);
        follower.leave();
    }
}

#[test]
fn a_time_that_the_service_refuses_is_an_error_of_the_settings() {
    let stream = Stream::make("kinesis-future", 1);
    stream.put(values(1, 0..1));
    let future = settings(stream.name, &[("start", "2999-01-01T00:00:00Z")]);
    let mut follower = Follower::start(&future, Cursors::new());
    follower.until("it fails", |it| it.failed.is_some());
    let told = follower.failed.take().unwrap().to_string();
    assert!(
        told.contains("InvalidArgument") && told.contains("not in the future"),
        "{told}"
    );
    follower.leave();
}
