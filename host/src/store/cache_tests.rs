//! The cache against a store that answers when a test says so, and against an oracle.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::store::item::{Attribute, merge};
use crate::store::{FeatureStore, Order};

/// A store of one window, whose answers wait until they are let go.
#[derive(Debug)]
struct Slow {
    caches: Caches,
    items: Mutex<BTreeMap<String, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
    /// A permit for each load: it has read the store, and may bring what it read.
    answers: Semaphore,
    has_read: Semaphore,
    fails: Mutex<u32>,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            caches: Caches::default(),
            items: Mutex::default(),
            asked: Mutex::default(),
            answers: Semaphore::new(0),
            has_read: Semaphore::new(0),
            fails: Mutex::default(),
        })
    }

    fn put(&self, entity: &str, item: &[u8]) {
        let mut items = self.items.lock().unwrap();
        let merged = match items.get(entity) {
            Some(before) => merge(&[before, item]).unwrap(),
            None => item.to_vec(),
        };
        items.insert(entity.to_owned(), merged);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl FeatureReader for Slow {
    fn declarations<'a>(
        &'a self,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn find<'a>(
        &'a self,
        _: &'a str,
        _: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        async move {
            let found: Vec<Option<Bytes>> = {
                let items = self.items.lock().unwrap();
                let found = places.iter().map(|place| items.get(place.entity).cloned());
                found.map(|item| item.map(Bytes::from)).collect()
            };
            let entities = places.iter().map(|place| place.entity.to_owned());
            self.asked.lock().unwrap().extend(entities);
            self.has_read.add_permits(1);
            self.answers.acquire().await.unwrap().forget();
            let mut fails = self.fails.lock().unwrap();
            if *fails > 0 {
                *fails -= 1;
                return Err(StoreError::Shape("the test says so".to_owned()));
            }
            Ok(found)
        }
        .boxed()
    }

    fn caches(&self) -> Option<&Caches> {
        Some(&self.caches)
    }
}

impl FeatureStore for Slow {
    fn declare<'a>(&'a self, _: &'a [Declaration]) -> BoxFuture<'a, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn begin_epoch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        std::future::ready(Ok(1)).boxed()
    }

    fn write(&self, _: u32, items: Items) -> BoxFuture<'_, Result<(), StoreError>> {
        for (entity, item) in items.iter() {
            self.put(std::str::from_utf8(entity).unwrap(), item);
        }
        async move {
            self.caches.written(&items).await;
            Ok(())
        }
        .boxed()
    }

    fn take_back<'a>(
        &'a self,
        _: (&'a str, u32),
        items: &'a [Before],
        _: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.caches.taken_back(items).await;
            Ok(())
        }
        .boxed()
    }

    fn flush_lane<'a>(&'a self, _: &'a str, _: u32) -> BoxFuture<'a, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }
}

fn item(attributes: &[(&str, i64)]) -> Vec<u8> {
    let values: Vec<[u8; 8]> = attributes
        .iter()
        .map(|(_, time)| time.to_le_bytes())
        .collect();
    let attributes: Vec<Attribute<'_>> = attributes
        .iter()
        .zip(&values)
        .map(|((name, event_time), value)| Attribute {
            name,
            order: Order {
                event_time: *event_time,
                epoch: 1,
                sequence: 0,
            },
            value: Some(value),
        })
        .collect();
    Attribute::write_all(&attributes)
}

fn items(entity: &str, attributes: &[(&str, i64)]) -> Items {
    Items::of_one("g", "p", "w", entity, &item(attributes))
}

fn place(entity: &str) -> ItemPlace<'_> {
    ItemPlace {
        group: "g",
        pipeline: "p",
        window: "w",
        entity,
    }
}

const LONG: Duration = Duration::from_secs(3600);

fn cached(store: &Arc<Slow>, max_age: Duration) -> Arc<Cached<Slow>> {
    Arc::new(Cached::new(Arc::clone(store), 1 << 20, max_age))
}

async fn read(cache: &Cached<Slow>, entity: &str) -> Option<Vec<u8>> {
    let found = cache.items(&[place(entity)]).await.unwrap();
    found[0].as_ref().map(|item| item.to_vec())
}

