//! Values that are put: what the store and the history have of them.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::Float64Array;
use arrow::array::cast::AsArray;
use arrow::datatypes::{DataType, TimestampMicrosecondType, UInt64Type};
use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::Order;
use crate::store::offline::rows::{EPOCH, EVENT_TIME, SEQUENCE};

const DAY: i64 = 86_400_000_000;

/// Group, key and name of each feature.
const FEATURES: [(&str, &[&str], &str); 3] = [
    ("driver", &["driver_id"], "rating"),
    ("driver", &["driver_id"], "bonus"),
    ("pair", &["driver_id", "rider"], "score"),
];

/// Which of them are put together.
const TOGETHER: [&[usize]; 4] = [&[0], &[1], &[0, 1], &[2]];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn opened(folder: &Path) -> ServedStore {
    let place = StorePlace::Folder(folder.join("store"));
    let store = EmbeddedStore::open(place.clone(), &[]).await.unwrap();
    let declarations = FEATURES.map(|(group, entity, feature)| Declaration {
        group: group.to_owned(),
        feature: feature.to_owned(),
        version: 1,
        pipeline: ELSEWHERE.to_owned(),
        window: NO_WINDOW.to_owned(),
        entity: entity.iter().map(|it| (*it).to_owned()).collect(),
        data_type: DataType::Float64,
        document: "{}".to_owned(),
    });
    store.declare(&declarations).await.unwrap();
    store.close().await.unwrap();
    let offline = Some(StorePlace::Folder(folder.join("history")));
    let place = FeaturePlace::Embedded(place);
    let stores = OpenStores::default();
    ServedStore::open(&stores, &place, CacheSettings::default(), offline)
        .await
        .unwrap()
}

/// One put: which features, and for each row the entity, the event time and a value for each of two features.
#[derive(Debug, Clone)]
struct Put {
    together: usize,
    rows: Vec<(usize, i64, [Option<f64>; 2])>,
}

/// Entities of one column, and of two.
const ENTITIES: [[&str; 2]; 3] = [["7", "7,a"], ["a,b", "a\\,b,c"], ["Kyōto", "Kyōto,"]];

impl Put {
    fn group(&self) -> &'static str {
        FEATURES[TOGETHER[self.together][0]].0
    }

    fn entity(&self, number: usize) -> &'static str {
        ENTITIES[number][usize::from(self.group() == "pair")]
    }

    fn batch(&self) -> PutBatch {
        let features = TOGETHER[self.together].iter().enumerate();
        PutBatch {
            group: self.group().to_owned(),
            entities: self
                .rows
                .iter()
                .map(|row| Some(self.entity(row.0)))
                .collect(),
            event_times: self.rows.iter().map(|row| row.1).collect::<Vec<_>>().into(),
            features: features
                .map(|(at, feature)| PutColumn {
                    name: FEATURES[*feature].2.to_owned(),
                    version: 1,
                    values: Arc::new(
                        self.rows
                            .iter()
                            .map(|row| row.2[at])
                            .collect::<Float64Array>(),
                    ),
                })
                .collect(),
        }
    }

    /// What the history should have of it: group, entity, feature, event time and value.
    fn told(&self) -> Vec<Told> {
        let features = TOGETHER[self.together].iter().enumerate();
        let told = features.flat_map(|(at, feature)| {
            self.rows.iter().map(move |row| Told {
                of: [self.group(), FEATURES[*feature].2, self.entity(row.0)].map(str::to_owned),
                event_time: row.1,
                value: row.2[at].map(f64::to_bits),
            })
        });
        told.collect()
    }
}

/// A value somewhere: group, feature and entity, time and bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    of: [String; 3],
    event_time: i64,
    value: Option<u64>,
}

/// Everything that the history has, with the order of its write, and the number of its files.
async fn history(folder: &Path) -> (Vec<(Told, Order)>, usize) {
    let store = OfflineStore::open(&StorePlace::Folder(folder.join("history"))).unwrap();
    let (mut found, mut count) = (Vec::new(), 0);
    for group in store.groups().await.unwrap() {
        for file in store.files(&group).await.unwrap() {
            assert!(file.is_of(ELSEWHERE), "{file:?}");
            count += 1;
            let rows = store.read(&file.name).await.unwrap();
            let column = |name: &str| rows.column_by_name(name);
            let times = column(EVENT_TIME).unwrap();
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let [epochs, sequences] = [EPOCH, SEQUENCE].map(|name| {
                let column = column(name).unwrap();
                column.as_primitive::<UInt64Type>()
            });
            for (_, key, feature) in FEATURES.iter().filter(|it| it.0 == group) {
                let Some(values) = column(&format!("{feature}@1")) else {
                    continue;
                };
                let values: &Float64Array = values.as_primitive();
                for row in 0..rows.num_rows() {
                    let parts = key
                        .iter()
                        .map(|name| column(name).unwrap().as_string::<i32>());
                    let parts: Vec<&str> = parts.map(|it| it.value(row)).collect();
                    let order = Order {
                        event_time: times.value(row),
                        epoch: epochs.value(row),
                        sequence: sequences.value(row),
                    };
                    let told = Told {
                        of: [group.clone(), (*feature).to_owned(), entity::join(&parts)],
                        event_time: times.value(row),
                        value: values.is_valid(row).then(|| values.value(row).to_bits()),
                    };
                    found.push((told, order));
                }
            }
        }
    }
    (found, count)
}

