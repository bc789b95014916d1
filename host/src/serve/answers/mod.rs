//! What models are answered, whichever protocol they ask in.
//!
//! In come requests that a protocol has parsed ([`BatchGet`], [`Put`](put::Put)), and who asks ([`Caller`]); out go columns
//! ([`Answer`]), or a [`Refusal`] with a kind that every protocol has a code for. What a request must pass, in this order:
//! whether its token may do that ([`access`]), whether there is room for it ([`Answers::within`]), whether the store
//! has what is asked for ([`catalogue`]).
//!
//! What it must never do: make more requests wait than it may work on, or tell somebody without the right to a group
//! whether that group exists.

pub(super) mod access;
pub(super) mod catalogue;
pub(super) mod columns;
pub(super) mod figures;
pub(super) mod given;
pub(super) mod put;
pub(super) mod refusal;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use self::access::{Access, Caller};
use self::catalogue::{Catalogue, Described, Place};
use self::columns::{Column, Style, fill};
use self::figures::ServingFigures;
use self::refusal::{Kind, Refusal};
use crate::clock::Clock;
use crate::config::Serving;
use crate::store::{ItemPlace, PutStore, StoreError};

/// Entities of a request at most.
pub(super) const MOST_ENTITIES: usize = 1_000;
/// Features of a request at most.
pub(super) const MOST_FEATURES: usize = 500;
/// Values of a request at most: entities times features.
pub(super) const MOST_VALUES: usize = 50_000;
/// Bytes that the values of an answer may have together, as they are stored.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// Bytes of an entity's text at most: what DynamoDB takes as a key.
pub(super) const LONGEST_ENTITY: usize = 2_048;

/// A request for the newest values of features of entities of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct BatchGet {
    pub(super) group: String,
    /// In the text form of entities.
    pub(super) entities: Vec<String>,
    /// `name` or `name@version`.
    pub(super) features: Vec<String>,
    pub(super) style: Style,
}

/// The newest values, a column a feature, in the order asked; each has a row an entity, in the order asked.
#[derive(Debug)]
pub(super) struct Answer {
    /// When it was made, in microseconds since 1970-01-01T00:00:00Z.
    pub(super) answered_at: i64,
    pub(super) columns: Vec<Column>,
}

/// What serves one environment.
pub(super) struct Answers {
    store: Arc<dyn PutStore>,
    catalogue: Catalogue,
    access: Access,
    room: Arc<Semaphore>,
    /// Room for what is being written, also where nobody waits for it any more.
    writing: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    /// The longest that a request may take.
    deadline: Duration,
    /// Bytes of a request.
    pub(super) max_body: usize,
    max_in_flight: usize,
    pub(super) figures: Arc<ServingFigures>,
}

impl Answers {
    pub(super) fn new(
        store: Arc<dyn PutStore>,
        settings: &Serving,
        access: Access,
        clock: Arc<dyn Clock>,
        figures: Arc<ServingFigures>,
    ) -> Self {
        Self {
            store,
            catalogue: Catalogue::new(Arc::clone(&clock)),
            access,
            room: Arc::new(Semaphore::new(settings.max_in_flight)),
            writing: Arc::new(Semaphore::new(put::MOST_WRITTEN)),
            clock,
            deadline: Duration::from_micros(settings.deadline.unsigned_abs()),
            max_body: settings.max_body,
            max_in_flight: settings.max_in_flight,
            figures,
        }
    }

