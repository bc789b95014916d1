//! Values of features that no pipeline computes, on their way into the store.
//!
//! A request is looked at whole before anything of it is written: whether the token may write the group, how much it
//! is, the entities and event times, the names, the types, and what each feature's validation asks for. The first thing that
//! is wrong refuses all of it. What is being written is written to its end, also when nobody waits for it any more.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema};
use serde::Deserialize as _;

use super::access::Caller;
use super::catalogue::Described;
use super::given::{Given, Misfit};
use super::refusal::{Kind, Refusal};
use super::{Answers, check_size, unreadable};
use crate::store::declarations::ELSEWHERE;
use crate::store::item::entity;
use crate::store::validation::{Checker, Validation};
use crate::store::{PutBatch, PutColumn, StoreError};

/// Puts that are being written at once. Their requests may have been given up, and so make room for others.
pub(super) const MOST_WRITTEN: usize = 64;

/// How far an event time may be ahead of this server's clock, in microseconds: a value of the far future would hide all
/// that come after it.
const MOST_AHEAD: i64 = 86_400_000_000;

/// Values of features of entities of one group.
#[derive(Debug)]
pub(in crate::serve) struct Put {
    pub(in crate::serve) group: String,
    /// In the text form of entities.
    pub(in crate::serve) entities: Vec<String>,
    /// What the values of each entity are of, in microseconds since 1970-01-01T00:00:00Z; or one for all.
    pub(in crate::serve) event_times: Vec<i64>,
    /// `name` or `name@version`, with a value for each entity.
    pub(in crate::serve) features: Vec<(String, Given)>,
}

impl Answers {
    /// Stores values durably: all of them, or none. Gives how many there were.
    pub(in crate::serve) async fn put(
        &self,
        caller: &Caller<'_>,
        asked: &Put,
    ) -> Result<u64, Refusal> {
        caller.may_write(&asked.group)?;
        check_size(&asked.entities, asked.features.len())?;
        let event_times = self.event_times(asked)?;
        let names: Vec<&str> = asked
            .features
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let features = self.features(&asked.group, &names).await?;
        check_features(&features)?;
        check_keys(&asked.entities, &features)?;
        let values = features.iter().zip(&asked.features);
        let values = values.map(|(feature, (_, given))| checked(asked, feature, given));
        let batch = PutBatch {
            group: asked.group.clone(),
            entities: StringArray::from_iter_values(&asked.entities),
            event_times: event_times.into(),
            features: values.collect::<Result<_, _>>()?,
        };
        self.write(batch).await?;
        let values = asked.entities.len() * features.len();
        self.figures.put(values);
        Ok(values as u64)
    }

    /// An event time for each entity.
    fn event_times(&self, asked: &Put) -> Result<Vec<i64>, Refusal> {
        let (times, rows) = (&asked.event_times, asked.entities.len());
        let latest = self.clock.unix().saturating_add(MOST_AHEAD);
        for (at, time) in times.iter().enumerate() {
            let bad = |what: &str| {
                let message = format!(
                    "event time {at} {what}; it says what the values are of, in microseconds since 1970 or as in 2026-01-31T12:00:00Z"
                );
                Err(Refusal::new(Kind::Invalid, message))
            };
            if jiff::Timestamp::from_microsecond(*time).is_err() {
                return bad("is outside of the years -9999 to 9999");
            }
            if *time > latest {
                return bad(
                    "is more than a day ahead of this server's clock, and would hide all that comes until then",
                );
            }
        }
        match times.as_slice() {
            [one] => Ok(vec![*one; rows]),
            each if each.len() == rows => Ok(each.to_vec()),
            other => Err(Refusal::new(
                Kind::Invalid,
                format!(
                    "there are {} event times for {rows} entities: give one for each, or one for all",
                    other.len()
                ),
            )),
        }
    }

    /// Has values written, by whoever is there when this is given up.
    async fn write(&self, batch: PutBatch) -> Result<(), Refusal> {
        let Ok(place) = Arc::clone(&self.writing).try_acquire_owned() else {
            self.figures.shed();
            return Err(Refusal::new(
                Kind::Overloaded,
                format!(
                    "{MOST_WRITTEN} requests are being written, which is as many as may be at once: put them again in a moment"
                ),
            ));
        };
        let store = Arc::clone(&self.store);
        let written = tokio::spawn(async move {
            let written = store.put(batch).await;
            drop(place);
            written
        });
        match written.await {
            Ok(written) => written.map_err(unwritten),
            Err(error) => Err(Refusal::new(
                Kind::Internal,
                format!("the values could not be written: {error}; please report it"),
            )),
        }
    }
}

