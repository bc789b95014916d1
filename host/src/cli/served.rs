//! `penstock history --served`: what a version had served when it was taken back.

use serde_json::json;
use tokio::runtime::Runtime;

use super::show::{self, say};
use super::{Failure, logs};
use crate::pipeline::swap::Operator;
use crate::store::Value;
use crate::store::item::{Attribute, ItemError};

/// Prints what a generation had served when it was taken back.
pub(super) fn print(io: &Runtime, operator: &Operator, generation: u64) -> Result<(), Failure> {
    let mut damaged = None;
    let served = operator.served(generation, |item| {
        let features = Attribute::read_all(item.item.as_deref().unwrap_or_default());
        let features = features.and_then(|attributes| {
            let shown = attributes.iter().map(shown);
            shown.collect::<Result<serde_json::Map<_, _>, _>>()
        });
        match features {
            Ok(features) => say!(
                "{}",
                json!({
                    "group": item.group,
                    "entity": item.entity,
                    "window": item.window,
                    "features": features,
                })
            ),
            Err(error) => damaged = damaged.take().or(Some(error)),
        }
    });
    let count = io.block_on(served)?;
    if let Some(error) = damaged {
        return Err(Failure::work(error));
    }
    logs::note(&format!(
        "generation {generation} had served {count} items when it was taken back"
    ));
    Ok(())
}

/// A feature with its value, as JSON.
fn shown(attribute: &Attribute<'_>) -> Result<(String, serde_json::Value), ItemError> {
    let value = attribute.value.map(Value::decode).transpose();
    let value = value.map_err(|_| ItemError::Damaged)?;
    let shown = json!({
        "value": value.as_ref().map(show::json_value),
        "event_time": show::instant(attribute.order.event_time),
    });
    Ok((attribute.name.to_owned(), shown))
}
