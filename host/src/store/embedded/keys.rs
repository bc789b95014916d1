//! The keys of a lane's database.
//!
//! The first byte is the keyspace, the second the version of the layout of the keyspace's keys. A database holds
//! several keyspaces so that one batch can write all of them at once.
//!
//! | keyspace | version | rest of the key | value |
//! | --- | --- | --- | --- |
//! | `0x01` features | 1 | group, entity, pipeline, window | an item (see [`crate::store::item`]), merged |
//! | `0x02` state of runs | 1 | whatever the lane's pipeline keeps over recorded events | likewise |
//! | `0x03` live state | 1 | whatever the lane's pipeline keeps over a live stream | likewise |
//! | `0x04` taken back | 1 | generation (8 bytes, big-endian), then as of features | the item as it was served last |
//!
//! Each part of the rest of a feature's key is its UTF-8, with `0x00` written as `0x00 0xff`, and ends with `0x00 0x01`. So no
//! key is the beginning of another, and all items of one entity lie together.

/// The keyspace of feature items.
pub(super) const FEATURES: u8 = 0x01;
const FEATURES_LAYOUT: u8 = 1;
/// How many bytes the key of an item has before its first part.
pub(super) const ITEM_PREFIX: usize = 2;

/// The keyspace of what was served and taken back, with its layout's version.
pub(super) const TAKEN_BACK: [u8; 2] = [0x04, 1];

/// What the keys of a pipeline's state begin with. A run over recorded events leaves alone what is kept of the live
/// stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyspace {
    /// Over recorded events.
    Run,
    /// Over a live stream.
    Live,
}

impl Keyspace {
    pub(super) fn prefix(self) -> [u8; 2] {
        match self {
            Self::Run => [0x02, 1],
            Self::Live => [0x03, 1],
        }
    }
}

/// What the keys of items begin with that a generation had served when it was taken back.
pub(super) fn taken_back(generation: u64) -> Vec<u8> {
    [&TAKEN_BACK[..], &generation.to_be_bytes()].concat()
}

/// Writes the keys of the items of one group, pipeline and window.
pub(super) struct ItemKeys {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl ItemKeys {
    pub(super) fn new(group: &str, pipeline: &str, window: &str) -> Self {
        let mut head = vec![FEATURES, FEATURES_LAYOUT];
        put_part(group.as_bytes(), &mut head);
        let mut tail = Vec::new();
        put_part(pipeline.as_bytes(), &mut tail);
        put_part(window.as_bytes(), &mut tail);
        Self { head, tail }
    }

    /// Writes the key of an entity over what `key` held.
    pub(super) fn write(&self, entity: &[u8], key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.head);
        put_part(entity, key);
        key.extend_from_slice(&self.tail);
    }
}

/// The group, entity, pipeline and window of an item's key, from its first part on; none if it is no such key.
pub(super) fn item_parts(key: &[u8]) -> Option<[String; 4]> {
    let mut parts: [Vec<u8>; 4] = Default::default();
    let mut bytes = key.iter();
    for part in &mut parts {
        loop {
            match *bytes.next()? {
                0 => match *bytes.next()? {
                    0xff => part.push(0),
                    1 => break,
                    _ => return None,
                },
                byte => part.push(byte),
            }
        }
    }
    if bytes.next().is_some() {
        return None;
    }
    let [group, entity, pipeline, window] = parts.map(String::from_utf8);
    Some([group.ok()?, entity.ok()?, pipeline.ok()?, window.ok()?])
}

fn put_part(part: &[u8], out: &mut Vec<u8>) {
    if part.contains(&0) {
        for byte in part {
            out.push(*byte);
            if *byte == 0 {
                out.push(0xff);
            }
        }
    } else {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&[0, 1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn different_items_have_different_keys(a in parts(), b in parts()) {
            let key = |p: &[String; 4]| {
                let mut key = Vec::new();
                ItemKeys::new(&p[0], &p[1], &p[2]).write(p[3].as_bytes(), &mut key);
                key
            };
            let (left, right) = (key(&a), key(&b));
            prop_assert_eq!(a == b, left == right);
            prop_assert!(a == b || !left.starts_with(&right));
            let [group, pipeline, window, entity] = a;
            let parts = item_parts(&left[ITEM_PREFIX..]);
            prop_assert_eq!(parts, Some([group, entity, pipeline, window]));
            for cut in 0..left.len() - ITEM_PREFIX {
                prop_assert_eq!(item_parts(&left[ITEM_PREFIX..ITEM_PREFIX + cut]), None);
            }
        }
    }

    /// Short texts over few characters, so that equal and nearly equal ones are common.
    fn parts() -> impl Strategy<Value = [String; 4]> {
        ["[\0a]{0,2}", "[\0a]{0,2}", "[\0a]{0,2}", "[\0a]{0,2}"]
    }
}
