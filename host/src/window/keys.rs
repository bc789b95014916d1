//! Keys as something that can be hashed and compared: one fixed-width column as its bits, anything
//! else row-encoded.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Schema};
use arrow_row::{RowConverter, Rows, SortField};
use foldhash::fast::RandomState;

/// Makes keys of a batch's key columns.
pub(super) enum KeyEncoder {
    /// One column of at most 64 bits.
    Bits { width: usize, sign: u64 },
    /// Any other columns.
    Rows(RowConverter),
}

/// The keys of a batch.
pub(super) enum BatchKeys {
    Bits(ScalarBuffer<u64>),
    Rows(Rows),
}

impl KeyEncoder {
    /// # Errors
    ///
    /// A key column has a type that cannot be compared.
    pub(super) fn new(key: &Schema) -> Result<Self, String> {
        if let [field] = key.fields().as_ref()
            && let Some(width) = bits_width(field.data_type())
        {
            let sign = match field.data_type().is_unsigned_integer() {
                true => 0,
                false => 1 << (8 * width - 1),
            };
            return Ok(Self::Bits { width, sign });
        }
        let fields = key
            .fields()
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields).map_err(|error| error.to_string())?;
        Ok(Self::Rows(converter))
    }

    /// Encodes key columns that have no nulls.
    pub(super) fn encode(&mut self, columns: &[ArrayRef]) -> Result<BatchKeys, String> {
        match self {
            Self::Bits { width, .. } => Ok(BatchKeys::Bits(bits(&columns[0], *width))),
            Self::Rows(converter) => converter
                .convert_columns(columns)
                .map(BatchKeys::Rows)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Floats are left out: `-0.0` and `0.0`, or two NaNs, would be different keys.
fn bits_width(data_type: &DataType) -> Option<usize> {
    if data_type.is_floating() {
        return None;
    }
    data_type.primitive_width().filter(|width| *width <= 8)
}

fn bits(column: &ArrayRef, width: usize) -> ScalarBuffer<u64> {
    let data = column.to_data();
    let values = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
    if width == 8 {
        return ScalarBuffer::from(values);
    }
    let mut widened = Vec::with_capacity(data.len());
    for value in values.chunks_exact(width) {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(value);
        widened.push(u64::from_le_bytes(wide));
    }
    ScalarBuffer::from(widened)
}

/// Keys of a batch, and how they are compared with those that are kept.
pub(super) trait KeySource {
    /// A key that is kept.
    type Kept;

    fn hash(&self, hasher: &RandomState, row: usize) -> u64;
    fn matches(&self, row: usize, kept: &Self::Kept) -> bool;
    fn keep(&self, row: usize) -> Self::Kept;
}

impl KeySource for ScalarBuffer<u64> {
    type Kept = u64;

    fn hash(&self, hasher: &RandomState, row: usize) -> u64 {
        hasher.hash_one(self[row])
    }

    fn matches(&self, row: usize, kept: &u64) -> bool {
        self[row] == *kept
    }

    fn keep(&self, row: usize) -> u64 {
        self[row]
    }
}

impl KeySource for Rows {
    type Kept = Box<[u8]>;

    fn hash(&self, hasher: &RandomState, row: usize) -> u64 {
        hasher.hash_one(self.row(row).data())
    }

    fn matches(&self, row: usize, kept: &Box<[u8]>) -> bool {
        self.row(row).data() == &**kept
    }

    fn keep(&self, row: usize) -> Box<[u8]> {
        self.row(row).data().into()
    }
}

/// The kept keys, by their numbers.
pub(super) enum KeptKeys {
    Bits {
        bits: Vec<u64>,
        /// The sign bit of a signed type, zero of an unsigned one: with it turned, bits sort as values do.
        sign: u64,
    },
    Rows(Vec<Box<[u8]>>),
}

impl KeptKeys {
    pub(super) fn new(encoder: &KeyEncoder) -> Self {
        match encoder {
            KeyEncoder::Bits { sign, .. } => Self::Bits {
                bits: Vec::new(),
                sign: *sign,
            },
            KeyEncoder::Rows(_) => Self::Rows(Vec::new()),
        }
    }

    /// The bytes of a key that are not in the lists.
    pub(super) fn heap_bytes(&self, key: u32) -> usize {
        match self {
            Self::Bits { .. } => 0,
            Self::Rows(rows) => rows[key as usize].len(),
        }
    }

    /// A key is no more, until its number goes to another.
    pub(super) fn forget(&mut self, key: u32) {
        if let Self::Rows(rows) = self {
            rows[key as usize] = Box::default();
        }
    }

    /// Sorts items by their keys, in the ascending order of the key's columns; stable.
    pub(super) fn sort<T: Copy>(&self, items: &mut [T], key: impl Fn(&T) -> u32) {
        match self {
            Self::Bits { bits, sign } => {
                // Bits are looked up once for each item: they lie scattered.
                let keyed = |item: &T| (bits[key(item) as usize] ^ sign, *item);
                let mut sorted: Vec<(u64, T)> = items.iter().map(keyed).collect();
                sorted.sort_by_key(|(bits, _)| *bits);
                for (item, (_, sorted)) in items.iter_mut().zip(sorted) {
                    *item = sorted;
                }
            }
            // Row-encoded keys compare as their columns do.
            Self::Rows(rows) => {
                items.sort_by(|a, b| rows[key(a) as usize].cmp(&rows[key(b) as usize]));
            }
        }
    }

    /// How two keys compare in that order.
    pub(super) fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        match self {
            Self::Bits { bits, sign } => (bits[a as usize] ^ sign).cmp(&(bits[b as usize] ^ sign)),
            Self::Rows(rows) => rows[a as usize].cmp(&rows[b as usize]),
        }
    }
}
