//! What the engine's filters know of keys.
//!
//! Most keys of a lane are looked for far more often than they are there: an entity that was never
//! seen has neither features nor state. So every table carries a filter, and it knows features by
//! their whole keys and state by its *groups*: what the keys of one of the pipeline's keys begin
//! with. A table that has nothing of a group is never read for it.

use std::sync::Arc;

use slatedb::{BloomFilterPolicy, FilterPolicy, PrefixExtractor, PrefixTarget};

use super::keys::{FEATURES, Keyspace};

/// What the keys of state begin with that lie in groups.
pub(crate) const GROUPED: u8 = 1;
/// Bytes of such a key after what it has in common with its group: a group's keys are alike but for
/// these, and no group is the beginning of another.
pub(crate) const TAIL: usize = 13;

/// Bytes that all groups of a keyspace begin with.
const HEAD: usize = 3;

/// Bits of a filter for each key or group: one in a hundred look-ups in vain is not spared.
const BITS: u32 = 10;

/// The filters of a lane's database.
pub(super) fn filters() -> Vec<Arc<dyn FilterPolicy>> {
    let policy = BloomFilterPolicy::new(BITS)
        .with_prefix_extractor(Arc::new(Groups))
        .with_whole_key_filtering(false);
    vec![Arc::new(policy)]
}

/// Which part of a key a filter knows.
struct Groups;

impl PrefixExtractor for Groups {
    fn name(&self) -> &str {
        "groups-1"
    }

    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let is_grouped = |key: &[u8]| {
            let mut keyspaces = [Keyspace::Run, Keyspace::Live].into_iter();
            keyspaces.any(|keyspace| {
                key.strip_prefix(&keyspace.prefix())
                    .is_some_and(|rest| rest.first() == Some(&GROUPED))
            })
        };
        match target {
            PrefixTarget::Point(key) if key.first() == Some(&FEATURES) => Some(key.len()),
            PrefixTarget::Point(key) if is_grouped(key) => {
                key.len().checked_sub(TAIL).filter(|len| *len > HEAD)
            }
            // Only whole groups are asked for by prefix; everything else is a range.
            PrefixTarget::Prefix(group) if is_grouped(group) => {
                (group.len() > HEAD).then_some(group.len())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_filter_knows_what_is_asked_for() {
        let len = |target: PrefixTarget| Groups.prefix_len(&target);
        let record = [&[2, 1, 1][..], b"driver", &[0; TAIL]].concat();
        let group = Bytes::copy_from_slice(&record[..9]);
        assert_eq!(len(PrefixTarget::Point(record.into())), Some(9));
        assert_eq!(len(PrefixTarget::Prefix(group)), Some(9));
        let feature = Bytes::from_static(b"\x01\x01group");
        assert_eq!(len(PrefixTarget::Point(feature)), Some(7));
        let instant = Bytes::from_static(b"\x02\x01\x02an instant and a key");
        assert_eq!(len(PrefixTarget::Point(instant)), None);
        assert_eq!(len(PrefixTarget::Prefix(Bytes::from_static(&[2, 1]))), None);
    }
}
