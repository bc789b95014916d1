//! The two traits behind every column: [`Value`], a Rust type that is the value of a column, and
//! [`Record`], a struct whose fields are columns. Authors derive [`Record`] with `#[derive(Row)]`,
//! `#[derive(State)]` or `#[derive(Output)]` and call nothing of this themselves.

use crate::buffers::{Bitmap, Column, Cursor, ValidityWriter};
use crate::contract::{Failure, Field};

/// A type that can be the value of a column, and so the type of a field of a [`Record`].
///
/// `'a` is how long the buffers that it may borrow from live.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the type of a column",
    note = "the types of columns are listed in `penstock_sdk::types`; a struct becomes one with #[derive(Row)], #[derive(State)] or #[derive(Output)]"
)]
pub trait Value<'a>: Sized {
    /// Whether null is one of its values.
    const OPTIONAL: bool = false;
    /// A view over a column of these.
    type Reader;
    /// A column of these that is being written.
    type Writer;

    /// Adds the field, and its children, to a schema.
    fn describe(name: &str, nullable: bool, schema: &mut Vec<Field>);

    /// Takes this type's columns from the cursor.
    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure>;
    /// Whether there may be a null anywhere in the column or in what is nested in it.
    fn has_nulls(reader: &Self::Reader) -> bool;
    /// Whether the row is null where this type does not allow it.
    fn is_null(reader: &Self::Reader, row: usize) -> bool;
    /// The value of a row that is not null itself; `None` if something nested in it is null where
    /// that is not allowed. Without `NULLS` the caller knows that `has_nulls` is false.
    fn value<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self>;
    /// Where in the value of a row the null is that is not allowed, as a path below the column.
    fn null_path(reader: &Self::Reader, row: usize) -> Option<String> {
        Self::is_null(reader, row).then(String::new)
    }

    /// The value of a row, or `None` if it is null where that is not allowed.
    #[inline(always)]
    fn get<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
        if NULLS && Self::is_null(reader, row) {
            None
        } else {
            Self::value::<NULLS>(reader, row)
        }
    }

    /// Starts a column with room for `rows` values.
    fn writer(rows: usize) -> Self::Writer;
    /// Adds a value.
    fn put(value: &Self, writer: &mut Self::Writer);
    /// Adds what lies under a null.
    fn put_zero(writer: &mut Self::Writer);
    /// Adds the finished buffers to those of a batch.
    fn seal(writer: Self::Writer, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>);
}

/// A struct whose fields are columns. Derived, never written by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record of columns",
    note = "put #[derive(Row)], #[derive(State)] or #[derive(Output)] on it, whichever it is"
)]
pub trait Record<'a>: Sized {
    /// A view over its columns: a struct with a field for each field.
    type Reader;
    /// Its columns as they are being written.
    type Writer;
    /// The names of its columns.
    const NAMES: &'static [&'static str];

    /// Adds its fields to a schema, in pre-order.
    fn describe(schema: &mut Vec<Field>);
    /// Takes its columns from the cursor.
    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure>;
    /// Whether there may be a null anywhere.
    fn has_nulls(reader: &Self::Reader) -> bool;
    /// A row, or `None` if something in it is null where that is not allowed.
    fn get<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self>;
    /// The path of the first null that is not allowed, starting with a dot.
    fn null_path(reader: &Self::Reader, row: usize) -> Option<String>;
    /// Starts columns with room for `rows` rows.
    fn writer(rows: usize) -> Self::Writer;
    /// Adds a row.
    fn put(value: &Self, writer: &mut Self::Writer);
    /// Adds what lies under a null.
    fn put_zero(writer: &mut Self::Writer);
    /// Adds the finished buffers to those of a batch.
    fn seal(writer: Self::Writer, buffers: &mut Vec<Vec<u8>>);
}

/// A record whose columns can be held and changed one by one: what `#[derive(State)]` adds for
/// [`crate::ColumnarWindow`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the state of a columnar window",
    note = "put #[derive(State)] on it"
)]
pub trait StateRecord: for<'a> Record<'a> + 'static {
    /// A boxed slice for each field, under the field's name.
    type Columns;

    /// Reads all columns. `None` if something is null where that is not allowed.
    fn read_columns<'a>(
        reader: &<Self as Record<'a>>::Reader,
        rows: usize,
    ) -> Option<Self::Columns>;
    /// Adds the buffers of the rows that `keep` names (all, if there is none) to those of a batch.
    /// Gives the name of a column whose length is not `rows`, if there is one.
    fn write_columns(
        columns: &Self::Columns,
        rows: usize,
        keep: Option<&[u32]>,
        buffers: &mut Vec<Vec<u8>>,
    ) -> Result<(), &'static str>;
}

/// A struct as the value of a column: a validity bitmap over its fields' columns.
#[derive(Debug)]
pub struct Structs<'a, R> {
    validity: Bitmap<'a>,
    fields: R,
}

impl<R> Structs<'_, R> {
    /// Whether the struct of a row is null.
    #[inline(always)]
    pub fn is_null(&self, row: usize) -> bool {
        self.validity.is_null(row)
    }
}

impl<R> std::ops::Deref for Structs<'_, R> {
    type Target = R;
    fn deref(&self) -> &R {
        &self.fields
    }
}

