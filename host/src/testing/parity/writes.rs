//! The writes of a sample of entities, out of a history of features.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt32Type, UInt64Type};
use sha2::{Digest as _, Sha256};

use super::TestError;
use crate::store::StoreError;
use crate::store::declarations::FeatureDeclaration;
use crate::store::item::attribute_name;
use crate::store::item::entity::EntityEncoder;
use crate::store::offline::rows::{EPOCH, EVENT_TIME, LANE, PIPELINE, SEQUENCE, WINDOW};
use crate::store::offline::{OfflineStore, TakenBack};

/// Which writes are looked at.
pub(super) struct Chosen<'a> {
    pub(super) group: &'a str,
    /// The features of one pipeline in that group.
    pub(super) features: &'a [&'a FeatureDeclaration],
    /// The share of entities.
    pub(super) sample: f64,
    /// The last event time.
    pub(super) until: i64,
}

impl Chosen<'_> {
    /// Whether an entity is in the sample: the same for whoever asks, whenever.
    fn has(&self, entity: &[u8]) -> bool {
        let digest = Sha256::digest(entity);
        let first = digest.iter().take(8);
        let number = first.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        self.sample >= 1.0 || (number as f64) < self.sample * 2_f64.powi(64)
    }
}

/// A write: which one it is of its event time, and its value, an array of one; none if it removed it.
struct Write {
    order: (u64, u64),
    value: Option<ArrayRef>,
}

/// By entity and feature (`name@version`), the last write of each event time.
#[derive(Default)]
pub(super) struct Writes {
    /// Entities that were seen.
    pub(super) entities: u64,
    /// Those of them that are in the sample.
    pub(super) sampled: u64,
    found: BTreeMap<[String; 2], BTreeMap<i64, Write>>,
}

impl Writes {
    /// Reads the writes that are chosen; of a `span` of event times alone if there is one.
    pub(super) async fn read(
        history: &OfflineStore,
        chosen: &Chosen<'_>,
        span: Option<RangeInclusive<i64>>,
    ) -> Result<Self, TestError> {
        let span = span.unwrap_or(i64::MIN..=i64::MAX);
        let mut reading = Reading {
            chosen,
            taken_back: BTreeSet::new(),
            span: *span.start()..=(*span.end()).min(chosen.until),
            seen: BTreeSet::new(),
            writes: Self::default(),
        };
        if let Some(first) = chosen.features.first() {
            reading.taken_back = history.taken_back(&first.pipeline).await?;
        }
        let take = |file: &str, rows: &RecordBatch| {
            let taken = reading.rows(rows);
            taken.map_err(|reason| StoreError::Damaged {
                path: format!("{}/{file}", history.shown()).into(),
                reason,
            })
        };
        history.read_all(chosen.group, take).await?;
        let mut writes = reading.writes;
        writes.entities = reading.seen.len() as u64;
        writes.sampled = writes.known().len() as u64;
        Ok(writes)
    }

    /// Every value with whose it is and when, as an array of one; none where it was removed.
    pub(super) fn all(&self) -> impl Iterator<Item = ([&str; 2], i64, Option<&ArrayRef>)> {
        self.found.iter().flat_map(|(of, times)| {
            let of = [of[0].as_str(), of[1].as_str()];
            let times = times.iter();
            times.map(move |(at, write)| (of, *at, write.value.as_ref()))
        })
    }

    /// What there is of an event time, if there is anything.
    pub(super) fn at(&self, of: [&str; 2], event_time: i64) -> Option<Option<&ArrayRef>> {
        let write = self.of(of)?.get(&event_time)?;
        Some(write.value.as_ref())
    }

    /// The value of the last event time.
    pub(super) fn newest(&self, of: [&str; 2]) -> Option<(i64, Option<&ArrayRef>)> {
        let (at, write) = self.of(of)?.last_key_value()?;
        Some((*at, write.value.as_ref()))
    }

    /// From the first event time to the last.
    pub(super) fn span(&self) -> Option<RangeInclusive<i64>> {
        let times = || self.found.values().flat_map(BTreeMap::keys).copied();
        Some(times().min()?..=times().max()?)
    }