#[tokio::test]
async fn what_was_taken_back_from_the_store_is_not_answered_beyond_the_bound() {
    let store = Slow::new();
    store.answers.add_permits(2);
    store.put("e", &item(&[("a@1", 2)]));
    let cache = cached(&store, Duration::ZERO);
    assert_eq!(read(&cache, "e").await, Some(item(&[("a@1", 2)])));
    let then = item(&[("a@1", 1)]);
    (store.items.lock().unwrap()).insert("e".to_owned(), then.clone());
    assert_eq!(read(&cache, "e").await, Some(then));
}

#[tokio::test]
async fn what_is_taken_back_does_not_come_back_with_a_load_that_was_under_way() {
    for is_written_meanwhile in [false, true] {
        let store = Slow::new();
        let then = item(&[("a@1", 1)]);
        store.put("e", &item(&[("a@1", 2)]));
        let cache = cached(&store, LONG);
        let loading = {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { read(&cache, "e").await })
        };
        // The load has read what is then taken back, and so has been told what was written.
        store.has_read.acquire().await.unwrap().forget();
        if is_written_meanwhile {
            store.write(0, items("e", &[("a@1", 3)])).await.unwrap();
        }
        (store.items.lock().unwrap()).insert("e".to_owned(), then.clone());
        let before = Before {
            group: "g".to_owned(),
            pipeline: "p".to_owned(),
            window: "w".to_owned(),
            entity: "e".to_owned(),
            item: Some(then.clone().into()),
        };
        store.take_back(("p", 0), &[before], 0).await.unwrap();
        store.answers.add_permits(2);
        loading.await.unwrap();
        assert_eq!(read(&cache, "e").await, Some(then.clone()));
        // What is loaded after it is held as ever.
        assert_eq!(read(&cache, "e").await, Some(then));
        assert_eq!(store.asked(), 2);
    }
}

#[tokio::test]
async fn a_load_in_flight_does_not_take_the_place_of_a_newer_write() {
    let store = Slow::new();
    store.put("e", &item(&[("a@1", 1), ("b@1", 1)]));
    let cache = cached(&store, LONG);
    let loading = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { read(&cache, "e").await })
    };
    // The load has read the old item, and has not brought it yet.
    store.has_read.acquire().await.unwrap().forget();
    store.write(0, items("e", &[("a@1", 2)])).await.unwrap();
    store.answers.add_permits(1);
    let newest = item(&[("a@1", 2), ("b@1", 1)]);
    assert_eq!(loading.await.unwrap(), Some(newest.clone()));
    assert_eq!(read(&cache, "e").await, Some(newest));
    assert_eq!(store.asked(), 1);
}

#[tokio::test]
async fn a_missing_item_is_loaded_once_however_many_ask_and_absence_is_held() {
    let store = Slow::new();
    let cache = cached(&store, LONG);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                let found = cache.items(&[place("e"), place("f"), place("e")]).await;
                found.unwrap()
            })
        })
        .collect();
    store.has_read.acquire().await.unwrap().forget();
    store.answers.add_permits(1000);
    for asked in asking {
        assert_eq!(asked.await.unwrap(), [None, None, None]);
    }
    assert_eq!(store.asked(), 2);
    // What is absent is older than anything.
    assert_eq!(read(&cache, "e").await, None);
    assert!(cache.figures().absent_hits.get() > 0);
    store.write(0, items("e", &[("a@1", 1)])).await.unwrap();
    assert_eq!(read(&cache, "e").await, Some(item(&[("a@1", 1)])));
    assert_eq!(store.asked(), 2);
}

#[tokio::test]
async fn a_load_that_fails_or_is_given_up_leaves_nobody_waiting() {
    let store = Slow::new();
    store.put("e", &item(&[("a@1", 1)]));
    *store.fails.lock().unwrap() = 1;
    let cache = cached(&store, LONG);
    let spawn = || {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { cache.items(&[place("e")]).await.is_ok() })
    };
    let first = spawn();
    store.has_read.acquire().await.unwrap().forget();
    let second = spawn();
    while cache.figures().joined.get() == 0 {
        tokio::task::yield_now().await;
    }
    store.answers.add_permits(1);
    assert!(!first.await.unwrap());
    // The second one loads it itself; and is given up.
    store.has_read.acquire().await.unwrap().forget();
    let third = spawn();
    while cache.figures().joined.get() < 2 {
        tokio::task::yield_now().await;
    }
    second.abort();
    store.answers.add_permits(1);
    assert!(third.await.unwrap());
    assert!(cache.cache.loading().is_empty());
}

