//! Views over the raw buffers of a batch. In comes what the host laid out, out come typed views
//! that never copy: values are read through `[u8; N]` chunks, which may lie at any address.
//!
//! Everything is checked once a call, when a view is made; a host that breaks the contract gets a
//! [`Failure::Internal`], never undefined behaviour.

use crate::contract::Failure;
use crate::schema::{Layout, Slot};

/// Borrowed columns: the contract's `columns`, without owning the buffers.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many rows the top-level columns have.
    pub rows: u32,
    /// All buffers, in the order of the schema.
    pub buffers: &'a [&'a [u8]],
}

/// Walks the columns of a batch in the order of the schema that a record expects.
pub struct Cursor<'a> {
    slots: std::slice::Iter<'a, Slot>,
    buffers: &'a [&'a [u8]],
}

impl<'a> Cursor<'a> {
    /// Starts at the first column.
    pub fn new(layout: &'a Layout, batch: Batch<'a>) -> Self {
        Self {
            slots: layout.slots().iter(),
            buffers: batch.buffers,
        }
    }

    /// The next column in pre-order.
    pub fn column(&mut self) -> Result<Column<'a>, Failure> {
        let slot = self.slots.next().ok_or_else(too_few)?;
        let buffers = self.buffers.get(slot.first_buffer..).ok_or_else(too_few)?;
        Ok(Column { slot, buffers })
    }
}

#[cold]
fn too_few() -> Failure {
    Failure::Internal("the host sent fewer columns than were agreed when opening".to_owned())
}

/// One column of a batch, not yet typed.
pub struct Column<'a> {
    slot: &'a Slot,
    buffers: &'a [&'a [u8]],
}

impl<'a> Column<'a> {
    /// The validity bitmap of a column of `rows` values.
    pub fn validity(&self, rows: usize) -> Result<Bitmap<'a>, Failure> {
        let bits = self.buffer(0)?;
        if bits.is_empty() || bits.len() == rows.div_ceil(8) {
            Ok(Bitmap { bits })
        } else {
            Err(self.wrong("validity", bits.len(), rows))
        }
    }

    /// A bitmap of boolean values.
    pub fn bits(&self, rows: usize) -> Result<&'a [u8], Failure> {
        let bits = self.buffer(1)?;
        if bits.len() == rows.div_ceil(8) {
            Ok(bits)
        } else {
            Err(self.wrong("values", bits.len(), rows))
        }
    }

    /// `rows` values of `N` bytes each.
    pub fn fixed<const N: usize>(&self, rows: usize) -> Result<&'a [[u8; N]], Failure> {
        let bytes = self.buffer(1)?;
        match bytes.as_chunks::<N>() {
            (values, []) if values.len() == rows => Ok(values),
            _ => Err(self.wrong("values", bytes.len(), rows)),
        }
    }

    /// The offsets of a list or of variable-length bytes, checked to start at 0 and never fall.
    pub fn offsets(&self, rows: usize) -> Result<Offsets<'a>, Failure> {
        let bytes = self.buffer(1)?;
        let offsets = if self.slot.large {
            match bytes.as_chunks::<8>() {
                (offsets, []) => Offsets::Large(offsets),
                _ => return Err(self.wrong("offsets", bytes.len(), rows)),
            }
        } else {
            match bytes.as_chunks::<4>() {
                (offsets, []) => Offsets::Small(offsets),
                _ => return Err(self.wrong("offsets", bytes.len(), rows)),
            }
        };
        if offsets.len() != rows + 1 {
            return Err(self.wrong("offsets", bytes.len(), rows));
        }
        let sorted = match offsets {
            Offsets::Small(offsets) => {
                rises_from_zero(offsets.iter().map(|o| i64::from(i32::from_le_bytes(*o))))
            }
            Offsets::Large(offsets) => {
                rises_from_zero(offsets.iter().map(|o| i64::from_le_bytes(*o)))
            }
        };
        if sorted {
            Ok(offsets)
        } else {
            Err(self.broken("its offsets do not rise from 0"))
        }
    }

    /// The bytes behind the offsets.
    pub fn bytes(&self, offsets: &Offsets<'a>) -> Result<&'a [u8], Failure> {
        let bytes = self.buffer(2)?;
        if bytes.len() == offsets.end() {
            Ok(bytes)
        } else {
            Err(self.broken("its last offset is not the length of its bytes"))
        }
    }

    /// A failure about this column.
    #[cold]
    pub fn broken(&self, what: &str) -> Failure {
        Failure::Internal(format!(
            "the host broke the contract in column `{}`: {what}",
            self.slot.path
        ))
    }

    fn buffer(&self, number: usize) -> Result<&'a [u8], Failure> {
        self.buffers
            .get(number)
            .copied()
            .ok_or_else(|| self.broken("a buffer is missing"))
    }

    #[cold]
    fn wrong(&self, what: &str, bytes: usize, rows: usize) -> Failure {
        self.broken(&format!("{bytes} bytes of {what} do not fit {rows} values"))
    }
}

