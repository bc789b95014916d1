//! UTF-8 and binary.

use crate::buffers::{Bitmap, Cursor, Offsets};
use crate::contract::{Failure, Field};
use crate::value::{Value, field};

/// Bytes that a record owns. `Vec<u8>` is a list of uint8 instead, as `Vec<T>` is a list of `T`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(
    /// The bytes.
    pub Vec<u8>,
);

/// A view over a column of UTF-8.
#[derive(Debug)]
pub struct Strings<'a> {
    validity: Bitmap<'a>,
    offsets: Offsets<'a>,
    text: &'a str,
}

impl<'a> Strings<'a> {
    /// The value of a row; empty if it is null. Panics if there is no such row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> &'a str {
        // The offsets were checked when the view was made.
        self.text.get(self.offsets.range(row)).unwrap_or_default()
    }

    /// Whether the value of a row is null.
    #[inline(always)]
    pub fn is_null(&self, row: usize) -> bool {
        self.validity.is_null(row)
    }

    /// Which values are null.
    pub fn validity(&self) -> Bitmap<'a> {
        self.validity
    }

    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self, Failure> {
        let column = cursor.column()?;
        let validity = column.validity(rows)?;
        let offsets = column.offsets(rows)?;
        let bytes = column.bytes(&offsets)?;
        let text = str::from_utf8(bytes).map_err(|_| column.broken("its bytes are not UTF-8"))?;
        if !text.is_ascii() && !(0..rows).all(|row| text.is_char_boundary(offsets.range(row).start))
        {
            return Err(column.broken("an offset is inside a character"));
        }
        Ok(Self {
            validity,
            offsets,
            text,
        })
    }
}

/// A view over a column of byte strings.
#[derive(Debug)]
pub struct Binaries<'a> {
    validity: Bitmap<'a>,
    offsets: Offsets<'a>,
    bytes: &'a [u8],
}

impl<'a> Binaries<'a> {
    /// The value of a row; empty if it is null. Panics if there is no such row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> &'a [u8] {
        // The offsets were checked when the view was made.
        self.bytes.get(self.offsets.range(row)).unwrap_or_default()
    }

    /// Whether the value of a row is null.
    #[inline(always)]
    pub fn is_null(&self, row: usize) -> bool {
        self.validity.is_null(row)
    }

    /// Which values are null.
    pub fn validity(&self) -> Bitmap<'a> {
        self.validity
    }

    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self, Failure> {
        let column = cursor.column()?;
        let validity = column.validity(rows)?;
        let offsets = column.offsets(rows)?;
        let bytes = column.bytes(&offsets)?;
        Ok(Self {
            validity,
            offsets,
            bytes,
        })
    }
}

/// A column of strings or byte strings that is being written.
#[derive(Debug)]
pub struct BytesWriter {
    offsets: OffsetWriter,
    bytes: Vec<u8>,
}

/// Offsets of 32 bits that are being written.
#[derive(Debug)]
pub(crate) struct OffsetWriter(Vec<[u8; 4]>);

impl OffsetWriter {
    pub(crate) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push([0; 4]);
        Self(offsets)
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, end: usize) {
        let end =
            i32::try_from(end).expect("a column that a transform returns holds less than 2 GiB");
        self.0.push(end.to_le_bytes());
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_flattened()
    }
}

impl BytesWriter {
    fn new(rows: usize) -> Self {
        Self {
            offsets: OffsetWriter::new(rows),
            bytes: Vec::new(),
        }
    }

    #[inline(always)]
    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.offsets.push(self.bytes.len());
    }

    fn seal(self, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
        buffers.extend([validity, self.offsets.into_bytes(), self.bytes]);
    }
}

macro_rules! variable_width_value {
    ($type:ty, $reader:ident, $format:literal, $bytes:expr) => {
        impl<'a> Value<'a> for $type {
            type Reader = $reader<'a>;
            type Writer = BytesWriter;

            fn describe(name: &str, nullable: bool, schema: &mut Vec<Field>) {
                schema.push(field(name, $format, nullable, 0));
            }

            fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure> {
                $reader::bind(cursor, rows)
            }

            fn has_nulls(reader: &Self::Reader) -> bool {
                reader.validity.has_nulls()
            }

            #[inline(always)]
            fn is_null(reader: &Self::Reader, row: usize) -> bool {
                reader.is_null(row)
            }

            #[inline(always)]
            fn value<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
                Some(reader.get(row).into())
            }

            fn writer(rows: usize) -> Self::Writer {
                BytesWriter::new(rows)
            }

            #[inline(always)]
            fn put(value: &Self, writer: &mut Self::Writer) {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                writer.push(bytes(value));
            }

            fn put_zero(writer: &mut Self::Writer) {
                writer.push(&[]);
            }

            fn seal(writer: Self::Writer, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
                writer.seal(validity, buffers);
            }
        }
    };
}

variable_width_value!(&'a str, Strings, "u", |value| value.as_bytes());
variable_width_value!(String, Strings, "u", |value| value.as_bytes());
variable_width_value!(&'a [u8], Binaries, "z", |value| value);
variable_width_value!(Bytes, Binaries, "z", |value| &value.0);

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
