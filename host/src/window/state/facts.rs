//! Numbers as bytes, and back: little-endian, one after the other.

use bytes::Buf;

use super::super::span::Span;
use super::codec::{StateError, damaged};

/// Puts whole numbers.
pub(in crate::window) fn put(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = i64>) {
    numbers
        .into_iter()
        .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// Reads what was put.
pub(in crate::window) struct Reading<'a>(pub(in crate::window) &'a [u8]);

impl Reading<'_> {
    pub(in crate::window) fn number(&mut self) -> Result<i64, StateError> {
        self.0.try_get_i64_le().map_err(|error| damaged(&error))
    }

    pub(in crate::window) fn flag(&mut self) -> Result<bool, StateError> {
        Ok(self.number()? != 0)
    }

    pub(in crate::window) fn span(&mut self) -> Result<Span, StateError> {
        Ok(Span {
            first: self.number()?,
            last: self.number()?,
        })
    }
}