    /// The time by which durations are told.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Who a token belongs to.
    pub(super) fn caller(&self, authorization: Option<&[u8]>) -> Result<Caller<'_>, Refusal> {
        self.access.caller(authorization)
    }

    /// Does what a request asks for, if there is room for one more, and within the time that it has: what it asked for
    /// itself (`asked`), or what the server gives at most.
    pub(super) async fn within<T>(
        &self,
        asked: Option<Duration>,
        work: impl Future<Output = Result<T, Refusal>> + Send,
    ) -> Result<T, Refusal> {
        let Ok(_place) = self.room.try_acquire() else {
            self.figures.shed();
            return Err(Refusal::new(
                Kind::Overloaded,
                format!(
                    "{} requests are being answered, which is as many as may be at once: ask again in a moment, or raise `serving.max_in_flight`",
                    self.max_in_flight
                ),
            ));
        };
        let limit = asked.unwrap_or(self.deadline).min(self.deadline);
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(Refusal::new(
                Kind::DeadlineExceeded,
                format!(
                    "not answered within {} ms: ask for less at once, or allow more time, at most `serving.deadline`, which is {} ms",
                    limit.as_millis(),
                    self.deadline.as_millis()
                ),
            )),
        }
    }

    /// The newest values of features of entities.
    pub(super) async fn batch_get(
        &self,
        caller: &Caller<'_>,
        asked: &BatchGet,
    ) -> Result<Answer, Refusal> {
        caller.may_read(&asked.group)?;
        check_size(&asked.entities, asked.features.len())?;
        let features = self.features(&asked.group, &asked.features).await?;
        let entities: Vec<&str> = asked.entities.iter().map(String::as_str).collect();
        let column = |feature| Column::new(feature, entities.len(), asked.style);
        let mut columns: Vec<Column> = features.into_iter().map(column).collect();
        // Features of one pipeline and window lie in one item, which is looked at once.
        let mut places: Vec<Arc<Place>> = Vec::new();
        for column in &columns {
            let place = &column.feature.place;
            if !places.iter().any(|it| it.number == place.number) {
                places.push(Arc::clone(place));
            }
        }
        let mut room = MOST_BYTES;
        for place in places {
            let items = self.items(&place, &entities).await?;
            let filled = fill(&mut columns, &place, &items, &mut room);
            if !filled.map_err(unreadable)? {
                return Err(Refusal::new(
                    Kind::TooLarge,
                    format!(
                        "the values have more than {MOST_BYTES} bytes together, which is as many as an answer may have: ask for fewer entities or features at once"
                    ),
                ));
            }
        }
        let answered_at = self.clock.unix();
        for column in &mut columns {
            column.date(answered_at);
        }
        self.figures.values(columns.len() * entities.len());
        Ok(Answer {
            answered_at,
            columns,
        })
    }

    /// The features of some names, in the order asked.
    async fn features<S: AsRef<str> + Sync>(
        &self,
        group: &str,
        names: &[S],
    ) -> Result<Vec<Arc<Described>>, Refusal> {
        let reader = self.store.as_ref();
        let known = self.catalogue.group(reader, group).await?;
        let known = match known.has_all(names) {
            true => known,
            false => self.catalogue.look_again(reader, group).await?,
        };
        known.find(names)
    }

    /// The items of a place. A store behind a cache looks there first.
    async fn items(&self, place: &Place, entities: &[&str]) -> Result<Vec<Option<Bytes>>, Refusal> {
        let asked = entities.iter().map(|entity| ItemPlace {
            group: &place.group,
            pipeline: &place.pipeline,
            window: &place.window,
            entity,
        });
        let asked: Vec<ItemPlace<'_>> = asked.collect();
        self.store.items(&asked).await.map_err(unreadable)
    }

    /// What is declared of a group, or of all that the caller may read.
    pub(super) async fn list(
        &self,
        caller: &Caller<'_>,
        group: Option<&str>,
    ) -> Result<Vec<Arc<Described>>, Refusal> {
        if let Some(group) = group {
            caller.may_read(group)?;
        }
        let mut features = self.catalogue.list(self.store.as_ref(), group).await?;
        features.retain(|feature| caller.may_read(&feature.place.group).is_ok());
        Ok(features)
    }

    /// One feature's declaration: at the version that is named, or the greatest.
    pub(super) async fn describe(
        &self,
        caller: &Caller<'_>,
        group: &str,
        feature: &str,
    ) -> Result<Arc<Described>, Refusal> {
        caller.may_read(group)?;
        let group = self
            .catalogue
            .look_again(self.store.as_ref(), group)
            .await?;
        group.one(feature)
    }
}

/// Refuses what is empty or too much before anything is looked up for it.
fn check_size(entities: &[String], features: usize) -> Result<(), Refusal> {
    let bad = |message: String| Err(Refusal::new(Kind::Invalid, message));
    let rows = entities.len();
    if rows == 0 || features == 0 {
        let what = if rows == 0 { "entities" } else { "features" };
        return bad(format!("there are no {what}: name at least one"));
    }
    if rows > MOST_ENTITIES || features > MOST_FEATURES || rows * features > MOST_VALUES {
        return bad(format!(
            "{rows} entities and {features} features are more than a request may have: at most {MOST_ENTITIES} entities, {MOST_FEATURES} features, and {MOST_VALUES} values; make several requests of it"
        ));
    }
    for (at, entity) in entities.iter().enumerate() {
        check_entity(at, entity)?;
    }
    Ok(())
}

/// An entity's text must be one that a key can have.
pub(super) fn check_entity(at: usize, entity: &str) -> Result<(), Refusal> {
    let bytes = entity.len();
    if bytes == 0 || bytes > LONGEST_ENTITY {
        return Err(Refusal::new(
            Kind::Invalid,
            format!(
                "entity {at} has {bytes} bytes: an entity is the text of its key, of 1 to {LONGEST_ENTITY} bytes"
            ),
        ));
    }
    Ok(())
}

/// What a store says when it cannot be read. Its own words may name folders and buckets: they go to the log.
pub(super) fn unreadable(error: StoreError) -> Refusal {
    match &error {
        StoreError::UnknownGroup { .. } | StoreError::UnknownFeature { .. } => {
            Refusal::new(Kind::NotFound, error.to_string())
        }
        _ => {
            tracing::error!(%error, "features cannot be read");
            Refusal::new(
                Kind::Unavailable,
                "the feature store cannot be read just now: ask again; the server's log says why",
            )
        }
    }
}

#[cfg(test)]
mod tests;
