//! What an author of a mapper writes: rows in, rows out, without any state.

use crate::columnar::{EventRows, Rejects};
use crate::contract::Failure;
use crate::value::Record;
use crate::window::{Config, Reject};

/// Rows in, rows out: derives columns, leaves rows out, makes several of one.
///
/// What becomes of a row depends on that row alone. The [crate's documentation](crate#mappers) has
/// an example.
pub trait Mapper: Default + 'static {
    /// One row of the event: a struct with `#[derive(Row)]`, with a field for each column that the
    /// mapper wants. The host decodes no others.
    type Row<'a>: Record<'a>;
    /// What becomes of a row: a struct with `#[derive(Output)]`, or an `Option` (to filter), a `Vec`
    /// or an array of one. One with `#[derive(Row)]` may borrow text from the row.
    ///
    /// The fields are the columns that windows and keys see; nothing of the event passes by itself.
    /// A row keeps the event time of the row it came from, unless there is a column of the event
    /// time's name.
    type Output<'a>: IntoRows<'a>;

    /// Makes the mapper from its configuration. Without this function there is none, and any other
    /// configuration than `{}` is refused.
    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        config.refuse()?;
        Ok(Self::default())
    }

    /// Maps a row. One that is rejected is counted and kept with the reason; one that gives no
    /// output is counted as filtered.
    fn map<'a>(&'a self, row: Self::Row<'a>) -> Result<Self::Output<'a>, Reject>;
}

/// A [`Mapper`] that gets a batch as columns. Everything else is the same.
///
/// Here the author upholds what the SDK otherwise does: a row with a null where there may be none
/// is rejected, outputs come in the order of their rows, and no row is both rejected and mapped.
pub trait ColumnarMapper: Default + 'static {
    /// As in [`Mapper::Row`].
    type Row<'a>: Record<'a>;
    /// One row of output: a struct with `#[derive(Output)]`, or with `#[derive(Row)]` to borrow from
    /// the batch.
    type Output<'a>: Record<'a>;

    /// As in [`Mapper::open`].
    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        config.refuse()?;
        Ok(Self::default())
    }

    /// Maps rows. `rows` has a view over each column, under the name of the row's field.
    fn map<'a>(
        &self,
        rows: &EventRows<'a, Self::Row<'a>>,
        mapped: &mut MappedRows<'a, Self::Output<'a>>,
        rejects: &mut Rejects,
    ) -> Result<(), Failure>;
}

/// The rows that a [`ColumnarMapper`] makes. They are written straight into columns.
pub struct MappedRows<'a, O: Record<'a>> {
    pub(crate) writer: O::Writer,
    pub(crate) source_row: Vec<u32>,
}

impl<'a, O: Record<'a>> MappedRows<'a, O> {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            writer: O::writer(rows),
            source_row: Vec::with_capacity(rows),
        }
    }

    /// Adds a row that came from row number `source_row` of the batch. These numbers never fall.
    #[inline(always)]
    pub fn push(&mut self, source_row: usize, row: &O) {
        O::put(row, &mut self.writer);
        self.source_row.push(source_row as u32);
    }

    /// How many rows there are so far.
    pub fn len(&self) -> usize {
        self.source_row.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.source_row.is_empty()
    }
}

/// What `map` may return: a row, an `Option`, a `Vec` or an array of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a mapper",
    note = "an output is a struct with #[derive(Output)] or #[derive(Row)], or an Option, a Vec or an array of one"
)]
pub trait IntoRows<'a> {
    /// The struct of one output row.
    type Row: Record<'a>;
    /// Hands over each row.
    fn each(self, sink: impl FnMut(Self::Row));
}

impl<'a, T: Record<'a>> IntoRows<'a> for T {
    type Row = T;
    #[inline(always)]
    fn each(self, mut sink: impl FnMut(T)) {
        sink(self);
    }
}

impl<'a, T: Record<'a>> IntoRows<'a> for Option<T> {
    type Row = T;
    #[inline(always)]
    fn each(self, sink: impl FnMut(T)) {
        self.into_iter().for_each(sink);
    }
}

impl<'a, T: Record<'a>> IntoRows<'a> for Vec<T> {
    type Row = T;
    fn each(self, sink: impl FnMut(T)) {
        self.into_iter().for_each(sink);
    }
}

impl<'a, T: Record<'a>, const N: usize> IntoRows<'a> for [T; N] {
    type Row = T;
    fn each(self, sink: impl FnMut(T)) {
        self.into_iter().for_each(sink);
    }
}
