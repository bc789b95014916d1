//! The values of one feature for all entities of a request, taken out of items' bytes.
//!
//! A value that is a number is copied from where it lies in its item into a column of plain numbers; nothing is allocated
//! for it. That a stored value has the declared type is seen from the bytes that it begins with, which are the same for
//! every value of a type.

use std::sync::Arc;

use arrow::datatypes::DataType;
use bytes::Bytes;

use super::catalogue::{Described, Place};
use crate::store::item::Attribute;
use crate::store::item::bytes::Cursor;
use crate::store::item::value::{ValueEncoder, ValueError};
use crate::store::{StoreError, Value};

/// Something was written for the entity.
pub(in crate::serve) const WRITTEN: u8 = 1;
/// There is a value; without it, the newest write removed it.
pub(in crate::serve) const VALUE: u8 = 2;
/// What there is, is older than the feature's freshness objective.
pub(in crate::serve) const STALE: u8 = 4;

/// How values are wanted that are neither numbers nor texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::serve) enum Style {
    /// Times as numbers in the type's unit, binary as bytes.
    #[default]
    Plain,
    /// As people read them: times in RFC 3339, binary in hexadecimal.
    Shown,
}

/// How the values of a type are laid out in an item.
#[derive(Debug)]
pub(super) struct Shape {
    /// What each value's bytes begin with: layout and type.
    head: Vec<u8>,
    cells: Cells,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cells {
    Bool,
    /// Bytes of a signed number.
    Int(usize),
    UInt(usize),
    Float,
    Double,
    Text,
    Blob,
    /// A list of 32-bit floats, with a varint length.
    Vector,
    /// So many 32-bit floats.
    FixedVector(usize),
    Other,
}

impl Shape {
    pub(super) fn of(data_type: &DataType) -> Result<Self, ValueError> {
        let empty = arrow::array::new_empty_array(data_type);
        let encoder = ValueEncoder::new(&empty)?;
        let is_float = |field: &arrow::datatypes::FieldRef| *field.data_type() == DataType::Float32;
        let cells = match data_type {
            DataType::Boolean => Cells::Bool,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                Cells::UInt(data_type.primitive_width().unwrap_or(8))
            }
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Duration(_) => Cells::Int(data_type.primitive_width().unwrap_or(8)),
            DataType::Float32 => Cells::Float,
            DataType::Float64 => Cells::Double,
            DataType::Utf8 | DataType::LargeUtf8 => Cells::Text,
            DataType::Binary | DataType::LargeBinary => Cells::Blob,
            DataType::List(field) | DataType::LargeList(field) if is_float(field) => Cells::Vector,
            DataType::FixedSizeList(field, size) if is_float(field) => {
                Cells::FixedVector(usize::try_from(*size).unwrap_or(0))
            }
            _ => Cells::Other,
        };
        Ok(Self {
            head: encoder.head().to_vec(),
            cells,
        })
    }

    /// The column that values of the type go to. What is not a number is shown as it is stored, or as people read it.
    pub(super) fn values(&self, data_type: &DataType, style: Style, rows: usize) -> Values {
        match self.cells {
            _ if style == Style::Shown && !is_plain(data_type) => {
                Values::Json(vec![String::new(); rows])
            }
            Cells::Bool => Values::Bools(vec![false; rows]),
            Cells::Int(_) => Values::Ints(vec![0; rows]),
            Cells::UInt(_) => Values::UInts(vec![0; rows]),
            Cells::Float => Values::Floats(vec![0.0; rows]),
            Cells::Double => Values::Doubles(vec![0.0; rows]),
            Cells::Text => Values::Texts(vec![String::new(); rows]),
            Cells::Blob => Values::Blobs(vec![Vec::new(); rows]),
            Cells::Vector | Cells::FixedVector(_) => Values::Vectors {
                lengths: vec![0; rows],
                floats: Vec::new(),
            },
            Cells::Other => Values::Json(vec![String::new(); rows]),
        }
    }
}

/// Whether JSON has values of the type as they are.
fn is_plain(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Float32
                | DataType::Float64
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::List(_)
                | DataType::LargeList(_)
                | DataType::FixedSizeList(..)
        )
}

/// Values of one type, one an entity; zero or empty where there is none.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::serve) enum Values {
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    UInts(Vec<u64>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Texts(Vec<String>),
    Blobs(Vec<Vec<u8>>),
    /// Lists of floats one after the other, and how long each is.
    Vectors {
        lengths: Vec<u32>,
        floats: Vec<f32>,
    },
    /// JSON texts.
    Json(Vec<String>),
}