    /// The entities, in order.
    pub(super) fn known(&self) -> Vec<&str> {
        let mut entities: Vec<&str> = self
            .found
            .keys()
            .map(|[entity, _]| entity.as_str())
            .collect();
        entities.dedup();
        entities
    }

    fn of(&self, of: [&str; 2]) -> Option<&BTreeMap<i64, Write>> {
        self.found.get(&of.map(str::to_owned))
    }
}

/// A history on its way in.
struct Reading<'a> {
    chosen: &'a Chosen<'a>,
    span: RangeInclusive<i64>,
    /// Writes that do not count any more.
    taken_back: BTreeSet<TakenBack>,
    /// Entities of the pipeline.
    seen: BTreeSet<Vec<u8>>,
    writes: Writes,
}

impl Reading<'_> {
    /// Takes the rows of a file in, or says what is wrong with it.
    fn rows(&mut self, rows: &RecordBatch) -> Result<(), String> {
        let column = |name: &str| {
            let found = rows.column_by_name(name);
            found.ok_or_else(|| format!("it has no column `{name}`"))
        };
        let [pipeline, window] = [column(PIPELINE)?, column(WINDOW)?].map(|it| {
            it.as_string_opt::<i32>()
                .ok_or("a column of names has no texts")
        });
        let (pipeline, window) = (pipeline?, window?);
        let times = column(EVENT_TIME)?.as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or("its event times are no timestamps")?;
        let [epoch, sequence] = [column(EPOCH)?, column(SEQUENCE)?].map(|it| {
            it.as_primitive_opt::<UInt64Type>()
                .ok_or("a column of numbers has none")
        });
        let (epoch, sequence) = (epoch?, sequence?);
        let lane = column(LANE)?.as_primitive_opt::<UInt32Type>();
        let lane = lane.ok_or("its lanes are no numbers")?;
        let Some(first) = self.chosen.features.first() else {
            return Ok(());
        };
        let counts = |row: usize| {
            let of = (pipeline.value(row), lane.value(row), epoch.value(row));
            let mut taken_back = self.taken_back.iter();
            !taken_back.any(|writes| writes.has(of.0, of.1, of.2))
        };
        let own: Vec<usize> = (0..rows.num_rows())
            .filter(|row| pipeline.value(*row) == first.pipeline)
            .filter(|row| self.span.contains(&times.value(*row)))
            .filter(|row| counts(*row))
            .collect();
        // A file of another pipeline may have another key.
        if own.is_empty() {
            return Ok(());
        }
        let keys = first.entity.iter().map(|name| column(name).cloned());
        let keys: Vec<ArrayRef> = keys.collect::<Result<_, _>>()?;
        let keys = EntityEncoder::new(&keys).map_err(|error| error.to_string())?;
        let features: Vec<(&FeatureDeclaration, String, &ArrayRef)> = self
            .chosen
            .features
            .iter()
            .filter_map(|feature| {
                let name = attribute_name(&feature.name, feature.version);
                let values = rows.column_by_name(&name)?;
                Some((*feature, name, values))
            })
            .collect();
        let mut entity = Vec::new();
        for row in own {
            entity.clear();
            keys.encode(row, &mut entity);
            if !self.seen.contains(&entity) {
                self.seen.insert(entity.clone());
            }
            if !self.chosen.has(&entity) {
                continue;
            }
            let text = String::from_utf8_lossy(&entity).into_owned();
            let order = (epoch.value(row), sequence.value(row));
            for (feature, name, values) in &features {
                if feature.window != window.value(row) {
                    continue;
                }
                let of = [text.clone(), name.clone()];
                let times_of = self.writes.found.entry(of).or_default();
                let kept = times_of.get(&times.value(row));
                if kept.is_some_and(|kept| kept.order > order) {
                    continue;
                }
                let value = values.is_valid(row).then(|| values.slice(row, 1));
                times_of.insert(times.value(row), Write { order, value });
            }
        }
        Ok(())
    }
}
