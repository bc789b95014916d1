//! Taking back what a lane wrote: the other direction from `writing.rs`, in which attributes become older.
//!
//! Each item is read and changed on the condition that what was read of the attributes in question is still there, and
//! read again if it is not. The greatest order that an item says of itself stays: it may be greater than what is there, at
//! the price of a second request for the next write. An item without attributes goes.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::StreamExt as _;

use super::client::Service;
use super::fault::judge;
use super::layout::{ITEM, ItemKey, Row, binary, decode, encode, key};
use crate::store::item::Attribute;
use crate::store::{Before, StoreError};

/// Attributes of one update, each with a condition.
const ATTRIBUTES: usize = 80;

/// An attribute that is to be as it was.
struct Change {
    name: String,
    seen: AttributeValue,
    /// None if it was not there.
    then: Option<AttributeValue>,
}

/// Has items be as they were, but for attributes of epochs up to `epoch`.
pub(super) async fn take_back(
    service: &Service,
    items: &[Before],
    epoch: u64,
) -> Result<(), StoreError> {
    let mut taking = Vec::with_capacity(items.len());
    for item in items {
        taking.push(take_one_back(service, item, epoch));
    }
    let mut taking = futures::stream::iter(taking).buffer_unordered(service.in_flight);
    let mut taken = Ok(());
    // All are waited for, also after a failure: none may happen behind the caller's back.
    while let Some(one) = taking.next().await {
        taken = taken.and(one);
    }
    taken
}

async fn take_one_back(service: &Service, before: &Before, epoch: u64) -> Result<(), StoreError> {
    let place = before.place();
    let fault = |source| StoreError::Item {
        group: before.group.clone(),
        entity: before.entity.clone(),
        source,
    };
    let then = before.item.as_deref().map(Attribute::read_all).transpose();
    let then = then.map_err(fault)?.unwrap_or_default();
    let key = ItemKey::of(&place);
    loop {
        let row = read(service, &key).await?;
        let there = row.iter().filter(|(name, _)| name.contains('@')).count();
        let mut changes = changes(&row, &then, epoch);
        if changes.is_empty() {
            return Ok(());
        }
        changes.truncate(ATTRIBUTES);
        let is_last = changes.len() == there && changes.iter().all(|it| it.then.is_none());
        match is_last {
            true => remove(service, &key, &changes).await?,
            false => change(service, &key, &changes).await?,
        }
    }
}

/// What is newer in a row than the last epoch that counts.
fn changes(row: &Row, then: &[Attribute<'_>], epoch: u64) -> Vec<Change> {
    let revoked = row.iter().filter(|(name, value)| {
        let AttributeValue::B(bytes) = value else {
            return false;
        };
        let attribute = decode(name, bytes.as_ref());
        name.contains('@') && attribute.is_some_and(|it| it.order.epoch > epoch)
    });
    let changes = revoked.map(|(name, seen)| Change {
        name: name.clone(),
        seen: seen.clone(),
        then: (then.iter().find(|it| it.name == name)).map(|it| binary(encode(it))),
    });
    changes.collect()
}

/// The row of an item as it is now; an empty one if there is none.
async fn read(service: &Service, of: &ItemKey) -> Result<Row, StoreError> {
    let ask = || {
        let request = service
            .client
            .get_item()
            .table_name(&service.table)
            .set_key(Some(key(&of.pk, ITEM)))
            .consistent_read(true);
        Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
    };
    let answer = service.ask("read items", None, ask).await?;
    Ok(answer.item.unwrap_or_default())
}

/// The condition that attributes are what was seen, with their names and values.
fn still(changes: &[Change]) -> (String, HashMap<String, String>, Row) {
    let (mut conditions, mut names, mut values) = (Vec::new(), HashMap::new(), Row::new());
    for (at, change) in changes.iter().enumerate() {
        conditions.push(format!("#{at} = :s{at}"));
        names.insert(format!("#{at}"), change.name.clone());
        values.insert(format!(":s{at}"), change.seen.clone());
    }
    (conditions.join(" AND "), names, values)
}

/// Changes attributes if they are what was seen; does nothing otherwise.
async fn change(service: &Service, of: &ItemKey, changes: &[Change]) -> Result<(), StoreError> {
    let (condition, names, mut values) = still(changes);
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    for (at, change) in changes.iter().enumerate() {
        match &change.then {
            Some(then) => {
                set.push(format!("#{at} = :t{at}"));
                values.insert(format!(":t{at}"), then.clone());
            }
            None => remove.push(format!("#{at}")),
        }
    }
    let clauses = [("SET", set), ("REMOVE", remove)];
    let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
    let clauses = clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", ")));
    let expression = clauses.collect::<Vec<_>>().join(" ");
    let ask = || {
        let request = service
            .client
            .update_item()
            .table_name(&service.table)
            .set_key(Some(key(&of.pk, ITEM)))
            .update_expression(&expression)
            .condition_expression(&condition)
            .set_expression_attribute_names(Some(names.clone()))
            .set_expression_attribute_values(Some(values.clone()));
        Box::pin(async move {
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                    _ => Err(judge(&error)),
                },
            }
        })
    };
    service.ask("take back items", None, ask).await
}

/// Removes an item if its attributes are what was seen; does nothing otherwise.
async fn remove(service: &Service, of: &ItemKey, changes: &[Change]) -> Result<(), StoreError> {
    let (condition, names, values) = still(changes);
    let ask = || {
        let request = service
            .client
            .delete_item()
            .table_name(&service.table)
            .set_key(Some(key(&of.pk, ITEM)))
            .condition_expression(&condition)
            .set_expression_attribute_names(Some(names.clone()))
            .set_expression_attribute_values(Some(values.clone()));
        Box::pin(async move {
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) => match error.as_service_error() {
                    Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                    _ => Err(judge(&error)),
                },
            }
        })
    };
    service.ask("take back items", None, ask).await
}
