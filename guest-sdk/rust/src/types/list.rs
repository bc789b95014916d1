//! Lists.

use super::text::OffsetWriter;
use crate::buffers::{Bitmap, Cursor, Offsets};
use crate::contract::{Failure, Field};
use crate::value::{Value, field};

/// A view over a column of lists.
#[derive(Debug)]
pub struct Lists<'a, R> {
    validity: Bitmap<'a>,
    offsets: Offsets<'a>,
    items: R,
}

impl<'a, R> Lists<'a, R> {
    /// Which of [`Lists::items`] are the list of a row. Panics if there is no such row.
    #[inline(always)]
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets.range(row)
    }

    /// The items of all lists, behind each other.
    pub fn items(&self) -> &R {
        &self.items
    }

    /// Whether the list of a row is null.
    #[inline(always)]
    pub fn is_null(&self, row: usize) -> bool {
        self.validity.is_null(row)
    }

    /// Which lists are null.
    pub fn validity(&self) -> Bitmap<'a> {
        self.validity
    }
}

/// A column of lists that is being written.
#[derive(Debug)]
pub struct ListWriter<W> {
    offsets: OffsetWriter,
    len: usize,
    items: W,
}

impl<'a, T: Value<'a>> Value<'a> for Vec<T> {
    type Reader = Lists<'a, T::Reader>;
    type Writer = ListWriter<T::Writer>;

    fn describe(name: &str, nullable: bool, schema: &mut Vec<Field>) {
        schema.push(field(name, "+l", nullable, 1));
        T::describe("item", false, schema);
    }

    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure> {
        let column = cursor.column()?;
        let validity = column.validity(rows)?;
        let offsets = column.offsets(rows)?;
        let items = T::bind(cursor, offsets.end())?;
        Ok(Lists {
            validity,
            offsets,
            items,
        })
    }

    fn has_nulls(reader: &Self::Reader) -> bool {
        reader.validity.has_nulls() || T::has_nulls(&reader.items)
    }

    #[inline(always)]
    fn is_null(reader: &Self::Reader, row: usize) -> bool {
        reader.is_null(row)
    }

    #[inline]
    fn value<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
        let range = reader.range(row);
        let mut items = Vec::with_capacity(range.len());
        for item in range {
            items.push(T::get::<NULLS>(&reader.items, item)?);
        }
        Some(items)
    }

    fn null_path(reader: &Self::Reader, row: usize) -> Option<String> {
        if reader.is_null(row) {
            return Some(String::new());
        }
        let path = reader
            .range(row)
            .find_map(|item| T::null_path(&reader.items, item))?;
        Some(format!(".item{path}"))
    }

    fn writer(rows: usize) -> Self::Writer {
        ListWriter {
            offsets: OffsetWriter::new(rows),
            len: 0,
            items: T::writer(rows),
        }
    }

    fn put(value: &Self, writer: &mut Self::Writer) {
        for item in value {
            T::put(item, &mut writer.items);
        }
        writer.len += value.len();
        writer.offsets.push(writer.len);
    }

    fn put_zero(writer: &mut Self::Writer) {
        writer.offsets.push(writer.len);
    }

    fn seal(writer: Self::Writer, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
        buffers.push(validity);
        buffers.push(writer.offsets.into_bytes());
        T::seal(writer.items, Vec::new(), buffers);
    }
}