impl<'a, T: Record<'a>> Value<'a> for T {
    type Reader = Structs<'a, T::Reader>;
    type Writer = T::Writer;

    fn describe(name: &str, nullable: bool, schema: &mut Vec<Field>) {
        schema.push(field(name, "+s", nullable, T::NAMES.len()));
        <T as Record>::describe(schema);
    }

    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure> {
        let column: Column<'a> = cursor.column()?;
        let validity = column.validity(rows)?;
        let fields = <T as Record>::bind(cursor, rows)?;
        Ok(Structs { validity, fields })
    }

    fn has_nulls(reader: &Self::Reader) -> bool {
        reader.validity.has_nulls() || <T as Record>::has_nulls(&reader.fields)
    }

    #[inline(always)]
    fn is_null(reader: &Self::Reader, row: usize) -> bool {
        reader.validity.is_null(row)
    }

    #[inline(always)]
    fn value<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
        <T as Record>::get::<NULLS>(&reader.fields, row)
    }

    fn null_path(reader: &Self::Reader, row: usize) -> Option<String> {
        if reader.is_null(row) {
            Some(String::new())
        } else {
            <T as Record>::null_path(&reader.fields, row)
        }
    }

    fn writer(rows: usize) -> Self::Writer {
        <T as Record>::writer(rows)
    }

    fn put(value: &Self, writer: &mut Self::Writer) {
        <T as Record>::put(value, writer);
    }

    fn put_zero(writer: &mut Self::Writer) {
        <T as Record>::put_zero(writer);
    }

    fn seal(writer: Self::Writer, validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
        buffers.push(validity);
        <T as Record>::seal(writer, buffers);
    }
}

/// A column of [`Option`] that is being written.
#[derive(Debug)]
pub struct OptionWriter<W> {
    validity: ValidityWriter,
    values: W,
}

impl<'a, T: Value<'a>> Value<'a> for Option<T> {
    const OPTIONAL: bool = true;
    type Reader = T::Reader;
    type Writer = OptionWriter<T::Writer>;

    fn describe(name: &str, _nullable: bool, schema: &mut Vec<Field>) {
        const {
            assert!(
                !T::OPTIONAL,
                "an Option of an Option cannot be a column: there is only one null"
            )
        };
        T::describe(name, true, schema);
    }

    fn bind(cursor: &mut Cursor<'a>, rows: usize) -> Result<Self::Reader, Failure> {
        T::bind(cursor, rows)
    }

    fn has_nulls(reader: &Self::Reader) -> bool {
        T::has_nulls(reader)
    }

    #[inline(always)]
    fn is_null(_reader: &Self::Reader, _row: usize) -> bool {
        false
    }

    #[inline(always)]
    fn value<const NULLS: bool>(reader: &Self::Reader, row: usize) -> Option<Self> {
        if NULLS && T::is_null(reader, row) {
            Some(None)
        } else {
            T::value::<NULLS>(reader, row).map(Some)
        }
    }

    fn null_path(reader: &Self::Reader, row: usize) -> Option<String> {
        if T::is_null(reader, row) {
            None
        } else {
            T::null_path(reader, row)
        }
    }

    fn writer(rows: usize) -> Self::Writer {
        OptionWriter {
            validity: ValidityWriter::default(),
            values: T::writer(rows),
        }
    }

    #[inline(always)]
    fn put(value: &Self, writer: &mut Self::Writer) {
        writer.validity.push(value.is_some());
        match value {
            Some(value) => T::put(value, &mut writer.values),
            None => T::put_zero(&mut writer.values),
        }
    }

    fn put_zero(writer: &mut Self::Writer) {
        writer.validity.push(false);
        T::put_zero(&mut writer.values);
    }

    fn seal(writer: Self::Writer, _validity: Vec<u8>, buffers: &mut Vec<Vec<u8>>) {
        T::seal(writer.values, writer.validity.into_bytes(), buffers);
    }
}

/// No columns at all: the key of a window that does not look at its key.
impl<'a> Record<'a> for () {
    type Reader = ();
    type Writer = ();
    const NAMES: &'static [&'static str] = &[];

    fn describe(_schema: &mut Vec<Field>) {}
    fn bind(_cursor: &mut Cursor<'a>, _rows: usize) -> Result<(), Failure> {
        Ok(())
    }
    fn has_nulls(_reader: &()) -> bool {
        false
    }
    #[inline(always)]
    fn get<const NULLS: bool>(_reader: &(), _row: usize) -> Option<()> {
        Some(())
    }
    fn null_path(_reader: &(), _row: usize) -> Option<String> {
        None
    }
    fn writer(_rows: usize) {}
    fn put(_value: &Self, _writer: &mut ()) {}
    fn put_zero(_writer: &mut ()) {}
    fn seal(_writer: (), _buffers: &mut Vec<Vec<u8>>) {}
}

/// A field of a schema without metadata.
pub(crate) fn field(
    name: &str,
    format: impl Into<String>,
    nullable: bool,
    children: usize,
) -> Field {
    Field {
        name: name.to_owned(),
        format: format.into(),
        nullable,
        children: u32::try_from(children)
            .expect("a struct has fewer than four thousand million fields"),
        metadata: Vec::new(),
    }
}
