//! The group of each row.

use std::borrow::Cow;

use crate::contract::{self, Failure};

/// The group number of each row: u32, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a>(&'a [[u8; 4]]);

impl<'a> Groups<'a> {
    /// From the contract's bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Failure> {
        match bytes.as_chunks::<4>() {
            (groups, []) => Ok(Self(groups)),
            _ => Err(Failure::Internal(format!(
                "the host sent {} bytes of group numbers, which is no multiple of 4",
                bytes.len()
            ))),
        }
    }

    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) fn expect(self, rows: u32) -> Result<(), Failure> {
        if self.0.len() == rows as usize {
            Ok(())
        } else {
            Err(Failure::Internal(format!(
                "the host sent {} group numbers for {rows} rows",
                self.0.len()
            )))
        }
    }

    #[inline(always)]
    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0.iter().map(|group| u32::from_le_bytes(*group))
    }

    pub(crate) fn get(self, row: usize) -> u32 {
        u32::from_le_bytes(self.0[row])
    }

    /// As numbers, in place where the alignment allows it, if each of them is less than `count`.
    pub(crate) fn checked(self, count: usize) -> Result<Cow<'a, [u32]>, Failure> {
        // All of them, and not up to the first that is wrong: that takes a fraction of the time.
        let are_right = |all: bool, group: u32| all & ((group as usize) < count);
        if !self.iter().fold(true, are_right) {
            let wrong = self.iter().find(|group| *group as usize >= count);
            return Err(no_such(wrong.unwrap_or_default(), count));
        }
        Ok(match bytemuck::try_cast_slice(self.0) {
            Ok(groups) => Cow::Borrowed(groups),
            Err(_) => Cow::Owned(self.iter().collect()),
        })
    }

    /// Which groups have changed, for `updated.changed`: those that have a row which was not
    /// rejected. None if that is all of them, or if no row was rejected: groups without any row are
    /// not worth looking for.
    pub(crate) fn changed(self, count: usize, rejects: &[contract::Reject]) -> Option<Vec<u32>> {
        if rejects.is_empty() {
            return None;
        }
        let mut changed = vec![false; count];
        let mut rejected = rejects.iter().map(|reject| reject.row as usize).peekable();
        for (row, group) in self.iter().enumerate() {
            if rejected.next_if_eq(&row).is_none() {
                changed[group as usize] = true;
            }
        }
        if changed.iter().all(|changed| *changed) {
            return None;
        }
        Some(
            (0..)
                .zip(changed)
                .filter_map(|(group, changed)| changed.then_some(group))
                .collect(),
        )
    }
}

/// In memory, numbers are little-endian on every machine that this crate compiles for.
impl<'a> From<&'a [u32]> for Groups<'a> {
    fn from(groups: &'a [u32]) -> Self {
        Self(bytemuck::cast_slice(groups))
    }
}

#[cold]
pub(crate) fn no_such(group: u32, count: usize) -> Failure {
    Failure::Internal(format!(
        "the host put a row into group {group}, but sent {count} groups"
    ))
}

pub(crate) fn to_bytes(groups: Vec<u32>) -> Vec<u8> {
    bytemuck::cast_slice(&groups).to_vec()
}
