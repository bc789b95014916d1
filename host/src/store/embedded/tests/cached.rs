//! Caches in front of the store that lanes of this process write to.

use std::time::Duration;

use super::*;
use crate::config::StorePlace;
use crate::store::{Cached, OpenStores};

const LONG: Duration = Duration::from_secs(3600);

/// What may happen to the lanes of a live pipeline.
#[derive(Debug, Clone)]
enum Step {
    /// A commit with features of some entities.
    Commit(Vec<u8>),
    /// Features written beside commits.
    Write(u8),
    Snapshot,
    GoBack,
    /// The lane is closed and opened again.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(0..8u8, 0..6).prop_map(Step::Commit),
        2 => (0..8u8).prop_map(Step::Write),
        1 => Just(Step::Snapshot),
        1 => Just(Step::GoBack),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A cache whose items never grow too old shows what the store shows, whatever its lanes do.
    #[test]
    fn a_cache_shows_what_lanes_of_this_process_write_and_take_back(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let place = StorePlace::from(folder.path());
            let stores = OpenStores::default();
            let store = stores.make_embedded(&place).await.unwrap();
            store.declare(&[declaration("f", 1)]).await.unwrap();
            let served = stores.embedded(&place).await.unwrap();
            let cached = Cached::new(served, 1 << 20, LONG);
            let mut lane = store.open_lane("rides", 0).await.unwrap();
            let mut snapshot = None;
            for (number, step) in (1..).zip(steps) {
                let rows = |keys: &[u8]| -> Vec<Row> {
                    let rows = keys.iter();
                    rows.map(|key| row(i64::from(*key), number, number)).collect()
                };
                let of = |keys: &[u8]| items(1, number.cast_unsigned(), 0, &rows(keys));
                match step {
                    Step::Commit(keys) => {
                        let mut batch = lane.state.batch();
                        batch.put(&[1], &number.to_be_bytes());
                        batch.write(&of(&keys)).unwrap();
                        lane.state.apply(batch).await.unwrap();
                    }
                    Step::Write(key) => store.write(0, of(&[key])).await.unwrap(),
                    Step::Snapshot => {
                        snapshot = Some(store.take_snapshot(&lane).await.unwrap());
                    }
                    Step::GoBack => {
                        if let Some(snapshot) = &snapshot {
                            let way = WayBack {
                                snapshot,
                                last: &[0],
                                but: &[],
                                generation: None,
                                apart: None,
                            };
                            store.restore(&lane, &way).await.unwrap();
                        }
                    }
                    Step::Reopen => {
                        store.close_lane(lane).await.unwrap();
                        lane = store.open_lane("rides", 0).await.unwrap();
                    }
                }
                for entity in 0..8 {
                    let (shown, there) = (get(&cached, entity, "f").await, get(&*store, entity, "f").await);
                    prop_assert_eq!(shown, there);
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_store_that_is_open_is_not_opened_again_and_its_lanes_are_read_after_they_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (stores, place) = (OpenStores::default(), StorePlace::from(folder.path()));
        let refused = stores.embedded(&place).await;
        assert!(matches!(refused, Err(StoreError::NotAStore { .. })));
        let store = stores.make_embedded(&place).await.unwrap();
        let served = stores.embedded(&place).await.unwrap();
        assert!(Arc::ptr_eq(&store, &served));
        store.declare(&[declaration("f", 1)]).await.unwrap();
        store.open_lanes(&rides(2)).await.unwrap();
        for lane in 0..2 {
            let rows = [row(i64::from(lane), 7, 7)];
            store.write(lane, items(1, 1, 0, &rows)).await.unwrap();
        }
        let of = |entity| get(&*served, entity, "f");
        assert!(of(0).await.is_some() && of(1).await.is_some());
        // Another one may have the lanes as soon as they are closed; and they are read as ever.
        store.close_lanes("rides").await.unwrap();
        let other = EmbeddedStore::open(folder.path(), &rides(2)).await.unwrap();
        assert!(of(0).await.is_some() && of(1).await.is_some());
        let rows = [row(5, 8, 8)];
        other.write(0, items(1, 2, 0, &rows)).await.unwrap();
        other.close().await.unwrap();
        while of(5).await.is_none() {
            tokio::task::yield_now().await;
        }
        drop((store, served));
        // Nobody has it any more, so it is opened anew.
        assert!(stores.embedded(&place).await.is_ok());
    });
}
