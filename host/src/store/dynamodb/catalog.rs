//! Declarations and epochs in the table itself, so that whoever reads needs nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::client::{READ_TRIES, Service};
use super::fault::{Failure, judge};
use super::layout::{Row, SK, declared, declared_in, key};
use crate::store::declared::{self, check_same_place, resolve, ttl_of};
use crate::store::known::{GOOD_FOR, Known, KnownGroups};
use crate::store::{Declaration, FeatureName, StoreError, TableFault};

const DECLARATION: &str = "declaration";
const EPOCH: &str = "epoch";

/// The declarations of a table.
#[derive(Debug)]
pub(super) struct Catalog {
    service: Arc<Service>,
    groups: KnownGroups,
}

impl Catalog {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            groups: KnownGroups::default(),
        }
    }

    /// Every declaration of a group, or of all, in order.
    pub(super) async fn list(&self, group: Option<&str>) -> Result<Vec<Declaration>, StoreError> {
        self.sorted(group, Some(READ_TRIES)).await
    }

    async fn sorted(
        &self,
        group: Option<&str>,
        tries: Option<u32>,
    ) -> Result<Vec<Declaration>, StoreError> {
        let mut found = self.query(group, tries).await?;
        found.sort_by(|a, b| {
            (&a.group, &a.feature, a.version).cmp(&(&b.group, &b.feature, b.version))
        });
        Ok(found)
    }

    /// The declarations of features, in the order asked.
    pub(super) async fn find(
        &self,
        group: &str,
        features: &[FeatureName],
    ) -> Result<Vec<Arc<Declaration>>, StoreError> {
        let known = self.group(group, false).await?;
        if let Ok(found) = resolve(group, &known, features) {
            return Ok(found);
        }
        // It may be new.
        let known = self.group(group, true).await?;
        if known.is_empty() {
            let mut groups: Vec<String> = self
                .list(None)
                .await?
                .into_iter()
                .map(|it| it.group)
                .collect();
            groups.dedup();
            return Err(StoreError::UnknownGroup {
                group: group.to_owned(),
                known: groups,
                store: format!("DynamoDB table `{}`", self.service.table),
            });
        }
        resolve(group, &known, features)
    }

    /// For how long the items of a window are of use: as long as that of its features that is longest of use; none if
    /// one of them is for ever.
    pub(super) async fn ttl(
        &self,
        group: &str,
        pipeline: &str,
        window: &str,
    ) -> Result<Option<i64>, StoreError> {
        let known = match self.groups.get(group, GOOD_FOR) {
            Some(known) => known,
            // Somebody may have raised it. Whoever writes has declared what it writes, and does not stop for an outage.
            None => match (self.groups.any(group), self.look(group, Some(1)).await) {
                (_, Ok(known)) | (Some(known), Err(_)) => known,
                (None, Err(_)) => self.look(group, None).await?,
            },
        };
        Ok(ttl_of(&known, pipeline, window))
    }

    async fn group(&self, group: &str, anew: bool) -> Result<Known, StoreError> {
        if !anew && let Some(known) = self.groups.get(group, GOOD_FOR) {
            return Ok(known);
        }
        self.look(group, Some(READ_TRIES)).await
    }

    async fn look(&self, group: &str, tries: Option<u32>) -> Result<Known, StoreError> {
        let asked = Instant::now();
        let found = self.sorted(Some(group), tries).await?;
        Ok(self.groups.keep(group, asked, found))
    }

    /// Writes declarations whose lookup parts agree with what is there already.
    pub(super) async fn declare(&self, declarations: &[Declaration]) -> Result<(), StoreError> {
        for declaration in declarations {
            loop {
                let before = self.read(declaration).await?;
                if let Some(before) = &before {
                    check_same_place(&before.1, declaration)?;
                    if before.1 == *declaration {
                        break;
                    }
                }
                if self
                    .write(declaration, before.map(|(text, _)| text))
                    .await?
                {
                    break;
                }
            }
        }
        // Others of this process must see them at once. And they are looked at here, because writes wait for nothing
        // but their table.
        self.groups.clear();
        let groups: BTreeSet<&str> = declarations.iter().map(|it| it.group.as_str()).collect();
        for group in groups {
            self.look(group, Some(READ_TRIES)).await?;
        }
        Ok(())
    }

    async fn read(&self, of: &Declaration) -> Result<Option<(String, Declaration)>, StoreError> {
        let sk = declared(&of.group, &of.feature, of.version);
        let ask = || {
            let request = self
                .service
                .client
                .get_item()
                .table_name(&self.service.table);
            let request = request.set_key(Some(key("d", &sk))).consistent_read(true);
            Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
        };
        let answer = self
            .service
            .ask("read a declaration", Some(READ_TRIES), ask)
            .await?;
        let read = answer.item.map(|row| {
            let text = text_of(&row);
            self.decode(&row)
                .map(|declaration| (text.to_owned(), declaration))
        });
        read.transpose()
    }

    /// Writes a declaration if what is there is still as it was. Says whether it did.
    async fn write(&self, of: &Declaration, was: Option<String>) -> Result<bool, StoreError> {
        let text = String::from_utf8(declared::encode(of)?).expect("JSON is text");
        let mut row = key("d", &declared(&of.group, &of.feature, of.version));
        row.insert(DECLARATION.to_owned(), AttributeValue::S(text));
        let ask = || {
            let request = self
                .service
                .client
                .put_item()
                .table_name(&self.service.table);
            let request = request.set_item(Some(row.clone()));
            let request = match &was {
                None => request.condition_expression("attribute_not_exists(pk)"),
                Some(was) => request
                    .condition_expression("#d = :was")
                    .expression_attribute_names("#d", DECLARATION)
                    .expression_attribute_values(":was", AttributeValue::S(was.clone())),
            };
            Box::pin(async move {
                match request.send().await {
                    Ok(_) => Ok(true),
                    Err(error) => match error.as_service_error() {
                        Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                        _ => Err(judge(&error)),
                    },
                }
            })
        };
        self.service
            .ask("write a declaration", Some(READ_TRIES), ask)
            .await
    }

    /// All declarations, or those of a group, page by page.
    async fn query(
        &self,
        group: Option<&str>,
        tries: Option<u32>,
    ) -> Result<Vec<Declaration>, StoreError> {
        let mut found = Vec::new();
        let mut from: Option<Row> = None;
        loop {
            let ask = || {
                let request = self.service.client.query().table_name(&self.service.table);
                let request = request
                    .consistent_read(true)
                    .set_exclusive_start_key(from.clone())
                    .expression_attribute_values(":d", AttributeValue::S("d".to_owned()));
                let request = match group {
                    None => request.key_condition_expression("pk = :d"),
                    Some(group) => request
                        .key_condition_expression("pk = :d AND begins_with(sk, :g)")
                        .expression_attribute_values(":g", AttributeValue::S(declared_in(group))),
                };
                Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
            };
            let page = self.service.ask("read declarations", tries, ask).await?;
            for row in page.items.unwrap_or_default() {
                found.push(self.decode(&row)?);
            }
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    fn decode(&self, row: &Row) -> Result<Declaration, StoreError> {
        let name = match row.get(SK) {
            Some(AttributeValue::S(name)) => name.as_str(),
            _ => "?",
        };
        let path = format!(
            "declaration {name} in DynamoDB table `{}`",
            self.service.table
        );
        declared::decode(path.as_ref(), text_of(row).as_bytes())
    }

    /// Takes the next epoch of a pipeline.
    pub(super) async fn begin_epoch(&self, pipeline: &str) -> Result<u64, StoreError> {
        let ask = || {
            let request = self
                .service
                .client
                .update_item()
                .table_name(&self.service.table);
            let request = request
                .set_key(Some(key("e", pipeline)))
                .update_expression("ADD #e :one")
                .expression_attribute_names("#e", EPOCH)
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                .return_values(ReturnValue::UpdatedNew);
            // Where the answer got lost, another try takes the epoch after it, and none is taken twice.
            Box::pin(async move { request.send().await.map_err(|error| judge(&error)) })
        };
        let answer = self
            .service
            .ask("take an epoch", Some(READ_TRIES), ask)
            .await?;
        let epoch = answer.attributes.as_ref().and_then(|row| row.get(EPOCH));
        match epoch {
            Some(AttributeValue::N(number)) if let Ok(epoch) = number.parse() => Ok(epoch),
            other => Err(Failure::Final {
                fault: TableFault::Refused,
                reason: format!("it answers {other:?} where a number belongs"),
                hint: "this is a table of another program: use one of its own",
            }
            .into_error("take an epoch", &self.service.table)),
        }
    }

    /// Makes an epoch the last one if it is greater. It is asked for until it is: a lane that is opened waits for the
    /// table as it does when it writes.
    pub(super) async fn raise_epoch(&self, pipeline: &str, epoch: u64) -> Result<(), StoreError> {
        let ask = || {
            let request = self
                .service
                .client
                .update_item()
                .table_name(&self.service.table);
            let request = request
                .set_key(Some(key("e", pipeline)))
                .update_expression("SET #e = :e")
                .condition_expression("attribute_not_exists(#e) OR #e < :e")
                .expression_attribute_names("#e", EPOCH)
                .expression_attribute_values(":e", AttributeValue::N(epoch.to_string()));
            Box::pin(async move {
                let Err(error) = request.send().await else {
                    return Ok(());
                };
                match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                    _ => Err(judge(&error)),
                }
            })
        };
        self.service.ask("note an epoch", None, ask).await
    }
}

fn text_of(row: &Row) -> &str {
    match row.get(DECLARATION) {
        Some(AttributeValue::S(text)) => text,
        _ => "",
    }
}
