//! Whether what is served, and what the history has, is what recorded events give.
//!
//! In: a pipeline, its recorded events, and an environment in which it has run. The events are run once more into a store
//! of its own, with a history. Of a sample of entities, chosen by a hash of their keys, every value of that history up to some
//! event time is looked for in the environment's history, and the newest of each feature in its store. Out: the values
//! that differ.
//!
//! It must never call something equal that it has not seen: what could not be compared, and why, is counted.

mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::ArrayRef;

use self::writes::{Chosen, Writes};
use super::TestError;
use super::cells::{Cells, Leniency};
use super::trial::{Folder, Trial};
use crate::config::Pipeline;
use crate::pipeline::Host;
use crate::store::declarations::FeatureDeclaration;
use crate::store::item::attribute_name;
use crate::store::offline::OfflineStore;
use crate::store::reading::Shape;
use crate::store::{
    Declaration, FeatureName, FeatureReader, FeatureValue, ItemPlace, Value, open_reader,
};

/// Entities that are asked of the store at once.
const AT_ONCE: usize = 100;

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct ParityOptions {
    /// The environment.
    pub environment: String,
    /// Files of events, in place of those that the environment has.
    pub events: Option<Vec<std::path::PathBuf>>,
    /// The share of entities: above 0, and 1 for all.
    pub sample: f64,
    /// Values of later event times, in microseconds since 1970-01-01T00:00:00Z, are left out.
    pub until: i64,
    /// How far numbers may be from each other, as [`super::Tolerances`] have it.
    pub tolerance: f64,
}

/// What somebody has of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It, as JSON text.
    Value(String),
    /// That there is none: it broke its validation, or was withdrawn.
    Removed,
    /// Nothing.
    Missing,
    /// An older one, of this event time.
    Older(i64),
    /// It was not asked.
    NotAsked,
}

/// A value that is not everywhere the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParityDifference {
    /// The feature group.
    pub group: String,
    /// The entity's text.
    pub entity: String,
    /// `name@version`
    pub feature: String,
    /// The end of its window, in microseconds since 1970-01-01T00:00:00Z.
    pub event_time: i64,
    /// What recorded events give.
    pub computed: Seen,
    /// What the store has.
    pub served: Seen,
    /// What the history has.
    pub offline: Seen,
}

/// What came of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Parity {
    /// Entities that recorded events are of.
    pub entities: u64,
    /// Those of them that were looked at.
    pub sampled: u64,
    /// Values that were compared with the store.
    pub served: u64,
    /// Values that were compared with the history; none if the environment has none.
    pub offline: Option<u64>,
    /// Values that were not compared with the store, because it has a newer one.
    pub newer: u64,
    /// Values that were not found in the store, because they are past their time to live.
    pub expired: u64,
    /// By entity, feature and event time.
    pub differences: Vec<ParityDifference>,
}

/// Compares what an environment has of a pipeline's features with what recorded events give.
///
/// # Errors
///
/// The events cannot be run, or the store or the history cannot be read.
pub fn parity(
    host: &Host,
    pipeline: &Pipeline,
    options: &ParityOptions,
    stop: &Arc<AtomicBool>,
) -> Result<Parity, TestError> {
    let events = options.events.as_deref();
    let trial = Trial::new(host, pipeline, &options.environment, events, stop)?;
    let place = trial.environment().features()?;
    let folder = Folder::new()?;
    let computed = trial.run_kept(&folder)?;
    let history = trial.environment().offline.as_ref();
    let history = history.map(OfflineStore::open).transpose()?;
    host.io.block_on(async {
        let features: Vec<&FeatureDeclaration> = pipeline.declarations().collect();
        let mut parity = Parity {
            offline: history.as_ref().map(|_| 0),
            ..Parity::default()
        };
        let store = open_reader(&place).await?;
        let mut groups: Vec<&str> = features.iter().map(|it| it.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        let now = host.clock.unix();
        let mut differences = BTreeMap::new();
        for group in groups {
            let of_group = features.iter().filter(|it| it.group == group);
            let features: Vec<&FeatureDeclaration> = of_group.copied().collect();
            let chosen = Chosen {
                group,
                features: &features,
                sample: options.sample,
                until: options.until,
            };
            let computed = Writes::read(&computed, &chosen, None).await?;
            parity.entities += computed.entities;
            parity.sampled += computed.sampled;
            let mut comparing = Comparing {
                computed: &computed,
                chosen: &chosen,
                tolerance: options.tolerance,
                parity: &mut parity,
                differences: &mut differences,
            };
            if let Some(history) = &history {
                comparing.with_history(history).await?;
            }
            comparing.with_store(store.as_ref(), now).await?;
        }
        parity.differences = differences.into_values().collect();
        Ok(parity)
    })
}

/// One group at work.
struct Comparing<'a> {
    computed: &'a Writes,
    chosen: &'a Chosen<'a>,
    tolerance: f64,
    parity: &'a mut Parity,
    /// By entity, feature, event time and group.
    differences: &'a mut BTreeMap<(String, String, i64, String), ParityDifference>,
}

