//! What is declared, kept at hand: a request resolves its names without asking the store.
//!
//! What finding a feature needs never changes once it is declared, so what was read stays true. New features and new
//! versions are seen at once by who asks for them, and as the greatest version within [`REFRESH`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arrow::datatypes::DataType;
use serde_json::Value as Json;

use super::columns::Shape;
use super::refusal::{Kind, Refusal};
use super::unreadable;
use crate::clock::Clock;
use crate::config::{did_you_mean, types};
use crate::store::declarations::Terms;
use crate::store::item::attribute_name;
use crate::store::{Declaration, FeatureName, FeatureReader};

/// How old what is known of a group may be.
pub(super) const REFRESH: Duration = Duration::from_secs(10);
/// How often the store is looked at for names that are not known, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of how many groups it is remembered that there is none.
pub(super) const MOST_UNKNOWN: usize = 1_024;

/// Where items of one pipeline and window are.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::serve) struct Place {
    /// A number of its own in this process.
    pub(super) number: u32,
    pub(in crate::serve) group: String,
    pub(in crate::serve) pipeline: String,
    pub(in crate::serve) window: String,
}

/// A feature as it is declared, with what answering needs of it worked out.
#[derive(Debug)]
pub(in crate::serve) struct Described {
    pub(in crate::serve) place: Arc<Place>,
    pub(in crate::serve) name: String,
    pub(in crate::serve) version: u32,
    /// Its name in an item.
    pub(super) attribute: String,
    pub(in crate::serve) data_type: DataType,
    /// The type as declarations write it.
    pub(in crate::serve) type_name: String,
    pub(super) shape: Shape,
    /// How old a value may be before it counts as stale, in microseconds; none if nobody said.
    pub(in crate::serve) freshness: Option<i64>,
    /// How old a value may be before it is as if it were not there, in microseconds; none is for ever.
    pub(super) ttl: Option<i64>,
    pub(in crate::serve) entity: Vec<String>,
    /// The declaration as its owner wrote it.
    pub(in crate::serve) document: Json,
}

/// The features of a group, by name and version.
#[derive(Debug, Default)]
pub(super) struct Group {
    name: String,
    features: BTreeMap<String, BTreeMap<u32, Arc<Described>>>,
}

impl Group {
    /// Whether all names are declared.
    pub(super) fn has_all<S: AsRef<str>>(&self, asked: &[S]) -> bool {
        asked.iter().all(|name| self.get(name.as_ref()).is_some())
    }

    /// The features of some names, in the order asked.
    pub(super) fn find<S: AsRef<str>>(&self, asked: &[S]) -> Result<Vec<Arc<Described>>, Refusal> {
        asked.iter().map(|name| self.one(name.as_ref())).collect()
    }

    /// The feature of a name.
    pub(super) fn one(&self, asked: &str) -> Result<Arc<Described>, Refusal> {
        self.get(asked).map(Arc::clone).ok_or_else(|| {
            let all = self.features.values().flat_map(BTreeMap::values);
            let known: Vec<&str> = match asked.contains('@') {
                true => all.map(|it| it.attribute.as_str()).collect(),
                false => self.features.keys().map(String::as_str).collect(),
            };
            let hint = did_you_mean(asked, "it has, among others", known.iter().copied());
            let message = format!("group {:?} has no feature {asked:?}: {hint}", self.name);
            Refusal::new(Kind::NotFound, message)
        })
    }

    fn get(&self, asked: &str) -> Option<&Arc<Described>> {
        // Most ask by the name alone, which then need not be taken apart.
        if let Some(versions) = self.features.get(asked) {
            return versions.values().next_back();
        }
        let FeatureName { name, version } = FeatureName::parse(asked);
        self.features.get(&name)?.get(&version?)
    }
}

/// What is known of groups.
pub(super) struct Catalogue {
    groups: RwLock<HashMap<String, (Duration, Arc<Group>)>>,
    /// Groups that there were not when they were looked for, and when that was.
    unknown: Mutex<HashMap<String, Duration>>,
    places: Mutex<HashMap<[String; 3], Arc<Place>>>,
    clock: Arc<dyn Clock>,
}

