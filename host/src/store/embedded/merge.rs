//! The storage engine's merge operator: every key of every keyspace that is merged, by its first byte.

use bytes::Bytes;
use slatedb::{MergeOperator, MergeOperatorError};

use super::keys::FEATURES;
use crate::store::item;

/// Merges items attribute by attribute, the greatest order winning (see [`item::merge`]).
///
/// The engine asks that merging be associative. This is commutative and idempotent too, so that it matters neither
/// in which order nor how often the engine, a replay or a second writer hands the same items over.
pub(super) struct NewestWins;

impl MergeOperator for NewestWins {
    fn merge(
        &self,
        key: &Bytes,
        existing_value: Option<Bytes>,
        value: Bytes,
    ) -> Result<Bytes, MergeOperatorError> {
        self.merge_batch(key, existing_value, &[value])
    }

    fn merge_batch(
        &self,
        key: &Bytes,
        existing_value: Option<Bytes>,
        operands: &[Bytes],
    ) -> Result<Bytes, MergeOperatorError> {
        if key.first() != Some(&FEATURES) {
            return Err(MergeOperatorError::Callback {
                message: format!("keyspace {:?} has no merge", key.first()),
            });
        }
        match (&existing_value, operands) {
            (None, [only]) | (Some(only), []) => Ok(only.clone()),
            (None, []) => Err(MergeOperatorError::EmptyBatch),
            _ => {
                let items: Vec<&[u8]> = existing_value
                    .iter()
                    .chain(operands)
                    .map(AsRef::as_ref)
                    .collect();
                item::merge(&items)
                    .map(Bytes::from)
                    .map_err(|e| MergeOperatorError::Callback {
                        message: format!("{e} (key {})", key.escape_ascii()),
                    })
            }
        }
    }
}
