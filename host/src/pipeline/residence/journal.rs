//! Edits that count with a commit, and may be more than one batch of the database should hold.
//!
//! They are written as they come, in entries that mean nothing by themselves. The commit says up to
//! which number they count, and from then on they are carried out, in order and each with its own
//! removal; what an interruption leaves is carried out at the next start. Edits say what is to be at
//! a key, whatever was there, so that doing some of them twice does no harm. Numbers never come
//! again in a run: entries after a commit must not count with it.
//!
//! | part | bytes |
//! | --- | --- |
//! | key of an entry | `0x04`, its number (8 bytes, big-endian) |
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
    /// The number of the next entry.
    next: u64,
    /// Those before it belong to commits that were handed over.
    committed: u64,
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
            next: 0,
            committed: 0,
            open: Vec::new(),
            unwritten: state.batch(),
            state: state.clone(),
        }
    }

    /// Goes on after the entries of an earlier process.
    pub(super) fn resume(&mut self, next: u64) {
        (self.next, self.committed) = (next, next);
    }

    /// The number up to which entries count with the next commit.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether there are entries that no commit has declared valid.
    pub(super) fn is_open(&self) -> bool {
        self.next > self.committed
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

    /// A commit has them all.
    pub(super) fn commit(&mut self) {
        self.committed = self.next;
    }

    fn close(&mut self) {
        self.unwritten.put(&key(self.next), &self.open);
        self.open.clear();
        self.next += 1;
    }
}

/// Carries out the entries before number `end` that are left, and removes all others.
pub(super) async fn carry_out(state: &LaneState, end: u64) -> Result<(), StoreError> {
    loop {
        let found = state.pairs(&[JOURNAL], None).await?;
        if found.is_empty() {
            return Ok(());
        }
        for (at, value) in found {
            let mut batch = state.batch();
            if at.get(1..).is_some_and(|mut number| {
                number.len() == size_of::<u64>() && number.get_u64() < end
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
