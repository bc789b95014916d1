//! The backends, and rows of made-up features for them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use penstock::store::dynamodb::DynamoDbStore;
use penstock::store::embedded::{EmbeddedStore, PipelineLanes};
use penstock::store::{
    Declaration, FeatureBatch, FeatureColumn, FeatureName, FeatureReader, FeatureStore, ItemPlace,
    Items, Order, StoreError, Value,
};

use crate::support::servers::dynamodb;
use crate::support::{Folder, HOST};

pub(super) const PIPELINE: &str = "rides";
pub(super) const GROUP: &str = "driver";

/// A store that several write to.
pub(super) struct Backend {
    pub(super) name: &'static str,
    /// As many as there are lanes: lane n is written by the n-th, which may be the same as another.
    pub(super) writers: Vec<Arc<dyn FeatureStore>>,
    /// Somebody else, who only reads.
    pub(super) reader: Arc<dyn FeatureReader>,
    _folder: Folder,
}

impl Backend {
    /// A table, with a client for each lane.
    pub(super) fn table(name: &str, lanes: u32) -> Self {
        let place = dynamodb::table(name);
        HOST.io.block_on(async {
            assert!(DynamoDbStore::init(&place).await.unwrap());
            let mut writers: Vec<Arc<dyn FeatureStore>> = Vec::new();
            for _ in 0..lanes {
                writers.push(Arc::new(DynamoDbStore::open(&place).await.unwrap()));
            }
            Self {
                name: "dynamodb",
                writers,
                reader: Arc::new(DynamoDbStore::open(&place).await.unwrap()),
                _folder: Folder::new(),
            }
        })
    }

    /// A folder, with a lane for each writer.
    pub(super) fn embedded(lanes: u32) -> Self {
        let folder = Folder::new();
        let path = folder.path("store");
        let path: &Path = &path;
        let pipeline = PIPELINE.to_owned();
        HOST.io.block_on(async {
            let lanes_of = [PipelineLanes { pipeline, lanes }];
            let store = EmbeddedStore::open(path, &lanes_of).await.unwrap();
            let store: Arc<dyn FeatureStore> = Arc::new(store);
            Self {
                name: "embedded",
                writers: (0..lanes).map(|_| Arc::clone(&store)).collect(),
                reader: Arc::new(EmbeddedStore::open_reader(path).await.unwrap()),
                _folder: folder,
            }
        })
    }

    /// Asks the same of both.
    pub(super) fn each(name: &str, lanes: u32, ask: impl Fn(&Self)) {
        for backend in [Self::embedded(lanes), Self::table(name, lanes)] {
            ask(&backend);
            HOST.io.block_on(async {
                // The lanes of an embedded store are closed together.
                let all = match backend.name {
                    "embedded" => &backend.writers[..1],
                    _ => &backend.writers,
                };
                for writer in all {
                    writer.close().await.unwrap();
                }
            });
        }
    }

    pub(super) fn declare(&self, declarations: &[Declaration]) {
        let declared = self.writers[0].declare(declarations);
        HOST.io.block_on(declared).unwrap();
    }

    pub(super) fn write(&self, lane: u32, items: Items) {
        let written = self.writers[lane as usize].write(lane, items);
        HOST.io.block_on(written).unwrap();
    }

    pub(super) fn flush(&self) {
        HOST.io.block_on(async {
            for (lane, writer) in self.writers.iter().enumerate() {
                writer.flush_lane(PIPELINE, lane as u32).await.unwrap();
            }
        });
    }

    /// What whoever writes says of a feature once all that was written is flushed, and whoever reads: the same.
    pub(super) fn value(&self, entity: &str, feature: &str) -> Option<(Order, Option<i64>)> {
        // Writers to a table know nothing of each other before.
        self.flush();
        let here = one(&*self.writers[0], entity, feature);
        // A reader beside a writer hears of it a little later.
        let mut there = one(&*self.reader, entity, feature);
        for _ in 0..200 {
            if there == here {
                break;
            }
            HOST.clock.wait(
                HOST.clock.now() + std::time::Duration::from_millis(20),
                &false.into(),
            );
            there = one(&*self.reader, entity, feature);
        }
        assert_eq!(there, here, "{}: {entity} {feature}", self.name);
        here
    }
}

fn one(reader: &dyn FeatureReader, entity: &str, feature: &str) -> Option<(Order, Option<i64>)> {
    let names = [FeatureName::parse(feature)];
    let found = HOST.io.block_on(reader.get(GROUP, entity, &names)).unwrap();
    let found = found.into_iter().next().unwrap()?;
    Some((found.order, found.value.as_ref().map(number)))
}

pub(super) fn number(value: &Value) -> i64 {
    value.array().as_primitive::<Int64Type>().value(0)
}

pub(super) fn declaration(
    feature: &str,
    version: u32,
    window: &str,
    document: &str,
) -> Declaration {
    Declaration {
        group: GROUP.to_owned(),
        feature: feature.to_owned(),
        version,
        pipeline: PIPELINE.to_owned(),
        window: window.to_owned(),
        entity: vec!["driver_id".to_owned()],
        data_type: DataType::Int64,
        document: document.to_owned(),
    }
}

/// A value of an entity at an event time, or that there is none.
pub(super) type Row<'a> = (&'a str, i64, Option<i64>);

/// Rows of some features of a window, all of the same value.
pub(super) fn items(
    window: &str,
    features: &[(&str, u32)],
    (epoch, first_sequence): (u64, u64),
    rows: &[Row<'_>],
) -> Items {
    let keys: [ArrayRef; 1] = [Arc::new(StringArray::from_iter_values(
        rows.iter().map(|(entity, ..)| entity),
    ))];
    let event_time = rows.iter().map(|(_, event_time, _)| *event_time);
    let event_time = TimestampMicrosecondArray::from_iter_values(event_time);
    let values: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|(.., value)| *value)));
    let columns: Vec<FeatureColumn<'_>> = features
        .iter()
        .map(|(name, version)| FeatureColumn {
            name,
            version: *version,
            values: &values,
        })
        .collect();
    Items::encode(&FeatureBatch {
        group: GROUP,
        pipeline: PIPELINE,
        window,
        keys: &keys,
        event_time: &event_time,
        epoch,
        first_sequence,
        features: &columns,
    })
    .unwrap()
}

/// What should be there: the newest write of each entity and attribute.
#[derive(Default)]
pub(super) struct Oracle(pub(super) BTreeMap<(String, String), (Order, Option<i64>)>);

impl Oracle {
    pub(super) fn write(
        &mut self,
        entity: &str,
        attribute: &str,
        order: Order,
        value: Option<i64>,
    ) {
        let key = (entity.to_owned(), attribute.to_owned());
        let kept = self.0.entry(key).or_insert((order, value));
        if kept.0 < order {
            *kept = (order, value);
        }
    }
}

/// A reader at another time.
pub(super) struct At {
    pub(super) reader: Arc<dyn FeatureReader>,
    pub(super) unix: i64,
}

impl FeatureReader for At {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        self.reader.declarations(group)
    }

    fn find<'a>(
        &'a self,
        group: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        self.reader.find(group, features)
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.reader.items(places).boxed()
    }

    fn unix(&self) -> i64 {
        self.unix
    }
}
