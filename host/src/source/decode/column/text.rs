//! Columns of strings.

use std::sync::Arc;

use arrow::array::{ArrayRef, GenericStringArray, NullBufferBuilder, OffsetSizeTrait};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::super::scan::unescape;
use super::{Column, Misfit, Written};

/// A column of strings with offsets of type `O`. Of JSON, strings only: a number is not text.
pub(super) struct TextColumn<O> {
    bytes: Vec<u8>,
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Default for TextColumn<O> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![O::zero()],
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl<O: OffsetSizeTrait> TextColumn<O> {
    #[inline]
    fn end_row(&mut self) {
        self.offsets.push(O::usize_as(self.bytes.len()));
    }
}

impl<O: OffsetSizeTrait> Column for TextColumn<O> {
    #[inline]
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        let text = written
            .string()
            .ok_or_else(|| Misfit::wrong_type("Utf8", written))?;
        if !written.has_escapes(text) {
            self.bytes.extend_from_slice(text);
        } else {
            let plain = unescape(written.bytes()).ok_or_else(|| Misfit::lone_surrogate(written))?;
            self.bytes.extend_from_slice(plain.as_bytes());
        }
        self.end_row();
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.end_row();
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows].as_usize());
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let (room, rows) = (self.bytes.len(), self.offsets.len());
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(rows));
        self.offsets.push(O::zero());
        let array = GenericStringArray::<O>::try_new(
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(bytes),
            self.nulls.finish(),
        );
        Arc::new(
            array
                .expect("the lines were checked to be UTF-8, and a quote, a comma or an escape never stands inside a character"),
        )
    }
}
