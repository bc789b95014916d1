//! A network and a service that fail, between the host and DynamoDB: nothing is lost, and nothing is older than it may
//! be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use penstock::config::TablePlace;
use penstock::store::dynamodb::DynamoDbStore;
use penstock::store::{Cached, FeatureName, FeatureReader, FeatureStore, StoreError, TableFault};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::backends::{GROUP, PIPELINE, declaration, items, number};
use crate::kinesis::proxy::{Fate, Proxy};
use crate::support::HOST;
use crate::support::servers::dynamodb::{SHARED, table, table_at};

/// A table behind a proxy that lets everything through so far. Requests are given up after a short while.
fn behind_a_proxy(name: &str) -> (Proxy, TablePlace) {
    let place = table(name);
    HOST.io.block_on(DynamoDbStore::init(&place)).unwrap();
    let proxy = Proxy::start(SHARED.port(), |_, _| Fate::Pass);
    let place = TablePlace {
        timeout: Duration::from_millis(1500),
        ..table_at(name, &proxy.endpoint())
    };
    (proxy, place)
}

const THROTTLED: Fate = Fate::Refuse(
    400,
    "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "the test says so",
);

#[test]
fn nothing_is_lost_where_requests_are_cut_stalled_throttled_and_refused() {
    let (proxy, place) = behind_a_proxy("faulty");
    let store = HOST.io.block_on(DynamoDbStore::open(&place)).unwrap();
    HOST.io
        .block_on(store.declare(&[declaration("f", 1, "10m", "")]))
        .unwrap();
    let mut random = Pcg64::seed_from_u64(3);
    proxy.change(move |_, _| match random.random_range(0..100) {
        0..8 => Fate::Refuse(500, "InternalServerError", "the test says so"),
        8..16 => THROTTLED,
        16..24 => Fate::Cut(random.random_range(0..300)),
        24..26 => Fate::Stall,
        _ => Fate::Pass,
    });
    let store = Arc::new(store);
    let bound = Duration::from_millis(50);
    let cache = Cached::new(Arc::clone(&store), 1 << 20, bound);
    let entities: Vec<String> = (0..60).map(|number| format!("e{number}")).collect();
    let feature = [FeatureName::parse("f")];
    for round in 0..6i64 {
        let rows: Vec<_> = entities
            .iter()
            .map(|name| (name.as_str(), round, Some(round)))
            .collect();
        let written = items("10m", &[("f", 1)], (1, round.cast_unsigned() * 1000), &rows);
        HOST.io.block_on(async {
            store.write(0, written).await.unwrap();
            // What was written through the cache is never missing in it, whatever the service does.
            let asked: Vec<&str> = entities.iter().map(String::as_str).take(5).collect();
            if let Ok(found) = cache.batch_get(GROUP, &asked, &feature).await {
                for values in found {
                    assert_eq!(values[0].as_ref().unwrap().order.event_time, round);
                }
            }
            store.flush_lane(PIPELINE, 0).await.unwrap();
        });
    }
    let figures = store.figures();
    assert!(figures.throttled.get() > 0 && figures.retried.get() > 0);
    assert_eq!(figures.pending(), 0);
    assert_eq!(figures.lag(), Duration::ZERO);
    // Whoever reads without the proxy finds all of it.
    let direct = HOST
        .io
        .block_on(DynamoDbStore::open(&table("faulty")))
        .unwrap();
    let asked: Vec<&str> = entities.iter().map(String::as_str).collect();
    let found = HOST
        .io
        .block_on(direct.batch_get(GROUP, &asked, &feature))
        .unwrap();
    for values in found {
        assert_eq!(
            number(values[0].as_ref().unwrap().value.as_ref().unwrap()),
            5
        );
    }
}

#[test]
fn an_outage_shows_as_lag_and_is_waited_for() {
    let (proxy, place) = behind_a_proxy("outage");
    let store = Arc::new(HOST.io.block_on(DynamoDbStore::open(&place)).unwrap());
    HOST.io
        .block_on(store.declare(&[declaration("f", 1, "10m", "")]))
        .unwrap();
    let is_out = Arc::new(AtomicBool::new(true));
    let out = Arc::clone(&is_out);
    proxy.change(move |_, _| match out.load(Ordering::Relaxed) {
        true => Fate::Refuse(503, "ServiceUnavailable", "the test says so"),
        false => Fate::Pass,
    });
    HOST.io.block_on(async {
        let written = items(
            "10m",
            &[("f", 1)],
            (1, 0),
            &[("e", 1, Some(1)), ("g", 1, Some(2))],
        );
        store.write(0, written).await.unwrap();
        let flushing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.flush_lane(PIPELINE, 0).await })
        };
        while store.figures().retried.get() < 4 {
            tokio::task::yield_now().await;
        }
        assert!(!flushing.is_finished());
        assert!(store.figures().lag() > Duration::ZERO);
        assert_eq!(store.figures().pending(), 2);
        is_out.store(false, Ordering::Relaxed);
        flushing.await.unwrap().unwrap();
        assert_eq!(store.figures().pending(), 0);
    });
}

