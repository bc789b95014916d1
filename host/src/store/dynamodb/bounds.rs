//! What fits into an item of the service.
//!
//! Of what lanes write, the values that do not fit are removed; what is put is refused. Neither knows what an item has
//! already, of which the service alone can say that it is too much.

use super::client::Service;
use super::layout::{ITEM_BYTES, ItemKey, encode, encode_removal};
use crate::store::item::Attribute;
use crate::store::{Items, StoreError, TableFault};

/// An attribute as it is sent.
pub(super) struct Sent<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: Vec<u8>,
}

/// Whether items by themselves are such as the service takes.
pub(super) fn check(items: &Items) -> Result<(), StoreError> {
    for (entity, item) in items.iter() {
        let entity = std::str::from_utf8(entity).expect("entities are texts");
        // What the bytes of an item do not have is small, and the same for each attribute.
        if item.len() + entity.len() < ITEM_BYTES / 2 {
            continue;
        }
        let read = Attribute::read_all(item);
        let attributes = read.map_err(|source| StoreError::Item {
            group: items.group.clone(),
            entity: entity.to_owned(),
            source,
        })?;
        let size = |it: &Attribute<'_>| it.value.map_or(0, <[u8]>::len);
        let bytes = size_of(&encoded(&attributes)) + entity.len();
        if bytes > ITEM_BYTES
            && let Some(largest) = attributes.iter().max_by_key(|it| size(it))
        {
            return Err(StoreError::TooLarge {
                group: items.group.clone(),
                entity: entity.to_owned(),
                reason: format!(
                    "feature {:?} has {} bytes, and with it what is put has {bytes}: a table of DynamoDB takes {ITEM_BYTES} of an entity. Make it smaller, or keep it in the embedded store; nothing was stored",
                    largest.name,
                    size(largest)
                ),
            });
        }
    }
    Ok(())
}

/// Attributes that fit into an item of the service. The largest values that do not are removed rather than left under
/// a newer time, as values that fail their validation are.
pub(super) fn bounded<'a>(
    service: &Service,
    key: &ItemKey,
    attributes: &[Attribute<'a>],
) -> Vec<Sent<'a>> {
    let mut sent = encoded(attributes);
    let size = |sent: &Sent<'_>| size_of(std::slice::from_ref(sent));
    let mut bytes = size_of(&sent) + key.entity.as_ref().map_or(0, String::len);
    while bytes > ITEM_BYTES {
        let Some(largest) = (0..sent.len()).max_by_key(|at| sent[*at].bytes.len()) else {
            break;
        };
        let before = size(&sent[largest]);
        sent[largest].bytes = encode_removal(attributes[largest].order);
        if size(&sent[largest]) == before {
            break;
        }
        bytes = bytes - before + size(&sent[largest]);
        service.figures.oversized.one();
        tracing::error!(
            table = service.table,
            key = key.pk,
            feature = sent[largest].name,
            bytes = before,
            "a value was removed: DynamoDB takes items of 400 KB, and with it the item would be larger. Keep it in the embedded store, or make it smaller"
        );
    }
    sent
}

/// Removals in the place of attributes.
pub(super) fn removals_of<'a>(attributes: &[Attribute<'a>]) -> Vec<Sent<'a>> {
    let attributes = attributes.iter();
    let sent = attributes.map(|attribute| Sent {
        name: attribute.name,
        bytes: encode_removal(attribute.order),
    });
    sent.collect()
}

/// Whether an item was refused because of its size.
pub(super) fn is_outgrown(error: &StoreError) -> bool {
    let StoreError::Table { fault, .. } = error else {
        return false;
    };
    *fault == TableFault::TooLarge
}

fn encoded<'a>(attributes: &[Attribute<'a>]) -> Vec<Sent<'a>> {
    let attributes = attributes.iter();
    let sent = attributes.map(|attribute| Sent {
        name: attribute.name,
        bytes: encode(attribute),
    });
    sent.collect()
}

/// The bytes of attributes, as the service counts them.
fn size_of(sent: &[Sent<'_>]) -> usize {
    let each = sent.iter().map(|it| it.name.len() + it.bytes.len() + 3);
    each.sum()
}