/// The answer for one feature.
#[derive(Debug)]
pub(in crate::serve) struct Column {
    pub(in crate::serve) feature: Arc<Described>,
    /// [`WRITTEN`], [`VALUE`] and [`STALE`], an octet an entity.
    pub(in crate::serve) states: Vec<u8>,
    /// In microseconds since 1970-01-01T00:00:00Z; 0 where nothing was written.
    pub(in crate::serve) event_times: Vec<i64>,
    /// Milliseconds from the event time to the answer; 0 where nothing was written. Below zero if the window ends after it.
    pub(in crate::serve) ages_ms: Vec<i64>,
    pub(in crate::serve) values: Values,
}

impl Column {
    pub(super) fn new(feature: Arc<Described>, rows: usize, style: Style) -> Self {
        let values = feature.shape.values(&feature.data_type, style, rows);
        Self {
            feature,
            states: vec![0; rows],
            event_times: vec![0; rows],
            ages_ms: vec![0; rows],
            values,
        }
    }

    fn set(&mut self, row: usize, attribute: Attribute<'_>) -> Result<(), StoreError> {
        self.states[row] = WRITTEN;
        self.event_times[row] = attribute.order.event_time;
        let Some(bytes) = attribute.value else {
            return Ok(());
        };
        self.states[row] |= VALUE;
        let shape = &self.feature.shape;
        let damaged = |source| StoreError::Value {
            group: self.feature.place.group.clone(),
            feature: self.feature.name.clone(),
            source,
        };
        match bytes.strip_prefix(shape.head.as_slice()) {
            Some(cells) => put(&mut self.values, row, shape.cells, cells, bytes).map_err(damaged),
            None => Err(damaged(ValueError::Damaged(format!(
                "they are not those of a {}",
                self.feature.type_name
            )))),
        }
    }

    /// Says how old the values are, which are too old, and leaves out those that are past their time to live.
    pub(super) fn date(&mut self, now: i64) {
        let objective = self.feature.freshness.unwrap_or(i64::MAX);
        let ttl = self.feature.ttl.unwrap_or(i64::MAX);
        for (row, state) in self.states.iter_mut().enumerate() {
            if *state & WRITTEN == 0 {
                continue;
            }
            let age = now.saturating_sub(self.event_times[row]);
            if age >= ttl {
                *state = 0;
                self.event_times[row] = 0;
                self.values.empty(row);
                continue;
            }
            self.ages_ms[row] = age.div_euclid(1_000);
            *state |= STALE * u8::from(age > objective);
        }
    }
}

impl Values {
    /// How many there are.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Bools(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::UInts(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Doubles(values) => values.len(),
            Self::Texts(values) | Self::Json(values) => values.len(),
            Self::Blobs(values) => values.len(),
            Self::Vectors { lengths, .. } => lengths.len(),
        }
    }

    /// What the protocol of gRPC calls such values.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bools(_) => "bools",
            Self::Ints(_) => "ints",
            Self::UInts(_) => "uints",
            Self::Floats(_) => "floats",
            Self::Doubles(_) => "doubles",
            Self::Texts(_) => "texts",
            Self::Blobs(_) => "blobs",
            Self::Vectors { .. } => "vectors",
            Self::Json(_) => "json",
        }
    }

    /// Makes a row what it is where there is no value. A vector keeps its place, and whoever reads it sees by its state
    /// that it is not meant.
    fn empty(&mut self, row: usize) {
        match self {
            Self::Bools(values) => values[row] = false,
            Self::Ints(values) => values[row] = 0,
            Self::UInts(values) => values[row] = 0,
            Self::Floats(values) => values[row] = 0.0,
            Self::Doubles(values) => values[row] = 0.0,
            Self::Texts(values) | Self::Json(values) => values[row].clear(),
            Self::Blobs(values) => values[row].clear(),
            Self::Vectors { .. } => {}
        }
    }
}