impl Catalogue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            groups: RwLock::default(),
            unknown: Mutex::default(),
            places: Mutex::default(),
            clock,
        }
    }

    /// A group as it was within [`REFRESH`].
    pub(super) async fn group(
        &self,
        reader: &dyn FeatureReader,
        name: &str,
    ) -> Result<Arc<Group>, Refusal> {
        self.within(reader, name, REFRESH).await
    }

    /// A group as it is now, or was a moment ago.
    pub(super) async fn look_again(
        &self,
        reader: &dyn FeatureReader,
        name: &str,
    ) -> Result<Arc<Group>, Refusal> {
        self.within(reader, name, LOOK_AGAIN).await
    }

    /// How many groups it is remembered of that there is none.
    #[cfg(test)]
    pub(super) fn unknown(&self) -> usize {
        let unknown = self.unknown.lock();
        unknown.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Every feature of a group, or of all, in order.
    pub(super) async fn list(
        &self,
        reader: &dyn FeatureReader,
        group: Option<&str>,
    ) -> Result<Vec<Arc<Described>>, Refusal> {
        let declarations = reader.declarations(group).await.map_err(unreadable)?;
        if let (Some(group), []) = (group, declarations.as_slice()) {
            return Err(unknown(group));
        }
        let described = declarations.iter();
        described
            .map(|it| self.describe(it).map(Arc::new))
            .collect()
    }

    async fn within(
        &self,
        reader: &dyn FeatureReader,
        name: &str,
        age: Duration,
    ) -> Result<Arc<Group>, Refusal> {
        let now = self.clock.now();
        let known = {
            let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
            groups.get(name).map(|(at, group)| (*at, Arc::clone(group)))
        };
        if let Some((at, group)) = known
            && now.saturating_sub(at) < age
        {
            return Ok(group);
        }
        if self.is_unknown(name, now) {
            return Err(unknown(name));
        }
        let declarations = reader.declarations(Some(name)).await.map_err(unreadable)?;
        if declarations.is_empty() {
            self.remember_unknown(name, now);
            return Err(unknown(name));
        }
        let mut group = Group {
            name: name.to_owned(),
            ..Group::default()
        };
        for declaration in &declarations {
            let versions = group.features.entry(declaration.feature.clone());
            let described = Arc::new(self.describe(declaration)?);
            versions.or_default().insert(declaration.version, described);
        }
        let group = Arc::new(group);
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.insert(name.to_owned(), (now, Arc::clone(&group)));
        Ok(group)
    }

    /// Whether there was no such group a moment ago.
    fn is_unknown(&self, name: &str, now: Duration) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = unknown.get(name);
        looked.is_some_and(|at| now.saturating_sub(*at) < LOOK_AGAIN)
    }

    /// Where there are more than may be, the others are looked for each time.
    fn remember_unknown(&self, name: &str, now: Duration) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() >= MOST_UNKNOWN {
            unknown.retain(|_, at| now.saturating_sub(*at) < LOOK_AGAIN);
        }
        if unknown.len() < MOST_UNKNOWN {
            unknown.insert(name.to_owned(), now);
        }
    }

    fn describe(&self, declaration: &Declaration) -> Result<Described, Refusal> {
        let shape = Shape::of(&declaration.data_type).map_err(|error| {
            let name = attribute_name(&declaration.feature, declaration.version);
            Refusal::new(Kind::Internal, format!("feature {name:?}: {error}"))
        })?;
        let terms = Terms::of(declaration);
        let document = serde_json::from_str(&declaration.document).unwrap_or(Json::Null);
        Ok(Described {
            place: self.place(declaration),
            name: declaration.feature.clone(),
            version: declaration.version,
            attribute: attribute_name(&declaration.feature, declaration.version),
            type_name: types::type_name(&declaration.data_type),
            data_type: declaration.data_type.clone(),
            shape,
            freshness: terms.freshness,
            ttl: terms.ttl,
            entity: declaration.entity.clone(),
            document,
        })
    }

    /// A place has one number for as long as the process runs.
    fn place(&self, declaration: &Declaration) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let number = places.len() as u32;
        let [group, pipeline, window] = [
            &declaration.group,
            &declaration.pipeline,
            &declaration.window,
        ]
        .map(String::clone);
        let key = [group.clone(), pipeline.clone(), window.clone()];
        let place = places.entry(key).or_insert_with(|| {
            Arc::new(Place {
                number,
                group,
                pipeline,
                window,
            })
        });
        Arc::clone(place)
    }
}

/// Names of other groups are not for everyone.
fn unknown(group: &str) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        format!(
            "no feature group {group:?} is declared here: a group is there once a pipeline that has it was started on this store"
        ),
    )
}