#[test]
fn a_flush_that_is_rejected_half_way_keeps_the_rest_and_can_be_repeated() {
    let (proxy, place) = behind_a_proxy("half_way");
    let place = TablePlace {
        in_flight: 4,
        ..place
    };
    let store = HOST.io.block_on(DynamoDbStore::open(&place)).unwrap();
    HOST.io
        .block_on(store.declare(&[declaration("f", 1, "10m", "")]))
        .unwrap();
    let updates = AtomicU64::new(0);
    proxy.change(move |action, _| {
        match action == "UpdateItem" && updates.fetch_add(1, Ordering::Relaxed) >= 20 {
            true => Fate::Refuse(400, "AccessDeniedException", "the test says so"),
            false => Fate::Pass,
        }
    });
    let entities: Vec<String> = (0..50).map(|number| format!("e{number}")).collect();
    let rows: Vec<_> = entities
        .iter()
        .map(|name| (name.as_str(), 1, Some(1)))
        .collect();
    let written = items("10m", &[("f", 1)], (1, 0), &rows);
    let asked: Vec<&str> = entities.iter().map(String::as_str).collect();
    let feature = [FeatureName::parse("f")];
    HOST.io.block_on(async {
        store.write(0, written).await.unwrap();
        let error = store.flush_lane(PIPELINE, 0).await.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Table {
                    fault: TableFault::Denied,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("cannot write items in DynamoDB table `half_way`"),
            "{error}"
        );
        // Whoever wrote it reads all of it still.
        let found = store.batch_get(GROUP, &asked, &feature).await.unwrap();
        assert!(found.iter().all(|values| values[0].is_some()));
        let direct = DynamoDbStore::open(&table("half_way")).await.unwrap();
        let found = direct.batch_get(GROUP, &asked, &feature).await.unwrap();
        let there = found.iter().filter(|values| values[0].is_some()).count();
        assert!((1..50).contains(&there), "{there} are there");
        proxy.change(|_, _| Fate::Pass);
        store.flush_lane(PIPELINE, 0).await.unwrap();
        let found = direct.batch_get(GROUP, &asked, &feature).await.unwrap();
        assert!(found.iter().all(|values| values[0].is_some()));
    });
}

#[test]
fn keys_that_an_answer_leaves_out_are_asked_for_again() {
    let (proxy, place) = behind_a_proxy("left_out");
    let store = HOST.io.block_on(DynamoDbStore::open(&place)).unwrap();
    HOST.io
        .block_on(store.declare(&[declaration("f", 1, "10m", "")]))
        .unwrap();
    let entities: Vec<String> = (0..250).map(|number| format!("e{number}")).collect();
    let rows: Vec<_> = entities
        .iter()
        .map(|name| (name.as_str(), 1, Some(1)))
        .collect();
    HOST.io.block_on(async {
        store
            .write(0, items("10m", &[("f", 1)], (1, 0), &rows))
            .await
            .unwrap();
        store.flush().await.unwrap();
    });
    // Nothing is answered for, twice: the keys come back as they went.
    let asked = AtomicU64::new(0);
    proxy.change(move |action, body| {
        if action != "BatchGetItem" || asked.fetch_add(1, Ordering::Relaxed) >= 2 {
            return Fate::Pass;
        }
        let request: serde_json::Value = serde_json::from_str(body).unwrap();
        let answer =
            serde_json::json!({"Responses": {}, "UnprocessedKeys": request["RequestItems"]});
        Fate::Answer(answer.to_string())
    });
    let asked: Vec<&str> = entities.iter().map(String::as_str).collect();
    let feature = [FeatureName::parse("f")];
    let found = HOST
        .io
        .block_on(store.batch_get(GROUP, &asked, &feature))
        .unwrap();
    assert!(found.iter().all(|values| values[0].is_some()));
    assert!(store.figures().unprocessed.get() >= 100);
}

#[test]
fn a_cache_is_behind_other_hosts_by_no_more_than_it_may() {
    let (_proxy, place) = behind_a_proxy("bound");
    let (here, there) = HOST.io.block_on(async {
        (
            DynamoDbStore::open(&place).await.unwrap(),
            DynamoDbStore::open(&place).await.unwrap(),
        )
    });
    HOST.io
        .block_on(there.declare(&[declaration("f", 1, "10m", "")]))
        .unwrap();
    let bound = Duration::from_millis(200);
    let cache = Cached::new(Arc::new(here), 1 << 20, bound);
    let feature = [FeatureName::parse("f")];
    for time in 1..8i64 {
        HOST.io.block_on(async {
            let written = items(
                "10m",
                &[("f", 1)],
                (1, time.cast_unsigned()),
                &[("e", time, Some(time))],
            );
            there.write(0, written).await.unwrap();
            there.flush().await.unwrap();
        });
        let acknowledged = HOST.clock.now();
        loop {
            let asked = HOST.clock.now();
            let found = HOST.io.block_on(cache.get(GROUP, "e", &feature)).unwrap();
            let seen = found[0].as_ref().map_or(0, |value| value.order.event_time);
            if seen >= time {
                break;
            }
            // What is older may be answered with only until the bound has passed since it was written.
            assert!(
                asked.saturating_sub(acknowledged) <= bound,
                "{time} is not seen after the bound"
            );
        }
    }
    assert!(cache.figures().oldest() <= bound);
}