/// Puts the values of a place's items, one an entity, into the columns that are of that place.
///
/// An item's attributes come by rising name. So the columns are gone through by name as well, once an item.
///
/// Gives whether the values had `room`, of which their bytes are taken.
pub(super) fn fill(
    columns: &mut [Column],
    place: &Place,
    items: &[Option<Bytes>],
    room: &mut usize,
) -> Result<bool, StoreError> {
    let mut own: Vec<&mut Column> = columns
        .iter_mut()
        .filter(|column| column.feature.place.number == place.number)
        .collect();
    own.sort_by(|a, b| a.feature.attribute.cmp(&b.feature.attribute));
    for (row, item) in items.iter().enumerate() {
        let Some(item) = item else { continue };
        let mut at = 0;
        let mut bytes = 0;
        let mut failed = None;
        let read = Attribute::each(item, |attribute| {
            while let Some(column) = own.get_mut(at) {
                match column.feature.attribute.as_str().cmp(attribute.name) {
                    std::cmp::Ordering::Less => at += 1,
                    std::cmp::Ordering::Greater => break,
                    // The same feature may be asked for twice.
                    std::cmp::Ordering::Equal => {
                        bytes += attribute.value.map_or(0, <[u8]>::len);
                        failed = failed.take().or(column.set(row, attribute).err());
                        at += 1;
                    }
                }
            }
        });
        read.map_err(|source| StoreError::Item {
            group: place.group.clone(),
            entity: format!("number {row} of the request"),
            source,
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        match room.checked_sub(bytes) {
            Some(left) => *room = left,
            None => return Ok(false),
        }
    }
    Ok(true)
}

fn put(
    values: &mut Values,
    row: usize,
    cells: Cells,
    bytes: &[u8],
    whole: &[u8],
) -> Result<(), ValueError> {
    if let Values::Json(texts) = values {
        texts[row] = Value::decode(whole)?.to_json()?;
        return Ok(());
    }
    let mut cursor = Cursor::new(bytes);
    let cut = || ValueError::Damaged("they end too early".to_owned());
    // A value that is there has a validity of no nulls, or one bit that is set.
    if cursor.u8().ok_or_else(cut)? == 1 {
        cursor.u8().ok_or_else(cut)?;
    }
    match (values, cells) {
        (Values::Bools(bools), _) => bools[row] = cursor.u8().ok_or_else(cut)? & 1 == 1,
        (Values::Ints(ints), Cells::Int(width)) => {
            let bytes = number(cursor.take(width).ok_or_else(cut)?);
            // The sign of a shorter number is spread.
            let unused = 64 - 8 * width as u32;
            ints[row] = (i64::from_le_bytes(bytes) << unused) >> unused;
        }
        (Values::UInts(uints), Cells::UInt(width)) => {
            uints[row] = u64::from_le_bytes(number(cursor.take(width).ok_or_else(cut)?));
        }
        (Values::Floats(floats), _) => {
            let bytes = cursor.take(4).ok_or_else(cut)?;
            floats[row] = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        (Values::Doubles(doubles), _) => {
            doubles[row] = f64::from_le_bytes(number(cursor.take(8).ok_or_else(cut)?));
        }
        (Values::Texts(texts), _) => texts[row] = cursor.text().ok_or_else(cut)?.to_owned(),
        (Values::Blobs(blobs), _) => blobs[row] = cursor.block().ok_or_else(cut)?.to_vec(),
        (Values::Vectors { lengths, floats }, cells) => {
            let length = match cells {
                Cells::FixedVector(size) => size,
                _ => cursor.length().ok_or_else(cut)?,
            };
            if length > cursor.remaining() {
                return Err(cut());
            }
            let valid = match cursor.u8().ok_or_else(cut)? {
                1 => cursor.take(length.div_ceil(8)).ok_or_else(cut)?,
                _ => &[],
            };
            let bytes = cursor.take(4 * length).ok_or_else(cut)?;
            let each = bytes.chunks_exact(4);
            let first = floats.len();
            floats.extend(each.map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])));
            lengths[row] = length as u32;
            // Where a list has a null, a vector has a NaN.
            for at in 0..if valid.is_empty() { 0 } else { length } {
                if valid[at / 8] >> (at % 8) & 1 == 0 {
                    floats[first + at] = f32::NAN;
                }
            }
        }
        _ => return Err(ValueError::Damaged("they are of another type".to_owned())),
    }
    match cursor.is_empty() {
        true => Ok(()),
        false => Err(ValueError::Damaged("bytes follow the value".to_owned())),
    }
}

/// At most eight bytes, little-endian.
fn number(bytes: &[u8]) -> [u8; 8] {
    let mut number = [0; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    number
}