impl Comparing<'_> {
    async fn with_history(&mut self, history: &OfflineStore) -> Result<(), TestError> {
        let there = Writes::read(history, self.chosen, self.computed.span()).await?;
        let computed = self.computed;
        let mut compared = 0;
        for (of, at, value) in computed.all() {
            compared += 1;
            let found = there.at(of, at);
            if !self.same(value, found)? {
                self.differ(of, at, |it| it.offline = Seen::of(found));
            }
        }
        // What nobody computes should not be there.
        for (of, at, value) in there.all() {
            if computed.at(of, at).is_none() {
                compared += 1;
                self.differ(of, at, |it| it.offline = Seen::of(Some(value)));
            }
        }
        *self.parity.offline.get_or_insert(0) += compared;
        Ok(())
    }

    async fn with_store(&mut self, store: &dyn FeatureReader, now: i64) -> Result<(), TestError> {
        let (group, features, computed) = (self.chosen.group, self.chosen.features, self.computed);
        let names = features.iter().map(|feature| FeatureName {
            name: feature.name.clone(),
            version: Some(feature.version),
        });
        let names: Vec<FeatureName> = names.collect();
        let found: Vec<Arc<Declaration>> = store.find(group, &names).await?;
        let shape = Shape::of(&found);
        let entities = computed.known();
        for entities in entities.chunks(AT_ONCE) {
            let places: Vec<ItemPlace<'_>> = entities
                .iter()
                .flat_map(|entity| shape.places(group, entity))
                .collect();
            let items = store.items(&places).await?;
            let width = places.len() / entities.len();
            for (at, entity) in entities.iter().enumerate() {
                let items = &items[at * width..(at + 1) * width];
                let values = shape.values(group, entity, items)?;
                for (feature, value) in features.iter().zip(values) {
                    self.with_served(entity, feature, value, now)?;
                }
            }
        }
        Ok(())
    }

    fn with_served(
        &mut self,
        entity: &str,
        feature: &FeatureDeclaration,
        served: Option<FeatureValue>,
        now: i64,
    ) -> Result<(), TestError> {
        let name = attribute_name(&feature.name, feature.version);
        let of = [entity, name.as_str()];
        let computed = self.computed;
        let Some((event_time, value)) = computed.newest(of) else {
            return Ok(());
        };
        let is_expired = |ttl: i64| event_time.saturating_add(ttl) <= now;
        let seen = match served {
            Some(served) if served.order.event_time > event_time => {
                self.parity.newer += 1;
                return Ok(());
            }
            Some(served) if served.order.event_time < event_time => {
                Seen::Older(served.order.event_time)
            }
            Some(served) => {
                let there = Some(served.value.as_ref().map(Value::array));
                let is_same = self.same(value, there)?;
                match is_same {
                    true => {
                        self.parity.served += 1;
                        return Ok(());
                    }
                    false => Seen::of(there),
                }
            }
            None if feature.ttl.is_some_and(is_expired) => {
                self.parity.expired += 1;
                return Ok(());
            }
            None => Seen::Missing,
        };
        self.parity.served += 1;
        self.differ(of, event_time, |it| it.served = seen);
        Ok(())
    }

    /// Whether what was computed is what was found: a value, that it was removed, or nothing.
    fn same(
        &self,
        computed: Option<&ArrayRef>,
        found: Option<Option<&ArrayRef>>,
    ) -> Result<bool, TestError> {
        let Some(found) = found else { return Ok(false) };
        Ok(match (computed, found) {
            (None, None) => true,
            (Some(one), Some(other)) if one.data_type() == other.data_type() => {
                let cells = Cells::new(one, other, self.tolerance, Leniency::default())?;
                cells.same(0, 0)
            }
            _ => false,
        })
    }

    /// Notes what somebody has of a value that differs.
    fn differ(&mut self, of: [&str; 2], event_time: i64, note: impl FnOnce(&mut ParityDifference)) {
        let [entity, feature] = of.map(str::to_owned);
        let computed = self.computed.at(of, event_time);
        let group = self.chosen.group.to_owned();
        let key = (entity.clone(), feature.clone(), event_time, group.clone());
        let difference = self.differences.entry(key);
        note(difference.or_insert_with(|| ParityDifference {
            group,
            entity,
            feature,
            event_time,
            computed: Seen::of(computed),
            served: Seen::NotAsked,
            offline: Seen::NotAsked,
        }));
    }
}

impl Seen {
    fn of(found: Option<Option<&ArrayRef>>) -> Self {
        match found {
            None => Self::Missing,
            Some(None) => Self::Removed,
            Some(Some(value)) => Self::Value(
                Value::of(value, 0)
                    .to_json()
                    .unwrap_or_else(|error| error.to_string()),
            ),
        }
    }
}
