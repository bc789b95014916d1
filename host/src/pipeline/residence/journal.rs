//! Edits that count with a commit, and may be more than one batch of the database should hold.
//!
//! They are written as they come, in entries that mean nothing by themselves. The commit says how
//! many there are, and from then on they are carried out, in order and each with its own removal;
//! what an interruption leaves is carried out at the next start. Edits say what is to be at a key,
//! whatever was there, so that doing some of them twice does no harm.
//!
//! | part | bytes |
//! | --- | --- |
//! | key of an entry | `0x04`, its number (8 bytes, big-endian, from 0 on) |
//! | value of an entry | for each edit: bytes of its key (4, little-endian), bytes of its value (4; `0xffff_ffff` for a removal), key, value |

use bytes::Buf;

use crate::store::StoreError;
use crate::store::embedded::{LaneState, StateBatch};
use crate::window::Edit;

/// What the keys of entries begin with.
const JOURNAL: u8 = 4;
const REMOVED: u32 = u32::MAX;

/// Edits of a commit to come.
pub(super) struct Journal {
    /// Bytes of an entry, about.
    most: usize,
    entries: u64,
    open: Vec<u8>,
    /// Entries that are not written yet.
    unwritten: StateBatch,
    state: LaneState,
}

impl Journal {
    /// Without any, of entries of so many bytes, in a lane's state.
    pub(super) fn new(most: usize, state: &LaneState) -> Self {
        Self {
            most,
            entries: 0,
            open: Vec::new(),
            unwritten: state.batch(),
            state: state.clone(),
        }
    }

    /// Entries so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds an edit.
    pub(super) fn push(&mut self, edit: Edit<'_>) {
        let (key, value) = match edit {
            Edit::Put(key, value) => (key, Some(value)),
            Edit::Remove(key) => (key, None),
        };
        let bytes = value.map_or(REMOVED, |value| value.len() as u32);
        self.open
            .extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.open.extend_from_slice(&bytes.to_le_bytes());
        self.open.extend_from_slice(key);
        self.open.extend_from_slice(value.unwrap_or_default());
        if self.open.len() >= self.most {
            self.close();
        }
    }

    /// What is to be written before anything else is.
    pub(super) fn full(&mut self) -> Option<StateBatch> {
        if !self.open.is_empty() {
            self.close();
        }
        (self.unwritten.bytes() > 0)
            .then(|| std::mem::replace(&mut self.unwritten, self.state.batch()))
    }

    /// The commit has them: gives how many they are, and begins anew.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.entries)
    }

    fn close(&mut self) {
        self.unwritten.put(&key(self.entries), &self.open);
        self.open.clear();
        self.entries += 1;
    }
}

/// Carries out the first `entries` entries, as far as they are left, and removes all others.
pub(super) async fn carry_out(state: &LaneState, entries: u64) -> Result<(), StoreError> {
    loop {
        let found = state.pairs(&[JOURNAL], None).await?;
        if found.is_empty() {
            return Ok(());
        }
        for (at, value) in found {
            let mut batch = state.batch();
            if at.get(1..).is_some_and(|mut number| {
                number.len() == size_of::<u64>() && number.get_u64() < entries
            }) {
                edits(&value, &mut batch);
            }
            batch.remove(&at);
            state.apply(batch).await?;
        }
    }
}

fn edits(mut entry: &[u8], batch: &mut StateBatch) {
    while let (Ok(key), Ok(bytes)) = (entry.try_get_u32_le(), entry.try_get_u32_le()) {
        let Some((key, rest)) = entry.split_at_checked(key as usize) else {
            return;
        };
        entry = rest;
        if bytes == REMOVED {
            batch.remove(key);
            continue;
        }
        let Some((value, rest)) = entry.split_at_checked(bytes as usize) else {
            return;
        };
        entry = rest;
        batch.put(key, value);
    }
}

fn key(entry: u64) -> Vec<u8> {
    [&[JOURNAL][..], &entry.to_be_bytes()].concat()
}
