//! The features that are asked for, in every store.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use penstock::store::dynamodb::DynamoDbStore;
use penstock::store::embedded::{EmbeddedStore, PipelineLanes};
use penstock::store::{Declaration, FeatureBatch, FeatureColumn, FeatureStore, Items};
use rustix::time::{ClockId, clock_gettime};

use super::FEATURES;
use super::server::DynamoDb;
use crate::Figures;

pub(super) const GROUP: &str = "driver";
const PIPELINE: &str = "driver_1h";
const WINDOW: &str = "1h";

/// Rows of a batch.
const BATCH: u64 = 4_096;
/// Rows of a commit.
const COMMIT: u64 = 32_768;

/// Features of some entities.
pub(super) struct Features {
    entities: u64,
    names: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

/// The names of the features.
pub(super) fn names() -> Vec<String> {
    (0..FEATURES)
        .map(|at| format!("driver_feature_{at}_1h"))
        .collect()
}

/// What an entity has of a feature.
pub(super) fn value(entity: u64, feature: usize) -> f64 {
    entity as f64 + feature as f64 / 16.0
}

impl Features {
    pub(super) fn new(entities: u64) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads start");
        Self {
            entities,
            names: names(),
            runtime,
        }
    }

    fn declarations(&self) -> Vec<Declaration> {
        let declaration = |name: &String| Declaration {
            group: GROUP.to_owned(),
            feature: name.clone(),
            version: 1,
            pipeline: PIPELINE.to_owned(),
            window: WINDOW.to_owned(),
            entity: vec!["driver_id".to_owned()],
            data_type: DataType::Float64,
            document: "{}".to_owned(),
        };
        self.names.iter().map(declaration).collect()
    }

    /// Rows of some entities, from `first` on, as a lane would write them.
    fn items(&self, entities: impl Iterator<Item = u64> + Clone, first: u64) -> Result<Items> {
        let ids = Int64Array::from_iter_values(entities.clone().map(|it| it as i64));
        let rows = ids.len();
        let values: Vec<ArrayRef> = (0..FEATURES)
            .map(|at| {
                let values = entities.clone().map(|entity| value(entity, at));
                Arc::new(Float64Array::from_iter_values(values)) as ArrayRef
            })
            .collect();
        let features: Vec<FeatureColumn<'_>> = self
            .names
            .iter()
            .zip(&values)
            .map(|(name, values)| FeatureColumn {
                name,
                version: 1,
                values,
            })
            .collect();
        Ok(Items::encode(&FeatureBatch {
            group: GROUP,
            pipeline: PIPELINE,
            window: WINDOW,
            keys: &[Arc::new(ids)],
            event_time: &TimestampMicrosecondArray::from(vec![first as i64; rows]),
            epoch: 1,
            first_sequence: first,
            features: &features,
        })?)
    }

    async fn embedded(&self, folder: &Path) -> Result<EmbeddedStore> {
        let lanes = [PipelineLanes {
            pipeline: PIPELINE.to_owned(),
            lanes: 1,
        }];
        let store = EmbeddedStore::open(folder, &lanes).await?;
        store.declare(&self.declarations()).await?;
        Ok(store)
    }

    /// How many rows of ten features the embedded store takes for each second of a processor, commits among them.
    pub(super) fn write_speed(
        &self,
        folder: &Path,
        rows: u64,
        figures: &mut Figures,
    ) -> Result<()> {
        let spent = || {
            let time = clock_gettime(ClockId::ProcessCPUTime);
            time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
        };
        // Each entity comes again after a while, as windows do.
        let entities = (rows / 5).max(1);
        let cpu_s = self.runtime.block_on(async {
            let store = self.embedded(&folder.join("written")).await?;
            let began = spent();
            for first in (0..rows).step_by(BATCH as usize) {
                let last = (first + BATCH).min(rows);
                let items = self.items((first..last).map(|row| row % entities), first)?;
                store.write(0, items).await?;
                if last.is_multiple_of(COMMIT) || last == rows {
                    store.flush_lane(PIPELINE, 0).await?;
                }
            }
            store.close().await?;
            anyhow::Ok(spent() - began)
        })?;
        let per_s = rows as f64 / cpu_s;
        println!("{rows} rows of {FEATURES} features written: {per_s:.0} rows/s per core");
        figures.insert("embedded_write_rows_per_s".into(), per_s);
        Ok(())
    }

    pub(super) fn fill_embedded(&self, folder: &Path) -> Result<()> {
        self.runtime.block_on(async {
            let store = self.embedded(folder).await?;
            store.write(0, self.items(0..self.entities, 1)?).await?;
            store.flush().await?;
            Ok(store.close().await?)
        })
    }

    pub(super) fn fill_table(&self, table: &DynamoDb, entities: u64) -> Result<()> {
        let place = table.place();
        self.runtime.block_on(async {
            DynamoDbStore::init(&place).await?;
            let store = DynamoDbStore::open(&place).await?;
            store.declare(&self.declarations()).await?;
            store.write(0, self.items(0..entities, 1)?).await?;
            Ok(store.flush().await?)
        })
    }

    /// Sets a key for each value, to the bytes that the stores have of it.
    pub(super) fn fill_redis(&self, address: &str) -> Result<()> {
        let mut connection = TcpStream::connect(address)?;
        let mut answers = BufReader::new(connection.try_clone()?);
        for entity in 0..self.entities {
            let mut command = format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * FEATURES).into_bytes();
            for (at, name) in self.names.iter().enumerate() {
                let key = format!("{GROUP}:{entity}:{name}");
                write!(command, "${}\r\n{key}\r\n$8\r\n", key.len())?;
                command.extend_from_slice(&value(entity, at).to_le_bytes());
                command.extend_from_slice(b"\r\n");
            }
            connection.write_all(&command)?;
            let mut answer = [0; 5];
            answers.read_exact(&mut answer)?;
            ensure!(
                &answer == b"+OK\r\n",
                "Redis says {}",
                answer.escape_ascii()
            );
        }
        Ok(())
    }
}