#[tokio::test]
async fn what_others_write_is_seen_once_an_item_is_too_old() {
    let store = Slow::new();
    store.answers.add_permits(1000);
    store.put("e", &item(&[("a@1", 1)]));
    let cache = cached(&store, LONG);
    assert_eq!(read(&cache, "e").await, Some(item(&[("a@1", 1)])));
    store.put("e", &item(&[("a@1", 2)]));
    assert_eq!(read(&cache, "e").await, Some(item(&[("a@1", 1)])));
    let eager = cached(&store, Duration::ZERO);
    for time in 3..6 {
        store.put("e", &item(&[("a@1", time)]));
        assert_eq!(read(&eager, "e").await, Some(item(&[("a@1", time)])));
    }
    assert!(eager.figures().expired.get() >= 2);
}

#[tokio::test]
async fn it_holds_no_more_than_it_may() {
    let store = Slow::new();
    store.answers.add_permits(100_000);
    let cache = Cached::new(Arc::clone(&store), 20_000, LONG);
    for number in 0..2000 {
        let entity = number.to_string();
        store.put(&entity, &item(&[("a@1", number)]));
        cache.items(&[place(&entity)]).await.unwrap();
    }
    cache.cache.held.run_pending_tasks().await;
    let (count, bytes) = cache.cache.size();
    assert!(
        bytes <= 20_000 && count > 20,
        "{count} items of {bytes} bytes"
    );
}

#[derive(Debug, Clone)]
enum Step {
    /// A write through the cache.
    Write(u8, i64),
    /// A write of somebody else.
    Behind(u8, i64),
    Read(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entity = 0..3u8;
    let step = prop_oneof![
        (entity.clone(), 0..50i64).prop_map(|(e, t)| Step::Write(e, t)),
        (entity.clone(), 0..50i64).prop_map(|(e, t)| Step::Behind(e, t)),
        entity.prop_map(Step::Read),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Steps run at the same time, on several threads: no read is older than a write that was over before it began.
    #[test]
    fn reads_are_never_older_than_what_was_written_before(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        runtime.block_on(async {
            let store = Slow::new();
            store.answers.add_permits(1_000_000);
            let cache = cached(&store, LONG);
            let written: Arc<Mutex<BTreeMap<u8, i64>>> = Arc::default();
            let tasks: Vec<_> = steps.into_iter().map(|step| {
                let (cache, store, written) = (Arc::clone(&cache), Arc::clone(&store), Arc::clone(&written));
                tokio::spawn(async move {
                    match step {
                        Step::Write(entity, time) => {
                            store.write(0, items(&entity.to_string(), &[("a@1", time)])).await.unwrap();
                            let mut written = written.lock().unwrap();
                            let newest = written.entry(entity).or_insert(time);
                            *newest = time.max(*newest);
                        }
                        Step::Behind(entity, time) => store.put(&entity.to_string(), &item(&[("a@1", time)])),
                        Step::Read(entity) => {
                            let least = written.lock().unwrap().get(&entity).copied();
                            let found = read(&cache, &entity.to_string()).await;
                            let time = found.map(|item| Attribute::read_all(&item).unwrap()[0].order.event_time);
                            assert!(time >= least, "{time:?} was read where {least:?} was written");
                        }
                    }
                })
            }).collect();
            for task in tasks {
                task.await.unwrap();
            }
            let written = written.lock().unwrap().clone();
            for (entity, least) in written {
                let found = read(&cache, &entity.to_string()).await.unwrap();
                assert!(Attribute::read_all(&found).unwrap()[0].order.event_time >= least);
            }
            assert!(cache.cache.loading().is_empty());
        });
    }
}
