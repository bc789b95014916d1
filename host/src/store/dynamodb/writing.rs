//! Writing items: coalesced by key, and each put in its place by a condition.
//!
//! Batch writes take no conditions, so each item is an update of its own, many at a time. An update says: *if nothing
//! in the item is as new as the oldest of these attributes, set them*. That is one request, and holds nearly always, because lanes
//! write windows in the order of time. Where it does not hold, the answer has the item that is there, and an update
//! of just those attributes follows that are newer, on the condition that each still is. Attributes only ever become
//! newer, so this ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Mutex as AsyncMutex;

use super::bounds::{Sent, bounded, is_outgrown, removals_of};
use super::client::Service;
use super::fault::judge;
use super::layout::{ENTITY, EXPIRES, ITEM, ItemKey, NEWEST, Row, binary, encode_order, key};
use crate::store::item::{self, Attribute};
use crate::store::{ItemPlace, Items, Order, StoreError};

/// A lane holds so many bytes of items before it sends them without being asked.
const PENDING_BYTES: usize = 4 << 20;

/// Attributes of one update: the service takes 300 operators in an expression.
const ATTRIBUTES: usize = 200;
/// The same where each has a condition of its own.
const CONDITIONS: usize = 80;

/// Items at their keys, merged.
type Held = HashMap<ItemKey, Pending>;

/// An item on its way.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    item: Vec<u8>,
    /// For how long it is of use after its event time, in microseconds.
    ttl: Option<i64>,
    group: Arc<str>,
}

/// What a lane has to send.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    memory: Mutex<Memory>,
    /// Held while items are sent.
    sending: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Memory {
    held: Held,
    bytes: usize,
    /// On its way. It stays readable until it is acknowledged, and stays at all if it is not.
    leaving: Option<Arc<Held>>,
}

impl Outgoing {
    /// Takes items in. Gives whether there are so many now that they should be sent, and how many there are.
    pub(super) fn take(
        &self,
        items: &Items,
        ttl: Option<i64>,
    ) -> Result<(bool, usize), StoreError> {
        let fault = |entity: &str, source| StoreError::Item {
            group: items.group.clone(),
            entity: entity.to_owned(),
            source,
        };
        let group: Arc<str> = items.group.as_str().into();
        let mut memory = self.memory();
        for (entity, item) in items.iter() {
            let entity = std::str::from_utf8(entity).expect("entities are texts");
            let place = ItemPlace {
                group: &items.group,
                pipeline: &items.pipeline,
                window: &items.window,
                entity,
            };
            let memory = &mut *memory;
            match memory.held.entry(ItemKey::of(&place)) {
                std::collections::hash_map::Entry::Occupied(mut held) => {
                    let held = held.get_mut();
                    let merged = item::merge(&[&held.item, item]).map_err(|e| fault(entity, e))?;
                    memory.bytes += merged.len();
                    memory.bytes -= held.item.len();
                    *held = Pending {
                        item: merged,
                        ttl,
                        group: Arc::clone(&group),
                    };
                }
                std::collections::hash_map::Entry::Vacant(free) => {
                    memory.bytes += free.key().pk.len() + item.len();
                    free.insert(Pending {
                        item: item.to_vec(),
                        ttl,
                        group: Arc::clone(&group),
                    });
                }
            }
        }
        let leaving = memory.leaving.as_ref().map_or(0, |leaving| leaving.len());
        Ok((memory.bytes >= PENDING_BYTES, memory.held.len() + leaving))
    }

    /// What is here of an item.
    pub(super) fn get(&self, key: &ItemKey) -> impl Iterator<Item = Vec<u8>> + use<> {
        let memory = self.memory();
        let leaving = memory.leaving.as_ref().and_then(|leaving| leaving.get(key));
        let found = [memory.held.get(key), leaving].map(|it| it.map(|it| it.item.clone()));
        found.into_iter().flatten()
    }

