//! Columns of bytes, from strings in base64: the standard alphabet of RFC 4648 section 4, padded or not.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, GenericBinaryArray, NullBufferBuilder, OffsetSizeTrait,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::origin::code;
use super::super::scan::unescape;
use super::{Column, Misfit, Written};
use crate::config::types::type_name;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends what a string encodes.
fn decode(written: Written<'_>, bytes: &mut Vec<u8>) -> Result<(), Misfit> {
    let raw = written
        .string()
        .ok_or_else(|| Misfit::wrong_type("Binary: a string in base64", written))?;
    // Some writers escape the slash, which is in the alphabet.
    let text = if !written.has_escapes(raw) {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(
            unescape(written.bytes())
                .ok_or_else(|| Misfit::lone_surrogate(written))?
                .into_bytes(),
        )
    };
    BASE64.decode_vec(text, bytes).map_err(|error| {
        let misfit = Misfit::bad_value("Binary: a string in base64", written);
        Misfit::new(code::BAD_VALUE, format!("{}: {error}", misfit.what))
    })
}

/// A column of bytes with offsets of type `O`.
pub(super) struct BinaryColumn<O> {
    bytes: Vec<u8>,
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Default for BinaryColumn<O> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![O::zero()],
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl<O: OffsetSizeTrait> Column for BinaryColumn<O> {
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        decode(written, &mut self.bytes)?;
        self.offsets.push(O::usize_as(self.bytes.len()));
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.push(O::usize_as(self.bytes.len()));
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows].as_usize());
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let bytes = std::mem::take(&mut self.bytes);
        let offsets = std::mem::replace(&mut self.offsets, vec![O::zero()]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(GenericBinaryArray::<O>::new(
            offsets,
            Buffer::from_vec(bytes),
            self.nulls.finish(),
        ))
    }
}

/// A column of `size` bytes a row.
pub(super) struct FixedBinaryColumn {
    size: i32,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl FixedBinaryColumn {
    /// `size` is not negative.
    pub(super) fn new(size: i32) -> Self {
        Self {
            size,
            bytes: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }

    fn width(&self) -> usize {
        self.size as usize
    }
}

impl Column for FixedBinaryColumn {
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        let before = self.bytes.len();
        decode(written, &mut self.bytes)?;
        let found = self.bytes.len() - before;
        if found != self.width() {
            let expected = type_name(&DataType::FixedSizeBinary(self.size));
            return Err(Misfit::new(
                code::BAD_VALUE,
                format!("expected {expected}, found base64 of {found} bytes"),
            ));
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.bytes.resize(self.bytes.len() + self.width(), 0);
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.bytes.truncate(rows * self.width());
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let rows = self.nulls.len();
        let bytes = Buffer::from_vec(std::mem::take(&mut self.bytes));
        let array =
            FixedSizeBinaryArray::try_new_with_len(self.size, bytes, self.nulls.finish(), rows);
        Arc::new(array.expect("every row has the width of the type"))
    }
}