fn puts() -> impl Strategy<Value = Vec<Put>> {
    let value = || prop::option::weighted(0.8, -9.0..9.0_f64);
    let row = (0..ENTITIES.len(), 0..3_i64, 0..3_i64, value(), value());
    let row =
        row.prop_map(|(entity, day, time, one, other)| (entity, day * DAY + time, [one, other]));
    let put = (0..TOGETHER.len(), prop::collection::vec(row, 1..6));
    let put = put.prop_map(|(together, rows)| Put { together, rows });
    prop::collection::vec(put, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_history_has_every_row_that_was_put_and_its_newest_is_what_is_served(
        first in puts(),
        second in puts(),
    ) {
        let folder = TempDir::new().unwrap();
        runtime().block_on(async {
            let mut expected: Vec<Told> = Vec::new();
            // The second process is a later writer.
            for puts in [&first, &second] {
                let store = opened(folder.path()).await;
                for put in join_all(puts.iter().map(|put| store.put(put.batch()))).await {
                    put.unwrap();
                }
                expected.extend(puts.iter().flat_map(Put::told));
            }
            expected.sort();
            let (found, _) = history(folder.path()).await;
            let mut values: Vec<Told> = found.iter().map(|(told, _)| told.clone()).collect();
            values.sort();
            assert_eq!(values, expected);
            let writes: BTreeSet<_> = found
                .iter()
                .map(|(told, order)| (told.of[1].clone(), order.epoch, order.sequence))
                .collect();
            assert_eq!(writes.len(), found.len(), "no two rows are one write");
            let store = opened(folder.path()).await;
            for of in found.iter().map(|(told, _)| &told.of).collect::<BTreeSet<_>>() {
                let all = found.iter().filter(|(told, _)| told.of == *of);
                let (newest, order) = all.max_by_key(|(_, order)| *order).unwrap();
                let [group, feature, entity] = of;
                let names = [FeatureName::parse(feature)];
                let served = store.get(group, entity, &names).await.unwrap();
                let served = served[0].as_ref().unwrap();
                assert_eq!(served.order, *order, "{of:?}");
                let value = served.value.as_ref();
                let bits = value.map(|it| it.array().as_primitive::<arrow::datatypes::Float64Type>().value(0).to_bits());
                assert_eq!(bits, newest.value, "{of:?}");
            }
        });
    }
}

fn of_day(day: i64, value: f64) -> Put {
    Put {
        together: 0,
        rows: vec![(0, day * DAY, [Some(value), None])],
    }
}

#[test]
fn puts_that_come_together_are_in_few_files() {
    let folder = TempDir::new().unwrap();
    runtime().block_on(async {
        let store = opened(folder.path()).await;
        let puts = (0..64).map(|at| store.put(of_day(0, f64::from(at)).batch()));
        for put in join_all(puts).await {
            put.unwrap();
        }
        let (found, files) = history(folder.path()).await;
        assert_eq!(found.len(), 64);
        assert!(files < 8, "{files}");
    });
}

#[test]
fn what_cannot_be_in_the_history_is_not_stored() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("history");
    runtime().block_on(async {
        let store = opened(folder.path()).await;
        std::fs::create_dir(&place).unwrap();
        // Where a folder should be is a file.
        std::fs::write(place.join("driver"), "").unwrap();
        let refused = store.put(of_day(0, 1.0).batch()).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::Unrecorded { .. }),
            "{refused}"
        );
        let names = [FeatureName::parse("rating")];
        assert_eq!(store.get("driver", "7", &names).await.unwrap(), [None]);
        std::fs::remove_file(place.join("driver")).unwrap();
        store.put(of_day(0, 2.0).batch()).await.unwrap();
        let (found, _) = history(folder.path()).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.value, Some(2.0_f64.to_bits()));
    });
}

#[test]
fn whoever_lost_the_lane_writes_no_more_into_the_history() {
    let folder = TempDir::new().unwrap();
    runtime().block_on(async {
        let store = opened(folder.path()).await;
        store.put(of_day(0, 1.0).batch()).await.unwrap();
        let place = StorePlace::Folder(folder.path().join("store"));
        let other = EmbeddedStore::open_existing(place).await.unwrap();
        let lane = other.open_lane(ELSEWHERE, LANE).await.unwrap();
        let mut refused = Vec::new();
        for value in [2.0, 3.0, 4.0] {
            refused.push(store.put(of_day(0, value).batch()).await.unwrap_err());
        }
        assert!(refused.iter().all(StoreError::is_fenced), "{refused:?}");
        // It learns of it when it stores the first.
        let (found, _) = history(folder.path()).await;
        assert_eq!(found.len(), 2);
        other.close_lane(lane).await.unwrap();
    });
}