    /// Sends everything that was taken in before, and returns when it is acknowledged. What could not be sent stays.
    pub(super) async fn send(&self, service: &Service) -> Result<(), StoreError> {
        let _alone = self.sending.lock().await;
        loop {
            // What an earlier call left behind, because it failed or was given up, goes first; what is held after.
            let (leaving, last) = {
                let mut memory = self.memory();
                let last = memory.leaving.is_none();
                if last && !memory.held.is_empty() {
                    memory.bytes = 0;
                    memory.leaving = Some(Arc::new(std::mem::take(&mut memory.held)));
                }
                (memory.leaving.clone(), last)
            };
            if let Some(leaving) = leaving {
                send_all(service, leaving.iter(), Outgrown::Removed).await?;
                self.memory().leaving = None;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Forgets what was not sent.
    pub(super) async fn forget(&self) {
        let _alone = self.sending.lock().await;
        *self.memory() = Memory::default();
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        let memory = self.memory();
        memory.held.is_empty() && memory.leaving.is_none()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change of what is held is whole before anything can panic, so that a poisoned lock is a sound one.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of an item that would be larger than the service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outgrown {
    /// What was sent of it is removed, so that no old value stands under a newer time.
    Removed,
    /// It stays as it is, and whoever sent it hears so.
    Refused,
}

/// Puts items in their places, and returns when all are acknowledged.
pub(super) async fn put_all(
    service: &Service,
    items: &Items,
    ttl: Option<i64>,
) -> Result<(), StoreError> {
    let group: Arc<str> = items.group.as_str().into();
    let items: Vec<(ItemKey, Pending)> = (items.iter())
        .map(|(entity, item)| {
            let place = ItemPlace {
                group: &items.group,
                pipeline: &items.pipeline,
                window: &items.window,
                entity: std::str::from_utf8(entity).expect("entities are texts"),
            };
            let pending = Pending {
                item: item.to_vec(),
                ttl,
                group: Arc::clone(&group),
            };
            (ItemKey::of(&place), pending)
        })
        .collect();
    let items = items.iter().map(|(key, item)| (key, item));
    send_all(service, items, Outgrown::Refused).await
}

async fn send_all(
    service: &Service,
    items: impl Iterator<Item = (&ItemKey, &Pending)>,
    outgrown: Outgrown,
) -> Result<(), StoreError> {
    let mut sending = FuturesUnordered::new();
    let mut failed = None;
    // Their order is that of a hash map, and so spread over the table's partitions.
    for (key, item) in items {
        if failed.is_some() {
            break;
        }
        if sending.len() >= service.in_flight
            && let Some(Err(error)) = sending.next().await
        {
            failed = Some(error);
        }
        sending.push(put(service, key, item, outgrown));
    }
    // All are waited for, also after a failure: none may arrive behind the caller's back.
    while let Some(sent) = sending.next().await {
        if let Err(error) = sent {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Puts an item in its place.
async fn put(
    service: &Service,
    key: &ItemKey,
    pending: &Pending,
    outgrown: Outgrown,
) -> Result<(), StoreError> {
    let read = Attribute::read_all(&pending.item);
    let attributes = read.map_err(|source| StoreError::Item {
        group: pending.group.to_string(),
        entity: key.pk.clone(),
        source,
    })?;
    let orders = attributes.iter().map(|attribute| attribute.order);
    let (Some(oldest), Some(newest)) = (orders.clone().min(), orders.max()) else {
        return Ok(());
    };
    let sent = bounded(service, key, &attributes);
    let ages = Ages {
        oldest,
        newest,
        expires: pending.ttl.map(|ttl| newest.event_time.saturating_add(ttl)),
    };
    match (place(service, key, &ages, &sent).await, outgrown) {
        (Err(error), Outgrown::Removed) if is_outgrown(&error) => {}
        (Err(error), Outgrown::Refused) if is_outgrown(&error) => {
            return Err(StoreError::TooLarge {
                group: pending.group.to_string(),
                entity: key.entity().to_owned(),
                reason: "with what it has already it would be larger than the 400 KB that a table of DynamoDB takes of an entity. Put smaller values, or remove others first: a null does. Other entities of the request may have been stored".to_owned(),
            });
        }
        (placed, _) => return placed,
    }
    removed(service, key, &ages, &attributes).await
}

/// Removes the values of an item that would be too large with them and what it has already. Removals are so small that
/// they fit, unless others have filled the item to its last bytes and nothing of these features is there yet.
async fn removed(
    service: &Service,
    key: &ItemKey,
    ages: &Ages,
    attributes: &[Attribute<'_>],
) -> Result<(), StoreError> {
    let values = attributes.iter().filter(|it| it.value.is_some());
    let names: Vec<&str> = values.map(|it| it.name).collect();
    service.figures.oversized.add(names.len() as u64);
    tracing::error!(
        table = service.table,
        key = key.pk,
        features = names.join(", "),
        "values were removed: DynamoDB takes items of 400 KB, and with them and what others have written the item would be larger. Keep such features in the embedded store, or make them smaller"
    );
    match place(service, key, ages, &removals_of(attributes)).await {
        Err(error) if is_outgrown(&error) => Ok(()),
        placed => placed,
    }
}

/// Has attributes be in an item, as far as they are newer than what is there.
async fn place(
    service: &Service,
    key: &ItemKey,
    ages: &Ages,
    sent: &[Sent<'_>],
) -> Result<(), StoreError> {
    let newest = ages.newest;
    let first = &sent[..sent.len().min(ATTRIBUTES)];
    let mut there = whole(service, key, ages, first).await?;
    let mut wrote = there.is_none();
    loop {
        let known = there.get_or_insert_with(|| row_of(first, newest));
        let newer: Vec<&Sent<'_>> = (sent.iter())
            .filter(|sent| is_newer(sent, known))
            .take(CONDITIONS)
            .collect();
        if newer.is_empty() {
            match wrote {
                true => service.figures.written.one(),
                false => service.figures.superseded.one(),
            }
            return Ok(());
        }
        match part(service, key, ages, &newer, known).await? {
            None => {
                wrote = true;
                if raises(ages, known) {
                    known.insert(NEWEST.to_owned(), binary(encode_order(newest)));
                }
                known.extend(
                    newer
                        .iter()
                        .map(|sent| (sent.name.to_owned(), binary(sent.bytes.clone()))),
                );
            }
            // It is gone, since its time was up: all of it is new again.
            Some(now) if now.is_empty() => {
                there = whole(service, key, ages, first).await?;
                wrote |= there.is_none();
            }
            Some(now) => there = Some(now),
        }
    }
}

fn row_of(attributes: &[Sent<'_>], newest: Order) -> Row {
    let attributes = attributes.iter();
    let attributes = attributes.map(|sent| (sent.name.to_owned(), binary(sent.bytes.clone())));
    let newest = (NEWEST.to_owned(), binary(encode_order(newest)));
    attributes.chain([newest]).collect()
}

/// How old what is sent is.
struct Ages {
    oldest: Order,
    newest: Order,
    /// When it is of no more use, in microseconds.
    expires: Option<i64>,
}

/// Whether what is sent has something that is newer than everything there.
fn raises(ages: &Ages, there: &Row) -> bool {
    match there.get(NEWEST) {
        Some(AttributeValue::B(bytes)) => bytes.as_ref() < encode_order(ages.newest).as_slice(),
        _ => true,
    }
}

fn is_newer(sent: &Sent<'_>, there: &Row) -> bool {
    match there.get(sent.name) {
        Some(AttributeValue::B(bytes)) => bytes.as_ref() < sent.bytes.as_slice(),
        _ => true,
    }
}

/// Sets attributes if nothing in the item is as new as the oldest of them. Gives what is there if something is.
async fn whole(
    service: &Service,
    key: &ItemKey,
    ages: &Ages,
    attributes: &[Sent<'_>],
) -> Result<Option<Row>, StoreError> {
    let mut update = Update::new(attributes.iter());
    if let Some(entity) = &key.entity {
        update.set("#e", ":e", ENTITY, AttributeValue::S(entity.clone()));
    }
    update.raise(ages);
    let oldest = binary(encode_order(ages.oldest));
    update.values.insert(":l".to_owned(), oldest);
    update.condition = "attribute_not_exists(#o) OR #o < :l".to_owned();
    update.send(service, key).await
}

/// Sets attributes that are newer than those that were seen there, on the condition that each still is.
async fn part(
    service: &Service,
    key: &ItemKey,
    ages: &Ages,
    attributes: &[&Sent<'_>],
    there: &Row,
) -> Result<Option<Row>, StoreError> {
    let mut update = Update::new(attributes.iter().copied());
    // What is there must say that something as new as this was written, or the condition of the next whole item
    // would not hold what it promises.
    if raises(ages, there) {
        update.raise(ages);
        update.condition = "attribute_exists(#o) AND #o < :o".to_owned();
    } else {
        update.names.insert("#o".to_owned(), NEWEST.to_owned());
        let newest = binary(encode_order(ages.newest));
        update.values.insert(":o".to_owned(), newest);
        update.condition = "#o >= :o".to_owned();
    }
    for (at, sent) in attributes.iter().enumerate() {
        let still = match there.contains_key(sent.name) {
            true => format!(" AND #{at} < :{at}"),
            false => format!(" AND attribute_not_exists(#{at})"),
        };
        update.condition.push_str(&still);
    }
    update.send(service, key).await
}

/// An update with a condition.
struct Update {
    expression: String,
    condition: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Update {
    fn new<'a, 'b: 'a>(attributes: impl Iterator<Item = &'a Sent<'b>>) -> Self {
        let mut update = Self {
            expression: "SET ".to_owned(),
            condition: String::new(),
            names: HashMap::new(),
            values: HashMap::new(),
        };
        for (at, sent) in attributes.enumerate() {
            let value = binary(sent.bytes.clone());
            update.set(&format!("#{at}"), &format!(":{at}"), sent.name, value);
        }
        update
    }

    fn set(&mut self, name: &str, value: &str, attribute: &str, to: AttributeValue) {
        if !self.names.is_empty() {
            self.expression.push(',');
        }
        self.expression.push_str(name);
        self.expression.push('=');
        self.expression.push_str(value);
        self.names.insert(name.to_owned(), attribute.to_owned());
        self.values.insert(value.to_owned(), to);
    }

    /// Says how new the newest of the item is from now on, and until when it is of use.
    fn raise(&mut self, ages: &Ages) {
        self.set("#o", ":o", NEWEST, binary(encode_order(ages.newest)));
        match ages.expires {
            Some(expires) => {
                let seconds = expires.div_euclid(1_000_000).saturating_add(1);
                let seconds = AttributeValue::N(seconds.to_string());
                self.set("#t", ":t", EXPIRES, seconds);
            }
            None => {
                self.expression.push_str(" REMOVE #t");
                self.names.insert("#t".to_owned(), EXPIRES.to_owned());
            }
        }
    }

    /// Gives nothing if it was done, and otherwise what is there: the condition does not hold.
    async fn send(self, service: &Service, of: &ItemKey) -> Result<Option<Row>, StoreError> {
        let ask = || {
            let request = service
                .client
                .update_item()
                .table_name(&service.table)
                .set_key(Some(key(&of.pk, ITEM)))
                .update_expression(&self.expression)
                .condition_expression(&self.condition)
                .set_expression_attribute_names(Some(self.names.clone()))
                .set_expression_attribute_values(Some(self.values.clone()))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            Box::pin(async move {
                let error = match request.send().await {
                    Ok(_) => return Ok(None),
                    Err(error) => error,
                };
                match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        Ok(Some(refused.item().cloned().unwrap_or_default()))
                    }
                    _ => Err(judge(&error)),
                }
            })
        };
        service.ask("write items", None, ask).await
    }
}