fn rises_from_zero(offsets: impl Iterator<Item = i64>) -> bool {
    let mut last = 0;
    let mut first = true;
    let mut rises = true;
    for offset in offsets {
        rises &= if first { offset == 0 } else { offset >= last };
        first = false;
        last = offset;
    }
    rises && usize::try_from(last).is_ok()
}

/// A validity bitmap. An empty one means that nothing is null.
#[derive(Clone, Copy, Debug)]
pub struct Bitmap<'a> {
    bits: &'a [u8],
}

impl<'a> Bitmap<'a> {
    /// Whether there may be nulls at all.
    #[inline(always)]
    pub fn has_nulls(&self) -> bool {
        !self.bits.is_empty()
    }

    /// Whether the value of a row is null.
    #[inline(always)]
    pub fn is_null(&self, row: usize) -> bool {
        self.has_nulls() && !bit(self.bits, row)
    }

    /// The raw bits, least significant first, 1 for a value; empty if nothing is null.
    pub fn bits(&self) -> &'a [u8] {
        self.bits
    }
}

/// The bit of a row.
#[inline(always)]
pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row >> 3] >> (row & 7) & 1 == 1
}

/// Where each value of a list, a string or a byte string starts and ends.
#[derive(Clone, Copy, Debug)]
pub enum Offsets<'a> {
    /// 32-bit offsets.
    Small(&'a [[u8; 4]]),
    /// 64-bit offsets, of the large types.
    Large(&'a [[u8; 8]]),
}

impl Offsets<'_> {
    /// Start and end of a row's value.
    #[inline(always)]
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        match self {
            Offsets::Small(offsets) => {
                i32::from_le_bytes(offsets[row]) as usize
                    ..i32::from_le_bytes(offsets[row + 1]) as usize
            }
            Offsets::Large(offsets) => {
                i64::from_le_bytes(offsets[row]) as usize
                    ..i64::from_le_bytes(offsets[row + 1]) as usize
            }
        }
    }

    /// The last offset: the length of what the offsets point into.
    pub fn end(&self) -> usize {
        match self {
            Offsets::Small(offsets) => offsets
                .last()
                .map_or(0, |o| i32::from_le_bytes(*o) as usize),
            Offsets::Large(offsets) => offsets
                .last()
                .map_or(0, |o| i64::from_le_bytes(*o) as usize),
        }
    }

    fn len(&self) -> usize {
        match self {
            Offsets::Small(offsets) => offsets.len(),
            Offsets::Large(offsets) => offsets.len(),
        }
    }
}

/// A bitmap that is being written.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    len: usize,
}

impl BitWriter {
    /// Room for `rows` bits.
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(rows.div_ceil(8)),
            len: 0,
        }
    }

    /// Adds a bit.
    #[inline(always)]
    pub fn push(&mut self, bit: bool) {
        let shift = self.len & 7;
        if shift == 0 {
            self.bytes.push(u8::from(bit));
        } else if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << shift;
        }
        self.len += 1;
    }

    /// The bytes, with zero bits past the end.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A validity bitmap that is being written: it stays empty until the first null.
#[derive(Debug, Default)]
pub(crate) struct ValidityWriter {
    bits: BitWriter,
    rows: usize,
}

impl ValidityWriter {
    /// Adds a value or a null.
    #[inline(always)]
    pub(crate) fn push(&mut self, valid: bool) {
        if !valid || self.bits.len > 0 {
            self.push_bit(valid);
        }
        self.rows += 1;
    }

    /// The bitmap; empty if there was no null.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bits.into_bytes()
    }

    fn push_bit(&mut self, valid: bool) {
        while self.bits.len < self.rows {
            self.bits.push(true);
        }
        self.bits.push(valid);
    }
}
