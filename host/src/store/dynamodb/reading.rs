//! Reading items: a hundred a request, several requests at a time, until every key has its answer.

use std::collections::{HashMap, VecDeque};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::DynamoDbStore;
use super::client::{READ_TRIES, Service};
use super::fault::{Failure, judge};
use super::layout::{ITEM, ItemKey, PK, Row, item_of, key};
use crate::store::{ItemPlace, StoreError, item};

/// Keys that the service takes at a time.
const KEYS: usize = 100;
/// Requests of one caller at a time.
const AT_ONCE: usize = 8;

/// The items at some places, with what is on its way to them from here.
pub(super) async fn items(
    store: &DynamoDbStore,
    places: &[ItemPlace<'_>],
) -> Result<Vec<Option<Bytes>>, StoreError> {
    let keys: Vec<ItemKey> = places.iter().map(ItemKey::of).collect();
    // What is held here comes first: what leaves it after this look is in the table by the next line, or in both.
    let held: Vec<Vec<Vec<u8>>> = places
        .iter()
        .zip(&keys)
        .map(|(place, key)| store.outgoing(place, key))
        .collect();
    let rows = rows(&store.service, &keys).await?;
    let mut items = Vec::with_capacity(places.len());
    for ((place, key), mut held) in places.iter().zip(&keys).zip(held) {
        let fault = |source| StoreError::Item {
            group: place.group.to_owned(),
            entity: place.entity.to_owned(),
            source,
        };
        if let Some(row) = rows.get(&key.pk) {
            held.push(item_of(row).map_err(fault)?);
        }
        let item = match held.len() {
            0 => None,
            1 => held.pop(),
            _ => {
                let held: Vec<&[u8]> = held.iter().map(Vec::as_slice).collect();
                Some(item::merge(&held).map_err(fault)?)
            }
        };
        items.push(item.map(Bytes::from));
    }
    Ok(items)
}

async fn rows(service: &Service, keys: &[ItemKey]) -> Result<HashMap<String, Row>, StoreError> {
    // The service refuses a request that has a key twice.
    let mut wanted: Vec<&str> = keys.iter().map(|key| key.pk.as_str()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut chunks: VecDeque<Vec<Row>> = wanted
        .chunks(KEYS)
        .map(|chunk| chunk.iter().map(|pk| key(pk, ITEM)).collect())
        .collect();
    let mut reading = FuturesUnordered::new();
    let mut found = HashMap::with_capacity(wanted.len());
    loop {
        while reading.len() < AT_ONCE
            && let Some(chunk) = chunks.pop_front()
        {
            reading.push(chunk_of(service, chunk));
        }
        let Some(rows) = reading.next().await else {
            return Ok(found);
        };
        for row in rows? {
            if let Some(AttributeValue::S(pk)) = row.get(PK) {
                found.insert(pk.clone(), row);
            }
        }
    }
}

/// The rows at up to a hundred keys. An answer that is full, of 16 MB, or that the table has no capacity for, leaves
/// keys out: they are asked for again.
async fn chunk_of(service: &Service, keys: Vec<Row>) -> Result<Vec<Row>, StoreError> {
    let mut found = Vec::with_capacity(keys.len());
    let mut left = keys;
    let mut fruitless = 0;
    loop {
        let asked = left.len();
        let (rows, unprocessed) = batch(service, left).await?;
        service.figures.read.add((asked - unprocessed.len()) as u64);
        found.extend(rows);
        if unprocessed.is_empty() {
            return Ok(found);
        }
        service.figures.unprocessed.add(unprocessed.len() as u64);
        if unprocessed.len() == asked {
            fruitless += 1;
            service.figures.throttled.one();
            if fruitless == READ_TRIES {
                let reason = "it answers for none of the keys".to_owned();
                return Err(Failure::Throttled(reason).into_error("read items", &service.table));
            }
            service.wait(fruitless).await;
        } else {
            fruitless = 0;
        }
        left = unprocessed;
    }
}

/// One request: rows, and the keys that it left out.
async fn batch(service: &Service, keys: Vec<Row>) -> Result<(Vec<Row>, Vec<Row>), StoreError> {
    let ask = || {
        let asked = KeysAndAttributes::builder()
            .set_keys(Some(keys.clone()))
            .consistent_read(service.consistent_reads)
            .build()
            .expect("the keys are there");
        let request = service.client.batch_get_item();
        let request = request.request_items(&service.table, asked);
        Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
    };
    service.figures.reads.one();
    let answer = service.ask("read items", Some(READ_TRIES), ask).await?;
    // There is one table in the answer, and whether it is called by its name or its ARN does not matter.
    let rows = answer.responses.unwrap_or_default().into_values().flatten();
    let left = answer.unprocessed_keys.unwrap_or_default().into_values();
    Ok((rows.collect(), left.flat_map(|left| left.keys).collect()))
}
