//! Columns of booleans and of values of a fixed width.

use std::borrow::Cow;
use std::marker::PhantomData;

use crate::buffers::{BitWriter, Bitmap, Cursor, bit};
use crate::contract::{Failure, Field};
use crate::value::{Value, field};

/// A type whose values take `N` bytes each, little-endian.
pub trait FixedWidth<const N: usize>: Sized {
    /// Its format string in Arrow's C data interface.
    fn format() -> String;
    /// Reads a value.
    fn decode(bytes: [u8; N]) -> Self;
    /// Writes a value.
    fn encode(&self) -> [u8; N];
}

/// A view over a column of values of a fixed width.
#[derive(Debug)]
pub struct Fixed<'a, T, const N: usize> {
    validity: Bitmap<'a>,
    values: &'a [[u8; N]],
    of: PhantomData<fn() -> T>,
}

impl<'a, T: FixedWidth<N>, const N: usize> Fixed<'a, T, N> {
    /// The value of a row; zero if it is null. Panics if there is no such row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> T {
        T::decode(self.values[row])
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

    /// All values, zero where they are null. Iterate over this in a hot loop: it needs no checks.
    #[inline(always)]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + 'a
    where
        T: 'a,
    {
        self.values.iter().map(|bytes| T::decode(*bytes))
    }
}

impl<'a, T: bytemuck::Pod, const N: usize> Fixed<'a, T, N> {
    /// All values as a slice, zero where they are null. It borrows the buffer where that lies as
    /// `T` must, and copies it where it does not.
    pub fn values(&self) -> Cow<'a, [T]> {
        let bytes = self.values.as_flattened();
        match bytemuck::try_cast_slice(bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
        }
    }
}

pub(crate) fn bind<'a, T, const N: usize>(
    cursor: &mut Cursor<'a>,
    rows: usize,
) -> Result<Fixed<'a, T, N>, Failure> {
    let column = cursor.column()?;
    Ok(Fixed {
        validity: column.validity(rows)?,
        values: column.fixed(rows)?,
        of: PhantomData,
    })
}

pub(crate) fn seal<const N: usize>(
    writer: Vec<[u8; N]>,
    validity: Vec<u8>,
    buffers: &mut Vec<Vec<u8>>,
) {
    buffers.push(validity);
    buffers.push(writer.into_flattened());
}

/// Makes a type that is [`FixedWidth`] a [`Value`]. A blanket implementation would overlap with
/// that for structs.
macro_rules! fixed_width_value {
    ([$($generics:tt)*] $type:ty, $width:expr) => {
        impl<'a, $($generics)*> $crate::value::Value<'a> for $type {
            type Reader = $crate::types::Fixed<'a, Self, { $width }>;
            type Writer = Vec<[u8; $width]>;

            fn describe(name: &str, nullable: bool, schema: &mut Vec<$crate::contract::Field>) {
                let format = <Self as $crate::types::FixedWidth<{ $width }>>::format();
                schema.push($crate::value::field(name, format, nullable, 0));
            }

            fn bind(
                cursor: &mut $crate::buffers::Cursor<'a>,
                rows: usize,
            ) -> Result<Self::Reader, $crate::contract::Failure> {
                $crate::types::fixed::bind(cursor, rows)
            }

            fn has_nulls(reader: &Self::Reader) -> bool {
                reader.validity().has_nulls()
            }

            #[inline(always)]
            fn is_null(reader: &Self::Reader, row: usize) -> bool {
                reader.is_null(row)
            }

            #[inline(always)]
            fn value<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
                Some(reader.get(row))
            }

            fn writer(rows: usize) -> Self::Writer {
                Vec::with_capacity(rows)
            }

            #[inline(always)]
            fn put(value: &Self, writer: &mut Self::Writer) {
                writer.push($crate::types::FixedWidth::encode(value));
            }

            fn put_zero(writer: &mut Self::Writer) {
                writer.push([0; $width]);
            }

            fn seal(writer: Self::Writer, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
                $crate::types::fixed::seal(writer, validity, buffers);
            }
        }
    };
}
pub(crate) use fixed_width_value;

impl<const N: usize> FixedWidth<N> for [u8; N] {
    fn format() -> String {
        format!("w:{N}")
    }

    #[inline(always)]
    fn decode(bytes: [u8; N]) -> Self {
        bytes
    }

    #[inline(always)]
    fn encode(&self) -> [u8; N] {
        *self
    }
}
fixed_width_value!([const N: usize] [u8; N], N);

/// A view over a column of booleans.
#[derive(Debug)]
pub struct Booleans<'a> {
    validity: Bitmap<'a>,
    bits: &'a [u8],
}

impl<'a> Booleans<'a> {
    /// The value of a row; false if it is null. Panics if there is no such row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> bool {
        bit(self.bits, row)
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

    /// All values as a bitmap, least significant bit first, false where they are null.
    pub fn bits(&self) -> &'a [u8] {
        self.bits
    }
}

impl<'a> Value<'a> for bool {
    type Reader = Booleans<'a>;
    type Writer = BitWriter;

    fn describe(name: &str, nullable: bool, schema: &mut Vec<Field>) {
        schema.push(field(name, "b", nullable, 0));
    }

    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure> {
        let column = cursor.column()?;
        Ok(Booleans {
            validity: column.validity(rows)?,
            bits: column.bits(rows)?,
        })
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
        Some(reader.get(row))
    }

    fn writer(rows: usize) -> Self::Writer {
        BitWriter::with_capacity(rows)
    }

    #[inline(always)]
    fn put(value: &Self, writer: &mut Self::Writer) {
        writer.push(*value);
    }

    fn put_zero(writer: &mut Self::Writer) {
        writer.push(false);
    }

    fn seal(writer: Self::Writer, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
        buffers.push(validity);
        buffers.push(writer.into_bytes());
    }
}
