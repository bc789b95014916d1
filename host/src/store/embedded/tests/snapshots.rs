//! Going back to a snapshot, against a copy of what was there.

use slatedb::admin::AdminBuilder;

use super::super::folder::parsed;
use super::*;
use crate::store::item::Attribute;

/// Everything of a lane's live state.
async fn state(lane: &LiveLane) -> Vec<(Bytes, Bytes)> {
    lane.state.pairs(&[], None).await.unwrap()
}

/// Writes what a step of a random schedule says, as a commit.
async fn step(lane: &LiveLane, number: u64, keys: &[(u8, bool)]) {
    let mut batch = lane.state.batch();
    for (key, is_there) in keys {
        match is_there {
            true => batch.put(&[1, *key], &number.to_be_bytes()),
            false => batch.remove(&[1, *key]),
        }
    }
    batch.put(&[0], &number.to_be_bytes());
    batch.put(&[6], &number.to_be_bytes());
    let rows: Vec<Row> = keys
        .iter()
        .map(|(key, _)| row(i64::from(*key), number as i64, number as i64))
        .collect();
    batch
        .write(&items(1, number, number * 1_000, &rows))
        .unwrap();
    lane.state.apply(batch).await.unwrap();
    lane.state.flush().await.unwrap();
}

/// Back to a snapshot from generation 7.
fn way(snapshot: &str) -> WayBack<'_> {
    WayBack {
        snapshot,
        last: &[0],
        but: &[&[6]],
        generation: Some(7),
        apart: None,
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<(u8, bool)>>> {
    proptest::collection::vec(
        proptest::collection::vec((0..20u8, any::<bool>()), 0..8),
        0..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_lane_is_as_it_was_but_for_who_opened_it_last(before in steps(), after in steps()) {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let store = EmbeddedStore::open(folder.path(), &[]).await.unwrap();
            store.declare(&[declaration("f", 1)]).await.unwrap();
            let lane = store.open_lane("rides", 0).await.unwrap();
            for (number, keys) in (1..).zip(&before) {
                step(&lane, number, keys).await;
            }
            let then = state(&lane).await;
            let mut served = Vec::new();
            for entity in 0..20 {
                served.push(get(&store, entity, "f").await);
            }
            let snapshot = store.take_snapshot(&lane).await.unwrap();
            for (number, keys) in (100..).zip(&after) {
                step(&lane, number, keys).await;
            }
            let mut wrong = BTreeMap::new();
            for entity in 0..20 {
                let now = get(&store, entity, "f").await;
                if now != served[entity as usize] {
                    wrong.insert(entity.to_string(), now);
                }
            }
            // It may be begun by an owner that dies, and done by the next one; and done again changes nothing.
            store.restore(&lane, &way(&snapshot)).await.unwrap();
            store.close_lane(lane).await.unwrap();
            let lane = store.open_lane("rides", 0).await.unwrap();
            let again = store.restore(&lane, &way(&snapshot)).await.unwrap();
            prop_assert_eq!(again, Restored::default());
            let is_told = |pair: &(Bytes, Bytes)| pair.0[..] != [6];
            let now: Vec<_> = state(&lane).await.into_iter().filter(is_told).collect();
            let then: Vec<_> = then.into_iter().filter(is_told).collect();
            prop_assert_eq!(now, then);
            for (entity, was) in (0..20).zip(served) {
                prop_assert_eq!(get(&store, entity, "f").await, was);
            }
            // What is written from then on counts, also where it is older than what was withdrawn.
            step(&lane, 50, &[(3, true)]).await;
            let (order, value) = get(&store, 3, "f").await.unwrap();
            prop_assert_eq!((order.event_time, value), (50, Some(50)));
            // What was served is listed, in pages of any size.
            let reader = EmbeddedStore::open_reader(folder.path()).await.unwrap();
            let mut listed = BTreeMap::new();
            let mut after = None::<Bytes>;
            loop {
                let page = reader.taken_back(("rides", 0), 7, after.as_deref(), 3);
                let page = page.await.unwrap();
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                for (_, item) in page {
                    let bytes = item.item.unwrap();
                    let attributes = Attribute::read_all(&bytes).unwrap();
                    let order = attributes[0].order;
                    listed.insert(item.entity, order.event_time);
                }
            }
            reader.close().await;
            let wrong = wrong.into_iter();
            let wrong = wrong.map(|(entity, now)| (entity, now.unwrap().0.event_time));
            prop_assert_eq!(listed, wrong.collect::<BTreeMap<_, _>>());
            // There is one snapshot a lane.
            let next = store.take_snapshot(&lane).await.unwrap();
            prop_assert!(store.restore(&lane, &way(&snapshot)).await.is_err());
            store.restore(&lane, &way(&next)).await.unwrap();
            store.close_lane(lane).await.unwrap();
            store.close().await.unwrap();
            Ok(())
        })?;
    }
}

#[test]
fn what_is_set_aside_stays_as_it_was_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = EmbeddedStore::open(folder.path(), &[]).await.unwrap();
        store.declare(&[declaration("f", 1)]).await.unwrap();
        let lane = store.open_lane("rides", 0).await.unwrap();
        step(&lane, 1, &[(3, true), (5, true)]).await;
        let snapshot = store.take_snapshot(&lane).await.unwrap();
        let then = state(&lane).await;
        let aside = store.set_aside(&lane).await.unwrap();
        step(&lane, 2, &[(3, false), (4, true), (5, true)]).await;
        assert_ne!(state(&lane).await, then);
        assert_eq!(aside.pairs(&[], None).await.unwrap(), then);
        let after: &[u8] = &then[1].0;
        assert_eq!(aside.pairs(&[1], Some(after)).await.unwrap(), then[2..3]);
        aside.forget().await.unwrap();
        // The snapshot of the lane is another matter.
        let found = store.in_snapshot(&lane, &snapshot, &[0]).await.unwrap();
        assert_eq!(found.as_deref(), Some(&1_u64.to_be_bytes()[..]));
        let all = AdminBuilder::new(
            parsed(&lane.name.path()),
            Arc::clone(&store.storage.objects),
        );
        let left = all.build().list_checkpoints(Some("penstock-aside")).await;
        assert!(left.unwrap().is_empty());
        store.close_lane(lane).await.unwrap();
        store.close().await.unwrap();
    });
}
