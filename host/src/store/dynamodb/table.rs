//! The table itself: making it, and seeing that it is one of ours.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};

use super::client::{READ_TRIES, Service};
use super::fault::{Failure, MISSING, judge};
use super::layout::{EXPIRES, LAYOUT, PK, SK, key};
use crate::store::{StoreError, TableFault};

/// How long a table may take to be made.
const MAKING: Duration = Duration::from_secs(120);
/// Where the version of the layout is.
const MARKER: (&str, &str) = ("m", "layout");

fn refused(service: &Service, doing: &str, reason: String, hint: &'static str) -> StoreError {
    Failure::Final {
        fault: TableFault::Refused,
        reason,
        hint,
    }
    .into_error(doing, &service.table)
}

/// Sees that the table is there, and laid out as this build knows it.
pub(super) async fn check(service: &Service) -> Result<(), StoreError> {
    const DOING: &str = "look at the layout";
    match layout(service).await? {
        Some(LAYOUT) => Ok(()),
        Some(other) => Err(refused(
            service,
            DOING,
            format!("it has layout {other}, and this build knows layout {LAYOUT}"),
            "use the build that made it, or a newer one",
        )),
        None => Err(refused(
            service,
            DOING,
            "there is no such item: it is no table of features".to_owned(),
            MISSING,
        )),
    }
}

/// The layout that the table says it has.
async fn layout(service: &Service) -> Result<Option<u64>, StoreError> {
    let ask = || {
        let request = service.client.get_item().table_name(&service.table);
        let request = request
            .set_key(Some(key(MARKER.0, MARKER.1)))
            .consistent_read(true);
        Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
    };
    let found = service
        .ask("look at the layout", Some(READ_TRIES), ask)
        .await?;
    let layout = found.item.as_ref().and_then(|row| row.get("layout"));
    Ok(layout.and_then(|layout| layout.as_n().ok()?.parse().ok()))
}

/// Makes the table unless it is there. Gives whether it did.
pub(super) async fn make(service: &Service) -> Result<bool, StoreError> {
    let made = create(service).await?;
    become_active(service).await?;
    expire(service).await?;
    if layout(service).await?.is_none() {
        let mut row = key(MARKER.0, MARKER.1);
        row.insert("layout".to_owned(), AttributeValue::N(LAYOUT.to_string()));
        let ask = || {
            let request = service.client.put_item().table_name(&service.table);
            let request = request.set_item(Some(row.clone()));
            Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
        };
        service
            .ask("note the layout", Some(READ_TRIES), ask)
            .await?;
    }
    check(service).await?;
    Ok(made)
}

async fn create(service: &Service) -> Result<bool, StoreError> {
    let column = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        let definition = definition.attribute_type(ScalarAttributeType::S).build();
        definition.expect("name and type are there")
    };
    let part = |name: &str, kind: KeyType| {
        let element = KeySchemaElement::builder().attribute_name(name);
        element
            .key_type(kind)
            .build()
            .expect("name and kind are there")
    };
    let ask = || {
        let request = service
            .client
            .create_table()
            .table_name(&service.table)
            .attribute_definitions(column(PK))
            .attribute_definitions(column(SK))
            .key_schema(part(PK, KeyType::Hash))
            .key_schema(part(SK, KeyType::Range))
            .billing_mode(BillingMode::PayPerRequest);
        Box::pin(async move {
            match request.send().await {
                Ok(_) => Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(CreateTableError::ResourceInUseException(_)) => Ok(false),
                    _ => Err(judge(&error)),
                },
            }
        })
    };
    service.ask("make the table", Some(READ_TRIES), ask).await
}

/// Waits until the table may be used, and sees that its key is ours.
async fn become_active(service: &Service) -> Result<(), StoreError> {
    let end = Instant::now() + MAKING;
    let mut looks = 0;
    loop {
        let ask = || {
            let request = service.client.describe_table().table_name(&service.table);
            Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
        };
        let answer = service
            .ask("look at the table", Some(READ_TRIES), ask)
            .await?;
        let table = answer
            .table
            .unwrap_or_else(|| aws_sdk_dynamodb::types::TableDescription::builder().build());
        let names: Vec<&str> = table
            .key_schema()
            .iter()
            .map(|part| part.attribute_name())
            .collect();
        if !names.is_empty() && names != [PK, SK] {
            return Err(refused(
                service,
                "use the table",
                format!("its key is ({}), and not ({PK}, {SK})", names.join(", ")),
                "this is a table of another program: give features one of their own",
            ));
        }
        match table.table_status() {
            Some(TableStatus::Active | TableStatus::Updating) => return Ok(()),
            status if Instant::now() >= end => {
                return Err(refused(
                    service,
                    "make the table",
                    format!("it is not there after {} s ({status:?})", MAKING.as_secs()),
                    "look at it in the console of AWS, and run this again",
                ));
            }
            _ => {
                looks += 1;
                service.wait(looks).await;
            }
        }
    }
}

/// Has the service remove items whose time is up.
async fn expire(service: &Service) -> Result<(), StoreError> {
    let ask = || {
        let request = service
            .client
            .describe_time_to_live()
            .table_name(&service.table);
        Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
    };
    let told = service
        .ask("look at the table's TTL", Some(READ_TRIES), ask)
        .await?;
    let told = told.time_to_live_description;
    let is_on = told.as_ref().is_some_and(|told| {
        matches!(
            told.time_to_live_status(),
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        )
    });
    if is_on {
        return Ok(());
    }
    let ask = || {
        let ttl = TimeToLiveSpecification::builder().enabled(true);
        let ttl = ttl.attribute_name(EXPIRES).build().expect("both are there");
        let request = service
            .client
            .update_time_to_live()
            .table_name(&service.table);
        let request = request.time_to_live_specification(ttl);
        Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
    };
    service
        .ask("turn on the table's TTL", Some(READ_TRIES), ask)
        .await?;
    Ok(())
}