/// Features that a pipeline computes are not put, and none is put twice.
fn check_features(features: &[Arc<Described>]) -> Result<(), Refusal> {
    for (at, feature) in features.iter().enumerate() {
        let name = &feature.attribute;
        if feature.place.pipeline != ELSEWHERE {
            let pipeline = &feature.place.pipeline;
            return Err(Refusal::new(
                Kind::Precondition,
                format!(
                    "feature {name:?} is computed by pipeline {pipeline:?}, and only features that none computes are put: declare another one with `penstock features apply`"
                ),
            ));
        }
        if features[..at].iter().any(|other| other.attribute == *name) {
            return Err(Refusal::new(
                Kind::Invalid,
                format!("feature {name:?} is put twice: give it once"),
            ));
        }
    }
    Ok(())
}

/// A key of several columns has a part for each.
fn check_keys(entities: &[String], features: &[Arc<Described>]) -> Result<(), Refusal> {
    let composite = features.iter().find(|feature| feature.entity.len() > 1);
    let Some(feature) = composite else {
        return Ok(());
    };
    let text = |name: &String| Field::new(name, DataType::Utf8, false);
    let key = Schema::new(feature.entity.iter().map(text).collect::<Vec<_>>());
    for (at, entity) in entities.iter().enumerate() {
        entity::parse(entity, &key).map_err(|reason| {
            let message = format!("entity {at} ({entity:?}) is no key of this group: {reason}");
            Refusal::new(Kind::Invalid, message)
        })?;
    }
    Ok(())
}

/// The values of a feature as a column of its type, all of which keep to its validation.
fn checked(asked: &Put, feature: &Described, given: &Given) -> Result<PutColumn, Refusal> {
    let name = &feature.attribute;
    let of = |row: Option<usize>| match row {
        Some(row) => format!("entity {:?}, feature {name:?}", asked.entities[row]),
        None => format!("feature {name:?}"),
    };
    let bad = |row, reason: &str| {
        let message = format!("{}: {reason}; nothing was stored", of(row));
        Refusal::new(Kind::Invalid, message)
    };
    let column = given.column(feature, asked.entities.len());
    let column = column.map_err(|Misfit { row, reason }| bad(row, &reason))?;
    let checker = checker(feature)?;
    let failures = checker.failures(&column).map_err(|error| {
        let message = format!("feature {name:?}: {error}; please report it");
        Refusal::new(Kind::Internal, message)
    })?;
    if let Some(failure) = failures.and_then(|failures| failures.rows.first().copied()) {
        let code = failure.rule.code();
        let reason = format!("{} ({code})", checker.describe(&column, failure));
        return Err(bad(Some(failure.row), &reason));
    }
    Ok(PutColumn {
        name: feature.name.clone(),
        version: feature.version,
        values: column,
    })
}

fn checker(feature: &Described) -> Result<Checker, Refusal> {
    let unusable = |reason: String| {
        let name = &feature.attribute;
        let message = format!(
            "the validation of feature {name:?} cannot be used: {reason}; declare the feature again with `penstock features apply`"
        );
        Refusal::new(Kind::Precondition, message)
    };
    let validation = feature.document.get("validation");
    let validation = validation.map_or(Ok(Validation::default()), Validation::deserialize);
    let validation = validation.map_err(|error| unusable(error.to_string()))?;
    Checker::new(&validation, &feature.data_type).map_err(|senseless| {
        let told = senseless.iter().map(ToString::to_string);
        unusable(told.collect::<Vec<_>>().join(", and "))
    })
}

/// What a store says when it cannot be written. Its own words may name folders and buckets: they go to the log.
fn unwritten(error: StoreError) -> Refusal {
    match &error {
        StoreError::UnknownGroup { .. } | StoreError::UnknownFeature { .. } => unreadable(error),
        StoreError::TooLarge { .. } => Refusal::new(Kind::TooLarge, error.to_string()),
        StoreError::Busy { .. } | StoreError::Fenced { .. } => {
            tracing::warn!(%error, "values are not taken");
            Refusal::new(
                Kind::Precondition,
                "another process takes the values of this store, and one may at a time: put them there, or stop it",
            )
        }
        StoreError::Unrecorded { .. } => {
            tracing::error!(%error, "values are not taken");
            Refusal::new(
                Kind::Unavailable,
                "the history of features cannot be written just now, and nothing is stored that is not in it: put the values again; the server's log says why",
            )
        }
        _ => {
            tracing::error!(%error, "values cannot be written");
            Refusal::new(
                Kind::Unavailable,
                "the feature store cannot be written just now, and some of the values may be there or not: put them again; the server's log says why",
            )
        }
    }
}
